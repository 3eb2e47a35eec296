package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// A run stands still while it is paused, or any run above it is. A pause is not
// passed on: a run that another one started looks up before each of its steps,
// so that no crash, and no race between a pause and a start, leaves it going.
// PausedWith is what it last saw, for people.

// pausePoll is how long a run that stands still with another one sleeps before
// it looks up by itself; a resume lets it look at once.
const pausePoll = 2 * time.Second

// paused reports whether the run stands still, as far as it has seen.
func (r *Run) paused() bool { return r.Paused || r.PausedWith != "" }

// pausedAbove returns the nearest paused run above r, nil if there is none.
func (e *Engine) pausedAbove(ctx context.Context, r *Run) (*Run, error) {
	for id, n := r.ParentID, 0; id != "" && n <= runbooks.MaxDepth; n++ {
		up, err := e.store.Find(ctx, id)
		switch {
		case errors.Is(err, ErrNoRun):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("look at the run above R%d: %w", r.Number, err)
		case up.Paused && up.Stop == nil:
			return up, nil
		}
		id = up.ParentID
	}
	return nil, nil
}

// pausedNow looks whether the run stands still, and puts on record with which.
func (w *worker) pausedNow() (bool, error) {
	up, err := w.e.pausedAbove(w.ctx, w.run)
	if err != nil {
		return false, err
	}
	with := ""
	if up != nil {
		with = up.ID
	}
	if with != w.run.PausedWith {
		w.do("", "", func(r *Run, c *Change) { r.PausedWith = with })
	}
	return w.run.paused(), nil
}

// followPause shows on the runs below r that they stand still with it, or that
// they go on, and wakes those. Without it they would see for themselves, a
// little later.
func (e *Engine) followPause(ctx context.Context, r *Run) {
	for at := r.calling(); at != nil; at = r.calling() {
		below, err := e.store.Find(ctx, at.child())
		if err == nil && !below.State.Ended() {
			below, err = e.showPause(ctx, below)
		}
		if err != nil {
			e.log.Warn("cannot show a pause on the run below", "run", r.ID, "err", err)
			return
		}
		r = below
	}
}

// showPause puts on record what the run will see when it looks up.
func (e *Engine) showPause(ctx context.Context, below *Run) (*Run, error) {
	rb, err := e.runbook(below)
	if err != nil {
		return nil, err
	}
	up, err := e.pausedAbove(ctx, below)
	if err != nil {
		return nil, err
	}
	return e.store.Update(ctx, below.ID, nil, func(r *Run) (Change, error) {
		switch {
		case r.State.Ended():
			return Change{}, nil
		case up != nil && r.Stop == nil && (r.Phase == PhaseMain || r.Phase == PhaseRollback):
			r.PausedWith = up.ID
		default:
			r.PausedWith = ""
			if r.State == Ready && r.Owner == "" {
				r.wake()
			}
		}
		return Change{Notices: []outbox.Notice{runNotice(r, rb)}}, nil
	})
}
