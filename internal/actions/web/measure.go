package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"opsbot/runbooks"
)

type measure struct{}

// MeasureArgs are the arguments of http.measure.
type MeasureArgs struct {
	Path        string `arg:"path" url:"path" required:"true" help:"below the connection's address"`
	N           int    `arg:"n" default:"50" min:"1" max:"200" help:"requests that are measured"`
	Concurrency int    `arg:"concurrency" default:"1" min:"1" max:"4" help:"requests at a time"`
	WarmUp      int    `arg:"warmup" default:"3" min:"0" max:"20" help:"requests before, which do not count"`
	Code        int    `arg:"code" default:"200" min:"100" max:"599" help:"the status that counts as an answer"`
	Header      string `arg:"header" pattern:"^[A-Za-z0-9-]{0,60}$" help:"field of the answer whose values are counted, such as X-Instance"`
	Fresh       bool   `arg:"fresh" default:"false" help:"a new connection for each request, as a new client would have"`
}

// A Latency is the result of http.measure. Percentiles are by nearest rank,
// over the answers with the expected status; connections are used again, as a
// browser or client does, unless fresh ones are asked for.
type Latency struct {
	P50    *float64       `json:"p50" help:"milliseconds; no data if nothing answered as expected"`
	P95    *float64       `json:"p95" help:"milliseconds"`
	P99    *float64       `json:"p99" help:"milliseconds"`
	Max    *float64       `json:"max" help:"milliseconds"`
	Failed int            `json:"failed" help:"answered with another status or not at all"`
	Codes  map[string]int `json:"codes" help:"answers by status; none for those that did not come"`
	Seen   map[string]int `json:"seen" help:"answers as expected by the value of the header; none for those without"`
}

// Found says the result in one line.
func (r Latency) Found() string {
	if r.P50 == nil {
		return fmt.Sprintf("no data: all %d requests failed (%s)", r.Failed, codesText(r.Codes))
	}
	text := fmt.Sprintf("p50 %s, p95 %s, p99 %s, slowest %s", msText(r.P50), msText(r.P95), msText(r.P99), msText(r.Max))
	if len(r.Seen) > 0 {
		text += fmt.Sprintf(", answered by %s", codesText(r.Seen))
	}
	if r.Failed > 0 {
		text += fmt.Sprintf(", %d failed (%s)", r.Failed, codesText(r.Codes))
	}
	return text
}

func msText(ms *float64) string {
	if ms == nil {
		return "no data"
	}
	return fmt.Sprintf("%.0f ms", *ms)
}

func codesText(codes map[string]int) string {
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		parts = append(parts, fmt.Sprintf("%s: %d", code, codes[code]))
	}
	return strings.Join(parts, ", ")
}

func (measure) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "http.measure",
		Summary: "Fetch a path many times and say how long it takes.",
		Timeout: time.Minute,
		Args:    MeasureArgs{},
		Result:  Latency{},
	}
}

func (measure) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[MeasureArgs](call)
	if err != nil {
		return nil, err
	}
	req := request{path: args.Path, token: c.token, fresh: args.Fresh}
	for range args.WarmUp {
		if _, err := c.ask(ctx, req); err != nil {
			return nil, err // not even a first answer: there is nothing to measure
		}
	}
	var (
		mu    sync.Mutex
		times []time.Duration
		r     = Latency{Codes: map[string]int{}, Seen: map[string]int{}}
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(args.Concurrency)
	for range args.N {
		g.Go(func() error {
			a, err := c.ask(ctx, req)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && ctx.Err() != nil:
				return err
			case err != nil:
				r.Failed++
				r.Codes["none"]++
			case a.code != args.Code:
				r.Failed++
				r.Codes[strconv.Itoa(a.code)]++
			default:
				r.Codes[strconv.Itoa(a.code)]++
				times = append(times, a.took)
				if args.Header != "" {
					r.Seen[cmp.Or(short(a.header.Get(args.Header)), "none")]++
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(times)
	r.P50, r.P95, r.P99, r.Max = rank(times, 50), rank(times, 95), rank(times, 99), rank(times, 100)
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// rank is the nearest-rank percentile of sorted times, in milliseconds; nil
// for none.
func rank(times []time.Duration, percent int) *float64 {
	if len(times) == 0 {
		return nil
	}
	ms := milliseconds(times[max((len(times)*percent+99)/100, 1)-1])
	return &ms
}
