package trial

import (
	"context"
	"sync"
	"time"

	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// epoch is when every case begins: a Monday morning that is long over, so that
// whatever is due on the case's clock is due on the database's as well.
var epoch = time.Date(2025, 1, 6, 9, 0, 0, 0, time.UTC)

// A clock stands still but for what is waited for. It is safe for concurrent use.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(max(d, 0))
}

// reach moves the clock to t, never back.
func (c *clock) reach(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.at) {
		c.at = t
	}
}

func (c *clock) sleep(ctx context.Context, d time.Duration) {
	if ctx.Err() == nil {
		c.advance(d)
	}
}

// A clocked store tells the case's time, and moves it to the moment at which a
// run wants to wake.
type clocked struct {
	engine.Store
	clock *clock

	mu      sync.Mutex
	started map[string]time.Time // by run: the database would say its own time
}

func (s *clocked) Now(context.Context) (time.Time, error) { return s.clock.now(), nil }

func (s *clocked) Claim(ctx context.Context, owner string) (*engine.Run, error) {
	run, err := s.Store.Claim(ctx, owner)
	if err != nil || run == nil {
		return run, err
	}
	s.mu.Lock()
	if s.started[run.ID].IsZero() {
		s.started[run.ID] = s.clock.now()
	}
	s.mu.Unlock()
	s.restamp(run)
	return run, nil
}

// restamp puts the case's time for the database's.
func (s *clocked) restamp(run *engine.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.started[run.ID]; ok {
		run.Started = t
	}
}

func (s *clocked) Update(ctx context.Context, id string, fence *engine.Fence, fn func(*engine.Run) (engine.Change, error)) (*engine.Run, error) {
	released := false
	run, err := s.Store.Update(ctx, id, fence, func(r *engine.Run) (engine.Change, error) {
		s.restamp(r)
		change, err := fn(r)
		released = change.Release
		change.Notices = []outbox.Notice{} // nobody reads them
		return change, err
	})
	if err == nil && released && run.State == engine.Ready {
		s.clock.reach(run.WakeAt)
	}
	return run, err
}
