package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// A StartRequest asks for a new run.
type StartRequest struct {
	Runbook     string // slug, alias or number
	Environment string // "": the only one, else the default one
	Params      map[string]string
	Actor       access.Actor
	DryRun      bool
	RequestKey  string // starting twice with one key gives one run; "": none
	Origin      outbox.Conversation
	Subject     string
}

// A ParamsError says which parameters are missing or wrong; a door that has
// forms asks for them.
type ParamsError struct {
	Runbook     *runbooks.Runbook
	Environment string
	Given       map[string]string
	Problems    []runbooks.ParamProblem
}

func (e *ParamsError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.Name + ": " + p.Message
	}
	return fmt.Sprintf("%s cannot start like this. %s", e.Runbook.Slug, sentence(strings.Join(texts, "; ")))
}

// As lets the error be said as a *fault.Error.
func (e *ParamsError) As(target any) bool { return asFault(target, fault.Invalid, e.Error()) }

// A RunningError says that the same runbook is running on the same environment.
type RunningError struct {
	Run *Run
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("%s is running on %s already: R%d, started by %s at %s.",
		e.Run.Runbook, e.Run.Environment, e.Run.Number, person(e.Run.Starter), clockTime(e.Run.Created))
}

// As lets the error be said as a *fault.Error.
func (e *RunningError) As(target any) bool { return asFault(target, fault.Conflict, e.Error()) }

// An EnvironmentError says that an environment must be chosen.
type EnvironmentError struct {
	Runbook string
	Choices []string
}

func (e *EnvironmentError) Error() string {
	return fmt.Sprintf("Say on which environment %s shall run: %s.", e.Runbook, strings.Join(e.Choices, ", "))
}

// As lets the error be said as a *fault.Error.
func (e *EnvironmentError) As(target any) bool { return asFault(target, fault.Invalid, e.Error()) }

func asFault(target any, kind fault.Kind, message string) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = fault.New(kind, "%s", message)
	}
	return ok
}

// Start creates a run, if the actor may, nothing is missing, and nobody holds
// its locks. It returns a *ParamsError, *RunningError or *EnvironmentError
// where the caller can help, and a *fault.Error for every other refusal.
func (e *Engine) Start(ctx context.Context, req StartRequest) (*Run, error) {
	run, err := e.start(ctx, req)
	if err != nil {
		return nil, err
	}
	e.passed(PointStarted, run, "")
	return run, nil
}

