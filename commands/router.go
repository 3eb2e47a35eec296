package commands

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/internal/access"
	"opsbot/internal/deployment"
	"opsbot/internal/dispatch"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// Runs is what commands need of the engine. Each method that takes an actor
// checks that the actor may do it, and returns a *fault.Error that a person
// can read if not.
type Runs interface {
	Library() *runbooks.Library
	// Lacking says why no environment can run the runbook, "" if one can.
	Lacking(rb *runbooks.Runbook) string
	Start(ctx context.Context, req engine.StartRequest) (*engine.Run, error)
	StartOffer(ctx context.Context, offer string, actor access.Actor, key string) (*engine.Run, error)
	Vote(ctx context.Context, approval string, ballot engine.Ballot) (*engine.Run, error)
	// Question returns the approval with its run, or the error with which Vote
	// would refuse the actor whatever the answer.
	Question(ctx context.Context, approval string, actor access.Actor, decision string) (*engine.Pending, error)
	Stop(ctx context.Context, ref string, actor access.Actor, why string) (*engine.Run, error)
	Pause(ctx context.Context, ref string, actor access.Actor, why string) (*engine.Run, error)
	Resume(ctx context.Context, ref string, actor access.Actor, why string) (*engine.Run, error)
	Skip(ctx context.Context, ref, step string, actor access.Actor, why string) (*engine.Run, error)
	Retry(ctx context.Context, ref, step string, actor access.Actor, why string) (*engine.Run, error)
	View(ctx context.Context, ref string) (*engine.View, error)
	// Assign says what an ended run that belonged to nothing belongs to.
	Assign(ctx context.Context, id, subject string) (*engine.Run, error)
	List(ctx context.Context, q engine.Query) ([]*engine.Run, error)
	Locks(ctx context.Context) ([]engine.Lock, error)
	Timetable(ctx context.Context) ([]engine.Timing, error)
	Deployments(ctx context.Context, q deployment.Query) ([]deployment.Deployment, error)
	Waiting(ctx context.Context, actor access.Actor) ([]engine.Pending, error)
}

// A Router does what requests ask for. It is safe for concurrent use.
type Router struct {
	Runs      Runs
	Incidents *incidents.Tracker // nil: none are kept
	Now       func() time.Time   // nil: time.Now

	Postmortems postmortem.Store // nil: none are written
	Pages       dispatch.Queue   // nil: nobody can be paged
	Pagers      []string         // names of the pagers that are configured
	// Link is the address at which people find an incident; nil or "": unknown.
	Link func(ctx context.Context, i *incidents.Incident) string
	// Posted is the address of what was said under one of the keys, the first that
	// was; nil or "": unknown.
	Posted func(ctx context.Context, keys ...string) string
}

func (r *Router) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// Handle does what is asked and says what the person is told about it. An
// error that people can act on is a *fault.Error; any other is a defect.
// Handling a request again, with the same Key, has no second effect.
func (r *Router) Handle(ctx context.Context, req Request) (Reply, error) {
	switch req.Action {
	case "":
		line, err := r.about(ctx, req)
		if err != nil {
			return Reply{}, err
		}
		if IsIncident(line) {
			return r.incident(ctx, req, line, nil)
		}
		return r.line(ctx, req, line, "")
	case ActionIncident:
		return r.incident(ctx, req, req.Subject, req.Values)
	case ActionHome:
		return r.home(ctx, req)
	case ActionDeclareHere:
		return r.declareHere(req)
	case ActionCapture:
		return r.capture(ctx, req)
	case ActionAmend:
		return r.amend(ctx, req)
	case ActionArchived:
		if r.Incidents == nil {
			return Reply{}, nil
		}
		return Reply{}, r.Incidents.ChannelArchived(ctx, req.Actor, req.Key, req.Where.Channel, req.Subject)
	case ActionCrowd:
		return r.crowded(ctx, req)
	case ActionPaper:
		return r.paper(ctx, req)
	case ActionReason:
		return r.line(ctx, req, req.Subject, req.Values[ValueReason])
	case ActionDecide:
		return r.decide(ctx, req)
	case ActionStop:
		return r.act(ctx, req, Command{Verb: verbStop, Run: req.Subject})
	case ActionOffer:
		run, err := r.Runs.StartOffer(ctx, req.Subject, req.Actor, req.Key)
		if err == nil && run.RequestKey != req.Key {
			return Reply{Answer: &outbox.Answer{Text: "This was started already.", Items: []outbox.Item{r.row(run)}}}, nil
		}
		return r.started(req, Command{}, err)
	case ActionStart:
		return r.start(ctx, req, resumed(req))
	}
	return Reply{}, fault.New(fault.Invalid, "opsbot does not know this button; it comes from another version.").
		Hinted("Type the command instead: %s lists them.", usage(req, verbHelp))
}

