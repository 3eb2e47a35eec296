package runbooks_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"opsbot/runbooks"
	"opsbot/runbooks/library"
)

// seed adds a set to the corpus, which must not be empty: a fuzz test without
// seeds tests nothing in an ordinary run.
func seed(f *testing.F, texts []string) {
	f.Helper()
	if len(texts) == 0 {
		f.Fatal("the seed set is empty")
	}
	for _, text := range texts {
		f.Add(text)
	}
}

func FuzzParse(f *testing.F) {
	var seeds []string
	names, err := fs.Glob(library.FS, "*.md")
	if err != nil || len(names) == 0 {
		f.Fatalf("no built-in runbooks: %v", err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(library.FS, name)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, string(text), strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, a := range archive.Files {
			if strings.HasSuffix(a.Name, ".md") {
				seeds = append(seeds, string(a.Data))
			}
		}
	}
	for _, text := range hostile() {
		seeds = append(seeds, text[:min(len(text), 2000)])
	}
	seed(f, seeds)
	cat := catalog(f)
	f.Fuzz(func(t *testing.T, text string) {
		rb, problems := runbooks.Parse("x.md", []byte(text), cat)
		if (rb == nil) != (problems.Err() != nil) {
			t.Errorf("Parse() = %v with problems %v", rb, problems)
		}
		lines := strings.Split(text, "\n")
		for _, p := range problems {
			if p.Code == "" || p.Message == "" || !utf8.ValidString(p.String()) {
				t.Errorf("problem %+v is not fit to be shown", p)
			}
			if p.Pos == (runbooks.Pos{}) {
				continue
			}
			if p.Pos.Line < 1 || p.Pos.Line > len(lines) || p.Pos.Col < 1 || p.Pos.Col > utf8.RuneCountInString(lines[p.Pos.Line-1])+1 {
				t.Errorf("%s is outside the file", p)
			}
		}
		if rb != nil {
			exercise(rb)
		}
	})
}

// exercise evaluates what can be evaluated: with nothing known, nothing may
// panic.
func exercise(rb *runbooks.Runbook) {
	s := &runbooks.Scope{}
	params, _ := rb.CheckParams(nil)
	s.Params = params
	for _, list := range [][]*runbooks.Step{rb.Steps, rb.Rollback, rb.Cleanup} {
		for _, step := range list {
			if step.When != nil {
				_, _, _ = step.When.Bool(s)
			}
			_, _ = runbooks.ResolveWith(step.With, s)
			for _, x := range step.Expect {
				_, _, _ = x.That.Bool(s)
				_, _ = x.Say.Text(s, nil)
			}
			for _, x := range step.Save {
				_, _ = x.Expr.Eval(s)
			}
		}
	}
	_, _ = rb.Report.Text(s, nil)
}

func FuzzExpression(f *testing.F) {
	seed(f, []string{
		`(steps.a?.result?.rate ?? 1) < params.f and ok("a")`, `params.n + 1`, `filter(params.list, # != "a")`, `ratio(1, 0)`,
		`map(1..10, map(1..10, #index))`, `"a" + 'b' + params.s`, `params.s matches "^a"`, `{a: 1, b: [2]}`, `params.d > duration("1s") ? 1 : 2.5`,
		`not (true and false) or nil == 1`, `result.series[0]?.labels["x"]`, `-(-params.n) ** 2 / 3`, `pct(nil)`, `grep(params.list, "(?i)a+")`,
		`steps.a.failed`, `params.list[0:1]`, `sum(map(params.list, len(#)))`, `series(result, "status", "500") ?? 0`, `params.opt`,
		`result?.value`, `"é" in params.list`, "`raw`", `1.. 3`, `params.list | len()`, `find(params.list, true)?.x`,
	})
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\n\r\x00") || !utf8.ValidString(text) || len(text) > 1000 {
			return
		}
		e, problems := saving(t, text)
		if (e == nil) == (problems.Err() == nil) {
			t.Fatalf("expression %v with problems %v", e, problems)
		}
		if e == nil {
			return
		}
		scopes := []*runbooks.Scope{{}, {
			Params: map[string]any{"n": 3, "f": 0.5, "d": time.Second, "s": "abc", "list": []any{"a", "é"}},
			Steps:  map[string]runbooks.StepScope{"a": {Status: runbooks.Pass, Result: rateResult{Rate: rate(0.5)}}},
			Result: queryResult{Value: rate(1), Series: []sample{{Labels: map[string]string{"status": "500"}, Value: rate(2)}}},
		}}
		for _, s := range scopes {
			first, err1 := e.Eval(s)
			second, err2 := e.Eval(s)
			if (err1 == nil) != (err2 == nil) || err1 == nil && !sameValue(first, second) {
				t.Errorf("%s gives %v (%v), then %v (%v)", text, first, err1, second, err2)
			}
			if _, _, err := e.Bool(s); err == nil {
				continue
			}
		}
	})
}

