package runbooks_test

import (
	"io/fs"
	"strings"
	"testing"

	"opsbot/runbooks"
	"opsbot/runbooks/library"
)

func BenchmarkParse(b *testing.B) {
	text, err := fs.ReadFile(library.FS, "cache-fix.md")
	if err != nil {
		b.Fatal(err)
	}
	cat := catalog(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if rb, problems := runbooks.Parse("cache-fix.md", text, cat); rb == nil {
			b.Fatal(problems)
		}
	}
}

// BenchmarkLibrary lints all built-in runbooks, as every start of opsbot does.
func BenchmarkLibrary(b *testing.B) {
	cat := released(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := runbooks.Load(cat, library.FS); problems.Err() != nil {
			b.Fatal(problems)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	rb := cacheFix(b)
	params, _ := rb.CheckParams(nil)
	scope := &runbooks.Scope{Params: params, Steps: map[string]runbooks.StepScope{
		"before": {Status: runbooks.Pass, Result: rateResult{Lookups: 50, Rate: rate(0.3)}},
		"keys":   {Status: runbooks.Pass, Result: countResult{Matched: 500}},
	}}
	when := rb.Step("clear").When
	b.ReportAllocs()
	for b.Loop() {
		if value, known, err := when.Bool(scope); !value || !known || err != nil {
			b.Fatal(value, known, err)
		}
	}
}

// BenchmarkParseHostile reads files that are as large and as nasty as they may
// be; none may cost much more than its length.
func BenchmarkParseHostile(b *testing.B) {
	cat := catalog(b)
	for name, text := range hostile() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				runbooks.Parse("x.md", []byte(text), cat)
			}
		})
	}
}

// hostile gives files that are made to cost more than their length.
func hostile() map[string]string {
	const head = "---\nformat: 1\nrunbook: x\nuses: { cache: redis }\n---\n# T\n\n"
	step := func(yaml string) string { return head + "## S\n\n```yaml step\n" + yaml + "\n```\n" }
	lines := func(s string, size int) string { return strings.Repeat(s+"\n", size/(len(s)+1)) }
	repeat := func(s string, size int) string { return strings.Repeat(s, size/len(s)) }
	return map[string]string{
		"brackets":       step("a: " + repeat("[", 4000)),
		"braces":         step(lines("{", 60<<10)),
		"dashes":         step(repeat("- ", 4000)),
		"nested lists":   head + lines(repeat("- ", 4000), 200<<10),
		"quotes":         step(lines(`a: "`, 60<<10)),
		"keys":           step(lines("a", 60<<10)),
		"colons":         step(lines("a: b: c", 60<<10)),
		"deep":           step(deepYAML(400)),
		"fences":         head + lines("```yaml step\n```", 200<<10),
		"headings":       head + lines("## A", 200<<10),
		"setext":         head + lines("a\n===", 200<<10),
		"html":           head + lines("<!--", 200<<10),
		"items":          head + lines("- [ ] x", 200<<10),
		"indented items": head + lines("    - [ ] x", 200<<10),
		"paragraph":      head + lines("a", 200<<10),
		"interpolations": head + "## Report\n\n```markdown report\n" + lines("${{ run.id }}", 200<<10) + "```\n",
		"one long text":  step("do: manual\nexpect:\n  - { that: true, say: >-\n" + lines("      ${{ run.id }}", 50<<10) + "  }"),
		"conditions":     step("do: redis.info\nexpect:\n" + lines("  - result.loading", 60<<10)),
		"parentheses":    step("do: redis.info\nwhen: " + repeat("(", 2000) + "true" + repeat(")", 2000)),
		"nots":           step("do: redis.info\nwhen: " + repeat("!", 4000) + "true"),
		"maps":           step("do: redis.info\nwhen: " + repeat("{a:", 1300) + "1" + repeat("}", 1300)),
		"ternaries":      step("do: redis.info\nwhen: \"" + repeat("true?", 3000) + "\""),
		"empty headings": head + lines("#", 200<<10),
		"dividers":       "---\n" + lines("--- ", 200<<10),
	}
}

// deepYAML nests maps as deep as it is told.
func deepYAML(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}
