package engine

import (
	"slices"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// action does what is next for a step that acts on a system: ask, check again,
// act, judge.
func (w *worker) action(step *runbooks.Step) (parked bool, err error) {
	p, err := w.resolve(step)
	if err != nil {
		w.settle(step, outcome{Status: runbooks.Fail, Fault: fault.Say(err), Final: true})
		return false, nil
	}
	switch {
	case w.underway(step): // a retry or the next element: its approvals are in use
		for _, a := range w.run.Attempts {
			if a.Step == step.ID {
				p.effect = max(p.effect, a.Effect)
			}
		}
	case p.effect > runbooks.Read || !p.gates.none():
		if err := w.flush(); err != nil { // a preview takes time, and people watch
			return false, err
		}
		if done, parked, err := w.permitted(p); !done || parked || err != nil {
			return parked, err
		}
	}
	if wake := w.run.WakeAt; wake.After(w.e.clock()) {
		return true, w.park(Ready, wake) // the delay of a retry
	}
	if step.Each != nil {
		return false, w.loop(p)
	}
	return false, w.attemptOnce(p, p.items[0], ForStep, 0)
}

// permitted sees to the gates of a plan. Done means that it may act now;
// otherwise the run was parked, or something was settled and the step must be
// visited again.
func (w *worker) permitted(p *plan) (done, parked bool, err error) {
	if err := w.preview(p); err != nil {
		if e := w.interrupted(); e != nil {
			return false, false, e
		}
		w.settle(p.step, outcome{Status: runbooks.Fail, Fault: fault.Say(err)})
		return false, false, nil
	}
	if again, parked, err := w.gate(p); again || parked || err != nil {
		return false, parked, err
	}
	if len(p.step.Recheck) == 0 {
		return true, false, nil
	}
	return w.recheck(p)
}

// underway reports whether the step has acted under its approvals already: a
// retry, or the next element of a loop.
func (w *worker) underway(step *runbooks.Step) bool {
	for _, kind := range []ApprovalKind{Review, Confirm} {
		if a := w.valid(step, kind); a != nil {
			return a.State == Spent
		}
	}
	return false
}

// recheck runs the step's `recheck` steps that have not run under the present
// approvals. When all have, they must hold, and the step's own `when` must
// still be true on what they found.
func (w *worker) recheck(p *plan) (done, parked bool, err error) {
	scope := w.scope()
	for _, id := range p.step.Recheck {
		check := w.rb.Step(id)
		if w.without(check) != "" {
			continue
		}
		a := w.checkedUnder(w.newest(p.step), id)
		fresh := a == nil
		if fresh {
			if err := w.checkAgain(check, w.newest(p.step)); err != nil {
				return false, false, err
			}
			a = w.checkedUnder(w.newest(p.step), id)
		}
		switch {
		case a == nil || fresh && !failed(a.Status):
			return false, false, nil // time has passed: look at everything anew
		case failed(a.Status):
			w.void(p.step, name(check)+" no longer holds.")
			w.settle(p.step, outcome{Status: a.Status, Final: true,
				Fault: "not run: " + name(check) + " no longer holds: " + firstOf(a.Fault, a.Found)})
			return false, false, nil
		}
		scope.Steps[id] = w.stepScope(check, a)
	}
	if p.step.When == nil {
		return true, false, nil
	}
	needed, err := truth(p.step.When, scope)
	switch {
	case err != nil:
		w.settle(p.step, outcome{Status: runbooks.Fail, Fault: fault.Say(err), Final: true})
	case !needed:
		w.void(p.step, "The step is no longer needed.")
		w.skip(p.step, "no longer needed")
	default:
		return true, false, nil
	}
	return false, false, nil
}

// newest is the approval that the step would run under; nil without gates.
func (w *worker) newest(step *runbooks.Step) *Approval {
	if a := w.valid(step, Review); a != nil {
		return a
	}
	if a := w.valid(step, Confirm); a != nil {
		return a
	}
	return w.covering(step)
}

// checkedUnder is the judged recheck of the step that was made under the approval.
func (w *worker) checkedUnder(under *Approval, id string) *Attempt {
	for i := range w.run.Attempts {
		a := &w.run.Attempts[i]
		if a.Purpose == ForRecheck && a.Step == id && a.Status != "" && under != nil && a.Approval == under.ID {
			return a
		}
	}
	return nil
}

// checkAgain runs a read step again, for the sake of another step.
func (w *worker) checkAgain(check *runbooks.Step, under *Approval) error {
	now := w.e.clock()
	a := w.attempt(check, ForRecheck, now)
	if under != nil {
		a.Approval = under.ID
	}
	return w.again(check, a)
}

// again makes an attempt of a read step that does not conclude it.
func (w *worker) again(check *runbooks.Step, a Attempt) error {
	p, err := w.resolve(check)
	if err != nil {
		w.concludeAside(check, a, outcome{Status: runbooks.Fail, Fault: fault.Say(err)})
		return nil
	}
	w.do(PointRecheck, check.ID, func(r *Run, c *Change) { r.put(a) })
	if err := w.flush(); err != nil {
		return err
	}
	o, err := w.act(p, p.items[0], a)
	if err != nil {
		return err
	}
	w.concludeAside(check, a, o)
	return nil
}

func (w *worker) concludeAside(check *runbooks.Step, a Attempt, o outcome) {
	now := w.e.clock()
	a.Status, a.Result, a.Found, a.Fault, a.Output, a.ResultAt, a.State = o.Status, o.Result, o.Found, o.Fault, o.Output, now, AttemptDone
	if failed(o.Status) {
		a.State = AttemptFailed
	}
	w.do(PointChecked, check.ID, func(r *Run, c *Change) {
		r.put(a)
		r.Acting += o.Acting
	})
}

// attemptOnce acts: a fenced intent, the act, and the result, which goes on
// record with whatever is decided next.
func (w *worker) attemptOnce(p *plan, it item, purpose string, nth int) error {
	now := w.e.clock()
	a := w.attempt(p.step, purpose, now)
	a.Effect, a.Item = p.effect, nth
	if under := w.newest(p.step); under != nil {
		a.Approval = under.ID
	}
	if p.step.Watch != nil {
		end, err := w.deadline(p.step, now)
		if err != nil {
			w.conclude(p.step, a, outcome{Status: runbooks.Fail, Fault: fault.Say(err), Final: true})
			return nil
		}
		a.Deadline = end
	}
	w.do(PointIntent, p.step.ID, func(r *Run, c *Change) {
		r.put(a)
		r.WakeAt = time.Time{}
		for i := range r.Approvals {
			b := &r.Approvals[i]
			if b.Step == a.Step && b.State == Granted && (b.Kind == Confirm || b.Kind == Review) {
				b.State = Spent
			}
		}
		if a.Effect == runbooks.Destructive {
			c.Audit = append(c.Audit, AuditEntry{Actor: r.Starter, Act: "act", Run: r.ID, Step: a.Step,
				Approval: a.Approval, Digest: p.digest, Outcome: "intent"})
		}
	})
	if err := w.flush(); err != nil {
		return err
	}
	if w.run.Stop != nil && w.run.Phase != PhaseCleanup {
		w.conclude(p.step, a, outcome{Status: runbooks.Fail, Fault: "stopped before it began", Final: true})
		return nil
	}
	if wish := w.run.wished(a.Step, choiceSkip); wish != nil && purpose == ForStep {
		w.conclude(p.step, a, outcome{Status: runbooks.Skipped, Found: wish.text(), Final: true})
		return nil
	}
	o, err := w.act(p, it, a)
	if err != nil {
		return err
	}
	w.conclude(p.step, a, o)
	return nil
}

// deadline is when the step's watch ends: the one it began with, if it was
// interrupted.
func (w *worker) deadline(step *runbooks.Step, now time.Time) (time.Time, error) {
	since := w.round(step)
	for _, a := range slices.Backward(w.run.Attempts) {
		if a.Step == step.ID && a.Purpose == ForStep && a.State == AttemptSuperseded && a.Status == "" && !a.IntentAt.Before(since) {
			return a.Deadline, nil
		}
	}
	length, err := durationOf(step.Watch.For, w.scope())
	return now.Add(w.within(length)), err
}

func durationOf(v *runbooks.Value, s *runbooks.Scope) (time.Duration, error) {
	got, err := v.Resolve(s)
	if err != nil {
		return 0, fault.New(fault.Invalid, "A duration cannot be resolved: %s.", err).Because(err)
	}
	switch d := got.(type) {
	case time.Duration:
		return d, nil
	case string:
		if d, err := time.ParseDuration(d); err == nil {
			return d, nil
		}
	}
	return 0, fault.New(fault.Invalid, "%v is not a duration.", got)
}
