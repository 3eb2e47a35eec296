package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"opsbot/internal/outbox"
)

type outboxQueue struct{ s *Store }

// Outbox returns the queue of what is to be said in Slack.
func (s *Store) Outbox() outbox.Queue { return outboxQueue{s} }

// An address is the part of a notice that is kept as JSON.
type address struct {
	To    outbox.Conversation `json:"to"`
	Only  string              `json:"only,omitempty"`
	Reply string              `json:"reply,omitempty"`
}

// conversation names what is delivered one after the other. An answer through
// a response_url waits for nothing that a channel waits for.
func conversation(n *outbox.Notice) string {
	switch {
	case n.Reply != "":
		return "reply " + n.Reply
	case n.Under != "":
		return "under " + n.Under
	default:
		return "in " + n.To.Channel + " " + n.To.Thread
	}
}

// enqueue adds notices in their order; one whose key is waiting already takes
// that one's place.
func enqueue(t *tx, notices []outbox.Notice) error {
	for i := range notices {
		n := &notices[i]
		if n.Content == nil {
			return fmt.Errorf("store: a notice %q says nothing", n.Key)
		}
		kind, content, err := outbox.Encode(n.Content)
		if err != nil {
			return fmt.Errorf("store: encode a notice: %w", err)
		}
		to, err := document(&address{n.To, n.Only, n.Reply}).value()
		if err != nil {
			return err
		}
		err = t.later(`INSERT INTO outbox (key, conversation, under, notice, kind, content, version, created_at, not_before)
			VALUES ($1, $2, $3, $4, $5, $6, COALESCE((SELECT version FROM messages WHERE target_key = $1), 0) + 1, {now}, $7)
			ON CONFLICT (key) WHERE dropped_at IS NULL AND key <> '' DO UPDATE SET
				conversation = excluded.conversation, under = excluded.under, notice = excluded.notice,
				kind = excluded.kind, content = excluded.content, not_before = excluded.not_before,
				version = outbox.version + 1`,
			clean(n.Key), clean(conversation(n)), clean(n.Under), to, kind, clean(string(content)), millis(n.NotBefore))
		if err != nil {
			return err
		}
		t.raised |= topicOutbox
	}
	return nil
}

func (q outboxQueue) Enqueue(ctx context.Context, notices ...outbox.Notice) error {
	return q.s.write(ctx, func(t *tx) error { return enqueue(t, notices) })
}

// A notice is due when it is the first of its conversation, none of that
// conversation is being sent, and the message it belongs under is posted; if
// that message was given up, it goes without.
const due = `WITH picked AS MATERIALIZED (
		SELECT o.id FROM outbox o
		WHERE o.dropped_at IS NULL AND o.not_before <= {now} AND o.retry_at <= {now} AND o.lease_until < {now}
			AND NOT EXISTS (SELECT 1 FROM outbox e
				WHERE e.conversation = o.conversation AND e.dropped_at IS NULL AND e.not_before <= {now} AND e.id < o.id)
			AND NOT EXISTS (SELECT 1 FROM outbox l
				WHERE l.conversation = o.conversation AND l.lease_until > 0 AND l.lease_until >= {now} AND l.id <> o.id)
			AND (o.under = ''
				OR EXISTS (SELECT 1 FROM messages m WHERE m.target_key = o.under AND m.ts <> '')
				OR EXISTS (SELECT 1 FROM outbox d WHERE d.key = o.under AND d.dropped_at IS NOT NULL)
					AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.key = o.under AND p.key <> '' AND p.dropped_at IS NULL))
		ORDER BY o.id LIMIT $3 {skip})
	UPDATE outbox SET tried = tried OR owner <> '', owner = $1, lease_until = {now} + CAST($2 AS BIGINT)
	WHERE id IN (SELECT id FROM picked)
	RETURNING id, key, under, notice, kind, content, version, attempts, not_before, tried`

