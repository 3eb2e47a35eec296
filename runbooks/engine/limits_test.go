package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// Each delay is the one before times the factor, and the retry's own condition
// decides whether there is another.
func TestRetryBacksOffWhileItsConditionHolds(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("again", step("1. Look", `
id: look
do: redis.look
target: cache
expect: result.keys < 5
retry: { times: 5, delay: 40ms, backoff: 3, if: (result?.keys ?? 0) > 10 }
`)), doc("never", step("1. Look", `
id: look
do: redis.look
target: cache
expect: result.keys < 5
retry: { times: 5, delay: 1h, if: (result?.keys ?? 0) > 5000 }
`)))
	b.world.onLook = func(n int) {
		if n == 3 {
			b.world.set(func(w *world) { w.keys = 7 }) // wrong still, and not worth another try
		}
	}
	b.serve()
	r := b.ended(b.start("again"), engine.Failed)
	if len(r.Attempts) != 3 {
		t.Fatalf("%d attempts, want the first and two more:\n%s", len(r.Attempts), describe(r))
	}
	for i, delay := range []time.Duration{40 * time.Millisecond, 120 * time.Millisecond} {
		if gap := r.Attempts[i+1].IntentAt.Sub(r.Attempts[i].ResultAt); gap < delay {
			t.Errorf("attempt %d follows after %v, want %v at least", i+2, gap, delay)
		}
	}
	b.world.set(func(w *world) { w.keys, w.onLook = 1000, nil })
	if r := b.ended(b.start("never"), engine.Failed); len(r.Attempts) != 1 {
		t.Errorf("%d attempts though the condition is false:\n%s", len(r.Attempts), describe(r))
	}
}

// A loop over more than it may go through does nothing at all, and one that
// fails stops at that element.
func TestEachIsBounded(t *testing.T) {
	t.Parallel()
	tweak := func(slug, each string) string {
		return doc(slug, step("1. Tweak all", "id: all\ndo: redis.tweak\ntarget: cache\neach: "+each+"\nwith: { to: \"${{ item }}\" }"))
	}
	b := newBench(t, tweak("many", `{ in: "split(run.environment, '')", max: 3 }`), tweak("few", `{ in: "split(run.environment, '')", max: 4 }`))
	b.world.tweak = func(n int) error {
		if n == 3 {
			return errors.New("enough")
		}
		return nil
	}
	b.serve()
	r := b.ended(b.start("many"), engine.Failed)
	if _, tweaked, _ := b.world.counts(); tweaked != 0 || !strings.Contains(r.Outcome, "has 4 elements; at most 3 are allowed") {
		t.Errorf("tweaked %d times; outcome %q", tweaked, r.Outcome)
	}
	run := b.start("few")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	r = b.ended(run, engine.Failed)
	if _, tweaked, _ := b.world.counts(); tweaked != 3 || !strings.Contains(r.Outcome, "element 3 of 4") {
		t.Errorf("tweaked %d times; outcome %q", tweaked, r.Outcome)
	}
}

// A wait for something to come true needs no owner, outlives restarts with the
// end that it began with, and fails when that is reached.
func TestWaitUntilSurvivesRestarts(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url,
			doc("until", step("1. Wait", "id: w\ndo: wait\nwith: { until: run.elapsed > duration(\"3s\"), max: 10m }")),
			doc("vain", step("1. Wait", "id: w\ndo: wait\nwith: { until: run.elapsed > duration(\"3h\"), max: 3s }")))
		for slug, want := range map[string]engine.State{"until": engine.Succeeded, "vain": engine.Failed} {
			b.serve()
			run := b.start(slug)
			asleep := b.until(run, "sleep", func(r *engine.Run) bool { return len(r.Attempts) == 1 && r.Owner == "" })
			b.restart()
			b.serve()
			r := b.ended(run, want)
			if len(r.Attempts) != 1 || !r.Attempts[0].Deadline.Equal(asleep.Attempts[0].Deadline) || r.Restarts != 0 {
				t.Errorf("%s: the wait did not survive as it was:\n%s", slug, describe(r))
			}
			if want == engine.Failed && !strings.Contains(r.Outcome, "did not come true in time") {
				t.Errorf("outcome %q", r.Outcome)
			}
			b.stop()
		}
	})
}

