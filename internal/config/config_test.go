package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/config"
)

func noEnv(string) string { return "" }

// The example is what people copy, so it must be read without a complaint.
func TestExampleIsValid(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("../../docs/opsbot.example.yaml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	prod := cfg.Environments["production"]
	if !prod.Critical || !prod.Default || prod.Connections["cache"].Kind() != "redis" || prod.Connections["api"].Kind() != "http" {
		t.Errorf("production was read as %+v", prod)
	}
	db := prod.Connections["database"]
	if db.Kind() != "postgres" || len(db.Queries) != 2 || !strings.HasPrefix(db.Queries["table-count"].SQL, "SELECT count(*)") ||
		db.Queries["recent-logs"].Args[1].Default != "20" || db.Indexes["logs-by-user"].Table != "public.reconciliation_logs" ||
		db.Archives["logs"].RunColumn != "archived_run" || db.RestorePassword.String() != "env:DB_RESTORE_PASSWORD" {
		t.Errorf("the database was read as %+v", db)
	}
	for alias, kind := range map[string]string{"docker": "docker", "metrics": "prometheus", "ops": "host"} {
		if got := prod.Connections[alias].Kind(); got != kind {
			t.Errorf("%s is a connection of kind %q, not %s", alias, got, kind)
		}
	}
	if got, want := prod.Connections["api"].Lists["cache-warmup"].User, "file:"+filepath.Join("../../docs", "warm-users.txt"); got != want {
		t.Errorf("list file = %q, want %q: relative paths start at the file's folder", got, want)
	}
	if got := cfg.Slack.BotToken.String(); got != "env:SLACK_BOT_TOKEN" {
		t.Errorf("bot token reference = %q", got)
	}
}

// So must what the pages of connections show.
func TestPagesAreValid(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/connections/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 4 {
		t.Fatalf("saw only %q", pages)
	}
	block := regexp.MustCompile("(?s)```yaml\n(environments:\n.*?)```")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllSubmatch(text, -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no configuration", page)
		}
		for _, b := range blocks {
			if _, err := config.Decode(page, b[1]); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// pg is a configuration with a PostgreSQL connection.
func pg(rest string) string {
	return "environments:\n  demo:\n    connections:\n      x: { postgres: \"postgres://u@h/database\", " + rest + " }\n"
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "slak:\n  bot_token: env:A\n", `f.yaml:1:1: unknown key "slak"; did you mean "slack"?`},
		{"unknown keys all at once", "slack:\n  bot_tokn: env:A\nhttp:\n  adr: x\n", "f.yaml:2:3: unknown key \"slack.bot_tokn\"; did you mean \"bot_token\"?\nf.yaml:4:3: unknown key \"http.adr\"; did you mean \"addr\"?"},
		{"unknown key in a connection", "environments:\n  demo:\n    connections:\n      cache: { redis: \"redis://h:1/0\", pasword: env:P }\n", `f.yaml:4:40: unknown key "environments.demo.connections.cache.pasword"; did you mean "password"?`},
		{"literal secret", "slack:\n  bot_token: xoxb-123\n", "f.yaml:2:14: a secret is given as env:NAME, file:PATH or command:PROGRAM ARGS, never in the file itself"},
		{"password in a URL", "environments:\n  demo:\n    connections:\n      cache: { redis: \"redis://:hunter2@h:1/0\" }\n", "f.yaml:4:16: a password does not belong into the URL; write password: env:NAME beside it"},
		{"password in the database", "database: postgres://u:hunter2@h/d\n", "f.yaml:1:1: a password does not belong into the file; set PGPASSWORD, or the whole URL in OPSBOT_DATABASE"},
		{"two kinds", "environments:\n  demo:\n    connections:\n      x: { redis: \"redis://h\", http: \"http://h\" }\n", "f.yaml:4:7: a connection needs exactly one of redis, postgres, docker, http, prometheus, host"},
		{"two defaults", "environments:\n  a: { default: true }\n  b: { default: true }\n", "f.yaml:3:8: only one environment can be the default; a and b are"},
		{"empty group", "groups:\n  sre: {}\n", `f.yaml:2:3: the group "sre" has neither a usergroup nor users: nobody could be in it`},
		{"name instead of id", "groups:\n  sre: { users: [ann] }\n", `f.yaml:2:10: "ann" is not a Slack user id such as U024BE7LH (profile → ⋮ → Copy member ID)`},
		{"database", "database: mysql://h/d\n", `f.yaml:1:1: the database is sqlite:PATH or postgres://…, not "mysql://h/d"`},
		{"address", "http: { addr: \"8080\" }\n", `f.yaml:1:9: http.addr is host:port such as 127.0.0.1:8080, not "8080"`},
		{"glass", "policy: { break_glass: { by: nobody } }\n", "f.yaml:1:26: policy.break_glass.by: there is no group \"nobody\""},
		{"approvers", "policy: { review: { by: [sre] } }\n", "f.yaml:1:21: policy.review.by: there is no group \"sre\""},
		{"reviewers", "policy: { review: { destructive: -1 } }\n", "f.yaml:1:21: policy.review.destructive is a number of people from 0 to 10"},
		{"password of nobody", "environments:\n  demo:\n    connections:\n      x: { redis: \"redis://h\", maintenance_password: \"env:X\" }\n", "f.yaml:4:32: maintenance_password is for a maintenance_user, and there is none"},
		{"command without an argv", "environments:\n  demo:\n    connections:\n      x: { commands: { c: { effect: read } } }\n", `f.yaml:4:24: the command "c" needs an argv`},
		{"value that is not there", "environments:\n  demo:\n    connections:\n      x: { commands: { c: { argv: [echo, \"{what}\"] } } }\n", `f.yaml:4:24: the command "c" uses {what}, and has no value of that name in its args`},
		{"value of no type", "environments:\n  demo:\n    connections:\n      x: { commands: { c: { argv: [echo], args: [{ name: a, type: path }] } } }\n", `f.yaml:4:24: a of the command "c" is text, int, float, bool or duration, not "path"`},
		{"files anywhere", "environments:\n  demo:\n    connections:\n      x: { files: { b: \"/var/*/x\" } }\n", `f.yaml:4:21: files are a path with * in its last part only, such as /var/backups/bot_*.sql.gz`},
		{"address without a scheme", "environments:\n  demo:\n    connections:\n      x: { scrape: [\"api:8000\"] }\n", `f.yaml:4:12: scrape wants addresses such as http://api:8000/metrics, or dns+http://… for every address of a name`},
		{"query with values", "environments:\n  demo:\n    connections:\n      x: { prometheus: \"http://p\", queries: { q: { sql: up, args: [{ name: a }] } } }\n", `f.yaml:4:47: the query "q" is PromQL as a text, without args`},
		{"service of nothing", "environments:\n  demo:\n    connections:\n      x: { scrape_service: { docker: d, service: api, port: 8000 } }\n", `f.yaml:4:12: scrape_service needs docker: the name of a docker connection of this environment, not "d"`},
		{"docker without a project", "environments:\n  demo:\n    connections:\n      x: { docker: \"unix:///s\" }\n", "f.yaml:4:7: a docker connection needs project: the name of its Compose project, as `docker compose ls` prints it"},
		{"command without a service", "environments:\n  demo:\n    connections:\n      x: { docker: \"unix:///s\", project: p, exec: { df: { argv: [df] } } }\n", `f.yaml:4:53: exec.df needs a service of the Compose project, not ""`},
		{"template that is both", "environments:\n  demo:\n    connections:\n      x: { docker: \"unix:///s\", project: p, templates: { t: { service: api, argv: [x], port: 1 } } }\n", "f.yaml:4:58: a one-shot command publishes no port"},
		{"proxy without a port", "environments:\n  demo:\n    connections:\n      x: { docker: \"unix:///s\", project: p, nginx: { service: n, of: api } }\n", "f.yaml:4:45: nginx needs port: the one on which api listens in its containers"},
		{"password of no restorer", pg("restore_password: env:P"), `f.yaml:4:49: restore_password is for a restore_user, and there is none`},
		{"query without sql", pg("queries: { q: { args: [{ name: a }] } }"), `f.yaml:4:60: the query "q" needs sql`},
		{"value of a strange type", pg("queries: { q: { sql: SELECT $1, args: [{ name: a, type: date }] } }"), `f.yaml:4:60: a of the query "q" is text, int, float, bool, duration or time, not "date"`},
		{"value without default after one", pg("queries: { q: { sql: SELECT $1, args: [{ name: a, default: x }, { name: b }] } }"), `f.yaml:4:60: b of the query "q" needs a default, as a before it has one`},
		{"wrong key of a query", pg("queries: { q: { sq: SELECT 1 } }"), "f.yaml:4:65: unknown key \"environments.demo.connections.x.queries.q.sq\"; did you mean \"sql\"?\nf.yaml:4:60: the query \"q\" needs sql"},
		{"index without schema", pg("indexes: { i: { table: t, name: n, on: a } }"), `f.yaml:4:60: table of the index "i" is a table with its schema such as public.orders, not "t"`},
		{"archive into itself", pg("archives: { a: { table: p.t, into: p.t, key: id, time: at } }"), `f.yaml:4:61: the archive "a" moves rows into the table that they are in`},
		{"archive without key", pg("archives: { a: { table: p.t, into: p.u, time: at } }"), `f.yaml:4:61: the archive "a" needs key: the name of a column`},
		{"star in a folder", pg("backups: /var/*/x.gz"), `f.yaml:4:49: backups is a path with * in its last part only, such as /var/backups/bot_*.sql.gz`},
		{"psql in no container", pg("psql: { docker: x, service: db }"), `f.yaml:4:49: psql needs docker: the name of a docker connection of this environment, not "x"`},
		{"pager of no kind", "pagers:\n  oncall: { secret: env:S }\n", `f.yaml:2:3: the pager "oncall" needs exactly one of pagerduty (a routing key) and webhook (an address)`},
		{"pager of two kinds", "pagers:\n  oncall: { pagerduty: env:K, webhook: https://h/ }\n", `f.yaml:2:3: the pager "oncall" needs exactly one of pagerduty (a routing key) and webhook (an address)`},
		{"pager's key in the file", "pagers:\n  oncall: { pagerduty: 0123456789abcdef }\n", `f.yaml:2:24: a secret is given as env:NAME, file:PATH or command:PROGRAM ARGS, never in the file itself`},
		{"pager without TLS", "pagers:\n  noc: { webhook: \"http://noc.example.com/\" }\n", `f.yaml:2:10: the pager "noc": its address must be https, unless it is on this machine`},
		{"secret of no webhook", "pagers:\n  noc: { pagerduty: env:K, secret: env:S }\n", `f.yaml:2:28: secret signs what is posted to a webhook, and there is none`},
		{"webhook with a password", "status:\n  webhooks:\n    site: { url: \"https://u:p@h/\" }\n", `f.yaml:3:5: the webhook "site": a user or password does not belong into its address`},
		{"webhook without an address", "status:\n  webhooks:\n    site: { secret: env:S }\n", `f.yaml:3:5: the webhook "site": its address is none such as https://host/path`},
		{"status without an address", "status: { url: example.com }\n", `f.yaml:1:11: status.url is an address such as https://status.example.com`},
		{"misspelt pager", "pagers:\n  noc: { web-hook: https://h/ }\n", "f.yaml:2:10: unknown key \"pagers.noc.web-hook\"; did you mean \"webhook\"?\nf.yaml:2:3: the pager \"noc\" needs exactly one of pagerduty (a routing key) and webhook (an address)"},
		{"two documents", "a: 1\n---\nb: 1\n", "f.yaml: there is more than one YAML document; put everything into one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Decode("f.yaml", []byte(c.text))
			if err == nil {
				t.Fatalf("Decode accepted it: %+v", cfg)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "xoxb-123") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestSyntaxAndTypeErrorsHavePositions(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"slack: [\n", "runbooks: 7\n", "environments: { demo: { critical: maybe } }\n", "a: b: c\n"} {
		_, err := config.Decode("f.yaml", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "f.yaml:1:") && !strings.HasPrefix(err.Error(), "f.yaml:2:") {
			t.Errorf("Decode(%q) = %v, want a problem with its line", text, err)
		}
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	t.Parallel()
	env := map[string]string{"OPSBOT_DATABASE": "postgres://u:p@h/d", "SLACK_BOT_TOKEN": "x", "SLACK_API_URL": "http://127.0.0.1:1/api/", "OPSBOT_LOG_LEVEL": "debug", "OPSBOT_HTTP_ADDR": "127.0.0.1:1"}
	cfg, err := config.Load("", func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	got := []string{cfg.Database, cfg.Slack.BotToken.String(), cfg.Slack.AppToken.String(), cfg.Slack.APIURL, cfg.Log.Level, cfg.HTTP.Addr}
	want := []string{"postgres://u:p@h/d", "env:SLACK_BOT_TOKEN", "", "http://127.0.0.1:1/api/", "debug", "127.0.0.1:1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, err = config.Load("", func(k string) string { return map[string]string{"OPSBOT_LOG_LEVEL": "loud"}[k] })
	if err == nil || !strings.Contains(err.Error(), "environment variable OPSBOT_LOG_LEVEL") {
		t.Errorf("a wrong variable gave %v", err)
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OPSBOT_TEST_SECRET", "from-env")
	for ref, want := range map[string]string{"env:OPSBOT_TEST_SECRET": "from-env", "file:" + filepath.Join(dir, "pw"): "from-file", "command:echo from-command": "from-command"} {
		s, err := config.SecretRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Resolve(t.Context()); err != nil || got != want {
			t.Errorf("Resolve(%s) = %q, %v, want %q", ref, got, err, want)
		}
	}
	missing, _ := config.SecretRef("env:OPSBOT_TEST_NOT_SET")
	if _, err := missing.Resolve(t.Context()); err == nil || !strings.Contains(err.Error(), "OPSBOT_TEST_NOT_SET is not set") {
		t.Errorf("a missing variable gave %v", err)
	}
}

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://u:p@h/d?password=q": "postgres://u@h/d",
		"sqlite:a.db":                   "sqlite:a.db",
		"not a url":                     "(not a URL)",
	} {
		if got := config.WithoutPassword(in); got != want {
			t.Errorf("WithoutPassword(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	example, err := os.ReadFile("../../docs/opsbot.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("environments: { a: { connections: { x: { redis: 1 } } } }"))
	f.Add([]byte("slack: &a\n  bot_token: *a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := config.Decode("f.yaml", text)
		if (cfg == nil) == (err == nil) {
			t.Errorf("Decode returned %v and %v: exactly one must be there", cfg, err)
		}
	})
}