func (e *Engine) start(ctx context.Context, req StartRequest) (*Run, error) {
	run, rb, err := e.prepare(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	return e.create(ctx, run, rb, req.Actor)
}

// create puts a run on record that nothing speaks against but its locks.
func (e *Engine) create(ctx context.Context, run *Run, rb *runbooks.Runbook, by access.Actor) (*Run, error) {
	made, err := e.store.Create(ctx, run, e.announce(run, rb, by))
	var locked *LockedError
	for errors.As(err, &locked) {
		env, _ := e.settings.Load().environment(run.Environment)
		refusal := e.held(ctx, locked, rb, env)
		if !queue(run, rb, locked, refusal) {
			return nil, refusal
		}
		made, err = e.store.Create(ctx, run, e.announce(run, rb, by))
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", rb.Slug, err)
	}
	e.refresh(ctx, made.WaitsFor)
	return made, nil
}

// prepare makes the run that is asked for, if nothing speaks against it: one of
// its own, or one that parent starts.
func (e *Engine) prepare(ctx context.Context, req StartRequest, parent *Run) (*Run, *runbooks.Runbook, error) {
	s := e.settings.Load()
	rb, ok := s.library.Find(req.Runbook)
	if !ok {
		f := fault.New(fault.NotFound, "There is no runbook %q.", req.Runbook)
		if near := s.library.Suggest(req.Runbook); near != "" {
			f = f.Hinted("Did you mean %s?", near)
		}
		return nil, nil, f
	}
	env, err := s.choose(rb, req.Environment)
	if err != nil {
		return nil, nil, err
	}
	if err := s.policy.Fit(ctx, e.people, req.Actor); err != nil && req.Actor.Kind == access.Person {
		return nil, nil, err
	}
	if err := e.mayRun(ctx, s, rb, req.Actor); err != nil {
		return nil, nil, err
	}
	values, problems := rb.CheckParams(req.Params)
	if len(problems) > 0 {
		return nil, nil, &ParamsError{Runbook: rb, Environment: env.Name, Given: req.Params, Problems: problems}
	}
	depth, err := e.depth(ctx, parent)
	if err != nil {
		return nil, nil, err
	}
	err = s.family(rb, depth, func(each *runbooks.Runbook) error {
		if err := e.mayRun(ctx, s, each, req.Actor); err != nil {
			return err
		}
		if err := runnable(each, env); err != nil || req.DryRun {
			return err
		}
		return e.reviewable(ctx, s, each, env, req.Actor)
	})
	if err != nil {
		return nil, nil, err
	}
	now, err := e.tune(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := locate(rb, env, values, now); err != nil {
		return nil, nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, fmt.Errorf("make a run's id: %w", err)
	}
	run := &Run{
		ID: id.String(), Runbook: rb.Slug, Title: rb.Title, Digest: rb.Digest, Text: rb.Text,
		Environment: env.Name, Critical: env.Critical, Params: rb.EncodeParams(values),
		Starter: req.Actor.WithoutMessage(), Origin: req.Origin, RequestKey: req.RequestKey, Subject: req.Subject,
		RootID: id.String(), DryRun: req.DryRun,
		State: Ready, Phase: PhaseMain, Cursor: first(rb, PhaseMain), Created: now,
	}
	if parent != nil {
		run.ParentID, run.RootID = parent.ID, cmp.Or(parent.RootID, parent.ID)
	}
	if !req.DryRun {
		run.Locks = e.lockKeys(ctx, rb, env)
	}
	return run, rb, nil
}

// locate looks for the files that parameters name, puts their whole paths in
// the place of names, and refuses those that are not there or too old.
func locate(rb *runbooks.Runbook, env *Environment, values map[string]any, now time.Time) error {
	for _, q := range rb.Params {
		name, given := values[q.Name].(string)
		folder, ok := env.Targets[q.On].Conn.(runbooks.Folder)
		if !ok || !given {
			continue
		}
		var f runbooks.File
		var err error
		if name == runbooks.Newest {
			f, err = folder.Newest(q.From)
		} else {
			f, err = folder.Named(q.From, name)
		}
		if err != nil {
			return fault.New(fault.KindOf(err), "%s: %s", q.Name, fault.Say(err)).Because(err)
		}
		if age := now.Sub(f.Modified); q.MaxAge > 0 && age > q.MaxAge {
			return fault.New(fault.Conflict, "%s: %s is %s old, and may be at most %s old.", q.Name, f.Path, runbooks.DurationText(age.Round(time.Second)), runbooks.DurationText(q.MaxAge)).
				Hinted("Does what writes such files still run?")
		}
		values[q.Name] = f.Path
	}
	return nil
}

// announce is what a start says: the card, and its one mention of the starter.
// by is the starter in the very act.
func (e *Engine) announce(run *Run, rb *runbooks.Runbook, by access.Actor) Change {
	text := fmt.Sprintf("Started %s on %s. This thread follows it.", run.Title, run.Environment)
	if run.DryRun {
		text = fmt.Sprintf("Started a dry run of %s on %s: nothing will be changed.", run.Title, run.Environment)
	}
	if run.Starter.Kind == access.Schedule {
		text += " It was started by " + person(run.Starter) + "."
	}
	if run.Undoes != "" {
		text = fmt.Sprintf("Started: %s, on %s. This thread follows it.", run.Title, run.Environment)
	}
	if run.WaitsFor != "" {
		text = fmt.Sprintf("%s on %s waits for its turn, until %s: %s", run.Title, run.Environment, clockTime(run.Created.Add(rb.LockWait)), run.Outcome)
	}
	said := run.line(outbox.Line{Text: text, Users: starterOf(run)})
	if run.ParentID != "" {
		said = run.line(outbox.Line{Text: fmt.Sprintf("Started %s on %s, as the runbook says.", run.Title, run.Environment)})
	}
	return Change{
		Notices: []outbox.Notice{runNotice(run, rb), said},
		Audit:   []AuditEntry{{Actor: by, Act: "start", Run: run.ID, Digest: run.Digest, Outcome: "started", Detail: run.Runbook + " on " + run.Environment}},
	}
}

// choose finds the environment that a start means.
func (s *settings) choose(rb *runbooks.Runbook, wanted string) (*Environment, error) {
	names := make([]string, len(s.envs))
	for i := range s.envs {
		names[i] = s.envs[i].Name
		if s.envs[i].Name == wanted {
			return &s.envs[i], nil
		}
	}
	if wanted != "" {
		return nil, fault.New(fault.NotFound, "There is no environment %q.", wanted).Hinted("There is %s.", strings.Join(names, ", "))
	}
	if len(s.envs) == 1 {
		return &s.envs[0], nil
	}
	var defaults []*Environment
	for i := range s.envs {
		if s.envs[i].Default {
			defaults = append(defaults, &s.envs[i])
		}
	}
	switch {
	case len(defaults) == 1:
		return defaults[0], nil
	case len(s.envs) == 0:
		return nil, fault.New(fault.Invalid, "No environment is configured, so nothing can run.")
	}
	return nil, &EnvironmentError{Runbook: rb.Slug, Choices: names}
}

// runnable says what the environment or this version lacks for the runbook, so
// that it is never run half.
func runnable(rb *runbooks.Runbook, env *Environment) error {
	for _, use := range rb.Uses {
		t, ok := env.Targets[use.Name]
		if !ok && use.Optional {
			continue
		}
		if !ok {
			return fault.New(fault.Invalid, "%s needs a %s connection named %q, which %s does not have.", rb.Slug, use.Kind, use.Name, env.Name)
		}
		if t.Kind != use.Kind {
			return fault.New(fault.Invalid, "%s needs %q to be a %s connection; on %s it is %s.", rb.Slug, use.Name, use.Kind, env.Name, t.Kind)
		}
	}
	if len(rb.Steps) == 0 {
		return fault.New(fault.Invalid, "%s has no steps.", rb.Slug)
	}
	if err := configured(rb, env); err != nil {
		return err
	}
	return able(rb, env)
}

// able refuses a run that would come to a step which its connection cannot do.
func able(rb *runbooks.Runbook, env *Environment) error {
	for _, step := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
		limited, ok := env.Targets[step.Target].Conn.(runbooks.Limited)
		if !ok {
			continue
		}
		if err := limited.Lacks(step.Do); err != nil {
			return fault.New(fault.Conflict, "%s cannot run on %s: its step %s needs %s.", rb.Slug, env.Name, step.ID, step.Do).
				Hinted("%s", fault.Say(err)).Because(err)
		}
	}
	return nil
}

// reviewable refuses a run that would come to a review that nobody can give.
func (e *Engine) reviewable(ctx context.Context, s *settings, rb *runbooks.Runbook, env *Environment, starter access.Actor) error {
	for _, step := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
		g := gatesOf(rb, step, step.Effect, s.policy, env)
		if g.Count == 0 {
			continue
		}
		ids, err := s.policy.Reviewing(ctx, e.people, g.By...)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return starter.Kind == access.Person && id == starter.ID })
		needed := g.Count
		if starter.Kind != access.Person {
			confirmers, err := s.policy.Members(ctx, e.people, rb.Roles.Run...)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(confirmers, func(id string) bool { return !slices.Contains(ids, id) }) {
				needed++ // whoever confirms is lost to the review
			}
		}
		if len(ids) < needed {
			by := strings.Join(g.By, " or ")
			if by == "" {
				return fault.New(fault.Conflict, "%s cannot be run: %s needs %s, but the runbook names no group that may approve.", rb.Slug, name(step), people(g.Count, "reviewer"))
			}
			besides := "you"
			if starter.Kind != access.Person {
				besides = "whoever confirms it"
			}
			return fault.New(fault.Conflict, "%s cannot be run on %s: %s needs %s in %s besides %s, and there %s.",
				rb.Slug, env.Name, name(step), people(g.Count, "reviewer"), by, besides, isOnly(len(ids)))
		}
	}
	return nil
}

