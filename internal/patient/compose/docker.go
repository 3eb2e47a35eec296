package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"opsbot/internal/fault"
)

// docker runs the docker command and returns what it printed. In an error is
// the end of what it complained about.
func docker(ctx context.Context, args ...string) (string, error) {
	return dockerWith(ctx, nil, args...)
}

// dockerWith does so with something to read.
func dockerWith(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin = in
	// An interrupt lets Compose finish what it is at; a kill would leave half
	// a container.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return out.String(), fmt.Errorf("docker %s: %w: %s", verb(args), err, lastLines(errs.String(), 12))
	}
	return out.String(), nil
}

// verb is the part of a command line that says what it is about: passwords may
// be in the rest.
func verb(args []string) string {
	n := 0
	for n < len(args) && n < 2 && !strings.HasPrefix(args[n], "-") {
		n++
	}
	return strings.Join(args[:n], " ")
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Check says what is missing on this machine for a Compose patient, as an
// *fault.Error; nil is nothing.
func Check(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return fault.New(fault.Unavailable, "The Compose patient needs the docker command, which is not installed.").
			Hinted("Install Docker, or use the patient in the process: opsbot demo without --docker.").Because(err)
	}
	if _, err := docker(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return fault.New(fault.Unavailable, "Docker does not answer: is its daemon running, and may this account use it?").
			Hinted("Try `docker version`. DOCKER_HOST says where the daemon is, if not on its usual socket.").Because(err)
	}
	if _, err := docker(ctx, "compose", "version", "--short"); err != nil {
		return fault.New(fault.Unavailable, "The Compose patient needs Docker Compose 2, which is not installed.").
			Hinted("Try `docker compose version`. It is a plugin of its own: docker-compose-plugin from Docker's packages, or .ci/compose in the sources builds it.").Because(err)
	}
	return nil
}

// engineURL is where the docker command finds its daemon: by DOCKER_HOST or by
// the context that is in use.
func engineURL(ctx context.Context) (string, error) {
	out, err := docker(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	return strings.TrimSpace(out), failed("Asking for Docker's address", err)
}

// failed makes an error of Docker one that people may see.
func failed(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var said *fault.Error
	if errors.As(err, &said) {
		return err
	}
	return fault.New(fault.Unavailable, "%s failed: %s", what, err).Because(err)
}
