package trial_test

import (
	"os"
	"regexp"
	"testing"

	"opsbot/runbooks"
	"opsbot/runbooks/library"
	"opsbot/runbooks/trial"
)

// The first example of the documentation is a test that passes.
func TestDocumentedExample(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/runbook-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(page)
	if example == nil {
		t.Fatal("the page has no example")
	}
	catalog := catalogOf(t)
	lib, _ := runbooks.Load(catalog, library.FS)
	rb, ok := lib.Find("cache-fix")
	if !ok {
		t.Fatal("there is no cache-fix")
	}
	suite, problems := trial.Parse("runbook-tests.md", example[1], rb, lib)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	results, err := suite.Run(t.Context(), trial.Options{Library: lib, Catalog: catalog})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, f := range r.Failures {
			t.Errorf("%d:%d: %s\n%s", f.Pos.Line, f.Pos.Col, f.Message, f.Diff)
		}
	}
}
