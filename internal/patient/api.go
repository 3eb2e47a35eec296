package patient

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
)

// cacheTTL is how long the API keeps what it read.
const cacheTTL = 300 * time.Second

// The API's release; the keys that fill Redis are of an older one.
const version = "2.0.0"

// An api is the patient's HTTP service.
type api struct {
	mux      *http.ServeMux
	cache    *redis.Client
	db       *database
	token    string
	instance string
	log      *slog.Logger

	// Since the start, for the panel; Prometheus has its own.
	hits, misses, refused atomic.Int64
	timings               timings
	lastTold              atomic.Int64 // unix seconds of the last logged Redis error

	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	flying   prometheus.Gauge
	lookups  *prometheus.CounterVec
	broken   *prometheus.CounterVec
}

func newAPI(cache *redis.Client, token string, log *slog.Logger) *api {
	a := &api{
		mux: http.NewServeMux(), cache: cache, db: newDatabase(), token: token, log: log,
		instance: "api-" + strings.ToLower(rand.Text()[:6]),

		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests by route and status."}, []string{"route", "status"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "errors_total", Help: "Answers with status 400 and above."}, []string{"status"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Help: "Time to answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12)}, []string{"route"}),
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
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Instance", a.instance)
	w.Header().Set("X-Version", version)
	a.mux.ServeHTTP(w, r)
}

// handle registers a measured route.
func (a *api) handle(pattern string, answer func(http.ResponseWriter, *http.Request) int) {
	_, route, _ := strings.Cut(pattern, " ")
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a.flying.Inc()
		defer a.flying.Dec()
		start := time.Now()
		code := answer(w, r)
		took := time.Since(start)
		a.seconds.WithLabelValues(route).Observe(took.Seconds())
		text := strconv.Itoa(code)
		a.requests.WithLabelValues(route, text).Inc()
		if code >= 400 {
			a.failures.WithLabelValues(text).Inc()
		}
		if strings.HasPrefix(route, "/api/v1/reconciliation/") && code < 300 {
			a.timings.add(took)
		}
	})
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

func (a *api) health(w http.ResponseWriter, _ *http.Request) int {
	return reply(w, http.StatusOK, map[string]string{"status": "healthy"})
}

func (a *api) ready(w http.ResponseWriter, r *http.Request) int {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	checks := map[string]string{"db": "ready", "redis": "ready"}
	status, code := "ready", http.StatusOK
	if err := a.cache.Ping(ctx).Err(); err != nil {
		checks["redis"], status, code = "unreachable", "degraded", http.StatusServiceUnavailable
	}
	return reply(w, code, map[string]any{"status": status, "checks": checks})
}

func (a *api) reconciliation(w http.ResponseWriter, r *http.Request) int {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(a.token)) != 1 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return problem(w, http.StatusUnauthorized, "a bearer token is needed")
	}
	user := r.URL.Query().Get("user")
	if user == "" || len(user) > 64 {
		return problem(w, http.StatusBadRequest, "user is missing or too long")
	}
	ctx := r.Context()
	if text, err := a.cache.Get(ctx, cachePrefix+user).Bytes(); err == nil {
		a.hits.Add(1)
		a.lookups.WithLabelValues("hit").Inc()
		w.Header().Set("X-Cache", "hit")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(text)
		return http.StatusOK
	} else if errors.Is(err, redis.Nil) {
		a.misses.Add(1)
		a.lookups.WithLabelValues("miss").Inc()
	} else {
		a.trouble("get", err)
	}
	s, found, err := a.db.read(ctx, user)
	switch {
	case err != nil:
		return problem(w, http.StatusServiceUnavailable, "the database did not answer")
	case !found:
		return problem(w, http.StatusNotFound, "no such user")
	}
	text, err := json.Marshal(s)
	if err != nil {
		return problem(w, http.StatusInternalServerError, "the answer cannot be written")
	}
	// A cache that takes nothing is no reason to refuse an answer.
	if err := a.cache.Set(ctx, cachePrefix+user, text, cacheTTL).Err(); err != nil {
		a.trouble("set", err)
	}
	w.Header().Set("X-Cache", "miss")
	return reply(w, http.StatusOK, json.RawMessage(text))
}

// trouble counts an error of Redis and logs one every few seconds: the first
// is news, the next hundred are not.
func (a *api) trouble(op string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	a.broken.WithLabelValues(op).Inc()
	if strings.HasPrefix(err.Error(), "OOM") {
		a.refused.Add(1)
	}
	const every = 10 // seconds
	now := time.Now().Unix()
	if last := a.lastTold.Load(); now-last >= every && a.lastTold.CompareAndSwap(last, now) {
		a.log.Warn("redis", "op", op, "error", err)
	}
}

// timings keeps the latest answers' times.
type timings struct {
	mu   sync.Mutex
	ring [512]timing
	next int
}

type timing struct {
	at   time.Time
	took time.Duration
}

func (t *timings) add(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring[t.next%len(t.ring)] = timing{time.Now(), took}
	t.next++
}

// since returns the times of answers given after then.
func (t *timings) since(then time.Time) []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []time.Duration
	for _, e := range t.ring {
		if e.at.After(then) {
			list = append(list, e.took)
		}
	}
	return list
}
