package bot

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"opsbot/internal/outbox"
)

// A ledger stands for the queue: it knows until when leases last.
type ledger struct {
	mu    sync.Mutex
	until map[string]time.Time
	away  bool
	asked []string
}

func (l *ledger) keep(ctx context.Context, keys ...string) (kept []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, keys...)
	if l.away {
		return nil, errors.New("the database is away")
	}
	for _, key := range keys {
		if time.Now().Before(l.until[key]) {
			l.until[key] = time.Now().Add(outbox.LeaseTime)
			kept = append(kept, key)
		}
	}
	return kept, nil
}

// lease takes one and returns what is done under it.
func (l *ledger) lease(h *holds[string], key string) (ctx context.Context, leave func()) {
	l.mu.Lock()
	l.until[key] = time.Now().Add(outbox.LeaseTime)
	l.mu.Unlock()
	h.take(key, time.Now())
	return h.under(context.Background(), key)
}

func TestHolds(t *testing.T) {
	for name, story := range map[string]func(*testing.T, *ledger, *holds[string]){
		"what takes long is renewed": func(t *testing.T, l *ledger, h *holds[string]) {
			ctx, leave := l.lease(h, "a")
			time.Sleep(time.Minute)
			if ctx.Err() != nil || !h.good("a") {
				t.Error("it was given up, though its lease could be renewed")
			}
			leave()
			h.drop("a")
			l.asked = nil
			time.Sleep(time.Minute)
			if len(l.asked) > 0 || h.good("a") {
				t.Errorf("renewed after it was done: %v", l.asked)
			}
		},
		"what is done at once is not": func(t *testing.T, l *ledger, h *holds[string]) {
			_, leave := l.lease(h, "a")
			time.Sleep(renewAfter - time.Millisecond)
			leave()
			h.drop("a")
			time.Sleep(time.Minute)
			if len(l.asked) > 0 {
				t.Errorf("renewed: %v", l.asked)
			}
		},
		"what cannot be renewed ends before somebody else has it": func(t *testing.T, l *ledger, h *holds[string]) {
			ctx, leave := l.lease(h, "a")
			defer leave()
			time.Sleep(7 * time.Second) // renewed once
			l.mu.Lock()
			l.away = true
			over := l.until["a"]
			l.mu.Unlock()
			<-ctx.Done()
			if left := time.Until(over); left <= 0 {
				t.Errorf("it ended %s after its lease", -left)
			}
			if h.good("a") {
				t.Error("its lease is still good")
			}
		},
		"a lease that somebody else has is not revived": func(t *testing.T, l *ledger, h *holds[string]) {
			ctx, leave := l.lease(h, "a")
			defer leave()
			l.mu.Lock()
			l.until["a"] = time.Now()
			l.mu.Unlock()
			<-ctx.Done()
			time.Sleep(time.Minute)
			if h.good("a") {
				t.Error("its lease is good again")
			}
			if n := len(slices.Compact(l.asked)); n > 1 || len(l.asked) > 10 {
				t.Errorf("asked for it %d times", len(l.asked))
			}
		},
		"what has left the queue needs no lease": func(t *testing.T, l *ledger, h *holds[string]) {
			ctx, leave := l.lease(h, "a")
			defer leave()
			h.settle("a")
			l.mu.Lock()
			delete(l.until, "a")
			l.mu.Unlock()
			time.Sleep(time.Minute)
			if ctx.Err() != nil {
				t.Error("the rest of it was cut short")
			}
			// And again, with the next version.
			ctx, leave = l.lease(h, "a")
			defer leave()
			l.mu.Lock()
			l.until["a"] = time.Now()
			l.mu.Unlock()
			<-ctx.Done()
		},
		"a stranger's work is not begun": func(t *testing.T, _ *ledger, h *holds[string]) {
			ctx, leave := h.under(context.Background(), "nobody's")
			defer leave()
			if ctx.Err() == nil || h.good("nobody's") {
				t.Error("it was begun")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &ledger{until: map[string]time.Time{}}
				h := newHolds(l.keep)
				defer h.serve(slog.New(slog.DiscardHandler))()
				story(t, l, h)
			})
		})
	}
}
