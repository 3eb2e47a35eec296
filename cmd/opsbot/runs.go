package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

func newRuns(c *common) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List, show and steer the runs in the database",
		Args:  args(cobra.NoArgs, "[list|show|attach|stop|pause|resume|skip|retry|approve|deny]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				return listRuns(ctx, c.std, d, engine.Query{}, output)
			})
		},
	}
	cmd.PersistentFlags().StringVar(&output, "output", "text", "text or json")
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return textOrJSON(output) }

	var query engine.Query
	list := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: args(cobra.NoArgs, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				return listRuns(ctx, c.std, d, query, output)
			})
		},
	}
	list.Flags().StringVar(&query.Runbook, "runbook", "", "only this runbook")
	list.Flags().StringVar(&query.Environment, "env", "", "only on this environment")
	list.Flags().BoolVar(&query.Unended, "open", false, "only those that have not ended")
	list.Flags().IntVar(&query.Limit, "limit", 20, "at most so many (1 to 200)")

	cmd.AddCommand(list,
		c.onRun("show RUN [STEP]", "Show a run: its steps, questions and result; or all that a step wrote", false, func(ctx context.Context, d desk, given []string) error {
			switch len(given) {
			case 1:
				return showRun(ctx, c.std, d, given[0], output)
			case 2:
				return showOutput(ctx, c.std, d, given[0], given[1], output)
			}
			return usage("one run and one step. Usage: opsbot runs show RUN [STEP]")
		}),
		c.onRun("attach RUN", "Follow a run in this terminal, with its questions", true, func(ctx context.Context, d desk, given []string) error {
			return newTerminal(c, d, false).follow(ctx, given[0])
		}),
		c.onRun("approve RUN", "Show what a run asks to approve, and approve it", true, func(ctx context.Context, d desk, given []string) error {
			return newTerminal(c, d, false).review(ctx, given[0], true, "")
		}),
		c.onRun("deny RUN WHY …", "Deny what a run asks to approve", true, func(ctx context.Context, d desk, given []string) error {
			why := strings.Join(given[1:], " ")
			if why == "" {
				return usage("a denial needs a reason: opsbot runs deny %s WHY", given[0])
			}
			return newTerminal(c, d, false).review(ctx, given[0], false, why)
		}),
	)
	for _, verb := range []struct{ name, usage, short string }{
		{"stop", "stop RUN [WHY …]", "Stop a run; its cleanup still runs"},
		{"pause", "pause RUN [WHY …]", "Start no further step until resumed"},
		{"resume", "resume RUN [WHY …]", "Go on after a pause"},
		{"skip", "skip RUN STEP [WHY …]", "Skip a step that has failed or waits"},
		{"retry", "retry RUN STEP [WHY …]", "Try a failed read step again"},
	} {
		cmd.AddCommand(c.onRun(verb.usage, verb.short, true, func(ctx context.Context, d desk, given []string) error {
			order, rest := controlOrder{Verb: verb.name, Run: given[0]}, given[1:]
			if verb.name == "skip" || verb.name == "retry" {
				if len(rest) == 0 {
					return usage("which step? Usage: opsbot runs %s", verb.usage)
				}
				order.Step, rest = rest[0], rest[1:]
			}
			order.Why = strings.Join(rest, " ")
			run, err := d.Control(ctx, order)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.std.Err, "R%d %s\n", run.Number, run.State)
			return nil
		}))
	}
	return cmd
}

// onRun is a verb on one run.
func (c *common) onRun(usageLine, short string, acts bool, do func(context.Context, desk, []string) error) *cobra.Command {
	_, hint, _ := strings.Cut(usageLine, " ")
	check := cobra.ExactArgs(1)
	if strings.Contains(hint, " ") {
		check = cobra.MinimumNArgs(1)
	}
	return &cobra.Command{
		Use: usageLine, Short: short, Args: args(check, hint),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.atDesk(cmd.Context(), acts, func(ctx context.Context, d desk) error { return do(ctx, d, given) })
		},
	}
}

func newLocks(c *common) *cobra.Command {
	return &cobra.Command{
		Use: "locks", Short: "List the held locks: who holds what since when", Args: args(cobra.NoArgs, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				locks, err := d.Locks(ctx)
				if err != nil {
					return err
				}
				return table(c.std.Out, "LOCK\tRUN\tSTARTER\tSINCE", len(locks), func(i int) string {
					return fmt.Sprintf("%s\tR%d\t%s\t%s", locks[i].Key, locks[i].Number, locks[i].By(), stamp(locks[i].Since))
				})
			})
		},
	}
}

// A runLine is a run as --output json shows it in a list.
type runLine struct {
	ID          string    `json:"id"`
	Number      int64     `json:"number"`
	Runbook     string    `json:"runbook"`
	Environment string    `json:"environment"`
	State       string    `json:"state"`
	Verdict     string    `json:"verdict,omitempty"`
	Starter     string    `json:"starter"`
	Created     time.Time `json:"created"`
	Ended       time.Time `json:"ended,omitzero"`
	Outcome     string    `json:"outcome,omitempty"`
}

func lineOf(r *engine.Run) runLine {
	return runLine{r.ID, r.Number, r.Runbook, r.Environment, string(r.State), string(r.Verdict), r.Starter.ID, r.Created.UTC(), r.Ended.UTC(), r.Outcome}
}

