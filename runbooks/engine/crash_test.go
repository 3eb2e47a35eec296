package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// mortal is a store that a killed process can no longer reach.
type mortal struct {
	engine.Store
	dead atomic.Bool
}

func (s *mortal) Update(ctx context.Context, id string, f *engine.Fence, fn func(*engine.Run) (engine.Change, error)) (*engine.Run, error) {
	if s.dead.Load() {
		return nil, engine.ErrLeaseLost
	}
	return s.Store.Update(ctx, id, f, fn)
}

func (s *mortal) Claim(ctx context.Context, owner string) (*engine.Run, error) {
	if s.dead.Load() {
		return nil, nil
	}
	return s.Store.Claim(ctx, owner)
}

func (s *mortal) Heartbeat(ctx context.Context, owner string) error {
	if s.dead.Load() {
		return errors.New("dead")
	}
	return s.Store.Heartbeat(ctx, owner)
}

// killed serves until the nth passing of a boundary ("": of any), at which the
// process is as good as killed: nothing it does afterwards reaches the database
// or the world. passed is closed then.
func (b *bench) killed(boundary string, nth int) (passed chan struct{}) {
	b.t.Helper()
	store := &mortal{Store: b.db.Runs()}
	b.runs = store
	passed = make(chan struct{})
	var mu sync.Mutex
	n := 0
	b.serve(func(o *engine.Options) {
		o.Observe = func(e engine.Event) {
			mu.Lock()
			defer mu.Unlock()
			if boundary != "" && e.String() != boundary {
				return
			}
			if n++; n == nth {
				store.dead.Store(true)
				b.world.set(func(w *world) { w.dead = true })
				close(passed)
			}
		}
	})
	return passed
}

// restart ends what is left of the process and starts it anew.
func (b *bench) restart() {
	b.t.Helper()
	b.stop()
	if err := b.db.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.world.set(func(w *world) { w.dead = false })
	b.open()
	// As an owner of a SQLite file does; on PostgreSQL the lease would have to
	// run out first, which the store's own tests wait for.
	storetest.Exec(b.t, b.url, "UPDATE runs SET lease_until = 0")
}

// people answer whatever is asked until the run has ended or the process was
// killed. It returns how often they were asked about a doubt.
func (b *bench) people(run *engine.Run, killed <-chan struct{}) (doubts int) {
	b.t.Helper()
	for {
		dead := false
		r := b.until(run, "question or end", func(r *engine.Run) bool {
			select {
			case <-killed:
				dead = true
			default:
			}
			return dead || r.State.Ended() || open(r) != nil
		})
		if dead || r.State.Ended() {
			return doubts
		}
		a := open(r)
		ballot := engine.Ballot{Actor: ann, Key: a.ID}
		switch a.Kind {
		case engine.Confirm:
			ballot.Decision, ballot.Typed = "confirm", a.Type
		case engine.Review:
			ballot.Actor, ballot.Decision = ben, "approve"
		case engine.Doubt:
			doubts++
			ballot.Decision, ballot.Reason = "redo", "looked"
			if wiped, _, _ := b.world.counts(); wiped > 0 {
				ballot.Decision = "done"
			}
		default:
			b.t.Fatalf("nobody expected a question of kind %s:\n%s", a.Kind, describe(r))
		}
		if _, err := b.engine.Vote(context.Background(), a.ID, ballot); err != nil && !errors.Is(err, engine.ErrLeaseLost) {
			b.t.Fatalf("Vote(%s) = %v", ballot.Decision, err)
		}
	}
}

func open(r *engine.Run) *engine.Approval {
	for i := range r.Approvals {
		if r.Approvals[i].State == engine.Open {
			return &r.Approvals[i]
		}
	}
	return nil
}

// boundaries are those of one run of fix without a crash.
func boundaries(t *testing.T, url string) []string {
	t.Helper()
	b := newBenchOn(t, url, fix)
	var mu sync.Mutex
	var seen []string
	b.serve(func(o *engine.Options) {
		o.Observe = func(e engine.Event) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, e.String())
		}
	})
	run := b.start("fix")
	b.people(run, nil)
	b.ended(run, engine.Succeeded)
	b.stop() // the last boundaries are passed a moment after their commit
	mu.Lock()
	defer mu.Unlock()
	return seen
}

func TestKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); killEverywhere(t, storetest.SQLite) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); killEverywhere(t, storetest.Postgres) })
}

func killEverywhere(t *testing.T, database func(testing.TB) string) {
	seen := boundaries(t, database(t))
	for _, want := range []string{"started", "claimed", "intent:look", "acted:look", "result:look", "asked:wipe", "voted:wipe",
		"recheck:look", "checked:look", "intent:wipe", "acted:wipe", "result:wipe", "ending", "ended"} {
		if !strings.Contains(strings.Join(seen, " ")+" ", want+" ") {
			t.Errorf("the boundary %s is not among %v", want, seen)
		}
	}
	passed := make(map[string]int)
	for i, at := range seen {
		passed[at]++
		nth := passed[at]
		t.Run(fmt.Sprintf("%d %s", i+1, at), func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, database(t), fix)
			killed := b.killed(at, nth)
			run := b.start("fix")
			doubts := b.people(run, killed)
			b.restart()
			again := b.killed("", (i*7)%len(seen)+1) // and once more, somewhere
			doubts += b.people(run, again)
			b.restart()
			b.serve()
			doubts += b.people(run, nil)
			r := b.ended(run, engine.Succeeded)
			if wiped, _, _ := b.world.counts(); wiped != 1 {
				t.Errorf("wiped %d times, want 1:\n%s", wiped, describe(r))
			}
			if at == "intent:wipe" || at == "acted:wipe" {
				if doubts == 0 {
					t.Errorf("nobody was asked what became of the step:\n%s", describe(r))
				}
			}
		})
	}
}

