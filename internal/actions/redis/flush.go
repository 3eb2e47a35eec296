package redis

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type flush struct{}

// The modes of redis.flush.
const (
	modePrefix = "prefix"
	modeDB     = "db"
)

// FlushArgs are the arguments of redis.flush.
type FlushArgs struct {
	Mode    string   `arg:"mode" default:"prefix" values:"prefix|db" help:"prefix: keys that match; db: the whole database, of a pure cache only"`
	Pattern string   `arg:"pattern" help:"glob of the keys, at least two plain characters first; for prefix only"`
	Types   []string `arg:"types" default:"string" values:"string|list|set|zset|hash|stream" help:"types that are removed, others stay; for prefix only"`
}

// Flushed is the result of redis.flush.
type Flushed struct {
	Deleted     int `json:"deleted" help:"keys removed"`
	Skipped     int `json:"skipped" help:"keys that match but are of another type, and stayed"`
	TotalBefore int `json:"total_before" help:"keys of the database before"`
	TotalAfter  int `json:"total_after" help:"keys of the database after; others may have written meanwhile"`
}

// Found says the result in one line.
func (r Flushed) Found() string {
	text := fmt.Sprintf("removed %s of %s", number(r.Deleted), things(r.TotalBefore, "key"))
	if r.Skipped > 0 {
		text += fmt.Sprintf(", kept %s of other types", number(r.Skipped))
	}
	return text + fmt.Sprintf("; %s left", number(r.TotalAfter))
}

func (flush) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.flush",
		Summary: "Remove keys under a prefix, in batches, or empty a pure cache.",
		Effect:  runbooks.Destructive,
		Timeout: 5 * time.Minute,
		Args:    FlushArgs{},
		Result:  Flushed{},
	}
}

// plan returns what a call may do, or why it may not.
func (flush) plan(call runbooks.Call) (*Conn, *FlushArgs, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, nil, err
	}
	args, err := argsOf[FlushArgs](call)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case args.Mode == modeDB && !c.pureCache:
		return nil, nil, fault.New(fault.Forbidden, "%s is not declared a pure cache: it may hold more than a cache, so it is not emptied as a whole.", c.subject()).
			Hinted("Clear a prefix, or set pure_cache on the connection if nothing else lives there.")
	case args.Mode == modeDB && args.Pattern != "" && args.Pattern != "*":
		return nil, nil, fault.New(fault.Invalid, "redis.flush of a whole database takes no pattern.").
			Hinted("Use mode: prefix for keys that match %s.", args.Pattern)
	case args.Mode != modeDB && len(literal(args.Pattern)) < 2:
		return nil, nil, fault.New(fault.Invalid, "redis.flush needs a pattern that begins with at least two plain characters, such as prod_*.").
			Hinted("A bare * would take every key of the database.")
	case args.Mode != modeDB && len(args.Types) == 0:
		return nil, nil, fault.New(fault.Invalid, "redis.flush needs at least one type of key to remove.")
	}
	return c, args, nil
}

