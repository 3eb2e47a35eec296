package runbooks_test

import (
	"os"
	"testing"

	"opsbot/runbooks"
	"opsbot/runbooks/library"
)

func catalog(t testing.TB) *runbooks.Catalog {
	t.Helper()
	cat, err := runbooks.NewCatalog(testActions())
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestBuiltInRunbooks(t *testing.T) {
	t.Parallel()
	l, problems := runbooks.Load(catalog(t), library.FS)
	for _, p := range problems {
		t.Error(p)
	}
	for _, name := range []string{"cache-fix", "cache-troubleshooting", "9", "emergency-restart", "8"} {
		if _, ok := l.Find(name); !ok {
			t.Errorf("Find(%q) finds nothing", name)
		}
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/high-error-rate.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := runbooks.Parse("high-error-rate.md", text, catalog(t)); len(problems) > 0 {
		t.Errorf("Parse() has problems:\n%v", problems)
	}
}
