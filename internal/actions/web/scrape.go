package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type scrape struct{}

// ScrapeArgs are the arguments of metrics.scrape.
type ScrapeArgs struct {
	Interval  time.Duration     `arg:"interval" default:"15s" min:"1s" max:"120s" help:"between the two looks"`
	Counter   string            `arg:"counter" default:"http_requests_total" pattern:"^[a-zA-Z_:][a-zA-Z0-9_:]*$" help:"counter of requests"`
	Status    string            `arg:"status" default:"status" help:"its label with the status"`
	Histogram string            `arg:"histogram" default:"http_request_duration_seconds" pattern:"^[a-zA-Z_:][a-zA-Z0-9_:]*$" help:"histogram of the seconds that requests took"`
	Match     map[string]string `arg:"match" help:"labels that series of the counter and of the histogram must have"`
	Gauges    []string          `arg:"gauges" help:"other metrics, read at the end and added up"`
	Color     string            `arg:"color" values:"blue|green" help:"only the replicas of this color, of those that scrape_service finds; without one, all addresses"`
}

// A Scrape is the result of metrics.scrape.
type Scrape struct {
	Requests *float64           `json:"requests" help:"in the interval, of all replicas; no data if no replica has the counter"`
	Rate     map[string]float64 `json:"rate" help:"requests per second by status"`
	Ratio5xx *float64           `json:"ratio_5xx" help:"5xx by requests; no data without requests"`
	P95      *float64           `json:"p95" help:"milliseconds that 95 of 100 requests took at most, by the histogram of all replicas; at least its last bound; no data without requests or histogram"`
	Dominant string             `json:"dominant" help:"the most frequent status from 400 on; empty: none"`
	Reset    bool               `json:"reset" help:"a replica restarted meanwhile: what it counted before is missing"`
	Gauges   map[string]float64 `json:"gauges" help:"sums over the replicas; one that no replica has is missing"`
	Replicas []Replica          `json:"replicas"`
	Missing  []string           `json:"missing" help:"replicas without data: the rest says nothing about them"`
}

// A Replica is one scraped address.
type Replica struct {
	Address  string   `json:"address"`
	Requests *float64 `json:"requests" help:"in the interval; no data if it did not answer or has no such counter"`
	Ratio5xx *float64 `json:"ratio_5xx" help:"no data without requests"`
	Reset    bool     `json:"reset" help:"it restarted meanwhile"`
	Problem  string   `json:"problem" help:"why there is no data"`
}

// Found says the result in one line.
func (r Scrape) Found() string {
	var text string
	switch {
	case r.Requests == nil:
		text = "no data: no replica has the counter"
	case r.Ratio5xx == nil && *r.Requests == 0:
		text = "no data: no requests"
	case r.Ratio5xx == nil:
		text = fmt.Sprintf("%.0f requests without a status", *r.Requests)
	default:
		text = fmt.Sprintf("%.1f %% 5xx of %.0f requests", 100**r.Ratio5xx, *r.Requests)
	}
	if r.P95 != nil {
		text += fmt.Sprintf(", p95 %.0f ms", *r.P95)
	}
	if r.Dominant != "" {
		text += ", mostly " + r.Dominant
	}
	if r.Reset {
		text += ", a replica restarted"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Gauges)) {
		text += fmt.Sprintf(", %s %g", name, r.Gauges[name])
	}
	if len(r.Missing) > 0 {
		text += ", nothing from " + strings.Join(r.Missing, ", ")
	}
	return text
}

func (scrape) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "metrics.scrape",
		Summary: "Read the metrics of every replica twice and count requests by status in between.",
		Timeout: 3 * time.Minute,
		Args:    ScrapeArgs{},
		Result:  Scrape{},
	}
}

