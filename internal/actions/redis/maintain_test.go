package redis_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"opsbot/internal/actions/redis"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// aged makes a server's INFO say that it has run for a day and an hour: a real
// one cannot be waited for.
func aged(t *testing.T, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	uptime := regexp.MustCompile(`uptime_in_seconds:\d+\r\nuptime_in_days:\d+\r\n`)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", addr)
			if err != nil {
				near.Close()
				return
			}
			go func() {
				defer far.Close()
				_, _ = io.Copy(far, near)
			}()
			go func() {
				defer near.Close()
				piece := make([]byte, 256<<10)
				for {
					n, err := far.Read(piece)
					if err != nil {
						return
					}
					// As long as before, or the reply would have another length.
					text := uptime.ReplaceAllFunc(piece[:n], func(old []byte) []byte {
						return fmt.Appendf(nil, "uptime_in_seconds:%0*d\r\n", len(old)-len("uptime_in_seconds:\r\n"), 25*3600)
					})
					if _, err := near.Write(text); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// forgotten makes keys that were last asked for two days ago.
func forgotten(t *testing.T, c *client.Client, keys ...string) {
	t.Helper()
	ctx := t.Context()
	pipe := c.Pipeline()
	for _, k := range keys {
		dump, err := c.Dump(ctx, k).Result()
		if err != nil {
			t.Fatalf("dump %s: %v", k, err)
		}
		pipe.Do(ctx, "RESTORE", k, 0, dump, "REPLACE", "IDLETIME", 48*3600)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

// attic fills a server with n keys that nobody asks for, and with others that
// look like them. It returns the names of the others.
func attic(t *testing.T, c *client.Client, n int) (decoys []string) {
	t.Helper()
	ctx := t.Context()
	var old []string
	pipe := c.Pipeline()
	for i := range n {
		old = append(old, fmt.Sprintf("prod_old:%04d", i))
		pipe.Set(ctx, old[i], "x", 0)
	}
	pipe.RPush(ctx, "prod_queue", "job") // another type
	pipe.Set(ctx, "session:1", "x", 0)   // another prefix
	pipe.Set(ctx, "prod_fresh", "x", 0)  // asked for just now
	pipe.Set(ctx, "prod_ends", "x", 48*time.Hour)
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	forgotten(t, c, append(old, "prod_queue", "session:1")...)
	return []string{"prod_queue", "session:1", "prod_fresh", "prod_ends"}
}

func oldKeys() *redis.ExpirePersistentArgs {
	return &redis.ExpirePersistentArgs{Pattern: "prod_*", MinIdle: 24 * time.Hour, Types: []string{"string"}, TTL: time.Hour, MaxKeys: 100_000}
}

func previewOf(t *testing.T, name string, conn runbooks.Connection, args any) (runbooks.Preview, error) {
	t.Helper()
	return action(t, name).(runbooks.Previewer).Preview(t.Context(), call(conn, args))
}

func TestExpireAndPersist(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	c := admin(t, addr)
	decoys := attic(t, c, 1200)
	before := map[string]time.Duration{}
	for _, k := range decoys {
		before[k] = c.ExpireTime(t.Context(), k).Val()
	}
	conn := open(t, redis.Config{URL: "redis://" + aged(t, addr)})

	// What opsbot itself asks for is no lookup of anybody.
	rate := make(chan redis.HitRate, 1)
	go func() {
		r, err := action(t, "redis.hit_rate").Run(t.Context(), call(conn, &redis.HitRateArgs{Window: 5 * time.Second, MinLookups: 1000}), io.Discard)
		if err != nil {
			t.Error(err)
		}
		got, _ := r.(redis.HitRate)
		rate <- got
	}()

	idle, _ := do[redis.IdleKeys](t, "redis.idle_keys", conn, &redis.IdleKeysArgs{Pattern: "prod_*", MinIdle: 24 * time.Hour, Types: []string{"string"}, MaxKeys: 100_000})
	if idle.Matched != 1203 || idle.Lasting != 1202 || idle.Chosen != 1200 || !idle.Complete || len(idle.Examples) != 10 {
		t.Errorf("idle_keys = %+v", idle)
	}
	args := oldKeys()
	args.DryRun = true
	dry, _ := do[redis.Expiring](t, "redis.expire_persistent", conn, args)
	if dry.Chosen != 1200 || dry.Expiring != 0 || !dry.Until.IsZero() || dry.Found() != "dry run: would let 1,200 of 1,203 keys end" {
		t.Errorf("dry run = %+v, %q", dry, dry.Found())
	}
	if ttl := c.TTL(t.Context(), "prod_old:0000").Val(); ttl != -1 {
		t.Errorf("a dry run gave a key %s to live", ttl)
	}

	args.DryRun = false
	seen, err := previewOf(t, "redis.expire_persistent", conn, args)
	if err != nil {
		t.Fatal(err)
	}
	if seen.Effect != runbooks.Destructive || seen.Live[0].Number != 1200 || !strings.Contains(strings.Join(seen.Impact, "\n"), "ends 1h0m0s from now: 1,200 of 1,203 keys matching prod_*") {
		t.Errorf("preview = %+v", seen)
	}
	got, _ := do[redis.Expiring](t, "redis.expire_persistent", conn, args)
	if got.Expiring != 1200 || !got.Complete || time.Until(got.Until) > 61*time.Minute {
		t.Errorf("expire_persistent = %+v", got)
	}
	for _, k := range []string{"prod_old:0000", "prod_old:1199"} {
		if at := c.ExpireTime(t.Context(), k).Val(); int64(at/time.Second) != got.Until.Unix() {
			t.Errorf("%s ends at %d, not at %d", k, at/time.Second, got.Until.Unix())
		}
	}
	for k, was := range before {
		if is := c.ExpireTime(t.Context(), k).Val(); is != was {
			t.Errorf("the decoy %s ends at %s, was %s", k, is, was)
		}
	}

	// Meanwhile the application goes on.
	c.Del(t.Context(), "prod_old:0001")
	c.Set(t.Context(), "prod_old:0002", "new", 0)
	c.Expire(t.Context(), "prod_old:0003", 100*time.Hour)

	undo := &redis.PersistArgs{}
	if seen, err = previewOf(t, "redis.persist", conn, undo); err != nil || !strings.HasPrefix(seen.Impact[0], "keeps up to 1,200 keys that end at ") {
		t.Errorf("preview of persist = %+v, %v", seen, err)
	}
	want := redis.Persisted{Recorded: 1200, Kept: 1198, Gone: 1, Changed: 1}
	for range 2 { // again, because it may be repeated
		if back, _ := do[redis.Persisted](t, "redis.persist", conn, undo); back != want {
			t.Errorf("persist = %+v, want %+v", back, want)
		}
	}
	if ttl := c.TTL(t.Context(), "prod_old:0000").Val(); ttl != -1 {
		t.Errorf("a kept key has %s to live", ttl)
	}
	if ttl := c.TTL(t.Context(), "prod_old:0003").Val(); ttl < 99*time.Hour {
		t.Errorf("a key with an end of its own has %s to live", ttl)
	}
	// The test's own TTL and EXPIRETIME, which are too few to judge.
	if r := <-rate; r.Misses > 0 || r.Hits > 2*len(decoys)+4 || r.Hits == 0 || r.Rate != nil || r.Reset || !strings.HasPrefix(r.Found(), "no data: only ") {
		t.Errorf("hit_rate meanwhile = %+v", r)
	}
	_, err = action(t, "redis.persist").Run(t.Context(), call(conn, &redis.PersistArgs{Run: "another"}), io.Discard)
	if fault.KindOf(err) != fault.NotFound {
		t.Errorf("persist of a run that let nothing end = %v", err)
	}
}

func TestExpireStopsAtItsMost(t *testing.T) {
	t.Parallel()
	addr := serve(t)
	attic(t, admin(t, addr), 600)
	args := oldKeys()
	args.MaxKeys = 10
	got, _ := do[redis.Expiring](t, "redis.expire_persistent", open(t, redis.Config{URL: "redis://" + aged(t, addr)}), args)
	if got.Expiring != 10 || got.Complete || !strings.HasSuffix(got.Found(), "not all keys were looked at") {
		t.Errorf("expire_persistent = %+v", got)
	}
}

func TestExpireRefused(t *testing.T) {
	t.Parallel()
	young := serve(t)
	frequent := serve(t, "maxmemory 64mb", "maxmemory-policy allkeys-lfu")
	changed := serve(t, "maxmemory 64mb", "maxmemory-policy allkeys-lfu")
	set := &redis.ConfigSetArgs{Key: "maxmemory-policy", Value: "allkeys-lru"}
	do[redis.Setting](t, "redis.config_set", open(t, redis.Config{URL: "redis://" + changed, PureCache: true}), set)
	bare := oldKeys()
	bare.Pattern = "*"
	own := oldKeys()
	own.Pattern = "opsbot:*"
	for _, c := range []struct {
		name, addr string
		args       *redis.ExpirePersistentArgs
		says       string
	}{
		{"Young", young, oldKeys(), "it cannot tell what nobody asked for in 24h0m0s"},
		{"Frequency", aged(t, frequent), oldKeys(), "does not track when keys were last asked for"},
		{"PolicyChanged", aged(t, changed), oldKeys(), "changed less than a day ago"},
		{"Bare", aged(t, young), bare, "at least two plain characters"},
		{"Own", aged(t, young), own, "opsbot's own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := open(t, redis.Config{URL: "redis://" + c.addr})
			if _, err := previewOf(t, "redis.expire_persistent", conn, c.args); !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("preview: %v", err)
			}
			if _, err := action(t, "redis.expire_persistent").Run(t.Context(), call(conn, c.args), io.Discard); !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("run: %v", err)
			}
		})
	}
}

// serveFrom starts a server with a configuration file and returns its address
// and the file.
func serveFrom(t *testing.T, settings ...string) (addr, file string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "etc")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "redis.conf")
	addr = started(t, t.TempDir(), func(text string) *exec.Cmd {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command(redisServer(t), file)
	}, settings...)
	return addr, file
}

