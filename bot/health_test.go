package bot_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"opsbot/internal/slacksim"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	registry := prometheus.NewPedanticRegistry()
	h.registry = registry
	h.move()
	h.slash("ann", "den", "/runbook list")
	h.expect("den", "did runbook list")
	h.say(line("", "a line"))
	h.expect("ops", "a line")
	h.sim.SendRaw(`{"envelope_id":"e1","type":"made_up_` + strings.Repeat("x", 100) + `","payload":{}}`)
	h.until("the acks", func() bool { return len(h.sim.Acks()) >= 2 }) // of events of messages, too

	h.until("the figures", func() bool {
		return h.figure("opsbot_slack_envelopes_total", "slash_commands", "recorded") == 1 &&
			h.figure("opsbot_slack_envelopes_total", "unknown", "unreadable") == 1 &&
			h.figure("opsbot_slack_deliveries_total", "posted") == 1 &&
			h.figure("opsbot_slack_calls_total", "chat.postMessage", "ok") == 1 &&
			h.figure("opsbot_slack_connected") == 1
	})
}

// figure returns a counter or gauge with these label values, in any order.
func (h *house) figure(name string, labels ...string) float64 {
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetValue()] = true
			}
			all := true
			for _, l := range labels {
				all = all && have[l]
			}
			if all {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// The status follows the socket.
func TestStatus(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.start()
	if s := h.w.Status(); s.Ready() && h.sim.Connected() == 0 {
		t.Error("ready before hello")
	}
	h.until("ready", func() bool { s := h.w.Status(); return s.Ready() && s.Connections == 1 })
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if s := h.w.Status(); s.Ready() || s.Connected || len(s.Reasons) == 0 {
		t.Errorf("after the stop: %+v", s)
	}
}
