package docker_test

import (
	"path/filepath"
	"strings"
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

// Without a color, the instance is meant that gets the traffic; a color wins.
func TestTheColorThatServesIsMeant(t *testing.T) {
	t.Parallel()
	p, green, toldTo := twoColors(t)
	blue := p.name + "-api-1"
	meant := func(color string) string {
		t.Helper()
		with := map[string]any{"service": "api"}
		if color != "" {
			with["color"] = color
		}
		stop, err := preview(t, p.conn, "docker.stop", with)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(stop.Impact[0], "stops "), " (")
		for _, action := range []string{"docker.restart", "docker.start"} {
			if pr, err := preview(t, p.conn, action, with); err != nil || !has(pr.Impact, name+" (") {
				t.Errorf("%s with color %q means %v (%v), and docker.stop %s", action, color, pr.Impact, err, name)
			}
		}
		if r := do[docker.Evidence](t, p.conn, "docker.evidence", with); len(r.Containers) != 1 || r.Containers[0].Name != name {
			t.Errorf("docker.evidence with color %q reads %+v, want %s", color, r.Containers, name)
		}
		return name
	}
	for _, c := range []struct{ told, color, want string }{
		{"api", "", blue}, {"elsewhere", "", blue}, {green.Name, "", green.Name},
		{green.Name, "blue", blue}, {"api", "green", green.Name},
	} {
		toldTo(c.told)
		if s := do[docker.Services](t, p.conn, "docker.ps", nil); s.Containers[0].Serves || s.Containers[1].Serves != (c.told == green.Name) {
			t.Errorf("with the traffic at %s, docker.ps says %+v", c.told, s.Containers)
		}
		if got := meant(c.color); got != c.want {
			t.Errorf("with the traffic at %s, color %q means %s, want %s", c.told, c.color, got, c.want)
		}
	}

	// What stopped comes back as what it was: the old version stays down.
	toldTo(green.Name)
	do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "api", "color": "blue"})
	do[docker.Restarted](t, p.conn, "docker.restart", map[string]any{"service": "api"})
	do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "api"})
	do[docker.Restarted](t, p.conn, "docker.start", map[string]any{"service": "api"})
	if s := do[docker.Services](t, p.conn, "docker.ps", nil); !s.AllOK || len(s.Services) != 2 || s.Services[0].Running != 0 || s.Services[1].Running != 1 {
		t.Errorf("services = %+v, want green alone to run", s.Services)
	}

	// What cannot be read is not guessed.
	lost := p.open(func(c *docker.Config) {
		c.Nginx = &docker.Nginx{Service: "nginx", Of: "api", File: filepath.Join(t.TempDir(), strings.Repeat("x", 300))}
	})
	_, _, err := try(t, lost, "docker.logs", map[string]any{"service": "api"})
	refused(t, err, fault.Unavailable, "cannot be read")
}
