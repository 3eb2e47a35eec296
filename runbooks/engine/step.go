package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// visit does what is next for the run's current step. Parked means that the
// run was given up, committed.
func (w *worker) visit(step *runbooks.Step) (parked bool, err error) {
	if wish := w.run.wished(step.ID, choiceSkip); wish != nil && !w.run.begun(step) {
		w.leaveOut(step, *wish)
		return false, nil
	}
	if a := w.answered(step); a != nil {
		w.obey(step, a)
		return false, nil
	}
	if w.run.asking() {
		return true, w.park(Waiting, time.Time{})
	}
	if a := w.uncertain(step); a != nil {
		return w.doubt(step, *a)
	}
	if a := w.run.conclusion(step.ID); a != nil {
		// It failed and people were to decide, but their question was withdrawn.
		w.choose(step, a.Fault)
		return false, nil
	}
	if w.current(step) == nil { // not in the middle of it
		if skip, parked, err := w.unneeded(step); skip || parked || err != nil {
			return parked, err
		}
	}
	if why := w.overtime(); why != "" {
		w.endMain(runbooks.Fail, why)
		return false, nil
	}
	if step.Action == nil {
		return w.builtIn(step)
	}
	if w.run.DryRun && (step.Effect > runbooks.Read || step.Confirm != nil || step.Review != nil) {
		return w.rehearse(step)
	}
	if w.run.DryRun {
		if lacking := w.lacks(step); lacking != nil {
			w.shown(step, "unknown: it needs what "+name(lacking)+" would find"+w.forks(step))
			return false, nil
		}
	}
	return w.action(step)
}

// current is the attempt that the step is in the middle of: a wait that goes
// on, or a loop with elements done.
func (w *worker) current(step *runbooks.Step) *Attempt {
	for i := len(w.run.Attempts) - 1; i >= 0; i-- {
		a := &w.run.Attempts[i]
		if a.Step != step.ID {
			continue
		}
		if a.State == Intent && a.Purpose == ForStep || a.Purpose == ForItem && a.State == AttemptDone {
			return a
		}
	}
	return nil
}

// notNeeded is why a step is skipped whose condition is false.
const notNeeded = "not needed"

// unneeded skips the step if the environment lacks its optional connection, or
// if `when`, the group's or the step's own, is false.
func (w *worker) unneeded(step *runbooks.Step) (skip, parked bool, err error) {
	if why := w.without(step); why != "" {
		w.skip(step, why)
		return true, false, nil
	}
	for _, cond := range []*runbooks.Expr{groupWhen(step), step.When} {
		if cond == nil {
			continue
		}
		if w.run.DryRun && w.hazy(cond) {
			parked, err := w.imagine(step, cond)
			return true, parked, err
		}
		yes, err := truth(cond, w.scope())
		if err != nil {
			w.settle(step, outcome{Status: runbooks.Fail, Fault: "its condition could not be evaluated: " + fault.Say(err)})
			return true, false, nil
		}
		if !yes {
			w.skip(step, notNeeded)
			return true, false, nil
		}
	}
	return false, false, nil
}

// without is why a step is skipped whose connection is optional and not there;
// "" if it is, or has to be.
func (w *worker) without(step *runbooks.Step) string {
	if _, ok := w.env.Targets[step.Target]; ok || !w.rb.Optional(step.Target) {
		return ""
	}
	return fmt.Sprintf("%s has no connection %s", w.env.Name, step.Target)
}

func groupWhen(step *runbooks.Step) *runbooks.Expr {
	if step.Group == nil {
		return nil
	}
	return step.Group.When
}

// truth evaluates a condition outside `expect`, where no data is an error.
func truth(cond *runbooks.Expr, s *runbooks.Scope) (bool, error) {
	yes, known, err := cond.Bool(s)
	switch {
	case err != nil:
		return false, fault.New(fault.Invalid, "%s cannot be evaluated (%s).", cond, err)
	case !known:
		return false, fault.New(fault.Invalid, "%s has no value, for want of data.", cond)
	}
	return yes, nil
}

// skip concludes the step without acting.
func (w *worker) skip(step *runbooks.Step, why string) {
	now := w.e.clock()
	a := w.attempt(step, ForStep, now)
	a.State, a.Status, a.ResultAt, a.Found = AttemptSkipped, runbooks.Skipped, now, why
	w.do(PointSkipped, step.ID, func(r *Run, c *Change) { r.put(a) })
	w.advance(step, runbooks.Skipped, "")
}

// attempt is a new one of the step, not yet on record.
func (w *worker) attempt(step *runbooks.Step, purpose string, now time.Time) Attempt {
	n := 1
	for _, a := range w.run.Attempts {
		if a.Step == step.ID && a.Purpose == purpose {
			n++
		}
	}
	return Attempt{
		Seq: len(w.run.Attempts) + 1, Step: step.ID, Number: n, Purpose: purpose,
		Phase: w.run.Phase, Epoch: w.fence.Epoch, Effect: step.Effect, State: Intent, IntentAt: now,
	}
}

// An outcome is what became of an attempt.
type outcome struct {
	Status runbooks.Status
	Result json.RawMessage
	Saved  map[string]any
	Found  string
	Fault  string
	Output string
	Final  bool // no retry could change it
	Acting time.Duration
}

