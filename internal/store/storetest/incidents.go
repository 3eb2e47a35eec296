package storetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

var incidentTests = map[string]func(*testing.T, *store.Store){
	"IncidentsKeepWhatTheyAreGiven": testIncidentsKeepWhatTheyAreGiven,
	"RunsAreOnTheRecord":            testRunsAreOnTheRecord,
	"IncidentsByPage":               testIncidentsByPage,
	"ManyRunsAndPeopleAtOnce":       testManyRunsAndPeopleAtOnce,
}

func bare(_ *incidents.Incident, _ time.Time) incidents.Change { return incidents.Change{} }

func testIncidentsKeepWhatTheyAreGiven(t *testing.T, s *store.Store) {
	at := now(t, s)
	incidentWith(t, s, "a", func(i *incidents.Incident, _ time.Time) incidents.Change {
		i.Security, i.Drill, i.Room, i.Down, i.Into, i.Reopened = true, true, "C1", "the \x00API", 7, 3
		i.Started, i.Resolved = at, at.Add(time.Minute)
		i.Roles = []incidents.Role{{Kind: incidents.Commander, Actor: Ann, Since: at, Acting: true}, {Kind: incidents.Responder, Actor: Ben, Tag: "dba", Since: at, Accepted: at}}
		i.Clocks = []incidents.Clock{{Of: incidents.ForTeams, Interval: 90 * time.Second, Due: at, Snoozed: at, Stage: incidents.Mentioned, Wake: at.Add(time.Hour), Set: at, Nudge: 4}}
		i.Tasks = []incidents.Task{{Number: 1, Text: "x", Owner: "U1", Due: "2026-12-01", By: Ann, Done: at}}
		i.Last = &incidents.Update{ID: "u", Text: "y", At: at}
		i.Runs = []incidents.Run{{ID: "r", Number: 3, Title: "z"}}
		return incidents.Change{}
	})
	got, err := s.Incidents().Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("true true C1 the \uFFFDAPI 7 3 %v %v commander U1 true responder U2 dba 1m30s %v 2 4 1 x U1 y R3", at, at.Add(time.Minute), at.Add(time.Hour))
	c, k := got.Clocks[0], got.Tasks[0]
	is := fmt.Sprintf("%v %v %s %s %d %d %v %v %s %s %v %s %s %s %s %v %d %d %d %s %s %s R%d", got.Security, got.Drill, got.Room, got.Down, got.Into, got.Reopened, got.Started, got.Resolved,
		got.Roles[0].Kind, got.Roles[0].Actor.ID, got.Roles[0].Acting, got.Roles[1].Kind, got.Roles[1].Actor.ID, got.Roles[1].Tag,
		c.Interval, c.Wake, c.Stage, c.Nudge, k.Number, k.Text, k.Owner, got.Last.Text, got.Runs[0].Number)
	if is != want {
		t.Errorf("it came back as\n%s\nwant\n%s", is, want)
	}
	if ids, err := s.Incidents().Due(t.Context(), 10); err != nil || len(ids) != 0 {
		t.Errorf("Due() = %v, %v: its clock rings in an hour", ids, err)
	}
}

// A list can be read to its end, a page at a time, the newest first.
func testIncidentsByPage(t *testing.T, s *store.Store) {
	for n, state := range []incidents.State{incidents.Closed, incidents.Declared, incidents.Fixing, incidents.Resolved} {
		incidentWith(t, s, strconv.Itoa(n), func(i *incidents.Incident, _ time.Time) incidents.Change {
			i.State = state
			return incidents.Change{}
		})
	}
	for _, c := range []struct {
		q    incidents.Query
		want []int64
	}{
		{incidents.Query{}, []int64{4, 3, 2, 1}},
		{incidents.Query{Limit: 3}, []int64{4, 3, 2}},
		{incidents.Query{Limit: 3, Below: 2}, []int64{1}},
		{incidents.Query{Below: 1}, nil},
		{incidents.Query{Below: 4, Open: true}, []int64{3, 2}},
		{incidents.Query{Below: 3, Active: true}, []int64{2}},
	} {
		list, err := s.Incidents().List(t.Context(), c.q)
		var got []int64
		for _, i := range list {
			got = append(got, i.Number)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("List(%+v) = %v, %v, want %v", c.q, got, err, c.want)
		}
	}
}

