package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

var runTests = map[string]func(*testing.T, *store.Store){
	"CreateKeepsEverything":    testCreateKeepsEverything,
	"CreateOncePerRequest":     testCreateOncePerRequest,
	"UpdateKeepsEverything":    testUpdateKeepsEverything,
	"WholeRun":                 testWholeRun,
	"UpdateRollsBack":          testUpdateRollsBack,
	"UpdateOnlyAdds":           testUpdateOnlyAdds,
	"ClaimInOrder":             testClaimInOrder,
	"ClaimSkips":               testClaimSkips,
	"ReleaseIsNoRestart":       testReleaseIsNoRestart,
	"FenceHolds":               testFenceHolds,
	"LocksAreExclusive":        testLocksAreExclusive,
	"LocksAreSharedByChildren": testLocksAreSharedByChildren,
	"ListFilters":              testListFilters,
	"Overdue":                  testOverdue,
	"OutputIsApart":            testOutputIsApart,
	"HostileText":              testHostileText,
	"SignalsReady":             testSignalsReady,
	"Unknown":                  testUnknown,
}

func testCreateKeepsEverything(t *testing.T, s *store.Store) {
	want := NewRun("demo/cache", "demo/api")
	want.Critical, want.DryRun, want.Paused = true, true, true
	want.Params = map[string]any{"n": 3, "big": 9007199254740993, "f": 1.5, "s": "x", "b": true, "l": []any{1, "a"}, "none": nil}
	want.Origin = outbox.Conversation{Channel: "C1", Thread: "1.2"}
	want.RequestKey, want.Subject, want.ParentID = "key", "inc", "parent"
	want.Verdict, want.Outcome = runbooks.Warn, "so so"
	want.Stop = &engine.Stop{By: Ben, Why: "enough", At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}
	want.WakeAt = time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)
	want.Acting, want.Restarts = 1234567*time.Nanosecond, 2
	got := create(t, s, want, engine.Change{})
	if got.Created.IsZero() || time.Since(got.Created) > time.Hour {
		t.Errorf("Created = %v, want about now", got.Created)
	}
	full := *want
	full.Number, full.RootID, full.Created = 1, want.ID, got.Created
	if diff := cmp.Diff(&full, got); diff != "" {
		t.Errorf("Create returned (-want +got):\n%s", diff)
	}
	for _, ref := range []string{want.ID, "R1", "r1", "1"} {
		if diff := cmp.Diff(&full, find(t, s, ref)); diff != "" {
			t.Errorf("Find(%q) (-want +got):\n%s", ref, diff)
		}
	}
	if n := create(t, s, NewRun(), engine.Change{}).Number; n != 2 {
		t.Errorf("the second run has number %d, want 2", n)
	}
}

func testCreateOncePerRequest(t *testing.T, s *store.Store) {
	first := NewRun("demo/cache")
	first.RequestKey = "trigger"
	a := create(t, s, first, engine.Change{Audit: []engine.AuditEntry{{Act: "start"}}})
	second := NewRun("demo/cache")
	second.RequestKey = "trigger"
	b := create(t, s, second, engine.Change{Audit: []engine.AuditEntry{{Act: "start"}}})
	if a.ID != b.ID || b.Number != 1 {
		t.Errorf("the second Create returned R%d %s, want R1 %s", b.Number, b.ID, a.ID)
	}
	if n := create(t, s, NewRun(), engine.Change{}).Number; n != 2 {
		t.Errorf("the next run has number %d: the repeated request used one up", n)
	}
	if rows, err := s.Audit().List(t.Context(), 0, 10); err != nil || len(rows) != 1 {
		t.Errorf("the audit log has %d entries (%v), want 1", len(rows), err)
	}
}

