package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/dispatch"
	"opsbot/internal/store"
)

var parcelTests = map[string]func(*testing.T, *store.Store){
	"ParcelsAreKept":          testParcelsAreKept,
	"ParcelsInOrder":          testParcelsInOrder,
	"ParcelsTriedAgain":       testParcelsTriedAgain,
	"ParcelsToldOnce":         testParcelsToldOnce,
	"ParcelsForOneReplica":    testParcelsForOneReplica,
	"ParcelsDeliveredForGood": testParcelsDeliveredForGood,
}

func parcel(key, place, subject string) dispatch.Parcel {
	return dispatch.Parcel{Key: key, Place: place, Subject: subject, Kind: dispatch.KindPage, Body: []byte(`{"title":"Köln \u0000 <&>"}`)}
}

func add(t *testing.T, s *store.Store, list ...dispatch.Parcel) {
	t.Helper()
	if err := s.Parcels().Add(t.Context(), list...); err != nil {
		t.Fatalf("Add: %v", err)
	}
}

func dueParcels(t *testing.T, s *store.Store) (list []dispatch.Parcel, keys []string) {
	t.Helper()
	list, err := s.Parcels().Due(t.Context(), "o", 10)
	if err != nil {
		t.Fatalf("Due: %v", err)
	}
	for _, p := range list {
		keys = append(keys, p.Key)
	}
	return list, keys
}

func settle(t *testing.T, s *store.Store, p dispatch.Parcel, state dispatch.State, wait time.Duration) dispatch.Outcome {
	t.Helper()
	o := dispatch.Outcome{Parcel: p, State: state, Why: "It rains.", Link: "https://example.com/1"}
	if err := s.Parcels().Settle(t.Context(), o, wait); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	return o
}

func outcomes(t *testing.T, s *store.Store, subject string) []dispatch.Outcome {
	t.Helper()
	list, err := s.Parcels().List(t.Context(), subject)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	return list
}

func testParcelsAreKept(t *testing.T, s *store.Store) {
	p := parcel("page/1", "pagers.oncall", "i1")
	add(t, s, p)
	p.Body = []byte("another")
	add(t, s, p) // once and for all
	list := outcomes(t, s, "i1")
	want := parcel("page/1", "pagers.oncall", "i1")
	if len(list) != 1 || list[0].Created.IsZero() || list[0].ID == 0 {
		t.Fatalf("List = %+v", list)
	}
	want.ID, want.Created = list[0].ID, list[0].Created
	if diff := cmp.Diff(dispatch.Outcome{Parcel: want, State: dispatch.Waiting, At: list[0].At}, list[0]); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if got := outcomes(t, s, "i2"); len(got) != 0 {
		t.Errorf("another subject has %v", got)
	}
	got, _ := dueParcels(t, s)
	if diff := cmp.Diff([]dispatch.Parcel{want}, got); diff != "" {
		t.Errorf("Due (-want +got):\n%s", diff)
	}
}

func testParcelsInOrder(t *testing.T, s *store.Store) {
	add(t, s, parcel("a1", "a", "i1"), parcel("a2", "a", "i1"), parcel("b1", "b", "i1"), parcel("a3", "a", "i2"))
	list, keys := dueParcels(t, s)
	if want := []string{"a1", "b1", "a3"}; !slices.Equal(keys, want) {
		t.Fatalf("Due = %v, want %v", keys, want)
	}
	if _, keys := dueParcels(t, s); len(keys) != 0 {
		t.Errorf("leased ones are due: %v", keys)
	}
	// What comes after it waits, whether it was delivered late or never.
	settle(t, s, list[0], dispatch.Late, time.Hour)
	if _, keys := dueParcels(t, s); len(keys) != 0 {
		t.Errorf("overtaken: %v", keys)
	}
	settle(t, s, list[0], dispatch.Failed, 0)
	if _, keys := dueParcels(t, s); !slices.Equal(keys, []string{"a2"}) {
		t.Errorf("after it was given up: %v", keys)
	}
}

func testParcelsTriedAgain(t *testing.T, s *store.Store) {
	add(t, s, parcel("a", "a", "i1"))
	for tries := range 3 {
		var list []dispatch.Parcel
		for deadline := time.Now().Add(time.Minute); len(list) == 0; list, _ = dueParcels(t, s) {
			if time.Now().After(deadline) {
				t.Fatalf("it is not due again after %d tries", tries)
			}
		}
		if list[0].Tries != tries {
			t.Errorf("tries = %d, want %d", list[0].Tries, tries)
		}
		settle(t, s, list[0], dispatch.Late, 20*time.Millisecond)
	}
	if got := outcomes(t, s, "i1")[0]; got.State != dispatch.Late || got.Why != "It rains." || got.Tries != 3 {
		t.Errorf("outcome = %+v", got)
	}
}

func testParcelsToldOnce(t *testing.T, s *store.Store) {
	add(t, s, parcel("a", "a", "i1"), parcel("b", "b", "i1"))
	untold := func(want string) []dispatch.Outcome {
		t.Helper()
		list, err := s.Parcels().Untold(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, o := range list {
			got += fmt.Sprintf("%s %s ", o.Key, o.State)
		}
		if got != want {
			t.Errorf("Untold = %q, want %q", got, want)
		}
		return list
	}
	untold("")
	list, _ := dueParcels(t, s)
	settle(t, s, list[0], dispatch.Late, 0)
	settle(t, s, list[1], dispatch.Delivered, 0)
	for _, o := range untold("a late b delivered ") {
		if err := s.Parcels().Told(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	untold("")
	settle(t, s, list[0], dispatch.Late, 0) // again: nothing new
	untold("")
	settle(t, s, list[0], dispatch.Failed, 0)
	untold("a failed ")
}

func testParcelsForOneReplica(t *testing.T, s *store.Store) {
	for n := range 20 {
		add(t, s, parcel(fmt.Sprint("k", n), fmt.Sprint("p", n), "i"))
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 10 {
				list, err := s.Parcels().Due(t.Context(), fmt.Sprint("owner", n), 3)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, p := range list {
					seen[p.Key]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 20 {
		t.Errorf("%d of 20 were handed out", len(seen))
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s was handed out %d times", key, n)
		}
	}
}

func testParcelsDeliveredForGood(t *testing.T, s *store.Store) {
	add(t, s, parcel("a", "a", "i1"))
	list, _ := dueParcels(t, s)
	settle(t, s, list[0], dispatch.Delivered, 0)
	settle(t, s, list[0], dispatch.Late, 0) // another one that lost its lease
	if got := outcomes(t, s, "i1")[0]; got.State != dispatch.Delivered || got.Link != "https://example.com/1" {
		t.Errorf("outcome = %+v", got)
	}
	if _, keys := dueParcels(t, s); len(keys) != 0 {
		t.Errorf("due: %v", keys)
	}
}
