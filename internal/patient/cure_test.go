package patient_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	actions "opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/internal/patient"
	"opsbot/runbooks"
)

// The actions of the cache's runbook, one after another, on a patient of each
// kind: they must find the same illness and work the same cure.
func TestActionsCureIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		cache, err := actions.Open(actions.Config{URL: p.RedisURL()})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		api, err := web.Open(web.Config{BaseURL: p.APIURL(), Token: p.Token(), Lists: map[string]web.List{
			"cache-warmup": {Path: patient.WarmupPath, User: strings.Join(p.Users(), ",")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		catalog, err := runbooks.NewCatalog(actions.Actions(), web.Actions())
		if err != nil {
			t.Fatal(err)
		}
		prepare := func(name string, with map[string]any) (runbooks.Action, runbooks.Call) {
			a, ok := catalog.Action(name)
			if !ok {
				t.Fatalf("no action %s", name)
			}
			args, err := runbooks.DecodeArgs(a.Spec(), with)
			if err != nil {
				t.Fatal(err)
			}
			conn := runbooks.Connection(cache)
			if strings.HasPrefix(name, "http.") {
				conn = api
			}
			return a, runbooks.Call{Run: "r1", Step: "s1", Target: runbooks.Target{Environment: "demo", Conn: conn}, Args: args}
		}
		do := func(name string, with map[string]any) any {
			a, call := prepare(name, with)
			r, err := a.Run(t.Context(), call, io.Discard)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return r
		}
		rate := func() actions.HitRate {
			a, call := prepare("redis.hit_rate", nil)
			call.Args = &actions.HitRateArgs{Window: 2 * time.Second} // shorter than a runbook may
			r, err := a.Run(t.Context(), call, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			return r.(actions.HitRate)
		}
		clearing := map[string]any{"mode": "prefix", "pattern": "prod_*"}

		info := do("redis.info", nil).(actions.Info)
		if info.Role != "master" || !info.LastSaveOK || info.Loading || info.Policy != "noeviction" || info.UsedMemory <= info.MaxMemory || info.Clients < 2 || len(info.RunID) != 40 {
			t.Errorf("info = %+v", info)
		}
		before := rate()
		if before.Rate == nil || *before.Rate != 0 {
			t.Errorf("hit rate before = %s", before.Found())
		}
		found := do("redis.count_keys", map[string]any{"pattern": "prod_*", "sample": 1000}).(actions.KeyCount)
		if found.Matched < 9000 || found.Total-found.Matched != 264 || !found.Complete || found.NoTTLPct == nil || *found.NoTTLPct != 100 {
			t.Errorf("keys = %+v", found)
		}

		flush, call := prepare("redis.flush", clearing)
		shown, err := flush.(runbooks.Previewer).Preview(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := cache.Identity(t.Context()); err != nil || id != shown.Identity {
			t.Errorf("Identity() = %q, %v; the preview says %q", id, err, shown.Identity)
		}
		if shown.Live[0].Number != float64(found.Matched-1) || len(shown.Reasons) != 1 || shown.Effect != runbooks.Destructive {
			t.Errorf("preview = %+v", shown)
		}
		// The API's own values come back while the old ones go, and may be met.
		users := len(p.Users())
		cleared := do("redis.flush", clearing).(actions.Flushed)
		if cleared.Deleted < found.Matched-1 || cleared.Deleted >= found.Matched+users || cleared.Skipped != 1 || cleared.TotalBefore != found.Total || cleared.TotalAfter < 265 || cleared.TotalAfter > 265+users {
			t.Errorf("flush = %+v after %+v", cleared, found)
		}
		warmed := do("http.warm", map[string]any{"list": "cache-warmup", "rps": 50, "concurrency": 4}).(web.Warmed)
		if warmed.OK != users || warmed.Failed != 0 {
			t.Errorf("warm = %+v", warmed)
		}
		after := rate()
		if after.Rate == nil || *after.Rate < 0.99 {
			t.Errorf("hit rate after = %s", after.Found())
		}
		for _, path := range []string{"/api/v1/health", "/api/v1/ready"} {
			do("http.get", map[string]any{"path": path})
		}
		until(t, "the panel to see it", func() bool {
			v := p.Vitals()
			return v.State == patient.Well && v.Used < v.Max/2 && v.P50 != nil
		})
		if got := c.LLen(t.Context(), "prod_queue").Val(); got != 40 {
			t.Errorf("the queue has %d of 40 jobs", got)
		}
	})
}

// An answer that comes from the cache expires in both kinds of Redis.
func TestCacheExpires(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p *patient.Patient, c *redis.Client) {
		cure(t, c)
		before := counted(t, c, "used_memory")
		if err := c.Set(t.Context(), "prod_brief", strings.Repeat("x", 1<<20), 1500*time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
		if used := counted(t, c, "used_memory"); used < before+1<<20 {
			t.Errorf("used_memory grew from %d to %d by a value of 1 MiB", before, used)
		}
		until(t, "its end", func() bool { return len(keys(t, c, "prod_brief")) == 0 })
		until(t, "its memory", func() bool { return counted(t, c, "used_memory") < before+512<<10 })
	})
}
