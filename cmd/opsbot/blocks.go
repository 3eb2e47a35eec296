package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"opsbot/bot"
	"opsbot/bot/blocks"
)

func newBlocks(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "blocks",
		Short: "Work with the messages that opsbot can send",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage("say what to do: opsbot blocks export DIR")
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "export DIR",
		Short: "Write every kind of message and view as JSON, for Slack's blocks.validate",
		Long: `Write every kind of message and view that opsbot can send as JSON files,
hostile and over-long input included. Anyone with internet can put them
through Slack's own public checker, without a token:

  for f in DIR/*.message.json; do
    curl -s https://slack.com/api/blocks.validate --data-urlencode message@"$f"
  done
  for f in DIR/*.view.json; do
    curl -s https://slack.com/api/blocks.validate --data-urlencode view@"$f"
  done`,
		Args: args(cobra.ExactArgs(1), "DIR"),
		RunE: func(_ *cobra.Command, given []string) error {
			return exportBlocks(c.std, given[0])
		},
	})
	return cmd
}

func exportBlocks(std Streams, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	samples := blocks.Corpus()
	for _, s := range samples {
		if err := os.WriteFile(filepath.Join(dir, s.Name+"."+s.Kind+".json"), s.JSON, 0o644); err != nil {
			return fmt.Errorf("export %s: %w", s.Name, err)
		}
	}
	fmt.Fprintf(std.Err, "wrote %d files to %s\n", len(samples), dir)
	return nil
}

func newManifest(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "manifest",
		Short: "Print the Slack app manifest to install opsbot with",
		Args:  args(cobra.NoArgs, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := c.std.Out.Write(bot.Manifest)
			return err
		},
	}
}
