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

// offer resolves a runbook that a step offers.
func (e *Engine) offer(ctx context.Context, r *Run, env *Environment, step *runbooks.Step, o runbooks.OfferedRunbook, scope *runbooks.Scope) Offer {
	made := Offer{ID: fmt.Sprintf("%s.%s.%s", r.ID, step.ID, o.Runbook), Step: step.ID, At: e.clock(), Runbook: o.Runbook, Say: "Run " + o.Runbook}
	if o.Say != nil {
		if text, err := o.Say.Text(scope, nil); err == nil {
			made.Say = text
		}
	}
	values, err := runbooks.ResolveWith(o.Params, scope)
	if err != nil {
		made.Why = "its parameters are not known"
		return made
	}
	made.Params = make(map[string]string, len(values))
	for k, v := range values {
		made.Params[k] = textOf(v)
	}
	settings := e.settings.Load()
	rb, ok := settings.library.Find(o.Runbook)
	if !ok {
		made.Why = "there is no runbook " + o.Runbook
	} else if err := settings.family(rb, 0, func(each *runbooks.Runbook) error { return runnable(each, env) }); err != nil {
		made.Why = fault.Say(err)
	} else {
		made.Why = e.offeredBefore(ctx, r, made)
	}
	return made
}

// offerEvery is how long a runbook is not offered again on an environment, and
// so for the same connections: runbooks may offer each other in a circle.
const offerEvery = 30 * time.Minute

// offeredBefore says who has offered the same not long ago; "" if nobody has.
func (e *Engine) offeredBefore(ctx context.Context, r *Run, o Offer) string {
	recent, err := e.store.List(ctx, Query{Environment: r.Environment, Limit: 200})
	if err != nil {
		e.log.Warn("cannot look for earlier offers", "run", r.ID, "err", err)
		return "" // an offer too many does no harm
	}
	for _, other := range recent {
		for _, before := range other.Offers {
			if before.Runbook == o.Runbook && before.ID != o.ID && before.Why == "" && before.Step != "" && o.At.Sub(before.At) < offerEvery {
				return fmt.Sprintf("R%d offered it at %s already", other.Number, clockTime(before.At))
			}
		}
	}
	return ""
}

// StartOffer starts the runbook of an offer, as an ordinary run of the actor's
// own. A second click finds the run that the first one started.
func (e *Engine) StartOffer(ctx context.Context, offer string, actor access.Actor, key string) (*Run, error) {
	id, _, _ := strings.Cut(offer, ".")
	from, err := e.store.Find(ctx, id)
	if err != nil {
		return nil, said(err, "This offer no longer exists.")
	}
	i := slices.IndexFunc(from.Offers, func(o Offer) bool { return o.ID == offer })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "This offer no longer exists.")
	}
	o := from.Offers[i]
	switch {
	case o.Started != "":
		run, err := e.Find(ctx, o.Started)
		if err != nil {
			return nil, err
		}
		return run, nil
	case o.Why != "":
		return nil, fault.New(fault.Conflict, "%s", sentence(upper(o.Why)))
	}
	start := e.Start
	if o.Step == "" {
		start = func(ctx context.Context, req StartRequest) (*Run, error) { return e.startRollback(ctx, from, req) }
	}
	run, err := start(ctx, StartRequest{Runbook: o.Runbook, Environment: from.Environment, Params: o.Params,
		Actor: actor, RequestKey: key, Origin: from.Origin, Subject: from.Subject})
	if err != nil {
		return nil, err
	}
	rb, err := e.runbook(from)
	if err != nil {
		return run, nil // it runs; the old card keeps its button, which finds it
	}
	_, err = e.store.Update(ctx, from.ID, nil, func(r *Run) (Change, error) {
		if r.Offers[i].Started == "" {
			r.Offers[i].Started = run.ID
		}
		return Change{Notices: []outbox.Notice{
			runNotice(r, rb),
			r.line(outbox.Line{Text: fmt.Sprintf("%s started %s: R%d.", person(actor), run.Title, run.Number)}),
		}}, nil
	})
	if err != nil {
		e.log.Warn("an offer's start is not on its card", "run", from.ID, "err", err)
	}
	return run, nil
}
