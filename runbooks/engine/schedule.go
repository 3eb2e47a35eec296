package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// ErrFired means that a schedule's time has been dealt with, by this replica or
// another.
var ErrFired = errors.New("the schedule has fired already")

// An Appointment is a schedule on record, and when it fires next.
type Appointment struct {
	Schedule string // runbooks.Schedule.Key
	Runbook  string // slug
	Next     time.Time
}

// A Firing is a time at which a schedule fired, and what came of it.
type Firing struct {
	Schedule    string          `json:"schedule"` // runbooks.Schedule.Key
	Runbook     string          `json:"runbook"`
	Environment string          `json:"environment,omitempty"`
	At          time.Time       `json:"at"`                // when it was to fire
	Fired       time.Time       `json:"fired"`             // when it did
	Run         string          `json:"run,omitempty"`     // id; "": not run
	Number      int64           `json:"number,omitempty"`  // of the run
	State       State           `json:"state,omitempty"`   // of the run, as it is now
	Verdict     runbooks.Status `json:"verdict,omitempty"` // of the run, as it is now
	Outcome     string          `json:"outcome,omitempty"` // why it was not run
}

// A Fire is what one commit does when a schedule's time has come.
type Fire struct {
	Firing Firing    // without what the store adds: Fired and what is about the run
	Due    time.Time // the next time on record; if it is another, the commit comes to nothing
	Next   time.Time // what becomes the next time; zero: none
	Run    *Run      // to create; nil: none
	Change Change    // Notices and Audit
}

// A ScheduleStore keeps when schedules fire. Every method is one transaction.
type ScheduleStore interface {
	// Plan makes the schedules on record those given. One that is there
	// already keeps its next time.
	Plan(ctx context.Context, wanted []Appointment) error
	// Due returns the schedules whose next time is now or over, longest first.
	Due(ctx context.Context, now time.Time) ([]Appointment, error)
	// List returns all schedules, the next one first.
	List(ctx context.Context) ([]Appointment, error)
	// Fire compares and sets the schedule's next time, puts the firing on
	// record and creates the run, all of it or nothing. It returns ErrFired if
	// that was done before, and a *LockedError as Store.Create does.
	Fire(ctx context.Context, f Fire) (*Run, error)
	// Last returns the newest firing of each schedule that is on record.
	Last(ctx context.Context) ([]Firing, error)
	// Firings returns firings of all schedules, newest first.
	Firings(ctx context.Context, limit int) ([]Firing, error)
}

const (
	fireEvery = time.Second
	// lateAfter is how late a start may be without having been missed.
	lateAfter = time.Minute
	// fireWithin is how long a start is tried again that came to nothing for
	// a reason that may pass.
	fireWithin = 5 * time.Minute
)

