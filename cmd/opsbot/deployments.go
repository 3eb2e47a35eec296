package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"opsbot/internal/deployment"
)

func newDeployments(c *common) *cobra.Command {
	var output string
	var query deployment.Query
	list := func(cmd *cobra.Command, _ []string) error {
		return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
			all, err := d.Deployments(ctx, query)
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(c.std.Out, append([]deployment.Deployment{}, all...))
			}
			return table(c.std.Out, "ID\tENVIRONMENT\tSERVICE\tIMAGE\tIMAGE ID\tAT\tBY\tRUN", len(all), func(i int) string {
				x := all[i]
				return fmt.Sprintf("D%d\t%s\t%s\t%s\t%s\t%s\t%s\tR%d", x.Number, x.Environment, x.Service, x.Image, x.ImageID, stamp(x.At), nameOf(x), x.RunNumber)
			})
		})
	}
	cmd := &cobra.Command{
		Use: "deployments", Short: "List what runbooks have put into service, by whom and when",
		Args: args(cobra.NoArgs, "[list|show]"), RunE: list,
		PersistentPreRunE: func(*cobra.Command, []string) error { return textOrJSON(output) },
	}
	cmd.PersistentFlags().StringVar(&output, "output", "text", "text or json")
	listing := &cobra.Command{Use: "list", Short: "List deployments, newest first", Args: args(cobra.NoArgs, ""), RunE: list}
	listing.Flags().StringVar(&query.Environment, "env", "", "only on this environment")
	listing.Flags().StringVar(&query.Service, "service", "", "only of this service")
	listing.Flags().IntVar(&query.Limit, "limit", 20, "at most so many (1 to 200)")
	show := &cobra.Command{
		Use: "show D7", Short: "Show a deployment", Args: args(cobra.ExactArgs(1), "D7"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				x, err := d.Deployment(ctx, given[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return writeJSON(c.std.Out, x)
				}
				facts := [][2]string{
					{"deployment", fmt.Sprint("D", x.Number)}, {"environment", x.Environment}, {"service", x.Service}, {"image", x.Image},
					{"image id", x.ImageID}, {"digest", x.Digest}, {"config hash", x.ConfigHash}, {"migrations", x.MigrationHead}, {"note", x.Note},
					{"at", stamp(x.At)}, {"by", nameOf(*x)}, {"run", fmt.Sprintf("R%d, %s, step %s", x.RunNumber, x.Runbook, x.Step)},
				}
				for _, f := range facts {
					if f[1] != "" {
						fmt.Fprintf(c.std.Out, "%-12s %s\n", f[0], f[1])
					}
				}
				return nil
			})
		},
	}
	cmd.AddCommand(listing, show)
	return cmd
}

// nameOf is who put it into service.
func nameOf(d deployment.Deployment) string {
	if d.By.Name != "" {
		return d.By.Name
	}
	return d.By.ID
}
