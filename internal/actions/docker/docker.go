// Package docker offers runbook actions on Docker, Compose and nginx, and alone
// imports Docker's client.
//
// A service's containers are found by the labels that Compose gives them, never
// by name, and by all labels alike: stopped ones count. What docker.run starts
// beside Compose has labels of opsbot's own and the color green.
//
// Only what Compose alone can do is left to its command line: up, start, scale,
// down and reading its file.
package docker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A Config says how a Docker engine is reached, which Compose project of it is
// meant, and what opsbot may do there.
type Config struct {
	Host    string // unix:///var/run/docker.sock, tcp://host:port
	Project string // of Compose

	// ComposeFile and EnvFile are paths on this machine, which Compose passes
	// to the engine as they are: they have to be the same for both. Without a
	// ComposeFile no compose.* action works.
	ComposeFile string
	EnvFile     string // pinned for every call; "": none, not even .env

	Services    []string            // that should run; nil: those of the Compose file
	Stateful    map[string]Stateful // services whose stop or restart is destructive, besides databases
	MaxReplicas int                 // of compose.scale; 0 is 8
	Cooldown    time.Duration       // between two restarts of a container; 0 is 10 minutes
	Registries  []string            // that docker.pull may fetch from: "ghcr.io/acme"
	Exec        map[string]Command  // for docker.exec and docker.probe
	Templates   map[string]Template // for docker.run
	Nginx       *Nginx              // for nginx.switch; nil: not used
}

// A Stateful service loses something when it is stopped.
type Stateful struct {
	Signal string        // that asks it to stop; "" is the container's own
	Grace  time.Duration // before it is killed; 0 is the container's own
}

// A Command may be run in a service's container.
type Command struct {
	Service string
	Argv    []string
	User    string          // "" is the container's
	Effect  runbooks.Effect // Read may be run by docker.probe
	Timeout time.Duration   // 0 is 30 seconds
}

// A Template is what docker.run starts: like a container of the service, with
// its environment, networks, mounts and limits, but with labels of its own.
type Template struct {
	Service string
	Argv    []string      // of a one-shot command; nil: the service's own, which goes on
	Port    int           // in the container, to be published on the engine's loopback; 0: none
	Publish int           // on loopback; 0: any free one
	Memory  int64         // bytes; 0 is the service's own limit
	Pids    int64         // 0 is the service's own limit
	Timeout time.Duration // of a one-shot command, or until healthy; 0 is 5 minutes, or 2
}

// An Nginx is a proxy in front of a service.
type Nginx struct {
	Service  string // of the proxy's own container
	Upstream string // name of the upstream block that the file holds
	Of       string // service that gets the traffic
	Port     int    // of that service, in its containers
	File     string // on this machine, in a folder that is mounted into the proxy
	URL      string // that the proxy answers, for the proof
	Header   string // of the answer, in which the instance names itself; "" is X-Instance
}

const (
	dialTimeout = 5 * time.Second
	// identifyWithin bounds what is asked for an identity.
	identifyWithin = 10 * time.Second
)

// A Conn is one Compose project of one Docker engine. It is safe for
// concurrent use.
type Conn struct {
	client  *client.Client
	config  Config
	compose *compose // nil without a Compose file

	mu       sync.Mutex
	restarts map[string][]time.Time // by this process, per container id
}

// Open checks the configuration and prepares a connection; it reaches nothing
// yet. The error is of kind Invalid.
func Open(c Config) (*Conn, error) {
	if c.Project == "" {
		return nil, fault.New(fault.Invalid, "A Docker connection needs the name of its Compose project.").
			Hinted("Set project: to what `docker compose ls` prints.")
	}
	if c.MaxReplicas == 0 {
		c.MaxReplicas = 8
	}
	if c.Cooldown == 0 {
		c.Cooldown = 10 * time.Minute
	}
	cl, err := client.NewClientWithOpts(client.WithHost(c.Host), client.WithAPIVersionNegotiation(), client.WithUserAgent("opsbot"))
	if err != nil {
		return nil, fault.New(fault.Invalid, "The address of a Docker connection is not one that opsbot understands.").
			Hinted("Write unix:///var/run/docker.sock, or tcp://HOST:PORT for a proxy of it.").Because(err)
	}
	conn := &Conn{client: cl, config: c, restarts: map[string][]time.Time{}}
	if c.ComposeFile != "" {
		conn.compose = newCompose(c)
	}
	return conn, nil
}

