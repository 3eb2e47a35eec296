package main

import (
	"fmt"
	"strings"
	"testing"

	"opsbot/internal/slacksim"
)

// standing lists what the bot has said in the thread, and has not taken back,
// that shows a text.
func (h *house) standing(head slacksim.Message, text string) (list []slacksim.Message) {
	h.t.Helper()
	for _, m := range h.sim.Thread(room, head.TS, "UANN")[1:] {
		if m.FromApp() && !m.Deleted && shows(m, []string{text}) {
			list = append(list, m)
		}
	}
	return list
}

// Nobody accepts command: first whoever acts is asked, then those are mentioned
// who are to be called, and their pager is, once, also over a restart; until
// somebody accepts.
func TestNobodyTakesCommand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	duty := newOutside(t, "", "{}", 200)
	h.configure(fmt.Sprintf("incidents: { escalation: [sre], role_nag: 5m }\npagers: { duty: { webhook: %q, escalation: true } }\n", duty.URL))
	clock := newClock(h)
	stop := h.serve()
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	h.seek(room, "UANN", "You are acting commander of INC-1")

	clock.at(5)
	asked := h.seek(room, "UANN", "INC-1 has had nobody who accepted command for 5 min; ann is only acting.")
	if said := string(asked.Blocks); strings.Contains(said, "<!subteam^") || !strings.Contains(said, "<@UANN>") {
		t.Errorf("after 5 minutes it says %s", said)
	}
	if n := duty.words("action"); n != "" {
		t.Errorf("after 5 minutes the pager has got %s", n)
	}
	clock.at(10)
	called := h.seek(room, "UANN", "INC-1 has had nobody who accepted command for 10 min")
	h.until("the first question is gone", func() bool { return len(h.standing(head, "nobody who accepted command")) == 1 })
	if !strings.Contains(string(called.Blocks), "<!subteam^S") {
		t.Errorf("nobody is called by %s", called.Blocks)
	}
	if said := string(h.seek(room, "UANN", "INC-1 has had no communications lead for 10 min").Blocks); strings.Contains(said, "<!subteam^") {
		t.Errorf("the same people are called twice: %s", said)
	}
	h.seek(room, "UANN", "duty was paged.")
	stop()
	h.serve()
	clock.at(30)
	h.seek(room, "UANN", "An update to the teams is 25 min overdue")
	still := h.seek(room, "UANN", "INC-1 has had nobody who accepted command for 30 min")
	if said := string(still.Blocks); strings.Contains(said, "<!subteam^") || strings.Contains(said, "<@") {
		t.Errorf("after 30 minutes somebody is called again: %s", said)
	}

	h.press("ben", still, "Accept")
	h.headline("INC-1", "<@UBEN>")
	h.until("the question is gone", func() bool { return len(h.standing(head, "nobody who accepted command")) == 0 })
	poll(t, "the page is acknowledged", func() bool { return duty.words("action") == "trigger acknowledge" })
	if got := duty.got[0]; got["incident"] != "INC-1" || got["note"] != "Nobody has taken command." {
		t.Errorf("the pager got %v", got)
	}
	if said := h.shown("INC-1"); strings.Count(said, "those who are to be called were called") != 1 {
		t.Errorf("the record reads\n%s", said)
	}

	// Ben has to go, and again nobody comes: that is another call, which whoever
	// takes command then answers.
	h.mention("ben", head.TS, "leave")
	h.headline("INC-1", "nobody – *take command*")
	clock.at(35)
	h.seek(room, "UANN", "INC-1 has had no commander for 5 min.")
	clock.at(40)
	poll(t, "the pager rings again", func() bool { return duty.words("action") == "trigger acknowledge trigger" })
	h.press("cleo", h.seek(room, "UANN", "INC-1 has had no commander for 10 min."), "Accept")
	poll(t, "that page is acknowledged, too", func() bool { return duty.words("action") == "trigger acknowledge trigger acknowledge" })
	if calls := strings.Fields(duty.words("call")); calls[0] != calls[1] || calls[1] == calls[2] || calls[2] != calls[3] {
		t.Errorf("the pages belong to the calls %s", calls)
	}
	h.noDefects()
}