func TestRestartIsSaidInTheThread(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	killed := b.killed("intent:look", 1)
	run := b.start("fix")
	<-killed
	b.restart()
	b.serve()
	b.asked(run, engine.Confirm)
	for _, c := range b.said() {
		if l, ok := c.(outbox.Line); ok && l.Text == "opsbot restarted; step 1 (Look) goes on." {
			return
		}
	}
	t.Error("the thread does not say that opsbot restarted")
}

func TestDoubtIsDecidedByPeople(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		decision string
		state    engine.State
		wiped    int
		want     string
	}{
		{"done", engine.Succeeded, 1, "wipe=pass"},
		{"skip", engine.Succeeded, 1, "wipe=skipped"},
		{"stop", engine.Canceled, 1, "wipe=unknown"},
	} {
		t.Run(tt.decision, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fix)
			b.serve(func(o *engine.Options) { o.Grace = 1 })
			run := b.start("fix")
			reached := make(chan struct{})
			b.world.set(func(w *world) {
				w.onWipe = func(ctx context.Context) error {
					w.set(func(w *world) { w.wiped++; w.keys = 0 })
					close(reached)
					<-ctx.Done() // it was done, and then the process stopped
					return ctx.Err()
				}
			})
			b.pass(run)
			<-reached
			b.restart()
			b.world.set(func(w *world) { w.onWipe = nil })
			b.serve()
			doubt := b.asked(run, engine.Doubt)
			if r, _ := b.engine.Find(t.Context(), run.ID); r.State != engine.Uncertain {
				t.Errorf("the run is %s, want uncertain", r.State)
			}
			b.vote(doubt, ben, tt.decision, because("looked"))
			r := b.ended(run, tt.state)
			wantStatus(t, r, tt.want)
			if wiped, _, _ := b.world.counts(); wiped != tt.wiped {
				t.Errorf("wiped %d times, want %d", wiped, tt.wiped)
			}
		})
	}
}

func TestRedoAsksForEverythingAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	killed := b.killed("intent:wipe", 1)
	run := b.start("fix")
	b.people(run, killed)
	b.restart()
	b.serve()
	b.vote(b.asked(run, engine.Doubt), ann, "redo")
	b.pass(run)
	r := b.ended(run, engine.Succeeded)
	if len(r.Approvals) != 5 {
		t.Errorf("%d questions, want two confirms, two reviews and a doubt:\n%s", len(r.Approvals), describe(r))
	}
	if wiped, _, _ := b.world.counts(); wiped != 1 {
		t.Errorf("wiped %d times, want 1", wiped)
	}
}

func TestVerifySettlesADoubt(t *testing.T) {
	t.Parallel()
	verified := doc("verified",
		step("1. Is it empty?", "id: empty\ndo: redis.look\ntarget: cache\nexpect: result.keys == 0\non_fail: note")+
			step("2. Wipe", `
id: wipe
do: redis.wipe
target: cache
with: { pattern: "prod_*" }
confirm: Wipe it?
on_crash: { verify: empty }
`))
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, verified)
			b.serve(func(o *engine.Options) { o.Grace = 1 })
			run := b.start("verified")
			reached := make(chan struct{})
			b.world.set(func(w *world) {
				w.onWipe = func(ctx context.Context) error {
					if done {
						w.set(func(w *world) { w.wiped++; w.keys = 0 })
					}
					close(reached)
					<-ctx.Done()
					return ctx.Err()
				}
			})
			b.pass(run)
			<-reached
			b.restart()
			b.world.set(func(w *world) { w.onWipe = nil })
			b.serve()
			if !done {
				b.vote(b.asked(run, engine.Doubt), ben, "skip", because("not done"))
				wantStatus(t, b.ended(run, engine.Succeeded), "wipe=skipped")
				return
			}
			r := b.ended(run, engine.Succeeded)
			wantStatus(t, r, "wipe=pass", "empty=fail")
			if a := r.Attempts[len(r.Attempts)-2]; a.Found != "interrupted, but done: step 1 (Is it empty?) holds" {
				t.Logf("journal:\n%s", describe(r))
			}
		})
	}
}

func TestLostLeaseStopsTheAct(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprint("deaf ", deaf), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fix)
			cut := &mortal{Store: b.runs}
			b.runs = cut
			reached, thawed := make(chan struct{}), make(chan struct{})
			b.world.onWipe = func(ctx context.Context) error {
				close(reached)
				if deaf { // as a frozen process that thaws when its run is another's
					<-thawed
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
			b.serve()
			run := b.start("fix")
			b.pass(run)
			<-reached
			cut.dead.Store(true) // no heartbeat succeeds from here on

			// Another replica takes over; both are alive.
			first := b.stop
			b.world.set(func(w *world) { w.onWipe = nil })
			b.runs = b.db.Runs()
			b.serve()
			doubt := b.asked(run, engine.Doubt)
			close(thawed)
			first()
			if deaf { // the frozen process came back, and the world was touched once
				b.vote(doubt, ann, "done", because("it is empty"))
			} else {
				b.vote(doubt, ann, "redo")
				b.pass(run)
			}
			r := b.ended(run, engine.Succeeded)
			if got, _, _ := b.world.counts(); got != 1 {
				t.Errorf("wiped %d times, want 1:\n%s", got, describe(r))
			}
			for _, a := range r.Attempts {
				if a.Step == "wipe" && a.Epoch == 1 && a.State == engine.AttemptDone {
					t.Error("the owner that lost the run put a result on record")
				}
			}
			if status(r, "wipe") != runbooks.Pass {
				t.Errorf("wipe is %q", status(r, "wipe"))
			}
		})
	}
}
