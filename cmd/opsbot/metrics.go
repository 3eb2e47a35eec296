package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"opsbot/internal/store"
)

// databaseFigures reads what waits in the database whenever Prometheus asks.
// With the database out of reach there are no figures, and opsbot_database_up
// is 0: nothing that is not known looks like nothing to do.
type databaseFigures struct {
	db  *store.Store
	log *slog.Logger
}

const figuresWithin = 3 * time.Second

func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("opsbot_"+name, help, labels, nil)
}

var (
	databaseUp   = described("database_up", "1 when the database answered, else 0.")
	inboxDepth   = described("inbox_depth", "Requests from Slack that are recorded and not answered yet.")
	inboxAge     = described("inbox_oldest_seconds", "Age of the oldest of them.")
	outboxDepth  = described("outbox_depth", "Messages that are due and not delivered yet.")
	outboxLag    = described("outbox_lag_seconds", "How long the oldest of them has been due.")
	outboxGiven  = described("outbox_dropped", "Messages that were given up in the last week.")
	runsByState  = described("runs", "Runs, by state.", "state")
	openQuestion = described("approvals_waiting", "Open questions to people, by kind.", "kind")
	firings      = described("schedule_firings_last_day", "Starts by the clock in the last 24 hours, by what came of them.", "outcome")
	scheduleLate = described("schedule_overdue_seconds", "How long the oldest schedule has been due; it grows when nothing fires.")
)

func (c databaseFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{databaseUp, inboxDepth, inboxAge, outboxDepth, outboxLag, outboxGiven, runsByState, openQuestion, firings, scheduleLate} {
		ch <- d
	}
}

func (c databaseFigures) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), figuresWithin)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	f, err := c.db.Figures(ctx)
	if err != nil {
		c.log.Warn("no figures of the database", "err", err)
		gauge(databaseUp, 0)
		return
	}
	gauge(databaseUp, 1)
	gauge(inboxDepth, float64(f.Inbox))
	gauge(inboxAge, f.InboxAge.Seconds())
	gauge(outboxDepth, float64(f.Outbox))
	gauge(outboxLag, f.OutboxLag.Seconds())
	gauge(outboxGiven, float64(f.Dropped))
	gauge(scheduleLate, f.ScheduleLate.Seconds())
	gauge(firings, float64(f.Fired), "run")
	gauge(firings, float64(f.NotFired), "not_run")
	for _, state := range []string{"ready", "waiting", "uncertain", "succeeded", "failed", "canceled"} {
		gauge(runsByState, float64(f.Runs[state]), state)
	}
	for _, kind := range []string{"confirm", "review", "ask", "manual", "uncertain"} {
		gauge(openQuestion, float64(f.Approvals[kind]), kind)
	}
}
