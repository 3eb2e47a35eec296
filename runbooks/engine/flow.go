package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// section returns the steps of a phase, in file order.
func section(rb *runbooks.Runbook, p Phase) []*runbooks.Step {
	switch p {
	case PhaseMain:
		return rb.Steps
	case PhaseRollback:
		return rb.Rollback
	case PhaseCleanup:
		return rb.Cleanup
	}
	return nil
}

// first is the id of the phase's first step, "" if it has none.
func first(rb *runbooks.Runbook, p Phase) string {
	if steps := section(rb, p); len(steps) > 0 {
		return steps[0].ID
	}
	return ""
}

// after is the id of the step that follows in file order, "" at the end.
func after(rb *runbooks.Runbook, p Phase, id string) string {
	steps := section(rb, p)
	i := slices.IndexFunc(steps, func(s *runbooks.Step) bool { return s.ID == id })
	if i < 0 || i+1 == len(steps) {
		return ""
	}
	return steps[i+1].ID
}

// conclusion is the attempt that says how the step ended, nil while it has not.
func (r *Run) conclusion(step string) *Attempt {
	for i := len(r.Attempts) - 1; i >= 0; i-- {
		a := &r.Attempts[i]
		if a.Step != step || a.Purpose != ForStep {
			continue
		}
		switch a.State {
		case AttemptDone, AttemptFailed, AttemptSkipped, AttemptUncertain:
			return a
		case Intent:
			return nil
		}
	}
	return nil
}

// onFail is where a failed step leads: its own key, else its group's.
func onFail(s *runbooks.Step) runbooks.Next {
	n := s.OnFail
	if unset(n) && s.Group != nil && s.Group.OnFail != nil {
		n = *s.Group.OnFail
	}
	return n
}

func unset(n runbooks.Next) bool {
	return n.Word == "" && n.Goto == "" && n.End == "" && n.Run == nil && len(n.Offer) == 0
}

// noted reports whether a failure of the step leaves the verdict alone.
func noted(s *runbooks.Step) bool {
	n := onFail(s)
	return n.Word == "note" || n.End == "ok" || len(n.Offer) > 0 && n.OfferThen == "note"
}

// severity orders statuses by how bad they are for a verdict.
func severity(s runbooks.Status) int {
	return slices.Index([]runbooks.Status{runbooks.Pass, runbooks.Warn, runbooks.Unknown, runbooks.Fail}, s)
}

func worse(a, b runbooks.Status) runbooks.Status {
	if severity(b) > severity(a) {
		return b
	}
	return a
}

// verdict is the worst status so far: fail, unknown, warn, pass. A cleanup that
// fails is a warning.
func verdict(r *Run, rb *runbooks.Runbook) runbooks.Status {
	v := runbooks.Pass
	for _, p := range r.phases() {
		for _, s := range section(rb, p) {
			a := r.conclusion(s.ID)
			if a == nil || noted(s) && a.Status != runbooks.Warn {
				continue
			}
			status := r.withChildren(a)
			if p == PhaseCleanup && failed(status) {
				status = runbooks.Warn
			}
			v = worse(v, status)
		}
	}
	return v
}

// failed reports what `failed` means in the format.
func failed(s runbooks.Status) bool { return s == runbooks.Fail || s == runbooks.Unknown }

// advance goes on behind a step that has concluded. Its own targets decide:
// `then` after success, `on_fail` after failure, file order after a skip.
func (w *worker) advance(step *runbooks.Step, status runbooks.Status, said string) {
	switch {
	case status == runbooks.Skipped:
		w.moveTo(after(w.rb, w.run.Phase, step.ID))
	case failed(status):
		w.follow(step, onFail(step), status, said)
	default:
		w.follow(step, step.Then, status, said)
	}
}

