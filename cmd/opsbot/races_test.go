package main

import (
	"strings"
	"sync"
	"testing"

	"opsbot/internal/slacksim"
)

// record is the incident's timeline as somebody reads it.
func (h *house) record(person, ref string) string {
	h.t.Helper()
	return h.answer(person, func() { h.slash(person, "/incident show "+ref) })
}

// Two people resolve, reopen and tell at once, and Slack delivers everything
// late, twice and in another order: each act counts once, and the record says
// who did it.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev1 API down")
	head := h.headline("INC-1", "API down")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")

	h.sim.DuplicateEvents(50)
	both := func(text ...string) {
		var wg sync.WaitGroup
		for n, person := range []string{"ann", "ben"} {
			wg.Go(func() {
				if _, err := h.sim.As(person).Reply(room, head.TS, "@opsbot "+text[n%len(text)]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	// Ben is not in command: one of the two is refused, whoever comes first.
	both("resolve It was the index.")
	h.headline("INC-1", "Resolved")
	h.seek(room, "UBEN", "Only the commander may change its status")
	h.sim.ReorderEvents()
	both("reopen errors again")
	h.headline("INC-1", "Fixing", "reopened 1 time")
	h.sim.DropNextAcks(2, "app_mention") // Slack sends what it thinks nobody has got again
	both("update teams looking at the pool", "note seen in the pool")
	h.headline("INC-1", "looking at the pool")
	h.delivered()
	said := h.record("ann", "INC-1")
	for what, want := range map[string]int{"Triaging": 0, "→ Resolved": 1, "reopened it: errors again": 1, "told the teams: looking at the pool": 1, "ben: seen in the pool": 1} {
		if n := strings.Count(said, what); n != want {
			t.Errorf("%q is %d times on the timeline, want %d:\n%s", what, n, want, said)
		}
	}
	h.noDefects()
}

// The headline is deleted by hand: it is posted anew, and what is said in the
// old thread and in the new one belongs to the incident.
func TestHeadlineDeleted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")
	if err := h.sim.DeleteMessage(room, head.TS); err != nil {
		t.Fatal(err)
	}
	h.slash("ann", "/incident status fixing")
	fresh := func() (found slacksim.Message) {
		h.until("there is a new headline", func() bool {
			for _, m := range h.sim.History(room, "UANN") {
				if m.FromApp() && m.TS != head.TS && m.ThreadTS == "" || m.ThreadTS == m.TS && m.TS != head.TS {
					if shows(m, []string{"INC-1 ·", "Fixing"}) {
						found = m
					}
				}
			}
			return found.TS != ""
		})
		return found
	}()
	h.mention("ann", fresh.TS, "note in the new thread")
	h.until("it is on record", func() bool {
		m, _ := h.sim.Message(room, fresh.TS)
		return m.ReplyCount > 0
	})
	said := ""
	poll(t, "the note is on the timeline", func() bool {
		said = h.record("ann", "INC-1")
		return strings.Contains(said, "in the new thread")
	})
	h.until("the new headline is pinned", func() bool { return h.pinned(fresh) })
	old, err := h.sim.As("ben").Reply(room, head.TS, "@opsbot note in the old thread")
	if err != nil {
		t.Fatal(err)
	}
	h.until("it is understood", func() bool { return h.marked(old) })
	words, err := h.sim.As("ben").Reply(room, head.TS, "the disk is full")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.sim.As("ben").React(room, words.TS, "pushpin"); err != nil {
		t.Fatal(err)
	}
	h.recorded("INC-1", "ben: in the old thread", "ben: the disk is full")
	if strings.Count(said, "Declared → Fixing") != 1 {
		t.Errorf("the record reads\n%s", said)
	}
	h.noDefects()
}

// The incident channel is archived in the middle of it: nothing is lost, what
// must be said is said elsewhere, and the record goes on.
func TestIncidentChannelArchived(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare API down")
	h.headline("INC-1", "API down")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")
	if err := h.sim.As("ben").Archive(room); err != nil {
		t.Fatal(err)
	}
	h.find("UBEN", "opsbot cannot write to #incident-response (it is archived); what belongs there is said here")
	h.slash("ann", "/incident update teams We work in the other channel now.")
	h.find("UBEN", "We work in the other channel now.")
	h.slash("ann", "/incident resolve It was the index.")
	h.find("UBEN", "INC-1 is resolved after")
	said := h.record("ann", "INC-1")
	for _, want := range []string{"told the teams: We work in the other channel", "ben archived the channel of its thread", "→ Resolved: It was the index."} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not on the timeline:\n%s", want, said)
		}
	}
}

// The commander's account is deactivated: they can do nothing more, and
// somebody else takes over.
func TestCommanderDeactivated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("incidents: { oncall: [oncall, sre] }\n")
	h.serve()
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")
	h.mention("ben", head.TS, "status fixing")
	h.seek(room, "UBEN", "Only the commander may change its status")
	h.sim.DeactivateUser("ann")
	h.mention("ben", head.TS, "lead me")
	h.headline("INC-1", "<@UBEN>")
	h.mention("ben", head.TS, "status fixing")
	h.headline("INC-1", "Fixing")
	h.mention("ben", head.TS, "lead @ann")
	h.seek(room, "UBEN", "deactivated")
	said := h.record("ben", "INC-1")
	if !strings.Contains(said, "ben is commander.") || !strings.Contains(said, "ann declared it") {
		t.Errorf("the record reads\n%s", said)
	}
	h.noDefects()
}
