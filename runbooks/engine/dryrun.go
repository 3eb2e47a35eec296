package engine

import (
	"slices"
	"strings"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A dry run makes the steps that read. Of every other it shows what it would
// do and what it would ask, and goes on in file order: behind a step that was
// not run, no branch is known.

// rehearse shows a step instead of doing it.
func (w *worker) rehearse(step *runbooks.Step) (parked bool, err error) {
	if err := w.flush(); err != nil { // a preview takes time, and people watch
		return false, err
	}
	w.shown(step, w.would(step)+w.forks(step))
	return false, nil
}

// forks are the ways behind a step that was not done, where they are not just
// the next step: which of them it would be, nobody knows.
func (w *worker) forks(step *runbooks.Step) string {
	var ways []string
	if then := step.Then; !unset(then) {
		ways = append(ways, "after success "+inWords(then, w.rb))
	}
	if fails := onFail(step); !unset(fails) {
		ways = append(ways, "after failure "+inWords(fails, w.rb))
	}
	if len(ways) == 0 {
		return ""
	}
	return "; unknown: " + strings.Join(ways, ", or ")
}

// failedWay is where a read step that failed leads. The dry run goes on behind
// it all the same, as another day it may not fail.
func (w *worker) failedWay(step *runbooks.Step) string {
	way := "the end"
	if fails := onFail(step); !unset(fails) {
		way = inWords(fails, w.rb)
	}
	return "; leads to " + way
}

// inWords says where a target leads, words included.
func inWords(n runbooks.Next, rb *runbooks.Runbook) string {
	switch n.Word {
	case "ask":
		return "people choose"
	case "rollback":
		return "the rollback"
	case "stop":
		return "the end"
	case "continue", "note", "next":
		return "the next step"
	}
	return whereTo(n, rb)
}

// imagine shows a step of which it is not known whether it would run.
func (w *worker) imagine(step *runbooks.Step, cond *runbooks.Expr) (parked bool, err error) {
	text := "unknown: only if " + cond.String()
	if step.Effect > runbooks.Read || step.Action == nil {
		if err := w.flush(); err != nil {
			return false, err
		}
		text += "; " + w.would(step) + w.forks(step)
	}
	w.shown(step, text)
	return false, nil
}

func (w *worker) shown(step *runbooks.Step, text string) {
	now := w.e.clock()
	a := w.attempt(step, ForStep, now)
	a.State, a.Status, a.ResultAt, a.Found = AttemptSkipped, runbooks.Skipped, now, text
	w.do(PointSkipped, step.ID, func(r *Run, c *Change) { r.put(a) })
	w.moveTo(after(w.rb, w.run.Phase, step.ID))
}

// would says what the step would do and ask.
func (w *worker) would(step *runbooks.Step) string {
	switch step.Do {
	case "manual":
		return "would ask people to do it by hand"
	case "wait":
		return "would wait"
	case "notify":
		return "would say something"
	case "decide":
		return "would decide"
	case "run":
		return "would run the runbook " + step.Run.Runbook
	case "end":
		return "would end the run: " + step.End.Verdict
	}
	if step.Action == nil {
		return "would " + step.Do
	}
	p, err := w.resolve(step)
	if err == nil {
		err = w.preview(p)
	}
	if err != nil {
		return "would run " + step.Do + "; what exactly is not known yet: " + fault.Say(err)
	}
	parts := []string{"would run " + step.Do}
	if len(p.impact) > 0 {
		parts[0] = "would do this: " + strings.Join(p.impact, "; ")
	}
	for i, it := range p.items {
		if i == 3 {
			break
		}
		var args []string
		for k := range it.with {
			args = append(args, k+"="+argText(it.with[k]))
		}
		slices.Sort(args)
		if len(args) > 0 {
			parts = append(parts, "with "+strings.Join(args, " "))
		}
	}
	if p.gates.Confirm {
		ask := "asks " + person(w.run.Starter) + " to confirm"
		if p.gates.Typed {
			ask += " by typing"
		}
		parts = append(parts, ask)
	}
	if p.gates.Count > 0 {
		parts = append(parts, "then "+people(p.gates.Count, "reviewer")+" of "+strings.Join(p.gates.By, " or "))
	}
	return strings.Join(parts, "; ")
}

// hazy reports whether the expression depends on a step that this dry run only
// showed.
func (w *worker) hazy(x *runbooks.Expr) bool { return w.onlyShown(x.Uses) != nil }

// onlyShown is a step of those that are used, which this dry run only showed.
func (w *worker) onlyShown(used func(step string) bool) *runbooks.Step {
	i := slices.IndexFunc(w.run.Attempts, func(a Attempt) bool {
		return a.Purpose == ForStep && a.Status == runbooks.Skipped && a.Found != notNeeded && used(a.Step) && w.without(w.rb.Step(a.Step)) == ""
	})
	if i < 0 {
		return nil
	}
	return w.rb.Step(w.run.Attempts[i].Step)
}

// lacks is a step without which a look cannot be made: its arguments, or the
// list it goes through, need what that one would find.
func (w *worker) lacks(step *runbooks.Step) *runbooks.Step {
	return w.onlyShown(func(id string) bool {
		for _, v := range step.With {
			if v.Uses(id) {
				return true
			}
		}
		return step.Each != nil && step.Each.In.Uses(id)
	})
}

// judgeable is the step with those expectations of which this dry run can know
// whether they hold, and what the others are.
func (w *worker) judgeable(step *runbooks.Step) (*runbooks.Step, string) {
	known, open := *step, []string{}
	known.Expect = nil
	for _, x := range step.Expect {
		if w.hazy(x.That) {
			open = append(open, x.That.String())
			continue
		}
		known.Expect = append(known.Expect, x)
	}
	known.Save = slices.DeleteFunc(slices.Clone(step.Save), func(s runbooks.Saved) bool { return w.hazy(s.Expr) })
	if len(open) == 0 {
		return &known, ""
	}
	return &known, "; unknown: " + strings.Join(open, ", ")
}

// undecided shows a decision that depends on a step that was not run. It
// returns false if the decision can be made.
func (w *worker) undecided(step *runbooks.Step) bool {
	d := step.Decide
	hazy := slices.ContainsFunc(d.Inputs, func(in runbooks.Saved) bool { return w.hazy(in.Expr) }) ||
		slices.ContainsFunc(d.Rows, func(r runbooks.Row) bool { return r.If != nil && w.hazy(r.If) })
	if !hazy {
		return false
	}
	var ways []string
	for _, r := range d.Rows {
		if to := whereTo(r.Next, w.rb); !slices.Contains(ways, to) {
			ways = append(ways, to)
		}
	}
	w.shown(step, "unknown: "+strings.Join(ways, ", or "))
	return true
}
