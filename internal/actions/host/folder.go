package host

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// known are the files of all names that fit the pattern, newest first. Folders
// that cannot be read have none.
func (c *Conn) known(pattern string) []file {
	var list []file
	for _, name := range slices.Sorted(maps.Keys(c.config.Files)) {
		dir, glob := filepath.Split(c.config.Files[name])
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			target := e.Name()
			if strings.Contains(pattern, "/") {
				target = path
			}
			ours, _ := filepath.Match(glob, e.Name())
			fits, _ := filepath.Match(pattern, target)
			if info, err := e.Info(); err == nil && ours && fits && info.Mode().IsRegular() {
				list = append(list, file{path, info.Size(), info.ModTime()})
			}
		}
	}
	slices.SortFunc(list, func(a, b file) int {
		if n := b.modified.Compare(a.modified); n != 0 {
			return n
		}
		return strings.Compare(a.path, b.path)
	})
	return slices.CompactFunc(list, func(a, b file) bool { return a.path == b.path })
}

// Newest implements runbooks.Folder. Only files that the configuration names
// are looked at.
func (c *Conn) Newest(pattern string) (runbooks.File, error) {
	list := c.known(pattern)
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
	list := slices.DeleteFunc(c.known(pattern), func(f file) bool { return f.path != name && filepath.Base(f.path) != name })
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
