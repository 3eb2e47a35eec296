package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"opsbot/internal/patient/api"
)

// Each fault shows where a runbook would look for it, and ends.
func TestFaults(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	cache, _, _ := newRedis(t)
	faults := api.NewFaults(db, cache, filepath.Join(t.TempDir(), "crash"), func(code int) { t.Errorf("ended with %d", code) })
	t.Cleanup(func() {
		if err := faults.Close(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(api.New(api.Options{Cache: cache, Database: openPostgres(t, db), Secret: "s", Faults: faults}))
	t.Cleanup(server.Close)
	set := func(query string) {
		t.Helper()
		if code, _, body := ask(t, http.MethodPost, server.URL+"/fault?"+query, ""); code != 200 {
			t.Fatalf("POST /fault?%s: %d %s", query, code, body)
		}
	}
	status := func() (int, time.Duration) {
		start := time.Now()
		code, _, _ := ask(t, http.MethodGet, server.URL+statusOf("u002"), api.Token("s"))
		return code, time.Since(start)
	}
	metric := func(name string) float64 {
		t.Helper()
		_, _, text := ask(t, http.MethodGet, server.URL+"/metrics", "")
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil || families[name] == nil {
			t.Fatalf("no metric %s: %v", name, err)
		}
		m := families[name].GetMetric()[0]
		return m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}

	set("slow=300ms")
	if code, took := status(); code != 200 || took < 300*time.Millisecond {
		t.Errorf("slow: %d after %s", code, took)
	}
	set("slow=0s&err=100")
	if code, _ := status(); code != 500 {
		t.Errorf("err: %d", code)
	}
	set("code=503")
	if code, _ := status(); code != 503 {
		t.Errorf("code: %d", code)
	}
	if code, _, _ := ask(t, http.MethodGet, server.URL+"/api/v1/health", ""); code != 200 {
		t.Errorf("the health of a process that fails at its work: %d", code)
	}
	set("err=30")
	seen := map[int]int{}
	for range 300 {
		code, _ := status()
		seen[code]++
	}
	if seen[503] < 45 || seen[503] > 150 {
		t.Errorf("30 %% of 300 are %v", seen)
	}
	set("err=0")

	before := metric("process_resident_memory_bytes")
	set("hog=200")
	if grown := metric("process_resident_memory_bytes") - before; grown < 150<<20 {
		t.Errorf("hog=200 takes %.0f bytes", grown)
	}
	set("hog=0")

	set("burn=1")
	cpu := metric("process_cpu_seconds_total")
	until(t, "a processor is burnt", func() bool { return metric("process_cpu_seconds_total") > cpu+1 })
	set("burn=0")

	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	leaks := func() (n int) {
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leak' AND datname = current_database()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	set("conns=7")
	if n := leaks(); n != 7 {
		t.Errorf("conns=7 opens %d", n)
	}
	set("conns=0")
	until(t, "the connections are closed", func() bool { return leaks() == 0 })

	misses := func() string { return cache.Info(t.Context(), "stats").Val() }
	old := misses()
	set("reads=500")
	until(t, "keys are missed", func() bool { return missed(misses()) > missed(old)+50 })

	set("deaf=true")
	if now := faults.Now(); !now.Deaf || now.Reads != 500 {
		t.Errorf("faults = %+v", now)
	}
	if code, _, body := ask(t, http.MethodDelete, server.URL+"/fault", ""); code != 200 || faults.Now() != (api.Ailments{}) {
		t.Errorf("DELETE: %d %s, faults %+v", code, body, faults.Now())
	}
	for _, query := range []string{"slow=-1s", "slow=2m", "err=101", "err=NaN", "code=200", "burn=x", "hog=99999", "conns=-1", "reads=9999999", "deaf=perhaps", "sick=1", "exit=300"} {
		if code, _, _ := ask(t, http.MethodPost, server.URL+"/fault?err=50&"+query, ""); code != 400 {
			t.Errorf("%s is answered with %d", query, code)
		}
		if faults.Now() != (api.Ailments{}) {
			t.Errorf("%s is refused and yet %+v", query, faults.Now())
		}
	}
}

// missed reads keyspace_misses.
func missed(info string) (n int) {
	_, rest, _ := strings.Cut(info, "keyspace_misses:")
	_, _ = fmt.Sscan(rest, &n)
	return n
}

// A log is written by one goroutine and read by another.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A container's process: it says that it runs, drains when it is stopped, ends
// as faults want, and dies at every start after a crash.
func TestServe(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	_, socket, _ := newRedis(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	s := api.Settings{Addr: addr, Database: db, Redis: socket, Secret: "s", Version: "3.1.0", Faults: true, State: t.TempDir()}
	run := func(ctx context.Context) (out, errs *log, code chan int) {
		out, errs, code = &log{}, &log{}, make(chan int, 1)
		go func() {
			c, err := api.Serve(ctx, s, out, errs)
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
			code <- c
		}()
		return out, errs, code
	}
	running := func(errs *log) {
		t.Helper()
		until(t, "it runs", func() bool {
			return strings.Contains(errs.String(), "Uvicorn running on http://"+addr) && api.Probe(t.Context(), addr) == nil
		})
	}

	ctx, stop := context.WithCancel(t.Context())
	out, errs, code := run(ctx)
	running(errs)
	if c, _, _ := ask(t, http.MethodPost, "http://"+addr+"/fault?slow=1500ms", ""); c != 200 {
		t.Fatalf("POST /fault: %d", c)
	}
	answer := make(chan int, 1)
	go func() {
		c, _, _ := ask(t, http.MethodGet, "http://"+addr+statusOf("u003"), api.Token("s"))
		answer <- c
	}()
	until(t, "a request is under way", func() bool {
		_, _, text := ask(t, http.MethodGet, "http://"+addr+"/metrics", "")
		return strings.Contains(text, "http_requests_in_progress 1")
	})
	stop()
	if c, ended := <-answer, <-code; c != 200 || ended != 0 {
		t.Errorf("the request under way gets %d, the process ends with %d:\n%s", c, ended, errs)
	}
	if !strings.Contains(out.String(), `"GET /api/v1/reconciliation/status?user=u003 HTTP/1.1" 200 OK`) || strings.Contains(out.String(), "/health") {
		t.Errorf("the requests on standard output:\n%s", out)
	}
	if !strings.Contains(errs.String(), "Application shutdown complete") {
		t.Errorf("standard error:\n%s", errs)
	}

	_, errs, code = run(t.Context())
	running(errs)
	if c, _, _ := ask(t, http.MethodPost, "http://"+addr+"/fault?exit=3", ""); c != http.StatusAccepted || <-code != 3 {
		t.Errorf("exit=3 is answered with %d:\n%s", c, errs)
	}
	_, errs, code = run(t.Context())
	running(errs)
	if c, _, _ := ask(t, http.MethodPost, "http://"+addr+"/fault?crash=4", ""); c != http.StatusAccepted || <-code != 4 {
		t.Errorf("crash=4 is answered with %d:\n%s", c, errs)
	}
	for range 2 {
		if _, errs, code = run(t.Context()); <-code != 4 || !strings.Contains(errs.String(), "startup failed") {
			t.Errorf("after a crash it starts:\n%s", errs)
		}
	}
	s.State, s.Exit = t.TempDir(), "1"
	if _, errs, code = run(t.Context()); <-code != 1 {
		t.Errorf("a release that cannot start starts:\n%s", errs)
	}
}

// Whatever is sent to /fault, what is taken is within the limits and can be
// told again.
func FuzzAilments(f *testing.F) {
	for _, seed := range []string{"slow=80ms&err=20", "err=NaN", "code=503&burn=16", "hog=-1", "conns=37&reads=200&deaf=1", "slow=1h", "=&&;%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		var a api.Ailments
		if err := a.Parse(values); err != nil {
			if a != (api.Ailments{}) {
				t.Errorf("refused (%v) and yet %+v", err, a)
			}
			return
		}
		if a.Slow < 0 || a.Slow > time.Minute || !(a.Err >= 0 && a.Err <= 100) || a.Burn < 0 || a.Burn > 16 || a.Hog < 0 || a.Hog > 2048 || a.Conns < 0 || a.Conns > 100 || a.Reads < 0 || a.Reads > 5000 {
			t.Errorf("%q gives %+v", query, a)
		}
		if _, err := json.Marshal(a); err != nil {
			t.Errorf("%q cannot be told: %v", query, err)
		}
	})
}
