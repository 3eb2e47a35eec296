package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"opsbot/runbooks"
	"opsbot/runbooks/library"
	"opsbot/runbooks/trial"
)

func newTest(c *common) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "test [PATH …]",
		Short: "Test runbooks without the real systems",
		Long: `Run the *.test.yaml files beside runbooks: what actions answer and what people
say is given, and what must come of it is compared. No system is reached, and
waits take no time.

A PATH is a test file, a runbook, a folder, or a folder with all below it
(runbooks/...). Without a PATH the tests of the built-in runbooks and of the
configuration's folders are run.

Exit code: 0 all passed, 1 something failed or cannot be read, 2 wrong usage.`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			return test(cmd.Context(), c, paths, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

// A testFile is a test file and where it comes from.
type testFile struct {
	name string // as it is shown
	read func(name string) ([]byte, error)
}

// A tested file with what came of it.
type tested struct {
	file     string
	runbook  string
	problems runbooks.Problems // of the test file or its runbook: then nothing was run
	results  []trial.Result
}

func (t tested) failed() int {
	n := 0
	for _, r := range t.results {
		if !r.Passed() {
			n++
		}
	}
	return n
}

func test(ctx context.Context, c *common, paths []string, format string) error {
	write, ok := map[string]func(io.Writer, []tested) error{"text": writeTestText, "json": writeTestJSON}[format]
	if !ok {
		return usage("--format is text or json, not %q", format)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	catalog, err := newCatalog(nil)
	if err != nil {
		return err
	}
	if err := foldersExist(cfg.Runbooks); err != nil {
		return err
	}
	files, err := testFiles(paths, cfg.Runbooks)
	if err != nil {
		return err
	}
	lib, _ := loadLibrary(cfg, catalog)
	all := make([]tested, 0, len(files))
	cases, failed, broken := 0, 0, 0
	for _, f := range files {
		t, err := testOne(ctx, f, lib, catalog)
		if err != nil {
			return err
		}
		all = append(all, t)
		cases += len(t.results)
		failed += t.failed()
		if t.problems.Err() != nil {
			broken++
		}
	}
	if err := write(c.std.Out, all); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	var bad []string
	if failed > 0 {
		bad = append(bad, fmt.Sprintf("%d of %s failed", failed, counted(cases, "case")))
	}
	if broken > 0 {
		bad = append(bad, fmt.Sprintf("%d of %s cannot be run", broken, counted(len(files), "file")))
	}
	if len(bad) > 0 {
		fmt.Fprintln(c.std.Err, strings.Join(bad, "; "))
		return exit{code: exitFailed}
	}
	fmt.Fprintf(c.std.Err, "%s of %s passed\n", counted(cases, "case"), counted(len(files), "file"))
	return nil
}

// testOne runs one test file.
func testOne(ctx context.Context, f testFile, lib *runbooks.Library, catalog *runbooks.Catalog) (tested, error) {
	t := tested{file: f.name}
	name, ok := trial.RunbookFile(f.name)
	if !ok {
		return t, usage("%s is not the name of a test file (NAME%s)", f.name, trial.Suffix)
	}
	text, err := f.read(f.name)
	if err != nil {
		return t, exit{exitUsage, fmt.Errorf("read the tests: %w", err)}
	}
	markdown, err := f.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return t, usage("%s is there, but not the runbook %s that it tests", f.name, name)
	}
	if err != nil {
		return t, exit{exitUsage, fmt.Errorf("read the runbook: %w", err)}
	}
	rb, problems := runbooks.Parse(name, markdown, catalog)
	if problems.Err() != nil || rb == nil {
		t.problems = problems
		return t, nil
	}
	t.runbook = rb.Slug
	lib, problems = lib.With(rb)
	for _, p := range problems {
		if p.File == name {
			t.problems = append(t.problems, p)
		}
	}
	if t.problems.Err() != nil {
		return t, nil
	}
	t.problems = nil // warnings are the linter's
	suite, problems := trial.Parse(f.name, text, rb, lib)
	if suite == nil {
		t.problems = problems
		return t, nil
	}
	t.results, err = suite.Run(ctx, trial.Options{Library: lib, Catalog: catalog})
	return t, err
}

// testFiles lists the test files that the paths mean.
func testFiles(paths, folders []string) ([]testFile, error) {
	var names []string
	var files []testFile
	if len(paths) == 0 {
		builtin, err := fs.Glob(library.FS, "*"+trial.Suffix)
		if err != nil {
			return nil, err
		}
		for _, name := range builtin {
			files = append(files, testFile{name, library.FS.ReadFile})
		}
		paths = folders
	}
	for _, path := range paths {
		found, err := testsAt(path)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	if len(files)+len(names) == 0 {
		return nil, usage("there are no tests (*%s) in %s", trial.Suffix, strings.Join(paths, ", "))
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		files = append(files, testFile{name, os.ReadFile})
	}
	return files, nil
}

// testsAt lists the test files that one path means.
func testsAt(path string) ([]string, error) {
	for _, dots := range []string{"...", "…"} {
		if dir, deep := strings.CutSuffix(path, dots); deep {
			return testsBelow(filepath.Clean(dir))
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, usage("%s is not there", path)
	case info.IsDir():
		return filepath.Glob(filepath.Join(path, "*"+trial.Suffix))
	case !strings.HasSuffix(path, ".md"):
		return []string{path}, nil
	}
	file := trial.FileFor(path)
	if _, err := os.Stat(file); err != nil {
		return nil, usage("%s has no tests: there is no %s", path, file)
	}
	return []string{file}, nil
}

// testsBelow lists the test files in a folder and all below it.
func testsBelow(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(d.Name(), trial.Suffix):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, usage("%s cannot be searched: %w", dir, err)
	}
	return found, nil
}

// writeTestText writes one line per file, and all about what failed.
func writeTestText(w io.Writer, all []tested) error {
	var b bytes.Buffer
	for _, t := range all {
		if t.problems.Err() != nil {
			fmt.Fprintf(&b, "FAIL  %s cannot be run\n", t.file)
			if err := t.problems.WriteText(&b); err != nil {
				return err
			}
			continue
		}
		n := t.failed()
		if n == 0 {
			fmt.Fprintf(&b, "ok    %s: %s\n", t.file, counted(len(t.results), "case"))
			continue
		}
		fmt.Fprintf(&b, "FAIL  %s: %d of %s\n", t.file, n, counted(len(t.results), "case"))
		for _, r := range t.results {
			writeFailures(&b, t.file, r)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeFailures(b *bytes.Buffer, file string, r trial.Result) {
	for _, f := range r.Failures {
		fmt.Fprintf(b, "%s:%d:%d: %s: %s\n", file, f.Pos.Line, f.Pos.Col, r.Case.Name, indented(f.Message))
		if f.Diff != "" {
			fmt.Fprintf(b, "    %s\n", indented(f.Diff))
		}
	}
	if !r.Passed() && len(r.Trail) > 0 {
		fmt.Fprintf(b, "  how its steps ended:\n    %s\n", indented(strings.Join(r.Trail, "\n")))
	}
}

// counted says how many: "1 case", "2 cases".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func indented(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

// writeTestJSON writes an array with one object per file.
func writeTestJSON(w io.Writer, all []tested) error {
	type failure struct {
		What    string `json:"what"`
		Line    int    `json:"line"`
		Column  int    `json:"column"`
		Message string `json:"message"`
		Diff    string `json:"diff,omitempty"`
	}
	type result struct {
		Name     string    `json:"name"`
		Line     int       `json:"line"`
		Column   int       `json:"column"`
		Passed   bool      `json:"passed"`
		Failures []failure `json:"failures"`
		Steps    []string  `json:"steps"`
	}
	type file struct {
		File     string          `json:"file"`
		Runbook  string          `json:"runbook,omitempty"`
		Passed   bool            `json:"passed"`
		Problems json.RawMessage `json:"problems"`
		Cases    []result        `json:"cases"`
	}
	out := make([]file, len(all))
	for i, t := range all {
		var problems bytes.Buffer
		if err := t.problems.WriteJSON(&problems); err != nil {
			return err
		}
		out[i] = file{t.file, t.runbook, t.failed() == 0 && t.problems.Err() == nil, problems.Bytes(), make([]result, len(t.results))}
		for j, r := range t.results {
			row := result{r.Case.Name, r.Case.Pos.Line, r.Case.Pos.Col, r.Passed(), []failure{}, append([]string{}, r.Trail...)}
			for _, f := range r.Failures {
				row.Failures = append(row.Failures, failure{f.What, f.Pos.Line, f.Pos.Col, f.Message, f.Diff})
			}
			out[i].Cases[j] = row
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
