package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
	"opsbot/runbooks/library"
)

// What nobody wants may end, after two people agreed, and can be taken back;
// what is no cache stays as it was; a policy is set only where it belongs; and
// a snapshot that fails is told.
func TestCacheOptimizationInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 2000})
	pure := func(environment string) string {
		return replaced(t, environment, fmt.Sprintf(`cache: { redis: "redis://%s/0" }`, w.body.RedisAddr()), fmt.Sprintf(`cache: { redis: "redis://%s/0", pure_cache: true }`, w.body.RedisAddr()))
	}
	cache := w.body.Redis(0)
	defer cache.Close()
	ctx := t.Context()
	config := func(t *testing.T, key string) string {
		t.Helper()
		got, err := cache.ConfigGet(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return got[key]
	}
	// Forgotten keys, and beside them what looks like them and is none.
	forgotten := []string{"prod_old:1", "prod_old:2", "prod_old:3"}
	for _, key := range forgotten {
		if err := cache.Set(ctx, key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ttls := func(t *testing.T) []time.Duration {
		t.Helper()
		var list []time.Duration
		for _, key := range forgotten {
			d, err := cache.TTL(ctx, key).Result()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, d)
		}
		return list
	}
	idle := func(t *testing.T) {
		t.Helper()
		for _, key := range forgotten {
			deadline := time.Now().Add(3 * time.Minute)
			for cache.ObjectIdleTime(ctx, key).Val() < 62*time.Second {
				if time.Now().After(deadline) {
					t.Fatalf("%s is not forgotten", key)
				}
				time.Sleep(time.Second)
			}
		}
	}
	strangers := w.strangers(t)
	defer func() {
		if got := w.strangers(t); got != strangers {
			t.Errorf("what is no cache was touched:\n%s\nafter:\n%s", strangers, got)
		}
	}()
	v := w.visit(t)
	const line = "cache-optimization window=5s min_idle=1m policy=noeviction"

	t.Run("by itself it only looks", func(t *testing.T) {
		idle(t)
		saved := cache.LastSave(ctx).Val()
		v.run(line, nil).check(t, wants{state: engine.Succeeded, asked: []string{},
			marks: map[string]string{"memory": "pass", "idle": "pass", "expire": "skipped", "policy": "skipped", "disk": "pass", "snapshot": "pass"}, report: []string{"0 of 3 forgotten keys end"}})
		for i, d := range ttls(t) {
			if d >= 0 {
				t.Errorf("%s ends in %s", forgotten[i], d)
			}
		}
		if cache.LastSave(ctx).Val() <= saved {
			t.Error("there is no new snapshot")
		}
	})
	t.Run("taken back", func(t *testing.T) {
		idle(t)
		r := v.run(line+" dry_run=false", replies{"missed": {{fields: map[string]string{"fine": "No"}, before: func() {
			for i, d := range ttls(t) {
				if d <= 0 || d > time.Hour {
					t.Errorf("%s ends in %s", forgotten[i], d)
				}
			}
		}}}})
		r.check(t, wants{state: engine.Failed, asked: []string{"expire", "missed", "persist"}, marks: map[string]string{"expire": "pass", "persist": "pass"}})
		for i, d := range ttls(t) {
			if d != -1 {
				t.Errorf("%s ends in %s", forgotten[i], d)
			}
		}
	})
	t.Run("at night, one agrees and no second", func(t *testing.T) {
		text, err := library.FS.ReadFile("cache-optimization.md")
		if err != nil {
			t.Fatal(err)
		}
		v := w.announce(t)
		mine := replaced(t, string(text), `{ cron: "0 3 * * WED", notify: oncall, missed: skip }`,
			`{ cron: "0 3 * * WED", notify: oncall, missed: skip, params: { dry_run: false, min_idle: 1m, window: 5s, policy: noeviction } }`)
		v.book("cache-optimization.md", mine)
		v.serve()
		idle(t)
		v.due("cache-optimization")
		p := &people{visit: v, asked: map[string]int{}, clicked: map[string]time.Time{}}
		confirm := v.open(v.runs, "expire", "confirm")
		v.calls("oncall", "Let 3 keys")
		for len(cacheReviews(v)) == 0 {
			p.answer(confirm)
			time.Sleep(200 * time.Millisecond)
		}
		v.open(v.runs, "expire", "review")
		v.expire("expire")
		r := v.follow(v.runs, nil)
		r.check(t, wants{state: engine.Canceled, marks: map[string]string{"expire": "skipped"}})
		if !strings.Contains(r.found("expire"), "not run") {
			t.Errorf("expire: %s", r.found("expire"))
		}
		for i, d := range ttls(t) {
			if d != -1 {
				t.Errorf("%s ends in %s", forgotten[i], d)
			}
		}
	})
	t.Run("they end", func(t *testing.T) {
		idle(t)
		v.run(line+" dry_run=false", replies{"missed": {{fields: map[string]string{"fine": "Yes"}}}}).check(t,
			wants{state: engine.Succeeded, asked: []string{"expire", "missed"}, report: []string{"3 of 3 forgotten keys end"}})
		for i, d := range ttls(t) {
			if d <= 0 || d > time.Hour {
				t.Errorf("%s ends in %s", forgotten[i], d)
			}
		}
	})
	t.Run("no limit of memory", func(t *testing.T) {
		v := w.visit(t, pure)
		limit := config(t, "maxmemory")
		if err := cache.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
			t.Fatal(err)
		}
		v.run("cache-optimization window=5s min_idle=1m", nil).check(t, wants{state: engine.Succeeded, verdict: "warn", asked: []string{},
			marks: map[string]string{"memory": "warn", "policy": "skipped"}})
		if got := config(t, "maxmemory-policy"); got != "noeviction" {
			t.Errorf("the policy is %s", got)
		}
		if err := cache.ConfigSet(ctx, "maxmemory", limit).Err(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("not a pure cache", func(t *testing.T) {
		r := v.run("cache-optimization window=5s min_idle=1m", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, marks: map[string]string{"policy": "fail", "snapshot": "pass"}})
		if got := config(t, "maxmemory-policy"); got != "noeviction" {
			t.Errorf("the policy is %s", got)
		}
	})
	t.Run("LFU", func(t *testing.T) {
		v := w.visit(t, pure)
		if err := cache.ConfigSet(ctx, "maxmemory-policy", "allkeys-lfu").Err(); err != nil {
			t.Fatal(err)
		}
		r := v.run("cache-optimization window=5s min_idle=1m dry_run=false", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{"policy"}, marks: map[string]string{"idle": "fail", "expire": "skipped", "policy": "pass", "snapshot": "pass"}})
		if !strings.Contains(r.found("idle"), "lfu") {
			t.Errorf("idle: %s", r.found("idle"))
		}
		if got := config(t, "maxmemory-policy"); got != "allkeys-lru" {
			t.Errorf("the policy is %s", got)
		}
		if text, err := os.ReadFile(filepath.Join(w.body.Dir(), "cache", "redis.conf")); err != nil || !strings.Contains(string(text), "maxmemory-policy allkeys-lru") {
			t.Errorf("it would be lost at a restart: %v\n%s", err, text)
		}
	})
	t.Run("Redis cannot save", func(t *testing.T) {
		if err := w.body.BreakSaves(ctx); err != nil {
			t.Fatal(err)
		}
		v.run("cache-optimization window=5s min_idle=1m", nil).check(t, wants{state: engine.Failed, offers: []string{"cache-fix"}, asked: []string{}, marks: map[string]string{"snapshot": "fail"}})
		if got, err := cache.Info(ctx, "persistence").Result(); err != nil || !strings.Contains(got, "rdb_last_bgsave_status:err") {
			t.Errorf("the server says %v\n%s", err, got)
		}
		w.docker(t, "exec", w.containers(t, "cache")[0], "chown", "redis:redis", "/data")
		v.run("cache-optimization window=5s min_idle=1m", nil).check(t, wants{marks: map[string]string{"memory": "warn", "snapshot": "pass"}})
	})
}

// cacheReviews are the open reviews of the newest run.
func cacheReviews(v *visit) []string {
	var list []string
	r, _ := v.told(v.runs)
	for _, ask := range r.Asks {
		if ask.Kind == "review" && ask.State == string(engine.Open) {
			list = append(list, ask.Step)
		}
	}
	return list
}
