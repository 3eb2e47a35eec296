package main

import (
	"log/slog"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/access"
	"opsbot/internal/config"
	"opsbot/internal/store"
)

// newTracker opens the tracker of incidents. runbook knows the runbooks that
// can be run here.
func newTracker(cfg *config.Config, db *store.Store, people access.Directory, runbook func(name string) (string, bool), log *slog.Logger) *incidents.Tracker {
	channel := cfg.Slack.IncidentChannel
	if channel == "" {
		channel = cfg.Slack.OpsChannel
	}
	return incidents.New(incidents.Options{
		Store: db.Incidents(), Rules: incidentRules(cfg), People: people, Policy: policyOf(cfg), Channel: named(channel), Log: log, Runbook: runbook,
	})
}

// named writes a channel as the outbox wants it: an id, or a name with #.
func named(channel string) string {
	if channel == "" || strings.HasPrefix(channel, "#") || strings.ToUpper(channel) == channel && len(channel) > 7 {
		return channel
	}
	return "#" + channel
}

// incidentRules puts what the configuration says over the rules.
func incidentRules(cfg *config.Config) incidents.Rules {
	r := incidents.DefaultRules()
	for name, s := range cfg.Incidents.Severities {
		severity, ok := incidents.ParseSeverity(name)
		if !ok {
			continue // config has checked it
		}
		t := r.Terms[severity]
		for _, d := range []struct {
			said *config.Duration
			is   *time.Duration
		}{{s.Teams, &t.Teams}, {s.Users, &t.Users}} {
			if d.said != nil {
				*d.is = time.Duration(*d.said)
			}
		}
		if s.Comms != nil {
			t.Comms = *s.Comms
		}
		if s.Postmortem != nil {
			t.Postmortem = *s.Postmortem
		}
		r.Terms[severity] = t
	}
	for name, d := range cfg.Incidents.Budgets {
		r.Budgets[incidents.State(name)] = time.Duration(d)
	}
	if d := cfg.Incidents.RoleNag; d > 0 {
		r.RoleNag = time.Duration(d)
	}
	if d := cfg.Incidents.Snooze; d > 0 {
		r.Snooze = time.Duration(d)
	}
	if list := cfg.Incidents.Triage; list != nil {
		r.Triage = list
	}
	if list := cfg.Incidents.Verify; list != nil {
		r.Verify = list
	}
	r.OnCall, r.Escalation = cfg.Incidents.OnCall, cfg.Incidents.Escalation
	if _, ok := cfg.Groups["oncall"]; ok && len(r.OnCall) == 0 {
		r.OnCall = []string{"oncall"}
	}
	return r
}
