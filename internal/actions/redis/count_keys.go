package redis

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"opsbot/runbooks"
)

type countKeys struct{}

// CountKeysArgs are the arguments of redis.count_keys.
type CountKeysArgs struct {
	Pattern string `arg:"pattern" required:"true" help:"glob of the keys, such as prod_*"`
	Sample  int    `arg:"sample" default:"0" min:"0" max:"100000" help:"how many of them to ask for type and lifetime"`
}

// KeyCount is the result of redis.count_keys.
type KeyCount struct {
	Matched  int            `json:"matched" help:"keys that match the pattern"`
	Total    int            `json:"total" help:"keys of the database, expired ones not yet removed included"`
	Complete bool           `json:"complete" help:"all keys were looked at"`
	NoTTLPct *float64       `json:"no_ttl_pct" help:"percent of the sample that never expires; no data without a sample"`
	Types    map[string]int `json:"types" help:"keys of the sample by type"`
}

// Found says the result in one line.
func (r KeyCount) Found() string {
	var b strings.Builder
	if !r.Complete {
		b.WriteString("at least ")
	}
	fmt.Fprintf(&b, "%s of %s match", number(r.Matched), things(r.Total, "key"))
	if r.NoTTLPct != nil {
		fmt.Fprintf(&b, "; %s without an expiry", percent(*r.NoTTLPct/100))
	}
	if len(r.Types) > 0 {
		fmt.Fprintf(&b, "; %s", typesText(r.Types))
	}
	return b.String()
}

// typesText writes counted types, the most frequent first: "998 string, 2 hash".
func typesText(types map[string]int) string {
	names := slices.SortedFunc(maps.Keys(types), func(a, b string) int {
		if d := types[b] - types[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = number(types[name]) + " " + name
	}
	return strings.Join(names, ", ")
}

func (countKeys) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.count_keys",
		Summary: "Count the keys that match a pattern, in small pages.",
		Timeout: time.Minute,
		Args:    CountKeysArgs{},
		Result:  KeyCount{},
	}
}

func (countKeys) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[CountKeysArgs](call)
	if err != nil {
		return nil, err
	}
	if _, err := c.single(ctx); err != nil {
		return nil, err
	}
	r := KeyCount{Types: map[string]int{}}
	chosen := sample{n: args.Sample, pick: rand.IntN}
	r.Complete, err = c.walk(ctx, args.Pattern, func(keys []string) error {
		r.Matched += len(keys)
		for _, k := range keys {
			chosen.offer(k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	noTTL, known := 0, 0
	for keys := range slices.Chunk(chosen.keys, pageSize) {
		types, err := c.types(ctx, keys)
		if err != nil {
			return nil, err
		}
		ttls, err := c.lifetimes(ctx, keys)
		if err != nil {
			return nil, err
		}
		for i := range keys {
			if types[i] == "none" || ttls[i] == -2 {
				continue // gone since it was listed
			}
			known++
			r.Types[types[i]]++
			if ttls[i] == -1 {
				noTTL++
			}
		}
	}
	if known > 0 {
		pct := 100 * float64(noTTL) / float64(known)
		r.NoTTLPct = &pct
	}
	total, err := c.client.DBSize(ctx).Result()
	if err != nil {
		return nil, c.explain("count the keys of", err)
	}
	// Keys may have come or gone since the walk; fewer than matched is nonsense.
	r.Total = max(int(total), r.Matched)
	fmt.Fprintln(out, r.Found())
	return r, nil
}
