package compose_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/config"
	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
	"opsbot/internal/patient/traffic"
)

// until polls until ok is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// get returns the status and the body; no answer is status 0.
func get(t *testing.T, url, token string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return resp.StatusCode, resp.Header, string(body)
}

// connect opens a connection to the database as a role.
func connect(t *testing.T, p *compose.Patient, role string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.PostgresURL(role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

// What a healthy patient has: everything that a runbook looks at.
func TestPatient(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Replicas: 2})

	t.Run("API", func(t *testing.T) {
		code, header, body := get(t, p.URL()+"/api/v1/health", "")
		if code != 200 || header.Get("X-Version") != "2.0.0" || !strings.Contains(body, `"healthy"`) {
			t.Errorf("health: %d %v %s", code, header, body)
		}
		if code, _, body := get(t, p.URL()+"/api/v1/ready", ""); code != 200 || !strings.Contains(body, `"db":"ready","redis":"ready"`) {
			t.Errorf("ready: %d %s", code, body)
		}
		path := strings.ReplaceAll(api.StatusPath, "{user}", "u007")
		if code, _, _ := get(t, p.URL()+path, ""); code != 401 {
			t.Errorf("without a token: %d", code)
		}
		for _, want := range []string{api.Miss, api.Hit} {
			code, header, body := get(t, p.URL()+path, p.Token())
			var s api.Status
			if err := json.Unmarshal([]byte(body), &s); err != nil || code != 200 || header.Get("X-Cache") != want || s.User != "u007" || s.Positions == 0 {
				t.Errorf("status: %d %v %s (%v), want a %s", code, header, body, err, want)
			}
		}
		if ttl := p.Redis(0).TTL(t.Context(), "prod_recon:u007").Val(); ttl <= 0 || ttl > 300*time.Second {
			t.Errorf("the answer is kept for %s", ttl)
		}
	})
	t.Run("replicas", func(t *testing.T) {
		urls, err := p.Replicas(t.Context())
		if err != nil || len(urls) != 2 {
			t.Fatalf("replicas %q, %v", urls, err)
		}
		for _, u := range urls {
			code, _, body := get(t, u+"/metrics", "")
			for _, want := range []string{"http_requests_total{", "http_requests_in_progress", "http_request_duration_seconds_bucket{", "process_start_time_seconds"} {
				if code != 200 || !strings.Contains(body, want) {
					t.Errorf("%s/metrics: %d, without %s", u, code, want)
				}
			}
		}
		load := p.Load(traffic.Options{Pace: 20 * time.Millisecond, Fresh: true})
		until(t, "both replicas answer", func() bool { return len(load.Count().Instances) == 2 })
		for range 3 { // a new configuration is not noticed
			sent := load.Count().Sent
			docker(t, "kill", "-s", "HUP", container(t, p, "nginx"))
			until(t, "more was asked", func() bool { return load.Count().Sent > sent+50 })
		}
		if c := load.Stop(); c.Failed > 0 || c.Sent < 150 {
			t.Errorf("load on a healthy patient: %+v", c)
		}
	})
	t.Run("tables", func(t *testing.T) {
		conn := connect(t, p, "opsbot_ro")
		var rows, days, indexes int
		if err := conn.QueryRow(t.Context(), `SELECT count(*), extract(day FROM max(created_at) - min(created_at))::int, (SELECT count(*) FROM pg_indexes WHERE tablename = 'reconciliation_logs') FROM reconciliation_logs`).Scan(&rows, &days, &indexes); err != nil {
			t.Fatal(err)
		}
		if rows < 400_000 || days < 269 || indexes != 1 {
			t.Errorf("%d rows over %d days with %d indexes", rows, days, indexes)
		}
		for _, table := range []string{"users", "positions", "signals", "approvals", "audit_logs"} {
			var n int
			if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()).Scan(&n); err != nil || n == 0 {
				t.Errorf("%s has %d rows (%v)", table, n, err)
			}
		}
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'SELECT status, positions%'`).Scan(&rows); err != nil || rows == 0 {
			t.Errorf("pg_stat_statements has %d of the API's query (%v)", rows, err)
		}
		if _, err := conn.Exec(t.Context(), "DELETE FROM users"); err == nil {
			t.Error("the reading role can delete")
		}
	})
	t.Run("Redis", func(t *testing.T) {
		cache, other := p.Redis(0), p.Redis(1)
		defer cache.Close()
		defer other.Close()
		ctx := t.Context()
		if n, kind := cache.LLen(ctx, "prod_queue").Val(), cache.Type(ctx, "session:0007").Val(); n != 40 || kind != "hash" {
			t.Errorf("a queue of %d, a session that is a %s", n, kind)
		}
		if ttl := cache.TTL(ctx, "setting:01").Val(); ttl != -1 {
			t.Errorf("a setting expires in %s", ttl)
		}
		if other.DBSize(ctx).Val() == 0 {
			t.Error("database 1 is empty")
		}
		do(t, cache.ConfigSet(ctx, "maxmemory-policy", "allkeys-lru").Err())
		do(t, cache.ConfigRewrite(ctx).Err())
		if text, err := os.ReadFile(filepath.Join(p.Dir(), "cache", "redis.conf")); err != nil || !strings.Contains(string(text), "allkeys-lru") {
			t.Errorf("the configuration is not written: %s (%v)", text, err)
		}
	})
	t.Run("environment", func(t *testing.T) {
		text, err := p.Environment("demo")
		do(t, err)
		file := filepath.Join(t.TempDir(), "opsbot.yaml")
		do(t, os.WriteFile(file, []byte("environments:\n"+text), 0o600))
		c, err := config.Load(file, func(string) string { return "" })
		do(t, err)
		var kinds []string
		for _, conn := range c.Environments["demo"].Connections {
			kinds = append(kinds, conn.Kind())
			for _, secret := range []config.Secret{conn.Password, conn.Token} {
				if value, err := secret.Resolve(t.Context()); err != nil || !secret.IsZero() && value == "" {
					t.Errorf("%s: the secret is %q (%v)", conn.Kind(), value, err)
				}
			}
		}
		slices.Sort(kinds)
		if want := []string{"docker", "host", "http", "http", "postgres", "prometheus", "redis"}; !slices.Equal(kinds, want) {
			t.Errorf("the environment has %q", kinds)
		}
	})
	t.Run("Prometheus", func(t *testing.T) {
		until(t, "Prometheus has both replicas", func() bool {
			return len(query(t, p, "up == 1")) == 2
		})
	})
}

// query asks Prometheus, and returns the values.
func query(t *testing.T, p *compose.Patient, text string) []float64 {
	t.Helper()
	code, _, body := get(t, p.PrometheusURL()+"/api/v1/query?query="+url.QueryEscape(text), "")
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if code != 200 || json.Unmarshal([]byte(body), &answer) != nil {
		return nil
	}
	values := make([]float64, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		var f float64
		if s, ok := r.Value[1].(string); ok && json.Unmarshal([]byte(s), &f) == nil {
			values = append(values, f)
		}
	}
	return values
}

var (
	sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")
	comment  = regexp.MustCompile(`(?m)^\s*--.*$`)
	password = regexp.MustCompile(`PASSWORD \S+`)
)

// The patient's roles have exactly what the documentation tells people to
// grant.
func TestRolesAreThoseOfTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/connections/postgres.md")
	do(t, err)
	own, err := os.ReadFile("project/db/roles.sql")
	do(t, err)
	statements := func(text string) (list []string) {
		for _, s := range strings.Split(password.ReplaceAllString(comment.ReplaceAllString(text, ""), "PASSWORD …"), ";") {
			if s = strings.Join(strings.Fields(s), " "); s != "" {
				list = append(list, s)
			}
		}
		return list
	}
	block := sqlBlock.FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no SQL")
	}
	want, got := statements(string(block[1])), statements(string(own))
	for _, s := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasSuffix(g, s) }) {
			t.Errorf("roles.sql lacks %q", s)
		}
	}
	for _, s := range got {
		if strings.Contains(s, "opsbot_") && !slices.Contains(want, s) {
			t.Errorf("roles.sql has %q, which the page does not tell", s)
		}
	}
}