func TestConfigSet(t *testing.T) {
	t.Parallel()
	addr, file := serveFrom(t, "maxmemory 64mb")
	c := admin(t, addr)
	conn := open(t, redis.Config{URL: "redis://" + addr, PureCache: true})
	policy := &redis.ConfigSetArgs{Key: "maxmemory-policy", Value: "allkeys-lru"}

	seen, err := previewOf(t, "redis.config_set", conn, policy)
	if err != nil || seen.Effect != runbooks.Change || seen.Impact[0] != "changes maxmemory-policy from noeviction to allkeys-lru" || seen.Live[0].Text != "noeviction" {
		t.Errorf("preview = %+v, %v", seen, err)
	}
	got, _ := do[redis.Setting](t, "redis.config_set", conn, policy)
	if want := (redis.Setting{Key: "maxmemory-policy", Value: "allkeys-lru", Previous: "noeviction", Written: true, File: file}); got != want {
		t.Errorf("config_set = %+v, want %+v", got, want)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "maxmemory-policy allkeys-lru") {
		t.Errorf("the file: %v\n%s", err, text)
	}
	// The way back.
	got, _ = do[redis.Setting](t, "redis.config_set", conn, &redis.ConfigSetArgs{Key: got.Key, Value: got.Previous})
	if is := c.ConfigGet(t.Context(), "maxmemory-policy").Val()["maxmemory-policy"]; is != "noeviction" || got.Previous != "allkeys-lru" {
		t.Errorf("back: %+v, the server has %s", got, is)
	}

	got, _ = do[redis.Setting](t, "redis.config_set", conn, &redis.ConfigSetArgs{Key: "maxmemory", Value: "128MiB"})
	if got.Value != "134217728" || got.Previous != "67108864" || !strings.HasPrefix(got.Found(), "maxmemory is 128 MiB, was 64 MiB; written to ") {
		t.Errorf("config_set = %+v, %q", got, got.Found())
	}
	if err := os.Rename(filepath.Dir(file), filepath.Dir(file)+".gone"); err != nil {
		t.Fatal(err)
	}
	got, out := do[redis.Setting](t, "redis.config_set", conn, &redis.ConfigSetArgs{Key: "maxmemory", Value: "96MiB"})
	if got.Written || got.Value != "100663296" || !strings.Contains(got.Found(), "the server cannot write "+file+": set it there") || !strings.Contains(out, "CONFIG REWRITE: ") {
		t.Errorf("config_set without its file = %+v\n%s", got, out)
	}

	// Whoever makes this database evictable makes all of them so.
	other := client.NewClient(&client.Options{Addr: addr, DB: 1})
	t.Cleanup(func() { other.Close() })
	if err := other.Set(t.Context(), "not-yours", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	seen, err = previewOf(t, "redis.config_set", conn, policy)
	if err != nil || seen.Effect != runbooks.Destructive || len(seen.Reasons) != 1 || !strings.Contains(seen.Reasons[0], "1 key") {
		t.Errorf("preview with keys beside = %+v, %v", seen, err)
	}
}

func TestConfigSetRefused(t *testing.T) {
	t.Parallel()
	limited, free := serve(t, "maxmemory 64mb"), serve(t)
	stock(t, admin(t, limited), 1000)
	for _, c := range []struct {
		name, addr string
		pure       bool
		key, value string
		says       string
	}{
		{"LessThanUsed", limited, true, "maxmemory", "1MiB", "would make it evict keys at once or refuse writes"},
		{"NoSize", limited, true, "maxmemory", "lots", "is no size of memory"},
		{"TooMuch", limited, true, "maxmemory", "9999999TiB", "more memory than there is"},
		{"NoPolicy", limited, true, "maxmemory-policy", "allkey-lru", "is no policy of Redis"},
		{"NoLimit", free, true, "maxmemory-policy", "allkeys-lru", "has no limit of memory, so a policy has no effect"},
		{"NotACache", limited, false, "maxmemory-policy", "allkeys-lru", "is not declared a pure cache"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := open(t, redis.Config{URL: "redis://" + c.addr, PureCache: c.pure})
			args := &redis.ConfigSetArgs{Key: c.key, Value: c.value}
			if _, err := previewOf(t, "redis.config_set", conn, args); !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("preview: %v", err)
			}
			if _, err := action(t, "redis.config_set").Run(t.Context(), call(conn, args), io.Discard); !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("run: %v", err)
			}
		})
	}
	if got := admin(t, limited).ConfigGet(t.Context(), "maxmemory*").Val(); got["maxmemory"] != "67108864" || got["maxmemory-policy"] != "noeviction" {
		t.Errorf("after refusals: %v", got)
	}
	// Without a file the server says so beforehand, and the result too.
	conn := open(t, redis.Config{URL: "redis://" + serve(t)})
	args := &redis.ConfigSetArgs{Key: "maxmemory", Value: "1GiB"}
	seen, err := previewOf(t, "redis.config_set", conn, args)
	if err != nil || !slices.Contains(seen.Impact, "holds until the next restart: the server has no configuration file") {
		t.Errorf("preview = %+v, %v", seen, err)
	}
	if got, _ := do[redis.Setting](t, "redis.config_set", conn, args); got.Written || got.File != "" || got.Previous != "0" || !strings.Contains(got.Found(), "was no limit; lost at the next restart") {
		t.Errorf("config_set = %+v, %q", got, got.Found())
	}
}

