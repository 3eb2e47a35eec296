package docker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
)

func TestInfo(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	i := do[docker.Info](t, p.conn, "docker.info", nil)
	if i.DockerVersion == "" || i.APIVersion == "" || i.NCPU < 1 || i.MemTotal < 1<<20 {
		t.Errorf("info = %+v", i)
	}
	id, err := p.conn.Identity(t.Context())
	if err != nil || !strings.HasSuffix(id, "/"+p.name) || id == "/"+p.name {
		t.Errorf("Identity() = %q, %v", id, err)
	}
}

// An exited service must not vanish: with it gone from the list, all that is
// left would be fine.
func TestPsShowsWhatStopped(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *docker.Config) { c.Services = []string{"api", "cache", "db"} })
	p.start("api", 2, []string{"serve"}, probed)
	gone := p.start("cache", 1, []string{"exit", "3"})
	p.until("cache exits", func() bool { return !p.inspect(gone).State.Running })
	p.until("api is healthy", func() bool {
		return do[docker.Services](t, p.conn, "docker.ps", map[string]any{"service": "api"}).AllOK
	})
	r := do[docker.Services](t, p.conn, "docker.ps", nil)
	if r.AllOK || r.ServicesOK != 1 || r.ServicesTotal != 3 || !r.DesiredKnown {
		t.Errorf("services = %+v", r)
	}
	for i, want := range []struct {
		name             string
		desired, running int
		exit             int
		ok               bool
		health           string
	}{{"api", 1, 1, 0, true, "healthy"}, {"cache", 1, 0, 3, false, "none"}, {"db", 1, 0, 0, false, "none"}} {
		s := r.Services[i]
		if s.Name != want.name || s.Desired != want.desired || s.Running != want.running || s.ExitCode != want.exit || s.OK != want.ok || s.Health != want.health {
			t.Errorf("service %d = %+v, want %+v", i, s, want)
		}
	}
	if found := r.Found(); !strings.Contains(found, "cache is stopped (exit code 3)") || !strings.Contains(found, "db does not run") {
		t.Errorf("Found() = %q", found)
	}
	_, _, err := try(t, p.conn, "docker.ps", map[string]any{"service": "nobody"})
	refused(t, err, fault.NotFound, "no service nobody")
}

func TestLogsReadBothStreamsWithoutSecrets(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.start("api", 1, []string{"say", "30"})
	p.start("api", 2, []string{"say", "30"})
	var r docker.Log
	p.until("120 lines", func() bool {
		r = do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "api"})
		return r.Read == 120
	})
	if r.Matched != 120 || len(r.Groups) != 2 {
		t.Errorf("%d lines matched, in groups %+v", r.Matched, r.Groups)
	}
	r, out, err := func() (docker.Log, string, error) {
		r, out, err := try(t, p.conn, "docker.logs", map[string]any{"service": "api", "match": "(?i)failed", "lines": 10})
		return r.(docker.Log), out, err
	}()
	if err != nil || r.Matched != 60 || len(r.Lines) != 10 || len(r.Groups) != 1 || r.Groups[0].Count != 60 || r.Groups[0].Topic != "database" {
		t.Errorf("matching lines = %+v, %v", r, err)
	}
	if text := out + strings.Join(r.Lines, "\n") + fmt.Sprint(r.Groups); strings.Contains(text, "hunter2") || !strings.Contains(text, "postgres://app:***@db:5432/bot") {
		t.Errorf("the password is shown, or too much hidden:\n%s", text)
	}
	if !has(r.Lines, p.name+"-api-2: request") {
		t.Errorf("no line says which replica it is from: %q", r.Lines)
	}
	_, _, err = try(t, p.conn, "docker.logs", map[string]any{"service": "api", "match": "(["})
	refused(t, err, fault.Invalid, "not one")
	_, _, err = try(t, p.conn, "docker.logs", map[string]any{"service": "web"})
	refused(t, err, fault.NotFound, "Service web has no container.", "api")
}

// What a process says first may be older than the start that Docker notes.
func TestLogsSinceTheStartHaveTheFirstWords(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	for n := 1; n <= 5; n++ {
		id := p.start("api", n, []string{"say", "1"})
		if n > 2 {
			continue
		}
		read := func() int {
			return do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "api", "lines": 1000}).Read
		}
		before := 0
		p.until("it has spoken", func() bool { before = read(); return before == 2*n+2*(n-1) })
		timeout := 0
		if err := p.c.ContainerRestart(t.Context(), id, container.StopOptions{Timeout: &timeout}); err != nil {
			t.Fatal(err)
		}
		p.until("it has spoken again", func() bool { return read() == before+2 })
	}
	var r docker.Log
	p.until("the last start of each is there", func() bool {
		r = do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "api", "since_start": true})
		return r.Read >= 10
	})
	if r.Read != 10 {
		t.Errorf("%d lines since the start of five that say two each: %q", r.Read, r.Lines)
	}
}

