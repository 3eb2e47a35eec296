package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"opsbot/internal/fault"
)

// fetch scrapes one address. The error is for people.
func (m *Metrics) fetch(ctx context.Context, t target) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", t.name, err)
	}
	req.Host = t.host
	req.Header.Set("User-Agent", "opsbot")
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, explain(t.name, req.URL.Path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Unavailable, "%s answered %d when asked for its metrics.", t.name, resp.StatusCode).
			Hinted("Check the path of the connection's scrape address.")
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "text/plain" {
		return nil, noMetrics(t.name, fmt.Errorf("content type %q", resp.Header.Get("Content-Type")))
	}
	families, err := parseMetrics(resp.Body)
	switch {
	case errors.Is(err, errTooLong):
		return nil, fault.New(fault.Unavailable, "The metrics of %s are more than %d MiB.", t.name, maxMetrics>>20)
	case ctx.Err() != nil:
		return nil, explain(t.name, req.URL.Path, ctx.Err())
	case err != nil:
		return nil, noMetrics(t.name, err)
	}
	return families, nil
}

func noMetrics(name string, why error) error {
	return fault.New(fault.Unavailable, "%s did not answer with metrics in Prometheus's text format.", name).
		Hinted("Check the path of the connection's scrape address.").Because(why)
}

// parseMetrics reads the text format, to its end.
func parseMetrics(text io.Reader) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation) // its zero value panics
	return parser.TextToMetricFamilies(text)
}

// A reading is what one replica said at one moment.
type reading struct {
	started *float64           // Unix time; nil: it does not say
	counts  map[string]float64 // requests by status; nil: it has no such counter
	gauges  map[string]float64
	times   histogram // nil: it has none, or two that do not go together
}

// read picks what a call wants to know.
func (a *ScrapeArgs) read(families map[string]*dto.MetricFamily) reading {
	r := reading{gauges: map[string]float64{}}
	if f := families["process_start_time_seconds"]; f != nil && len(f.Metric) == 1 {
		if v, ok := valueOf(f.Metric[0]); ok {
			r.started = &v
		}
	}
	if f := families[a.Counter]; f != nil {
		r.counts = map[string]float64{}
		for _, s := range f.Metric {
			if v, ok := valueOf(s); ok && v >= 0 && a.matches(s) {
				r.counts[a.statusOf(s)] += v
			}
		}
	}
	if f := families[a.Histogram]; f != nil {
		for _, s := range f.Metric {
			if s.Histogram != nil && a.matches(s) && !r.times.add(s.Histogram) {
				r.times = nil
				break
			}
		}
	}
	for _, name := range a.Gauges {
		if f := families[name]; f != nil {
			for _, s := range f.Metric {
				if v, ok := valueOf(s); ok {
					r.gauges[name] += v
				}
			}
		}
	}
	return r
}

// valueOf is a series's number: how often, of a histogram or summary. It has
// none if that is no finite number.
func valueOf(s *dto.Metric) (float64, bool) {
	var v float64
	switch {
	case s.Counter != nil:
		v = s.Counter.GetValue()
	case s.Gauge != nil:
		v = s.Gauge.GetValue()
	case s.Untyped != nil:
		v = s.Untyped.GetValue()
	case s.Histogram != nil:
		v = float64(s.Histogram.GetSampleCount())
	case s.Summary != nil:
		v = float64(s.Summary.GetSampleCount())
	default:
		return 0, false
	}
	return v, v-v == 0
}

func labelOf(s *dto.Metric, name string) string {
	for _, l := range s.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func (a *ScrapeArgs) matches(s *dto.Metric) bool {
	for name, want := range a.Match {
		if labelOf(s, name) != want {
			return false
		}
	}
	return true
}

// noStatus stands for requests without one.
const noStatus = "none"

func (a *ScrapeArgs) statusOf(s *dto.Metric) string {
	if v := strings.TrimSpace(labelOf(s, a.Status)); v != "" {
		return short(v)
	}
	return noStatus
}

// class is the first digit of a status such as 503 or 5xx; 0 of anything else.
func class(status string) int {
	if len(status) == 3 && status[0] >= '1' && status[0] <= '5' {
		return int(status[0] - '0')
	}
	return 0
}

// errOtherProcess means that an address does not lead to one process.
var errOtherProcess = errors.New("different processes answer at this address: name each replica, not what stands before them")

// since counts what happened from one reading of a replica to the next. After a
// restart the counters began at zero, so what they say now is all that is known;
// without a time of start, any counter that fell means one. A series that was
// not there has counted nothing before.
func since(a, b reading) (counts map[string]float64, reset bool, err error) {
	if a.counts == nil && b.counts == nil {
		return nil, false, nil
	}
	timed := a.started != nil && b.started != nil
	if timed && *b.started < *a.started {
		return nil, false, errOtherProcess
	}
	fell := false
	for status, n := range a.counts {
		fell = fell || b.counts[status] < n
	}
	anew := timed && *b.started > *a.started || !timed && fell
	counts = map[string]float64{}
	for status, n := range b.counts {
		if before := a.counts[status]; !anew && n >= before {
			n -= before
		}
		counts[status] = n
	}
	return counts, anew || fell, nil
}
