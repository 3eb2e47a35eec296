package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"opsbot/internal/actions/redis"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// redisServer is the program, or skips the test.
func redisServer(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" {
			t.Fatal("redis-server is not installed, and OPSBOT_TEST_REQUIRE=1 wants it to be")
		}
		t.Skip("redis-server is not installed")
	}
	return path
}

// serve starts a redis-server with the settings and returns its address.
func serve(t *testing.T, settings ...string) string {
	t.Helper()
	return started(t, t.TempDir(), func(text string) *exec.Cmd {
		cmd := exec.Command(redisServer(t), "-")
		cmd.Stdin = strings.NewReader(text)
		return cmd
	}, settings...)
}

// started runs redis-server in a directory, as command makes it of a
// configuration, until the test has ended, and returns its address. A port that
// is free when it is looked for may be somebody else's a moment later: then
// another is tried.
func started(t *testing.T, dir string, command func(configuration string) *exec.Cmd, settings ...string) string {
	t.Helper()
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		_, port, _ := net.SplitHostPort(addr)
		cmd := command("bind 127.0.0.1\nport " + port + "\nsave \"\"\n" + strings.Join(settings, "\n") + "\n")
		cmd.Dir = dir
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said, ready := "", false
		for in := bufio.NewScanner(out); !ready && in.Scan(); said += in.Text() + "\n" {
			ready = strings.Contains(in.Text(), "Ready to accept connections")
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, out)
		}()
		end := func() {
			_ = cmd.Process.Kill()
			<-read
			_ = cmd.Wait()
		}
		if ready {
			t.Cleanup(end)
			return addr
		}
		end()
		if !strings.Contains(said, "in use") {
			t.Fatalf("redis-server ends at once:\n%s", said)
		}
	}
	t.Fatal("redis-server finds no port")
	return ""
}

