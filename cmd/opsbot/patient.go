package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
)

// newPatient is what the containers of the Compose patient run, and how people
// make it ill. It is hidden, because it is of use beside `demo --docker` alone;
// docs/patient.md tells of it.
func newPatient(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "patient",
		Short:  "Make the patient of demo --docker ill; also, be its API",
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
		newPatientFault(c), newPatientBackup(c),
	)
	return cmd
}

// newPatientFault and newPatientBackup work on the patient of a running
// `opsbot demo --docker`, or on another one by its project's name.
func newPatientFault(*common) *cobra.Command {
	var project string
	cmd := &cobra.Command{
		Use:   "fault [NAME=VALUE…]",
		Short: "Give every replica of the API faults; without arguments end them all",
		RunE: func(cmd *cobra.Command, given []string) error {
			for _, arg := range given {
				if name, value, ok := strings.Cut(arg, "="); !ok || name == "" || value == "" {
					return usage("a fault is NAME=VALUE, such as slow=80ms, not %q", arg)
				}
			}
			p, err := compose.Find(cmd.Context(), project)
			if err != nil {
				return err
			}
			return p.Fault(cmd.Context(), strings.Join(given, "&"))
		},
	}
	cmd.Flags().StringVar(&project, "project", compose.DemoProject, "the patient's Compose project")
	return cmd
}

func newPatientBackup(c *common) *cobra.Command {
	var project string
	var age time.Duration
	cmd := &cobra.Command{
		Use:   "backup KIND NAME",
		Short: "Dump the patient's database into a file of its backups folder, and spoil it",
		Args:  args(cobra.ExactArgs(2), "KIND NAME, such as good db_20261026.sql.gz"),
		RunE: func(cmd *cobra.Command, given []string) error {
			kind, err := compose.ParseBackupKind(given[0])
			if err != nil {
				return err
			}
			p, err := compose.Find(cmd.Context(), project)
			if err != nil {
				return err
			}
			path, err := p.Backup(cmd.Context(), kind, given[1], age)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.std.Out, path)
			return nil
		},
	}
	cmd.Flags().StringVar(&project, "project", compose.DemoProject, "the patient's Compose project")
	cmd.Flags().DurationVar(&age, "age", 0, "how long ago the file was changed")
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
