package main

import (
	"fmt"
	"strings"
	"testing"

	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
)

// oftener lets containers be restarted without the pause between two restarts,
// which is tested by itself.
func oftener(environment string) string {
	return strings.Replace(environment, "        max_replicas:", "        restart_cooldown: 1s\n        max_replicas:", 1)
}

// The emergency restart on a process that ignores SIGTERM, one that has ended,
// one in a crash loop, one whose dependency is away, and one that was restarted
// a moment ago.
func TestEmergencyRestartInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000})
	started := func() string { return w.inspect(t, "api", "{{.State.StartedAt}}") }
	image := w.inspect(t, "api", "{{.Image}}")

	t.Run("replicas", func(t *testing.T) {
		if err := w.body.Scale(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		heard := w.events(t, "api", "die health_status", "{{.Action}} {{.Actor.Attributes.name}}")
		r := w.visit(t, oftener).run("emergency-restart service=api", nil)
		var names []string
		var want string
		for n := 1; n <= 3; n++ {
			name := fmt.Sprintf("%s-api-%d", w.body.Project(), n)
			names = append(names, name)
			want += "die " + name + "\nhealth_status: healthy " + name + "\n"
		}
		r.check(t, wants{state: engine.Succeeded, verdict: "pass", marks: map[string]string{"restart": "pass", "steady": "pass"}, asked: []string{"restart"},
			report: []string{"restarted one at a time with the image that it had: " + strings.Join(names, ", ")}})
		if got := heard() + "\n"; got != want {
			t.Errorf("they were not restarted one after the other:\n%s\nwant\n%s", got, want)
		}
		if err := w.body.Scale(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.reload(t)
	})
	t.Run("deaf", func(t *testing.T) {
		w.fault(t, "deaf=1")
		before, died := started(), w.events(t, "api", "die", "{{.Actor.Attributes.exitCode}}")
		r := w.visit(t, oftener).run("emergency-restart service=api grace=2s", nil)
		r.check(t, wants{state: engine.Succeeded, verdict: "warn", marks: map[string]string{"evidence": "pass", "restart": "warn", "steady": "pass", "ready": "pass"},
			asked: []string{"restart"}, report: []string{"killed because it did not stop"}})
		if told := strings.Join(r.Asks[0].Impact, "\n"); !strings.Contains(told, "kills it after 2s") {
			t.Errorf("who confirmed was told %q", told)
		}
		if after := started(); after == before {
			t.Error("the container was not restarted")
		}
		if got := died(); !strings.Contains(got, "137") {
			t.Errorf("the process ended with %q, want 137: killed", got)
		}
	})
	t.Run("cooldown", func(t *testing.T) {
		before := started()
		v := w.visit(t)
		r := v.run("emergency-restart service=api", nil)
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"restart": "fail"}, outcome: "page its owner"})
		if !strings.Contains(r.found("restart"), "between two restarts") {
			t.Errorf("the refusal says %q", r.found("restart"))
		}
		if after := started(); after != before {
			t.Error("the container was restarted all the same")
		}
	})
	t.Run("exited", func(t *testing.T) {
		w.compose(t, "kill", "api")
		poll(t, "it has exited", func() bool { return w.inspect(t, "api", "{{.State.Status}}") == "exited" })
		r := w.visit(t, oftener).run("emergency-restart service=api", nil)
		r.check(t, wants{state: engine.Succeeded, asked: []string{"start"}, marks: map[string]string{"restart": "skipped", "start": "pass"}})
		if got := w.inspect(t, "api", "{{.State.Status}} {{.Image}}"); got != "running "+image {
			t.Errorf("it is %s, want running %s", got, image)
		}
	})
	t.Run("ended by itself", func(t *testing.T) {
		w.fault(t, "exit=3")
		poll(t, "Docker has restarted it", func() bool { return w.inspect(t, "api", "{{.RestartCount}} {{.State.Health.Status}}") == "1 healthy" })
		before := started()
		r := w.visit(t, oftener).run("emergency-restart service=api", nil)
		r.check(t, wants{state: engine.Succeeded, marks: map[string]string{"restart": "pass"}})
		if after := started(); after == before {
			t.Error("the container was not restarted")
		}
	})
	t.Run("dependency", func(t *testing.T) {
		w.compose(t, "stop", "cache")
		r := w.visit(t, oftener).run("emergency-restart service=api", nil)
		r.check(t, wants{state: engine.Failed, offers: []string{"cache-fix"}, marks: map[string]string{"restart": "pass", "ready": "fail", "ready_db": "pass", "ready_cache": "fail"}})
		w.compose(t, "start", "cache")
	})
	t.Run("database", func(t *testing.T) {
		before := w.inspect(t, "db", "{{.State.StartedAt}}")
		r := w.visit(t).run("emergency-restart service=db", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, offers: []string{"database-troubleshooting"}, outcome: "is a database"})
		if after := w.inspect(t, "db", "{{.State.StartedAt}}"); after != before {
			t.Error("the database was restarted")
		}
	})
	t.Run("crash loop", func(t *testing.T) {
		w.fault(t, "crash=3")
		poll(t, "it crashes again and again", func() bool { return w.inspect(t, "api", "{{.RestartCount}}") >= "3" })
		stopped := w.events(t, "api", "stop", "{{.Action}}")
		r := w.visit(t, oftener).run("emergency-restart service=api", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, marks: map[string]string{"loop": "fail", "restart": "skipped"}, outcome: "restarts in a loop"})
		if got := stopped(); got != "" {
			t.Errorf("somebody stopped it: %s", got)
		}
		w.compose(t, "up", "-d", "--force-recreate", "--no-deps", "--wait", "api")
		w.reload(t)
	})
}
