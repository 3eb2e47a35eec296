package runbooks_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"opsbot/runbooks"
)

var update = flag.Bool("update", false, "write what is found into testdata/*.txtar")

// codes is the linter's catalogue.
var codes = func() []string {
	var list []string
	for _, c := range runbooks.Codes() {
		list = append(list, c.Name)
	}
	return list
}()

// Each file of testdata has runbooks and, in "want", the problems that they
// have, each with the text that its position points at. The files are named by
// the code that they are about.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir, want := fstest.MapFS{}, ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				dir[f.Name] = &fstest.MapFile{Data: f.Data}
			}
			lib, problems := runbooks.Load(catalog(t), dir)
			if strings.Contains(string(archive.Comment), "server") {
				problems = append(problems, lib.Check(runbooks.Server{
					Groups: []string{"oncall", "sre", "dba"}, Commands: []string{"disk-usage"}, Queries: []string{"slow-queries"},
					Lacks: []runbooks.Lack{
						{Environment: "production", Connection: "docker", Family: "compose", Why: "there is no Compose plugin"},
						{Environment: "staging", Connection: "docker", Family: "compose", Why: "it has no compose_file", Warning: true},
						{Environment: "staging", Connection: "other", Family: "compose", Why: "it is another"},
					},
					VerifiedFor: 180 * 24 * time.Hour, Today: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
				})...)
			}
			got := shown(problems, dir)
			code, _, _ := strings.Cut(filepath.Base(file), "-")
			if !strings.Contains(got, code) {
				t.Errorf("the problems lack %s:\n%s", code, got)
			}
			if *update {
				archive.Files = append(slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" }), txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
		})
	}
}

// shown writes problems with the text that they point at.
func shown(problems runbooks.Problems, dir fs.FS) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p)
		text, err := fs.ReadFile(dir, p.File)
		if err != nil || p.Pos.Line == 0 {
			continue
		}
		lines := strings.Split(string(text), "\n")
		if p.Pos.Line > len(lines) {
			fmt.Fprintln(&b, "  at nothing: the line does not exist")
			continue
		}
		line := []rune(lines[p.Pos.Line-1])
		if p.Pos.Col > len(line)+1 {
			fmt.Fprintln(&b, "  at nothing: the column does not exist")
			continue
		}
		rest := line[p.Pos.Col-1:]
		fmt.Fprintf(&b, "  at `%s`\n", string(rest[:min(len(rest), 24)]))
	}
	return b.String()
}

// Every code of the catalogue has a golden file of its own, and no code is used
// that the catalogue lacks.
func TestCodes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/RB*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range files {
		code, _, _ := strings.Cut(filepath.Base(f), "-")
		have[code] = true
	}
	var missing []string
	for _, code := range codes {
		if !have[code] {
			missing = append(missing, code)
		}
	}
	// Codes without a file. The list may only shrink.
	if diff := cmp.Diff([]string(nil), missing); diff != "" {
		t.Errorf("codes without a golden file (-want +got):\n%s", diff)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources")
	}
	quoted := regexp.MustCompile(`"(RB[0-9]{3})"`)
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(codes, m[1]) {
				t.Errorf("%s uses %s, which the catalogue lacks", file, m[1])
			}
		}
	}
	reference, err := os.ReadFile("../docs/runbook-format.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range runbooks.Codes() {
		row := fmt.Sprintf("| %s | %s |\n", code.Name, code.Means)
		if code.Warning {
			row = fmt.Sprintf("| %s | warning: %s |\n", code.Name, code.Means)
		}
		if !strings.Contains(string(reference), row) {
			t.Errorf("docs/runbook-format.md lacks the row %s", row)
		}
	}
}
