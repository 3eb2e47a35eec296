package storetest

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/access"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

// Ann and Ben are people of the tests.
var (
	Ann = access.Actor{Kind: access.Person, Team: "T1", ID: "U1", Name: "ann", Via: "slack"}
	Ben = access.Actor{Kind: access.Person, Team: "T1", ID: "U2", Name: "ben", Via: "terminal"}
)

// NewRun is a run that is ready to be created.
func NewRun(locks ...string) *engine.Run {
	return &engine.Run{
		ID: uuid.Must(uuid.NewV7()).String(), Runbook: "cache-fix", Title: "Fix the cache", Digest: "d1", Text: []byte("# Fix the cache\n\x00\xff"),
		Environment: "demo", Starter: Ann, State: engine.Ready, Phase: engine.PhaseMain, Cursor: "check", Locks: locks,
	}
}

func create(t testing.TB, s *store.Store, run *engine.Run, change engine.Change) *engine.Run {
	t.Helper()
	out, err := s.Runs().Create(t.Context(), run, change)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return out
}

func claim(t testing.TB, s *store.Store, owner string) *engine.Run {
	t.Helper()
	run, err := s.Runs().Claim(t.Context(), owner)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return run
}

func update(t testing.TB, s *store.Store, run *engine.Run, fenced bool, fn func(*engine.Run) engine.Change) *engine.Run {
	t.Helper()
	var fence *engine.Fence
	if fenced {
		fence = &engine.Fence{Owner: run.Owner, Epoch: run.Epoch}
	}
	out, err := s.Runs().Update(t.Context(), run.ID, fence, func(r *engine.Run) (engine.Change, error) { return fn(r), nil })
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	return out
}

func find(t testing.TB, s *store.Store, ref string) *engine.Run {
	t.Helper()
	run, err := s.Runs().Find(t.Context(), ref)
	if err != nil {
		t.Fatalf("Find(%q): %v", ref, err)
	}
	return run
}

func now(t testing.TB, s *store.Store) time.Time {
	t.Helper()
	at, err := s.Runs().Now(t.Context())
	if err != nil {
		t.Fatalf("Now: %v", err)
	}
	return at
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

func drain(ch <-chan struct{}) {
	for {
		select {
		case <-ch:
		default:
			return
		}
	}
}

func waitFor(t testing.TB, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal("waited in vain for " + what)
	}
}
