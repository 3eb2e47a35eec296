package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/internal/dispatch"
	"opsbot/internal/store"
)

var outreachTests = map[string]func(*testing.T, *store.Store){
	"OutreachPublic":      testOutreachPublic,
	"OutreachCalls":       testOutreachCalls,
	"OutreachEscalations": testOutreachEscalations,
}

// incidentWith creates an incident and commits a change to it.
func incidentWith(t *testing.T, s *store.Store, id string, fn func(i *incidents.Incident, now time.Time) incidents.Change) {
	t.Helper()
	_, err := s.Incidents().Create(t.Context(), &incidents.Incident{ID: id, Title: "t " + id, State: incidents.Declared, Severity: incidents.Sev2},
		func(i *incidents.Incident, now time.Time) (incidents.Change, error) {
			i.Declared = now
			return fn(i, now), nil
		})
	if err != nil {
		t.Fatal(err)
	}
}

func testOutreachPublic(t *testing.T, s *store.Store) {
	told := func(id string, states ...incidents.UpdateState) func(*incidents.Incident, time.Time) incidents.Change {
		return func(i *incidents.Incident, now time.Time) incidents.Change {
			i.Drill, i.Security = id == "drill", id == "secret"
			if id == "over" {
				i.State = incidents.Resolved
			}
			var c incidents.Change
			for n, st := range states {
				u := incidents.Update{ID: fmt.Sprint(id, "-", n), Audience: incidents.ForUsers, Text: fmt.Sprint("text ", n), Word: "Investigating", By: Ann, At: now.Add(time.Duration(n) * time.Second), State: st}
				if st != incidents.Draft {
					u.Decided = now.Add(time.Duration(n) * time.Minute)
				}
				c.Updates = append(c.Updates, u)
			}
			c.Updates = append(c.Updates, incidents.Update{ID: id + "-teams", Audience: incidents.ForTeams, Text: "internal", By: Ann, At: now, State: incidents.Published})
			return c
		}
	}
	incidentWith(t, s, "over", told("over", incidents.Published, incidents.Failed))
	incidentWith(t, s, "drill", told("drill", incidents.Approved))
	incidentWith(t, s, "secret", told("secret", incidents.Approved))
	incidentWith(t, s, "now", told("now", incidents.Published, incidents.Rejected, incidents.Draft, incidents.Approved))
	list, err := s.Outreach().Public(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, i := range list {
		got += fmt.Sprintf("%d %s %v:", i.Number, i.Severity, i.Active)
		for _, u := range i.Updates {
			got += " " + u.ID
		}
		got += "; "
	}
	if want := "4 SEV2 true: now-3 now-0; 1 SEV2 false: over-1 over-0; "; got != want {
		t.Errorf("Public() = %q, want %q", got, want)
	}
	if len(list) == 2 && list[0].Updates[0].At.Sub(list[0].Updates[1].At) != 3*time.Minute {
		t.Errorf("it counts from the approval: %v", list[0].Updates)
	}
	approved, err := s.Outreach().Approved(t.Context(), 10)
	if err != nil || len(approved) != 3 {
		t.Fatalf("Approved() = %v, %v", approved, err)
	}
	for _, p := range approved {
		if p.Update.State != incidents.Approved || p.Incident+"-" != p.Update.ID[:len(p.Incident)+1] || !p.Update.By.Same(Ann) {
			t.Errorf("approved: %+v", p)
		}
	}
}

func testOutreachCalls(t *testing.T, s *store.Store) {
	calls := func() string {
		t.Helper()
		list, err := s.Outreach().Calls(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range list {
			got += fmt.Sprintf("%s %s %v; ", c.Incident, c.Place, c.Acknowledged)
			if c.Name != "1" && c.Name != "2" || c.At.IsZero() {
				t.Errorf("call %+v", c)
			}
		}
		return got
	}
	page := func(incident, place, action, call string) {
		t.Helper()
		p, err := dispatch.Page{Action: action, Key: incident, Title: "x"}.Parcel(place, call)
		if err != nil {
			t.Fatal(err)
		}
		add(t, s, p)
	}
	page("i1", "pagers.a", dispatch.Trigger, "1")
	page("i1", "pagers.b", dispatch.Trigger, "1")
	page("i2", "pagers.a", dispatch.Trigger, "1")
	add(t, s, dispatch.Parcel{Key: "update/1", Place: "p", Subject: "i1", Kind: dispatch.KindUpdate, Body: []byte("{}")})
	if got := calls(); got != "i1 pagers.a false; i1 pagers.b false; i2 pagers.a false; " {
		t.Errorf("Calls() = %s", got)
	}
	page("i1", "pagers.a", dispatch.Acknowledge, "1")
	page("i2", "pagers.a", dispatch.Resolve, "1")
	if got := calls(); got != "i1 pagers.a true; i1 pagers.b false; " {
		t.Errorf("Calls() = %s", got)
	}
	page("i2", "pagers.a", dispatch.Trigger, "2") // after it was reopened
	page("i1", "pagers.a", dispatch.Trigger, "2") // another call, which has to be called off for itself
	if got := calls(); got != "i1 pagers.a true; i1 pagers.b false; i2 pagers.a false; i1 pagers.a false; " {
		t.Errorf("Calls() = %s", got)
	}
}

func testOutreachEscalations(t *testing.T, s *store.Store) {
	nudge := func(seq int64, of, escalated string) incidents.Event {
		data := map[string]string{"of": of, "stage": "2"}
		if escalated != "" {
			data["escalated"] = escalated
		}
		return incidents.Event{Seq: seq, Kind: incidents.KindNudge, Actor: Ann, Data: data}
	}
	for _, id := range []string{"now", "over", "drill"} {
		incidentWith(t, s, id, func(i *incidents.Incident, _ time.Time) incidents.Change {
			i.Drill = id == "drill"
			if id == "over" {
				i.State = incidents.Resolved
			}
			i.Events = 3
			return incidents.Change{Events: []incidents.Event{nudge(1, "commander", ""), nudge(2, "comms", "true"), nudge(3, "commander", "true")}}
		})
	}
	look := func(want string) {
		t.Helper()
		list, err := s.Outreach().Escalations(context.Background(), 10)
		if got := fmt.Sprint(list); err != nil || got != want {
			t.Errorf("Escalations() = %s, %v, want %s", got, err, want)
		}
	}
	look("[{now 3}]")
	p, err := dispatch.Page{Action: dispatch.Trigger, Key: "now", Title: "x"}.Parcel("pagers.a", "escalation-3")
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, p)
	look("[]")
}
