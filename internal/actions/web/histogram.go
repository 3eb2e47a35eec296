package web

import (
	"maps"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// A histogram counts what took at most so many seconds, by the upper bounds of
// its buckets; infinity is one of them and has all. nil: there is none.
type histogram map[float64]float64

// add counts a series of buckets. It reports false, and counts nothing, if they
// have other bounds than those before: what two divisions have in common says
// nothing about a quantile.
func (h *histogram) add(s *dto.Histogram) bool {
	next := histogram{math.Inf(1): float64(s.GetSampleCount())}
	for _, b := range s.Bucket {
		if le := b.GetUpperBound(); !math.IsNaN(le) && !math.IsInf(le, 0) {
			next[le] = float64(b.GetCumulativeCount())
		}
	}
	return h.merge(next)
}

// merge adds the counts of another histogram with the same bounds.
func (h *histogram) merge(other histogram) bool {
	if *h == nil {
		*h = maps.Clone(other)
		return true
	}
	if len(*h) != len(other) {
		return false
	}
	for le := range other {
		if _, ok := (*h)[le]; !ok {
			return false
		}
	}
	for le, n := range other {
		(*h)[le] += n
	}
	return true
}

// since is what was counted after an earlier histogram of the same process.
func (h histogram) since(before histogram) histogram {
	d := maps.Clone(h)
	for le := range d {
		d[le] -= before[le]
	}
	return d
}

// quantile is what a share q of all took at most, in seconds, taken evenly within
// a bucket as Prometheus's histogram_quantile does. What lies beyond the last
// finite bound is told as that bound: it was at least so long. nil: nothing was
// counted, or the counts are none.
func (h histogram) quantile(q float64) *float64 {
	bounds := slices.Sorted(maps.Keys(h))
	if len(bounds) < 2 {
		return nil
	}
	rank := q * h[math.Inf(1)]
	if !(rank > 0) || math.IsInf(rank, 0) {
		return nil
	}
	low, below := 0.0, 0.0
	for _, le := range bounds[:len(bounds)-1] { // all but infinity
		n := h[le]
		if n >= rank && n > below {
			if le <= 0 {
				return &le
			}
			at := low + (le-low)*(rank-below)/(n-below)
			return &at
		}
		low, below = max(0, le), max(below, n)
	}
	return &low
}
