package engine

import (
	"fmt"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// recover settles the intents that an earlier owner left without a result.
// What only reads is done again. Of anything else the outcome is unknown: the
// step's `on_crash` decides, and a destructive one is never simply repeated.
func (w *worker) recover() (parked bool, err error) {
	for _, a := range w.run.Attempts {
		step := w.rb.Step(a.Step)
		if a.State != Intent || a.Epoch >= w.fence.Epoch || step == nil || step.Do == "wait" || a.calls(step) {
			continue
		}
		again := a.Effect == runbooks.Read || a.Effect == runbooks.Change && step.OnCrash.Word == "rerun"
		w.restarted(step, again)
		if again {
			a.State, a.Fault = AttemptSuperseded, "interrupted"
			w.do("", "", func(r *Run, c *Change) { r.put(a) })
			continue
		}
		a.State = AttemptUncertain
		a.Status = runbooks.Unknown
		a.Fault = "opsbot was interrupted while it ran; whether it was done is not known"
		w.do(PointDoubt, step.ID, func(r *Run, c *Change) {
			r.put(a)
			c.Audit = append(c.Audit, AuditEntry{Actor: system, Act: "uncertain", Run: r.ID, Step: a.Step, Approval: a.Approval})
		})
	}
	return false, nil // the drive goes on; visit sees what is uncertain
}

// restarted says in the thread that another owner goes on.
func (w *worker) restarted(step *runbooks.Step, again bool) {
	text := fmt.Sprintf("opsbot restarted; %s goes on.", name(step))
	if !again {
		text = fmt.Sprintf("opsbot restarted in the middle of %s.", name(step))
	}
	w.do("", "", func(r *Run, c *Change) {
		r.Restarts++
		c.Notices = append(c.Notices, r.line(outbox.Line{Text: text}))
	})
}

// doubt finds out what became of an uncertain step: by the step that
// `on_crash` names, or by asking people.
func (w *worker) doubt(step *runbooks.Step, a Attempt) (parked bool, err error) {
	if id := step.OnCrash.Verify; id != "" {
		check := w.rb.Step(id)
		var done *Attempt
		for i := range w.run.Attempts {
			if v := &w.run.Attempts[i]; v.Purpose == ForVerify && v.Step == id && v.Seq > a.Seq && v.Status != "" {
				done = v
			}
		}
		switch {
		case done == nil:
			return false, w.again(check, w.attempt(check, ForVerify, w.e.clock()))
		case done.Status == runbooks.Pass: // a warning is an expectation that did not hold
			a.State, a.Status, a.Fault = AttemptDone, runbooks.Pass, ""
			a.Found = fmt.Sprintf("interrupted, but done: %s holds", name(check))
			w.resolved(step, a)
			return false, nil
		}
	}
	return true, w.await(step, w.doubtful(step, a))
}

// resolved puts on record what became of an uncertain attempt, and goes on.
func (w *worker) resolved(step *runbooks.Step, a Attempt) {
	a.ResultAt = w.e.clock()
	w.do(PointResult, step.ID, func(r *Run, c *Change) { r.put(a) })
	if a.Purpose == ForStep && a.State != AttemptSuperseded {
		w.advance(step, a.Status, firstOf(a.Fault, a.Found))
	}
}

// doubtful asks people what became of an uncertain step.
func (w *worker) doubtful(step *runbooks.Step, at Attempt) Approval {
	now := w.e.clock()
	a := Approval{Kind: Doubt, Groups: w.rb.Roles.Run, Needed: 1,
		Created: now, Expires: now.Add(answerWithin), Remind: now.Add(answerRemind)}
	a.Card = w.card(step, Doubt, now)
	a.Card.Effect = effectName(at.Effect)
	a.Card.Question = fmt.Sprintf("opsbot was interrupted while %s ran. Whether it was done is not known. Look at the system, then say what became of it.", name(step))
	a.Card.Groups, a.Card.Users, a.Card.Expires = a.Groups, starterOf(w.run), a.Expires
	a.Card.Choices = []outbox.Choice{
		{ID: choiceDone, Label: "It was done", Reason: true},
		{ID: choiceRedo, Label: "Do it again", Style: "danger"},
		{ID: choiceSkip, Label: "Leave it out", Reason: true},
		{ID: choiceStop, Label: "Stop the run", Reason: true},
	}
	return a
}

// choose asks people how to go on after a failure.
func (w *worker) choose(step *runbooks.Step, said string) {
	now := w.e.clock()
	a := Approval{Kind: Choice, Groups: w.rb.Roles.Run, Needed: 1,
		Created: now, Expires: now.Add(answerWithin), Remind: now.Add(answerRemind)}
	a.Card = w.card(step, Choice, now)
	a.Card.Question = sentence(upper(said)) + " How shall it go on?"
	a.Card.Groups, a.Card.Users, a.Card.Expires = a.Groups, starterOf(w.run), a.Expires
	a.Card.Choices = []outbox.Choice{{ID: choiceRetry, Label: "Retry", Style: "primary"}, {ID: choiceSkip, Label: "Skip this step", Reason: true}}
	if w.run.Phase == PhaseMain && first(w.rb, PhaseRollback) != "" {
		a.Card.Choices = append(a.Card.Choices, outbox.Choice{ID: choiceRollback, Label: "Roll back", Style: "danger"})
	}
	a.Card.Choices = append(a.Card.Choices, outbox.Choice{ID: choiceStop, Label: "Stop the run", Reason: true})
	w.question(step, a)
}

// The choices of a card.
const (
	choiceConfirm  = "confirm"
	choiceCancel   = "cancel"
	choiceApprove  = "approve"
	choiceDeny     = "deny"
	choiceRetry    = "retry"
	choiceSkip     = "skip"
	choiceRollback = "rollback"
	choiceStop     = "stop"
	choiceRedo     = "redo"
	choiceDone     = "done"
	choiceAgain    = "again"
)

// answered is the newest question about the step that has been decided and not
// yet obeyed; nil if there is none.
func (w *worker) answered(step *runbooks.Step) *Approval {
	for i := len(w.run.Approvals) - 1; i >= 0; i-- {
		a := &w.run.Approvals[i]
		if a.Step != step.ID {
			continue
		}
		gate := a.Kind == Confirm || a.Kind == Review
		if a.State == Granted && !gate || (a.State == Denied || a.State == Expired) && w.run.conclusionAfter(step.ID, a.Decided) == nil {
			return a
		}
		return nil
	}
	return nil
}

// conclusionAfter is how the step ended at or after t, nil if it has not.
func (r *Run) conclusionAfter(step string, t time.Time) *Attempt {
	if a := r.conclusion(step); a != nil && !a.ResultAt.Before(t) {
		return a
	}
	return nil
}

// obey does what people decided.
func (w *worker) obey(step *runbooks.Step, a *Approval) {
	id, last := a.ID, Vote{Actor: system, Decision: choiceStop}
	if n := len(a.Votes); n > 0 {
		last = a.Votes[n-1]
	}
	if a.State != Granted { // denied, or silence: the step is not done
		w.refused(step, *a, last)
		return
	}
	at := w.run.conclusion(step.ID)
	w.do("", "", func(r *Run, c *Change) {
		if i := r.approval(id); i >= 0 {
			r.Approvals[i].State = Spent
		}
	})
	who := person(last.Actor)
	because := ""
	if last.Reason != "" {
		because = ": " + last.Reason
	}
	switch last.Decision {
	case choiceRetry, choiceRedo:
		w.superseded(step)
	case choiceSkip:
		w.superseded(step)
		w.skip(step, "left out by "+who+because)
	case choiceRollback:
		w.rollBack(failedAt(step, faultOf(at)))
	case choiceDone:
		if a.Kind == Manual {
			w.ticked(step, last)
			return
		}
		if at := w.uncertain(step); at != nil {
			at.State, at.Status, at.Fault, at.Found = AttemptDone, runbooks.Pass, "", who+" says that it was done"+because
			w.resolved(step, *at)
		}
	}
}

func faultOf(a *Attempt) string {
	if a == nil {
		return ""
	}
	return a.Fault
}

// uncertain is a copy of the step's attempt whose outcome is unknown.
func (w *worker) uncertain(step *runbooks.Step) *Attempt {
	for _, a := range w.run.Attempts {
		if a.Step == step.ID && a.State == AttemptUncertain {
			return &a
		}
	}
	return nil
}

// superseded sets aside what the step's attempts came to, so that it can be
// tried again or left out.
func (w *worker) superseded(step *runbooks.Step) {
	w.do("", "", func(r *Run, c *Change) {
		for i := range r.Attempts {
			a := &r.Attempts[i]
			if a.Step == step.ID && (a.Purpose == ForStep || a.Purpose == ForItem) && (a.State == AttemptFailed || a.State == AttemptUncertain) {
				a.State = AttemptSuperseded
			}
		}
		r.WakeAt = time.Time{}
	})
}

// ticked concludes a manual step with what people filled in, which is its
// result.
func (w *worker) ticked(step *runbooks.Step, v Vote) {
	o := outcome{Status: runbooks.Pass, Found: "done by " + person(v.Actor), Final: true}
	values, err := checkFields(step, v.Fields)
	if err != nil { // was checked when it was given
		o.Status, o.Fault = runbooks.Fail, fault.Say(err)
		w.settle(step, o)
		return
	}
	for _, p := range step.Ask {
		if x, ok := values[p.Name]; ok {
			o.Found += fmt.Sprintf("; %s: %s", p.Name, textOf(x))
		}
	}
	if len(values) > 0 {
		if o.Result, err = encodeAnswers(values); err != nil {
			o.Status, o.Fault = runbooks.Fail, err.Error()
			w.settle(step, o)
			return
		}
	}
	s := w.scope()
	s.Result = values
	w.settle(step, w.judged(step, s, o))
}

// refused goes on after a step that people did not agree to: the main part
// ends, a rollback or cleanup goes on without it.
func (w *worker) refused(step *runbooks.Step, a Approval, last Vote) {
	why := "not run: " + lower(a.Card.Outcome)
	now := w.e.clock()
	at := w.attempt(step, ForStep, now)
	at.State, at.Status, at.ResultAt, at.Found = AttemptSkipped, runbooks.Skipped, now, why
	w.do(PointSkipped, step.ID, func(r *Run, c *Change) { r.put(at) })
	if w.run.Phase != PhaseMain {
		w.moveTo(after(w.rb, w.run.Phase, step.ID))
		return
	}
	stop := &Stop{By: last.Actor, Why: lower(a.Card.Outcome), At: now}
	outcome := fmt.Sprintf("Stopped at %s: %s", name(step), sentence(lower(a.Card.Outcome)))
	w.do("", "", func(r *Run, c *Change) {
		if r.Stop == nil {
			r.Stop = stop
		}
	})
	w.endMain("", outcome)
}
