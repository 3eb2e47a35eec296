package runbooks_test

import (
	"os"
	"strings"
	"testing"

	"opsbot/runbooks"
)

// Whatever is declared is explained: the reference and editors show it.
func TestGrammarIsExplained(t *testing.T) {
	t.Parallel()
	g := runbooks.Grammar()
	seen := 0
	var walk func(path string, f *runbooks.Form)
	walk = func(path string, f *runbooks.Form) {
		if f == nil {
			return
		}
		if f.Type == runbooks.WordForm && len(f.Words) == 0 {
			t.Errorf("%s is one of no words", path)
		}
		if f.Type == runbooks.ListForm && f.Item == nil || f.Type == runbooks.NamesForm && f.Item == nil {
			t.Errorf("%s holds nothing", path)
		}
		for _, k := range f.Keys {
			seen++
			if k.Help == "" || k.Form == nil {
				t.Errorf("%s.%s is not explained", path, k.Name)
			}
			walk(path+"."+k.Name, k.Form)
		}
		walk(path, f.Item)
		for _, e := range f.Either {
			walk(path, e)
		}
	}
	for name, f := range map[string]*runbooks.Form{"front": g.Front, "step": g.Step, "group": g.Group, "param": g.Param, "row": g.ListRow, "table row": g.TableRow} {
		walk(name, f)
	}
	for _, b := range g.Builtins {
		if b.Help == "" {
			t.Errorf("%s is not explained", b.Name)
		}
		walk(b.Name, b.With)
	}
	if seen < 80 {
		t.Errorf("saw only %d keys", seen)
	}
	for _, r := range runbooks.ParamRules() {
		if r.Written == "" {
			t.Errorf("parameters of type %s are not explained", r.Type)
		}
	}
	for _, c := range runbooks.Codes() {
		if c.Means == "" {
			t.Errorf("%s is not explained", c.Name)
		}
	}
}

// The guide for authors leaves out no key, no type and no function.
func TestGuideIsComplete(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/runbook-format.md")
	if err != nil {
		t.Fatal(err)
	}
	g := runbooks.Grammar()
	var words []string
	for _, f := range []*runbooks.Form{g.Front, g.Step, g.Group, g.Param} {
		for _, k := range f.Keys {
			words = append(words, "`"+k.Name+"`")
		}
	}
	for _, b := range g.Builtins {
		words = append(words, "`"+b.Name+"`")
	}
	for _, r := range runbooks.ParamRules() {
		words = append(words, "`"+string(r.Type)+"`")
	}
	for _, f := range runbooks.Functions() {
		if f.Ours {
			words = append(words, "| `"+f.Usage+"` | "+f.Means+" |")
		} else {
			words = append(words, f.Name)
		}
	}
	for _, w := range words {
		if !strings.Contains(string(guide), w) {
			t.Errorf("docs/runbook-format.md lacks %s", w)
		}
	}
}

// Every function that is listed can be called, and no helper is left out.
func TestFunctions(t *testing.T) {
	t.Parallel()
	ours := 0
	for _, f := range runbooks.Functions() {
		if f.Ours {
			ours++
			if f.Means == "" || !strings.HasPrefix(f.Usage, f.Name+"(") {
				t.Errorf("%s is not explained", f.Name)
			}
		}
		text := strings.Replace(minimal, "BODY", `save: { x: "`+f.Name+`()" }`, 1)
		_, problems := runbooks.Parse("a.md", []byte(text), catalog(t))
		for _, p := range problems {
			if strings.Contains(p.Message, "unknown function") {
				t.Errorf("%s can't be called: %s", f.Name, p)
			}
		}
	}
	if _, problems := runbooks.Parse("a.md", []byte(strings.Replace(minimal, "BODY", `save: { x: "nosuch()" }`, 1)), catalog(t)); !strings.Contains(problems.Err().Error(), "unknown function") {
		t.Errorf("a function that is not there: %v", problems)
	}
	if ours != 13 {
		t.Errorf("there are %d helpers of our own", ours)
	}
}

const minimal = "---\nformat: 1\nrunbook: a\nowner: sre\nuses: { cache: redis }\n---\n# A\n\n## 1. Info\n\n```yaml step\nid: info\ndo: redis.info\nBODY\n```\n\n## Report\n\n```markdown report\ndone\n```\n"

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, d := range catalog(t).Describe() {
		if d.Name != "docker.stats" {
			continue
		}
		var names []string
		for _, f := range d.Result {
			names = append(names, f.Name+" "+f.Type)
		}
		const want = "cpu_pct_of_capacity float, mem_bytes int, mem_pct_limit float or no data, replicas list of record, replicas[].name string, replicas[].cpu float"
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("the result of docker.stats is %s, want %s", got, want)
		}
		if d.Kind != "docker" || len(d.Arguments) != 2 || !d.Arguments[0].Required || d.Arguments[1].Type != "duration" {
			t.Errorf("docker.stats is described as %+v", d)
		}
		return
	}
	t.Error("docker.stats is not described")
}
