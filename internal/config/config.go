// Package config decodes opsbot.yaml strictly and names every wrong key.
package config

import (
	"maps"
	"net/url"
	"strings"
	"time"
)

// A Config is what opsbot.yaml says, with the environment variables applied.
// The zero value is a server without Slack, with SQLite in the working
// directory and no environments: enough to lint.
type Config struct {
	Slack        Slack                  `yaml:"slack"`
	Database     string                 `yaml:"database"` // sqlite:PATH or postgres://…
	HTTP         HTTP                   `yaml:"http"`
	Runbooks     []string               `yaml:"runbooks"` // folders, relative to the file
	Groups       map[string]Group       `yaml:"groups"`
	Policy       Policy                 `yaml:"policy"`
	Incidents    Incidents              `yaml:"incidents"`
	Identities   Identities             `yaml:"identities"`
	Environments map[string]Environment `yaml:"environments"`
	Secrets      map[string]Secret      `yaml:"secrets"` // that runbooks ask for by name, in every environment
	Log          Log                    `yaml:"log"`
	Pagers       map[string]Pager       `yaml:"pagers"`
	Status       Status                 `yaml:"status"`

	File string `yaml:"-"` // where it was read from; "" for none
}

// Slack says how to reach the workspace.
type Slack struct {
	BotToken        Secret `yaml:"bot_token"`
	AppToken        Secret `yaml:"app_token"`
	ConfigToken     Secret `yaml:"config_token"` // shows the app's settings, to compare them with the manifest
	APIURL          string `yaml:"api_url"`      // another Slack, such as the simulator; "" is slack.com
	IncidentChannel string `yaml:"incident_channel"`
	OpsChannel      string `yaml:"ops_channel"`
}

// HTTP is the server for health, metrics and webhooks.
type HTTP struct {
	Addr         string `yaml:"addr"`          // host:port; "" serves nothing
	WebhookToken Secret `yaml:"webhook_token"` // that Alertmanager shows; zero: alerts are not taken
}

// Log says how much is logged.
type Log struct {
	Level  string `yaml:"level"`  // debug info warn error; "" is info
	Format string `yaml:"format"` // text or json; "" is json
}

// A Group is a set of people: a Slack user group, named users, or both.
type Group struct {
	Usergroup string   `yaml:"usergroup"` // the group's handle, without @
	Users     []string `yaml:"users"`     // user ids
}

// Policy is the floor under what a runbook asks for.
type Policy struct {
	Review         Review      `yaml:"review"`
	BreakGlass     *BreakGlass `yaml:"break_glass"`     // nil: nobody may go on without review
	VerifiedWithin Days        `yaml:"verified_within"` // how long a runbook's last drill counts; 0: for ever
}

// BreakGlass says who may go on without review when nobody else is there.
type BreakGlass struct {
	By      string `yaml:"by"`      // group
	Channel string `yaml:"channel"` // where it is told, and followed up; "": ops_channel
}

// Review says how many people other than the starter must agree.
type Review struct {
	Destructive         *int     `yaml:"destructive"`          // nil: 1
	DestructiveCritical *int     `yaml:"destructive_critical"` // in a critical environment; nil: 2
	By                  []string `yaml:"by"`                   // groups of which every reviewer must be in one; none: as the runbooks say
}

// Incidents says how incidents are kept.
type Incidents struct {
	OnCall     []string            `yaml:"oncall"`     // groups that may take command; none: oncall, if there is such a group, else everybody
	Escalation []string            `yaml:"escalation"` // groups that are called when nobody takes command, and may take it; none: those on call
	Severities map[string]Severity `yaml:"severities"` // sev1, sev2 and sev3; what is left out stays as it is
	Budgets    map[string]Duration `yaml:"budgets"`    // of states; 0: none
	RoleNag    Duration            `yaml:"role_nag"`   // 0 is 2 minutes
	Snooze     Duration            `yaml:"snooze"`     // 0 is 5 minutes
	Triage     []string            `yaml:"triage"`     // runbooks that are offered when the triage begins; nil: built-in ones
	Verify     []string            `yaml:"verify"`     // runbooks that are offered to see whether it is over; nil: built-in ones
}

