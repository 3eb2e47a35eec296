package main

import (
	"strings"
	"testing"

	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
)

// answers reports whether PostgreSQL itself does, and writes.
func (w *ward) answers(t *testing.T) bool {
	t.Helper()
	out, err := w.body.SQL(t.Context(), "bot_production", "CREATE TEMPORARY TABLE x (); SELECT 'yes'")
	return err == nil && out == "yes"
}

// Used-up connections are a finding, chosen sessions end and no others, and
// what a restart would not cure is not restarted.
func TestDatabaseTroubleshootingInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000})
	started := func(t *testing.T) string { return w.inspect(t, "db", "{{.State.StartedAt}}") }
	cause := replies{"by_hand": {{fields: map[string]string{"cause": "found"}}}}
	v := w.visit(t)

	t.Run("it is well", func(t *testing.T) {
		before := started(t)
		v.run("database-troubleshooting", nil).check(t, wants{state: engine.Succeeded, asked: []string{},
			marks: map[string]string{"connect": "pass", "sessions": "pass", "disk": "pass", "restart": "skipped", "ready": "pass"}})
		if started(t) != before {
			t.Error("the database was restarted")
		}
	})
	t.Run("no slots", func(t *testing.T) {
		before := started(t)
		if err := w.body.Fault(t.Context(), "conns=40"); err == nil || !strings.Contains(err.Error(), "53300") {
			t.Fatalf("the slots are not used up: %v", err)
		}
		const leaks = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'leak'"
		all := strings.Split(w.sql(t, leaks), ",")
		chosen := all[:5]
		r := v.run("database-troubleshooting", replies{"choose": {{fields: map[string]string{"pids": strings.Join(chosen, ",")}}}})
		r.check(t, wants{state: engine.Succeeded, asked: []string{"choose", "terminate"},
			marks: map[string]string{"connect": "fail", "sessions": "fail", "terminate": "pass", "restart": "skipped", "well": "pass"}, report: []string{"5 sessions cut off", "slots"}})
		if got := w.sql(t, leaks); got != strings.Join(all[5:], ",") {
			t.Errorf("of %s are left %s, %s were chosen", all, got, chosen)
		}
		if started(t) != before {
			t.Error("the database was restarted")
		}
		w.fault(t, "")
	})
	t.Run("a password that is wrong", func(t *testing.T) {
		before := started(t)
		v := w.visit(t, func(environment string) string {
			return replaced(t, environment, "secrets/opsbot_ro\"", "secrets/api-token\"")
		})
		r := v.run("database-troubleshooting restart=true", cause)
		r.check(t, wants{state: engine.Failed, asked: []string{"by_hand"}, marks: map[string]string{"connect": "fail", "restart": "skipped"}})
		if !strings.Contains(r.found("cause"), "password") {
			t.Errorf("the cause: %s", r.found("cause"))
		}
		if started(t) != before {
			t.Error("the database was restarted")
		}
	})
	t.Run("killed", func(t *testing.T) {
		w.compose(t, "kill", "db")
		if got := w.inspect(t, "db", "{{.State.Status}} {{.State.ExitCode}}"); got != "exited 137" {
			t.Fatalf("the database is %s", got)
		}
		image := w.inspect(t, "db", "{{.Image}}")
		r := v.run("database-troubleshooting", nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "warn", asked: []string{"start"}, offers: []string{"full-recovery"},
			marks: map[string]string{"container": "fail", "start": "pass", "coming": "pass", "clean": "warn", "restart": "skipped", "ready": "pass"}})
		if !w.answers(t) || w.inspect(t, "db", "{{.Image}}") != image {
			t.Error("the database does not answer, or is another image")
		}
		if log := w.docker(t, "logs", w.containers(t, "db")[0]); !strings.Contains(log, "was not properly shut down") {
			t.Errorf("the server knows nothing of it:\n%s", log)
		}
	})
}

// An image whose stop signal is SIGTERM: by hand it waits for the sessions and
// is killed; the runbook asks it the right way, and it shuts down cleanly.
func TestDatabaseRestartInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000, StopSignal: "SIGTERM", Disk: "512m"})
	v := w.visit(t)
	log := func(t *testing.T) string { return w.docker(t, "logs", w.containers(t, "db")[0]) }

	t.Run("on a full disk", func(t *testing.T) {
		before := w.inspect(t, "db", "{{.State.StartedAt}}")
		if err := w.body.FillDisk(t.Context(), 20<<20); err != nil {
			t.Fatal(err)
		}
		r := v.run("database-troubleshooting restart=true", replies{"by_hand": {{fields: map[string]string{"cause": "the disk"}}}})
		r.check(t, wants{state: engine.Failed, verdict: "fail", asked: []string{"by_hand"}, marks: map[string]string{"disk": "fail", "restart": "skipped"}})
		if got := w.inspect(t, "db", "{{.State.StartedAt}}"); got != before {
			t.Error("the database was restarted")
		}
		if err := w.body.FillDisk(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("asked for", func(t *testing.T) {
		release := w.hold(t, "UPDATE users SET name = name WHERE id = 'u001'")
		before := w.inspect(t, "db", "{{.State.StartedAt}}")
		r := v.run("database-troubleshooting restart=true", nil)
		release()
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"restart"},
			marks: map[string]string{"at_stake": "pass", "checkpoint": "pass", "restart": "pass", "back": "pass", "clean": "pass", "ready": "pass"}})
		if got := w.inspect(t, "db", "{{.State.StartedAt}} {{.State.ExitCode}}"); strings.HasPrefix(got, before) {
			t.Error("it was not restarted")
		}
		if said := log(t); strings.Contains(said, "not properly shut down") || !strings.Contains(said, "database system was shut down at") {
			t.Errorf("it was not shut down cleanly:\n%s", said)
		}
		if !w.answers(t) {
			t.Error("it does not answer")
		}
	})
	t.Run("the wrong way", func(t *testing.T) {
		release := w.hold(t, "UPDATE users SET name = name WHERE id = 'u001'")
		w.compose(t, "stop", "-t", "3", "db")
		release()
		r := v.run("database-troubleshooting", nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "warn", asked: []string{"start"}, offers: []string{"full-recovery"}, marks: map[string]string{"clean": "warn"}})
		if said := log(t); !strings.Contains(said, "not properly shut down") {
			t.Errorf("it recovered from nothing:\n%s", said)
		}
	})
}
