package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A run that has ended after it changed something offers its own rollback: one
// that failed or was stopped in any case, one that succeeded for a day and only
// if a step of the rollback would have something to do. The rollback is a run of
// its own: nothing happens any more to one that has ended. It begins with the
// other's text and journal, so that its steps see what was done, and has its own
// gates and locks.

// undoWithin is how long after its success a run can be rolled back from its
// button: later, the world has gone on.
const undoWithin = 24 * time.Hour

// undoing returns the offer of the run's rollback, nil if there is nothing to undo
// or the rollback was done.
func (w *worker) undoing() *Offer {
	r := w.run
	if r.DryRun || first(w.rb, PhaseRollback) == "" || !r.changed() {
		return nil
	}
	made := &Offer{ID: r.ID + ".rollback", At: r.Ended, Runbook: r.Runbook, Say: "Roll back"}
	switch {
	case r.State == Succeeded:
		if r.Undoes != "" || !w.rollbackNeeded() {
			return nil
		}
		made.Say = "Roll back, within 24 h"
	case r.Undoes == "" && slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Phase == PhaseRollback }):
		return nil
	}
	return made
}

// changed reports whether a step of the run has acted on a system.
func (r *Run) changed() bool {
	return slices.ContainsFunc(r.Attempts, func(a Attempt) bool {
		return a.Effect > runbooks.Read && a.State != AttemptSkipped && (a.Purpose == ForStep || a.Purpose == ForItem)
	})
}

// rollbackNeeded reports whether a step of the rollback that does more than look
// would not be skipped. What cannot be evaluated says so when its turn comes.
func (w *worker) rollbackNeeded() bool {
	scope := w.scope()
	return slices.ContainsFunc(w.rb.Rollback, func(step *runbooks.Step) bool {
		if step.Action != nil && step.Effect == runbooks.Read {
			return false
		}
		for _, cond := range []*runbooks.Expr{groupWhen(step), step.When} {
			if cond == nil {
				continue
			}
			if yes, err := truth(cond, scope); err == nil && !yes {
				return false
			}
		}
		return true
	})
}

// revocable refuses the rollback of a run that succeeded if a day has passed, or
// if another run has changed something since under one of its locks: its steps
// would undo what they do not know.
func (e *Engine) revocable(ctx context.Context, from *Run, now time.Time) error {
	if from.State != Succeeded {
		return nil
	}
	if now.Sub(from.Ended) > undoWithin {
		return fault.New(fault.Conflict, "R%d succeeded more than 24 hours ago: it is not rolled back from its button any more.", from.Number).
			Hinted("Look at what is there now, and change it by a run of its own.")
	}
	recent, err := e.store.List(ctx, Query{Limit: 200})
	if err != nil {
		return err
	}
	for _, r := range recent {
		if r.DryRun || r.Undoes == from.ID || r.RootID == from.RootID || !r.Started.After(from.Ended) || !r.changed() {
			continue
		}
		if key := shared(from.Locks, r.Locks); key != "" {
			return fault.New(fault.Conflict, "R%d (%s) has changed %s since R%d ended, and R%d's rollback knows nothing of that.", r.Number, r.Title, key, from.Number, from.Number).
				Hinted("Look at what is there now, and change it by a run of its own.")
		}
	}
	return nil
}

// shared is a lock of both lists, or one that is a part of the other's; "" if
// there is none. That of the runbook itself is none of a system.
func shared(a, b []string) string {
	for _, x := range a {
		wholeX, _, _ := strings.Cut(x, LockPart)
		for _, y := range b {
			wholeY, _, _ := strings.Cut(y, LockPart)
			if !strings.HasPrefix(x, runbookLock) && (x == y || x == wholeY || y == wholeX) {
				return x
			}
		}
	}
	return ""
}

// startRollback starts the rollback of a run that has ended.
func (e *Engine) startRollback(ctx context.Context, from *Run, req StartRequest) (*Run, error) {
	if from.Undoes != "" {
		up, err := e.Find(ctx, from.Undoes)
		if err != nil {
			return nil, err
		}
		from = up
	}
	s := e.settings.Load()
	rb, err := e.runbook(from)
	if err != nil {
		return nil, err
	}
	env, err := s.choose(rb, from.Environment)
	if err != nil {
		return nil, err
	}
	if err := s.policy.Fit(ctx, e.people, req.Actor); err != nil {
		return nil, err
	}
	if err := e.mayRun(ctx, s, rb, req.Actor); err != nil {
		return nil, err
	}
	if err := runnable(rb, env); err != nil {
		return nil, err
	}
	if err := e.reviewable(ctx, s, rb, env, req.Actor); err != nil {
		return nil, err
	}
	now, err := e.tune(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.revocable(ctx, from, now); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make a run's id: %w", err)
	}
	run := &Run{
		ID: id.String(), Runbook: from.Runbook, Title: fmt.Sprintf("Rollback of R%d (%s)", from.Number, from.Title),
		Digest: from.Digest, Text: from.Text, Environment: env.Name, Critical: env.Critical, Params: from.Params,
		Starter: req.Actor.WithoutMessage(), Origin: from.Origin, RequestKey: req.RequestKey, Subject: from.Subject, RootID: id.String(), Undoes: from.ID,
		State: Ready, Phase: PhaseRollback, Cursor: first(rb, PhaseRollback), Created: now, Locks: e.lockKeys(ctx, rb, env),
		Attempts: history(from),
	}
	made, err := e.create(ctx, run, rb, req.Actor)
	if err != nil {
		return nil, err
	}
	e.passed(PointStarted, made, "")
	return made, nil
}

// history is the journal of the run's main part.
func history(r *Run) []Attempt {
	var out []Attempt
	for _, a := range r.Attempts {
		if a.Phase != PhaseMain {
			continue
		}
		a.Seq, a.Epoch, a.Approval = len(out)+1, 0, ""
		switch a.State {
		case Intent:
			a.State = AttemptSuperseded
		case AttemptUncertain:
			a.State, a.Status = AttemptFailed, runbooks.Unknown
		}
		out = append(out, a)
	}
	return out
}

// undone says how the rollback of another run went.
func undone(r *Run, rb *runbooks.Runbook, v runbooks.Status) string {
	for _, s := range rb.Rollback {
		if a := r.conclusion(s.ID); a != nil && failed(v) && a.Status == v {
			return failedAt(s, cmp.Or(a.Fault, a.Found))
		}
	}
	return "Rolled back."
}

// phases are those whose steps the run does itself.
func (r *Run) phases() []Phase {
	if r.Undoes != "" {
		return []Phase{PhaseRollback, PhaseCleanup}
	}
	return []Phase{PhaseMain, PhaseRollback, PhaseCleanup}
}

// undoable adds the offer of the rollback to a run that has just ended.
func (w *worker) undoable() {
	made := w.undoing()
	if made == nil {
		return
	}
	if err := runnable(w.rb, w.env); err != nil {
		made.Why = fault.Say(err)
	}
	w.do("", "", func(r *Run, c *Change) {
		if !slices.ContainsFunc(r.Offers, func(o Offer) bool { return o.ID == made.ID }) {
			r.Offers = append(r.Offers, *made)
		}
	})
}
