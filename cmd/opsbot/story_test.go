package main

import (
	"slices"
	"strings"
	"testing"

	"opsbot/runbooks/engine"
)

// The newcomer's story: a cache that has gone bad is repaired by two people in
// Slack, and what must survive survives.
func TestCacheFix(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	before := h.strangers()

	h.slash("ann", "/runbook")
	h.find("UANN", "cache-fix", "Cache troubleshooting", "more, which cannot run here", "emergency-restart")

	h.slash("ann", "/runbook cache-fix window=5s")
	card := h.find("UANN", "Cache troubleshooting", "Is Redis well?")
	confirm := h.find("UANN", "Remove up to", "demo", "Confirm")

	// Others cannot confirm for Ann, and a wrong phrase is told at the field.
	h.click("ann", confirm, "Confirm")
	if err := h.submit("ann", h.view("ann"), "prod"); err == nil || !strings.Contains(err.Error(), "Type exactly: demo") {
		t.Errorf("a wrong phrase gave %v", err)
	}
	h.fill("ann", "demo")

	// The starter's own approval is refused with a reason; a stranger's too.
	review := h.find("UANN", "Remove up to", "Approve")
	if !strings.Contains(string(review.Blocks), "<!subteam^S") {
		t.Errorf("the review pings nobody: %s", review.Blocks)
	}
	h.click("ann", review, "Approve")
	h.find("UANN", "started")
	h.click("dan", review, "Approve")
	h.find("UDAN", "sre")
	h.click("ben", review, "Approve")

	h.until("the report is there", (&pilot{house: h}).landed)
	report := h.find("UANN", "Cache fix", "hit rate", "→")
	for _, want := range []string{"pass", "✓ removed", "keys"} {
		if !strings.Contains(report.Visible(), want) {
			t.Errorf("the report lacks %q:\n%s", want, report.Visible())
		}
	}
	h.until("the card says the end", func() bool {
		m, _ := h.sim.Message(card.Channel, card.TS)
		return strings.Contains(m.Visible(), "ucceeded") || strings.Contains(m.Visible(), "Done")
	})
	if state := h.ended(); state != string(engine.Succeeded) {
		t.Errorf("the run ended %s", state)
	}
	if after := h.strangers(); after != before {
		t.Errorf("what is no cache was touched: %s before, %s after", before, after)
	}
	t.Log(h.transcript())
	for _, m := range h.sim.History("ops", "UANN") {
		if m.FromApp() && m.Text == "" {
			t.Errorf("a message has no text for notifications: %s", m.Visible())
		}
	}
}

// strangers describes the keys beside the cache, which nothing may touch.
func (h *house) strangers() string {
	h.t.Helper()
	var all []string
	c := h.cache()
	for _, pattern := range []string{"prod_queue*", "session:*", "settings:*"} {
		keys := c.Scan(h.t.Context(), 0, pattern, 1000).Iterator()
		for keys.Next(h.t.Context()) {
			all = append(all, keys.Val())
		}
		if err := keys.Err(); err != nil {
			h.t.Fatal(err)
		}
	}
	if len(all) == 0 {
		h.t.Error("the patient has nothing beside its cache")
	}
	return strings.Join(slices.Compact(sorted(all)), " ")
}
