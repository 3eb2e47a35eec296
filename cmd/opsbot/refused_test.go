package main

import (
	"strings"
	"testing"
	"time"

	"opsbot/internal/slacksim"
)

// Whatever is typed wrong gets one clear sentence that only the person sees,
// and nothing has changed: no run, no card, and Redis was not touched.
func TestBadLinesChangeNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	removals := h.removals()
	const params = " /runbook show cache-fix lists the parameters."
	for _, c := range []struct{ person, line, want string }{
		{"ann", "/runbook statsu", `There is no runbook "statsu". Did you mean /runbook status? /runbook lists the runbooks.`},
		{"ann", "/runbook cach-fix", `There is no runbook "cach-fix". Did you mean cache-fix? /runbook lists them all.`},
		{"ann", "/runbook nonsense", `There is no runbook "nonsense". /runbook lists them all.`},
		{"ann", "/runbook show cach-fix", `There is no runbook "cach-fix". Did you mean cache-fix? /runbook lists them all.`},
		{"ann", "/runbook history nonsense", `There is no runbook "nonsense". /runbook lists them all.`},
		{"ann", "/runbook cache-fix now", `"now" means nothing here. Parameters are written key=value, with quotes around a value that has spaces: note="two words".`},
		{"ann", "/runbook cache-fix windw=5s", `cache-fix has no parameter "windw"; did you mean "window"?` + params},
		{"ann", "/runbook cache-fix window=1s", "window must be at least 5s, not 1s." + params},
		{"ann", "/runbook cache-fix window=abc", `window must be a duration such as 30s or 5m, not "abc".` + params},
		{"ann", "/runbook cache-fix prefix=Prod_", `prefix must match ^[a-z0-9_]{2,32}$, and "Prod_" does not.` + params},
		{"ann", "/runbook cache-fix prefix=*", `prefix must match ^[a-z0-9_]{2,32}$, and "*" does not.` + params},
		{"ann", "/runbook cache-fix want=2", "want must be at most 1, not 2." + params},
		{"ann", "/runbook cache-fix window=5s window=6s", "window is given twice."},
		{"ann", "/runbook cache-fix env=prod", `There is no environment "prod". There is demo.`},
		{"ann", "/runbook cache-fix --dryrun", "There is no flag --dryrun. Did you mean --dry-run?"},
		{"ann", `/runbook cache-fix "open`, `The quote at "\"open"… is never closed.`},
		{"ann", "/runbook emergency-restart service=../x", `service must be the plain name of a service such as api, not "../x". /runbook show emergency-restart lists the parameters.`},
		{"ann", "/runbook stop", "Which run? Type its number after stop, such as R12."},
		{"ann", "/runbook stop R99", `There is no run "R99".`},
		{"ann", "/runbook stop that", `"that" is no run. Runs are called R and a number, such as R12.`},
		{"ann", "/runbook " + strings.Repeat("x", 1000), "That is 1008 characters; a command has at most 1000."},
		{"dan", "/runbook cache-fix", "You may not run cache-fix. You are not in oncall or sre."},
		{"dan", "/runbook emergency-restart", "You may not run emergency-restart. You are not in oncall or sre."},
	} {
		h.refused(c.person, c.want, func() { h.slash(c.person, c.line) })
	}
	for _, person := range []string{"ann", "dan"} {
		if views := h.sim.As(person).Views(); len(views) > 0 {
			t.Errorf("a form opened for %s: %s", person, views[0].Title)
		}
	}
	for _, m := range h.sim.History("ops", "ben") {
		if m.FromApp() && m.Subtype == "" {
			t.Errorf("others see: %s", m.Visible())
		}
	}
	if n := h.runs(); n != 0 {
		t.Errorf("%d runs were started", n)
	}
	if after := h.removals(); after != removals {
		t.Errorf("Redis was asked to remove keys: %q, before %q", after, removals)
	}
}

