package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"opsbot/internal/actions/docker"
	"opsbot/internal/actions/host"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/actions/web"
	"opsbot/internal/config"
	"opsbot/runbooks"
)

// openMetrics opens a connection for metrics; beside are the connections of the
// same environment.
func openMetrics(ctx context.Context, c config.Connection, beside map[string]runbooks.Target) (runbooks.Connection, error) {
	from := web.MetricsConfig{Prometheus: c.Prometheus, Username: c.Username, Scrape: c.Scrape, Queries: map[string]string{}}
	var err error
	if from.Token, err = c.Token.Resolve(ctx); err != nil {
		return nil, err
	}
	if from.Password, err = c.Password.Resolve(ctx); err != nil {
		return nil, err
	}
	for name, q := range c.Queries {
		from.Queries[name] = q.SQL
	}
	if s := c.ScrapeService; s != nil {
		from.Replicas = func(ctx context.Context, color string) ([]string, error) {
			conn, ok := beside[s.Docker].Conn.(*docker.Conn)
			if !ok {
				return nil, fmt.Errorf("the connection %s with the service to scrape is no Docker connection", s.Docker)
			}
			list, err := conn.Addresses(ctx, s.Service, color, s.Port)
			for i := range list {
				list[i] = "http://" + list[i] + cmp.Or(s.Path, "/metrics")
			}
			return list, err
		}
	}
	return web.OpenMetrics(from)
}

// openHost opens this machine.
func openHost(c config.Connection) (runbooks.Connection, error) {
	from := host.Config{Files: c.Files, Commands: map[string]host.Command{}, Scan: scanDump}
	for name, cmd := range c.Commands {
		effect := map[string]runbooks.Effect{"read": runbooks.Read, "": runbooks.Change, "change": runbooks.Change, "destructive": runbooks.Destructive}[cmd.Effect]
		args := make([]host.Arg, len(cmd.Args))
		for i, a := range cmd.Args {
			args[i] = host.Arg(a)
		}
		from.Commands[name] = host.Command{Argv: cmd.Argv, Args: args, Env: cmd.Env, Dir: cmd.Dir, Effect: effect, Timeout: time.Duration(cmd.Timeout)}
	}
	return host.Open(from)
}

// scanDump reads a dump as postgres.restore will.
func scanDump(ctx context.Context, path string) (host.Dump, error) {
	d, err := postgres.ScanDump(ctx, path)
	return host.Dump{SQLBytes: int(d.Bytes), SHA256: d.SHA256, Rows: d.Rows}, err
}

// metricsLacks says which of the two families of a connection for metrics it
// cannot do.
func metricsLacks(environment, alias string, c config.Connection) []runbooks.Lack {
	var list []runbooks.Lack
	lack := runbooks.Lack{Environment: environment, Connection: alias, Warning: true}
	if c.Prometheus == "" {
		lack.Family, lack.Why = "prometheus", "it has only addresses to scrape: such runs are refused"
		list = append(list, lack)
	}
	if len(c.Scrape) == 0 && c.ScrapeService == nil {
		lack.Family, lack.Why = "metrics", "it has no addresses to scrape: such runs are refused"
		list = append(list, lack)
	}
	return list
}
