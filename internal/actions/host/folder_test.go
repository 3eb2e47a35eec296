package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/actions/host"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A parameter finds files among those that the configuration names, by a pattern
// of names or of whole paths, and no others.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, at("a/one.dump"), "older", 2*time.Hour)
	put(t, at("b/two.dump"), "newer", time.Hour)
	put(t, at("a/both.dump"), "here", 3*time.Hour)
	put(t, at("b/both.dump"), "and there", 4*time.Hour)
	put(t, at("a/new.log"), "no dump", time.Minute)
	put(t, at("secret.dump"), "not configured", time.Minute)
	if err := os.Symlink(at("secret.dump"), at("a/link.dump")); err != nil {
		t.Fatal(err)
	}
	conn := open(t, host.Config{Files: map[string]string{"a": at("a/*"), "again": at("a/o*"), "b": at("b/*.dump")}})
	for _, c := range []struct {
		pattern, name string // "" is the newest
		want          string
		kind          fault.Kind
		says          string
	}{
		{"*.dump", "", "b/two.dump", "", ""},
		{at("a/*.dump"), "", "a/one.dump", "", ""},
		{"*.dump", "one.dump", "a/one.dump", "", ""},
		{"*.dump", at("b/both.dump"), "b/both.dump", "", ""},
		{at("b/*"), "both.dump", "b/both.dump", "", ""},
		{"*.dump", "both.dump", "", fault.Conflict, "Give the whole path."},
		{"*.dump", "new.log", "", fault.NotFound, "There is no file new.log. Files are looked for at "},
		{"*.dump", "link.dump", "", fault.NotFound, "There is no file link.dump"},
		{"*.dump", at("secret.dump"), "", fault.NotFound, "secret.dump"},
		{"*.sql", "", "", fault.NotFound, "There is no file like *.sql"},
	} {
		var f runbooks.File
		var err error
		if c.name == "" {
			f, err = conn.Newest(c.pattern)
		} else {
			f, err = conn.Named(c.pattern, c.name)
		}
		if c.want != "" && (err != nil || f.Path != at(c.want) || time.Since(f.Modified) < time.Hour) {
			t.Errorf("%q of %s is %+v, %v; want %s", c.name, c.pattern, f, err, c.want)
		}
		if c.want == "" && (fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.says)) {
			t.Errorf("%q of %s: %v", c.name, c.pattern, err)
		}
	}
	// A folder that cannot be read may have a newer one; elsewhere it does not matter.
	gone := open(t, host.Config{Files: map[string]string{"a": at("a/*"), "gone": at("c/*")}})
	if _, err := gone.Newest("*.dump"); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Say(err), at("c")+"/ is not there") {
		t.Errorf("with a folder that is not there: %v", err)
	}
	if f, err := gone.Newest(at("a/*.dump")); err != nil || f.Path != at("a/one.dump") {
		t.Errorf("beside a folder that is not there: %+v, %v", f, err)
	}
	put(t, at("a/future.dump"), "the clock is wrong", -time.Hour)
	if _, err := conn.Newest("*.dump"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a file of the future: %v", err)
	}
	if _, err := open(t, host.Config{}).Newest("*"); !strings.Contains(fault.Say(err), "names no files") {
		t.Errorf("without files: %v", err)
	}
}
