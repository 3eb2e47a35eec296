package docker_test

import (
	"testing"

	"github.com/docker/docker/api/types/container"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
)

// tight limits a container's memory, swap included, in MiB.
func tight(mib int64) container.Resources {
	return container.Resources{Memory: mib << 20, MemorySwap: mib << 20}
}

// service is the only one of a project.
func (p *project) service() docker.Service {
	p.t.Helper()
	r := do[docker.Services](p.t, p.conn, "docker.ps", map[string]any{})
	if len(r.Services) != 1 {
		p.t.Fatalf("services = %+v", r.Services)
	}
	return r.Services[0]
}

// A container that the kernel killed for want of memory is told apart from one
// that somebody killed, although both end with 137.
func TestKilledForWantOfMemory(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	id := p.start("api", 1, []string{"hog", "100"}, func(_ *container.Config, h *container.HostConfig) { h.Resources = tight(32) })
	p.until("it is killed", func() bool { return !p.inspect(id).State.Running })
	if s := p.service(); s.OK || !s.OOMKilled || s.ExitCode != 137 || s.Running != 0 || s.RestartCount != 0 {
		t.Errorf("service = %+v", s)
	}
	r := do[docker.Services](t, p.conn, "docker.ps", map[string]any{})
	if r.AllOK || len(r.Containers) != 1 || !r.Containers[0].OOMKilled || r.Containers[0].ExitCode != 137 {
		t.Errorf("containers = %+v", r.Containers)
	}
	_, _, err := try(t, p.conn, "docker.stats", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "nothing to measure")

	killed := newProject(t, nil)
	id = killed.start("api", 1, []string{"deaf"})
	if err := killed.c.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	killed.until("it is killed", func() bool { return !killed.inspect(id).State.Running })
	if s := killed.service(); s.OOMKilled || s.ExitCode != 137 {
		t.Errorf("a service that somebody killed = %+v", s)
	}
}

// How close a container is to being killed shows by its limit, and not by its
// bytes.
func TestMemoryByTheLimit(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.start("api", 1, []string{"hog", "40"}, func(_ *container.Config, h *container.HostConfig) { h.Resources = tight(64) })
	p.until("it holds its memory", func() bool {
		r := do[docker.Load](t, p.conn, "docker.stats", map[string]any{"service": "api", "for": "1s"})
		return r.MemPctLimit >= 60 && r.MemPctLimit <= 100 && r.MemBytes < 64<<20 && r.Replicas[0].MemLimit == 64<<20
	})
}

// Once its policy has started the container again, what happened can still be
// seen: by the count of restarts, and by the mark where the engine keeps it
// until the container's next end, which may be months.
func TestRestartedAfterWantOfMemory(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	id := p.start("api", 1, []string{"hog", "100"}, func(_ *container.Config, h *container.HostConfig) {
		h.Resources, h.RestartPolicy = tight(32), container.RestartPolicy{Name: "always"}
	})
	p.until("it was restarted", func() bool { return p.inspect(id).RestartCount > 0 })
	if _, err := p.c.ContainerUpdate(t.Context(), id, container.UpdateConfig{Resources: tight(256)}); err != nil {
		t.Fatal(err)
	}
	p.until("it stays up", func() bool {
		in := p.inspect(id)
		r, _, err := try(t, p.conn, "docker.stats", map[string]any{"service": "api", "for": "1s"})
		return err == nil && r.(docker.Load).MemBytes > 100<<20 && in.RestartCount == p.inspect(id).RestartCount
	})
	marked := p.inspect(id).State.OOMKilled
	if s := p.service(); !s.OK || s.Running != 1 || s.RestartCount == 0 || s.Uptime <= 0 || s.ExitCode != 0 || s.OOMKilled != marked {
		t.Errorf("the engine's mark is %v, the service %+v", marked, s)
	}
}
