package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"opsbot/internal/slacksim"
)

var healthAddr = regexp.MustCompile(`answering health checks.*addr"?[=:]"?(127\.0\.0\.1:[0-9]+)`)

// health is the address of the bot's health checks, out of its log.
func (h *house) health() string {
	h.t.Helper()
	m := healthAddr.FindAllStringSubmatch(h.log.String(), -1)
	if m == nil {
		h.t.Fatalf("the log does not say where health is answered:\n%s", h.log.String())
	}
	return "http://" + m[len(m)-1][1]
}

// ready asks /readyz.
func (h *house) ready() (status int, checks map[string]string) {
	h.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(h.health() + "/readyz")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Ready  bool
		Checks map[string]string
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		h.t.Fatalf("/readyz is no JSON: %v", err)
	}
	if body.Ready != (resp.StatusCode == http.StatusOK) {
		h.t.Errorf("/readyz answers %s and ready: %v", resp.Status, body.Ready)
	}
	return resp.StatusCode, body.Checks
}

// What docs/operating.md promises of the health checks: alive, ready with its
// reasons, and figures.
func TestHealth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("http: { addr: \"127.0.0.1:0\" }\n")
	h.serve()
	poll(t, "the bot is ready", func() bool { status, _ := h.ready(); return status == 200 })
	if got := get(t, h.health()+"/healthz"); got != "ok\n" {
		t.Errorf("/healthz answers %q", got)
	}
	h.answer("ann", func() { h.slash("ann", "/runbook") })
	figures := get(t, h.health()+"/metrics")
	for _, want := range []string{
		`opsbot_slack_connected 1`, `opsbot_slack_ack_seconds_count{type="slash_commands"} 1`, `opsbot_slack_envelopes_total{result="recorded",type="slash_commands"} 1`,
		`opsbot_slack_calls_total{answer="ok",method="auth.test"}`, "go_goroutines ", "process_resident_memory_bytes ",
		"opsbot_database_up 1", "opsbot_inbox_depth 0", "opsbot_outbox_lag_seconds ", `opsbot_runs{state="waiting"} 0`, `opsbot_approvals_waiting{kind="review"} 0`,
		`opsbot_incident_update_overdue_seconds{audience="teams"} 0`, `opsbot_incident_measured{measure="ttr",severity="all"} 0`,
		`opsbot_schedule_firings_last_day{outcome="not_run"} 0`, "opsbot_schedule_overdue_seconds 0",
	} {
		if !strings.Contains(figures, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}

	// Slack's socket goes and stays away: alive, but not ready, and why.
	h.sim.Fail("apps.connections.open", slacksim.Fault{Status: 503, For: time.Hour})
	h.sim.DropSockets()
	poll(t, "the bot is not ready", func() bool { status, _ := h.ready(); return status == 503 })
	if status, checks := h.ready(); status != 503 || checks["database"] != "ok" || checks["slack"] == "ok" || !strings.HasSuffix(checks["slack"], ".") {
		t.Errorf("without Slack, /readyz answers %d, %v", status, checks)
	}
	if got := get(t, h.health()+"/healthz"); got != "ok\n" {
		t.Errorf("without Slack, /healthz answers %q", got)
	}
	addr := strings.TrimPrefix(h.health(), "http://")
	h.edit(`addr: "127.0.0.1:0"`, `addr: "`+addr+`"`)
	if code, out, _ := h.opsbot("", "healthcheck"); code != exitFailed || !strings.Contains(out, `"ready":false`) {
		t.Errorf("healthcheck exits with %d and prints %s", code, out)
	}
	h.sim.Heal()
	poll(t, "the bot is ready again", func() bool { status, _ := h.ready(); return status == 200 })
	if code, out, _ := h.opsbot("", "healthcheck"); code != exitWell || !strings.Contains(out, `"ready":true`) {
		t.Errorf("healthcheck exits with %d and prints %s", code, out)
	}
}

// No secret gets out: not into the log at its most talkative, not into what is
// said in Slack, not into the database's files, not onto a terminal.
func TestNoSecretGetsOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	password := "canary-redis-password"
	h.write("redis-password", password+"\n")
	h.edit(`cache: { redis: "`+h.ill.RedisURL()+`" }`, `cache: { redis: "`+h.ill.RedisURL()+`", username: canary, password: file:redis-password }`)
	h.edit("log: { format: text }", "log: { format: json, level: debug }")
	if err := h.cache().ACLSetUser(t.Context(), "canary", "on", ">"+password, "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	stop := h.serve()
	h.slash("ann", "/runbook cache-fix window=5s")
	p := &pilot{house: h}
	p.fly(p.landed)
	_, list, errs := h.opsbot("", "runs", "show", "R1", "--output", "json")
	// Something goes wrong, too: what is logged then has more in it.
	h.sim.Fail("chat.postMessage", slacksim.Fault{Error: "fatal_error"})
	h.sim.Fail("apps.connections.open", slacksim.Fault{Status: 500})
	h.sim.DropSockets()
	poll(t, "the bot is back", func() bool { return strings.Count(h.log.String(), "connected to Slack") == 2 })
	h.answer("ann", func() { h.slash("ann", "/runbook cache-fix prefix=X") })
	stop()

	texts := map[string]string{"the log": h.log.String(), "Slack": h.transcript(), "the terminal": list + errs}
	files, err := filepath.Glob(h.path("opsbot.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no database: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
	}
	for where, text := range texts {
		for name, secret := range map[string]string{"bot token": h.sim.BotToken(), "app token": h.sim.AppToken(), "Redis password": password, "API token": h.ill.Token()} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s is in %s", name, where)
			}
		}
	}
	for line := range strings.Lines(h.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
	}
}