// Nobody answers, for half a day and over a restart: what is due goes on standing
// in the thread, the owner is told directly no more than once an hour, and after
// 12 hours it asks how often people must hear. Command is called for every hour.
func TestIncidentThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("incidents: { escalation: [sre], role_nag: 5m, budgets: { declared: 0s } }\n")
	clock := newClock(h)
	stop := h.serve()
	h.slash("ann", "/incident declare sev1 API down")
	head := h.headline("INC-1", "SEV1")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	direct := func(texts ...string) int {
		n := 0
		for _, m := range h.sim.History("@opsbot", "UANN") {
			if shows(m, texts) {
				n++
			}
		}
		return n
	}
	const due = "An update to the teams is"
	clock.at(5)
	h.seek(room, "UANN", due)
	for _, minute := range []int{8, 10, 15, 20} {
		clock.at(minute)
		h.seek(room, "UANN", fmt.Sprintf("%s %d min overdue", due, minute-5))
		h.until("only the newest reminder stands", func() bool { return len(h.standing(head, due)) == 1 })
	}
	quiet := h.seek(room, "UANN", due+" 15 min overdue")
	if said := string(quiet.Blocks); strings.Contains(said, "<@") {
		t.Errorf("the repetition mentions somebody: %s", said)
	}
	if n := direct(due); n != 1 {
		t.Errorf("ann was told directly %d times in 20 minutes", n)
	}
	stop()
	stop = h.serve()
	clock.at(65)
	h.seek(room, "UANN", due+" 1 h overdue")
	h.until("ann is told directly again", func() bool { return direct(due) == 2 })
	called := h.seek(room, "UANN", "INC-1 has had nobody who accepted command for 1 h")
	if !strings.Contains(string(called.Blocks), "<!subteam^S") {
		t.Errorf("after an hour nobody is called: %s", called.Blocks)
	}
	h.until("both roles are asked for once", func() bool {
		return len(h.standing(head, "nobody who accepted command")) == 1 && len(h.standing(head, "no communications lead")) == 1
	})
	stop()
	clock.at(12*60 + 5)
	h.serve()
	ask := h.seek(room, "UANN", due+" 12 h overdue. INC-1 has gone on for 12 h 5 min: choose how often the teams must hear from now on.")
	h.press("ann", ask, "No change, next in 4 h")
	h.until("nothing is due to the teams", func() bool { return len(h.standing(head, due)) == 0 })
	h.noDefects()
}

// After half a day a clock asks how often people must hear from now on, and is
// content with the answer.
func TestIncidentForHalfADay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("incidents: { severities: { sev3: { teams: 1h } } }\n")
	clock := newClock(h)
	h.serve()
	h.slash("ann", "/incident declare sev3 The import is slow")
	head := h.headline("INC-1", "SEV3")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")

	clock.at(11 * 60)
	early := h.seek(room, "UANN", "An update to the teams is 10 h overdue.")
	if shows(early, []string{"choose how often"}) {
		t.Errorf("it asks too early: %s", early.Visible())
	}
	h.press("ann", early, "No change")
	h.until("the reminder is gone", func() bool { return len(h.standing(head, "10 h overdue")) == 0 })

	clock.at(12*60 + 30)
	ask := h.seek(room, "UANN", "An update to the teams is 30 min overdue. INC-1 has gone on for 12 h 30 min: choose how often the teams must hear from now on.")
	h.press("ann", ask, "No change, next in 4 h")
	h.until("the question is gone", func() bool { return len(h.standing(head, "choose how often")) == 0 })

	clock.at(16*60 + 20)
	h.mention("ann", head.TS, "note it is still slow")
	if list := h.standing(head, "An update to the teams is"); len(list) != 0 {
		t.Errorf("it is reminded of too early: %s", list[0].Visible())
	}
	clock.at(16*60 + 31)
	if later := h.seek(room, "UANN", "An update to the teams is 1 min overdue."); shows(later, []string{"choose how often"}) {
		t.Errorf("it asks again: %s", later.Visible())
	}
	h.noDefects()
}

