package runbooks_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"opsbot/internal/actions/docker"
	"opsbot/internal/actions/host"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/internal/deployment"
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

// released is the catalog of the program.
func released(t testing.TB) *runbooks.Catalog {
	t.Helper()
	cat, err := runbooks.NewCatalog(docker.Actions(), host.Actions(), postgres.Actions(), redis.Actions(), web.Actions(), deployment.Actions(nil))
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestBuiltInRunbooks(t *testing.T) {
	t.Parallel()
	l, problems := runbooks.Load(released(t), library.FS)
	for _, p := range problems {
		t.Error(p)
	}
	names := []string{"cache-troubleshooting"}
	for number, slug := range []string{
		"fresh-deployment", "blue-green-deployment", "daily-health-check", "performance-diagnosis", "capacity-review", "high-error-rate", "slow-database",
		"emergency-restart", "cache-fix", "database-troubleshooting", "major-incident", "full-recovery", "database-maintenance", "cache-optimization",
	} {
		names = append(names, slug)
		if rb, ok := l.Find(strconv.Itoa(number + 1)); !ok || rb.Slug != slug {
			t.Errorf("number %d is %v, want %s", number+1, rb, slug)
		}
	}
	for _, name := range names {
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

// Files that are made to be expensive are read like any other: whatever is
// wrong with them is said, and reading comes to an end.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	files := hostile()
	files["too long"] = strings.Repeat("x\n", 200<<10)
	files["not text"] = "---\n\xff\n---\n"
	files["a byte order mark"] = "\ufeff---\n---\n"
	files["nothing"] = ""
	files["NUL"] = "---\n\x00\n---\n"
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rb, problems := runbooks.Parse("x.md", []byte(text), catalog(t))
			if rb == nil && problems.Err() == nil {
				t.Errorf("Parse() = nil with problems %v", problems)
			}
			if len(problems) > 100 {
				t.Errorf("there are %d problems, want at most 100", len(problems))
			}
		})
	}
}

// The complete runbook in the authors' reference is one.
func TestReferenceExample(t *testing.T) {
	t.Parallel()
	reference, err := os.ReadFile("../docs/runbook-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(reference), "````markdown\n")
	example, _, ok2 := strings.Cut(rest, "````\n")
	if !ok || !ok2 {
		t.Fatal("the reference has no example")
	}
	rb, problems := runbooks.Parse("example.md", []byte(example), catalog(t))
	if len(problems) > 0 {
		t.Errorf("the example has problems:\n%v", problems)
	}
	if rb != nil && (len(rb.Steps) != 1 || len(rb.Steps[0].Items) != 2) {
		t.Errorf("the example has steps %v, want one with two items", rb.Steps)
	}
}
