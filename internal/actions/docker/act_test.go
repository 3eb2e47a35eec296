package docker_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

func TestRestartOneByOneAndNotTooOften(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	a := p.start("api", 2, []string{"serve"}, probed)
	b := p.start("api", 3, []string{"serve"}, probed)
	before := [2]string{p.inspect(a).State.StartedAt, p.inspect(b).State.StartedAt}
	pr, err := preview(t, p.conn, "docker.restart", map[string]any{"service": "api"})
	if err != nil || pr.Effect != runbooks.Change || len(pr.Reasons) > 0 || !has(pr.Impact, "restarts "+p.name+"-api-2") || !has(pr.Impact, "one of 2") {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	r := do[docker.Restarted](t, p.conn, "docker.restart", map[string]any{"service": "api"})
	if r.Killed || r.ExitCode != 0 || r.HealthyAfter <= 0 || r.StoppedAfter <= 0 || r.ImageBefore != r.ImageAfter || len(r.Containers) != 2 {
		t.Errorf("result = %+v", r)
	}
	after := [2]container.InspectResponse{p.inspect(a), p.inspect(b)}
	for i, in := range after {
		if in.State.StartedAt == before[i] || in.State.Health.Status != "healthy" {
			t.Errorf("container %d was not restarted, or is not healthy: %+v", i, in.State)
		}
	}
	if after[1].State.StartedAt < after[0].State.Health.Log[0].End.UTC().Format(time.RFC3339Nano) {
		t.Errorf("the second was started before the first was healthy")
	}
	_, _, err = try(t, p.conn, "docker.restart", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "ago", "10m")
	// Another process knows it too: the engine remembers.
	_, err = preview(t, p.open(nil), "docker.restart", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "ago")

	hasty := p.open(func(c *docker.Config) { c.Cooldown = 20 * time.Second })
	p.until("the cooldown is over", func() bool {
		_, _, err := try(t, hasty, "docker.restart", map[string]any{"service": "api"})
		return err == nil
	})
}

// What does not become healthy is not followed by the replicas that still work.
func TestRestartStopsAtTheFirstThatStaysIll(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	ill := p.start("api", 1, []string{"serve"}, func(c *container.Config, _ *container.HostConfig) {
		c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "/puppet", "exit", "1"}, Interval: 300 * time.Millisecond, Timeout: 5 * time.Second, Retries: 1}
	})
	well := p.start("api", 2, []string{"serve"}, probed)
	before := [2]string{p.inspect(ill).State.StartedAt, p.inspect(well).State.StartedAt}
	_, _, err := try(t, p.conn, "docker.restart", map[string]any{"service": "api", "grace": "0s"})
	refused(t, err, fault.Conflict, p.name+"-api-1 is unhealthy after its start")
	if p.inspect(ill).State.StartedAt == before[0] || p.inspect(well).State.StartedAt != before[1] {
		t.Error("the first was not restarted, or the second was")
	}
}

func TestRestartLimit(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) { c.Cooldown = time.Hour })
	p.start("api", 1, []string{"serve"})
	quick := p.open(func(c *docker.Config) { c.Cooldown = time.Millisecond })
	for range 2 {
		do[docker.Restarted](t, quick, "docker.restart", map[string]any{"service": "api"})
	}
	_, _, err := try(t, p.conn, "docker.restart", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "1h")
}

func TestDeafProcessIsKilledAtTheLimit(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	id := p.start("api", 1, []string{"deaf"})
	p.until("it is deaf", func() bool {
		return do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "api"}).Read > 0
	})
	r := do[docker.Restarted](t, p.conn, "docker.restart", map[string]any{"service": "api", "grace": "1s"})
	if !r.Killed || r.ExitCode != 137 || r.StoppedAfter < time.Second || !p.inspect(id).State.Running {
		t.Errorf("result = %+v", r)
	}
}

func TestCrashLoopIsNotRestarted(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	id := p.start("api", 1, []string{"exit", "7"}, func(_ *container.Config, h *container.HostConfig) {
		h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyAlways}
	})
	p.until("it crashed often enough", func() bool { return p.inspect(id).RestartCount >= 3 })
	_, err := preview(t, p.conn, "docker.restart", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "again and again", "exit code 7", "last words on std", "password=***")
	_, _, err = try(t, p.conn, "docker.restart", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict)
	s := do[docker.Services](t, p.conn, "docker.ps", nil)
	if s.AllOK || !strings.Contains(s.Found(), "restarts again and again") && !strings.Contains(s.Found(), "api is stopped") && s.Services[0].RestartCount < 3 {
		t.Errorf("services = %+v", s)
	}
}

