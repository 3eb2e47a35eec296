package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// patience is how long a test waits for the engine; CI is slow and busy.
const patience = 60 * time.Second

// host is the engine that the tests use.
func host() string {
	if h := os.Getenv("DOCKER_HOST"); h != "" {
		return h
	}
	return client.DefaultDockerHost
}

// engine returns a client of a real engine, or skips the test.
func engine(t *testing.T) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("containers take more than -short allows")
	}
	if os.Getenv("OPSBOT_TEST_ENGINE") == "0" {
		t.Skip("OPSBOT_TEST_ENGINE=0 leaves Docker out")
	}
	c, err := client.NewClientWithOpts(client.WithHost(host()), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Ping(t.Context()); err != nil {
		if os.Getenv("OPSBOT_TEST_ENGINE") == "1" {
			t.Fatalf("no Docker engine answers, and OPSBOT_TEST_ENGINE=1 promises one: %v", err)
		}
		t.Skipf("no Docker engine answers: %v", err)
	}
	return c
}

// puppet is the image of a static program, tools is one with the df, sh and
// timeout of this machine. Both are made here: no registry is asked.
var (
	puppet = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "puppet-*")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "puppet"), "./testdata/puppet")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", &exec.Error{Name: string(out), Err: err}
		}
		return imported("puppet", map[string]string{"puppet": filepath.Join(dir, "puppet")}, `ENTRYPOINT ["/puppet"]`, "ENV BAKED=one", "LABEL baked=one")
	})
	tools = sync.OnceValues(func() (string, error) {
		files := map[string]string{}
		for _, name := range []string{"sh", "df", "timeout", "sleep", "cat", "tr", "grep"} {
			path, err := exec.LookPath(name)
			if err != nil {
				return "", err
			}
			files["usr/bin/"+name] = path
			out, err := exec.Command("ldd", path).Output()
			if err != nil {
				return "", err
			}
			for _, word := range strings.Fields(string(out)) {
				if strings.HasPrefix(word, "/") {
					files[strings.TrimPrefix(word, "/")] = word
				}
			}
		}
		return imported("tools", files, "ENV PATH=/usr/bin")
	})
)

// imported makes an image from files of this machine.
func imported(name string, files map[string]string, changes ...string) (string, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for path, from := range files {
		data, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(data))}); err != nil {
			return "", err
		}
		if _, err := w.Write(data); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{"proc/", "tmp/", "dev/"} {
		_ = w.WriteHeader(&tar.Header{Name: dir, Mode: 0o777, Typeflag: tar.TypeDir})
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	c, err := client.NewClientWithOpts(client.WithHost(host()), client.WithAPIVersionNegotiation())
	if err != nil {
		return "", err
	}
	defer c.Close()
	ref := "opsbot-actions-test-" + name + ":" + strconv.Itoa(os.Getpid())
	stream, err := c.ImageImport(context.Background(), image.ImportSource{Source: &b, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		return "", err
	}
	defer stream.Close()
	_, err = io.Copy(io.Discard, stream)
	madeImages.Store(ref, true)
	return ref, err
}

var madeImages sync.Map // by name

func TestMain(m *testing.M) {
	code := m.Run()
	if c, err := client.NewClientWithOpts(client.WithHost(host()), client.WithAPIVersionNegotiation()); err == nil {
		madeImages.Range(func(ref, _ any) bool {
			_, _ = c.ImageRemove(context.Background(), ref.(string), image.RemoveOptions{Force: true})
			return true
		})
	}
	os.Exit(code)
}

// A project is a set of containers with Compose's labels, made without Compose.
type project struct {
	t    *testing.T
	c    *client.Client
	name string
	conn *docker.Conn
	net  string

	composeFile string
}

// newProject makes an empty project, which is gone when t ends.
func newProject(t *testing.T, change func(*docker.Config)) *project {
	t.Helper()
	p := &project{t: t, c: engine(t), name: "opsbot-test-" + strings.ToLower(rand.Text()[:8])}
	made, err := p.c.NetworkCreate(t.Context(), p.name, network.CreateOptions{Labels: map[string]string{"opsbot.test": p.name}})
	if err != nil {
		t.Fatal(err)
	}
	p.net = made.ID
	t.Cleanup(p.remove)
	p.conn = p.open(change)
	return p
}

func (p *project) open(change func(*docker.Config)) *docker.Conn {
	p.t.Helper()
	config := docker.Config{Host: host(), Project: p.name}
	if change != nil {
		change(&config)
	}
	conn, err := docker.Open(config)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

func (p *project) remove() {
	ctx := context.Background()
	for _, label := range []string{"com.docker.compose.project=" + p.name, "opsbot.project=" + p.name} {
		list, err := p.c.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label))})
		if err != nil {
			p.t.Error(err)
		}
		for _, c := range list {
			if err := p.c.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !strings.Contains(err.Error(), "already in progress") {
				p.t.Error(err)
			}
		}
	}
	if err := p.c.NetworkRemove(ctx, p.net); err != nil {
		p.t.Error(err)
	}
}

