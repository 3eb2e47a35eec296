package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/fault"
)

// ownPrefix begins the keys that opsbot itself keeps in a database.
const ownPrefix = "opsbot:"

// A choice says which keys count as forgotten: those that match, never expire,
// are of the types and that nobody asked for.
type choice struct {
	pattern string
	types   []string
	minIdle time.Duration
	most    int
}

// A tally is what a walk over a choice has met.
type tally struct {
	matched, lasting, chosen int
	complete                 bool
}

var errEnough = errors.New("enough keys")

// mayJudge returns the server's state if it can tell how long keys were idle.
func (c *Conn) mayJudge(ctx context.Context, what choice) (state, error) {
	if len(literal(what.pattern)) < 2 {
		return state{}, fault.New(fault.Invalid, "The pattern of the keys must begin with at least two plain characters, such as prod_*.").
			Hinted("A bare * would take every key of the database.")
	}
	if strings.HasPrefix(literal(what.pattern), ownPrefix) {
		return state{}, fault.New(fault.Invalid, "Keys under %s are opsbot's own.", ownPrefix)
	}
	s, err := c.single(ctx)
	if err != nil {
		return s, err
	}
	if s.major() < 7 {
		return s, fault.New(fault.Conflict, "%s is Redis %s, which cannot expire only what never expires.", c.subject(), s.Info.Version).
			Hinted("opsbot does this on Redis 7 and newer.")
	}
	if s.lfu() {
		return s, fault.New(fault.Conflict, "%s does not track when keys were last asked for: its policy is %s.", c.subject(), s.Info.Policy).
			Hinted("Nobody can tell which keys are unused.")
	}
	if s.Info.Uptime < what.minIdle {
		return s, fault.New(fault.Conflict, "%s has run for %s only: it cannot tell what nobody asked for in %s.", c.subject(), s.Info.Uptime, what.minIdle).
			Hinted("Wait until it has run for longer.")
	}
	c.probing.RLock()
	defer c.probing.RUnlock()
	changed, err := c.client.Exists(ctx, policyNote).Result()
	if err != nil {
		return s, c.explain("look for a change of policy of", err)
	}
	c.book(changed > 0)
	if changed > 0 {
		return s, fault.New(fault.Conflict, "The policy of %s was changed less than a day ago, and its idle times are wrong since.", c.subject()).
			Hinted("Wait until a day has passed.")
	}
	return s, nil
}

// choose walks the keys and calls page with those that are chosen, at most
// pageSize at a time.
func (c *Conn) choose(ctx context.Context, what choice, page func([]string) error) (tally, error) {
	var t tally
	var err error
	t.complete, err = c.walk(ctx, what.pattern, func(keys []string) error {
		keys = slices.DeleteFunc(keys, func(k string) bool { return strings.HasPrefix(k, ownPrefix) })
		t.matched += len(keys)
		found, err := c.forgotten(ctx, what, keys, &t)
		if err != nil {
			return err
		}
		enough := len(found) > what.most-t.chosen
		found = found[:min(len(found), what.most-t.chosen)]
		t.chosen += len(found)
		if len(found) > 0 {
			if err := page(found); err != nil {
				return err
			}
		}
		if enough {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return t, err
}

// forgotten returns those of the keys that are chosen.
func (c *Conn) forgotten(ctx context.Context, what choice, keys []string, t *tally) ([]string, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	ttls, err := c.lifetimes(ctx, keys)
	if err != nil {
		return nil, err
	}
	var lasting []string
	for i, k := range keys {
		if ttls[i] == -1 {
			lasting = append(lasting, k)
		}
	}
	t.lasting += len(lasting)
	if len(lasting) == 0 {
		return nil, nil
	}
	types, err := c.types(ctx, lasting)
	if err != nil {
		return nil, err
	}
	idle, err := c.idleTimes(ctx, lasting)
	if err != nil {
		return nil, err
	}
	var found []string
	for i, k := range lasting {
		if slices.Contains(what.types, types[i]) && idle[i] >= what.minIdle {
			found = append(found, k)
		}
	}
	return found, nil
}

// idleTimes returns how long nobody asked for each key; -1 for one that has
// gone. Asking for it does not count as asking.
func (c *Conn) idleTimes(ctx context.Context, keys []string) ([]time.Duration, error) {
	pipe := c.client.Pipeline()
	cmds := make([]*redis.DurationCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.ObjectIdleTime(ctx, k)
	}
	c.probing.RLock()
	defer c.probing.RUnlock()
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, c.explain("ask for the idle times of keys of", err)
	}
	idle := make([]time.Duration, len(keys))
	for i, cmd := range cmds {
		switch {
		case errors.Is(cmd.Err(), redis.Nil):
			idle[i] = -1
		case cmd.Err() != nil:
			return nil, c.explain("ask for the idle times of keys of", cmd.Err())
		default:
			idle[i] = cmd.Val()
		}
		c.book(idle[i] != -1)
	}
	return idle, nil
}

// text says how many keys are chosen, out of which.
func (t tally) text(what choice) string {
	least := ""
	if !t.complete {
		least = "at least "
	}
	return fmt.Sprintf("%s%s of %s matching %s: of type %s, never expire, and nobody asked for them in %s",
		least, number(t.chosen), things(t.matched, "key"), what.pattern, strings.Join(what.types, " or "), what.minIdle)
}
