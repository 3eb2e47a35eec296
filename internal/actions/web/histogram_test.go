package web

import (
	"math"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	for _, c := range []struct {
		name string
		h    histogram
		want float64 // seconds; below 0: no data
	}{
		{"within a bucket", histogram{0.1: 90, 0.2: 100, inf: 100}, 0.15},
		{"in the first bucket", histogram{0.1: 100, inf: 100}, 0.095},
		{"at a bound", histogram{0.1: 95, 0.2: 100, inf: 100}, 0.1},
		{"over an empty bucket", histogram{0.1: 90, 0.2: 90, 0.4: 100, inf: 100}, 0.3},
		{"beyond the last bound", histogram{0.1: 50, 0.2: 60, inf: 100}, 0.2},
		{"one request", histogram{0.1: 0, 0.2: 1, inf: 1}, 0.195},
		{"bounds below zero", histogram{-1: 100, 1: 100, inf: 100}, -1},
		{"no requests", histogram{0.1: 0, inf: 0}, -2},
		{"no buckets", histogram{inf: 7}, -2},
		{"none", nil, -2},
		{"counts that are none", histogram{0.1: 5, inf: inf}, -2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.h.quantile(0.95)
			if c.want == -2 {
				if got != nil {
					t.Errorf("quantile() = %v, want no data", *got)
				}
				return
			}
			if got == nil || math.Abs(*got-c.want) > 1e-9 {
				t.Errorf("quantile() = %v, want %v", got, c.want)
			}
		})
	}
}

// The times of the window count, not those since the start; a replica that
// restarted has only those since; replicas with other bounds do not add up.
func TestCompareTimes(t *testing.T) {
	t.Parallel()
	now, inf := time.Now(), math.Inf(1)
	targets := []target{{name: "a:1"}, {name: "b:1"}}
	one := func(started, n float64, h histogram, after time.Duration) look {
		return look{reading: reading{started: &started, counts: map[string]float64{"200": n}, times: h}, at: now.Add(after)}
	}
	slow := histogram{0.1: 0, 0.2: 1000, inf: 1000}
	first := []look{one(1, 1000, slow, 0), one(1, 1000, slow, 0)}
	for _, c := range []struct {
		name string
		last look // of the second replica
		want float64
		said string
	}{
		{"both", one(1, 1100, histogram{0.1: 100, 0.2: 1100, inf: 1100}, time.Second), 95, "0.0 % 5xx of 200 requests, p95 95 ms"},
		{"restarted", one(2, 100, histogram{0.1: 0, 0.2: 100, inf: 100}, time.Second), 190, "0.0 % 5xx of 200 requests, p95 190 ms, a replica restarted"},
		{"other bounds", one(2, 100, histogram{0.5: 100, inf: 100}, time.Second), 0, "0.0 % 5xx of 200 requests, a replica restarted"},
		{"no histogram", one(1, 1100, nil, time.Second), 95, "0.0 % 5xx of 200 requests, p95 95 ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := compare(targets, first, []look{one(1, 1100, histogram{0.1: 100, 0.2: 1100, inf: 1100}, time.Second), c.last})
			if r.Found() != c.said || (r.P95 == nil) != (c.want == 0) || r.P95 != nil && math.Abs(*r.P95-c.want) > 1e-6 {
				t.Errorf("p95 %v, want %v: %s", r.P95, c.want, r.Found())
			}
		})
	}
}