// timeline lists what an incident's timeline tells of runs.
func timeline(t *testing.T, s *store.Store, id string) (list []string) {
	t.Helper()
	events, err := s.Incidents().Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for n, e := range events {
		if e.Seq != int64(n+1) {
			t.Errorf("event %d has the number %d", n+1, e.Seq)
		}
		list = append(list, string(e.Kind)+" "+e.Text)
	}
	return list
}

func testRunsAreOnTheRecord(t *testing.T, s *store.Store) {
	incidentWith(t, s, "a", bare)
	run := NewRun()
	run.Subject = "a"
	start := engine.AuditEntry{Actor: Ann, Act: "start", Run: run.ID, Outcome: "started"}
	run = create(t, s, run, engine.Change{Audit: []engine.AuditEntry{start}})
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		return engine.Change{Audit: []engine.AuditEntry{{Actor: Ben, Act: "alone", Run: r.ID, Step: "clear", Detail: "nobody is there"}}}
	})
	update(t, s, run, false, func(r *engine.Run) engine.Change {
		r.State, r.Verdict, r.Outcome = engine.Succeeded, "pass", "Done"
		return engine.Change{Audit: []engine.AuditEntry{{Act: "end", Run: r.ID}}}
	})
	want := []string{
		"run R1 Fix the cache on demo was started by ann.",
		"run ben went on with step clear of R1 without a second person: nobody is there.",
		"task Review afterwards: ben went on with step clear of R1 without a second person: nobody is there.",
		"run R1 Fix the cache on demo succeeded.",
	}
	if got := timeline(t, s, "a"); !slices.Equal(got, want) {
		t.Errorf("on record\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	i, err := s.Incidents().Load(t.Context(), "a")
	if err != nil || len(i.Runs) != 1 || i.Runs[0].State != "succeeded" || len(i.Tasks) != 1 || i.Tasks[0].Owner != "" {
		t.Errorf("it knows of %+v and %+v, %v", i.Runs, i.Tasks, err)
	}
	// What belongs to something else, or to nothing, is no affair of incidents.
	other := NewRun()
	other.Subject = "elsewhere"
	create(t, s, other, engine.Change{Audit: []engine.AuditEntry{{Actor: Ann, Act: "start", Run: other.ID}}})
	if got := timeline(t, s, "a"); len(got) != len(want) {
		t.Errorf("on record %q", got)
	}
}

// Runs, people and clocks write to one incident at once: nothing is lost, the
// numbers have no gap, and nobody waits for ever.
func testManyRunsAndPeopleAtOnce(t *testing.T, s *store.Store) {
	incidentWith(t, s, "a", bare)
	const runs, each = 4, 5
	var wg sync.WaitGroup
	for range runs {
		run := NewRun()
		run.Subject = "a"
		run = create(t, s, run, engine.Change{})
		wg.Go(func() {
			for range each {
				_, err := s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
					return engine.Change{Audit: []engine.AuditEntry{{Actor: Ann, Act: "pause", Run: r.ID}}}, nil
				})
				if err != nil {
					t.Errorf("Update of a run: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				_, err := s.Incidents().Update(t.Context(), []string{"a"}, "", func(list []*incidents.Incident, at time.Time) ([]incidents.Change, error) {
					list[0].Events++
					return []incidents.Change{{Events: []incidents.Event{{Seq: list[0].Events, Kind: incidents.KindNote, Actor: Ann, Text: "n", Occurred: at, Recorded: at}}}}, nil
				})
				if err != nil {
					t.Errorf("Update of the incident: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := timeline(t, s, "a"); len(got) != 2*runs*each {
		t.Errorf("%d events are on record, want %d", len(got), 2*runs*each)
	}
}
