package redis

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type configSet struct{}

const (
	keyMemory = "maxmemory"
	keyPolicy = "maxmemory-policy"
	// policyNote is a key that says that the policy was changed from or to one
	// that does not track idle times; it stays for a day.
	policyNote = ownPrefix + "policy-changed"
	aDay       = 24 * time.Hour
)

var (
	policies   = []string{"noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"}
	memoryRule = regexp.MustCompile(`^([0-9]{1,15})(B|KiB|MiB|GiB|TiB)?$`)
)

// ConfigSetArgs are the arguments of redis.config_set.
type ConfigSetArgs struct {
	Key   string `arg:"key" required:"true" values:"maxmemory|maxmemory-policy" help:"the setting"`
	Value string `arg:"value" required:"true" help:"a size such as 512MiB, or 0 for no limit; or a policy such as allkeys-lru"`
}

// A Setting is the result of redis.config_set.
type Setting struct {
	Key      string `json:"key"`
	Value    string `json:"value" help:"as the server has it now"`
	Previous string `json:"previous" help:"as it was: the value of a step that takes it back"`
	Written  bool   `json:"written" help:"into the server's configuration file, so that it outlives a restart"`
	File     string `json:"file" help:"that configuration file; empty: the server was started without one"`
}

// Found says the result in one line.
func (r Setting) Found() string {
	text := fmt.Sprintf("%s is %s", r.Key, settingText(r.Key, r.Value))
	if r.Previous != r.Value {
		text += ", was " + settingText(r.Key, r.Previous)
	}
	switch {
	case r.Written:
		return text + "; written to " + r.File
	case r.File == "":
		return text + "; lost at the next restart, because the server has no configuration file: set it where the server is started"
	}
	return text + "; lost at the next restart, because the server cannot write " + r.File + ": set it there"
}

// settingText writes a value for people.
func settingText(key, value string) string {
	n, err := strconv.Atoi(value)
	switch {
	case key != keyMemory || err != nil:
		return value
	case n == 0:
		return "no limit"
	}
	return size(n)
}

func (configSet) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.config_set",
		Summary: "Change the limit of memory or what happens when it is reached.",
		Effect:  runbooks.Change,
		Timeout: 10 * time.Second,
		Args:    ConfigSetArgs{},
		Result:  Setting{},
	}
}

// plan returns what a call would set, and the server as it is; or why it may
// not.
func (configSet) plan(ctx context.Context, call runbooks.Call) (c *Conn, args ConfigSetArgs, s state, err error) {
	if c, err = connOf(call); err != nil {
		return
	}
	given, err := argsOf[ConfigSetArgs](call)
	if err != nil {
		return
	}
	args = *given
	if args.Key == keyMemory {
		if args.Value, err = memoryValue(args.Value); err != nil {
			return
		}
	} else if !slices.Contains(policies, args.Value) {
		err = fault.New(fault.Invalid, "%q is no policy of Redis.", firstLine(args.Value)).Hinted("They are %s.", strings.Join(policies, ", "))
		return
	}
	if s, err = c.state(ctx); err == nil {
		err = c.maySet(args, s)
	}
	return
}

// memoryValue reads a size into bytes.
func memoryValue(text string) (string, error) {
	m := memoryRule.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return "", fault.New(fault.Invalid, "%q is no size of memory.", firstLine(text)).Hinted("Write a size such as 512MiB, or 0 for no limit.")
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	shift := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
	if err != nil || n > 1<<50>>shift {
		return "", fault.New(fault.Invalid, "%q is more memory than there is.", firstLine(text))
	}
	return strconv.FormatInt(n<<shift, 10), nil
}

