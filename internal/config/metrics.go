package config

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// A ScrapeService is a service of a Compose project, each of whose containers
// has metrics.
type ScrapeService struct {
	Docker  string `yaml:"docker"`  // connection of the same environment
	Service string `yaml:"service"` // of its Compose project
	Port    int    `yaml:"port"`    // in the containers
	Path    string `yaml:"path"`    // "" is /metrics
}

// checkMetrics looks at what belongs to a connection for metrics alone.
func checkMetrics(c Connection, path string, bad func(path, format string, args ...any)) {
	for _, address := range c.Scrape {
		rest, byName := strings.CutPrefix(address, "dns+")
		switch u, err := url.Parse(rest); {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
			bad(path+".scrape", "scrape wants addresses such as http://api:8000/metrics, or dns+http://… for every address of a name")
		case byName && u.Port() == "":
			bad(path+".scrape", "%s needs a port", address)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Queries)) {
		q, key := c.Queries[name], path+".queries."+name
		if !nameRule.MatchString(name) {
			bad(key, "the query's name %q must be lower case letters, digits, - and _", name)
		}
		if strings.TrimSpace(q.SQL) == "" || len(q.Args) > 0 {
			bad(key, "the query %q is PromQL as a text, without args", name)
		}
	}
	if s := c.ScrapeService; s != nil && (s.Port < 1 || s.Port > 65535) {
		bad(path+".scrape_service", "scrape_service needs port: the one of the metrics in the service's containers")
	}
	if s := c.ScrapeService; s != nil && !strings.HasPrefix(cmp.Or(s.Path, "/"), "/") {
		bad(path+".scrape_service", "the path of scrape_service must start with /")
	}
}

// checkBeside looks at what a connection needs of another one.
func checkBeside(env Environment, name, path string, bad func(path, format string, args ...any)) {
	s := env.Connections[name].ScrapeService
	switch {
	case s == nil:
	case env.Connections[s.Docker].Kind() != "docker":
		bad(path+".scrape_service", "scrape_service needs docker: the name of a docker connection of this environment, not %q", s.Docker)
	case !serviceRule.MatchString(s.Service):
		bad(path+".scrape_service", "scrape_service needs service: one of the Compose project, not %q", s.Service)
	}
}
