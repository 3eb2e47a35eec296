package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// rounds is a runbook with something to steer: an output of 500 lines, a check
// that fails until somebody leaves a mark, a form, a long wait, and a cleanup.
const rounds = `---
format: 1
runbook: rounds
owner: sre
severity: warning
roles: { run: [oncall, sre], approve: [sre] }
uses: { cache: redis, ops: host }
lock: cache
timeout: 20m
defaults: { timeout: 1m }
---
# Rounds

Look around, and let people steer.

## 1. Read the log

~~~yaml step
id: log
do: exec.probe
with: { command: log }
show: { lines: 5, from: end }
~~~

## 2. Is the mark there?

~~~yaml step
id: mark
do: exec.probe
with: { command: mark, any_code: true }
expect: result.exit_code == 0
on_fail: continue
~~~

## 3. Count the users

Ask the billing team.

~~~yaml step
id: count
do: manual
who: [oncall, sre]
ask:
  peak: { type: int, min: 0, max: 5000, help: users at the peak }
  region: { type: enum, values: [eu, us] }
  since: { type: duration, default: 15m }
expect: result.peak > 10
save: { twice: result.peak * 2 }
~~~

## 4. Let it settle

~~~yaml step
id: settle
do: wait
with: { for: 15m }
~~~

## 5. Look once more

~~~yaml step
id: rest
do: manual
who: [oncall, sre]
~~~

## Cleanup

### Sweep

~~~yaml step
id: sweep
do: exec.probe
with: { command: mark, any_code: true }
~~~

## Report

~~~markdown report
Rounds: ${{ steps.count?.twice ?? 0 }} in ${{ steps.count?.result?.region ?? "nowhere" }}, settle ${{ mark("settle") }}, sweep ${{ mark("sweep") }}
~~~
`

// branches has a step that changes something, and a decision on what it did.
const branches = `---
format: 1
runbook: branches
owner: sre
severity: warning
roles: { run: [oncall, sre], approve: [sre] }
uses: { ops: host }
timeout: 20m
defaults: { timeout: 1m }
---
# Branches

Touch, then see.

## 1. Read the log

~~~yaml step
id: log
do: exec.probe
with: { command: log }
~~~

## 2. Touch

~~~yaml step
id: touch
do: exec.run
with: { command: touch }
on_fail: { goto: by_hand }
~~~

## 3. Decide

~~~yaml step
id: which
do: decide
rows:
  - { if: "(steps.touch?.result?.exit_code ?? 1) == 0", goto: far }
  - { else: next }
~~~

## 4. By hand

~~~yaml step
id: by_hand
do: manual
who: [oncall]
then: { end: failed }
~~~

## 5. Look far

~~~yaml step
id: far
do: exec.probe
when: ran("touch")
with: { command: mark, any_code: true }
~~~
`

// steered is a house with both runbooks and the commands that they name.
func steered(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	for name, text := range map[string]string{"rounds": rounds, "branches": branches} {
		h.book(name+".md", strings.ReplaceAll(text, "~~~", "```"))
	}
	h.edit("      metrics: { scrape:", fmt.Sprintf(`      ops:
        commands:
          log: { argv: [seq, -f, "line %%g", "500"], effect: read }
          mark: { argv: [test, -e, %q], effect: read }
          touch: { argv: [touch, %q] }
      metrics: { scrape:`, h.path("mark"), h.path("touched")))
	return h
}

