package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// schedule says what runs by the clock, when next, and what came of it last.
func (r *Router) schedule(ctx context.Context) (outbox.Answer, error) {
	a := outbox.Answer{Title: "Schedule"}
	table, err := r.Runs.Timetable(ctx)
	if err != nil {
		return a, err
	}
	for _, t := range table {
		title := t.Title
		if t.Environment != "" {
			title += " on " + t.Environment
		}
		item := outbox.Item{Name: title, Detail: timing(t, r.now())}
		if t.Last != nil && t.Last.Run != "" {
			item.Command, item.Label = Command{Verb: verbStatus, Run: fmt.Sprint("R", t.Last.Number)}.Line(), "Show"
		}
		a.Items = append(a.Items, item)
	}
	if len(table) == 0 {
		a.Text = "No runbook has a schedule."
	}
	return a, nil
}

// timing says when a schedule fires next and what came of it last.
func timing(t engine.Timing, now time.Time) string {
	next := "It does not come again"
	if !t.Next.IsZero() {
		next = "Next on " + inZone(t.Next, t.TZ) + ", in " + ago(t.Next.Sub(now))
	}
	parts := []string{next + " (" + t.Cron + ", " + t.TZ + ")."}
	if !t.Kept {
		parts = append(parts, "It is not on record yet: only opsbot serve starts it.")
	}
	if t.Problem != "" {
		parts = append(parts, "A start would be refused: "+sentence(t.Problem))
	}
	if t.Last == nil {
		return strings.Join(append(parts, "It has not fired yet."), " ")
	}
	return strings.Join(append(parts, "Last on "+inZone(t.Last.At, t.TZ)+": "+lastOutcome(t.Last)), " ")
}

// lastOutcome says what came of a firing.
func lastOutcome(f *engine.Firing) string {
	switch {
	case f.Run == "":
		return sentence(f.Outcome)
	case !f.State.Ended():
		return fmt.Sprintf("R%d, which has not ended.", f.Number)
	}
	said := map[engine.State]string{engine.Succeeded: "succeeded", engine.Failed: "failed", engine.Canceled: "was stopped"}[f.State]
	if f.Verdict != "" && f.Verdict != "pass" {
		said += ", verdict " + string(f.Verdict)
	}
	return fmt.Sprintf("R%d, which %s.", f.Number, said)
}

// inZone is a time by the clock of a zone.
func inZone(t time.Time, zone string) string {
	if loc, err := time.LoadLocation(zone); err == nil {
		t = t.In(loc)
	}
	return t.Format("Mon 2 Jan 15:04 MST")
}
