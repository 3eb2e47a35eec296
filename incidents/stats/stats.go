// Package stats measures incidents: how long it took until somebody noticed,
// took command, eased it and ended it, and what of that was waiting.
//
// Times that nobody knows count nowhere; nothing is made up. Canceled and
// merged incidents and exercises are left out.
package stats

import (
	"math"
	"slices"
	"time"
)

// A Record is what is measured of one incident. Zero times are unknown.
type Record struct {
	Ref          string // INC-7
	Severity     string // SEV1, SEV2, SEV3 or SEV?
	Started      time.Time
	Detected     time.Time
	Declared     time.Time
	Acknowledged time.Time
	Mitigated    time.Time
	Resolved     time.Time
	Approvals    time.Duration // its runs waited for people to agree, in sum
	Excluded     bool          // canceled, merged, or an exercise
}

// A Measure is one of the lengths of time.
type Measure string

const (
	Detect      Measure = "ttd"       // from its start until it was noticed
	Acknowledge Measure = "tta"       // from the declaration until a commander accepted
	Mitigate    Measure = "ttm"       // from its start until it was eased
	Resolve     Measure = "ttr"       // from its start until it was resolved
	Approval    Measure = "approvals" // its runs waited for approval
)

// Measures are all of them, in the order in which people read them.
var Measures = []Measure{Detect, Acknowledge, Mitigate, Resolve, Approval}

// Word says a measure for people.
func (m Measure) Word() string {
	switch m {
	case Detect:
		return "Time to detect (TTD)"
	case Acknowledge:
		return "Time to acknowledge (TTA)"
	case Mitigate:
		return "Time to mitigate (TTM)"
	case Resolve:
		return "Time to resolve (TTR)"
	}
	return "Waiting for approval"
}

// Short is the word where there is little room.
func (m Measure) Short() string {
	if m == Approval {
		return "Approval"
	}
	return map[Measure]string{Detect: "TTD", Acknowledge: "TTA", Mitigate: "TTM", Resolve: "TTR"}[m]
}

// Of returns the measure of one incident. ok is false where a time is unknown,
// or one lies before the other.
func (r Record) Of(m Measure) (d time.Duration, ok bool) {
	span := func(from, to time.Time) (time.Duration, bool) {
		if from.IsZero() || to.IsZero() || to.Before(from) {
			return 0, false
		}
		return to.Sub(from), true
	}
	switch m {
	case Detect:
		return span(r.Started, r.Detected)
	case Acknowledge:
		return span(r.Declared, r.Acknowledged)
	case Mitigate:
		return span(r.begin(), r.Mitigated)
	case Resolve:
		return span(r.begin(), r.Resolved)
	case Approval:
		return r.Approvals, !r.Resolved.IsZero()
	}
	return 0, false
}

// begin is when it began, or the first that is known of it: then what is
// measured from there is at least that long.
func (r Record) begin() time.Time {
	for _, t := range []time.Time{r.Started, r.Detected, r.Declared} {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// A Figure sums up one measure of several incidents.
type Figure struct {
	Count   int // incidents for which it is known; 0: the rest is 0
	Mean    time.Duration
	Median  time.Duration
	Longest time.Duration
	// AtLeast is how many of them are measured from when they were noticed or
	// declared, because nobody said when they began.
	AtLeast int
}

// A Row is the figures of one severity.
type Row struct {
	Severity  string // "": all of them
	Incidents int
	Figures   map[Measure]Figure
}

// A Table is the figures of all incidents: a Row for each severity that occurs,
// the worst first, then one for all.
type Table struct {
	Rows     []Row
	Excluded int // incidents that were left out
}

// order is how severities are read. What nobody assessed counts as a severity
// of its own, at the end.
var order = []string{"SEV1", "SEV2", "SEV3", "SEV?"}

// Summarize computes the table.
func Summarize(records []Record) Table {
	var t Table
	var counted []Record
	for _, r := range records {
		if r.Excluded {
			t.Excluded++
			continue
		}
		counted = append(counted, r)
	}
	for _, severity := range order {
		var of []Record
		for _, r := range counted {
			if r.Severity == severity {
				of = append(of, r)
			}
		}
		if len(of) > 0 {
			t.Rows = append(t.Rows, row(severity, of))
		}
	}
	t.Rows = append(t.Rows, row("", counted))
	return t
}

// All is the row of all incidents.
func (t Table) All() Row { return t.Rows[len(t.Rows)-1] }

func row(severity string, records []Record) Row {
	out := Row{Severity: severity, Incidents: len(records), Figures: map[Measure]Figure{}}
	for _, m := range Measures {
		var f Figure
		var all []time.Duration
		for _, r := range records {
			d, ok := r.Of(m)
			if !ok {
				continue
			}
			all = append(all, d)
			if (m == Mitigate || m == Resolve) && r.Started.IsZero() {
				f.AtLeast++
			}
		}
		if f.Count = len(all); f.Count > 0 {
			f.Mean, f.Median, f.Longest = mean(all), median(all), slices.Max(all)
		}
		out.Figures[m] = f
	}
	return out
}

func mean(all []time.Duration) time.Duration {
	var sum float64 // a sum of durations might not fit
	for _, d := range all {
		sum += float64(d)
	}
	return time.Duration(min(sum/float64(len(all)), math.MaxInt64/2))
}

// median is the middle one, or half-way between the two in the middle.
func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	low, high := sorted[n/2-1], sorted[n/2]
	return low + (high-low)/2
}
