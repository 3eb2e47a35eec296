package redis

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type persist struct{}

// PersistArgs are the arguments of redis.persist.
type PersistArgs struct {
	Run string `arg:"run" help:"whose redis.expire_persistent is taken back; none: this run's"`
}

// Persisted is the result of redis.persist.
type Persisted struct {
	Recorded int `json:"recorded" help:"keys that the run had chosen"`
	Kept     int `json:"kept" help:"keys that never expire, again or still"`
	Gone     int `json:"gone" help:"keys that have ended or were removed"`
	Changed  int `json:"changed" help:"keys that have another end by now, and keep it"`
}

// Found says the result in one line.
func (r Persisted) Found() string {
	text := fmt.Sprintf("%s of %s never expire", number(r.Kept), things(r.Recorded, "key"))
	if r.Gone > 0 {
		text += fmt.Sprintf(", %s are gone", number(r.Gone))
	}
	if r.Changed > 0 {
		text += fmt.Sprintf(", %s have another end by now", number(r.Changed))
	}
	return text
}

func (persist) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.persist",
		Summary: "Keep the keys that redis.expire_persistent would let end.",
		Effect:  runbooks.Change,
		Timeout: 10 * time.Minute,
		Args:    PersistArgs{},
		Result:  Persisted{},
	}
}

// attempts returns when the keys of each attempt of a run end, as Unix seconds.
func (persist) attempts(ctx context.Context, call runbooks.Call) (*Conn, record, []int64, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, record{}, nil, err
	}
	args, err := argsOf[PersistArgs](call)
	if err != nil {
		return nil, record{}, nil, err
	}
	rec, err := recordOf(cmp.Or(args.Run, call.Run))
	if err != nil {
		return nil, record{}, nil, err
	}
	c.probing.RLock()
	defer c.probing.RUnlock()
	members, err := c.keeper.SMembers(ctx, rec.index()).Result()
	if err != nil {
		return nil, record{}, nil, c.explain("read the record of keys in", err)
	}
	c.book(len(members) > 0)
	var list []int64
	for _, m := range members {
		if n, err := strconv.ParseInt(m, 10, 64); err == nil {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil, record{}, nil, fault.New(fault.NotFound, "%s has no record of keys that run %s would let end.", c.subject(), rec.run).
			Hinted("It let none end, or their time is over: then they are gone.")
	}
	slices.Sort(list)
	return c, rec, list, nil
}

// Preview says how many keys are recorded, and until when they can be kept.
func (a persist) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, rec, attempts, err := a.attempts(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Identity: id, Effect: runbooks.Change}
	for _, until := range attempts {
		n, err := c.recorded(ctx, rec, until)
		if err != nil {
			return runbooks.Preview{}, err
		}
		p.Impact = append(p.Impact, fmt.Sprintf("keeps up to %s that end at %s", things(int(n), "key"), time.Unix(until, 0).UTC().Format("15:04:05 MST on 2006-01-02")))
	}
	p.Impact = append(p.Impact, c.address)
	return p, nil
}

// keep takes their end from keys that end at the very second of the attempt. It
// is one step for the server, so that nobody's own end is taken in between.
var keep = redis.NewScript(`
local kept, gone, changed = 0, 0, 0
for _, key in ipairs(KEYS) do
  local ends = redis.call('EXPIRETIME', key)
  if ends == tonumber(ARGV[1]) then
    redis.call('PERSIST', key)
    kept = kept + 1
  elseif ends == -1 then
    kept = kept + 1
  elseif ends == -2 then
    gone = gone + 1
  else
    changed = changed + 1
  end
end
return {kept, gone, changed}`)

// Run may be repeated.
func (a persist) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, rec, attempts, err := a.attempts(ctx, call)
	if err != nil {
		return nil, err
	}
	var r Persisted
	for _, until := range attempts {
		n, err := c.recorded(ctx, rec, until)
		if err != nil {
			return nil, err
		}
		for from := int64(0); from < n; from += pageSize {
			if err := c.keepPage(ctx, rec, until, from, &r); err != nil {
				return nil, err
			}
		}
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// recorded counts the keys of an attempt.
func (c *Conn) recorded(ctx context.Context, rec record, until int64) (int64, error) {
	c.probing.RLock()
	defer c.probing.RUnlock()
	n, err := c.keeper.LLen(ctx, rec.list(until)).Result()
	if err != nil {
		return 0, c.explain("count the recorded keys in", err)
	}
	c.book(n > 0)
	return n, nil
}

// keepPage keeps the recorded keys of a page.
func (c *Conn) keepPage(ctx context.Context, rec record, until, from int64, r *Persisted) error {
	c.probing.RLock()
	defer c.probing.RUnlock()
	keys, err := c.keeper.LRange(ctx, rec.list(until), from, from+pageSize-1).Result()
	if err != nil {
		return c.explain("read the recorded keys of", err)
	}
	c.book(len(keys) > 0)
	n, err := keep.Eval(ctx, c.keeper, keys, until).Int64Slice()
	if err != nil || len(n) != 3 {
		return c.explain("keep keys of", cmp.Or(err, fmt.Errorf("%d numbers came back", len(n))))
	}
	c.ownHits.Add(n[0] + n[2])
	c.ownMisses.Add(n[1])
	r.Recorded += len(keys)
	r.Kept, r.Gone, r.Changed = r.Kept+int(n[0]), r.Gone+int(n[1]), r.Changed+int(n[2])
	return nil
}
