package postgres

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
)

// frontDesk is the database from which others are created and renamed.
const frontDesk = "postgres"

// tidyWithin bounds what is put right after a failure, when the step's own
// time may be up.
const tidyWithin = time.Minute

// restoring is as of the role that restores.
func (c *Conn) restoring(ctx context.Context, database, doing string, fn func(conn *pgx.Conn) error) error {
	if c.config.Restore.User == "" {
		return fault.New(fault.Forbidden, "%s has no user for restoring.", c.subject()).
			Hinted("Set restore_user on the connection; its documentation lists what to grant.")
	}
	return c.as(ctx, c.config.Restore, database, doing, fn)
}

// sibling names a database beside the connection's: "shop_restore_20260102_150405".
func (c *Conn) sibling(kind string, at time.Time) string {
	suffix := "_" + kind + "_" + at.UTC().Format("20060102_150405")
	base := c.database
	for len(base)+len(suffix) > 63 {
		base = base[:len(base)-1]
	}
	return strings.ToValidUTF8(base, "") + suffix
}

// unused is a sibling's name that no database has.
func (c *Conn) unused(ctx context.Context, desk *pgx.Conn, kind string) (string, error) {
	var at time.Time
	if err := desk.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
		return "", err
	}
	for {
		name, taken := c.sibling(kind, at), false
		err := desk.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&taken)
		if err != nil || !taken {
			return name, err
		}
		at = at.Add(time.Second)
	}
}

// mine reports whether a database is one that sibling named.
func (c *Conn) mine(database string) bool {
	for _, kind := range []string{"restore", "replaced"} {
		prefix := strings.TrimRight(c.sibling(kind, time.Time{}), "0123456789_")
		rest, ok := strings.CutPrefix(database, prefix+"_")
		if ok && len(rest) == len("20060102_150405") && strings.Trim(rest, "0123456789_") == "" {
			return true
		}
	}
	return false
}

// createBeside creates an empty database like the connection's own: with its
// owner, its encoding and sorting, its settings and its privileges, none of
// which a dump of its tables has.
func (c *Conn) createBeside(ctx context.Context, desk *pgx.Conn, name string, out io.Writer) error {
	var owner, encoding, collate, ctype, provider, icu, version string
	err := desk.QueryRow(ctx, `SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text,
			coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale', ''), current_setting('server_version_num')
		FROM pg_database d WHERE datname = $1`, c.database).Scan(&owner, &encoding, &collate, &ctype, &provider, &icu, &version)
	if err != nil {
		return err
	}
	literal := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	sql := "CREATE DATABASE " + quoted(name) + " TEMPLATE template0 OWNER " + quoted(owner) +
		" ENCODING " + literal(encoding) + " LC_COLLATE " + literal(collate) + " LC_CTYPE " + literal(ctype)
	if provider == "i" {
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(icu)
	}
	if err := run(ctx, desk, sql); err != nil {
		return err
	}
	if err := c.copyPrivileges(ctx, desk, name); err != nil {
		return err
	}
	return c.copySettings(ctx, desk, name, out)
}

// copyPrivileges gives the new database those of the connection's own, unless
// they are the usual ones.
func (c *Conn) copyPrivileges(ctx context.Context, desk *pgx.Conn, name string) error {
	grants, err := texts(ctx, desk, `
		SELECT format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $2::text,
			CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
		FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = $1 AND a.grantee <> d.datdba ORDER BY 1`, c.database, name)
	if err != nil {
		return err
	}
	var usual bool
	if err := desk.QueryRow(ctx, "SELECT datacl IS NULL FROM pg_database WHERE datname = $1", c.database).Scan(&usual); err != nil || usual {
		return err
	}
	for _, sql := range append([]string{"REVOKE ALL ON DATABASE " + quoted(name) + " FROM PUBLIC"}, grants...) {
		if err := run(ctx, desk, sql); err != nil {
			return err
		}
	}
	return nil
}

// copySettings does the same for what ALTER DATABASE … SET has set. What the
// role may not copy is said.
func (c *Conn) copySettings(ctx context.Context, desk *pgx.Conn, name string, out io.Writer) error {
	settings, err := texts(ctx, desk, `SELECT unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
		WHERE d.datname = $1 AND s.setrole = 0`, c.database)
	if err != nil {
		return err
	}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		err := run(ctx, desk, "SELECT set_config($1, $2, false)", key, value)
		if err == nil {
			err = run(ctx, desk, "ALTER DATABASE "+quoted(name)+" SET "+quoted(key)+" FROM CURRENT")
		}
		if err != nil {
			if code(err) == "" {
				return err
			}
			fmt.Fprintf(out, "the setting %s of %s is not on %s: %s\n", key, c.database, name, clip(err.Error(), 200))
		}
	}
	roles, err := texts(ctx, desk, `SELECT pg_get_userbyid(s.setrole) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
		WHERE d.datname = $1 AND s.setrole <> 0`, c.database)
	for _, role := range roles {
		fmt.Fprintf(out, "the settings of %s in %s are not on %s\n", role, c.database, name)
	}
	if err != nil {
		return err
	}
	return run(ctx, desk, "RESET ALL")
}

// countRows counts the tables of a dump in the database exactly. A table that
// is not there has -1 rows.
func countRows(ctx context.Context, conn *pgx.Conn, d *dump) ([]TableRows, error) {
	list := make([]TableRows, 0, len(d.tables))
	for _, t := range d.tables {
		r := TableRows{Name: t.name(), Dump: t.rows, Restored: -1}
		var kind string
		if err := conn.QueryRow(ctx, "SELECT coalesce((SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)), '')", quoted(t.parts...)).Scan(&kind); err != nil {
			return nil, err
		}
		if kind != "" {
			only := "ONLY " // the children have rows of their own in a dump
			if kind == "p" {
				only = ""
			}
			if err := conn.QueryRow(ctx, "SELECT count(*) FROM "+only+quoted(t.parts...)).Scan(&r.Restored); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// different names the tables whose counts are not equal.
func different(list []TableRows) []string {
	names := []string{}
	for _, t := range list {
		switch {
		case t.Restored < 0:
			names = append(names, t.Name+" (missing)")
		case t.Restored != t.Dump:
			names = append(names, fmt.Sprintf("%s (%s of %s)", t.Name, number(t.Restored), number(t.Dump)))
		}
	}
	return names
}
