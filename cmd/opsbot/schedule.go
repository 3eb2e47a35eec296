package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"opsbot/runbooks/engine"
)

func newSchedule(c *common) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "schedule", Short: "List what runs by the clock: when next, and what came of it last", Args: args(cobra.NoArgs, "[--output json]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := textOrJSON(output); err != nil {
				return err
			}
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				list, err := d.Timetable(ctx)
				if err != nil {
					return err
				}
				if output == "json" {
					return writeJSON(c.std.Out, append([]engine.Timing{}, list...))
				}
				return table(c.std.Out, "NEXT\tRUNBOOK\tENVIRONMENT\tCRON\tZONE\tLAST", len(list), func(i int) string { return timingRow(list[i]) })
			})
		},
	}
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// textOrJSON refuses any other value of --output.
func textOrJSON(output string) error {
	if output != "text" && output != "json" {
		return usage("--output is text or json, not %q", output)
	}
	return nil
}

func timingRow(t engine.Timing) string {
	zoned := func(at time.Time) string {
		if zone, err := time.LoadLocation(t.TZ); err == nil {
			at = at.In(zone)
		}
		return at.Format("2006-01-02 15:04 MST")
	}
	next := "never"
	if !t.Next.IsZero() {
		next = zoned(t.Next)
	}
	last := "–"
	switch f := t.Last; {
	case f == nil:
	case f.Run == "":
		last = zoned(f.At) + ": " + f.Outcome
	default:
		last = fmt.Sprintf("%s: R%d %s", zoned(f.At), f.Number, f.State)
	}
	if t.Problem != "" {
		last += " (would be refused now: " + t.Problem + ")"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", next, t.Runbook, t.Environment, t.Cron, t.TZ, last)
}