// Run fails if no replica answered at the end; the result is there all the
// same, and says why.
func (scrape) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	m, err := metricsOf(call, "metrics.scrape")
	if err != nil {
		return nil, err
	}
	args, err := argsOf[ScrapeArgs](call)
	if err != nil {
		return nil, err
	}
	targets, err := m.targets(ctx, args.Color)
	if err != nil {
		return nil, err
	}
	first := m.look(ctx, targets, args)
	timer := time.NewTimer(args.Interval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded {
			return nil, fault.New(fault.Invalid, "The step's timeout ended before the interval of %s was over.", args.Interval).
				Hinted("Give the step a longer timeout.").Because(ctx.Err())
		}
		return nil, fmt.Errorf("scrape: %w", ctx.Err())
	}
	second := m.look(ctx, targets, args)
	if err := ctx.Err(); err != nil {
		return nil, explain(targets[0].name, "its metrics", err)
	}
	r := compare(targets, first, second)
	for _, p := range r.Replicas {
		if p.Problem != "" {
			fmt.Fprintf(out, "%s: %s\n", p.Address, p.Problem)
		}
	}
	fmt.Fprintln(out, r.Found())
	if !slices.ContainsFunc(second, func(l look) bool { return l.err == nil }) {
		return r, fault.New(fault.Unavailable, "No replica has told its metrics.").Hinted("%s: %s", r.Replicas[0].Address, r.Replicas[0].Problem)
	}
	return r, nil
}

// A look is what one replica said, or why it did not.
type look struct {
	reading
	at  time.Time
	err error
}

// look scrapes all targets at once.
func (m *Metrics) look(ctx context.Context, targets []target, args *ScrapeArgs) []look {
	looks := make([]look, len(targets))
	var g errgroup.Group
	g.SetLimit(8)
	for i, t := range targets {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			families, err := m.fetch(ctx, t)
			looks[i] = look{at: time.Now(), err: err}
			if err == nil {
				looks[i].reading = args.read(families)
			}
			return nil
		})
	}
	_ = g.Wait()
	return looks
}

// compare makes the result of two looks at each target.
func compare(targets []target, first, second []look) Scrape {
	r := Scrape{Rate: map[string]float64{}, Gauges: map[string]float64{}, Replicas: []Replica{}, Missing: []string{}}
	total := map[string]float64{}
	var times histogram
	known, alike := false, true
	for i, t := range targets {
		a, b := first[i], second[i]
		p := Replica{Address: t.name}
		counts, reset, err := map[string]float64(nil), false, cmp.Or(b.err, a.err)
		if err == nil {
			counts, reset, err = since(a.reading, b.reading)
		}
		if err == nil {
			for name, v := range b.gauges {
				r.Gauges[name] += v
			}
		}
		switch {
		case err == errOtherProcess:
			p.Problem = err.Error()
		case err != nil:
			p.Problem = fault.Say(err)
		case counts == nil:
			p.Problem = "it has no such counter"
		default:
			known = true
			seconds := b.at.Sub(a.at).Seconds()
			for status, n := range counts {
				total[status] += n
				r.Rate[status] += n / seconds
			}
			p.Requests, p.Ratio5xx = share(counts)
			p.Reset, r.Reset = reset, r.Reset || reset
			took := b.times
			if !reset {
				took = took.since(a.times)
			}
			if took != nil && !times.merge(took) {
				alike = false
			}
		}
		if p.Problem != "" {
			r.Missing = append(r.Missing, p.Address)
		}
		r.Replicas = append(r.Replicas, p)
	}
	if known {
		r.Requests, r.Ratio5xx = share(total)
	}
	if p95 := times.quantile(0.95); alike && p95 != nil {
		ms := *p95 * 1000
		r.P95 = &ms
	}
	for _, status := range slices.Sorted(maps.Keys(total)) {
		if class(status) >= 4 && total[status] > total[r.Dominant] {
			r.Dominant = status
		}
	}
	return r
}

// share adds requests up, and says which part of those with a status were 5xx.
func share(counts map[string]float64) (requests, ratio5xx *float64) {
	var all, classed, failed float64
	for status, n := range counts {
		all += n
		switch class(status) {
		case 0:
			continue
		case 5:
			failed += n
		}
		classed += n
	}
	if classed > 0 {
		ratio := failed / classed
		ratio5xx = &ratio
	}
	return &all, ratio5xx
}
