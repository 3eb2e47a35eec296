package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// Skip leaves out a step that the run asks about or waits at, or that it has
// not come to yet; a reason is needed. A step that acts can't be left out any
// more.
func (e *Engine) Skip(ctx context.Context, ref, step string, actor access.Actor, why string) (*Run, error) {
	return e.settleBy(ctx, ref, step, actor, choiceSkip, why)
}

// Retry does a failed step again: one that the run asks about, or one that
// only reads, though the run went on. What was decided in the meantime stays.
func (e *Engine) Retry(ctx context.Context, ref, step string, actor access.Actor, why string) (*Run, error) {
	return e.settleBy(ctx, ref, step, actor, choiceRetry, why)
}

// settleBy answers the open question about a step, or else puts the wish on
// record.
func (e *Engine) settleBy(ctx context.Context, ref, step string, actor access.Actor, act, why string) (*Run, error) {
	run, err := e.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	why = strings.TrimSpace(why)
	if a := run.open(); a != nil && (step == "" || a.Step == step) &&
		slices.ContainsFunc(a.Card.Choices, func(c outbox.Choice) bool { return c.ID == act }) {
		return e.Vote(ctx, a.ID, Ballot{Actor: actor, Decision: act, Reason: why})
	}
	return e.steer(ctx, run.ID, step, actor, act, why, func(r *Run, rb *runbooks.Runbook, c *Change, now time.Time) error {
		s := rb.Step(step)
		switch {
		case step == "":
			return fault.New(fault.Conflict, "R%d does not ask about a step just now, so say which one.", r.Number)
		case s == nil:
			return fault.New(fault.NotFound, "R%d has no step %q.", r.Number, step).Hinted("Its steps are %s.", strings.Join(stepIDs(rb), ", "))
		case r.Stop != nil, r.Phase == PhaseCleanup, r.Phase == PhaseReport:
			return fault.New(fault.Conflict, "R%d is at its end already.", r.Number)
		case r.wished(step, act) != nil:
			return nil
		}
		refusal := r.mayRetry(s)
		if act == choiceSkip {
			refusal = r.maySkip(s, rb, why)
		}
		if refusal != nil {
			return refusal
		}
		r.Wishes = append(r.Wishes, Wish{Step: step, Act: act, By: actor, Why: why, At: now})
		wish := r.Wishes[len(r.Wishes)-1]
		if act == choiceSkip {
			r.withdraw(c, step, upper(wish.text()), now)
		}
		if act == choiceRetry || r.Cursor == step {
			r.wake()
		}
		return nil
	})
}

func stepIDs(rb *runbooks.Runbook) []string {
	var ids []string
	for _, s := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
		ids = append(ids, s.ID)
	}
	return ids
}

// text says whose wish it is.
func (w Wish) text() string {
	text := "left out by " + person(w.By)
	if w.Why != "" {
		text += ": " + w.Why
	}
	return text
}

// wished is the wish about the step that is not done; of any step for "".
func (r *Run) wished(step, act string) *Wish {
	for i := range r.Wishes {
		if w := &r.Wishes[i]; w.Act == act && !w.Done && (step == "" || w.Step == step) {
			return w
		}
	}
	return nil
}

// wishful reports whether a wish can be fulfilled at once.
func (r *Run) wishful(rb *runbooks.Runbook) bool {
	if rb == nil || r.paused() || r.Stop != nil || r.Phase != PhaseMain && r.Phase != PhaseRollback {
		return false
	}
	here := rb.Step(r.Cursor)
	return r.wished("", choiceRetry) != nil || here != nil && r.wished(here.ID, choiceSkip) != nil && !r.begun(here)
}

// withdraw closes the open question about the step.
func (r *Run) withdraw(c *Change, step, why string, now time.Time) {
	for i := range r.Approvals {
		if a := &r.Approvals[i]; a.Step == step && a.State == Open {
			a.close(Void, why, now)
			c.Notices = append(c.Notices, askNotice(r, a))
		}
	}
}

// begun reports whether the step acts, has acted or is decided. A wait does not
// act.
func (r *Run) begun(s *runbooks.Step) bool {
	return r.conclusion(s.ID) != nil || slices.ContainsFunc(r.Attempts, func(a Attempt) bool {
		return a.Step == s.ID && (a.State == Intent && s.Do != "wait" || a.State == AttemptUncertain || a.Purpose == ForItem)
	})
}

