package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"opsbot/internal/actions/docker"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/config"
	"opsbot/runbooks"
)

// openPostgres opens a PostgreSQL connection; beside are the connections of the
// same environment.
func openPostgres(ctx context.Context, c config.Connection, beside map[string]runbooks.Target) (runbooks.Connection, error) {
	from := postgres.Config{
		URL: c.Postgres, Username: c.Username, Backups: c.Backups,
		Maintenance: postgres.Role{User: c.MaintenanceUser},
		Restore:     postgres.Role{User: c.RestoreUser},
		Reserve:     postgres.Role{User: c.ReserveUser},
		Queries:     map[string]postgres.Query{},
		Indexes:     map[string]postgres.Index{},
		Archives:    map[string]postgres.Archive{},
	}
	for _, secret := range []struct {
		of   config.Secret
		into *string
	}{
		{c.Password, &from.Password},
		{c.MaintenancePassword, &from.Maintenance.Password},
		{c.RestorePassword, &from.Restore.Password},
		{c.ReservePassword, &from.Reserve.Password},
	} {
		var err error
		if *secret.into, err = secret.of.Resolve(ctx); err != nil {
			return nil, err
		}
	}
	if c.Psql != nil {
		from.Psql = containedPsql{beside, *c.Psql}
	}
	for name, q := range c.Queries {
		params := make([]postgres.Param, len(q.Args))
		for i, p := range q.Args {
			params[i] = postgres.Param(p)
		}
		from.Queries[name] = postgres.Query{SQL: q.SQL, Args: params}
	}
	for id, i := range c.Indexes {
		from.Indexes[id] = postgres.Index(i)
	}
	for id, a := range c.Archives {
		from.Archives[id] = postgres.Archive(a)
	}
	return postgres.Open(from)
}

// containedPsql is psql in the database's own container, where it reaches the
// server by its socket.
type containedPsql struct {
	beside map[string]runbooks.Target
	where  config.Psql
}

func (p containedPsql) Run(ctx context.Context, s postgres.PsqlSession, stdin io.Reader, stdout io.Writer) error {
	conn, ok := p.beside[p.where.Docker].Conn.(*docker.Conn)
	if !ok {
		return fmt.Errorf("the connection %s for psql is no Docker connection", p.where.Docker)
	}
	env := []string{"PGAPPNAME=opsbot", "PGCLIENTENCODING=UTF8", "LC_ALL=C"}
	if s.Password != "" {
		env = append(env, "PGPASSWORD="+s.Password)
	}
	said := &head{}
	code, err := conn.Exec(ctx, docker.Process{
		Service: p.where.Service, User: p.where.User, Argv: append([]string{"psql"}, s.Argv()...), Env: env,
		Stdin: stdin, Stdout: stdout, Stderr: said,
	})
	if err == nil && code != 0 {
		err = &postgres.PsqlError{ExitCode: code, Stderr: said.String()}
	}
	return err
}

// A head keeps the first few KB of what is written.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	const most = 8 << 10
	h.Buffer.Write(p[:min(len(p), max(most-h.Len(), 0))])
	return len(p), nil
}
