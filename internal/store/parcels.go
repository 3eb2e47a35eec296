package store

import (
	"context"
	"slices"
	"time"

	"opsbot/internal/dispatch"
)

type parcels struct{ s *Store }

// Parcels returns the queue of what leaves the house other than by Slack.
func (s *Store) Parcels() dispatch.Queue { return parcels{s} }

func (q parcels) Add(ctx context.Context, list ...dispatch.Parcel) error {
	return q.s.write(ctx, func(t *tx) error {
		for _, p := range list {
			_, err := t.exec(`INSERT INTO parcels (key, place, subject, kind, body, state, created_at, changed_at)
				VALUES ($1, $2, $3, $4, $5, 'waiting', {now}, {now}) ON CONFLICT (key) DO NOTHING`,
				clean(p.Key), clean(p.Place), clean(p.Subject), clean(p.Kind), clean(string(p.Body)))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const parcelColumns = `id, key, place, subject, kind, body, created_at, tries`

func parcelFields(p *dispatch.Parcel) []any {
	return []any{&p.ID, &p.Key, &p.Place, &p.Subject, &p.Kind, &p.Body, instant(&p.Created), &p.Tries}
}

// parcelLease is longer than a delivery may take (dispatch), in milliseconds.
const parcelLease = 35_000

// A parcel is due when it is the first of its place and subject that is not
// settled, so that what it corrects goes before it.
const dueParcels = `WITH picked AS MATERIALIZED (
		SELECT p.id FROM parcels p
		WHERE p.state IN ('waiting', 'late') AND p.retry_at <= {now} AND p.lease_until < {now}
			AND NOT EXISTS (SELECT 1 FROM parcels e
				WHERE e.place = p.place AND e.subject = p.subject AND e.state IN ('waiting', 'late') AND e.id < p.id)
		ORDER BY p.id LIMIT $3 {skip})
	UPDATE parcels SET owner = $1, lease_until = {now} + CAST($2 AS BIGINT)
	WHERE id IN (SELECT id FROM picked)
	RETURNING ` + parcelColumns

func (q parcels) Due(ctx context.Context, owner string, limit int) (out []dispatch.Parcel, err error) {
	err = q.s.write(ctx, func(t *tx) error {
		out = nil
		return t.each(dueParcels, []any{owner, parcelLease, limit}, func(scan func(...any) error) error {
			var p dispatch.Parcel
			err := scan(parcelFields(&p)...)
			out = append(out, p)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b dispatch.Parcel) int { return int(a.ID - b.ID) })
	return out, nil
}

func (q parcels) Settle(ctx context.Context, o dispatch.Outcome, wait time.Duration) error {
	return q.s.write(ctx, func(t *tx) error {
		if o.State == dispatch.Waiting {
			_, err := t.exec(`UPDATE parcels SET owner = '', lease_until = 0 WHERE id = $1`, o.ID)
			return err
		}
		tries := 1
		if o.State == dispatch.Delivered {
			tries = 0
		}
		// Two may have tried, one of them after its lease: what was delivered stays so.
		_, err := t.exec(`UPDATE parcels SET state = $2, why = $3, link = $4, tries = tries + CAST($5 AS BIGINT), retry_at = {now} + CAST($6 AS BIGINT),
				changed_at = {now}, owner = '', lease_until = 0
			WHERE id = $1 AND state <> 'delivered'`,
			o.ID, string(o.State), clean(o.Why), clean(o.Link), tries, wait.Milliseconds())
		return err
	})
}

const outcomeColumns = parcelColumns + `, state, why, link, changed_at`

func outcome(scan func(...any) error) (o dispatch.Outcome, err error) {
	err = scan(append(parcelFields(&o.Parcel), &o.State, &o.Why, &o.Link, instant(&o.At))...)
	return o, err
}

func (q parcels) Untold(ctx context.Context, limit int) (out []dispatch.Outcome, err error) {
	return q.read(ctx, `SELECT `+outcomeColumns+` FROM parcels WHERE state <> told ORDER BY id LIMIT $1`, limit)
}

func (q parcels) Told(ctx context.Context, o dispatch.Outcome) error {
	return q.s.write(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE parcels SET told = $2 WHERE id = $1`, o.ID, string(o.State))
		return err
	})
}

func (q parcels) List(ctx context.Context, subject string) ([]dispatch.Outcome, error) {
	return q.read(ctx, `SELECT `+outcomeColumns+` FROM parcels WHERE subject = $1 ORDER BY id`, clean(subject))
}

func (q parcels) read(ctx context.Context, query string, args ...any) (out []dispatch.Outcome, err error) {
	err = q.s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(query, args, func(scan func(...any) error) error {
			o, err := outcome(scan)
			out = append(out, o)
			return err
		})
	})
	return out, err
}
