package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

// The exit codes. Scripts rely on them.
const (
	exitWell        = 0
	exitFailed      = 1 // the thing checked or run failed
	exitUsage       = 2
	exitUnreachable = 3 // could not reach what it needs
)

// An exit is an error that knows its exit code. Err may be nil when everything
// was said already.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// Main runs one command line and returns its exit code. It returns when the
// command has ended or, after ctx is done, when it has stopped cleanly.
func Main(ctx context.Context, args []string, std Streams) int {
	return run(ctx, args, &common{std: std})
}

func run(ctx context.Context, args []string, c *common) int {
	std := c.std
	root := newRoot(c)
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	err := root.ExecuteContext(ctx)
	var e exit
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) && !errors.As(err, &e) {
		return exitWell // a stop that was asked for is no failure
	}
	code := exitCode(err)
	if text := describe(err); text != "" {
		fmt.Fprintf(std.Err, "opsbot: %s\n", text)
	}
	return code
}

// exitCode maps what went wrong to the code that scripts test for.
func exitCode(err error) int {
	var e exit
	var problems config.Problems
	var owned *store.OwnedError
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &problems):
		return exitUsage
	case errors.As(err, &owned):
		return exitUnreachable
	}
	switch fault.KindOf(err) {
	case fault.Unavailable:
		return exitUnreachable
	case fault.Invalid, fault.NotFound:
		return exitUsage
	default:
		return exitFailed
	}
}

// describe is what a person at a terminal is told. A terminal belongs to an
// operator, so an internal error is shown in full; secrets are never in it.
func describe(err error) string {
	var e exit
	if errors.As(err, &e) {
		if e.err == nil {
			return ""
		}
		if _, said := e.err.(*fault.Error); !said {
			return e.err.Error() // it was put together for this terminal
		}
		err = e.err
	}
	if fault.KindOf(err) == fault.Internal {
		return err.Error()
	}
	return fault.Say(err)
}

// usage marks an error as a wrong command line.
func usage(format string, args ...any) error {
	return exit{exitUsage, fmt.Errorf(format, args...)}
}

// common holds the flags that every command has.
type common struct {
	std      Streams
	file     string             // --config
	database string             // --database
	observe  func(engine.Event) // called at every boundary of a run; nil: nobody looks
}

// load reads the configuration: the file given, else opsbot.yaml if it is
// there, else the environment alone.
func (c *common) load() (*config.Config, error) {
	file := c.file
	if file == "" {
		if _, err := os.Stat("opsbot.yaml"); err == nil {
			file = "opsbot.yaml"
		}
	}
	cfg, err := config.Load(file, os.Getenv)
	if err != nil {
		var problems config.Problems
		if errors.As(err, &problems) {
			return nil, err
		}
		return nil, exit{exitUsage, err}
	}
	if c.database != "" {
		cfg.Database = c.database
	}
	if cfg.Database == "" {
		cfg.Database = "sqlite:opsbot.db"
	}
	return cfg, nil
}

func newRoot(c *common) *cobra.Command {
	root := &cobra.Command{
		Use:   "opsbot",
		Short: "Runbooks that run themselves, from Slack and from a terminal",
		Long: `opsbot runs Markdown runbooks: it checks, shows exactly what a destructive
step would do to which system, waits for a second person's click, acts,
verifies, reports, and keeps every action on record.

Start with:  opsbot demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				near := "."
				if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
					near = fmt.Sprintf("; did you mean %q?", names[0])
				}
				return usage("there is no command %q%s Run 'opsbot help' for the list", args[0], near)
			}
			return cmd.Help()
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w. Run '%s --help' for its flags", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringVar(&c.file, "config", "", "configuration `file` (default opsbot.yaml, if it is there)")
	root.PersistentFlags().StringVar(&c.database, "database", "", "database `URL`: sqlite:PATH or postgres://… (default sqlite:opsbot.db)")
	root.AddCommand(
		newDemo(c), newPatient(c), newServe(c), newRun(c), newRuns(c), newLocks(c), newLint(c), newTest(c), newShow(c), newSchema(c),
		newSchedule(c), newDeployments(c), newIncidents(c), newAudit(c),
		newSlacksim(c), newBlocks(c), newManifest(c), newDoctor(c), newHealthcheck(c), newVersion(c),
	)
	return root
}

// args wraps cobra's argument checks so that a wrong count is wrong usage.
func args(check cobra.PositionalArgs, hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return usage("%s. Usage: %s %s", strings.TrimSuffix(err.Error(), "."), cmd.CommandPath(), hint)
		}
		return nil
	}
}