// ServeSchedules starts runbooks by the clock until ctx ends, and returns nil
// then. Any number of replicas may do it at the same time.
func (e *Engine) ServeSchedules(ctx context.Context) error {
	tick := time.NewTicker(fireEvery)
	defer tick.Stop()
	for {
		if err := e.FireDue(ctx); err != nil && ctx.Err() == nil {
			e.log.Warn("cannot start what is scheduled", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// FireDue starts what is due by the database's clock. What could not be
// started for a reason that may pass stays due.
func (e *Engine) FireDue(ctx context.Context) error {
	if e.schedules == nil {
		return nil
	}
	now, err := e.tune(ctx)
	if err != nil {
		return err
	}
	s := e.settings.Load()
	known := s.schedules()
	if e.planned.Load() != s {
		// Only when the runbooks were read, not all the time: during an upgrade
		// replicas may know different ones.
		var wanted []Appointment
		for key, k := range known {
			wanted = append(wanted, Appointment{Schedule: key, Runbook: k.rb.Slug, Next: k.schedule.Next(now)})
		}
		slices.SortFunc(wanted, func(a, b Appointment) int { return strings.Compare(a.Schedule, b.Schedule) })
		if err := e.schedules.Plan(ctx, wanted); err != nil {
			return err
		}
		e.planned.Store(s)
	}
	due, err := e.schedules.Due(ctx, now)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range due {
		k, ok := known[a.Schedule]
		if !ok {
			continue // another replica's
		}
		if err := e.fire(ctx, s, k, a, now); err != nil && !errors.Is(err, ErrFired) {
			errs = append(errs, fmt.Errorf("%s: %w", a.Schedule, err))
		}
	}
	return errors.Join(errs...)
}

// A scheduled is a schedule and the runbook it stands in.
type scheduled struct {
	rb       *runbooks.Runbook
	schedule runbooks.Schedule
}

// schedules are those of the library, by their keys.
func (s *settings) schedules() map[string]scheduled {
	out := make(map[string]scheduled)
	for _, rb := range s.library.All() {
		for _, x := range rb.Schedule {
			out[x.Key(rb.Slug)] = scheduled{rb, x}
		}
	}
	return out
}

// clock is the schedule as an actor.
func (k scheduled) clock() access.Actor {
	return access.Actor{Kind: access.Schedule, ID: k.schedule.Key(k.rb.Slug), Name: "the schedule of " + k.rb.Slug}
}

// calls are the groups that are called about the schedule's runs.
func (k scheduled) calls() []string {
	if k.schedule.Notify != "" {
		return []string{k.schedule.Notify}
	}
	return k.rb.Roles.Run
}

// fire deals with a schedule whose time has come. Of several times that have
// passed the last one counts.
func (e *Engine) fire(ctx context.Context, s *settings, k scheduled, a Appointment, now time.Time) error {
	at := k.schedule.Last(a.Next, now)
	f := Fire{Due: a.Next, Next: k.schedule.Next(now),
		Firing: Firing{Schedule: a.Schedule, Runbook: k.rb.Slug, Environment: k.schedule.Environment, At: at}}
	env, err := s.choose(k.rb, k.schedule.Environment)
	if err == nil {
		f.Firing.Environment = env.Name
		err = s.family(k.rb, 0, func(each *runbooks.Runbook) error { return runnable(each, env) })
	}
	unfit := err != nil && k.schedule.Environment == "" // else it is meant for this one
	late := now.Sub(at) > lateAfter
	if late && k.schedule.Missed == "skip" {
		f.Firing.Outcome = "not run: opsbot was not running then, and the runbook says missed: skip"
		f.Change.Audit = []AuditEntry{k.entry(f.Firing)}
		_, err := e.schedules.Fire(ctx, f)
		return err
	}
	params := make(map[string]string, len(k.schedule.Params))
	for name, v := range k.schedule.Params {
		params[name] = textOf(v)
	}
	run, rb, err := e.prepare(ctx, StartRequest{
		Runbook: k.rb.Slug, Environment: k.schedule.Environment, Params: params, Actor: k.clock(),
		RequestKey: "schedule/" + a.Schedule + "/" + at.Format(time.RFC3339),
	}, nil)
	if err != nil {
		ran, lookErr := e.lastRan(ctx, a.Schedule)
		if lookErr != nil {
			return lookErr
		}
		// An environment that never had what the runbook needs is no news each
		// day; one that has lost it is, once.
		return e.notRun(ctx, k, f, err, now, !unfit || ran)
	}
	made, err := e.fired(ctx, k, f, run, rb, late)
	var locked *LockedError
	if errors.As(err, &locked) {
		refusal := e.held(ctx, locked, rb, env)
		if !queue(run, rb, locked, refusal) {
			return e.notRun(ctx, k, f, refusal, now, true)
		}
		if made, err = e.fired(ctx, k, f, run, rb, late); errors.As(err, &locked) {
			return e.notRun(ctx, k, f, e.held(ctx, locked, rb, env), now, true)
		}
	}
	if err != nil {
		return err
	}
	e.refresh(ctx, made.WaitsFor)
	e.passed(PointStarted, made, "")
	return nil
}

// fired commits the start of a run.
func (e *Engine) fired(ctx context.Context, k scheduled, f Fire, run *Run, rb *runbooks.Runbook, late bool) (*Run, error) {
	f.Run, f.Change = run, e.announce(run, rb, run.Starter)
	if late {
		f.Change.Notices = append(f.Change.Notices, run.line(outbox.Line{
			Text: fmt.Sprintf("It was due at %s, and nothing of opsbot was running then. Other starts that were missed since are not made up for.", k.stamp(f.Firing.At))}))
	}
	return e.schedules.Fire(ctx, f)
}

// notRun puts on record, and says, why a start did not take place. A reason
// that may pass is given some time to do so. Without tell it is only put on
// record.
func (e *Engine) notRun(ctx context.Context, k scheduled, f Fire, why error, now time.Time, tell bool) error {
	switch fault.KindOf(why) {
	case fault.Conflict, fault.Invalid, fault.Forbidden, fault.NotFound:
	default:
		if now.Sub(f.Firing.At) < fireWithin {
			return why
		}
		e.log.Error("a scheduled run could not be started", "runbook", k.rb.Slug, "err", why)
	}
	text := fault.Say(why)
	var said *fault.Error
	if errors.As(why, &said) {
		text = said.Message // without the hint to the person who is not there
	}
	f.Firing.Outcome = "not run: " + lower(text)
	where := ""
	if f.Firing.Environment != "" {
		where = " on " + f.Firing.Environment
	}
	if tell {
		f.Change.Notices = []outbox.Notice{{Content: outbox.Line{Groups: k.calls(),
			Text: fmt.Sprintf("%s%s was due at %s and was not run. %s", k.rb.Title, where, k.stamp(f.Firing.At), sentence(text))}}}
	}
	f.Change.Audit = []AuditEntry{k.entry(f.Firing)}
	_, err := e.schedules.Fire(ctx, f)
	return err
}

// lastRan reports whether the schedule's last firing started a run.
func (e *Engine) lastRan(ctx context.Context, schedule string) (bool, error) {
	list, err := e.schedules.Last(ctx)
	if err != nil {
		return false, err
	}
	for _, f := range list {
		if f.Schedule == schedule {
			return f.Run != "", nil
		}
	}
	return false, nil
}

// entry is what the audit log says about a start that did not take place.
func (k scheduled) entry(f Firing) AuditEntry {
	return AuditEntry{Actor: k.clock(), Act: "start", Digest: k.rb.Digest, Outcome: "not run", Detail: k.rb.Slug + " on " + f.Environment + ": " + f.Outcome}
}

// stamp is a time by the schedule's own clock.
func (k scheduled) stamp(t time.Time) string {
	if zone, err := time.LoadLocation(k.schedule.TZ); err == nil {
		t = t.In(zone)
	}
	return t.Format("15:04 MST on Mon 2 January")
}

// scheduled is the schedule that started the run, if one did. Nobody waits for
// such a run: whoever it needs has to be called.
func (w *worker) scheduled() (scheduled, bool) {
	if w.run.Starter.Kind != access.Schedule || w.run.ParentID != "" {
		return scheduled{}, false
	}
	for _, s := range w.rb.Schedule {
		if s.Key(w.rb.Slug) == w.run.Starter.ID {
			return scheduled{w.rb, s}, true
		}
	}
	return scheduled{}, false
}

// summon calls the schedule's group to a question, unless its card does.
func (w *worker) summon(a Approval) []outbox.Notice {
	k, ok := w.scheduled()
	if !ok || k.schedule.Notify == "" || slices.Contains(a.Card.Groups, k.schedule.Notify) {
		return nil
	}
	return []outbox.Notice{w.run.line(outbox.Line{Groups: k.calls(),
		Text: fmt.Sprintf("R%d was started by the clock, and %s needs people.", w.run.Number, name(w.rb.Step(a.Step)))})}
}

// summonAtEnd calls the schedule's group to a run that did not come through.
func (w *worker) summonAtEnd() []outbox.Notice {
	k, ok := w.scheduled()
	r := w.run
	if !ok || r.State == Succeeded || r.Stop != nil && r.Stop.By.Kind == access.Person {
		return nil
	}
	return []outbox.Notice{r.line(outbox.Line{Groups: k.calls(),
		Text: fmt.Sprintf("R%d was started by the clock and %s. %s", r.Number, ending(r), sentence(r.Outcome))})}
}

// A Timing is a schedule as people are shown it.
type Timing struct {
	Runbook     string    `json:"runbook"`
	Title       string    `json:"title"`
	Environment string    `json:"environment,omitempty"`
	Cron        string    `json:"cron"`
	TZ          string    `json:"tz"`
	Missed      string    `json:"missed"`
	Next        time.Time `json:"next,omitzero"`
	Kept        bool      `json:"kept"`              // on record: it will fire while opsbot serves
	Problem     string    `json:"problem,omitempty"` // why a start would be refused now
	Last        *Firing   `json:"last,omitempty"`
}

// Timetable returns all schedules of the runbooks, the next one first.
func (e *Engine) Timetable(ctx context.Context) ([]Timing, error) {
	now, err := e.tune(ctx)
	if err != nil {
		return nil, err
	}
	kept := make(map[string]time.Time)
	last := make(map[string]Firing)
	if e.schedules != nil {
		list, err := e.schedules.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			kept[a.Schedule] = a.Next
		}
		firings, err := e.schedules.Last(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range firings {
			last[f.Schedule] = f
		}
	}
	s := e.settings.Load()
	var out []Timing
	for key, k := range s.schedules() {
		x := Timing{Runbook: k.rb.Slug, Title: k.rb.Title, Environment: k.schedule.Environment,
			Cron: k.schedule.Cron, TZ: k.schedule.TZ, Missed: k.schedule.Missed}
		x.Next, x.Kept = kept[key]
		if !x.Kept {
			x.Next = k.schedule.Next(now)
		}
		env, err := s.choose(k.rb, k.schedule.Environment)
		if err == nil {
			x.Environment = env.Name
			err = s.family(k.rb, 0, func(each *runbooks.Runbook) error { return runnable(each, env) })
		}
		if err != nil && len(s.envs) > 0 { // a terminal that only looks opens none
			x.Problem = fault.Say(err)
		}
		if f, ok := last[key]; ok {
			x.Last = &f
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Timing) int {
		if c := a.Next.Compare(b.Next); c != 0 && !a.Next.IsZero() && !b.Next.IsZero() {
			return c
		}
		return strings.Compare(a.Runbook+a.Cron, b.Runbook+b.Cron)
	})
	return out, nil
}
