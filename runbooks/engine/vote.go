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

// A Ballot is one person's answer to an approval.
type Ballot struct {
	Actor    access.Actor
	Decision string // a Choice id of the card
	Reason   string
	Typed    string            // the phrase of a typed confirm
	Fields   map[string]string // of a manual step
	Key      string            // of the request; the same key counts once
}

const maxReason = 1000 // characters; the rest is cut

// Vote records an answer. Every answer, refused ones too, is in the audit log.
// A refusal is a *fault.Error, and changes nothing: Forbidden for who may not
// decide, Conflict for what is decided or over, Invalid for an incomplete
// answer. Votes after the last one needed find the approval decided.
func (e *Engine) Vote(ctx context.Context, approval string, b Ballot) (*Run, error) {
	id, err := e.store.RunOf(ctx, approval)
	if err != nil {
		return nil, said(err, "This question no longer exists.")
	}
	run, err := e.store.Find(ctx, id)
	if err != nil {
		return nil, said(err, "This question's run no longer exists.")
	}
	rb, err := e.runbook(run)
	if err != nil {
		return nil, err
	}
	i := run.approval(approval)
	if i < 0 {
		return nil, said(ErrNoRun, "This question no longer exists.")
	}
	if r := []rune(b.Reason); len(r) > maxReason {
		b.Reason = string(r[:maxReason-1]) + "…"
	}
	b.Reason = strings.TrimSpace(b.Reason)
	if b.Decision == choiceAgain && run.Approvals[i].State == Expired {
		return e.askAgain(ctx, run, &run.Approvals[i], b)
	}
	// Asked before the transaction: the directory may be on the network.
	outside := e.outside(ctx, rb, &run.Approvals[i], b)
	if err := e.alone(ctx, run, b); outside == nil {
		outside = err
	}
	now, err := e.tune(ctx)
	if err != nil {
		return nil, err
	}
	var refusal error
	run, err = e.store.Update(ctx, id, nil, func(r *Run) (Change, error) {
		refusal = nil
		c := Change{Runbook: rb}
		a := &r.Approvals[r.approval(approval)]
		if again(a, b) {
			return c, nil
		}
		refusal = refuse(r, rb, a, b, outside, now)
		entry := AuditEntry{Actor: b.Actor, Act: b.Decision, Run: r.ID, Step: a.Step, Approval: a.ID, Digest: a.Digest, Detail: b.Reason}
		if refusal != nil {
			entry.Act, entry.Outcome, entry.Detail = "refuse", b.Decision, fault.Say(refusal)
			c.Audit = append(c.Audit, entry)
			return c, nil
		}
		count(r, a, b, now)
		if b.Decision == choiceAlone {
			c.Notices = append(c.Notices, e.glassBroken(r, a, b)...)
		}
		entry.Outcome = string(a.State)
		c.Audit = append(c.Audit, entry)
		c.Notices = append(c.Notices, runNotice(r, rb), askNotice(r, a))
		return c, nil
	})
	if err != nil {
		return nil, said(err, "This question's run no longer exists.")
	}
	if refusal != nil {
		return nil, refusal
	}
	e.passed(PointVoted, run, run.Approvals[i].Step)
	return run, nil
}

// again reports whether the ballot has been counted already.
func again(a *Approval, b Ballot) bool {
	return b.Key != "" && slices.ContainsFunc(a.Votes, func(v Vote) bool { return v.Key == b.Key && alike(v.Actor, b.Actor) })
}

// alike reports whether a and b may be one person. A terminal may not know the
// team; then the user id decides, so that nobody is two people.
func alike(a, b access.Actor) bool {
	return a.Same(b) || a.Kind == b.Kind && a.ID == b.ID && a.ID != "" && (a.Team == "" || b.Team == "")
}

// outside says why the actor may not decide, by group and standing as they are
// now. What only the starter may answer, only somebody who may still run it.
func (e *Engine) outside(ctx context.Context, rb *runbooks.Runbook, a *Approval, b Ballot) error {
	policy, groups := e.settings.Load().policy, a.Groups
	switch {
	case b.Decision == choiceAlone && policy.Glass != nil:
		groups = []string{policy.Glass.By}
	case len(groups) == 0 || b.Decision == choiceAlone:
		groups = rb.Roles.Run
	case a.Kind == Review:
		return policy.MayReview(ctx, e.people, b.Actor, groups...)
	}
	return policy.May(ctx, e.people, b.Actor, groups...)
}

// alone says why nobody may go on without a second person just now, if that is
// what the ballot says.
func (e *Engine) alone(ctx context.Context, r *Run, b Ballot) error {
	if b.Decision != choiceAlone || e.settings.Load().policy.Glass != nil {
		return nil
	}
	var rules Rules
	if e.guardian != nil && r.Subject != "" {
		var err error
		if rules, err = e.guardian.Rules(ctx, r.Subject); err != nil {
			return err
		}
	}
	if rules.Alone == "" {
		return fault.New(fault.Forbidden, "Nobody may go on alone any more: somebody else has to approve it.")
	}
	return nil
}

