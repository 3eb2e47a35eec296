package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"opsbot/runbooks/engine"
)

// How entries get into the audit log's chain.
//
// A chain has one end, which whoever adds to it must lock until the commit. On
// SQLite that costs nothing: there is one writer, and its commits carry many
// transactions. On PostgreSQL it would make every audited commit wait for the
// fsync of the one before. So there a transaction leaves its entries in
// audit_unsealed, and a sealer, any process that has the database open, moves
// them into the chain soon after, many at a time and in one transaction: an
// entry is in exactly one of the two tables, whoever is killed when.
//
// Causes keep their place before effects: ids are given while the transaction
// holds its run, so of two transactions of which one saw the other's commit, the
// later one has the higher id, and a sealer that sees it sees the earlier one,
// too. Of transactions that ran at the same time either may come first.
//
// Unsealed entries are as durable as the rest of their transaction. But until
// they are sealed, which takes a fraction of a second while a replica lives,
// somebody who can write to the database can change them without a trace.

const (
	sealBatch  = 500                   // entries per transaction
	sealChunk  = 20                    // rows per statement
	sealSoon   = 50 * time.Millisecond // from the first unsealed entry to the sealing: so many share a commit
	sealWithin = 5 * time.Second

	sealLeftEvery = 2 * time.Second
)

// appendAudit puts entries on record. On SQLite it locks the chain's end, so
// it is the last thing that a transaction does.
func appendAudit(t *tx, entries []engine.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	rows := make([]AuditRow, len(entries))
	for i, e := range entries {
		actor, err := json.Marshal(e.Actor)
		if err != nil {
			return fmt.Errorf("store: encode an actor: %w", err)
		}
		rows[i] = AuditRow{
			actor: string(actor), Act: e.Act, Run: e.Run, Step: e.Step, Approval: e.Approval,
			Digest: e.Digest, Outcome: e.Outcome, Detail: e.Detail,
		}
	}
	if t.dialect.name == "sqlite" {
		return chain(t, rows)
	}
	t.raised |= topicAudit
	return insert(t, "audit_unsealed", entryColumns, "{now}, ", rows, func(a *AuditRow) []field { return entryFields(a)[1:] })
}

// insert adds rows to a table, several with each statement. The first columns'
// values may be given as SQL.
func insert(t *tx, table, columns, first string, rows []AuditRow, fields func(*AuditRow) []field) error {
	for len(rows) > 0 {
		n := 1 // or sealChunk, so that there are two statements to prepare
		if len(rows) >= sealChunk {
			n = sealChunk
		}
		query := `INSERT INTO ` + table + ` (` + columns + `) VALUES `
		var args []any
		for i := range n {
			values, err := row(fields(&rows[i]))
			if err != nil {
				return err
			}
			if i > 0 {
				query += ", "
			}
			query += `(` + first + holders(len(args)+1, len(values)) + `)`
			args = append(args, values...)
		}
		if err := t.later(query, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// chain adds rows to the end of the chain, which it locks until the commit. It
// fills in what the chain gives them, and the time where there is none.
func chain(t *tx, rows []AuditRow) error {
	seq, last, now, err := end(t)
	if err != nil {
		return err
	}
	for i := range rows {
		a := &rows[i]
		if a.At.IsZero() {
			a.At = moment(now)
		}
		seq++
		a.Seq, a.PrevHash = seq, last
		if a.Hash, err = chained(a); err != nil {
			return err
		}
		last = a.Hash
	}
	if err := insert(t, "audit", auditColumns, "", rows, auditFields); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1`, seq, last)
	return err
}

// end locks the chain's end and returns it and the time.
func end(t *tx) (seq int64, hash string, now int64, err error) {
	found, err := t.one(`SELECT seq, hash, {now} FROM audit_head WHERE one = 1 {lock}`, nil, &seq, &hash, &now)
	if err == nil && !found {
		err = &TamperedError{0, "the log's head is missing"}
	}
	return seq, hash, now, err
}

// seal moves everything that is unsealed into the chain. It is safe to call
// from any number of processes at once.
func (s *Store) seal(ctx context.Context) error {
	if s.pg == nil || s.readOnly {
		return nil
	}
	for {
		var moved int
		err := s.write(ctx, func(t *tx) error {
			moved = 0
			waiting, err := t.one(`SELECT 1 FROM audit_unsealed LIMIT 1`, nil, new(int))
			if err != nil || !waiting {
				return err
			}
			// The lock comes first: what another sealer moves meanwhile is not
			// seen by the statement after it.
			if _, _, _, err := end(t); err != nil {
				return err
			}
			type unsealed struct {
				id int64
				AuditRow
			}
			var found []unsealed
			err = t.each(`DELETE FROM audit_unsealed WHERE id IN (SELECT id FROM audit_unsealed ORDER BY id LIMIT $1)
				RETURNING id, `+entryColumns, []any{sealBatch}, func(scan func(...any) error) error {
				var u unsealed
				if err := scan(append([]any{&u.id}, dests(entryFields(&u.AuditRow))...)...); err != nil {
					return fmt.Errorf("store: read an unsealed audit entry: %w", err)
				}
				found = append(found, u)
				return nil
			})
			if err != nil || len(found) == 0 {
				return err
			}
			slices.SortFunc(found, func(a, b unsealed) int { return int(a.id - b.id) })
			rows := make([]AuditRow, len(found))
			for i := range found {
				rows[i] = found[i].AuditRow
			}
			moved = len(rows)
			return chain(t, rows)
		})
		if err != nil || moved < sealBatch {
			return err
		}
	}
}

// leftBehind seals every so often what a process left that was killed.
func (s *Store) leftBehind(ctx context.Context) {
	tick := time.NewTicker(sealLeftEvery)
	defer tick.Stop()
	for {
		if err := s.seal(ctx); err != nil && ctx.Err() == nil {
			s.sealFailed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sealer seals soon after each kick, and once more at the end.
func (s *Store) sealer() {
	for open := true; open; {
		select {
		case <-s.pg.unsealed:
			select { // for others to join
			case <-time.After(sealSoon):
			case <-s.pg.quit:
			}
		case <-s.pg.quit:
			open = false
		}
		ctx, cancel := context.WithTimeout(context.Background(), sealWithin)
		err := s.seal(ctx)
		cancel()
		if err != nil {
			s.sealFailed(err)
		}
	}
}

// sealFailed says so. The entries wait for the next sealing.
func (s *Store) sealFailed(err error) {
	var tampered *TamperedError
	level := slog.LevelWarn
	if errors.As(err, &tampered) {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, "audit entries could not be sealed", "error", err)
}
