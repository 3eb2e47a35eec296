package redis

import (
	"context"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type ping struct{}

// A Pong is the result of redis.ping.
type Pong struct {
	MS      float64 `json:"ms" help:"milliseconds that the answer took"`
	Version string  `json:"version" help:"of the server"`
}

// Found says the result in one line.
func (r Pong) Found() string { return fmt.Sprintf("Redis %s answered in %.1f ms", r.Version, r.MS) }

func (ping) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.ping",
		Summary: "Ask Redis whether it answers.",
		Timeout: 5 * time.Second,
		Result:  Pong{},
	}
}

func (ping) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	s, err := c.state(ctx) // first, so that dialing is not timed
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := c.client.Ping(ctx).Err(); err != nil {
		return nil, c.explain("reach", err)
	}
	return Pong{MS: float64(time.Since(start).Microseconds()) / 1000, Version: s.Info.Version}, nil
}
