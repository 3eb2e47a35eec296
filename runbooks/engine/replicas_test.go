package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

const (
	replicas     = 3
	environments = 40 // each has one run at a time
	// replicaRuns, when set, is how many runs TestReplicas lets through.
	replicaRuns = "OPSBOT_TEST_REPLICA_RUNS"
)

// TestReplicas lets many runs through several processes on one database, which
// are killed, frozen for longer than a lease, or cut off from the database, at
// random. No run is lost; nothing destructive happens twice unless a person
// wanted it again; and no replica writes to a run that it has lost.
func TestReplicas(t *testing.T) {
	if os.Getenv(replicaURL) != "" {
		beReplica(t)
		return
	}
	if testing.Short() {
		t.Skip("kills many processes")
	}
	t.Parallel()
	runs := 25
	if s := os.Getenv(replicaRuns); s != "" {
		var err error
		if runs, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", replicaRuns, err)
		}
	}
	for name, harm := range map[string][]func(*replica){
		"killed and frozen": {(*replica).kill, (*replica).freeze},
		"cut off":           {(*replica).cut, (*replica).swallow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newFleet(t).sail(runs, harm)
		})
	}
}

// A fleet is some replicas, and the people who use them.
type fleet struct {
	t        *testing.T
	url      string
	ledger   ledger
	people   *engine.Engine
	db       *store.Store
	judge    *judge
	replicas []*replica

	mu     sync.Mutex
	born   int
	harms  map[string][]harm // by the replica's name
	doubts map[string]string // what people said, by question
	redos  map[string]int    // by run and step
	busy   map[string]bool   // questions that are being answered
}

// A harm is what was done to a replica.
type harm struct {
	what string
	at   time.Time
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, url: storetest.Postgres(t), harms: map[string][]harm{}, doubts: map[string]string{}, redos: map[string]int{}, busy: map[string]bool{}}
	f.ledger.file = filepath.Join(t.TempDir(), "ledger")
	f.db = storetest.OpenURL(t, f.url)
	f.people = engine.New(ledgerOptions(t, f.db, f.ledger.file, environments))
	f.judge = newJudge(t, f.url)
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	for range replicas {
		r := &replica{fleet: f, gate: storetest.NewGate(t, u.Host), url: *u}
		r.url.Host = r.gate.Addr()
		r.start()
		t.Cleanup(r.end)
		f.replicas = append(f.replicas, r)
	}
	return f
}

// sail lets runs through, while the replicas come to harm, and judges.
func (f *fleet) sail(runs int, harms []func(*replica)) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	for _, r := range f.replicas {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(500*time.Millisecond + rand.N(4*time.Second)):
				}
				harms[rand.IntN(len(harms))](r)
			}
		})
	}
	began := time.Now()
	all := f.work(runs)
	took := time.Since(began)
	cancel()
	wg.Wait()
	f.verdict(all, took)
}

// work starts the runs, each in an environment that is free, answers what is
// asked, and returns their ids when all have ended.
func (f *fleet) work(runs int) (all []string) {
	f.t.Helper()
	ctx := f.t.Context()
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	progress, seen := time.Now(), ""
	for {
		<-tick.C
		open, err := f.db.Runs().List(ctx, engine.Query{Unended: true, Limit: 200})
		if err != nil && again(err) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		if len(all) == runs && len(open) == 0 {
			return all
		}
		free := make(map[string]bool)
		for i := range environments {
			free[fmt.Sprint("env", i)] = true
		}
		now := fmt.Sprint(len(all), len(open))
		for _, r := range open {
			delete(free, r.Environment)
			now += fmt.Sprint(r.Number, len(r.Attempts), len(r.Approvals), r.State)
			for _, a := range r.Approvals {
				if a.State == engine.Open && f.take(a.ID) {
					wg.Go(func() { f.answer(ctx, a) })
				}
			}
		}
		if now != seen {
			progress, seen = time.Now(), now
		}
		if time.Since(progress) > 2*patience {
			var s strings.Builder
			for _, r := range open {
				s.WriteString(describe(r))
			}
			f.t.Fatalf("nothing goes on; of %d runs these have not ended:\n%s", len(all), s.String())
		}
		for env := range free {
			if len(all) == runs {
				break
			}
			run, err := f.people.Start(ctx, engine.StartRequest{Runbook: "twice", Environment: env, Actor: ann,
				RequestKey: fmt.Sprint("run ", len(all)), Origin: outbox.Conversation{Channel: "C1"}})
			if err != nil && again(err) {
				break
			}
			if err != nil {
				f.t.Fatalf("Start: %v", err)
			}
			all = append(all, run.ID)
		}
	}
}

