package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A run that has ended in failure, or was stopped, after it changed something
// offers its own rollback. The rollback is a run of its own: nothing happens any
// more to one that has ended. It begins with the other's text and journal, so
// that its steps see what was done, and has its own gates and locks.

// undo returns the offer of the run's rollback, nil if there is nothing to undo
// or the rollback was done.
func undo(r *Run, rb *runbooks.Runbook) *Offer {
	if r.DryRun || first(rb, PhaseRollback) == "" || r.State != Failed && r.State != Canceled {
		return nil
	}
	changed := false
	for _, a := range r.Attempts {
		if a.Phase == PhaseRollback && r.Undoes == "" {
			return nil
		}
		changed = changed || a.Effect > runbooks.Read && a.State != AttemptSkipped && (a.Purpose == ForStep || a.Purpose == ForItem)
	}
	if !changed {
		return nil
	}
	return &Offer{ID: r.ID + ".rollback", At: r.Ended, Runbook: r.Runbook, Say: "Roll back"}
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
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make a run's id: %w", err)
	}
	run := &Run{
		ID: id.String(), Runbook: from.Runbook, Title: fmt.Sprintf("Rollback of R%d (%s)", from.Number, from.Title),
		Digest: from.Digest, Text: from.Text, Environment: env.Name, Critical: env.Critical, Params: from.Params,
		Starter: req.Actor, Origin: from.Origin, RequestKey: req.RequestKey, Subject: from.Subject, RootID: id.String(), Undoes: from.ID,
		State: Ready, Phase: PhaseRollback, Cursor: first(rb, PhaseRollback), Created: now, Locks: e.lockKeys(ctx, rb, env),
		Attempts: history(from),
	}
	made, err := e.create(ctx, run, rb)
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
	made := undo(w.run, w.rb)
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