func TestSteeringFromSlack(t *testing.T) {
	t.Parallel()
	h := steered(t)
	stop := h.serve()
	h.slash("ann", "/runbook rounds")

	// A long output is a summary and a file there, and whole at a terminal.
	h.find("ann", "Output of step 1 (Read the log).", "… 495 lines before; all of it is in the file below", "line 496\nline 497\nline 498\nline 499\nline 500")
	h.until("the whole output is a file in the thread", func() bool {
		files := h.sim.Files()
		return len(files) == 1 && strings.HasPrefix(string(files[0].Content), "line 1\nline 2\n") && strings.Count(string(files[0].Content), "\n") >= 499
	})
	code, out, errs := h.opsbot("", "runs", "show", "R1", "log")
	if code != exitWell || strings.Count(out, "\n") != 500 || !strings.HasPrefix(out, "line 1\n") || !strings.Contains(errs, "log, attempt 1 at ") {
		t.Errorf("runs show R1 log exits with %d, %d lines, and says %q", code, strings.Count(out, "\n"), errs)
	}
	if code, _, errs := h.opsbot("", "runs", "show", "R1", "lug"); code != exitUsage || !strings.Contains(errs, `R1 has not come to a step "lug"`) || !strings.Contains(errs, "Its steps are log, mark, count, settle, rest") {
		t.Errorf("runs show R1 lug exits with %d and says %q", code, errs)
	}

	// Who holds what, what it waits for, what ran.
	form := h.find("ben", "By hand: 3. Count the users", "Done")
	for line, wants := range map[string][]string{
		"/runbook locks":          {"runbook rounds on demo", "held by R1 for", "started by ann"},
		"/runbook status R1":      {"Waiting for people, started by", "2. Is the mark there? — fail", "3. Count the users — waiting"},
		"/runbook history rounds": {"Last runs of Rounds", "R1"},
		"/runbook status":         {"Runs in progress", "R1"},
	} {
		said := h.answer("ann", func() { h.slash("ann", line) })
		for _, want := range wants {
			if !strings.Contains(said, want) {
				t.Errorf("%s says no %q:\n%s", line, want, said)
			}
		}
	}

	// A check that failed is made again, though the run went on.
	h.write("mark", "")
	h.slash("ann", "/runbook retry R1 mark it came back")
	h.find("ann", "Rounds on demo", "✓ 2. Is the mark there?")
	// A step is left out before it comes, with a reason.
	if said := h.answer("dan", func() { h.slash("dan", "/runbook skip R1 settle because I can") }); said != "You are not in oncall or sre." {
		t.Errorf("a stranger's skip says %q", said)
	}
	h.slash("ann", "/runbook skip R1 settle") // without a reason, it asks for one
	h.fill("ann", "not today")
	h.slash("ann", "/runbook pause R1 lunch")
	h.find("ann", "Rounds on demo", "Paused, with a question open.")

	// The form takes what its fields allow, even while the run is paused.
	h.click("ben", form, "Done")
	view := h.view("ben")
	fields := func(peak, region string) map[string]string {
		return map[string]string{"peak": peak, "region": region, "since": "10m"}
	}
	if err := h.sim.As("ben").Submit(view.ID, values(t, view, fields("many", "eu"))); err == nil || !strings.Contains(err.Error(), "peak") {
		t.Errorf("%q users were taken: %v", "many", err)
	}
	said := h.answer("ben", func() {
		if err := h.sim.As("ben").Submit(view.ID, values(t, view, fields("6000", "eu"))); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(said, "peak: ") || !strings.Contains(said, "5000") {
		t.Errorf("6000 users are answered with %q; there are at most 5000", said)
	}
	h.click("ben", form, "Done")
	h.until("ben sees a fresh form", func() bool {
		views := h.sim.As("ben").Views()
		return len(views) > 0 && views[len(views)-1].ID != view.ID
	})
	view = h.view("ben")
	if err := h.sim.As("ben").Submit(view.ID, values(t, view, fields("1200", "eu"))); err != nil {
		t.Fatalf("the form was refused: %v", err)
	}
	h.until("the question is answered", func() bool {
		m, _ := h.sim.Message(form.Channel, form.TS)
		return !hasButton(m, "Done")
	})
	if state := h.newest(); state != string(engine.Waiting) {
		t.Errorf("the paused run is %s", state)
	}
	h.slash("ann", "/runbook resume R1")
	card := h.find("ann", "Rounds on demo", "✓ 3. Count the users — done by", "– 4. Let it settle — skipped: left out by", "do step 5 (Look once more) by hand")
	if !strings.Contains(card.Visible(), "not today") {
		t.Errorf("the card lacks the reason of the skip:\n%s", card.Visible())
	}

	// A stop has its cleanup and its report.
	h.slash("ann", "/runbook stop R1 seen enough")
	h.find("ann", "Rounds: 2400 in eu, settle –, sweep ✓", "seen enough")
	h.find("ann", "Rounds on demo", "*Stopped*", "✓ Sweep")
	if state := h.newest(); state != string(engine.Canceled) {
		t.Errorf("the stopped run is %s", state)
	}
	if said := h.answer("ann", func() { h.slash("ann", "/runbook locks") }); !strings.Contains(said, "Nothing is locked.") {
		t.Errorf("after the end /runbook locks says %q", said)
	}
	// All of it is on record, in a chain that can be verified.
	code, log, errs := h.opsbot("", "audit", "export")
	if code != exitWell {
		t.Errorf("audit export exits with %d: %s", code, errs)
	}
	for _, act := range []string{"start", "refuse", "retry", "skip", "pause", "done", "resume", "stop", "end"} {
		if !strings.Contains(log, `"act":"`+act+`"`) {
			t.Errorf("the audit log has no %s:\n%s", act, log)
		}
	}
	// A click is on record with its message, also when a form came in between; what
	// was typed has none.
	for line := range strings.Lines(log) {
		var e store.AuditRow
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"done": form.Channel + "/" + form.TS, "skip": "", "pause": ""}[e.Act]; e.Actor.Message != want && (e.Act == "done" || e.Act == "skip" || e.Act == "pause") {
			t.Errorf("%s by %s is of the message %q, want %q", e.Act, e.Actor.Name, e.Actor.Message, want)
		}
	}
	last := fmt.Sprintf(`{"seq":%d,`, strings.Count(log, "\n"))
	if _, tail, _ := h.opsbot("", "audit", "export", "--after", fmt.Sprint(strings.Count(log, "\n")-1)); !strings.HasPrefix(tail, last) || strings.Count(tail, "\n") != 1 {
		t.Errorf("the last entry is %s, want one that begins with %s", tail, last)
	}
	code, out, errs = h.opsbot("", "audit", "verify")
	if want := fmt.Sprintf("The audit log is whole: %d entries.", strings.Count(log, "\n")); code != exitWell || !strings.HasPrefix(out, want) {
		t.Errorf("audit verify exits with %d and says %q %q, want %q", code, out, errs, want)
	}
	stop()
	h.tamper(`UPDATE audit SET detail = 'more than enough' WHERE act = 'stop'`)
	if code, _, errs := h.opsbot("", "audit", "verify"); code != exitFailed || !strings.Contains(errs, "the audit log was changed at entry ") || !strings.Contains(errs, "its content does not match its hash") {
		t.Errorf("with a changed entry, audit verify exits with %d and says %q", code, errs)
	}
}

// tamper changes the database behind opsbot's back.
func (h *house) tamper(query string) {
	h.t.Helper()
	storetest.Exec(h.t, h.url, query)
}

func TestSteeringFromATerminal(t *testing.T) {
	t.Parallel()
	h := steered(t)
	h.withoutSlack()
	me := h.sit("run", "rounds")
	me.reads("peak (users at the peak):")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"locks"}, exitWell, "RUN  STARTER"},
		{[]string{"runs", "show", "R1"}, exitWell, "2. Is the mark there?"},
		{[]string{"runs", "list", "--runbook", "rounds"}, exitWell, "waiting"},
		{[]string{"runs", "retry", "R1", "count"}, exitFailed, "Only a step that reads"},
		{[]string{"runs", "skip", "R1", "settle"}, exitUsage, "Please give a reason."},
		{[]string{"runs", "skip", "R1", "settle", "not", "today"}, exitWell, "R1 waiting"},
		{[]string{"runs", "pause", "R1"}, exitWell, "R1 waiting"},
		{[]string{"runs", "pause", "R1"}, exitFailed, "R1 is paused already."},
		{[]string{"runs", "resume", "R1"}, exitWell, "R1 "},
		{[]string{"runs", "resume", "R1"}, exitFailed, "R1 is not paused."},
	} {
		if code, out, errs := h.opsbot("", c.args...); code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("opsbot %q exits with %d, want %d, and says\n%s%s\nwithout %q", c.args, code, c.code, out, errs, c.want)
		}
	}
	h.write("mark", "")
	if code, _, errs := h.opsbot("", "runs", "retry", "R1", "mark"); code != exitWell {
		t.Errorf("the retry exits with %d: %s", code, errs)
	}
	// What does not fit is asked for again.
	me.types("many")
	me.reads("region")
	me.types("eu")
	me.reads("since")
	me.types("")
	me.reads("Done?")
	me.types("y")
	me.reads("peak: ")
	me.types("1200")
	me.types("us")
	me.types("")
	me.types("y")
	me.reads("✓ pass             2. Is the mark there?")
	me.reads("4. Let it settle: left out by")
	me.reads("5. Look once more")
	if code, _, errs := h.opsbot("", "runs", "stop", "R1", "seen", "enough"); code != exitWell {
		t.Errorf("the stop exits with %d: %s", code, errs)
	}
	me.ends(exitFailed)
	if want := "Rounds: 2400 in us, settle –, sweep ✓"; !strings.Contains(me.out.String(), want) {
		t.Errorf("the report lacks %q:\n%s", want, me.out.String())
	}
	if want := "✓ pass             Sweep"; !strings.Contains(me.errs.String(), want) {
		t.Errorf("the terminal shows no cleanup:\n%s", me.errs.String())
	}
}

