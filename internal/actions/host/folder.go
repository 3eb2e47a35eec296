package host

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// known are the files of all names that fit the pattern, newest first. A folder
// that cannot be read is an error, unless the pattern is one of another folder:
// what is not seen there may be the newest.
func (c *Conn) known(pattern string) ([]file, error) {
	whole := strings.Contains(pattern, "/")
	var list []file
	for _, name := range slices.Sorted(maps.Keys(c.config.Files)) {
		glob := c.config.Files[name]
		if here, _ := filepath.Match(filepath.Dir(pattern), filepath.Dir(glob)); whole && !here {
			continue
		}
		files, _, err := matching(glob)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			target := f.path
			if !whole {
				target = filepath.Base(f.path)
			}
			if fits, _ := filepath.Match(pattern, target); fits {
				list = append(list, f)
			}
		}
	}
	slices.SortFunc(list, func(a, b file) int {
		return cmp.Or(b.modified.Compare(a.modified), strings.Compare(a.path, b.path))
	})
	return slices.CompactFunc(list, func(a, b file) bool { return a.path == b.path }), nil
}

// Newest implements runbooks.Folder. Only files that the configuration names
// are looked at.
func (c *Conn) Newest(pattern string) (runbooks.File, error) {
	list, err := c.known(pattern)
	if err != nil {
		return runbooks.File{}, err
	}
	if len(list) == 0 {
		return runbooks.File{}, fault.New(fault.NotFound, "There is no file like %s.", pattern).Hinted("%s", c.where())
	}
	if _, err := list[0].age(time.Now()); err != nil {
		return runbooks.File{}, err
	}
	return runbooks.File{Path: list[0].path, Modified: list[0].modified}, nil
}

// Named implements runbooks.Folder.
func (c *Conn) Named(pattern, name string) (runbooks.File, error) {
	list, err := c.known(pattern)
	if err != nil {
		return runbooks.File{}, err
	}
	list = slices.DeleteFunc(list, func(f file) bool { return f.path != name && filepath.Base(f.path) != name })
	switch len(list) {
	case 0:
		return runbooks.File{}, fault.New(fault.NotFound, "There is no file %s.", clip(name)).Hinted("%s", c.where())
	case 1:
		return runbooks.File{Path: list[0].path, Modified: list[0].modified}, nil
	}
	return runbooks.File{}, fault.New(fault.Conflict, "%s could be %s or %s.", clip(name), list[0].path, list[1].path).Hinted("Give the whole path.")
}

// where says which files there can be.
func (c *Conn) where() string {
	if len(c.config.Files) == 0 {
		return "The connection names no files."
	}
	return "Files are looked for at " + strings.Join(slices.Sorted(maps.Values(c.config.Files)), ", ") + ", and have to be readable for opsbot."
}
