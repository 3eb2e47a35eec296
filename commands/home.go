package commands

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// mostHome is how many of each kind are looked at for a person's page.
const mostHome = 50

// home draws the page that a person sees when they look at the app itself:
// open incidents, what waits for them, what runs, and what is due next.
func (r *Router) home(ctx context.Context, req Request) (Reply, error) {
	now := r.now()
	h := outbox.Home{User: req.Actor.ID, At: now}
	var open []*incidents.Incident
	var err error
	if r.Incidents != nil {
		if open, err = r.Incidents.List(ctx, incidents.Query{Open: true, Limit: mostHome}); err != nil {
			return Reply{}, err
		}
	}
	list := outbox.HomeSection{Title: "Open incidents", Empty: "None. Quiet is good."}
	for _, i := range open {
		row := incidentRow(i, now)
		if i.Open(req.Actor) {
			row.Detail += homeClock(i, now)
		}
		list.Items = append(list.Items, row)
	}
	h.Sections = append(h.Sections, list)

	waiting, err := r.Runs.Waiting(ctx, req.Actor)
	if err != nil {
		return Reply{}, err
	}
	mine := outbox.HomeSection{Title: "Waiting for you", Empty: "Nothing."}
	for _, p := range waiting {
		row := r.row(p.Run)
		row.Detail = orOther(p.Approval.Card.Question, row.Detail)
		if e := p.Approval.Expires; !e.IsZero() {
			row.Detail += fmt.Sprintf(" · until %s", e.UTC().Format("15:04 UTC"))
		}
		mine.Items = append(mine.Items, row)
	}
	for _, i := range open {
		for _, kind := range []incidents.RoleKind{incidents.Commander, incidents.Comms} {
			row := outbox.Item{Name: "Be " + kind.Word() + " of " + i.Ref() + "?", Detail: "You were asked to.", Command: NounIncident + " " + orderAccept + " " + i.Ref() + " " + string(kind), Label: "Accept"}
			if a, ok := i.Offered(kind); ok && a.Actor.Same(req.Actor) {
				mine.Items = append(mine.Items, row)
			} else if a, ok := i.Holder(kind); ok && a.Acting && a.Actor.Same(req.Actor) {
				row.Detail = "You are only acting until you or somebody else accepts."
				mine.Items = append(mine.Items, row)
			}
		}
		for _, u := range i.Drafts {
			if o := i.Owner(incidents.ForUsers); o != nil && o.Same(req.Actor) {
				mine.Items = append(mine.Items, outbox.Item{Name: "Publish an update of " + i.Ref() + "?", Detail: u.Text, Command: NounIncident + " " + orderPublish + " " + i.Ref() + " " + u.ID, Label: "Publish"})
			}
		}
	}
	h.Sections = append(h.Sections, mine)

	runs, err := r.Runs.List(ctx, engine.Query{Unended: true, Limit: mostHome})
	if err != nil {
		return Reply{}, err
	}
	going := outbox.HomeSection{Title: "Runs in progress", Empty: "None."}
	for _, run := range runs {
		going.Items = append(going.Items, r.row(run))
	}
	h.Sections = append(h.Sections, going)

	next, err := r.dueNext(ctx, req, open, now)
	if err != nil {
		return Reply{}, err
	}
	h.Sections = append(h.Sections, next)
	return Reply{Notices: []outbox.Notice{{Key: "home/" + req.Actor.ID, To: outbox.Conversation{Channel: req.Actor.ID}, Content: h}}}, nil
}

// homeClock says when the next update is due.
func homeClock(i *incidents.Incident, now time.Time) string {
	var parts []string
	for _, of := range incidents.Audiences {
		c := i.Clock(of)
		switch {
		case c.Off():
		case c.Overdue(now) > 0:
			parts = append(parts, fmt.Sprintf("%s %s overdue", of, ago(c.Overdue(now))))
		default:
			parts = append(parts, fmt.Sprintf("%s %s", of, c.Due.UTC().Format("15:04 UTC")))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " · next update: " + strings.Join(parts, ", ")
}

// dueNext is what comes due: the person's own tasks and clocks, and starts by
// the clock within a day, the soonest first.
func (r *Router) dueNext(ctx context.Context, req Request, open []*incidents.Incident, now time.Time) (outbox.HomeSection, error) {
	s := outbox.HomeSection{Title: "Due next", Empty: "Nothing of yours, and nothing by the clock within a day."}
	type due struct {
		at   time.Time
		item outbox.Item
	}
	var all []due
	for _, i := range open {
		for _, of := range incidents.Audiences {
			c, owner := i.Clock(of), i.Owner(of)
			if !c.Off() && owner != nil && owner.Same(req.Actor) {
				all = append(all, due{c.Due, outbox.Item{Name: fmt.Sprintf("Update to the %s of %s", of, i.Ref()), Detail: when(c.Due, now),
					Command: NounIncident + " " + orderUpdate + " " + i.Ref() + " " + string(of), Label: "Post update"}})
			}
		}
		for _, t := range i.Tasks {
			if !t.Done.IsZero() || t.Owner != req.Actor.ID {
				continue
			}
			at, err := time.Parse(time.DateOnly, t.Due)
			if err != nil { // without a day: after everything that has one
				at = now.AddDate(1, 0, 0)
			}
			detail := "no day"
			if t.Due != "" {
				detail = "due " + t.Due
			}
			all = append(all, due{at, outbox.Item{Name: fmt.Sprintf("%s, task %d: %s", i.Ref(), t.Number, t.Text), Detail: detail,
				Command: fmt.Sprintf("%s %s %s %d", NounIncident, orderDone, i.Ref(), t.Number), Label: "Done"}})
		}
	}
	timetable, err := r.Runs.Timetable(ctx)
	if err != nil {
		return s, err
	}
	for _, t := range timetable {
		if t.Kept && !t.Next.IsZero() && t.Next.Before(now.Add(24*time.Hour)) {
			all = append(all, due{t.Next, outbox.Item{Name: t.Title, Detail: strings.TrimSuffix(when(t.Next, now)+" on "+t.Environment, " on ")}})
		}
	}
	slices.SortStableFunc(all, func(a, b due) int { return cmp.Compare(a.at.Unix(), b.at.Unix()) })
	for _, d := range all {
		s.Items = append(s.Items, d.item)
	}
	return s, nil
}

// when says a time for people, and how far it is.
func when(at, now time.Time) string {
	s := at.UTC().Format("2006-01-02 15:04 UTC")
	if late := now.Sub(at); late > 0 {
		return s + ", " + ago(late) + " overdue"
	}
	return s + ", in " + ago(at.Sub(now))
}
