package kit_test

import (
	"encoding/json"
	"flag"
	"html"
	"html/template"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/slacksim/page/kit"
)

var update = flag.Bool("update", false, "write the golden files anew")

var renderer = kit.Renderer{
	Name: func(k kit.Kind, id string) (string, bool) {
		names := map[string]string{"U1": "Ann Lee", "U2": "Ben <b>", "C1": "ops", "S1": "oncall"}
		return names[id], names[id] != ""
	},
	Link: func(channel string) string {
		if channel == "C1" {
			return "/?as=U2&channel=C1"
		}
		return ""
	},
	Me:   "U2",
	Now:  time.Unix(1795417200, 0).Add(90 * time.Minute),
	Zone: time.FixedZone("CET", 3600),
}

func surface() kit.Surface {
	return kit.Surface{
		ID:     "s",
		Errors: map[string]string{"confirm": `that is not "demo" <b>`},
		State:  map[string]map[string]any{"n": {"n": map[string]any{"type": "number_input", "value": "7"}}},
		Failed: map[kit.Spot]string{{Block: "javascript:act", Action: "run:stop"}: "Operation timed out."},
		Choices: func(kit.Kind) []kit.Choice {
			return []kit.Choice{{Value: "U1", Label: "Ann Lee"}, {Value: "U2", Label: "Ben"}}
		},
	}
}

// render renders a test file by the kind its name ends in.
func render(name string, in []byte) template.HTML {
	switch filepath.Ext(name) {
	case ".mrkdwn":
		return renderer.Mrkdwn(string(in))
	case ".markdown":
		return renderer.Markdown(string(in))
	}
	return renderer.Blocks(in, surface())
}

func inputs(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, ext := range []string{"mrkdwn", "markdown", "json"} {
		found, err := filepath.Glob("testdata/*." + ext)
		if err != nil || len(found) == 0 {
			t.Fatalf("no test files of kind %s: %v", ext, err)
		}
		names = append(names, found...)
	}
	return names
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range inputs(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			in, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := string(render(name, in))
			safe(t, got)
			golden := name + ".html"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", golden, diff)
			}
		})
	}
}

var (
	tag       = regexp.MustCompile(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"]*")?)*)\s*>`)
	attribute = regexp.MustCompile(`\s+([a-zA-Z-]+)(?:="([^"]*)")?`)
	allowed   = map[string]bool{}
	void      = map[string]bool{"br": true, "hr": true, "input": true}
)

func init() {
	for _, name := range strings.Fields("a b blockquote br button code details div em fieldset figcaption figure h2 h3 hr input label legend li ol optgroup option p pre s select small span strong summary table td template textarea th time tr ul") {
		allowed[name] = true
	}
}

// safe checks what no input may bring about: a tag that the package does not
// write, an event handler, a style, a link to a script, or tags that do not
// nest.
func safe(t *testing.T, out string) {
	t.Helper()
	if strings.Contains(out, "ZgotmplZ") {
		t.Fatal("the template engine dropped a value")
	}
	var open []string
	for {
		i := strings.IndexByte(out, '<')
		if i < 0 {
			break
		}
		m := tag.FindStringSubmatch(out[i:])
		if m == nil || !strings.HasPrefix(out[i:], m[0]) {
			t.Fatalf("a < that begins no tag of ours: %.80q", out[i:])
		}
		out = out[i+len(m[0]):]
		name := m[2]
		if !allowed[name] {
			t.Fatalf("tag %s", name)
		}
		for _, a := range attribute.FindAllStringSubmatch(m[3], -1) {
			value := strings.ToLower(strings.TrimSpace(html.UnescapeString(a[2])))
			switch {
			case strings.HasPrefix(a[1], "on"), a[1] == "style", a[1] == "src", a[1] == "srcdoc", a[1] == "formaction":
				t.Fatalf("attribute %s", a[1])
			case (a[1] == "href" || a[1] == "data-url") && !strings.HasPrefix(value, "http://") && !strings.HasPrefix(value, "https://") && !strings.HasPrefix(value, "mailto:") && !strings.HasPrefix(value, "tel:") && !strings.HasPrefix(value, "/?"):
				t.Fatalf("%s=%q", a[1], value)
			}
		}
		switch {
		case void[name]:
		case m[1] == "":
			open = append(open, name)
		case len(open) == 0 || open[len(open)-1] != name:
			t.Fatalf("</%s> closes %v", name, open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Fatalf("%v stay open", open)
	}
}

func FuzzText(f *testing.F) {
	for _, name := range inputs(f) {
		in, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(in))
	}
	f.Fuzz(func(t *testing.T, s string) {
		safe(t, string(renderer.Mrkdwn(s)))
		safe(t, string(renderer.Markdown(s)))
		safe(t, string(renderer.Plain(s, true)))
		renderer.Note(s)
	})
}

func FuzzBlocks(f *testing.F) {
	for _, name := range inputs(f) {
		if filepath.Ext(name) != ".json" {
			continue
		}
		in, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := string(renderer.Blocks(in, surface()))
		if strings.Contains(out, "cannot be shown") {
			t.Fatalf("the template failed: %s", out)
		}
		safe(t, out)
	})
}

func TestMrkdwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a\nb", "a<br>b"},
		{"*a* *b*", "<strong>a</strong> <strong>b</strong>"},
		{"a*b*c", "a*b*c"},
		{"* a*", "* a*"},
		{"**a**", "**a**"},
		{"_a_b_", "<em>a_b</em>"},
		{"`*a*`", "<code>*a*</code>"},
		{"> a\n> b\nc", "<blockquote>a<br>b</blockquote>c"},
		{">>> a\nb", "<blockquote>a<br>b</blockquote>"},
		{"a\n```b```\nc", `a<pre class="code" tabindex="0"><code>b</code></pre>c`},
		{"&amp;lt;", "&amp;lt;"},
		{"&quot;", "&amp;quot;"},
		{"<@U2>", `<span class="mention me">@Ben &lt;b&gt;</span>`},
		{":+1:", `<span class="emoji" role="img" aria-label="+1">👍</span>`},
	} {
		if got := string(renderer.Mrkdwn(c.in)); got != c.want {
			t.Errorf("Mrkdwn(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestNote(t *testing.T) {
	t.Parallel()
	got := renderer.Note("*R12* by <@U1>:\n```code &lt;x&gt;``` :warning: <https://example.com|docs>")
	if want := "*R12* by @Ann Lee: code <x> ⚠️ docs"; got != want {
		t.Errorf("Note() = %q, want %q", got, want)
	}
}

// Hostile texts of the longest length must not take long: no marker may look
// for its partner over and over. A quadratic search would outlast the test's
// own limit.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"*a ", "_a ", "*_~`", "<", "<@", "`", "```", "[", "[a](", "**", "*a _b ~c ", ":", ":a", "&gt;", ">\n", "<https://"} {
		s := strings.Repeat(unit, 160_000/len(unit))
		renderer.Mrkdwn(s)
		renderer.Markdown(s)
		renderer.Plain(s, true)
		renderer.Note(s)
	}
}

func TestNotBlocks(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "null", "{}", "[", `"x"`} {
		if got := renderer.Blocks(json.RawMessage(in), kit.Surface{}); got != "" {
			t.Errorf("Blocks(%q) = %q, want nothing", in, got)
		}
	}
}
