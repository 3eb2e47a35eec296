package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

var scheduleTests = map[string]func(*testing.T, *store.Store){
	"PlanKeepsNextTimes":  testPlanKeepsNextTimes,
	"DueSchedules":        testDueSchedules,
	"FireCreatesRun":      testFireCreatesRun,
	"FireWithoutRun":      testFireWithoutRun,
	"FireLockedIsNothing": testFireLockedIsNothing,
	"FireOncePerTime":     testFireOncePerTime,
	"FireInACrowd":        testFireInACrowd,
}

var eight = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func day(n int) time.Time { return eight.AddDate(0, 0, n) }

func plan(t *testing.T, s *store.Store, wanted ...engine.Appointment) {
	t.Helper()
	if err := s.Schedules().Plan(t.Context(), wanted); err != nil {
		t.Fatalf("Plan: %v", err)
	}
}

func wantSchedules(t *testing.T, s *store.Store, want ...engine.Appointment) {
	t.Helper()
	got, err := s.Schedules().List(t.Context())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func testPlanKeepsNextTimes(t *testing.T, s *store.Store) {
	a, b := engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(1)}, engine.Appointment{Schedule: "b/1", Runbook: "b", Next: day(0)}
	plan(t, s, a, b)
	wantSchedules(t, s, b, a)
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(9)}, engine.Appointment{Schedule: "c/1", Runbook: "c", Next: day(2)})
	wantSchedules(t, s, a, engine.Appointment{Schedule: "c/1", Runbook: "c", Next: day(2)})
	plan(t, s)
	wantSchedules(t, s)
}

func testDueSchedules(t *testing.T, s *store.Store) {
	plan(t, s, engine.Appointment{Schedule: "a/1", Next: day(1)}, engine.Appointment{Schedule: "b/1", Next: day(0)},
		engine.Appointment{Schedule: "c/1", Next: day(2)}, engine.Appointment{Schedule: "never/1"})
	got, err := s.Schedules().Due(t.Context(), day(1))
	if err != nil {
		t.Fatal(err)
	}
	want := []engine.Appointment{{Schedule: "b/1", Next: day(0)}, {Schedule: "a/1", Next: day(1)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Due (-want +got):\n%s", diff)
	}
}

// fire is what a schedule of the tests does at its nth time.
func fire(n int, run *engine.Run) engine.Fire {
	f := engine.Fire{Due: day(n), Next: day(n + 1), Run: run,
		Firing: engine.Firing{Schedule: "a/1", Runbook: "a", Environment: "demo", At: day(n)},
		Change: engine.Change{
			Notices: []outbox.Notice{{Content: outbox.Line{Text: "it is time"}}},
			Audit:   []engine.AuditEntry{{Act: "start"}},
		}}
	if run == nil {
		f.Firing.Outcome = "not run: no reason"
	}
	return f
}

func queued(t *testing.T, s *store.Store) int {
	t.Helper()
	due, err := s.Outbox().Due(t.Context(), "test", 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(due)
}

func testFireCreatesRun(t *testing.T, s *store.Store) {
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	run, err := s.Schedules().Fire(t.Context(), fire(0, NewRun("cache")))
	if err != nil {
		t.Fatalf("Fire: %v", err)
	}
	if run.Number != 1 || run.State != engine.Ready {
		t.Errorf("Fire returned R%d %s, want R1 ready", run.Number, run.State)
	}
	if got := claim(t, s, "me"); got == nil || got.ID != run.ID {
		t.Errorf("the run cannot be claimed: %v", got)
	}
	if n := queued(t, s); n != 1 {
		t.Errorf("%d notices were queued, want 1", n)
	}
	wantSchedules(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(1)})
	for what, list := range map[string]func() ([]engine.Firing, error){
		"Last":    func() ([]engine.Firing, error) { return s.Schedules().Last(t.Context()) },
		"Firings": func() ([]engine.Firing, error) { return s.Schedules().Firings(t.Context(), 10) },
	} {
		got, err := list()
		if err != nil || len(got) != 1 {
			t.Fatalf("%s = %v, %v; want one", what, got, err)
		}
		if got[0].Fired.IsZero() {
			t.Errorf("%s does not know when it fired", what)
		}
		want := engine.Firing{Schedule: "a/1", Runbook: "a", Environment: "demo", At: day(0), Fired: got[0].Fired, Run: run.ID, Number: 1, State: engine.Ready}
		if diff := cmp.Diff(want, got[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func testFireWithoutRun(t *testing.T, s *store.Store) {
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	if run, err := s.Schedules().Fire(t.Context(), fire(0, nil)); err != nil || run != nil {
		t.Fatalf("Fire = %v, %v; want no run and no error", run, err)
	}
	if n := queued(t, s); n != 1 {
		t.Errorf("%d notices were queued, want 1", n)
	}
	got, err := s.Schedules().Last(t.Context())
	if err != nil || len(got) != 1 || got[0].Outcome != "not run: no reason" || got[0].Run != "" {
		t.Errorf("Last = %+v, %v; want the outcome without a run", got, err)
	}
	wantSchedules(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(1)})
}

func testFireLockedIsNothing(t *testing.T, s *store.Store) {
	holder := create(t, s, NewRun("cache"), engine.Change{})
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	_, err := s.Schedules().Fire(t.Context(), fire(0, NewRun("cache")))
	var locked *engine.LockedError
	if !errors.As(err, &locked) || locked.Holder != holder.ID {
		t.Fatalf("Fire = %v, want a *LockedError that names %s", err, holder.ID)
	}
	wantSchedules(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	if got, err := s.Schedules().Last(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Last = %v, %v; want nothing on record", got, err)
	}
	if n := queued(t, s); n != 0 {
		t.Errorf("%d notices were queued, want none", n)
	}
}

func testFireOncePerTime(t *testing.T, s *store.Store) {
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	if _, err := s.Schedules().Fire(t.Context(), fire(0, NewRun())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Schedules().Fire(t.Context(), fire(0, NewRun())); !errors.Is(err, engine.ErrFired) {
		t.Errorf("the second Fire = %v, want ErrFired", err)
	}
	// The runbook went and came back within the minute.
	plan(t, s)
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	if _, err := s.Schedules().Fire(t.Context(), fire(0, NewRun())); !errors.Is(err, engine.ErrFired) {
		t.Errorf("Fire of a time that is on record = %v, want ErrFired", err)
	}
	wantSchedules(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(1)})
	if runs, err := s.Runs().List(t.Context(), engine.Query{}); err != nil || len(runs) != 1 {
		t.Errorf("there are %d runs, %v; want 1", len(runs), err)
	}
}

func testFireInACrowd(t *testing.T, s *store.Store) {
	const crowd, days = 8, 10
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)})
	var made atomic.Int64
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			for n := range days {
				_, err := s.Schedules().Fire(t.Context(), fire(n, NewRun()))
				switch {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, engine.ErrFired):
					t.Errorf("Fire: %v", err)
				}
			}
		})
	}
	wg.Wait()
	runs, err := s.Runs().List(t.Context(), engine.Query{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	if made.Load() != days || len(runs) != days {
		t.Errorf("%d calls created a run, and there are %d runs; want %d of each", made.Load(), len(runs), days)
	}
	firings, err := s.Schedules().Firings(t.Context(), 100)
	if err != nil || len(firings) != len(runs) {
		t.Errorf("there are %d firings, %v; want %d", len(firings), err, len(runs))
	}
}
