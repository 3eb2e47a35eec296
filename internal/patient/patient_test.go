package patient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"

	"opsbot/internal/patient"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		beChild()
	}
	goleak.VerifyTestMain(m)
}

// childVariable makes this test's program a patient and nothing else.
const childVariable = "OPSBOT_TEST_PATIENT_CHILD"

func beChild() {
	p, err := patient.Start(context.Background(), patient.Options{Engine: patient.RedisServer})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println(p.RedisURL())
	_ = p.Serve(context.Background()) // until it is killed
}

// onBoth runs a test with a patient on each engine that there is here.
func onBoth(t *testing.T, test func(t *testing.T, p *patient.Patient, c *redis.Client)) {
	t.Helper()
	for _, engine := range []patient.Engine{patient.RedisServer, patient.Miniredis} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			p := start(t, engine)
			opt, err := redis.ParseURL(p.RedisURL())
			if err != nil {
				t.Fatal(err)
			}
			opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
			c := redis.NewClient(opt)
			t.Cleanup(func() { c.Close() })
			test(t, p, c)
		})
	}
}

func start(t *testing.T, engine patient.Engine) *patient.Patient {
	t.Helper()
	if engine == patient.RedisServer {
		if _, err := exec.LookPath("redis-server"); err != nil {
			t.Skip("redis-server is not installed; the same test runs on miniredis")
		}
	}
	p, err := patient.Start(t.Context(), patient.Options{Engine: engine, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return p
}

// until polls until ok is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// counted returns a field of INFO as a number.
func counted(t *testing.T, c *redis.Client, field string) int {
	t.Helper()
	text, err := c.Info(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			n := 0
			if err := json.Unmarshal([]byte(value), &n); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return n
		}
	}
	t.Fatalf("INFO has no %s", field)
	return 0
}

// keys lists the keys that match.
func keys(t *testing.T, c *redis.Client, pattern string) []string {
	t.Helper()
	var all []string
	it := c.Scan(t.Context(), 0, pattern, 1000).Iterator()
	for it.Next(t.Context()) {
		all = append(all, it.Val())
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// lookups waits until at least n more lookups were made, and says how many of
// them were hits.
func lookups(t *testing.T, c *redis.Client, n int) (hits, misses int) {
	t.Helper()
	h, m := counted(t, c, "keyspace_hits"), counted(t, c, "keyspace_misses")
	until(t, "lookups", func() bool {
		hits, misses = counted(t, c, "keyspace_hits")-h, counted(t, c, "keyspace_misses")-m
		return hits+misses >= n
	})
	return hits, misses
}

func get(t *testing.T, p *patient.Patient, path, token string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.APIURL()+path, nil)
	if err != nil {
		panic(err) // the path is the test's own
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return &http.Response{Status: err.Error()}, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(body)
}

func warm(t *testing.T, p *patient.Patient) {
	t.Helper()
	var all sync.WaitGroup
	for _, user := range p.Users() {
		all.Go(func() {
			resp, body := get(t, p, strings.ReplaceAll(patient.WarmupPath, "{user}", user), p.Token())
			if resp.StatusCode != http.StatusOK {
				t.Errorf("warming for %s: %s %s", user, resp.Status, body)
			}
		})
	}
	all.Wait()
}

// cure removes the plain values under prod_, as the runbook does.
func cure(t *testing.T, c *redis.Client) {
	t.Helper()
	it := c.ScanType(t.Context(), 0, "prod_*", 1000, "string").Iterator()
	for it.Next(t.Context()) {
		if err := c.Unlink(t.Context(), it.Val()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestIllUntilCleared(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		const others = 1 + 240 + 24 // queue, sessions, settings
		if n := len(keys(t, c, "prod_v1:*")); n < 9000 {
			t.Errorf("%d old keys, want more than 9,000", n)
		}
		if n := len(keys(t, c, "*")) - len(keys(t, c, "prod_*")); n != others-1 {
			t.Errorf("%d keys outside of the prefix, want %d", n, others-1)
		}
		if used, limit := counted(t, c, "used_memory"), counted(t, c, "maxmemory"); used <= limit || limit == 0 {
			t.Errorf("used_memory %d of %d: not full", used, limit)
		}
		if err := c.Set(t.Context(), "prod_recon:probe", "x", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "OOM command not allowed") {
			t.Errorf("SET = %v, want it refused for want of memory", err)
		}

		// Warming alone is no cure: nothing is kept.
		warm(t, p)
		if hits, misses := lookups(t, c, 30); hits != 0 {
			t.Errorf("ill: %d hits and %d misses, want no hits", hits, misses)
		}

		cure(t, c)
		if kind := c.Type(t.Context(), "prod_queue").Val(); kind != "list" {
			t.Errorf("prod_queue is a %q, want a list", kind)
		}
		warm(t, p)
		if hits, misses := lookups(t, c, 30); float64(hits) < 0.9*float64(hits+misses) {
			t.Errorf("cleared and warmed: %d hits and %d misses", hits, misses)
		}
		if n := len(keys(t, c, "*")) - len(keys(t, c, "prod_*")); n != others-1 {
			t.Errorf("%d keys outside of the prefix after clearing, want %d", n, others-1)
		}

		if err := p.Sicken(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What was being asked while the cache was filled may still find its answer.
		if hits, misses := lookups(t, c, 30); hits > misses/10 {
			t.Errorf("ill again: %d hits and %d misses", hits, misses)
		}
		until(t, "ill", func() bool { return p.Vitals().State == patient.Ill })
	})
}

// What fills Redis stays until somebody removes it; the cache's own does not.
func TestOldKeysNeverExpire(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		for _, k := range keys(t, c, "prod_v1:*")[:50] {
			if ttl := c.TTL(t.Context(), k).Val(); ttl != -1 {
				t.Fatalf("TTL of %s = %v, want none", k, ttl)
			}
		}
		cure(t, c)
		warm(t, p)
		user := p.Users()[0]
		if ttl := c.TTL(t.Context(), "prod_recon:"+user).Val(); ttl <= 0 || ttl > 300*time.Second {
			t.Errorf("TTL of the cache's own = %v, want up to 300 s", ttl)
		}
	})
}

func TestSickenTwice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		before := len(keys(t, c, "prod_v1:*"))
		if err := p.Sicken(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := len(keys(t, c, "prod_v1:*")); after > before+before/10 {
			t.Errorf("%d old keys after a second Sicken, %d before", after, before)
		}
	})
}

func TestAPI(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, _ *redis.Client) {
		one := strings.ReplaceAll(patient.WarmupPath, "{user}", p.Users()[7])
		// Its probe of Redis gives up early, which a busy machine can make it do.
		until(t, "the API is ready", func() bool {
			resp, _ := get(t, p, "/api/v1/ready", "")
			return resp.StatusCode == 200
		})
		for _, c := range []struct {
			path, token string
			code        int
			want        string
		}{
			{"/api/v1/health", "", 200, `{"status":"healthy"}`},
			{"/api/v1/ready", "", 200, `{"checks":{"db":"ready","redis":"ready"},"status":"ready"}`},
			{one, "", 401, "bearer"},
			{one, "wrong", 401, "bearer"},
			{one, p.Token(), 200, `"user":"u007"`},
			{strings.ReplaceAll(patient.WarmupPath, "{user}", "nobody"), p.Token(), 404, "no such user"},
			{strings.ReplaceAll(patient.WarmupPath, "{user}", ""), p.Token(), 400, "user"},
			{"/metrics", "", 200, "cache_lookups_total"},
			{"/metrics", "", 200, "process_start_time_seconds"},
			{"/elsewhere", "", 404, ""},
		} {
			resp, body := get(t, p, c.path, c.token)
			if resp.StatusCode != c.code || !strings.Contains(body, c.want) {
				t.Errorf("GET %s = %s %.200s, want %d with %s", c.path, resp.Status, body, c.code, c.want)
			}
			if resp.Header.Get("X-Instance") == "" || resp.Header.Get("X-Version") == "" {
				t.Errorf("GET %s: X-Instance or X-Version is missing", c.path)
			}
		}
	})
}

