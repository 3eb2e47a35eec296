package engine_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"opsbot/internal/fault"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

func runs(slug, child string) string {
	return doc(slug, step("1. Run", "id: it\ndo: run\nwith: { runbook: "+child+" }"))
}

// A pause reaches every run below, and lasts though somebody answers there.
func TestPauseOfAParentPausesItsChildren(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, remedy, troubled("mid", ""), runs("top", "mid"))
		b.serve()
		run := b.start("top")
		mid := b.childOf(run)
		low := b.childOf(mid)
		confirm := b.asked(low, engine.Confirm)
		if _, err := b.engine.Pause(t.Context(), run.ID, ann, ""); err != nil {
			t.Fatal(err)
		}
		for _, below := range []*engine.Run{mid, low} {
			b.until(below, "pause", func(r *engine.Run) bool { return r.PausedWith == run.ID })
			if _, err := b.engine.Resume(t.Context(), below.ID, ann, ""); fault.KindOf(err) != fault.Conflict ||
				fault.Say(err) != fmt.Sprintf("R%d stands still because R%d, which it belongs to, is paused. Resume R%[2]d.", below.Number, run.Number) {
				t.Errorf("Resume(R%d) = %v", below.Number, err)
			}
		}
		if next := b.card(low).Next; next != "Paused with the run that started it." {
			t.Errorf("the card of the lowest run says %q", next)
		}
		answered := b.vote(confirm, ann, "confirm")
		// Somebody has had a look since, and let it be.
		b.until(low, "look at the paused run", func(r *engine.Run) bool {
			return r.Epoch > answered.Epoch && r.Owner == "" && r.State == engine.Ready && !r.WakeAt.IsZero()
		})
		if _, tweaked, _ := b.world.counts(); tweaked != 0 {
			t.Fatal("a run below a paused one had an effect")
		}
		if _, err := b.engine.Resume(t.Context(), run.ID, ann, ""); err != nil {
			t.Fatal(err)
		}
		b.ended(run, engine.Succeeded)
		for _, below := range []*engine.Run{mid, low} {
			if r := b.ended(below, engine.Succeeded); r.PausedWith != "" {
				t.Errorf("R%d ended as paused with %s", r.Number, r.PausedWith)
			}
		}
		if _, tweaked, _ := b.world.counts(); tweaked != 1 {
			t.Errorf("tweaked %d times, want 1", tweaked)
		}
	})
}

// A child's own pause outlives its parent's.
func TestPauseOfAChildIsItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t, remedy, troubled("top", ""))
	b.serve()
	run := b.start("top")
	low := b.childOf(run)
	confirm := b.asked(low, engine.Confirm)
	for _, r := range []*engine.Run{low, run} {
		if _, err := b.engine.Pause(t.Context(), r.ID, ann, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.engine.Resume(t.Context(), run.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	b.until(low, "own pause alone", func(r *engine.Run) bool { return r.Paused && r.PausedWith == "" })
	if _, err := b.engine.Resume(t.Context(), low.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	b.vote(confirm, ann, "confirm")
	b.ended(run, engine.Succeeded)
	// And a stop gets through a pause.
	run = b.start("top")
	low = b.childOf(run)
	b.asked(low, engine.Confirm)
	if _, err := b.engine.Pause(t.Context(), run.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.Stop(t.Context(), low.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	b.ended(low, engine.Canceled)
	if _, err := b.engine.Resume(t.Context(), run.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	b.ended(run, engine.Failed)
}

// rushed is a store in which something happens right before a commit.
type rushed struct {
	engine.Store
	before atomic.Pointer[func()]
}

func (s *rushed) Update(ctx context.Context, id string, f *engine.Fence, fn func(*engine.Run) (engine.Change, error)) (*engine.Run, error) {
	if f != nil {
		if before := s.before.Swap(nil); before != nil {
			(*before)()
		}
	}
	return s.Store.Update(ctx, id, f, fn)
}

// A pause that comes while a child is being started finds it before it does
// anything.
func TestPauseMeetsABirth(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, doc("small", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")), runs("top", "small"))
		store := &rushed{Store: b.runs}
		b.runs = store
		paused := make(chan error, 1)
		b.serve(func(o *engine.Options) {
			o.Observe = func(e engine.Event) {
				if e.Point == engine.PointIntent && e.Step == "it" { // the next commit is the birth
					pause := func() {
						_, err := b.engine.Pause(context.Background(), e.Run, ann, "")
						paused <- err
					}
					store.before.Store(&pause)
				}
			}
		})
		run := b.start("top")
		if err := <-paused; err != nil {
			t.Fatal(err)
		}
		low := b.childOf(run)
		b.until(low, "standstill", func(r *engine.Run) bool { return r.PausedWith == run.ID && r.Owner == "" })
		if _, _, looked := b.world.counts(); looked != 0 {
			t.Error("the child acted though its parent was paused before it was born")
		}
		if _, err := b.engine.Resume(t.Context(), run.ID, ann, ""); err != nil {
			t.Fatal(err)
		}
		b.ended(run, engine.Succeeded)
	})
}
