package blocks_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/internal/outbox"
)

var update = flag.Bool("update", false, "write testdata/*.json anew")

// TestCorpus checks every sample against Slack's limits and its golden file.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files := map[string]bool{}
	for _, s := range blocks.Corpus() {
		file := filepath.Join("testdata", s.Name+"."+s.Kind+".json")
		if files[file] {
			t.Errorf("two samples are called %s", s.Name)
		}
		files[file] = true
		for _, w := range check(s.Kind, s.JSON) {
			t.Errorf("%s: %s", s.Name, w)
		}
		if *update {
			if err := os.WriteFile(file, s.JSON, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(s.JSON)); diff != "" {
			t.Errorf("%s differs from its golden file (go test -update writes it anew):\n%s", s.Name, diff)
		}
	}
	have, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range have {
		if !files[f] {
			t.Errorf("%s belongs to no sample", f)
		}
	}
}

// What a message has to cut goes along as a file, and the message says so.
func TestLongOutput(t *testing.T) {
	t.Parallel()
	code := strings.Repeat("prod_user:1234 <string>\n", 400)
	m := blocks.Render(outbox.Line{Text: "Output of step 3", Code: code}, noon)
	if m.File == nil || m.File.Text != code || m.File.Title != "Output of step 3" {
		t.Fatalf("the file is %+v", m.File)
	}
	shown := string(asJSON(t, m))
	if !strings.Contains(shown, "more characters; all of it is in the file below)") {
		t.Errorf("the message does not say that it is cut: %s", shown)
	}
	if m := blocks.Render(outbox.Line{Text: "x", Code: "short"}, noon); m.File != nil {
		t.Errorf("a short output is sent as the file %+v", m.File)
	}
	m = blocks.Render(outbox.File{Name: "keys.txt", Title: "Keys"}, noon)
	if diff := cmp.Diff(blocks.Message{Text: "Keys", File: &blocks.File{Name: "keys.txt", Title: "Keys", Text: "(empty)\n"}}, m); diff != "" {
		t.Error(diff)
	}
}

// Every message is told in its text too: who reads notifications alone misses
// nothing that has to be decided.
func TestFallbackText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		content outbox.Content
		want    string
	}{
		{outbox.Ask{Kind: "review", Number: 12, Environment: "demo", StepTitle: "4. Clear our keys", Question: "Remove <9,412> keys?",
			Impact: []string{"removes 9,412 of 9,730 keys matching prod_*"}, Groups: []string{"sre", "S0614TZR7"}, Expires: noon.Add(15 * time.Minute), State: "open"},
			"R12 on demo: Review, 4. Clear our keys. Remove &lt;9,412&gt; keys? Asked of @sre or <!subteam^S0614TZR7>. Until 12:15 UTC (15 min left).\n• removes 9,412 of 9,730 keys matching prod_*"},
		{outbox.RunCard{Number: 12, Title: "Cache troubleshooting", Environment: "demo", State: "succeeded", Verdict: "pass", Next: "Done.",
			Steps: []outbox.StepLine{{Title: "1. Is Redis well?", Mark: "pass", Found: "primary"}, {Title: "2. Warm", Mark: "skipped", Found: "not needed"}}},
			"R12 Cache troubleshooting on demo: Done.\n✓ 1. Is Redis well? — primary\n– 2. Warm — skipped: not needed"},
		{outbox.Report{Number: 12, Title: "Cache troubleshooting", Verdict: "fail", BodyMarkup: "<!channel> *Cache fix* fail"},
			"R12 Cache troubleshooting failed.\n@channel *Cache fix* fail"},
		{outbox.Line{Users: []string{"U1", "<!here>"}, Text: "R12 <!channel> needs you"}, "<@U1> and &lt;!here&gt; R12 &lt;!channel&gt; needs you"},
		{outbox.Answer{}, "opsbot has something to say"},
	} {
		if diff := cmp.Diff(tt.want, blocks.Render(tt.content, noon).Text); diff != "" {
			t.Error(diff)
		}
	}
}

// asJSON is a message as chat.postMessage would send it.
func asJSON(t testing.TB, m blocks.Message) []byte {
	t.Helper()
	data, err := json.Marshal(struct {
		Text   string        `json:"text"`
		Blocks []slack.Block `json:"blocks,omitempty"`
	}{m.Text, m.Blocks})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzRender feeds each kind of content with arbitrary values.
func FuzzRender(f *testing.F) {
	f.Add("run_card", []byte(`{"title":"<!channel>","state":"ready","steps":[{"title":"a","mark":"pass"}]}`))
	f.Add("ask", []byte(`{"approval":"x","question":"`+"```"+`","choices":[{"id":"approve","label":"Go","style":"danger"}],"users":["U1"]}`))
	f.Add("line", []byte(`{"text":"&<>","code":"`+strings.Repeat("<", 3000)+`"}`))
	f.Add("report", []byte(`{"title":"x","body_markup":"`+strings.Repeat("```a&amp;```", 900)+`"}`))
	f.Add("answer", []byte(`{"text":"x","items":[{"name":"n","command":"c","label":"l"}]}`))
	f.Add("file", []byte(`{"text":"x"}`))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		c, err := outbox.Decode(kind, data)
		if err != nil {
			return
		}
		if r, ok := c.(outbox.Report); ok && !balanced(r.BodyMarkup) {
			return // markup is the author's, who must close what he opens
		}
		for _, w := range check("message", asJSON(t, blocks.Render(c, time.Unix(1763867640, 0)))) {
			t.Error(w)
		}
	})
}

// balanced reports whether the checker would accept the markup as it is, apart
// from its length.
func balanced(s string) bool {
	c := &judge{}
	c.markup("", strings.NewReplacer("<!channel>", "", "<!here>", "", "<!everyone>", "").Replace(s))
	return len(c.wrong) == 0
}
