package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// Options are what cases run with; both are required.
type Options struct {
	Library *runbooks.Library // the runbook itself and those that it runs or offers
	Catalog *runbooks.Catalog // the real actions; only their declarations are used
}

// patience is how long a case may take by the wall. The clock of a case stands
// still while it acts, so only a defect gets here.
const patience = 5 * time.Minute

// Run runs the cases one after another, each on its own. An error says that
// they could not be run at all; what does not come as expected is in the
// results.
func (s *Suite) Run(ctx context.Context, o Options) (results []Result, err error) {
	dir, err := os.MkdirTemp("", "opsbot-test-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the database of %s: %w", s.File, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "opsbot.db"), store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, c := range s.Cases {
		r, err := s.run(ctx, c, o, db.Runs())
		if err != nil {
			return results, fmt.Errorf("case %q of %s: %w", c.Name, s.File, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// The people of a test. They are in every group, so that gates are about how
// many must agree.
func person(name string) access.Actor {
	return access.Actor{Kind: access.Person, Team: "TTEST", ID: "U" + strings.ToUpper(name), Name: name, Via: "terminal"}
}

var (
	starter   = person("ann")
	reviewers = []access.Actor{
		person("cleo"), person("dan"), person("eve"), person("finn"), person("gwen"),
		person("hana"), person("ivan"), person("jun"), person("kim"), person("lea"),
	}
)

// everybody is a workspace of nothing but the people of a test.
type everybody struct{}

func (everybody) Members(context.Context, string) ([]string, error) {
	ids := []string{starter.ID}
	for _, p := range reviewers {
		ids = append(ids, p.ID)
	}
	return ids, nil
}

func (everybody) Standing(context.Context, string) (access.Standing, error) {
	return access.Standing{}, nil
}

// policy puts everybody into every group that the runbooks name.
func policy(lib *runbooks.Library, rb *runbooks.Runbook) access.Policy {
	p := access.Policy{Groups: map[string]access.Group{}}
	for _, rb := range append(lib.All(), rb) {
		names := slices.Concat(rb.Roles.Run, rb.Roles.Approve)
		for _, step := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
			names = append(names, step.Who...)
			if step.Review != nil {
				names = append(names, step.Review.By...)
			}
		}
		for _, name := range names {
			p.Groups[name] = access.Group{Usergroup: name}
		}
	}
	return p
}

// targets are stand-ins for all connections that the runbooks use and the case
// has.
func targets(lib *runbooks.Library, rb *runbooks.Runbook, c *Case) map[string]runbooks.Target {
	out := map[string]runbooks.Target{}
	for _, rb := range append(lib.All(), rb) { // the runbook's own kinds win
		for _, use := range rb.Uses {
			out[use.Name] = runbooks.Target{Environment: c.environment, Name: use.Name, Kind: use.Kind, Conn: connection{use.Name}}
		}
	}
	for _, name := range c.without {
		delete(out, name)
	}
	return out
}

// secrets are made-up ones for all that the runbooks name.
func secrets(lib *runbooks.Library, rb *runbooks.Runbook) map[string]engine.Secret {
	out := map[string]engine.Secret{}
	for _, rb := range append(lib.All(), rb) {
		for _, step := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
			for _, v := range step.With {
				for _, name := range v.Secrets() {
					out[name] = func(context.Context) (string, error) { return "(secret " + name + ")", nil }
				}
			}
		}
	}
	return out
}

// run runs one case.
func (s *Suite) run(ctx context.Context, c *Case, o Options, runs engine.Store) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fault.New(fault.Internal, "it does not come to an end"))
	defer cancel()
	at := &clock{at: epoch}
	st := &stage{clock: at, runs: runs, scripts: c.scripts, calls: map[string]int{}}
	catalog, err := cast(o.Catalog, st)
	if err != nil {
		return Result{}, err
	}
	poke := make(chan struct{}, 1)
	e := engine.New(engine.Options{
		Store: &clocked{Store: runs, clock: at, started: map[string]time.Time{}}, Library: o.Library, Catalog: catalog,
		Environments: []engine.Environment{{Name: c.environment, Critical: c.critical, Targets: targets(o.Library, s.Runbook, c), Secrets: secrets(o.Library, s.Runbook)}},
		People:       everybody{}, Policy: policy(o.Library, s.Runbook),
		Earlier: func(_ context.Context, run *engine.Run, step, name string) (any, error) {
			return c.earlier[key(run.Runbook, step)+"."+name], nil
		},
		Log: slog.New(slog.DiscardHandler),
		Observe: func(engine.Event) {
			select {
			case poke <- struct{}{}:
			default:
			}
		},
		Grace: time.Millisecond, Now: at.now, Sleep: at.sleep,
	})
	serving, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var served error
	wg.Go(func() { served = e.Serve(serving) })
	p := &play{c: c, rb: s.Runbook, e: e, clock: at, poke: poke, used: map[string]int{}, denied: map[string]string{}, choices: map[string][]string{}}
	r, err := p.act(ctx, s.Runbook.Slug)
	stop()
	wg.Wait()
	if err = errors.Join(err, served); err != nil {
		return Result{}, err
	}
	st.mu.Lock()
	slices.Sort(st.missing)
	for _, step := range slices.Compact(st.missing) {
		step = strings.TrimPrefix(step, key(s.Runbook.Slug, ""))
		r.Failures = append(r.Failures, Failure{Pos: c.Pos, What: "steps",
			Message: fmt.Sprintf("%s acted, but the test says nothing about what it answers", step)})
	}
	st.mu.Unlock()
	return r, nil
}

