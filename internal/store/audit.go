package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"opsbot/internal/access"
	"opsbot/runbooks/engine"
)

// An Audit is the audit log: an append-only chain in which each row's hash
// covers the row before.
type Audit struct{ s *Store }

// Audit returns the audit log.
func (s *Store) Audit() Audit { return Audit{s} }

// An AuditRow is one entry as it was kept.
type AuditRow struct {
	Seq      int64        `json:"seq"` // from 1, without a gap
	At       time.Time    `json:"at"`  // the database's clock
	Actor    access.Actor `json:"actor"`
	Act      string       `json:"act"`
	Run      string       `json:"run,omitempty"`
	Step     string       `json:"step,omitempty"`
	Approval string       `json:"approval,omitempty"`
	Digest   string       `json:"digest,omitempty"`
	Outcome  string       `json:"outcome,omitempty"`
	Detail   string       `json:"detail,omitempty"`
	PrevHash string       `json:"prev_hash,omitempty"` // "" in the first row
	Hash     string       `json:"hash"`                // SHA-256, hex; see chained

	actor string // JSON as stored, which the hash covers
}

// A TamperedError says where the audit log is not what was once written.
type TamperedError struct {
	Seq int64 // the first row that is wrong or missing
	Why string
}

func (e *TamperedError) Error() string {
	return fmt.Sprintf("the audit log was changed at entry %d: %s", e.Seq, e.Why)
}

// An entry's own columns; the others are the chain's.
const (
	entryColumns = "at, actor, act, run_id, step, approval, digest, outcome, detail"
	auditColumns = "seq, " + entryColumns + ", prev_hash, hash"
)

func entryFields(a *AuditRow) []field {
	return []field{
		instant(&a.At), text(&a.actor), text(&a.Act), text(&a.Run), text(&a.Step),
		text(&a.Approval), text(&a.Digest), text(&a.Outcome), text(&a.Detail),
	}
}

func auditFields(a *AuditRow) []field {
	return append(append([]field{number(&a.Seq)}, entryFields(a)...), text(&a.PrevHash), text(&a.Hash))
}

// chained is the row's hash: SHA-256 over the JSON array of its values in the
// order of auditColumns without the hash itself, times in unix milliseconds.
func chained(a *AuditRow) (string, error) {
	fields := auditFields(a)
	values, err := row(fields[:len(fields)-1])
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("store: hash audit entry %d: %w", a.Seq, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Append adds entries outside of any other change.
func (a Audit) Append(ctx context.Context, entries ...engine.AuditEntry) error {
	return a.s.write(ctx, func(t *tx) error { return appendAudit(t, entries) })
}

// List returns at most limit entries after the one with the sequence number,
// oldest first. 0 is before the first. It sees every entry that was committed
// before, unless the database is open for reading only: then those that are
// not sealed yet are missing.
func (a Audit) List(ctx context.Context, after int64, limit int) ([]AuditRow, error) {
	var tampered *TamperedError
	if err := a.s.seal(ctx); err != nil && !errors.As(err, &tampered) { // for Verify to say
		return nil, err
	}
	var rows []AuditRow
	err := a.s.read(ctx, func(t *tx) (err error) {
		rows, err = listAudit(t, after, limit)
		return err
	})
	return rows, err
}

func listAudit(t *tx, after int64, limit int) ([]AuditRow, error) {
	var rows []AuditRow
	err := t.each(`SELECT `+auditColumns+` FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`, []any{after, limit}, func(scan func(...any) error) error {
		var r AuditRow
		if err := scan(dests(auditFields(&r))...); err != nil {
			return fmt.Errorf("store: read an audit entry: %w", err)
		}
		rows = append(rows, r)
		return nil
	})
	// Only after the rows are read: a broken actor is for Verify to name.
	for i := range rows {
		if err := json.Unmarshal([]byte(rows[i].actor), &rows[i].Actor); err != nil {
			rows[i].Actor = access.Actor{}
		}
	}
	return rows, err
}

// Unsealed returns how many entries are committed and not in the chain yet,
// where Verify would cover them. On PostgreSQL they get there within a fraction
// of a second while a replica lives; on SQLite there are none.
func (a Audit) Unsealed(ctx context.Context) (entries int64, err error) {
	err = a.s.read(ctx, func(t *tx) error {
		_, err := t.one(`SELECT COUNT(*) FROM audit_unsealed`, nil, &entries)
		return err
	})
	return entries, err
}

// Verify reads the whole log and returns the number of entries and the last
// one's hash, which outside of the database proves later that nothing before
// it was changed. It returns a *TamperedError if the chain is broken. Entries
// that are not sealed yet are sealed before, unless the database is open for
// reading only: then they are not covered.
func (a Audit) Verify(ctx context.Context) (entries int64, hash string, err error) {
	var tampered *TamperedError
	if err := a.s.seal(ctx); err != nil && !errors.As(err, &tampered) { // which the reading finds, and says where
		return 0, "", err
	}
	const page = 500
	err = a.s.read(ctx, func(t *tx) error {
		for {
			rows, err := listAudit(t, entries, page)
			if err != nil {
				return err
			}
			for i := range rows {
				r := &rows[i]
				want, err := chained(r)
				switch {
				case err != nil:
					return err
				case r.Seq != entries+1:
					return &TamperedError{entries + 1, "it is missing"}
				case r.PrevHash != hash:
					return &TamperedError{r.Seq, "it does not follow the entry before"}
				case r.Hash != want:
					return &TamperedError{r.Seq, "its content does not match its hash"}
				}
				entries, hash = r.Seq, r.Hash
			}
			if len(rows) < page {
				break
			}
		}
		var headSeq int64
		var headHash string
		found, err := t.one(`SELECT seq, hash FROM audit_head WHERE one = 1`, nil, &headSeq, &headHash)
		switch {
		case err != nil:
			return err
		case !found:
			return &TamperedError{entries, "the log's head is missing"}
		case headSeq > entries:
			return &TamperedError{entries + 1, "the log's end is missing"}
		case headSeq != entries || headHash != hash:
			return &TamperedError{entries, "the log's end does not match its head"}
		}
		return nil
	})
	if err != nil && !errors.As(err, &tampered) {
		return 0, "", err
	}
	return entries, hash, err
}
