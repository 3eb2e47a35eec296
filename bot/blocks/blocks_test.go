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
