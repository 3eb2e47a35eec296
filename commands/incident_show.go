package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// incidents lists them.
func (r *Router) incidents(ctx context.Context, req Request, o Order) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Open incidents"}
	q := incidents.Query{Open: true, Limit: maxRuns}
	if o.All {
		a.Title, q.Open = "Incidents", false
	}
	list, err := r.Incidents.List(ctx, q)
	if err != nil {
		return a, err
	}
	for _, i := range list {
		a.Items = append(a.Items, incidentRow(i, r.now()))
	}
	if len(list) == 0 {
		a.Text = "There are none."
	}
	a.Hint = orderUsage(req, "declare TITLE") + " declares one."
	return a, nil
}

func incidentRow(i *incidents.Incident, now time.Time) outbox.Item {
	detail := fmt.Sprintf("%s · %s · %s", i.Severity, i.State.Word(), ago(i.Lasted(now)))
	if i.Security {
		return outbox.Item{Name: i.Ref() + " · restricted", Detail: i.State.Word()}
	}
	return outbox.Item{Name: i.Ref() + " " + i.Title, Detail: detail, Command: NounIncident + " show " + i.Ref(), Label: "Show"}
}

// showIncident says how an incident stands, and what happened last.
func (r *Router) showIncident(ctx context.Context, req Request, i *incidents.Incident) (outbox.Answer, error) {
	a := outbox.Answer{Title: i.Ref() + " · " + string(i.Severity) + " · " + i.State.Word()}
	events, err := r.Incidents.Events(ctx, i.ID)
	if err != nil {
		return a, err
	}
	lines := []string{i.Title}
	for _, f := range [][2]string{{"Down", i.Down}, {"Users affected", i.Affected}, {"Impact", i.Impact}, {"Summary", i.Summary}} {
		if f[1] != "" {
			lines = append(lines, f[0]+": "+f[1])
		}
	}
	a.Text = strings.Join(lines, "\n")
	var shown []string
	for _, e := range incidents.Read(events) {
		if s := e.Say(); s != "" && !e.Hidden {
			shown = append(shown, fmt.Sprintf("#%d %s %s", e.Seq, e.Occurred.UTC().Format("01-02 15:04"), s))
		}
	}
	if over := len(shown) - 15; over > 0 {
		shown = append([]string{fmt.Sprintf("… %d before", over)}, shown[over:]...)
	}
	a.Code = strings.Join(shown, "\n")
	a.Hint = "Times are UTC. To hide a note, a message or an alert: " + orderUsage(req, "hide "+i.Ref()+" NUMBER [why]")
	for _, t := range i.Tasks {
		if t.Done.IsZero() {
			a.Items = append(a.Items, outbox.Item{Name: fmt.Sprintf("Task %d: %s", t.Number, t.Text), Detail: orOther(t.Due, "no day"), Command: fmt.Sprintf("%s done %s %d", NounIncident, i.Ref(), t.Number), Label: "Done"})
		}
	}
	return a, nil
}

// runsOf lists the runs that belong to the incident.
func (r *Router) runsOf(ctx context.Context, i *incidents.Incident) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Runs of " + i.Ref()}
	runs, err := r.Runs.List(ctx, engine.Query{Subject: i.ID, Limit: maxRuns})
	if err != nil {
		return a, err
	}
	for _, run := range runs {
		a.Items = append(a.Items, r.row(run))
	}
	if len(runs) == 0 {
		a.Text = "No runbook was run for " + i.Ref() + " yet."
	}
	return a, nil
}

// cards shows what a run waits for. Only the buttons of the card itself decide.
func (r *Router) cards(ctx context.Context, req Request, ref string) (Reply, error) {
	v, err := r.Runs.View(ctx, ref)
	if err != nil {
		return Reply{}, err
	}
	if err := r.readable(ctx, req, v.Run); err != nil {
		return Reply{}, err
	}
	a := r.details(req, v.Run, v.Card)
	if r.Posted != nil {
		if link := r.Posted(ctx, v.Run.Said()...); link != "" {
			a.Text = link + "\n" + a.Text
		}
	}
	a.Hint = "Decide with the buttons of its card, where you see what exactly would be done; nothing was decided by this command."
	return Reply{Answer: &a}, nil
}
