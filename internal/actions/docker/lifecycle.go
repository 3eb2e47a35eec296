package docker

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

const (
	defaultGrace  = 10 * time.Second
	databaseGrace = time.Minute
	// stopSlack is what the engine gets above the grace to answer.
	stopSlack = 30 * time.Second
	// maxRestarts is how often a container may be restarted within
	// restartWindow cooldowns, by default twice an hour.
	maxRestarts   = 2
	restartWindow = 6
	killed        = 137 // exit code of a process that SIGKILL ended
)

// A manner is how a container is asked to stop.
type manner struct {
	signal string // "" is the container's own
	grace  time.Duration
}

// mannerOf decides how to stop a container: as the step says, as the
// configuration says, as the container says. PostgreSQL is asked with SIGINT:
// at SIGTERM it waits for its sessions until it is killed.
func (c *Conn) mannerOf(b box, args *StopArgs) manner {
	s := c.config.Stateful[b.service]
	var m manner
	m.signal = cmp.Or(args.Signal, s.Signal)
	own := cmp.Or(b.Config.StopSignal, "SIGTERM")
	if m.signal == "" && sameSignal(own, "SIGTERM") && b.database() == "postgres" {
		m.signal = "SIGINT"
	}
	if sameSignal(m.signal, own) {
		m.signal = ""
	}
	m.grace = cmp.Or(args.Grace, s.Grace)
	if m.grace == 0 && b.Config.StopTimeout != nil {
		m.grace = time.Duration(*b.Config.StopTimeout) * time.Second
	}
	if m.grace == 0 {
		m.grace = defaultGrace
		if b.database() != "" {
			m.grace = databaseGrace
		}
	}
	return m
}

// sameSignal compares names of signals with and without SIG, or as numbers.
func sameSignal(a, b string) bool {
	plain := func(s string) string {
		s = strings.TrimPrefix(strings.ToUpper(s), "SIG")
		return cmp.Or(map[string]string{"1": "HUP", "2": "INT", "3": "QUIT", "15": "TERM"}[s], s)
	}
	return plain(a) == plain(b)
}

// halt stops one container.
func (c *Conn) halt(ctx context.Context, b box, m manner) (Touched, error) {
	t := Touched{ID: b.ID, Name: b.name(), Number: b.number, ExitCode: b.State.ExitCode}
	if !b.State.Running && !b.State.Restarting {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.grace+stopSlack)
	defer cancel()
	began := time.Now()
	left := m.grace
	if m.signal != "" {
		// The engine drops a signal that is passed to stop before API 1.42, in
		// silence; to kill it is not.
		if err := c.client.ContainerKill(ctx, b.ID, m.signal); err != nil {
			return t, c.explain("send "+m.signal+" to "+b.name(), err)
		}
		if err := c.untilDown(ctx, b, m.grace); err != nil {
			return t, err
		}
		left = 0
	}
	// After a signal, too: a restart policy may have been quicker.
	seconds := int(math.Ceil(left.Seconds()))
	if err := c.client.ContainerStop(ctx, b.ID, container.StopOptions{Timeout: &seconds}); err != nil {
		return t, c.explain("stop "+b.name(), err)
	}
	t.StoppedAfter = max(time.Since(began), time.Millisecond)
	in, err := c.client.ContainerInspect(ctx, b.ID)
	if err != nil {
		return t, c.explain("look after "+b.name(), err)
	}
	if in.State.Running {
		return t, fault.New(fault.Conflict, "%s runs again although it was stopped.", b.name()).Hinted("Does something else start it?")
	}
	t.ExitCode = in.State.ExitCode
	t.Killed = in.State.ExitCode == killed && !in.State.OOMKilled
	return t, nil
}

// untilDown waits until a container's process has ended, or the time is up.
func (c *Conn) untilDown(ctx context.Context, b box, within time.Duration) error {
	for until := time.Now().Add(within); time.Now().Before(until); {
		in, err := c.client.ContainerInspect(ctx, b.ID)
		if err != nil {
			return c.explain("look after "+b.name(), err)
		}
		if !in.State.Running || in.State.StartedAt != b.State.StartedAt {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
	return nil
}

// wake starts one container and waits until it is up.
func (c *Conn) wake(ctx context.Context, b box, t *Touched) error {
	if err := c.client.ContainerStart(ctx, b.ID, container.StartOptions{}); err != nil {
		return c.explain("start "+b.name(), err)
	}
	var err error
	t.HealthyAfter, err = c.untilUp(ctx, b.ID, upWithin)
	return err
}

// add takes one container's fate into the result.
func (r *Restarted) add(t Touched) {
	r.Containers = append(r.Containers, t)
	r.Killed = r.Killed || t.Killed
	r.StoppedAfter, r.HealthyAfter = max(r.StoppedAfter, t.StoppedAfter), max(r.HealthyAfter, t.HealthyAfter)
	r.ExitCode = t.ExitCode
}

// finish compares the images before and after: a restart that changes one
// would have deployed something.
func (c *Conn) finish(ctx context.Context, r *Restarted, args *StopArgs) (any, error) {
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return nil, err
	}
	r.ImageAfter = imagesOf(list)
	if r.ImageAfter != r.ImageBefore {
		return nil, fault.New(fault.Conflict, "%s has another image than before: %s, not %s.", args.Service, r.ImageAfter, r.ImageBefore).
			Hinted("Somebody deployed meanwhile.")
	}
	return *r, nil
}

// preview is what stopping a service means, which a restart and a stop share.
func (c *Conn) preview(ctx context.Context, args *StopArgs, again bool) (runbooks.Preview, error) {
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return runbooks.Preview{}, err
	}
	if err := mayTouch(list); err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Identity: id, Effect: runbooks.Change, Live: frozen(list)}
	for _, b := range list {
		m := c.mannerOf(b, args)
		if again {
			if err := c.mayRestart(ctx, b); err != nil {
				return runbooks.Preview{}, err
			}
			unknown, err := c.comesBack(ctx, b)
			if err != nil {
				return runbooks.Preview{}, err
			}
			if unknown != "" {
				p.Impact = append(p.Impact, unknown)
			}
		}
		verb := "stops "
		switch {
		case !b.State.Running && again:
			verb = "starts "
		case !b.State.Running:
			verb = "leaves stopped "
		case again:
			verb = "restarts "
		}
		p.Impact = append(p.Impact, verb+b.oneLine())
		if b.State.Running {
			p.Impact = append(p.Impact, fmt.Sprintf("asks it with %s, kills it after %s", cmp.Or(m.signal, b.Config.StopSignal, "SIGTERM"), brief(m.grace)))
		}
	}
	if again && len(list) > 1 {
		p.Impact = append(p.Impact, fmt.Sprintf("one of %d after the other, the next only when the last is up", len(list)))
	}
	if why := c.destroys(list); why != "" {
		p.Effect, p.Reasons = runbooks.Destructive, []string{why}
	}
	return p, nil
}