func TestBGSave(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, "dir "+dir)
	c := admin(t, addr)
	stock(t, c, 100)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	got, _ := do[redis.Snapshot](t, "redis.bgsave", conn, nil)
	if got.Changes < 100 || got.LastSave.IsZero() {
		t.Errorf("bgsave = %+v", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "dump.rdb")); err != nil || info.Size() == 0 {
		t.Errorf("the snapshot: %v", err)
	}
	// Within the same second, where LASTSAVE could not tell.
	if again, _ := do[redis.Snapshot](t, "redis.bgsave", conn, nil); again.Changes != 0 {
		t.Errorf("bgsave again = %+v", again)
	}

	// 20 s a key, so that it goes on for as long as the test.
	if err := c.ConfigSet(t.Context(), "rdb-key-save-delay", "20000000").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := action(t, "redis.bgsave").Run(t.Context(), call(conn, nil), io.Discard)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "already") {
		t.Errorf("bgsave while one is written = %v", err)
	}
}

func TestBGSaveFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, "dir "+dir)
	conn := open(t, redis.Config{URL: "redis://" + addr})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	_, err := action(t, "redis.bgsave").Run(t.Context(), call(conn, nil), io.Discard)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), "could not write its snapshot") {
		t.Errorf("bgsave without a directory = %v", err)
	}
}