// A value that must be there and is not is asked for in a form; the form tells
// what is wrong, and a good value starts the run. What looks only looks.
func TestMissingValueIsAskedFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	h.serve()
	for line, want := range map[string]string{
		"/runbook help":           "/runbook stop RUN [why] — end a run; pause and resume work alike",
		"/runbook status":         "Runs in progress\nNothing is running.",
		"/runbook history":        "Last runs\nNothing ran yet.",
		"/runbook locks":          "Locks\nNothing is locked.",
		"/runbook show cache-fix": "GATE 2: 1 other person of sre agrees within 15m",
	} {
		if got := h.answer("ann", func() { h.slash("ann", line) }); !strings.Contains(got, want) {
			t.Errorf("%s answers\n%s\nwithout %q", line, got, want)
		}
	}

	h.slash("ann", "/runbook emergency-restart")
	form := h.view("ann")
	if err := h.submit("ann", form, ""); err == nil || !strings.Contains(err.Error(), "required") {
		t.Errorf("an empty value gave %v", err)
	}
	if err := h.submit("ann", form, "../etc"); err == nil || !strings.Contains(err.Error(), "Give the plain name of a service such as api.") {
		t.Errorf("a value against the rule gave %v", err)
	}
	if err := h.submit("ann", form, "api"); err != nil {
		t.Fatalf("a good value gave %v", err)
	}
	asked := h.find("ann", "By hand: 1. Save the evidence")

	h.refused("dan", "You are not in oncall or sre.", func() { h.click("dan", asked, "Done") })
	h.refused("dan", "You are not in oncall or sre.", func() { h.slash("dan", "/runbook stop R1") })
	again := h.answer("ben", func() { h.slash("ben", "/runbook emergency-restart service=cache") })
	if want := "emergency-restart is running on demo already: R1, started by ann at "; !strings.HasPrefix(again, want) || !strings.Contains(again, "Show") {
		t.Errorf("a second start is answered\n%s\nwant %s… and a button that shows it", again, want)
	}
	for line, want := range map[string]string{
		"/runbook":           "Waits for you: do by hand 1. Save the evidence",
		"/runbook status":    "R1 Emergency restart on demo",
		"/runbook status R1": "Next, oncall or sre: do step 1 (Save the evidence) by hand, then tick it off.",
		"/runbook locks":     "runbook emergency-restart on demo",
		"/runbook history":   "Waiting for people, started by ann",
	} {
		if got := h.answer("ben", func() { h.slash("ben", line) }); !strings.Contains(got, want) {
			t.Errorf("%s answers\n%s\nwithout %q", line, got, want)
		}
	}
	h.slash("ben", "/runbook skip R1 evidence")
	if form := h.view("ben"); !strings.Contains(string(form.Blocks), "The run goes on without this step.") {
		t.Errorf("skipping asks for no reason: %s", form.Blocks)
	}
	h.refused("ann", "R1 is stopping: what runs just now may still finish.", func() { h.slash("ann", "/runbook stop R1 enough") })
	h.find("ann", "Stopped by", "enough")
	h.refused("ann", "R1 has ended already: Stopped by ann: enough.", func() { h.slash("ann", "/runbook stop R1") })
	if n := h.runs(); n != 1 {
		t.Errorf("there are %d runs, want 1", n)
	}
}

// Who may not decide is told why; after the decision, everybody is told whose
// it was. Nothing was removed.
func TestOnlyTheRightPeopleDecide(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	removals := h.removals()
	h.slash("ann", "/runbook cache-fix window=5s")
	confirm := h.find("ann", "Remove up to", "Confirm")
	h.refused("ben", "Only ann, who started this run, can confirm it.", func() { h.click("ben", confirm, "Confirm") })
	h.refused("dan", "Only ann, who started this run, can confirm it.", func() { h.click("dan", confirm, "Confirm") })
	h.click("ann", confirm, "Confirm")
	h.fill("ann", "demo")

	review := h.find("ann", "Remove up to", "Approve")
	h.refused("ann", "You started this run, so somebody else has to approve it.", func() { h.click("ann", review, "Approve") })
	h.refused("dan", "You are not in sre.", func() { h.click("dan", review, "Approve") })
	h.refused("dan", "You are not in sre.", func() { h.click("dan", review, "Deny") })

	// Cleo's screen still shows the buttons when she clicks.
	h.sim.Fail("chat.update", slacksim.Fault{Status: 503, For: time.Hour})
	h.click("ben", review, "Deny")
	h.fill("ben", "not during the sale")
	poll(t, "the denial counts", func() bool {
		_, out, _ := h.opsbot("", "runs", "show", "R1", "--output", "json")
		return strings.Contains(out, "Denied by ben at ")
	})
	late := h.answer("cleo", func() { h.click("cleo", review, "Approve") })
	if want := "Already decided by ben: Denied by ben at "; !strings.HasPrefix(late, want) {
		t.Errorf("a late click is answered\n%s\nwant %s…", late, want)
	}
	h.sim.Heal()
	h.find("ann", "denied", "not during the sale")
	if after := h.removals(); after != removals {
		t.Errorf("Redis was asked to remove keys: %q, before %q", after, removals)
	}
}