// Two samples are compared: one alone would say 0 %.
func TestStatsOfTheWorstReplica(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	half := func(_ *container.Config, h *container.HostConfig) { h.NanoCPUs, h.Memory = 5e8, 256<<20 }
	p.start("api", 1, []string{"serve"})
	p.start("api", 2, []string{"burn"}, half)
	hog := p.start("api", 3, []string{"hog", "60"}, half)
	p.until("it holds the memory", func() bool {
		return do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "api", "match": "holding"}).Matched == 1
	})
	var r docker.Load
	p.until("the burner burns", func() bool {
		r = do[docker.Load](t, p.conn, "docker.stats", map[string]any{"service": "api", "for": "1s"})
		return r.CPUPctOfCapacity > 20
	})
	if len(r.Replicas) != 3 || r.CPUPctOfCapacity > 160 || r.Replicas[1].CPUPctOfCapacity != r.CPUPctOfCapacity {
		t.Errorf("load = %+v", r)
	}
	worst := r.Replicas[2]
	if worst.MemBytes < 60<<20 || worst.MemBytes != r.MemBytes || worst.MemLimit != 256<<20 || worst.MemPctLimit < 23 || worst.MemPctLimit > 60 {
		t.Errorf("the hog = %+v", worst)
	}
	_ = hog
	p.start("done", 1, []string{"exit", "0"})
	p.until("it has ended", func() bool {
		_, _, err := try(t, p.conn, "docker.stats", map[string]any{"service": "done"})
		return fault.KindOf(err) == fault.Conflict
	})
}

func TestEnvNeverShowsAValue(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.create("api", 1, nil, func(c *container.Config, _ *container.HostConfig) {
		c.Env = []string{"JWT=geheim", "EMPTY=", "JWT_OTHER=x"}
	})
	p.create("api", 2, nil, func(c *container.Config, _ *container.HostConfig) {
		c.Env = []string{"JWT=geheim", "EMPTY=", "JWT_OTHER=y"}
	})
	r, out, err := try(t, p.conn, "docker.env", map[string]any{"service": "api", "keys": []any{"JWT", "EMPTY", "MISSING", "JWT_OTHER"}})
	if err != nil {
		t.Fatal(err)
	}
	got := r.(docker.Presence)
	if !got.Set["JWT"] || got.Length["JWT"] != 6 || got.Set["EMPTY"] || got.Set["MISSING"] {
		t.Errorf("presence = %+v", got)
	}
	if !got.Same["JWT"] || got.Same["JWT_OTHER"] || len(got.Version["JWT"]) != 4 || got.Version["JWT_OTHER"] != "" || got.Version["EMPTY"] != "" {
		t.Errorf("presence = %+v", got)
	}
	if text := fmt.Sprint(got, out, got.Found()); strings.Contains(text, "geheim") {
		t.Errorf("the value is shown: %s", text)
	}
}

func TestImagesAreRecordedByID(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	id := p.create("api", 1, []string{"serve"})
	p.create("api", 2, []string{"serve"})
	r := do[docker.Deployment](t, p.conn, "docker.images", nil)
	if len(r.Services) != 1 || r.Services[0].ImageID != p.inspect(id).Image || r.Services[0].Tag == "" || r.ConfigHash == "" || r.Services[0].Created.IsZero() {
		t.Errorf("deployment = %+v", r)
	}
}

func TestEvidenceIsKeptBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.start("api", 1, []string{"say", "5"}, func(c *container.Config, _ *container.HostConfig) { c.Env = []string{"TOKEN=geheim"} })
	p.until("it has said all", func() bool {
		return do[docker.Log](t, p.conn, "docker.logs", map[string]any{"service": "api"}).Read == 10
	})
	r, out, err := try(t, p.conn, "docker.evidence", map[string]any{"service": "api"})
	if err != nil {
		t.Fatal(err)
	}
	if e := r.(docker.Evidence); e.LogLines != 10 || e.Processes != 1 || len(e.Containers) != 1 {
		t.Errorf("evidence = %+v", e)
	}
	for _, want := range []string{"request 4 served", "/puppet say 5", `"restart_count": 0`, `"TOKEN"`, "of memory"} {
		if !strings.Contains(out, want) {
			t.Errorf("the evidence lacks %q", want)
		}
	}
	if strings.Contains(out, "geheim") || strings.Contains(out, "hunter2") {
		t.Errorf("a secret is in the evidence:\n%s", out)
	}
}

