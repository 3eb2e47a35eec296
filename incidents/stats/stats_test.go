package stats_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/incidents/stats"
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

// of is an incident with its times in minutes after its start; -1 is unknown.
func of(severity string, detected, declared, acknowledged, mitigated, resolved int) stats.Record {
	r := stats.Record{Severity: severity, Started: start}
	for n, t := range []*time.Time{&r.Detected, &r.Declared, &r.Acknowledged, &r.Mitigated, &r.Resolved} {
		if m := []int{detected, declared, acknowledged, mitigated, resolved}[n]; m >= 0 {
			*t = at(m)
		}
	}
	return r
}

func TestMeasures(t *testing.T) {
	t.Parallel()
	whole := of("SEV1", 3, 5, 7, 40, 65)
	whole.Approvals = 4 * time.Minute
	unknown := whole
	unknown.Started = time.Time{}
	backwards := whole
	backwards.Acknowledged = at(1) // before the declaration
	for name, c := range map[string]struct {
		r    stats.Record
		want [5]int // minutes; -1: unknown
	}{
		"whole":             {whole, [5]int{3, 2, 40, 65, 4}},
		"going on":          {of("SEV2", 3, 5, 7, -1, -1), [5]int{3, 2, -1, -1, -1}},
		"skipped":           {of("SEV2", 0, 5, -1, -1, 20), [5]int{0, -1, -1, 20, 0}},
		"start unknown":     {unknown, [5]int{-1, 2, 37, 62, 4}},
		"a time that's off": {backwards, [5]int{3, -1, 40, 65, 4}},
		"nothing":           {stats.Record{}, [5]int{-1, -1, -1, -1, -1}},
	} {
		for n, m := range stats.Measures {
			got := -1
			if d, ok := c.r.Of(m); ok {
				got = int(d.Minutes())
			}
			if got != c.want[n] {
				t.Errorf("%s: %s = %d min, want %d", name, m, got, c.want[n])
			}
		}
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	late := of("SEV1", 3, 5, 7, 40, 65)
	late.Started = time.Time{}
	drill := of("SEV1", 0, 0, 0, 1, 1)
	drill.Excluded = true
	table := stats.Summarize([]stats.Record{
		of("SEV1", 0, 2, 3, 20, 30), of("SEV1", 10, 12, 16, -1, 100), late, drill, of("SEV3", 0, 0, 30, 45, 60), of("SEV2", 0, 1, -1, -1, -1),
	})
	f := table.Rows[0].Figures[stats.Resolve]
	if f.Count != 3 || f.Median != 62*time.Minute || f.Mean != 64*time.Minute || f.Longest != 100*time.Minute || f.AtLeast != 1 {
		t.Errorf("SEV1's TTR: %+v", f)
	}
	if f := table.Rows[0].Figures[stats.Detect]; f.Count != 2 || f.Median != 5*time.Minute || f.Mean != 5*time.Minute {
		t.Errorf("SEV1's TTD: %+v", f)
	}
	if f := table.Rows[1].Figures[stats.Acknowledge]; f != (stats.Figure{}) {
		t.Errorf("SEV2's TTA: %+v", f)
	}
	if a := table.All(); a.Incidents != 5 || table.Excluded != 1 || a.Figures[stats.Acknowledge].Count != 4 || a.Figures[stats.Acknowledge].Mean != 9*time.Minute+15*time.Second {
		t.Errorf("all: %+v", a)
	}
	got := table.Text()
	wantText := `median (mean) n            SEV1                  SEV2         SEV3               all
Incidents                  3                     1            1                  5
Time to detect (TTD)       5 min (5 min) 2       0 s (0 s) 1  0 s (0 s) 1        0 s (2 min 30 s) 4
Time to acknowledge (TTA)  2 min (2 min 20 s) 3  –            30 min (30 min) 1  3 min (9 min 15 s) 4
Time to mitigate (TTM)     ≥ 29 min (29 min) 2   –            45 min (45 min) 1  ≥ 37 min (34 min) 3
Time to resolve (TTR)      ≥ 1 h 2 min (1 h 4 min) 3  –      1 h (1 h) 1        ≥ 1 h 1 min (1 h 3 min) 4
Waiting for approval       0 s (0 s) 3           –            0 s (0 s) 1        0 s (0 s) 4
≥: of some nobody said when they began; they count from when they were noticed.
Left out: 1 canceled, merged or exercises.
`
	if diff := cmp.Diff(strings.Fields(wantText), strings.Fields(got)); diff != "" {
		t.Errorf("Text() =\n%s\n%s", got, diff)
	}
	var parsed struct {
		Rows []struct {
			Severity string
			Figures  map[string]*struct {
				Count  int
				Median float64 `json:"median_seconds"`
			}
		}
		Excluded int
	}
	if err := json.Unmarshal(table.JSON(), &parsed); err != nil || len(parsed.Rows) != 4 || parsed.Rows[0].Figures["ttr"].Median != 3720 ||
		parsed.Rows[1].Figures["tta"] != nil || parsed.Rows[3].Severity != "all" || parsed.Excluded != 1 {
		t.Errorf("JSON() = %s, %v", table.JSON(), err)
	}
}

func TestNothingToMeasure(t *testing.T) {
	t.Parallel()
	table := stats.Summarize(nil)
	if a := table.All(); a.Incidents != 0 || a.Figures[stats.Resolve].Count != 0 {
		t.Errorf("all: %+v", a)
	}
	if !strings.Contains(table.Text(), "–") {
		t.Errorf("Text() = %s", table.Text())
	}
}

func TestHugeDurations(t *testing.T) {
	t.Parallel()
	r := stats.Record{Severity: "SEV1", Started: time.Unix(0, 0), Resolved: time.Unix(0, 0).Add(math.MaxInt64)}
	if f := stats.Summarize([]stats.Record{r, r, r}).All().Figures[stats.Resolve]; f.Median < 0 || f.Mean < 0 {
		t.Errorf("figure %+v", f)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 59400 * time.Millisecond: "59 s", 59600 * time.Millisecond: "1 min", 150 * time.Second: "2 min 30 s", 29*time.Minute + 40*time.Second: "30 min",
		time.Hour: "1 h", 90 * time.Minute: "1 h 30 min", 47*time.Hour + 59*time.Minute: "47 h 59 min", 60 * time.Hour: "2.5 days",
	} {
		if got := stats.Span(d); got != want {
			t.Errorf("Span(%s) = %q, want %q", d, got, want)
		}
	}
}