// Each state offers what is to be done in it, by buttons: the card to assess, the
// runbooks of the configuration that can be run here, the way back; and takes
// the offer away with the state.
func TestIncidentOffersWork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.book("look.md", lookBook)
	h.configure("incidents: { triage: [full-recovery, look], verify: [look] }\n")
	h.serve()
	h.slash("ann", "/incident declare sev2 The cache is slow")
	head := h.headline("INC-1", "SEV2")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")

	offered := func(text string) (m slacksim.Message) {
		h.until("it says once in the thread: "+text, func() bool {
			list := h.standing(head, text)
			if len(list) == 1 {
				m = list[0]
			}
			return len(list) == 1
		})
		return m
	}

	h.mention("ann", head.TS, "status assessing")
	h.press("ann", offered("Say what is down, which users notice"), "Assess")
	h.fill("ann", "The cache")
	work := offered("Find the cause")
	if shows(work, []string{"Full recovery"}) {
		t.Errorf("what cannot be run here is offered: %s", work.Visible())
	}
	if list := h.standing(head, "Say what is down, which"); len(list) != 0 {
		t.Errorf("what was done already is still asked: %s", list[0].Visible())
	}
	h.press("ben", work, "Run Look at the cache")
	h.seek(room, "UANN", "R1 Look at the cache found nothing wrong. Is it over?")
	h.press("ann", work, "Move to fixing")
	h.headline("INC-1", "Fixing")
	h.until("the offer is gone", func() bool { return len(h.standing(head, "Find the cause")) == 0 })

	h.mention("ann", head.TS, "status monitoring")
	over := offered("Check that it is over")
	h.press("ann", over, "Run Look at the cache")
	h.headline("INC-1", "R2 Look at the cache: succeeded")
	h.press("ben", over, "Reopen")
	h.fill("ben", "it is slow again")
	h.headline("INC-1", "Fixing", "reopened 1 time")
	h.until("the offer is gone", func() bool { return len(h.standing(head, "Check that it is over")) == 0 })
	h.mention("ann", head.TS, "status monitoring")
	h.press("ann", h.headline("INC-1", "Monitoring"), "More")
	if form := string(h.view("ann").Blocks); !strings.Contains(form, "Reopen it") {
		t.Errorf("More while monitoring is %s", form)
	}

	// The state of the post-mortem brings the draft, as the verb does.
	h.mention("ann", head.TS, "resolve The network; it was replaced.")
	h.headline("INC-1", "Resolved")
	h.until("the offer is gone", func() bool { return len(h.standing(head, "Check that it is over")) == 0 })
	h.mention("ann", head.TS, "status postmortem")
	h.headline("INC-1", "Post-mortem")
	h.seek(room, "UANN", "The post-mortem of INC-1 is above")
	h.noDefects()
}

// It seemed to be over, and a check finds that it is not.
func TestIncidentNotOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.write("orders", "1 paid\n")
	h.book("check-orders.md", strings.ReplaceAll(checkOrders, "~~~", "```"))
	h.withOrders()
	h.serve()
	h.slash("ann", "/incident declare sev2 No orders come in")
	head := h.headline("INC-1", "SEV2")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.mention("ann", head.TS, "run check-orders")
	h.press("ann", h.seek(room, "UANN", "R1 Check the orders found nothing wrong. Is it over?"), "Move to monitoring")
	h.headline("INC-1", "Monitoring")

	h.write("orders", "nothing\n")
	h.mention("ann", head.TS, "run check-orders")
	offer := h.seek(room, "UANN", "R2 Check the orders found that it is not over", "grep ended with code 1")
	h.press("ben", offer, "Reopen")
	h.headline("INC-1", "Fixing", "reopened 1 time")
	h.seek(room, "UANN", "INC-1 is open again, says ben: R2 Check the orders failed")
	h.noDefects()
}

