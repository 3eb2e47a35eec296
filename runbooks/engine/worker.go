package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// A worker acts on one claimed run until it waits, sleeps or ends, or until
// its lease is lost. It decides on a copy of the run: what it decides are
// mutations, applied to the copy at once and to the stored run at the next
// commit, where a person may have changed other things meanwhile. So a
// mutation reads no clock and draws no random number.
type worker struct {
	e     *Engine
	run   *Run // the stored run with the pending mutations
	rb    *runbooks.Runbook
	env   *Environment
	fence Fence

	serving context.Context // ends when the engine is asked to stop
	ctx     context.Context // of everything the worker does; its cause tells why it ended
	cancel  context.CancelCauseFunc

	pending []mutation
	results map[int]any    // decoded results by attempt
	kept    map[string]any // what earlier runs saved, by step and name

	mu      sync.Mutex
	trusted time.Time   // the lease was good then
	doom    *time.Timer // ends ctx when the lease can no longer be trusted
	halt    context.CancelCauseFunc
}

type mutation struct {
	point string // boundary that its commit passes; "": none
	step  string
	apply func(*Run, *Change)
}

func newWorker(serving context.Context, e *Engine, run *Run, claimed time.Time) *worker {
	w := &worker{
		e: e, run: run, fence: Fence{Owner: run.Owner, Epoch: run.Epoch},
		serving: serving, results: make(map[int]any), kept: make(map[string]any), trusted: claimed,
	}
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(serving))
	w.doom = time.AfterFunc(leaseTrust-time.Since(claimed), func() { w.cancel(ErrLeaseLost) })
	e.mu.Lock()
	e.acting[run.ID] = w
	e.mu.Unlock()
	return w
}

// trust notes that a heartbeat sent then succeeded. It comes too late once the
// worker has given up, or would have if it had not been frozen: a heartbeat
// succeeds, too, where there was no live lease left to extend.
func (w *worker) trust(sent time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sent.After(w.trusted) && time.Since(w.trusted) < leaseTrust && w.doom.Stop() {
		w.trusted = sent
		w.doom.Reset(leaseTrust - time.Since(sent))
	}
}

// leased reports whether the worker may still act. The monotonic clock runs on
// while a process is frozen, so that one that thaws late finds out here.
func (w *worker) leased() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ctx.Err() == nil && time.Since(w.trusted) < leaseTrust
}

// work acts on the run and lets it go.
func (w *worker) work() {
	log := w.e.log.With("run", w.run.ID, "runbook", w.run.Runbook)
	defer func() {
		w.e.mu.Lock()
		delete(w.e.acting, w.run.ID)
		w.e.mu.Unlock()
		w.doom.Stop()
		w.cancel(nil)
	}()
	err := w.drive()
	switch {
	case err == nil:
	case errors.Is(err, errStopping):
		w.pending = nil
		w.do("", "", func(r *Run, c *Change) { c.Release = true })
		if err := w.flush(); err != nil {
			log.Warn("could not release the run; its lease runs out", "err", err)
		}
	case errors.Is(err, ErrLeaseLost):
		log.Warn("lost the run's lease; another owner goes on", "epoch", w.fence.Epoch)
	default:
		log.Error("could not go on with the run; it is tried again when its lease has run out", "err", err)
	}
}

// drive goes on with the run, step by step. It returns nil when the run has
// been parked or has ended.
func (w *worker) drive() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	w.e.passed(PointClaimed, w.run, "")
	if parked, err := w.prepare(); parked || err != nil {
		return err
	}
	for {
		if err := w.interrupted(); err != nil {
			return err
		}
		r := w.run
		main := r.Phase == PhaseMain || r.Phase == PhaseRollback
		standstill := false
		if main && r.Stop == nil {
			if standstill, err = w.pausedNow(); err != nil {
				return err
			}
		}
		var parked bool
		switch {
		case r.State.Ended():
			return w.flush()
		case standstill && r.Paused:
			return w.park(Waiting, time.Time{})
		case standstill:
			return w.park(Ready, w.e.clock().Add(pausePoll))
		case r.WaitsFor != "":
			parked, err = w.acquire()
		case main && r.Stop == nil && r.wished("", choiceRetry) != nil:
			err = w.repeat(*r.wished("", choiceRetry))
		case w.calling() != nil:
			parked, err = w.attend(*w.calling())
		case r.Stop != nil && main:
			w.endMain(runbooks.Status(""), stopOutcome(r.Stop))
		case r.Phase == PhaseReport:
			return w.finish()
		case r.Cursor == "":
			w.phaseOver()
		default:
			step := w.rb.Step(r.Cursor)
			if step == nil {
				return fmt.Errorf("runbook %s has no step %q", r.Runbook, r.Cursor)
			}
			parked, err = w.visit(step)
		}
		if parked || err != nil {
			return err
		}
	}
}

