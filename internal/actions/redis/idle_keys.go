package redis

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"opsbot/runbooks"
)

type idleKeys struct{}

// IdleKeysArgs are the arguments of redis.idle_keys.
type IdleKeysArgs struct {
	Pattern string        `arg:"pattern" required:"true" help:"glob of the keys, at least two plain characters first"`
	MinIdle time.Duration `arg:"min_idle" default:"24h" min:"1m" help:"how long nobody may have asked for them"`
	Types   []string      `arg:"types" default:"string" values:"string|list|set|zset|hash|stream" help:"types that count"`
	MaxKeys int           `arg:"max_keys" default:"100000" min:"1" max:"100000" help:"no more are chosen"`
}

// IdleKeys is the result of redis.idle_keys.
type IdleKeys struct {
	Matched  int      `json:"matched" help:"keys that match the pattern"`
	Lasting  int      `json:"lasting" help:"of these, keys that never expire"`
	Chosen   int      `json:"chosen" help:"of these, keys of the types that nobody asked for in that time"`
	Examples []string `json:"examples" help:"up to ten of the chosen"`
	Complete bool     `json:"complete" help:"all keys were looked at"`
}

// Found says the result in one line.
func (r IdleKeys) Found() string {
	text := fmt.Sprintf("%s of %s never expire, %s of these nobody asks for", number(r.Lasting), things(r.Matched, "key"), number(r.Chosen))
	if !r.Complete {
		text += "; not all keys were looked at"
	}
	return text
}

func (idleKeys) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.idle_keys",
		Summary: "Count keys that never expire and that nobody has asked for.",
		Timeout: 10 * time.Minute,
		Args:    IdleKeysArgs{},
		Result:  IdleKeys{},
	}
}

func (idleKeys) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[IdleKeysArgs](call)
	if err != nil {
		return nil, err
	}
	what := choice{args.Pattern, args.Types, args.MinIdle, args.MaxKeys}
	if _, err := c.mayJudge(ctx, what); err != nil {
		return nil, err
	}
	some := sample{n: 10, pick: rand.IntN}
	t, err := c.choose(ctx, what, func(keys []string) error {
		for _, k := range keys {
			some.offer(k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := IdleKeys{Matched: t.matched, Lasting: t.lasting, Chosen: t.chosen, Examples: some.shown(10), Complete: t.complete}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// shown returns up to n of the sampled keys, sorted, as people can read them.
func (s *sample) shown(n int) []string {
	some := slices.Clone(s.keys[:min(n, len(s.keys))])
	slices.Sort(some)
	for i := range some {
		some[i] = firstLine(some[i])
	}
	return append([]string{}, some...)
}