func testUpdateKeepsEverything(t *testing.T, s *store.Store) {
	create(t, s, NewRun(), engine.Change{})
	run := claim(t, s, "o1")
	at := time.Date(2026, 5, 6, 7, 8, 9, 1e6, time.UTC)
	attempt := engine.Attempt{
		Seq: 1, Step: "check", Number: 1, Purpose: "step", Phase: engine.PhaseMain, Epoch: 1, Effect: runbooks.Destructive,
		State: engine.Intent, IntentAt: at, Deadline: at.Add(time.Hour), Approval: "a1",
	}
	approval := engine.Approval{
		ID: "a1", Run: run.ID, Step: "clear", Kind: engine.Review, State: engine.Open, Digest: "abc",
		Card: outbox.Ask{Approval: "a1", Question: "Clear?", Impact: []string{"all"}, Expires: at}, Live: []runbooks.Live{{Name: "keys", Number: 3, Tolerance: runbooks.Exact}},
		Identity: "redis 1", Groups: []string{"sre"}, Needed: 2, Type: "demo", Created: at, Expires: at.Add(time.Hour), Remind: at.Add(time.Minute),
	}
	got := update(t, s, run, true, func(r *engine.Run) engine.Change {
		r.Attempts = append(r.Attempts, attempt)
		r.Approvals = append(r.Approvals, approval)
		return engine.Change{}
	})
	want := *run
	want.Attempts, want.Approvals = []engine.Attempt{attempt}, []engine.Approval{approval}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("the first Update returned (-want +got):\n%s", diff)
	}
	vote := engine.Vote{Actor: Ben, Decision: "approve", Reason: "yes", Fields: map[string]string{"a": "b"}, At: at.Add(5)}
	got = update(t, s, run, true, func(r *engine.Run) engine.Change {
		a := &r.Attempts[0]
		a.State, a.Status, a.ResultAt = engine.AttemptDone, runbooks.Pass, at.Add(time.Second)
		a.Result, a.Saved, a.Found, a.Fault = json.RawMessage(`{"n":1}`), map[string]any{"n": 1000000}, "found", "fault"
		r.Attempts = append(r.Attempts, engine.Attempt{Seq: 2, Step: "next", State: engine.Intent})
		r.Approvals[0].Votes = append(r.Approvals[0].Votes, vote)
		r.Approvals[0].State, r.Approvals[0].Decided = engine.Granted, at
		r.Approvals = append(r.Approvals, engine.Approval{ID: "a0", State: engine.Open, Expires: at})
		r.State, r.Verdict, r.Cursor, r.Acting = engine.Waiting, runbooks.Fail, "next", 3*time.Second
		r.Owner, r.Epoch, r.Number = "mine", 77, 88 // the store's own
		return engine.Change{}
	})
	if diff := cmp.Diff(find(t, s, run.ID), got); diff != "" {
		t.Errorf("the second Update did not return what is stored (-stored +returned):\n%s", diff)
	}
	if got.Owner != "o1" || got.Epoch != 1 || got.Number != 1 {
		t.Errorf("Update changed the lease: owner %s, epoch %d, R%d", got.Owner, got.Epoch, got.Number)
	}
	if diff := cmp.Diff([]engine.Vote{vote}, got.Approvals[0].Votes); diff != "" {
		t.Errorf("votes (-want +got):\n%s", diff)
	}
	if a := got.Attempts[0]; a.Saved["n"] != 1000000 || string(a.Result) != `{"n":1}` || a.Status != runbooks.Pass || a.Fault != "fault" {
		t.Errorf("attempt = %+v", a)
	}
	if len(got.Approvals) != 2 || got.Approvals[1].ID != "a0" || got.Approvals[1].Run != run.ID {
		t.Errorf("approvals = %+v, want a1 and a0 in this order", got.Approvals)
	}
	if id, err := s.Runs().RunOf(t.Context(), "a0"); err != nil || id != run.ID {
		t.Errorf("RunOf(a0) = %q, %v, want %q", id, err, run.ID)
	}
}

func testUpdateRollsBack(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	boom := errors.New("boom")
	_, err := s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
		r.Outcome = "changed"
		r.Attempts = append(r.Attempts, engine.Attempt{Seq: 1})
		return engine.Change{}, boom
	})
	if err != boom {
		t.Errorf("Update = %v, want the function's own error", err)
	}
	// A change that the database refuses is rolled back whole as well.
	_, err = s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
		r.Outcome = "changed"
		r.Attempts = append(r.Attempts, engine.Attempt{Seq: 1}, engine.Attempt{Seq: 1})
		return engine.Change{Audit: []engine.AuditEntry{{Act: "act"}}}, nil
	})
	if err == nil {
		t.Error("Update with two attempts of one number succeeded")
	}
	if diff := cmp.Diff(run, find(t, s, run.ID)); diff != "" {
		t.Errorf("something was kept (-before +after):\n%s", diff)
	}
}

