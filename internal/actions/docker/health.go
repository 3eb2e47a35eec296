package docker

import (
	"context"
	"strings"
	"time"

	"opsbot/internal/fault"
)

const (
	// upWithin is how long a container gets to become healthy.
	upWithin = 2 * time.Minute
	// steadyFor is how long one without a health check has to run to count.
	steadyFor = 3 * time.Second
	lookEvery = 200 * time.Millisecond
)

// untilUp waits until a container that was started is healthy or, where no
// check exists, has run for a while. It returns how long that took.
func (c *Conn) untilUp(ctx context.Context, id string, within time.Duration) (time.Duration, error) {
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	restarts := -1
	for {
		in, err := c.client.ContainerInspect(wait, id)
		if err != nil && wait.Err() == nil {
			return 0, c.explain("look after the container that was started", err)
		}
		if err == nil {
			b := box{InspectResponse: in}
			if restarts < 0 {
				restarts = b.RestartCount
			}
			switch {
			case b.State.Restarting, b.RestartCount > restarts:
				return 0, fault.New(fault.Conflict, "%s starts and ends again and again%s.", b.name(), c.lastEnd(ctx, b)).
					Hinted("%s", c.lastWords(ctx, b))
			case b.State.Status == "exited" || b.State.Status == "dead":
				return 0, fault.New(fault.Conflict, "%s ended right after its start, with exit code %d.", b.name(), b.State.ExitCode).
					Hinted("%s", c.lastWords(ctx, b))
			case b.health() == "healthy", b.health() == noCheck && b.uptime() >= steadyFor:
				return max(time.Since(began), time.Millisecond), nil
			case b.health() == "unhealthy":
				return 0, fault.New(fault.Conflict, "%s is unhealthy after its start.", b.name()).Hinted("%s", checkSaid(b))
			}
		}
		select {
		case <-wait.Done():
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if err != nil {
				return 0, c.explain("look after the container that was started", err)
			}
			b := box{InspectResponse: in}
			return 0, fault.New(fault.Conflict, "%s was not healthy within %s; it is %s.", b.name(), brief(within), b.health()).Hinted("%s", checkSaid(b))
		case <-time.After(lookEvery):
		}
	}
}

// checkSaid is what the health check wrote last.
func checkSaid(b box) string {
	if b.State.Health == nil || len(b.State.Health.Log) == 0 {
		return "Read its log."
	}
	last := b.State.Health.Log[len(b.State.Health.Log)-1]
	text := strings.TrimSpace(clean(last.Output))
	if text == "" {
		return "Its check wrote nothing; read its log."
	}
	return "Its check said: " + clip(text, 200)
}

// lastWords are the last lines of a container's log.
func (c *Conn) lastWords(ctx context.Context, b box) string {
	lines, _, err := c.read(ctx, b, reading{tail: 3})
	if err != nil || len(lines) == 0 {
		return "It wrote nothing."
	}
	var texts []string
	for _, l := range lines {
		texts = append(texts, clip(l.text, 200))
	}
	return "Its last words: " + strings.Join(texts, " / ")
}