func TestStartSaysWhatEndedRightAway(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.create("api", 1, []string{"exit", "3"})
	_, _, err := try(t, p.conn, "docker.start", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "exit code 3", "last words")
	p.create("web", 1, []string{"serve"}, probed)
	r := do[docker.Restarted](t, p.conn, "docker.start", map[string]any{"service": "web"})
	if r.HealthyAfter <= 0 || r.StoppedAfter != 0 {
		t.Errorf("result = %+v", r)
	}
	stopped := do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "web"})
	if stopped.ExitCode != 0 || stopped.Killed || stopped.HealthyAfter != 0 {
		t.Errorf("a stop = %+v", stopped)
	}
	again := do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "web"})
	if again.StoppedAfter != 0 {
		t.Errorf("a stop of what is stopped = %+v", again)
	}
}

// PostgreSQL waits for its sessions at SIGTERM, until it is killed. Below API
// 1.42 the engine drops the signal of a stop in silence.
func TestDatabaseIsStoppedWithSIGINT(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) { c.Stateful = map[string]docker.Stateful{"queue": {Grace: 2 * time.Second}} })
	db := p.start("db", 1, []string{"postgres"}, func(c *container.Config, h *container.HostConfig) {
		h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
	})
	p.until("it takes signals", func() bool {
		return do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "db", "match": "ready"}).Matched == 1
	})
	pr, err := preview(t, p.conn, "docker.stop", map[string]any{"service": "db"})
	if err != nil || pr.Effect != runbooks.Destructive || !has(pr.Reasons, "every open transaction") || !has(pr.Impact, "SIGINT, kills it after 1m0s") {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	r := do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "db"})
	if r.Killed || r.ExitCode != 0 || p.inspect(db).State.Running {
		t.Errorf("result = %+v, %+v", r, p.inspect(db).State)
	}
	p.start("queue", 1, []string{"serve"})
	if pr, err := preview(t, p.conn, "docker.restart", map[string]any{"service": "queue"}); err != nil || pr.Effect != runbooks.Destructive || !has(pr.Impact, "kills it after 2s") {
		t.Errorf("preview of a stateful service = %+v, %v", pr, err)
	}
}

// A database whose disk is full would not come back.
func TestDatabaseOnAFullDiskIsNotRestarted(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) {
		c.Exec = map[string]docker.Command{"fill": {Service: "db", Argv: []string{"sh", "-c", "cat /dev/zero >/data/fill"}}}
	})
	id := p.start("db", 1, nil, withTools(t), func(c *container.Config, h *container.HostConfig) {
		h.Tmpfs = map[string]string{"/data": "size=4m"}
		c.Env = []string{"PGDATA=/data"}
	})
	if pr, err := preview(t, p.conn, "docker.restart", map[string]any{"service": "db"}); err != nil || pr.Effect != runbooks.Destructive {
		t.Errorf("preview with room = %+v, %v", pr, err)
	}
	do[docker.Executed](t, p.conn, "docker.exec", map[string]any{"command": "fill"})
	before := p.inspect(id).State.StartedAt
	_, err := preview(t, p.conn, "docker.restart", map[string]any{"service": "db"})
	refused(t, err, fault.Conflict, "might not come back", "0 B of 4 MiB free", "does not help a full disk")
	_, _, err = try(t, p.conn, "docker.restart", map[string]any{"service": "db"})
	refused(t, err, fault.Conflict, "might not come back")
	if p.inspect(id).State.StartedAt != before {
		t.Error("it was restarted")
	}
}

func TestOwnContainersAreNotTouched(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	id := p.start("bot", 1, []string{"serve"}, func(c *container.Config, _ *container.HostConfig) { c.Labels["opsbot.self"] = "true" })
	for _, name := range []string{"docker.stop", "docker.restart"} {
		_, err := preview(t, p.conn, name, map[string]any{"service": "bot"})
		refused(t, err, fault.Forbidden, "part of opsbot itself")
		_, _, err = try(t, p.conn, name, map[string]any{"service": "bot"})
		refused(t, err, fault.Forbidden, "part of opsbot itself")
	}
	if !p.inspect(id).State.Running {
		t.Error("it was stopped")
	}
}

