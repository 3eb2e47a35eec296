package engine

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// runNotice posts or edits the live message of the run. rb is nil when the
// run's text cannot be read.
func runNotice(r *Run, rb *runbooks.Runbook) outbox.Notice {
	n := outbox.Notice{Key: "run/" + r.ID, To: r.Origin, Content: Card(r, rb)}
	if r.ParentID != "" {
		n.Under = r.thread()
	}
	return n
}

// Card is the live message of a run. rb is the runbook that it is pinned to,
// nil when that cannot be read.
func Card(r *Run, rb *runbooks.Runbook) outbox.RunCard {
	c := outbox.RunCard{
		Run: r.ID, Number: r.Number, Runbook: r.Runbook, Title: r.Title, Environment: r.Environment,
		Critical: r.Critical, DryRun: r.DryRun, StarterName: r.Starter.Name,
		State: string(r.State), Verdict: string(r.Verdict), Started: cmp.Or(r.Started, r.Created), Ended: r.Ended,
		Stoppable: !r.State.Ended() && r.Stop == nil, Waiters: r.Waiters, Incident: r.Subject != "",
	}
	if r.Starter.Kind == access.Person {
		c.Starter = r.Starter.ID
	}
	if rb != nil {
		for _, p := range r.phases() {
			for _, s := range section(rb, p) {
				if p == PhaseMain || r.Phase == p || r.conclusion(s.ID) != nil {
					c.Steps = append(c.Steps, stepLine(r, s, p))
				}
			}
		}
	}
	for _, o := range r.Offers {
		if o.Started == "" {
			c.Offers = append(c.Offers, outbox.Offer{ID: o.ID, Runbook: o.Runbook, Say: o.Say, Why: o.Why})
		}
	}
	next(&c, r, rb)
	return c
}

// next says who can act next and how long is left, or how the run ended.
func next(c *outbox.RunCard, r *Run, rb *runbooks.Runbook) {
	var step *runbooks.Step
	if rb != nil {
		step = rb.Step(r.Cursor)
	}
	a := r.open()
	switch {
	case r.State.Ended():
		c.Next = r.Outcome
	case r.Stop != nil:
		c.Next = "Stopping: " + lower(stopOutcome(r.Stop))
	case r.Paused:
		c.Next = "Paused. Nothing happens until somebody resumes it."
		if a != nil {
			c.Next = "Paused, with a question open."
		}
	case r.PausedWith != "":
		c.Next = "Paused with the run that started it."
	case r.WaitsFor != "":
		c.Next = r.Outcome
		if rb != nil {
			c.Until = r.Created.Add(rb.LockWait)
		}
	case a != nil:
		c.NextUsers, c.NextGroups, c.Until = a.Card.Users, a.Card.Groups, a.Expires
		switch a.Kind {
		case Confirm:
			c.Next = "confirm " + name(step)
			if a.Type != "" {
				c.Next += " by typing " + a.Type
			}
		case Review:
			c.Next = "approve " + name(step)
			if left := a.Needed - len(a.Votes); a.Needed > 1 {
				c.Next = fmt.Sprintf("approve %s; %d of %d still needed", name(step), left, a.Needed)
			}
		case Manual:
			c.Next = "do " + name(step) + " by hand, then tick it off"
		case Doubt:
			c.Next = "look at the system and say what became of " + name(step)
		default:
			c.Next = "say how to go on after " + name(step)
		}
	case r.State == Ready && r.WakeAt.After(r.Created) && step != nil && step.Do == "wait":
		c.Next, c.Until = "Waiting, as "+name(step)+" says.", r.WakeAt
	case r.calling() != nil:
		c.Next = "Waiting for the run that " + name(step) + " has started."
	case r.Phase == PhaseCleanup:
		c.Next = "Cleaning up."
	case r.Phase == PhaseRollback:
		c.Next = "Rolling back."
	}
}

// open is the approval that the run waits for, nil if none.
func (r *Run) open() *Approval {
	for i := range r.Approvals {
		if r.Approvals[i].State == Open {
			return &r.Approvals[i]
		}
	}
	return nil
}

