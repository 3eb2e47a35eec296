package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opsbot/internal/config"
	"opsbot/runbooks"
	"opsbot/runbooks/library"
)

// loadLibrary reads the built-in runbooks and those of the configured folders.
func loadLibrary(cfg *config.Config, catalog *runbooks.Catalog) (*runbooks.Library, runbooks.Problems) {
	dirs := []fs.FS{library.FS}
	for _, dir := range cfg.Runbooks {
		dirs = append(dirs, os.DirFS(dir))
	}
	lib, problems := runbooks.Load(catalog, dirs...)
	for i := range problems {
		problems[i].File = located(cfg.Runbooks, problems[i].File)
	}
	return lib, problems
}

// located is where a configured folder has the file; a built-in runbook keeps
// its bare name.
func located(dirs []string, file string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, file)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	return file
}

func newLint(c *common) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "lint [PATH …]",
		Short: "Check runbooks, and the configuration where --config names one",
		Long: `Check runbooks: files, or folders with *.md files in them. Without a PATH the
built-in runbooks and those of the configuration are checked.

Exit code: 0 no errors (warnings may be there), 1 errors, 2 wrong usage.`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			return lint(cmd.Context(), c, paths, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text, json, or github (annotations)")
	return cmd
}

func lint(ctx context.Context, c *common, paths []string, format string) error {
	write, ok := map[string]func(runbooks.Problems, io.Writer) error{
		"text": runbooks.Problems.WriteText, "json": runbooks.Problems.WriteJSON, "github": runbooks.Problems.WriteGitHub,
	}[format]
	if !ok {
		return usage("--format is text, json or github, not %q", format)
	}
	cfg, err := c.load()
	if err != nil {
		var problems config.Problems
		if errors.As(err, &problems) {
			return exit{exitFailed, err}
		}
		return err
	}
	catalog, err := newCatalog(nil)
	if err != nil {
		return err
	}
	if err := foldersExist(cfg.Runbooks); err != nil {
		return err
	}
	lib, problems := loadLibrary(cfg, catalog)
	files := namesOf(lib.All())
	if len(paths) > 0 {
		if lib, files, problems, err = parseFiles(lib, catalog, paths); err != nil {
			return err
		}
	}
	if c.file != "" {
		server := serverOf(ctx, cfg)
		for _, l := range server.Lacks {
			if !l.Warning { // whether or not a runbook needs it: opsbot would not start
				problems = append(problems, runbooks.Problem{File: c.file, Code: "RB224", Message: fmt.Sprintf("%s cannot work on %s of %s", l.Family, l.Connection, l.Environment), Hint: l.Why})
			}
		}
		for _, p := range lib.Check(server) {
			if slices.Contains(files, p.File) {
				problems = append(problems, p)
			}
		}
	}
	if err := write(problems, c.std.Out); err != nil {
		return fmt.Errorf("write the problems: %w", err)
	}
	if problems.Err() != nil {
		return exit{code: exitFailed}
	}
	fmt.Fprintf(c.std.Err, "%d runbooks checked, no errors\n", len(files))
	if c.file == "" {
		fmt.Fprintln(c.std.Err, "without --config, groups, secrets, named commands and named SQL were not checked")
	}
	return nil
}

// parseFiles checks files by themselves, and how they fit to the runbooks of
// the library.
func parseFiles(lib *runbooks.Library, catalog *runbooks.Catalog, paths []string) (*runbooks.Library, []string, runbooks.Problems, error) {
	files, err := markdownFiles(paths)
	if err != nil {
		return nil, nil, nil, err
	}
	var parsed []*runbooks.Runbook
	var problems runbooks.Problems
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, nil, exit{exitUsage, fmt.Errorf("read %s: %w", file, err)}
		}
		rb, found := runbooks.Parse(file, text, catalog)
		problems = append(problems, found...)
		if rb != nil {
			parsed = append(parsed, rb)
		}
	}
	lib, found := lib.With(parsed...)
	for _, p := range found {
		if slices.Contains(files, p.File) {
			problems = append(problems, p)
		}
	}
	return lib, files, problems, nil
}

func namesOf(rbs []*runbooks.Runbook) []string {
	files := make([]string, len(rbs))
	for i, rb := range rbs {
		files[i] = rb.File
	}
	return files
}

// serverOf is what runbooks can be compared with.
func serverOf(ctx context.Context, cfg *config.Config) runbooks.Server {
	s := runbooks.Server{Groups: slices.Collect(maps.Keys(cfg.Groups)), Lacks: lacksOf(ctx, cfg), VerifiedFor: time.Duration(cfg.Policy.VerifiedWithin) * 24 * time.Hour, Today: time.Now()}
	for name, env := range cfg.Environments {
		s.Secrets = slices.AppendSeq(s.Secrets, maps.Keys(cfg.SecretsOf(name)))
		for _, conn := range env.Connections {
			s.Commands = slices.AppendSeq(s.Commands, maps.Keys(conn.Commands))
			s.Queries = slices.AppendSeq(s.Queries, maps.Keys(conn.Queries))
			s.Indexes = slices.AppendSeq(s.Indexes, maps.Keys(conn.Indexes))
			s.Archives = slices.AppendSeq(s.Archives, maps.Keys(conn.Archives))
		}
	}
	return s
}

func foldersExist(dirs []string) error {
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usage("the runbooks folder %s is not there", dir)
		}
	}
	return nil
}

// markdownFiles lists the files named, and the *.md files directly in the
// folders named.
func markdownFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, usage("%s is not there", path)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		found, err := filepath.Glob(filepath.Join(path, "*.md"))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			if !runbooks.About(file) {
				files = append(files, file)
			}
		}
	}
	if len(files) == 0 {
		return nil, usage("there is no runbook (*.md) in %s", strings.Join(paths, ", "))
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}
