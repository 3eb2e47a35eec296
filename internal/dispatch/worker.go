package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	pollEvery = 500 * time.Millisecond
	atOnce    = 8
	// tryFor is how long an attempt may take; it is far below the lease.
	tryFor = 20 * time.Second
	// firstPause doubles with each failure up to longestPause.
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	// giveUpAfter is when a place that does not answer is given up.
	giveUpAfter = 24 * time.Hour
)

// A Dispatcher delivers what is in a queue. Tell and Log may be nil.
type Dispatcher struct {
	Queue    Queue
	Carriers map[string]Carrier // by place
	// Tell lets people know what has become of a parcel; it may be called twice
	// with the same outcome. An error has it called again later.
	Tell func(ctx context.Context, o Outcome) error
	Log  *slog.Logger
}

// Serve delivers until ctx ends, and returns nil then. Any number of replicas
// may serve one queue.
func (d *Dispatcher) Serve(ctx context.Context) error {
	log := d.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	owner := uuid.NewString()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		if n := atOnce - len(slots); n > 0 {
			due, err := d.Queue.Due(ctx, owner, n)
			if err != nil && ctx.Err() == nil {
				log.Error("look for what is to be delivered", "error", err)
			}
			for _, p := range due {
				slots <- struct{}{}
				under.Go(func() {
					defer func() { <-slots }()
					d.deliver(ctx, p, log)
				})
			}
		}
		d.tell(ctx, log)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// deliver makes one attempt. One that ctx cuts short does not count.
func (d *Dispatcher) deliver(ctx context.Context, p Parcel, log *slog.Logger) {
	link, err := d.carry(ctx, p)
	o, again := Outcome{Parcel: p, State: Delivered, Link: link}, time.Duration(0)
	if err != nil && ctx.Err() != nil {
		o.State = Waiting
	} else if err != nil {
		o.State, o.Why = Late, err.Error()
		again = pause(p.Tries, err)
		if final(err) {
			o.State = Failed
		} else if time.Since(p.Created) > giveUpAfter {
			o.State, o.Why = Failed, fmt.Sprintf("%s It was tried for %s.", o.Why, giveUpAfter)
		}
		log.Warn("a parcel was not delivered", "place", p.Place, "kind", p.Kind, "key", p.Key, "tries", p.Tries+1, "state", o.State, "why", o.Why)
	} else {
		log.Info("a parcel was delivered", "place", p.Place, "kind", p.Kind, "key", p.Key, "tries", p.Tries+1)
	}
	// What was delivered should be known to be, even while stopping.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := d.Queue.Settle(settle, o, again); err != nil {
		log.Error("record a delivery", "key", p.Key, "error", err)
	}
}

func (d *Dispatcher) carry(ctx context.Context, p Parcel) (link string, err error) {
	carrier := d.Carriers[p.Place]
	if carrier == nil {
		return "", refuse("There is no %s in the configuration any more.", p.Place)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic while delivering to %s: %v", p.Place, r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	return carrier.Carry(ctx, p)
}

// pause is how long to wait after a failure that was preceded by others.
func pause(before int, err error) time.Duration {
	wait := longestPause
	if before < 16 {
		wait = min(firstPause<<before, longestPause)
	}
	var busy *Busy
	if errors.As(err, &busy) {
		wait = max(wait, min(busy.After, time.Hour))
	}
	return wait
}

func (d *Dispatcher) tell(ctx context.Context, log *slog.Logger) {
	if d.Tell == nil {
		return
	}
	list, err := d.Queue.Untold(ctx, atOnce)
	if err != nil {
		if ctx.Err() == nil {
			log.Error("look for deliveries to tell of", "error", err)
		}
		return
	}
	for _, o := range list {
		err := d.Tell(ctx, o)
		if err == nil {
			err = d.Queue.Told(ctx, o)
		}
		if err != nil && ctx.Err() == nil {
			log.Error("tell of a delivery", "key", o.Key, "error", err)
		}
	}
}