// take reports whether nobody is answering the question.
func (f *fleet) take(approval string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[approval] {
		return false
	}
	f.busy[approval] = true
	return true
}

// answer answers a question as people do who look before they say what became
// of a step. If the answer is not taken, the question is asked again.
func (f *fleet) answer(ctx context.Context, a engine.Approval) {
	ballot := engine.Ballot{Actor: ann, Key: a.ID}
	switch a.Kind {
	case engine.Confirm:
		ballot.Decision, ballot.Typed = "confirm", a.Type
	case engine.Review:
		ballot.Actor, ballot.Decision = ben, "approve"
	case engine.Doubt:
		n, err := f.ledger.strikes()
		if err != nil {
			f.t.Error(err)
			return
		}
		ballot.Reason = "looked into the ledger"
		ballot.Decision = f.decide(a, n[a.Run+" "+a.Step])
	default:
		f.t.Errorf("nobody expected a question of kind %s about %s", a.Kind, a.Step)
		return
	}
	_, err := f.people.Vote(ctx, a.ID, ballot)
	switch {
	case err == nil && ballot.Decision == "redo":
		f.mu.Lock()
		f.redos[a.Run+" "+a.Step]++
		f.mu.Unlock()
	case err != nil && !again(err) && ctx.Err() == nil:
		f.t.Errorf("Vote(%s) on %s: %v", ballot.Decision, a.Step, err)
	}
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.busy, a.ID)
	}
}

// again reports whether people should try again what came to nothing: the
// question was over, or a replica keeps the run's row from them for a moment.
func again(err error) bool {
	return fault.KindOf(err) == fault.Conflict || fault.KindOf(err) == fault.Unavailable
}

// decide is the answer to a doubt about a step that has struck n times; it
// stays the same when the question must be answered again.
func (f *fleet) decide(a engine.Approval, n int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.doubts[a.ID] == "" {
		f.doubts[a.ID] = "done"
		if n == 0 {
			f.doubts[a.ID] = "redo"
		}
	}
	return f.doubts[a.ID]
}

// verdict judges what became of the runs.
func (f *fleet) verdict(all []string, took time.Duration) {
	f.t.Helper()
	strikes, err := f.ledger.strikes()
	if err != nil {
		f.t.Fatal(err)
	}
	again, spared := 0, 0
	for _, id := range all {
		r, err := f.db.Runs().Find(f.t.Context(), id)
		if err != nil {
			f.t.Fatalf("a run is lost: %v", err)
		}
		switch {
		case r.State == engine.Succeeded:
		case r.State == engine.Failed && f.redos[id+" first"] > 0 && strikes[id+" first"] == 1 && strikes[id+" second"] == 0:
			spared++ // the check before the redo saw what a thawed replica had done after all
			continue
		default:
			f.t.Errorf("a run did not come through:\n%s", describe(r))
		}
		for _, what := range []string{"first", "second"} {
			key := id + " " + what
			switch n := strikes[key]; {
			case n == 0:
				f.t.Errorf("the %s strike never happened:\n%s", what, describe(r))
			case n > 1+f.redos[key]:
				f.t.Errorf("the %s strike happened %d times, and people wanted it %d times:\n%s", what, n, 1+f.redos[key], describe(r))
			case n > 1:
				again++
			}
		}
	}
	for _, b := range f.judge.breaches() {
		f.t.Error(b)
	}
	if _, _, err := f.db.Audit().Verify(f.t.Context()); err != nil {
		f.t.Error(err)
	}
	did := make(map[string]int)
	for _, hs := range f.harms {
		for _, h := range hs {
			did[h.what]++
		}
	}
	after, idle := f.delays()
	redos := 0
	for _, n := range f.redos {
		redos += n
	}
	f.t.Logf("%d runs in %.0fs; replicas: %v; %d doubts, %d times people wanted a step again; it had happened after all %d times, seen by a recheck %d times",
		len(all), took.Seconds(), did, len(f.doubts), redos, again+spared, spared)
	f.t.Logf("%d takeovers, from the harm to the new owner: %s; %d of owners that had come to no harm", len(after), distribution(after), idle)
}

