package outreach_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/outreach"
	"opsbot/internal/dispatch"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
)

func TestDueDay(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	// 2026-11-26 is a Thursday.
	for _, c := range []struct{ resolved, now, want string }{
		{"2026-11-26 03:00", "2026-11-26 12:00", ""},
		{"2026-11-26 03:00", "2026-11-27 08:59", ""},
		{"2026-11-26 03:00", "2026-11-27 09:00", "2026-11-27"},
		{"2026-11-26 23:59", "2026-11-27 09:00", "2026-11-27"},
		{"2026-11-27 12:00", "2026-11-28 12:00", ""},           // Saturday
		{"2026-11-27 12:00", "2026-11-30 09:00", "2026-11-30"}, // Monday
		{"2026-11-26 03:00", "2026-11-29 20:00", "2026-11-27"}, // a weekend: still Friday's
		{"2026-11-26 03:00", "2026-12-01 08:00", "2026-11-30"},
		{"2026-11-26 03:00", "2026-12-01 10:00", "2026-12-01"},
	} {
		if day, due := outreach.DueDay(at(c.resolved), at(c.now)); day != c.want || due != (c.want != "") {
			t.Errorf("resolved %s, now %s: %q, %v, want %q", c.resolved, c.now, day, due, c.want)
		}
	}
	if _, due := outreach.DueDay(time.Time{}, at("2026-11-26 03:00")); due {
		t.Error("due for what is not resolved")
	}
}

// A reminder comes once a day, whoever asks for it how often, and not after
// the end.
func TestRemindOncePerDay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		tracker := incidents.New(incidents.Options{Store: s.Incidents(), Rules: incidents.DefaultRules()})
		i, err := s.Incidents().Create(t.Context(), &incidents.Incident{ID: "i1", Title: "API down", State: incidents.Resolved, Severity: incidents.Sev1, Resolved: time.Now()},
			func(*incidents.Incident, time.Time) (incidents.Change, error) { return incidents.Change{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range []string{"2026-11-27", "2026-11-27", "2026-11-30"} {
			if err := tracker.RemindOfPostmortem(t.Context(), i.ID, day); err != nil {
				t.Fatal(err)
			}
		}
		events, err := tracker.Events(t.Context(), i.ID)
		if err != nil || len(events) != 2 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		if said := incidents.Read(events)[0].Say(); said != "The post-mortem was due." {
			t.Errorf("the timeline says %q", said)
		}
		_, err = s.Incidents().Update(t.Context(), []string{i.ID}, "", func(list []*incidents.Incident, _ time.Time) ([]incidents.Change, error) {
			list[0].State = incidents.Closed
			return []incidents.Change{{}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := tracker.RemindOfPostmortem(t.Context(), i.ID, "2026-12-01"); err != nil {
			t.Fatal(err)
		}
		if events, err := tracker.Events(t.Context(), i.ID); err != nil || len(events) != 2 {
			t.Errorf("after the end: %d events, %v", len(events), err)
		}
	})
}

// Nothing about restricted incidents leaves the house.
func TestRestrictedPages(t *testing.T) {
	t.Parallel()
	i := &incidents.Incident{ID: "i1", Number: 7, Title: "Break-in by canary", Impact: "canary", Severity: incidents.Sev1, Security: true}
	p := outreach.Page(i, dispatch.Trigger, time.Now())
	parcel, err := p.Parcel("pagers.x", "1")
	if err != nil || strings.Contains(string(parcel.Body), "canary") || !json.Valid(parcel.Body) {
		t.Errorf("the page says %s, %v", parcel.Body, err)
	}
	if _, err := (outreach.Channel{Name: "#x"}).Carry(t.Context(), parcel); err == nil {
		t.Error("a page was published in a channel")
	}
}