// about returns the line with its first word: in an incident's room, "incident"
// may be left out.
func (r *Router) about(ctx context.Context, req Request) (string, error) {
	first, _ := word(strings.TrimSpace(req.Line))
	if r.Incidents == nil || strings.EqualFold(first, Noun) || strings.EqualFold(first, NounIncident) {
		return req.Line, nil
	}
	_, err := r.Incidents.At(ctx, req.Where)
	switch {
	case errors.Is(err, incidents.ErrNone):
		return req.Line, nil
	case err != nil:
		return "", err
	case first == "":
		return NounIncident + " " + orderShow, nil
	}
	return NounIncident + " " + req.Line, nil
}

// line does what a typed line asks for. A reason, if there is one, comes from
// the form that asked for it.
func (r *Router) line(ctx context.Context, req Request, line, reason string) (Reply, error) {
	if strings.TrimSpace(line) == "" {
		line = Noun
	}
	c, err := Parse(line)
	if err != nil {
		return Reply{}, err
	}
	if reason != "" {
		c.Why = reason
	}
	switch c.Verb {
	case verbRun:
		return r.start(ctx, req, c)
	case verbStop, verbPause, verbResume, verbSkip, verbRetry:
		return r.act(ctx, req, c)
	}
	var a outbox.Answer
	switch c.Verb {
	case verbList:
		a, err = r.overview(ctx, req)
	case verbShow:
		a, err = r.show(req, c.Runbook)
	case verbStatus:
		a, err = r.status(ctx, req, c.Run)
	case verbHistory:
		a, err = r.history(ctx, req, c.Runbook)
	case verbLocks:
		a, err = r.locks(ctx)
	case verbSchedule:
		a, err = r.schedule(ctx)
	case verbDeployments:
		a, err = r.deployments(ctx, c)
	case verbHelp:
		a = help(req)
	}
	if err != nil {
		return Reply{}, err
	}
	return Reply{Answer: &a}, nil
}

// find returns the runbook of the name, or what the person may have meant.
func (r *Router) find(req Request, name string) (*runbooks.Runbook, error) {
	lib := r.Runs.Library()
	if rb, ok := lib.Find(name); ok {
		return rb, nil
	}
	e := fault.New(fault.NotFound, "There is no runbook %q.", name)
	if verb := runbooks.Nearest(strings.ToLower(name), Verbs); verb != "" {
		return nil, e.Hinted("Did you mean %s? %s lists the runbooks.", usage(req, verb), usage(req, ""))
	}
	if near := lib.Suggest(name); near != "" {
		return nil, e.Hinted("Did you mean %s? %s lists them all.", near, usage(req, ""))
	}
	return nil, e.Hinted("%s lists them all.", usage(req, ""))
}

// start starts a run, or asks for what is missing.
func (r *Router) start(ctx context.Context, req Request, c Command) (Reply, error) {
	rb, err := r.find(req, c.Runbook)
	if err != nil {
		return Reply{}, err
	}
	origin := req.Where
	if c.Incident == "" && r.Incidents != nil { // in an incident's room it is run for that
		i, err := r.Incidents.At(ctx, req.Where)
		switch {
		case errors.Is(err, incidents.ErrNone):
		case err != nil:
			return Reply{}, err
		case i.State.Active():
			if err := r.Incidents.Admit(ctx, incidents.Act{ID: i.ID, Actor: req.Actor}, i, "run a runbook for it"); err != nil {
				return Reply{}, err
			}
			c.Incident = i.ID
		}
	}
	if c.Incident != "" { // whose room may be another one by now than when the form was opened
		room, err := r.Incidents.RoomOf(ctx, c.Incident)
		if err != nil {
			return Reply{}, err
		}
		if room.Channel != "" {
			origin = room
		}
	}
	_, err = r.Runs.Start(ctx, engine.StartRequest{
		Runbook: rb.Slug, Environment: c.Environment, Params: c.Params, DryRun: c.DryRun,
		Actor: req.Actor, RequestKey: req.Key, Origin: origin, Subject: c.Incident,
	})
	var where *engine.EnvironmentError
	if errors.As(err, &where) {
		c.Runbook = rb.Slug
		return r.ask(req, rb, c, where.Choices)
	}
	return r.started(req, c, err)
}

