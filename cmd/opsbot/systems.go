package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"opsbot/internal/actions/docker"
	"opsbot/internal/actions/host"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/internal/config"
	"opsbot/internal/deployment"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// newCatalog gathers the actions that runbooks can use. Without a book, which
// keeps deployments, they can be read about but not all of them done.
func newCatalog(book deployment.Book) (*runbooks.Catalog, error) {
	return runbooks.NewCatalog(docker.Actions(), host.Actions(), postgres.Actions(), redis.Actions(), web.Actions(), deployment.Actions(book))
}

// systems are the opened connections of every environment.
type systems struct {
	environments []engine.Environment
	open         []runbooks.Connection
}

// openSystems prepares a connection to every configured system; it reaches
// none of them yet, so that one that is down stops only the runs that need it.
func openSystems(ctx context.Context, cfg *config.Config, log *slog.Logger) (*systems, error) {
	s := &systems{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Environments)) {
		from := cfg.Environments[name]
		env := engine.Environment{Name: name, Critical: from.Critical, Default: from.Default, Targets: map[string]runbooks.Target{}, Secrets: map[string]engine.Secret{}}
		for alias, secret := range cfg.SecretsOf(name) {
			env.Secrets[alias] = secret.Resolve
		}
		for _, alias := range slices.Sorted(maps.Keys(from.Connections)) {
			kind := from.Connections[alias].Kind()
			conn, err := openConnection(ctx, from.Connections[alias], env.Targets)
			if err != nil {
				return nil, exit{exitUsage, errors.Join(fmt.Errorf("environment %s, connection %s: %w", name, alias, err), s.Close())}
			}
			if conn == nil {
				log.Warn("no action of this version works on such a connection", "environment", name, "connection", alias, "kind", kind)
				continue
			}
			s.open = append(s.open, conn)
			env.Targets[alias] = runbooks.Target{Environment: name, Name: alias, Kind: kind, Conn: conn}
		}
		s.environments = append(s.environments, env)
	}
	return s, nil
}

// openConnection opens one connection; nil without an error is a kind that no
// action works on yet. beside are those of the same environment, some of which
// may be opened later.
func openConnection(ctx context.Context, c config.Connection, beside map[string]runbooks.Target) (runbooks.Connection, error) {
	switch c.Kind() {
	case "redis":
		password, err := c.Password.Resolve(ctx)
		if err != nil {
			return nil, err
		}
		maintenance, err := c.MaintenancePassword.Resolve(ctx)
		if err != nil {
			return nil, err
		}
		return redis.Open(redis.Config{
			URL: c.Redis, Username: c.Username, Password: password, PureCache: c.PureCache,
			MaintenanceUser: c.MaintenanceUser, MaintenancePassword: maintenance,
		})
	case "docker":
		return openDocker(ctx, c)
	case "postgres":
		return openPostgres(ctx, c, beside)
	case "http":
		token, err := c.Token.Resolve(ctx)
		if err != nil {
			return nil, err
		}
		lists := map[string]web.List{}
		for name, l := range c.Lists {
			lists[name] = web.List{Path: l.Path, User: l.User}
		}
		return web.Open(web.Config{BaseURL: c.HTTP, Token: token, Lists: lists})
	case "prometheus":
		return openMetrics(ctx, c, beside)
	case "host":
		return openHost(c)
	}
	return nil, nil
}

func (s *systems) Close() error {
	var errs []error
	for _, conn := range s.open {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}
