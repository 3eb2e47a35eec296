package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

// urlTests look behind the store's back, or open it again.
var urlTests = map[string]func(*testing.T, *store.Store, string){
	"LeaseRunsOut":       testLeaseRunsOut,
	"InboxLeaseRunsOut":  testInboxLeaseRunsOut,
	"OutboxLeaseRunsOut": testOutboxLeaseRunsOut,
	"TamperingShows":     testTamperingShows,
	"RecordedOrNot":      testRecordedOrNot,
	"KeysAreForgotten":   testKeysAreForgotten,
}

func testLeaseRunsOut(t *testing.T, s *store.Store, url string) {
	create(t, s, NewRun(), engine.Change{})
	claim(t, s, "o1")
	ExpireLeases(t, url)
	lost := claim(t, s, "o1")
	if lost == nil || lost.Epoch != 2 || lost.Restarts != 0 {
		t.Fatalf("claimed again between steps: %+v, want epoch 2 and no restart", lost)
	}
	update(t, s, lost, true, func(r *engine.Run) engine.Change {
		r.Attempts = []engine.Attempt{{Seq: 1, State: engine.Intent}}
		return engine.Change{}
	})
	ExpireLeases(t, url)
	if err := s.Runs().Heartbeat(t.Context(), "o1"); err != nil {
		t.Fatalf("Heartbeat: %v", err)
	}
	if got := find(t, s, lost.ID); got.LeaseUntil.After(now(t, s)) {
		t.Errorf("the heartbeat revived an expired lease until %v", got.LeaseUntil)
	}
	advance := func(run *engine.Run) error {
		_, err := s.Runs().Update(t.Context(), run.ID, &engine.Fence{Owner: run.Owner, Epoch: run.Epoch}, func(r *engine.Run) (engine.Change, error) {
			r.Cursor += "+" + run.Owner
			return engine.Change{}, nil
		})
		return err
	}
	if err := advance(lost); !errors.Is(err, engine.ErrLeaseLost) {
		t.Errorf("Update after the lease ran out = %v, want ErrLeaseLost", err)
	}
	taken := claim(t, s, "o2")
	if taken == nil || taken.Epoch != 3 || taken.Restarts != 1 || !taken.Started.Equal(lost.Started) {
		t.Fatalf("the second claim = %+v, want epoch 3, one restart and the same start", taken)
	}
	if err := advance(lost); !errors.Is(err, engine.ErrLeaseLost) {
		t.Errorf("Update by the old owner = %v, want ErrLeaseLost", err)
	}
	if err := advance(taken); err != nil {
		t.Errorf("Update by the new owner: %v", err)
	}
	if got := find(t, s, lost.ID).Cursor; got != "check+o2" {
		t.Errorf("Cursor = %q, want the new owner's alone", got)
	}
}

func testInboxLeaseRunsOut(t *testing.T, s *store.Store, url string) {
	q := s.Inbox()
	record(t, s, "a", true)
	for attempt := 1; attempt <= 3; attempt++ {
		items := next(t, s, 5)
		if len(items) != 1 || items[0].Attempts != attempt {
			t.Fatalf("Next = %+v, want a for the %d. time", items, attempt)
		}
		if again := next(t, s, 5); len(again) != 0 {
			t.Fatalf("Next gave the leased %v away", again)
		}
		ExpireLeases(t, url)
	}
	next(t, s, 5)
	kept := func(owner string, want ...string) {
		t.Helper()
		got, err := q.Keep(t.Context(), owner, "a", "nobody's")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Keep for %s: %v (-want +got):\n%s", owner, err, diff)
		}
	}
	for range 3 {
		Exec(t, url, "UPDATE inbox SET lease_until = lease_until - 10000") // as time goes by
		kept("o", "a")
	}
	kept("another")
	ExpireLeases(t, url)
	kept("o") // too late
	next(t, s, 5)
	if err := q.Done(t.Context(), "a"); err != nil {
		t.Fatalf("Done: %v", err)
	}
	ExpireLeases(t, url)
	kept("o")
	if items := next(t, s, 5); len(items) != 0 {
		t.Errorf("Next = %v after Done", items)
	}
}