func listRuns(ctx context.Context, std Streams, d desk, q engine.Query, output string) error {
	runs, err := d.List(ctx, q)
	if err != nil {
		return err
	}
	if output == "json" {
		lines := make([]runLine, len(runs))
		for i, r := range runs {
			lines[i] = lineOf(r)
		}
		return writeJSON(std.Out, lines)
	}
	return table(std.Out, "RUN\tRUNBOOK\tENVIRONMENT\tSTATE\tVERDICT\tSTARTED BY\tAT", len(runs), func(i int) string {
		r := runs[i]
		return fmt.Sprintf("R%d\t%s\t%s\t%s\t%s\t%s\t%s", r.Number, r.Runbook, r.Environment, r.State, r.Verdict, r.Starter.ID, stamp(r.Created))
	})
}

func showRun(ctx context.Context, std Streams, d desk, ref, output string) error {
	view, err := d.View(ctx, ref)
	if err != nil {
		return err
	}
	run := view.Run
	if output == "json" {
		return writeJSON(std.Out, struct {
			runLine
			Card   outbox.RunCard `json:"card"`
			Asks   []outbox.Ask   `json:"asks"`
			Report string         `json:"report,omitempty"`
		}{lineOf(run), view.Card, view.Asks, reportText(view)})
	}
	con := newConsole(strings.NewReader(""), std.Out)
	con.card(view.Card)
	for _, a := range view.Asks {
		if a.State == string(engine.Open) {
			con.showAsk(a)
		}
	}
	con.say("R%d %s. %s", run.Number, run.State, run.Outcome)
	if text := reportText(view); text != "" {
		con.say("\n%s", text)
	}
	return nil
}

// An attemptLine is one attempt of a step with all that it wrote.
type attemptLine struct {
	Attempt int       `json:"attempt"`
	Item    int       `json:"item,omitempty"`
	For     string    `json:"for"`
	State   string    `json:"state"`
	Status  string    `json:"status,omitempty"`
	At      time.Time `json:"at"`
	Found   string    `json:"found,omitempty"`
	Fault   string    `json:"fault,omitempty"`
	Output  string    `json:"output"`
}

// showOutput writes what every attempt of a step wrote.
func showOutput(ctx context.Context, std Streams, d desk, ref, step, output string) error {
	view, err := d.View(ctx, ref)
	if err != nil {
		return err
	}
	var lines []attemptLine
	for _, a := range view.Run.Attempts {
		if a.Step != step {
			continue
		}
		text, err := d.Output(ctx, view.Run.ID, a.Seq)
		if err != nil {
			return err
		}
		lines = append(lines, attemptLine{a.Number, a.Item, a.Purpose, string(a.State), string(a.Status), a.IntentAt.UTC(), a.Found, a.Fault, text})
	}
	if len(lines) == 0 {
		f := fault.New(fault.NotFound, "R%d has not come to a step %q.", view.Run.Number, step)
		var ids []string
		for _, s := range view.Card.Steps {
			ids = append(ids, s.ID)
		}
		return f.Hinted("Its steps are %s.", strings.Join(ids, ", "))
	}
	if output == "json" {
		return writeJSON(std.Out, lines)
	}
	for _, l := range lines {
		what := fmt.Sprintf("%s, attempt %d", step, l.Attempt)
		if l.Item > 0 {
			what += fmt.Sprintf(" (element %d)", l.Item)
		}
		fmt.Fprintf(std.Err, "%s at %s: %s %s\n", what, stamp(l.At), l.State, l.Status)
		fmt.Fprint(std.Out, l.Output)
		if l.Output != "" && !strings.HasSuffix(l.Output, "\n") {
			fmt.Fprintln(std.Out)
		}
	}
	return nil
}

func reportText(view *engine.View) string {
	if view.Report == nil {
		return ""
	}
	return plain(view.Report.BodyMarkup)
}

// review answers a run's open review as a person other than the starter.
func (t *terminal) review(ctx context.Context, ref string, approve bool, why string) error {
	view, err := t.desk.View(ctx, ref)
	if err != nil {
		return err
	}
	for _, ask := range view.Asks {
		if ask.State != string(engine.Open) || ask.Kind != string(engine.Review) {
			continue
		}
		t.con.showAsk(ask)
		ballot := engine.Ballot{Decision: "deny", Reason: why, Key: "terminal:" + uuid.NewString()}
		if approve {
			want := ask.Digest[:min(6, len(ask.Digest))]
			typed, err := t.con.prompt(ctx, "  To approve exactly this, type the first six characters of the digest:")
			if err != nil {
				return exit{exitFailed, errNoAnswer}
			}
			if typed != want {
				return exit{exitFailed, fmt.Errorf("%q is not the start of the digest; nothing was approved", typed)}
			}
			ballot.Decision = "approve"
		}
		after, err := t.desk.Vote(ctx, ask.Approval, ballot)
		if err != nil {
			return err
		}
		t.con.say("R%d: your answer is on record; the run is %s.", after.Number, after.State)
		return nil
	}
	return fault.New(fault.Conflict, "R%d has no open review.", view.Run.Number)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes a head and n rows of tab-separated cells in columns.
func table(w io.Writer, head string, n int, row func(int) string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, head)
	for i := range n {
		fmt.Fprintln(tw, row(i))
	}
	return tw.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
