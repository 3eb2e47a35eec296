package docker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
)

// A compose is Compose's command line for one project. It is run by argument
// vector with a fixed environment: what happens depends on the file and its
// env file, never on who started opsbot.
type compose struct {
	project, file, envFile, host string
}

func newCompose(c Config) *compose {
	return &compose{c.Project, c.ComposeFile, c.EnvFile, c.Host}
}

const (
	// composeOutput is how much of each of its streams is kept.
	composeOutput = 1 << 20
	// afterKill is how long its pipes may stay open once it was killed.
	afterKill = 5 * time.Second
)

// command prepares one call. It and all its children are killed when ctx ends:
// the docker command starts its plugins as processes of their own.
func (k *compose) command(ctx context.Context, imageTag string, args ...string) *exec.Cmd {
	env := os.DevNull // not even .env: what is not named here does not count
	if k.envFile != "" {
		env = k.envFile
	}
	program, first := composeProgram()
	full := append(first, "-p", k.project, "-f", k.file, "--env-file", env, "--progress", "plain", "--ansi", "never")
	cmd := exec.CommandContext(ctx, program, append(full, args...)...)
	cmd.Env = pluginEnv()
	cmd.Env = append(cmd.Env, "DOCKER_HOST="+k.host)
	if imageTag != "" {
		cmd.Env = append(cmd.Env, "IMAGE_TAG="+imageTag) // above the env file
	}
	cmd.Dir = filepath.Dir(k.file)
	cmd.WaitDelay = afterKill
	endWithChildren(cmd)
	return cmd
}

// composeProgram is the docker command with its plugin or, where that command
// is missing, the plugin by itself.
func composeProgram() (string, []string) {
	if _, err := exec.LookPath("docker"); err != nil {
		if _, err := exec.LookPath("docker-compose"); err == nil {
			return "docker-compose", nil
		}
	}
	return "docker", []string{"compose"}
}

// pluginEnv is what the docker command needs to find its plugins and to trust
// an engine behind TLS.
func pluginEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, "LC_ALL=C")
}

// run makes one call and writes both streams, without secrets, to out.
func (k *compose) run(ctx context.Context, doing, imageTag string, out io.Writer, args ...string) (stdout, stderr string, err error) {
	cmd := k.command(ctx, imageTag, args...)
	var o, e limited
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	for line := range strings.Lines(e.String()) {
		fmt.Fprint(out, clean(line))
	}
	if err != nil {
		return o.String(), e.String(), k.explain(ctx, doing, clean(e.String()), err)
	}
	return o.String(), e.String(), nil
}

// A limited buffer drops what is above the limit.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := composeOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// explain turns a failed call into an error that people understand.
func (k *compose) explain(ctx context.Context, doing, stderr string, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "Compose took too long to %s and was ended: part of it may be done.", doing).Because(ctx.Err())
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.Is(err, exec.ErrNotFound), strings.Contains(stderr, "is not a docker command"), strings.Contains(stderr, "unknown shorthand flag"):
		return noCompose(err)
	}
	if e := recognise(stderr); e != nil {
		return e.Because(err)
	}
	var last string
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "level=warning") {
			last = line
		}
	}
	kind := fault.Unavailable
	if strings.Contains(last, "unhealthy") || strings.Contains(last, "exited") || strings.Contains(last, "no such service") || strings.Contains(last, "is missing a value") {
		kind = fault.Conflict
	}
	return fault.New(kind, "Compose could not %s.", doing).Hinted("It said: %s", clip(last, 300)).Because(err)
}

func noCompose(err error) error {
	return fault.New(fault.Unavailable, "There is no Compose plugin on this machine.").
		Hinted("Install docker-compose-plugin, or use opsbot's image with-compose; without compose_file on the connection opsbot does without.").Because(err)
}

// ComposeVersion returns the version of the Compose plugin beside opsbot. The
// error, of kind Unavailable, says that there is none or that it is too old.
func ComposeVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	program, first := composeProgram()
	cmd := exec.CommandContext(ctx, program, append(first, "version", "--short")...)
	cmd.Env, cmd.WaitDelay = pluginEnv(), afterKill
	endWithChildren(cmd)
	text, err := cmd.Output()
	if err != nil {
		return "", noCompose(err)
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(text)), "v")
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	ma, err1 := strconv.Atoi(major)
	mi, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil || ma < 2 || ma == 2 && mi < oldestMinor {
		return "", fault.New(fault.Unavailable, "The Compose plugin is %s; opsbot needs 2.%d or newer.", clip(version, 40), oldestMinor).
			Hinted("Update docker-compose-plugin.")
	}
	return version, nil
}

// oldestMinor of Compose 2 knows config --environment and all else that is used
// here.
const oldestMinor = 28

// A model is what Compose makes of its file.
type model struct {
	Services map[string]modelService `json:"services"`
	empty    []string                // variables that the file uses and that are not set
	hash     string
}

type modelService struct {
	Image         string            `json:"image"`
	ContainerName string            `json:"container_name"`
	Scale         *int              `json:"scale"`
	Labels        map[string]string `json:"labels"`
	Deploy        struct {
		Replicas *int `json:"replicas"`
	} `json:"deploy"`
	Ports []struct {
		Published string `json:"published"`
		Target    int    `json:"target"`
	} `json:"ports"`
}

// replicas are how many containers the file wants of the service.
func (s modelService) replicas() int {
	switch {
	case s.Scale != nil:
		return *s.Scale
	case s.Deploy.Replicas != nil:
		return *s.Deploy.Replicas
	}
	return 1
}

var notSet = regexp.MustCompile(`The \\?"([A-Za-z_][A-Za-z0-9_]*)\\?" variable is not set`)

// model reads the file with its variables filled in. What it says is full of
// secrets and goes nowhere as it is.
func (k *compose) model(ctx context.Context, imageTag string) (model, error) {
	stdout, stderr, err := k.run(ctx, "read "+k.file, imageTag, io.Discard, "config", "--format", "json")
	if err != nil {
		return model{}, err
	}
	var m model
	if err := json.Unmarshal([]byte(stdout), &m); err != nil {
		return model{}, fault.New(fault.Unavailable, "Compose described %s in a way that opsbot does not understand.", k.file).Because(err)
	}
	for _, found := range notSet.FindAllStringSubmatch(stderr, -1) {
		m.empty = append(m.empty, found[1])
	}
	slices.Sort(m.empty)
	m.empty = slices.Compact(m.empty)
	sum := sha256.Sum256([]byte(stdout))
	m.hash = hex.EncodeToString(sum[:8])
	return m, nil
}

// environment is what the env file sets, as KEY=value.
func (k *compose) environment(ctx context.Context) ([]string, error) {
	stdout, _, err := k.run(ctx, "read "+k.envFile, "", io.Discard, "config", "--environment")
	if err != nil {
		return nil, err
	}
	return strings.Split(stdout, "\n"), nil
}

// composed is the command line of a connection that has a Compose file.
func (c *Conn) composed() (*compose, error) {
	if c.compose == nil {
		return nil, fault.New(fault.Invalid, "The connection to %s has no Compose file.", c.subject()).
			Hinted("Set compose_file on it, and have the Compose plugin beside opsbot.")
	}
	return c.compose, nil
}