func testUpdateOnlyAdds(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.Attempts = []engine.Attempt{{Seq: 1}, {Seq: 2}}
		r.Approvals = []engine.Approval{{ID: "a", Votes: []engine.Vote{{Actor: Ann, Decision: "approve"}}}, {ID: "b"}}
		return engine.Change{}
	})
	for name, change := range map[string]func(*engine.Run){
		"an attempt removed":   func(r *engine.Run) { r.Attempts = r.Attempts[:1] },
		"attempts swapped":     func(r *engine.Run) { r.Attempts[0], r.Attempts[1] = r.Attempts[1], r.Attempts[0] },
		"an approval removed":  func(r *engine.Run) { r.Approvals = nil },
		"approvals swapped":    func(r *engine.Run) { r.Approvals[0], r.Approvals[1] = r.Approvals[1], r.Approvals[0] },
		"a vote removed":       func(r *engine.Run) { r.Approvals[0].Votes = nil },
		"a vote changed":       func(r *engine.Run) { r.Approvals[0].Votes[0].Decision = "deny" },
		"another runbook":      func(r *engine.Run) { r.Digest = "d2" },
		"an unencodable value": func(r *engine.Run) { r.Params = map[string]any{"f": func() {}} },
	} {
		before := find(t, s, run.ID)
		_, err := s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
			change(r)
			return engine.Change{}, nil
		})
		if err == nil {
			t.Errorf("%s: Update succeeded", name)
		}
		if diff := cmp.Diff(before, find(t, s, run.ID)); diff != "" {
			t.Errorf("%s: (-before +after):\n%s", name, diff)
		}
	}
}

func testClaimInOrder(t *testing.T, s *store.Store) {
	if run := claim(t, s, "o"); run != nil {
		t.Fatalf("Claim on an empty store = R%d", run.Number)
	}
	for range 3 {
		create(t, s, NewRun(), engine.Change{})
	}
	before := time.Now()
	for want := int64(1); want <= 3; want++ {
		run := claim(t, s, "o")
		if run == nil || run.Number != want {
			t.Fatalf("Claim = %v, want R%d", run, want)
		}
		if run.Owner != "o" || run.Epoch != 1 || run.Restarts != 0 || run.Started.IsZero() {
			t.Errorf("claimed: owner %q, epoch %d, restarts %d, started %v", run.Owner, run.Epoch, run.Restarts, run.Started)
		}
		if left := run.LeaseUntil.Sub(before); left < engine.LeaseTime-time.Minute || left > engine.LeaseTime+time.Minute {
			t.Errorf("the lease lasts %v, want %v", left, engine.LeaseTime)
		}
		if diff := cmp.Diff(find(t, s, run.ID), run); diff != "" {
			t.Errorf("Claim did not return what is stored (-stored +returned):\n%s", diff)
		}
	}
	if run := claim(t, s, "o2"); run != nil {
		t.Errorf("Claim took the leased R%d", run.Number)
	}
	// Whoever gives up their turn goes to the end.
	one := find(t, s, "R1")
	update(t, s, find(t, s, "R2"), true, func(*engine.Run) engine.Change { return engine.Change{Release: true} })
	poll(t, "the clock moved on", func() bool { return now(t, s).After(find(t, s, "R2").Created.Add(5 * time.Millisecond)) })
	update(t, s, one, true, func(*engine.Run) engine.Change { return engine.Change{Release: true} })
	first, second := claim(t, s, "o3"), claim(t, s, "o3")
	if first == nil || second == nil || first.Number+second.Number != 3 {
		t.Fatalf("claimed %v and %v, want R2 and R1", first, second)
	}
}

func testClaimSkips(t *testing.T, s *store.Store) {
	hour := now(t, s).Add(time.Hour)
	for name, set := range map[string]func(*engine.Run){
		"later":     func(r *engine.Run) { r.WakeAt = hour },
		"waiting":   func(r *engine.Run) { r.State = engine.Waiting },
		"uncertain": func(r *engine.Run) { r.State = engine.Uncertain },
		"ended":     func(r *engine.Run) { r.State = engine.Failed },
		"paused":    func(r *engine.Run) { r.Paused = true },
	} {
		run := NewRun()
		set(run)
		run = create(t, s, run, engine.Change{})
		if got := claim(t, s, "o"); got != nil {
			t.Errorf("%s: Claim took it", name)
		}
		update(t, s, run, false, func(r *engine.Run) engine.Change {
			if !r.State.Ended() {
				r.State, r.Paused, r.WakeAt = engine.Ready, false, time.Time{}
			}
			return engine.Change{}
		})
		if got := claim(t, s, "o"); (got != nil) == run.State.Ended() {
			t.Errorf("%s: Claim after the wait = %v", name, got)
		}
	}
	stopped := NewRun()
	stopped.Paused, stopped.Stop = true, &engine.Stop{By: Ann}
	create(t, s, stopped, engine.Change{})
	if claim(t, s, "o") == nil {
		t.Error("Claim left a paused run that was asked to stop")
	}
}

