package docker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks"
)

// opened is a connection to a Compose patient, with its real nginx.
func opened(t *testing.T, p *compose.Patient, change func(*docker.Config)) *docker.Conn {
	t.Helper()
	config := docker.Config{
		Host: host(), Project: p.Project(), ComposeFile: p.File(), EnvFile: p.EnvFile(),
		Templates: map[string]docker.Template{"green": {Service: "api", Port: 8000}},
		Nginx: &docker.Nginx{
			Service: "nginx", Upstream: "api", Of: "api", Port: 8000,
			File: filepath.Join(p.Dir(), "nginx", "upstream", "api.conf"), URL: p.URL() + "/api/v1/health",
		},
	}
	if change != nil {
		change(&config)
	}
	conn, err := docker.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Traffic goes to green and back while requests come in: none of them fails.
// What does not work out is undone.
func TestSwitchUnderLoad(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Rows: 1000})
	conn := opened(t, p, nil)
	file := filepath.Join(p.Dir(), "nginx", "upstream", "api.conf")
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = preview(t, conn, "nginx.switch", map[string]any{"to": "green"})
	refused(t, err, fault.NotFound, "no green instance")

	tag, err := p.Release(t.Context(), compose.Release{Version: "2.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	green := do[docker.Ran](t, conn, "docker.run", map[string]any{"template": "green", "image": compose.APIImage + ":" + tag})

	load := p.Load(traffic.Options{Pace: 20 * time.Millisecond})
	defer load.Stop()
	pr, err := preview(t, conn, "nginx.switch", map[string]any{"to": "green"})
	if err != nil || pr.Effect != runbooks.Change || !has(pr.Impact, "from blue to green") || !has(pr.Impact, "server api → "+green.Name) {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	r := do[docker.Switched](t, conn, "nginx.switch", map[string]any{"to": "green"})
	if r.PreviousUpstream != "blue" || r.Upstream != "green" || len(r.Seen) != 1 || r.Seen[green.ContainerID[:12]] != 10 {
		t.Errorf("switched = %+v", r)
	}

	// While green is live, Compose would start blue's service beside it.
	_, err = preview(t, conn, "compose.up", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "green instance of api is live", "run fresh-deployment with image_tag="+tag)
	// The very image that it runs is how its deployment is finished.
	pr, err = preview(t, conn, "compose.up", map[string]any{"service": "api", "image_tag": tag})
	if err != nil || !has(pr.Impact, "beside the green instance "+green.Name+", which serves the same image") {
		t.Errorf("preview of green's own image = %+v, %v", pr, err)
	}

	// Blue is stopped: no way back to it.
	do[docker.Restarted](t, conn, "docker.stop", map[string]any{"service": "api", "color": "blue"})
	_, _, err = try(t, conn, "nginx.switch", map[string]any{"to": "blue"})
	refused(t, err, fault.Conflict, "No blue instance of api is up and healthy")
	for name, with := range map[string]map[string]any{"compose.start": nil, "compose.scale": {"service": "api", "replicas": 2}} {
		_, err = preview(t, conn, name, with)
		refused(t, err, fault.Conflict, "beside the green instance that serves", "run fresh-deployment with image_tag="+tag)
	}
	do[docker.Restarted](t, conn, "docker.start", map[string]any{"service": "api", "color": "blue"})

	// A bad upstream is stopped by nginx's own test, and undone.
	now, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := opened(t, p, func(c *docker.Config) { n := *c.Nginx; n.Upstream = "api { } nonsense"; c.Nginx = &n })
	_, out, err := try(t, bad, "nginx.switch", map[string]any{"to": "blue"})
	refused(t, err, fault.Conflict, "nginx refuses its configuration", "Traffic goes to green as before")
	if text, _ := os.ReadFile(file); string(text) != string(now) {
		t.Errorf("the file is not restored: %s\n%s", text, out)
	}

	// So is a switch after which others answer than should.
	strange := opened(t, p, func(c *docker.Config) { n := *c.Nginx; n.Header = "X-Version"; c.Nginx = &n })
	_, _, err = try(t, strange, "nginx.switch", map[string]any{"to": "blue"})
	refused(t, err, fault.Conflict, "does not answer as it should", "2.0.0", "Traffic goes to green as before")
	if text, _ := os.ReadFile(file); string(text) != string(now) {
		t.Errorf("the file is not restored: %s", text)
	}

	// The traffic still goes to green, which therefore stays.
	_, _, err = try(t, conn, "docker.remove", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, green.Name+" gets the traffic")

	back := do[docker.Switched](t, conn, "nginx.switch", map[string]any{"to": "blue"})
	if back.PreviousUpstream != "green" || back.Upstream != "blue" || back.Seen[green.ContainerID[:12]] != 0 {
		t.Errorf("switched back = %+v", back)
	}
	if text, _ := os.ReadFile(file); !strings.HasSuffix(string(text), string(was)) {
		t.Errorf("the file is %q, and was %q", text, was)
	}
	count := load.Stop()
	if count.Sent == 0 || count.Failed > 0 || count.Instances[green.ContainerID[:12]] == 0 || len(count.Instances) < 2 {
		t.Errorf("the load counted %+v", count)
	}
	t.Logf("the load: %+v", count)
	do[docker.Removed](t, conn, "docker.remove", map[string]any{"service": "api"})
}

// A restarted API may come back under another address, which nginx would not
// look up by itself.
func TestProxyFollowsARestart(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Rows: 1000})
	conn := opened(t, p, nil)
	_, out, err := try(t, conn, "docker.restart", map[string]any{"service": "api"})
	if err != nil || !strings.Contains(out, "reloaded nginx") {
		t.Fatalf("restart: %v\n%s", err, out)
	}
	do[docker.Restarted](t, conn, "docker.stop", map[string]any{"service": "api"})
	if _, out, err = try(t, conn, "compose.start", map[string]any{"service": "api"}); err != nil || !strings.Contains(out, "reloaded nginx") {
		t.Fatalf("compose.start: %v\n%s", err, out)
	}
	r := do[docker.Switched](t, conn, "nginx.switch", map[string]any{"to": "blue"})
	if len(r.Seen) != 1 {
		t.Errorf("answered: %+v", r.Seen)
	}
	// What the document grants is enough for it.
	grants := documented(t)
	address, refusals := filtered(t, grants["read"], grants["exec"], grants["act"])
	do[docker.Switched](t, opened(t, p, func(c *docker.Config) { c.Host = address }), "nginx.switch", map[string]any{"to": "blue"})
	if r := refusals(); len(r) > 0 {
		t.Errorf("the document does not grant %q", r)
	}
	found, err := conn.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Bad {
			t.Errorf("%s is bad: %s", f.Name, f.Says)
		}
	}
	d := do[docker.Disk](t, conn, "docker.disk", map[string]any{"service": "db"})
	if d.FreeBytes == 0 || d.Path != "/var/lib/postgresql/data/bot" {
		t.Errorf("disk = %+v", d)
	}
	// The real PostgreSQL, fast and clean.
	do[docker.Restarted](t, conn, "docker.restart", map[string]any{"service": "db"})
	l := do[docker.Log](t, conn, "docker.logs", map[string]any{"service": "db", "match": "fast shutdown|was not properly shut down"})
	if !has(l.Lines, "fast shutdown") || has(l.Lines, "not properly") {
		t.Errorf("its log: %q", l.Lines)
	}
}
