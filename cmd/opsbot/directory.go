package main

import (
	"context"
	"log/slog"
	"time"

	"opsbot/bot"
	"opsbot/internal/access"
	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/internal/store"
)

// groupsKeptFor is how long the members of a Slack user group count without
// Slack.
const groupsKeptFor = 24 * time.Hour

// directoryOf returns who knows the people: Slack where there are tokens, else
// what was last heard from it.
func directoryOf(ctx context.Context, cfg *config.Config, db *store.Store, log *slog.Logger) (access.Directory, error) {
	if cfg.Slack.BotToken.IsZero() || cfg.Slack.AppToken.IsZero() {
		return offline{db.Groups()}, nil
	}
	a, err := slackAccess(ctx, cfg)
	if err != nil {
		return nil, err
	}
	a.Log = log
	workspace, err := bot.NewWorkspace(a)
	if err != nil {
		return nil, err
	}
	return workspace.Directory(db.Groups(), usergroupFallback(cfg)), nil
}

// offline is a directory without Slack. The people it is asked about come from
// the configuration, so they count as members in good standing.
type offline struct{ groups store.Groups }

func (o offline) Members(ctx context.Context, usergroup string) ([]string, error) {
	users, fetched, err := o.groups.Find(ctx, usergroup)
	if err != nil {
		return nil, err
	}
	if fetched.IsZero() || time.Since(fetched) > groupsKeptFor {
		return nil, fault.New(fault.Unavailable, "Who is in the Slack user group %s is not known: Slack is not configured here.", usergroup).
			Hinted("Give the Slack tokens, or list the people under groups in the configuration.")
	}
	return users, nil
}

func (offline) Standing(context.Context, string) (access.Standing, error) {
	return access.Standing{}, nil
}
