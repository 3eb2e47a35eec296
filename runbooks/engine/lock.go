package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// lockPoll is how often a run that waits for its locks looks by itself; the
// commit that releases them lets it look at once.
const lockPoll = 2 * time.Second

// queue lets the run wait for its locks, if its runbook says so: it is created
// holding nothing but its own name. It returns false if the run is refused: it
// waits for nobody who runs the same runbook.
func queue(run *Run, rb *runbooks.Runbook, locked *LockedError, refusal error) bool {
	var running *RunningError
	if rb.LockWait == 0 || run.DryRun || errors.As(refusal, &running) || run.WaitsFor != "" {
		return false
	}
	run.WaitsFor, run.Outcome = locked.Holder, waitText(refusal)
	run.Locks = []string{runbookKey(run.Runbook, run.Environment)}
	return true
}

// waitText is the message of a refusal without its hint.
func waitText(refusal error) string {
	var f *fault.Error
	if errors.As(refusal, &f) {
		return f.Message
	}
	return "Another run holds its locks."
}

// refresh shows on the holder's card how many runs wait for its locks.
func (e *Engine) refresh(ctx context.Context, holder string) {
	if holder == "" {
		return
	}
	run, err := e.store.Find(ctx, holder)
	if err == nil && !run.State.Ended() {
		var rb *runbooks.Runbook
		if rb, err = e.runbook(run); err == nil {
			_, err = e.store.Update(ctx, holder, nil, func(r *Run) (Change, error) {
				return Change{Notices: []outbox.Notice{runNotice(r, rb)}}, nil
			})
		}
	}
	if err != nil {
		e.log.Warn("cannot show who waits for a run", "run", holder, "err", err)
	}
}

// acquire takes the locks that the run waits for, or lets it wait on, or ends
// it when its time is up. It has done nothing yet that a cleanup could be for.
func (w *worker) acquire() (parked bool, err error) {
	held, now := w.run.WaitsFor, w.e.clock()
	defer func() {
		if err == nil && w.run.WaitsFor != held {
			w.e.refresh(w.ctx, held)
			w.e.refresh(w.ctx, w.run.WaitsFor)
		}
	}()
	until := w.run.Created.Add(w.rb.LockWait)
	switch {
	case w.run.Stop != nil:
		w.unbegun("", stopOutcome(w.run.Stop))
		return false, w.flush()
	case !now.Before(until):
		w.unbegun(runbooks.Fail, fmt.Sprintf("Not begun: its locks were not free within %s. %s", short(w.rb.LockWait), w.run.Outcome))
		return false, w.flush()
	}
	keys := w.e.lockKeys(w.ctx, w.rb, w.env)
	w.do(PointLocked, "", func(r *Run, c *Change) {
		c.Lock = true
		r.Locks, r.WaitsFor, r.Outcome, r.Started, r.WakeAt = keys, "", "", now, time.Time{}
		c.Notices = append(c.Notices, r.line(outbox.Line{Text: "It is the turn of " + r.Title + " now.", Users: starterOf(r)}))
	})
	err = w.flush()
	var locked *LockedError
	if !errors.As(err, &locked) {
		return false, err
	}
	if err := w.forget(); err != nil {
		return false, err
	}
	why := waitText(w.e.held(w.ctx, locked, w.rb, w.env))
	wake := now.Add(lockPoll)
	if until.Before(wake) {
		wake = until
	}
	w.do("", "", func(r *Run, c *Change) { r.WaitsFor, r.Outcome = locked.Holder, why })
	return true, w.park(Ready, wake)
}

// unbegun ends a run before its first step.
func (w *worker) unbegun(v runbooks.Status, outcome string) {
	w.do(PointEnding, "", func(r *Run, c *Change) {
		r.Phase, r.Cursor, r.Verdict, r.Outcome, r.WaitsFor, r.State, r.WakeAt = PhaseReport, "", v, outcome, "", Ready, time.Time{}
	})
}
