package web

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const exposition = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{route="/status",status="200"} 900
http_requests_total{route="/status",status="500"} 100
http_requests_total{route="/health",status="200"} 50
# TYPE http_requests_in_progress gauge
http_requests_in_progress{route="/status"} 3
http_requests_in_progress{route="/health"} 1
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.1"} 7
http_request_duration_seconds_bucket{le="+Inf"} 9
http_request_duration_seconds_sum 1.5
http_request_duration_seconds_count 9
# TYPE odd gauge
odd NaN
bare 12
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7956e+09
`

func readText(t *testing.T, a *ScrapeArgs, text string) reading {
	t.Helper()
	families, err := parseMetrics(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a.read(families)
}

func TestReading(t *testing.T) {
	t.Parallel()
	started := 1.7956e+09
	for _, c := range []struct {
		name string
		args ScrapeArgs
		want reading
	}{
		{"Counts", ScrapeArgs{Counter: "http_requests_total", Status: "status"}, reading{counts: map[string]float64{"200": 950, "500": 100}}},
		{"Matching", ScrapeArgs{Counter: "http_requests_total", Status: "status", Match: map[string]string{"route": "/status"}}, reading{counts: map[string]float64{"200": 900, "500": 100}}},
		{"NoSuchSeries", ScrapeArgs{Counter: "http_requests_total", Status: "status", Match: map[string]string{"route": "/x"}}, reading{counts: map[string]float64{}}},
		{"NoSuchFamily", ScrapeArgs{Counter: "requests_total", Status: "status"}, reading{}},
		{"NoSuchLabel", ScrapeArgs{Counter: "http_requests_total", Status: "code"}, reading{counts: map[string]float64{"none": 1050}}},
		{"Histogram", ScrapeArgs{Counter: "http_request_duration_seconds", Status: "status"}, reading{counts: map[string]float64{"none": 9}}},
		{"Untyped", ScrapeArgs{Counter: "bare", Status: "status"}, reading{counts: map[string]float64{"none": 12}}},
		{"NotANumber", ScrapeArgs{Counter: "odd", Status: "status"}, reading{counts: map[string]float64{}}},
		{"Times", ScrapeArgs{Counter: "x", Histogram: "http_request_duration_seconds"}, reading{times: histogram{0.1: 7, math.Inf(1): 9}}},
		{"NoTimes", ScrapeArgs{Counter: "x", Histogram: "bare"}, reading{}},
		{"Gauges", ScrapeArgs{Counter: "x", Gauges: []string{"http_requests_in_progress", "nothing", "odd"}}, reading{gauges: map[string]float64{"http_requests_in_progress": 4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.want.started = &started
			if c.want.gauges == nil {
				c.want.gauges = map[string]float64{}
			}
			if d := cmp.Diff(c.want, readText(t, &c.args, exposition), cmp.AllowUnexported(reading{})); d != "" {
				t.Errorf("reading (-want +got):\n%s", d)
			}
		})
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add(exposition)
	f.Add("# TYPE a histogram\na_bucket{le=\"-1\"} 3\na_bucket{le=\"+Inf\"} 2\na_count 9\n")
	f.Add("a{b=\"c\"} +Inf\n")
	f.Add("{\"ü.é\",status=\"500\"} 1\n")
	f.Add("# TYPE a counter\na -1 1\n# EOF\n")
	f.Fuzz(func(t *testing.T, text string) {
		families, err := parseMetrics(strings.NewReader(text))
		if err != nil {
			return
		}
		args := ScrapeArgs{Counter: "a", Status: "status", Gauges: []string{"a"}, Histogram: "a"}
		r := args.read(families)
		if p95 := r.times.quantile(0.95); p95 != nil && math.IsNaN(*p95) {
			t.Errorf("%q: 95 %% take NaN", text)
		}
		for status, n := range r.counts {
			if status == "" || n < 0 || math.IsInf(n, 0) && len(r.counts) == 1 && len(families["a"].Metric) == 1 {
				t.Errorf("%q: %q counts %v", text, status, n)
			}
		}
		if _, reset, err := since(r, r); reset || err != nil {
			t.Errorf("%q: from a reading to itself: %v, %v", text, reset, err)
		}
	})
}

func TestSince(t *testing.T) {
	t.Parallel()
	at := func(f float64) *float64 { return &f }
	counts := func(ok, bad float64) map[string]float64 { return map[string]float64{"200": ok, "500": bad} }
	for _, c := range []struct {
		name  string
		a, b  reading
		want  map[string]float64
		reset bool
		err   error
	}{
		// The total is 10 % of errors since the start, the window has 38 %.
		{"Window", reading{at(1), counts(900, 100), nil, nil}, reading{at(1), counts(962, 138), nil, nil}, counts(62, 38), false, nil},
		{"Nothing", reading{at(1), counts(900, 100), nil, nil}, reading{at(1), counts(900, 100), nil, nil}, counts(0, 0), false, nil},
		{"NewSeries", reading{at(1), map[string]float64{"200": 5}, nil, nil}, reading{at(1), counts(7, 3), nil, nil}, counts(2, 3), false, nil},
		{"NewFamily", reading{at(1), nil, nil, nil}, reading{at(1), counts(7, 3), nil, nil}, counts(7, 3), false, nil},
		{"NoFamily", reading{at(1), nil, nil, nil}, reading{at(1), nil, nil, nil}, nil, false, nil},
		{"Restarted", reading{at(1), counts(612, 0), nil, nil}, reading{at(2), counts(700, 1), nil, nil}, counts(700, 1), true, nil},
		{"Fell", reading{nil, counts(612, 5), nil, nil}, reading{nil, counts(0, 5), nil, nil}, counts(0, 5), true, nil},
		{"SeriesWent", reading{at(1), counts(612, 5), nil, nil}, reading{at(1), map[string]float64{"200": 700}, nil, nil}, map[string]float64{"200": 88}, true, nil},
		{"OneFell", reading{at(1), counts(612, 5), nil, nil}, reading{at(1), counts(700, 2), nil, nil}, counts(88, 2), true, nil},
		{"OtherProcess", reading{at(2), counts(1, 1), nil, nil}, reading{at(1), counts(9, 9), nil, nil}, nil, false, errOtherProcess},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, reset, err := since(c.a, c.b)
			if d := cmp.Diff(c.want, got); d != "" || reset != c.reset || err != c.err {
				t.Errorf("since: reset %v, %v (-want +got):\n%s", reset, err, d)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	now := time.Now()
	targets := []target{{name: "a:1"}, {name: "b:1"}, {name: "c:1"}}
	one := func(ok, unauthorized, bad float64, after time.Duration) look {
		return look{reading: reading{counts: map[string]float64{"200": ok, "401": unauthorized, "503": bad}, gauges: map[string]float64{"g": 2}}, at: now.Add(after)}
	}
	r := compare(targets, []look{one(0, 0, 0, 0), one(100, 0, 0, 0), {err: errTooLong}},
		[]look{one(60, 20, 0, 10*time.Second), one(110, 0, 10, 10*time.Second), one(1, 1, 1, 10*time.Second)})
	if *r.Requests != 100 || math.Abs(*r.Ratio5xx-0.1) > 1e-9 || r.Dominant != "401" || r.Reset || r.Gauges["g"] != 4 {
		t.Errorf("compare = %+v, %s", r, r.Found())
	}
	if d := cmp.Diff(map[string]float64{"200": 7, "401": 2, "503": 1}, r.Rate); d != "" {
		t.Errorf("rate (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"c:1"}, r.Missing); d != "" || r.Replicas[2].Requests != nil || r.Found() != "10.0 % 5xx of 100 requests, mostly 401, g 4, nothing from c:1" {
		t.Errorf("missing (-want +got):\n%s%s", d, r.Found())
	}
	// No data is not zero.
	quiet := compare(targets[:1], []look{one(5, 5, 5, 0)}, []look{one(5, 5, 5, time.Second)})
	if *quiet.Requests != 0 || quiet.Ratio5xx != nil || quiet.Found() != "no data: no requests, g 2" {
		t.Errorf("without requests: %+v, %s", quiet, quiet.Found())
	}
	none := compare(targets[:1], []look{{}}, []look{{}})
	if none.Requests != nil || none.Ratio5xx != nil || none.Missing[0] != "a:1" || !strings.HasPrefix(none.Found(), "no data: no replica has the counter") {
		t.Errorf("without the counter: %+v, %s", none, none.Found())
	}
	bare := compare(targets[:1], []look{{reading: reading{counts: map[string]float64{"none": 1}}}}, []look{{reading: reading{counts: map[string]float64{"none": 4}}, at: now}})
	if *bare.Requests != 3 || bare.Ratio5xx != nil {
		t.Errorf("without a status: %+v", bare)
	}
	grouped := compare(targets[:1], []look{{reading: reading{counts: map[string]float64{}}, at: now}}, []look{{reading: reading{counts: map[string]float64{"2xx": 3, "5xx": 1}}, at: now.Add(time.Second)}})
	if *grouped.Ratio5xx != 0.25 || grouped.Dominant != "5xx" {
		t.Errorf("with classes: %+v", grouped)
	}
}
