package docker_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

const composeFile = `
services:
  api:
    image: ${API_IMAGE}:${IMAGE_TAG}
    environment: { TOKEN: "${TOKEN}" }
    ports: ["127.0.0.1::8000"]
    stop_grace_period: 3s
    healthcheck: { test: [CMD, /puppet, probe], interval: 300ms, retries: 30 }
    labels: { opsbot.test: "yes" }
  fixed:
    image: ${API_IMAGE}:${IMAGE_TAG}
    ports: ["127.0.0.1:${FIXED_PORT}:8000"]
  one:
    image: ${API_IMAGE}:${IMAGE_TAG}
    container_name: ${ONE}
  db:
    image: ${API_IMAGE}:${IMAGE_TAG}
    command: [postgres]
    volumes: ["data:/data"]
volumes: { data: {} }
`

// composed makes a project with a Compose file, nothing of which is started,
// or skips the test where nobody asks for Compose.
func composed(t *testing.T, change func(*docker.Config)) (*project, string) {
	t.Helper()
	if os.Getenv("OPSBOT_TEST_DOCKER") != "1" {
		t.Skip("Compose is for OPSBOT_TEST_DOCKER=1, as make test-docker sets it")
	}
	p := newProject(t, nil)
	if _, err := docker.ComposeVersion(t.Context()); err != nil {
		t.Fatalf("%v, and OPSBOT_TEST_DOCKER=1 promises it", err)
	}
	ref, err := puppet()
	if err != nil {
		t.Fatal(err)
	}
	name, tag, _ := strings.Cut(ref, ":")
	dir := t.TempDir()
	file, env := filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "prod.env")
	write(t, file, composeFile)
	write(t, env, "API_IMAGE="+name+"\nIMAGE_TAG="+tag+"\nTOKEN=geheim\nFIXED_PORT="+freePort(t)+"\nONE="+p.name+"-the-one\n")
	p.composeFile = file
	p.conn = p.open(func(c *docker.Config) {
		c.ComposeFile, c.EnvFile = file, env
		if change != nil {
			change(c)
		}
	})
	t.Cleanup(func() {
		out, err := exec.Command("docker", "compose", "-p", p.name, "-f", file, "--env-file", env, "down", "-v", "-t", "1").CombinedOutput()
		if err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return p, env
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// second gives the puppet's image another id and tag.
func second(t *testing.T, p *project) string {
	t.Helper()
	ref, err := puppet()
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.c.ContainerCreate(t.Context(), &container.Config{Image: ref}, nil, nil, nil, p.name+"-second")
	if err != nil {
		t.Fatal(err)
	}
	defer p.c.ContainerRemove(t.Context(), made.ID, container.RemoveOptions{})
	name, _, _ := strings.Cut(ref, ":")
	tag := strings.TrimPrefix(p.name, "opsbot-test-")
	if _, err := p.c.ContainerCommit(t.Context(), made.ID, container.CommitOptions{Reference: name + ":" + tag, Changes: []string{"ENV VERSION=2"}}); err != nil {
		t.Fatal(err)
	}
	madeImages.Store(name+":"+tag, true)
	return tag
}

func TestComposeUpAndItsImages(t *testing.T) {
	t.Parallel()
	p, env := composed(t, nil)
	c := do[docker.ComposeConfig](t, p.conn, "compose.config", map[string]any{"keys": []any{"TOKEN", "SECRET"}})
	if strings.Join(c.Services, " ") != "api db fixed one" || strings.Join(c.MissingEnv, " ") != "SECRET" || c.EnvTag == "" || !strings.HasSuffix(c.Images["api"], ":"+c.EnvTag) || c.ConfigHash == "" {
		t.Errorf("config = %+v", c)
	}
	// Where nothing was started, everything is missing.
	if s := do[docker.Services](t, p.conn, "docker.ps", nil); s.AllOK || s.ServicesTotal != 4 || s.ServicesOK != 0 {
		t.Errorf("services before = %+v", s)
	}
	pr, err := preview(t, p.conn, "compose.up", map[string]any{"service": "api"})
	if err != nil || !has(pr.Impact, "creates container "+p.name+"-api-1") || pr.Effect != runbooks.Change {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	up := do[docker.Up](t, p.conn, "compose.up", map[string]any{"service": "api"})
	if !up.AllOK || len(up.Services) != 1 || up.Services[0].Health != "healthy" || len(up.ImagesBefore) != 0 || up.ImagesAfter["api"] == "" {
		t.Errorf("up = %+v", up)
	}
	if pr, err = preview(t, p.conn, "compose.up", map[string]any{"service": "api"}); err != nil || !has(pr.Impact, "changes nothing") {
		t.Errorf("preview of nothing = %+v, %v", pr, err)
	}
	again := do[docker.Up](t, p.conn, "compose.up", map[string]any{"service": "api", "recreate": true})
	if !again.AllOK || !has(again.Changed, "recreates container "+p.name+"-api-1") {
		t.Errorf("recreated = %+v", again)
	}

	// Another image is a deployment, which has to be asked for.
	tag := second(t, p)
	text, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	was := up.ImagesAfter["api"]
	_, old, _ := strings.Cut(strings.SplitN(string(text), "\n", 3)[1], "=")
	write(t, env, strings.Replace(string(text), "IMAGE_TAG="+old, "IMAGE_TAG="+tag, 1))
	_, err = preview(t, p.conn, "compose.up", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "change the image of api", "nobody asked")
	_, _, err = try(t, p.conn, "compose.up", map[string]any{"service": "api"})
	refused(t, err, fault.Conflict, "nobody asked")
	write(t, env, string(text))
	pr, err = preview(t, p.conn, "compose.up", map[string]any{"service": "api", "image_tag": tag})
	if err != nil || !has(pr.Impact, "replaces the image of "+p.name+"-api-1") || !has(pr.Impact, "recreates container") {
		t.Errorf("preview of a deployment = %+v, %v", pr, err)
	}
	_, _, err = try(t, p.conn, "compose.up", map[string]any{"service": "api", "image_tag": tag, "image_id": was})
	refused(t, err, fault.Conflict, "as recorded")
	deployed := do[docker.Up](t, p.conn, "compose.up", map[string]any{"service": "api", "image_tag": tag, "pull": "never"})
	if deployed.ImagesBefore["api"] != was || deployed.ImagesAfter["api"] == was || !deployed.AllOK {
		t.Errorf("deployed = %+v", deployed)
	}
	back := do[docker.Up](t, p.conn, "compose.up", map[string]any{"service": "api", "image_tag": old, "image_id": was, "pull": "never"})
	if back.ImagesAfter["api"] != was || !back.AllOK {
		t.Errorf("rolled back = %+v", back)
	}

	// start keeps the image, whatever the env file says by now.
	write(t, env, strings.Replace(string(text), "IMAGE_TAG="+old, "IMAGE_TAG="+tag, 1))
	do[docker.Restarted](t, p.conn, "docker.stop", map[string]any{"service": "api"})
	started := do[docker.Up](t, p.conn, "compose.start", map[string]any{"service": "api"})
	if started.ImagesAfter["api"] != was || !started.AllOK || started.Services[0].Health != "healthy" {
		t.Errorf("started = %+v", started)
	}
	_, _, err = try(t, p.conn, "compose.start", map[string]any{"service": "db"})
	refused(t, err, fault.NotFound, "compose.up creates")
}

// Without waiting, up would report success of a container that exits.
func TestComposeUpSaysWhatExited(t *testing.T) {
	t.Parallel()
	p, _ := composed(t, nil)
	write(t, p.file(), strings.Replace(composeFile, "    healthcheck:", "    command: [exit, \"5\"]\n    healthcheck:", 1))
	_, _, err := try(t, p.conn, "compose.up", map[string]any{"service": "api", "wait": "30s"})
	refused(t, err, fault.Conflict, "exit code 5", "the last words on std", "password=***")
	_, _, err = try(t, p.conn, "compose.up", map[string]any{"service": "nobody"})
	refused(t, err, fault.NotFound, "no service nobody", "api, db, fixed, one")
}

func (p *project) file() string { return p.composeFile }

func TestComposeScale(t *testing.T) {
	t.Parallel()
	p, env := composed(t, func(c *docker.Config) { c.MaxReplicas = 3 })
	do[docker.Up](t, p.conn, "compose.up", map[string]any{"services": []any{"api", "fixed", "one"}})
	for with, says := range map[*map[string]any]string{
		{"service": "api", "replicas": 4}:   "more than the 3",
		{"service": "one", "replicas": 2}:   "container_name",
		{"service": "fixed", "replicas": 2}: "fixed in the Compose file",
	} {
		_, err := preview(t, p.conn, "compose.scale", *with)
		if err == nil || !strings.Contains(fault.Say(err), says) {
			t.Errorf("%v: %v, want %q", *with, err, says)
		}
	}
	pr, err := preview(t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 3})
	if err != nil || !has(pr.Impact, "api from 1 to 3 replicas") || !has(pr.Impact, "creates container "+p.name+"-api-3") || has(pr.Impact, "recreates") {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	// An env file that is ahead, or behind, would mix two versions.
	text, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	write(t, env, string(text)+"IMAGE_TAG="+second(t, p)+"\n")
	_, err = preview(t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 2})
	refused(t, err, fault.Conflict, "compose.scale would run", "which is there now", "IMAGE_TAG in the env file")
	_, _, err = try(t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 2})
	refused(t, err, fault.Conflict, "which is there now")
	if s := do[docker.Services](t, p.conn, "docker.ps", map[string]any{"service": "api"}); len(s.Containers) != 1 {
		t.Errorf("containers after a refusal = %+v", s.Containers)
	}
	write(t, env, string(text))
	r := do[docker.Scaled](t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 3})
	if r.ReplicasBefore != 1 || r.ReplicasAfter != 3 || !r.AllOK {
		t.Errorf("scaled = %+v", r)
	}
	// A later up keeps the number, and says so.
	pr, err = preview(t, p.conn, "compose.up", map[string]any{"service": "api", "recreate": true})
	if err != nil || !has(pr.Impact, "keeps api at 3 containers; the file says 1") {
		t.Errorf("preview of an up = %+v, %v", pr, err)
	}
	do[docker.Up](t, p.conn, "compose.up", nil)
	if s := do[docker.Services](t, p.conn, "docker.ps", map[string]any{"service": "api"}); s.Services[0].Desired != 3 || !s.AllOK {
		t.Errorf("services after an up = %+v", s)
	}
	if r := do[docker.Scaled](t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 1}); r.ReplicasBefore != 3 || r.ReplicasAfter != 1 {
		t.Errorf("scaled down = %+v", r)
	}
}

