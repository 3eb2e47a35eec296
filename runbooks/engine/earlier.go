package engine

import (
	"context"
	"slices"
)

// earlierRuns is how many runs, the newest first, are looked through for what
// one of them saved.
const earlierRuns = 50

// earlier gives what a step of the run's runbook saved in the newest run before
// it, on the same environment, that has ended and was no dry run; nil if none
// has.
func (e *Engine) earlier(ctx context.Context, run *Run, step, name string) (any, error) {
	runs, err := e.store.List(ctx, Query{Runbook: run.Runbook, Environment: run.Environment, Limit: earlierRuns})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r *Run) bool {
		a := r.conclusion(step)
		return r.Number < run.Number && r.State.Ended() && !r.DryRun && a != nil && a.Saved[name] != nil
	})
	if i < 0 {
		return nil, nil
	}
	return decodeOne(runs[i].conclusion(step).Saved[name]), nil
}

// before is what an earlier run saved. It is looked for once: what the worker
// decides by does not change under it.
func (w *worker) before(step, name string) (any, error) {
	key := step + "." + name
	if v, ok := w.kept[key]; ok {
		return v, nil
	}
	v, err := w.e.past(w.ctx, w.run, step, name)
	if err == nil {
		w.kept[key] = v
	}
	return v, err
}
