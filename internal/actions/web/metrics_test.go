package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"opsbot/internal/actions/web"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A replica is a process with metrics.
type replica struct {
	*httptest.Server
	handler  atomic.Value
	requests *prometheus.CounterVec
	busy     prometheus.Gauge
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	r := &replica{}
	r.start()
	r.Server = serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/metrics" {
			http.NotFound(w, req)
			return
		}
		r.handler.Load().(http.Handler).ServeHTTP(w, req)
	})
	return r
}

// start makes the metrics of a new process.
func (r *replica) start() {
	reg := prometheus.NewRegistry()
	r.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, []string{"route", "status"})
	r.busy = prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_progress"})
	reg.MustRegister(r.requests, r.busy, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.handler.Store(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
}

func (r *replica) count(status string, n float64) {
	r.requests.WithLabelValues("/status", status).Add(n)
}

func openMetrics(t *testing.T, c web.MetricsConfig) *web.Metrics {
	t.Helper()
	m, err := web.OpenMetrics(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// between calls f when the replica was scraped once.
func between(r *replica, f func()) {
	var scraped atomic.Bool
	inner := r.Config.Handler
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		inner.ServeHTTP(w, req)
		if !scraped.Swap(true) {
			f()
		}
	})
}

func TestScrape(t *testing.T) {
	t.Parallel()
	a, b := newReplica(t), newReplica(t)
	a.count("200", 900)
	a.count("500", 100) // since the start, long ago
	b.count("200", 1000)
	between(a, func() { a.count("200", 62); a.count("500", 38) })
	between(b, func() { b.count("200", 90); b.count("401", 10); b.busy.Set(2) })
	m := openMetrics(t, web.MetricsConfig{Scrape: []string{a.URL, b.URL + "/metrics", "http://127.0.0.1:1/metrics"}})
	r, out, err := run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s", "gauges": []any{"http_requests_in_progress", "nothing"}})
	if err != nil {
		t.Fatal(err)
	}
	got := r.(web.Scrape)
	if *got.Requests != 200 || *got.Ratio5xx != 0.19 || got.Dominant != "500" || got.Reset {
		t.Errorf("scrape = %s\n%+v", got.Found(), got)
	}
	if *got.Replicas[0].Ratio5xx != 0.38 || *got.Replicas[1].Ratio5xx != 0 || *got.Replicas[1].Requests != 100 {
		t.Errorf("replicas = %+v", got.Replicas)
	}
	if d := cmp.Diff(map[string]float64{"http_requests_in_progress": 2}, got.Gauges); d != "" {
		t.Errorf("gauges (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"127.0.0.1:1"}, got.Missing); d != "" || !strings.Contains(out, "127.0.0.1:1: 127.0.0.1:1 refused the connection.") || !strings.Contains(got.Found(), "nothing from 127.0.0.1:1") {
		t.Errorf("missing (-want +got):\n%s%s", d, out)
	}
	if rate := got.Rate["200"]; rate <= 0 || rate > 152 {
		t.Errorf("%f requests a second, of 152 in a second or more", rate)
	}
}

// A restart hides errors from whoever looks at counters.
func TestScrapeRestarted(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	a.count("200", 612)
	between(a, func() { a.start(); a.count("200", 3); a.count("503", 1) })
	m := openMetrics(t, web.MetricsConfig{Scrape: []string{a.URL}})
	r, _, err := run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s"})
	if got, _ := r.(web.Scrape); err != nil || !got.Reset || *got.Requests != 4 || *got.Ratio5xx != 0.25 || !strings.Contains(got.Found(), "a replica restarted") {
		t.Errorf("scrape = %+v, %v", r, err)
	}
}

func TestScrapeWithoutData(t *testing.T) {
	t.Parallel()
	fresh := newReplica(t) // no request yet, so no such family
	m := openMetrics(t, web.MetricsConfig{Scrape: []string{fresh.URL}})
	r, _, err := run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s"})
	if got, _ := r.(web.Scrape); err != nil || got.Requests != nil || got.Ratio5xx != nil || len(got.Missing) != 1 {
		t.Errorf("scrape without the counter = %+v, %v", r, err)
	}
	page := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>")
	})
	long := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(bytes.Repeat([]byte("# nothing but a comment\n"), 1<<20))
	})
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "a{b=} 1\n")
	})
	away := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, page.URL, http.StatusFound) })
	for _, c := range []struct{ address, says string }{
		{page.URL, "did not answer with metrics in Prometheus's text format. Check the path"},
		{broken.URL, "did not answer with metrics"},
		{long.URL, "are more than 16 MiB"},
		{fresh.URL + "/wrong", "answered 404 when asked for its metrics"},
		{away.URL, "redirects /metrics to another host"},
		{"dns+http://no-such-host.invalid:80/metrics", "could not be found"},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			m := openMetrics(t, web.MetricsConfig{Scrape: []string{c.address}})
			_, _, err := run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s"})
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("scrape %s = %v, want %q", c.address, fault.Say(err), c.says)
			}
		})
	}
}

