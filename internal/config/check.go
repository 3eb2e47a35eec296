package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

var (
	nameRule = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	userRule = regexp.MustCompile(`^[UW][A-Z0-9]{1,20}$`)
	levels   = []string{"", "debug", "info", "warn", "error"}
	formats  = []string{"", "text", "json"}
	effects  = []string{"", "read", "change", "destructive"}
)

// check looks at what the types cannot say. body is the document, for places.
func (c *Config) check(file string, body ast.Node) Problems {
	var found Problems
	bad := func(path, format string, args ...any) {
		p := Problem{File: file, Message: fmt.Sprintf(format, args...)}
		if n := find(body, path); n != nil {
			pos := n.GetToken().Position
			p.Line, p.Col = pos.Line, pos.Column
		}
		found = append(found, p)
	}

	if err := checkDatabase(c.Database); err != nil {
		bad("database", "%s", err)
	} else if u, err := url.Parse(c.Database); err == nil && hasPassword(u) {
		bad("database", "a password does not belong into the file; set PGPASSWORD, or the whole URL in OPSBOT_DATABASE")
	}
	if err := checkAddr(c.HTTP.Addr); err != nil {
		bad("http.addr", "%s", err)
	}
	if !slices.Contains(levels, c.Log.Level) {
		bad("log.level", "log.level is debug, info, warn or error, not %q", c.Log.Level)
	}
	if !slices.Contains(formats, c.Log.Format) {
		bad("log.format", "log.format is text or json, not %q", c.Log.Format)
	}
	for _, n := range []struct {
		key   string
		value *int
	}{{"destructive", c.Policy.Review.Destructive}, {"destructive_critical", c.Policy.Review.DestructiveCritical}} {
		if n.value != nil && (*n.value < 0 || *n.value > 10) {
			bad("policy.review."+n.key, "policy.review.%s is a number of people from 0 to 10", n.key)
		}
	}
	known := func(at, name string) {
		if _, ok := c.Groups[name]; !ok {
			bad(at, "%s: there is no group %q", at, name)
		}
	}
	for _, name := range c.Policy.Review.By {
		known("policy.review.by", name)
	}
	if g := c.Policy.BreakGlass; g != nil {
		known("policy.break_glass.by", g.By)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		g := c.Groups[name]
		if !nameRule.MatchString(name) {
			bad("groups."+name, "the group's name %q must be lower case letters, digits, - and _", name)
		}
		if g.Usergroup == "" && len(g.Users) == 0 {
			bad("groups."+name, "the group %q has neither a usergroup nor users: nobody could be in it", name)
		}
		for _, u := range g.Users {
			if !userRule.MatchString(u) {
				bad("groups."+name+".users", "%q is not a Slack user id such as U024BE7LH (profile → ⋮ → Copy member ID)", u)
			}
		}
	}
	c.checkIncidents(bad)
	for _, account := range slices.Sorted(maps.Keys(c.Identities.Unix)) {
		if user := c.Identities.Unix[account]; !userRule.MatchString(user) {
			bad("identities.unix."+account, "%q is not a Slack user id such as U024BE7LH", user)
		}
	}
	checkSecrets(c.Secrets, "secrets", bad)
	c.checkEnvironments(bad)
	c.checkPlaces(bad)
	return found
}

func (c *Config) checkEnvironments(bad func(path, format string, args ...any)) {
	var defaults []string
	for _, name := range slices.Sorted(maps.Keys(c.Environments)) {
		env, path := c.Environments[name], "environments."+name
		if !nameRule.MatchString(name) {
			bad(path, "the environment's name %q must be lower case letters, digits, - and _", name)
		}
		if env.Default {
			defaults = append(defaults, name)
		}
		checkSecrets(env.Secrets, path+".secrets", bad)
		for _, conn := range slices.Sorted(maps.Keys(env.Connections)) {
			checkConnection(env.Connections[conn], path+".connections."+conn, bad)
			checkBeside(env, conn, path+".connections."+conn, bad)
			checkPsql(env, conn, path+".connections."+conn, bad)
		}
	}
	if len(defaults) > 1 {
		bad("environments."+defaults[1]+".default", "only one environment can be the default; %s are", strings.Join(defaults, " and "))
	}
}

func checkSecrets(secrets map[string]Secret, path string, bad func(path, format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		switch {
		case !nameRule.MatchString(name):
			bad(path+"."+name, "the secret's name %q must be lower case letters, digits, - and _", name)
		case secrets[name].IsZero():
			bad(path+"."+name, "the secret %q refers to nothing; write env:NAME, file:PATH or command:PROGRAM ARGS", name)
		}
	}
}

func checkConnection(c Connection, path string, bad func(path, format string, args ...any)) {
	kind := c.Kind()
	if kind == "" {
		bad(path, "a connection needs exactly one of redis, postgres, docker, http, prometheus, host")
		return
	}
	urls := map[string]struct {
		value   string
		schemes []string
	}{
		"redis":      {c.Redis, []string{"redis", "rediss", "unix"}},
		"postgres":   {c.Postgres, []string{"postgres", "postgresql"}},
		"docker":     {c.Docker, []string{"unix", "tcp", "https", "http"}},
		"http":       {c.HTTP, []string{"http", "https"}},
		"prometheus": {c.Prometheus, []string{"http", "https"}},
	}
	if want, ok := urls[kind]; ok && (want.value != "" || kind != "prometheus") {
		u, err := url.Parse(want.value)
		switch {
		case err != nil || !slices.Contains(want.schemes, u.Scheme):
			bad(path+"."+kind, "%s wants a URL that starts with %s://", kind, strings.Join(want.schemes, ":// or "))
		case hasPassword(u):
			bad(path+"."+kind, "a password does not belong into the URL; write password: env:NAME beside it")
		}
	}
	switch kind {
	case "docker":
		checkDocker(c, path, bad)
	case "prometheus":
		checkMetrics(c, path, bad)
	case "host":
		checkHost(c, path, bad)
	}
	if kind == "redis" && c.MaintenanceUser == "" && !c.MaintenancePassword.IsZero() {
		bad(path+".maintenance_password", "maintenance_password is for a maintenance_user, and there is none")
	}
	if kind == "postgres" {
		checkPostgres(c, path, bad)
	}
	for name, list := range c.Lists {
		if !strings.HasPrefix(list.Path, "/") {
			bad(path+".lists."+name, "the path of list %q must start with /", name)
		}
	}
}

