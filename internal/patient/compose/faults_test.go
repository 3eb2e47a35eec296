package compose_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
	"opsbot/internal/patient/traffic"
)

// inspect reads one thing of a container.
func inspect(t *testing.T, id, format string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", "--format", format, id).CombinedOutput()
	if err != nil {
		t.Fatalf("docker inspect: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

func container(t *testing.T, p *compose.Patient, service string) string {
	t.Helper()
	id, err := p.Container(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The faults of processes and containers, on one patient after another: those
// of the API's answers are tested in package api.
func TestProcessFaults(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Rows: 5000})
	ctx := t.Context()
	healthy := func(id string) func() bool {
		return func() bool { return inspect(t, id, "{{.State.Health.Status}}") == "healthy" }
	}

	id := container(t, p, "api")
	do(t, p.Fault(ctx, "err=100"))
	if code, _, _ := get(t, p.URL()+statusOf("u001"), p.Token()); code != 500 {
		t.Errorf("err=100 gives %d", code)
	}
	do(t, p.Fault(ctx, ""))
	if code, _, _ := get(t, p.URL()+statusOf("u001"), p.Token()); code != 200 {
		t.Errorf("healed, it gives %d", code)
	}
	if err := p.Fault(ctx, "sick=1"); err == nil || !strings.Contains(err.Error(), "no such fault") {
		t.Errorf("an unknown fault: %v", err)
	}

	if err := p.Fault(ctx, "conns=40"); err == nil || !strings.Contains(err.Error(), "53300") {
		t.Errorf("more connections than there are: %v", err)
	}
	if n, err := p.SQL(ctx, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leak'"); err != nil || len(n) != 2 {
		t.Errorf("with the slots used up, a superuser sees %s of them (%v)", n, err)
	}
	do(t, p.Fault(ctx, "conns=0"))

	docker(t, "stop", "-t", "30", id)
	if code := inspect(t, id, "{{.State.ExitCode}}"); code != "0" {
		t.Errorf("asked to stop, it ends with %s", code)
	}
	docker(t, "start", id)
	until(t, "the API is healthy again", healthy(id))
	do(t, p.Fault(ctx, "deaf=1"))
	docker(t, "stop", "-t", "1", id)
	if code := inspect(t, id, "{{.State.ExitCode}}"); code != "137" {
		t.Errorf("deaf, it ends with %s", code)
	}
	docker(t, "start", id)
	until(t, "the API is healthy again", healthy(id))

	do(t, p.Fault(ctx, "exit=3"))
	until(t, "Docker restarts it once", func() bool { return inspect(t, id, "{{.RestartCount}}") == "1" })
	until(t, "the API is healthy again", healthy(id))
	do(t, p.Fault(ctx, "crash=4"))
	until(t, "it crashes again and again", func() bool {
		n := inspect(t, id, "{{.RestartCount}}")
		return n != "1" && n != "2" && inspect(t, id, "{{.State.ExitCode}}") == "4"
	})
	if _, err := p.Compose(ctx, "up", "-d", "--force-recreate", "--no-deps", "--wait", "api"); err != nil {
		t.Errorf("a new container is no cure: %v", err)
	}

	if _, err := p.Compose(ctx, "stop", "cache"); err != nil {
		t.Fatal(err)
	}
	base := p.URL()
	docker(t, "kill", "-s", "HUP", container(t, p, "nginx")) // it resolved the old container's address
	until(t, "the API misses its cache", func() bool {
		code, _, body := get(t, base+"/api/v1/ready", "")
		return code == 503 && strings.Contains(body, `"redis":"unreachable"`)
	})

	db := container(t, p, "db")
	docker(t, "restart", "-t", "60", db)
	until(t, "PostgreSQL is healthy again", healthy(db))
	if logs := docker(t, "logs", db); !strings.Contains(logs, "received fast shutdown request") || strings.Contains(logs, "database system was not properly shut down") {
		t.Errorf("PostgreSQL's log of a restart:\n%s", logs)
	}
	do(t, p.InvalidIndex(ctx, "ix_reconciliation_user_created"))
	if n, err := p.SQL(ctx, "bot_production", "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indexrelid = 'ix_reconciliation_user_created'::regclass"); err != nil || n != "1" {
		t.Errorf("%s invalid indexes (%v)", n, err)
	}
	if _, err := p.Compose(ctx, "start", "cache"); err != nil {
		t.Fatal(err)
	}
	do(t, p.BreakSaves(ctx))
	cache := p.Redis(0)
	defer cache.Close()
	until(t, "Redis answers", func() bool { return cache.Ping(ctx).Err() == nil })
	do(t, cache.BgSave(ctx).Err())
	until(t, "saving has failed", func() bool {
		return strings.Contains(cache.Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err")
	})
}

func statusOf(user string) string { return strings.ReplaceAll(api.StatusPath, "{user}", user) }

// What a deployment can do to the API.
func TestReleases(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Rows: 5000})
	ctx := t.Context()
	release := func(r compose.Release) string {
		t.Helper()
		tag, err := p.Release(ctx, r)
		do(t, err)
		return tag
	}
	good, bad := release(compose.Release{Version: "2.1.0"}), release(compose.Release{Version: "2.2.0", Ailments: "err=30"})
	dead := release(compose.Release{Version: "2.3.0", ExitsWith: "1"})
	reload := func() { docker(t, "kill", "-s", "HUP", container(t, p, "nginx")) }
	version := func(want string) {
		t.Helper()
		reload()
		until(t, "nginx sends to "+want, func() bool {
			code, header, _ := get(t, p.URL()+"/api/v1/health", "")
			return code == 200 && header.Get("X-Version") == want
		})
	}
	version("2.0.0")
	first := p.Env("IMAGE_TAG")
	do(t, p.Deploy(ctx, map[string]string{"IMAGE_TAG": good}))
	version("2.1.0")
	do(t, p.Deploy(ctx, map[string]string{"IMAGE_TAG": bad}))
	version("2.2.0")
	load := p.Load(traffic.Options{Pace: 10 * time.Millisecond})
	until(t, "enough was asked", func() bool { return load.Count().Sent >= 200 })
	c := load.Stop()
	if c.Codes[500] != c.Failed || c.Failed*100 < 15*c.Sent || c.Failed*100 > 50*c.Sent || len(c.Failures) == 0 {
		t.Errorf("a release with 30 %% errors: %+v", c)
	}
	if err := p.Deploy(ctx, map[string]string{"IMAGE_TAG": dead}); err == nil {
		t.Error("a release that cannot start is deployed")
	}
	do(t, p.Deploy(ctx, map[string]string{"IMAGE_TAG": first, "JWT_SECRET_KEY": ""}))
	version("2.0.0")
	if code, _, _ := get(t, p.URL()+statusOf("u001"), p.Token()); code != 401 {
		t.Errorf("with an empty secret: %d", code)
	}
	if logs := docker(t, "logs", container(t, p, "api")); !strings.Contains(logs, "JWT_SECRET_KEY is empty") {
		t.Errorf("the API does not say why:\n%s", logs)
	}

	// Scaled up, Prometheus and nginx find the new ones; with one fixed port
	// they cannot be.
	do(t, p.Scale(ctx, 3))
	if urls, err := p.Replicas(ctx); err != nil || len(urls) != 3 {
		t.Errorf("replicas %q, %v", urls, err)
	}
	until(t, "Prometheus has three", func() bool { return len(query(t, p, "up == 1")) == 3 })
	do(t, p.Scale(ctx, 1))
	do(t, p.FixPort())
	do(t, p.Deploy(ctx, map[string]string{"API_MEMORY": "100m"}))
	if err := p.Scale(ctx, 2); err == nil || !strings.Contains(err.Error(), "port is already allocated") {
		t.Errorf("two replicas on one port: %v", err)
	}

	id := container(t, p, "api")
	_ = p.Fault(ctx, "hog=200") // its answer is lost with the process
	until(t, "a replica that takes more memory than it may is killed", func() bool {
		return inspect(t, id, "{{.RestartCount}}") != "0"
	})
}

// A database without a table on a disk of its own, which fills up.
func TestFreshOnASmallDisk(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Fresh: true, Disk: "256m", StopSignal: "SIGTERM"})
	ctx := t.Context()
	if n, err := p.SQL(ctx, "bot_production", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); err != nil || n != "0" {
		t.Errorf("%s tables (%v)", n, err)
	}
	if _, err := p.Container(ctx, "api"); err == nil {
		t.Error("the API runs")
	}
	if out, err := p.Compose(ctx, "run", "--rm", "--no-deps", "-T", "api", "alembic", "upgrade", "head"); err != nil || strings.TrimSpace(out) != api.Head {
		t.Errorf("alembic upgrade head: %q, %v", out, err)
	}
	do(t, p.FillDisk(ctx, 1<<20))
	grow := "CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)"
	if out, err := p.SQL(ctx, "bot_production", grow); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("on a full disk: %q, %v", out, err)
	}
	do(t, p.FillDisk(ctx, 0))
	if _, err := p.SQL(ctx, "bot_production", grow); err != nil {
		t.Errorf("on a disk that is free again: %v", err)
	}
	db := container(t, p, "db")
	docker(t, "restart", "-t", "60", db)
	until(t, "PostgreSQL has its tables after a restart", func() bool {
		n, err := p.SQL(ctx, "bot_production", "SELECT count(*) FROM big")
		return err == nil && n == "100000"
	})
	if logs := docker(t, "logs", db); !strings.Contains(logs, "received smart shutdown request") {
		t.Errorf("SIGTERM is not how it stops:\n%s", logs)
	}
}