// refuse says why a ballot does not count. First who asks, then the groups,
// then what is decided, and at last the answer itself.
func refuse(r *Run, rb *runbooks.Runbook, a *Approval, b Ballot, outside error, now time.Time) error {
	switch {
	case a.Kind == Review && b.Decision == choiceAlone:
		// In place of others, by whoever may run it; the card offers it or not.
	case a.Kind == Review:
		if alike(b.Actor, r.Starter) {
			return fault.New(fault.Forbidden, "You started this run, so somebody else has to approve it.")
		}
		if by := confirmer(r, a.Step); by != nil && alike(b.Actor, *by) {
			return fault.New(fault.Forbidden, "You confirmed this step, so somebody else has to approve it.")
		}
	case a.Kind == Confirm:
		if len(a.Groups) == 0 && !alike(b.Actor, r.Starter) {
			return fault.New(fault.Forbidden, "Only %s, who started this run, can confirm it.", person(r.Starter))
		}
	}
	if outside != nil {
		return outside
	}
	switch {
	case a.State == Open && !now.Before(a.Expires):
		return fault.New(fault.Conflict, "This question has expired.")
	case a.State != Open && len(a.Votes) > 0:
		last := a.Votes[len(a.Votes)-1]
		return fault.New(fault.Conflict, "Already decided by %s: %s", person(last.Actor), sentence(a.Card.Outcome))
	case a.State != Open:
		return fault.New(fault.Conflict, "This question is closed: %s", sentence(a.Card.Outcome))
	case slices.ContainsFunc(a.Votes, func(v Vote) bool { return alike(v.Actor, b.Actor) }):
		return fault.New(fault.Conflict, "You have approved this already; %s still needed.", people(a.Needed-len(a.Votes), "more approval"))
	}
	i := slices.IndexFunc(a.Card.Choices, func(c outbox.Choice) bool { return c.ID == b.Decision })
	switch {
	case i < 0:
		return fault.New(fault.Invalid, "%q is no answer to this question.", b.Decision)
	case a.Card.Choices[i].Reason && b.Reason == "":
		return fault.New(fault.Invalid, "Please give a reason.")
	case b.Decision == choiceConfirm && a.Type != "" && strings.TrimSpace(b.Typed) != a.Type:
		return fault.New(fault.Invalid, "To confirm, type exactly: %s", a.Type)
	case b.Decision == choiceDone && a.Kind == Manual:
		_, err := checkFields(rb.Step(a.Step), b.Fields)
		return err
	}
	return nil
}

// confirmer is who confirmed the step last, nil if nobody did.
func confirmer(r *Run, step string) *access.Actor {
	for _, a := range slices.Backward(r.Approvals) {
		if a.Step == step && a.Kind == Confirm && len(a.Votes) > 0 {
			return &a.Votes[0].Actor
		}
	}
	return nil
}

// checkFields reads what was filled in for a manual step.
func checkFields(step *runbooks.Step, given map[string]string) (map[string]any, error) {
	if step == nil || len(step.Ask) == 0 {
		return nil, nil
	}
	form := &runbooks.Runbook{Params: step.Ask}
	filled := make(map[string]string, len(given))
	for _, p := range step.Ask {
		if v, ok := given[p.Name]; ok && strings.TrimSpace(v) != "" {
			filled[p.Name] = v
		}
	}
	values, problems := form.CheckParams(filled)
	if len(problems) > 0 {
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.Name+": "+p.Message)
		}
		return nil, fault.New(fault.Invalid, "%s", strings.Join(texts, "; "))
	}
	for _, p := range step.Ask {
		if _, ok := values[p.Name]; !ok || values[p.Name] == "" {
			return nil, fault.New(fault.Invalid, "%s: please fill this in.", p.Name)
		}
	}
	return values, nil
}

var past = map[string]string{
	choiceConfirm: "Confirmed", choiceCancel: "Canceled", choiceApprove: "Approved", choiceDeny: "Denied",
	choiceRetry: "To be tried again, says", choiceSkip: "Left out, says", choiceRollback: "To be rolled back, says",
	choiceAlone: "Not reviewed; done alone, says", choiceStop: "Stopped", choiceRedo: "To be done again, says", choiceDone: "Done, says",
}