// A play is a case that is being run: it answers what people are asked.
type play struct {
	c     *Case
	rb    *runbooks.Runbook
	e     *engine.Engine
	clock *clock
	poke  <-chan struct{}

	used     map[string]int      // answers used, by step
	denied   map[string]string   // reason with which a reviewer will deny, by key; "": none will
	choices  map[string][]string // of the questions asked, by id: a decided one has none left
	failures []Failure
	asked    int
}

const maxQuestions = 50 // of a case, beyond which something goes round in circles

// act starts the runbook, answers until it has ended, and judges what came.
func (p *play) act(ctx context.Context, slug string) (Result, error) {
	run, err := p.e.Start(ctx, engine.StartRequest{Runbook: slug, Environment: p.c.environment, Params: p.c.params, Actor: starter})
	if err != nil {
		if fault.KindOf(err) == fault.Internal {
			return Result{}, err
		}
		p.fail(p.c.Pos, "run", "the run was refused: %s", fault.Say(err))
		return Result{Case: p.c, Failures: p.failures}, nil
	}
	for !run.State.Ended() {
		if run, err = p.e.Find(ctx, run.ID); err != nil {
			return Result{}, p.because(ctx, err)
		}
		open, err := p.question(ctx)
		if err != nil {
			return Result{}, p.because(ctx, err)
		}
		if open != nil {
			if err := p.say(ctx, open); err != nil {
				return Result{}, p.because(ctx, err)
			}
			continue
		}
		if run.State.Ended() {
			break
		}
		select {
		case <-p.poke:
		case <-time.After(20 * time.Millisecond): // a change that nobody pokes for
		case <-ctx.Done():
			return Result{}, p.because(ctx, ctx.Err())
		}
	}
	view, err := p.e.View(ctx, run.ID)
	if err != nil {
		return Result{}, p.because(ctx, err)
	}
	p.judge(view)
	return Result{Case: p.c, Failures: p.failures, Trail: trail(view.Run)}, nil
}

// because says why the time was up, where that is why.
func (p *play) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (p *play) fail(at runbooks.Pos, what, format string, args ...any) {
	p.failures = append(p.failures, Failure{Pos: at, What: what, Message: fmt.Sprintf(format, args...)})
}

// A question is an approval that is open, with the key of its step.
type question struct {
	*engine.Approval
	key      string
	reviewed bool // whether a review follows a confirm
}

