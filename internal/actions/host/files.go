package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
)

// A file is a regular one that a configured path matches.
type file struct {
	path     string
	bytes    int64
	modified time.Time
}

// glob is the configured path of a name.
func (c *Conn) glob(name string) (string, error) {
	glob, ok := c.config.Files[name]
	if !ok {
		err := fault.New(fault.NotFound, "The connection has no files named %s.", clip(name))
		if len(c.config.Files) > 0 {
			err = err.Hinted("It has %s.", strings.Join(slices.Sorted(maps.Keys(c.config.Files)), ", "))
		}
		return "", err
	}
	return glob, nil
}

// matching are the files that a configured path matches, and how many links and
// folders do, which do not count.
func matching(glob string) (files []file, others int, err error) {
	dir, pattern := filepath.Split(glob)
	entries, err := os.ReadDir(dir)
	if err != nil {
		says := "cannot be read"
		if errors.Is(err, fs.ErrNotExist) {
			says = "is not there"
		}
		return nil, 0, fault.New(fault.NotFound, "The folder %s %s.", dir, says).
			Hinted("Is it mounted where opsbot runs, and readable for it?").Because(err)
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); !ok {
			continue
		}
		info, err := e.Info() // of a link itself, not of where it leads
		if err != nil {
			continue // gone since it was listed
		}
		if !info.Mode().IsRegular() {
			others++
			continue
		}
		files = append(files, file{filepath.Join(dir, e.Name()), info.Size(), info.ModTime()})
	}
	return files, others, nil
}

// newest returns the file of a name that was modified last, whatever its name
// says, and how many there are. Links and folders do not count.
func (c *Conn) newest(name string) (file, int, error) {
	glob, err := c.glob(name)
	if err != nil {
		return file{}, 0, err
	}
	files, others, err := matching(glob)
	if err != nil {
		return file{}, 0, err
	}
	if len(files) == 0 {
		err := fault.New(fault.NotFound, "No file is %s.", glob)
		if others > 0 {
			err = err.Hinted("%d that match are links or folders, which do not count.", others)
		}
		return file{}, 0, err
	}
	return slices.MaxFunc(files, func(a, b file) int {
		return cmp.Or(a.modified.Compare(b.modified), strings.Compare(a.path, b.path))
	}), len(files), nil
}

// one returns a file that must be among those of a name.
func (c *Conn) one(name, path string) (file, error) {
	glob, err := c.glob(name)
	if err != nil {
		return file{}, err
	}
	if ok, err := filepath.Match(glob, path); err != nil || !ok || filepath.Clean(path) != path {
		return file{}, fault.New(fault.Forbidden, "%s is not among the files %s of this connection.", clip(path), name).Hinted("They are %s.", glob)
	}
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is a %s", info.Mode().Type())
	}
	if err != nil {
		return file{}, fault.New(fault.NotFound, "The file %s cannot be read.", path).Hinted("Is it there, and a regular file?").Because(err)
	}
	return file{path, info.Size(), info.ModTime()}, nil
}

// age is how long ago a file was modified. One from the future is refused.
func (f file) age(now time.Time) (time.Duration, error) {
	const skew = 5 * time.Minute
	age := now.Sub(f.modified)
	if age < -skew {
		return 0, fault.New(fault.Conflict, "The file %s was modified in the future, at %s.", f.path, f.modified.UTC().Format(time.RFC3339)).
			Hinted("The clocks differ: its age says nothing.")
	}
	return max(age, 0).Round(time.Second), nil
}

// size writes bytes for people: "96 MiB", "16.3 MiB", "812 B".
func size(n int) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1023.95 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[u:u+1] + "iB"
}
