package engine_test

import (
	"strings"
	"testing"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// locking is a runbook that looks once, with another lock than cache's whole.
func locking(slug, lock string) string {
	return strings.Replace(doc(slug, step("1. Look", "id: look\ndo: redis.look\ntarget: cache")), "lock: cache\n", lock+"\n", 1)
}

func TestLockWait(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, lockWait)
}

func lockWait(t *testing.T, url string) {
	b := newBenchOn(t, url, fix, locking("patient", "lock: cache\nlock_wait: 10m"), locking("hasty", "lock: cache\nlock_wait: 1s"),
		locking("third", "lock: cache\nlock_wait: 10m"))
	b.serve()
	holder := b.start("fix")
	b.asked(holder, engine.Confirm)
	run := b.start("patient")
	if run.WaitsFor != holder.ID || !strings.Contains(run.Outcome, "R1 (Test of fix on demo, started by Ann") {
		t.Errorf("the run waits for %q: %q", run.WaitsFor, run.Outcome)
	}
	if card := b.card(run); !strings.Contains(card.Next, "R1 (Test of fix") || card.Until.IsZero() {
		t.Errorf("its card says %q until %v", card.Next, card.Until)
	}
	third := b.start("third")
	if card := b.card(holder); card.Waiters != 2 {
		t.Errorf("the holder's card shows %d waiters, want 2", card.Waiters)
	}
	if !shows(b.said(), holder, 2) {
		t.Error("the holder's message does not say that two wait")
	}
	if _, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "patient", Actor: ben}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second Start() of a run that waits = %v, want Conflict", err)
	}
	late := b.start("hasty")
	r := b.ended(late, engine.Failed)
	if !strings.HasPrefix(r.Outcome, "Not begun: its locks were not free within 1 s. R1 (") || len(r.Attempts) > 0 {
		t.Errorf("outcome %q:\n%s", r.Outcome, describe(r))
	}
	if _, err := b.engine.Stop(t.Context(), third.ID, ann, "no need"); err != nil {
		t.Fatal(err)
	}
	if r := b.ended(third, engine.Canceled); len(r.Attempts) > 0 {
		t.Errorf("it was stopped before it began:\n%s", describe(r))
	}
	b.until(holder, "one waiter", func(r *engine.Run) bool { return r.Waiters == 1 })
	if _, err := b.engine.Stop(t.Context(), holder.ID, ann, "make room"); err != nil {
		t.Fatal(err)
	}
	b.ended(holder, engine.Canceled)
	b.ended(run, engine.Succeeded)
	if locks, err := b.engine.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("Locks() = %v, %v after the end", locks, err)
	}
}

// shows reports whether the newest message of the run names so many waiters.
func shows(contents []outbox.Content, run *engine.Run, waiters int) bool {
	got := 0
	for _, c := range contents {
		if card, ok := c.(outbox.RunCard); ok && card.Run == run.ID {
			got = card.Waiters
		}
	}
	return got == waiters
}

func TestLockWaitSurvivesACrash(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		for _, at := range []string{"started", "locked"} {
			t.Run(at, func(t *testing.T) {
				b := newBenchOn(t, url, fix, locking("patient", "lock: cache\nlock_wait: 10m"))
				nth := 1
				if at == "started" {
					nth = 2 // the first is the holder's
				}
				killed := b.killed(at, nth)
				holder := b.start("fix")
				b.asked(holder, engine.Confirm)
				run := b.start("patient")
				stop := func() {
					if _, err := b.engine.Stop(t.Context(), holder.ID, ann, ""); err != nil {
						t.Fatal(err)
					}
				}
				if at == "locked" {
					stop()
				}
				<-killed
				b.restart()
				b.serve()
				if at == "started" {
					stop()
				}
				b.ended(holder, engine.Canceled)
				b.ended(run, engine.Succeeded)
			})
		}
	})
}

func TestPartsOfALock(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		hold := func(slug, lock string) string {
			return strings.Replace(doc(slug, step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nconfirm: Go?")), "lock: cache", "lock: "+lock, 1)
		}
		b := newBenchOn(t, url, hold("one", "cache/one"), hold("two", "cache/two"), hold("all", "cache/*"), hold("whole", "cache"), hold("same", "cache/one"))
		b.serve()
		start := func(slug string, who access.Actor) (*engine.Run, error) {
			return b.engine.Start(t.Context(), engine.StartRequest{Runbook: slug, Actor: who})
		}
		one, two := b.start("one"), b.start("two")
		for _, slug := range []string{"all", "whole", "same"} {
			if _, err := start(slug, ben); fault.KindOf(err) != fault.Conflict {
				t.Errorf("Start(%s) beside a part = %v, want Conflict", slug, err)
			}
		}
		for _, r := range []*engine.Run{one, two} {
			b.vote(b.asked(r, engine.Confirm), ann, "confirm")
			b.ended(r, engine.Succeeded)
		}
		all := b.start("all")
		for _, slug := range []string{"one", "whole"} {
			if _, err := start(slug, ben); fault.KindOf(err) != fault.Conflict {
				t.Errorf("Start(%s) beside the whole = %v, want Conflict", slug, err)
			}
		}
		b.vote(b.asked(all, engine.Confirm), ann, "confirm")
		b.ended(all, engine.Succeeded)
	})
}
