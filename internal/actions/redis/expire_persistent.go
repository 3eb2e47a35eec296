package redis

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type expirePersistent struct{}

// ExpirePersistentArgs are the arguments of redis.expire_persistent.
type ExpirePersistentArgs struct {
	Pattern string        `arg:"pattern" required:"true" help:"glob of the keys, at least two plain characters first"`
	MinIdle time.Duration `arg:"min_idle" default:"24h" min:"1m" help:"how long nobody may have asked for them"`
	Types   []string      `arg:"types" default:"string" values:"string|list|set|zset|hash|stream" help:"types that expire, others stay"`
	TTL     time.Duration `arg:"ttl" default:"1h" min:"5m" max:"720h" help:"how long they still live, and redis.persist can take it back"`
	MaxKeys int           `arg:"max_keys" default:"100000" min:"1" max:"100000" help:"no more are chosen"`
	DryRun  bool          `arg:"dry_run" default:"true" help:"only count"`
}

// Expiring is the result of redis.expire_persistent.
type Expiring struct {
	Matched  int       `json:"matched" help:"keys that match the pattern"`
	Lasting  int       `json:"lasting" help:"of these, keys that never expire"`
	Chosen   int       `json:"chosen" help:"of these, keys of the types that nobody asked for in that time"`
	Expiring int       `json:"expiring" help:"keys that now end; 0 in a dry run"`
	Until    time.Time `json:"until" help:"when they end, by the server's clock; until then redis.persist takes it back"`
	Complete bool      `json:"complete" help:"all keys were looked at"`
}

// Found says the result in one line.
func (r Expiring) Found() string {
	if r.Until.IsZero() {
		return fmt.Sprintf("dry run: would let %s of %s end", number(r.Chosen), things(r.Matched, "key"))
	}
	text := fmt.Sprintf("%s of %s end at %s", number(r.Expiring), things(r.Matched, "key"), r.Until.Format("15:04:05 MST on 2006-01-02"))
	if !r.Complete {
		text += "; not all keys were looked at"
	}
	return text
}

func (expirePersistent) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.expire_persistent",
		Summary: "Let keys end that never expire and that nobody has asked for.",
		Effect:  runbooks.Destructive,
		Timeout: 10 * time.Minute,
		Args:    ExpirePersistentArgs{},
		Result:  Expiring{},
	}
}

func (a *ExpirePersistentArgs) choice() choice {
	return choice{a.Pattern, a.Types, a.MinIdle, a.MaxKeys}
}

// Preview counts the keys that would end.
func (expirePersistent) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, err := connOf(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	args, err := argsOf[ExpirePersistentArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	s, err := c.mayJudge(ctx, args.choice())
	if err != nil {
		return runbooks.Preview{}, err
	}
	some := sample{n: shown, pick: rand.IntN}
	t, err := c.choose(ctx, args.choice(), func(keys []string) error {
		for _, k := range keys {
			some.offer(k)
		}
		return nil
	})
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{
		Identity: fmt.Sprintf("%s/%d", s.Info.RunID, c.db),
		Effect:   runbooks.Destructive,
		Live: []runbooks.Live{
			{Name: "keys to end", Number: float64(t.chosen), Tolerance: runbooks.Within10Percent},
			{Name: "run_id", Text: s.Info.RunID, Tolerance: runbooks.Exact},
		},
	}
	if args.DryRun {
		p.Impact = append(p.Impact, "only counts, a dry run")
	}
	p.Impact = append(p.Impact, fmt.Sprintf("ends %s from now: %s", args.TTL, t.text(args.choice())))
	if keys := some.shown(shown); len(keys) > 0 {
		p.Impact = append(p.Impact, "for example "+strings.Join(keys, ", "))
	}
	p.Impact = append(p.Impact, c.address+", "+s.Info.Found())
	return p, nil
}

// The keys that a run lets end are recorded in the same database, where they
// are at hand for whoever takes it back, and gone when the keys are: a list for
// each attempt, named by the moment at which its keys end, and a set of those
// moments.
type record struct{ run string }

var runRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func recordOf(run string) (record, error) {
	if !runRule.MatchString(run) {
		return record{}, fault.New(fault.Invalid, "%q is not the id of a run.", firstLine(run))
	}
	return record{run}, nil
}

func (r record) index() string { return ownPrefix + "expiring:" + r.run }

func (r record) list(until int64) string { return r.index() + ":" + strconv.FormatInt(until, 10) }

// keptFor is how much longer than the keys their record lives.
const keptFor = time.Hour

// Run records each page of keys before it lets them end. All keys of an attempt
// end at the same second: so a key whose end was set by somebody else can be
// told from them. When it is cut short, the result says how far it came.
func (expirePersistent) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[ExpirePersistentArgs](call)
	if err != nil {
		return nil, err
	}
	rec, err := recordOf(call.Run)
	if err != nil {
		return nil, err
	}
	s, err := c.mayJudge(ctx, args.choice())
	if err != nil {
		return nil, err
	}
	r := Expiring{}
	end := func([]string) error { return nil }
	if !args.DryRun {
		r.Until = s.Now.Add(args.TTL).Truncate(time.Second)
		end = func(keys []string) error {
			n, err := c.letEnd(ctx, rec, r.Until, keys)
			r.Expiring += n
			return err
		}
	}
	t, err := c.choose(ctx, args.choice(), end)
	r.Matched, r.Lasting, r.Chosen, r.Complete = t.matched, t.lasting, t.chosen, t.complete
	if err != nil {
		if r.Expiring > 0 {
			fmt.Fprintf(out, "stopped after letting %s end at %s; redis.persist takes it back\n", things(r.Expiring, "key"), r.Until.Format(time.RFC3339))
		}
		return r, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// letEnd records keys and then lets them end, but for those that have got an
// end meanwhile. It returns how many it changed.
func (c *Conn) letEnd(ctx context.Context, rec record, until time.Time, keys []string) (int, error) {
	list, forget := rec.list(until.Unix()), until.Add(keptFor)
	if _, err := c.keeper.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, rec.index(), until.Unix())
		p.ExpireAt(ctx, rec.index(), forget)
		p.RPush(ctx, list, keys)
		p.ExpireAt(ctx, list, forget)
		return nil
	}); err != nil {
		return 0, c.explain("record the keys in", err)
	}
	pipe := c.keeper.Pipeline()
	cmds := make([]*redis.Cmd, len(keys))
	for i, k := range keys {
		cmds[i] = pipe.Do(ctx, "EXPIREAT", k, until.Unix(), "NX")
	}
	_, err := pipe.Exec(ctx)
	n := 0
	for _, cmd := range cmds {
		if did, e := cmd.Int(); e == nil {
			n += did
		}
	}
	return n, c.explain("let keys end in", err)
}