// The marks of a step on a card, beside the statuses.
const (
	markPending   = "pending"
	markRunning   = "running"
	markWaiting   = "waiting"
	markUncertain = "uncertain"
)

func stepLine(r *Run, s *runbooks.Step, p Phase) outbox.StepLine {
	l := outbox.StepLine{ID: s.ID, Title: s.Title, Mark: markPending, Effect: effectName(s.Effect)}
	here := r.Phase == p && r.Cursor == s.ID && !r.State.Ended()
	if a := r.conclusion(s.ID); a != nil {
		l.Mark, l.Found, l.Effect = string(a.Status), cmp.Or(a.Fault, a.Found), effectName(a.Effect)
		if a.State == AttemptUncertain {
			l.Mark = markUncertain
		}
		for _, other := range r.Attempts {
			if other.Step == s.ID && other.Purpose == ForChild && other.Seq > a.Seq {
				l.Found = strings.TrimPrefix(l.Found+"; "+cmp.Or(other.Fault, other.Found), "; ")
			}
		}
		return l
	}
	for i := len(r.Attempts) - 1; i >= 0; i-- {
		a := &r.Attempts[i]
		if a.Step != s.ID || a.Purpose == ForRecheck || a.Purpose == ForVerify || a.Purpose == ForChild {
			continue
		}
		l.Effect, l.Found = effectName(a.Effect), a.Found
		switch {
		case a.State == Intent:
			l.Mark = markRunning
		case a.State == AttemptUncertain:
			l.Mark, l.Found = markUncertain, a.Fault
		case a.State == AttemptSuperseded && here:
			l.Found = "again; the last attempt: " + cmp.Or(a.Fault, a.Found)
		case a.State == AttemptDone && here:
			l.Mark, l.Found = markRunning, people(a.Item, "element")+" done"
		}
		break
	}
	if here && l.Mark == markPending {
		l.Mark = markRunning
		if a := r.open(); a != nil || r.paused() || r.State == Waiting {
			l.Mark = markWaiting
		}
	}
	if r.State.Ended() && l.Mark == markPending {
		l.Mark, l.Found = string(runbooks.Skipped), NotReached
	}
	return l
}

// NotReached is what is found of a step before which its run ended.
const NotReached = "not reached"

// stopOutcome says who stopped a run and why.
func stopOutcome(s *Stop) string {
	text := "Stopped by " + person(s.By)
	if s.Why != "" {
		text += ": " + s.Why
	}
	return sentence(text)
}

// escape makes text safe inside Slack's markup.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace

// report is what the run says at its end, with the one mention of its starter.
func (w *worker) report() outbox.Notice {
	r := w.run
	users := starterOf(r)
	if r.ParentID != "" {
		users = nil // who started the root hears of its end
	}
	if w.rb.Report == nil {
		return r.line(outbox.Line{Users: users, Text: fmt.Sprintf("%s on %s %s after %s. %s",
			r.Title, r.Environment, ending(r), short(w.elapsed()), r.Outcome)})
	}
	text, err := w.rb.Report.Text(w.scope(), escape)
	if err != nil {
		w.e.log.Warn("a report could not be made", "run", r.ID, "err", err)
		text = escape(fmt.Sprintf("%s on %s %s. Its report could not be made: %s.", r.Title, r.Environment, ending(r), err))
	}
	if r.State == Canceled {
		text += "\n" + escape(r.Outcome)
	}
	return outbox.Notice{Key: "report/" + r.ID, To: r.Origin, Under: r.thread(), Content: outbox.Report{
		Run: r.ID, Number: r.Number, Title: r.Title, Verdict: string(r.Verdict), BodyMarkup: strings.TrimSpace(text), Users: users,
	}}
}

func ending(r *Run) string {
	switch r.State {
	case Succeeded:
		return "succeeded"
	case Canceled:
		return "was stopped"
	}
	return "failed"
}

// clockTime is a time of day for people.
func clockTime(t time.Time) string { return t.UTC().Format("15:04 UTC") }
