package slacksim_test

import (
	"strings"
	"testing"

	"opsbot/internal/slacksim"
)

// The limits of slackapi/manifest-schema (M).
func TestManifest(t *testing.T) {
	t.Parallel()
	for want, manifest := range map[string]string{
		"":                                    `{"display_information":{"name":"x"}}`,
		"display_information.name is missing": `{}`,
		"at most 35":                          `{"display_information":{"name":"` + strings.Repeat("x", 36) + `"}}`,
		"must start with /":                   `{"display_information":{"name":"x"},"features":{"slash_commands":[{"command":"runbook"}]}}`,
		"global or message":                   `{"display_information":{"name":"x"},"features":{"shortcuts":[{"name":"x","callback_id":"y","type":"z"}]}}`,
		"at most 24":                          `{"display_information":{"name":"x"},"features":{"shortcuts":[{"name":"` + strings.Repeat("x", 25) + `","callback_id":"y","type":"global"}]}}`,
		"mapping was used where sequence is expected": "display_information: {name: x}\nfeatures: {slash_commands: {a: b}}",
	} {
		s, err := slacksim.Open(slacksim.Options{Manifest: []byte(manifest)})
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", manifest, err)
			} else if err := s.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", manifest, err, want)
		}
	}
	s := workspace(t)
	if c := s.Commands(); len(c) != 2 || c[0].Command != "/runbook" || !c[0].ShouldEscape {
		t.Errorf("Commands() = %+v", c)
	}
	if c := s.Shortcuts(); len(c) != 3 || c[0].Message || !c[1].Message {
		t.Errorf("Shortcuts() = %+v", c)
	}
}

// A fakeT records what New would say to a failing test.
type fakeT struct {
	cleanup []func()
	errors  []string
}

func (f *fakeT) Helper()                        {}
func (f *fakeT) Cleanup(c func())               { f.cleanup = append(f.cleanup, c) }
func (f *fakeT) Errorf(format string, a ...any) { f.errors = append(f.errors, format) }
func (f *fakeT) Fatalf(format string, a ...any) { panic(format) }

// A message of the app that no test read fails it, unless it says otherwise.
func TestUnexpectedMessages(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		read func(t *testing.T, s *slacksim.Server)
		want int
	}{
		{"unread", func(*testing.T, *slacksim.Server) {}, 1},
		{"expected", func(t *testing.T, s *slacksim.Server) { s.ExpectMessage(t, "#general", "hello") }, 0},
		{"forgiven", func(_ *testing.T, s *slacksim.Server) { s.IgnoreRest() }, 0},
		{"deleted", func(t *testing.T, s *slacksim.Server) {
			m := s.Unread()[0]
			form(t, s, "chat.delete", "channel", m.Channel, "ts", m.TS)
		}, 0},
	} {
		f := &fakeT{}
		s := slacksim.New(f)
		if a := form(t, s, "chat.postMessage", "channel", "general", "text", "hello"); a.err() != "" {
			t.Fatal(a.text)
		}
		row.read(t, s)
		for _, c := range f.cleanup {
			c()
		}
		if len(f.errors) != row.want {
			t.Errorf("%s: %q", row.name, f.errors)
		}
	}
}