// A port that is taken leaves containers that were made and never started.
func TestComposeScaleSweepsUp(t *testing.T) {
	t.Parallel()
	p, _ := composed(t, nil)
	do[docker.Up](t, p.conn, "compose.up", map[string]any{"service": "api"})
	// A range of one port passes for a range.
	port := freePort(t)
	write(t, p.file(), strings.Replace(composeFile, "127.0.0.1::8000", "127.0.0.1:"+port+"-"+port+":8000", 1))
	_, out, err := try(t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 3})
	if err == nil {
		t.Fatalf("it worked: %s", out)
	}
	for _, b := range do[docker.Services](t, p.conn, "docker.ps", map[string]any{"service": "api"}).Containers {
		if b.State == "created" {
			t.Errorf("%s was left", b.Name)
		}
	}
}

func TestComposeDownKeepsLogsAndVolumes(t *testing.T) {
	t.Parallel()
	p, _ := composed(t, nil)
	do[docker.Up](t, p.conn, "compose.up", map[string]any{"services": []any{"api", "db"}})
	pr, err := preview(t, p.conn, "compose.down", nil)
	if err != nil || pr.Effect != runbooks.Destructive || !has(pr.Impact, "keeps the volumes "+p.name+"_data") || !has(pr.Reasons, "db is a database") {
		t.Errorf("preview = %+v, %v", pr, err)
	}
	r, out, err := try(t, p.conn, "compose.down", nil)
	if err != nil {
		t.Fatal(fault.Say(err))
	}
	down := r.(docker.Down)
	if len(down.Removed) != 2 || len(down.Volumes) != 1 || down.LogLines == 0 || !strings.Contains(out, "listening") {
		t.Errorf("down = %+v, wrote %q", down, out)
	}
	if s := do[docker.Services](t, p.conn, "docker.ps", nil); len(s.Containers) != 0 {
		t.Errorf("still there: %+v", s.Containers)
	}
}

