package patient

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"
)

// userCount is how many people the database knows.
const userCount = 60

// A database is the slow part behind the cache: the same answers always, after
// a delay that differs from user to user.
type database struct {
	index map[string]int
	names []string
}

// A status is what the API says of one user's reconciliation.
type status struct {
	User       string `json:"user"`
	State      string `json:"status"`
	Positions  int    `json:"positions"`
	Matched    int    `json:"matched"`
	Difference string `json:"difference"`
	Currency   string `json:"currency"`
	Ledger     string `json:"ledger"`
	Through    string `json:"through"`
}

func newDatabase() *database {
	d := &database{index: map[string]int{}}
	for i := range userCount {
		name := fmt.Sprintf("u%03d", i)
		d.index[name] = i
		d.names = append(d.names, name)
	}
	return d
}

func (d *database) users() []string { return append([]string(nil), d.names...) }

// read looks a user up. It takes 20 to 60 ms, as a query without an index does.
func (d *database) read(ctx context.Context, user string) (status, bool, error) {
	i, ok := d.index[user]
	h := fnv.New32a()
	_, _ = h.Write([]byte(user))
	n := int(h.Sum32() % 1000)
	timer := time.NewTimer(20*time.Millisecond + time.Duration(n)*40*time.Microsecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return status{}, false, ctx.Err()
	}
	if !ok {
		return status{}, false, nil
	}
	s := status{
		User: user, State: "reconciled", Positions: 20 + n%80, Matched: 20 + n%80, Difference: "0.00",
		Currency: []string{"EUR", "USD", "CHF"}[n%3], Ledger: fmt.Sprintf("L-%04d-%02d", n, i), Through: "2026-10-31",
	}
	if n%9 == 0 {
		s.State, s.Matched, s.Difference = "differs", s.Positions-1, fmt.Sprintf("%d.%02d", n/10, n%100)
	}
	return s, true, nil
}
