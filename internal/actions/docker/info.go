package docker

import (
	"context"
	"errors"
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

func (info) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
