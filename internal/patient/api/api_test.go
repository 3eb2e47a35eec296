package api_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"

	"opsbot/internal/patient/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// absent skips a test whose server is not here, or fails it where it must be.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" {
		t.Fatal(what + ", and OPSBOT_TEST_REQUIRE=1 wants it to be")
	}
	t.Skip(what)
}

// newDatabase returns the URL of an empty database.
func newDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("OPSBOT_TEST_POSTGRES")
	if server == "" {
		absent(t, "OPSBOT_TEST_POSTGRES is not set")
	}
	name := "patient_" + strings.ToLower(rand.Text()[:12])
	admin := func(sql string) {
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	admin("CREATE DATABASE " + name)
	t.Cleanup(func() { admin("DROP DATABASE " + name + " WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// newRedis starts a redis-server for the test alone and returns its socket and
// a function that ends it.
func newRedis(t *testing.T) (*redis.Client, string, func()) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		absent(t, "redis-server is not installed")
	}
	dir, err := os.MkdirTemp("", "patient-*") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed
	}()
	end := func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	t.Cleanup(func() {
		client.Close()
		end()
		os.RemoveAll(dir)
	})
	until(t, "Redis answers", func() bool { return client.Ping(t.Context()).Err() == nil })
	return client, "unix://" + socket, end
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
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// seeded returns a database with a few thousand reconciliations.
func seeded(t *testing.T) string {
	t.Helper()
	db := newDatabase(t)
	if _, err := api.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := api.Seed(t.Context(), db, 6000); err != nil {
		t.Fatal(err)
	}
	return db
}

func openPostgres(t *testing.T, url string) *api.Postgres {
	t.Helper()
	db, err := api.OpenPostgres(t.Context(), url, "api-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// ask sends a request and returns the status, the headers and the body.
func ask(t *testing.T, method, url, token string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func statusOf(user string) string { return strings.ReplaceAll(api.StatusPath, "{user}", user) }

// The API on a real database and a real cache, from the first answer until
// both are gone.
func TestAPI(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	cache, _, endRedis := newRedis(t)
	postgres := openPostgres(t, db)
	server := httptest.NewServer(api.New(api.Options{Cache: cache, Database: postgres, Secret: "s", Instance: "i1", Version: "v1"}))
	defer server.Close()
	token := api.Token("s")

	for _, c := range []struct {
		path, token string
		code        int
		body        string
	}{
		{"/api/v1/health", "", 200, `{"status":"healthy"}`},
		{"/api/v1/ready", "", 200, `{"checks":{"db":"ready","redis":"ready"},"status":"ready"}`},
		{statusOf("u001"), "", 401, `{"error":"a bearer token is needed"}`},
		{statusOf("u001"), api.Token("other"), 401, `{"error":"a bearer token is needed"}`},
		{statusOf(""), token, 400, `{"error":"user is missing or too long"}`},
		{statusOf("nobody"), token, 404, `{"error":"no such user"}`},
		{"/fault", "", 404, "404 page not found"},
	} {
		code, header, body := ask(t, http.MethodGet, server.URL+c.path, c.token)
		if code != c.code || strings.TrimSpace(body) != c.body || header.Get("X-Instance") != "i1" || header.Get("X-Version") != "v1" {
			t.Errorf("GET %s: %d %s %v, want %d %s", c.path, code, body, header, c.code, c.body)
		}
	}
	var answers []string
	for _, how := range []string{api.Miss, api.Hit} {
		code, header, body := ask(t, http.MethodGet, server.URL+statusOf("u001"), token)
		if code != 200 || header.Get("X-Cache") != how {
			t.Errorf("%d with X-Cache %q, want a %s", code, header.Get("X-Cache"), how)
		}
		answers = append(answers, strings.TrimSpace(body))
	}
	var s api.Status
	if err := json.Unmarshal([]byte(answers[0]), &s); err != nil || answers[0] != answers[1] || s.User != "u001" || s.Through == "" {
		t.Errorf("the answers are %q (%v)", answers, err)
	}
	_, _, metrics := ask(t, http.MethodGet, server.URL+"/metrics", "")
	for _, line := range []string{
		`http_requests_total{route="/api/v1/reconciliation/status",status="200"} 2`,
		`http_requests_total{route="/api/v1/reconciliation/status",status="401"} 2`,
		`errors_total{status="401"} 2`,
		`http_requests_in_progress 0`,
		`http_request_duration_seconds_count{route="/api/v1/reconciliation/status"} 6`,
		`cache_lookups_total{result="hit"} 1`,
		`process_start_time_seconds `,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %q among the metrics", line)
		}
	}

	endRedis()
	if code, _, body := ask(t, http.MethodGet, server.URL+"/api/v1/ready", ""); code != 503 || !strings.Contains(body, `"db":"ready","redis":"unreachable"`) {
		t.Errorf("ready without Redis: %d %s", code, body)
	}
	if code, header, _ := ask(t, http.MethodGet, server.URL+statusOf("u001"), token); code != 200 || header.Get("X-Cache") != api.Broken {
		t.Errorf("status without Redis: %d, X-Cache %q", code, header.Get("X-Cache"))
	}
	postgres.Close()
	if code, _, body := ask(t, http.MethodGet, server.URL+"/api/v1/ready", ""); code != 503 || !strings.Contains(body, `"db":"unreachable"`) {
		t.Errorf("ready without PostgreSQL: %d %s", code, body)
	}
	if code, _, _ := ask(t, http.MethodGet, server.URL+statusOf("u001"), token); code != 500 {
		t.Errorf("status without PostgreSQL: %d", code)
	}
}

// An API without a secret believes nobody.
func TestNoSecret(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(api.New(api.Options{}))
	defer server.Close()
	if code, _, _ := ask(t, http.MethodGet, server.URL+statusOf("u001"), api.Token("")); code != 401 {
		t.Errorf("a token of no secret gets %d", code)
	}
}

// When every connection of the pool waits, more requests are turned away
// instead of queueing up.
func TestBusyPool(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	cache, _, _ := newRedis(t)
	server := httptest.NewServer(api.New(api.Options{Cache: cache, Database: openPostgres(t, db), Secret: "s"}))
	defer server.Close()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK reconciliation_logs"); err != nil {
		t.Fatal(err)
	}
	codes := make(chan int, 8)
	for range cap(codes) {
		go func() {
			code, _, _ := ask(t, http.MethodGet, server.URL+statusOf("u001"), api.Token("s"))
			codes <- code
		}()
	}
	if code := <-codes; code != 503 {
		t.Errorf("the first answer is %d", code)
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for range cap(codes) - 1 {
		seen[<-codes]++
	}
	if seen[200] < 5 || seen[200]+seen[503] != 7 {
		t.Errorf("the others get %v, want a good answer for each of 5 connections", seen)
	}
}

// The tables are made once, and filled as runbooks expect.
func TestMigrateAndSeed(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	if head, err := api.Current(t.Context(), db); head != "" || err != nil {
		t.Errorf("an empty database has version %q, %v", head, err)
	}
	for range 2 {
		if head, err := api.Migrate(t.Context(), db); head != api.Head || err != nil {
			t.Errorf("Migrate() = %q, %v", head, err)
		}
	}
	if head, err := api.Current(t.Context(), db); head != api.Head || err != nil {
		t.Errorf("Current() = %q, %v", head, err)
	}
	if err := api.Seed(t.Context(), db, 5000); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for query, want := range map[string]int{
		"SELECT count(*) FROM reconciliation_logs":                5000,
		"SELECT count(*) FROM reconciliation_logs_archive":        0,
		"SELECT count(*) FROM users":                              api.UserCount,
		"SELECT count(DISTINCT user_id) FROM reconciliation_logs": api.UserCount,
		"SELECT round(extract(epoch FROM max(created_at) - min(created_at)) / 86400)::int FROM reconciliation_logs": 270,
		"SELECT count(*) FROM pg_indexes WHERE tablename = 'reconciliation_logs'":                                   1,
		"SELECT count(*) FROM pg_attribute WHERE attrelid = 'reconciliation_logs'::regclass AND attidentity = 'a'":  1,
	} {
		var got int
		if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d (%v), want %d", query, got, err, want)
		}
	}
}
