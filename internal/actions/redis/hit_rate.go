package redis

import (
	"context"
	"fmt"
	"io"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type hitRate struct{}

// HitRateArgs are the arguments of redis.hit_rate.
type HitRateArgs struct {
	Window     time.Duration `arg:"window" default:"30s" min:"5s" max:"120s" help:"how long to count"`
	MinLookups int           `arg:"min_lookups" default:"1" min:"1" help:"fewer are too few to judge: the rate is no data"`
}

// A HitRate is the result of redis.hit_rate.
type HitRate struct {
	Hits    int      `json:"hits" help:"lookups in the window that found a key"`
	Misses  int      `json:"misses" help:"lookups in the window that did not"`
	Lookups int      `json:"lookups" help:"hits and misses"`
	Rate    *float64 `json:"rate" help:"hits by lookups; no data for too few lookups"`
	Evicted int      `json:"evicted_delta" help:"keys evicted in the window for want of memory"`
	Reset   bool     `json:"reset" help:"the server restarted or its counters were reset: nothing could be counted"`
}

// Found says the result in one line.
func (r HitRate) Found() string {
	switch {
	case r.Reset:
		return "no data: Redis restarted or its counters were reset meanwhile"
	case r.Rate == nil && r.Lookups > 0:
		return "no data: only " + things(r.Lookups, "lookup") + r.evictions()
	case r.Rate == nil:
		return "no data: no lookups" + r.evictions()
	default:
		return fmt.Sprintf("hit rate %s, %s of %s", percent(*r.Rate), number(r.Hits), things(r.Lookups, "lookup")) + r.evictions()
	}
}

func (r HitRate) evictions() string {
	if r.Evicted == 0 {
		return ""
	}
	return fmt.Sprintf(", %s evicted for want of memory", things(r.Evicted, "key"))
}

func (hitRate) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.hit_rate",
		Summary: "Count hits and misses over a window, without opsbot's own.",
		Timeout: 130 * time.Second,
		Args:    HitRateArgs{},
		Result:  HitRate{},
	}
}

func (hitRate) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[HitRateArgs](call)
	if err != nil {
		return nil, err
	}
	before, err := c.reading(ctx)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(args.Window)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded {
			return nil, fault.New(fault.Invalid, "The step's timeout ended before the window of %s was over.", args.Window).
				Hinted("Give the step a longer timeout.").Because(ctx.Err())
		}
		return nil, fmt.Errorf("count lookups of %s: %w", c.address, ctx.Err())
	}
	after, err := c.reading(ctx)
	if err != nil {
		return nil, err
	}
	r := between(before, after)
	if r.Lookups < args.MinLookups {
		r.Rate = nil
	}
	fmt.Fprintf(out, "%s in %s\n", r.Found(), args.Window)
	return r, nil
}

// A reading is Redis's counters at one moment, and how much of them is ours.
type reading struct {
	runID                            string
	hits, misses, ownHits, ownMisses int64
	evicted                          int64
}

func (c *Conn) reading(ctx context.Context) (reading, error) {
	c.probing.Lock()
	defer c.probing.Unlock()
	s, err := c.state(ctx)
	if err != nil {
		return reading{}, err
	}
	return reading{s.Info.RunID, s.Hits, s.Misses, c.ownHits.Load(), c.ownMisses.Load(), int64(s.Info.EvictedKeys)}, nil
}

// between counts what happened from one reading to the next. A probe that was
// cut off may have been counted by Redis only or by neither; the result never
// goes below zero for it.
func between(a, b reading) HitRate {
	hits, misses, evicted := b.hits-a.hits, b.misses-a.misses, b.evicted-a.evicted
	if a.runID != b.runID || hits < 0 || misses < 0 || evicted < 0 {
		return HitRate{Reset: true}
	}
	r := HitRate{
		Hits:    int(max(0, hits-(b.ownHits-a.ownHits))),
		Misses:  int(max(0, misses-(b.ownMisses-a.ownMisses))),
		Evicted: int(evicted),
	}
	r.Lookups = r.Hits + r.Misses
	if r.Lookups > 0 {
		rate := float64(r.Hits) / float64(r.Lookups)
		r.Rate = &rate
	}
	return r
}
