package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// followEvery is how often a terminal looks at the run it follows. The answer
// comes from the same machine.
const followEvery = 150 * time.Millisecond

func newRun(c *common) *cobra.Command {
	var env string
	var dry, yes bool
	cmd := &cobra.Command{
		Use:   "run NAME [key=value …]",
		Short: "Run a runbook here, with prompts; Slack is not needed",
		Long: `Run a runbook in this terminal. Questions to the person who starts it are
asked here; a review needs a second person:

  the buttons in Slack         where opsbot is connected
  opsbot runs approve RUN      from an account that may reach the database:
                               with SQLite its owner's and root's, with
                               PostgreSQL everybody's who has access

With an SQLite database this works through the opsbot that owns it, if one
runs, and else owns it for as long as the run takes.

Exit code: 0 the run succeeded, 1 it failed or was canceled, 2 wrong usage,
3 something needed could not be reached.`,
		Args: args(cobra.MinimumNArgs(1), "NAME [key=value …]"),
		RunE: func(cmd *cobra.Command, given []string) error {
			params, err := parseParams(given[1:])
			if err != nil {
				return err
			}
			return c.atDesk(cmd.Context(), true, func(ctx context.Context, d desk) error {
				term := newTerminal(c, d, yes)
				return term.start(ctx, startOrder{Runbook: given[0], Environment: env, Params: params, DryRun: dry, Key: "terminal:" + uuid.NewString()})
			})
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment to run on (default: the only one, or the default one)")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "read for real, show everything else resolved, change nothing")
	cmd.Flags().BoolVar(&yes, "yes-to-confirm", false, "answer plain confirms of change steps with yes; nothing else")
	return cmd
}

// parseParams reads key=value arguments.
func parseParams(given []string) (map[string]string, error) {
	params := map[string]string{}
	for _, arg := range given {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usage("%q is not key=value", arg)
		}
		if _, twice := params[key]; twice {
			return nil, usage("%s is given twice", key)
		}
		params[key] = value
	}
	return params, nil
}

// A terminal is one person at one desk, following one run.
type terminal struct {
	std  Streams
	desk desk
	con  *console
	yes  bool
	hint string // flags another terminal needs to find the same database
}

func newTerminal(c *common, d desk, yes bool) *terminal {
	t := &terminal{std: c.std, desk: d, con: newConsole(c.std.In, c.std.Err), yes: yes}
	if c.file != "" {
		t.hint += " --config " + c.file
	}
	if c.database != "" {
		t.hint += " --database " + c.database
	}
	return t
}

// start begins a run and follows it to its end.
func (t *terminal) start(ctx context.Context, order startOrder) error {
	for {
		run, err := t.desk.Start(ctx, order)
		var params *engine.ParamsError
		if errors.As(err, &params) {
			if err := t.complete(ctx, &order, params.Problems); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return t.follow(ctx, run.ID)
	}
}

// complete asks for parameters that are missing. One that is wrong was given
// on purpose: that is for the person to correct.
func (t *terminal) complete(ctx context.Context, order *startOrder, problems []runbooks.ParamProblem) error {
	for _, p := range problems {
		if !p.Missing {
			return usage("%s: %s", p.Name, p.Message)
		}
	}
	for _, p := range problems {
		value, err := t.con.prompt(ctx, fmt.Sprintf("%s (%s):", p.Name, p.Message))
		if err != nil || value == "" {
			return usage("%s: %s. Give it as %s=…", p.Name, p.Message, p.Name)
		}
		order.Params[p.Name] = value
	}
	return nil
}

// follow shows a run until it has ended, and asks what its person must answer.
func (t *terminal) follow(ctx context.Context, ref string) error {
	me, _ := t.desk.Whoami(ctx)
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		view, err := t.desk.View(ctx, ref)
		if err != nil {
			return err
		}
		run := view.Run
		t.con.card(view.Card)
		if run.State.Ended() {
			return t.ended(view)
		}
		for _, ask := range view.Asks {
			if ask.State != string(engine.Open) {
				continue
			}
			if !mayAnswer(run, ask, me) {
				t.con.once("wait "+ask.Approval, t.waitingFor(ask))
				continue
			}
			t.con.showAsk(ask)
			if err := t.answer(ctx, run.ID, ask); err != nil {
				return t.left(ctx, run, err)
			}
		}
		select {
		case <-ctx.Done():
			return t.left(ctx, run, ctx.Err())
		case <-ticker.C:
		}
	}
}

// mayAnswer reports whether the question is for this person. The engine
// decides again when the answer comes.
func mayAnswer(run *engine.Run, ask outbox.Ask, me access.Actor) bool {
	return ask.Kind != string(engine.Review) && me.Same(run.Starter)
}

func (t *terminal) waitingFor(ask outbox.Ask) string {
	who := strings.Join(append(append([]string{}, ask.Groups...), ask.Users...), " or ")
	return fmt.Sprintf("\n  %s\n    Waiting for %s, not for the starter, until %s (%d of %d approvals).\n    From another person's terminal, or with the buttons in Slack:\n      opsbot runs approve R%d%s",
		ask.Question, who, ask.Expires.UTC().Format("15:04 UTC"), approvals(ask), ask.Needed, ask.Number, t.hint)
}

// answer asks one question and passes the answer on. The question is given up
// when it has been decided elsewhere meanwhile.
func (t *terminal) answer(ctx context.Context, run string, ask outbox.Ask) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go t.watchDecision(ctx, cancel, run, ask.Approval)

	ballot, err := t.ballot(ctx, ask)
	if errors.Is(err, errDecidedElsewhere) {
		t.con.say("  It has been decided elsewhere.")
		return nil
	}
	if err != nil || ballot == nil {
		return err
	}
	ballot.Key = "terminal:" + uuid.NewString()
	if _, err := t.desk.Vote(context.WithoutCancel(ctx), ask.Approval, *ballot); err != nil {
		t.con.say("  %s", describe(err))
	}
	return nil
}

