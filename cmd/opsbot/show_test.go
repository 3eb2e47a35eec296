package main

import (
	"strings"
	"testing"
)

// A reviewer sees in Slack what the terminal draws: Slack takes the drawing,
// and only the person who asked sees it.
func TestShowInSlack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	defer h.serve()()
	said := h.answer("UBEN", func() { h.slash("UBEN", "/runbook show cache-fix") })
	for _, want := range []string{
		"╠═ 4. Clear our keys [clear]", "DESTRUCTIVE: redis.flush on cache", "GATE 2: 1 other person of sre agrees within 15m",
		"╭─┤    fail ▸ go to escalate", "╰▸┌─ 7. Escalate [escalate]", "done ▸ offer performance-diagnosis",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the picture in Slack lacks %q:\n%s", want, said)
		}
	}
	said = h.answer("UBEN", func() { h.slash("UBEN", "/runbook show full-recovery") })
	if !strings.Contains(said, "It cannot run here") || !strings.Contains(said, `docker connection named "docker", which demo does not have`) {
		t.Errorf("what cannot run does not say why:\n%s", said)
	}
}
