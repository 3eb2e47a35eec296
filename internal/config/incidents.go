package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	severities = []string{"sev1", "sev2", "sev3"}
	budgeted   = []string{"declared", "assessing", "triaging", "fixing", "monitoring"}
)

// offered is how many runbooks are offered at a time at most.
const offered = 5

var runbookName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// longest is the most that a clock of an incident may count.
const longest = 7 * 24 * time.Hour

func (c *Config) checkIncidents(bad func(path, format string, args ...any)) {
	groups := func(key string, names []string) {
		for _, name := range names {
			if _, ok := c.Groups[name]; !ok {
				bad("incidents."+key, "incidents.%s names the group %q, which is not under groups", key, name)
			}
		}
	}
	groups("oncall", c.Incidents.OnCall)
	groups("escalation", c.Incidents.Escalation)
	span := func(path string, d Duration) {
		if d < 0 || time.Duration(d) > longest || d > 0 && time.Duration(d) < time.Second {
			bad(path, "%s is a time from 1s to 7 days, or 0", path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Incidents.Severities)) {
		path := "incidents.severities." + name
		if !slices.Contains(severities, name) {
			bad(path, "%q is no severity: there are %s", name, strings.Join(severities, ", "))
			continue
		}
		s := c.Incidents.Severities[name]
		for key, d := range map[string]*Duration{"teams": s.Teams, "users": s.Users} {
			if d != nil {
				span(path+"."+key, *d)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Incidents.Budgets)) {
		path := "incidents.budgets." + name
		if !slices.Contains(budgeted, name) {
			bad(path, "%q is no state with a budget: there are %s", name, strings.Join(budgeted, ", "))
			continue
		}
		span(path, c.Incidents.Budgets[name])
	}
	for key, names := range map[string][]string{"triage": c.Incidents.Triage, "verify": c.Incidents.Verify} {
		if len(names) > offered {
			bad("incidents."+key, "incidents.%s has %d runbooks; %d buttons at most are offered", key, len(names), offered)
		}
		for _, name := range names {
			if !runbookName.MatchString(name) {
				bad("incidents."+key, "%q is no name of a runbook", name)
			}
		}
	}
	span("incidents.role_nag", c.Incidents.RoleNag)
	span("incidents.snooze", c.Incidents.Snooze)
}
