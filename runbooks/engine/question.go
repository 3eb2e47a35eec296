package engine

import (
	"context"

	"opsbot/internal/access"
	"opsbot/internal/fault"
)

// Question returns an approval with its run, or the error with which Vote
// would refuse the actor's decision whatever else they fill in. A door asks
// before it opens a form; nothing is recorded.
func (e *Engine) Question(ctx context.Context, approval string, actor access.Actor, decision string) (*Pending, error) {
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
	a := &run.Approvals[i]
	b := Ballot{Actor: actor, Decision: "?"}
	if decision == choiceAlone { // others may answer it than anything else
		b.Decision = decision
		if err := e.alone(ctx, run, b); err != nil {
			return nil, err
		}
	}
	err = refuse(run, rb, a, b, e.outside(ctx, rb, a, b), e.clock())
	if fault.KindOf(err) != fault.Invalid { // nothing but the answer is missing
		return nil, err
	}
	return &Pending{Run: run, Approval: *a}, nil
}
