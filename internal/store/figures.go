package store

import (
	"context"
	"time"
)

// Figures say how much waits in the database, and for how long.
type Figures struct {
	Inbox        int           // requests that are recorded and not answered
	InboxAge     time.Duration // of the oldest of them
	Outbox       int           // messages that are due and not delivered
	OutboxLag    time.Duration // how long the oldest of them has been due
	Dropped      int           // messages that were given up in the last week
	Runs         map[string]int
	Approvals    map[string]int // open questions, by kind
	Fired        int            // starts by the clock in the last 24 hours
	NotFired     int            // starts by the clock that did not take place in the last 24 hours
	ScheduleLate time.Duration  // how long the oldest schedule has been due; 0 when none is
}

// Figures counts on one snapshot of the database.
func (s *Store) Figures(ctx context.Context) (f Figures, err error) {
	err = s.read(ctx, func(t *tx) error {
		f = Figures{Runs: map[string]int{}, Approvals: map[string]int{}}
		now, err := t.now()
		if err != nil {
			return err
		}
		since := func(ms int64) time.Duration {
			if ms == 0 || ms > now {
				return 0
			}
			return time.Duration(now-ms) * time.Millisecond
		}
		var inbox, outbox, schedule int64
		for _, q := range []struct {
			query string
			into  []any
		}{
			{`SELECT COUNT(*), COALESCE(MIN(recorded_at), 0) FROM inbox WHERE due_at IS NOT NULL`, []any{&f.Inbox, &inbox}},
			{`SELECT COUNT(*), COALESCE(MIN(CASE WHEN not_before > created_at THEN not_before ELSE created_at END), 0)
				FROM outbox WHERE dropped_at IS NULL AND not_before <= {now}`, []any{&f.Outbox, &outbox}},
			{`SELECT COUNT(*) FROM outbox WHERE dropped_at IS NOT NULL`, []any{&f.Dropped}},
			{`SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN run_id = '' THEN 1 ELSE 0 END), 0) AS BIGINT) FROM firings WHERE fired_at > {now} - 86400000`, []any{&f.Fired, &f.NotFired}},
			{`SELECT COALESCE(MIN(next_at), 0) FROM schedules WHERE next_at > 0`, []any{&schedule}},
		} {
			if _, err := t.one(q.query, nil, q.into...); err != nil {
				return err
			}
		}
		f.Fired -= f.NotFired
		f.InboxAge, f.OutboxLag, f.ScheduleLate = since(inbox), since(outbox), since(schedule)
		for query, into := range map[string]map[string]int{
			`SELECT state, COUNT(*) FROM runs WHERE state NOT IN ` + ended + ` GROUP BY state`: f.Runs,
			`SELECT state, COUNT(*) FROM runs WHERE state IN ` + ended + ` GROUP BY state`:     f.Runs,
			`SELECT kind, COUNT(*) FROM approvals WHERE attend_at IS NOT NULL GROUP BY kind`:   f.Approvals,
		} {
			err := t.each(query, nil, func(scan func(...any) error) error {
				var name string
				var n int
				err := scan(&name, &n)
				into[name] = n
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return f, err
}
