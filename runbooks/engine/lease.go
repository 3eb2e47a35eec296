package engine

import "context"

// A leased context is what an action works in. A process that was frozen goes
// on in the middle of an action, perhaps before the timer that ends the
// worker's context has been served; so whoever looks at the context looks at
// the lease.
type leased struct {
	context.Context
	w *worker
}

func (c leased) look() context.Context {
	if !c.w.leased() {
		c.w.cancel(ErrLeaseLost)
	}
	return c.Context
}

// Done and Err are those of the context, which ends with the lease.
func (c leased) Done() <-chan struct{} { return c.look().Done() }
func (c leased) Err() error            { return c.look().Err() }