func isOnly(n int) string {
	switch n {
	case 0:
		return "is nobody"
	case 1:
		return "is only 1"
	}
	return fmt.Sprintf("are only %d", n)
}

const identityWithin = 3 * time.Second

// lockKeys are what a run locks: itself, so that a runbook runs once per
// environment, and for each connection its address and the very system behind
// it. Two names of one system meet in the latter; a system that does not
// answer, or answers as another after a restart, is held by the former.
func (e *Engine) lockKeys(ctx context.Context, rb *runbooks.Runbook, env *Environment) []string {
	keys := []string{runbookKey(rb.Slug, env.Name)}
	for _, lock := range rb.Locks() {
		connection, part, _ := strings.Cut(lock, "/")
		if part == "*" {
			part = "" // every part is the whole
		}
		if part != "" {
			part = LockPart + part
		}
		t, ok := env.Targets[connection]
		if !ok || t.Conn == nil {
			keys = append(keys, fmt.Sprintf("%s of %s", connection, env.Name)+part)
			continue
		}
		keys = append(keys, fmt.Sprintf("%s (%s)", connection, t.Conn.Address())+part)
		call, cancel := context.WithTimeout(ctx, identityWithin)
		id, err := t.Conn.Identity(call)
		cancel()
		if err == nil && id != "" {
			keys = append(keys, fmt.Sprintf("%s (%s)", connection, id)+part)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// runbookLock begins the lock of a runbook itself.
const runbookLock = "runbook "

func runbookKey(slug, env string) string { return runbookLock + slug + " on " + env }

// held says who holds what a start needs.
func (e *Engine) held(ctx context.Context, l *LockedError, rb *runbooks.Runbook, env *Environment) error {
	holder, err := e.store.Find(ctx, l.Holder)
	if err != nil {
		return fault.New(fault.Conflict, "%s is locked by R%d.", upper(l.Key), l.Number).Because(l)
	}
	if holder.Runbook == rb.Slug && holder.Environment == env.Name {
		return &RunningError{Run: holder}
	}
	return fault.New(fault.Conflict, "R%d (%s on %s, started by %s at %s) holds %s.",
		holder.Number, holder.Title, holder.Environment, person(holder.Starter), clockTime(holder.Created), l.Key).
		Hinted("Wait until it has ended, or stop it.").Because(l)
}