// literal returns the part of a glob before its first special character.
func literal(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

const (
	// shown is how many keys a card gives as examples.
	shown = 3
	// asked is how many keys are asked for their lifetime.
	asked = 1000
	// many keys are a reason to look twice.
	many = 1_000_000
	// lasting is the share of keys without expiry that is a reason to look
	// twice: a cache's keys expire.
	lasting = 0.2
)

// Preview counts what Run would remove and says what speaks against it.
func (f flush) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := f.plan(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	s, err := c.single(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	pattern := args.Pattern
	if args.Mode == modeDB {
		pattern = "*"
	}
	matched := map[string]int{} // by type
	doomed := 0
	chosen := sample{n: asked, pick: rand.IntN}
	complete, err := c.walk(ctx, pattern, func(keys []string) error {
		types, err := c.types(ctx, keys)
		if err != nil {
			return err
		}
		for i, k := range keys {
			if types[i] == "none" {
				continue
			}
			matched[types[i]]++
			if args.removes(types[i]) {
				doomed++
				chosen.offer(k)
			}
		}
		return nil
	})
	if err != nil {
		return runbooks.Preview{}, err
	}
	noTTL := 0
	for keys := range slices.Chunk(chosen.keys, pageSize) {
		ttls, err := c.lifetimes(ctx, keys)
		if err != nil {
			return runbooks.Preview{}, err
		}
		for _, ttl := range ttls {
			if ttl == -1 {
				noTTL++
			}
		}
	}
	total, err := c.client.DBSize(ctx).Result()
	if err != nil {
		return runbooks.Preview{}, c.explain("count the keys of", err)
	}
	p := runbooks.Preview{
		Identity: fmt.Sprintf("%s/%d", s.Info.RunID, c.db),
		Effect:   runbooks.Destructive,
		Live: []runbooks.Live{
			{Name: "keys to remove", Number: float64(doomed), Tolerance: runbooks.Within10Percent},
			{Name: "run_id", Text: s.Info.RunID, Tolerance: runbooks.Exact},
		},
	}
	all := 0
	for _, n := range matched {
		all += n
	}
	p.Impact = args.impact(doomed, all, max(int(total), all), matched)
	if len(chosen.keys) > 0 {
		some := slices.Clone(chosen.keys[:min(shown, len(chosen.keys))])
		slices.Sort(some)
		for i := range some {
			some[i] = firstLine(some[i])
		}
		p.Impact = append(p.Impact, "for example "+strings.Join(some, ", "))
	}
	p.Impact = append(p.Impact, c.address+", "+s.Info.Found())
	p.Reasons = args.reasons(doomed, noTTL, len(chosen.keys), complete, matched)
	return p, nil
}

// removes reports whether keys of the type go.
func (a *FlushArgs) removes(kind string) bool {
	return a.Mode == modeDB || slices.Contains(a.Types, kind)
}

// impact says what goes and what stays.
func (a *FlushArgs) impact(doomed, matched, total int, types map[string]int) []string {
	if a.Mode == modeDB {
		return []string{fmt.Sprintf("empties the whole database: %s (%s)", things(doomed, "key"), typesText(types))}
	}
	lines := []string{fmt.Sprintf("removes %s of %s: type %s, matching %s",
		number(doomed), things(total, "key"), strings.Join(a.Types, " or "), a.Pattern)}
	if kept := matched - doomed; kept > 0 {
		others := map[string]int{}
		for name, n := range types {
			if !a.removes(name) {
				others[name] = n
			}
		}
		lines = append(lines, fmt.Sprintf("keeps %s of another type (%s)", things(kept, "matching key"), typesText(others)))
	}
	if rest := total - matched; rest > 0 {
		lines = append(lines, fmt.Sprintf("leaves %s alone", things(rest, "other key")))
	}
	return lines
}

// reasons says what speaks for looking twice.
func (a *FlushArgs) reasons(doomed, noTTL, sampled int, complete bool, types map[string]int) []string {
	var why []string
	other := 0
	for name, n := range types {
		if name != "string" && a.removes(name) {
			other += n
		}
	}
	if other > 0 {
		why = append(why, fmt.Sprintf("%s of them are no plain values, but queues, sets, sessions or the like", number(other)))
	}
	if sampled > 0 {
		if share := float64(noTTL) / float64(sampled); share > lasting {
			why = append(why, fmt.Sprintf("%s of them never expire by themselves, as a cache's keys would", percent(share)))
		}
	}
	if doomed > many {
		why = append(why, fmt.Sprintf("they are more than %s", number(many)))
	}
	if !complete {
		why = append(why, "there are more keys than could be counted")
	}
	return why
}

// Run removes keys. It counts what Redis says it removed, not what it sent.
// Repeating it is safe: what is gone is not removed twice.
func (f flush) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := f.plan(call)
	if err != nil {
		return nil, err
	}
	if _, err := c.single(ctx); err != nil {
		return nil, err
	}
	before, err := c.client.DBSize(ctx).Result()
	if err != nil {
		return nil, c.explain("count the keys of", err)
	}
	r := Flushed{TotalBefore: int(before)}
	complete := true
	if args.Mode == modeDB {
		if err := c.keeper.FlushDBAsync(ctx).Err(); err != nil {
			return nil, c.explain("empty", err)
		}
		r.Deleted = r.TotalBefore
	} else {
		complete, err = c.walk(ctx, args.Pattern, func(keys []string) error {
			return c.unlink(ctx, args, keys, &r, out)
		})
	}
	if err != nil {
		if r.Deleted > 0 {
			fmt.Fprintf(out, "stopped after removing %s\n", things(r.Deleted, "key"))
		}
		return nil, err
	}
	after, err := c.client.DBSize(ctx).Result()
	if err != nil {
		return nil, c.explain("count the keys of", err)
	}
	r.TotalAfter = int(after)
	fmt.Fprintln(out, r.Found())
	if !complete {
		return nil, fault.New(fault.Conflict, "%s has more keys than one step looks at: %s were removed, some may be left.", c.subject(), number(r.Deleted)).
			Hinted("Run the step again to go on.")
	}
	return r, nil
}

// unlink removes those of the keys that are of a type that goes.
func (c *Conn) unlink(ctx context.Context, args *FlushArgs, keys []string, r *Flushed, out io.Writer) error {
	types, err := c.types(ctx, keys)
	if err != nil {
		return err
	}
	var doomed []string
	for i, k := range keys {
		switch {
		case types[i] == "none":
		case args.removes(types[i]):
			doomed = append(doomed, k)
		default:
			r.Skipped++
		}
	}
	if len(doomed) == 0 {
		return nil
	}
	n, err := c.keeper.Unlink(ctx, doomed...).Result()
	if err != nil {
		return c.explain("remove keys of", err)
	}
	const every = 5000 // keys between two lines of progress
	if (r.Deleted+int(n))/every > r.Deleted/every {
		fmt.Fprintf(out, "removed %s so far\n", things(r.Deleted+int(n), "key"))
	}
	r.Deleted += int(n)
	return nil
}
