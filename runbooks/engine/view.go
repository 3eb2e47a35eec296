package engine

import (
	"context"

	"opsbot/internal/outbox"
)

// A View is a run as people are shown it, away from Slack too.
type View struct {
	Run    *Run
	Card   outbox.RunCard
	Asks   []outbox.Ask   // every question asked so far, oldest first
	Report *outbox.Report // once the run has ended, where its runbook has one
}

// View returns what Slack shows of the run with the id or number, computed
// from the database. Errors are Find's.
func (e *Engine) View(ctx context.Context, ref string) (*View, error) {
	run, err := e.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	rb, err := e.runbook(run)
	if err != nil {
		e.log.Warn("a run is shown without its steps", "run", run.ID, "err", err)
	}
	v := &View{Run: run, Card: Card(run, rb)}
	for _, a := range run.Approvals {
		card := a.Card
		card.Approval, card.State = a.ID, string(a.State)
		v.Asks = append(v.Asks, card)
	}
	if rb != nil && run.State.Ended() {
		w := &worker{e: e, run: run, rb: rb, results: map[int]any{}}
		if report, ok := w.report().Content.(outbox.Report); ok {
			v.Report = &report
		}
	}
	return v, nil
}
