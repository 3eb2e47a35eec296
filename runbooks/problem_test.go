package runbooks_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

func TestFormats(t *testing.T) {
	t.Parallel()
	problems := runbooks.Problems{
		{File: "a,b.md", Pos: runbooks.Pos{Line: 3, Col: 7}, Code: "RB110", Message: "50 % wrong", Hint: "did you mean \"x\"?"},
		{File: "c.md", Code: "RB603", Warning: true, Message: "no\nreport"},
	}
	for _, test := range []struct {
		name  string
		write func(*bytes.Buffer) error
		want  string
	}{
		{"text", func(b *bytes.Buffer) error { return problems.WriteText(b) },
			"a,b.md:3:7: RB110 50 % wrong (did you mean \"x\"?)\nc.md: RB603 warning: no\nreport\n"},
		{"json", func(b *bytes.Buffer) error { return problems.WriteJSON(b) }, `[
  {
    "file": "a,b.md",
    "line": 3,
    "column": 7,
    "code": "RB110",
    "severity": "error",
    "message": "50 % wrong",
    "hint": "did you mean \"x\"?"
  },
  {
    "file": "c.md",
    "code": "RB603",
    "severity": "warning",
    "message": "no\nreport"
  }
]
`},
		{"github", func(b *bytes.Buffer) error { return problems.WriteGitHub(b) },
			"::error file=a%2Cb.md,line=3,col=7,title=RB110::50 %25 wrong (did you mean \"x\"?)\n::warning file=c.md,title=RB603::no%0Areport\n"},
	} {
		var b bytes.Buffer
		if err := test.write(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if err := problems.Err(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "RB110") {
		t.Errorf("Err() = %v, want the first error", err)
	}
	if err := problems[1:].Err(); err != nil {
		t.Errorf("Err() of warnings = %v, want nil", err)
	}
	var b bytes.Buffer
	if err := runbooks.Problems(nil).WriteJSON(&b); err != nil || b.String() != "[]\n" {
		t.Errorf("WriteJSON() of nothing = %q, %v, want an empty array", b.String(), err)
	}
}

func TestLibrary(t *testing.T) {
	t.Parallel()
	cat := catalog(t)
	text := func(slug, more string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("---\nformat: 1\nrunbook: " + slug + "\n" + more + "---\n# Title of " + slug + "\n\n## 1. A\n\n- [ ] Tick\n\n## Report\n\n```markdown report\nx\n```\n")}
	}
	builtIn := fstest.MapFS{"cache-fix.md": text("cache-fix", "number: 9\n"), "emergency-restart.md": text("emergency-restart", "number: 8\n")}
	own := fstest.MapFS{
		"cache-fix.md": text("cache-fix", "number: 9\naliases: [ours]\n"), // the same file replaces
		"restart.md":   text("emergency-restart", ""),                     // the same runbook in another file replaces too
		"new.md":       text("new", "aliases: [newer]\n"),
		"broken.md":    text("Broken", ""),
		"README.md":    &fstest.MapFile{Data: []byte("# Not a runbook\n")},
	}
	l, problems := runbooks.Load(cat, builtIn, own)
	if len(problems) != 1 || problems[0].File != "broken.md" {
		t.Errorf("problems are %v, want one of broken.md", problems)
	}
	for name, title := range map[string]string{
		"cache-fix": "Title of cache-fix", "9": "Title of cache-fix", "ours": "Title of cache-fix", "emergency-restart": "Title of emergency-restart",
		"new": "Title of new", "newer": "Title of new", "NEW": "Title of new",
	} {
		if rb, ok := l.Find(name); !ok || rb.Title != title {
			t.Errorf("Find(%q) = %v, want %s", name, rb, title)
		}
	}
	var slugs []string
	for _, rb := range l.All() {
		slugs = append(slugs, rb.Slug)
	}
	if diff := cmp.Diff([]string{"cache-fix", "emergency-restart", "new"}, slugs); diff != "" {
		t.Errorf("All() (-want +got):\n%s", diff)
	}
	for typed, want := range map[string]string{"cach-fix": "cache-fix", "emergncy-restart": "emergency-restart", "deploy": "", "enw": "new"} {
		if got := l.Suggest(typed); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", typed, got, want)
		}
	}
	var none *runbooks.Library
	if _, ok := none.Find("x"); ok || none.All() != nil || none.Suggest("x") != "" {
		t.Error("an empty library has something")
	}
}

