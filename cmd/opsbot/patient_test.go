package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"opsbot/internal/patient"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
)

// The demo in containers: it says where everything is, the panel shows the
// patient, it falls ill by a command, and after Ctrl-C nothing is left.
func TestDemoInContainers(t *testing.T) {
	t.Parallel()
	composetest.Require(t)
	tmp := t.TempDir()
	env := []string{"TMPDIR=" + tmp, "OPSBOT_PATIENT_PROGRAM=" + composetest.Program(t)}
	const project = "opsbot-test-demo"
	p := start(t, env, "demo", "--docker", "--project", project, "--addr", "127.0.0.1:0")
	text := p.prints("patient fault --project " + project)
	url, site := after(t, text, "opsbot is at work:"), after(t, text, "site ")
	poll(t, "the panel shows lookups", func() bool {
		var v patient.Vitals
		return json.Unmarshal([]byte(get(t, url+"/panel/vitals")), &v) == nil && v.Lookups > 0 && strings.Contains(v.Engine, project)
	})
	if got := get(t, site+"/api/v1/ready"); !strings.Contains(got, `"db":"ready"`) {
		t.Errorf("the site answers %s", got)
	}

	other := start(t, env, "demo", "--docker", "--project", project, "--addr", "127.0.0.1:0")
	other.ends(0, exitFailed)
	if got := other.errs.String(); !strings.Contains(got, "in use by another opsbot") {
		t.Errorf("a second demo says %q", got)
	}
	f := start(t, env, "patient", "fault", "--project", project, "err=100")
	f.ends(0, exitWell)
	poll(t, "the API fails", func() bool { return strings.Contains(get(t, site+"/metrics"), `errors_total{status="500"}`) })
	b := start(t, env, "patient", "backup", "--project", project, "empty", "db_20250101.sql.gz")
	b.ends(0, exitWell)
	if _, err := os.Stat(strings.TrimSpace(b.out.String())); err != nil {
		t.Errorf("the backup: %v", err)
	}

	p.ends(syscall.SIGINT, exitWell)
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo left %q behind (%v)", left, err)
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+project).Output(); err != nil || len(out) > 0 {
		t.Errorf("the demo left containers behind: %s (%v)", out, err)
	}
}

// Without Docker the demo says what is missing, and what to do.
func TestDemoWithoutDocker(t *testing.T) {
	t.Parallel()
	nothing := t.TempDir()
	p := start(t, []string{"PATH=" + nothing, "TMPDIR=" + t.TempDir()}, "demo", "--docker", "--addr", "127.0.0.1:0")
	p.ends(0, exitUnreachable)
	if got := p.errs.String(); !strings.Contains(got, "needs the docker command, which is not installed") || !strings.Contains(got, "opsbot demo without --docker") {
		t.Errorf("it says %q", got)
	}
	f := start(t, []string{"PATH=" + nothing}, "patient", "fault", "slow")
	f.ends(0, exitUsage)
	if got := f.errs.String(); !strings.Contains(got, "NAME=VALUE") {
		t.Errorf("a wrong fault: %q", got)
	}
}

// The story of the cache on the systems in containers.
func TestCacheFixInContainers(t *testing.T) {
	t.Parallel()
	body := composetest.Start(t, compose.Options{Rows: 20_000})
	h := newHouseWith(t, patient.Options{Outside: body.Outside()})
	environment, err := body.Environment("demo")
	if err != nil {
		t.Fatal(err)
	}
	if h.file, err = writeDemoConfig(h.dir, h.work, h.ill, environment); err != nil {
		t.Fatal(err)
	}
	stop := h.serve()
	before := h.strangers()
	h.slash("ann", "/runbook cache-fix window=5s")
	p := &pilot{house: h}
	p.fly(p.landed)
	stop()
	h.succeeded("no boundary")
	if after := h.strangers(); after != before {
		t.Errorf("what is no cache was touched: %s before, %s after", before, after)
	}
}
