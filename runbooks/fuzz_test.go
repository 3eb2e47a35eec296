package runbooks_test

import (
	"fmt"
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

// A table whose every case is one row's is said to be so, and no other is: the
// checker's grid against every point that its bounds can tell apart.
func FuzzTable(f *testing.F) {
	for _, s := range []string{"\x00\x01\x02", "abcdefgh", "\x00\x10\x21\x32\x43\x54\x65\x76\x87\x98", "012345678901234567890123456789"} {
		f.Add([]byte(s))
	}
	from := func(takes func(v float64) bool) func(*float64) bool {
		return func(v *float64) bool { return v != nil && takes(*v) }
	}
	cells := []struct {
		text  string
		takes func(*float64) bool
	}{
		{"*", func(*float64) bool { return true }}, {"none", func(v *float64) bool { return v == nil }},
		{"<1", from(func(v float64) bool { return v < 1 })}, {"<=1", from(func(v float64) bool { return v <= 1 })},
		{">1", from(func(v float64) bool { return v > 1 })}, {">=1", from(func(v float64) bool { return v >= 1 })},
		{"=1", from(func(v float64) bool { return v == 1 })}, {"0..2", from(func(v float64) bool { return v >= 0 && v < 2 })},
		{"0..=2", from(func(v float64) bool { return v >= 0 && v <= 2 })}, {"<2", from(func(v float64) bool { return v < 2 })},
		{">=2", from(func(v float64) bool { return v >= 2 })}, {"2..3", from(func(v float64) bool { return v >= 2 && v < 3 })},
		{">=3", from(func(v float64) bool { return v >= 3 })}, {"<0", from(func(v float64) bool { return v < 0 })},
	}
	inputs := []string{"a: params.a", "b: 'ratio(params.b, params.c)'"} // the second may have no data
	cat := catalog(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 24 {
			return
		}
		n := 1 + int(data[0])%len(inputs)
		var rows []string
		var taking [][]func(*float64) bool
		for data = data[1:]; len(data) >= n; data = data[n:] {
			var row []string
			var takes []func(*float64) bool
			for i := range n {
				c := cells[int(data[i])%len(cells)]
				row, takes = append(row, fmt.Sprintf("%c: %q", "ab"[i], c.text)), append(takes, c.takes)
			}
			taking = append(taking, takes)
			rows = append(rows, "  - { "+strings.Join(row, ", ")+", next: true }")
		}
		if len(rows) == 0 {
			return
		}
		file := "---\nformat: 1\nrunbook: x\nparams:\n  a: { type: float, required: true }\n  b: { type: int, required: true }\n  c: { type: int, required: true }\n---\n# T\n\n## 1. S\n\n```yaml step\nid: t\ndo: decide\ninputs: { " +
			strings.Join(inputs[:n], ", ") + " }\nrows:\n" + strings.Join(rows, "\n") + "\n```\n\n## Report\n\n```markdown report\nx\n```\n"
		_, problems := runbooks.Parse("x.md", []byte(file), cat)
		gap, overlap := false, false
		for _, p := range problems {
			gap, overlap = gap || p.Code == "RB502", overlap || p.Code == "RB503"
			if p.Code == "RB501" {
				return // none for what always has data
			}
			if p.Code != "RB502" && p.Code != "RB503" {
				t.Fatalf("%s\n%s", p, file)
			}
		}
		wantGap, wantOverlap := false, false
		points := []*float64{rate(-1), rate(0), rate(0.5), rate(1), rate(1.5), rate(2), rate(2.5), rate(3), rate(4)}
		for _, a := range points {
			others := []*float64{nil}
			if n == 2 {
				others = append(others, points...)
			}
			for _, b := range others {
				taken := 0
				for _, row := range taking {
					if row[0](a) && (n == 1 || row[1](b)) {
						taken++
					}
				}
				wantGap, wantOverlap = wantGap || taken == 0, wantOverlap || taken > 1
			}
		}
		if gap != wantGap || overlap != wantOverlap {
			t.Errorf("gaps: %v, want %v; overlaps: %v, want %v (%v)\n%s", gap, wantGap, overlap, wantOverlap, problems, file)
		}
	})
}
