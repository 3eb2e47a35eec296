package main

import (
	"context"
	"errors"
	"fmt"
)

// A service is one long-lived part of the program.
type service struct {
	name  string
	serve func(context.Context) error // returns only when it has stopped
}

// serveAll runs services until ctx is done or one of them ends, then stops
// them one after another, the last one first: what takes orders stops before
// what carries them out. It returns the first error that is not the stop itself.
func serveAll(ctx context.Context, services ...service) error {
	type running struct {
		service
		stop context.CancelFunc
		done chan error
	}
	ended := make(chan struct{}, len(services))
	var all []running
	for _, s := range services {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := running{s, stop, make(chan error, 1)}
		go func() {
			r.done <- s.serve(own)
			ended <- struct{}{}
		}()
		all = append(all, r)
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	var first error
	for i := len(all) - 1; i >= 0; i-- {
		all[i].stop()
		if err := <-all[i].done; err != nil && !errors.Is(err, context.Canceled) && first == nil {
			first = fmt.Errorf("%s: %w", all[i].name, err)
		}
	}
	return first
}