// Questions that are no gates are waited for a day, with a reminder after a
// quarter of an hour; then the run stops, and is cleaned up.
func TestNobodyAnswersForADay(t *testing.T) {
	t.Parallel()
	for kind, body := range map[engine.ApprovalKind]string{
		engine.Manual: step("1. Tick", "id: s\ndo: manual\nwho: [sre]"),
		engine.Choice: step("1. Look", "id: s\ndo: redis.look\ntarget: cache\nexpect: result.keys > 5000\non_fail: ask"),
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, doc("slow", body+"\n## Cleanup\n"+looking("last", "")))
			late := &ahead{Store: b.runs}
			b.runs = late
			b.serve()
			run := b.start("slow")
			if a := b.asked(run, kind); a.Remind.Sub(a.Created) != 15*time.Minute || a.Expires.Sub(a.Created) != 24*time.Hour {
				t.Errorf("it reminds after %v and ends after %v", a.Remind.Sub(a.Created), a.Expires.Sub(a.Created))
			}
			late.by.Store(int64(16 * time.Minute))
			b.until(run, "reminder", func(r *engine.Run) bool { return r.Approvals[0].Remind.IsZero() })
			late.by.Store(int64(24*time.Hour + time.Minute))
			r := b.ended(run, engine.Canceled)
			wantStatus(t, r, "last=pass")
			if !strings.Contains(strings.ToLower(r.Outcome), "nobody answered within 24 h") {
				t.Errorf("outcome %q", r.Outcome)
			}
		})
	}
}

// notify says something where the runbook wants it.
func TestNotify(t *testing.T) {
	t.Parallel()
	tell := func(to string) string {
		return step("Tell "+to, fmt.Sprintf("id: n%d\ndo: notify\nwith: { to: %q, text: \"to %s on ${{ run.environment }} <!channel>\" }", len(to), to, to))
	}
	b := newBench(t, doc("news", tell("thread")+tell("starter")+tell("ops")+tell("#releases")))
	b.serve()
	run := b.ended(b.start("news"), engine.Succeeded)
	got := map[string]outbox.Notice{}
	q := b.db.Outbox()
	for {
		due, err := q.Due(t.Context(), "test", 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(due) == 0 {
			break
		}
		for _, d := range due {
			if l, ok := d.Notice.Content.(outbox.Line); ok && strings.HasPrefix(l.Text, "to ") {
				got[strings.Fields(l.Text)[1]] = d.Notice
			}
			if err := q.Sent(t.Context(), d, "C1", fmt.Sprint(d.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for to, want := range map[string]struct {
		channel, under string
		users          int
	}{
		"thread": {"C1", "run/" + run.ID, 0}, "starter": {"C1", "run/" + run.ID, 1},
		"ops": {"", "", 0}, "#releases": {"#releases", "", 0},
	} {
		n := got[to]
		l, _ := n.Content.(outbox.Line)
		if n.To.Channel != want.channel || n.Under != want.under || len(l.Users) != want.users || l.Text != "to "+to+" on demo <!channel>" {
			t.Errorf("to %s: in %q under %q to %v: %q", to, n.To.Channel, n.Under, l.Users, l.Text)
		}
	}
	wantStatus(t, run, "n6=pass", "n7=pass", "n3=pass", "n9=pass")
	if run.Verdict != runbooks.Pass {
		t.Errorf("verdict %q", run.Verdict)
	}
}

// All cleanup steps together act for five minutes at most: what comes after
// that is not begun, and the run says so.
func TestCleanupHasFiveMinutes(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("slow", step("1. Look", "id: s\ndo: redis.look\ntarget: cache")+"\n## Cleanup\n"+looking("long", "")+looking("last", "")))
	var late atomic.Int64 // ns
	b.world.set(func(w *world) {
		w.onLook = func(n int) {
			if n == 2 { // the first of the cleanup
				late.Store(int64(6 * time.Minute))
			}
		}
	})
	b.serve(func(o *engine.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	})
	r := b.ended(b.start("slow"), engine.Succeeded)
	wantStatus(t, r, "s=pass", "long=pass", "last=fail")
	if _, _, looked := b.world.counts(); looked != 2 {
		t.Errorf("%d looks, want 2:\n%s", looked, describe(r))
	}
	if got := describe(r); !strings.Contains(got, "the time that the run has for this is used up") {
		t.Errorf("nothing says why:\n%s", got)
	}
}
