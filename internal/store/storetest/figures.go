package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

var figureTests = map[string]func(*testing.T, *store.Store){"FiguresCount": testFiguresCount}

func testFiguresCount(t *testing.T, s *store.Store) {
	figures := func() store.Figures {
		t.Helper()
		f, err := s.Figures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if diff := cmp.Diff(store.Figures{Runs: map[string]int{}, Approvals: map[string]int{}}, figures()); diff != "" {
		t.Errorf("figures of an empty database (-want +got):\n%s", diff)
	}
	at := now(t, s)
	run := create(t, s, NewRun(), engine.Change{Notices: []outbox.Notice{
		{Content: outbox.Line{Text: "now"}}, {Content: outbox.Line{Text: "in a year"}, NotBefore: at.AddDate(1, 0, 0)},
	}})
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.State = engine.Waiting
		r.Approvals = append(r.Approvals, engine.Approval{ID: "a", Run: r.ID, Step: "s", Kind: engine.Review, State: engine.Open, Expires: at.Add(time.Hour)},
			engine.Approval{ID: "b", Run: r.ID, Step: "s", Kind: engine.Confirm, State: engine.Spent, Expires: at.Add(time.Hour)})
		return engine.Change{}
	})
	over := create(t, s, NewRun(), engine.Change{})
	update(t, s, over, false, func(r *engine.Run) engine.Change { r.State = engine.Failed; return engine.Change{} })
	if _, err := s.Inbox().Record(t.Context(), inbox.Item{Key: "k", Kind: "slash", Payload: []byte("{}"), Received: at}); err != nil {
		t.Fatal(err)
	}
	plan(t, s, engine.Appointment{Schedule: "a/1", Runbook: "a", Next: day(0)}, engine.Appointment{Schedule: "b/1", Runbook: "b", Next: at.Add(-time.Hour)})
	if _, err := s.Schedules().Fire(t.Context(), fire(0, nil)); err != nil {
		t.Fatal(err)
	}
	f := figures()
	for what, d := range map[string]*time.Duration{"InboxAge": &f.InboxAge, "OutboxLag": &f.OutboxLag} {
		if *d < 0 || *d > time.Hour {
			t.Errorf("%s = %v", what, *d)
		}
		*d = 0
	}
	if f.ScheduleLate < time.Hour || f.ScheduleLate > 100*365*24*time.Hour {
		t.Errorf("ScheduleLate = %v, want an hour or more", f.ScheduleLate)
	}
	f.ScheduleLate = 0
	want := store.Figures{Inbox: 1, Outbox: 2, NotFired: 1, // the firing says something, too
		Runs: map[string]int{"waiting": 1, "failed": 1}, Approvals: map[string]int{"review": 1}}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}
