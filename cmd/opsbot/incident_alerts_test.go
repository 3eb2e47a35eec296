package main

import (
	"net/http"
	"strings"
	"testing"

	"opsbot/internal/slacksim"
)

// alerting is a house to whose webhook Alertmanager may report.
func alerting(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.book("look.md", look("look", "alerts: [{ alertname: CacheGone, severity: critical }]"))
	h.write("webhook-token", webhookToken)
	h.configure("http: { addr: \"127.0.0.1:0\", webhook_token: file:webhook-token }\n")
	h.serve()
	return h
}

// reported has Alertmanager report the alert, three times over.
func (h *house) reported(status string, minute int) {
	h.t.Helper()
	for range 3 {
		if code, answer := h.report(webhookToken, alertReport(status, minute)); code != http.StatusOK {
			h.t.Fatalf("the webhook answers %d %s", code, answer)
		}
	}
}

// recorded waits until the record of the incident has the texts, each once.
func (h *house) recorded(ref string, texts ...string) {
	h.t.Helper()
	var got string
	poll(h.t, "the record is complete", func() bool {
		got = h.shown(ref)
		for _, text := range texts {
			if !strings.Contains(got, text) {
				return false
			}
		}
		return true
	})
	for _, text := range texts {
		if n := strings.Count(got, text); n != 1 {
			h.t.Errorf("%q is %d times on the record of %s:\n%s", text, n, ref, got)
		}
	}
}

// An alert becomes an incident by a click on its card; what it does from then
// on is on the timeline and in the thread, and offers to go on or back.
func TestIncidentFromAlert(t *testing.T) {
	t.Parallel()
	h := alerting(t)
	h.reported("firing", 10)
	card := h.find("ann", "CacheGone", "Firing", "Declare incident")
	if got := h.answer("ann", func() { h.click("ann", card, "Declare incident") }); !strings.Contains(got, "INC-1 is declared") {
		t.Errorf("ann was told %q", got)
	}
	head := h.headline("INC-1", "SEV?", "Nobody answers", "<@UANN>")
	h.seek(room, "UANN", "Alert CacheGone fires (instance=c1): Nobody answers")
	h.until("the card says whose it is", func() bool {
		m, _ := h.sim.Message(card.Channel, card.TS)
		return strings.Contains(m.Visible(), "Belongs to INC-1") && !strings.Contains(m.Visible(), "Declare incident")
	})
	h.recorded("INC-1", "| Started | 2026-01-05 03:10 UTC |", "- 2026-01-05 03:10 Alert CacheGone fires (instance=c1): Nobody answers", "because of the alert CacheGone")

	// Who looked at the old card is told; what is run from the new one is on the record.
	if got := h.answer("ben", func() { h.slash("ben", "/incident alert "+groupOf(t, card)) }); !strings.Contains(got, "CacheGone belongs to INC-1 already.") {
		t.Errorf("ben was told %q", got)
	}
	if got := h.answer("ben", func() { h.click("ben", card, "Run look") }); !strings.Contains(got, "It runs in the thread of INC-1.") {
		t.Errorf("ben was told %q", got)
	}
	h.seek(room, "UANN", "Look at the cache on demo succeeded")
	h.recorded("INC-1", "R1 Look at the cache on demo was started by ben.")

	h.mention("ann", head.TS, "status fixing")
	h.headline("INC-1", "Fixing")
	h.reported("resolved", 10)
	over := h.seek(room, "UANN", "Alert CacheGone ended. Is it over?")
	h.press("ann", over, "Move to monitoring")
	h.headline("INC-1", "Monitoring")
	h.reported("firing", 10) // was on its way for long
	h.reported("firing", 50)
	back := h.seek(room, "UANN", "Alert CacheGone fires: it is not over.")
	h.press("ben", back, "Reopen")
	h.headline("INC-1", "Fixing", "reopened 1 time")
	h.recorded("INC-1", "03:10 Alert CacheGone fires", "03:55 Alert CacheGone ended (instance=c1) after 45 min", "03:50 Alert CacheGone fires")
	h.noDefects()
}

// groupOf is the name that the card's button had for the group: what a click
// that comes late still asks for.
func groupOf(t *testing.T, card slacksim.Message) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(card.Blocks), "incident alert ")
	if !ok || len(rest) < 24 {
		t.Fatalf("the card has no such button: %s", card.Blocks)
	}
	return rest[:24]
}

// While something is going on, its alerts are on its timeline by themselves, and
// nobody declares it a second time by accident.
func TestAlertsDuringIncidents(t *testing.T) {
	t.Parallel()
	h := alerting(t)
	h.slash("ann", "/incident declare sev2 API down")
	head := h.headline("INC-1", "API down")
	h.reported("firing", 10)
	card := h.find("ann", "CacheGone", "Firing", "On the timeline of INC-1.", "Declare incident")
	h.recorded("INC-1", "Alert CacheGone fires (instance=c1): Nobody answers")
	for _, m := range h.sim.Thread(room, head.TS, "UANN") {
		if strings.Contains(m.Visible(), "CacheGone") {
			t.Errorf("an alert that nobody gave to the incident is in its thread: %s", m.Visible())
		}
	}

	h.slash("ann", "/incident declare sev3 Jobs are late")
	h.headline("INC-2", "Jobs are late")
	h.click("ben", card, "Declare incident")
	ask := h.find("UBEN", "2 incidents are going on. Is CacheGone about one of them?", "INC-1 API down", "INC-2 Jobs are late", "It is something else")
	h.press("ben", ask, "Add to INC-2")
	h.until("the card says whose it is", func() bool {
		m, _ := h.sim.Message(card.Channel, card.TS)
		return strings.Contains(m.Visible(), "Belongs to INC-2")
	})
	h.reported("resolved", 10)
	h.seek(room, "UANN", "Alert CacheGone ended. Is it over?")
	h.recorded("INC-2", "Alert CacheGone fires", "Alert CacheGone ended")
	h.recorded("INC-1", "Alert CacheGone fires", "Alert CacheGone ended") // where its beginning is

	// Of what nobody gave to one of them, nothing is guessed.
	h.slash("ann", "/incident cancel INC-2 the jobs were planned")
	h.headline("INC-2", "Canceled")
	h.slash("ann", "/incident declare sev3 Mail is slow")
	h.headline("INC-3", "Mail is slow")
	h.reported("firing", 50)
	again := h.find("ann", "CacheGone", "Firing", "Nothing runs before")
	if strings.Contains(again.Visible(), "INC-") {
		t.Errorf("the new card says %s", again.Visible())
	}
	h.click("ben", again, "Declare incident")
	ask = h.find("UBEN", "2 incidents are going on.", "INC-3 Mail is slow")
	h.press("ben", ask, "Declare incident")
	h.headline("INC-4", "Nobody answers", "<@UBEN>")
	h.recorded("INC-4", "Alert CacheGone fires")
	h.noDefects()
}
