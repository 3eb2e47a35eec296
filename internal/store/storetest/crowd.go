package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/fault"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

var auditTests = map[string]func(*testing.T, *store.Store){
	"AuditKeepsEverything": testAuditKeepsEverything,
	"AuditPages":           testAuditPages,
	"AuditKeepsCauses":     testAuditKeepsCauses,
}

// crowdTests set many goroutines on one store.
var crowdTests = map[string]func(*testing.T, *store.Store){
	"ManyClaimers":     testManyClaimers,
	"ManyVoters":       testManyVoters,
	"ManyOfOneRequest": testManyOfOneRequest,
	"ManyForOnePart":   testManyForOnePart,
	"ManyForOneLock":   testManyForOneLock,
	"ManyDeliveries":   testManyDeliveries,
	"ManySenders":      testManySenders,
	"PanicsStayApart":  testPanicsStayApart,
	"ErrorsStayApart":  testErrorsStayApart,
}

const crowd = 20

// together runs fn for 0 … n-1 at once.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

// Every run is ended once. A claimer that a busy machine keeps waiting for longer
// than its lease may lose it, and only then may somebody else claim the run.
func testManyClaimers(t *testing.T, s *store.Store) {
	const runs = 60
	for range runs {
		create(t, s, NewRun(), engine.Change{})
	}
	var mu sync.Mutex
	until, ended := make(map[string]time.Time), make(map[string]int)
	together(crowd, func(i int) {
		owner := fmt.Sprintf("o%d", i)
		for {
			run, err := s.Runs().Claim(t.Context(), owner)
			if err != nil {
				t.Errorf("Claim: %v", err)
				return
			}
			mu.Lock()
			all := len(ended) == runs
			if run != nil {
				if at := run.LeaseUntil.Add(-engine.LeaseTime); at.Before(until[run.ID]) {
					t.Errorf("R%d was claimed by %s while another's lease was good", run.Number, owner)
				}
				until[run.ID] = run.LeaseUntil
			}
			mu.Unlock()
			if run == nil && all {
				return
			}
			if run != nil {
				fence := engine.Fence{Owner: owner, Epoch: run.Epoch}
				_, err := s.Runs().Update(t.Context(), run.ID, &fence, func(r *engine.Run) (engine.Change, error) {
					r.State = engine.Succeeded
					return engine.Change{Release: true, Audit: []engine.AuditEntry{{Act: "end", Run: r.ID}}}, nil
				})
				switch {
				case errors.Is(err, engine.ErrLeaseLost):
				case err != nil:
					t.Errorf("Update of R%d: %v", run.Number, err)
					return
				default:
					mu.Lock()
					ended[run.ID]++
					mu.Unlock()
				}
			}
		}
	})
	for id, n := range ended {
		if n != 1 {
			t.Errorf("run %s was ended %d times", id, n)
		}
	}
	if n, _, err := s.Audit().Verify(t.Context()); err != nil || n != runs {
		t.Errorf("Verify = %d, %v, want %d", n, err, runs)
	}
}

