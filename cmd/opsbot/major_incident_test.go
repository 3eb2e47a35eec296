package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks/engine"
)

// What is down is measured and told in the incident channel, and a fix is
// offered that is a run of its own; in a breach nothing is offered, and nothing
// is touched.
func TestMajorIncidentInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000, Replicas: 2})
	if _, err := w.body.Backup(t.Context(), compose.Good, "db_20261126.sql.gz", time.Hour); err != nil {
		t.Fatal(err)
	}
	load := w.body.Load(traffic.Options{})
	defer load.Stop()
	answers := func(fix string) replies {
		return replies{
			"declare":    {{fields: map[string]string{"incident": "INC-1"}}},
			"accept":     {{fields: map[string]string{"commander": "Ben"}}},
			"impact":     {{fields: map[string]string{"users": "all", "impact": "down"}}},
			"choose":     {{fields: map[string]string{"fix": fix, "service": "api"}}},
			"fixed":      {{fields: map[string]string{"done": "the database was started"}}},
			"contain":    {{fields: map[string]string{"done": "the key was revoked"}}},
			"postmortem": {{fields: map[string]string{"owner": "Ben", "due": "tomorrow"}}},
		}
	}
	all := func(t *testing.T) string {
		var list []string
		for _, service := range []string{"api", "db", "cache", "nginx", "prometheus"} {
			for _, id := range w.containers(t, service) {
				list = append(list, w.docker(t, "inspect", "--format", "{{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}", id))
			}
		}
		return strings.Join(list, "\n")
	}

	t.Run("the database is down", func(t *testing.T) {
		v := w.visit(t)
		w.compose(t, "stop", "db")
		v.slash("ann", "/incident declare sev1 nobody can log in")
		head := v.headline("INC-1", "nobody can log in")
		says := answers("database")
		says["fixed"] = []reply{{fields: map[string]string{"done": "the database was started"}, before: func() {
			// In a SEV1 the start of a container takes two people.
			major, _ := v.told(1)
			r := v.accept(major, "database-troubleshooting", nil)
			r.check(t, wants{state: engine.Succeeded, asked: []string{"start"}, marks: map[string]string{"start": "pass", "ready": "pass"}})
			kinds := ""
			for _, ask := range r.Asks {
				kinds += ask.Kind + " "
			}
			if kinds != "confirm review " {
				t.Errorf("it was agreed to by %s", kinds)
			}
		}}}
		v.mention("ann", head.TS, `run major-incident description="nobody can log in"`)
		v.runs++
		r := v.follow(1, says)
		r.check(t, wants{state: engine.Succeeded, asked: []string{"declare", "accept", "impact", "choose", "fixed", "resolved", "postmortem"},
			marks:  map[string]string{"services": "fail", "ready": "fail", "database": "fail", "redis": "pass", "dump": "pass", "verify": "pass"},
			report: []string{"Incident: INC-1, commander: Ben", "Done: the database was started", "db_20261126.sql.gz"}})
		if !w.answers(t) {
			t.Error("the database does not answer")
		}
		if got := v.answer("ann", func() { v.slash("ann", "/incident show INC-1") }); !strings.Contains(got, "Database troubleshooting") {
			t.Errorf("the record of the incident lacks what was done:\n%s", got)
		}
	})
	t.Run("errors", func(t *testing.T) {
		v := w.visit(t)
		w.fault(t, "err=60")
		says := answers("errors")
		says["accept"][0].before = func() {
			const failing = `count_over_time((sum(rate(http_requests_total{status=~"5.."}[1m])) / sum(rate(http_requests_total[1m])) > 0.01)[10m:15s])`
			poll(t, "Prometheus has seen it", func() bool {
				return strings.Contains(get(t, w.body.PrometheusURL()+"/api/v1/query?query="+url.QueryEscape(failing)), `"value":`)
			})
		}
		says["fixed"] = []reply{{fields: map[string]string{"done": "rolled back"}, before: func() { w.fault(t, "") }}}
		r := v.run(`major-incident description="every second request fails" severity=sev2`, says)
		r.check(t, wants{state: engine.Succeeded, offers: []string{"high-error-rate"}, marks: map[string]string{"traffic": "fail", "database": "pass", "since": "pass"}})
		if strings.Contains(r.Report, "not seen") {
			t.Errorf("nobody has seen it begin:\n%s", r.Report)
		}
	})
	t.Run("a breach", func(t *testing.T) {
		v := w.visit(t)
		v.slash("ann", "/incident declare sev1 strange logins")
		head := v.headline("INC-1", "strange logins")
		v.mention("ann", head.TS, "add @ben")
		v.seek(room, "UBEN", "asked you to help")
		v.mention("ann", head.TS, "security on somebody was in")
		v.seek("inc-1-restricted", "UBEN", "This is the room of INC-1")
		before := all(t)
		databases := w.databases(t)
		says := answers("restart")
		// Who has not contained it after a quarter of an hour is called again.
		says["contain"][0].before = func() {
			v.remind("contain")
			v.calls("oncall", "still waits for an answer about step 11 (Contain it)")
		}
		v.mention("ann", head.TS, `run major-incident description="strange logins" security=true`)
		v.runs++
		r := v.follow(1, says)
		r.check(t, wants{state: engine.Succeeded, asked: []string{"declare", "accept", "impact", "contain", "resolved", "postmortem"},
			marks: map[string]string{"preserve": "pass", "choose": "skipped", "fix": "skipped"}, report: []string{"restricted", "Done: the key was revoked"}})
		if got := r.offers(); len(got) > 0 {
			t.Errorf("it offers %s", got)
		}
		// And whoever starts a recovery all the same is refused before it begins.
		v.mention("ann", head.TS, "run full-recovery restore=always")
		v.runs++
		v.follow(2, nil).check(t, wants{state: engine.Failed, asked: []string{}, marks: map[string]string{"begin": "fail", "stop_api": "skipped"}, outcome: "matter of security"})
		if after := all(t); after != before || len(w.databases(t)) != len(databases) {
			t.Errorf("something was touched:\n%s\n%s", before, after)
		}
	})
}
