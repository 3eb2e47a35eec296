package main

import (
	"os"
	"strings"
	"testing"
)

// Whatever way a runbook is started in the room of an incident, it is run for
// the incident, with all that this means.
func TestRunsOfARoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := os.Mkdir(h.path("runbooks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"look": lookBook, "save": saveBook} {
		h.write("runbooks/"+name+".md", text)
	}
	h.configure("runbooks: [runbooks]\n")
	h.edit(`cache: { redis: `, `cache: { pure_cache: true, redis: `)
	h.serve()
	h.slash("ann", "/incident declare Cache is slow")
	head := h.headline("INC-1", "Cache is slow")
	h.seek(room, "UANN", "You are acting commander of INC-1")

	// By the other noun.
	h.mention("ann", head.TS, "runbook save")
	h.press("ann", h.seek(room, "UANN", "R1", "Set it", "Confirm"), "Confirm")
	review := h.seek(room, "UBEN", "R1", "Set it", "INC-1 is SEV?: everything that changes something needs a second person", "Approve")
	if review.ThreadTS != head.TS {
		t.Errorf("the review stands in thread %q, want %q", review.ThreadTS, head.TS)
	}
	// Typing that one approves leads to where one does.
	h.mention("ben", head.TS, "approve R1")
	link := h.seek(room, "UBEN", "Decide with the buttons of its card", ".slack.com/archives/").Visible()
	if at := "p" + strings.ReplaceAll(review.TS, ".", ""); !strings.Contains(link, at) {
		t.Errorf("ben is led to\n%s\nand not to %s", link, at)
	}
	h.press("ben", review, "Approve")
	h.seek(room, "UANN", "Set the policy on demo", "*Done*")

	// By the button of a list.
	h.mention("ann", head.TS, "runbook show look")
	h.press("ann", h.seek(room, "UANN", "Look at the cache", "Run it"), "Run")
	h.seek(room, "UANN", "R2 Look at the cache found nothing wrong")

	// By the slash command in its own channel.
	h.mention("ann", head.TS, "channel")
	const own = "inc-1-cache-is-slow"
	h.seek(own, "UANN", "This is the room of INC-1")
	if _, err := h.sim.As("ann").Slash(own, "/runbook look"); err != nil {
		t.Fatal(err)
	}
	h.seek(own, "UANN", "R3 Look at the cache found nothing wrong")
	h.recorded("INC-1", "R1 Set the policy on demo was started by ann.", "R2 Look at the cache on demo was started by ann.", "R3 Look at the cache on demo was started by ann.")

	h.mention("ann", head.TS, "stop R3")
	h.seek(room, "UANN", "It can be done with a run: runbook stop R3")
	h.noDefects()
}

// A run that failed is declared once, whoever clicks how often.
func TestDeclareFromRunTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.write("orders", "nothing\n")
	h.book("check-orders.md", strings.ReplaceAll(checkOrders, "~~~", "```"))
	h.withOrders()
	h.serve()
	h.slash("ann", "/runbook check-orders")
	card := h.find("UANN", "Check the orders on demo", "*Failed*", "Declare incident")
	h.click("ann", card, "Declare incident")
	h.headline("INC-1", "Check the orders failed on demo")
	h.until("the button is gone", func() bool {
		m, _ := h.sim.Message("ops", card.TS)
		return !strings.Contains(m.Visible(), "Declare incident")
	})
	if got := h.answer("ben", func() { h.slash("ben", "/incident from R1") }); !strings.Contains(got, "R1 belongs to INC-1 already.") || !strings.Contains(got, ".slack.com/archives/") {
		t.Errorf("ben is told %q", got)
	}
	if code, out, errs := h.opsbot("", "incidents", "list"); code != exitWell || strings.Contains(out, "INC-2") {
		t.Errorf("list exits with %d: %s%s", code, out, errs)
	}
	if text := h.exported(); strings.Count(text, "| Check the orders |")+strings.Count(text, "R1 Check the orders") == 0 {
		t.Errorf("the run is not in the post-mortem:\n%s", text)
	}
	h.noDefects()
}

// What fits only an incident that is over is about that one, also while another
// one goes on.
func TestWhichIsOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare API down")
	h.headline("INC-1", "API down")
	h.slash("ann", "/incident resolve The index was lost.")
	h.headline("INC-1", "Resolved")
	h.slash("ann", "/incident declare Jobs are late")
	h.headline("INC-2", "Jobs are late")
	h.slash("ann", "/incident postmortem")
	h.seek(room, "UANN", "The post-mortem of INC-1 is above")
	h.slash("ann", "/incident status fixing")
	h.headline("INC-2", "Fixing")
	h.slash("ann", "/incident reopen it is back")
	h.headline("INC-1", "Fixing", "reopened 1 time")
	h.noDefects()
}

// A section keeps its lines when it is edited again, and what is too long for a
// form of Slack is not cut.
func TestPostmortemSection(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-1", "API down")
	h.slash("ann", "/incident resolve The index was lost.")
	h.headline("INC-1", "Resolved")
	h.slash("ann", "/incident postmortem")
	prompt := h.seek(room, "UANN", "The post-mortem of INC-1 is above")
	const text = "A migration dropped the index:\n\n- it was not reviewed\n- nobody saw the plan"
	h.press("ann", prompt, "Root cause")
	h.fill("ann", text)
	prompt = h.seek(room, "UANN", "Still empty: Prevention.")
	h.press("ann", prompt, "Root cause")
	view := h.view("ann")
	if form := string(view.Blocks); !strings.Contains(form, strings.ReplaceAll(text, "\n", `\n`)) {
		t.Errorf("the form has\n%s", form)
	}
	if err := h.sim.As("ann").CloseView(view.ID, true); err != nil {
		t.Fatal(err)
	}
	long := strings.Replace(h.exported(), text, text+"\n"+strings.Repeat("- one more line\n", 200), 1)
	h.write("INC-1.md", long)
	if code, _, errs := h.opsbot("", "incidents", "upload", "INC-1", h.path("INC-1.md")); code != exitWell {
		t.Fatalf("upload exits with %d: %s", code, errs)
	}
	h.mention("ann", head.TS, "note uploaded")
	h.recorded("INC-1", "ann: uploaded")
	h.press("ann", h.seek(room, "UANN", "Still empty: Prevention."), "Root cause")
	h.seek(room, "UANN", "Root cause is longer than a form of Slack can hold (3000 characters); nothing was changed.", "export INC-1")
	if views := h.sim.As("ann").Views(); len(views) != 0 {
		t.Errorf("a form opens: %s", views[0].Blocks)
	}
	h.noDefects()
}
