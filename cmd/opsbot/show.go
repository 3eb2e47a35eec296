package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"opsbot/internal/fault"
	"opsbot/runbooks"
	"opsbot/runbooks/picture"
)

func newShow(c *common) *cobra.Command {
	var mermaid bool
	var width int
	cmd := &cobra.Command{
		Use:   "show NAME|FILE",
		Short: "Draw a runbook: where it can go, what it changes, who must agree",
		Long: `Draw a runbook: the order of its steps, where it can jump, what it changes and
who has to agree first. A single line is for what only reads, a heavy one for
what changes something and a double one for what is destructive.

NAME is a built-in runbook or one of the configuration's folders; a FILE need
not be in any.`,
		Args: args(cobra.ExactArgs(1), "NAME|FILE"),
		RunE: func(_ *cobra.Command, given []string) error {
			rb, err := c.runbook(given[0])
			if err != nil {
				return err
			}
			flow := picture.New(rb)
			text := flow.Text(picture.Style{Width: width})
			if mermaid {
				text = flow.Mermaid()
			}
			if _, err := fmt.Fprint(c.std.Out, text); err != nil {
				return fmt.Errorf("write the picture: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&mermaid, "mermaid", false, "as a Mermaid flowchart, for documents")
	cmd.Flags().IntVar(&width, "width", 0, "of the drawing, in `characters` (default 78)")
	return cmd
}

// runbook finds a runbook by its name or alias, or reads it from a file.
func (c *common) runbook(name string) (*runbooks.Runbook, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	catalog, err := newCatalog(nil)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(name, ".md") || strings.ContainsRune(name, filepath.Separator) {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, exit{exitUsage, fmt.Errorf("read %s: %w", name, err)}
		}
		rb, problems := runbooks.Parse(name, text, catalog)
		if err := problems.Err(); err != nil {
			return nil, exit{exitFailed, err}
		}
		return rb, nil
	}
	lib, problems := loadLibrary(cfg, catalog)
	if rb, ok := lib.Find(name); ok {
		return rb, nil
	}
	// A runbook that is broken is not in the library; why is worth knowing.
	var own runbooks.Problems
	for _, p := range problems {
		if strings.TrimSuffix(filepath.Base(p.File), ".md") == name {
			own = append(own, p)
		}
	}
	if err := own.Err(); err != nil {
		return nil, exit{exitFailed, err}
	}
	missing := fault.New(fault.NotFound, "There is no runbook %q.", name)
	if near := lib.Suggest(name); near != "" {
		return nil, missing.Hinted("Did you mean %s?", near)
	}
	return nil, missing.Hinted("opsbot lint checks those that there are.")
}
