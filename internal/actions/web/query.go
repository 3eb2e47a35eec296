package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type query struct{}

const (
	// maxSeries is how many series a result has, at most.
	maxSeries = 200
	// maxPoints is how many points a series has, at most.
	maxPoints = 1000
	// points is how many a series has unless the step is given.
	points = 100
)

// QueryArgs are the arguments of prometheus.query.
type QueryArgs struct {
	Name  string        `arg:"name" help:"of a query in the connection's configuration; or give query"`
	Query string        `arg:"query" help:"PromQL"`
	Range time.Duration `arg:"range" default:"0s" min:"0s" max:"2160h" help:"how far to look back; 0s: only now"`
	Step  time.Duration `arg:"step" default:"0s" min:"0s" max:"24h" help:"between two points of the range; 0s: a hundredth of it"`
}

// A Query is the result of prometheus.query.
type Query struct {
	Value    *float64 `json:"value" help:"of the only series, the last one of a range; no data for none, for several and for NaN"`
	Min      *float64 `json:"min" help:"of all series and points"`
	Max      *float64 `json:"max" help:"of all series and points"`
	Series   []Series `json:"series" help:"at most 200"`
	Warnings []string `json:"warnings" help:"what Prometheus had to say about it, and what was left out"`
}

// A Series is one time series.
type Series struct {
	Labels map[string]string `json:"labels"`
	Value  *float64          `json:"value" help:"the last one of a range; no data for NaN"`
	Points []Point           `json:"points" help:"of a range"`
}

// A Point is one value of a series.
type Point struct {
	At    time.Time `json:"at"`
	Value *float64  `json:"value"`
}

// Found says the result in one line.
func (r Query) Found() string {
	var text string
	switch {
	case r.Value != nil:
		text = fmt.Sprintf("%.4g", *r.Value)
	case len(r.Series) == 0:
		text = "no data: nothing matches"
	case r.Min == nil:
		text = "no data: not a number"
	case len(r.Series) == 1:
		text = "no data at the end of the range"
	default:
		text = fmt.Sprintf("%d series", len(r.Series))
	}
	if r.Min != nil && *r.Min != *r.Max {
		text += fmt.Sprintf(", from %.4g to %.4g", *r.Min, *r.Max)
	}
	if len(r.Warnings) > 0 {
		text += " (" + strings.Join(r.Warnings, "; ") + ")"
	}
	return text
}

func (query) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "prometheus.query",
		Summary: "Ask Prometheus for a value, now or over a time.",
		Timeout: 30 * time.Second,
		Args:    QueryArgs{},
		Result:  Query{},
	}
}

func (query) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	m, err := metricsOf(call, "prometheus.query")
	if err != nil {
		return nil, err
	}
	args, err := argsOf[QueryArgs](call)
	if err != nil {
		return nil, err
	}
	text, err := m.text(args)
	if err != nil {
		return nil, err
	}
	var r Query
	if args.Range > 0 {
		r, err = m.askRange(ctx, text, args.Range, args.Step)
	} else {
		r, err = m.ask(ctx, text)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%s\n%s\n", text, r.Found())
	return r, nil
}

// text is the PromQL of a call.
func (m *Metrics) text(args *QueryArgs) (string, error) {
	named, literal := args.Name != "", strings.TrimSpace(args.Query) != ""
	if named == literal {
		return "", fault.New(fault.Invalid, "prometheus.query takes either the name of a query or a query.")
	}
	if literal {
		return args.Query, nil
	}
	text, ok := m.queries[args.Name]
	if !ok {
		err := fault.New(fault.NotFound, "The connection has no query named %s.", short(args.Name))
		if len(m.queries) > 0 {
			err = err.Hinted("It has %s.", strings.Join(slices.Sorted(maps.Keys(m.queries)), ", "))
		}
		return "", err
	}
	return text, nil
}

// ask asks for values now, by Prometheus's clock.
func (m *Metrics) ask(ctx context.Context, text string) (Query, error) {
	value, warnings, infos, err := m.api.Query(ctx, text, time.Time{})
	if err != nil {
		return Query{}, m.explain(err)
	}
	return queried(value, slices.Concat([]string(warnings), []string(infos)))
}

// askRange asks for values over a time that ends now, by Prometheus's clock.
func (m *Metrics) askRange(ctx context.Context, text string, back, step time.Duration) (Query, error) {
	if step == 0 {
		step = max(back/points, time.Second)
	}
	if back/step > maxPoints {
		return Query{}, fault.New(fault.Invalid, "A range of %s in steps of %s has more than %d points.", back, step, maxPoints).
			Hinted("Give a longer step.")
	}
	value, _, _, err := m.api.Query(ctx, "time()", time.Time{})
	if err != nil {
		return Query{}, m.explain(err)
	}
	now, ok := value.(*model.Scalar)
	if !ok {
		return Query{}, fault.New(fault.Unavailable, "Prometheus at %s does not say what time it is.", m.base.Host).Hinted("Check that it is a Prometheus.")
	}
	end := now.Timestamp.Time()
	value, warnings, infos, err := m.api.QueryRange(ctx, text, prometheus.Range{Start: end.Add(-back), End: end, Step: step})
	if err != nil {
		return Query{}, m.explain(err)
	}
	return queried(value, slices.Concat([]string(warnings), []string(infos)))
}

