package runbooks

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const maxFiles = 500

// A Library is a set of runbooks by name and alias. It is immutable and safe
// for concurrent use. A nil Library is empty.
type Library struct {
	runbooks []*Runbook // by slug
	names    map[string]*Runbook
	dropped  map[string]bool // slugs of those that do not fit
}

// Load reads every *.md file at the top of each directory. A file of a later
// one replaces the file of the same name of an earlier one, and a runbook of a
// later one the runbook of the same name. A file that is broken is absent from
// the library; so is one that names a runbook that does not exist or does not
// fit. Files are named in problems as the directory names them.
func Load(cat *Catalog, dirs ...fs.FS) (*Library, Problems) {
	var problems Problems
	type file struct {
		dir  int
		name string
	}
	files := map[string]file{}
	for i, dir := range dirs {
		names, err := fs.Glob(dir, "*.md")
		if err != nil {
			problems = append(problems, Problem{File: ".", Code: "RB107", Message: "the directory can't be read: " + err.Error()})
			continue
		}
		if len(names) > maxFiles {
			problems = append(problems, Problem{File: ".", Code: "RB107", Message: fmt.Sprintf("there are more than %d files", maxFiles)})
			names = names[:maxFiles]
		}
		for _, name := range names {
			if About(name) {
				continue
			}
			files[name] = file{i, name}
		}
	}
	bySlug := map[string]*Runbook{}
	for _, name := range sortedKeys(files) {
		f := files[name]
		text, err := fs.ReadFile(dirs[f.dir], name)
		if err != nil {
			problems = append(problems, Problem{File: name, Code: "RB107", Message: "the file can't be read: " + reason(err)})
			continue
		}
		rb, ps := Parse(path.Base(name), text, cat)
		problems = append(problems, ps...)
		if rb == nil {
			continue
		}
		rb.layer = f.dir
		other := bySlug[rb.Slug]
		switch {
		case other == nil || other.layer < rb.layer:
			bySlug[rb.Slug] = rb
		case other.layer == rb.layer:
			problems = append(problems, twice(rb, name, other))
		}
	}
	l, ps := newLibrary(bySlug)
	problems = append(problems, ps...)
	problems.sort()
	return l, problems
}

// About reports whether a file of a folder tells about its runbooks, and is none.
func About(file string) bool { return strings.EqualFold(filepath.Base(file), "README.md") }

// With returns the library with further runbooks in it, as if they came from a
// folder after the others: each in the place of one of the same name. It also
// says what does not fit together then.
func (l *Library) With(more ...*Runbook) (*Library, Problems) {
	bySlug, last := map[string]*Runbook{}, 0
	for _, rb := range l.All() {
		bySlug[rb.Slug], last = rb, max(last, rb.layer)
	}
	var problems Problems
	for _, rb := range more {
		rb.layer = last + 1
		if other := bySlug[rb.Slug]; other != nil && other.layer == rb.layer {
			problems = append(problems, twice(rb, rb.File, other))
			continue
		}
		bySlug[rb.Slug] = rb
	}
	l, found := newLibrary(bySlug)
	return l, append(problems, found...)
}

// twice says that a folder has a runbook in two files.
func twice(rb *Runbook, file string, other *Runbook) Problem {
	return Problem{File: file, Pos: rb.at["runbook"], Code: "RB112", Message: fmt.Sprintf("runbook %s is also in %s", rb.Slug, other.File)}
}

func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// newLibrary checks runbooks against each other and drops those that do not
// fit, until all that are left do.
func newLibrary(bySlug map[string]*Runbook) (*Library, Problems) {
	var problems Problems
	dropped := map[string]bool{}
	for {
		l := &Library{names: map[string]*Runbook{}, dropped: dropped}
		for _, slug := range sortedKeys(bySlug) {
			l.runbooks = append(l.runbooks, bySlug[slug])
			l.names[slug] = bySlug[slug]
		}
		found := l.check()
		bad := map[string]bool{}
		for _, p := range found {
			if !slices.Contains(problems, p) {
				problems = append(problems, p)
			}
			for slug, rb := range bySlug {
				if rb.File == p.File && !p.Warning {
					bad[slug] = true
				}
			}
		}
		if len(bad) == 0 {
			return l, problems
		}
		for slug := range bad {
			delete(bySlug, slug)
			dropped[slug] = true
		}
	}
}

// Find returns the runbook with the name, alias or number.
func (l *Library) Find(name string) (*Runbook, bool) {
	if l == nil {
		return nil, false
	}
	rb, ok := l.names[strings.ToLower(name)]
	return rb, ok
}

// All returns every runbook: those with a number first, in its order, then the
// others by name.
func (l *Library) All() []*Runbook {
	if l == nil {
		return nil
	}
	list := slices.Clone(l.runbooks)
	slices.SortStableFunc(list, func(a, b *Runbook) int {
		switch {
		case a.Number == b.Number:
			return strings.Compare(a.Slug, b.Slug)
		case a.Number == 0:
			return 1
		case b.Number == 0:
			return -1
		}
		return a.Number - b.Number
	})
	return list
}

// Suggest returns the name or alias that a mistyped one most likely meant, or
// "" if none is near.
func (l *Library) Suggest(name string) string {
	if l == nil {
		return ""
	}
	return nearest(name, sortedKeys(l.names))
}