// admin is a plain client for preparing a server.
func admin(t *testing.T, addr string) *client.Client {
	t.Helper()
	c := client.NewClient(&client.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t *testing.T, c redis.Config) *redis.Conn {
	t.Helper()
	conn, err := redis.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func action(t *testing.T, name string) runbooks.Action {
	t.Helper()
	for _, a := range redis.Actions() {
		if a.Spec().Name == name {
			return a
		}
	}
	t.Fatalf("no action %s", name)
	return nil
}

func call(conn runbooks.Connection, args any) runbooks.Call {
	return runbooks.Call{Run: "r1", Step: "s1", Target: runbooks.Target{Environment: "test", Name: "cache", Kind: "redis", Conn: conn}, Args: args}
}

// do runs an action and returns its result and output.
func do[R any](t *testing.T, name string, conn runbooks.Connection, args any) (R, string) {
	t.Helper()
	var out bytes.Buffer
	r, err := action(t, name).Run(t.Context(), call(conn, args), &out)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r.(R), out.String()
}

func preview(t *testing.T, conn runbooks.Connection, args any) (runbooks.Preview, error) {
	t.Helper()
	return action(t, "redis.flush").(runbooks.Previewer).Preview(t.Context(), call(conn, args))
}

// stock fills a server: n strings under app_ that expire, and beside them one
// list, one hash and persistent strings.
func stock(t *testing.T, c *client.Client, n int) {
	t.Helper()
	ctx := t.Context()
	pipe := c.Pipeline()
	for i := range n {
		pipe.Set(ctx, fmt.Sprintf("app_v:%05d", i), "x", time.Hour)
	}
	pipe.RPush(ctx, "app_queue", "a", "b")
	pipe.HSet(ctx, "app_session", "user", "u1")
	for i := range 10 {
		pipe.Set(ctx, fmt.Sprintf("other:%d", i), "x", 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPingAndInfo(t *testing.T) {
	t.Parallel()
	addr := serve(t, "maxmemory 64mb")
	conn := open(t, redis.Config{URL: "redis://" + addr + "/3"})
	pong, _ := do[redis.Pong](t, "redis.ping", conn, nil)
	if pong.MS <= 0 || pong.Version == "" {
		t.Errorf("ping = %+v", pong)
	}
	got, _ := do[redis.Info](t, "redis.info", conn, nil)
	if got.Role != "master" || got.Loading || !got.LastSaveOK || got.Clients < 1 || got.MaxMemory != 64<<20 || got.UsedMemory == 0 || got.Policy != "noeviction" || len(got.RunID) != 40 {
		t.Errorf("info = %+v", got)
	}
	id, err := conn.Identity(t.Context())
	if err != nil || id != got.RunID+"/3" {
		t.Errorf("Identity() = %q, %v", id, err)
	}
	if conn.Address() != "redis "+addr+"/3" {
		t.Errorf("Address() = %q", conn.Address())
	}
}

func TestReplicaAndFailedSave(t *testing.T) {
	t.Parallel()
	addr := serve(t, "replicaof 127.0.0.1 1", "replica-serve-stale-data yes")
	conn := open(t, redis.Config{URL: "redis://" + addr})
	if got, _ := do[redis.Info](t, "redis.info", conn, nil); got.Role != "slave" || !strings.HasPrefix(got.Found(), "replica, ") {
		t.Errorf("info of a replica = %+v", got)
	}

	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	addr = serve(t, "dir "+dir)
	conn = open(t, redis.Config{URL: "redis://" + addr})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := admin(t, addr).BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	tick, deadline := time.NewTicker(5*time.Millisecond), time.NewTimer(20*time.Second)
	defer tick.Stop()
	defer deadline.Stop()
	for {
		got, _ := do[redis.Info](t, "redis.info", conn, nil)
		if !got.LastSaveOK {
			if !strings.HasSuffix(got.Found(), "last save failed") {
				t.Errorf("Found() = %q", got.Found())
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("info after a failed save = %+v", got)
		}
	}
}

func TestCountKeys(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	stock(t, admin(t, addr), 1998)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	got, _ := do[redis.KeyCount](t, "redis.count_keys", conn, &redis.CountKeysArgs{Pattern: "app_*", Sample: 10_000})
	if got.Matched != 2000 || got.Total != 2010 || !got.Complete || got.NoTTLPct == nil || *got.NoTTLPct != 0.1 ||
		got.Types["string"] != 1998 || got.Types["list"] != 1 || got.Types["hash"] != 1 {
		t.Errorf("count = %+v, %s", got, got.Found())
	}
	got, _ = do[redis.KeyCount](t, "redis.count_keys", conn, &redis.CountKeysArgs{Pattern: "app_*", Sample: 100})
	if n := got.Types["string"] + got.Types["list"] + got.Types["hash"]; got.Matched != 2000 || n != 100 {
		t.Errorf("%d keys in a sample of 100, %+v", n, got)
	}
	got, _ = do[redis.KeyCount](t, "redis.count_keys", conn, &redis.CountKeysArgs{Pattern: "nothing*"})
	if got.Matched != 0 || got.Total != 2010 || got.NoTTLPct != nil {
		t.Errorf("count without matches = %+v", got)
	}
}

func TestHitRateLeavesOwnLookupsOut(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	c := admin(t, addr)
	stock(t, c, 500)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	infos := func() int {
		text, err := c.Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Error(err)
		}
		_, rest, _ := strings.Cut(text, "cmdstat_info:calls=")
		n, _ := strconv.Atoi(rest[:max(0, strings.IndexByte(rest, ','))])
		return n
	}
	// Our own INFO counts too: each asking adds one.
	seen := infos()
	done := make(chan redis.HitRate)
	go func() {
		defer close(done)
		r, err := action(t, "redis.hit_rate").Run(t.Context(), call(conn, &redis.HitRateArgs{Window: 5 * time.Second}), io.Discard)
		if err != nil {
			t.Error(err)
			return
		}
		done <- r.(redis.HitRate)
	}()
	for asked := 1; infos() == seen+asked; asked++ {
	}
	for range 3 {
		do[redis.KeyCount](t, "redis.count_keys", conn, &redis.CountKeysArgs{Pattern: "app_*", Sample: 500})
		if _, err := preview(t, conn, &redis.FlushArgs{Mode: "prefix", Pattern: "app_*", Types: []string{"string"}}); err != nil {
			t.Error(err)
		}
	}
	for i := range 40 {
		key := "missing"
		if i%4 != 0 {
			key = "app_v:00001"
		}
		c.Get(t.Context(), key)
	}
	got, ok := <-done
	if !ok {
		return
	}
	if got.Hits != 30 || got.Misses != 10 || got.Lookups != 40 || got.Rate == nil || *got.Rate != 0.75 || got.Reset {
		t.Errorf("hit rate = %+v, want 30 hits and 10 misses", got)
	}
}

func TestHitRateEnds(t *testing.T) {
	t.Parallel()
	conn := open(t, redis.Config{URL: "redis://" + serve(t)})
	args := &redis.HitRateArgs{Window: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := action(t, "redis.hit_rate").Run(ctx, call(conn, args), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := action(t, "redis.hit_rate").Run(ctx, call(conn, args), io.Discard); !errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) != fault.Invalid {
		t.Errorf("timed out: %v", err)
	}
}

func TestFlushPrefix(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	c := admin(t, addr)
	stock(t, c, 7000)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	args := &redis.FlushArgs{Mode: "prefix", Pattern: "app_*", Types: []string{"string"}}
	p, err := preview(t, conn, args)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := conn.Identity(t.Context())
	if p.Identity != id || p.Effect != runbooks.Destructive || len(p.Reasons) != 0 {
		t.Errorf("preview = %+v", p)
	}
	if p.Impact[0] != "removes 7,000 of 7,012 keys: type string, matching app_*" ||
		p.Impact[1] != "keeps 2 matching keys of another type (1 hash, 1 list)" ||
		p.Impact[2] != "leaves 10 other keys alone" {
		t.Errorf("impact = %q", p.Impact)
	}
	if len(p.Live) != 2 || p.Live[0].Number != 7000 || p.Live[0].Tolerance != runbooks.Within10Percent || p.Live[1].Tolerance != runbooks.Exact || p.Live[1].Text == "" {
		t.Errorf("live = %+v", p.Live)
	}
	got, out := do[redis.Flushed](t, "redis.flush", conn, args)
	if want := (redis.Flushed{Deleted: 7000, Skipped: 2, TotalBefore: 7012, TotalAfter: 12}); got != want {
		t.Errorf("flush = %+v, want %+v", got, want)
	}
	if !strings.Contains(out, "so far") || !strings.Contains(out, got.Found()) {
		t.Errorf("output = %q", out)
	}
	if n := c.Exists(t.Context(), "app_queue", "app_session", "other:1").Val(); n != 3 {
		t.Errorf("%d of 3 other keys are left", n)
	}
	if again, _ := do[redis.Flushed](t, "redis.flush", conn, args); again.Deleted != 0 || again.Skipped != 2 {
		t.Errorf("a second flush = %+v", again)
	}
}

func TestFlushReasons(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	c := admin(t, addr)
	stock(t, c, 100)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	p, err := preview(t, conn, &redis.FlushArgs{Mode: "prefix", Pattern: "other:*", Types: []string{"string"}})
	if err != nil || len(p.Reasons) != 1 || p.Reasons[0] != "100 % of them never expire by themselves, as a cache's keys would" {
		t.Errorf("persistent keys: %q, %v", p.Reasons, err)
	}
	p, err = preview(t, conn, &redis.FlushArgs{Mode: "prefix", Pattern: "app_*", Types: []string{"string", "list", "hash"}})
	if err != nil || len(p.Reasons) != 1 || !strings.HasPrefix(p.Reasons[0], "2 of them are no plain values") {
		t.Errorf("other types: %q, %v", p.Reasons, err)
	}
}

func TestFlushDatabase(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	c := admin(t, addr)
	stock(t, c, 100)
	args := &redis.FlushArgs{Mode: "db", Types: []string{"string"}}
	guarded := open(t, redis.Config{URL: "redis://" + addr})
	if _, err := action(t, "redis.flush").Run(t.Context(), call(guarded, args), io.Discard); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("no pure cache: %v", err)
	}
	if n := c.DBSize(t.Context()).Val(); n != 112 {
		t.Errorf("%d keys after a refusal", n)
	}
	pure := open(t, redis.Config{URL: "redis://" + addr, PureCache: true})
	p, err := preview(t, pure, args)
	if err != nil || p.Impact[0] != "empties the whole database: 112 keys (110 string, 1 hash, 1 list)" || len(p.Reasons) == 0 {
		t.Errorf("preview = %+v, %v", p, err)
	}
	if got, _ := do[redis.Flushed](t, "redis.flush", pure, args); got.Deleted != 112 || got.TotalAfter != 0 {
		t.Errorf("flush = %+v", got)
	}
}

func TestFlushRefuses(t *testing.T) {
	t.Parallel()
	conn := open(t, redis.Config{URL: "redis://127.0.0.1:1", PureCache: true}) // reached by none of these
	for _, args := range []redis.FlushArgs{
		{Mode: "prefix", Pattern: "*", Types: []string{"string"}},
		{Mode: "prefix", Pattern: "", Types: []string{"string"}},
		{Mode: "prefix", Pattern: "p*", Types: []string{"string"}},
		{Mode: "prefix", Pattern: "[a-z]rod*", Types: []string{"string"}},
		{Mode: "prefix", Pattern: `\*\*`, Types: []string{"string"}},
		{Mode: "prefix", Pattern: "prod_*"},
		{Mode: "db", Pattern: "prod_*"},
	} {
		if _, err := action(t, "redis.flush").Run(t.Context(), call(conn, &args), io.Discard); fault.KindOf(err) != fault.Invalid {
			t.Errorf("flush %+v: %v", args, err)
		}
		if _, err := preview(t, conn, &args); fault.KindOf(err) != fault.Invalid {
			t.Errorf("preview %+v: %v", args, err)
		}
	}
}

func TestFlushStopsWithItsContext(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	c := admin(t, addr)
	stock(t, c, 20_000)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &stopper{stop: cancel}
	_, err := action(t, "redis.flush").Run(ctx, call(conn, &redis.FlushArgs{Mode: "prefix", Pattern: "app_*", Types: []string{"string"}}), out)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("flush = %v, want canceled", err)
	}
	if n := c.DBSize(t.Context()).Val(); n < 10_000 {
		t.Errorf("%d keys left: it went on after being canceled", n)
	}
	if !strings.Contains(out.String(), "stopped after removing") {
		t.Errorf("output = %q", out)
	}
}

// A stopper calls stop at the first line of output.
type stopper struct {
	bytes.Buffer
	stop func()
}

func (s *stopper) Write(b []byte) (int, error) {
	s.stop()
	return s.Buffer.Write(b)
}

const canary = "hunter2-canary"

func TestErrors(t *testing.T) {
	t.Parallel()
	locked := serve(t, "requirepass right", "user limited on >"+canary+" ~* +ping +info +hello +client|setname +select +scan +dbsize")
	free := serve(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	scan := &redis.CountKeysArgs{Pattern: "x*", Sample: 1}
	admin := client.NewClient(&client.Options{Addr: locked, Password: "right"})
	t.Cleanup(func() { admin.Close() })
	if err := admin.Set(t.Context(), "x1", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config redis.Config
		action string
		args   any
		kind   fault.Kind
		says   string
	}{
		{"WrongPassword", redis.Config{URL: "redis://" + locked, Password: canary}, "redis.info", nil, fault.Unavailable, "rejected the password. Rotate"},
		{"NoPassword", redis.Config{URL: "redis://" + locked}, "redis.info", nil, fault.Unavailable, "wants a password and none is configured"},
		{"PasswordNotWanted", redis.Config{URL: "redis://:" + canary + "@" + replying(t, "-ERR Client sent AUTH, but no password is set\r\n")}, "redis.info", nil, fault.Unavailable, "has no password, but one is configured"},
		{"NotAllowed", redis.Config{URL: "redis://" + locked, Username: "limited", Password: canary}, "redis.count_keys", scan, fault.Forbidden, "does not allow this"},
		{"Refused", redis.Config{URL: "redis://127.0.0.1:1"}, "redis.info", nil, fault.Unavailable, "Redis at 127.0.0.1:1/0 refused the connection."},
		{"NoSuchHost", redis.Config{URL: "redis://no-such-host.invalid:6379"}, "redis.info", nil, fault.Unavailable, "could not be found"},
		{"NoSuchDatabase", redis.Config{URL: "redis://" + free + "/99"}, "redis.info", nil, fault.Invalid, "no database of that number"},
		{"NotRedis", redis.Config{URL: "redis://" + strings.TrimPrefix(web.URL, "http://")}, "redis.info", nil, fault.Unavailable, "Is it a Redis server"},
		{"HangsUp", redis.Config{URL: "redis://" + replying(t, "")}, "redis.info", nil, fault.Unavailable, "closed the connection"},
		{"NoTLS", redis.Config{URL: "rediss://" + free}, "redis.info", nil, fault.Unavailable, "does it speak TLS?"},
		{"Loading", redis.Config{URL: "redis://" + replying(t, "-LOADING Redis is loading the dataset in memory\r\n")}, "redis.info", nil, fault.Unavailable, "still loading"},
		{"CannotSave", redis.Config{URL: "redis://" + replying(t, "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n")}, "redis.info", nil, fault.Unavailable, "cannot save to disk and refuses writes. Check the disk"},
		{"OutOfMemory", redis.Config{URL: "redis://" + replying(t, "-OOM command not allowed when used memory > 'maxmemory'.\r\n")}, "redis.info", nil, fault.Unavailable, "out of memory"},
		{"Replica", redis.Config{URL: "redis://" + replying(t, "-READONLY You can't write against a read only replica.\r\n")}, "redis.info", nil, fault.Conflict, "is a replica"},
		{"Odd", redis.Config{URL: "redis://" + replying(t, "-ERR something odd\r\n")}, "redis.info", nil, fault.Unavailable, "It said: ERR something odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := open(t, c.config)
			_, err := action(t, c.action).Run(t.Context(), call(conn, c.args), io.Discard)
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("%s: %q (%v)\ncause: %v", fault.KindOf(err), fault.Say(err), c.says, err)
			}
			if strings.Contains(fmt.Sprint(err, conn.Address()), canary) {
				t.Errorf("the password is in %v or %s", err, conn.Address())
			}
		})
	}
}

// replying serves one answer to every command; "" hangs up. For what a real
// server cannot be brought to say on demand.
func replying(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for answer != "" {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasPrefix(line, "*") { // the start of a command
						if _, err := io.WriteString(c, answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestOpenKeepsSecrets(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "prod-redis:6379", "http://:" + canary + "@host", "redis://u:" + canary + "@host:port:6379/x", "redis://u:" + canary + "@host/%zz"} {
		if _, err := redis.Open(redis.Config{URL: url, Password: canary}); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), canary) {
			t.Errorf("Open(%q) = %v", url, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	c := admin(t, addr)
	stock(t, c, 100)
	if err := c.Do(t.Context(), "CLIENT", "PAUSE", "60000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := action(t, "redis.info").Run(ctx, call(conn, nil), io.Discard)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), "did not answer in time") {
		t.Errorf("info of a stuck server = %v", err)
	}
}