// started answers a start. What is said about a new run is its card, which
// stands in the conversation; only a refusal is told to the person alone.
func (r *Router) started(req Request, c Command, err error) (Reply, error) {
	var running *engine.RunningError
	var params *engine.ParamsError
	switch {
	case errors.As(err, &running):
		return Reply{Answer: &outbox.Answer{Tone: "error", Text: running.Error(), Items: []outbox.Item{r.row(running.Run)}}}, nil
	case errors.As(err, &params):
		return r.ask(req, params.Runbook, Command{Verb: verbRun, Runbook: params.Runbook.Slug,
			Environment: params.Environment, Params: params.Given, DryRun: c.DryRun, Incident: c.Incident}, nil)
	}
	if err != nil {
		return Reply{}, err
	}
	return Reply{}, nil
}

// ask makes the form for the environment, if there are several to choose from,
// and the parameters that are missing. What was typed wrong is refused first,
// because a form would hide it.
func (r *Router) ask(req Request, rb *runbooks.Runbook, c Command, environments []string) (Reply, error) {
	_, problems := rb.CheckParams(c.Params)
	form := Form{
		Action: ActionStart, Subject: rb.Slug, Title: clip(rb.Title, 24), Submit: "Run", Where: req.Where,
		Intro: firstParagraph(rb.Summary), Keep: map[string]string{},
	}
	if c.DryRun {
		form.Keep[ValueDryRun] = "true"
		form.Submit = "Dry run"
	}
	maps.Copy(form.Keep, c.Params)
	if c.Incident != "" {
		form.Keep[ValueSubject] = c.Incident
	}
	example := []string{}
	if len(environments) > 0 {
		form.Fields = append(form.Fields, outbox.Field{
			Name: ValueEnvironment, Label: "Environment", Type: string(runbooks.TypeEnum), Values: environments, Required: true,
		})
		example = append(example, "env="+strings.Join(environments, "|"))
	} else if c.Environment != "" {
		form.Keep[ValueEnvironment] = c.Environment
		form.Intro = strings.TrimSpace(form.Intro + "\nIt will run on " + c.Environment + ".")
	}
	var wrong []string
	for _, p := range problems {
		i := slices.IndexFunc(rb.Params, func(q runbooks.Param) bool { return q.Name == p.Name })
		if !p.Missing || i < 0 {
			wrong = append(wrong, sentence(p.Message))
			continue
		}
		form.Fields = append(form.Fields, fieldOf(rb.Params[i]))
		example = append(example, p.Name+"=…")
	}
	switch {
	case len(wrong) > 0:
		return Reply{}, fault.New(fault.Invalid, "%s", strings.Join(wrong, " ")).
			Hinted("%s lists the parameters.", usage(req, verbShow+" "+rb.Slug))
	case len(form.Fields) == 0:
		return Reply{}, fault.New(fault.Invalid, "%s cannot be started with these values.", rb.Slug)
	}
	form.Else = "More is needed to start " + rb.Slug + ". Type " + usage(req, strings.TrimPrefix(c.Line(), Noun+" ")+" "+strings.Join(example, " "))
	return Reply{Form: &form}, nil
}

// fieldOf makes the input for a parameter.
func fieldOf(p runbooks.Param) outbox.Field {
	f := outbox.Field{
		Name: p.Name, Label: p.Name, Type: string(p.Type), Help: p.Help, Values: p.Values, Required: p.Required && p.Default == nil,
	}
	return f
}

// resumed reads the submitted form of a start back into a command.
func resumed(req Request) Command {
	c := Command{Verb: verbRun, Runbook: req.Subject, Params: map[string]string{}}
	for k, v := range req.Values {
		switch k {
		case ValueEnvironment:
			c.Environment = v
		case ValueDryRun:
			c.DryRun = v == "true"
		case ValueSubject:
			c.Incident = v
		default:
			c.Params[k] = v
		}
	}
	return c
}