// sameValue compares what evaluations give: a resumed run must decide the same.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case []any:
		other, ok := b.([]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for i := range a {
			if !sameValue(a[i], other[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for k := range a {
			if !sameValue(a[k], other[k]) {
				return false
			}
		}
		return true
	case []string, []int, map[string]int:
		return true
	case float64:
		f, ok := b.(float64)
		return ok && (a == f || a != a && f != f)
	}
	return a == b
}

func FuzzInterpolation(f *testing.F) {
	seed(f, []string{
		"plain", "${{ run.id }}", "a ${{ run.id }} b ${{ run.verdict }}", "${{ \"}}\" }}", "${{ {a: {b: 1}}.a.b }}", "${{", "}}", "${{ }}", "${{ run.id",
		"$ {{ run.id }}", "${{ '}' }}", "é ${{ run.id }} é", "${{ run.id }}${{ run.id }}", "<b> & ${{ run.starter }}", "${{ `}}` }}", "${{ \"\\\"}}\" }}",
	})
	cat := catalog(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\x00") || len(text) > 2000 {
			return
		}
		for _, line := range strings.Split(text, "\n") {
			if trimmed := strings.TrimLeft(line, " \t"); strings.HasPrefix(trimmed, "~~~") {
				return
			}
		}
		file := "---\nformat: 1\nrunbook: x\n---\n# T\n\n## 1. S\n\n- [ ] Tick\n\n## Report\n\n~~~markdown report\n" + text + "\n~~~\n"
		rb, problems := runbooks.Parse("x.md", []byte(file), cat)
		if rb == nil {
			if !strings.Contains(text, "${{") {
				t.Errorf("text without ${{ is refused: %v", problems)
			}
			return
		}
		const evil = "${{ run.id }} <!channel>"
		got, err := rb.Report.Text(&runbooks.Scope{Run: runbooks.RunScope{ID: evil, Verdict: evil, Starter: evil}}, nil)
		if err == nil && !strings.Contains(text, "${{") && got != text+"\n" {
			t.Errorf("Text() = %q, want %q", got, text+"\n")
		}
	})
}

func FuzzCell(f *testing.F) {
	seed(f, []string{"<50", "<=50", ">80", ">=80", "=0", "50..100", "50..=100", "*", "none", "-5..-1", "1e3", "< 5", "5..5", "5..=5", "0x10", "..", "=", "1..2..3", "NaN", "=1e999"})
	cat := catalog(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x00\"\\") || len(text) > 200 {
			return
		}
		file := "---\nformat: 1\nrunbook: x\nparams:\n  n: { type: float, required: true }\n---\n# T\n\n## 1. S\n\n```yaml step\nid: t\ndo: decide\ninputs: { n: params.n }\nrows:\n" +
			"  - { n: \"" + text + "\", end: ok }\n  - { n: \"<1000\", end: ok }\n  - { n: \">=1000\", end: ok }\n```\n\n## Report\n\n```markdown report\nx\n```\n"
		rb, problems := runbooks.Parse("x.md", []byte(file), cat)
		if rb == nil {
			for _, p := range problems {
				if p.Code != "RB501" && p.Code != "RB503" && p.Code != "RB101" {
					t.Errorf("cell %q gives %s", text, p)
				}
			}
			return
		}
		cell := rb.Step("t").Decide.Rows[0].Cells["n"]
		for _, v := range []*float64{nil, rate(0), rate(50), rate(-1e9)} {
			if cell.Matches(v) && !cell.Any && !cell.None && v == nil {
				t.Errorf("cell %q takes no data", text)
			}
		}
	})
}
