package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"opsbot/commands"
	"opsbot/internal/alert"
	"opsbot/internal/config"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

const (
	webhookPath   = "POST /webhooks/alertmanager"
	webhookWithin = 10 * time.Second // for a body to arrive, and for the database
	maxAlertCards = 50               // lines of a card that are kept
)

// alertWebhook takes what Alertmanager reports and shows it in Slack, with the
// runbooks that it suggests. It starts nothing, and declares nothing.
type alertWebhook struct {
	token  string
	board  alert.Board
	engine *engine.Engine
	log    *slog.Logger
}

// newAlertWebhook resolves the token; without one there is no webhook, and nil.
func newAlertWebhook(ctx context.Context, cfg *config.Config, board alert.Board, e *engine.Engine, log *slog.Logger) (*alertWebhook, error) {
	if cfg.HTTP.WebhookToken.IsZero() {
		return nil, nil
	}
	token, err := cfg.HTTP.WebhookToken.Resolve(ctx)
	if err == nil && len(token) < 16 {
		err = errors.New("it has less than 16 characters, which can be guessed")
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "The token of the webhook (http.webhook_token): %s.", err)
	}
	return &alertWebhook{token, board, e, log}, nil
}

func (h *alertWebhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := h.take(w, r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		h.log.Warn("a report of alerts was not taken", "status", status, "err", err)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": fault.Say(err)})
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "{}\n")
}

// take returns 2xx once the report is on record: Alertmanager sends again what
// was answered with 5xx, and drops what was answered with 4xx.
func (h *alertWebhook) take(w http.ResponseWriter, r *http.Request) (status int, err error) {
	if !h.knows(r) {
		return http.StatusUnauthorized, fault.New(fault.Forbidden, "The report does not show the webhook's token.")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(webhookWithin))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, alert.MaxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, "The report has more than 1 MiB.").
			Hinted("Set max_alerts in Alertmanager's webhook_config.")
	case err != nil:
		return http.StatusBadRequest, fault.New(fault.Invalid, "The report did not arrive whole.").Because(err)
	}
	g, err := alert.Parse(body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), webhookWithin)
	defer cancel()
	if _, err := h.board.Tell(ctx, alert.Report{Group: g.ID(), Firing: g.Firing(), Onsets: g.Onsets(), Card: h.card(g)}); err != nil {
		return http.StatusServiceUnavailable, fault.New(fault.Unavailable, "The report could not be recorded.").Because(err)
	}
	return http.StatusOK, nil
}

// knows compares the token in a time that tells nothing about it.
func (h *alertWebhook) knows(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(h.token))
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// card is what Slack shows of the group. A start is what a click on a command
// is: with the rights of who clicks.
func (h *alertWebhook) card(g *alert.Group) outbox.Alert {
	env := h.environment(g)
	c := outbox.Alert{Title: g.Name(), State: "firing", Severity: g.Label("severity"), Environment: env, Text: g.Summary(),
		Since: g.Since(), More: max(g.Truncated, 0), Link: g.External}
	if !g.Firing() {
		c.State = "resolved"
		for _, a := range g.Alerts {
			if a.Ends.After(c.Ended) {
				c.Ended = a.Ends
			}
		}
	}
	for i, a := range g.Alerts {
		if i == maxAlertCards {
			c.More += len(g.Alerts) - i
			break
		}
		line := outbox.AlertLine{Labels: g.Own(a), State: a.Status, Since: a.Starts}
		if s := a.Summary(); s != c.Text {
			line.Text = s
		}
		c.Alerts = append(c.Alerts, line)
	}
	for _, rb := range g.Suggested(h.engine.Library().All()) {
		start := commands.Command{Verb: "run", Runbook: rb.Slug, Environment: env}
		c.Runbooks = append(c.Runbooks, outbox.Item{Name: rb.Title, Command: start.Line(), Label: fmt.Sprint("Run ", rb.Slug)})
	}
	return c
}

// environment is the one that the alerts name, if there is such a one.
func (h *alertWebhook) environment(g *alert.Group) string {
	for _, label := range []string{"environment", "env"} {
		name := g.Label(label)
		if slices.ContainsFunc(h.engine.Environments(), func(e engine.Environment) bool { return e.Name == name }) {
			return name
		}
	}
	return ""
}
