package commands

import (
	"context"
	"errors"
	"slices"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// Record gathers everything that is known of an incident.
func (r *Router) Record(ctx context.Context, i *incidents.Incident) (postmortem.Record, error) {
	out := postmortem.Record{Incident: i, Rules: r.Incidents.Rules(), Name: names(i)}
	var err error
	if out.Events, err = r.Incidents.Events(ctx, i.ID); err != nil {
		return out, err
	}
	if out.Updates, err = r.Incidents.Updates(ctx, i.ID); err != nil {
		return out, err
	}
	runs, err := r.Runs.List(ctx, engine.Query{Subject: i.ID, Limit: mostRuns})
	if err != nil {
		return out, err
	}
	// The run that it was declared from is part of the story.
	for _, e := range out.Events {
		if e.Kind != incidents.KindDeclared || e.Data["run"] == "" {
			continue
		}
		view, err := r.Runs.View(ctx, e.Data["run"])
		switch {
		case fault.KindOf(err) == fault.NotFound:
		case err != nil:
			return out, err
		case view.Run.Subject != i.ID:
			runs = append(runs, view.Run)
		}
	}
	slices.SortFunc(runs, func(a, b *engine.Run) int { return int(a.Number - b.Number) })
	for _, run := range runs {
		view, err := r.Runs.View(ctx, run.ID)
		if err != nil {
			return out, err
		}
		out.Runs = append(out.Runs, r.recorded(view))
	}
	return out, nil
}

// mostRuns bounds the runs of one incident in its record.
const mostRuns = 200

// names says who is who by what the incident knows of them.
func names(i *incidents.Incident) func(string) string {
	known := map[string]string{i.Declarer.ID: i.Declarer.Name}
	for _, p := range i.Roles {
		known[p.Actor.ID] = p.Actor.Name
	}
	for _, t := range i.Tasks {
		known[t.By.ID] = t.By.Name
		if t.Owner != "" && t.Name != "" {
			known[t.Owner] = t.Name
		}
	}
	return func(id string) string { return known[id] }
}

// recorded is a run as a post-mortem tells it.
func (r *Router) recorded(v *engine.View) postmortem.Run {
	run := v.Run
	out := postmortem.Run{
		Number: run.Number, Title: run.Title, Where: run.Environment, Starter: orOther(run.Starter.Name, run.Starter.ID),
		Outcome: string(run.State), Started: run.Started, Ended: run.Ended, Waited: waited(run, r.now()),
	}
	if out.Started.IsZero() {
		out.Started = run.Created
	}
	if rb, ok := r.Runs.Library().Find(run.Runbook); ok {
		out.Planned = rb.Estimate
	}
	for _, a := range run.Approvals {
		for _, vote := range a.Votes {
			who := orOther(vote.Actor.Name, vote.Actor.ID)
			if a.Kind == engine.Review && vote.Decision == "approve" && !slices.Contains(out.Reviewers, who) {
				out.Reviewers = append(out.Reviewers, who)
			}
		}
	}
	for _, line := range v.Card.Steps {
		s := postmortem.Step{ID: line.ID, Title: line.Title, Outcome: line.Mark, Found: line.Found}
		switch {
		case s.Outcome == "pending":
			continue
		case line.Found == engine.NotReached:
			s.Outcome, s.Found = engine.NotReached, ""
		}
		for _, a := range run.Attempts {
			if a.Step != line.ID || a.Purpose != engine.ForStep {
				continue
			}
			if a.State != engine.AttemptSuperseded || a.Status != "" {
				s.Tries++ // and no read that opsbot's own restart cut short
			}
			if !a.ResultAt.IsZero() {
				s.Took += a.ResultAt.Sub(a.IntentAt)
				s.Ended = a.ResultAt
			}
		}
		for _, a := range run.Approvals {
			if a.Step == line.ID && a.Kind == engine.Manual && !a.Decided.IsZero() {
				s.Took += a.Decided.Sub(a.Created) // the people's own work
			}
		}
		out.Steps = append(out.Steps, s)
	}
	return out
}

// waited is how long a run waited for people to agree.
func waited(run *engine.Run, now time.Time) (sum time.Duration) {
	for _, a := range run.Approvals {
		if a.Kind != engine.Review && a.Kind != engine.Confirm {
			continue
		}
		end := a.Decided
		if end.IsZero() {
			if end = run.Ended; end.IsZero() {
				end = now
			}
		}
		sum += max(0, end.Sub(a.Created))
	}
	return sum
}

// Export is the record of an incident as a file: its post-mortem as Markdown,
// or everything as JSON.
func (r *Router) Export(ctx context.Context, actor access.Actor, i *incidents.Incident, format string) (outbox.File, error) {
	if err := r.Incidents.Admit(ctx, incidents.Act{ID: i.ID, Actor: actor}, i, orderExport+" it"); err != nil {
		return outbox.File{}, err
	}
	record, err := r.Record(ctx, i)
	if err != nil {
		return outbox.File{}, err
	}
	text := ""
	if r.Postmortems != nil {
		v, err := r.Postmortems.Latest(ctx, i.ID)
		if err != nil && !errors.Is(err, postmortem.ErrNone) {
			return outbox.File{}, err
		}
		text = v.Text
	}
	if format == "json" {
		data, err := postmortem.JSON(record, text)
		return outbox.File{Name: i.Ref() + ".json", Title: i.Ref() + " for scripts", Text: string(data)}, err
	}
	draft := postmortem.Draft(record)
	if text != "" {
		draft = postmortem.Renew(text, draft)
	}
	return outbox.File{Name: i.Ref() + ".md", Title: "Post-mortem of " + i.Ref(), Text: draft}, nil
}

func (r *Router) export(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	f, err := r.Export(ctx, req.Actor, i, o.Format)
	if err != nil {
		return Reply{}, err
	}
	where, err := r.deskFor(ctx, req, i)
	if err != nil {
		return Reply{}, err
	}
	return Reply{Notices: []outbox.Notice{{To: where, Content: f}}}, nil
}

// deskFor is where papers about an incident are put: its room.
func (r *Router) deskFor(ctx context.Context, req Request, i *incidents.Incident) (outbox.Conversation, error) {
	where, err := r.Incidents.Room(ctx, i)
	if err == nil && where.Channel == "" {
		where = req.Where
	}
	return where, err
}