// delays are the times from a harm to the takeovers that followed, and how
// many takeovers followed no harm.
func (f *fleet) delays() (after []time.Duration, idle int) {
	for _, o := range f.judge.takeovers() {
		hs := f.harms[o.from]
		i := slices.IndexFunc(hs, func(h harm) bool { return h.at.After(o.had) && h.at.Before(o.at) })
		switch {
		case i >= 0:
			after = append(after, o.at.Sub(hs[i].at))
		case slices.ContainsFunc(hs, func(h harm) bool { return h.at.Before(o.had) && o.had.Sub(h.at) < 20*time.Second }):
			after = append(after, o.at.Sub(o.had)) // claimed what it could not keep
		default:
			idle++
		}
	}
	return after, idle
}

// A replica is a process that serves the fleet's database, and after it the
// one that takes its place.
type replica struct {
	fleet *fleet
	gate  *storetest.Gate
	url   url.URL
	name  string
	cmd   *exec.Cmd
	done  chan struct{}
	log   strings.Builder
	close func() error // ends it
}

func (r *replica) start() {
	f := r.fleet
	f.mu.Lock()
	f.born++
	r.name = fmt.Sprint(replicaName, f.born)
	f.mu.Unlock()
	u := r.url
	q := u.Query()
	q.Set("application_name", r.name)
	u.RawQuery = q.Encode()
	cmd := exec.Command(os.Args[0], "-test.run=^TestReplicas$", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), replicaURL+"="+u.String(), replicaLedger+"="+f.ledger.file)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		f.t.Error(err)
		return
	}
	r.log.Reset()
	cmd.Stdout, cmd.Stderr = &r.log, &r.log
	if err := cmd.Start(); err != nil {
		f.t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it may have been killed
	}()
	r.cmd, r.done, r.close = cmd, done, stdin.Close
}

func (r *replica) suffers(what string) {
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	r.fleet.harms[r.name] = append(r.fleet.harms[r.name], harm{what, time.Now()})
}

func (r *replica) signal(s syscall.Signal) {
	if err := r.cmd.Process.Signal(s); err != nil {
		r.fleet.t.Errorf("%s of %s: %v\n%s", s, r.name, err, r.log.String())
	}
}

// kill kills it and starts another in its place.
func (r *replica) kill() {
	r.suffers("killed")
	r.signal(syscall.SIGKILL)
	<-r.done
	r.start()
}

// long is somewhat longer than a lease.
func long() time.Duration { return engine.LeaseTime + rand.N(3*time.Second) }

// freeze stops it for longer than its leases last.
func (r *replica) freeze() {
	r.suffers("frozen")
	r.signal(syscall.SIGSTOP)
	time.Sleep(long())
	r.signal(syscall.SIGCONT)
}

// cut closes its connections to the database, and refuses new ones for a while.
func (r *replica) cut() {
	r.suffers("cut")
	r.gate.Shut()
	time.Sleep(long())
	r.gate.Open()
}

// swallow keeps back for a while what it and the database say to each other.
func (r *replica) swallow() {
	r.suffers("swallowed")
	r.gate.Hold()
	time.Sleep(long())
	if rand.IntN(2) == 0 {
		r.gate.Shut() // the late words are lost; otherwise they arrive
	}
	r.gate.Open()
}

// end ends it as SIGTERM does.
func (r *replica) end() {
	r.gate.Open()
	_ = r.close()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.fleet.t.Errorf("%s does not end", r.name)
		_ = r.cmd.Process.Kill()
		<-r.done
	}
	if r.fleet.t.Failed() {
		r.fleet.t.Logf("log of %s:\n%s", r.name, r.log.String())
	}
}
