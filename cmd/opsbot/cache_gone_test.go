package main

import (
	"testing"

	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
)

// The cache is stopped: its runbook looks, stops at once and offers the restart,
// and nothing was done to the servers meanwhile.
func TestCacheGoneInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000})
	v := w.visit(t)
	users := w.sql(t, "SELECT count(*) FROM users")
	w.fault(t, "err=100")
	w.compose(t, "stop", "cache")
	r := v.run("cache-fix window=5s", nil)
	r.check(t, wants{
		state: engine.Failed, verdict: "fail", offers: []string{"emergency-restart"}, asked: []string{},
		marks: map[string]string{"info": "fail", "clear": "skipped"}, outcome: "refused the connection",
		report: []string{"– removed 0 keys"},
	})
	if got := w.inspect(t, "cache", "{{.State.Status}}"); got != "exited" {
		t.Errorf("before anybody clicked, the cache is %s", got)
	}
	by := r.Number
	r = v.accept(r, "emergency-restart", nil)
	r.check(t, wants{state: engine.Succeeded, asked: []string{"start"}, marks: map[string]string{"start": "pass", "ready": "pass"}})
	if r.Runbook != "emergency-restart" || r.Number == by {
		t.Errorf("the click started %s, R%d", r.Runbook, r.Number)
	}
	if got := w.inspect(t, "cache", "{{.State.Status}}"); got != "running" {
		t.Errorf("afterwards, the cache is %s", got)
	}
	w.fault(t, "")
	w.reload(t)
	r = v.run("cache-fix window=5s", replies{"before": {{choice: "stop"}}})
	r.check(t, wants{state: engine.Canceled, asked: []string{"before"}, marks: map[string]string{"info": "pass", "before": "unknown"}})
	if got := w.sql(t, "SELECT count(*) FROM users"); got != users {
		t.Errorf("%s users, want %s", got, users)
	}
}
