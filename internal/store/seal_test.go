package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// leave puts entries where a process leaves them that is killed before it seals.
func leave(t *testing.T, url string, details ...string) {
	t.Helper()
	for _, d := range details {
		storetest.Exec(t, url, `INSERT INTO audit_unsealed (at, actor, act, run_id, step, approval, digest, outcome, detail)
			VALUES (1, '{}', 'act', 'r', '', '', '', '', $1)`, d)
	}
}

func look(t *testing.T, url string) store.Audit {
	t.Helper()
	s, err := store.OpenReadOnly(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Audit()
}

func counts(t *testing.T, a store.Audit) (sealed, unsealed int64) {
	t.Helper()
	sealed, _, err := a.Verify(t.Context())
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if unsealed, err = a.Unsealed(t.Context()); err != nil {
		t.Fatalf("Unsealed: %v", err)
	}
	return sealed, unsealed
}

// What a killed process has committed and not sealed is sealed by any other,
// once and in order.
func TestKilledBeforeSealing(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	a := storetest.OpenURL(t, url)
	if err := a.Audit().Append(t.Context(), engine.AuditEntry{Act: "before", Run: "r"}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := a.Audit().Verify(t.Context()); err != nil || n != 1 {
		t.Fatalf("Verify = %d, %v, want 1", n, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	const left = 1207 // more than two batches
	storetest.Exec(t, url, fmt.Sprintf(`INSERT INTO audit_unsealed (at, actor, act, run_id, step, approval, digest, outcome, detail)
		SELECT 1, '{}', 'act', 'r', '', '', '', '', CAST(n AS TEXT) FROM generate_series(1, %d) n`, left))
	reader := look(t, url)
	if sealed, unsealed := counts(t, reader); sealed != 1 || unsealed != left {
		t.Errorf("who only reads finds %d sealed and %d unsealed entries, want 1 and %d", sealed, unsealed, left)
	}
	a, b := storetest.OpenURL(t, url), storetest.OpenURL(t, url)
	done := make(chan error, 10)
	for i := range cap(done) { // several sealers
		go func() {
			_, err := []*store.Store{a, b}[i%2].Audit().List(t.Context(), 0, 1)
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Errorf("List: %v", err)
		}
	}
	if sealed, unsealed := counts(t, reader); sealed != 1+left || unsealed != 0 {
		t.Errorf("%d sealed and %d unsealed entries, want %d and 0", sealed, unsealed, 1+left)
	}
	rows, err := b.Audit().List(t.Context(), 1, left)
	if err != nil || len(rows) != left {
		t.Fatalf("List = %d entries, %v, want %d", len(rows), err, left)
	}
	for i, r := range rows {
		if r.Detail != fmt.Sprint(i+1) {
			t.Fatalf("entry %d is the %s., want the %d.", r.Seq, r.Detail, i+1)
		}
	}
}

// A process that lives seals what it committed, and what others left, without
// being asked.
func TestSealsByItself(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	s := storetest.OpenURL(t, url)
	reader := look(t, url)
	await := func(want int64) {
		t.Helper()
		for deadline := time.Now().Add(90 * time.Second); ; {
			if sealed, unsealed := counts(t, reader); sealed == want && unsealed == 0 {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%d sealed and %d unsealed entries, want %d and 0", sealed, unsealed, want)
			}
		}
	}
	if err := s.Audit().Append(t.Context(), engine.AuditEntry{Act: "a"}, engine.AuditEntry{Act: "b"}); err != nil {
		t.Fatal(err)
	}
	await(2)
	leave(t, url, "x", "y")
	storetest.Serve(t, s)
	await(4)
	if err := s.Audit().Append(t.Context(), engine.AuditEntry{Act: "last"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if sealed, unsealed := counts(t, reader); sealed != 5 || unsealed != 0 {
		t.Errorf("after Close: %d sealed and %d unsealed entries, want 5 and 0", sealed, unsealed)
	}
}

// What is not sealed yet can be taken away without a trace: this is the
// difference that sealing makes. What is sealed cannot, also when it was the
// chain's end and more was sealed since.
func TestTamperingBeforeSealing(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	s := storetest.OpenURL(t, url)
	leave(t, url, "1", "2", "3")
	if sealed, _ := counts(t, s.Audit()); sealed != 3 {
		t.Fatalf("%d sealed entries, want 3", sealed)
	}
	leave(t, url, "4", "5")
	storetest.Exec(t, url, `DELETE FROM audit_unsealed WHERE detail = '5'`)
	if sealed, _ := counts(t, s.Audit()); sealed != 4 {
		t.Errorf("%d sealed entries, want 4", sealed)
	}
	leave(t, url, "6")
	storetest.Exec(t, url, `DELETE FROM audit WHERE seq = 4`)
	for range 2 { // sealing on does not heal it
		_, _, err := s.Audit().Verify(t.Context())
		var tampered *store.TamperedError
		if !errors.As(err, &tampered) || tampered.Seq != 4 {
			t.Errorf("Verify = %v, want entry 4", err)
		}
	}
	if rows, err := s.Audit().List(t.Context(), 0, 10); err != nil || len(rows) != 4 {
		t.Errorf("List = %d entries, %v, want those that are left", len(rows), err)
	}
}