func TestScrapeByNameAndFound(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	a.count("200", 1)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(a.URL, "http://"))
	m := openMetrics(t, web.MetricsConfig{Scrape: []string{"dns+http://localhost:" + port + "/metrics"}})
	r, _, err := run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s"})
	got, _ := r.(web.Scrape)
	i := slices.IndexFunc(got.Replicas, func(r web.Replica) bool { return r.Address == "127.0.0.1:"+port })
	if err != nil || i < 0 || got.Replicas[i].Requests == nil {
		t.Errorf("scrape by name = %+v, %v", got, err)
	}
	m = openMetrics(t, web.MetricsConfig{Replicas: func(context.Context, string) ([]string, error) { return []string{a.URL + "/metrics"}, nil }})
	if r, _, err = run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s"}); err != nil || len(r.(web.Scrape).Replicas) != 1 {
		t.Errorf("scrape of what was found = %+v, %v", r, err)
	}
	m = openMetrics(t, web.MetricsConfig{Replicas: func(context.Context, string) ([]string, error) { return nil, nil }})
	if _, _, err = run(t, t.Context(), "metrics.scrape", m, map[string]any{"interval": "1s"}); !strings.Contains(fault.Say(err), "no replica to scrape") {
		t.Errorf("scrape of nothing = %v", err)
	}
}

// While two versions run, one of them can be looked at alone, as far as somebody
// knows which is which.
func TestScrapeColor(t *testing.T) {
	t.Parallel()
	blue, green, listed := newReplica(t), newReplica(t), newReplica(t)
	for i, r := range []*replica{blue, green, listed} {
		r.count("200", 1)
		r.busy.Set(float64(i + 1))
	}
	find := func(_ context.Context, color string) ([]string, error) {
		all := map[string][]string{"blue": {blue.URL}, "green": {green.URL}, "": {blue.URL, green.URL}}
		return all[color], nil
	}
	for _, c := range []struct {
		name, color string
		config      web.MetricsConfig
		want        float64
	}{
		{"blue", "blue", web.MetricsConfig{Scrape: []string{listed.URL}, Replicas: find}, 1},
		{"green", "green", web.MetricsConfig{Scrape: []string{listed.URL}, Replicas: find}, 2},
		{"all", "", web.MetricsConfig{Scrape: []string{listed.URL}, Replicas: find}, 6},
		{"only a list", "blue", web.MetricsConfig{Scrape: []string{listed.URL, green.URL}}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := map[string]any{"interval": "1s", "gauges": []any{"http_requests_in_progress"}}
			if c.color != "" {
				args["color"] = c.color
			}
			r, _, err := run(t, t.Context(), "metrics.scrape", openMetrics(t, c.config), args)
			got, _ := r.(web.Scrape)
			if err != nil || got.Gauges["http_requests_in_progress"] != c.want || !strings.Contains(got.Found(), fmt.Sprintf("http_requests_in_progress %g", c.want)) {
				t.Errorf("scrape = %s %v, %v, want %g", got.Found(), got.Gauges, err, c.want)
			}
		})
	}
}

func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	for _, c := range []web.MetricsConfig{
		{}, {Prometheus: "prometheus:9090"}, {Prometheus: "http://u:" + canary + "@h"}, {Scrape: []string{"/metrics"}},
		{Scrape: []string{"http://u:" + canary + "@h/metrics"}}, {Scrape: []string{"dns+http://api/metrics"}},
	} {
		if _, err := web.OpenMetrics(c); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), canary) {
			t.Errorf("OpenMetrics(%+v) = %v", c, err)
		}
	}
	only := openMetrics(t, web.MetricsConfig{Prometheus: "http://127.0.0.1:1"})
	if err := only.Lacks("metrics.scrape"); fault.KindOf(err) != fault.Invalid || only.Lacks("prometheus.query") != nil {
		t.Errorf("Lacks = %v", err)
	}
	if _, _, err := run(t, t.Context(), "metrics.scrape", only, map[string]any{"interval": "1s"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("scrape without addresses = %v", err)
	}
	if err := openMetrics(t, web.MetricsConfig{Scrape: []string{"http://h"}}).Lacks("prometheus.query"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Lacks = %v", err)
	}
}