// question is the oldest open question of any run.
func (p *play) question(ctx context.Context) (*question, error) {
	list, err := p.e.List(ctx, engine.Query{Unended: true, Limit: 200})
	if err != nil {
		return nil, err
	}
	for _, run := range slices.Backward(list) {
		if run.Stop != nil {
			continue
		}
		for i := range run.Approvals {
			if run.Approvals[i].State == engine.Open {
				a := &run.Approvals[i]
				q := &question{Approval: a, key: key(run.Runbook, a.Step), reviewed: a.Card.Effect == effects[runbooks.Destructive]}
				if rb, ok := p.e.Library().Find(run.Runbook); ok {
					step := rb.Step(a.Step)
					q.reviewed = q.reviewed || step != nil && step.Review != nil
				}
				return q, nil
			}
		}
	}
	return nil, nil
}

// say answers a question as the case says, or as people commonly do.
func (p *play) say(ctx context.Context, a *question) error {
	if p.asked++; p.asked > maxQuestions {
		p.fail(p.c.Pos, "answers", "more than %d questions were asked: does something go round in circles?", maxQuestions)
		return p.giveUp(ctx, a)
	}
	p.choices[a.ID] = nil
	for _, c := range a.Card.Choices {
		p.choices[a.ID] = append(p.choices[a.ID], c.ID)
	}
	said, ok := p.answer(a)
	if !ok {
		p.fail(p.c.Pos, "answers", "%s asks “%s”, and the test gives no answer; one of %s", a.Step, a.Card.Question, strings.Join(p.choices[a.ID], ", "))
		return p.giveUp(ctx, a)
	}
	if said.word == saySilence {
		return p.expire(ctx, a)
	}
	ballot := engine.Ballot{Actor: starter, Decision: said.word, Reason: said.reason, Typed: a.Type, Fields: said.fields}
	if a.Kind == engine.Review {
		for _, who := range reviewers {
			ballot.Actor = who
			if !slices.ContainsFunc(a.Votes, func(v engine.Vote) bool { return v.Actor.Same(who) }) {
				break
			}
		}
	}
	if _, err := p.e.Vote(ctx, a.ID, ballot); err != nil {
		if fault.KindOf(err) == fault.Internal {
			return err
		}
		p.fail(said.pos, "answers", "the answer %s for %s was refused: %s", said.word, a.Step, fault.Say(err))
		return p.giveUp(ctx, a)
	}
	return nil
}

// giveUp stops a run that nobody can go on with.
func (p *play) giveUp(ctx context.Context, a *question) error {
	_, err := p.e.Stop(ctx, a.Run, starter, "the test cannot go on")
	return err
}

// expire lets the question's time run out, and waits until it is noticed.
func (p *play) expire(ctx context.Context, a *question) error {
	p.clock.reach(a.Expires)
	for {
		run, err := p.e.Find(ctx, a.Run)
		if err != nil {
			return err
		}
		for _, b := range run.Approvals {
			if b.ID == a.ID && b.State != engine.Open {
				return nil
			}
		}
		select {
		case <-p.poke:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer chooses what is said: the case's next answer where it fits to the
// question, else yes to a gate and done to a manual step without fields.
func (p *play) answer(a *question) (answer, bool) {
	list := p.c.answers[a.key]
	next := answer{pos: p.c.Pos}
	if n := p.used[a.key]; n < len(list) {
		next = *list[n]
	}
	use := func() { p.used[a.key]++ }
	switch a.Kind {
	case engine.Confirm:
		word := next.word
		switch word {
		case sayYes, sayCancel, sayDeny, saySilence:
			use()
		default:
			next, word = answer{pos: p.c.Pos}, sayYes
		}
		p.denied[a.key] = ""
		next.word = "confirm"
		switch word {
		case sayCancel, saySilence:
			next.word = word
		case sayDeny:
			p.denied[a.key] = next.reason
			if !a.reviewed {
				next.word = sayCancel
			}
		}
		return next, true
	case engine.Review:
		if why := p.denied[a.key]; why != "" {
			next.word, next.reason = sayDeny, why
			return next, true
		}
		return answer{word: "approve", pos: p.c.Pos}, true
	}
	if next.word == saySilence || slices.Contains(p.choices[a.ID], next.word) {
		use()
		return next, true
	}
	if a.Kind == engine.Manual && next.word == "" && !slices.ContainsFunc(a.Card.Fields, func(f outbox.Field) bool { return f.Default == "" }) {
		next.word = sayDone
		return next, true
	}
	return next, false
}
