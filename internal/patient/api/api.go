// Package api is the patient's HTTP service: it answers from a cache in Redis
// and reads what is missing there from a slow database.
//
// The same handler runs in the process of `opsbot demo`, on a database that is
// made up, and in the containers of the Compose patient, on PostgreSQL; Serve
// is what those containers run. There it can also be given faults.
package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// The library writes failed dials to standard error by itself.
func init() { logging.Disable() }

const (
	// CachePrefix starts the keys of what the API keeps in Redis.
	CachePrefix = "prod_recon:"
	// CacheTTL is how long it keeps it.
	CacheTTL = 300 * time.Second
	// StatusPath is the path of one user's status, with {user} where the name
	// goes.
	StatusPath = "/api/v1/reconciliation/status?user={user}"
)

// What the header X-Cache says of one answer.
const (
	Hit     = "hit"     // the cache had it
	Miss    = "miss"    // the cache did not have it, and has it now
	Refused = "refused" // the cache did not have it, and is full
	Broken  = "broken"  // the cache did not answer or cannot be written
)

// A Status is what the API says of one user's reconciliation.
type Status struct {
	User       string `json:"user"`
	State      string `json:"status"`
	Positions  int    `json:"positions"`
	Matched    int    `json:"matched"`
	Difference string `json:"difference"`
	Currency   string `json:"currency"`
	Ledger     string `json:"ledger"`
	Through    string `json:"through"` // a date
}

// ErrNoUser is what a Database says of a user that it does not know.
var ErrNoUser = errors.New("no such user")

// A Database is the slow part behind the cache.
type Database interface {
	// Status returns the latest reconciliation of a user, or ErrNoUser.
	Status(ctx context.Context, user string) (Status, error)
	// Ping says whether the database answers.
	Ping(ctx context.Context) error
}

// Options say what an API works with.
type Options struct {
	Cache    *redis.Client
	Database Database
	Secret   string       // tokens are signed with it; "": no token is good
	Instance string       // for the header X-Instance; default: a random one
	Version  string       // for the header X-Version; default 2.0.0
	Faults   *Faults      // nil: none, and /fault does not exist
	Log      *slog.Logger // default: nothing is logged
}

// An API is the patient's HTTP service.
type API struct {
	mux *http.ServeMux
	o   Options

	lastTold atomic.Int64 // unix seconds of the last logged Redis error

	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	flying   prometheus.Gauge
	lookups  *prometheus.CounterVec
	broken   *prometheus.CounterVec
}

// New returns an API; it asks nothing of its cache and database yet.
func New(o Options) *API {
	if o.Instance == "" {
		o.Instance = "api-" + strings.ToLower(rand.Text()[:6])
	}
	if o.Version == "" {
		o.Version = "2.0.0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{
		mux: http.NewServeMux(), o: o,

		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests by route and status."}, []string{"route", "status"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "errors_total", Help: "Answers with status 400 and above."}, []string{"status"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Help: "Time to answer.", Buckets: buckets}, []string{"route"}),
		flying:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_progress", Help: "Requests being answered."}),
		lookups:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cache_lookups_total", Help: "Lookups in the cache by result."}, []string{"result"}),
		broken:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cache_errors_total", Help: "Commands that Redis refused or did not answer."}, []string{"op"}),
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(a.requests, a.failures, a.seconds, a.flying, a.lookups, a.broken,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	a.handle("GET /api/v1/health", a.health)
	a.handle("GET /api/v1/ready", a.ready)
	a.handle("GET /api/v1/reconciliation/status", a.reconciliation)
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	if o.Faults != nil {
		a.mux.Handle("/fault", o.Faults)
	}
	return a
}

// buckets are fine around 50 and 100 ms, the limits that people ask about.
var buckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5}

// Token returns the bearer token that an API with this secret accepts.
func Token(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("reconciliation"))
	return "recon." + hex.EncodeToString(mac.Sum(nil))
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Instance", a.o.Instance)
	w.Header().Set("X-Version", a.o.Version)
	a.mux.ServeHTTP(w, r)
}

// handle registers a measured route.
func (a *API) handle(pattern string, answer func(http.ResponseWriter, *http.Request) int) {
	_, route, _ := strings.Cut(pattern, " ")
	// All routes count from zero: a rate over a series that starts with its
	// first error misses that error.
	a.requests.WithLabelValues(route, "200")
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a.flying.Inc()
		defer a.flying.Dec()
		start := time.Now()
		code := a.faulty(w, r, answer)
		a.seconds.WithLabelValues(route).Observe(time.Since(start).Seconds())
		text := strconv.Itoa(code)
		a.requests.WithLabelValues(route, text).Inc()
		if code >= 400 {
			a.failures.WithLabelValues(text).Inc()
		}
	})
}

