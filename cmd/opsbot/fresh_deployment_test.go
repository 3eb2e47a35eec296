package main

import (
	"strings"
	"testing"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
	"opsbot/runbooks/engine"
)

// A first deployment: a variable is missing, then the image cannot start, then
// it comes up; and once there are tables, a second person is needed.
func TestFreshDeploymentInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Fresh: true})
	tag, dead := w.body.Env("IMAGE_TAG"), ""
	var err error
	if dead, err = w.body.Release(t.Context(), compose.Release{Version: "2.9.0", ExitsWith: "1"}); err != nil {
		t.Fatal(err)
	}
	// The patient's schema has no index of the first name, and no user yet.
	line := func(tag string) string {
		return "fresh-deployment image_tag=" + tag + " indexes=users_pkey route_code=404"
	}
	tables := func() string {
		return w.sql(t, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
	}

	t.Run("missing variable", func(t *testing.T) {
		secret := w.body.Env("JWT_SECRET_KEY")
		if err := w.body.SetEnv("JWT_SECRET_KEY", ""); err != nil {
			t.Fatal(err)
		}
		r := w.visit(t).run(line(tag), nil)
		r.check(t, wants{state: engine.Failed, asked: []string{}, marks: map[string]string{"config": "fail", "data": "skipped"}, outcome: "JWT_SECRET_KEY"})
		if strings.Contains(r.Outcome+r.Report, secret) {
			t.Error("the secret is shown")
		}
		if err := w.body.SetEnv("JWT_SECRET_KEY", secret); err != nil {
			t.Fatal(err)
		}
		if c := w.containers(t, "api"); len(c) > 0 {
			t.Errorf("the API was created: %s", c)
		}
	})
	t.Run("it comes up", func(t *testing.T) {
		v := w.visit(t)
		r := v.run(line(tag), nil)
		r.check(t, wants{state: engine.Succeeded, asked: []string{"data", "create", "migrate", "up"},
			marks:  map[string]string{"schema": "pass", "services": "pass", "log": "pass", "ready": "pass", "smoke": "pass", "record": "pass"},
			report: []string{"PostgreSQL 15.", "Redis 7.", compose.APIImage + ":" + tag, "users: 0"}})
		id := w.inspect(t, "api", "{{.Image}}")
		if _, out, _ := v.opsbot("", "deployments", "list", "--service", "api", "--output", "json"); !strings.Contains(out, id) || !strings.Contains(out, api.Head) {
			t.Errorf("on record is %s, want %s at %s", out, id, api.Head)
		}
		if got := w.inspect(t, "api", "{{.State.Health.Status}} {{.RestartCount}}"); got != "healthy 0" {
			t.Errorf("the API is %s", got)
		}
		if n := w.sql(t, "SELECT version_num FROM alembic_version"); n != api.Head {
			t.Errorf("the schema is at %s, want %s", n, api.Head)
		}
		for _, service := range []string{"nginx", "prometheus"} {
			if got := w.inspect(t, service, "{{.State.Status}}"); got != "running" {
				t.Errorf("%s is %s", service, got)
			}
		}
	})
	t.Run("tables that are there need a second person", func(t *testing.T) {
		before := tables()
		r := w.visit(t).run(line(tag), replies{"migrate_existing": {{choice: "deny"}}})
		r.check(t, wants{state: engine.Canceled, marks: map[string]string{"fresh": "warn", "migrate": "skipped", "migrate_existing": "skipped"}})
		kinds := map[string]bool{}
		for _, ask := range r.Asks {
			if ask.Step == "migrate_existing" {
				kinds[ask.Kind+" "+ask.Type] = true
			}
		}
		if !kinds["confirm demo"] || !kinds["review "] {
			t.Errorf("the gates of the migration are %v", kinds)
		}
		if after := tables(); after != before {
			t.Errorf("%s tables, before %s", after, before)
		}
	})
	t.Run("a release that does not start is taken back", func(t *testing.T) {
		was := w.inspect(t, "api", "{{.Image}}")
		v := w.visit(t)
		good := v.run(line(tag), nil) // puts it on record
		good.check(t, wants{state: engine.Succeeded, asked: []string{"data", "migrate_existing", "up"}})
		r := v.run(line(dead)+" wait=30s", replies{"up": {{}, {choice: "rollback"}}})
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"up": "fail", "back": "pass", "down": "skipped"}})
		if got := w.inspect(t, "api", "{{.Image}} {{.State.Health.Status}}"); got != was+" healthy" {
			t.Errorf("the API is %s, want %s healthy", got, was)
		}
	})
	t.Run("nothing to go back to", func(t *testing.T) {
		r := w.visit(t).run(line(dead)+" wait=30s", replies{"up": {{}, {choice: "rollback"}}})
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"up": "fail", "back": "skipped", "down": "pass"}})
		if left := w.docker(t, "ps", "-aq", "--filter", "label=com.docker.compose.project="+w.body.Project()); left != "" {
			t.Errorf("containers are left: %s", left)
		}
		if kept := w.docker(t, "volume", "ls", "-q", "--filter", "label=com.docker.compose.project="+w.body.Project()); !strings.Contains(kept, "data") {
			t.Errorf("the volumes that are left are %q", kept)
		}
	})
}
