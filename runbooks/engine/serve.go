package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	pollEvery  = 250 * time.Millisecond // backstop for lost signals
	beatEvery  = time.Second
	beatWithin = 3 * time.Second // a slow database is better than a lost lease
	sweepEvery = time.Second
	leaseTrust = 4 * time.Second // without a heartbeat for so long, nothing may act
	sweepBatch = 100
)

var (
	errStopping = errors.New("opsbot is stopping")
	errStopped  = errors.New("the run was stopped")
)

// Serve claims runs and acts on them, keeps their leases alive, and expires
// what nobody answers. When ctx ends it claims nothing more, interrupts steps
// that only read, gives the others Options.Grace to finish, releases its
// leases, and returns nil.
func (e *Engine) Serve(ctx context.Context) error {
	var wg sync.WaitGroup
	alive, die := context.WithCancel(context.WithoutCancel(ctx)) // ends after the workers
	for _, loop := range []func(context.Context){e.beat, e.sweep} {
		wg.Go(func() { loop(alive) })
	}
	e.claim(ctx)
	die()
	wg.Wait()
	return nil
}

// claim hands due runs to workers until ctx ends, and then waits for them.
func (e *Engine) claim(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, e.workers)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	// Deadlines are the database's time: nothing is judged before it is known
	// how far off this process's clock is.
	for _, err := e.tune(ctx); err != nil; _, err = e.tune(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
	for {
		for len(slots) < cap(slots) && ctx.Err() == nil {
			asked := time.Now()
			run, err := e.store.Claim(ctx, e.owner)
			if err != nil && ctx.Err() == nil {
				e.log.Warn("cannot claim runs", "err", err)
			}
			if err != nil || run == nil {
				break
			}
			w := newWorker(ctx, e, run, asked)
			slots <- struct{}{}
			wg.Go(func() {
				defer func() {
					<-slots
					e.look()
				}()
				w.work()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-e.store.Signal():
		case <-e.nudge:
		case <-poll.C:
		}
	}
}

// look lets claim look for due runs once more.
func (e *Engine) look() {
	select {
	case e.nudge <- struct{}{}:
	default:
	}
}

// lookAt lets claim look when a run wakes that sleeps for less than a poll.
func (e *Engine) lookAt(wake time.Time) {
	if d := wake.Sub(e.clock()); d > 0 && d < pollEvery {
		time.AfterFunc(d, e.look)
	}
}

// beat extends the leases of the runs this process acts on.
func (e *Engine) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		workers := e.busy()
		if len(workers) == 0 {
			continue
		}
		sent := time.Now()
		call, cancel := context.WithTimeout(ctx, beatWithin)
		err := e.store.Heartbeat(call, e.owner)
		cancel()
		if err != nil {
			e.log.Warn("heartbeat failed", "err", err)
			continue
		}
		for _, w := range workers {
			w.trust(sent)
		}
	}
}

func (e *Engine) busy() []*worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*worker, 0, len(e.acting))
	for _, w := range e.acting {
		out = append(out, w)
	}
	return out
}

// sweep reminds people and expires what they did not answer.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := e.attend(ctx); err != nil && ctx.Err() == nil {
			e.log.Warn("cannot attend to overdue approvals", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *Engine) attend(ctx context.Context) error {
	for {
		now, err := e.tune(ctx)
		if err != nil {
			return err
		}
		ids, err := e.store.Overdue(ctx, sweepBatch)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := e.expire(ctx, id, now); err != nil && !errors.Is(err, ErrNoRun) {
				return err
			}
		}
		if len(ids) < sweepBatch {
			return nil
		}
	}
}
