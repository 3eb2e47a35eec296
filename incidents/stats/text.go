package stats

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Span says a length of time for people, in two units at most.
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		if s := d % time.Minute / time.Second; s != 0 && d < 10*time.Minute {
			return fmt.Sprintf("%d min %d s", d/time.Minute, s)
		}
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		if m := d % time.Hour / time.Minute; m != 0 {
			return fmt.Sprintf("%d h %d min", d/time.Hour, m)
		}
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}

// name of a row for people.
func (r Row) name() string {
	if r.Severity == "" {
		return "all"
	}
	return r.Severity
}

// Text is the table for a terminal or a block of code: medians, means in
// brackets, and how many incidents they are of.
func (t Table) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) } // into memory
	head := []string{"median (mean) n"}
	for _, r := range t.Rows {
		head = append(head, r.name())
	}
	row(head...)
	counts := []string{"Incidents"}
	for _, r := range t.Rows {
		counts = append(counts, fmt.Sprint(r.Incidents))
	}
	row(counts...)
	lower := false
	for _, m := range Measures {
		cells := []string{m.Word()}
		for _, r := range t.Rows {
			f := r.Figures[m]
			if f.Count == 0 {
				cells = append(cells, "–")
				continue
			}
			least := ""
			if f.AtLeast > 0 {
				least, lower = "≥ ", true
			}
			cells = append(cells, fmt.Sprintf("%s%s (%s) %d", least, Span(f.Median), Span(f.Mean), f.Count))
		}
		row(cells...)
	}
	_ = w.Flush() // into memory
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for n, l := range lines {
		lines[n] = strings.TrimRight(l, " ")
	}
	out := strings.Join(lines, "\n") + "\n"
	if lower {
		out += "≥: of some nobody said when they began; they count from when they were noticed.\n"
	}
	if t.Excluded > 0 {
		out += fmt.Sprintf("Left out: %d canceled, merged or exercises.\n", t.Excluded)
	}
	return out
}

// JSON is the table for scripts: seconds, null where nothing is known.
func (t Table) JSON() []byte {
	type figure struct {
		Count   int     `json:"count"`
		Mean    float64 `json:"mean_seconds"`
		Median  float64 `json:"median_seconds"`
		Longest float64 `json:"longest_seconds"`
		AtLeast int     `json:"from_declaration"`
	}
	type line struct {
		Severity  string             `json:"severity"`
		Incidents int                `json:"incidents"`
		Figures   map[string]*figure `json:"figures"`
	}
	out := struct {
		Rows     []line `json:"rows"`
		Excluded int    `json:"excluded"`
	}{Rows: []line{}, Excluded: t.Excluded}
	for _, r := range t.Rows {
		l := line{r.name(), r.Incidents, map[string]*figure{}}
		for m, f := range r.Figures {
			if l.Figures[string(m)] = nil; f.Count > 0 {
				l.Figures[string(m)] = &figure{f.Count, f.Mean.Seconds(), f.Median.Seconds(), f.Longest.Seconds(), f.AtLeast}
			}
		}
		out.Rows = append(out.Rows, l)
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		panic("stats: " + err.Error()) // numbers and strings
	}
	return append(data, '\n')
}
