package docker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/strslice"
	"github.com/docker/go-connections/nat"

	"opsbot/internal/fault"
)

// make creates a container like another, from an image, and attaches it to the
// same networks; it does not start it.
func (c *Conn) make(ctx context.Context, t Template, args *RunArgs, run string, like box, in image.InspectResponse) (box, error) {
	was, err := c.client.ImageInspect(ctx, like.Image)
	if err != nil && !cerrdefs.IsNotFound(err) {
		return box{}, c.explain("inspect the image of "+like.name(), err)
	}
	config, host := likeness(t, like, was)
	config.Image = in.ID
	if args.Image != "" {
		config.Image = args.Image
	}
	name := fmt.Sprintf("%s-%s-%s", c.config.Project, args.Template, runName(run))
	config.Labels[ownProject], config.Labels[ownService] = c.config.Project, t.Service
	config.Labels[ownTemplate], config.Labels[ownRun] = args.Template, run
	if t.Argv == nil {
		name = fmt.Sprintf("%s-%s-%s-%s", c.config.Project, t.Service, green, runName(run))
		config.Labels[ownColor] = green
	}

	var networks []string
	if like.NetworkSettings != nil && !like.HostConfig.NetworkMode.IsHost() && !like.HostConfig.NetworkMode.IsContainer() {
		networks = slices.Sorted(maps.Keys(like.NetworkSettings.Networks))
	}
	// The service's alias stays with the service: with it, every name lookup
	// inside the network would find the new one too. Its own name is enough.
	var first *network.NetworkingConfig
	if len(networks) > 0 {
		host.NetworkMode = container.NetworkMode(networks[0])
		first = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{networks[0]: {}}}
	}
	created, err := c.client.ContainerCreate(ctx, config, host, first, nil, name)
	if cerrdefs.IsConflict(err) {
		return box{}, fault.New(fault.Conflict, "There is a container %s already, from an earlier attempt.", name).
			Hinted("Remove it with docker.remove and try again.").Because(err)
	}
	if err != nil {
		return box{}, c.explain("create "+name, err)
	}
	for _, n := range networks[min(1, len(networks)):] {
		if err = c.client.NetworkConnect(ctx, n, created.ID, nil); err != nil {
			break
		}
	}
	var got container.InspectResponse
	if err == nil {
		got, err = c.client.ContainerInspect(ctx, created.ID)
	}
	if err != nil {
		_ = c.client.ContainerRemove(context.WithoutCancel(ctx), created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		return box{}, c.explain("attach "+name+" to its networks", err)
	}
	return box{got, t.Service, config.Labels[ownColor], 0}, nil
}

// likeness is the configuration of a container like another. What that one has
// from its image is left to the new image; what its service gave it is taken.
func likeness(t Template, like box, was image.InspectResponse) (*container.Config, *container.HostConfig) {
	old := was.Config
	from := like.Config
	config := &container.Config{
		Env: slices.Clone(from.Env), User: from.User, WorkingDir: from.WorkingDir, Tty: from.Tty,
		Entrypoint: from.Entrypoint, Cmd: from.Cmd, Healthcheck: from.Healthcheck,
		StopSignal: from.StopSignal, StopTimeout: from.StopTimeout, ExposedPorts: nat.PortSet{}, Labels: map[string]string{},
	}
	for k, v := range from.Labels {
		if !strings.HasPrefix(k, "com.docker.compose.") && !strings.HasPrefix(k, "opsbot.") && (old == nil || old.Labels[k] != v) {
			config.Labels[k] = v
		}
	}
	if old != nil {
		config.Env = slices.DeleteFunc(config.Env, func(kv string) bool { return slices.Contains(old.Env, kv) })
		if config.User == old.User {
			config.User = ""
		}
		if config.WorkingDir == old.WorkingDir {
			config.WorkingDir = ""
		}
		if slices.Equal(config.Entrypoint, strslice.StrSlice(old.Entrypoint)) {
			config.Entrypoint = nil
			if slices.Equal(config.Cmd, strslice.StrSlice(old.Cmd)) {
				config.Cmd = nil
			}
		}
		if reflect.DeepEqual(health(config.Healthcheck), health((*container.HealthConfig)(old.Healthcheck))) {
			config.Healthcheck = nil
		}
		if config.StopSignal == old.StopSignal {
			config.StopSignal = ""
		}
	}

	host := *like.HostConfig
	host.PortBindings, host.PublishAllPorts = nil, false // the port is the other's
	host.AutoRemove, host.ContainerIDFile = false, ""
	host.Links, host.VolumesFrom = nil, nil
	host.Memory = cmp.Or(t.Memory, host.Memory)
	if t.Memory > 0 {
		host.MemorySwap = 0 // the other's is for another limit
	}
	if t.Pids > 0 {
		host.PidsLimit = &t.Pids
	}
	if t.Argv != nil {
		config.Cmd = t.Argv
		config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyDisabled}
	} else if t.Port > 0 {
		port := nat.Port(strconv.Itoa(t.Port) + "/tcp")
		config.ExposedPorts[port] = struct{}{}
		publish := ""
		if t.Publish > 0 {
			publish = strconv.Itoa(t.Publish)
		}
		host.PortBindings = nat.PortMap{port: {{HostIP: "127.0.0.1", HostPort: publish}}}
	}
	return config, &host
}

// health makes "none given" one value.
func health(h *container.HealthConfig) container.HealthConfig {
	if h == nil {
		return container.HealthConfig{}
	}
	return *h
}

// runName is a run's id as a part of a container's name.
func runName(run string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return -1
	}, run)
	return cmp.Or(name[max(0, len(name)-12):], "0")
}