// act does what a verb asks for on a run.
func (r *Router) act(ctx context.Context, req Request, c Command) (Reply, error) {
	if c.Verb == verbSkip && c.Why == "" {
		return Reply{Form: &Form{
			Action: ActionReason, Subject: c.Line(), Title: clip("Skip "+c.Step, 24), Submit: "Skip", Where: req.Where,
			Intro:  "The run goes on without this step. What was skipped, by whom and why stands in its report.",
			Fields: []outbox.Field{reasonField},
			Else:   "Say why, too: " + usage(req, strings.TrimPrefix(c.Line(), Noun+" ")+" because …"),
		}}, nil
	}
	var run *engine.Run
	var err error
	said := ""
	switch c.Verb {
	case verbStop:
		run, err = r.Runs.Stop(ctx, c.Run, req.Actor, c.Why)
		said = "is stopping: what runs just now may still finish."
	case verbPause:
		run, err = r.Runs.Pause(ctx, c.Run, req.Actor, c.Why)
		said = "is paused before its next step. " + usage(req, "resume "+c.Run) + " lets it go on."
	case verbResume:
		run, err = r.Runs.Resume(ctx, c.Run, req.Actor, c.Why)
		said = "goes on."
	case verbSkip:
		run, err = r.Runs.Skip(ctx, c.Run, c.Step, req.Actor, c.Why)
		said = "goes on without " + c.Step + "."
	case verbRetry:
		run, err = r.Runs.Retry(ctx, c.Run, c.Step, req.Actor, c.Why)
		said = "tries " + c.Step + " again."
	}
	if err != nil {
		return Reply{}, err
	}
	if run.State.Ended() && c.Verb == verbStop {
		said = "is stopped."
	}
	return Reply{Answer: &outbox.Answer{Text: number(run) + " " + said}}, nil
}

var reasonField = outbox.Field{
	Name: ValueReason, Label: "Why?", Type: string(runbooks.TypeString), Required: true, Long: true, Help: "It is kept with the run.",
}

// decide answers an approval, or asks for what the answer needs: the phrase, a
// reason, a manual step's fields. Whoever may not answer is not asked first:
// the vote refuses them, and has it on record.
func (r *Router) decide(ctx context.Context, req Request) (Reply, error) {
	choice := req.Values[ValueChoice]
	if p, err := r.Runs.Question(ctx, req.Subject, req.Actor, choice); err == nil {
		if form := decision(req, &p.Approval, choice); form != nil {
			return Reply{Form: form}, nil
		}
	} else if fault.KindOf(err) == fault.Internal {
		return Reply{}, err
	}
	b := engine.Ballot{
		Actor: req.Actor, Decision: choice, Reason: req.Values[ValueReason], Typed: req.Values[ValueTyped], Key: req.Key,
	}
	for k, v := range req.Values {
		if field, ok := strings.CutPrefix(k, FieldPrefix); ok {
			if b.Fields == nil {
				b.Fields = map[string]string{}
			}
			b.Fields[field] = v
		}
	}
	_, err := r.Runs.Vote(ctx, req.Subject, b)
	return Reply{}, err
}

// valueAsked marks the submission of a decision's form.
const valueAsked = "asked"

// decision makes the form that a choice needs, or nil if it needs none or this
// is its submission.
func decision(req Request, a *engine.Approval, choice string) *Form {
	i := slices.IndexFunc(a.Card.Choices, func(c outbox.Choice) bool { return c.ID == choice })
	if i < 0 || req.Values[valueAsked] != "" {
		return nil
	}
	c := a.Card.Choices[i]
	card := a.Card
	f := &Form{
		Action: ActionDecide, Subject: a.ID, Where: req.Where, Submit: clip(c.Label, 24),
		Keep:  map[string]string{ValueChoice: c.ID, valueAsked: "true"},
		Title: clip(c.Label+" on "+card.Environment, 24),
	}
	agrees := c.ID == "confirm" || c.ID == "approve"
	if agrees && a.Type != "" {
		f.Fields = append(f.Fields, outbox.Field{
			Name: ValueTyped, Label: "Type " + a.Type + " to confirm", Type: string(runbooks.TypeString), Required: true,
		})
		f.Must = map[string]string{ValueTyped: a.Type}
	}
	if c.ID == "done" {
		for _, x := range card.Fields {
			x.Name = FieldPrefix + x.Name
			f.Fields = append(f.Fields, x)
		}
	}
	if c.Reason {
		f.Fields = append(f.Fields, reasonField)
	}
	if len(f.Fields) == 0 {
		return nil
	}
	lines := []string{card.StepTitle + " on " + card.Environment, card.Question}
	if agrees {
		lines = append(lines, card.Target)
		for _, impact := range card.Impact[:min(3, len(card.Impact))] { // the card has them all
			lines = append(lines, "• "+clip(impact, 200))
		}
	}
	for _, item := range card.Items {
		lines = append(lines, "☐ "+item)
	}
	f.Intro = strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n")
	return f
}