// Votes come in while the owner writes steps: nothing of either is lost.
func testManyVoters(t *testing.T, s *store.Store) {
	create(t, s, NewRun(), engine.Change{})
	run := claim(t, s, "o")
	update(t, s, run, true, func(r *engine.Run) engine.Change {
		r.Approvals = []engine.Approval{{ID: "a", State: engine.Open}}
		return engine.Change{}
	})
	var mu sync.Mutex
	epoch := run.Epoch
	// again claims the run once more, whose lease a busy machine let run out.
	again := func(lost int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		if epoch == lost {
			if run, err := s.Runs().Claim(t.Context(), "o"); err == nil && run != nil {
				epoch = run.Epoch
			}
		}
		return epoch
	}
	together(crowd, func(i int) {
		var fence *engine.Fence
		if i%2 == 0 {
			fence = &engine.Fence{Owner: "o", Epoch: run.Epoch}
		}
		if err := s.Runs().Heartbeat(t.Context(), "o"); err != nil && !unavailable(err) {
			t.Errorf("Heartbeat: %v", err)
		}
		for {
			_, err := s.Runs().Update(t.Context(), run.ID, fence, func(r *engine.Run) (engine.Change, error) {
				if said(r)[fmt.Sprint(i)] {
					return engine.Change{}, nil // by an attempt whose commit nobody heard of
				}
				if fence != nil {
					r.Attempts = append(r.Attempts, engine.Attempt{Seq: len(r.Attempts) + 1, Step: fmt.Sprint(i)})
				} else {
					r.Approvals[0].Votes = append(r.Approvals[0].Votes, engine.Vote{Decision: fmt.Sprint(i)})
				}
				return engine.Change{Notices: []outbox.Notice{line("card", "C1", "x")}, Audit: []engine.AuditEntry{{Act: "vote"}}}, nil
			})
			switch {
			case fence != nil && errors.Is(err, engine.ErrLeaseLost):
				fence.Epoch = again(fence.Epoch)
			case unavailable(err):
				// So busy is the machine; whoever writes tries again.
			case err != nil:
				t.Errorf("Update: %v", err)
				return
			default:
				return
			}
		}
	})
	got := find(t, s, run.ID)
	if seen := said(got); len(seen) != crowd || len(got.Approvals[0].Votes) != crowd/2 || len(got.Attempts) != crowd/2 {
		t.Errorf("%d of %d changes were kept, %d attempts and %d votes", len(seen), crowd, len(got.Attempts), len(got.Approvals[0].Votes))
	}
	if d := dueNow(t, s, "card x")[0]; d.Version != crowd {
		t.Errorf("the card has version %d, want %d", d.Version, crowd)
	}
}

// said is whose changes the run of testManyVoters holds.
func said(r *engine.Run) map[string]bool {
	seen := make(map[string]bool)
	for _, a := range r.Attempts {
		seen[a.Step] = true
	}
	for _, v := range r.Approvals[0].Votes {
		seen[v.Decision] = true
	}
	return seen
}

func unavailable(err error) bool { return err != nil && fault.KindOf(err) == fault.Unavailable }

