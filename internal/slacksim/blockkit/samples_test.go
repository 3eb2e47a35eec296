package blockkit

import (
	"encoding/json"
	"os"
	"testing"
)

// Samples that others wrote are accepted: each block on some
// surface, each element in some place.
func TestOthersSamples(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/slackblocks/valid.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples struct {
		Blocks, Elements, Views, Messages map[string]json.RawMessage
		RichText                          map[string]json.RawMessage `json:"rich_text"`
	}
	if err := json.Unmarshal(raw, &samples); err != nil {
		t.Fatal(err)
	}
	if len(samples.Blocks) < 20 || len(samples.Elements) < 20 || len(samples.Views) == 0 {
		t.Fatal("the samples are not there")
	}
	// accepted tries every surface and returns the fewest problems.
	accepted := func(blocks ...string) []Problem {
		var least []Problem
		for i, b := range blocks {
			for _, on := range []Surface{Message, Modal, Home} {
				p := Blocks(json.RawMessage("["+b+"]"), on, "/blocks")
				if len(p) == 0 {
					return nil
				}
				if i == 0 && on == Message || len(p) < len(least) {
					least = p
				}
			}
		}
		return least
	}
	for name, b := range samples.Blocks {
		if p := accepted(string(b)); len(p) > 0 {
			t.Errorf("block %s: %v", name, p)
		}
	}
	for name, e := range samples.Elements {
		if name == "url_source_basic" {
			e = json.RawMessage(`{"type":"task_card","task_id":"1","title":"t","sources":[` + string(e) + `]}`)
			if p := accepted(string(e)); len(p) > 0 {
				t.Errorf("element %s: %v", name, p)
			}
			continue
		}
		if p := accepted(actions("["+string(e)+"]"), accessory(string(e)), input(string(e)), `{"type":"context","elements":[`+string(e)+`]}`); len(p) > 0 {
			t.Errorf("element %s: %v", name, p)
		}
	}
	for name, v := range samples.Views {
		if p := View(v, "/view"); len(p) > 0 {
			t.Errorf("view %s: %v", name, p)
		}
	}
	for name, m := range samples.Messages {
		var fields struct{ Blocks json.RawMessage }
		if err := json.Unmarshal(m, &fields); err != nil {
			t.Fatal(err)
		}
		if len(fields.Blocks) == 0 || name == "webhook_message_basic" || name == "webhook_message_delete" {
			continue // these two use one block_id twice, which Slack refuses (rule 100)
		}
		if p := Blocks(fields.Blocks, Message, "/blocks"); len(p) > 0 {
			t.Errorf("message %s: %v", name, p)
		}
	}
	for name, r := range samples.RichText {
		section := `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[` + string(r) + `]}]}`
		if p := accepted(string(r), `{"type":"rich_text","elements":[`+string(r)+`]}`, section); len(p) > 0 {
			t.Errorf("rich text %s: %v", name, p)
		}
	}
}
