package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; long, because the
// machine may be busy, and spent only when a test fails.
const patience = 90 * time.Second

// A world is the system that test runbooks act on. It counts what is done to it.
type world struct {
	mu       sync.Mutex
	identity string
	keys     int
	rate     *float64 // of `redis.rate`
	raise    runbooks.Effect
	down     error // of everything, when not nil

	wiped   int // destructive executions
	tweaked int
	looked  int
	dead    bool // the process that acts has been killed: nothing has an effect

	onLook func(n int) // called in each look, before it answers; n counts from 1
	onWipe func(ctx context.Context) error
	tweak  func(n int) error
}

func newWorld() *world { return &world{identity: "redis-1", keys: 1000, rate: new(0.2)} }

func (w *world) set(fn func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(w)
}

func (w *world) counts() (wiped, tweaked, looked int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wiped, w.tweaked, w.looked
}

func (w *world) Identity(context.Context) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.identity, w.down
}

func (w *world) Address() string { return "redis test:6379/0" }
func (w *world) Close() error    { return nil }

// An act is an action made of a function.
type act struct {
	spec    runbooks.Spec
	run     func(ctx context.Context, w *world, args any, out io.Writer) (any, error)
	preview func(w *world, args any) runbooks.Preview
}

func (a act) Spec() runbooks.Spec { return a.spec }

func (a act) Run(ctx context.Context, c runbooks.Call, out io.Writer) (any, error) {
	return a.run(ctx, worldOf(c), c.Args, out)
}

func worldOf(c runbooks.Call) *world {
	switch conn := c.Target.Conn.(type) {
	case aliased:
		return conn.world
	case elsewhere:
		return conn.world
	default:
		return conn.(*world)
	}
}

type previewed struct{ act }

func (a previewed) Preview(_ context.Context, c runbooks.Call) (runbooks.Preview, error) {
	w := worldOf(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return runbooks.Preview{}, w.down
	}
	return a.preview(w, c.Args), nil
}

type lookResult struct {
	Keys int      `json:"keys"`
	Rate *float64 `json:"rate"`
	Poll int      `json:"poll"`
}

func (r lookResult) Found() string { return fmt.Sprintf("%d keys", r.Keys) }

type wipeArgs struct {
	Pattern string `arg:"pattern" required:"true" help:"which keys"`
}

type wipeResult struct {
	Deleted int `json:"deleted"`
}

type tweakArgs struct {
	To string `arg:"to" default:"x" help:"what"`
}

type tweakResult struct {
	To string `json:"to"`
}

func nothing(run func(out io.Writer)) func(context.Context, *world, any, io.Writer) (any, error) {
	return func(_ context.Context, _ *world, _ any, out io.Writer) (any, error) {
		run(out)
		return struct{}{}, nil
	}
}

