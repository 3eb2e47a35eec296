package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/slacksim"
	"opsbot/internal/store/storetest"
)

const checkOrders = `---
format: 1
runbook: check-orders
owner: sre
estimate: 2m
roles: { run: [oncall, sre], approve: [sre] }
uses: { ops: host, api: http }
timeout: 10m
---
# Check the orders

Are they there, and can they be read?

## 1. Are there paid orders?

~~~yaml step
id: paid
do: exec.probe
with: { command: paid }
~~~

## 2. How many are there?

~~~yaml step
id: count
do: exec.probe
with: { command: count }
~~~
`

const restoreOrders = `---
format: 1
runbook: restore-orders
owner: sre
severity: critical
estimate: 5m
roles: { run: [oncall, sre], approve: [sre] }
uses: { ops: host }
timeout: 1h
---
# Restore the orders

From the newest backup. What was ordered since then is lost.

## 1. Find the newest backup

~~~yaml step
id: backup
do: file.latest_backup
target: ops
with: { files: backups }
~~~

## 2. Put it in the place of the orders

~~~yaml step
id: restore
do: exec.run
target: ops
with: { command: restore }
confirm: { text: "Replace all orders by those of the backup?" }
review: { by: [sre] }
~~~

## 3. Place an order in the shop

~~~yaml step
id: order
do: manual
who: [oncall, sre]
~~~

## 4. Count what is there

~~~yaml step
id: count
do: exec.probe
target: ops
with: { command: count }
~~~
`

// A storyClock lets hours pass in a story that takes seconds: it makes what is
// on record older, to whole minutes since the story began. What comes due in a
// story does so after multiples of storyGrain, which is the most that people
// may take for what they do in one minute of it.
type storyClock struct {
	h      *house
	phase  time.Time // when the minute that it shows began
	minute int
}

const storyGrain = 150 * time.Second

// newClock starts one; nothing may have happened yet.
func newClock(h *house) *storyClock {
	return &storyClock{h: h, phase: time.Now().Truncate(time.Second)}
}

// at goes on to a minute. What has happened since the last call happened then.
func (c *storyClock) at(minute int) {
	c.h.t.Helper()
	now := time.Now().Truncate(time.Second)
	passed := time.Duration(minute-c.minute) * time.Minute
	storetest.Age(c.h.t, c.h.url, storetest.Aging{Since: c.phase, Grain: storyGrain, By: passed - now.Sub(c.phase)})
	c.phase, c.minute = now, minute
}

// ago is the time at which a minute of the story was.
func (c *storyClock) ago(minute int) time.Time {
	return c.phase.Add(time.Duration(minute-c.minute) * time.Minute).UTC()
}

// end puts the whole story to where it is told from: its minute 0 is then.
func (c *storyClock) end(then time.Time) {
	c.h.t.Helper()
	c.at(c.minute)
	zero := c.ago(0)
	storetest.Age(c.h.t, c.h.url, storetest.Aging{Since: zero.Add(-24 * time.Hour), Grain: time.Minute, Up: true, By: zero.Sub(then)})
}

