package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/internal/alert"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
)

var alertTests = map[string]func(*testing.T, *store.Store){
	"AlertsHaveOneCard": testAlertsHaveOneCard,
	"AlertsInACrowd":    testAlertsInACrowd,
	"AlertsOnTimelines": testAlertsOnTimelines,
	"AlertsFlap":        testAlertsFlap,
}

func tell(t *testing.T, s *store.Store, group string, firing bool, says string, onsets ...string) bool {
	t.Helper()
	queued, err := s.Alerts().Tell(t.Context(), reportOf(group, firing, says, onsets...))
	if err != nil {
		t.Fatalf("Tell: %v", err)
	}
	return queued
}

// reportOf is a report in which all onsets are over if they end with a dot, or
// the group is.
func reportOf(group string, firing bool, says string, onsets ...string) alert.Report {
	r := alert.Report{Group: group, Firing: firing, Card: outbox.Alert{Title: says, State: "firing", Since: noon}}
	if !firing {
		r.Card.State = "resolved"
	}
	for _, id := range onsets {
		id, over := strings.CutSuffix(id, ".")
		o := alert.Onset{ID: id, Labels: id, Starts: noon}
		if over || !firing {
			o.Ends = noon.Add(4 * time.Minute)
		}
		r.Onsets = append(r.Onsets, o)
	}
	return r
}

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

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
	if want := []string{"alert/g/1 over is resolved", "alert/g/2 one is firing", "alert/other/1 one is firing"}; !slices.Equal(got, want) {
		t.Errorf("queued %q, want %q", got, want)
	}
}