// faulty answers with the faults that the API was given: work is slow and goes
// wrong, while the checks of the process itself stay as they are.
func (a *API) faulty(w http.ResponseWriter, r *http.Request, answer func(http.ResponseWriter, *http.Request) int) int {
	if a.o.Faults != nil && strings.HasPrefix(r.URL.Path, "/api/v1/reconciliation/") {
		if code := a.o.Faults.suffer(r.Context()); code != 0 {
			a.o.Log.Error("unhandled exception", "path", r.URL.Path, "status", code, "error", "injected fault")
			return problem(w, code, "internal error")
		}
	}
	return answer(w, r)
}

// reply writes v as JSON and returns the code.
func reply(w http.ResponseWriter, code int, v any) int {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; nobody is left to tell
	return code
}

func problem(w http.ResponseWriter, code int, text string) int {
	return reply(w, code, map[string]string{"error": text})
}

func (a *API) health(w http.ResponseWriter, _ *http.Request) int {
	return reply(w, http.StatusOK, map[string]string{"status": "healthy"})
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) int {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	checks := map[string]string{"db": "ready", "redis": "ready"}
	status, code := "ready", http.StatusOK
	for name, ping := range map[string]func() error{
		"db":    func() error { return a.o.Database.Ping(ctx) },
		"redis": func() error { return a.o.Cache.Ping(ctx).Err() },
	} {
		if err := ping(); err != nil {
			checks[name], status, code = "unreachable", "degraded", http.StatusServiceUnavailable
			a.o.Log.Error("not ready", "check", name, "error", err)
		}
	}
	return reply(w, code, map[string]any{"status": status, "checks": checks})
}

func (a *API) reconciliation(w http.ResponseWriter, r *http.Request) int {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case a.o.Secret == "":
		a.o.Log.Error("jwt: JWT_SECRET_KEY is empty, so no token can be verified")
		ok = false
	case ok:
		ok = hmac.Equal([]byte(given), []byte(Token(a.o.Secret)))
	}
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return problem(w, http.StatusUnauthorized, "a bearer token is needed")
	}
	user := r.URL.Query().Get("user")
	if user == "" || len(user) > 64 {
		return problem(w, http.StatusBadRequest, "user is missing or too long")
	}
	ctx := r.Context()
	cached, how := a.lookUp(ctx, user)
	if how == Hit {
		w.Header().Set("X-Cache", Hit)
		return reply(w, http.StatusOK, json.RawMessage(cached))
	}
	s, err := a.o.Database.Status(ctx, user)
	switch {
	case errors.Is(err, ErrNoUser):
		return problem(w, http.StatusNotFound, "no such user")
	case errors.Is(err, errBusy):
		a.o.Log.Error("database", "error", err)
		return problem(w, http.StatusServiceUnavailable, "no connection to the database is free")
	case err != nil:
		if ctx.Err() == nil { // else the client has gone
			a.o.Log.Error("database", "error", err)
		}
		return problem(w, http.StatusInternalServerError, "the database did not answer")
	}
	text, err := json.Marshal(s)
	if err != nil {
		return problem(w, http.StatusInternalServerError, "the answer cannot be written")
	}
	// A cache that takes nothing is no reason to refuse an answer.
	if err := a.o.Cache.Set(ctx, CachePrefix+user, text, CacheTTL).Err(); err != nil {
		how = a.trouble("set", err)
	}
	w.Header().Set("X-Cache", how)
	return reply(w, http.StatusOK, json.RawMessage(text))
}

// lookUp asks the cache: Hit with what it has, Miss or Broken.
func (a *API) lookUp(ctx context.Context, user string) (cached []byte, how string) {
	cached, err := a.o.Cache.Get(ctx, CachePrefix+user).Bytes()
	switch {
	case err == nil:
		a.lookups.WithLabelValues(Hit).Inc()
		return cached, Hit
	case errors.Is(err, redis.Nil):
		a.lookups.WithLabelValues(Miss).Inc()
		return nil, Miss
	default:
		return nil, a.trouble("get", err)
	}
}

// trouble counts an error of Redis and logs one every few seconds: the first
// is news, the next hundred are not. It returns Refused or Broken.
func (a *API) trouble(op string, err error) string {
	if errors.Is(err, context.Canceled) {
		return Broken
	}
	a.broken.WithLabelValues(op).Inc()
	const every = 10 // seconds
	now := time.Now().Unix()
	if last := a.lastTold.Load(); now-last >= every && a.lastTold.CompareAndSwap(last, now) {
		a.o.Log.Warn("redis", "op", op, "error", err)
	}
	if strings.HasPrefix(err.Error(), "OOM") {
		return Refused
	}
	return Broken
}