// prepare loads what the run needs and settles what an earlier owner left.
func (w *worker) prepare() (parked bool, err error) {
	w.rb, err = w.e.runbook(w.run)
	if err != nil {
		return true, w.giveUp(fault.Say(err))
	}
	env, ok := w.e.settings.Load().environment(w.run.Environment)
	if !ok {
		env = &Environment{Name: w.run.Environment, Critical: w.run.Critical} // steps will say what is missing
	}
	w.env = env
	if w.run.Started.IsZero() {
		now := w.e.clock()
		w.do("", "", func(r *Run, c *Change) { r.Started = now })
	}
	return w.recover()
}

// interrupted says why the worker must not go on: ErrLeaseLost or errStopping.
func (w *worker) interrupted() error {
	if !w.leased() {
		return ErrLeaseLost
	}
	if w.serving.Err() != nil {
		if err := w.flush(); err != nil { // what is decided need not be decided again
			return err
		}
		return errStopping
	}
	return nil
}

// do changes the run: now in the worker's copy, and with the next commit.
func (w *worker) do(point, step string, apply func(*Run, *Change)) {
	apply(w.run, &Change{})
	w.pending = append(w.pending, mutation{point, step, apply})
}

// flush commits the pending mutations together, with the card that shows them.
// A database that fails for a moment is asked again for as long as the lease
// can be trusted: what was done in the world must get on record.
func (w *worker) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	pending := w.pending
	commit := func(r *Run) (Change, error) {
		c := Change{Runbook: w.rb}
		for _, m := range pending {
			m.apply(r, &c)
			if m.point == PointResult || m.point == PointSkipped {
				c.Ended = append(c.Ended, m.step)
			}
		}
		c.Notices = append([]outbox.Notice{runNotice(r, w.rb)}, c.Notices...)
		return c, nil
	}
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		run, err := w.e.store.Update(w.ctx, w.run.ID, &w.fence, commit)
		if err == nil {
			w.run, w.pending = run, nil
			for _, m := range pending {
				if m.point != "" {
					w.e.passed(m.point, run, m.step)
				}
			}
			return nil
		}
		if errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrNoRun) || !w.leased() {
			return errors.Join(ErrLeaseLost, err)
		}
		if locked := (*LockedError)(nil); errors.As(err, &locked) {
			return err // waiting a moment would not help
		}
		w.e.log.Warn("commit failed, trying again", "run", w.run.ID, "err", err)
		select {
		case <-w.ctx.Done():
			return ErrLeaseLost
		case <-time.After(pause):
		}
	}
}

// park commits and gives the run up: until somebody answers, or until wake.
// A stop, an answer or a wish that came meanwhile is not overwritten.
func (w *worker) park(state State, wake time.Time) error {
	w.do("", "", func(r *Run, c *Change) {
		c.Release = true
		r.State, r.WakeAt = state, wake
		if r.Stop != nil && (r.Phase == PhaseMain || r.Phase == PhaseRollback) || state == Waiting && !r.Paused && !r.asking() || r.wishful(w.rb) {
			r.State, r.WakeAt = Ready, time.Time{}
		}
	})
	err := w.flush()
	w.e.lookAt(wake)
	return err
}

// giveUp ends the run at once: not even its cleanup can be read. A run that it
// waits for is stopped before.
func (w *worker) giveUp(why string) error {
	now := w.e.clock()
	for _, a := range w.run.Attempts {
		id := a.child()
		if a.State != Intent || id == "" {
			continue
		}
		child, err := w.e.store.Find(w.ctx, id)
		if err != nil {
			return fmt.Errorf("look at run %s: %w", id, err)
		}
		if child.State.Ended() {
			continue
		}
		if err := w.e.stopChild(w.ctx, child, &Stop{By: system, Why: why, At: now}); err != nil {
			return err
		}
		return w.parkFor(id, true, nil)
	}
	w.do(PointEnded, "", func(r *Run, c *Change) {
		r.State, r.Verdict, r.Outcome, r.Ended = Failed, runbooks.Fail, why, now
		r.voidOpen(c, "The run ended.", now)
		r.over(c)
	})
	return w.flush()
}

// over lets go of what a run holds: its root's locks go with the root, and
// whoever waits for its end is woken.
func (r *Run) over(c *Change) {
	c.Release, c.Unlock, c.Wake = true, r.ParentID == "", r.ParentID
}

// asking reports whether an approval is open.
func (r *Run) asking() bool {
	return slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.State == Open })
}

// put adds the attempt or replaces the one of its Seq, so that a commit that
// is made twice counts once.
func (r *Run) put(a Attempt) {
	if i := r.attempt(a.Seq); i >= 0 {
		r.Attempts[i] = a
		return
	}
	r.Attempts = append(r.Attempts, a)
}

func (r *Run) attempt(seq int) int {
	return slices.IndexFunc(r.Attempts, func(a Attempt) bool { return a.Seq == seq })
}

// ask adds the approval, or replaces the one of its id.
func (r *Run) ask(a Approval) {
	if i := r.approval(a.ID); i >= 0 {
		r.Approvals[i] = a
		return
	}
	r.Approvals = append(r.Approvals, a)
}

func (r *Run) approval(id string) int {
	return slices.IndexFunc(r.Approvals, func(a Approval) bool { return a.ID == id })
}