// A setup changes how a container is made.
type setup func(*container.Config, *container.HostConfig)

// start makes and starts a container of a service.
func (p *project) start(service string, number int, argv []string, changes ...setup) string {
	p.t.Helper()
	id := p.create(service, number, argv, changes...)
	if err := p.c.ContainerStart(p.t.Context(), id, container.StartOptions{}); err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *project) create(service string, number int, argv []string, changes ...setup) string {
	p.t.Helper()
	ref, err := puppet()
	if err != nil {
		p.t.Fatal(err)
	}
	config := &container.Config{Image: ref, Cmd: argv, Labels: map[string]string{
		"com.docker.compose.project": p.name, "com.docker.compose.service": service, "com.docker.compose.oneoff": "False",
		"com.docker.compose.container-number": strconv.Itoa(number), "com.docker.compose.config-hash": "abc",
	}}
	host := &container.HostConfig{NetworkMode: container.NetworkMode(p.name)}
	for _, change := range changes {
		change(config, host)
	}
	name := p.name + "-" + service + "-" + strconv.Itoa(number)
	made, err := p.c.ContainerCreate(p.t.Context(), config, host, &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{p.name: {Aliases: []string{service}}}}, nil, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return made.ID
}

// probed gives a container the puppet's health check.
func probed(c *container.Config, _ *container.HostConfig) {
	c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "/puppet", "probe"}, Interval: 300 * time.Millisecond, Timeout: 5 * time.Second, Retries: 20}
}

// withTools makes a container from the image that has a shell.
func withTools(t *testing.T) setup {
	t.Helper()
	ref, err := tools()
	if err != nil {
		t.Skipf("this machine's tools cannot be put into an image: %v", err)
	}
	return func(c *container.Config, _ *container.HostConfig) {
		c.Image, c.Entrypoint, c.Cmd = ref, []string{"sleep", "3600"}, nil
	}
}

// until waits for something that the engine does in its own time.
func (p *project) until(what string, yes func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if yes() {
			return
		}
	}
	p.t.Fatalf("%s: not within %s", what, patience)
}

func (p *project) inspect(id string) container.InspectResponse {
	p.t.Helper()
	in, err := p.c.ContainerInspect(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return in
}

func action(t *testing.T, name string) runbooks.Action {
	t.Helper()
	for _, a := range docker.Actions() {
		if a.Spec().Name == name {
			return a
		}
	}
	t.Fatalf("there is no action %s", name)
	return nil
}

// call decodes arguments as the engine of the runbooks does.
func call(t *testing.T, conn *docker.Conn, name string, with map[string]any) runbooks.Call {
	t.Helper()
	args, err := runbooks.DecodeArgs(action(t, name).Spec(), with)
	if err != nil {
		t.Fatal(err)
	}
	return runbooks.Call{Run: "0198-run-1", Step: "step", Target: runbooks.Target{Name: "docker", Kind: "docker", Conn: conn}, Args: args}
}

// try runs an action and returns what came of it and what it wrote.
func try(t *testing.T, conn *docker.Conn, name string, with map[string]any) (any, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out strings.Builder
	r, err := action(t, name).Run(ctx, call(t, conn, name, with), &out)
	return r, out.String(), err
}

// do runs an action that has to work.
func do[T any](t *testing.T, conn *docker.Conn, name string, with map[string]any) T {
	t.Helper()
	r, _, err := try(t, conn, name, with)
	if err != nil {
		t.Fatalf("%s: %v", name, fault.Say(err))
	}
	return r.(T)
}

func preview(t *testing.T, conn *docker.Conn, name string, with map[string]any) (runbooks.Preview, error) {
	t.Helper()
	return action(t, name).(runbooks.Previewer).Preview(t.Context(), call(t, conn, name, with))
}

// refused checks that an error is one for people, of that kind, and says that.
func refused(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if fault.KindOf(err) != kind {
		t.Fatalf("error %v of kind %q, want %q", err, fault.KindOf(err), kind)
	}
	for _, w := range words {
		if !strings.Contains(fault.Say(err), w) {
			t.Errorf("it says %q, and nothing of %q", fault.Say(err), w)
		}
	}
}

func has(list []string, word string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, word) })
}

// freePort is a port that nobody listens on just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