// A Severity says what a severity asks for.
type Severity struct {
	Teams      *Duration `yaml:"teams"`      // between two updates to the teams; 0: none are due
	Users      *Duration `yaml:"users"`      // between two updates to the users; 0: none are due
	Comms      *bool     `yaml:"comms"`      // a communications lead is needed
	Postmortem *bool     `yaml:"postmortem"` // it cannot be closed without one
}

// Identities says who sits at a terminal.
type Identities struct {
	Unix map[string]string `yaml:"unix"` // account name → Slack user id
}

// An Environment is a set of systems that a run can choose.
type Environment struct {
	Critical    bool                  `yaml:"critical"`
	Default     bool                  `yaml:"default"`
	Connections map[string]Connection `yaml:"connections"`
	Secrets     map[string]Secret     `yaml:"secrets"` // of this environment alone; they win over those of all
}

// SecretsOf returns the secrets that runbooks may ask for in an environment, by
// name.
func (c *Config) SecretsOf(environment string) map[string]Secret {
	all := maps.Clone(c.Secrets)
	if all == nil {
		all = map[string]Secret{}
	}
	maps.Copy(all, c.Environments[environment].Secrets)
	return all
}

// A Connection leads to one system. Exactly one of Redis, Postgres, Docker,
// HTTP, Prometheus and Host is set; it is the connection's kind. What else only
// one kind has stands for it too: Scrape for Prometheus, Commands and Files for
// Host.
type Connection struct {
	Redis      string `yaml:"redis"`      // redis://host:port/db
	Postgres   string `yaml:"postgres"`   // postgres://user@host/database
	Docker     string `yaml:"docker"`     // unix:///path or tcp://host:port
	HTTP       string `yaml:"http"`       // base URL
	Prometheus string `yaml:"prometheus"` // base URL
	Host       bool   `yaml:"host"`       // this machine

	Username            string              `yaml:"username"`
	Password            Secret              `yaml:"password"`
	Token               Secret              `yaml:"token"`
	PureCache           bool                `yaml:"pure_cache"`
	MaintenanceUser     string              `yaml:"maintenance_user"` // of what changes something; "": the same as for looking
	MaintenancePassword Secret              `yaml:"maintenance_password"`
	RestoreUser         string              `yaml:"restore_user"`
	RestorePassword     Secret              `yaml:"restore_password"`
	ReserveUser         string              `yaml:"reserve_user"` // a superuser, for when no slot is left
	ReservePassword     Secret              `yaml:"reserve_password"`
	Indexes             map[string]Index    `yaml:"indexes"`
	Archives            map[string]Archive  `yaml:"archives"`
	Backups             string              `yaml:"backups"`      // glob of dumps that may be restored
	Psql                *Psql               `yaml:"psql"`         // nil: this machine's
	Project             string              `yaml:"project"`      // of Compose
	ComposeFile         string              `yaml:"compose_file"` // "": no compose.* actions
	EnvFile             string              `yaml:"env_file"`     // for the Compose file
	Services            []string            `yaml:"services"`     // that should run; none: those of the Compose file
	Stateful            map[string]Stop     `yaml:"stateful"`     // services whose stop loses something
	MaxReplicas         int                 `yaml:"max_replicas"` // of compose.scale; 0 is 8
	RestartCooldown     Duration            `yaml:"restart_cooldown"`
	Registries          []string            `yaml:"registries"` // that docker.pull may fetch from
	Exec                map[string]Exec     `yaml:"exec"`       // for docker.exec and docker.probe
	Templates           map[string]Template `yaml:"templates"`  // for docker.run
	Nginx               *Nginx              `yaml:"nginx"`
	Lists               map[string]List     `yaml:"lists"`
	Queries             map[string]Query    `yaml:"queries"`        // named SQL or PromQL
	Scrape              []string            `yaml:"scrape"`         // addresses of metrics, one for each replica
	ScrapeService       *ScrapeService      `yaml:"scrape_service"` // nil: none
	Commands            map[string]Command  `yaml:"commands"`
	Files               map[string]string   `yaml:"files"`
}

// A List is a set of paths for http.warm: one path for each value of user.
type List struct {
	Path string `yaml:"path"` // with {user} where a value goes
	User string `yaml:"user"` // file:PATH with one value per line, or values separated by commas
}

// A Query is a statement that runbooks use by its name. A text alone is one
// without values.
type Query struct {
	SQL  string  `yaml:"sql"`
	Args []Param `yaml:"args"` // for $1, $2, …
}

