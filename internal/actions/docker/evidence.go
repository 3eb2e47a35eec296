package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type evidence struct{}

// EvidenceArgs are the arguments of docker.evidence.
type EvidenceArgs struct {
	Service string `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string `arg:"color" values:"blue|green" help:"blue: Compose's own; green: the one that docker.run started beside it; by default the one that the proxy sends traffic to, else blue"`
	Lines   int    `arg:"lines" default:"5000" min:"1" max:"5000" help:"of each container's log, the newest"`
}

// An Evidence is the result of docker.evidence; the step's output has the rest.
type Evidence struct {
	Containers []Container `json:"containers"`
	LogLines   int         `json:"log_lines" help:"that were kept"`
	Processes  int         `json:"processes" help:"that ran"`
}

// Found says the result in one line.
func (r Evidence) Found() string {
	return fmt.Sprintf("kept %s, %s and the state of %s",
		things(r.LogLines, "log line"), things(r.Processes, "process"), things(len(r.Containers), "container"))
}

func (evidence) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.evidence",
		Summary: "Keep a service's state, load, processes and log before anything is touched.",
		Timeout: time.Minute,
		Args:    EvidenceArgs{},
		Result:  Evidence{},
	}
}

func (evidence) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[EvidenceArgs](call)
	if err != nil {
		return nil, err
	}
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return nil, err
	}
	return c.keep(ctx, list, args.Lines, out)
}

// keep writes down all there is to know of containers: state, load, processes
// and log. What cannot be had is written down as missing; only the log is an
// error, because it is what a restart or a removal loses.
func (c *Conn) keep(ctx context.Context, list []box, lines int, out io.Writer) (Evidence, error) {
	r := Evidence{Containers: []Container{}}
	for _, b := range list {
		r.Containers = append(r.Containers, b.container())
		fmt.Fprintf(out, "=== %s\n", b.oneLine())
		fmt.Fprintf(out, "--- state\n%s\n", described(b))
		if b.State.Running && !b.State.Restarting {
			r.Processes += c.keepLive(ctx, b, out)
		}
		text, cut, err := c.read(ctx, b, reading{tail: lines})
		if err != nil {
			return r, err
		}
		r.LogLines += len(text)
		fmt.Fprintf(out, "--- log, the newest %s\n", things(len(text), "line"))
		if cut {
			fmt.Fprintln(out, "(there is more)")
		}
		for _, l := range text {
			fmt.Fprintf(out, "%s %s\n", l.at.Format(time.RFC3339Nano), l.text)
		}
	}
	return r, nil
}

// keepLive writes down the load and the processes of a container that runs, and
// returns how many processes there were.
func (c *Conn) keepLive(ctx context.Context, b box, out io.Writer) int {
	if l, err := c.load(ctx, b.service, []box{b}, time.Second); err != nil {
		fmt.Fprintf(out, "--- load: %s\n", fault.Say(err))
	} else {
		fmt.Fprintf(out, "--- load: %s\n", l.Found())
	}
	top, err := c.client.ContainerTop(ctx, b.ID, nil)
	if err != nil {
		fmt.Fprintf(out, "--- processes: %s\n", fault.Say(c.explain("list the processes of "+b.name(), err)))
		return 0
	}
	fmt.Fprintf(out, "--- processes\n%s\n", strings.Join(top.Titles, "\t"))
	for _, p := range top.Processes {
		fmt.Fprintln(out, clean(strings.Join(p, "\t")))
	}
	return len(top.Processes)
}

// described is what inspection says of a container, without the values of its
// environment.
func described(b box) string {
	names := make([]string, len(b.Config.Env))
	for i, kv := range b.Config.Env {
		names[i], _, _ = strings.Cut(kv, "=")
	}
	data, err := json.MarshalIndent(map[string]any{
		"id": b.ID, "name": b.name(), "created": b.Created, "image": b.Config.Image, "image_id": b.Image,
		"state": b.State, "restart_count": b.RestartCount, "restart_policy": b.HostConfig.RestartPolicy,
		"command": append([]string(b.Config.Entrypoint), b.Config.Cmd...), "environment": names,
		"memory": b.HostConfig.Memory, "nano_cpus": b.HostConfig.NanoCPUs, "mounts": b.Mounts,
		"ports": b.HostConfig.PortBindings, "labels": b.Config.Labels,
	}, "", "  ")
	if err != nil {
		return err.Error()
	}
	return clean(string(data))
}