// A dry run reads for real, changes nothing, and draws both sides of what it
// cannot know, in Slack and at a terminal alike.
func TestDryRunDrawsBothSides(t *testing.T) {
	t.Parallel()
	wants := []string{
		"1. Read the log", "2. Touch", "would do this: ", "asks ", "to confirm",
		"unknown: after failure step 4 (By hand)",
		"unknown: step 5 (Look far), or next",
		"would ask people to do it by hand", "unknown: after success end, failed",
		`unknown: only if ran("touch")`,
	}
	check := func(t *testing.T, h *house, where, text string) {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s, the dry run lacks %q:\n%s", where, want, text)
			}
		}
		if _, err := os.Stat(h.path("touched")); err == nil {
			t.Errorf("%s, the dry run changed something", where)
		}
	}
	t.Run("Slack", func(t *testing.T) {
		t.Parallel()
		h := steered(t)
		h.serve()
		h.slash("ann", "/runbook branches --dry-run")
		card := h.find("ann", "Branches on demo", "2. Touch", "Dry run: nothing was changed.")
		check(t, h, "in Slack", card.Visible())
		h.find("ann", "Output of step 1 (Read the log).", "line 1\nline 2", "490 lines more")
	})
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		h := steered(t)
		h.withoutSlack()
		code, out, errs := h.opsbot("", "run", "branches", "--dry-run")
		if code != exitWell {
			t.Errorf("the dry run exits with %d: %s", code, out)
		}
		check(t, h, "at a terminal", errs)
	})
}
