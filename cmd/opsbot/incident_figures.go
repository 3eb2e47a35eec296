package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"opsbot/commands"
	"opsbot/incidents"
	"opsbot/incidents/stats"
)

// incidentFigures tells Prometheus how incidents go. What takes many queries
// is kept for a minute: Prometheus asks more often.
type incidentFigures struct {
	router *commands.Router
	log    *slog.Logger

	mu    sync.Mutex
	kept  *stats.Table
	until time.Time
}

// figuresDays is how far back the lengths of time go.
const figuresDays = 90

var (
	incidentsOpen    = described("incidents_open", "Incidents that are not closed, canceled or merged, by severity and state.", "severity", "state")
	updateOverdue    = described("incident_update_overdue_seconds", "How late the latest due update to an audience is; 0: none is.", "audience")
	incidentDuration = described("incident_seconds", "How long incidents of the last 90 days took: ttd, tta, ttm, ttr, approvals; median and mean.", "measure", "severity", "figure")
	incidentCount    = described("incident_measured", "Incidents of the last 90 days that a measure is known of.", "measure", "severity")
)

func newIncidentFigures(router *commands.Router, log *slog.Logger) *incidentFigures {
	return &incidentFigures{router: router, log: log}
}

func (c *incidentFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{incidentsOpen, updateOverdue, incidentDuration, incidentCount} {
		ch <- d
	}
}

func (c *incidentFigures) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), figuresWithin)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	open, err := c.router.Incidents.List(ctx, incidents.Query{Open: true, Limit: 200})
	if err != nil {
		c.log.Warn("no figures of incidents", "err", err)
		return
	}
	type class struct{ severity, state string }
	counts, late, now := map[class]int{}, map[incidents.Alarm]time.Duration{}, time.Now()
	for _, i := range open {
		counts[class{string(i.Severity), string(i.State)}]++
		for _, of := range incidents.Audiences {
			late[of] = max(late[of], i.Clock(of).Overdue(now))
		}
	}
	for k, n := range counts {
		gauge(incidentsOpen, float64(n), k.severity, k.state)
	}
	for _, of := range incidents.Audiences {
		gauge(updateOverdue, late[of].Seconds(), string(of))
	}
	table, err := c.measured(ctx, now)
	if err != nil {
		c.log.Warn("no figures of how long incidents took", "err", err)
		return
	}
	for _, row := range table.Rows {
		severity := row.Severity
		if severity == "" {
			severity = "all"
		}
		for _, m := range stats.Measures {
			f := row.Figures[m]
			gauge(incidentCount, float64(f.Count), string(m), severity)
			if f.Count > 0 {
				gauge(incidentDuration, f.Median.Seconds(), string(m), severity, "median")
				gauge(incidentDuration, f.Mean.Seconds(), string(m), severity, "mean")
			}
		}
	}
}

func (c *incidentFigures) measured(ctx context.Context, now time.Time) (stats.Table, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil && now.Before(c.until) {
		return *c.kept, nil
	}
	t, err := c.router.Measured(ctx, now.AddDate(0, 0, -figuresDays))
	if err == nil {
		c.kept, c.until = &t, now.Add(time.Minute)
	}
	return t, err
}
