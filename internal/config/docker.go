package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	serviceRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)
	projectRule = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	memoryRule  = regexp.MustCompile(`^([1-9][0-9]{0,8})(KiB|MiB|GiB)$`)
	signals     = []string{"", "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"}
)

// checkDocker looks at what belongs to a Docker connection alone.
func checkDocker(c Connection, path string, bad func(path, format string, args ...any)) {
	if !projectRule.MatchString(c.Project) {
		bad(path, "a docker connection needs project: the name of its Compose project, as `docker compose ls` prints it")
	}
	if c.EnvFile != "" && c.ComposeFile == "" {
		bad(path+".env_file", "env_file is for a compose_file, and there is none")
	}
	if c.MaxReplicas < 0 || c.MaxReplicas > 50 {
		bad(path+".max_replicas", "max_replicas is a number from 1 to 50")
	}
	if c.RestartCooldown < 0 {
		bad(path+".restart_cooldown", "restart_cooldown is a duration such as 10m")
	}
	service := func(key, name string) {
		if !serviceRule.MatchString(name) {
			bad(path+"."+key, "%s needs a service of the Compose project, not %q", key, name)
		}
	}
	for _, name := range c.Services {
		service("services", name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stateful)) {
		if !slices.Contains(signals, c.Stateful[name].Signal) {
			bad(path+".stateful."+name, "the signal of %q is SIGTERM, SIGINT, SIGQUIT or SIGHUP, not %q", name, c.Stateful[name].Signal)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Exec)) {
		e, key := c.Exec[name], "exec."+name
		service(key, e.Service)
		if len(e.Argv) == 0 {
			bad(path+"."+key, "the command %q needs an argv", name)
		}
		if !slices.Contains(effects, e.Effect) {
			bad(path+"."+key, "the effect of %q is read, change or destructive, not %q", name, e.Effect)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Templates)) {
		t, key := c.Templates[name], "templates."+name
		service(key, t.Service)
		if t.Port < 0 || t.Port > 65535 || t.Publish < 0 || t.Publish > 65535 {
			bad(path+"."+key, "a port is a number from 1 to 65535")
		}
		if len(t.Argv) > 0 && t.Port > 0 {
			bad(path+"."+key, "a one-shot command publishes no port")
		}
		if _, err := t.MemoryBytes(); err != nil {
			bad(path+"."+key, "%s", err)
		}
	}
	if n := c.Nginx; n != nil {
		service("nginx", n.Service)
		service("nginx", n.Of)
		u, err := url.Parse(n.URL)
		switch {
		case n.Port < 1 || n.Port > 65535:
			bad(path+".nginx", "nginx needs port: the one on which %s listens in its containers", n.Of)
		case !serviceRule.MatchString(n.Upstream):
			bad(path+".nginx", "nginx needs upstream: the name of the upstream block")
		case n.File == "":
			bad(path+".nginx", "nginx needs file: the upstream's file, in a folder that is mounted into the proxy")
		case err != nil || !strings.HasPrefix(u.Scheme, "http") || u.Host == "":
			bad(path+".nginx", "nginx needs url: an address that the proxy answers")
		}
	}
}

// MemoryBytes is the template's limit of memory; 0 is none of its own.
func (t Template) MemoryBytes() (int64, error) {
	if t.Memory == "" {
		return 0, nil
	}
	m := memoryRule.FindStringSubmatch(t.Memory)
	if m == nil {
		return 0, fmt.Errorf("memory is a size such as 512MiB, not %q", t.Memory)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n << map[string]int{"KiB": 10, "MiB": 20, "GiB": 30}[m[2]], err
}
