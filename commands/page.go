package commands

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/outreach"
	"opsbot/internal/dispatch"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// page calls people to the incident by a pager.
func (r *Router) page(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	if r.Pages == nil || len(r.Pagers) == 0 {
		return Reply{}, fault.New(fault.Conflict, "Nobody can be paged: no pager is configured.").Hinted("See pagers in opsbot.yaml.")
	}
	if !i.State.Active() {
		return Reply{}, r.refused(ctx, req, i, "page somebody",
			fault.New(fault.Conflict, "%s is %s; nobody is called to it any more.", i.Ref(), strings.ToLower(i.State.Word())))
	}
	target, note := term(o.Rest)
	if target == "" && len(r.Pagers) > 1 {
		a := outbox.Answer{Text: "Who shall be paged?"}
		for _, p := range r.Pagers {
			a.Items = append(a.Items, outbox.Item{Name: p, Label: "Page " + p, Command: NounIncident + " " + orderPage + " " + i.Ref() + " " + p})
		}
		return Reply{Answer: &a}, nil
	}
	if target == "" {
		target = r.Pagers[0]
	}
	if !slices.Contains(r.Pagers, target) {
		return Reply{}, r.refused(ctx, req, i, "page somebody",
			fault.New(fault.NotFound, "There is no pager %s.", clip(target, 40)).Hinted("There are: %s", strings.Join(r.Pagers, ", ")))
	}
	note = strings.TrimSpace(note)
	text := "paged " + target
	if note != "" {
		text += ": " + note
	}
	// The note first: it says whether this person may take part at all.
	if _, err := r.Incidents.Note(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, text, time.Time{}, incidents.Message{}); err != nil {
		return Reply{}, err
	}
	p := outreach.Page(i, dispatch.Trigger, r.now())
	p.Note, p.By = note, orOther(req.Actor.Name, req.Actor.ID)
	if r.Link != nil {
		p.Link = r.Link(ctx, i)
	}
	// A second call within a minute is the same one: two people press at once.
	call := strconv.FormatInt(r.now().Unix()/60, 10)
	parcel, err := p.Parcel(outreach.PagerPlace+target, call)
	if err == nil {
		err = r.Pages.Add(ctx, parcel)
	}
	if err != nil {
		return Reply{}, err
	}
	return done(req, target+" is being paged; the thread says when it arrived."), nil
}