func (q outboxQueue) Due(ctx context.Context, owner string, limit int) ([]outbox.Delivery, error) {
	type leased struct {
		outbox.Delivery
		kind    string
		content []byte
	}
	var out []outbox.Delivery
	err := q.s.write(ctx, func(t *tx) error {
		out = nil
		var found []leased
		err := t.each(due, []any{owner, queueLease, limit}, func(scan func(...any) error) error {
			var l leased
			var to address
			n := &l.Notice
			err := scan(&l.ID, &n.Key, &n.Under, document(&to), &l.kind, &l.content, &l.Version, &l.Attempts, instant(&n.NotBefore), flag(&l.Tried))
			n.To, n.Only, n.Reply = to.To, to.Only, to.Reply
			found = append(found, l)
			return err
		})
		if err != nil {
			return err
		}
		slices.SortFunc(found, func(a, b leased) int { return int(a.ID - b.ID) })
		for _, l := range found {
			if l.Notice.Content, err = outbox.Decode(l.kind, l.content); err != nil {
				// Another version's content would hold up its conversation for ever.
				q.s.log.Error("a notice cannot be read and is dropped", "id", l.ID, "error", err)
				if err := drop(t, l.Delivery, err.Error()); err != nil {
					return err
				}
				continue
			}
			if err := locate(t, &l.Delivery); err != nil {
				return err
			}
			out = append(out, l.Delivery)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (q outboxQueue) Keep(ctx context.Context, owner string, ids ...int64) (kept []int64, err error) {
	return keep(ctx, q.s, owner, ids, `UPDATE outbox SET lease_until = {now} + CAST($3 AS BIGINT)
		WHERE id = $1 AND owner = $2 AND dropped_at IS NULL AND lease_until >= {now}`)
}

// locate fills in where the message and its parent were posted.
func locate(t *tx, d *outbox.Delivery) error {
	const where = `SELECT channel, ts FROM messages WHERE target_key = $1 AND ts <> ''`
	if d.Notice.Key != "" {
		if _, err := t.one(where, []any{d.Notice.Key}, &d.Channel, &d.TS); err != nil {
			return err
		}
	}
	if d.Notice.Under != "" {
		if _, err := t.one(where, []any{d.Notice.Under}, &d.ParentChannel, &d.ParentTS); err != nil {
			return err
		}
	}
	return nil
}

func (q outboxQueue) Sent(ctx context.Context, d outbox.Delivery, channel, ts string) error {
	return q.s.write(ctx, func(t *tx) error {
		if d.Notice.Key != "" && ts != "" {
			if err := place(t, d.Notice.Key, channel, ts, d.Version); err != nil {
				return err
			}
		}
		n, err := t.exec(`DELETE FROM outbox WHERE id = $1 AND version = $2`, d.ID, d.Version)
		if err == nil && n == 0 {
			// Newer content came meanwhile: an edit.
			_, err = t.exec(`UPDATE outbox SET owner = '', lease_until = 0, retry_at = 0, attempts = 0, tried = FALSE WHERE id = $1 AND dropped_at IS NULL`, d.ID)
		}
		t.raised |= topicOutbox // the next of the conversation, and what waits under this
		return err
	})
}

func place(t *tx, key, channel, ts string, version int64) error {
	_, err := t.exec(`INSERT INTO messages (target_key, channel, ts, version) VALUES ($1, $2, $3, $4)
		ON CONFLICT (target_key) DO UPDATE SET channel = excluded.channel, ts = excluded.ts, version = excluded.version
			WHERE excluded.version > messages.version`,
		key, clean(channel), clean(ts), version)
	return err
}

// leave forgets where the message is, and will not learn it from a delivery
// that is under way.
func leave(t *tx, key string) error {
	return t.later(`INSERT INTO messages (target_key, channel, ts, version)
		SELECT $1, '', '', COALESCE(MAX(v), 0) FROM (
			SELECT version AS v FROM messages WHERE target_key = $1
			UNION ALL SELECT version FROM outbox WHERE key = $1 AND dropped_at IS NULL) known
		WHERE TRUE
		ON CONFLICT (target_key) DO UPDATE SET channel = '', ts = '', version = excluded.version`, clean(key))
}

func (q outboxQueue) Later(ctx context.Context, d outbox.Delivery, at time.Time, why string) error {
	return q.s.write(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE outbox SET owner = '', lease_until = 0, retry_at = $2, attempts = attempts + 1, why = $3 WHERE id = $1 AND dropped_at IS NULL`,
			d.ID, millis(at), clean(why))
		return err
	})
}

func (q outboxQueue) Drop(ctx context.Context, d outbox.Delivery, why string, instead *outbox.Notice) error {
	return q.s.write(ctx, func(t *tx) error {
		t.raised |= topicOutbox
		if err := drop(t, d, why); err != nil {
			return err
		}
		var left bool
		if _, err := t.one(`SELECT dropped_at IS NULL FROM outbox WHERE id = $1`, []any{d.ID}, flag(&left)); err != nil || left {
			return err // newer content came meanwhile and takes its own chance
		}
		if d.Notice.Key != "" && instead != nil && instead.Key == d.Notice.Key {
			if err := place(t, d.Notice.Key, "", "", d.Version); err != nil { // post it there anew
				return err
			}
		}
		if instead == nil {
			return nil
		}
		return enqueue(t, []outbox.Notice{*instead})
	})
}

// drop gives up what was delivered, unless newer content has replaced it.
func drop(t *tx, d outbox.Delivery, why string) error {
	n, err := t.exec(`UPDATE outbox SET dropped_at = {now}, why = $3, owner = '', lease_until = 0 WHERE id = $1 AND version = $2 AND dropped_at IS NULL`,
		d.ID, d.Version, clean(why))
	if err == nil && n == 0 {
		_, err = t.exec(`UPDATE outbox SET owner = '', lease_until = 0, retry_at = 0, attempts = 0 WHERE id = $1 AND dropped_at IS NULL`, d.ID)
	}
	return err
}

func (q outboxQueue) Forget(ctx context.Context, key string) error {
	return q.s.write(ctx, func(t *tx) error {
		// Where it was stays known: people go on in the thread of a message that is gone.
		_, err := t.exec(`INSERT INTO messages (target_key, channel, ts, version)
			SELECT target_key || '/' || ts, channel, ts, version FROM messages WHERE target_key = $1 AND ts <> ''
			ON CONFLICT DO NOTHING`, clean(key))
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE messages SET channel = '', ts = '' WHERE target_key = $1`, clean(key))
		return err
	})
}

func (q outboxQueue) Posted(ctx context.Context, key string) (where outbox.Conversation, why string, err error) {
	err = q.s.read(ctx, func(t *tx) error {
		found, err := t.one(`SELECT channel, ts FROM messages WHERE target_key = $1 AND ts <> ''`, []any{clean(key)}, &where.Channel, &where.Thread)
		if err != nil || found {
			return err
		}
		found, err = t.one(`SELECT why FROM outbox WHERE key = $1 AND dropped_at IS NOT NULL ORDER BY id DESC LIMIT 1`, []any{clean(key)}, &why)
		if found && why == "" {
			why = "it was given up"
		}
		return err
	})
	return where, why, err
}

func (q outboxQueue) Signal() <-chan struct{} { return q.s.signals.outbox }