// settle concludes the step with an outcome that no attempt is on record for:
// it could not even be tried, or is done by the engine itself.
func (w *worker) settle(step *runbooks.Step, o outcome) {
	a := w.attempt(step, ForStep, w.e.clock())
	w.conclude(step, a, o)
}

// conclude puts the outcome of an attempt on record, and goes on: to another
// attempt, or to where the step leads.
func (w *worker) conclude(step *runbooks.Step, a Attempt, o outcome) {
	now := w.e.clock()
	a.Status, a.Result, a.Saved, a.Found, a.Fault, a.Output, a.ResultAt = o.Status, o.Result, o.Saved, o.Found, o.Fault, o.Output, now
	a.State = AttemptDone
	if failed(o.Status) {
		a.State = AttemptFailed
	}
	if a.Purpose == ForStep && w.run.DryRun && failed(o.Status) {
		a.Fault += w.failedWay(step)
	}
	retry, delay := false, time.Duration(0)
	if a.Purpose != ForRecheck && failed(o.Status) && !o.Final && w.run.Stop == nil {
		retry, delay = w.retry(step, a)
	}
	if retry {
		a.State = AttemptSuperseded
	}
	quiet := retry || a.Purpose == ForRecheck
	w.do(PointResult, step.ID, func(r *Run, c *Change) {
		r.put(a)
		r.Acting += o.Acting
		if said := r.output(step, &a); said != nil && !quiet {
			c.Notices = append(c.Notices, *said)
		}
		if a.Effect == runbooks.Destructive {
			c.Audit = append(c.Audit, AuditEntry{Actor: system, Act: "result", Run: r.ID, Step: a.Step,
				Approval: a.Approval, Outcome: string(a.Status), Detail: firstOf(a.Fault, a.Found)})
		}
	})
	switch {
	case retry:
		wake := now.Add(delay)
		w.do("", "", func(r *Run, c *Change) { r.WakeAt = wake })
	case a.Purpose == ForStep && w.run.DryRun && (failed(o.Status) || o.Status == runbooks.Skipped):
		w.moveTo(after(w.rb, w.run.Phase, step.ID)) // the other ways are drawn, not taken
	case a.Purpose == ForStep && !(failed(o.Status) && w.run.Stop != nil):
		w.advance(step, o.Status, firstOf(o.Fault, o.Found))
	}
}

func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return texts[i]
}

// retry says whether a failed attempt is followed by another, and after what
// delay. A destructive one never is.
func (w *worker) retry(step *runbooks.Step, failed Attempt) (bool, time.Duration) {
	r := step.Retry
	if r == nil || failed.Effect == runbooks.Destructive {
		return false, 0
	}
	since := w.round(step)
	tried := 0
	for _, a := range w.run.Attempts {
		if a.Step == step.ID && a.Purpose == failed.Purpose && a.Item == failed.Item &&
			a.State == AttemptSuperseded && a.Status != "" && !a.IntentAt.Before(since) {
			tried++
		}
	}
	if tried >= r.Times {
		return false, 0
	}
	if r.If != nil {
		s := w.scope()
		s.N = tried + 1
		if len(failed.Result) > 0 {
			s.Result, _ = runbooks.DecodeResult(step.Action.Spec(), failed.Result)
		}
		if yes, known, err := r.If.Bool(s); err != nil || !known || !yes {
			return false, 0
		}
	}
	delay := r.Delay
	for range tried {
		delay = time.Duration(float64(delay) * max(r.Backoff, 1))
	}
	return true, min(delay, time.Hour)
}

// round is when people last decided to try the step again, or another run made
// that possible; zero: never. What
// was approved or tried before it does not count any more.
func (w *worker) round(step *runbooks.Step) time.Time {
	var t time.Time
	for _, a := range w.run.Approvals {
		if a.Step == step.ID && (a.Kind == Choice || a.Kind == Doubt) && a.State == Spent {
			t = a.Decided
		}
	}
	for _, a := range w.run.Attempts {
		if a.Step == step.ID && a.Purpose == ForChild && a.State == AttemptDone && a.ResultAt.After(t) {
			t = a.ResultAt
		}
	}
	return t
}

// overtime says why the run must end: its acting time is used up.
func (w *worker) overtime() string {
	if w.run.Phase != PhaseMain || w.rb.Timeout == 0 || w.run.Acting < w.rb.Timeout {
		return ""
	}
	return "It took longer than the " + short(w.rb.Timeout) + " that the runbook allows."
}

// budget is how long the next attempt may act, by the run's limits.
func (w *worker) budget() (time.Duration, bool) {
	switch {
	case w.run.Phase == PhaseCleanup:
		used := time.Duration(0)
		for _, a := range w.run.Attempts {
			if a.Phase == PhaseCleanup && !a.ResultAt.IsZero() {
				used += a.ResultAt.Sub(a.IntentAt)
			}
		}
		return max(cleanupBudget-used, 0), true
	case w.rb.Timeout > 0 && w.run.Phase == PhaseMain:
		return max(w.rb.Timeout-w.run.Acting, 0), true
	}
	return 0, false
}

// cleanupBudget is how long all cleanup steps together may act.
const cleanupBudget = 5 * time.Minute
