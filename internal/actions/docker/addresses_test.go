package docker_test

import (
	"net/http"
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
	got, err := p.conn.Addresses(t.Context(), "api", 8000)
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
	_, err = p.conn.Addresses(t.Context(), "nothing", 8000)
	refused(t, err, fault.Conflict, "No container of nothing runs")
}
