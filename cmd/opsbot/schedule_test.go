package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// look is a runbook that only looks; front is more front matter.
func look(slug, front string) string {
	return fmt.Sprintf(`---
format: 1
runbook: %s
owner: sre
roles: { run: [oncall, sre] }
uses: { cache: redis }
timeout: 5m
%s
---
# Look at the cache

A runbook of a test.

## 1. Is it there?

`+"```yaml step"+`
id: ping
do: redis.ping
timeout: 10s
`+"```"+`
`, slug, front)
}

// book puts a runbook beside the built-in ones, before the bot starts.
func (h *house) book(name, text string) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "books")
	if _, err := os.Stat(dir); err != nil {
		if err := os.Mkdir(dir, 0o700); err != nil {
			h.t.Fatal(err)
		}
		h.configure("runbooks: [./books]\n")
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// The bot was away when a runbook was to start: it starts late, in the ops
// channel, and everybody sees when it comes next.
func TestScheduleStory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.book("look.md", look("look", `schedule: [{ cron: "0 8 * * *", tz: Europe/Berlin, notify: oncall }]`))
	stop := h.serve()
	h.slash("dan", "/runbook schedule")
	h.find("UDAN", "Look at the cache on demo", "Next on ", " 08:00 CE", "(0 8 * * *, Europe/Berlin).", "It has not fired yet.")
	stop()
	past := time.Now().AddDate(0, 0, -3)
	storetest.Exec(t, "sqlite:"+h.path("opsbot.db"), fmt.Sprintf("UPDATE schedules SET next_at = %d WHERE runbook = 'look'", past.UnixMilli()))
	code, out, errs := h.opsbot("", "schedule")
	if code != 0 || !strings.Contains(out, "Europe/Berlin") || !strings.Contains(out, past.UTC().Format("2006-01-")) {
		t.Errorf("opsbot schedule gave %d:\n%s%s", code, out, errs)
	}

	h.serve()
	h.find("UDAN", "Look at the cache", "started by the schedule of look")
	h.find("UDAN", "It was due at 08:00 CE", "nothing of opsbot was running then")
	h.find("UDAN", "Look at the cache on demo succeeded")
	h.slash("dan", "/runbook schedule")
	h.find("UDAN", "Look at the cache on demo", "Last on ", "R1, which succeeded.")
	code, out, errs = h.opsbot("", "schedule", "--output", "json")
	var list []engine.Timing
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		t.Fatalf("opsbot schedule --output json gave %d, %v:\n%s%s", code, err, out, errs)
	}
	list = slices.DeleteFunc(list, func(x engine.Timing) bool { return x.Runbook != "look" }) // the built-in ones have schedules too
	if len(list) != 1 || list[0].Last == nil || list[0].Last.Number != 1 || !list[0].Kept || !list[0].Next.After(time.Now()) {
		t.Errorf("opsbot schedule --output json: %s", out)
	}
}
