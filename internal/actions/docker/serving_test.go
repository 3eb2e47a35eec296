package docker_test

import (
	"path/filepath"
	"testing"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
)

// twoColors is a project whose API has a blue and a green instance, and an
// upstream file of a proxy that toldTo writes; the proxy itself is not needed.
func twoColors(t *testing.T) (p *project, green docker.Ran, toldTo func(host string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "api.conf")
	toldTo = func(host string) { write(t, file, "upstream api {\n    server "+host+":8000;\n}\n") }
	p = newProject(t, func(c *docker.Config) {
		c.Templates = map[string]docker.Template{"green": {Service: "api", Port: 8000}, "once": {Service: "api", Argv: []string{"serve"}}}
		c.Nginx = &docker.Nginx{Service: "nginx", Upstream: "api", Of: "api", Port: 8000, File: file, URL: "http://127.0.0.1:1/"}
	})
	p.start("api", 1, []string{"serve"}, probed)
	return p, do[docker.Ran](t, p.conn, "docker.run", map[string]any{"template": "green"}), toldTo
}

// What gets the traffic is not removed, by service or by name, at the preview
// or when it is done.
func TestWhatServesIsNotRemoved(t *testing.T) {
	t.Parallel()
	p, green, toldTo := twoColors(t)
	for _, host := range []string{green.Name, green.ContainerID[:12]} {
		toldTo(host)
		for _, with := range []map[string]any{{"service": "api"}, {"name": green.Name}} {
			_, err := preview(t, p.conn, "docker.remove", with)
			refused(t, err, fault.Conflict, green.Name+" gets the traffic", "would be an outage", "nginx.switch")
			_, _, err = try(t, p.conn, "docker.remove", with)
			refused(t, err, fault.Conflict, "would be an outage")
		}
	}
	if !p.inspect(green.ContainerID).State.Running {
		t.Fatal("green was stopped")
	}
	toldTo("api")
	if gone := do[docker.Removed](t, p.conn, "docker.remove", map[string]any{"service": "api"}); len(gone.Removed) != 1 || gone.Removed[0] != green.Name {
		t.Errorf("removed %v, want green", gone.Removed)
	}
}