// actions are the verbs of the test world.
var actions = []runbooks.Action{
	act{
		spec: runbooks.Spec{Name: "redis.look", Summary: "Look", Args: struct{}{}, Result: lookResult{}},
		run: func(_ context.Context, w *world, _ any, out io.Writer) (any, error) {
			w.mu.Lock()
			w.looked++
			n, hook := w.looked, w.onLook
			w.mu.Unlock()
			if hook != nil {
				hook(n)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			fmt.Fprintf(out, "looked %d times\n", n)
			if w.down != nil {
				return nil, w.down
			}
			return lookResult{Keys: w.keys, Rate: w.rate, Poll: n}, nil
		},
	},
	previewed{act{
		spec: runbooks.Spec{Name: "redis.peek", Summary: "Look, or more than that", Timeout: time.Minute, Args: struct{}{}, Result: lookResult{}},
		run: func(_ context.Context, w *world, _ any, _ io.Writer) (any, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.tweaked++
			return lookResult{Keys: w.keys}, nil
		},
		preview: func(w *world, _ any) runbooks.Preview {
			return runbooks.Preview{Identity: w.identity, Effect: w.raise}
		},
	}},
	act{
		spec: runbooks.Spec{Name: "redis.chat", Summary: "Chat", Args: struct{}{}, Result: struct{}{}},
		run: nothing(func(out io.Writer) {
			for i := range 300_000 {
				fmt.Fprintf(out, "line %d\n", i)
			}
		}),
	},
	echo(),
	act{
		spec: runbooks.Spec{Name: "redis.panic", Summary: "Panic", Args: struct{}{}, Result: struct{}{}},
		run:  nothing(func(io.Writer) { panic("at the disco") }),
	},
	previewed{act{
		spec: runbooks.Spec{Name: "redis.wipe", Summary: "Wipe", Effect: runbooks.Destructive, Timeout: time.Minute, Args: wipeArgs{}, Result: wipeResult{}},
		run: func(ctx context.Context, w *world, _ any, _ io.Writer) (any, error) {
			w.mu.Lock()
			hook := w.onWipe
			w.mu.Unlock()
			if hook != nil {
				if err := hook(ctx); err != nil {
					return nil, err
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.dead {
				return nil, context.Canceled
			}
			w.wiped++
			n := w.keys
			w.keys = 0
			return wipeResult{Deleted: n}, nil
		},
		preview: func(w *world, args any) runbooks.Preview {
			return runbooks.Preview{
				Identity: w.identity, Impact: []string{fmt.Sprintf("removes %d keys matching %s", w.keys, args.(*wipeArgs).Pattern)},
				Live: []runbooks.Live{{Name: "matching keys", Number: float64(w.keys), Tolerance: runbooks.Within10Percent}},
			}
		},
	}},
	previewed{act{
		spec: runbooks.Spec{Name: "redis.tweak", Summary: "Tweak", Effect: runbooks.Change, Timeout: time.Minute, Args: tweakArgs{}, Result: tweakResult{}},
		run: func(_ context.Context, w *world, args any, _ io.Writer) (any, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.dead {
				return nil, context.Canceled
			}
			w.tweaked++
			if w.tweak != nil {
				if err := w.tweak(w.tweaked); err != nil {
					return nil, err
				}
			}
			return tweakResult{To: args.(*tweakArgs).To}, nil
		},
		preview: func(w *world, args any) runbooks.Preview {
			return runbooks.Preview{Identity: w.identity, Effect: w.raise, Reasons: reasons(w.raise)}
		},
	}},
}

func reasons(e runbooks.Effect) []string {
	if e == runbooks.Destructive {
		return []string{"it would interrupt sessions"}
	}
	return nil
}

// town is the workspace: ann and ben are sre, oli is on call, mia is in no group.
type town struct{}

func (town) Members(_ context.Context, handle string) ([]string, error) {
	switch handle {
	case "sre":
		return []string{"UANN", "UBEN", "UBOT"}, nil
	case "oncall":
		return []string{"UOLI"}, nil
	}
	return nil, fault.New(fault.NotFound, "There is no user group @%s.", handle)
}

func (town) Standing(_ context.Context, user string) (access.Standing, error) {
	return access.Standing{Bot: user == "UBOT", Guest: user == "UGUEST"}, nil
}

func someone(id, name string) access.Actor {
	return access.Actor{Kind: access.Person, Team: "T1", ID: id, Name: name, Via: "slack"}
}

var (
	ann = someone("UANN", "Ann")
	ben = someone("UBEN", "Ben")
	oli = someone("UOLI", "Oli")
	mia = someone("UMIA", "Mia")
)

// A bench is an engine over a real database, with the test world.
type bench struct {
	t      testing.TB
	world  *world
	url    string // of the database
	db     *store.Store
	runs   engine.Store // what the engine sees
	engine *engine.Engine
	lib    *runbooks.Library
	envs   []engine.Environment
	policy access.Policy
	catlog *runbooks.Catalog
	poke   chan struct{} // something was committed
	stop   func()        // ends Serve and waits; safe to call again
}

const head = `---
format: 1
runbook: %s
owner: sre
severity: warning
roles: { run: [oncall, sre], approve: [sre] }
uses: { cache: redis }
lock: cache
timeout: 20m
defaults: { timeout: 1m }
---
# Test of %[1]s

A runbook for a test.
`

// doc is a runbook's file; body is everything behind the title.
func doc(slug, body string) string { return fmt.Sprintf(head, slug) + body }

// step is a section with a step block.
func step(title, yaml string) string {
	return fmt.Sprintf("\n## %s\n\nProse.\n\n```yaml step\n%s\n```\n", title, strings.TrimSpace(yaml))
}

// files is a directory with a file for each runbook.
func files(docs ...string) fstest.MapFS {
	dir := fstest.MapFS{}
	for i, d := range docs {
		dir[fmt.Sprintf("doc%d.md", i)] = &fstest.MapFile{Data: []byte(d)}
	}
	return dir
}

// newBench is newBenchOn a fresh SQLite database.
func newBench(t testing.TB, docs ...string) *bench {
	t.Helper()
	return newBenchOn(t, storetest.SQLite(t), docs...)
}

// newBenchOn opens the database and loads the runbooks, which must be sound.
func newBenchOn(t testing.TB, url string, docs ...string) *bench {
	t.Helper()
	b := &bench{t: t, world: newWorld(), url: url, poke: make(chan struct{}, 1), stop: func() {}}
	var err error
	if b.catlog, err = runbooks.NewCatalog(actions); err != nil {
		t.Fatal(err)
	}
	lib, problems := runbooks.Load(b.catlog, files(docs...))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	b.lib = lib
	b.envs = []engine.Environment{{Name: "demo", Default: true, Targets: map[string]runbooks.Target{
		"cache": {Environment: "demo", Name: "cache", Kind: "redis", Conn: b.world},
	}}}
	b.policy = access.Policy{Groups: map[string]access.Group{"sre": {Usergroup: "sre"}, "oncall": {Usergroup: "oncall"}}}
	b.open()
	t.Cleanup(func() {
		b.stop()
		if err := b.db.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return b
}

// open opens the database, as a start of the process does.
func (b *bench) open() {
	b.t.Helper()
	db, err := store.Open(context.Background(), b.url, store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.db, b.runs = db, db.Runs()
}

// serve starts the engine; opts change its options.
func (b *bench) serve(opts ...func(*engine.Options)) {
	b.t.Helper()
	o := engine.Options{Store: b.runs, Library: b.lib, Catalog: b.catlog, Environments: b.envs, People: town{}, Policy: b.policy,
		Log: slog.New(slog.DiscardHandler), Grace: 50 * time.Millisecond}
	for _, opt := range opts {
		opt(&o)
	}
	observe := o.Observe
	o.Observe = func(e engine.Event) {
		select {
		case b.poke <- struct{}{}:
		default:
		}
		if observe != nil {
			observe(e)
		}
	}
	b.engine = engine.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.engine.Serve(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				b.t.Errorf("Serve() = %v, want nil", err)
			}
		case <-time.After(patience):
			b.t.Error("Serve() does not return")
		}
	})
}

// start starts a runbook as ann.
func (b *bench) start(slug string, change ...func(*engine.StartRequest)) *engine.Run {
	b.t.Helper()
	req := engine.StartRequest{Runbook: slug, Actor: ann, Origin: outbox.Conversation{Channel: "C1"}}
	for _, c := range change {
		c(&req)
	}
	run, err := b.engine.Start(context.Background(), req)
	if err != nil {
		b.t.Fatalf("Start(%s) = %v", slug, err)
	}
	return run
}

// until polls the run until the condition holds.
func (b *bench) until(run *engine.Run, what string, cond func(*engine.Run) bool) *engine.Run {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		r, err := b.db.Runs().Find(context.Background(), run.ID)
		if err != nil {
			b.t.Fatal(err)
		}
		if cond(r) {
			return r
		}
		select {
		case <-b.poke:
		case <-time.After(20 * time.Millisecond): // a change that nobody pokes for
		case <-deadline:
			b.t.Fatalf("no %s in time; the run is\n%s", what, describe(r))
		}
	}
}

// asked waits for an open question of the kind, and returns it.
func (b *bench) asked(run *engine.Run, kind engine.ApprovalKind) engine.Approval {
	b.t.Helper()
	var found engine.Approval
	b.until(run, "open "+string(kind), func(r *engine.Run) bool {
		i := slices.IndexFunc(r.Approvals, func(a engine.Approval) bool { return a.State == engine.Open && a.Kind == kind })
		if i >= 0 {
			found = r.Approvals[i]
		}
		return i >= 0
	})
	return found
}

// ended waits for the end of the run.
func (b *bench) ended(run *engine.Run, want engine.State) *engine.Run {
	b.t.Helper()
	r := b.until(run, "end", func(r *engine.Run) bool { return r.State.Ended() })
	if r.State != want {
		b.t.Fatalf("the run ended %s, want %s:\n%s", r.State, want, describe(r))
	}
	return r
}

// vote answers, and must succeed.
func (b *bench) vote(a engine.Approval, who access.Actor, decision string, change ...func(*engine.Ballot)) *engine.Run {
	b.t.Helper()
	ballot := engine.Ballot{Actor: who, Decision: decision}
	for _, c := range change {
		c(&ballot)
	}
	r, err := b.engine.Vote(context.Background(), a.ID, ballot)
	if err != nil {
		b.t.Fatalf("Vote(%s by %s) = %v", decision, who.Name, err)
	}
	return r
}

// refused answers, and must be refused with the kind and words.
func (b *bench) refused(a engine.Approval, ballot engine.Ballot, kind fault.Kind, words string) {
	b.t.Helper()
	_, err := b.engine.Vote(context.Background(), a.ID, ballot)
	if fault.KindOf(err) != kind || !strings.Contains(fault.Say(err), words) {
		b.t.Errorf("Vote(%s by %s) = %v, want %s with %q", ballot.Decision, ballot.Actor.Name, err, kind, words)
	}
}

func typed(s string) func(*engine.Ballot)   { return func(b *engine.Ballot) { b.Typed = s } }
func because(s string) func(*engine.Ballot) { return func(b *engine.Ballot) { b.Reason = s } }

// pass confirms and approves the step that is asked about.
func (b *bench) pass(run *engine.Run) {
	b.t.Helper()
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	b.vote(b.asked(run, engine.Review), ben, "approve")
}

// status is how the step ended.
func status(r *engine.Run, id string) runbooks.Status {
	for _, a := range slices.Backward(r.Attempts) {
		if a.Step == id && a.Purpose == engine.ForStep && a.State != engine.AttemptSuperseded {
			return a.Status
		}
	}
	return ""
}

// wantStatus compares how steps ended, given as "step=status" pairs.
func wantStatus(t testing.TB, r *engine.Run, pairs ...string) {
	t.Helper()
	for _, p := range pairs {
		id, want, _ := strings.Cut(p, "=")
		if got := status(r, id); string(got) != want {
			t.Errorf("step %s is %q, want %q:\n%s", id, got, want, describe(r))
		}
	}
}

func describe(r *engine.Run) string {
	var s strings.Builder
	fmt.Fprintf(&s, "R%d %s verdict=%q phase=%s cursor=%s outcome=%q\n", r.Number, r.State, r.Verdict, r.Phase, r.Cursor, r.Outcome)
	for _, a := range r.Attempts {
		fmt.Fprintf(&s, "  %d %s %s#%d/%d %s %s found=%q fault=%q\n", a.Seq, a.Purpose, a.Step, a.Number, a.Item, a.State, a.Status, a.Found, a.Fault)
	}
	for _, a := range r.Approvals {
		fmt.Fprintf(&s, "  %s of %s: %s, %d of %d votes; %s\n", a.Kind, a.Step, a.State, len(a.Votes), a.Needed, a.Card.Outcome)
	}
	return s.String()
}

// said are the contents that were queued for Slack, oldest first, newest
// edits of a message only.
func (b *bench) said() []outbox.Content {
	b.t.Helper()
	var out []outbox.Content
	q := b.db.Outbox()
	ctx := context.Background()
	for {
		due, err := q.Due(ctx, "test", 100)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(due) == 0 {
			return out
		}
		for _, d := range due {
			out = append(out, d.Notice.Content)
			if err := q.Sent(ctx, d, "C1", fmt.Sprint(d.ID)); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// audit is the audit log, oldest first.
func (b *bench) audit() []store.AuditRow {
	b.t.Helper()
	rows, err := b.db.Audit().List(context.Background(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}