// follow goes where n leads.
func (w *worker) follow(step *runbooks.Step, n runbooks.Next, status runbooks.Status, said string) {
	next := after(w.rb, w.run.Phase, step.ID)
	bad := failed(status)
	outcome := func(fallback string) string {
		if n.Say != nil {
			if text, err := n.Say.Text(w.scope(), nil); err == nil {
				return text
			}
		}
		return fallback
	}
	switch {
	case n.Goto != "":
		w.moveTo(n.Goto)
	case (n.Run != nil || len(n.Offer) > 0) && w.run.DryRun:
		w.moveTo(next) // nothing is started or offered
	case n.Run != nil && (!bad || n.Run.Then != "retry" || !w.run.handedOver(step.ID)):
		w.hand(step, ForChild, n)
	case step.Run != nil && step.Run.Then == "end" && !bad && unset(n) && w.run.Phase == PhaseMain:
		w.endMain("", said)
	case n.End != "":
		forced := runbooks.Status("")
		text := outcome("")
		if n.End == "failed" {
			forced = runbooks.Fail
			if text == "" {
				text = fmt.Sprintf("Ended at %s.", name(step))
			}
		}
		if bad && text == "" && n.End == "ok" {
			text = fmt.Sprintf("Ended at %s: %s", name(step), sentence(said))
		} else if bad && text == "" {
			text = failedAt(step, said)
		}
		w.endMain(forced, text)
	case len(n.Offer) > 0:
		w.offer(step, n.Offer)
		if n.OfferThen == "continue" || n.OfferThen == "note" {
			w.moveTo(next)
			return
		}
		if w.run.Phase != PhaseMain {
			w.moveTo(next)
			return
		}
		w.endMain("", outcome(endedAt(step, bad, said)))
	case n.Word == "ask":
		w.choose(step, said)
	case n.Word == "rollback":
		w.rollBack(failedAt(step, said))
	case n.Word == "continue", n.Word == "note", n.Word == "next", unset(n) && !bad:
		w.moveTo(next)
	case w.run.Phase == PhaseMain:
		w.endMain("", outcome(endedAt(step, bad, said)))
	default: // see runbooks.Section: a failed step does not keep the others from running
		w.moveTo(next)
	}
}

func endedAt(step *runbooks.Step, bad bool, said string) string {
	if bad {
		return failedAt(step, said)
	}
	return fmt.Sprintf("Ended at %s.", name(step))
}

func failedAt(step *runbooks.Step, said string) string {
	if said == "" {
		return fmt.Sprintf("Failed at %s.", name(step))
	}
	return fmt.Sprintf("Failed at %s: %s", name(step), sentence(said))
}

// moveTo makes the step the next one; "" is the end of the phase.
func (w *worker) moveTo(step string) {
	w.do("", "", func(r *Run, c *Change) { r.Cursor, r.State, r.WakeAt = step, Ready, time.Time{} })
}

// rollBack leaves the main part for the rollback section.
func (w *worker) rollBack(why string) {
	start := first(w.rb, PhaseRollback)
	if w.run.Phase != PhaseMain || start == "" {
		w.endMain("", why)
		return
	}
	w.do("", "", func(r *Run, c *Change) {
		r.Phase, r.Cursor, r.Outcome, r.State, r.WakeAt = PhaseRollback, start, why, Ready, time.Time{}
		r.Verdict = runbooks.Fail
	})
}

// phaseOver goes on when a phase has no steps left.
func (w *worker) phaseOver() {
	switch w.run.Phase {
	case PhaseMain:
		w.endMain("", "")
	case PhaseRollback:
		if w.run.Undoes != "" {
			w.endMain("", undone(w.run, w.rb, verdict(w.run, w.rb)))
			return
		}
		w.endMain(runbooks.Fail, strings.TrimSpace(w.run.Outcome+" Rolled back."))
	case PhaseCleanup:
		w.do("", "", func(r *Run, c *Change) { r.Phase, r.Cursor = PhaseReport, "" })
	}
}

