package main

import (
	"encoding/json"
	"os"
	"os/user"
	"slices"
	"strings"
	"testing"

	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// The whole repair from a terminal, through the socket of the bot that serves:
// who sits there comes from the account, the second person clicks in Slack,
// and the report is the command's output.
func TestRunInATerminalReviewInSlack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	me := h.sit("run", "cache-fix", "window=5s", "--env", "demo")
	me.reads(`Type "demo" to confirm, or press Enter to cancel:`)
	for _, want := range []string{"R1 Cache troubleshooting on demo", "✓ pass", "1. Is Redis well?", "hit rate 0 %", "Remove up to", "removes ", "system ", "digest "} {
		if !strings.Contains(me.errs.String(), want) {
			t.Errorf("the terminal lacks %q", want)
		}
	}
	me.types("prod")
	me.reads("To confirm, type exactly: demo")
	me.types("demo")
	me.reads("Waiting for sre, not for the starter")
	me.reads("opsbot runs approve R1 --config " + h.file)

	// Everybody sees in Slack who started it, and where.
	review := h.find("ben", "Remove up to", "Approve")
	h.find("ben", "R1, started by <@UCLEO>")
	h.refused("cleo", "You started this run, so somebody else has to approve it.", func() { h.click("cleo", review, "Approve") })
	h.click("ben", review, "Approve")
	me.ends(exitWell)
	for _, want := range []string{"Cache fix pass in ", "✓ removed 9", "hit rate 0 % → "} {
		if !strings.Contains(me.out.String(), want) {
			t.Errorf("the report on standard output lacks %q:\n%s", want, me.out.String())
		}
	}
	if state := h.ended(); state != string(engine.Succeeded) {
		t.Errorf("the run ended %s", state)
	}
	h.find("ben", "*Cache fix* pass", "✓ removed") // and Slack has the report as well
}

// A run that Ann started in Slack is reviewed in a terminal, by whoever types
// the digest of exactly what is shown; then it is stopped from there.
func TestRunInSlackReviewInATerminal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/runbook cache-fix window=5s")
	h.click("ann", h.find("ann", "Remove up to", "Confirm"), "Confirm")
	h.fill("ann", "demo")
	h.find("ben", "Remove up to", "Approve")

	code, _, errs := h.opsbot("000000\n", "runs", "approve", "R1")
	if want := `"000000" is not the start of the digest; nothing was approved`; code != exitFailed || !strings.Contains(errs, want) {
		t.Errorf("a wrong digest exits with %d and says %q, want %q", code, errs, want)
	}
	if code, _, errs := h.opsbot("", "runs", "approve", "R1"); code != exitFailed || !strings.Contains(errs, "the input ended before the question was answered") {
		t.Errorf("no digest exits with %d and says %q", code, errs)
	}
	if code, _, errs := h.opsbot("", "runs", "deny", "R1"); code != exitUsage || !strings.Contains(errs, "a denial needs a reason: opsbot runs deny R1 WHY") {
		t.Errorf("a denial without a reason exits with %d and says %q", code, errs)
	}
	if state := h.ended(); state != string(engine.Waiting) {
		t.Errorf("after the wrong answers the run is %s", state)
	}
	digest := h.digest("R1")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"R1   cache-fix  demo         waiting", []string{"runs", "list", "--open"}},
		{"runbook cache-fix on demo", []string{"locks"}},
		{"Remove up to", []string{"runs", "show", "1"}},
	} {
		if code, out, errs := h.opsbot("", c.args...); code != exitWell || !strings.Contains(out, c.want) {
			t.Errorf("opsbot %q exits with %d and shows\n%s\n%s\nwithout %q", c.args, code, out, errs, c.want)
		}
	}
	if code, _, errs := h.opsbot(digest[:6]+"\n", "runs", "approve", "R1"); code != exitWell || !strings.Contains(errs, "R1: your answer is on record; the run is ") {
		t.Errorf("the right digest exits with %d and says %q", code, errs)
	}
	h.find("ann", "<@UCLEO> approved")
	h.find("ann", "✓ 4. Clear our keys — removed 9")
	if code, _, errs := h.opsbot("", "runs", "stop", "R1", "seen", "enough"); code != exitWell {
		t.Errorf("stopping exits with %d: %s", code, errs)
	}
	h.find("ann", "Stopped by", "seen enough")
	if state := h.ended(); state != string(engine.Canceled) {
		t.Errorf("the run ended %s", state)
	}
	if code, _, errs := h.opsbot("", "runs", "stop", "R1"); code != exitFailed || !strings.Contains(errs, "R1 has ended already") {
		t.Errorf("stopping again exits with %d and says %q", code, errs)
	}
}

// Slack is down, or was never there: two people at two terminals repair the
// cache, each with a process of their own, on the database that they share.
func TestWithoutSlackAtAll(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.edit("database: sqlite:opsbot.db", "database: "+storetest.Postgres(t))
	h.withoutSlack()
	theirs := h.path("theirs.yaml")
	text, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	h.write("theirs.yaml", replaced(t, string(text), ": UCLEO }", ": UBEN }"))

	me := h.sit("run", "cache-fix", "window=5s")
	me.reads(`Type "demo" to confirm`)
	me.types("demo")
	me.reads("opsbot runs approve R1")
	if code, _, errs := h.opsbot(h.digest("R1")[:6]+"\n", "runs", "approve", "R1"); code != exitFailed || !strings.Contains(errs, "You started this run, so somebody else has to approve it.") {
		t.Errorf("the starter's own approval exits with %d and says %q", code, errs)
	}
	if code, _, errs := h.opsbotWith(theirs, h.digest("R1")[:6]+"\n", "runs", "approve", "R1"); code != exitWell {
		t.Fatalf("the second person's approval exits with %d: %s", code, errs)
	}
	me.ends(exitWell)
	if !strings.Contains(me.out.String(), "Cache fix pass in ") {
		t.Errorf("the report is not there:\n%s", me.out.String())
	}
	h.succeeded("no boundary")
	if n := len(h.sim.Calls()); n != 0 {
		t.Errorf("Slack was called %d times", n)
	}
}

