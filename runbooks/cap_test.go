package runbooks_test

import (
	"fmt"
	"strings"
	"testing"

	"opsbot/runbooks"
)

// No function gives a longer list than expressions may have, in a predicate or
// out of it.
func TestListsAreCapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr string
		n    int
		want string // "": the error says so
	}{
		{"len(split(params.prefix, ','))", 1000, "1000"},
		{"len(split(params.prefix, ','))", 1001, ""},
		{"split(params.prefix, ',')[999]", 1000, "x"},
		{"join(split(params.prefix, ',', 3), '|')", 5, "x|x|x,x,x"},
		{"count(['a'], len(split(params.prefix, ',')) > 2)", 5, "1"},
		{"count(['a'], len(split(params.prefix, ',')) > 2)", 1001, ""},
		{"join(keys({a: 1}), ',')", 1, "a"},
		{"len(values({a: 1, b: 2}))", 1, "2"},
	} {
		t.Run(fmt.Sprint(c.expr, c.n), func(t *testing.T) {
			t.Parallel()
			rb, problems := runbooks.Parse("x.md", []byte("---\nformat: 1\nrunbook: x\nowner: sre\nuses: { cache: redis }\nparams: { prefix: { type: string, default: x } }\n---\n# T\n\n## 1. A\n\n```yaml step\nid: a\ndo: redis.info\n"+
				"expect: { that: \"true\", say: \"${{ "+c.expr+" }}\" }\n```\n\n## Report\n\n```markdown report\nx\n```\n"), catalog(t))
			if problems.Err() != nil {
				t.Fatal(problems)
			}
			got, err := rb.Step("a").Expect[0].Say.Text(&runbooks.Scope{Params: map[string]any{"prefix": strings.TrimSuffix(strings.Repeat("x,", c.n), ",")}}, nil)
			if c.want == "" && (err == nil || !strings.Contains(err.Error(), "split() gives a list of 1001 elements; a list may have at most 1000")) || c.want != "" && (err != nil || got != c.want) {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}
