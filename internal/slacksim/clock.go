package slacksim

import (
	"sort"
	"sync"
	"time"
)

// A clock is wall time that a test can push forward. Work planned on it runs
// when real time gets there or when Advance passes it, whichever is first.
type clock struct {
	base func() time.Time

	mu     sync.Mutex
	ahead  time.Duration // how far Advance has pushed it
	timers map[*timer]struct{}
	seq    uint64
	closed bool
	wg     sync.WaitGroup // callbacks under way
}

type timer struct {
	c   *clock
	due time.Time
	seq uint64 // breaks ties, so that equal times run in the order of planning
	f   func()
	t   *time.Timer
}

func newClock(base func() time.Time) *clock {
	if base == nil {
		base = time.Now
	}
	return &clock{base: base, timers: make(map[*timer]struct{})}
}

// now returns the simulated time.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base().Add(c.ahead)
}

// after plans f. It runs in its own goroutine, or in Advance's.
func (c *clock) after(d time.Duration, f func()) *timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	t := &timer{c: c, due: c.base().Add(c.ahead + d), seq: c.seq, f: f}
	if c.closed {
		return t
	}
	c.timers[t] = struct{}{}
	t.t = time.AfterFunc(d, t.run)
	return t
}

// stop reports whether it kept f from running.
func (t *timer) stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	_, waiting := t.c.timers[t]
	if waiting {
		t.t.Stop()
		delete(t.c.timers, t)
	}
	return waiting
}

func (t *timer) run() {
	c := t.c
	c.mu.Lock()
	_, waiting := c.timers[t]
	delete(c.timers, t)
	if waiting {
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if waiting {
		defer c.wg.Done()
		t.f()
	}
}

// advance moves the clock and runs what has come due, in order, including what
// that work plans within the same span.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	target := c.base().Add(c.ahead + d)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		var due []*timer
		for t := range c.timers {
			if !t.due.After(target) {
				due = append(due, t)
			}
		}
		sort.Slice(due, func(i, j int) bool {
			if due[i].due.Equal(due[j].due) {
				return due[i].seq < due[j].seq
			}
			return due[i].due.Before(due[j].due)
		})
		if len(due) == 0 {
			now := c.base()
			if c.ahead < target.Sub(now) {
				c.ahead = target.Sub(now)
			}
			for t := range c.timers { // the rest is nearer now
				t.t.Reset(t.due.Sub(now.Add(c.ahead)))
			}
			c.mu.Unlock()
			return
		}
		next := due[0]
		// Work sees the moment it was planned for, not the end of the span.
		if gap := next.due.Sub(c.base()); gap > c.ahead {
			c.ahead = gap
		}
		next.t.Stop()
		c.mu.Unlock()
		next.run()
	}
}

// close forgets what is planned and waits for what is running.
func (c *clock) close() {
	c.mu.Lock()
	c.closed = true
	for t := range c.timers {
		t.t.Stop()
		delete(c.timers, t)
	}
	c.mu.Unlock()
	c.wg.Wait()
}
