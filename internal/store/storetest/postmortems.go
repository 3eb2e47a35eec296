package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/internal/store"
)

var postmortemTests = map[string]func(*testing.T, *store.Store){
	"PostmortemsAreKept": testPostmortemsAreKept,
	"PostmortemRaces":    testPostmortemRaces,
}

func incidentFor(t *testing.T, s *store.Store) *incidents.Incident {
	t.Helper()
	i, err := s.Incidents().Create(t.Context(), &incidents.Incident{ID: "i1", Title: "API down", State: incidents.Declared, Severity: incidents.Sev1},
		func(*incidents.Incident, time.Time) (incidents.Change, error) { return incidents.Change{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func testPostmortemsAreKept(t *testing.T, s *store.Store) {
	p := s.Postmortems()
	if _, err := p.Latest(t.Context(), "i1"); !errors.Is(err, postmortem.ErrNone) {
		t.Errorf("Latest() of nothing = %v", err)
	}
	if _, err := p.Save(t.Context(), postmortem.Version{Incident: "i1", Text: "x", By: Ann}, 0); err == nil {
		t.Error("saved for an incident that is not there")
	}
	i := incidentFor(t, s)
	v, err := p.Save(t.Context(), postmortem.Version{Incident: i.ID, Text: "# eins ä", By: Ann}, 0)
	if err != nil || v.Number != 1 || v.Text != "# eins ä" || !v.By.Same(Ann) || v.At.IsZero() {
		t.Fatalf("Save() = %+v, %v", v, err)
	}
	// The same again, as after a crash: nothing new.
	if again, err := p.Save(t.Context(), postmortem.Version{Incident: i.ID, Text: "# eins ä", By: Ann}, 0); err != nil || again.Number != 1 {
		t.Errorf("again = %+v, %v", again, err)
	}
	if v, err = p.Save(t.Context(), postmortem.Version{Incident: i.ID, Text: "# zwei", By: Ben}, 1); err != nil || v.Number != 2 {
		t.Errorf("second = %+v, %v", v, err)
	}
	if _, err := p.Save(t.Context(), postmortem.Version{Incident: i.ID, Text: "# drei", By: Ann}, 1); !errors.Is(err, postmortem.ErrChanged) {
		t.Errorf("over a newer one: %v", err)
	}
	if v, err := p.Latest(t.Context(), i.ID); err != nil || v.Text != "# zwei" {
		t.Errorf("Latest() = %+v, %v", v, err)
	}
}

func testPostmortemRaces(t *testing.T, s *store.Store) {
	i := incidentFor(t, s)
	var saved, changed atomic.Int64
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			_, err := s.Postmortems().Save(t.Context(), postmortem.Version{Incident: i.ID, Text: fmt.Sprint("# ", n), By: Ann}, 0)
			switch {
			case err == nil:
				saved.Add(1)
			case errors.Is(err, postmortem.ErrChanged):
				changed.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if saved.Load() != 1 || changed.Load() != 7 {
		t.Errorf("%d saved, %d were told of the change", saved.Load(), changed.Load())
	}
}
