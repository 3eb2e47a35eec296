package main

import (
	"context"
	"time"

	"opsbot/internal/actions/docker"
	"opsbot/internal/config"
	"opsbot/runbooks"
)

// openDocker opens a Docker connection. Where the configuration wants Compose,
// the plugin has to be there: better no start than a run that ends halfway.
func openDocker(ctx context.Context, c config.Connection) (runbooks.Connection, error) {
	if c.ComposeFile != "" {
		if _, err := docker.ComposeVersion(ctx); err != nil {
			return nil, err
		}
	}
	from := docker.Config{
		Host: c.Docker, Project: c.Project, ComposeFile: c.ComposeFile, EnvFile: c.EnvFile,
		Services: c.Services, MaxReplicas: c.MaxReplicas, Cooldown: time.Duration(c.RestartCooldown), Registries: c.Registries,
		Stateful: map[string]docker.Stateful{}, Exec: map[string]docker.Command{}, Templates: map[string]docker.Template{},
	}
	for name, s := range c.Stateful {
		from.Stateful[name] = docker.Stateful{Signal: s.Signal, Grace: time.Duration(s.Grace)}
	}
	for name, e := range c.Exec {
		effect := map[string]runbooks.Effect{"read": runbooks.Read, "destructive": runbooks.Destructive}
		cmd := docker.Command{Service: e.Service, Argv: e.Argv, User: e.User, Effect: runbooks.Change, Timeout: time.Duration(e.Timeout)}
		if known, ok := effect[e.Effect]; ok {
			cmd.Effect = known
		}
		from.Exec[name] = cmd
	}
	for name, t := range c.Templates {
		memory, err := t.MemoryBytes()
		if err != nil {
			return nil, err
		}
		from.Templates[name] = docker.Template{
			Service: t.Service, Argv: t.Argv, Port: t.Port, Publish: t.Publish,
			Memory: memory, Pids: t.Pids, Timeout: time.Duration(t.Timeout),
		}
	}
	if n := c.Nginx; n != nil {
		from.Nginx = &docker.Nginx{Service: n.Service, Upstream: n.Upstream, Of: n.Of, Port: n.Port, File: n.File, URL: n.URL, Header: n.Header}
	}
	return docker.Open(from)
}

// lacksOf says what the configuration's connections cannot do, as far as that
// can be seen without reaching them.
func lacksOf(ctx context.Context, cfg *config.Config) []runbooks.Lack {
	var list []runbooks.Lack
	for name, env := range cfg.Environments {
		for alias, c := range env.Connections {
			if c.Kind() == "prometheus" {
				list = append(list, metricsLacks(name, alias, c)...)
			}
			if c.Kind() != "docker" {
				continue
			}
			lack := runbooks.Lack{Environment: name, Connection: alias}
			if c.Nginx == nil {
				lack.Family, lack.Why, lack.Warning = "nginx", "it has no nginx: such runs are refused", true
				list = append(list, lack)
			}
			lack.Family = "compose"
			if c.ComposeFile == "" {
				lack.Why, lack.Warning = "it has no compose_file: such runs are refused", true
				list = append(list, lack)
			} else if _, err := docker.ComposeVersion(ctx); err != nil {
				lack.Why, lack.Warning = describe(err), false
				list = append(list, lack)
			}
		}
	}
	return list
}
