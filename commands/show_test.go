package commands_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"opsbot/commands"
	"opsbot/internal/access"
	"opsbot/runbooks"
)

// A shelf has runbooks and runs none.
type shelf struct {
	commands.Runs
	lib *runbooks.Library
}

func (s shelf) Library() *runbooks.Library       { return s.lib }
func (s shelf) Lacking(*runbooks.Runbook) string { return "" }

// A picture that is too large for a message is drawn without details, then
// cut between lines, with a word on where the rest is.
func TestShowKeepsToTheLimit(t *testing.T) {
	t.Parallel()
	for steps, want := range map[int]struct{ has, lacks string }{
		3:   {"must hold: result.n < 100", "more lines"},
		15:  {"15. Count & <compare> [s15]", "must hold"},
		150: {"more lines: opsbot show long draws them", "[s150]"},
	} {
		var b strings.Builder
		b.WriteString("---\nformat: 1\nrunbook: long\nowner: sre\n---\n# Long\n")
		for i := range steps {
			fmt.Fprintf(&b, "\n## %d. Count & <compare>\n\n```yaml step\nid: s%d\ndo: manual\nask: { n: { type: int, required: true } }\nexpect: [%s]\n```\n",
				i+1, i+1, strings.Repeat("result.n < 100, ", 4))
		}
		b.WriteString("\n## Report\n\n```markdown report\ndone\n```\n")
		lib, problems := runbooks.Load(nil, fstest.MapFS{"long.md": {Data: []byte(b.String())}})
		if problems.Err() != nil {
			t.Fatal(problems)
		}
		r := &commands.Router{Runs: shelf{lib: lib}}
		reply, err := r.Handle(t.Context(), commands.Request{Actor: access.Actor{}, Line: "runbook show long"})
		if err != nil {
			t.Fatal(err)
		}
		code := reply.Answer.Code
		escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(code)
		if n := utf8.RuneCountInString(escaped); n > 2400 {
			t.Errorf("%d steps: %d characters", steps, n)
		}
		if !strings.Contains(code, want.has) || strings.Contains(code, want.lacks) {
			t.Errorf("%d steps: want %q and not %q in:\n%s", steps, want.has, want.lacks, code)
		}
	}
}
