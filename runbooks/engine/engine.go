package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/access"
	"opsbot/internal/deployment"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// An Environment is where runbooks run: named systems that belong together.
type Environment struct {
	Name     string
	Critical bool // destructive steps need more reviewers here
	Default  bool // chosen when a command names none
	Targets  map[string]runbooks.Target
	Secrets  map[string]Secret // for `with`, by name
}

// Options are what an Engine works with. Store, Library, Catalog and People
// are required.
type Options struct {
	Store        Store
	Library      *runbooks.Library
	Catalog      *runbooks.Catalog
	Environments []Environment
	People       access.Directory
	Policy       access.Policy
	Schedules    ScheduleStore   // nil: nothing is started by the clock
	Deployments  deployment.Book // nil: none are kept
	Guardian     Guardian        // of what runs belong to; nil: nothing has rules
	// Earlier gives what earlier() does in a run; nil: what the store has.
	Earlier func(ctx context.Context, run *Run, step, name string) (any, error)
	Log     *slog.Logger     // nil: slog.Default
	Observe func(Event)      // called at every boundary, from the goroutine that passed it; nil: nobody looks
	Workers int              // runs that may act at the same time; 0: 16
	Grace   time.Duration    // how long a stopping engine waits for steps that change things; 0: 10 s
	Now     func() time.Time // for stamps and the polls of watches; nil: time.Now
	// Sleep lets d pass between two polls of a watch, and returns early when
	// ctx ends; nil: time itself. With a Now of its own it makes a watch take
	// no time at all.
	Sleep func(ctx context.Context, d time.Duration)
}

// An Event is the passing of a boundary: a place where a crash leaves the
// state in a way of its own. Its Point is one of the Point constants.
type Event struct {
	Point   string
	Run     string
	Runbook string
	Step    string // "" where the point is about the whole run
}

// String names the boundary within a run: "intent:clear".
func (e Event) String() string {
	if e.Step == "" {
		return e.Point
	}
	return e.Point + ":" + e.Step
}

// The boundaries. All but PointActed follow a commit.
const (
	PointStarted = "started" // a run was created
	PointLocked  = "locked"  // a run that waited for its locks has them
	PointClaimed = "claimed" // an owner took the run
	PointAsked   = "asked"   // people were asked about a step
	PointVoted   = "voted"   // somebody answered
	PointRecheck = "recheck" // a read step is about to run again after an approval
	PointChecked = "checked" // that was judged
	PointIntent  = "intent"  // a step is about to act
	PointActed   = "acted"   // it has acted; nothing of it is on record yet
	PointResult  = "result"  // its result is on record
	PointSkipped = "skipped" // the step was left out
	PointDoubt   = "doubt"   // an intent without a result was found
	PointChild   = "child"   // the step has started another run, which this one waits for
	PointEnding  = "ending"  // the main part is over; cleanup and report follow
	PointEnded   = "ended"   // the run is over
)

// settings are what a reload of the configuration swaps, all at once.
type settings struct {
	library *runbooks.Library
	envs    []Environment
	policy  access.Policy
}

func (s *settings) environment(name string) (*Environment, bool) {
	i := slices.IndexFunc(s.envs, func(e Environment) bool { return e.Name == name })
	if i < 0 {
		return nil, false
	}
	return &s.envs[i], true
}

// An Engine runs runbooks. Its methods are safe for concurrent use, and work
// without Serve too: then another process must serve the same store.
type Engine struct {
	store   Store
	catalog *runbooks.Catalog
	people  access.Directory
	log     *slog.Logger
	observe func(Event)
	now     func() time.Time
	sleep   func(ctx context.Context, d time.Duration)
	workers int
	grace   time.Duration
	owner   string // random, of this process

	schedules ScheduleStore
	book      deployment.Book
	guardian  Guardian
	past      func(ctx context.Context, run *Run, step, name string) (any, error)
	planned   atomic.Pointer[settings] // whose schedules are on record

	nudge    chan struct{} // a run may be due
	settings atomic.Pointer[settings]
	skew     atomic.Int64 // database's clock minus ours, ns

	mu     sync.Mutex
	acting map[string]*worker // by run id
	parsed map[string]*runbooks.Runbook
}

