package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"opsbot/internal/fault"
	"opsbot/internal/store"
)

func newAudit(c *common) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "audit", Short: "Verify or export the record of who did what",
		Args: args(cobra.NoArgs, "verify|export"),
		RunE: func(*cobra.Command, []string) error {
			return usage("verify or export? Usage: opsbot audit verify|export")
		},
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Check that no entry was changed, added in between or removed", Args: args(cobra.NoArgs, ""),
		PreRunE: func(*cobra.Command, []string) error { return textOrJSON(output) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.atRecords(cmd.Context(), func(ctx context.Context, db *store.Store) error {
				return verifyAudit(ctx, c.std, db, output)
			})
		},
	}
	verify.Flags().StringVar(&output, "output", "text", "text or json")
	var after int64
	export := &cobra.Command{
		Use: "export", Short: "Write every entry as a line of JSON", Args: args(cobra.NoArgs, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if after < 0 {
				return usage("--after takes the number of an entry, from 0")
			}
			return c.atRecords(cmd.Context(), func(ctx context.Context, db *store.Store) error {
				return exportAudit(ctx, c.std, db, after)
			})
		},
	}
	export.Flags().Int64Var(&after, "after", 0, "only the entries after this one")
	cmd.AddCommand(verify, export)
	return cmd
}

// atRecords opens the database for looking only, whoever owns it.
func (c *common) atRecords(ctx context.Context, work func(context.Context, *store.Store) error) (err error) {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	db, err := openRecords(ctx, cfg.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return work(ctx, db)
}

// openRecords opens a database for looking only, and creates none.
func openRecords(ctx context.Context, url string) (*store.Store, error) {
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return nil, fault.New(fault.Unavailable, "There is no database %s.", file).
				Hinted("Name the right one with --config or --database, or start opsbot first.")
		}
	}
	return store.OpenReadOnly(ctx, url)
}

func verifyAudit(ctx context.Context, std Streams, db *store.Store, output string) error {
	entries, hash, err := db.Audit().Verify(ctx)
	var tampered *store.TamperedError
	if err != nil && !errors.As(err, &tampered) {
		return err
	}
	unsealed, lookErr := db.Audit().Unsealed(ctx)
	if lookErr != nil {
		return lookErr
	}
	if output == "json" {
		result := struct {
			Whole    bool   `json:"whole"`
			Entries  int64  `json:"entries"`
			Hash     string `json:"hash,omitempty"`
			Unsealed int64  `json:"unsealed"`
			BrokenAt int64  `json:"broken_at,omitempty"`
			Why      string `json:"why,omitempty"`
		}{Whole: tampered == nil, Entries: entries, Hash: hash, Unsealed: unsealed}
		if tampered != nil {
			result.BrokenAt, result.Why = tampered.Seq, tampered.Why
		}
		if err := writeJSON(std.Out, result); err != nil {
			return err
		}
	}
	switch {
	case tampered != nil:
		return exit{exitFailed, fmt.Errorf("%w. Everything before it is as it was written: compare it with an earlier export", tampered)}
	case output == "json":
	case entries == 0:
		fmt.Fprintln(std.Out, "The audit log is empty.")
	default:
		fmt.Fprintf(std.Out, "The audit log is whole: %d entries. The last one's hash is\n%s\nKept elsewhere, it proves later that nothing before it was changed.\n", entries, hash)
	}
	if unsealed > 0 {
		fmt.Fprintf(std.Err, "%d more entries are not in the chain yet; a running opsbot puts them there within seconds.\n", unsealed)
	}
	return nil
}

// auditPage is how many entries are read at once.
const auditPage = 500

func exportAudit(ctx context.Context, std Streams, db *store.Store, after int64) error {
	enc := json.NewEncoder(std.Out)
	for {
		rows, err := db.Audit().List(ctx, after, auditPage)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
			after = r.Seq
		}
		if len(rows) < auditPage {
			return nil
		}
	}
}