// Identity returns the engine's id and the project's name.
func (c *Conn) Identity(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, identifyWithin)
	defer cancel()
	i, err := c.client.Info(ctx)
	if err != nil {
		return "", c.explain("reach", err)
	}
	id := i.ID
	if id == "" { // an engine behind a proxy that hides it
		id = i.Name
	}
	return id + "/" + c.config.Project, nil
}

// Address says where the connection leads: "docker unix:///var/run/docker.sock, project bot".
func (c *Conn) Address() string {
	return fmt.Sprintf("docker %s, project %s", c.config.Host, c.config.Project)
}

// Close ends the connection's sockets.
func (c *Conn) Close() error {
	if err := c.client.Close(); err != nil {
		return fmt.Errorf("close %s: %w", c.Address(), err)
	}
	return nil
}

// subject begins a sentence about this engine.
func (c *Conn) subject() string { return "Docker at " + c.config.Host }

// connOf returns the connection that a call is aimed at.
func connOf(call runbooks.Call) (*Conn, error) {
	c, ok := call.Target.Conn.(*Conn)
	if !ok {
		return nil, fmt.Errorf("target %s of step %s is a %T, not a Docker connection", call.Target.Name, call.Step, call.Target.Conn)
	}
	return c, nil
}

// argsOf returns the decoded arguments of a call.
func argsOf[T any](call runbooks.Call) (*T, error) {
	args, ok := call.Args.(*T)
	if !ok {
		return nil, fmt.Errorf("arguments of step %s are a %T", call.Step, call.Args)
	}
	return args, nil
}

// both is what nearly every action begins with.
func both[T any](call runbooks.Call) (*Conn, *T, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, nil, err
	}
	args, err := argsOf[T](call)
	return c, args, err
}

// Lacks says that compose.* needs a Compose file.
func (c *Conn) Lacks(action string) error {
	if strings.HasPrefix(action, "compose.") {
		_, err := c.composed()
		return err
	}
	if c.config.Nginx == nil && strings.HasPrefix(action, "nginx.") {
		return fault.New(fault.Invalid, "The connection says nothing of a proxy.").Hinted("Add nginx to it in the configuration.")
	}
	return nil
}

// Examine looks at the engine, the project, the Compose plugin and its file,
// and the proxy's upstream file.
func (c *Conn) Examine(ctx context.Context) ([]runbooks.Finding, error) {
	v, err := c.client.ServerVersion(ctx)
	if err != nil {
		return nil, c.explain("ask for the engine's version", err)
	}
	found := []runbooks.Finding{{Name: "engine", Says: fmt.Sprintf("Docker %s, API %s", v.Version, c.client.ClientVersion())}}
	add := func(name, says string, err error) {
		if err != nil {
			says = fault.Say(err)
		}
		found = append(found, runbooks.Finding{Name: name, Bad: err != nil, Says: says})
	}
	list, err := c.boxes(ctx, "")
	add("project "+c.config.Project, things(len(list), "container"), err)
	if c.compose == nil {
		add("compose", "not used: the connection has no compose_file", nil)
	} else if version, err := ComposeVersion(ctx); err != nil {
		add("compose plugin", "", err)
	} else {
		add("compose plugin", version, nil)
		m, err := c.compose.model(ctx, "")
		says := c.compose.file + ", " + things(len(m.Services), "service")
		if len(m.empty) > 0 {
			err = fault.New(fault.Invalid, "Variables of %s are not set: %s.", c.compose.file, strings.Join(m.empty, ", ")).Hinted("Set them in env_file.")
		}
		add("compose file", says, err)
	}
	if n := c.config.Nginx; n != nil {
		text, err := n.read()
		add("proxy", n.File+" sends traffic to "+named(hosts(text)), err)
	}
	return found, nil
}