// count adds a vote that nothing speaks against, and wakes the run when it decides.
func count(r *Run, a *Approval, b Ballot, now time.Time) {
	a.Votes = append(a.Votes, Vote{Actor: b.Actor, Decision: b.Decision, Reason: b.Reason, Fields: b.Fields, Key: b.Key, At: now})
	verb := past[b.Decision]
	if !strings.HasSuffix(verb, "says") {
		verb += " by"
	}
	outcome := fmt.Sprintf("%s %s at %s", verb, person(b.Actor), clockTime(now))
	if b.Decision == choiceApprove && len(a.Votes) > 1 {
		names := make([]string, len(a.Votes))
		for i, v := range a.Votes {
			names[i] = person(v.Actor)
		}
		outcome = fmt.Sprintf("Approved by %s at %s", strings.Join(names, " and "), clockTime(now))
	}
	if b.Reason != "" {
		outcome += ": " + b.Reason
	}
	switch b.Decision {
	case choiceApprove:
		if len(a.Votes) < a.Needed {
			return
		}
		a.close(Granted, outcome, now)
	case choiceDeny, choiceCancel:
		a.close(Denied, outcome, now)
	case choiceStop:
		a.close(Denied, outcome, now)
		if r.Stop == nil && r.Phase != PhaseCleanup {
			r.Stop = &Stop{By: b.Actor, Why: b.Reason, At: now}
		}
	default:
		a.close(Granted, outcome, now)
	}
	r.wake()
}

// wake lets an owner go on with a run that waited, unless it is paused.
func (r *Run) wake() {
	if r.State.Ended() || r.Paused && r.Stop == nil {
		return
	}
	r.State, r.WakeAt = Ready, time.Time{}
}

// askAgain starts the runbook of an expired question anew, with the same
// parameters: what was measured then is old by now.
func (e *Engine) askAgain(ctx context.Context, r *Run, a *Approval, b Ballot) (*Run, error) {
	if r.Undoes != "" {
		return e.startRollback(ctx, r, StartRequest{Actor: b.Actor, RequestKey: b.Key})
	}
	rb, err := e.runbook(r)
	if err != nil {
		return nil, err
	}
	values, err := rb.DecodeParams(r.Params)
	if err != nil {
		return nil, err
	}
	params := make(map[string]string, len(values))
	for k, v := range values {
		params[k] = textOf(v)
	}
	return e.Start(ctx, StartRequest{Runbook: r.Runbook, Environment: r.Environment, Params: params, Actor: b.Actor,
		DryRun: r.DryRun, RequestKey: b.Key, Origin: r.Origin, Subject: r.Subject})
}

// expire reminds people of a run's open questions, and ends those that nobody
// answered in time: silence is no.
func (e *Engine) expire(ctx context.Context, id string, now time.Time) error {
	found, err := e.store.Find(ctx, id)
	if err != nil {
		return err
	}
	rb, err := e.runbook(found)
	if err != nil { // it expires all the same
		e.log.Error("cannot read the runbook of a run that waits", "run", id, "err", err)
	}
	_, err = e.store.Update(ctx, id, nil, func(r *Run) (Change, error) {
		c := Change{Runbook: rb}
		for i := range r.Approvals {
			a := &r.Approvals[i]
			switch {
			case a.State != Open:
			case !now.Before(a.Expires):
				r.lapse(a, &c, now)
			case !a.Remind.IsZero() && !now.Before(a.Remind):
				a.Remind = time.Time{}
				c.Notices = append(c.Notices, r.line(reminder(r, rb, a, now)))
			}
		}
		if c.Notices != nil {
			c.Notices = append(c.Notices, runNotice(r, rb))
		}
		return c, nil
	})
	return err
}

// lapse ends a question that was not answered.
func (r *Run) lapse(a *Approval, c *Change, now time.Time) {
	within := short(a.Expires.Sub(a.Created))
	switch a.Kind {
	case Confirm:
		a.close(Expired, "Nobody confirmed within "+within+", which means no", now)
	case Review:
		a.close(Expired, "Too few people approved within "+within+", which means no", now)
		if a.Needed-len(a.Votes) == a.Needed {
			a.Card.Outcome = "Nobody approved within " + within + ", which means no"
		}
	default:
		a.close(Expired, "Nobody answered within "+within+", so the run stops", now)
		if r.Stop == nil {
			r.Stop = &Stop{By: system, Why: "nobody answered within " + within, At: now}
		}
	}
	c.Notices = append(c.Notices, askNotice(r, a))
	c.Audit = append(c.Audit, AuditEntry{Actor: system, Act: "expire", Run: r.ID, Step: a.Step, Approval: a.ID, Digest: a.Digest, Outcome: string(Expired)})
	r.wake()
}

// reminder is said once, to those who may decide.
func reminder(r *Run, rb *runbooks.Runbook, a *Approval, now time.Time) outbox.Line {
	step := a.Card.StepTitle
	if rb != nil {
		step = name(rb.Step(a.Step))
	}
	return outbox.Line{Users: a.Card.Users, Groups: a.Card.Groups, Text: fmt.Sprintf("R%d on %s still waits for an answer about %s. %s left.",
		r.Number, r.Environment, step, upper(short(a.Expires.Sub(now).Round(time.Minute))))}
}