// queried makes a result of what Prometheus answered.
func queried(value model.Value, warnings []string) (Query, error) {
	r := Query{Series: []Series{}, Warnings: []string{}}
	for _, w := range warnings {
		r.Warnings = append(r.Warnings, short(w))
	}
	infinite := false
	number := func(v model.SampleValue) *float64 {
		f := float64(v)
		switch {
		case math.IsInf(f, 0):
			infinite = true
			return nil
		case math.IsNaN(f):
			return nil
		}
		r.Min, r.Max = least(r.Min, f), most(r.Max, f)
		return &f
	}
	switch v := value.(type) {
	case *model.Scalar:
		r.Value = number(v.Value)
	case model.Vector:
		for _, s := range v {
			r.Series = append(r.Series, Series{Labels: labels(s.Metric), Value: number(s.Value), Points: []Point{}})
		}
	case model.Matrix:
		for _, s := range v {
			one := Series{Labels: labels(s.Metric), Points: []Point{}}
			for _, p := range s.Values {
				one.Value = number(p.Value)
				one.Points = append(one.Points, Point{At: p.Timestamp.Time().UTC(), Value: one.Value})
			}
			r.Series = append(r.Series, one)
		}
	default:
		return Query{}, noNumbers()
	}
	if len(r.Series) == 1 {
		r.Value = r.Series[0].Value
	}
	if infinite {
		r.Warnings = append(r.Warnings, "an infinite value counts as no data")
	}
	if left := len(r.Series) - maxSeries; left > 0 {
		r.Series = r.Series[:maxSeries]
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d more series were left out", left))
	}
	return r, nil
}

func noNumbers() error {
	return fault.New(fault.Invalid, "The query has a text as its value, not numbers.")
}

func least(p *float64, f float64) *float64 {
	if p != nil && *p <= f {
		return p
	}
	return &f
}

func most(p *float64, f float64) *float64 {
	if p != nil && *p >= f {
		return p
	}
	return &f
}

func labels(metric model.Metric) map[string]string {
	m := make(map[string]string, len(metric))
	for name, value := range metric {
		m[string(name)] = string(value)
	}
	return m
}

// explain turns an error of Prometheus's client into one that people
// understand.
func (m *Metrics) explain(err error) error {
	var e *prometheus.Error
	host := m.base.Host
	switch {
	case errors.Is(err, errTooLong):
		return fault.New(fault.Conflict, "The answer of Prometheus at %s is longer than %d MiB.", host, maxMetrics>>20).
			Hinted("Ask for fewer series, or add them up.").Because(err)
	case !errors.As(err, &e):
		return explain(host, "a query", err)
	case strings.Contains(e.Msg, "unexpected value type"):
		return noNumbers()
	}
	kind, says := e.Type, short(e.Msg)
	if strings.Contains(e.Detail, `"errorType":"timeout"`) { // of a 503, which the client does not look into
		kind = prometheus.ErrTimeout
	}
	switch kind {
	case prometheus.ErrBadData:
		return fault.New(fault.Invalid, "Prometheus at %s does not understand the query.", host).Hinted("It said: %s", says).Because(err)
	case prometheus.ErrExec:
		return fault.New(fault.Conflict, "Prometheus at %s cannot work out the query.", host).Hinted("It said: %s", says).Because(err)
	case prometheus.ErrTimeout, prometheus.ErrCanceled:
		return fault.New(fault.Unavailable, "Prometheus at %s gave the query up: it took too long.", host).
			Hinted("Ask for a shorter range, or record the expression with a rule.").Because(err)
	case prometheus.ErrClient:
		hint := "Is it a Prometheus, and is the path right?"
		if strings.Contains(e.Msg, "401") || strings.Contains(e.Msg, "403") {
			hint = "Check the token or password of the connection."
		}
		return fault.New(fault.Unavailable, "%s refused the query: %s.", host, says).Hinted("%s", hint).Because(err)
	case prometheus.ErrBadResponse:
		return fault.New(fault.Unavailable, "%s did not answer as a Prometheus does.", host).Hinted("Check the connection's address.").Because(err)
	}
	return fault.New(fault.Unavailable, "Prometheus at %s could not answer: %s.", host, says).Because(err)
}
