package patient

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"opsbot/internal/patient/api"
)

// A database is the slow part behind the cache, made up: the same answers
// always, after a delay that differs from user to user.
type database struct{ index map[string]int }

func newDatabase() *database {
	d := &database{index: map[string]int{}}
	for i, name := range api.Users() {
		d.index[name] = i
	}
	return d
}

// Ping implements api.Database: a database that is made up is always there.
func (d *database) Ping(context.Context) error { return nil }

// Status implements api.Database. It takes 20 to 60 ms, as a query without an
// index does.
func (d *database) Status(ctx context.Context, user string) (api.Status, error) {
	i, ok := d.index[user]
	h := fnv.New32a()
	_, _ = h.Write([]byte(user))
	n := int(h.Sum32() % 1000)
	timer := time.NewTimer(20*time.Millisecond + time.Duration(n)*40*time.Microsecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return api.Status{}, ctx.Err()
	}
	if !ok {
		return api.Status{}, api.ErrNoUser
	}
	s := api.Status{
		User: user, State: "reconciled", Positions: 20 + n%80, Matched: 20 + n%80, Difference: "0.00",
		Currency: []string{"EUR", "USD", "CHF"}[n%3], Ledger: fmt.Sprintf("L-%04d-%02d", n, i), Through: "2026-10-31",
	}
	if n%9 == 0 {
		s.State, s.Matched, s.Difference = "differs", s.Positions-1, fmt.Sprintf("%d.%02d", n/10, n%100)
	}
	return s, nil
}