func testReleaseIsNoRestart(t *testing.T, s *store.Store) {
	create(t, s, NewRun(), engine.Change{})
	run := claim(t, s, "o1")
	run = update(t, s, run, true, func(*engine.Run) engine.Change { return engine.Change{Release: true} })
	if run.Owner != "" || !run.LeaseUntil.IsZero() {
		t.Errorf("after a release: owner %q, lease until %v", run.Owner, run.LeaseUntil)
	}
	run = claim(t, s, "o2")
	if run == nil || run.Epoch != 2 || run.Restarts != 0 {
		t.Fatalf("claimed again: %+v, want epoch 2 without a restart", run)
	}
}

func testFenceHolds(t *testing.T, s *store.Store) {
	create(t, s, NewRun(), engine.Change{})
	run := claim(t, s, "o1")
	for name, fence := range map[string]engine.Fence{
		"another owner":  {Owner: "o2", Epoch: run.Epoch},
		"an older epoch": {Owner: "o1", Epoch: run.Epoch - 1},
		"nobody":         {},
	} {
		_, err := s.Runs().Update(t.Context(), run.ID, &fence, func(r *engine.Run) (engine.Change, error) {
			t.Errorf("%s: the function was called", name)
			return engine.Change{}, nil
		})
		if !errors.Is(err, engine.ErrLeaseLost) {
			t.Errorf("%s: Update = %v, want ErrLeaseLost", name, err)
		}
	}
	if err := s.Runs().Heartbeat(t.Context(), "o2"); err != nil {
		t.Errorf("Heartbeat of somebody else: %v", err)
	}
	if got := find(t, s, run.ID).LeaseUntil; !got.Equal(run.LeaseUntil) {
		t.Errorf("a stranger's heartbeat moved the lease from %v to %v", run.LeaseUntil, got)
	}
	poll(t, "the heartbeat extends the lease", func() bool {
		if err := s.Runs().Heartbeat(t.Context(), "o1"); err != nil {
			t.Fatalf("Heartbeat: %v", err)
		}
		return find(t, s, run.ID).LeaseUntil.After(run.LeaseUntil)
	})
	update(t, s, run, true, func(r *engine.Run) engine.Change {
		r.State = engine.Waiting
		return engine.Change{Release: true}
	})
	_, err := s.Runs().Update(t.Context(), run.ID, &engine.Fence{Owner: "o1", Epoch: run.Epoch}, func(*engine.Run) (engine.Change, error) { return engine.Change{}, nil })
	if !errors.Is(err, engine.ErrLeaseLost) {
		t.Errorf("Update after the release = %v, want ErrLeaseLost", err)
	}
}

func testLocksAreExclusive(t *testing.T, s *store.Store) {
	holder := create(t, s, NewRun("demo/b", "demo/a", "demo/a"), engine.Change{})
	_, err := s.Runs().Create(t.Context(), NewRun("demo/c", "demo/a"), engine.Change{})
	var locked *engine.LockedError
	if !errors.As(err, &locked) || locked.Key != "demo/a" || locked.Holder != holder.ID || locked.Number != 1 || locked.Since.IsZero() {
		t.Fatalf("Create = %+v, want a LockedError for demo/a by R1", err)
	}
	locks, err := s.Runs().Locks(t.Context())
	if err != nil || len(locks) != 2 || locks[0].Key != "demo/a" || locks[1].Run != holder.ID || locks[1].Number != 1 || locks[1].Starter != holder.Starter {
		t.Errorf("Locks = %+v, %v, want demo/a and demo/b of R1", locks, err)
	}
	update(t, s, holder, false, func(r *engine.Run) engine.Change {
		r.State = engine.Canceled
		return engine.Change{Unlock: true}
	})
	if next := create(t, s, NewRun("demo/c", "demo/a"), engine.Change{}); next.Number != 2 {
		t.Errorf("the next run has number %d, want 2", next.Number)
	}
}

