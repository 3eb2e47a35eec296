package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/internal/slacksim"
)

// shown is the record of an incident as a terminal shows it.
func (h *house) shown(ref string) string {
	h.t.Helper()
	code, out, errs := h.opsbot("", "incidents", "show", ref)
	if code != exitWell {
		h.t.Fatalf("show exits with %d: %s", code, errs)
	}
	return out
}

// What people say in the room comes onto the timeline when somebody marks it,
// at the time when it was said, and edits and deletions follow.
func TestIncidentTimeline(t *testing.T) {
	t.Parallel()
	onBoth(t, testIncidentTimeline)
}

func testIncidentTimeline(t *testing.T, h *house) {
	h.serve()
	h.slash("ann", "/incident declare sev2 API down")
	head := h.headline("INC-1", "SEV2", "API down")
	h.seek(room, "UANN", "You are acting commander of INC-1") // so the thread is known to be its room
	reply := func(who, text string) slacksim.Message {
		t.Helper()
		m, err := h.sim.As(who).Reply(room, head.TS, text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	marked := func(m slacksim.Message) {
		t.Helper()
		h.until("the message is marked", func() bool {
			now, _ := h.sim.Message(m.Channel, m.TS)
			for _, r := range now.Reactions {
				if r.Name == "white_check_mark" {
					return true
				}
			}
			return false
		})
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := reply("dan", "deploy 1.8 went out")
	try(h.sim.As("ben").React(room, first.TS, "pushpin"))
	marked(first)
	try(h.sim.As("dan").Edit(room, first.TS, "deploy 1.8 went out at noon"))

	second := reply("cleo", "rolling back <now>")
	try(h.sim.As("ann").Pin(room, second.TS))
	marked(second)
	try(h.sim.As("cleo").Delete(room, second.TS))

	third := reply("ben", "@cleo says in #ops: error rate is 40 %")
	try(h.sim.As("ann").MessageShortcut("incident_timeline", room, third.TS))
	marked(third)

	fourth := reply("ben", "wrong thread, sorry")
	try(h.sim.As("dan").React(room, fourth.TS, "pushpin"))
	marked(fourth)
	try(h.sim.As("dan").Unreact(room, fourth.TS, "pushpin"))

	reply("ben", "nobody keeps this")
	elsewhere, err := h.sim.As("dan").Say("ops", "lunch?")
	try(err)
	try(h.sim.As("dan").React("ops", elsewhere.TS, "pushpin"))
	if err := h.sim.As("ann").MessageShortcut("incident_timeline", "ops", elsewhere.TS); err != nil {
		t.Fatal(err)
	}
	h.find("UANN", "does not stand in an incident's thread")
	h.mention("ann", head.TS, "note at 2026-11-25 04:05 UTC @dan's disk was filling, see #ops")
	h.seek(room, "UANN", "Noted on the timeline of INC-1 at 2026-11-25 04:05 UTC")

	var got string
	want := []string{
		"- 2026-11-25 04:05 ann: @dan's disk was filling, see #ops (put on record at ",
		`dan: deploy 1.8 went out at noon (edited; it said "deploy 1.8 went out")`,
		"cleo: rolling back &lt;now> (the message was deleted)",
		"ben: @cleo says in #ops: error rate is 40 %",
	}
	poll(t, "everything is on the timeline", func() bool {
		got = h.shown("INC-1")
		for _, w := range want {
			if !strings.Contains(got, w) {
				return false
			}
		}
		return !strings.Contains(got, "wrong thread")
	})
	for _, not := range []string{"nobody keeps this", "lunch"} {
		if strings.Contains(got, not) {
			t.Errorf("the timeline has %q:\n%s", not, got)
		}
	}
	h.noDefects()
}

var nudge = regexp.MustCompile(`An update to the teams is (due|\d+ s overdue)`)

// whole is what a reminder says that comes after a whole interval of 4 s.
var whole = regexp.MustCompile(`([4-9]|\d\d) s overdue`)

// nudges are the reminders that stand in the thread.
func (h *house) nudges(head slacksim.Message) (list []slacksim.Message) {
	for _, m := range h.sim.Thread(room, head.TS, "UANN")[1:] {
		if !m.Deleted && nudge.MatchString(m.Visible()) {
			list = append(list, m)
		}
	}
	return list
}

// The teams' clock: a reminder with a draft, replaced by a louder one, then a
// direct message; an answer takes it away; and after a restart one comes,
// however long nobody was there.
func TestIncidentClocks(t *testing.T) {
	t.Parallel()
	onBoth(t, testIncidentClocks)
}

func testIncidentClocks(t *testing.T, h *house) {
	h.configure("incidents: { severities: { sev1: { teams: 16s, users: 0s } }, snooze: 1h, role_nag: 1h, budgets: { declared: 0s } }\n")
	stop := h.serve()
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	first := h.seek(room, "UANN", "An update to the teams is due", "Declared since", "No runbook was run yet.", "Post update", "No change", "Snooze 1 h")
	h.until("the second reminder took the first one's place", func() bool {
		m, ok := h.sim.Message(first.Channel, first.TS)
		list := h.nudges(head)
		return (!ok || m.Deleted) && len(list) == 1 && strings.Contains(list[0].Visible(), "overdue")
	})
	direct := func() (n int) {
		for _, m := range h.sim.History("@opsbot", "UANN") {
			if m.FromApp() && strings.Contains(m.Visible(), "INC-1 (API down): An update to the teams is") {
				n++
			}
		}
		return n
	}
	var last []slacksim.Message
	h.until("ann is told directly, and in the thread", func() bool {
		last = h.nudges(head)
		return direct() == 1 && len(last) == 1 && whole.MatchString(last[0].Visible())
	})
	h.press("ann", last[0], "No change")
	h.seek(room, "UANN", "No change: declared.")
	h.until("the reminder is gone", func() bool {
		m, ok := h.sim.Message(last[0].Channel, last[0].TS)
		return !ok || m.Deleted
	})

	// Nobody is there for several intervals.
	stop()
	poll(t, "the clock has been due for long", func() bool { return strings.Contains(h.due(), "overdue by more than 12s") })
	h.serve()
	h.until("one reminder comes", func() bool { return len(h.nudges(head)) == 1 })
	h.mention("ann", head.TS, "snooze")
	h.seek(room, "UANN", "ann snoozed the teams' clock for 1 h")
	h.until("no reminder is left", func() bool { return len(h.nudges(head)) == 0 })
	if n := direct(); n != 1 {
		t.Errorf("ann was told directly %d times", n)
	}
	h.headline("INC-1", "snoozed until")
	record := h.shown("INC-1")
	if n := strings.Count(record, "An update to the teams was due"); n > 5 {
		t.Errorf("there were %d reminders:\n%s", n, record)
	}
	h.noDefects()
}

// due says how late the teams' clock is, by the record.
func (h *house) due() string {
	h.t.Helper()
	code, out, errs := h.opsbot("", "incidents", "show", "INC-1", "--output", "json")
	if code != exitWell {
		h.t.Fatalf("show exits with %d: %s", code, errs)
	}
	var record incidents.Record
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		h.t.Fatal(err)
	}
	if c := record.Incident.Clock(incidents.ForTeams); c.Overdue(time.Now()) > 12*time.Second {
		return "overdue by more than 12s"
	}
	return "not yet"
}

// A channel of its own, on demand; and a private one, with what the bot has
// said before taken back, when it is a matter of security.
func TestIncidentRooms(t *testing.T) {
	t.Parallel()
	onBoth(t, testIncidentRooms)
}

func testIncidentRooms(t *testing.T, h *house) {
	h.serve()
	h.slash("ann", "/incident declare API: down & out")
	head := h.headline("INC-1", "API: down")
	h.mention("ann", head.TS, "add "+"<@UBEN> as dba")
	h.seek(room, "UBEN", "asked you to help with INC-1")
	h.mention("ann", head.TS, "channel")
	h.seek(room, "UANN", "INC-1 goes on in its own channel")
	const own = "inc-1-api-down-out"
	h.seek(own, "UBEN", "This is the room of INC-1: API: down")
	h.headline("INC-1", "room: <#")
	h.mention("ann", head.TS, "channel")
	h.seek(room, "UANN", "INC-1 has a channel already")

	// Commands work there, and what matters is told in both places.
	if _, err := h.sim.As("ann").Say(own, "@opsbot status fixing"); err != nil {
		t.Fatal(err)
	}
	h.seek(own, "UBEN", "Declared → Fixing")
	h.seek(room, "UANN", "Declared → Fixing")

	// Dan declares something that he should not have said aloud.
	h.slash("dan", "/incident declare Customer list leaked")
	second := h.headline("INC-2", "Customer list leaked")
	h.seek(room, "UDAN", "You are acting commander of INC-2") // so the thread is known to be its room
	h.mention("ann", second.TS, "lead me")
	h.seek(room, "UANN", "ann is commander of INC-2 now")
	h.mention("ann", second.TS, "security on")
	const private = "inc-2-restricted"
	h.seek(private, "UANN", "This is the room of INC-2")
	h.until("nothing about it is said in public", func() bool {
		head, _ := h.sim.Message(room, second.TS)
		said := head.Visible() + head.Text
		for _, m := range h.sim.Thread(room, second.TS, "UDAN")[1:] {
			if m.FromApp() && !m.Deleted {
				said += m.Visible() + m.Text
			}
		}
		for _, m := range h.sim.History("ops", "UANN") {
			if m.FromApp() && !m.Ephemeral() {
				said += m.Visible() + m.Text
			}
		}
		return strings.Contains(head.Visible(), "INC-2 · restricted") && !strings.Contains(said, "leaked") && !strings.Contains(said, "commander")
	})
	if code, out, errs := h.opsbot("", "incidents", "show", "INC-2"); code != exitFailed || strings.Contains(out+errs, "leaked") {
		t.Errorf("show exits with %d: %s%s", code, out, errs)
	}

	// A channel that somebody archives is not the end of it.
	h.seek(private, "UANN", "ann has command of INC-2")
	for channel, person := range map[string]string{own: "ben", private: "ann"} {
		if err := h.sim.As(person).Archive(channel); err != nil {
			t.Fatal(err)
		}
	}
	h.seek(room, "UANN", "ben archived the channel of INC-1. It goes on in this thread")
	h.seek(private+"-2", "UANN", "This is the room of INC-2")
	h.mention("ann", head.TS, "channel")
	h.seek(own+"-2", "UBEN", "This is the room of INC-1")

	// What was said in a channel of its own is taken back, too.
	h.mention("ann", head.TS, "security on")
	h.seek("inc-1-restricted", "UANN", "This is the room of INC-1")
	h.until("nothing of it can be read in its former channel", func() bool {
		for _, m := range h.sim.History(own+"-2", "UDAN") {
			if m.FromApp() && !m.Deleted && m.Text != "INC-1 is restricted." {
				return false
			}
		}
		return true
	})
	h.noDefects()
}

// A user group is asked for help as a whole; whoever comes says so.
func TestGroupCalled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	h.mention("ann", head.TS, "add @sre as dba")
	asked := h.seek(room, "UBEN", "ann asks for your help with INC-1 (API down) as dba.")
	if !strings.Contains(string(asked.Blocks), "<!subteam^S") {
		t.Errorf("nobody is called by %s", asked.Blocks)
	}
	h.press("ben", asked, "I'll help")
	h.seek(room, "UBEN", "ben works on INC-1 as dba.")
	h.mention("ann", head.TS, "add @nobodies")
	h.seek(room, "UANN", "@nobodies")
	said := h.record("ann", "INC-1")
	for _, want := range []string{"ann asked @sre for help (dba).", "ben came as responder (dba)."} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not on the timeline:\n%s", want, said)
		}
	}
	h.noDefects()
}

