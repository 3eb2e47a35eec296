package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// steer changes a run on a person's word: the starter's, or that of anybody who
// may run or approve it. A refusal of fn is audited. step is what it is about;
// "": where the run is.
func (e *Engine) steer(ctx context.Context, ref, step string, actor access.Actor, act, why string, fn func(*Run, *runbooks.Runbook, *Change, time.Time) error) (*Run, error) {
	run, err := e.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	rb, err := e.runbook(run)
	if err != nil {
		return nil, err
	}
	policy := e.settings.Load().policy
	allowed := policy.Fit(ctx, e.people, actor)
	if allowed == nil && !alike(actor, run.Starter) {
		allowed = policy.May(ctx, e.people, actor, slices.Concat(rb.Roles.Run, rb.Roles.Approve)...)
	}
	now, err := e.tune(ctx)
	if err != nil {
		return nil, err
	}
	var refusal error
	run, err = e.store.Update(ctx, run.ID, nil, func(r *Run) (Change, error) {
		c := Change{Runbook: rb}
		refusal = allowed
		if refusal == nil && r.State.Ended() {
			refusal = fault.New(fault.Conflict, "R%d has ended already: %s", r.Number, sentence(r.Outcome))
		}
		entry := AuditEntry{Actor: actor, Act: act, Run: r.ID, Step: cmp.Or(step, r.Cursor), Outcome: "done", Detail: why}
		if refusal == nil {
			refusal = fn(r, rb, &c, now)
		}
		if refusal != nil {
			entry.Act, entry.Outcome, entry.Detail = "refuse", act, fault.Say(refusal)
			return Change{Audit: []AuditEntry{entry}, Runbook: rb}, nil
		}
		c.Audit = append(c.Audit, entry)
		c.Notices = append([]outbox.Notice{runNotice(r, rb)}, c.Notices...)
		return c, nil
	})
	if err != nil {
		return nil, said(err, "There is no run %q.", ref)
	}
	if refusal != nil {
		return nil, refusal
	}
	return run, nil
}

// Stop ends the run: a step that acts is interrupted, open questions close, and
// the cleanup follows. Stopping a stopping run changes nothing.
func (e *Engine) Stop(ctx context.Context, ref string, actor access.Actor, why string) (*Run, error) {
	why = strings.TrimSpace(why)
	run, err := e.steer(ctx, ref, "", actor, "stop", why, func(r *Run, rb *runbooks.Runbook, c *Change, now time.Time) error {
		if r.Stop != nil {
			return nil
		}
		if r.Phase == PhaseCleanup || r.Phase == PhaseReport {
			return fault.New(fault.Conflict, "R%d is at its end already.", r.Number)
		}
		r.stop(c, &Stop{By: actor, Why: why, At: now})
		return nil
	})
	if err == nil {
		e.halt(run.ID)
	}
	return run, err
}

// stop puts a stop on record and wakes the run, which sees to the rest.
func (r *Run) stop(c *Change, stop *Stop) {
	r.Stop, r.Paused, r.PausedWith = stop, false, ""
	r.voidOpen(c, stopOutcome(stop), stop.At)
	if r.State != Ready || r.Owner == "" {
		r.wake()
	}
}

// halt interrupts the step that this process does for the run, if it does.
func (e *Engine) halt(run string) {
	e.mu.Lock()
	w := e.acting[run]
	e.mu.Unlock()
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.halt != nil {
		w.halt(errStopped)
	}
}

// Pause lets the run finish its present step and then wait until Resume; the
// runs that it has started stand still with it. Questions stay open, and keep
// their clocks.
func (e *Engine) Pause(ctx context.Context, ref string, actor access.Actor, why string) (*Run, error) {
	run, err := e.steer(ctx, ref, "", actor, "pause", why, func(r *Run, rb *runbooks.Runbook, c *Change, now time.Time) error {
		switch {
		case r.Paused:
			return fault.New(fault.Conflict, "R%d is paused already.", r.Number)
		case r.Stop != nil || r.Phase == PhaseCleanup || r.Phase == PhaseReport:
			return fault.New(fault.Conflict, "R%d is at its end already.", r.Number)
		}
		r.Paused = true
		if r.State == Ready && r.Owner == "" {
			r.State, r.WakeAt = Waiting, time.Time{}
		}
		return nil
	})
	if err == nil {
		e.followPause(ctx, run)
	}
	return run, err
}

// Resume lets a paused run go on, with those that stand still with it.
func (e *Engine) Resume(ctx context.Context, ref string, actor access.Actor, why string) (*Run, error) {
	found, err := e.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	above, err := e.pausedAbove(ctx, found)
	if err != nil {
		return nil, err
	}
	run, err := e.steer(ctx, found.ID, "", actor, "resume", why, func(r *Run, rb *runbooks.Runbook, c *Change, now time.Time) error {
		switch {
		case !r.Paused && above != nil:
			return fault.New(fault.Conflict, "R%d stands still because R%d, which it belongs to, is paused.", r.Number, above.Number).
				Hinted("Resume R%d.", above.Number)
		case !r.Paused:
			return fault.New(fault.Conflict, "R%d is not paused.", r.Number)
		}
		r.Paused = false
		if !r.asking() {
			r.wake()
		}
		return nil
	})
	if err == nil {
		e.followPause(ctx, run)
	}
	return run, err
}

// A Pending is a question that waits for people.
type Pending struct {
	Run      *Run
	Approval Approval
}

// Waiting returns the open questions that the actor may answer, newest run first.
func (e *Engine) Waiting(ctx context.Context, actor access.Actor) ([]Pending, error) {
	runs, err := e.store.List(ctx, Query{Unended: true, Limit: 200})
	if err != nil {
		return nil, err
	}
	var out []Pending
	for _, r := range runs {
		a := r.open()
		if a == nil {
			continue
		}
		rb, err := e.runbook(r)
		if err != nil {
			continue
		}
		b := Ballot{Actor: actor, Decision: "?"}
		err = refuse(r, rb, a, b, e.outside(ctx, rb, a, b), e.clock())
		switch fault.KindOf(err) {
		case fault.Invalid: // nothing but the answer is missing
			out = append(out, Pending{Run: r, Approval: *a})
		case fault.Unavailable:
			return nil, err
		}
	}
	return out, nil
}
