package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"opsbot/bot"
	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// examineWithin bounds the examination of one connection.
const examineWithin = 30 * time.Second

// A finding is one line of what doctor found.
type finding struct {
	Environment string `json:"environment"`
	Connection  string `json:"connection"`
	Kind        string `json:"kind"`
	Check       string `json:"check"`
	OK          bool   `json:"ok"`
	Says        string `json:"says"`

	code int // exit code that it asks for
}

func newDoctor(c *common) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at every configured system: is it reachable, which one is it, what is missing",
		Long: `Look at every connection of every environment as opsbot would: that its secrets
resolve, and those that runbooks may ask for, that the system answers, which very system it is, and what opsbot
needs there. With Slack's tokens set, also whether the installed app has the
scopes that this version needs; with an app configuration token
(SLACK_CONFIG_TOKEN), also its events, commands and shortcuts. Nothing is
changed.

Exit code: 0 all is well, 1 something would not work, 2 wrong usage,
3 a system could not be reached.`,
		Args: args(cobra.NoArgs, "[--config opsbot.yaml]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usage("--output is text or json, not %q", output)
			}
			cfg, err := c.load()
			if err != nil {
				return err
			}
			return doctor(cmd.Context(), c.std.Out, cfg, output == "json")
		},
	}
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// doctor examines all connections and prints what it found.
func doctor(ctx context.Context, out io.Writer, cfg *config.Config, asJSON bool) error {
	found := examineSlack(ctx, cfg)
	for _, name := range slices.Sorted(maps.Keys(cfg.Environments)) {
		conns := cfg.Environments[name].Connections
		for _, alias := range slices.Sorted(maps.Keys(conns)) {
			for _, f := range examine(ctx, conns, alias) {
				f.Environment, f.Connection, f.Kind = name, alias, conns[alias].Kind()
				found = append(found, f)
			}
		}
		secrets := cfg.SecretsOf(name)
		for _, alias := range slices.Sorted(maps.Keys(secrets)) {
			f := finding{Environment: name, Connection: alias, Kind: "secret", Check: "resolve", OK: true, Says: secrets[alias].String()}
			if _, err := secrets[alias].Resolve(ctx); err != nil {
				f.OK, f.Says, f.code = false, describe(err), exitFailed
			}
			found = append(found, f)
		}
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(found); err != nil {
			return fmt.Errorf("write what was found: %w", err)
		}
	} else if err := printFindings(out, found); err != nil {
		return err
	}
	code := exitWell
	for _, f := range found {
		code = max(code, f.code)
	}
	if code != exitWell {
		return exit{code: code}
	}
	return nil
}

// examineSlack looks whether the installed app has what this version needs.
// Without tokens there is nothing to look at.
func examineSlack(ctx context.Context, cfg *config.Config) []finding {
	if cfg.Slack.BotToken.IsZero() || cfg.Slack.AppToken.IsZero() {
		return []finding{}
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	f := finding{Environment: "-", Connection: "slack", Kind: "slack", Check: "app"}
	a, err := slackAccess(ctx, cfg)
	if err == nil {
		a.Log = slog.New(slog.DiscardHandler)
		var w *bot.Workspace
		if w, err = bot.NewWorkspace(a); err == nil {
			defer w.Close()
			err = w.CheckInstallation(ctx)
		}
	}
	if err != nil {
		f.Says, f.code = describe(err), exitFailed
		if fault.KindOf(err) == fault.Unavailable {
			f.code = exitUnreachable
		}
		return []finding{f}
	}
	f.OK, f.Says = true, "the app has everything that this version's manifest asks for"
	if cfg.Slack.ConfigToken.IsZero() {
		f.Says = "the app has all scopes of this version's manifest; to compare its events and commands, too, set SLACK_CONFIG_TOKEN"
	}
	return []finding{f}
}

// examine looks at one connection.
func examine(ctx context.Context, conns map[string]config.Connection, alias string) []finding {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	c, beside := conns[alias], map[string]runbooks.Target{}
	if s := c.ScrapeService; s != nil {
		if engine, err := openConnection(ctx, conns[s.Docker], nil); err == nil && engine != nil {
			defer engine.Close()
			beside[s.Docker] = runbooks.Target{Conn: engine}
		}
	}
	conn, err := openConnection(ctx, c, beside)
	if err != nil {
		return []finding{{Check: "open", Says: describe(err), code: exitFailed}}
	}
	if conn == nil {
		return []finding{{Check: "open", OK: true, Says: "no action of this version works on it"}}
	}
	defer conn.Close()
	id, err := conn.Identity(ctx)
	if err != nil {
		code := exitFailed
		if fault.KindOf(err) == fault.Unavailable {
			code = exitUnreachable
		}
		return []finding{{Check: "reach", Says: describe(err), code: code}}
	}
	found := []finding{{Check: "reach", OK: true, Says: conn.Address()}, {Check: "identity", OK: true, Says: id}}
	examiner, ok := conn.(runbooks.Examiner)
	if !ok {
		return found
	}
	more, err := examiner.Examine(ctx)
	if err != nil {
		f := finding{Check: "examine", Says: describe(err), code: exitFailed}
		if fault.KindOf(err) == fault.Unavailable {
			f.code = exitUnreachable
		}
		found = append(found, f)
	}
	for _, m := range more {
		f := finding{Check: m.Name, OK: !m.Bad, Says: m.Says}
		if m.Bad {
			f.code = exitFailed
		}
		found = append(found, f)
	}
	return found
}

// printFindings writes a table for people.
func printFindings(out io.Writer, found []finding) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(out, "No connection is configured.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tENVIRONMENT\tCONNECTION\tCHECK\tFOUND")
	bad := 0
	for _, f := range found {
		mark := "ok"
		if !f.OK {
			mark, bad = "BAD", bad+1
		}
		fmt.Fprintf(w, "%s\t%s\t%s (%s)\t%s\t%s\n", mark, f.Environment, f.Connection, f.Kind, f.Check, f.Says)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write what was found: %w", err)
	}
	_, err := fmt.Fprintf(out, "\n%d of %d checks are bad\n", bad, len(found))
	return err
}