// endMain ends the main part, or the rollback: the verdict is the worst of the
// steps' and forced, and the cleanup follows. The cleanup itself has no other
// end than its last step: what ends a run elsewhere leads to the next step
// there, so that nothing is left behind.
func (w *worker) endMain(forced runbooks.Status, outcome string) {
	if w.run.Phase == PhaseCleanup {
		w.moveTo(after(w.rb, PhaseCleanup, w.run.Cursor))
		return
	}
	v := worse(verdict(w.run, w.rb), forced)
	if w.run.Phase == PhaseRollback {
		v = worse(v, w.run.Verdict) // what led to it
	}
	if outcome == "" {
		outcome = w.run.Outcome
	}
	if outcome == "" {
		outcome = w.summing(v)
	}
	start := first(w.rb, PhaseCleanup)
	if w.run.DryRun {
		start = "" // nothing was done that needs it
	}
	now := w.e.clock()
	w.do(PointEnding, "", func(r *Run, c *Change) {
		r.Phase, r.Cursor, r.Verdict, r.Outcome, r.State, r.WakeAt = PhaseCleanup, start, v, outcome, Ready, time.Time{}
		r.voidOpen(c, "The run ended.", now)
	})
}

// summing says how a run ended that no step spoke for.
func (w *worker) summing(v runbooks.Status) string {
	if w.run.DryRun {
		return "Dry run: nothing was changed."
	}
	for _, s := range w.rb.Steps {
		a := w.run.conclusion(s.ID)
		if a != nil && a.Status == v && v != runbooks.Pass && !noted(s) {
			switch v {
			case runbooks.Warn:
				return fmt.Sprintf("Done, with a warning at %s: %s", name(s), sentence(cmp.Or(a.Fault, a.Found)))
			default:
				return failedAt(s, cmp.Or(a.Fault, a.Found))
			}
		}
	}
	return "Done."
}

// finish posts the report and ends the run.
func (w *worker) finish() error {
	now := w.e.clock()
	v := worse(w.run.Verdict, verdict(w.run, w.rb))
	state := Succeeded
	switch {
	case w.run.Stop != nil:
		state = Canceled
	case failed(v) && !w.run.DryRun:
		state = Failed
	}
	w.do("", "", func(r *Run, c *Change) { r.Verdict, r.State, r.Ended = v, state, now })
	w.undoable()
	last, summons := w.report(), append(w.summonAtEnd(), w.followUp()...)
	w.do(PointEnded, "", func(r *Run, c *Change) {
		r.voidOpen(c, "The run ended.", now)
		c.Notices = append(append(c.Notices, last), summons...)
		c.Audit = append(c.Audit, AuditEntry{Actor: system, Act: "end", Run: r.ID, Outcome: string(state), Detail: r.Outcome})
		r.over(c)
	})
	return w.flush()
}

// system is opsbot itself as an actor.
var system = access.Actor{Kind: access.System, ID: "opsbot", Name: "opsbot"}

// voidOpen closes what is still asked.
func (r *Run) voidOpen(c *Change, why string, now time.Time) {
	for i := range r.Approvals {
		a := &r.Approvals[i]
		if a.State == Open {
			a.close(Void, why, now)
			c.Notices = append(c.Notices, askNotice(r, a))
		}
	}
}

// offer adds runbooks that people may start by a button.
func (w *worker) offer(step *runbooks.Step, offered []runbooks.OfferedRunbook) {
	s := w.after(step)
	for _, o := range offered {
		made := w.e.offer(w.ctx, w.run, w.env, step, o, s)
		w.do("", "", func(r *Run, c *Change) {
			if !slices.ContainsFunc(r.Offers, func(x Offer) bool { return x.ID == made.ID }) {
				r.Offers = append(r.Offers, made)
			}
		})
	}
}

// line is a short message in the run's thread.
func (r *Run) line(l outbox.Line) outbox.Notice {
	l.Run = r.ID
	return outbox.Notice{To: r.Origin, Under: r.thread(), Content: l}
}

// Said are the keys of what is said of the run now: what it asks, and its card.
func (r *Run) Said() (keys []string) {
	for _, a := range r.Approvals {
		if a.State == Open {
			keys = append(keys, "ask/"+a.ID)
		}
	}
	return append(keys, "run/"+r.ID)
}

// thread is the key of the message that everything the run says stands under.
// Threads have no threads: a run that another one started speaks in its root's.
func (r *Run) thread() string { return "run/" + cmp.Or(r.RootID, r.ID) }
