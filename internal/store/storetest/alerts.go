package storetest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"opsbot/internal/alert"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
)

var alertTests = map[string]func(*testing.T, *store.Store){
	"AlertsHaveOneCard": testAlertsHaveOneCard,
	"AlertsInACrowd":    testAlertsInACrowd,
}

func tell(t *testing.T, s *store.Store, group string, firing bool, says string, onsets ...string) bool {
	t.Helper()
	queued, err := s.Alerts().Tell(t.Context(), alert.Report{Group: group, Firing: firing, Onsets: onsets, Content: outbox.Line{Text: says}})
	if err != nil {
		t.Fatalf("Tell: %v", err)
	}
	return queued
}

func testAlertsHaveOneCard(t *testing.T, s *store.Store) {
	for i, c := range []struct {
		group  string
		firing bool
		says   string
		onsets []string
		want   bool
	}{
		{"g", false, "over", []string{"a1"}, false}, // has no card
		{"g", true, "one", []string{"a1"}, true},
		{"g", true, "one", []string{"a1"}, false}, // a repeat
		{"other", true, "one", []string{"a1"}, true},
		{"g", true, "two", []string{"a1", "b1"}, true}, // an edit
		{"g", false, "over", []string{"a1", "b1"}, true},
		{"g", false, "over", []string{"a1", "b1"}, false},
		{"g", true, "one", []string{"a1"}, false}, // it was on its way for long
		{"g", true, "one", []string{"a2"}, true},  // it fires again
	} {
		if got := tell(t, s, c.group, c.firing, c.says, c.onsets...); got != c.want {
			t.Errorf("%d. Tell(%s, %v, %s, %v) = %v, want %v", i, c.group, c.firing, c.says, c.onsets, got, c.want)
		}
	}
	due, err := s.Outbox().Due(t.Context(), "test", 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range due {
		got = append(got, d.Notice.Key+" "+d.Notice.Content.Summary())
	}
	for len(due) > 0 { // one per conversation at a time
		for _, d := range due {
			if err := s.Outbox().Sent(t.Context(), d, "C1", d.Notice.Key); err != nil {
				t.Fatal(err)
			}
		}
		if due, err = s.Outbox().Due(t.Context(), "test", 100); err != nil {
			t.Fatal(err)
		}
		for _, d := range due {
			got = append(got, d.Notice.Key+" "+d.Notice.Content.Summary())
		}
	}
	slices.Sort(got)
	if want := []string{"alert/g/1 over", "alert/g/2 one", "alert/other/1 one"}; !slices.Equal(got, want) {
		t.Errorf("queued %q, want %q", got, want)
	}
}

func testAlertsInACrowd(t *testing.T, s *store.Store) {
	var cards atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if queued, err := s.Alerts().Tell(t.Context(), alert.Report{Group: "g", Firing: true, Onsets: []string{"a"}, Content: outbox.Line{Text: "x"}}); err != nil {
				t.Errorf("Tell: %v", err)
			} else if queued {
				cards.Add(1)
			}
		})
	}
	wg.Wait()
	if n := cards.Load(); n != 1 {
		t.Errorf("%d replicas queued a card, want 1", n)
	}
}
