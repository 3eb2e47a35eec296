package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
)

type inboxQueue struct{ s *Store }

// Inbox returns the queue of what came from Slack.
func (s *Store) Inbox() inbox.Queue { return inboxQueue{s} }

const queueLease = int64(outbox.LeaseTime / time.Millisecond)

func (q inboxQueue) Record(ctx context.Context, item inbox.Item) (fresh bool, err error) {
	if item.Key == "" {
		return false, fmt.Errorf("store: record a %s without a key", item.Kind)
	}
	payload := item.Payload
	if payload == nil {
		payload = []byte{}
	}
	key, ticket := clean(item.Key), rand.Int64()
	err = q.s.write(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO inbox (key, kind, payload, received_at, recorded_at, due_at, ticket)
			VALUES ($1, $2, $3, $4, {now}, {now}, $5) ON CONFLICT (key) DO NOTHING`,
			key, clean(item.Kind), payload, millis(item.Received), ticket)
		fresh = n == 1
		if fresh {
			t.raised |= topicInbox
		} else if err == nil {
			// This delivery will be acknowledged: an earlier one may not be withdrawn.
			_, err = t.exec(`UPDATE inbox SET ticket = $2 WHERE key = $1 AND attempts = 0`, key, ticket)
		}
		return err
	})
	if err != nil && ctx.Err() != nil {
		q.s.errands.Go(func() { q.withdraw(key, ticket) })
	}
	return fresh && err == nil, err
}

// withdraw takes back what Record may have committed after it gave up: the
// person was told that nothing was recorded.
func (q inboxQueue) withdraw(key string, ticket int64) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), urgent{}, true), patience)
	defer cancel()
	err := q.s.write(ctx, func(t *tx) error {
		// The conflict makes it wait for a commit that is still under way.
		_, err := t.exec(`INSERT INTO inbox (key, kind, payload, received_at, recorded_at, ticket)
			VALUES ($1, '', $2, 0, {now}, $3) ON CONFLICT (key) DO NOTHING`, key, []byte{}, ticket)
		if err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM inbox WHERE key = $1 AND ticket = $2 AND attempts = 0`, key, ticket)
		return err
	})
	if err != nil {
		q.s.log.Warn("an item that was not acknowledged may be on record", "key", key, "error", err)
	}
}

func (q inboxQueue) Next(ctx context.Context, owner string, limit int) ([]inbox.Item, error) {
	type leased struct {
		inbox.Item
		due, id int64
	}
	var found []leased
	err := q.s.write(ctx, func(t *tx) error {
		found = nil
		return t.each(`WITH picked AS MATERIALIZED (
				SELECT id FROM inbox WHERE due_at <= {now} AND lease_until < {now} ORDER BY due_at, id LIMIT $3 {skip})
			UPDATE inbox SET owner = $1, lease_until = {now} + CAST($2 AS BIGINT), attempts = attempts + 1
			WHERE id IN (SELECT id FROM picked)
			RETURNING key, kind, payload, received_at, attempts, due_at, id`,
			[]any{owner, queueLease, limit}, func(scan func(...any) error) error {
				var l leased
				err := scan(&l.Key, &l.Kind, &l.Payload, instant(&l.Received), &l.Attempts, &l.due, &l.id)
				found = append(found, l)
				return err
			})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b leased) int {
		if a.due != b.due {
			return int(a.due - b.due)
		}
		return int(a.id - b.id)
	})
	items := make([]inbox.Item, len(found))
	for i, l := range found {
		items[i] = l.Item
	}
	return items, nil
}

func (q inboxQueue) Keep(ctx context.Context, owner string, keys ...string) (kept []string, err error) {
	return keep(ctx, q.s, owner, keys, `UPDATE inbox SET lease_until = {now} + CAST($3 AS BIGINT)
		WHERE key = $1 AND owner = $2 AND due_at IS NOT NULL AND lease_until >= {now}`)
}

// keep extends leases by an update for each.
func keep[K comparable](ctx context.Context, s *Store, owner string, keys []K, update string) (kept []K, err error) {
	err = s.write(ctx, func(t *tx) error {
		kept = nil
		for _, key := range keys {
			n, err := t.exec(update, key, owner, queueLease)
			if err != nil {
				return err
			}
			if n > 0 {
				kept = append(kept, key)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

func (q inboxQueue) Done(ctx context.Context, key string, notices ...outbox.Notice) error {
	return q.s.write(ctx, func(t *tx) error {
		// The key stays on record; what the person wrote need not.
		n, err := t.exec(`UPDATE inbox SET due_at = NULL, owner = '', lease_until = 0, payload = $2 WHERE key = $1 AND due_at IS NOT NULL`, clean(key), []byte{})
		if err != nil || n == 0 {
			return err // somebody else finished it and said so
		}
		return enqueue(t, notices)
	})
}

func (q inboxQueue) Later(ctx context.Context, key string, at time.Time, why string) error {
	return q.s.write(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE inbox SET due_at = $2, owner = '', lease_until = 0, why = $3 WHERE key = $1 AND due_at IS NOT NULL`,
			clean(key), millis(at), clean(why))
		return err
	})
}

func (q inboxQueue) Signal() <-chan struct{} { return q.s.signals.inbox }
