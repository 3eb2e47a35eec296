// Package redis offers runbook actions on Redis, and alone imports its client.
//
// Keys are walked with SCAN, never listed with KEYS, which stops the whole
// server. A Conn counts the lookups that its own probes cause, because Redis
// counts them as hits and misses too; redis.hit_rate leaves them out.
//
// Only single servers are understood: an action that walks keys refuses a node
// of a cluster, where it would see a part and call it the whole.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// The library writes failed dials to standard error by itself; here they are
// returned, and said once.
func init() { logging.Disable() }

const (
	dialTimeout = 3 * time.Second
	// replyTimeout bounds one command; the slowest one sent is a SCAN page.
	replyTimeout = 5 * time.Second
	poolSize     = 3
)

// A Config says how a Redis is reached and what opsbot may do with it.
type Config struct {
	URL      string // redis://host:port/db, rediss:// for TLS, unix:///path?db=n
	Username string // "": the URL's, or Redis's default user
	Password string // "": the URL's, or none
	// The user of what changes something; none: the same as for looking.
	MaintenanceUser     string
	MaintenancePassword string
	// PureCache says that everything in this database is a cache: only then
	// may redis.flush empty the database as a whole.
	PureCache bool
}

// A Conn is one database of one Redis. It is safe for concurrent use.
type Conn struct {
	client    *redis.Client // looks
	keeper    *redis.Client // changes; the same one if there is no user for it
	address   string
	db        int
	pureCache bool

	// Lookups that this connection caused, as Redis counted them. Probes hold
	// probing for reading while they ask and book; who compares Redis's
	// counters with these holds it for writing.
	probing            sync.RWMutex
	ownHits, ownMisses atomic.Int64
}

// Open checks the configuration and prepares a connection; it reaches nothing
// yet. The error is of kind Invalid and never repeats the URL, which may hold a
// password.
func Open(c Config) (*Conn, error) {
	opt, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "The address of a Redis connection is not one that opsbot understands.").
			Hinted("Write redis://HOST:PORT/DATABASE, or rediss:// for TLS.")
	}
	if c.Username != "" {
		opt.Username = c.Username
	}
	if c.Password != "" {
		opt.Password = c.Password
	}
	// A probe that is retried silently measures something else, and a write
	// that is retried may happen twice; runbooks have their own retry.
	opt.MaxRetries = -1
	opt.DialerRetries = 1
	opt.DialTimeout = dialTimeout
	opt.ReadTimeout, opt.WriteTimeout = replyTimeout, replyTimeout
	opt.PoolSize = poolSize
	opt.ContextTimeoutEnabled = true
	opt.ClientName = "opsbot"
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	conn := &Conn{
		client:    redis.NewClient(opt),
		address:   fmt.Sprintf("redis %s/%d", opt.Addr, opt.DB),
		db:        opt.DB,
		pureCache: c.PureCache,
	}
	conn.keeper = conn.client
	if c.MaintenanceUser != "" {
		second := *opt
		second.Username, second.Password = c.MaintenanceUser, c.MaintenancePassword
		conn.keeper = redis.NewClient(&second)
	}
	return conn, nil
}

// Identity returns the server's run_id and the database's number. A restarted
// Redis is another one: what an approval was given for may be gone.
func (c *Conn) Identity(ctx context.Context) (string, error) {
	s, err := c.state(ctx)
	if err != nil {
		return "", err
	}
	return s.Info.RunID + "/" + strconv.Itoa(c.db), nil
}

// Examine implements runbooks.Examiner.
func (c *Conn) Examine(ctx context.Context) ([]runbooks.Finding, error) {
	s, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	found := []runbooks.Finding{{Name: "server", Says: "Redis " + s.Info.Version + ", " + s.Info.Found(), Bad: s.Info.Loading || !s.Info.LastSaveOK}}
	if s.Cluster {
		found = append(found, runbooks.Finding{Name: "cluster", Bad: true, Says: "a node of a cluster: only single servers are understood"})
	}
	if c.keeper == c.client {
		return found, nil
	}
	f := runbooks.Finding{Name: "maintenance_user", Says: "may log in"}
	if err := c.keeper.Ping(ctx).Err(); err != nil {
		f.Bad, f.Says = true, fault.Say(c.explain("log in to", err))
	}
	return append(found, f), nil
}

// Address says where the connection leads: "redis prod-redis:6379/0".
func (c *Conn) Address() string { return c.address }

// Close ends the connection's sockets.
func (c *Conn) Close() error {
	err := c.client.Close()
	if c.keeper != c.client {
		err = errors.Join(err, c.keeper.Close())
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", c.address, err)
	}
	return nil
}

// state asks Redis about itself.
func (c *Conn) state(ctx context.Context) (state, error) {
	text, err := c.client.Info(ctx).Result()
	if err != nil {
		return state{}, c.explain("read the state of", err)
	}
	s, err := parseInfo(text)
	if err != nil {
		return state{}, fault.New(fault.Unavailable, "%s answered INFO without %s.", c.subject(), err).
			Hinted("Check that it is a Redis, and that the user may run INFO.").Because(err)
	}
	return s, nil
}

// single is state of a server that is not a part of a cluster.
func (c *Conn) single(ctx context.Context) (state, error) {
	s, err := c.state(ctx)
	if err == nil && s.Cluster {
		err = fault.New(fault.Conflict, "%s is one node of a cluster: its keys are only a part of the whole.", c.subject()).
			Hinted("opsbot counts and clears keys of single servers only.")
	}
	return s, err
}

// subject begins a sentence about this Redis.
func (c *Conn) subject() string {
	return "Redis at " + strings.TrimPrefix(c.address, "redis ")
}

// connOf returns the connection that a call is aimed at.
func connOf(call runbooks.Call) (*Conn, error) {
	c, ok := call.Target.Conn.(*Conn)
	if !ok {
		return nil, fmt.Errorf("target %s of step %s is a %T, not a Redis connection", call.Target.Name, call.Step, call.Target.Conn)
	}
	return c, nil
}

// argsOf returns the decoded arguments of a call.
func argsOf[T any](call runbooks.Call) (*T, error) {
	args, ok := call.Args.(*T)
	if !ok {
		return nil, fmt.Errorf("arguments of step %s are a %T", call.Step, call.Args)
	}
	return args, nil
}