var errDecidedElsewhere = errors.New("decided elsewhere")

func (t *terminal) watchDecision(ctx context.Context, decided context.CancelCauseFunc, run, approval string) {
	ticker := time.NewTicker(2 * followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		view, err := t.desk.View(ctx, run)
		if err != nil {
			continue
		}
		open := func(a outbox.Ask) bool { return a.Approval == approval && a.State == string(engine.Open) }
		if !slices.ContainsFunc(view.Asks, open) {
			decided(errDecidedElsewhere)
			return
		}
	}
}

// ballot asks for the answer to a question; nil is "not yet".
func (t *terminal) ballot(ctx context.Context, ask outbox.Ask) (*engine.Ballot, error) {
	switch engine.ApprovalKind(ask.Kind) {
	case engine.Confirm:
		return t.confirm(ctx, ask)
	case engine.Manual:
		return t.manual(ctx, ask)
	default:
		choice, err := t.con.choose(ctx, ask.Choices)
		if err != nil || choice == nil {
			return nil, err
		}
		ballot := &engine.Ballot{Decision: choice.ID}
		if choice.Reason {
			ballot.Reason, err = t.con.prompt(ctx, "  Why?")
		}
		return ballot, err
	}
}

func (t *terminal) confirm(ctx context.Context, ask outbox.Ask) (*engine.Ballot, error) {
	if ask.Type != "" {
		typed, err := t.con.prompt(ctx, fmt.Sprintf("  Type %q to confirm, or press Enter to cancel:", ask.Type))
		switch {
		case err != nil:
			return nil, err
		case typed == "":
			return &engine.Ballot{Decision: "cancel"}, nil
		}
		return &engine.Ballot{Decision: "confirm", Typed: typed}, nil
	}
	if t.yes && ask.Effect == "change" {
		t.con.say("  Confirmed by --yes-to-confirm.")
		return &engine.Ballot{Decision: "confirm"}, nil
	}
	yes, err := t.con.yes(ctx, "  Go on?")
	if err != nil {
		return nil, err
	}
	if !yes {
		return &engine.Ballot{Decision: "cancel"}, nil
	}
	return &engine.Ballot{Decision: "confirm"}, nil
}

func (t *terminal) manual(ctx context.Context, ask outbox.Ask) (*engine.Ballot, error) {
	ballot := &engine.Ballot{Decision: "done", Fields: map[string]string{}}
	for _, f := range ask.Fields {
		label := f.Label
		if f.Help != "" {
			label += " (" + f.Help + ")"
		}
		value, err := t.con.prompt(ctx, "  "+label+":")
		if err != nil {
			return nil, err
		}
		if value == "" {
			value = f.Default
		}
		ballot.Fields[f.Name] = value
	}
	yes, err := t.con.yes(ctx, "  Done?")
	if err != nil || !yes {
		return nil, err
	}
	return ballot, nil
}

// ended says how it went; the report is the command's data.
func (t *terminal) ended(view *engine.View) error {
	run := view.Run
	if view.Report != nil {
		fmt.Fprintf(t.std.Out, "%s\n", plain(view.Report.BodyMarkup))
	}
	t.con.say("R%d %s: %s", run.Number, run.State, run.Outcome)
	if run.State != engine.Succeeded {
		return exit{code: exitFailed}
	}
	return nil
}

// left says what becomes of a run whose terminal goes away.
func (t *terminal) left(_ context.Context, run *engine.Run, err error) error {
	t.con.say("\nR%d is not finished; it waits where it is. Go on with:\n    opsbot runs attach R%d%s", run.Number, run.Number, t.hint)
	if errors.Is(err, context.Canceled) || errors.Is(err, errNoAnswer) {
		return exit{code: exitFailed}
	}
	return err
}

// plain takes Slack's markup out of a report.
func plain(markup string) string {
	return strings.NewReplacer("*", "", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(markup)
}
