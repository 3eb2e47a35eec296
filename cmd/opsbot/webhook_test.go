package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const webhookToken = "a-token-of-the-tests"

// report sends what Alertmanager would, and returns how it is answered.
func (h *house) report(token, body string) (status int, answer string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.health()+"/webhooks/alertmanager", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// alertReport is a report about one alert that began at a minute past three.
func alertReport(status string, minute int) string {
	return fmt.Sprintf(`{"version": "4", "groupKey": "{}:{alertname=\"CacheGone\"}", "status": %q, "receiver": "opsbot",
		"groupLabels": {"alertname": "CacheGone"}, "commonLabels": {"alertname": "CacheGone", "severity": "critical", "environment": "demo"},
		"commonAnnotations": {"summary": "Nobody answers <!channel> on 6379."}, "externalURL": "http://alerts.example:9093",
		"alerts": [{"status": %q, "labels": {"alertname": "CacheGone", "severity": "critical", "environment": "demo", "instance": "c1"},
			"annotations": {"summary": "Nobody answers <!channel> on 6379."}, "startsAt": "2026-01-05T03:%02d:00Z", "endsAt": "2026-01-05T03:55:00Z", "fingerprint": "f1"}]}`,
		status, status, minute)
}

// An alert suggests a runbook, which somebody who may run it starts by a click.
// Repeats say nothing new, the end edits the card, and what fires again gets
// another.
func TestAlerts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.book("look.md", look("look", "alerts: [{ alertname: CacheGone, severity: critical }]"))
	h.write("webhook-token", webhookToken)
	h.configure("http: { addr: \"127.0.0.1:0\", webhook_token: file:webhook-token }\n")
	h.serve()
	cards := func() (n int) {
		for _, m := range h.sim.History("ops", "ann") {
			if strings.Contains(m.Visible(), "CacheGone") {
				n++
			}
		}
		return n
	}
	for range 3 {
		if status, answer := h.report(webhookToken, alertReport("firing", 10)); status != http.StatusOK {
			t.Fatalf("the webhook answers %d %s", status, answer)
		}
	}
	card := h.find("ann", "CacheGone", "Firing", "critical", "on demo", "Nobody answers", "instance=c1", "Run look", "Nothing runs before somebody clicks.")
	if strings.Contains(card.Text, "<!channel>") {
		t.Errorf("an alert pings the channel: %s", card.Text)
	}
	if n := h.runs(); n != 0 {
		t.Errorf("there are %d runs before the click, want none", n)
	}

	h.click("dan", card, "Run look") // who may not run anything
	h.find("dan", "You may not run look.")
	h.click("ben", card, "Run look")
	h.find("ann", "Look at the cache on demo succeeded")

	if status, _ := h.report(webhookToken, alertReport("resolved", 10)); status != http.StatusOK {
		t.Fatalf("the webhook answers the end with %d", status)
	}
	h.until("the card says the end", func() bool {
		m, ok := h.sim.Message(card.Channel, card.TS)
		return ok && strings.Contains(m.Visible(), "Resolved") && !strings.Contains(m.Visible(), "Run look")
	})
	h.report(webhookToken, alertReport("firing", 10)) // was on its way for long
	if n := cards(); n != 1 {
		t.Errorf("there are %d cards, want 1", n)
	}
	h.report(webhookToken, alertReport("firing", 40))
	h.until("there is a second card", func() bool { return cards() == 2 })
}

func TestAlertsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.write("webhook-token", webhookToken)
	h.configure("http: { addr: \"127.0.0.1:0\", webhook_token: file:webhook-token }\n")
	h.serve()
	for name, c := range map[string]struct {
		token, body string
		status      int
		says        string
	}{
		"no token":       {"", alertReport("firing", 1), http.StatusUnauthorized, "does not show the webhook's token"},
		"another token":  {"b-token-of-the-tests", alertReport("firing", 1), http.StatusUnauthorized, "does not show the webhook's token"},
		"no report":      {webhookToken, "{}", http.StatusBadRequest, "Version"},
		"a long report":  {webhookToken, `{"version": "4", "x": "` + strings.Repeat("x", 1<<20) + `"}`, http.StatusRequestEntityTooLarge, "more than 1 MiB"},
		"no JSON at all": {webhookToken, "firing!", http.StatusBadRequest, "no report of Alertmanager"},
	} {
		if status, answer := h.report(c.token, c.body); status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s is answered %d %s, want %d with %q", name, status, answer, c.status, c.says)
		}
	}
	if strings.Contains(h.log.String(), webhookToken) {
		t.Error("the token is in the log")
	}
}

// Without a token there is no webhook.
func TestAlertsWithoutToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("http: { addr: \"127.0.0.1:0\" }\n")
	h.serve()
	if status, _ := h.report(webhookToken, alertReport("firing", 1)); status != http.StatusNotFound {
		t.Errorf("a webhook without a token answers %d, want 404", status)
	}
}