// A runbook that names one that is missing is absent, and so is what names it.
// What people call their own runbooks wins over the other names of built-in
// ones; only a runbook's first name is never taken over by an alias.
func TestLaterFoldersNameFirst(t *testing.T) {
	t.Parallel()
	file := func(slug, more string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("---\nformat: 1\nrunbook: " + slug + "\n" + more + "---\n# T\n\n## 1. A\n\n- [ ] Tick\n\n## Report\n\n```markdown report\nx\n```\n")}
	}
	builtIn := fstest.MapFS{"high-error-rate.md": file("high-error-rate", "number: 6\naliases: [errors, investigate]\n"), "cache-fix.md": file("cache-fix", "")}
	own := fstest.MapFS{"errors.md": file("errors", "number: 6\n"), "ours.md": file("ours", "aliases: [investigate]\n")}
	l, problems := runbooks.Load(catalog(t), builtIn, own)
	if len(problems) != 0 {
		t.Errorf("problems: %v", problems)
	}
	for name, want := range map[string]string{"errors": "errors", "6": "errors", "investigate": "ours", "high-error-rate": "high-error-rate"} {
		if rb, ok := l.Find(name); !ok || rb.Slug != want {
			t.Errorf("Find(%q) = %v, want %s", name, rb, want)
		}
	}
	rb, _ := runbooks.Parse("new.md", file("new", "aliases: [errors-too]\nnumber: 6\n").Data, catalog(t))
	if with, problems := l.With(rb); len(problems) != 0 {
		t.Errorf("a further runbook has problems: %v", problems)
	} else if named, _ := with.Find("6"); named != rb {
		t.Errorf("6 is %v, want the further runbook", named)
	}
	own["ours.md"] = file("ours", "aliases: [cache-fix]\n")
	if _, problems := runbooks.Load(catalog(t), builtIn, own); len(problems) != 1 || problems[0].Code != "RB112" || problems[0].File != "ours.md" {
		t.Errorf("an alias that is a built-in runbook's name gives %v, want RB112 in ours.md", problems)
	}
}

func TestLibraryDropsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	file := func(slug, next string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("---\nformat: 1\nrunbook: " + slug + "\n---\n# T\n\n## 1. A\n\n```yaml step\nid: a\ndo: manual\non_fail: " + next + "\n```\n\n## Report\n\n```markdown report\nx\n```\n")}
	}
	l, problems := runbooks.Load(catalog(t), fstest.MapFS{
		"a.md": file("a", "{ offer: [b] }"), "b.md": file("b", "{ offer: [gone] }"), "c.md": file("c", "stop"),
	})
	if len(l.All()) != 1 || l.All()[0].Slug != "c" || len(problems) != 2 {
		t.Errorf("the library has %v with problems %v, want c alone and two problems", l.All(), problems)
	}
}

func TestParseIsWhole(t *testing.T) {
	t.Parallel()
	rb := cacheFix(t)
	clear := rb.Step("clear")
	type summary struct {
		Title, Number, Effect, Type, Within, Timeout, OnCrash string
		Recheck, By                                           []string
	}
	got := summary{clear.Title, rb.File, clear.Do, clear.Confirm.Type.String(), clear.Review.Within.String(), clear.Timeout.String(), clear.OnCrash.Word, clear.Recheck, clear.Review.By}
	want := summary{"4. Clear our keys", "cache-fix.md", "redis.flush", "${{ run.environment }}", "15m0s", "5m0s", "ask", []string{"before", "keys", "backend", "busy"}, []string{"sre"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clear (-want +got):\n%s", diff)
	}
	if clear.Effect != runbooks.Destructive {
		t.Errorf("the effect of clear is %v, want destructive", clear.Effect)
	}
	escalate := rb.Step("escalate")
	if len(escalate.Items) != 2 || len(escalate.Ask) != 1 || len(escalate.Then.Offer) != 3 || escalate.Do != "manual" {
		t.Errorf("escalate is %+v", escalate)
	}
	if w := rb.Step("after").Watch; w.Hold != 2 || rb.Step("after").OnFail.Goto != "escalate" || rb.Step("after").Then.End != "ok" {
		t.Errorf("after is %+v", w)
	}
	if info := rb.Step("info"); info.Timeout.String() != "1m0s" || len(info.OnFail.Offer) != 1 || info.OnFail.OfferThen != "stop" || info.Prose == "" {
		t.Errorf("info is %+v", info)
	}
	every, err := rb.Step("after").Watch.Every.Resolve(&runbooks.Scope{})
	if err != nil || every.(interface{ String() string }).String() != "5s" {
		t.Errorf("every is %v, %v", every, err)
	}
}
