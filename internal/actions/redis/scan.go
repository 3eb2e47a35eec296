package redis

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pageSize is SCAN's COUNT. No page of 500 took Redis 5 ms, and a walk of a
	// million keys takes a second; with the default of 10 it takes 14.
	pageSize = 500
	// maxKeys bounds how many keys one walk looks at.
	maxKeys = 10_000_000
	// maxSeen bounds the memory for telling duplicates: 8 bytes a key and some.
	maxSeen = 2_000_000
)

// walk calls page with the keys that match, at most pageSize at a time, and
// reports whether it came to the end. SCAN may return a key twice while its
// table is resized; duplicates are dropped for the first maxSeen keys.
func (c *Conn) walk(ctx context.Context, pattern string, page func([]string) error) (complete bool, err error) {
	seed := maphash.MakeSeed()
	seen := map[uint64]struct{}{}
	var cursor uint64
	for looked := 0; looked < maxKeys; looked += pageSize {
		keys, next, err := c.client.Scan(ctx, cursor, pattern, pageSize).Result()
		if err != nil {
			return false, c.explain("walk the keys of", err)
		}
		fresh := keys[:0]
		for _, k := range keys {
			h := maphash.String(seed, k)
			if _, twice := seen[h]; twice {
				continue
			}
			if len(seen) < maxSeen {
				seen[h] = struct{}{}
			}
			fresh = append(fresh, k)
		}
		for len(fresh) > 0 {
			n := min(pageSize, len(fresh))
			if err := page(fresh[:n]); err != nil {
				return false, err
			}
			fresh = fresh[n:]
		}
		if next == 0 {
			return true, nil
		}
		cursor = next
	}
	return false, nil
}

// types returns the type of each key, "none" for one that has gone. Redis
// counts the question as a lookup, so it is booked as our own. SCAN's TYPE
// option would do the same behind our back, without saying how often.
func (c *Conn) types(ctx context.Context, keys []string) ([]string, error) {
	pipe := c.client.Pipeline()
	cmds := make([]*redis.StatusCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.Type(ctx, k)
	}
	c.probing.RLock()
	defer c.probing.RUnlock()
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, c.explain("ask for the types of keys of", err)
	}
	types := make([]string, len(keys))
	for i, cmd := range cmds {
		types[i] = cmd.Val()
		c.book(types[i] != "none")
	}
	return types, nil
}

// lifetimes returns how long each key still has: -1 for one without an end, -2
// for one that has gone.
func (c *Conn) lifetimes(ctx context.Context, keys []string) ([]time.Duration, error) {
	pipe := c.client.Pipeline()
	cmds := make([]*redis.DurationCmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.TTL(ctx, k)
	}
	c.probing.RLock()
	defer c.probing.RUnlock()
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, c.explain("ask for the lifetimes of keys of", err)
	}
	ttls := make([]time.Duration, len(keys))
	for i, cmd := range cmds {
		ttls[i] = cmd.Val()
		c.book(ttls[i] != -2)
	}
	return ttls, nil
}

// book remembers a lookup of our own.
func (c *Conn) book(hit bool) {
	if hit {
		c.ownHits.Add(1)
	} else {
		c.ownMisses.Add(1)
	}
}

// A sample is a uniform choice of at most n of the keys it was offered.
type sample struct {
	n       int
	offered int
	keys    []string
	pick    func(int) int // a random number below its argument
}

func (s *sample) offer(key string) {
	s.offered++
	if len(s.keys) < s.n {
		s.keys = append(s.keys, key)
	} else if i := s.pick(s.offered); i < s.n {
		s.keys[i] = key
	}
}