func TestEngineIsSaid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		want := "redis-server"
		if strings.HasSuffix(t.Name(), "miniredis") {
			want = "in-process miniredis"
		}
		if !strings.HasPrefix(p.Engine(), want) {
			t.Errorf("Engine() = %q", p.Engine())
		}
		if err := c.Do(t.Context(), "SELECT", "1").Err(); err == nil || !strings.Contains(err.Error(), "DB index is out of range") {
			t.Errorf("SELECT 1 = %v", err)
		}
	})
}

func TestServe(t *testing.T) {
	t.Parallel()
	t.Run("EndsWithContext", func(t *testing.T) {
		t.Parallel()
		p := start(t, patient.Miniredis)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Serve(ctx); err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	t.Run("RedisDies", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("redis-server"); err != nil {
			t.Skip("redis-server is not installed")
		}
		p, err := patient.Start(t.Context(), patient.Options{Engine: patient.RedisServer})
		if err != nil {
			t.Fatal(err)
		}
		opt, err := redis.ParseURL(p.RedisURL())
		if err != nil {
			t.Fatal(err)
		}
		opt.MaxRetries = -1
		c := redis.NewClient(opt)
		defer c.Close()
		c.ShutdownNoSave(t.Context())
		if err := p.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("Serve() = %v, want that Redis ended", err)
		}
	})
}

func TestPanel(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		page := httptest.NewServer(http.StripPrefix("/patient", p.Panel()))
		defer page.Close()
		fetch := func(method, path, origin string) (*http.Response, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, page.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if origin != "" {
				req.Header.Set("Origin", origin)
			}
			resp, err := page.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			return resp, string(body)
		}
		for path, kind := range map[string]string{"/patient/": "text/html", "/patient/panel.css": "text/css", "/patient/panel.js": "text/javascript", "/patient/vitals": "application/json"} {
			resp, body := fetch(http.MethodGet, path, "")
			if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) || body == "" {
				t.Errorf("GET %s = %s %s", path, resp.Status, resp.Header.Get("Content-Type"))
			}
			if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
				t.Errorf("GET %s: policy %q", path, csp)
			}
		}
		if resp, _ := fetch(http.MethodPost, "/patient/sicken", "https://elsewhere.example"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a stranger's POST = %s", resp.Status)
		}
		cure(t, c)
		if resp, body := fetch(http.MethodPost, "/patient/sicken", page.URL); resp.StatusCode != http.StatusNoContent {
			t.Errorf("POST = %s %s", resp.Status, body)
		}
		until(t, "figures", func() bool {
			v := p.Vitals()
			return v.State == patient.Ill && v.Lookups > 0 && v.Refused > 0 && v.P95 != nil && *v.P95 > 15 && v.Used > v.Max && v.Total > 9000
		})
		_, body := fetch(http.MethodGet, "/patient/vitals", "")
		var v patient.Vitals
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if v.Words != "Ill: writes refused (OOM)" || v.Engine != p.Engine() || v.HitRate == nil || len(v.Past) == 0 {
			t.Errorf("vitals = %+v", v)
		}
	})
}