// Nothing is left of a patient, not even what others put on its network; and
// while it is there, another program finds it.
func TestClose(t *testing.T) {
	t.Parallel()
	p := composetest.Start(t, compose.Options{Fresh: true})
	ctx := t.Context()
	found, err := compose.Find(ctx, p.Project())
	do(t, err)
	if found.Token() != p.Token() || found.URL() != p.URL() || found.Backups() != p.Backups() {
		t.Errorf("found %s at %s", found.Project(), found.URL())
	}
	docker(t, "run", "-d", "--network", p.Project()+"_default", "--entrypoint", "sleep", p.Env("DB_IMAGE"), "1000")
	stopped := docker(t, "run", "-d", "--network", p.Project()+"_default", "--entrypoint", "sleep", p.Env("DB_IMAGE"), "1000")
	docker(t, "stop", "-t", "1", stopped)
	do(t, p.Close())
	for _, kind := range [][]string{{"ps", "-a"}, {"network", "ls"}, {"volume", "ls"}} {
		if left := docker(t, append(kind, "-q", "--filter", "label=com.docker.compose.project="+p.Project())...); left != "" {
			t.Errorf("docker %s has %s", kind[0], left)
		}
	}
	if out, err := exec.CommandContext(ctx, "docker", "inspect", stopped).CombinedOutput(); err == nil {
		t.Errorf("what was stopped on its network is there: %s", out)
	}
	if _, err := os.Stat(p.Dir()); !os.IsNotExist(err) {
		t.Errorf("its folder is there: %v", err)
	}
	if _, err := compose.Find(context.WithoutCancel(ctx), p.Project()); err == nil {
		t.Error("a patient that is gone is found")
	}
}