func TestDiskAndExec(t *testing.T) {
	t.Parallel()
	sleepy := docker.Command{Service: "db", Argv: []string{"sh", "-c", "sleep 600 & sleep 600"}, Timeout: 3 * time.Second}
	p := newProject(t, func(c *docker.Config) {
		c.Exec = map[string]docker.Command{
			"look":   {Service: "db", Argv: []string{"sh", "-c", "echo out; echo password=hunter2 >&2; exit 4"}},
			"change": {Service: "db", Argv: []string{"sh", "-c", ":"}, Effect: 2},
			"sleepy": sleepy,
			"absent": {Service: "db", Argv: []string{"nosuch"}},
		}
	})
	id := p.start("db", 1, nil, withTools(t), func(_ *container.Config, h *container.HostConfig) {
		h.Tmpfs = map[string]string{"/data": "size=8m"}
	}, func(c *container.Config, _ *container.HostConfig) { c.Env = []string{"PGDATA=/data"} })
	p.start("bare", 1, []string{"serve"})

	d := do[docker.Disk](t, p.conn, "docker.disk", map[string]any{"service": "db"})
	if d.Mount != "/data" || d.TotalBytes != 8<<20 || d.FreePct < 90 || d.FreeInodesPct == nil || *d.FreeInodesPct < 50 {
		t.Errorf("disk = %+v", d)
	}
	_, _, err := try(t, p.conn, "docker.disk", map[string]any{"service": "db", "path": "/nowhere"})
	refused(t, err, fault.NotFound, "/nowhere")
	_, _, err = try(t, p.conn, "docker.disk", map[string]any{"service": "bare"})
	refused(t, err, fault.NotFound, "has no", "df")

	r, out, err := try(t, p.conn, "docker.probe", map[string]any{"command": "look"})
	if err != nil || r.(docker.Executed).ExitCode != 4 || !slices.Equal(r.(docker.Executed).Lines, []string{"out"}) || !strings.Contains(out, "password=***") {
		t.Errorf("probe = %+v, %v, wrote %q", r, err, out)
	}
	_, _, err = try(t, p.conn, "docker.probe", map[string]any{"command": "change"})
	refused(t, err, fault.Forbidden, "more than look")
	_, _, err = try(t, p.conn, "docker.exec", map[string]any{"command": "rm"})
	refused(t, err, fault.NotFound, "no command named rm", "sleepy")
	_, _, err = try(t, p.conn, "docker.exec", map[string]any{"command": "absent"})
	refused(t, err, fault.NotFound, "nosuch")
	if pr, err := preview(t, p.conn, "docker.exec", map[string]any{"command": "change"}); err != nil || pr.Effect != 2 || !has(pr.Impact, "sh -c :") {
		t.Errorf("preview of a destructive command = %+v, %v", pr, err)
	}

	// The end of its time ends the process and its child, not only the wait.
	_, _, err = try(t, p.conn, "docker.exec", map[string]any{"command": "sleepy"})
	refused(t, err, fault.Unavailable, "ran longer")
	p.until("both sleepers are gone", func() bool {
		top, err := p.c.ContainerTop(t.Context(), id, nil)
		return err == nil && len(top.Processes) == 1
	})
}

// A writer of input that nobody reads must not hold the call.
func TestExecWithInput(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.start("db", 1, nil, withTools(t))
	var out, errs strings.Builder
	code, err := p.conn.Exec(t.Context(), docker.Process{Service: "db", Argv: []string{"cat"}, Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: &errs})
	if err != nil || code != 0 || out.String() != "hello" {
		t.Errorf("cat = %d, %v, wrote %q", code, err, out.String())
	}
	code, err = p.conn.Exec(t.Context(), docker.Process{
		Service: "db", Argv: []string{"sh", "-c", "echo failed early >&2; exit 3"}, Stdin: endless{}, Stderr: &errs,
	})
	if err != nil || code != 3 || !strings.Contains(errs.String(), "failed early") {
		t.Errorf("a program that reads nothing = %d, %v, wrote %q", code, err, errs.String())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
