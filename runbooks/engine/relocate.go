package engine

import (
	"context"
	"slices"

	"opsbot/internal/outbox"
)

// maxRelocated is how many runs of a subject move with it, the newest first.
const maxRelocated = 200

// Assign says what an ended run that belonged to nothing belongs to, and shows
// its card anew. One that belongs to something stays as it is.
func (e *Engine) Assign(ctx context.Context, id, subject string) (*Run, error) {
	run, err := e.store.Update(ctx, id, nil, func(r *Run) (Change, error) {
		var c Change
		if r.Subject == "" && r.State.Ended() {
			rb, _ := e.runbook(r)
			r.Subject = subject
			c.Notices = append(c.Notices, runNotice(r, rb))
		}
		return c, nil
	})
	return run, err
}

// Relocate moves what the subject's runs say to another place. Their cards, and
// what is asked, are shown there anew; where they stood before, nothing is
// edited any more. Relocating to the same place again changes nothing.
func (e *Engine) Relocate(ctx context.Context, subject string, to outbox.Conversation) error {
	runs, err := e.store.List(ctx, Query{Subject: subject, Limit: maxRelocated})
	if err != nil {
		return err
	}
	slices.Reverse(runs) // cards in the order of the runs
	for _, run := range runs {
		if run.Origin == to {
			continue
		}
		rb, _ := e.runbook(run) // nil: a card without steps
		_, err := e.store.Update(ctx, run.ID, nil, func(r *Run) (Change, error) {
			var c Change
			if r.Origin == to {
				return c, nil
			}
			r.Origin = to
			// The cards of ended runs move, too: words may wait to stand under them.
			c.Anew = []string{"run/" + r.ID}
			c.Notices = append(c.Notices, runNotice(r, rb))
			for i := range r.Approvals {
				a := &r.Approvals[i]
				c.Anew = append(c.Anew, "ask/"+a.ID)
				if a.State == Open {
					c.Notices = append(c.Notices, askNotice(r, a))
				}
			}
			return c, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