// On the file of a single machine, `opsbot run` is the owner for as long as it
// takes; a second terminal works through it and is the same person. When the
// input ends, the run waits and the terminal says how to go on.
func TestRunOwnsTheFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.withoutSlack()
	removals := h.removals()
	me := h.sit("run", "cache-fix", "window=5s")
	me.reads(`Type "demo" to confirm`)
	if code, out, errs := h.opsbot("", "runs", "list"); code != exitWell || !strings.Contains(out, "waiting") {
		t.Errorf("the second terminal's list exits with %d: %s%s", code, out, errs)
	}
	if code, _, errs := h.opsbot("", "run", "cache-fix"); code != exitFailed || !strings.Contains(errs, "cache-fix is running on demo already: R1, started by ") {
		t.Errorf("a second run exits with %d and says %q", code, errs)
	}
	_ = me.in.Close()
	me.ends(exitFailed)
	if want := "R1 is not finished; it waits where it is. Go on with:\n    opsbot runs attach R1 --config " + h.file; !strings.Contains(me.errs.String(), want) {
		t.Errorf("the terminal does not say how to go on:\n%s", me.errs.String())
	}
	if state := h.ended(); state != string(engine.Waiting) {
		t.Errorf("the run is %s", state)
	}

	// It goes on where it was; the empty answer is no.
	me = h.sit("runs", "attach", "R1")
	me.reads(`Type "demo" to confirm`)
	me.types("")
	me.ends(exitFailed)
	if state := h.ended(); state != string(engine.Canceled) {
		t.Errorf("after the empty answer the run is %s", state)
	}
	if after := h.removals(); after != removals {
		t.Errorf("Redis was asked to remove keys: %q, before %q", after, removals)
	}
}

// A dry run reads for real, asks nobody and changes nothing.
func TestDryRunInATerminal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.withoutSlack()
	removals, size := h.removals(), h.size()
	code, out, errs := h.opsbot("", "run", "cache-fix", "window=5s", "--dry-run")
	if code != exitWell {
		t.Errorf("the dry run exits with %d: %s%s", code, out, errs)
	}
	for _, want := range []string{"(dry run: nothing is changed)", "hit rate 0 %", "removes 9"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the dry run lacks %q:\n%s", want, errs)
		}
	}
	if after := h.removals(); after != removals || h.size() != size {
		t.Errorf("Redis has %d keys, before %d; removals %q, before %q", h.size(), size, after, removals)
	}
}

// An account that the configuration does not name may look but not act, also
// through the socket, where the bot judges by the account and not by what the
// terminal says.
func TestStrangersMayOnlyLook(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	h.giveAccountTo("somebody_else")
	h.serve()
	h.slash("ann", "/runbook emergency-restart service=api")
	h.find("ann", "By hand: 1. Save the evidence")
	want := `" may look but not act: it has no row under identities.unix in the configuration.`
	for _, args := range [][]string{{"run", "cache-fix"}, {"runs", "stop", "R1"}, {"runs", "skip", "R1", "evidence", "why"}} {
		if code, _, errs := h.opsbot("", args...); code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("opsbot %q exits with %d and says %q, want %q", args, code, errs, want)
		}
	}
	for _, args := range [][]string{{"runs", "list"}, {"runs", "show", "R1"}, {"locks"}} {
		if code, out, errs := h.opsbot("", args...); code != exitWell || !strings.Contains(out, "R1") {
			t.Errorf("opsbot %q exits with %d and shows\n%s%s", args, code, out, errs)
		}
	}
	if state := h.ended(); state != string(engine.Waiting) {
		t.Errorf("the run is %s", state)
	}
}

// withoutSlack takes Slack out of the configuration: groups are lists of people.
func (h *house) withoutSlack() {
	h.t.Helper()
	text, err := os.ReadFile(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool {
		return line == "slack:" || strings.HasPrefix(line, "  bot_token") || strings.HasPrefix(line, "  app_token") ||
			strings.HasPrefix(line, "  api_url") || strings.HasPrefix(line, "  incident_channel") || strings.HasPrefix(line, "  ops_channel")
	})
	h.write("opsbot.yaml", strings.Join(lines, "\n"))
	h.edit("{ usergroup: oncall }", "{ users: [UANN] }")
	h.edit("{ usergroup: sre }", "{ users: [UBEN, UCLEO] }")
}

// giveAccountTo gives the row of this test's account to another.
func (h *house) giveAccountTo(other string) {
	h.t.Helper()
	u, err := user.Current()
	if err != nil {
		h.t.Fatal(err)
	}
	h.edit(`"`+u.Username+`": UCLEO`, `"`+other+`": UCLEO`)
}

// digest is what the run's open review asks to agree to.
func (h *house) digest(run string) string {
	h.t.Helper()
	_, out, _ := h.opsbot("", "runs", "show", run, "--output", "json")
	var shown struct {
		Asks []struct{ State, Kind, Digest string }
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		h.t.Fatalf("runs show --output json: %v\n%s", err, out)
	}
	for _, a := range shown.Asks {
		if a.Kind == string(engine.Review) && a.State == string(engine.Open) {
			return a.Digest
		}
	}
	h.t.Fatalf("%s has no open review:\n%s", run, out)
	return ""
}
