package trial_test

import (
	"io/fs"
	"testing"

	"opsbot/internal/actions/docker"
	"opsbot/internal/actions/host"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/internal/deployment"
	"opsbot/runbooks"
	"opsbot/runbooks/library"
	"opsbot/runbooks/trial"
)

// catalogOf is the catalog of the released program.
func catalogOf(t testing.TB) *runbooks.Catalog {
	t.Helper()
	c, err := runbooks.NewCatalog(docker.Actions(), host.Actions(), postgres.Actions(), redis.Actions(), web.Actions(), deployment.Actions(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The built-in runbooks do what their test files say.
func TestLibrary(t *testing.T) {
	t.Parallel()
	catalog := catalogOf(t)
	lib, problems := runbooks.Load(catalog, library.FS)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for _, rb := range lib.All() {
		t.Run(rb.Slug, func(t *testing.T) {
			t.Parallel()
			file := trial.FileFor(rb.File)
			text, err := fs.ReadFile(library.FS, file)
			if err != nil {
				t.Fatalf("every built-in runbook has tests: %v", err)
			}
			suite, problems := trial.Parse(file, text, rb, lib)
			for _, p := range problems {
				t.Error(p)
			}
			if suite == nil {
				return
			}
			results, err := suite.Run(t.Context(), trial.Options{Library: lib, Catalog: catalog})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				for _, f := range r.Failures {
					t.Errorf("%s:%d:%d: %s: %s\n%s", file, f.Pos.Line, f.Pos.Col, r.Case.Name, f.Message, f.Diff)
				}
				if !r.Passed() {
					for _, line := range r.Trail {
						t.Log(line)
					}
				}
			}
		})
	}
}