// A Param is a value of a Query.
type Param struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"`    // text, int, float, bool, duration, time; "" is text
	Default string `yaml:"default"` // "": it must be given
}

// An Index is one that runbooks may build and drop by its id.
type Index struct {
	Table  string `yaml:"table"` // with its schema
	Name   string `yaml:"name"`
	On     string `yaml:"on"` // what is indexed: "user_id, created_at DESC"
	Unique bool   `yaml:"unique"`
	Method string `yaml:"method"` // "" is btree
	Where  string `yaml:"where"`
}

// An Archive says which rows of a table are moved where.
type Archive struct {
	Table     string `yaml:"table"`      // with its schema
	Into      string `yaml:"into"`       // with its schema
	Key       string `yaml:"key"`        // column that is unique
	Time      string `yaml:"time"`       // column that tells a row's age
	RunColumn string `yaml:"run_column"` // of the archive, for the run that moved the row
}

// A Psql says where the program psql runs: in a service's container.
type Psql struct {
	Docker  string `yaml:"docker"`  // connection of the same environment
	Service string `yaml:"service"` // of its Compose project
	User    string `yaml:"user"`    // account in the container; "" is the container's
}

// A Command is a named command that exec.run may start.
type Command struct {
	Argv    []string     `yaml:"argv"`    // {name} stands for a value of args
	Args    []CommandArg `yaml:"args"`    // that a runbook gives
	Effect  string       `yaml:"effect"`  // read, change or destructive; "" is change
	Env     []string     `yaml:"env"`     // names of variables that are passed on, besides PATH
	Dir     string       `yaml:"dir"`     // "" is the root directory
	Timeout Duration     `yaml:"timeout"` // 0 is a minute
}

// A Stop says how a service is asked to stop.
type Stop struct {
	Signal string   `yaml:"signal"` // "" is the container's own
	Grace  Duration `yaml:"grace"`  // before it is killed; 0 is the container's own
}

// An Exec is a named command that may run in a service's container.
type Exec struct {
	Service string   `yaml:"service"`
	Argv    []string `yaml:"argv"`
	User    string   `yaml:"user"`
	Effect  string   `yaml:"effect"` // read, change or destructive; "" is change
	Timeout Duration `yaml:"timeout"`
}

// A Template is a container that docker.run may start, like one of a service.
type Template struct {
	Service string   `yaml:"service"`
	Argv    []string `yaml:"argv"`    // of a one-shot command; none: a green instance
	Port    int      `yaml:"port"`    // in the container
	Publish int      `yaml:"publish"` // on the engine's loopback; 0: any free one
	Memory  string   `yaml:"memory"`  // "512MiB"; "" is the service's own limit
	Pids    int64    `yaml:"pids"`
	Timeout Duration `yaml:"timeout"`
}

// An Nginx is the proxy in front of a service.
type Nginx struct {
	Service  string `yaml:"service"`  // of the proxy's own container
	Upstream string `yaml:"upstream"` // name of the upstream block
	Of       string `yaml:"of"`       // service that gets the traffic
	Port     int    `yaml:"port"`     // of that service
	File     string `yaml:"file"`     // on this machine, in a folder that is mounted into the proxy
	URL      string `yaml:"url"`      // that the proxy answers
	Header   string `yaml:"header"`   // that names the instance; "" is X-Instance
}

// A Duration is a time.Duration written as "30s" or "5m".
type Duration time.Duration

// Days is a number of days, written as "180d".
type Days int

// Kind returns which of the kinds the connection is, and "" unless exactly one
// is set.
func (c Connection) Kind() string {
	kind, n := "", 0
	for k, set := range map[string]bool{
		"redis": c.Redis != "", "postgres": c.Postgres != "", "docker": c.Docker != "",
		"http": c.HTTP != "", "prometheus": c.Prometheus != "" || c.Scrape != nil || c.ScrapeService != nil, "host": c.Host || c.Commands != nil || c.Files != nil,
	} {
		if set {
			kind, n = k, n+1
		}
	}
	if n != 1 {
		return ""
	}
	return kind
}

// WithoutPassword returns a URL as it may be shown: the password is left out,
// and a text that is no URL is not shown at all.
func WithoutPassword(raw string) string {
	if rest, ok := strings.CutPrefix(raw, "sqlite:"); ok {
		return "sqlite:" + rest
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		return "(not a URL)"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	u.RawQuery = ""
	return u.String()
}
