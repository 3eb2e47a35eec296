package main

import (
	"os"
	"strings"
	"testing"

	"opsbot/runbooks/engine"
	"opsbot/runbooks/library"
)

// Nothing but the clearing cures the patient: with that step left out, by a
// runbook of the house's own that replaces the built-in one, the watch sees no
// hit rate, a person is asked, and the run ends failed.
func TestWithoutTheClearingTheRunFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	text, err := library.FS.ReadFile("cache-fix.md")
	if err != nil {
		t.Fatal(err)
	}
	mine := replaced(t, string(text), `when: (steps.before?.result?.rate ?? 1) < params.want and ok("keys")`, `when: "false"`)
	mine = replaced(t, mine, "watch: { every: 5s, for: 5m,", "watch: { every: 1s, for: 8s,")
	if err := os.Mkdir(h.path("runbooks"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("runbooks/mine.md", mine)
	h.configure("runbooks: [runbooks]\n")
	h.serve()
	removals := h.removals()

	h.slash("ann", "/runbook cache-fix window=5s")
	asked := h.find("ann", "By hand: 7. Escalate", "Page the owner of the cache")
	h.click("ann", asked, "Done")
	form := h.view("ann")
	if !strings.Contains(string(form.Blocks), "What did you find?") {
		t.Errorf("the form asks for no cause: %s", form.Blocks)
	}
	if err := h.submit("ann", form, "nobody cleared it"); err != nil {
		t.Fatalf("the form was refused: %v", err)
	}
	h.find("ann", "*Cache fix* fail", "– removed 0 keys", "hit rate 0 % → 0 %")
	card := h.find("ann", "Cache troubleshooting on demo", "*Failed*")
	for _, want := range []string{"– 4. Clear our keys — skipped", "✗ 6. Watch the hit rate rise", "✓ 7. Escalate"} {
		if !strings.Contains(card.Visible(), want) {
			t.Errorf("the card lacks %q:\n%s", want, card.Visible())
		}
	}
	if state := h.ended(); state != string(engine.Failed) {
		t.Errorf("the run ended %s", state)
	}
	if after := h.removals(); after != removals {
		t.Errorf("Redis was asked to remove keys: %q, before %q", after, removals)
	}
}

// replaced is text with old, which must be there, replaced.
func replaced(t *testing.T, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %q to replace", old)
	}
	return strings.Replace(text, old, new, 1)
}