// startPrometheus starts one that scrapes the targets, and waits until it has.
func startPrometheus(t *testing.T, targets ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Prometheus")
	}
	path, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" {
			t.Fatal("prometheus is not installed, and OPSBOT_TEST_REQUIRE=1 wants it to be")
		}
		t.Skip("prometheus is not installed")
	}
	dir := t.TempDir()
	list, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	text := "global: { scrape_interval: 1s }\nscrape_configs:\n- job_name: api\n  static_configs: [{ targets: " + string(list) + " }]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// No port that the system may give to somebody else meanwhile.
	addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	m := openMetrics(t, web.MetricsConfig{Prometheus: "http://" + addr})
	tick, deadline := time.NewTicker(100*time.Millisecond), time.NewTimer(60*time.Second)
	defer tick.Stop()
	defer deadline.Stop()
	for {
		r, err := action(t, "prometheus.query").Run(t.Context(), runbooks.Call{Target: runbooks.Target{Conn: m}, Args: &web.QueryArgs{Query: "sum(up)"}}, io.Discard)
		if q, _ := r.(web.Query); err == nil && q.Value != nil && *q.Value == float64(len(targets)) {
			return "http://" + addr
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("Prometheus does not scrape: %v\n%s", err, said)
		}
	}
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	a.count("200", 900)
	a.count("500", 100)
	base := startPrometheus(t, strings.TrimPrefix(a.URL, "http://"))
	m := openMetrics(t, web.MetricsConfig{Prometheus: base, Queries: map[string]string{
		"error-ratio": `sum(http_requests_total{status=~"5.."}) / sum(http_requests_total)`, "bad": "sum(",
	}})
	ask := func(with map[string]any) (web.Query, error) {
		r, _, err := run(t, t.Context(), "prometheus.query", m, with)
		q, _ := r.(web.Query)
		return q, err
	}
	one := func(q string) map[string]any { return map[string]any{"query": q} }

	if q, err := ask(map[string]any{"name": "error-ratio"}); err != nil || q.Value == nil || *q.Value != 0.1 || len(q.Series) != 1 || q.Found() != "0.1" {
		t.Errorf("named = %+v, %v", q, err)
	}
	q, err := ask(one("sum by (status) (http_requests_total)"))
	if err != nil || q.Value != nil || len(q.Series) != 2 || *q.Min != 100 || *q.Max != 900 || q.Found() != "2 series, from 100 to 900" {
		t.Errorf("by status = %+v, %v", q, err)
	}
	for _, s := range q.Series {
		if want := map[string]float64{"200": 900, "500": 100}[s.Labels["status"]]; s.Value == nil || *s.Value != want {
			t.Errorf("series %v = %v, want %f", s.Labels, s.Value, want)
		}
	}
	for text, found := range map[string]string{
		"no_such_metric":        "no data: nothing matches",
		"vector(0) / vector(0)": "no data: not a number",
		"vector(1) / vector(0)": "no data: not a number (an infinite value counts as no data)",
	} {
		if q, err := ask(one(text)); err != nil || q.Value != nil || q.Found() != found {
			t.Errorf("%s = %+v %q, %v", text, q, q.Found(), err)
		}
	}
	if q, err := ask(one("time()")); err != nil || q.Value == nil || len(q.Series) != 0 {
		t.Errorf("a scalar = %+v, %v", q, err)
	}
	q, err = ask(map[string]any{"query": `http_requests_total{status="500"}`, "range": "1m", "step": "1s"})
	if err != nil || q.Value == nil || *q.Value != 100 || len(q.Series[0].Points) == 0 || len(q.Series[0].Points) > 61 || time.Since(q.Series[0].Points[0].At) > 5*time.Minute {
		t.Errorf("range = %+v, %v", q, err)
	}
	for _, c := range []struct {
		with map[string]any
		kind fault.Kind
		says string
	}{
		{map[string]any{"name": "bad"}, fault.Invalid, "does not understand the query. It said: "},
		{map[string]any{"name": "nothing"}, fault.NotFound, "no query named nothing. It has bad, error-ratio."},
		{map[string]any{}, fault.Invalid, "either the name of a query or a query"},
		{map[string]any{"name": "bad", "query": "up"}, fault.Invalid, "either the name of a query or a query"},
		{one(`"text"`), fault.Invalid, "a text as its value"},
		{one("http_requests_total * on(job) http_requests_total"), fault.Conflict, "cannot work out the query. It said: "},
		{map[string]any{"query": "up", "range": "24h", "step": "1s"}, fault.Invalid, "more than 1000 points"},
	} {
		if _, err := ask(c.with); fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.says) {
			t.Errorf("%v: %s %q, want %s %q", c.with, fault.KindOf(err), fault.Say(err), c.kind, c.says)
		}
	}
	found, err := openMetrics(t, web.MetricsConfig{Prometheus: base, Scrape: []string{a.URL}, Queries: map[string]string{"bad": "sum(", "good": "up"}}).Examine(t.Context())
	var bad, good []string
	for _, f := range found {
		if f.Bad {
			bad = append(bad, f.Name)
		} else {
			good = append(good, f.Name)
		}
	}
	if d := cmp.Diff([]string{"query bad"}, bad); d != "" || err != nil || len(good) != 3 || !strings.HasPrefix(found[0].Says, "2.") && !strings.HasPrefix(found[0].Says, "3.") {
		t.Errorf("Examine = %+v, %v", found, err)
	}
}