func testAlertsInACrowd(t *testing.T, s *store.Store) {
	var cards atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if queued, err := s.Alerts().Tell(t.Context(), reportOf("g", true, "x", "a")); err != nil {
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

// adopt gives a group to an incident.
func adopt(t *testing.T, s *store.Store, id, group string) error {
	t.Helper()
	_, err := s.Incidents().Adopt(t.Context(), id, group, func(i *incidents.Incident, a incidents.Alerted, now time.Time) (incidents.Change, error) {
		if a.Other != "" {
			return incidents.Change{}, errors.New("it belongs to " + a.Other)
		}
		return i.Heed(a, now), nil
	})
	return err
}

// alertsOf lists what an incident's timeline tells of alerts.
func alertsOf(t *testing.T, s *store.Store, id string) (list []string) {
	t.Helper()
	for _, line := range timeline(t, s, id) {
		if text, ok := strings.CutPrefix(line, "alert "); ok {
			list = append(list, text)
		}
	}
	return list
}

// enter sets an incident's state.
func enter(t *testing.T, s *store.Store, id string, state incidents.State, into int64) {
	t.Helper()
	_, err := s.Incidents().Update(t.Context(), []string{id}, "", func(list []*incidents.Incident, _ time.Time) ([]incidents.Change, error) {
		list[0].State, list[0].Into = state, into
		return []incidents.Change{{}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testAlertsOnTimelines(t *testing.T, s *store.Store) {
	expect := func(id string, want ...string) {
		t.Helper()
		if got := alertsOf(t, s, id); !slices.Equal(got, want) {
			t.Errorf("on the timeline of %s is %q, want %q", id, got, want)
		}
	}
	if _, err := s.Incidents().Alert(t.Context(), "g"); !errors.Is(err, incidents.ErrNoAlert) {
		t.Errorf("Alert() of a group that nobody reported = %v, want ErrNoAlert", err)
	}
	tell(t, s, "early", true, "Early", "e")
	incidentWith(t, s, "a", bare)
	if err := adopt(t, s, "a", "nothing"); !errors.Is(err, incidents.ErrNoAlert) {
		t.Errorf("Adopt() of a group that nobody reported = %v, want ErrNoAlert", err)
	}
	if err := adopt(t, s, "nowhere", "early"); !errors.Is(err, incidents.ErrNone) {
		t.Errorf("Adopt() into no incident = %v, want ErrNone", err)
	}

	// The only one that is going on gets what begins and ends meanwhile.
	incidentWith(t, s, "drill", func(i *incidents.Incident, now time.Time) incidents.Change {
		i.Drill = true
		return bare(i, now)
	})
	var wg sync.WaitGroup
	for range 8 { // replicas of Alertmanager and of opsbot
		wg.Go(func() { tell(t, s, "g", true, "G", "a1", "b1") })
	}
	wg.Wait()
	tell(t, s, "twice", true, "G", "a1") // another route has the same alert
	expect("a", "Alert G fires (a1; b1)")
	tell(t, s, "early", false, "Early", "e")
	tell(t, s, "early", false, "Early", "e")
	expect("a", "Alert G fires (a1; b1)", "Alert Early ended (e) after 4 min.")

	// With two, nothing is guessed; an end goes where its beginning is.
	incidentWith(t, s, "b", bare)
	tell(t, s, "h", true, "H", "h1")
	tell(t, s, "g", true, "G", "a1.", "b1")
	expect("a", "Alert G fires (a1; b1)", "Alert Early ended (e) after 4 min.", "Alert G ended (a1) after 4 min; others of its group still fire.")
	expect("b")

	// What people say decides from then on, also over a merge.
	for range 2 {
		if err := adopt(t, s, "b", "h"); err != nil {
			t.Fatal(err)
		}
	}
	expect("b", "Alert H fires (h1)")
	if err := adopt(t, s, "a", "h"); err == nil {
		t.Error("a group belongs to two incidents")
	}
	if a, err := s.Incidents().Alert(t.Context(), "h"); err != nil || a.Incident == 0 || a.Name != "H" || !a.Firing || !a.Since.Equal(noon) || a.Reported.IsZero() || a.Episode != 1 {
		t.Errorf("Alert() = %+v, %v", a, err)
	}
	one, err := s.Incidents().Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	incidentWith(t, s, "c", bare)
	enter(t, s, "b", incidents.Merged, one.Number)
	tell(t, s, "h", false, "H", "h1")
	tell(t, s, "h", true, "H", "h2")
	if got := alertsOf(t, s, "a"); len(got) != 5 || got[3] != "Alert H ended (h1) after 4 min." || got[4] != "Alert H fires (h2)" {
		t.Errorf("after the merge the timeline has %q", got)
	}
	expect("b", "Alert H fires (h1)")

	// Once the work is done, what fires anew is something new.
	enter(t, s, "a", incidents.Postmortem, 0)
	tell(t, s, "h", true, "H", "h2", "h3")
	if got := alertsOf(t, s, "a"); len(got) != 5 {
		t.Errorf("in the post-mortem the timeline has %q", got)
	}
	expect("c", "Alert H fires (h3)")
	tell(t, s, "h", true, "H", "h2.", "h3")
	if got := alertsOf(t, s, "a"); len(got) != 6 {
		t.Errorf("the end is not where the beginning is: %q", got)
	}
	enter(t, s, "a", incidents.Closed, 0)
	tell(t, s, "h", false, "H", "h2", "h3")
	expect("c", "Alert H fires (h3)", "Alert H ended (h3) after 4 min.")
}

// What comes and goes does not bury what people did.
func testAlertsFlap(t *testing.T, s *store.Store) {
	incidentWith(t, s, "a", bare)
	for n := range incidents.MaxAlertEntries {
		onset := fmt.Sprint("o", n)
		tell(t, s, "g", true, "G", onset)
		tell(t, s, "g", false, "G", onset)
	}
	got := alertsOf(t, s, "a")
	if len(got) != incidents.MaxAlertEntries || !strings.Contains(got[len(got)-1], "from here on only its card tells") || strings.Contains(got[len(got)-2], "only its card") {
		t.Errorf("the timeline has %d entries, the last %q", len(got), got[len(got)-1])
	}
}
