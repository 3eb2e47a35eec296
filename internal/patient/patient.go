// Package patient is a small system that falls ill on request, for demos and
// tests.
//
// It is an API that keeps what it reads from a slow database in Redis for five
// minutes, and people who keep asking it. The illness is real: an old
// release's keys fill Redis up to its maxmemory, nothing is evicted, so the
// API's writes are refused and each lookup misses. Removing the old keys is
// the cure; nothing else changes the hit rate. A queue, sessions and settings
// live beside the cache and must survive the cure.
//
// Redis is a real redis-server where one is installed, on a loopback port of
// its own and without persistence. Elsewhere it is miniredis in this process,
// with the counters, the memory limit and the INFO fields that it lacks by
// itself. Engine says which. The API and its Redis can also be those of the
// Compose patient, see Outside; users, illness and panel are the same.
package patient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"golang.org/x/sync/errgroup"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/traffic"
)

// An Engine is a kind of Redis.
type Engine string

// The engines.
const (
	// AnyEngine is RedisServer where the program is found, else Miniredis.
	AnyEngine Engine = ""
	// RedisServer is the program redis-server, from PATH.
	RedisServer Engine = "redis-server"
	// Miniredis is a Redis written in Go, in this process.
	Miniredis Engine = "miniredis"
)

// Options say how the patient is set up; the zero value works.
type Options struct {
	Log    *slog.Logger // default: nothing is logged
	Dir    string       // for redis-server's working files; default: a temporary one, removed by Close
	Engine Engine       // which Redis; default AnyEngine

	// Outside is an API with its Redis that run already; nil: both are
	// started, and end with the patient.
	Outside *Outside
}

// Outside is a system that somebody else started and will stop, such as the
// Compose patient.
type Outside struct {
	Redis    string // host:port; without a password
	RedisSay string // what it is: "redis-server 7.0.15 in a container"
	API      string // base URL
	Token    string // bearer token of the API
}

// A Patient is a running API with its Redis and its users. All methods are
// safe for concurrent use.
type Patient struct {
	log    *slog.Logger
	token  string
	engine engine
	cache  *redis.Client
	server *http.Server // nil: the API is outside
	url    string
	vitals *vitals

	sickening sync.Mutex // one Sicken at a time

	cancel  context.CancelFunc
	stopped chan struct{}
	err     error // why it stopped; read after stopped is closed
}

// Start brings up Redis, makes it ill, then the API and its users. ctx bounds
// the start only; Close or Serve ends the patient.
func Start(ctx context.Context, o Options) (*Patient, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e, err := openEngine(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start the patient's Redis: %w", err)
	}
	p := &Patient{
		log:     o.Log,
		engine:  e,
		cache:   dial(e.addr()),
		stopped: make(chan struct{}),
	}
	abandon := func(err error) (*Patient, error) {
		return nil, errors.Join(err, p.cache.Close(), e.close())
	}
	if err := Furnish(ctx, p.cache); err != nil {
		return abandon(fmt.Errorf("fill the patient's Redis: %w", err))
	}
	if err := p.Sicken(ctx); err != nil {
		return abandon(err)
	}
	var listener net.Listener
	if out := o.Outside; out != nil {
		p.url, p.token = out.API, out.Token
	} else {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return abandon(fmt.Errorf("listen for the patient's API: %w", err))
		}
		secret := rand.Text()
		p.url, p.token = "http://"+listener.Addr().String(), api.Token(secret)
		p.server = &http.Server{
			Handler:           api.New(api.Options{Cache: p.cache, Database: newDatabase(), Secret: secret, Log: o.Log}),
			ReadHeaderTimeout: 5 * time.Second,
			ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		}
	}
	life, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	users := traffic.Start(traffic.Options{URL: p.url, Token: p.token, Users: p.Users()})
	p.vitals = newVitals(users, p.cache)
	go p.live(life, listener, users)
	return p, nil
}

// live runs everything until ctx ends or a part breaks, then takes it down.
func (p *Patient) live(ctx context.Context, listener net.Listener, users *traffic.Load) {
	defer close(p.stopped)
	g, ctx := errgroup.WithContext(ctx)
	if p.server != nil {
		g.Go(func() error {
			if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve the patient's API: %w", err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			return p.server.Close()
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		users.Stop()
		return nil
	})
	g.Go(func() error { return p.vitals.serve(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-p.engine.died():
			return fmt.Errorf("the patient's %s ended", p.engine.name())
		}
	})
	err := g.Wait()
	p.err = errors.Join(err, p.cache.Close(), p.engine.close())
}

// Serve waits until ctx ends or the patient breaks by itself, and returns when
// everything has stopped: nil in the first case.
func (p *Patient) Serve(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-p.stopped:
	}
	return p.Close()
}

// Close stops users, API and Redis, and returns when they have stopped. It may
// be called more than once.
func (p *Patient) Close() error {
	p.cancel()
	<-p.stopped
	return p.err
}

// Engine names the Redis in use: "redis-server 7.0.15" or "in-process
// miniredis".
func (p *Patient) Engine() string { return p.engine.name() }

// RedisURL is where the cache is: "redis://127.0.0.1:40001/0". There is no
// password.
func (p *Patient) RedisURL() string { return "redis://" + p.engine.addr() + "/0" }

// APIURL is the base of the API: "http://127.0.0.1:40002".
func (p *Patient) APIURL() string { return p.url }

// Token is the bearer token that the API wants for anything but its health and
// metrics.
func (p *Patient) Token() string { return p.token }

// WarmupPath is the API's path that fills the cache for one user, with {user}
// where the name goes.
const WarmupPath = api.StatusPath

// Users lists the people who keep asking: the values for WarmupPath.
func (p *Patient) Users() []string { return api.Users() }

// dial prepares a client that fails at once instead of trying again, so that
// the patient shows its trouble.
func dial(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:                     addr,
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              5 * time.Second,
		ReadTimeout:              5 * time.Second,
		WriteTimeout:             5 * time.Second,
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}