func hasPassword(u *url.URL) bool {
	if u.User == nil {
		return false
	}
	_, has := u.User.Password()
	return has
}

func checkDatabase(db string) error {
	switch scheme, rest, _ := strings.Cut(db, ":"); {
	case db == "", scheme == "sqlite" && rest != "", scheme == "postgres", scheme == "postgresql":
		return nil
	default:
		return fmt.Errorf("the database is sqlite:PATH or postgres://…, not %q", WithoutPassword(db))
	}
}

func checkAddr(addr string) error {
	if addr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("http.addr is host:port such as 127.0.0.1:8080, not %q", addr)
	}
	return nil
}

// anchor makes relative paths start at the configuration's own folder.
func (c *Config) anchor(dir string) {
	abs := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	// Where paths are compared, or another folder is the working one.
	whole := func(p string) string {
		if p == "" {
			return ""
		}
		if w, err := filepath.Abs(p); err == nil {
			return w
		}
		return p
	}
	for i, p := range c.Runbooks {
		c.Runbooks[i] = abs(p)
	}
	if p, ok := strings.CutPrefix(c.Database, "sqlite:"); ok {
		c.Database = "sqlite:" + abs(p)
	}
	c.Slack.BotToken.dir, c.Slack.AppToken.dir, c.Slack.ConfigToken.dir, c.HTTP.WebhookToken.dir = dir, dir, dir, dir
	c.anchorPlaces(dir)
	anchorSecrets(c.Secrets, dir)
	for _, env := range c.Environments {
		anchorSecrets(env.Secrets, dir)
		for name, conn := range env.Connections {
			conn.Password.dir, conn.Token.dir, conn.MaintenancePassword.dir = dir, dir, dir
			conn.RestorePassword.dir, conn.ReservePassword.dir = dir, dir
			if conn.Backups != "" {
				conn.Backups = whole(abs(conn.Backups)) // what a runbook names is compared with it
			}
			conn.ComposeFile, conn.EnvFile = abs(conn.ComposeFile), abs(conn.EnvFile)
			if conn.Nginx != nil {
				conn.Nginx.File = abs(conn.Nginx.File)
			}
			for k, l := range conn.Lists {
				if p, ok := strings.CutPrefix(l.User, "file:"); ok {
					l.User = "file:" + abs(p)
					conn.Lists[k] = l
				}
			}
			for k, glob := range conn.Files {
				conn.Files[k] = whole(abs(glob))
			}
			for k, cmd := range conn.Commands {
				cmd.Dir = whole(abs(cmd.Dir))
				conn.Commands[k] = cmd
			}
			env.Connections[name] = conn
		}
	}
}

func anchorSecrets(secrets map[string]Secret, dir string) {
	for name, s := range secrets {
		s.dir = dir
		secrets[name] = s
	}
}

// override applies the environment variables that every command honours.
func (c *Config) override(getenv func(string) string) error {
	var found Problems
	bad := func(name string, err error) {
		found = append(found, Problem{File: "environment variable " + name, Message: err.Error()})
	}
	if v := getenv("OPSBOT_DATABASE"); v != "" {
		c.Database = v
		if err := checkDatabase(v); err != nil {
			bad("OPSBOT_DATABASE", err)
		}
	}
	if getenv("SLACK_BOT_TOKEN") != "" {
		c.Slack.BotToken = Secret{ref: "env:SLACK_BOT_TOKEN"}
	}
	if getenv("SLACK_APP_TOKEN") != "" {
		c.Slack.AppToken = Secret{ref: "env:SLACK_APP_TOKEN"}
	}
	if getenv("SLACK_CONFIG_TOKEN") != "" {
		c.Slack.ConfigToken = Secret{ref: "env:SLACK_CONFIG_TOKEN"}
	}
	if v := getenv("SLACK_API_URL"); v != "" {
		c.Slack.APIURL = v
	}
	if v := getenv("OPSBOT_LOG_LEVEL"); v != "" {
		c.Log.Level = v
		if !slices.Contains(levels, v) {
			bad("OPSBOT_LOG_LEVEL", fmt.Errorf("it is debug, info, warn or error, not %q", v))
		}
	}
	if v := getenv("OPSBOT_HTTP_ADDR"); v != "" {
		c.HTTP.Addr = v
		if err := checkAddr(v); err != nil {
			bad("OPSBOT_HTTP_ADDR", err)
		}
	}
	if len(found) > 0 {
		return found
	}
	return nil
}

// find returns the key node at a dotted path, or nil.
func find(node ast.Node, path string) ast.Node {
	head, rest, more := strings.Cut(path, ".")
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for _, kv := range mapping.Values {
		if strings.Trim(kv.Key.String(), `"'`) != head {
			continue
		}
		if more {
			if n := find(kv.Value, rest); n != nil {
				return n
			}
		}
		return kv.Key
	}
	return nil
}