// New returns an engine over the store; call Serve to let it act.
func New(o Options) *Engine {
	e := &Engine{
		store: o.Store, catalog: o.Catalog, people: o.People, log: o.Log, observe: o.Observe,
		schedules: o.Schedules, book: o.Deployments, guardian: o.Guardian, now: o.Now, sleep: o.Sleep, workers: o.Workers, grace: o.Grace, owner: uuid.NewString(), nudge: make(chan struct{}, 1),
		acting: make(map[string]*worker), parsed: make(map[string]*runbooks.Runbook),
	}
	if e.past = o.Earlier; e.past == nil {
		e.past = e.earlier
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	if e.observe == nil {
		e.observe = func(Event) {}
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.sleep == nil {
		e.sleep = sleep
	}
	if e.workers == 0 {
		e.workers = 16
	}
	if e.grace == 0 {
		e.grace = 10 * time.Second
	}
	e.Reload(o.Library, o.Environments, o.Policy)
	return e
}

// sleep lets d pass, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Reload swaps what the configuration says. Runs in progress keep their text;
// environments and policy hold for them from their next step on.
func (e *Engine) Reload(lib *runbooks.Library, envs []Environment, policy access.Policy) {
	e.settings.Store(&settings{library: lib, envs: slices.Clone(envs), policy: policy})
}

// Library returns the runbooks that can be started.
func (e *Engine) Library() *runbooks.Library { return e.settings.Load().library }

// Environments returns the environments that runs can choose from.
func (e *Engine) Environments() []Environment { return slices.Clone(e.settings.Load().envs) }

// Lacking says why no environment can run the runbook, "" if one can.
func (e *Engine) Lacking(rb *runbooks.Runbook) string {
	s, why := e.settings.Load(), ""
	for i := range s.envs {
		err := s.family(rb, 0, func(each *runbooks.Runbook) error { return runnable(each, &s.envs[i]) })
		if err == nil {
			return ""
		}
		if why == "" {
			why = fault.Say(err)
		}
	}
	return why
}

// Find returns the run with the id or number ("R12"), or a *fault.Error of
// kind NotFound.
func (e *Engine) Find(ctx context.Context, ref string) (*Run, error) {
	r, err := e.store.Find(ctx, ref)
	return r, said(err, "There is no run %q.", ref)
}

// List returns runs, newest first.
func (e *Engine) List(ctx context.Context, q Query) ([]*Run, error) { return e.store.List(ctx, q) }

// Locks returns the held locks, oldest first.
func (e *Engine) Locks(ctx context.Context) ([]Lock, error) { return e.store.Locks(ctx) }

// Deployments returns what was put into service, newest first.
func (e *Engine) Deployments(ctx context.Context, q deployment.Query) ([]deployment.Deployment, error) {
	if e.book == nil {
		return nil, nil
	}
	return e.book.List(ctx, q)
}

// Deployment returns the one that people call D7, or a *fault.Error of kind
// NotFound.
func (e *Engine) Deployment(ctx context.Context, ref string) (*deployment.Deployment, error) {
	if e.book == nil {
		return nil, fault.New(fault.NotFound, "There is no deployment %q.", ref)
	}
	return e.book.Find(ctx, ref)
}

// Output returns everything that one attempt wrote.
func (e *Engine) Output(ctx context.Context, run string, seq int) (string, error) {
	out, err := e.store.Output(ctx, run, seq)
	return out, said(err, "Run %s has no output %d.", run, seq)
}

// said turns ErrNoRun into what people are told.
func said(err error, format string, args ...any) error {
	if errors.Is(err, ErrNoRun) {
		return fault.New(fault.NotFound, format, args...).Because(err)
	}
	return err
}

// clock is the database's time as far as this process knows it.
func (e *Engine) clock() time.Time {
	return e.now().Add(time.Duration(e.skew.Load())).UTC().Truncate(time.Millisecond)
}

// tune asks the database for the time, and keeps the difference for clock.
func (e *Engine) tune(ctx context.Context) (time.Time, error) {
	t, err := e.store.Now(ctx)
	if err != nil {
		return time.Time{}, err
	}
	e.skew.Store(int64(t.Sub(e.now())))
	return e.clock(), nil
}

// runbook returns the parsed text that the run is pinned to. A text that this
// version of opsbot cannot read is a *fault.Error.
func (e *Engine) runbook(r *Run) (*runbooks.Runbook, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if rb, ok := e.parsed[r.Digest]; ok {
		return rb, nil
	}
	name := r.Runbook + ".md"
	if rb, ok := e.settings.Load().library.Find(r.Runbook); ok && rb.Digest == r.Digest {
		name = rb.File
	}
	rb, problems := runbooks.Parse(name, r.Text, e.catalog)
	if err := problems.Err(); err != nil || rb == nil {
		return nil, fault.New(fault.Conflict, "This version of opsbot cannot read the runbook that R%d was started with.", r.Number).Because(err)
	}
	if len(e.parsed) >= 256 { // texts of old runs must not pile up; parsing again takes a millisecond
		for k := range maps.Keys(e.parsed) {
			delete(e.parsed, k)
			break
		}
	}
	e.parsed[r.Digest] = rb
	return rb, nil
}

func (e *Engine) passed(point string, r *Run, step string) {
	e.observe(Event{Point: point, Run: r.ID, Runbook: r.Runbook, Step: step})
}
