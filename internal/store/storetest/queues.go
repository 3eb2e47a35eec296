package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

var inboxTests = map[string]func(*testing.T, *store.Store){
	"InboxRecordsOnce": testInboxRecordsOnce,
	"InboxInOrder":     testInboxInOrder,
	"InboxDoneAnswers": testInboxDoneAnswers,
	"InboxLater":       testInboxLater,
}

var outboxTests = map[string]func(*testing.T, *store.Store){
	"OutboxKeepsEverything":   testOutboxKeepsEverything,
	"OutboxInOrder":           testOutboxInOrder,
	"OutboxCoalesces":         testOutboxCoalesces,
	"OutboxEditsWhilePosting": testOutboxEditsWhilePosting,
	"OutboxAnew":              testOutboxAnew,
	"OutboxUnder":             testOutboxUnder,
	"OutboxNotBefore":         testOutboxNotBefore,
	"OutboxLater":             testOutboxLater,
	"OutboxDrop":              testOutboxDrop,
	"OutboxForget":            testOutboxForget,
	"OutboxInTransactions":    testOutboxInTransactions,
	"Groups":                  testGroups,
}

// Serve lets the store keep itself in order until the test ends.
func Serve(t testing.TB, s *store.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func record(t testing.TB, s *store.Store, key string, want bool) {
	t.Helper()
	item := inbox.Item{Key: key, Kind: "slash_commands", Payload: []byte(`{"key":"` + key + `"}`), Received: time.UnixMilli(1_700_000_000_123).UTC()}
	fresh, err := s.Inbox().Record(t.Context(), item)
	if err != nil || fresh != want {
		t.Fatalf("Record(%q) = %v, %v, want %v", key, fresh, err, want)
	}
}

func next(t testing.TB, s *store.Store, limit int) []inbox.Item {
	t.Helper()
	items, err := s.Inbox().Next(t.Context(), "o", limit)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return items
}

func keys(items []inbox.Item) (out []string) {
	for _, it := range items {
		out = append(out, it.Key)
	}
	return out
}

func testInboxRecordsOnce(t *testing.T, s *store.Store) {
	drain(s.Inbox().Signal())
	record(t, s, "a", true)
	waitFor(t, "the inbox's signal", s.Inbox().Signal())
	record(t, s, "a", false)
	items := next(t, s, 10)
	want := []inbox.Item{{Key: "a", Kind: "slash_commands", Payload: []byte(`{"key":"a"}`), Received: time.UnixMilli(1_700_000_000_123).UTC(), Attempts: 1}}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("Next (-want +got):\n%s", diff)
	}
	record(t, s, "a", false)
	if err := s.Inbox().Done(t.Context(), "a"); err != nil {
		t.Fatalf("Done: %v", err)
	}
	record(t, s, "a", false)
	if items := next(t, s, 10); len(items) != 0 {
		t.Errorf("Next = %v after Done", items)
	}
	if _, err := s.Inbox().Record(t.Context(), inbox.Item{Kind: "event"}); err == nil {
		t.Error("Record without a key succeeded")
	}
}

