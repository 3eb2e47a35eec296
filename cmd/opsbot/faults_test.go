package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"opsbot/internal/slacksim"
)

// Slack has a bad time in the middle of a run: it answers 503 and 429, slowly
// and sometimes not at all, and sockets break and are refreshed. No click is
// lost, there is one run, and the card says the end.
func TestSlackIsUnwellInMidRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.serve()
	bad := func() {
		h.sim.Fail("chat.update", slacksim.Fault{Status: 503, Times: 3})
		h.sim.Fail("chat.postMessage", slacksim.Fault{RetryAfter: 2 * time.Second})
		h.sim.Fail("chat.postMessage", slacksim.Fault{Status: 500})
		h.sim.Fail("chat.postMessage", slacksim.Fault{Lost: true})
		h.sim.Fail("usergroups.users.list", slacksim.Fault{Status: 502})
		h.sim.Fail("apps.connections.open", slacksim.Fault{RetryAfter: time.Second})
		h.sim.Fail("apps.connections.open", slacksim.Fault{Status: 503})
	}
	h.answer("ann", func() { h.slash("ann", "/runbook") }) // so that the groups have been heard of once
	bad()
	h.slash("ann", "/runbook cache-fix window=5s")
	h.find("ann", "… 2. How low is the hit rate now?")
	h.sim.DropSockets()
	p := &pilot{house: h}
	confirmed := func() bool { return h.says("confirmed at") }
	p.fly(confirmed)
	bad()
	h.sim.Disconnect("refresh_requested")
	p.fly(func() bool { return h.says("✓ 4. Clear our keys") })
	bad()
	h.sim.Disconnect("warning")
	p.fly(p.landed)
	h.find("ann", "Cache troubleshooting on demo", "✓ *Done*")
	stop()
	h.succeeded("no boundary")
	h.once("Started Cache troubleshooting on demo.", "*Cache fix* pass")
}

// For a minute Slack takes nothing at all: what was typed before is on record,
// the run goes on, and what there is to say is said when Slack is back, in
// order and once. The minute is ten seconds here.
func TestSlackTakesNothingForAWhile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	stop := h.serve()
	h.answer("ann", func() { h.slash("ann", "/runbook") })
	for _, method := range []string{"chat.postMessage", "chat.update", "chat.postEphemeral", "response_url", "views.open"} {
		h.sim.Fail(method, slacksim.Fault{Status: 503, For: time.Hour})
	}
	h.slash("ann", "/runbook cache-fix window=5s")
	h.slash("ben", "/runbook emergency-restart service=api")
	poll(t, "both runs wait for people", func() bool {
		_, out, _ := h.opsbot("", "runs", "list")
		return strings.Count(out, "waiting") == 2
	})
	for _, m := range h.sim.History("ops", "ann") {
		if strings.Contains(m.Visible(), " on demo") {
			t.Errorf("Slack took a message: %s", m.Visible())
		}
	}
	h.sim.Heal()
	h.find("ann", "By hand: 1. Save the evidence")
	p := &pilot{house: h}
	p.fly(p.landed)
	h.find("ann", "Cache troubleshooting on demo", "✓ *Done*")
	stop()
	if n := h.runs(); n != 2 {
		t.Errorf("there are %d runs, want 2", n)
	}
	h.once("Started Cache troubleshooting on demo.", "Started Emergency restart on demo.", "*Cache fix* pass")
	var order []string
	for _, m := range h.sim.History("ops", "ann") {
		for _, name := range []string{"Cache troubleshooting on demo", "Emergency restart on demo"} {
			if strings.HasPrefix(m.Visible(), name) {
				order = append(order, name)
			}
		}
	}
	if !slices.Equal(order, []string{"Cache troubleshooting on demo", "Emergency restart on demo"}) {
		t.Errorf("the cards came as %q", order)
	}
}

// What Slack delivers twice, because an ack got lost, came late or never could
// come, is done once.
func TestDeliveredTwice(t *testing.T) {
	t.Parallel()
	for name, misbehave := range map[string]func(*house){
		"lost ack":         func(h *house) { h.sim.DropNextAcks(1, "app_mention") },
		"slow ack":         func(h *house) { h.sim.DelayAcks(3500 * time.Millisecond) },
		"duplicated event": func(h *house) { h.sim.DuplicateEvents(1) },
		"cut envelope":     func(h *house) { h.sim.CutNextEnvelope() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.byHand()
			stop := h.serve()
			misbehave(h)
			// By mention, which is an event: what Slack delivers again.
			if _, err := h.sim.As("ann").Say("ops", "<@"+h.sim.BotUserID()+"> runbook emergency-restart service=api"); err != nil {
				t.Fatal(err)
			}
			h.find("UANN", "By hand: 1. Save the evidence")
			h.delivered()
			h.once("Started Emergency restart on demo.", "By hand: 1. Save the evidence")
			stop()
			h.ended() // of exactly one run
		})
	}
}

// delivered lets Slack's time go by until it has nothing left to deliver again.
func (h *house) delivered() {
	h.t.Helper()
	poll(h.t, "every delivery is acknowledged", func() bool {
		if h.sim.Connected() == 1 {
			h.sim.Advance(time.Second) // until Slack's next try is due
		}
		return h.sim.Pending() == 0
	})
}

// SIGTERM in the middle of a step: the process ends by itself with exit code 0,
// and the next one goes on where it was and says so.
func TestStopInMidRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bot := h.spawn("never")
	h.connected(1)
	h.slash("ann", "/runbook cache-fix window=5s")
	h.find("ann", "… 2. How low is the hit rate now?")
	bot.stop() // checks the exit code
	if log := bot.log.String(); !strings.Contains(log, "opsbot has stopped") {
		t.Errorf("the log does not say that it has stopped:\n%s", log)
	}
	again := h.spawn("never")
	p := &pilot{house: h}
	p.fly(func() bool { return h.says("confirmed at") })

	// Once more while people are asked: the question still stands afterwards.
	again.stop()
	third := h.spawn("never")
	p.fly(p.landed)
	if err := third.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	third.wait()
	h.succeeded("SIGTERM")
	h.once("Started Cache troubleshooting on demo.", "*Cache fix* pass")
}

// says reports whether a text stands anywhere in #ops now.
func (h *house) says(text string) bool { return h.count(text) > 0 }

// count is in how many messages of #ops, replies included, a text stands.
func (h *house) count(text string) (n int) {
	for _, m := range h.sim.History("ops", "ann") {
		all := []slacksim.Message{m}
		if m.ReplyCount > 0 {
			all = h.sim.Thread("ops", m.TS, "ann")
		}
		for _, m := range all {
			if strings.Contains(m.Visible(), text) {
				n++
			}
		}
	}
	return n
}

// once wants each text in one message: nothing is lost and nothing said twice.
func (h *house) once(texts ...string) {
	h.t.Helper()
	for _, text := range texts {
		if n := h.count(text); n != 1 {
			h.t.Errorf("%q stands in %d messages, want 1:\n%s", text, n, h.transcript())
		}
	}
}
