package bot

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the Slack edge's figures. The zero registerer keeps them to
// itself.
type metrics struct {
	ack        *prometheus.HistogramVec // seconds from the envelope's arrival to handing over its ack
	envelopes  *prometheus.CounterVec   // by type and what became of it
	handled    *prometheus.HistogramVec // seconds from arrival to the committed answer
	waiting    prometheus.Gauge         // inbox items leased here
	calls      *prometheus.CounterVec   // by method and Slack's answer
	waits      *prometheus.CounterVec   // seconds that deliveries were put off, by reason
	deliveries *prometheus.CounterVec   // by result
	connected  prometheus.Gauge
	opens      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		ack: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "opsbot_slack_ack_seconds", Help: "Time from an envelope's arrival to its acknowledgement.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3},
		}, []string{"type"}),
		envelopes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "opsbot_slack_envelopes_total", Help: "Envelopes received, by type and what became of them.",
		}, []string{"type", "result"}),
		handled: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "opsbot_slack_request_seconds", Help: "Time from a request's arrival to its committed answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"kind", "result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "opsbot_slack_requests_in_progress", Help: "Requests that this process works on.",
		}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "opsbot_slack_calls_total", Help: "Web API calls, by method and Slack's answer.",
		}, []string{"method", "answer"}),
		waits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "opsbot_slack_wait_seconds_total", Help: "Seconds by which messages were put off, by reason.",
		}, []string{"reason"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "opsbot_slack_deliveries_total", Help: "Messages taken from the outbox, by result.",
		}, []string{"result"}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "opsbot_slack_connected", Help: "1 while a socket has said hello.",
		}),
		opens: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "opsbot_slack_connections_total", Help: "Sockets that said hello.",
		}),
	}
	if r != nil {
		r.MustRegister(m.ack, m.envelopes, m.handled, m.waiting, m.calls, m.waits, m.deliveries, m.connected, m.opens)
	}
	return m
}