// grants are the lines that the documentation tells people to write.
func grants(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/connections/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(page, []byte("```text acl\n"))
	block, _, closed := bytes.Cut(rest, []byte("```"))
	if !ok || !closed {
		t.Fatal("the page has no block of ACL lines")
	}
	return strings.Split(strings.TrimSpace(string(block)), "\n")
}

// Every action works with the documented users, and no command is granted that
// none of them needs.
func TestDocumentedGrants(t *testing.T) {
	t.Parallel()
	acl := grants(t)
	addr, _ := serveFrom(t, append([]string{"maxmemory 64mb"}, acl...)...)
	c := admin(t, addr)
	attic(t, c, 20)
	stock(t, c, 20)
	through := aged(t, addr)
	conn := open(t, redis.Config{URL: "redis://" + through + "/0", Username: "opsbot", Password: "change-me", MaintenanceUser: "opsbot_maint", MaintenancePassword: "change-me", PureCache: true})
	if err := c.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, s := range []struct {
		name string
		args any
	}{
		{"redis.ping", nil},
		{"redis.info", nil},
		{"redis.hit_rate", &redis.HitRateArgs{Window: time.Millisecond}},
		{"redis.count_keys", &redis.CountKeysArgs{Pattern: "*", Sample: 10}},
		{"redis.bgsave", nil},
		{"redis.idle_keys", &redis.IdleKeysArgs{Pattern: "prod_*", Types: []string{"string"}, MinIdle: time.Hour, MaxKeys: 10}},
		{"redis.expire_persistent", oldKeys()},
		{"redis.persist", &redis.PersistArgs{}},
		{"redis.config_set", &redis.ConfigSetArgs{Key: "maxmemory-policy", Value: "allkeys-lfu"}},
		{"redis.flush", &redis.FlushArgs{Mode: "prefix", Pattern: "app_*", Types: []string{"string"}}},
		{"redis.flush", &redis.FlushArgs{Mode: "db"}},
	} {
		ran[s.name] = true
		a := action(t, s.name)
		if p, ok := a.(runbooks.Previewer); ok {
			if _, err := p.Preview(t.Context(), call(conn, s.args)); err != nil {
				t.Errorf("preview of %s: %v", s.name, err)
			}
		}
		if _, err := a.Run(t.Context(), call(conn, s.args), io.Discard); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	for _, a := range redis.Actions() {
		if !ran[a.Spec().Name] {
			t.Errorf("%s was not tried with the documented users", a.Spec().Name)
		}
	}
	found, err := conn.Examine(t.Context())
	if err != nil || len(found) != 2 || found[0].Bad || found[1].Bad {
		t.Errorf("Examine = %+v, %v", found, err)
	}
	wrong := open(t, redis.Config{URL: "redis://" + addr, Username: "opsbot", Password: "change-me", MaintenanceUser: "opsbot_maint", MaintenancePassword: "no"})
	if found, err = wrong.Examine(t.Context()); err != nil || len(found) != 2 || !found[1].Bad || !strings.Contains(found[1].Says, "rejected the password") {
		t.Errorf("Examine with a wrong password = %+v, %v", found, err)
	}
	// A database other than 0, which a connection has to choose.
	do[redis.Pong](t, "redis.ping", open(t, redis.Config{URL: "redis://" + addr + "/1", Username: "opsbot", Password: "change-me", MaintenanceUser: "opsbot_maint", MaintenancePassword: "change-me"}), nil)
	used := c.Info(t.Context(), "commandstats").Val()
	for _, line := range acl {
		for _, word := range strings.Fields(line) {
			if cmd, ok := strings.CutPrefix(word, "+"); ok && !strings.Contains(used, "cmdstat_"+cmd+":") {
				t.Errorf("%s is granted to %s and nothing needs it", cmd, strings.Fields(line)[1])
			}
		}
	}

	// The first user cannot change anything.
	reader := client.NewClient(&client.Options{Addr: addr, Username: "opsbot", Password: "change-me"})
	t.Cleanup(func() { reader.Close() })
	for _, cmd := range [][]any{{"SET", "x", "1"}, {"UNLINK", "x"}, {"FLUSHDB"}, {"CONFIG", "SET", "maxmemory", "1"}, {"KEYS", "*"}, {"EXPIRE", "x", "1"}, {"GET", "x"}} {
		if err := reader.Do(t.Context(), cmd...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("the user that looks may %v: %v", cmd, err)
		}
	}
	c.Set(t.Context(), "session:2", "x", 0)
	lone := open(t, redis.Config{URL: "redis://" + addr, Username: "opsbot", Password: "change-me"})
	_, err = action(t, "redis.flush").Run(t.Context(), call(lone, &redis.FlushArgs{Mode: "prefix", Pattern: "session:*", Types: []string{"string"}}), io.Discard)
	if fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), "maintenance_user") {
		t.Errorf("flush by the user that looks = %v", err)
	}
}