func testManyOfOneRequest(t *testing.T, s *store.Store) {
	var mu sync.Mutex
	ids := make(map[string]int)
	together(crowd, func(int) {
		run := NewRun("demo/cache")
		run.RequestKey = "one"
		got, err := s.Runs().Create(t.Context(), run, engine.Change{})
		if err != nil {
			t.Errorf("Create: %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		ids[got.ID]++
	})
	if len(ids) != 1 {
		t.Errorf("one request made %d runs", len(ids))
	}
}

func testManyForOneLock(t *testing.T, s *store.Store) {
	var mu sync.Mutex
	won := 0
	together(crowd, func(i int) {
		locks := []string{"a", "b"}
		if i%2 == 0 {
			locks = []string{"b", "a"}
		}
		_, err := s.Runs().Create(t.Context(), NewRun(locks...), engine.Change{Audit: []engine.AuditEntry{{Act: "start"}}})
		var locked *engine.LockedError
		switch {
		case err == nil:
			mu.Lock()
			won++
			mu.Unlock()
		case !errors.As(err, &locked) || locked.Number != 1:
			t.Errorf("Create = %v, want a LockedError by R1", err)
		}
	})
	if won != 1 {
		t.Errorf("%d runs got the lock", won)
	}
}

// A whole and a part of it are two keys that exclude each other.
func testManyForOnePart(t *testing.T, s *store.Store) {
	whole, part := "a", "a"+engine.LockPart+"1"
	var mu sync.Mutex
	won := make(map[string]int)
	together(crowd, func(i int) {
		key := part
		if i%2 == 0 {
			key = whole
		}
		_, err := s.Runs().Create(t.Context(), NewRun(key), engine.Change{})
		var locked *engine.LockedError
		switch {
		case err == nil:
			mu.Lock()
			won[key]++
			mu.Unlock()
		case !errors.As(err, &locked):
			t.Errorf("Create = %v, want a LockedError", err)
		}
	})
	if won[whole]+won[part] != 1 {
		t.Errorf("the whole was locked %d times and its part %d times, want one of them once", won[whole], won[part])
	}
}

func testManyDeliveries(t *testing.T, s *store.Store) {
	const each = 5
	var mu sync.Mutex
	fresh, taken := 0, make(map[string]int)
	together(crowd, func(i int) {
		for k := range each {
			key := fmt.Sprintf("%d-%d", i/2, k) // two deliver each
			ok, err := s.Inbox().Record(t.Context(), inbox.Item{Key: key, Kind: "event", Received: time.Now()})
			if err != nil {
				t.Errorf("Record: %v", err)
			}
			items, err := s.Inbox().Next(t.Context(), fmt.Sprint(i), 3)
			if err != nil {
				t.Errorf("Next: %v", err)
			}
			mu.Lock()
			if ok {
				fresh++
			}
			for _, it := range items {
				taken[it.Key]++
			}
			mu.Unlock()
			for _, it := range items {
				if err := s.Inbox().Done(t.Context(), it.Key); err != nil {
					t.Errorf("Done: %v", err)
				}
			}
		}
	})
	for items := next(t, s, 100); len(items) > 0; items = next(t, s, 100) {
		for _, it := range items {
			taken[it.Key]++
		}
	}
	if want := crowd * each / 2; fresh != want || len(taken) != want {
		t.Errorf("%d fresh, %d taken, want %d", fresh, len(taken), want)
	}
	for key, n := range taken {
		if n != 1 {
			t.Errorf("%s was taken %d times", key, n)
		}
	}
}

func testManySenders(t *testing.T, s *store.Store) {
	const channels, each = 5, 8
	for i := range each {
		for c := range channels {
			say(t, s, line("", fmt.Sprint("C", c), fmt.Sprint(i)))
		}
	}
	var mu sync.Mutex
	got := make(map[string][]string)
	left := channels * each
	together(10, func(i int) {
		for {
			ds, err := s.Outbox().Due(t.Context(), fmt.Sprint(i), 2)
			if err != nil {
				t.Errorf("Due: %v", err)
				return
			}
			for _, d := range ds {
				mu.Lock()
				got[d.Notice.To.Channel] = append(got[d.Notice.To.Channel], d.Notice.Content.Summary())
				left--
				mu.Unlock()
				if err := s.Outbox().Sent(t.Context(), d, d.Notice.To.Channel, "1.1"); err != nil {
					t.Errorf("Sent: %v", err)
				}
			}
			mu.Lock()
			done := left <= 0
			mu.Unlock()
			if done {
				return
			}
		}
	})
	want := []string{"0", "1", "2", "3", "4", "5", "6", "7"}
	for c := range channels {
		if diff := cmp.Diff(want, got[fmt.Sprint("C", c)]); diff != "" {
			t.Errorf("channel %d (-want +got):\n%s", c, diff)
		}
	}
}

// Transactions that share a commit do not share their errors.
func testErrorsStayApart(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	boom := errors.New("boom")
	together(crowd, func(i int) {
		_, err := s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
			r.Attempts = append(r.Attempts, engine.Attempt{Seq: len(r.Attempts) + 1, Number: i})
			if i%3 == 1 {
				return engine.Change{}, boom
			}
			if i%3 == 2 {
				r.Attempts = append(r.Attempts, engine.Attempt{Seq: 1}) // which the database refuses
			}
			return engine.Change{}, nil
		})
		if (err == nil) != (i%3 == 0) || i%3 == 1 && err != boom {
			t.Errorf("Update %d = %v", i, err)
		}
	})
	got := find(t, s, run.ID)
	if len(got.Attempts) != (crowd+2)/3 {
		t.Errorf("%d attempts were kept, want %d", len(got.Attempts), (crowd+2)/3)
	}
	for _, a := range got.Attempts {
		if a.Number%3 != 0 {
			t.Errorf("attempt %d of the failed update %d was kept", a.Seq, a.Number)
		}
	}
}

