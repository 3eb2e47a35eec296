package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"opsbot/incidents"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// incident does what a line about incidents asks for; values come from its
// form, nil if there was none.
func (r *Router) incident(ctx context.Context, req Request, line string, values map[string]string) (Reply, error) {
	if r.Incidents == nil {
		return Reply{}, fault.New(fault.Conflict, "This opsbot keeps no incidents.")
	}
	o, err := ParseOrder(line)
	if err != nil {
		return Reply{}, err
	}
	filled := values != nil
	if filled {
		chosen := o.Verb == orderMore // what More leads to has been asked nothing yet
		if err := o.fill(values); err != nil {
			return Reply{}, err
		}
		filled = !chosen || o.Verb == orderMore
	}
	if o.Verb != orderRun { // whose parameters are no text
		o.Rest = req.Named(o.Rest)
	}
	switch o.Verb {
	case orderDeclare:
		return r.declare(ctx, req, o, values)
	case orderFrom:
		return r.declareFrom(ctx, req, o)
	case orderAlert:
		return r.alert(ctx, req, o)
	case orderList:
		return answered(r.incidents(ctx, req, o))
	case orderStats:
		return r.stats(ctx, req, o)
	case orderHelp:
		a := incidentHelp(req, o.Rest)
		return Reply{Answer: &a}, nil
	}
	i, reply, err := r.which(ctx, req, o, line)
	if err != nil || i == nil {
		return reply, err
	}
	if !admitting[o.Verb] {
		if err := r.Incidents.Admit(ctx, incidents.Act{ID: i.ID, Actor: req.Actor}, i, o.Verb); err != nil {
			return Reply{}, err
		}
	}
	reply, err = r.order(ctx, req, o, i, filled)
	var refusal *incidents.Refusal
	if errors.As(err, &refusal) && len(refusal.Missing) > 0 {
		a := refusalAnswer(refusal)
		return Reply{Answer: &a}, nil
	}
	if err == nil && reply.Form != nil {
		reply.Form.Where = req.Where
	}
	return reply, err
}

// admitting are the verbs by which somebody comes into a restricted incident, or
// is told that they are in none: they say nothing of what it is about, and the
// tracker decides who may.
var admitting = map[string]bool{orderLead: true, orderComms: true, orderAccept: true, orderLeave: true}

// refused puts on record what was refused before the tracker was asked.
func (r *Router) refused(ctx context.Context, req Request, i *incidents.Incident, what string, err error) error {
	return r.Incidents.Refused(ctx, incidents.Act{ID: i.ID, Actor: req.Actor}, i, what, err)
}

func answered(a outbox.Answer, err error) (Reply, error) {
	if err != nil {
		return Reply{}, err
	}
	return Reply{Answer: &a}, nil
}

// refusalAnswer lists what is missing, each with the button that provides it.
func refusalAnswer(r *incidents.Refusal) outbox.Answer {
	a := outbox.Answer{Tone: "error", Text: r.Message}
	for _, m := range r.Missing {
		it := outbox.Item{Name: orOther(m.What, m.Label)}
		if m.Fix != "" {
			it.Command, it.Label = NounIncident+" "+m.Fix, m.Label
		}
		a.Items = append(a.Items, it)
	}
	return a
}

func orOther(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// fitting are the states for which a verb is made, of those whose state tells:
// what cannot be meant is not chosen.
var fitting = map[string]func(incidents.State) bool{
	orderReopen: func(s incidents.State) bool { return s == incidents.Monitoring || !s.Active() },
	orderPM:     func(s incidents.State) bool { return !s.Active() },
	orderClose:  func(s incidents.State) bool { return !s.Active() },
}

// which finds the incident that an order is about: the one it names, else the
// one whose room this is, else the only open one for which it is made. If that is
// not clear, the reply says what there is.
func (r *Router) which(ctx context.Context, req Request, o Order, line string) (*incidents.Incident, Reply, error) {
	if o.Ref != 0 {
		i, err := r.Incidents.Find(ctx, o.Ref)
		return i, Reply{}, err
	}
	i, err := r.Incidents.At(ctx, req.Where)
	if !errors.Is(err, incidents.ErrNone) {
		return i, Reply{}, err
	}
	list, err := r.Incidents.List(ctx, incidents.Query{Open: true, Limit: 200})
	for _, fits := range []func(incidents.State) bool{fitting[o.Verb], incidents.State.Active} {
		if fits == nil {
			continue
		}
		some := slices.DeleteFunc(slices.Clone(list), func(i *incidents.Incident) bool { return !fits(i.State) })
		if len(some) > 0 {
			list = some
			break
		}
	}
	switch {
	case err != nil:
		return nil, Reply{}, err
	case len(list) == 0:
		return nil, Reply{}, fault.New(fault.NotFound, "No incident is open.").Hinted("%s declares one.", orderUsage(req, "declare TITLE"))
	case len(list) == 1:
		return list[0], Reply{}, nil
	}
	a := outbox.Answer{Text: fmt.Sprintf("%d incidents are open. Which one?", len(list))}
	_, rest := term(line)
	for _, i := range list {
		row := incidentRow(i, r.now())
		row.Command, row.Label = NounIncident+" "+i.Ref()+" "+rest, i.Ref()
		a.Items = append(a.Items, row)
	}
	return nil, Reply{Answer: &a}, nil
}

// orderUsage writes an order as the person would have to type it where they are.
func orderUsage(req Request, order string) string {
	prefix := "/" + NounIncident
	if req.Where.Thread != "" {
		prefix = "@opsbot " + NounIncident
	}
	return prefix + " " + order
}