func testOutboxLeaseRunsOut(t *testing.T, s *store.Store, url string) {
	say(t, s, outbox.Notice{Key: "k", Content: outbox.Line{Text: "one"}})
	first := dueNow(t, s, "k one")
	dueNow(t, s)
	kept := func(owner string, want ...int64) {
		t.Helper()
		got, err := s.Outbox().Keep(t.Context(), owner, first[0].ID, first[0].ID+1)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Keep for %s: %v (-want +got):\n%s", owner, err, diff)
		}
	}
	for range 3 {
		Exec(t, url, "UPDATE outbox SET lease_until = lease_until - 10000")
		kept("o", first[0].ID)
	}
	kept("another")
	ExpireLeases(t, url)
	kept("o") // too late
	say(t, s, outbox.Notice{Key: "k", Content: outbox.Line{Text: "two"}})
	second := dueNow(t, s, "k two")
	if first[0].Tried || !second[0].Tried {
		t.Errorf("Tried = %v, then %v, want it after the silence", first[0].Tried, second[0].Tried)
	}
	if err := s.Outbox().Later(t.Context(), second[0], now(t, s).Add(-time.Second), "Slack was away"); err != nil {
		t.Fatalf("Later: %v", err)
	}
	if second = dueNow(t, s, "k two"); !second[0].Tried {
		t.Error("Tried was forgotten by Later")
	}
	// Both got through: the message is found again by its key and not posted twice.
	sent(t, s, first[0], "C1", "1.1")
	sent(t, s, second[0], "C1", "1.1")
	kept("o")
	dueNow(t, s)
}

func testTamperingShows(t *testing.T, s *store.Store, url string) {
	for range 5 {
		if err := s.Audit().Append(t.Context(), engine.AuditEntry{Actor: Ann, Act: "approve", Run: "r", Detail: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	verify := func() error {
		_, _, err := s.Audit().Verify(t.Context())
		return err
	}
	if err := verify(); err != nil {
		t.Fatalf("Verify before: %v", err)
	}
	for _, test := range []struct {
		name, change, undo string
		seq                int64
	}{
		{"content", `UPDATE audit SET detail = 'y' WHERE seq = 3`, `UPDATE audit SET detail = 'x' WHERE seq = 3`, 3},
		{"actor", `UPDATE audit SET actor = '{' WHERE seq = 2`, ``, 2},
	} {
		Exec(t, url, test.change)
		var tampered *store.TamperedError
		if err := verify(); !errors.As(err, &tampered) || tampered.Seq != test.seq {
			t.Errorf("%s: Verify = %v, want entry %d", test.name, err, test.seq)
		}
		if test.undo != "" {
			Exec(t, url, test.undo)
			if err := verify(); err != nil {
				t.Errorf("%s: Verify after the change was undone: %v", test.name, err)
			}
		}
	}
	for _, test := range []struct {
		name, change string
		seq          int64
	}{
		{"the end removed", `DELETE FROM audit WHERE seq = 5`, 2},
		{"the actor's entry removed", `DELETE FROM audit WHERE seq = 2`, 2},
		{"the start removed", `DELETE FROM audit WHERE seq = 1`, 1},
		{"all removed", `DELETE FROM audit`, 1},
		{"the head too", `DELETE FROM audit_head`, 0},
	} {
		Exec(t, url, test.change)
		var tampered *store.TamperedError
		if err := verify(); !errors.As(err, &tampered) || tampered.Seq != test.seq {
			t.Errorf("%s: Verify = %v, want entry %d", test.name, err, test.seq)
		}
	}
}

func testKeysAreForgotten(t *testing.T, s *store.Store, url string) {
	record(t, s, "old", true)
	record(t, s, "waiting", true)
	record(t, s, "fresh", true)
	next(t, s, 5)
	for _, key := range []string{"old", "fresh"} {
		if err := s.Inbox().Done(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	Exec(t, url, `UPDATE inbox SET recorded_at = recorded_at - 90000000 WHERE key IN ('old', 'waiting')`)
	Serve(t, s)
	poll(t, "the old key is forgotten", func() bool {
		fresh, err := s.Inbox().Record(t.Context(), inbox.Item{Key: "old", Kind: "event", Received: time.Now()})
		return fresh && err == nil
	})
	record(t, s, "waiting", false)
	record(t, s, "fresh", false)
}

// What Record says is true in the end, even when it gave up in the middle of
// a commit: recorded, or not.
func testRecordedOrNot(t *testing.T, s *store.Store, url string) {
	const n = 300
	said := make([]error, n)
	key := func(i int) string { return fmt.Sprintf("key-%03d", i) }
	together(n, func(i int) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		defer cancel()
		_, said[i] = s.Inbox().Record(ctx, inbox.Item{Key: key(i), Kind: "event"})
		if i%3 == 0 { // Slack delivers it once more, and this time it counts
			_, said[i] = s.Inbox().Record(t.Context(), inbox.Item{Key: key(i), Kind: "event"})
		}
	})
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	s = OpenURL(t, url)
	there := make(map[string]bool)
	for _, it := range next(t, s, 2*n) {
		there[it.Key] = true
	}
	for i, err := range said {
		if there[key(i)] != (err == nil) {
			t.Errorf("Record(%s) = %v, but on record: %v", key(i), err, there[key(i)])
		}
	}
}