// A major incident as two people live through it, from the run that finds it to
// the post-mortem, which is compared with testdata/postmortem.md.
func TestWholeMajorIncident(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h *house) {
		orders, backup := h.path("orders"), h.path("orders.backup")
		h.write("orders", "nothing that anybody could read\n")
		h.write("orders.backup", "1 paid\n2 paid\n3 open\n")
		night := time.Now().Add(-7 * time.Hour)
		if err := os.Chtimes(backup, night, night); err != nil {
			t.Fatal(err)
		}
		h.book("check-orders.md", strings.ReplaceAll(checkOrders, "~~~", "```"))
		h.book("restore-orders.md", strings.ReplaceAll(restoreOrders, "~~~", "```"))
		h.withOrders()
		h.configure("incidents: { role_nag: 10m }\n")
		clock := newClock(h)
		stop := h.serve()

		h.slash("ann", "/runbook check-orders")
		h.click("ann", h.find("UANN", "Check the orders on demo", "*Failed*", "Declare incident"), "Declare incident")
		head := h.headline("INC-1", "Check the orders failed on demo")
		say := func(person, text string) slacksim.Message { t.Helper(); return h.mention(person, head.TS, text) }
		sees := func(person string, texts ...string) slacksim.Message {
			t.Helper()
			return h.seek(room, "U"+strings.ToUpper(person), texts...)
		}

		clock.at(1)
		h.press("ann", sees("ann", "You are acting commander of INC-1"), "Accept command")
		h.headline("INC-1", "<@UANN>\n*Communications")
		say("ann", "comms @ben")
		h.press("ben", sees("ben", "asks you to be communications lead"), "Accept")
		h.headline("INC-1", "<@UBEN>")
		say("ann", "add @cleo as dba")
		sees("cleo", "asked you to help with INC-1")

		clock.at(4)
		h.press("ann", sees("ann", "keeps everybody informed"), "Assess")
		view := h.view("ann")
		if err := h.sim.As("ann").Submit(view.ID, map[string]map[string]any{
			"down": {"string": "Orders cannot be read"}, "affected": {"string": "everybody who orders"}, "impact": {"string": "The shop takes no orders"},
			"started": {"time": clock.ago(-12).Unix()}, "severity": {"enum": "SEV1 critical"},
		}); err != nil {
			t.Fatal(err)
		}
		h.headline("INC-1", "SEV1", "Triaging", "The shop takes no orders")

		clock.at(7)
		h.press("ann", sees("ann", "An update to the teams is 2 min overdue"), "Post update")
		h.fill("ann", "The file of the orders is broken; we look at the backup.")
		sees("ben", "Update to the teams by ann", "we look at the backup")
		say("ann", "run check-orders")
		sees("ben", "R2", "Check the orders on demo", "*Failed*")

		clock.at(8)
		say("ann", "status fixing the backup is whole")
		h.headline("INC-1", "Fixing")
		say("ann", "update users You cannot order at the moment. We are putting a backup in place.")
		draft := sees("ben", "drafted an update to the users", "You cannot order at the moment")
		say("ann", "run restore-orders")
		h.press("ann", sees("ann", "R3", "Replace all orders", "Confirm"), "Confirm")
		h.fill("ann", "demo")
		review := sees("ben", "R3", "Put it in the place of the orders", "Approve")
		h.press("ann", review, "Approve")
		sees("ann", "You started this run, so somebody else has to approve it.")

		clock.at(13)
		sees("ben", "An update to the users is 3 min overdue")
		sees("ben", "An update to the teams is 1 min overdue")
		h.press("ben", draft, "Publish")
		sees("ann", "Update to the users (Identified) by ann", "We are putting a backup in place")
		say("ben", "update teams We restore last night's backup.")
		sees("ann", "Update to the teams by ben")
		h.press("ben", review, "Approve")
		byHand := sees("ann", "By hand: 3. Place an order in the shop")
		if now, err := os.ReadFile(orders); err != nil || !strings.Contains(string(now), "1 paid") {
			t.Errorf("the orders are %q, %v", now, err)
		}
		seen, err := h.sim.As("dan").Reply(room, head.TS, "I can see my orders again")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.sim.As("ben").React(room, seen.TS, "pushpin"); err != nil {
			t.Fatal(err)
		}
		h.until("the message is on the timeline", func() bool { return h.marked(seen) })

		clock.at(16)
		h.press("ann", byHand, "Done")
		sees("ann", "R3", "Restore the orders on demo", "*Done*")
		sees("ann", "R3 Restore the orders is done, and its checks passed. Is it over?", "Move to monitoring")
		say("ann", "note at "+clock.ago(-14).Format("2006-01-02 15:04 UTC")+" version 1.8 was deployed")
		sees("ann", "Noted on the timeline of INC-1")
		say("ann", "update teams The orders are back; we check.")
		sees("ben", "Update to the teams by ann", "The orders are back")
		say("ann", "run check-orders")
		h.press("ann", sees("ann", "R4 Check the orders found nothing wrong. Is it over?"), "Move to monitoring")
		h.headline("INC-1", "Monitoring")

		clock.at(19)
		say("ben", "update both You can order again. We keep an eye on it.")
		sees("ann", "Update to the users (Monitoring) by ben")
		say("ann", "task Write orders to a new file, then rename it @ben by 2030-01-15")
		sees("ben", "Task 1: Write orders")
		say("cleo", "task Restore a backup every month")
		sees("ben", "Task 2: Restore a backup every month")

		clock.at(22)
		say("ann", "resolve Version 1.8 broke the file of the orders while writing it; the backup of the night was put in its place.")
		h.headline("INC-1", "Resolved")
		h.press("ben", sees("ben", "drafted an update to the users", "It works again"), "Publish")
		sees("ann", "Update to the users (Resolved) by ann")

		clock.at(80)
		say("ann", "done 2")
		sees("ann", "Task 2 is done")
		say("ann", "task Tell those who ordered in the night")
		sees("ann", "Task 3: Tell those")
		say("ann", "postmortem")
		prompt := sees("ann", "made from the record", "Still empty: Root cause, Prevention")
		h.press("ann", prompt, "Close")
		sees("ann", "INC-1 cannot be closed yet", "Root cause", "Prevention", "An owner for task 3")
		for section, text := range map[string]string{
			"Root cause":          "The new version wrote the file in place, and was ended in the middle of it.",
			"What went well":      "The backup of the night was whole, and nobody had to look for it.",
			"Changes to runbooks": "`restore-orders` should say how old the backup is before it asks.",
		} {
			h.press("ann", prompt, section)
			h.fill("ann", text)
			poll(t, section+" is written", func() bool { return strings.Contains(h.exported(), text) })
		}
		prompt = sees("ann", "made from the record", "Still empty: Prevention.")
		whole := h.path("postmortem.md")
		h.write("postmortem.md", strings.Replace(h.exported(), "_What keeps it from happening again, or makes it shorter?_", "Orders are written to a new file that takes the old one's place at the end.", 1))
		if code, out, errs := h.opsbot("", "incidents", "upload", "INC-1", whole); code != exitWell {
			t.Fatalf("upload exits with %d: %s%s", code, out, errs)
		}
		sees("ann", "Everything that must be written is.")
		say("ann", "task 3 @ann by 2030-01-02")
		poll(t, "the task is ann's", func() bool { return strings.Contains(h.exported(), "| ann | 2030-01-02 |") })
		clock.at(95)
		h.press("ann", prompt, "Close")
		h.headline("INC-1", "Closed")

		stop()
		clock.end(time.Date(2026, 11, 26, 23, 36, 0, 0, time.UTC))
		text := strings.ReplaceAll(h.exported(), h.dir, "/srv")
		text = regexp.MustCompile(`7h[0-9ms]* old`).ReplaceAllString(text, "7h old")
		// Typed without its seconds, it may be rounded to either minute.
		text = strings.Replace(text, "- 23:21 ann: version 1.8", "- 23:22 ann: version 1.8", 1)
		golden(t, filepath.Join("testdata", "postmortem.md"), text)
		h.noDefects()
	})
}

// withOrders lets runbooks read the file of the orders, and restore it.
func (h *house) withOrders() {
	h.t.Helper()
	orders := h.path("orders")
	h.edit("      metrics: { scrape:", `      ops:
        files: { backups: `+orders+`.back* }
        commands:
          paid: { argv: [grep, -c, paid, `+orders+`], effect: read }
          count: { argv: [wc, -l, `+orders+`], effect: read }
          restore: { argv: [cp, `+orders+`.backup, `+orders+`], effect: destructive }
      metrics: { scrape:`)
}

// exported is the post-mortem of INC-1 as a terminal gives it out.
func (h *house) exported() string {
	h.t.Helper()
	code, out, errs := h.opsbot("", "incidents", "export", "INC-1")
	if code != exitWell {
		h.t.Fatalf("export exits with %d: %s", code, errs)
	}
	return out
}

// golden compares a text with a file, which -update writes.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; -update writes it (-want +got):\n%s", file, diff)
	}
}
