package store

import (
	"context"
	"time"
)

// Groups keeps the members of Slack user groups, for when Slack cannot be
// asked.
type Groups struct{ s *Store }

// Groups returns the cache of Slack user groups.
func (s *Store) Groups() Groups { return Groups{s} }

// Put replaces what is known about the group with the handle.
func (g Groups) Put(ctx context.Context, handle string, users []string) error {
	if users == nil {
		users = []string{}
	}
	members, err := document(&users).value()
	if err != nil {
		return err
	}
	return g.s.write(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO usergroups (handle, members, fetched_at) VALUES ($1, $2, {now})
			ON CONFLICT (handle) DO UPDATE SET members = excluded.members, fetched_at = excluded.fetched_at`, clean(handle), members)
		return err
	})
}

// Find returns the members as last put, and when that was by the database's
// clock; a zero time means that nothing is known.
func (g Groups) Find(ctx context.Context, handle string) (users []string, fetched time.Time, err error) {
	err = g.s.read(ctx, func(t *tx) error {
		_, err := t.one(`SELECT members, fetched_at FROM usergroups WHERE handle = $1`, []any{clean(handle)}, document(&users), instant(&fetched))
		return err
	})
	return users, fetched, err
}
