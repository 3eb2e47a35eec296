package host

import (
	"slices"
	"strings"
	"testing"
)

// Whatever a value is, it stays one argument, or is refused.
func FuzzCommand(f *testing.F) {
	for _, text := range []string{"a", "--delete", "a b", "$(x)", "{other}", "../x", "ü", "a\nb", "\x00", ""} {
		f.Add(text)
	}
	c, err := Open(Config{Commands: map[string]Command{"x": {
		Argv: []string{"echo", "--day={day}", "{free}", "end"},
		Args: []Arg{{Name: "day"}, {Name: "free", Pattern: "(?s).*"}},
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmd, err := c.command(&RunArgs{Command: "x", Args: map[string]string{"day": "1", "free": text}})
		if err == nil && !slices.Equal(cmd.Argv, []string{"echo", "--day=1", text, "end"}) {
			t.Errorf("%q became %q", text, cmd.Argv)
		}
		if err != nil && len(text) <= maxValue && !strings.ContainsRune(text, 0) {
			t.Errorf("%q is refused: %v", text, err)
		}
		cmd, err = c.command(&RunArgs{Command: "x", Args: map[string]string{"day": text, "free": ""}})
		if err == nil && (strings.HasPrefix(text, "-") || strings.HasPrefix(text, ".") || strings.ContainsAny(text, " /\n\x00$;")) {
			t.Errorf("%q became %q", text, cmd.Argv)
		}
		_ = cmd.shown()
	})
}
