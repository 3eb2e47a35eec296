package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// defaultQuestion is asked where the runbook has no question of its own. It is
// part of the digest, as the runbook's own questions are by the file's.
const defaultQuestion = "Go on with %s on %s?"

// card is what every question about the step says.
func (w *worker) card(step *runbooks.Step, kind ApprovalKind, now time.Time) outbox.Ask {
	r := w.run
	return outbox.Ask{
		Kind: string(kind), Run: r.ID, Number: r.Number, Runbook: r.Runbook, Title: r.Title,
		Environment: r.Environment, Critical: r.Critical, Step: step.ID, StepTitle: step.Title,
		Effect: effectName(step.Effect), Source: fmt.Sprintf("%s:%d", path.Base(w.rb.File), step.Pos.Line), State: string(Open),
	}
}

// planned adds what the plan would do, exactly as it is approved.
func (w *worker) planned(c *outbox.Ask, p *plan, why string) {
	c.Effect, c.Digest = effectName(p.effect), p.digest
	c.Impact = p.impact
	if why != "" {
		c.Reasons = append(c.Reasons, "asked again: "+lower(why))
	}
	c.Reasons = append(c.Reasons, p.reasons...)
	c.Reasons = append(c.Reasons, p.gates.Reasons...)
	if p.target.Conn != nil {
		c.Target = p.step.Target + ", " + p.target.Conn.Address()
		if p.identity != "" {
			c.Target += " (" + p.identity + ")"
		}
	}
	for i, it := range p.items {
		for _, k := range slices.Sorted(maps.Keys(it.with)) {
			label := k
			if len(p.items) > 1 {
				label = fmt.Sprintf("%s [%d]", k, i+1)
			}
			c.Arguments = append(c.Arguments, outbox.Fact{Label: label, Value: argText(it.with[k])})
		}
	}
	c.Rollback = w.undo(p)
	c.Covers = coverDigests(p.covers)
	for _, x := range p.covers {
		c.Arguments = append(c.Arguments, outbox.Fact{Label: "if rolled back: " + bare(x.step), Value: x.text})
	}
}

func argText(v any) string {
	switch v.(type) {
	case map[string]any, []any, []string:
		if data, err := json.Marshal(v); err == nil {
			return string(data)
		}
	}
	return textOf(v)
}

// undo says what puts the step's effect back.
func (w *worker) undo(p *plan) string {
	if p.effect == runbooks.Read {
		return ""
	}
	if len(w.rb.Rollback) == 0 {
		return "The runbook has no rollback for this."
	}
	titles := make([]string, len(w.rb.Rollback))
	for i, s := range w.rb.Rollback {
		titles[i] = bare(s)
	}
	return "Rollback: " + strings.Join(titles, "; ")
}

func (w *worker) questionText(p *plan) (string, error) {
	if c := p.step.Confirm; c != nil && c.Text != nil {
		return c.Text.Text(w.scope(), nil)
	}
	return fmt.Sprintf(defaultQuestion, name(p.step), w.run.Environment), nil
}

// confirmation asks the starter to state the intent; for a scheduled run, any
// of those who may start it.
func (w *worker) confirmation(p *plan, now time.Time, why string) (Approval, error) {
	a := Approval{Kind: Confirm, Digest: p.digest, Identity: p.identity, Live: p.live, Needed: 1,
		Created: now, Expires: now.Add(reviewWithin), Remind: now.Add(reviewWithin / 2)}
	text, err := w.questionText(p)
	if err != nil {
		return a, err
	}
	if p.gates.Typed {
		a.Type = w.run.Environment
		if p.gates.Type != nil {
			if a.Type, err = p.gates.Type.Text(w.scope(), nil); err != nil {
				return a, err
			}
		}
	}
	a.Card = w.card(p.step, Confirm, now)
	w.planned(&a.Card, p, why)
	a.Card.Question, a.Card.Type, a.Card.Expires, a.Card.Needed = text, a.Type, a.Expires, 1
	if w.run.Starter.Kind == access.Person {
		a.Card.Users = starterOf(w.run)
	} else {
		a.Groups = w.rb.Roles.Run
		a.Card.Groups = a.Groups
	}
	style := "primary"
	if p.effect == runbooks.Destructive {
		style = "danger"
	}
	a.Card.Choices = []outbox.Choice{{ID: choiceConfirm, Label: "Confirm", Style: style}, {ID: choiceCancel, Label: "Don't do it"}}
	return a, nil
}

// review asks other people to agree.
func (w *worker) review(p *plan, now time.Time, why string) Approval {
	a := Approval{Kind: Review, Digest: p.digest, Identity: p.identity, Live: p.live, Groups: p.gates.By, Needed: p.gates.Count,
		Created: now, Expires: now.Add(p.gates.Within), Remind: now.Add(p.gates.Within / 2)}
	a.Card = w.card(p.step, Review, now)
	w.planned(&a.Card, p, why)
	text, err := w.questionText(p)
	if err != nil { // it was asked in the confirm
		text = fmt.Sprintf(defaultQuestion, name(p.step), w.run.Environment)
	}
	a.Card.Question, a.Card.Expires, a.Card.Needed, a.Card.Groups = text, a.Expires, a.Needed, a.Groups
	a.Card.Choices = []outbox.Choice{{ID: choiceApprove, Label: "Approve", Style: "danger"}, {ID: choiceDeny, Label: "Deny", Reason: true}}
	if p.rules.Alone == "" {
		p.rules.Alone = glassText(w.e.settings.Load().policy)
	}
	if p.rules.Alone != "" {
		a.Card.Choices = append(a.Card.Choices, outbox.Choice{ID: choiceAlone, Label: "Break glass: go on alone", Reason: true})
		a.Card.Reasons = append(a.Card.Reasons, p.rules.Alone)
	}
	return a
}

func starterOf(r *Run) []string {
	if r.Starter.Kind != access.Person || r.Starter.ID == "" {
		return nil
	}
	return []string{r.Starter.ID}
}

// close decides an approval; outcome says who decided what, for people.
func (a *Approval) close(state ApprovalState, outcome string, now time.Time) {
	a.State, a.Decided, a.Remind = state, now, time.Time{}
	a.Card.State, a.Card.Outcome = string(state), outcome
	a.Card.Choices = nil
	if state == Expired && (a.Kind == Confirm || a.Kind == Review) {
		a.Card.Choices = []outbox.Choice{{ID: choiceAgain, Label: "Ask again"}}
	}
}

// askNotice posts or edits the card of an approval, in its run's thread.
func askNotice(r *Run, a *Approval) outbox.Notice {
	c := a.Card
	c.Votes = make([]outbox.Vote, len(a.Votes))
	for i, v := range a.Votes {
		c.Votes[i] = outbox.Vote{User: v.Actor.ID, Name: v.Actor.Name, Decision: v.Decision, Reason: v.Reason, At: v.At}
		c.OutcomeBy = v.Actor.ID
	}
	if a.State == Open {
		c.OutcomeBy = ""
	}
	return outbox.Notice{Key: "ask/" + a.ID, To: r.Origin, Under: r.thread(), Content: c}
}