// Users who were told something hear how it ends, whatever the clocks say by
// then: a draft is made, is reminded of, and stands in the way of closing.
func TestLastWordsToUsers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	clock := newClock(h)
	h.serve()
	h.slash("ann", "/incident declare sev1 API down")
	head := h.headline("INC-1", "SEV1")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")
	h.mention("ann", head.TS, "no-change users")
	h.seek(room, "UANN", "Update to the users (Investigating) by ann: No change: we are still looking for the cause.")
	h.mention("ann", head.TS, "sev 3")
	h.headline("INC-1", "SEV3")
	h.mention("ann", head.TS, "resolve The cache was full.")
	h.headline("INC-1", "Resolved")
	h.seek(room, "UANN", "ann drafted an update to the users of INC-1", "It works again")
	h.mention("ann", head.TS, "close")
	h.seek(room, "UANN", "INC-1 cannot be closed yet", "A decision on the update to the users that waits for approval: It works again")

	const waits = "INC-1 is resolved, and users have not been told: the draft has waited for"
	clock.at(10)
	h.until("it is reminded of", func() bool { return len(h.standing(head, waits+" 10 min")) == 1 })
	clock.at(20)
	h.until("the reminder is renewed", func() bool { return len(h.standing(head, waits+" 20 min")) == 1 })
	h.press("ann", h.standing(head, waits)[0], "Publish")
	h.seek(room, "UANN", "Update to the users (Resolved) by ann: It works again")
	h.until("the reminder is gone", func() bool { return len(h.standing(head, waits)) == 0 })
	h.mention("ann", head.TS, "close")
	h.headline("INC-1", "Closed")

	// It was none, or is another one's.
	for n, end := range []struct{ ends, says string }{
		{"cancel It was the load test.", "It was a false alarm: Orders are slow."},
		{"merge INC-4", "Orders are slow. It belongs to INC-4; what is new is said there."},
	} {
		ref := fmt.Sprintf("INC-%d", n+2)
		if n == 1 {
			h.slash("ann", "/incident declare sev3 All is slow")
			h.headline("INC-4", "All is slow")
			ref = "INC-3"
		} else {
			h.slash("ann", "/incident declare sev2 Orders are slow")
			h.headline("INC-2", "Orders are slow")
			h.slash("ann", "/incident declare sev2 Orders are slow")
			h.headline("INC-3", "Orders are slow")
		}
		h.slash("ann", "/incident update "+ref+" users Orders take a minute.")
		h.headline(ref, "Orders take a minute.")
		h.slash("ann", "/incident "+ref+" "+end.ends)
		h.press("ann", h.seek(room, "UANN", "ann drafted an update to the users of "+ref, end.says), "Publish")
		h.seek(room, "UANN", "Update to the users (Resolved) by ann: "+end.says)
	}
	h.noDefects()
}

// What was no incident is canceled, before the fixing begins, and no figure
// counts it.
func TestIncidentCanceled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev2 API down")
	head := h.headline("INC-1", "API down")
	h.press("ann", h.seek(room, "UANN", "You are acting commander of INC-1"), "Accept command")
	h.headline("INC-1", "<@UANN>")
	h.mention("ben", head.TS, "cancel it was the test")
	h.seek(room, "UBEN", "Only the commander may cancel it")
	h.mention("ann", head.TS, "cancel It was the load test.")
	h.headline("INC-1", "Canceled", "It was the load test.")
	h.seek(room, "UANN", "INC-1 is canceled by ann: It was the load test.")
	h.until("nothing is asked any more", func() bool { return !h.pinned(head) && len(h.standing(head, "has command of INC-1")) == 0 })
	h.mention("ann", head.TS, "reopen it was one")
	h.seek(room, "UANN", "only what was thought to be over can be reopened")

	code, out, errs := h.opsbot("", "incidents", "stats", "--output", "json")
	if code != exitWell || !strings.Contains(out, `"excluded": 1`) || strings.Contains(out, `"count": 1`) {
		t.Errorf("stats exits with %d: %s%s", code, out, errs)
	}
	if code, out, _ := h.opsbot("", "incidents", "list"); code != exitWell || strings.Contains(out, "INC-1") {
		t.Errorf("list exits with %d: %s", code, out)
	}
	h.noDefects()
}
