package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/internal/fault"
)

func newIncidents(c *common) *cobra.Command {
	var output string
	var all bool
	list := func(cmd *cobra.Command, _ []string) error {
		return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
			list, err := d.Incidents(ctx, incidents.Query{Open: !all, Limit: 200})
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(c.std.Out, append([]*incidents.Incident{}, list...))
			}
			return table(c.std.Out, "ID\tSEVERITY\tSTATE\tDECLARED\tCOMMANDER\tTITLE", len(list), func(n int) string {
				i := list[n]
				who := "nobody"
				if r, ok := i.Holder(incidents.Commander); ok {
					who = r.Actor.Name
				}
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", i.Ref(), i.Severity, i.State, stamp(i.Declared), who, i.Title)
			})
		})
	}
	cmd := &cobra.Command{
		Use: "incidents", Short: "List incidents, and export what is on record of them",
		Args: args(cobra.NoArgs, "[list|show|export|upload|stats]"), RunE: list,
		PersistentPreRunE: func(*cobra.Command, []string) error { return textOrJSON(output) },
	}
	cmd.PersistentFlags().StringVar(&output, "output", "text", "text or json")
	listing := &cobra.Command{Use: "list", Short: "List open incidents, newest first", Args: args(cobra.NoArgs, ""), RunE: list}
	listing.Flags().BoolVar(&all, "all", false, "those that are over, too")
	record := func(cmd *cobra.Command, ref string, json bool) error {
		number, ok := incidents.ParseRef(ref)
		if !ok {
			return exit{exitUsage, fault.New(fault.Invalid, "%q is no incident. They are called INC and a number, such as INC-7.", ref)}
		}
		return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
			r, err := d.Incident(ctx, number)
			if err != nil {
				return err
			}
			if json {
				return writeJSON(c.std.Out, r)
			}
			_, err = fmt.Fprint(c.std.Out, r.Markdown())
			return err
		})
	}
	show := &cobra.Command{
		Use: "show INC-7", Short: "Show an incident with its timeline, updates and tasks", Args: args(cobra.ExactArgs(1), "INC-7"),
		RunE: func(cmd *cobra.Command, given []string) error { return record(cmd, given[0], output == "json") },
	}
	var format string
	export := &cobra.Command{
		Use: "export INC-7", Short: "Write the post-mortem of an incident, or its whole record for scripts", Args: args(cobra.ExactArgs(1), "INC-7"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if format != "md" && format != "json" {
				return exit{exitUsage, fault.New(fault.Invalid, "There is no export as %q: there are md and json.", format)}
			}
			number, ok := incidents.ParseRef(given[0])
			if !ok {
				return exit{exitUsage, fault.New(fault.Invalid, "%q is no incident. They are called INC and a number, such as INC-7.", given[0])}
			}
			if output == "json" {
				format = "json"
			}
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				f, err := d.Paper(ctx, paperOrder{number, format})
				if err == nil {
					_, err = fmt.Fprint(c.std.Out, f.Text)
				}
				return err
			})
		},
	}
	export.Flags().StringVar(&format, "format", "md", "md or json")
	upload := &cobra.Command{
		Use: "upload INC-7 FILE", Short: "Hand in a post-mortem that was edited elsewhere; what export gave out, with your changes",
		Args: args(cobra.ExactArgs(2), "INC-7 FILE"),
		RunE: func(cmd *cobra.Command, given []string) error {
			number, ok := incidents.ParseRef(given[0])
			if !ok {
				return exit{exitUsage, fault.New(fault.Invalid, "%q is no incident. They are called INC and a number, such as INC-7.", given[0])}
			}
			info, err := os.Stat(given[1])
			if err == nil && info.Size() > postmortem.MaxText {
				err = fmt.Errorf("it has %d bytes; at most %d are kept", info.Size(), postmortem.MaxText)
			}
			var text []byte
			if err == nil {
				text, err = os.ReadFile(given[1])
			}
			if err != nil {
				return exit{exitUsage, fault.New(fault.Invalid, "The file %s cannot be read: %s.", given[1], err)}
			}
			return c.atDesk(cmd.Context(), true, func(ctx context.Context, d desk) error {
				said, err := d.Upload(ctx, uploadOrder{number, string(text), "upload/" + uuid.NewString()})
				if err == nil {
					_, err = fmt.Fprintln(c.std.Out, said)
				}
				return err
			})
		},
	}
	var days int
	figures := &cobra.Command{
		Use: "stats", Short: "Say how long incidents took, by severity: detected, acknowledged, mitigated, resolved", Args: args(cobra.NoArgs, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 1 || days > 36500 {
				return usage("--days is a number from 1 to 36500, not %d", days)
			}
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				t, err := d.Figures(ctx, time.Now().AddDate(0, 0, -days))
				if err != nil {
					return err
				}
				if output == "json" {
					_, err = c.std.Out.Write(t.JSON())
				} else {
					_, err = fmt.Fprint(c.std.Out, t.Text())
				}
				return err
			})
		},
	}
	figures.Flags().IntVar(&days, "days", 90, "those declared in so many days")
	cmd.AddCommand(listing, show, export, upload, figures)
	return cmd
}
