package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"opsbot/commands"
	"opsbot/internal/slacksim"
	"opsbot/runbooks/engine"
)

// byHand puts a check list into the place of the emergency restart, which the
// house has no Docker for.
func (h *house) byHand() {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "emergency-restart.md"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.book("emergency-restart.md", string(text))
}

// A runbook that is done by hand: people tick steps off and fill in what they
// saw, and what they saw decides how it goes on.
func TestByHand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	h.serve()
	well := map[string]string{"health": "Yes", "ready": "Yes", "stable": "Yes"}
	for _, c := range []struct {
		service string
		hands   []hand // what is ticked off, by whom does not matter
		state   engine.State
		card    []string
		report  string
	}{
		{"api", []hand{
			{"1. Save the evidence", map[string]string{"state": "running", "database": "No", "where": "/srv/evidence/api"}},
			{"3. Restart one replica at a time", nil},
			{"5. Is it well?", well},
		}, engine.Succeeded, []string{"✓ 3. Restart", "– 4. Start what has exited"}, "✓ evidence in /srv/evidence/api"},
		{"cache", []hand{
			{"1. Save the evidence", map[string]string{"state": "exited", "database": "No", "where": "/srv/evidence/cache"}},
			{"4. Start what has exited", nil},
			{"5. Is it well?", map[string]string{"health": "Yes", "ready": "No", "stable": "Yes"}},
			{"6. Escalate", map[string]string{"cause": "the disk is full"}},
		}, engine.Failed, []string{"– 3. Restart", "✓ 4. Start what has exited", "ready does not answer 200"}, "started"},
		{"ledger", []hand{
			{"1. Save the evidence", map[string]string{"state": "running", "database": "Yes", "where": "/srv/evidence/ledger"}},
		}, engine.Failed, []string{"ledger is a database: follow database troubleshooting, nothing was restarted"}, "evidence in /srv/evidence/ledger"},
		{"worker", []hand{
			{"1. Save the evidence", map[string]string{"state": "restarting", "database": "No", "where": "/srv/evidence/worker"}},
		}, engine.Failed, []string{"worker restarts in a loop"}, "evidence in /srv/evidence/worker"},
	} {
		h.slash("ann", "/runbook emergency-restart service="+c.service)
		for _, step := range c.hands {
			h.tick("ben", step)
		}
		report := h.find("ann", "*Emergency restart of "+c.service+"*", c.report)
		card := h.cardAbove(report)
		h.until("the card says the end", func() bool {
			m, _ := h.sim.Message(card.Channel, card.TS)
			card = m
			return strings.Contains(m.Visible(), "*Done*") || strings.Contains(m.Visible(), "*Failed*")
		})
		for _, want := range c.card {
			if !strings.Contains(card.Visible(), want) {
				t.Errorf("the card of %s lacks %q:\n%s", c.service, want, card.Visible())
			}
		}
		if got := h.newest(); got != string(c.state) {
			t.Errorf("the run for %s ended %s, want %s", c.service, got, c.state)
		}
	}
}

// A run lives where it was asked for: card, thread and questions stand in that
// channel and in no other.
func TestRunLivesWhereItWasStarted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	h.serve()
	if _, err := h.sim.As("ann").Slash("incident-response", "/runbook emergency-restart service=api"); err != nil {
		t.Fatal(err)
	}
	h.until("the question stands in #incident-response", func() bool {
		for _, m := range h.sim.History("incident-response", "ben") {
			if m.ReplyCount == 0 || !strings.HasPrefix(m.Visible(), "Emergency restart on demo") {
				continue
			}
			for _, r := range h.sim.Thread("incident-response", m.TS, "ben")[1:] {
				if strings.HasPrefix(r.Visible(), "By hand: 1. Save the evidence") {
					return true
				}
			}
		}
		return false
	})
	if h.says("Emergency restart on demo") {
		t.Errorf("#ops has it too:\n%s", h.transcript())
	}
}

// A hand is a manual step with what is filled in for it.
type hand struct {
	step   string
	fields map[string]string
}

// tick does a manual step: the newest open question of that name.
func (h *house) tick(person string, step hand) {
	h.t.Helper()
	var asked slacksim.Message
	h.until(person+" is asked to do "+step.step, func() bool {
		asked = slacksim.Message{}
		for _, m := range h.sim.History("ops", person) {
			if m.ReplyCount == 0 {
				continue
			}
			for _, r := range h.sim.Thread("ops", m.TS, person)[1:] {
				if strings.HasPrefix(r.Visible(), "By hand: "+step.step) && hasButton(r, "Done") {
					asked = r
				}
			}
		}
		return asked.TS != ""
	})
	h.click(person, asked, "Done")
	if step.fields == nil {
		return
	}
	view := h.view(person)
	if err := h.sim.As(person).Submit(view.ID, values(h.t, view, step.fields)); err != nil {
		h.t.Fatalf("%s fills in %s: %v", person, step.step, err)
	}
}

// values fills in a form: every input by its field's name.
func values(t *testing.T, view slacksim.View, fields map[string]string) map[string]map[string]any {
	t.Helper()
	var blocks []struct {
		Type    string `json:"type"`
		BlockID string `json:"block_id"`
		Element struct {
			ActionID string `json:"action_id"`
		} `json:"element"`
	}
	if err := json.Unmarshal(view.Blocks, &blocks); err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]any{}
	for _, b := range blocks {
		if name := strings.TrimPrefix(b.BlockID, commands.FieldPrefix); b.Type == "input" {
			values[b.BlockID] = map[string]any{b.Element.ActionID: fields[name]}
		}
	}
	if len(values) != len(fields) {
		t.Errorf("the form %q has %d inputs, want %d: %s", view.Title, len(values), len(fields), view.Blocks)
	}
	return values
}

// cardAbove is the message whose thread the reply stands in.
func (h *house) cardAbove(reply slacksim.Message) slacksim.Message {
	h.t.Helper()
	m, ok := h.sim.Message(reply.Channel, reply.ThreadTS)
	if !ok {
		h.t.Fatalf("there is no message above %s", reply.Visible())
	}
	return m
}

// newest is the state of the run that was started last.
func (h *house) newest() string {
	h.t.Helper()
	_, out, _ := h.opsbot("", "runs", "list", "--limit", "1", "--output", "json")
	var runs []runLine
	if err := json.Unmarshal([]byte(out), &runs); err != nil || len(runs) != 1 {
		h.t.Fatalf("runs list: %v\n%s", err, out)
	}
	return runs[0].State
}
