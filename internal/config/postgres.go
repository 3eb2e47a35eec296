package config

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

var (
	idRule     = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,59}$`)
	columnRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]{0,62}$`)
	tableRule  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$`)
	methodRule = regexp.MustCompile(`^[a-z]{0,20}$`)
	paramTypes = []string{"", "text", "int", "float", "bool", "duration", "time"}
)

// UnmarshalYAML accepts a statement alone as well as one with its values.
func (q *Query) UnmarshalYAML(node ast.Node) error {
	switch n := node.(type) {
	case *ast.StringNode:
		q.SQL = n.Value
		return nil
	case *ast.LiteralNode:
		q.SQL = n.Value.Value
		return nil
	}
	type plain Query
	return yaml.NodeToValue(node, (*plain)(q))
}

// checkPostgres looks at what belongs to a PostgreSQL connection alone.
func checkPostgres(c Connection, path string, bad func(path, format string, args ...any)) {
	for _, role := range []struct {
		key, user string
		password  Secret
	}{
		{"maintenance", c.MaintenanceUser, c.MaintenancePassword},
		{"restore", c.RestoreUser, c.RestorePassword},
		{"reserve", c.ReserveUser, c.ReservePassword},
	} {
		if role.user == "" && !role.password.IsZero() {
			bad(path+"."+role.key+"_password", "%s_password is for a %s_user, and there is none", role.key, role.key)
		}
	}
	if c.Backups != "" {
		if _, err := filepath.Match(c.Backups, ""); err != nil || strings.ContainsAny(filepath.Dir(c.Backups), "*?[") {
			bad(path+".backups", "backups is a path with * in its last part only, such as /var/backups/bot_*.sql.gz")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Queries)) {
		q, key := c.Queries[id], path+".queries."+id
		if !idRule.MatchString(id) {
			bad(key, "the query's name %q must be lower case letters, digits, - and _", id)
		}
		if strings.TrimSpace(q.SQL) == "" {
			bad(key, "the query %q needs sql", id)
		}
		optional := ""
		for _, p := range q.Args {
			switch {
			case !idRule.MatchString(p.Name):
				bad(key, "a value of the query %q needs a name", id)
			case !slices.Contains(paramTypes, p.Type):
				bad(key, "%s of the query %q is text, int, float, bool, duration or time, not %q", p.Name, id, p.Type)
			case p.Default == "" && optional != "":
				bad(key, "%s of the query %q needs a default, as %s before it has one", p.Name, id, optional)
			}
			if p.Default != "" {
				optional = p.Name
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Indexes)) {
		i, key := c.Indexes[id], path+".indexes."+id
		switch {
		case !idRule.MatchString(id):
			bad(key, "the index's id %q must be lower case letters, digits, - and _", id)
		case !tableRule.MatchString(i.Table):
			bad(key, "table of the index %q is a table with its schema such as public.orders, not %q", id, i.Table)
		case !columnRule.MatchString(i.Name):
			bad(key, "the index %q needs a name, without a schema", id)
		case strings.TrimSpace(i.On) == "":
			bad(key, "the index %q needs on: the columns, such as \"user_id, created_at DESC\"", id)
		case !methodRule.MatchString(i.Method):
			bad(key, "the method of the index %q is btree, gin or the like, not %q", id, i.Method)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Archives)) {
		a, key := c.Archives[id], path+".archives."+id
		if !idRule.MatchString(id) {
			bad(key, "the archive's id %q must be lower case letters, digits, - and _", id)
		}
		for _, t := range []struct{ key, name string }{{"table", a.Table}, {"into", a.Into}} {
			if !tableRule.MatchString(t.name) {
				bad(key, "%s of the archive %q is a table with its schema such as public.orders, not %q", t.key, id, t.name)
			}
		}
		for _, col := range []struct{ key, name string }{{"key", a.Key}, {"time", a.Time}} {
			if !columnRule.MatchString(col.name) {
				bad(key, "the archive %q needs %s: the name of a column", id, col.key)
			}
		}
		if a.RunColumn != "" && !columnRule.MatchString(a.RunColumn) {
			bad(key, "run_column of the archive %q is the name of a column, not %q", id, a.RunColumn)
		}
		if a.Table == a.Into && a.Table != "" {
			bad(key, "the archive %q moves rows into the table that they are in", id)
		}
	}
}

// checkPsql looks at what a PostgreSQL connection needs of another one.
func checkPsql(env Environment, name, path string, bad func(path, format string, args ...any)) {
	p := env.Connections[name].Psql
	switch {
	case p == nil:
	case env.Connections[p.Docker].Kind() != "docker":
		bad(path+".psql", "psql needs docker: the name of a docker connection of this environment, not %q", p.Docker)
	case !serviceRule.MatchString(p.Service):
		bad(path+".psql", "psql needs service: the database's in the Compose project")
	}
}