// A read that opsbot's own restart cut short was not tried in vain: it is no
// delta from the plan.
func TestRestartIsNoTry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	begun, leave := h.path("begun"), h.path("leave")
	h.edit("      metrics: { scrape:", `      ops:
        commands:
          paid: { argv: [sh, -c, "touch `+begun+`; until test -e `+leave+`; do sleep 0.05; done; exit 1"], effect: read }
          count: { argv: ["true"], effect: read }
      metrics: { scrape:`)
	h.book("check-orders.md", strings.ReplaceAll(checkOrders, "~~~", "```"))
	stop := h.serve()
	h.slash("ann", "/runbook check-orders")
	poll(t, "the step runs", func() bool { _, err := os.Stat(begun); return err == nil })
	stop()
	h.write("leave", "")
	h.serve()
	h.click("ann", h.find("UANN", "Check the orders on demo", "*Failed*", "Declare incident"), "Declare incident")
	h.headline("INC-1", "Check the orders failed on demo")
	poll(t, "the run is in the post-mortem", func() bool {
		return strings.Contains(h.exported(), "| Check the orders |") || strings.Contains(h.exported(), "R1 Check the orders")
	})
	if text := h.exported(); strings.Contains(text, "was tried") {
		t.Errorf("the restart is told as a try:\n%s", text)
	}
	h.noDefects()
}