func testInboxInOrder(t *testing.T, s *store.Store) {
	var want []string
	for i := range 12 {
		key := fmt.Sprintf("k%02d", 11-i)
		record(t, s, key, true)
		want = append(want, key)
	}
	got := append(keys(next(t, s, 5)), keys(next(t, s, 50))...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func testInboxDoneAnswers(t *testing.T, s *store.Store) {
	record(t, s, "a", true)
	next(t, s, 1)
	for range 2 { // the second finds it done and says nothing
		if err := s.Inbox().Done(t.Context(), "a", outbox.Notice{Content: outbox.Line{Text: "hello"}}); err != nil {
			t.Fatalf("Done: %v", err)
		}
	}
	sent(t, s, dueNow(t, s, " hello")[0], "C1", "1.1")
	dueNow(t, s)
}

func testInboxLater(t *testing.T, s *store.Store) {
	record(t, s, "a", true)
	record(t, s, "b", true)
	next(t, s, 1)
	if err := s.Inbox().Later(t.Context(), "a", now(t, s).Add(time.Hour), "Slack was away"); err != nil {
		t.Fatalf("Later: %v", err)
	}
	if diff := cmp.Diff([]string{"b"}, keys(next(t, s, 5))); diff != "" {
		t.Errorf("Next (-want +got):\n%s", diff)
	}
	if err := s.Inbox().Later(t.Context(), "a", now(t, s).Add(-time.Second), "now"); err != nil {
		t.Fatalf("Later: %v", err)
	}
	items := next(t, s, 5)
	if len(items) != 1 || items[0].Key != "a" || items[0].Attempts != 2 {
		t.Errorf("Next = %+v, want a for the second time", items)
	}
}

func say(t testing.TB, s *store.Store, notices ...outbox.Notice) {
	t.Helper()
	if err := s.Outbox().Enqueue(t.Context(), notices...); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
}

// dueNow leases what is due and expects it to be these, each "key text".
func dueNow(t testing.TB, s *store.Store, want ...string) []outbox.Delivery {
	t.Helper()
	ds, err := s.Outbox().Due(t.Context(), "o", 20)
	if err != nil {
		t.Fatalf("Due: %v", err)
	}
	var got []string
	for _, d := range ds {
		got = append(got, d.Notice.Key+" "+d.Notice.Content.Summary())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Due (-want +got):\n%s", diff)
	}
	return ds
}

func sent(t testing.TB, s *store.Store, d outbox.Delivery, channel, ts string) {
	t.Helper()
	if err := s.Outbox().Sent(t.Context(), d, channel, ts); err != nil {
		t.Fatalf("Sent: %v", err)
	}
}

func line(key, channel, text string) outbox.Notice {
	return outbox.Notice{Key: key, To: outbox.Conversation{Channel: channel}, Content: outbox.Line{Text: text}}
}

func testOutboxKeepsEverything(t *testing.T, s *store.Store) {
	want := outbox.Notice{
		Key: "k", To: outbox.Conversation{Channel: "C1", Thread: "1.2", Stay: true}, Only: "U1", Reply: "https://hooks.slack.com/x",
		Content: outbox.Ask{Approval: "a", Question: "Why <not> & \"so\"?", Votes: []outbox.Vote{{User: "U1"}}}, NotBefore: time.UnixMilli(1_700_000_000_123).UTC(),
	}
	drain(s.Outbox().Signal())
	say(t, s, want)
	waitFor(t, "the outbox's signal", s.Outbox().Signal())
	ds, err := s.Outbox().Due(t.Context(), "o", 1)
	if err != nil || len(ds) != 1 {
		t.Fatalf("Due = %v, %v", ds, err)
	}
	if diff := cmp.Diff(outbox.Delivery{ID: ds[0].ID, Notice: want, Version: 1}, ds[0]); diff != "" {
		t.Errorf("Due (-want +got):\n%s", diff)
	}
	if err := s.Outbox().Enqueue(t.Context(), outbox.Notice{}); err == nil {
		t.Error("Enqueue of nothing to say succeeded")
	}
}

func testOutboxInOrder(t *testing.T, s *store.Store) {
	say(t, s, line("", "C1", "1"), line("", "C1", "2"), line("", "C2", "3"), line("", "C1", "4"),
		outbox.Notice{To: outbox.Conversation{Channel: "C1", Thread: "9.9"}, Content: outbox.Line{Text: "5"}},
		outbox.Notice{To: outbox.Conversation{Channel: "C1"}, Reply: "https://r", Content: outbox.Line{Text: "6"}})
	ds := dueNow(t, s, " 1", " 3", " 5", " 6")
	dueNow(t, s) // the second of C1 waits for the first
	sent(t, s, ds[0], "C1", "1.1")
	ds = dueNow(t, s, " 2")
	sent(t, s, ds[0], "C1", "1.2")
	ds = dueNow(t, s, " 4")
	sent(t, s, ds[0], "C1", "1.3")
	dueNow(t, s)
}

func testOutboxCoalesces(t *testing.T, s *store.Store) {
	say(t, s, line("k", "C1", "old"), line("", "C1", "after"))
	say(t, s, line("k", "C1", "newer"))
	say(t, s, line("k", "C1", "newest"))
	ds := dueNow(t, s, "k newest")
	if ds[0].Version != 3 || ds[0].TS != "" {
		t.Errorf("version %d at %q, want 3, not posted", ds[0].Version, ds[0].TS)
	}
	sent(t, s, ds[0], "C1", "1.1")
	sent(t, s, dueNow(t, s, " after")[0], "C1", "1.2")
	say(t, s, line("k", "C1", "edit"))
	ds = dueNow(t, s, "k edit")
	if ds[0].Version != 4 || ds[0].Channel != "C1" || ds[0].TS != "1.1" {
		t.Errorf("the edit has version %d at %s %s, want 4 at C1 1.1", ds[0].Version, ds[0].Channel, ds[0].TS)
	}
}

func testOutboxEditsWhilePosting(t *testing.T, s *store.Store) {
	say(t, s, line("k", "C1", "post"))
	d := dueNow(t, s, "k post")[0]
	say(t, s, line("k", "C1", "edit"))
	dueNow(t, s) // not before the post has arrived
	sent(t, s, d, "C1", "1.1")
	d = dueNow(t, s, "k edit")[0]
	if d.TS != "1.1" || d.Version != 2 {
		t.Errorf("the edit has version %d at %q, want 2 at 1.1", d.Version, d.TS)
	}
	sent(t, s, d, "C1", "1.1")
	dueNow(t, s)
}

// A message that moves is posted anew, also when it is being posted or edited in
// its former place; what belongs under it waits for that.
func testOutboxAnew(t *testing.T, s *store.Store) {
	run, err := s.Runs().Create(t.Context(), NewRun(), engine.Change{})
	if err != nil {
		t.Fatal(err)
	}
	move := func(notices ...outbox.Notice) {
		t.Helper()
		_, err := s.Runs().Update(t.Context(), run.ID, nil, func(*engine.Run) (engine.Change, error) {
			return engine.Change{Anew: []string{"k"}, Notices: notices}, nil
		})
		if err != nil {
			t.Fatalf("Update: %v", err)
		}
	}
	under := outbox.Notice{Under: "k", Content: outbox.Line{Text: "reply"}}
	say(t, s, line("k", "C1", "post"))
	d := dueNow(t, s, "k post")[0]
	move(line("k", "C2", "there"), under)
	sent(t, s, d, "C1", "1.1")
	d = dueNow(t, s, "k there")[0]
	if d.TS != "" || d.Notice.To.Channel != "C2" {
		t.Errorf("it is posted to %s, edited at %q, want C2, anew", d.Notice.To.Channel, d.TS)
	}
	sent(t, s, d, "C2", "2.2")
	sent(t, s, dueNow(t, s, " reply")[0], "C2", "2.3")
	move()
	say(t, s, line("k", "C3", "later"))
	if d = dueNow(t, s, "k later")[0]; d.TS != "" {
		t.Errorf("it is edited at %q, want anew", d.TS)
	}
	sent(t, s, d, "C3", "3.3")
	say(t, s, line("k", "C3", "edit"))
	if d = dueNow(t, s, "k edit")[0]; d.TS != "3.3" {
		t.Errorf("it is edited at %q, want 3.3", d.TS)
	}
}

func testOutboxUnder(t *testing.T, s *store.Store) {
	reply := func(text string) outbox.Notice {
		return outbox.Notice{Under: "card", To: outbox.Conversation{Channel: "C1"}, Content: outbox.Line{Text: text}}
	}
	say(t, s, reply("early"))
	dueNow(t, s)
	say(t, s, line("card", "C1", "card"), reply("second"))
	d := dueNow(t, s, "card card")[0]
	dueNow(t, s)
	sent(t, s, d, "C9", "5.5") // it went elsewhere, and its thread with it
	d = dueNow(t, s, " early")[0]
	if d.ParentTS != "5.5" || d.ParentChannel != "C9" {
		t.Errorf("the reply goes to %s under %q, want C9 under 5.5", d.ParentChannel, d.ParentTS)
	}
	sent(t, s, d, "C9", "5.6")
	dueNow(t, s, " second")

	// A parent that was given up holds up nothing.
	say(t, s, line("lost", "C2", "lost"), outbox.Notice{Under: "lost", To: outbox.Conversation{Channel: "C2"}, Content: outbox.Line{Text: "orphan"}})
	d = dueNow(t, s, "lost lost")[0]
	if err := s.Outbox().Drop(t.Context(), d, "is_archived", nil); err != nil {
		t.Fatalf("Drop: %v", err)
	}
	if d = dueNow(t, s, " orphan")[0]; d.ParentTS != "" {
		t.Errorf("the orphan has the parent %q", d.ParentTS)
	}
}

func testOutboxNotBefore(t *testing.T, s *store.Store) {
	later := line("reminder", "C1", "later")
	later.NotBefore = now(t, s).Add(time.Hour)
	say(t, s, later, line("", "C1", "now"))
	sent(t, s, dueNow(t, s, " now")[0], "C1", "1.1")
	dueNow(t, s)
	later.NotBefore = now(t, s).Add(-time.Second)
	say(t, s, later)
	dueNow(t, s, "reminder later")
}

func testOutboxLater(t *testing.T, s *store.Store) {
	say(t, s, line("k", "C1", "first"), line("", "C1", "second"), line("", "C2", "elsewhere"))
	ds := dueNow(t, s, "k first", " elsewhere")
	if err := s.Outbox().Later(t.Context(), ds[0], now(t, s).Add(time.Hour), "rate limited"); err != nil {
		t.Fatalf("Later: %v", err)
	}
	dueNow(t, s) // the second waits behind the first
	if err := s.Outbox().Later(t.Context(), ds[0], now(t, s).Add(-time.Second), "again"); err != nil {
		t.Fatalf("Later: %v", err)
	}
	if d := dueNow(t, s, "k first")[0]; d.Attempts != 2 {
		t.Errorf("Attempts = %d, want 2", d.Attempts)
	}
}

func testOutboxDrop(t *testing.T, s *store.Store) {
	say(t, s, line("k", "C1", "card"))
	d := dueNow(t, s, "k card")[0]
	sent(t, s, d, "C1", "1.1")
	say(t, s, line("k", "C1", "edit"), line("", "C1", "next"))
	d = dueNow(t, s, "k edit")[0]
	instead := line("k", "COPS", "edit, elsewhere")
	if err := s.Outbox().Drop(t.Context(), d, "is_archived", &instead); err != nil {
		t.Fatalf("Drop: %v", err)
	}
	ds := dueNow(t, s, " next", "k edit, elsewhere")
	if ds[1].TS != "" || ds[1].Version <= d.Version {
		t.Errorf("instead: version %d after %d, to edit %q, want a higher one and a new post", ds[1].Version, d.Version, ds[1].TS)
	}
	// What was replaced meanwhile takes its own chance.
	say(t, s, line("k", "COPS", "newer"))
	if err := s.Outbox().Drop(t.Context(), ds[1], "invalid_blocks", &instead); err != nil {
		t.Fatalf("Drop: %v", err)
	}
	dueNow(t, s, "k newer")
}

func testOutboxForget(t *testing.T, s *store.Store) {
	say(t, s, line("k", "C1", "card"))
	sent(t, s, dueNow(t, s, "k card")[0], "C1", "1.1")
	say(t, s, line("k", "C1", "edit"))
	if d := dueNow(t, s, "k edit")[0]; d.TS != "1.1" {
		t.Fatalf("TS = %q, want 1.1", d.TS)
	} else if err := s.Outbox().Forget(t.Context(), "k"); err != nil {
		t.Fatalf("Forget: %v", err)
	} else if err := s.Outbox().Later(t.Context(), d, now(t, s).Add(-time.Second), "message_not_found"); err != nil {
		t.Fatalf("Later: %v", err)
	}
	if d := dueNow(t, s, "k edit")[0]; d.TS != "" || d.Version != 2 {
		t.Errorf("after Forget: version %d at %q, want 2, not posted", d.Version, d.TS)
	}
}

func testOutboxInTransactions(t *testing.T, s *store.Store) {
	notice := func(text string) engine.Change {
		return engine.Change{Notices: []outbox.Notice{line("card", "C1", text)}}
	}
	run := create(t, s, NewRun("l"), notice("created"))
	update(t, s, run, false, func(*engine.Run) engine.Change { return notice("updated") })
	if _, err := s.Runs().Create(t.Context(), NewRun("l"), notice("refused")); err == nil {
		t.Fatal("Create of a locked run succeeded")
	}
	_, err := s.Runs().Update(t.Context(), run.ID, nil, func(*engine.Run) (engine.Change, error) { return notice("failed"), context.Canceled })
	if err == nil {
		t.Fatal("Update succeeded")
	}
	if d := dueNow(t, s, "card updated")[0]; d.Version != 2 {
		t.Errorf("Version = %d, want 2", d.Version)
	}
}

func testGroups(t *testing.T, s *store.Store) {
	if users, at, err := s.Groups().Find(t.Context(), "sre"); err != nil || users != nil || !at.IsZero() {
		t.Errorf("Find = %v, %v, %v, want nothing known", users, at, err)
	}
	for _, want := range [][]string{{"U1", "U2"}, {}, {"U3"}} {
		before := now(t, s)
		if err := s.Groups().Put(t.Context(), "sre", want); err != nil {
			t.Fatalf("Put: %v", err)
		}
		users, at, err := s.Groups().Find(t.Context(), "sre")
		if err != nil || at.Before(before) {
			t.Errorf("Find at %v, %v, want at or after %v", at, err, before)
		}
		if diff := cmp.Diff(want, users); diff != "" {
			t.Errorf("Find (-want +got):\n%s", diff)
		}
	}
}
