package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"opsbot/internal/patient/api"
)

// newPatient is what the containers of the Compose patient run. It is hidden:
// docs/patient.md tells people of it, who have no use for it by hand.
func newPatient(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "patient",
		Short:  "Be the API of the Compose patient",
		Hidden: true,
		Args:   args(cobra.NoArgs, ""),
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "api",
			Short: "Serve the API until SIGTERM",
			Args:  args(cobra.NoArgs, ""),
			RunE: func(cmd *cobra.Command, _ []string) error {
				s, err := patientSettings()
				if err != nil {
					return exit{exitUsage, err}
				}
				// Its own signals, because one of its faults is to ignore them.
				code, err := api.Serve(context.WithoutCancel(cmd.Context()), s, c.std.Out, c.std.Err)
				if code != 0 || err != nil {
					return exit{max(code, exitFailed), err}
				}
				return nil
			},
		},
		&cobra.Command{
			Use:     "migrate",
			Aliases: []string{"alembic"},
			Short:   "Create the tables and print their version; as alembic it takes upgrade head, or current",
			Args:    args(cobra.MaximumNArgs(2), "[upgrade head | current]"),
			RunE: func(cmd *cobra.Command, given []string) error {
				work := api.Migrate
				switch strings.Join(given, " ") {
				case "", "upgrade head":
				case "current":
					work = api.Current
				default:
					return usage("patient migrate does not know %q; it is upgrade head or current", strings.Join(given, " "))
				}
				head, err := work(cmd.Context(), os.Getenv("DATABASE_URL"))
				if err != nil {
					return err
				}
				fmt.Fprintln(c.std.Out, head)
				return nil
			},
		},
		&cobra.Command{
			Use:   "probe",
			Short: "Ask the API on this machine for its health",
			Args:  args(cobra.NoArgs, ""),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return api.Probe(cmd.Context(), "")
			},
		},
	)
	return cmd
}

// patientSettings reads what Compose gave the container.
func patientSettings() (api.Settings, error) {
	s := api.Settings{
		Addr: os.Getenv("PATIENT_ADDR"), Database: os.Getenv("DATABASE_URL"), Redis: os.Getenv("REDIS_URL"),
		Secret: os.Getenv("JWT_SECRET_KEY"), Version: os.Getenv("PATIENT_VERSION"),
		Faults: os.Getenv("PATIENT_FAULTS") == "1", Exit: os.Getenv("PATIENT_EXIT"),
	}
	query, err := url.ParseQuery(os.Getenv("PATIENT_AILMENTS"))
	if err == nil {
		err = s.Ailments.Parse(query)
	}
	if err != nil {
		return s, fmt.Errorf("read PATIENT_AILMENTS: %w", err)
	}
	return s, nil
}