func testLocksAreSharedByChildren(t *testing.T, s *store.Store) {
	root := create(t, s, NewRun("demo/a"), engine.Change{})
	child := NewRun("demo/a", "demo/b")
	child.ParentID, child.RootID = root.ID, root.ID
	create(t, s, child, engine.Change{})
	var locked *engine.LockedError
	if _, err := s.Runs().Create(t.Context(), NewRun("demo/b"), engine.Change{}); !errors.As(err, &locked) || locked.Holder != root.ID {
		t.Errorf("Create = %v, want a LockedError by the root", err)
	}
	update(t, s, root, false, func(*engine.Run) engine.Change { return engine.Change{Unlock: true} })
	if locks, err := s.Runs().Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("Locks = %v, %v, want none", locks, err)
	}
}

func testListFilters(t *testing.T, s *store.Store) {
	for i := range 30 {
		run := NewRun()
		if i%2 == 1 {
			run.Runbook = "other"
		}
		if i%3 == 0 {
			run.State, run.Environment = engine.Succeeded, "production"
		}
		if i == 7 {
			run.Subject = "inc-1"
		}
		create(t, s, run, engine.Change{})
	}
	for name, test := range map[string]struct {
		q    engine.Query
		want []int64
	}{
		"default":    {engine.Query{}, sequence(30, 11)},
		"limit":      {engine.Query{Limit: 3}, []int64{30, 29, 28}},
		"runbook":    {engine.Query{Runbook: "other", Limit: 3}, []int64{30, 28, 26}},
		"unended":    {engine.Query{Unended: true, Limit: 3}, []int64{30, 29, 27}},
		"production": {engine.Query{Environment: "production", Runbook: "other", Limit: 2}, []int64{28, 22}},
		"subject":    {engine.Query{Subject: "inc-1"}, []int64{8}},
		"none":       {engine.Query{Subject: "inc-2"}, nil},
	} {
		runs, err := s.Runs().List(t.Context(), test.q)
		if err != nil {
			t.Fatalf("%s: List: %v", name, err)
		}
		var got []int64
		for _, r := range runs {
			got = append(got, r.Number)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func sequence(from, to int64) (out []int64) {
	for n := from; n >= to; n-- {
		out = append(out, n)
	}
	return out
}

func testOverdue(t *testing.T, s *store.Store) {
	past, future := now(t, s).Add(-time.Minute), now(t, s).Add(time.Hour)
	approvals := map[string]engine.Approval{
		"expired":  {State: engine.Open, Expires: past},
		"reminded": {State: engine.Open, Expires: future, Remind: past.Add(-time.Second)},
		"future":   {State: engine.Open, Expires: future, Remind: future},
		"endless":  {State: engine.Open},
		"decided":  {State: engine.Granted, Expires: past},
	}
	ids := make(map[string]string)
	for name, a := range approvals {
		run := create(t, s, NewRun(), engine.Change{})
		ids[name] = run.ID
		update(t, s, run, false, func(r *engine.Run) engine.Change {
			a.ID = "a-" + name
			b := a
			b.ID = "b-" + name
			r.Approvals = []engine.Approval{a, b}
			return engine.Change{}
		})
	}
	got, err := s.Runs().Overdue(t.Context(), 10)
	if err != nil {
		t.Fatalf("Overdue: %v", err)
	}
	if diff := cmp.Diff([]string{ids["reminded"], ids["expired"]}, got); diff != "" {
		t.Errorf("Overdue (-want +got):\n%s", diff)
	}
	if got, err := s.Runs().Overdue(t.Context(), 1); err != nil || len(got) != 1 {
		t.Errorf("Overdue(1) = %v, %v", got, err)
	}
	update(t, s, find(t, s, ids["expired"]), false, func(r *engine.Run) engine.Change {
		for i := range r.Approvals {
			r.Approvals[i].State = engine.Expired
		}
		return engine.Change{}
	})
	if got, err := s.Runs().Overdue(t.Context(), 10); err != nil || len(got) != 1 {
		t.Errorf("Overdue after the expiry = %v, %v, want the reminded run alone", got, err)
	}
}

func testOutputIsApart(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	long := strings.Repeat("häßlich\n", 20_000)
	got := update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.Attempts = []engine.Attempt{{Seq: 1, Output: long}, {Seq: 2}}
		return engine.Change{}
	})
	if got.Attempts[0].Output != "" || find(t, s, run.ID).Attempts[0].Output != "" {
		t.Error("a loaded run carries its output")
	}
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.Attempts[0].State = engine.AttemptDone // keeps the output
		r.Attempts[1].Output = "late"
		return engine.Change{}
	})
	for seq, want := range map[int]string{1: long, 2: "late"} {
		if got, err := s.Runs().Output(t.Context(), run.ID, seq); err != nil || got != want {
			t.Errorf("Output(%d) has %d characters (%v), want %d", seq, len(got), err, len(want))
		}
	}
	if _, err := s.Runs().Output(t.Context(), run.ID, 3); !errors.Is(err, engine.ErrNoRun) {
		t.Errorf("Output of no attempt = %v, want ErrNoRun", err)
	}
}

