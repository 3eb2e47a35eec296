package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks/engine"
)

// page reads what the site answers.
func (w *ward) page(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get(w.body.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// asked waits until a load has sent so many requests.
func asked(t *testing.T, load *traffic.Load, n int) {
	t.Helper()
	poll(t, "enough was asked", func() bool { return load.Count().Sent >= n })
}

// The reviews of each day and each week: a capacity without data, and one with;
// a health check that old errors do not disturb; a cache that is stopped, which
// is restarted by the click that is offered.
func TestDailyInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 20_000})
	const review = "capacity-review resolution=30s p95=10000 hits=0.1 db_cpu=100"

	t.Run("empty metric", func(t *testing.T) {
		v := w.visit(t)
		r := v.run(review, nil)
		r.check(t, wants{state: engine.Failed, verdict: "unknown", marks: map[string]string{"hits": "unknown", "hits_before": "pass", "statements": "pass"},
			outcome: "the cache: look whether it is still measured", asked: []string{},
			report: []string{"? Cache hit rate: no data", "before: no data", "✓ What statements took since 20", "not in the week alone, by queryid: "}})
		// The next one tells what was taken since.
		w.sql(t, strings.Repeat("SELECT 'of this week', pg_sleep(0.3);\n", 7))
		r = v.run(review, nil)
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"statements": "pass"},
			report: []string{"✓ Most costly statement: SELECT $1, pg_sleep($2)", ", the last review, by queryid: ", ": 7 × in "}})
	})
	t.Run("no Prometheus", func(t *testing.T) {
		w.compose(t, "stop", "prometheus")
		r := w.visit(t).run(review, nil)
		r.check(t, wants{state: engine.Failed, verdict: "fail", marks: map[string]string{"inflight": "fail"},
			outcome: "no data about requests at once, latency, errors, the cache: look whether", asked: []string{},
			report: []string{"✗ Peak requests at once: no data", "✗ P95 latency: no data", "✗ Error rate: no data"}})
		w.compose(t, "start", "prometheus")
	})

	load := w.body.Load(traffic.Options{})
	defer load.Stop()
	asked(t, load, 50)
	w.fault(t, "err=100")
	old := load.Count().Failed
	poll(t, "a hundred errors", func() bool { return load.Count().Failed >= old+100 })
	w.fault(t, "")
	// A busy machine is slow: times are not what is tested here.
	const check = "daily-health-check window=10s warm_after=0s min_lookups=20 p95_ok=5000 p95_fail=10000 db_ms=10000 hit_ok=0.2 hit_fail=0.1"

	t.Run("old errors", func(t *testing.T) {
		if !strings.Contains(w.page(t, "/metrics"), `errors_total{status="500"} 1`) {
			t.Error("the errors are not counted")
		}
		r := w.visit(t).run(check, nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{}, marks: map[string]string{"services": "pass", "errors": "pass", "cache": "pass", "db": "pass"},
			report: []string{"Daily Health Check", "✓ Services: 5 of 5 running", "✓ Error Rate: 0 %", "✓ Database: Healthy", "Status: PASS"}})
	})
	t.Run("by the clock", func(t *testing.T) {
		v := w.visit(t)
		v.due("daily-health-check")
		r := v.follow(v.runs, nil)
		r.check(t, wants{asked: []string{}, report: []string{"Daily Health Check"}, marks: map[string]string{"services": "pass", "cache": "unknown"}})
		v.due("capacity-review")
		review := v.follow(v.runs, replies{"decision": {{fields: map[string]string{"choice": "nothing", "reason": "a test"}}}})
		if r.Runbook != "daily-health-check" || review.Runbook != "capacity-review" || review.Starter == "UANN" {
			t.Errorf("the clock started %s and %s, by %s", r.Runbook, review.Runbook, review.Starter)
		}
		v.find("UANN", "started by the schedule of daily-health-check")
	})
	t.Run("stopped cache", func(t *testing.T) {
		w.compose(t, "stop", "cache")
		v := w.visit(t)
		r := v.run(check, nil)
		r.check(t, wants{state: engine.Failed, verdict: "fail", offers: []string{"emergency-restart"}, asked: []string{},
			marks: map[string]string{"services": "fail", "cache_age": "fail", "cache": "skipped", "db": "pass"}, report: []string{"✗ Services: 4 of 5 running", "Status: FAIL"}})
		if got := w.inspect(t, "cache", "{{.State.Status}}"); got != "exited" {
			t.Errorf("a check that only looks has the cache %s", got)
		}
		r = v.accept(r, "emergency-restart", nil)
		r.check(t, wants{state: engine.Succeeded, marks: map[string]string{"start": "pass"}})
		if got := w.inspect(t, "cache", "{{.State.Health.Status}}"); got != "healthy" {
			t.Errorf("after the restart the cache is %s", got)
		}
	})
	t.Run("with data", func(t *testing.T) {
		v := w.visit(t)
		poll(t, "Prometheus has seen lookups", func() bool { return w.knows(t, "sum(increase(cache_lookups_total[7d]))") })
		r := v.run(review+" errors=0.000001", replies{"decision": {{fields: map[string]string{"choice": "errors", "reason": "the test made them"}}}})
		r.check(t, wants{state: engine.Succeeded, verdict: "warn", offers: []string{"high-error-rate"}, asked: []string{"decision"},
			marks: map[string]string{"errors": "warn", "hits": "pass", "p95": "pass"}, report: []string{"! Error rate: ", "Decision: errors, because: the test made them"}})
	})
	// For a while nothing is measured: what was before and what came after is the
	// week's, and the time between is neither a zero nor an error.
	t.Run("a gap", func(t *testing.T) {
		const now = "http_requests_in_progress"
		w.compose(t, "stop", "api")
		poll(t, "the series end", func() bool { return !w.knows(t, now) })
		w.compose(t, "start", "api")
		w.reload(t)
		poll(t, "the series go on", func() bool { return w.knows(t, now) })
		// Seconds since which there is a series that there was not all the time.
		if !w.knows(t, "count_over_time(sum("+now+")[1h:1s]) < (time() - min_over_time(timestamp(sum("+now+"))[1h:1s]))") {
			t.Error("the series have no gap")
		}
		v := w.visit(t)
		r := v.run(review+" errors=1", nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{}, outcome: "no target is missed",
			marks: map[string]string{"inflight": "pass", "p95": "pass", "errors": "pass", "hits": "pass"}})
		if strings.Contains(strings.ReplaceAll(r.Report, "before: no data", ""), "no data") {
			t.Errorf("the gap is taken for no data at all:\n%s", r.Report)
		}
	})
}

// knows reports whether Prometheus has a value for a query.
func (w *ward) knows(t *testing.T, query string) bool {
	t.Helper()
	resp, err := http.Get(w.body.PrometheusURL() + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(text), `"value"`)
}
