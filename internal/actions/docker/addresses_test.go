package docker_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"opsbot/internal/fault"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.start("api", 1, []string{"serve"})
	p.start("api", 2, []string{"serve"}, func(c *container.Config, h *container.HostConfig) {
		c.ExposedPorts = nat.PortSet{"8000/tcp": {}}
		h.PortBindings = nat.PortMap{"8000/tcp": {{HostIP: "127.0.0.1"}}}
	})
	got, err := p.conn.Addresses(t.Context(), "api", "", 8000)
	if err != nil || len(got) != 2 || strings.HasPrefix(got[0], "127.") || !strings.HasSuffix(got[0], ":8000") || !strings.HasPrefix(got[1], "127.0.0.1:") {
		t.Fatalf("Addresses = %v, %v", got, err)
	}
	for _, at := range got {
		p.until(at+" to answer", func() bool {
			resp, err := http.Get("http://" + at)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil
		})
	}
	if blue, err := p.conn.Addresses(t.Context(), "api", "blue", 8000); err != nil || !slices.Equal(blue, got) {
		t.Errorf("Addresses of blue = %v, %v, want %v", blue, err, got)
	}
	_, err = p.conn.Addresses(t.Context(), "api", "green", 8000)
	refused(t, err, fault.Conflict, "No green container of api runs")
	p.start("api", 3, []string{"serve"}, func(c *container.Config, _ *container.HostConfig) {
		c.Labels = map[string]string{"opsbot.project": p.name, "opsbot.service": "api", "opsbot.color": "green"}
	})
	green, err := p.conn.Addresses(t.Context(), "api", "green", 8000)
	if all, err2 := p.conn.Addresses(t.Context(), "api", "", 8000); err != nil || err2 != nil || len(green) != 1 || slices.Contains(got, green[0]) || len(all) != 3 {
		t.Errorf("Addresses of green = %v, %v; of all = %v, %v", green, err, all, err2)
	}
	_, err = p.conn.Addresses(t.Context(), "nothing", "", 8000)
	refused(t, err, fault.Conflict, "No container of nothing runs")
}