// destroys says why stopping the containers loses something; "" if it does not.
func (c *Conn) destroys(list []box) string {
	for _, b := range list {
		if kind := b.database(); kind != "" && b.State.Running {
			return fmt.Sprintf("%s is a database (%s): every open transaction is lost", b.service, kind)
		}
		if _, ok := c.config.Stateful[b.service]; ok && b.State.Running {
			return b.service + " is declared stateful: what it holds in memory is lost"
		}
	}
	return ""
}

// mayRestart refuses restarts that do not help: of what restarts itself again
// and again, and of what was just restarted.
func (c *Conn) mayRestart(ctx context.Context, b box) error {
	if b.crashing() {
		return fault.New(fault.Conflict, "%s restarts itself again and again: %s%s.", b.name(), things(b.RestartCount, "time"), c.lastEnd(ctx, b)).
			Hinted("Another restart would not help. %s", c.lastWords(ctx, b))
	}
	times := c.restartsOf(ctx, b)
	if len(times) == 0 || !b.State.Running { // a start is no restart
		return nil
	}
	last := times[len(times)-1]
	window := restartWindow * c.config.Cooldown
	switch {
	case time.Since(last) < c.config.Cooldown:
		return fault.New(fault.Conflict, "%s was restarted %s ago; there have to be %s between two restarts.", b.name(), brief(time.Since(last)), brief(c.config.Cooldown)).
			Hinted("If that one did not help, look for the cause. Possible again at %s UTC.", last.Add(c.config.Cooldown).UTC().Format(time.TimeOnly))
	case len(times) >= maxRestarts:
		return fault.New(fault.Conflict, "%s was restarted %s within %s.", b.name(), things(len(times), "time"), brief(window)).
			Hinted("More would not help: look for the cause. Possible again at %s UTC.", times[0].Add(window).UTC().Format(time.TimeOnly))
	}
	return nil
}

// restartsOf lists when a container was stopped within the window, by anybody
// as far as the engine and the container remember, and by this process.
func (c *Conn) restartsOf(ctx context.Context, b box) []time.Time {
	now := time.Now()
	since := now.Add(-restartWindow * c.config.Cooldown)
	c.mu.Lock()
	var times []time.Time
	for _, t := range c.restarts[b.ID] {
		if t.After(since) {
			times = append(times, t)
		}
	}
	c.restarts[b.ID] = slices.Clone(times)
	c.mu.Unlock()
	var past []time.Time
	for _, m := range c.eventsOf(ctx, b, "stop", since, now) {
		past = append(past, time.Unix(0, m.TimeNano))
	}
	if len(past) > len(times) {
		times = past
	}
	// The engine remembers its last 256 events only, and health checks are
	// events, too; the container itself remembers when it last ended.
	if ended, err := time.Parse(time.RFC3339Nano, b.State.FinishedAt); err == nil && len(times) == 0 && b.RestartCount == 0 && ended.After(since) {
		times = append(times, ended)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// eventsOf lists what the engine remembers to have happened to a container;
// nothing when it does not answer.
func (c *Conn) eventsOf(ctx context.Context, b box, event string, since, until time.Time) []events.Message {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	messages, errs := c.client.Events(ctx, events.ListOptions{
		Since: stamp(since), Until: stamp(until),
		Filters: filters.NewArgs(filters.Arg("container", b.ID), filters.Arg("event", event)),
	})
	var past []events.Message
	for {
		select {
		case m := <-messages:
			past = append(past, m)
		case <-errs: // io.EOF when it has told all
			return past
		case <-ctx.Done():
			return past
		}
	}
}

// lastEnd says how the process of a container that restarts itself ended the
// last time, ", the last time with exit code 7", as far as it is known: while it
// runs once more, its state has an exit code of 0.
func (c *Conn) lastEnd(ctx context.Context, b box) string {
	code := strconv.Itoa(b.State.ExitCode)
	if b.State.Running && !b.State.Restarting {
		now := time.Now()
		ends := c.eventsOf(ctx, b, "die", now.Add(-time.Hour), now)
		if len(ends) == 0 {
			return ""
		}
		code = ends[len(ends)-1].Actor.Attributes["exitCode"]
	}
	return ", the last time with exit code " + code
}

// stamp writes a time as the engine reads it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

func (c *Conn) noteRestart(b box) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restarts[b.ID] = append(c.restarts[b.ID], time.Now())
}