// maySkip says why the step can't be left out.
func (r *Run) maySkip(s *runbooks.Step, rb *runbooks.Runbook, why string) error {
	at := r.conclusion(s.ID)
	list := section(rb, r.Phase)
	here := slices.IndexFunc(list, func(x *runbooks.Step) bool { return x.ID == r.Cursor })
	i := slices.Index(list, s)
	switch {
	case why == "":
		return fault.New(fault.Invalid, "Please give a reason.")
	case at != nil:
		return fault.New(fault.Conflict, "%s has ended already: %s.", upper(name(s)), at.Status)
	case r.begun(s):
		return fault.New(fault.Conflict, "%s has begun, so it can't be left out any more. Stop the run instead.", upper(name(s)))
	case i >= 0 && (here < 0 || i < here), i < 0 && s.Section == runbooks.Main:
		return fault.New(fault.Conflict, "The run has passed %s without doing it.", name(s))
	}
	return nil
}

// mayRetry says why the step can't be tried again.
func (r *Run) mayRetry(s *runbooks.Step) error {
	at := r.conclusion(s.ID)
	switch {
	case s.Action == nil || s.Effect > runbooks.Read || s.Confirm != nil || s.Review != nil || s.Each != nil || at != nil && at.Effect > runbooks.Read:
		return fault.New(fault.Conflict, "Only a step that reads, once and without asking anybody, can be tried again by hand; %s is none.", name(s))
	case at == nil && r.Cursor == s.ID && r.State == Ready && r.Owner == "" && !r.WakeAt.IsZero():
		return nil // it waits for its next attempt
	case at == nil:
		return fault.New(fault.Conflict, "%s has not failed.", upper(name(s)))
	case !failed(at.Status):
		return fault.New(fault.Conflict, "%s has not failed: %s.", upper(name(s)), at.Status)
	case at.Phase != r.Phase, r.State == Uncertain:
		return fault.New(fault.Conflict, "It is too late to try %s again.", name(s))
	}
	return nil
}

// leaveOut skips the step on a person's word.
func (w *worker) leaveOut(step *runbooks.Step, wish Wish) {
	now := w.e.clock()
	w.do("", "", func(r *Run, c *Change) {
		r.withdraw(c, step.ID, upper(wish.text()), now)
		for i := range r.Attempts {
			if a := &r.Attempts[i]; a.Step == step.ID && a.State == Intent {
				a.State = AttemptSuperseded // a wait
			}
		}
	})
	w.skip(step, wish.text())
}

// repeat tries a step that reads again, though the run has gone on. Only its
// own outcome changes.
func (w *worker) repeat(wish Wish) error {
	step, now := w.rb.Step(wish.Step), w.e.clock()
	done := func(a Attempt, o outcome) {
		a.Status, a.Result, a.Saved, a.Found, a.Fault, a.Output = o.Status, o.Result, o.Saved, o.Found, o.Fault, o.Output
		a.State, a.ResultAt = AttemptDone, w.e.clock()
		if failed(o.Status) {
			a.State = AttemptFailed
		}
		w.do(PointResult, step.ID, func(r *Run, c *Change) {
			r.put(a)
			r.Acting += o.Acting
			if wish := r.wished(a.Step, choiceRetry); wish != nil {
				wish.Done = true
			}
		})
	}
	if w.run.conclusion(step.ID) == nil && w.run.Cursor == step.ID { // its next attempt, sooner
		w.do("", "", func(r *Run, c *Change) {
			r.WakeAt = time.Time{}
			if wish := r.wished(step.ID, choiceRetry); wish != nil {
				wish.Done = true
			}
		})
		return nil
	}
	w.superseded(step)
	a := w.attempt(step, ForStep, now)
	p, err := w.resolve(step)
	if err == nil && step.Watch != nil {
		var length time.Duration
		length, err = durationOf(step.Watch.For, w.scope())
		a.Deadline = now.Add(length)
	}
	if err != nil {
		done(a, outcome{Status: runbooks.Fail, Fault: fault.Say(err)})
		return nil
	}
	w.do(PointIntent, step.ID, func(r *Run, c *Change) {
		r.put(a)
		c.Notices = append(c.Notices, r.line(outbox.Line{Text: fmt.Sprintf("%s has %s tried again.", person(wish.By), name(step))}))
	})
	if err := w.flush(); err != nil {
		return err
	}
	o, err := w.act(p, p.items[0], a)
	if err != nil {
		return err
	}
	done(a, o)
	return nil
}
