package docker

import (
	"context"
	"fmt"
	"io"
	"time"

	"opsbot/runbooks"
)

type info struct{}

// An Info is the result of docker.info.
type Info struct {
	DockerVersion  string `json:"docker_version" help:"of the engine, not of a client"`
	APIVersion     string `json:"api_version" help:"agreed upon with the engine"`
	ComposeVersion string `json:"compose_version" help:"of the Compose plugin beside opsbot; empty: there is none"`
	OS             string `json:"os" help:"of the engine's host"`
	NCPU           int    `json:"ncpu" help:"processors of the engine's host"`
	MemTotal       int    `json:"mem_total" help:"bytes of the engine's host"`
	Running        int    `json:"running" help:"containers that run, of all projects"`
}

// Found says the result in one line.
func (r Info) Found() string {
	text := fmt.Sprintf("Docker %s (API %s), %s, %s, %s running", r.DockerVersion, r.APIVersion,
		things(r.NCPU, "processor"), size(r.MemTotal), things(r.Running, "container"))
	if r.ComposeVersion == "" {
		return text + ", no Compose"
	}
	return text + ", Compose " + r.ComposeVersion
}

func (info) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.info",
		Summary: "Ask the Docker engine for its version and its host's size.",
		Timeout: 10 * time.Second,
		Result:  Info{},
	}
}

func (info) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	if _, err := c.client.Ping(ctx); err != nil { // which agrees on the API's version
		return nil, c.explain("reach the engine", err)
	}
	v, err := c.client.ServerVersion(ctx)
	if err != nil {
		return nil, c.explain("ask for the engine's version", err)
	}
	i, err := c.client.Info(ctx)
	if err != nil {
		return nil, c.explain("ask for the engine's host", err)
	}
	result := Info{
		DockerVersion: v.Version, APIVersion: c.client.ClientVersion(), OS: i.OperatingSystem,
		NCPU: i.NCPU, MemTotal: int(i.MemTotal), Running: i.ContainersRunning,
	}
	if c.compose != nil {
		if result.ComposeVersion, err = ComposeVersion(ctx); err != nil {
			result.ComposeVersion = "" // who needs it asks compose.config, which says why
		}
	}
	return result, nil
}
