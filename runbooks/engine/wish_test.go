package engine_test

import (
	"errors"
	"strings"
	"testing"

	"opsbot/internal/fault"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// winding is a runbook with a failed check behind it, a wait and a gate.
var winding = doc("winding", step("1. Check", "id: check\ndo: redis.look\ntarget: cache\nexpect: result.keys < 5\non_fail: continue")+
	step("2. Wait", "id: pause\ndo: wait\nwith: { for: 15m }")+
	step("3. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nconfirm: Go?")+
	step("4. Look", "id: look\ndo: redis.look\ntarget: cache"))

func TestSkipByHand(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, winding)
		b.serve()
		run := b.start("winding")
		b.until(run, "wait", func(r *engine.Run) bool { return r.Cursor == "pause" && r.Owner == "" && !r.WakeAt.IsZero() })
		no := func(step, why string, kind fault.Kind, words string) {
			t.Helper()
			_, err := b.engine.Skip(t.Context(), run.ID, step, ann, why)
			if fault.KindOf(err) != kind || !strings.Contains(fault.Say(err), words) {
				t.Errorf("Skip(%s) = %v, want %s with %q", step, err, kind, words)
			}
		}
		no("look", "", fault.Invalid, "reason")
		no("check", "x", fault.Conflict, "has ended already: fail")
		no("nothing", "x", fault.NotFound, "no step")
		if _, err := b.engine.Skip(t.Context(), run.ID, "look", mia, "x"); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("Skip() by a stranger = %v, want Forbidden", err)
		}
		for _, step := range []string{"look", "look", "pause"} {
			if _, err := b.engine.Skip(t.Context(), run.ID, step, ben, "no time"); err != nil {
				t.Errorf("Skip(%s) = %v", step, err)
			}
		}
		confirm := b.asked(run, engine.Confirm)
		if _, err := b.engine.Skip(t.Context(), run.ID, "tweak", ben, "not today"); err != nil {
			t.Error(err)
		}
		r := b.ended(run, engine.Failed)
		wantStatus(t, r, "check=fail", "pause=skipped", "tweak=skipped", "look=skipped")
		if a := r.Approvals[0]; a.ID != confirm.ID || a.State != engine.Void || a.Card.Outcome != "Left out by Ben: not today" {
			t.Errorf("the question about it is\n%s", describe(r))
		}
		if found := r.Attempts[len(r.Attempts)-1].Found; found != "left out by Ben: no time" {
			t.Errorf("look was skipped: %q", found)
		}
		if _, tweaked, _ := b.world.counts(); tweaked != 0 {
			t.Error("what was left out had an effect")
		}
		skips := 0
		for _, row := range b.audit() {
			if row.Run == run.ID && row.Act == "skip" && row.Actor.ID == "UBEN" && row.Step != "" {
				skips++
			}
		}
		if skips != 4 { // the second wish for look, too
			t.Errorf("%d skips are in the audit log, want 4", skips)
		}
	})
}

func TestRetryByHand(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, winding)
		b.serve()
		run := b.start("winding")
		r := b.until(run, "wait", func(r *engine.Run) bool { return r.Cursor == "pause" && r.Owner == "" && !r.WakeAt.IsZero() })
		wake := r.WakeAt
		no := func(step, words string) {
			t.Helper()
			if _, err := b.engine.Retry(t.Context(), run.ID, step, ann, ""); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), words) {
				t.Errorf("Retry(%s) = %v, want Conflict with %q", step, err, words)
			}
		}
		no("look", "has not failed")
		no("tweak", "Only a step that reads")
		retry := func(want runbooks.Status, attempts int) {
			t.Helper()
			if _, err := b.engine.Retry(t.Context(), run.ID, "check", ann, "it may be well"); err != nil {
				t.Fatal(err)
			}
			r := b.until(run, "retry", func(r *engine.Run) bool {
				n := 0
				for _, a := range r.Attempts {
					if a.Step == "check" && a.Status != "" {
						n++
					}
				}
				return n == attempts && status(r, "check") == want && r.Owner == ""
			})
			if r.Cursor != "pause" || !r.WakeAt.Equal(wake) {
				t.Errorf("the wait at %s ends at %v, and should at pause at %v", r.Cursor, r.WakeAt, wake)
			}
		}
		retry(runbooks.Fail, 2)
		b.world.set(func(w *world) { w.keys = 1 })
		retry(runbooks.Pass, 3)
		no("check", "has not failed: pass")
		if _, err := b.engine.Skip(t.Context(), run.ID, "pause", ann, "all is well"); err != nil {
			t.Fatal(err)
		}
		b.vote(b.asked(run, engine.Confirm), ann, "confirm")
		if r := b.ended(run, engine.Succeeded); r.Verdict != runbooks.Pass {
			t.Errorf("the verdict is %s:\n%s", r.Verdict, describe(r))
		}
	})
}

// A retry beside an open question leaves the question open.
func TestRetryBesideAQuestion(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(winding, "for: 15m", "for: 1ms", 1))
	b.serve()
	run := b.start("winding")
	confirm := b.asked(run, engine.Confirm)
	b.world.set(func(w *world) { w.keys = 1 })
	if _, err := b.engine.Retry(t.Context(), run.ID, "check", ann, ""); err != nil {
		t.Fatal(err)
	}
	b.until(run, "retry", func(r *engine.Run) bool {
		return status(r, "check") == runbooks.Pass && r.State == engine.Waiting && r.Owner == ""
	})
	b.vote(confirm, ann, "confirm")
	b.ended(run, engine.Succeeded)
}

func TestWishSurvivesACrash(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, winding)
		killed := b.killed("intent:check", 2)
		run := b.start("winding")
		b.until(run, "wait", func(r *engine.Run) bool { return r.Cursor == "pause" && r.Owner == "" && !r.WakeAt.IsZero() })
		b.world.set(func(w *world) { w.keys = 1 })
		for _, wish := range []func() error{
			func() error { _, err := b.engine.Skip(t.Context(), run.ID, "tweak", ann, "no need"); return err },
			func() error { _, err := b.engine.Retry(t.Context(), run.ID, "check", ann, ""); return err },
		} {
			if err := wish(); err != nil && !errors.Is(err, engine.ErrLeaseLost) {
				t.Fatal(err)
			}
		}
		<-killed
		b.restart()
		b.serve()
		b.until(run, "retry", func(r *engine.Run) bool { return status(r, "check") == runbooks.Pass })
		if _, err := b.engine.Skip(t.Context(), run.ID, "pause", ann, "enough"); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, b.ended(run, engine.Succeeded), "check=pass", "tweak=skipped", "look=pass")
	})
}
