package main

import (
	"context"
	"time"

	"opsbot/commands"
	"opsbot/incidents"
	"opsbot/incidents/stats"
	"opsbot/internal/access"
	"opsbot/internal/deployment"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// A desk is where a person at a terminal works: either this process owns the
// database, or the desk's requests travel to the process that does.
type desk interface {
	// Whoami says which person the terminal's account is.
	Whoami(ctx context.Context) (access.Actor, error)
	Start(ctx context.Context, order startOrder) (*engine.Run, error)
	// View is a run as people are shown it.
	View(ctx context.Context, ref string) (*engine.View, error)
	List(ctx context.Context, q engine.Query) ([]*engine.Run, error)
	Vote(ctx context.Context, approval string, ballot engine.Ballot) (*engine.Run, error)
	// Control is stop, pause, resume, skip or retry; step is for the last two.
	Control(ctx context.Context, order controlOrder) (*engine.Run, error)
	Locks(ctx context.Context) ([]engine.Lock, error)
	// Timetable is what runs by the clock.
	Timetable(ctx context.Context) ([]engine.Timing, error)
	// Deployments are what was put into service, newest first.
	Deployments(ctx context.Context, q deployment.Query) ([]deployment.Deployment, error)
	Deployment(ctx context.Context, ref string) (*deployment.Deployment, error)
	// Incidents are newest first; Incident is all that is kept of one.
	Incidents(ctx context.Context, q incidents.Query) ([]*incidents.Incident, error)
	Incident(ctx context.Context, number int64) (*incidents.Record, error)
	// Paper is an incident's post-mortem, or its whole record for scripts.
	Paper(ctx context.Context, o paperOrder) (outbox.File, error)
	// Upload takes a whole post-mortem that somebody wrote elsewhere.
	Upload(ctx context.Context, o uploadOrder) (string, error)
	// Figures say how long the incidents took that were declared since a time.
	Figures(ctx context.Context, since time.Time) (stats.Table, error)
	// Output is everything that an attempt of a run wrote.
	Output(ctx context.Context, run string, seq int) (string, error)
}

// A startOrder asks for a new run.
type startOrder struct {
	Runbook     string            `json:"runbook"`
	Environment string            `json:"environment,omitempty"`
	Params      map[string]string `json:"params,omitempty"`
	DryRun      bool              `json:"dry_run,omitempty"`
	Key         string            `json:"key"` // makes a repeated request one run
}

// A paperOrder asks for a file about an incident.
type paperOrder struct {
	Number int64  `json:"number"`
	Format string `json:"format"` // md or json
}

// An uploadOrder hands in a post-mortem.
type uploadOrder struct {
	Number int64  `json:"number"`
	Text   string `json:"text"`
	Key    string `json:"key"` // makes a repeated request one version
}

// A controlOrder steers a run.
type controlOrder struct {
	Verb string `json:"verb"`
	Run  string `json:"run"`
	Step string `json:"step,omitempty"`
	Why  string `json:"why,omitempty"`
}

// localDesk works on an engine of this process, as one actor.
type localDesk struct {
	engine  *engine.Engine
	tracker *incidents.Tracker
	router  *commands.Router
	actor   access.Actor // zero: may only look
	why     string       // why the actor may only look
}

func (d *localDesk) Whoami(context.Context) (access.Actor, error) {
	if d.actor.ID == "" {
		return access.Actor{}, fault.New(fault.Forbidden, "%s", d.why)
	}
	return d.actor, nil
}

func (d *localDesk) Start(ctx context.Context, o startOrder) (*engine.Run, error) {
	actor, err := d.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	return d.engine.Start(ctx, engine.StartRequest{
		Runbook: o.Runbook, Environment: o.Environment, Params: o.Params, DryRun: o.DryRun,
		Actor: actor, RequestKey: o.Key, Origin: outbox.Conversation{},
	})
}

func (d *localDesk) View(ctx context.Context, ref string) (*engine.View, error) {
	return d.engine.View(ctx, ref)
}

func (d *localDesk) List(ctx context.Context, q engine.Query) ([]*engine.Run, error) {
	return d.engine.List(ctx, q)
}

func (d *localDesk) Vote(ctx context.Context, approval string, b engine.Ballot) (*engine.Run, error) {
	actor, err := d.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	b.Actor = actor
	return d.engine.Vote(ctx, approval, b)
}

func (d *localDesk) Control(ctx context.Context, o controlOrder) (*engine.Run, error) {
	actor, err := d.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	switch o.Verb {
	case "stop":
		return d.engine.Stop(ctx, o.Run, actor, o.Why)
	case "pause":
		return d.engine.Pause(ctx, o.Run, actor, o.Why)
	case "resume":
		return d.engine.Resume(ctx, o.Run, actor, o.Why)
	case "skip":
		return d.engine.Skip(ctx, o.Run, o.Step, actor, o.Why)
	case "retry":
		return d.engine.Retry(ctx, o.Run, o.Step, actor, o.Why)
	}
	return nil, fault.New(fault.Invalid, "A run cannot be asked to %q.", o.Verb)
}

func (d *localDesk) Locks(ctx context.Context) ([]engine.Lock, error) { return d.engine.Locks(ctx) }

func (d *localDesk) Timetable(ctx context.Context) ([]engine.Timing, error) {
	return d.engine.Timetable(ctx)
}

func (d *localDesk) Deployments(ctx context.Context, q deployment.Query) ([]deployment.Deployment, error) {
	return d.engine.Deployments(ctx, q)
}

func (d *localDesk) Deployment(ctx context.Context, ref string) (*deployment.Deployment, error) {
	return d.engine.Deployment(ctx, ref)
}

func (d *localDesk) Incidents(ctx context.Context, q incidents.Query) ([]*incidents.Incident, error) {
	list, err := d.tracker.List(ctx, q)
	for n, i := range list {
		if !i.Open(d.actor) {
			list[n] = &incidents.Incident{Number: i.Number, Title: "(restricted)", Severity: i.Severity, State: i.State, Security: true, Declared: i.Declared}
		}
	}
	return list, err
}

func (d *localDesk) Incident(ctx context.Context, number int64) (*incidents.Record, error) {
	return d.tracker.Record(ctx, number, d.actor)
}

func (d *localDesk) Paper(ctx context.Context, o paperOrder) (outbox.File, error) {
	i, err := d.tracker.Find(ctx, o.Number)
	if err != nil {
		return outbox.File{}, err
	}
	return d.router.Export(ctx, d.actor, i, o.Format)
}

func (d *localDesk) Upload(ctx context.Context, o uploadOrder) (string, error) {
	actor, err := d.Whoami(ctx)
	if err != nil {
		return "", err
	}
	i, err := d.tracker.Find(ctx, o.Number)
	if err != nil {
		return "", err
	}
	reply, err := d.router.Upload(ctx, commands.Request{Key: o.Key, Actor: actor}, i, o.Text)
	if err != nil {
		return "", err
	}
	for _, n := range reply.Notices {
		if p, ok := n.Content.(outbox.Prompt); ok {
			if err := d.tracker.Report(ctx, i.ID, n.Key, p); err != nil {
				return "", err
			}
		}
	}
	return "The post-mortem of " + i.Ref() + " is saved.", nil
}

func (d *localDesk) Figures(ctx context.Context, since time.Time) (stats.Table, error) {
	return d.router.Measured(ctx, since)
}

func (d *localDesk) Output(ctx context.Context, run string, seq int) (string, error) {
	return d.engine.Output(ctx, run, seq)
}
