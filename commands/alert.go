package commands

import (
	"context"
	"fmt"
	"strings"

	"opsbot/incidents"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// alert declares an incident from the card of a group of alerts, once per time
// that the group fires; or gives the group to the incident that the order
// names. While something is going on already, it asks first: two incidents for
// one fault are worse than a click.
func (r *Router) alert(ctx context.Context, req Request, o Order) (Reply, error) {
	a, err := r.Incidents.Alert(ctx, o.ID)
	if err != nil {
		return Reply{}, err
	}
	if a.Incident != 0 {
		return Reply{Answer: &outbox.Answer{Text: fmt.Sprintf("%s belongs to INC-%d already.", a.Name, a.Incident)}}, nil
	}
	if o.Ref != 0 {
		i, err := r.Incidents.Find(ctx, o.Ref)
		if err != nil {
			return Reply{}, err
		}
		if i, err = r.Incidents.Adopt(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, a.ID); err != nil {
			return Reply{}, err
		}
		return Reply{Answer: &outbox.Answer{Text: fmt.Sprintf("%s belongs to %s now.", a.Name, i.Ref())}}, nil
	}
	if !o.On {
		going, err := r.Incidents.List(ctx, incidents.Query{Active: true, Limit: maxRuns})
		if err != nil {
			return Reply{}, err
		}
		if len(going) > 0 {
			return Reply{Answer: r.orOneOf(going, a)}, nil
		}
	}
	title := a.Text
	if strings.TrimSpace(title) == "" {
		title = a.Name
	}
	i, err := r.Incidents.Declare(ctx, incidents.Declaration{
		Actor: req.Actor, Key: fmt.Sprintf("alert/%s/%d", a.ID, a.Episode), Alert: a.Name,
		Title: clip(strings.Join(strings.Fields(title), " "), incidents.MaxTitle), Started: a.Since, Detected: a.Reported,
	})
	if err != nil {
		return Reply{}, err
	}
	if i.State.Over() {
		return Reply{}, fault.New(fault.Conflict, "%s was declared from this alert, and is %s.", i.Ref(), strings.ToLower(i.State.Word())).
			Hinted("For another one, say what is wrong: %s", orderUsage(req, "declare TITLE"))
	}
	if _, err := r.Incidents.Adopt(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, a.ID); err != nil {
		return Reply{}, err
	}
	if !i.Declarer.Same(req.Actor) { // who pressed the button a moment earlier
		return Reply{Answer: &outbox.Answer{Text: fmt.Sprintf("%s belongs to %s already.", a.Name, i.Ref())}}, nil
	}
	return Reply{Answer: declared(i)}, nil
}

// orOneOf asks which incident an alert is about.
func (r *Router) orOneOf(going []*incidents.Incident, a incidents.AlertGroup) *outbox.Answer {
	out := &outbox.Answer{Text: fmt.Sprintf("%d incidents are going on. Is %s about one of them?", len(going), a.Name)}
	if len(going) == 1 {
		out.Text = fmt.Sprintf("%s is going on. Is %s about it?", going[0].Ref(), a.Name)
	}
	for _, i := range going {
		row := incidentRow(i, r.now())
		row.Command, row.Label = NounIncident+" "+i.Ref()+" "+orderAlert+" "+a.ID, "Add to "+i.Ref()
		out.Items = append(out.Items, row)
	}
	out.Items = append(out.Items, outbox.Item{Name: "It is something else", Command: NounIncident + " " + orderAlert + " " + a.ID + " new", Label: "Declare incident"})
	return out
}
