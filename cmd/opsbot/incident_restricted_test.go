package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"opsbot/internal/slacksim"
)

// directly waits for a direct message that shows all the texts.
func (h *house) directly(person string, texts ...string) (found slacksim.Message) {
	h.t.Helper()
	h.until(person+" is told directly: "+strings.Join(texts, ", "), func() bool {
		for _, m := range h.sim.History("@opsbot", person) {
			all := []slacksim.Message{m}
			if m.ReplyCount > 0 {
				all = h.sim.Thread("@opsbot", m.TS, person)
			}
			for _, m := range all {
				if m.FromApp() && !m.Deleted && shows(m, texts) {
					found = m
				}
			}
		}
		return found.TS != ""
	})
	return found
}

// Who does not work on a restricted incident reads nothing of it by any verb,
// and every refusal is on record; who is asked comes in.
func TestRestrictedIncident(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare Customer list leaked")
	head := h.headline("INC-1", "leaked")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	h.mention("ann", head.TS, "lead me")
	h.seek(room, "UANN", "ann is commander of INC-1 now")
	h.mention("ann", head.TS, "security on")
	const private = "inc-1-restricted"
	h.seek(private, "UANN", "This is the room of INC-1")
	restricted := h.headline("INC-1", "INC-1 · restricted")
	if seen := restricted.Visible(); strings.Contains(seen, "Post update") || strings.Contains(seen, "Roles") || !strings.Contains(seen, "More") {
		t.Errorf("everybody sees the buttons of\n%s", seen)
	}

	asked := []string{
		"assess", "sev", "sev 3", "status", "update", "update all is lost", "no-change", "snooze", "note x", "hide", "task x", "done 1", "add me",
		"run", "runs", "show", "export", "postmortem", "resolve", "resolve x", "close", "cancel x", "reopen x", "merge", "channel", "page", "security off",
		"roles", "more", "approve R1", "edit 00000000-0000",
	}
	const no = "INC-1 is restricted to those who work on it."
	for _, line := range asked {
		verb, rest, _ := strings.Cut(line, " ")
		if got := h.answer("dan", func() { h.slash("dan", "/incident "+verb+" INC-1 "+rest) }); !strings.Contains(got, no) || strings.Contains(got, "leaked") {
			t.Errorf("%s says %q", line, got)
		}
		if views := h.sim.As("dan").Views(); len(views) > 0 {
			t.Fatalf("%s opens the form %s", line, views[0].Blocks)
		}
	}
	h.press("dan", restricted, "More")
	h.seek(room, "UDAN", no)
	if got := h.answer("dan", func() { h.slash("dan", "/incident comms INC-1 me") }); !strings.Contains(got, "those on call may come in") {
		t.Errorf("dan takes the communications, and is told %q", got)
	}
	if code, _, errs := h.opsbot("", "incidents", "show", "INC-1"); code != exitFailed || !strings.Contains(errs, "restricted") {
		t.Errorf("show exits with %d: %s", code, errs)
	}
	_, log, _ := h.opsbot("", "audit", "export")
	want := len(asked) + 3
	refusals := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"act":"refuse"`) && strings.Contains(line, "INC-1 is restricted") {
			refusals++
		}
	}
	if refusals != want {
		t.Errorf("%d refusals are on record, want %d:\n%s", refusals, want, log)
	}

	// A handover: who is asked is let in, and hears the question.
	if _, err := h.sim.As("ann").Say(private, "@opsbot lead <@UBEN>"); err != nil {
		t.Fatal(err)
	}
	offer := h.seek(private, "UBEN", "ann asks you to be commander of INC-1")
	h.press("ben", offer, "Accept")
	h.seek(private, "UBEN", "ben is commander of INC-1 now")
	if _, err := h.sim.As("ben").Say(private, "@opsbot add @sre"); err != nil {
		t.Fatal(err)
	}
	h.seek(private, "UBEN", "Ask people by their names")

	// What its runs find is read by those who work on it.
	h.slash("ann", "/incident run INC-1 cache-fix window=5s")
	h.seek(private, "UANN", "Cache troubleshooting on demo", "Is Redis well? — ")
	if got := h.answer("dan", func() { h.slash("dan", "/runbook status R1") }); !strings.Contains(got, no) {
		t.Errorf("dan reads of R1: %q", got)
	}
	if got := h.answer("ann", func() { h.slash("ann", "/runbook status R1") }); !strings.Contains(got, "Is Redis well? — ") {
		t.Errorf("ann reads of R1: %q", got)
	}

	// What is merged into it does not say in public into what.
	h.slash("ann", "/incident declare Jobs are late")
	h.headline("INC-2", "Jobs are late")
	h.slash("ann", "/incident merge INC-2 INC-1")
	h.seek(room, "UDAN", "INC-2 goes on in INC-1, says ann.")
	h.seek(private, "UBEN", "INC-2 was merged into this one by ann.")
	if said := h.shown("INC-2"); strings.Contains(said, "leaked") {
		t.Errorf("the record of INC-2 says\n%s", said)
	}
	h.until("nothing of it can be read in public", func() bool {
		return !slices.ContainsFunc(h.sim.Thread(room, head.TS, "UDAN"), func(m slacksim.Message) bool {
			return m.FromApp() && !m.Ephemeral() && !m.Deleted && strings.Contains(m.Visible()+m.Text, "leaked")
		})
	})
	h.noDefects()
}

// Nobody accepts command of a restricted incident: those who are to be called
// are asked directly, and let in.
func TestRestrictedWithoutCommander(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("incidents: { escalation: [sre], role_nag: 5m }\n")
	clock := newClock(h)
	h.serve()
	h.slash("ann", "/incident declare Customer list leaked")
	head := h.headline("INC-1", "leaked")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	h.mention("ann", head.TS, "security on")
	h.seek("inc-1-restricted", "UANN", "This is the room of INC-1")
	clock.at(5)
	h.seek("inc-1-restricted", "UANN", "INC-1 has had nobody who accepted command for 5 min")
	clock.at(10)
	asked := h.directly("UCLEO", "INC-1 is restricted, and nobody has accepted to be its commander")
	if strings.Contains(asked.Visible(), "leaked") {
		t.Errorf("cleo reads %s", asked.Visible())
	}
	h.clickIn(asked.Channel, "cleo", asked, "Accept")
	h.seek("inc-1-restricted", "UCLEO", "cleo is commander of INC-1 now")
	h.noDefects()
}

// Slack does not let opsbot make the private channel: those whom it concerns are
// told directly, nothing is said in public, and a channel that people make by
// hand will do.
func TestNoPrivateChannel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.book("save.md", saveBook)
	h.edit(`cache: { redis: `, `cache: { pure_cache: true, redis: `)
	h.serve()
	h.sim.Fail("conversations.create", slacksim.Fault{Error: "restricted_action", For: 24 * time.Hour})
	h.slash("ann", "/incident declare Customer list leaked")
	head := h.headline("INC-1", "leaked")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	h.mention("ann", head.TS, "lead me")
	h.seek(room, "UANN", "ann is commander of INC-1 now")
	h.mention("ann", head.TS, "run save")
	h.seek(room, "UANN", "R1", "Set it", "Confirm")
	h.mention("ann", head.TS, "security on")
	told := h.directly("UANN", "INC-1 is restricted, and its private channel could not be made: Slack does not let opsbot make such channels (restricted_action)", "Try again")

	h.directly("UANN", "R1", "Set it", "Confirm")

	// What is done meanwhile is told to whom it concerns, and nobody else.
	h.slash("ann", "/incident status INC-1 fixing the token is out")
	h.directly("UANN", "Declared → Fixing", "the token is out")
	h.slash("ann", "/incident comms INC-1 @cleo")
	offer := h.directly("UCLEO", "ann asks you to be communications lead")
	h.clickIn(offer.Channel, "cleo", offer, "Accept")
	h.directly("UANN", "cleo keeps everybody informed")
	h.slash("ann", "/incident run INC-1 cache-fix")
	h.find("UANN", "INC-1 is restricted, and has no private channel yet", "Make the channel")
	h.clickIn(told.Channel, "ann", told, "Try again")
	h.until("it is told again", func() bool {
		n := 0
		for _, c := range h.sim.Calls("conversations.create") {
			if c.Error != "" {
				n++
			}
		}
		return n >= 2
	})

	h.sim.AddChannel(slacksim.Channel{Name: "night", Members: []string{"ann", "opsbot"}})
	h.sim.AddChannel(slacksim.Channel{Name: "war-room", Private: true, Members: []string{"ann", "opsbot"}})
	if _, err := h.sim.As("ann").Say("night", "@opsbot incident channel INC-1 here"); err != nil {
		t.Fatal(err)
	}
	h.directly("UANN", "could not be made: that channel is public")
	if _, err := h.sim.As("ann").Say("war-room", "@opsbot incident channel INC-1 here"); err != nil {
		t.Fatal(err)
	}
	h.seek("war-room", "UCLEO", "This is the room of INC-1: Customer list leaked")
	h.seek("war-room", "UCLEO", "R1", "Set it", "Confirm")
	if _, err := h.sim.As("ann").Say("war-room", "@opsbot status monitoring"); err != nil {
		t.Fatal(err)
	}
	h.seek("war-room", "UANN", "Fixing → Monitoring")
	h.until("nothing of it can be read in public", func() bool {
		return !slices.ContainsFunc(h.sim.Thread(room, head.TS, "UDAN")[1:], func(m slacksim.Message) bool {
			return m.FromApp() && !m.Ephemeral() && !m.Deleted && m.Text != "INC-1 is restricted."
		})
	})
}

// A public channel that cannot be made is told where it was wanted, to whoever
// wanted it.
func TestNoChannel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.sim.Fail("conversations.create", slacksim.Fault{Error: "name_taken", Times: 20})
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	h.mention("ben", head.TS, "channel")
	told := h.seek(room, "UBEN", "The channel of INC-1 could not be made: there are channels called inc-1-api-down, and like it, already", "Try again")
	if !strings.Contains(string(told.Blocks), "<@UBEN>") {
		t.Errorf("nobody is told by %s", told.Blocks)
	}
	h.press("ben", told, "Try again")
	h.seek("inc-1-api-down", "UANN", "This is the room of INC-1")
}

// A public channel is no place for what is restricted, even if no private one
// can be made.
func TestRestrictedInItsOwnChannel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare Customer list leaked")
	head := h.headline("INC-1", "leaked")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	h.mention("ann", head.TS, "channel")
	const own = "inc-1-customer-list-leaked"
	h.seek(own, "UANN", "This is the room of INC-1")
	h.sim.Fail("conversations.create", slacksim.Fault{Error: "restricted_action", For: 24 * time.Hour})
	if _, err := h.sim.As("ann").Say(own, "@opsbot security on"); err != nil {
		t.Fatal(err)
	}
	h.directly("UANN", "INC-1 is restricted, and its private channel could not be made")
	h.slash("ann", "/incident status INC-1 fixing the token is out")
	h.directly("UANN", "Declared → Fixing", "the token is out")
	h.until("nothing of it can be read in its channel", func() bool {
		return !slices.ContainsFunc(h.sim.History(own, "UDAN"), func(m slacksim.Message) bool {
			return m.FromApp() && !m.Deleted && m.Text != "INC-1 is restricted." && m.Subtype == ""
		})
	})
}
