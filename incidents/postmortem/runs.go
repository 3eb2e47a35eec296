package postmortem

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"opsbot/incidents/stats"
)

// A Run is a run that belonged to the incident.
type Run struct {
	Number    int64
	Title     string
	Where     string // environment
	Starter   string // name
	Reviewers []string
	Outcome   string // how it ended
	Started   time.Time
	Ended     time.Time     // zero: it goes on
	Planned   time.Duration // what its runbook estimates; 0: it does not
	Waited    time.Duration // for people to agree
	Steps     []Step
}

// A Step is one step of a run.
type Step struct {
	ID      string
	Title   string
	Outcome string // done, failed, skipped …
	Found   string
	Ended   time.Time // zero: it did not
	Took    time.Duration
	Tries   int
}

// deltas are what the runbooks' own plans say about the runs.
func (w *writer) deltas() {
	var lines []string
	for _, r := range w.Runs {
		title := fmt.Sprintf("- R%d %s", r.Number, escape(r.Title))
		if took := r.took(); r.Planned > 0 && took > r.Planned+r.Planned/4 {
			waited := ""
			if r.Waited >= time.Second {
				waited = fmt.Sprintf(", %s of them waiting for approval", span(r.Waited))
			}
			lines = append(lines, fmt.Sprintf("%s took %s%s; %s were planned.", title, span(took), waited, span(r.Planned)))
		}
		for _, s := range r.Steps {
			if s.Outcome == "skipped" {
				lines = append(lines, fmt.Sprintf("%s: step `%s` was left out.", title, s.ID))
			}
			if s.Tries > 1 {
				lines = append(lines, fmt.Sprintf("%s: step `%s` was tried %d times.", title, s.ID, s.Tries))
			}
		}
	}
	if len(lines) > 0 {
		w.line("%s", record)
		w.line("")
		w.line("%s", strings.Join(lines, "\n"))
		w.line("")
	}
}

// took is how long a run went on; 0 while it does.
func (r Run) took() time.Duration {
	if r.Ended.IsZero() {
		return 0
	}
	return r.Ended.Sub(r.Started)
}

func (w *writer) runs() {
	w.line("## Runs")
	w.line("")
	if len(w.Runs) == 0 {
		w.line("No runbook was run.")
		w.line("")
		return
	}
	w.line("| Run | Runbook | Where | Started by | Reviewed by | Planned | Took | Waited for approval | Outcome |")
	w.line("|-|-|-|-|-|-|-|-|-|")
	for _, r := range w.Runs {
		took, planned, reviewers, waited := "goes on", "–", "–", "–"
		if !r.Ended.IsZero() {
			took = span(r.took())
		}
		if r.Waited >= time.Second {
			waited = span(r.Waited)
		}
		if r.Planned > 0 {
			planned = stats.Span(r.Planned)
		}
		if len(r.Reviewers) > 0 {
			reviewers = cell(strings.Join(r.Reviewers, ", "))
		}
		w.line("| R%d | %s | %s | %s | %s | %s | %s | %s | %s |", r.Number, cell(r.Title), cell(r.Where), cell(r.Starter), reviewers, planned, took, waited, cell(r.Outcome))
	}
	w.line("")
	for _, r := range w.Runs {
		if len(r.Steps) == 0 {
			continue
		}
		w.line("### R%d %s", r.Number, escape(r.Title))
		w.line("")
		w.line("| Step | Ended | Took | Outcome | Found |")
		w.line("|-|-|-|-|-|")
		for _, s := range r.Steps {
			ended, took := "–", "–"
			if !s.Ended.IsZero() {
				ended, took = s.Ended.UTC().Format("15:04"), span(s.Took)
			}
			w.line("| %s | %s | %s | %s | %s |", cell(cmp.Or(s.Title, s.ID)), ended, took, cell(s.Outcome), cell(clip(s.Found, 200)))
		}
		w.line("")
	}
}

func (w *writer) waited() (sum time.Duration) {
	for _, r := range w.Runs {
		sum += r.Waited
	}
	return sum
}
