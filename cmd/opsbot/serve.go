package main

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"opsbot/bot"
	"opsbot/commands"
	"opsbot/incidents"
	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/internal/store"
)

func newServe(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Be the bot: listen to Slack, run runbooks, answer health checks",
		Args:  args(cobra.NoArgs, "[--config opsbot.yaml]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, cfg)
		},
	}
}

// serve wires the bot and runs it until ctx is done.
func serve(ctx context.Context, c *common, cfg *config.Config) error {
	log := newLog(c.std.Err, cfg.Log)
	access, err := slackAccess(ctx, cfg)
	if err != nil {
		return err
	}
	access.Log = log
	registry := prometheus.NewRegistry()
	access.Metrics = registry
	workspace, err := bot.NewWorkspace(access)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer db.Close()
	registry.MustRegister(databaseFigures{db, log})
	people := workspace.Directory(db.Groups(), usergroupFallback(cfg))
	a, err := openApp(ctx, c, cfg, db, people, log, registry)
	if err != nil {
		return err
	}
	defer a.Close()
	registry.MustRegister(newIncidentFigures(a.router, log))

	office, dispatcher, err := newOffice(ctx, cfg, db, a.tracker, workspace.Permalink, log)
	if err != nil {
		return err
	}

	link := func(ctx context.Context, i *incidents.Incident) string {
		thread, err := a.tracker.Thread(ctx, i)
		if err != nil {
			log.Warn("find an incident's thread", "incident", i.Ref(), "error", err)
			return ""
		}
		return workspace.Permalink(ctx, thread)
	}
	a.router.Link, office.Link = link, link
	a.router.Posted = func(ctx context.Context, keys ...string) string {
		for _, key := range keys {
			place, err := db.Incidents().Place(ctx, key)
			if err != nil {
				log.Warn("find a message", "key", key, "error", err)
				return ""
			}
			if place.Thread != "" {
				return workspace.Permalink(ctx, place)
			}
		}
		return ""
	}

	services := []service{{"database", db.Serve}, {"dispatcher", dispatcher.Serve}}
	if cfg.HTTP.Addr != "" {
		l, err := listen(cfg.HTTP.Addr)
		if err != nil {
			return err
		}
		health := newHealthServer(l, registry, []check{{"database", db.Ping}, {"slack", func(context.Context) error { return slackReady(workspace) }}})
		webhook, err := newAlertWebhook(ctx, cfg, db.Alerts(), a.engine, log)
		if err != nil {
			return err
		}
		if webhook != nil {
			health.mux.Handle(webhookPath, webhook)
		}
		statusFeed(cfg, db, log).Register(health.mux)
		services = append(services, service{"health", health.Serve})
		log.Info("answering health checks", "addr", l.Addr().String())
	} else if !cfg.HTTP.WebhookToken.IsZero() {
		log.Warn("alerts are not taken: http.webhook_token is set, and http.addr is not")
	}
	services = append(services, service{"engine", a.engine.Serve}, service{"schedules", a.engine.ServeSchedules})
	file, lite := strings.CutPrefix(cfg.Database, "sqlite:")
	if lite {
		if control, err := listenControl(store.Socket(file), a.engine, a.tracker, a.router, identities{unix: cfg.Identities.Unix}); err == nil {
			services = append(services, service{"control socket", control.Serve})
		} else {
			log.Warn("opsbot run, runs and locks cannot reach this process", "error", err)
		}
	}
	services = append(services, service{"incidents", a.tracker.Serve}, service{"outreach", office.Serve})
	edge := bot.New(bot.Options{
		Workspace: workspace, Inbox: db.Inbox(), Outbox: db.Outbox(),
		Handler: a.router, Alone: lite, Log: log,
		Mentions: bot.Mentions{Directory: people, Handles: usergroups(cfg)}, Rooms: commands.Rooms{Incidents: a.tracker, Runs: a.engine},
	})
	services = append(services, service{"slack", edge.Serve})
	log.Info("opsbot starts", "version", versionText(), "runbooks", len(a.library.All()), "environments", len(cfg.Environments))
	err = serveAll(ctx, services...)
	log.Info("opsbot has stopped")
	return err
}

// slackAccess resolves the tokens; without them there is nothing to serve.
func slackAccess(ctx context.Context, cfg *config.Config) (bot.Access, error) {
	if cfg.Slack.BotToken.IsZero() || cfg.Slack.AppToken.IsZero() {
		return bot.Access{}, fault.New(fault.Invalid, "Slack needs two tokens: slack.bot_token (xoxb-…) and slack.app_token (xapp-…).").
			Hinted("Set SLACK_BOT_TOKEN and SLACK_APP_TOKEN, or try it without Slack: opsbot demo.")
	}
	botToken, err := cfg.Slack.BotToken.Resolve(ctx)
	if err != nil {
		return bot.Access{}, fault.New(fault.Invalid, "The bot token: %s.", err)
	}
	appToken, err := cfg.Slack.AppToken.Resolve(ctx)
	if err != nil {
		return bot.Access{}, fault.New(fault.Invalid, "The app token: %s.", err)
	}
	a := bot.Access{BotToken: botToken, AppToken: appToken, APIURL: cfg.Slack.APIURL, OpsChannel: cfg.Slack.OpsChannel}
	if !cfg.Slack.ConfigToken.IsZero() {
		if a.ConfigToken, err = cfg.Slack.ConfigToken.Resolve(ctx); err != nil {
			return bot.Access{}, fault.New(fault.Invalid, "The configuration token: %s.", err)
		}
	}
	if a.OpsChannel == "" {
		a.OpsChannel = "#ops"
	}
	if ch := cfg.Slack.IncidentChannel; ch != "" {
		a.Channels = []string{ch}
	}
	a.Channels = append(a.Channels, cfg.Status.Channels...)
	return a, nil
}

// usergroupFallback gives the members of groups for workspaces whose plan has
// no user groups: those that the configuration lists.
func usergroupFallback(cfg *config.Config) map[string][]string {
	members := map[string][]string{}
	for _, g := range cfg.Groups {
		if g.Usergroup != "" {
			members[g.Usergroup] = append(members[g.Usergroup], g.Users...)
		}
	}
	return members
}

// usergroups are the handles of the groups that are Slack user groups.
func usergroups(cfg *config.Config) map[string]string {
	handles := map[string]string{}
	for name, g := range cfg.Groups {
		if g.Usergroup != "" {
			handles[name] = g.Usergroup
		}
	}
	return handles
}

// slackReady says why the Slack edge is not ready, if it is not.
func slackReady(w *bot.Workspace) error {
	s := w.Status()
	if s.Ready() {
		return nil
	}
	if len(s.Reasons) == 0 {
		return fault.New(fault.Unavailable, "The socket to Slack is not open.")
	}
	return fault.New(fault.Unavailable, "%s", strings.Join(s.Reasons, " "))
}