// maySet says why a setting would do harm or nothing.
func (c *Conn) maySet(args ConfigSetArgs, s state) error {
	if args.Key == keyMemory {
		n, _ := strconv.Atoi(args.Value)
		// At or below what is used, Redis evicts everything it can and then
		// refuses writes all the same.
		if least := s.Info.UsedMemory + s.Info.UsedMemory/10; n > 0 && n < least {
			return fault.New(fault.Conflict, "%s uses %s: a limit of %s would make it evict keys at once or refuse writes.", c.subject(), size(s.Info.UsedMemory), size(n)).
				Hinted("The least is a tenth above what is used, %s.", size(least))
		}
		return nil
	}
	switch {
	case s.Info.MaxMemory == 0:
		return fault.New(fault.Conflict, "%s has no limit of memory, so a policy has no effect.", c.subject()).
			Hinted("Set maxmemory first.")
	case args.Value != "noeviction" && !c.pureCache:
		return fault.New(fault.Forbidden, "%s is not declared a pure cache: it may hold more than a cache, so nothing of it is made evictable.", c.subject()).
			Hinted("Set pure_cache on the connection if nothing else lives there.")
	}
	return nil
}

// now is the setting as the server has it.
func (c *Conn) now(ctx context.Context, key string) (string, error) {
	got, err := c.keeper.ConfigGet(ctx, key).Result()
	if err != nil {
		return "", c.explain("read the configuration of", err)
	}
	value, ok := got[key]
	if !ok {
		return "", fault.New(fault.Unavailable, "%s has no setting %s.", c.subject(), key).Hinted("Check that it is a Redis.")
	}
	return value, nil
}

// Preview says what the setting is and what it would be.
func (a configSet) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, s, err := a.plan(ctx, call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	previous, err := c.now(ctx, args.Key)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{
		Identity: fmt.Sprintf("%s/%d", s.Info.RunID, c.db),
		Effect:   runbooks.Change,
		Impact:   []string{fmt.Sprintf("changes %s from %s to %s", args.Key, settingText(args.Key, previous), settingText(args.Key, args.Value))},
		Live: []runbooks.Live{
			{Name: args.Key, Text: previous, Tolerance: runbooks.Exact},
			{Name: "run_id", Text: s.Info.RunID, Tolerance: runbooks.Exact},
		},
	}
	if strings.HasPrefix(args.Value, "allkeys-") {
		p.Impact = append(p.Impact, "when memory is full, any key of the server may go")
		if n := s.keysBeside(c.db); n > 0 {
			p.Effect = runbooks.Destructive
			p.Reasons = []string{fmt.Sprintf("other databases of this server have %s, which would be evictable too", things(n, "key"))}
		}
	}
	if args.Key == keyMemory && args.Value == "0" {
		p.Impact = append(p.Impact, "without a limit it grows until its machine has no memory left")
	}
	if s.ConfigFile == "" {
		p.Impact = append(p.Impact, "holds until the next restart: the server has no configuration file")
	}
	p.Impact = append(p.Impact, c.address+", "+s.Info.Found())
	return p, nil
}

// Run sets, reads back, and makes the server write its configuration file. That
// it cannot is no failure: the result says so.
func (a configSet) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, s, err := a.plan(ctx, call)
	if err != nil {
		return nil, err
	}
	r := Setting{Key: args.Key, File: s.ConfigFile}
	if r.Previous, err = c.now(ctx, args.Key); err != nil {
		return nil, err
	}
	if args.Key == keyPolicy && r.Previous != args.Value && (strings.HasSuffix(args.Value, "-lfu") || strings.HasSuffix(r.Previous, "-lfu")) {
		// First: without the note, idle times would be believed that are none.
		if err := c.keeper.Set(ctx, policyNote, args.Value, aDay).Err(); err != nil {
			return nil, c.explain("note the change of policy in", err)
		}
	}
	if err := c.keeper.ConfigSet(ctx, args.Key, args.Value).Err(); err != nil {
		return nil, c.explain("configure", err)
	}
	if r.Value, err = c.now(ctx, args.Key); err != nil {
		return nil, err
	}
	if r.Value != args.Value {
		return nil, fault.New(fault.Conflict, "%s has %s = %s, although %s was set.", c.subject(), args.Key, firstLine(r.Value), args.Value).
			Hinted("Does something else configure it?")
	}
	if r.File != "" {
		if err := c.keeper.ConfigRewrite(ctx).Err(); err == nil {
			r.Written = true
		} else {
			fmt.Fprintf(out, "CONFIG REWRITE: %s\n", firstLine(err.Error()))
		}
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}
