package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"opsbot/runbooks/schema"
)

func newSchema(c *common) *cobra.Command {
	parts := strings.Join(schema.Parts, "|")
	return &cobra.Command{
		Use:   "schema [" + parts + "]",
		Short: "Print the JSON Schema of runbooks, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of the YAML in runbooks: front matter,
step blocks and group blocks, with the actions of this version and their
arguments. With a name, only that part. docs/editors.md says how an editor
uses it.`,
		Args:      args(cobra.MaximumNArgs(1), "["+parts+"]"),
		ValidArgs: schema.Parts,
		RunE: func(_ *cobra.Command, given []string) error {
			part := ""
			if len(given) > 0 {
				part = given[0]
				if !slices.Contains(schema.Parts, part) {
					return usage("there is no schema for %q; there are %s", part, strings.Join(schema.Parts, ", "))
				}
			}
			catalog, err := newCatalog(nil)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(c.std.Out)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			if err := enc.Encode(schema.New(part, catalog)); err != nil {
				return fmt.Errorf("write the schema: %w", err)
			}
			return nil
		},
	}
}
