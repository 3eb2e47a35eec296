package storetest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/store"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// testWholeRun sets every field there is, so that one that is added to the
// engine's types and not to the tables is found.
func testWholeRun(t *testing.T, s *store.Store) {
	run := NewRun()
	f := filler{t: t}
	f.fill(reflect.ValueOf(run).Elem(), "Run")
	run.Offers, run.Attempts, run.Approvals = nil, nil, nil
	run.State, run.Paused, run.Owner, run.Epoch, run.LeaseUntil = engine.Ready, false, "", 0, time.Time{}
	run.WakeAt = time.Time{}
	run.Number, run.Waiters = 1, 0
	got := create(t, s, run, engine.Change{})
	if diff := cmp.Diff(run, got); diff != "" {
		t.Errorf("Create (-want +got):\n%s", diff)
	}
	want := claim(t, s, "o")
	f.fill(reflect.ValueOf(&want.Attempts).Elem(), "Attempts")
	f.fill(reflect.ValueOf(&want.Approvals).Elem(), "Approvals")
	f.fill(reflect.ValueOf(&want.Offers).Elem(), "Offers")
	for i := range want.Approvals {
		want.Approvals[i].Run = want.ID
	}
	got = update(t, s, want, true, func(r *engine.Run) engine.Change {
		r.Attempts, r.Approvals, r.Offers = want.Attempts, want.Approvals, want.Offers
		return engine.Change{}
	})
	for i := range want.Attempts {
		want.Attempts[i].Output = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Update returned (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, find(t, s, run.ID)); diff != "" {
		t.Errorf("Find (-want +got):\n%s", diff)
	}
	// And every field again, with other values.
	f.fill(reflect.ValueOf(&want.Title).Elem(), "Title")
	for i := range want.Attempts {
		seq := want.Attempts[i].Seq
		f.fill(reflect.ValueOf(&want.Attempts[i]).Elem(), "Attempts")
		want.Attempts[i].Seq = seq
	}
	for i := range want.Approvals {
		id, votes := want.Approvals[i].ID, want.Approvals[i].Votes
		f.fill(reflect.ValueOf(&want.Approvals[i]).Elem(), "Approvals")
		want.Approvals[i].ID, want.Approvals[i].Run, want.Approvals[i].Votes = id, want.ID, votes
	}
	for i := range want.Offers {
		id := want.Offers[i].ID
		f.fill(reflect.ValueOf(&want.Offers[i]).Elem(), "Offers")
		want.Offers[i].ID = id
	}
	update(t, s, want, true, func(r *engine.Run) engine.Change {
		r.Title, r.Attempts, r.Approvals, r.Offers = want.Title, want.Attempts, want.Approvals, want.Offers
		return engine.Change{}
	})
	for i := range want.Attempts {
		want.Attempts[i].Output = ""
	}
	if diff := cmp.Diff(want, find(t, s, run.ID)); diff != "" {
		t.Errorf("Find after the change (-want +got):\n%s", diff)
	}
	if got, err := s.Runs().RunOf(t.Context(), want.Approvals[0].ID); err != nil || got != run.ID {
		t.Errorf("RunOf = %q, %v, want %q", got, err, run.ID)
	}
}

// A filler sets everything to a value that nothing else has.
type filler struct {
	t *testing.T
	n int
}

func (f *filler) fill(v reflect.Value, path string) {
	f.n++
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.UnixMilli(1_700_000_000_000 + int64(f.n)).UTC()
		return
	case *runbooks.Effect:
		*p = runbooks.Effect(f.n % 3)
		return
	case *json.RawMessage:
		*p = json.RawMessage(fmt.Sprintf(`{"n":%d}`, f.n))
		return
	case *map[string]any:
		*p = map[string]any{fmt.Sprint("k", f.n): f.n, "list": []any{1.5, "x", map[string]any{"n": 1_000_000}}}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint(path, " ", f.n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(fmt.Sprint(path, f.n)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(v.Index(i), fmt.Sprint(path, ".", i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key, path)
		f.fill(value, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	default:
		f.t.Fatalf("%s: a %s cannot be filled in", path, v.Type())
	}
}
