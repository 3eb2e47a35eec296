package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"opsbot/bot"
	"opsbot/internal/config"
	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
)

func newSlacksim(c *common) *cobra.Command {
	var addr, manifest string
	var opts slacksim.Options
	cmd := &cobra.Command{
		Use:   "slacksim",
		Short: "Serve the Slack simulator alone, for any Slack app",
		Long: `Serve a simulated Slack workspace on this machine: Web API, Socket Mode and a
page for people. Point any Slack app at it:

  slack-go   slack.OptionAPIURL("http://127.0.0.1:8765/api/")
  Bolt       new App({ …, clientOptions: { slackApiUrl: "http://127.0.0.1:8765/api/" } })
  opsbot     SLACK_API_URL=http://127.0.0.1:8765/api/ opsbot serve

It refuses what Slack refuses. What it knows comes from Slack's documentation
and from captures; it has never spoken to Slack.`,
		Args: args(cobra.NoArgs, "[--addr A] [--manifest FILE]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Manifest = bot.Manifest
			if manifest != "" {
				text, err := os.ReadFile(manifest)
				if err != nil {
					return exit{exitUsage, fmt.Errorf("read the manifest: %w", err)}
				}
				opts.Manifest = text
			}
			return serveSlacksim(cmd.Context(), c.std, addr, opts)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:8765", "address to listen on")
	cmd.Flags().StringVar(&manifest, "manifest", "", "app manifest `file` (default: opsbot's own)")
	cmd.Flags().StringVar(&opts.BotToken, "bot-token", "", "bot token to accept (default: made up)")
	cmd.Flags().StringVar(&opts.AppToken, "app-token", "", "app-level token to accept (default: made up)")
	return cmd
}

// A workspace is a simulated Slack with people in it, served at one address.
type workspace struct {
	sim      *slacksim.Server
	listener net.Listener
	handler  http.Handler
}

// openWorkspace listens on addr and fills a simulated Slack with the four
// people and the two channels that the demo is about.
func openWorkspace(addr string, opts slacksim.Options, pageOpts page.Options) (*workspace, error) {
	l, err := listen(addr)
	if err != nil {
		return nil, err
	}
	sim, err := slacksim.Open(opts)
	if err != nil {
		l.Close()
		return nil, exit{exitUsage, err}
	}
	sim.SetURL("http://" + l.Addr().String())
	var everybody []string
	pageOpts.Roles = map[string]string{}
	for _, u := range demoPeople {
		sim.AddUser(slacksim.User{ID: u.id, Name: u.name, RealName: u.realName})
		pageOpts.Roles[u.id] = u.role
		everybody = append(everybody, u.id)
	}
	pageOpts.People = everybody
	sim.AddChannel(slacksim.Channel{Name: "incident-response", Topic: "What is broken, and who is on it", Members: everybody})
	sim.AddChannel(slacksim.Channel{Name: "ops", Topic: "Day to day. Try /runbook", Members: everybody})
	sim.AddUsergroup(slacksim.Usergroup{Handle: "oncall", Name: "On call", Users: []string{"UANN"}})
	sim.AddUsergroup(slacksim.Usergroup{Handle: "sre", Name: "Site reliability", Users: []string{"UBEN", "UCLEO"}})
	if pageOpts.Start == "" {
		pageOpts.Start = "ops"
	}
	return &workspace{sim: sim, listener: l, handler: page.Beside(sim, page.New(sim, pageOpts))}, nil
}

// demoPeople are who one can be on the page.
var demoPeople = []struct{ id, name, realName, role string }{
	{"UANN", "ann", "Ann Meyer", "on call"},
	{"UBEN", "ben", "Ben Okafor", "SRE"},
	{"UCLEO", "cleo", "Cleo Tanaka", "SRE"},
	{"UDAN", "dan", "Dan Rossi", "no rights"},
}

// Serve answers until ctx is done.
func (w *workspace) Serve(ctx context.Context) error {
	// Sockets and event streams end with the simulator; no shutdown waits for them.
	stop := context.AfterFunc(ctx, func() { w.sim.Close() })
	defer func() {
		stop()
		w.sim.Close() // which waits, also for the other call
	}()
	return serveHTTP(ctx, w.listener, w.handler)
}

func (w *workspace) url() string { return "http://" + w.listener.Addr().String() }

func serveSlacksim(ctx context.Context, std Streams, addr string, opts slacksim.Options) error {
	opts.Log = newLog(std.Err, config.Log{Level: "info", Format: "text"})
	w, err := openWorkspace(addr, opts, page.Options{Title: "Slack simulator", Log: opts.Log})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, `A Slack workspace that is not Slack: %s

  SLACK_API_URL=%s/api/
  SLACK_BOT_TOKEN=%s
  SLACK_APP_TOKEN=%s

`, w.url(), w.url(), w.sim.BotToken(), w.sim.AppToken())
	return serveAll(ctx, service{"slack simulator", w.Serve})
}
