package bot

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"opsbot/internal/outbox"
)

const (
	// leaseTrust is how long a lease is relied upon after it was asked for, or
	// renewed. What is left of it is for clocks and for the way to the database.
	leaseTrust = outbox.LeaseTime - 3*time.Second
	// renewAfter spares those that are done at once.
	renewAfter = outbox.LeaseTime / 3
	// renewEvery is how often that is looked at, renewWithin bounds one attempt.
	renewEvery  = time.Second
	renewWithin = 3 * time.Second
)

// holds are the leases that a process has on items of a queue, by their keys.
// Leases are short, so that what a dead process held is soon somebody else's;
// those in use are renewed.
type holds[K comparable] struct {
	keep func(ctx context.Context, keys ...K) (kept []K, err error)

	mu   sync.Mutex
	held map[K]*hold
}

type hold struct {
	until time.Time   // it is relied upon
	doom  *time.Timer // ends what is done under it; may be nil
}

func newHolds[K comparable](keep func(context.Context, ...K) ([]K, error)) *holds[K] {
	return &holds[K]{keep: keep, held: map[K]*hold{}}
}

// take notes a lease that was asked for at a time.
func (h *holds[K]) take(key K, asked time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[key] == nil {
		h.held[key] = &hold{}
	}
	h.held[key].extend(asked)
}

// extend goes on relying, unless the doom has come already.
func (l *hold) extend(asked time.Time) {
	l.until = asked.Add(leaseTrust)
	if l.doom != nil && l.doom.Stop() {
		l.doom.Reset(time.Until(l.until))
	}
}

// good reports whether a lease is relied upon.
func (h *holds[K]) good(key K) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.held[key]
	return l != nil && time.Now().Before(l.until)
}

// under returns a context that ends when a lease is no longer relied upon.
// Leave ends it, too.
func (h *holds[K]) under(ctx context.Context, key K) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.held[key]
	if l == nil {
		cancel()
		return ctx, cancel
	}
	l.doom = time.AfterFunc(time.Until(l.until), cancel)
	return ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		l.doom.Stop()
		cancel()
	}
}

// settle is called when the item has left the queue: whatever is still to be
// done for it needs no lease.
func (h *holds[K]) settle(key K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.held[key]; l != nil && l.doom != nil {
		l.doom.Stop()
	}
}

// drop forgets a lease.
func (h *holds[K]) drop(key K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, key)
}

// serve renews leases until the function that it returns is called.
func (h *holds[K]) serve(log *slog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := h.renew(ctx); err != nil && ctx.Err() == nil {
				log.Warn("renew the leases on what is in hand", "error", err)
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// renew extends those leases that have lasted for a while.
func (h *holds[K]) renew(ctx context.Context) error {
	asked := time.Now()
	var keys []K
	h.mu.Lock()
	for key, l := range h.held {
		if left := l.until.Sub(asked); left > 0 && left < leaseTrust-renewAfter {
			keys = append(keys, key)
		}
	}
	h.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	kept, err := h.keep(ctx, keys...)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range kept {
		if l := h.held[key]; l != nil {
			l.extend(asked)
		}
	}
	return nil
}