// The end of its time ends Compose, whose plugin is a child of the docker
// command and outlives it otherwise.
func TestComposeEndsInTime(t *testing.T) {
	t.Parallel()
	p, _ := composed(t, nil)
	write(t, p.file(), strings.Replace(composeFile, "[CMD, /puppet, probe], interval: 300ms, retries: 30", "[CMD, /puppet, exit, \"1\"], retries: 100000", 1))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := action(t, "compose.up").Run(ctx, call(t, p.conn, "compose.up", map[string]any{"service": "api", "wait": "600s"}), io.Discard)
	refused(t, err, fault.Unavailable, "took too long", "may be done")
	p.until("no process of it is left", func() bool {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil || len(lines) == 0 {
			t.Skip("this system does not show its processes")
		}
		for _, file := range lines {
			if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "compose\x00-p\x00"+p.name+"\x00") {
				return false
			}
		}
		return true
	})
}

func TestWithoutComposeFile(t *testing.T) {
	t.Parallel()
	conn, err := docker.Open(docker.Config{Host: "unix:///nonexistent", Project: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	refused(t, conn.Lacks("compose.up"), fault.Invalid, "compose_file")
	refused(t, conn.Lacks("nginx.switch"), fault.Invalid, "nginx")
	if err := conn.Lacks("docker.ps"); err != nil {
		t.Error(err)
	}
	_, _, err = try(t, conn, "compose.down", nil)
	refused(t, err, fault.Invalid, "compose_file")
}