func testHostileText(t *testing.T, s *store.Store) {
	run := NewRun()
	hostile := "a\x00b\xffc'; DROP TABLE runs; -- \u202e𝒳"
	run.Title, run.Params, run.RequestKey = hostile, map[string]any{"p": hostile}, hostile
	run = create(t, s, run, engine.Change{Audit: []engine.AuditEntry{{Act: hostile, Detail: hostile, Actor: access.Actor{Name: hostile}}}})
	want := "a\uFFFDb\uFFFDc'; DROP TABLE runs; -- \u202e𝒳"
	if run.Title != want {
		t.Errorf("Title = %q, want %q", run.Title, want)
	}
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.Attempts = []engine.Attempt{{Seq: 1, Found: hostile, Output: hostile, Result: json.RawMessage(`"\u0000"`)}}
		r.Approvals = []engine.Approval{{ID: "a", Card: outbox.Ask{Question: hostile}, Votes: []engine.Vote{{Reason: hostile}}}}
		return engine.Change{}
	})
	if out, err := s.Runs().Output(t.Context(), run.ID, 1); err != nil || out != want {
		t.Errorf("Output = %q, %v, want %q", out, err, want)
	}
	if got := create(t, s, &engine.Run{ID: "other", Digest: "d1", RequestKey: hostile, State: engine.Ready}, engine.Change{}); got.ID != run.ID {
		t.Error("the hostile request key was not found again")
	}
	if _, err := s.Runs().Find(t.Context(), hostile); !errors.Is(err, engine.ErrNoRun) {
		t.Errorf("Find(hostile) = %v, want ErrNoRun", err)
	}
	if _, _, err := s.Audit().Verify(t.Context()); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func testSignalsReady(t *testing.T, s *store.Store) {
	signal := s.Runs().Signal()
	drain(signal)
	run := create(t, s, NewRun(), engine.Change{})
	waitFor(t, "a signal after Create", signal)
	claim(t, s, "o")
	update(t, s, find(t, s, run.ID), true, func(r *engine.Run) engine.Change {
		r.State = engine.Waiting
		return engine.Change{Release: true}
	})
	drain(signal)
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.State = engine.Ready
		return engine.Change{}
	})
	waitFor(t, "a signal after an answer", signal)
}

func testUnknown(t *testing.T, s *store.Store) {
	for _, ref := range []string{"", "R1", "7", "R0", "R99999999999999999999", "nobody", "'"} {
		if _, err := s.Runs().Find(t.Context(), ref); !errors.Is(err, engine.ErrNoRun) {
			t.Errorf("Find(%q) = %v, want ErrNoRun", ref, err)
		}
	}
	if _, err := s.Runs().RunOf(t.Context(), "nothing"); !errors.Is(err, engine.ErrNoRun) {
		t.Errorf("RunOf = %v, want ErrNoRun", err)
	}
	_, err := s.Runs().Update(t.Context(), "nobody", nil, func(*engine.Run) (engine.Change, error) { return engine.Change{}, nil })
	if !errors.Is(err, engine.ErrNoRun) {
		t.Errorf("Update = %v, want ErrNoRun", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Runs().Claim(ctx, "o"); !errors.Is(err, context.Canceled) {
		t.Errorf("Claim with an ended context = %v, want context.Canceled", err)
	}
}