// What a real Prometheus cannot be brought to say on demand.
func TestPrometheusAnswers(t *testing.T) {
	t.Parallel()
	var last atomic.Value
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.Header.Get("Authorization"))
		_ = r.ParseForm()
		w.Header().Set("Content-Type", "application/json")
		switch r.Form.Get("query") {
		case "warned":
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[1,"3"]}]},"warnings":["a store is down"],"infos":["not a counter"]}`)
		case "slow":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`)
		case "denied":
			w.WriteHeader(http.StatusUnauthorized)
		case "many":
			series := make([]string, 250)
			for i := range series {
				series[i] = fmt.Sprintf(`{"metric":{"i":"%d"},"value":[1,"%d"]}`, i, i)
			}
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`+strings.Join(series, ",")+`]}}`)
		case "page":
			_, _ = io.WriteString(w, "<html>")
		case "endless":
			_, _ = w.Write([]byte(`{"status":"success","data":"` + strings.Repeat("x", 17<<20) + `"}`))
		}
	})
	ask := func(m *web.Metrics, text string) (web.Query, error) {
		r, _, err := run(t, t.Context(), "prometheus.query", m, map[string]any{"query": text})
		q, _ := r.(web.Query)
		return q, err
	}
	m := openMetrics(t, web.MetricsConfig{Prometheus: s.URL, Token: canary})
	q, err := ask(m, "warned")
	if d := cmp.Diff([]string{"a store is down", "not a counter"}, q.Warnings); d != "" || err != nil || *q.Value != 3 || q.Found() != "3 (a store is down; not a counter)" {
		t.Errorf("warned: %v %s\n%s", err, q.Found(), d)
	}
	if last.Load() != "Bearer "+canary {
		t.Errorf("the token was not sent: %q", last.Load())
	}
	if q, err := ask(m, "many"); err != nil || len(q.Series) != 200 || *q.Max != 249 || !slices.Contains(q.Warnings, "50 more series were left out") {
		t.Errorf("many: %d series, %v, %v", len(q.Series), q.Warnings, err)
	}
	if _, err := ask(m, "endless"); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "longer than 16 MiB") {
		t.Errorf("endless: %v", err)
	}
	for text, says := range map[string]string{
		"slow": "gave the query up: it took too long", "denied": "Check the token or password",
		"page": "did not answer as a Prometheus does",
	} {
		if _, err := ask(m, text); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), says) {
			t.Errorf("%s: %q, want %q (%v)", text, fault.Say(err), says, err)
		}
	}
	if _, err := ask(openMetrics(t, web.MetricsConfig{Prometheus: "http://127.0.0.1:1"}), "up"); !strings.Contains(fault.Say(err), "refused the connection") {
		t.Errorf("a dead Prometheus: %v", err)
	}
	if _, err := ask(openMetrics(t, web.MetricsConfig{Prometheus: s.URL, Username: "ann", Password: canary}), "warned"); err != nil || !strings.HasPrefix(last.Load().(string), "Basic ") {
		t.Errorf("basic auth: %q, %v", last.Load(), err)
	}
}
