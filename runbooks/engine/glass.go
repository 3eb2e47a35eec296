package engine

import (
	"fmt"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// Breaking the glass is going on without the reviewers whose word is missing: in
// an incident whose rules allow it, or by the group that the server's policy
// names. The reason is on record, the policy's channel is told at once and asked
// to look again when the run has ended.

// glassText is why a card offers it; "" if the policy does not.
func glassText(p access.Policy) string {
	if p.Glass == nil {
		return ""
	}
	return fmt.Sprintf("if nobody else is there, %s may break the glass, with a reason; that is told and followed up", p.Glass.By)
}

// glassBroken tells those who must know.
func (e *Engine) glassBroken(r *Run, a *Approval, b Ballot) []outbox.Notice {
	glass := e.settings.Load().policy.Glass
	if glass == nil {
		return nil
	}
	return []outbox.Notice{{To: outbox.Conversation{Channel: glass.Channel}, Content: outbox.Line{
		Run: r.ID, Groups: a.Groups,
		Text: fmt.Sprintf("Glass broken: %s goes on with %s of R%d (%s) on %s without review: %s",
			person(b.Actor), a.Card.StepTitle, r.Number, r.Title, r.Environment, sentence(b.Reason)),
	}}}
}

// followUp asks those whose word was missing to look at a run that has ended.
func (w *worker) followUp() []outbox.Notice {
	glass := w.e.settings.Load().policy.Glass
	if glass == nil {
		return nil
	}
	for _, a := range w.run.Approvals {
		for _, v := range a.Votes {
			if v.Decision != choiceAlone {
				continue
			}
			return []outbox.Notice{{To: outbox.Conversation{Channel: glass.Channel}, Content: outbox.Line{
				Run: w.run.ID, Groups: a.Groups,
				Text: fmt.Sprintf("R%d (%s) on %s, in which %s broke the glass, %s: %s Please review afterwards what was done.",
					w.run.Number, w.run.Title, w.run.Environment, person(v.Actor), ending(w.run), sentence(w.run.Outcome)),
			}}}
		}
	}
	return nil
}