func testAuditKeepsEverything(t *testing.T, s *store.Store) {
	want := store.AuditRow{Seq: 2, Actor: Ben, Act: "approve", Run: "r", Step: "s", Approval: "a", Digest: "d", Outcome: "granted", Detail: "why"}
	entry := engine.AuditEntry{Actor: want.Actor, Act: want.Act, Run: want.Run, Step: want.Step, Approval: want.Approval, Digest: want.Digest, Outcome: want.Outcome, Detail: want.Detail}
	if err := s.Audit().Append(t.Context(), engine.AuditEntry{Act: "first"}, entry); err != nil {
		t.Fatalf("Append: %v", err)
	}
	rows, err := s.Audit().List(t.Context(), 1, 10)
	if err != nil || len(rows) != 1 {
		t.Fatalf("List = %v, %v, want one entry", rows, err)
	}
	got := rows[0]
	if got.At.IsZero() || len(got.Hash) != 64 || len(got.PrevHash) != 64 {
		t.Errorf("at %v, hash %q after %q", got.At, got.Hash, got.PrevHash)
	}
	want.At, want.Hash, want.PrevHash = got.At, got.Hash, got.PrevHash
	if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "actor" }, cmp.Ignore())); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if n, hash, err := s.Audit().Verify(t.Context()); err != nil || n != 2 || hash != got.Hash {
		t.Errorf("Verify = %d, %q, %v, want 2, %q", n, hash, err, got.Hash)
	}
}

func testAuditPages(t *testing.T, s *store.Store) {
	const n = 1203 // more than two pages
	entries := make([]engine.AuditEntry, n)
	if err := s.Audit().Append(t.Context(), entries...); err != nil {
		t.Fatalf("Append: %v", err)
	}
	if got, _, err := s.Audit().Verify(t.Context()); err != nil || got != n {
		t.Errorf("Verify = %d, %v, want %d", got, err, n)
	}
}

// What followed from something is behind it, and nothing is there twice, however
// many write and seal at once.
func testAuditKeepsCauses(t *testing.T, s *store.Store) {
	const each = 40
	together(crowd, func(i int) {
		entry := func(n int) engine.AuditEntry {
			return engine.AuditEntry{Act: "act", Run: fmt.Sprint(i), Detail: fmt.Sprint(n)}
		}
		for n := 0; n < each; n += 2 {
			if err := s.Audit().Append(t.Context(), entry(n), entry(n+1)); err != nil {
				t.Errorf("Append: %v", err)
			}
			if n%10 == i%10 { // in the middle of what the others write
				if _, _, err := s.Audit().Verify(t.Context()); err != nil {
					t.Errorf("Verify meanwhile: %v", err)
				}
			}
		}
	})
	const all = crowd * each
	rows, err := s.Audit().List(t.Context(), 0, 2*all)
	if err != nil || len(rows) != all {
		t.Fatalf("List = %d entries, %v, want %d", len(rows), err, all)
	}
	if n, err := s.Audit().Unsealed(t.Context()); err != nil || n != 0 {
		t.Errorf("Unsealed = %d, %v, want 0", n, err)
	}
	next := make(map[string]int)
	for _, r := range rows {
		if r.Detail != fmt.Sprint(next[r.Run]) {
			t.Fatalf("entry %d says %s of %s, want %d", r.Seq, r.Detail, r.Run, next[r.Run])
		}
		next[r.Run]++
	}
	if n, _, err := s.Audit().Verify(t.Context()); err != nil || n != all {
		t.Errorf("Verify = %d, %v, want %d", n, err, all)
	}
}

func testPanicsStayApart(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	together(crowd, func(i int) {
		defer func() {
			if p := recover(); (p == "boom") != (i%2 == 1) {
				t.Errorf("Update %d panicked with %v", i, p)
			}
		}()
		_, err := s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
			r.Attempts = append(r.Attempts, engine.Attempt{Seq: len(r.Attempts) + 1})
			if i%2 == 1 {
				panic("boom")
			}
			return engine.Change{}, nil
		})
		if err != nil {
			t.Errorf("Update %d: %v", i, err)
		}
	})
	if n := len(find(t, s, run.ID).Attempts); n != crowd/2 {
		t.Errorf("%d attempts were kept, want %d", n, crowd/2)
	}
}