func TestGreenIsLikeBlueButItself(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) {
		c.Templates = map[string]docker.Template{
			"green":   {Service: "api", Port: 8000},
			"migrate": {Service: "api", Argv: []string{"env"}},
			"broken":  {Service: "api", Argv: []string{"exit", "9"}},
		}
	})
	blue := p.start("api", 1, []string{"serve"}, probed, func(c *container.Config, h *container.HostConfig) {
		c.Env = []string{"DATABASE_URL=postgres://app:hunter2@db/bot"}
		h.Memory = 128 << 20
	})

	once := do[docker.Ran](t, p.conn, "docker.run", map[string]any{"template": "migrate"})
	if once.ExitCode != 0 || !has(once.Lines, "DATABASE_URL=postgres://app:***@db/bot") || !has(once.Lines, "BAKED=one") {
		t.Errorf("one-shot = %+v", once)
	}
	if _, err := p.c.ContainerInspect(t.Context(), once.ContainerID); err == nil {
		t.Error("the one-shot's container is still there")
	}
	if r := do[docker.Ran](t, p.conn, "docker.run", map[string]any{"template": "broken"}); r.ExitCode != 9 || len(r.Lines) != 2 {
		t.Errorf("one that fails = %+v", r)
	}

	pr, err := preview(t, p.conn, "docker.run", map[string]any{"template": "green"})
	if err != nil || !has(pr.Impact, "green instance of api") {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	r := do[docker.Ran](t, p.conn, "docker.run", map[string]any{"template": "green"})
	if r.Name != p.name+"-api-green-0198run1" || r.HealthyAfter <= 0 || !strings.HasPrefix(r.Address, "127.0.0.1:") {
		t.Errorf("green = %+v", r)
	}
	in := p.inspect(r.ContainerID)
	if in.HostConfig.Memory != 128<<20 || in.Config.Labels["com.docker.compose.service"] != "" || in.Config.Labels["opsbot.color"] != "green" || in.Config.Healthcheck == nil {
		t.Errorf("green's configuration = %+v, %+v", in.Config, in.HostConfig)
	}
	for name, n := range in.NetworkSettings.Networks {
		if name != p.name || len(n.Aliases) > 0 && has(n.Aliases, "api") && n.Aliases[0] == "api" {
			t.Errorf("green is on %s as %v", name, n.Aliases)
		}
	}
	resp, err := http.Get("http://" + r.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.Header.Get("X-Instance") != in.Config.Hostname || len(text) == 0 {
		t.Errorf("green answers as %q: %s", resp.Header.Get("X-Instance"), text)
	}
	_, _, err = try(t, p.conn, "docker.run", map[string]any{"template": "green"})
	refused(t, err, fault.Conflict, "has a green instance already", r.Name)

	// Blue stands by while green serves: that is no fault.
	do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "api"})
	if s := do[docker.Services](t, p.conn, "docker.ps", nil); !s.AllOK || s.ServicesTotal != 2 {
		t.Errorf("services with green alone = %+v", s)
	}
	do[docker.Restarted](t, p.conn, "docker.start", map[string]any{"service": "api"})

	_, _, err = try(t, p.conn, "docker.remove", map[string]any{"name": p.name + "-api-1"})
	refused(t, err, fault.Forbidden, "not made by docker.run")
	gone := do[docker.Removed](t, p.conn, "docker.remove", map[string]any{"service": "api"})
	if len(gone.Removed) != 1 || gone.Removed[0] != r.Name || !p.inspect(blue).State.Running {
		t.Errorf("removed %v", gone.Removed)
	}
	if none := do[docker.Removed](t, p.conn, "docker.remove", map[string]any{"service": "api"}); len(none.Removed) != 0 {
		t.Errorf("a second removal = %+v", none)
	}
}

// A green instance that does not come up is removed, and its log kept.
func TestSickGreenIsRemoved(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) {
		c.Templates = map[string]docker.Template{"green": {Service: "api", Timeout: 30 * time.Second}}
	})
	p.create("api", 1, []string{"exit", "3"})
	_, out, err := try(t, p.conn, "docker.run", map[string]any{"template": "green"})
	refused(t, err, fault.Conflict, "exit code 3")
	if !strings.Contains(out, "the last words on stderr") {
		t.Errorf("its log was not kept: %s", out)
	}
	if gone := do[docker.Removed](t, p.conn, "docker.remove", map[string]any{"service": "api"}); len(gone.Removed) != 0 {
		t.Errorf("it was still there: %v", gone.Removed)
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) { c.Registries = []string{"127.0.0.1:1/acme"} })
	ref, err := puppet()
	if err != nil {
		t.Fatal(err)
	}
	if r := do[docker.Pulled](t, p.conn, "docker.pull", map[string]any{"image": ref}); r.Pulled || !strings.HasPrefix(r.ID, "sha256:") {
		t.Errorf("an image that is here = %+v", r)
	}
	for image, want := range map[string]struct {
		kind fault.Kind
		says string
	}{
		"127.0.0.1:1/acme/api":        {fault.Invalid, "which version"},
		"127.0.0.1:1/acme/api:latest": {fault.Invalid, "which version"},
		"127.0.0.1:1/evil/api:v1":     {fault.Forbidden, "no registry that this connection allows"},
		"127.0.0.1:1/acme/api:v1":     {fault.Unavailable, "pull 127.0.0.1:1/acme/api:v1"},
	} {
		_, _, err := try(t, p.conn, "docker.pull", map[string]any{"image": image})
		refused(t, err, want.kind, want.says)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	for address, says := range map[string]string{
		"unix:///nonexistent/docker.sock": "allowed to use the socket",
		"tcp://127.0.0.1:1":               "cannot be reached",
	} {
		conn, err := docker.Open(docker.Config{Host: address, Project: "p"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err = conn.Identity(ctx)
		refused(t, err, fault.Unavailable, says, address)
	}
	_, err := docker.Open(docker.Config{Host: "unix:///x"})
	refused(t, err, fault.Invalid, "project")
}
