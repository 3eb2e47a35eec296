// Package compose runs the patient as a Docker Compose project: the API in
// containers that can be given faults, PostgreSQL, Redis, nginx and Prometheus.
//
// It needs no image registry: the servers come from Debian's packages, in an
// image that is made once, and the API is the opsbot program itself. Several
// patients can run side by side; each has ports, passwords and a folder of its
// own, and Close takes all of it away.
package compose

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"opsbot/internal/fault"
	"opsbot/internal/patient"
	"opsbot/internal/patient/api"
	"opsbot/internal/patient/traffic"
)

//go:embed project
var projectFiles embed.FS

// Options say how a patient is set up; the zero value works.
type Options struct {
	Project  string // Compose's name for it; default: a random one. Who has this name is removed first
	Dir      string // where the project's folder is made; default: the temporary one
	Program  string // opsbot, for the API's image; default OPSBOT_PATIENT_PROGRAM, then this program
	Replicas int    // of the API; default 1

	Release Release // of the API; default: a good one
	// Fresh leaves the database without a table and starts no API, nginx and
	// Prometheus: what a first deployment finds.
	Fresh      bool
	Rows       int    // reconciliations in the database; default 420,000
	Disk       string // the size of PostgreSQL's disk, such as "512m"; default: the machine's
	StopSignal string // of PostgreSQL; default SIGINT
	// Env are further variables of .env, and other values for those it has:
	// API_MEMORY=64m and API_CPUS=0.5 limit each replica.
	Env map[string]string

	Progress func(string) // told what takes long; nil: nobody is
}

// A Patient is a Compose project that runs. Its methods are safe for
// concurrent use, but for those that write files.
type Patient struct {
	name    string
	dir     string
	program string
	base    string
	engine  string // URL of Docker's daemon
	env     map[string]string
	secret  string       // of the tokens, whatever .env says later
	lock    *flock.Flock // nil: nobody else can have the name
}

// Start brings a patient up: at the first time on a machine it takes minutes,
// then seconds. ctx bounds the start only. What failed is an *fault.Error.
func Start(ctx context.Context, o Options) (_ *Patient, err error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if err := Check(ctx); err != nil {
		return nil, err
	}
	engine, err := engineURL(ctx)
	if err != nil {
		return nil, err
	}
	p := &Patient{name: o.Project, engine: engine, env: map[string]string{}}
	if p.program, err = programOf(o); err != nil {
		return nil, err
	}
	if p.name == "" {
		p.name = "opsbot-patient-" + strings.ToLower(rand.Text()[:8])
	} else if err := p.claim(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	images, err := serverImages(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	p.base = images["DB_IMAGE"]
	tag, err := p.Release(ctx, o.Release)
	if err != nil {
		return nil, err
	}
	if err := p.write(o, tag, images); err != nil {
		return nil, fmt.Errorf("write the patient's project: %w", err)
	}
	if err := p.bringUp(ctx, o); err != nil {
		return nil, err
	}
	return p, nil
}

func programOf(o Options) (string, error) {
	if o.Program != "" {
		return o.Program, nil
	}
	if given := os.Getenv("OPSBOT_PATIENT_PROGRAM"); given != "" {
		return given, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}

// claim makes sure that nobody else on this machine has the project, and takes
// away what a killed owner left of it.
func (p *Patient) claim(ctx context.Context) error {
	dir, err := cacheDir()
	if err != nil {
		return err
	}
	p.lock = flock.New(filepath.Join(dir, p.name+".lock"))
	switch free, err := p.lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("lock the project %s: %w", p.name, err)
	case !free:
		return fault.New(fault.Conflict, "The Compose project %s is in use by another opsbot.", p.name).
			Hinted("End that one first.")
	}
	return p.remove(ctx)
}

// bringUp starts the containers in the order in which they can become healthy.
func (p *Patient) bringUp(ctx context.Context, o Options) error {
	o.Progress("Starting PostgreSQL and Redis.")
	first := []string{"db", "cache"}
	if o.Disk != "" {
		first = append(first, "disk")
	}
	if _, err := p.up(ctx, first...); err != nil {
		return err
	}
	cache := p.Redis(0)
	defer cache.Close()
	if err := patient.Furnish(ctx, cache); err != nil {
		return failed("Filling Redis", err)
	}
	other := p.Redis(1)
	defer other.Close()
	if err := other.MSet(ctx, "billing:lock", "not yours", "billing:total", "1204.50").Err(); err != nil {
		return failed("Filling Redis", err)
	}
	if o.Fresh {
		return nil
	}
	o.Progress("Filling the database.")
	if _, err := api.Migrate(ctx, p.PostgresURL("app")); err != nil {
		return failed("Creating the tables", err)
	}
	if err := api.Seed(ctx, p.PostgresURL("app"), o.Rows); err != nil {
		return failed("Filling the tables", err)
	}
	// Filling was slow, and is nobody's slow query.
	if _, err := p.SQL(ctx, "bot_production", "SELECT pg_stat_statements_reset()"); err != nil {
		return failed("Resetting the statistics", err)
	}
	o.Progress("Starting the API, nginx and Prometheus.")
	_, err := p.up(ctx, "--scale", fmt.Sprintf("api=%d", max(o.Replicas, 1)))
	return err
}

// up runs docker compose up and waits until what it started is healthy.
func (p *Patient) up(ctx context.Context, args ...string) (string, error) {
	return p.Compose(ctx, append([]string{"up", "-d", "--wait", "--wait-timeout", "120", "--pull", "missing"}, args...)...)
}

// write makes the project's folder: Compose's files, .env, and what the
// servers mount.
func (p *Patient) write(o Options, tag string, images map[string]string) (err error) {
	parent := o.Dir
	if parent == "" {
		parent = os.TempDir()
	}
	if p.dir, err = os.MkdirTemp(parent, p.name+"-*"); err != nil {
		return err
	}
	// PostgreSQL's account in the container must get in.
	if err := os.Chmod(p.dir, 0o755); err != nil {
		return err
	}
	files, err := fs.Sub(projectFiles, "project")
	if err != nil {
		return err
	}
	if err := os.CopyFS(p.dir, files); err != nil {
		return err
	}
	if err := os.Mkdir(p.Backups(), 0o777); err != nil {
		return err
	}
	// Redis writes its own configuration, by another account.
	for path, mode := range map[string]fs.FileMode{"cache": 0o777, "cache/redis.conf": 0o666} {
		if err := os.Chmod(filepath.Join(p.dir, path), mode); err != nil {
			return err
		}
	}
	if err := p.adapt(o); err != nil {
		return err
	}
	first, err := freePorts()
	if err != nil {
		return err
	}
	maps.Copy(p.env, images)
	maps.Copy(p.env, map[string]string{
		"PROJECT": p.name, "API_IMAGE": APIImage, "IMAGE_TAG": tag,
		"API_PORTS": fmt.Sprintf("%d-%d", first, first+maxReplicas-1),
	})
	for i, name := range []string{"DB_PORT", "CACHE_PORT", "WEB_PORT", "PROMETHEUS_PORT", "GREEN_PORT"} {
		p.env[name] = strconv.Itoa(first + maxReplicas + i)
	}
	for _, name := range []string{"JWT_SECRET_KEY", "POSTGRES_PASSWORD", "APP_PASSWORD", "OPSBOT_RO_PASSWORD", "OPSBOT_MAINT_PASSWORD", "OPSBOT_RESTORE_PASSWORD"} {
		p.env[name] = rand.Text()
	}
	maps.Copy(p.env, o.Env)
	p.secret = p.env["JWT_SECRET_KEY"]
	return p.writeEnv()
}

// adapt changes the Compose file for options that variables cannot say.
func (p *Patient) adapt(o Options) error {
	if o.StopSignal == "" && o.Disk == "" {
		return nil
	}
	text, err := os.ReadFile(p.File())
	if err != nil {
		return err
	}
	s := string(text)
	if o.StopSignal != "" {
		s = strings.Replace(s, "stop_signal: SIGINT", "stop_signal: "+o.StopSignal, 1)
	}
	if o.Disk != "" {
		// A disk in memory lasts as long as somebody has it mounted: one does
		// nothing else.
		s = strings.Replace(s, "  data: {}\n", "  data: { driver_opts: { type: tmpfs, device: tmpfs, o: \"size="+o.Disk+"\" } }\n", 1)
		s = strings.Replace(s, "\nvolumes:\n", `
  disk:
    <<: *patient
    image: ${DB_IMAGE}
    entrypoint: [sleep, infinity]
    init: true
    volumes: [data:/disk]

volumes:
`, 1)
	}
	return os.WriteFile(p.File(), []byte(s), 0o644)
}

func (p *Patient) writeEnv() error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		fmt.Fprintf(&b, "%s=%s\n", name, p.env[name])
	}
	return os.WriteFile(p.EnvFile(), []byte(b.String()), 0o600)
}

// Project is Compose's name for the patient.
func (p *Patient) Project() string { return p.name }

// Dir is the project's folder; File and EnvFile are Compose's files in it.
func (p *Patient) Dir() string     { return p.dir }
func (p *Patient) File() string    { return filepath.Join(p.dir, "compose.yaml") }
func (p *Patient) EnvFile() string { return filepath.Join(p.dir, ".env") }

// Backups is the folder that is /backups in the database's container.
func (p *Patient) Backups() string { return filepath.Join(p.dir, "backups") }

// Env returns a variable of .env, such as "IMAGE_TAG".
func (p *Patient) Env(name string) string { return p.env[name] }

// SetEnv changes a variable of .env, for the next `up`; it changes no
// container.
func (p *Patient) SetEnv(name, value string) error {
	p.env[name] = value
	return p.writeEnv()
}

// Token is a bearer token for the API. It stays the same when JWT_SECRET_KEY is
// changed, and is then refused.
func (p *Patient) Token() string { return api.Token(p.secret) }

// URL is the site: nginx in front of the API.
func (p *Patient) URL() string { return "http://127.0.0.1:" + p.env["WEB_PORT"] }

// PrometheusURL is Prometheus.
func (p *Patient) PrometheusURL() string { return "http://127.0.0.1:" + p.env["PROMETHEUS_PORT"] }

// RedisAddr is the cache's host:port.
func (p *Patient) RedisAddr() string { return "127.0.0.1:" + p.env["CACHE_PORT"] }

// Redis returns a client of the cache's database 0 or 1. Close it.
func (p *Patient) Redis(db int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: p.RedisAddr(), DB: db, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
}

// PostgresURL is the database bot_production for a role, with its password:
// app, opsbot_ro, opsbot_maint, opsbot_restore or postgres, the superuser.
func (p *Patient) PostgresURL(role string) string {
	u := url.URL{Scheme: "postgres", Host: "127.0.0.1:" + p.env["DB_PORT"], Path: "/bot_production",
		User: url.UserPassword(role, p.Password(role)), RawQuery: "sslmode=disable"}
	return u.String()
}

// Password is a role's password.
func (p *Patient) Password(role string) string {
	return p.env[strings.ToUpper(role)+"_PASSWORD"]
}

// Replicas returns the base URLs of the API's running replicas.
func (p *Patient) Replicas(ctx context.Context) ([]string, error) {
	ids, err := p.containers(ctx, "api")
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, id := range ids {
		out, err := docker(ctx, "port", id, "8000/tcp")
		if err != nil {
			return nil, failed("Asking for the API's port", err)
		}
		if line, _, _ := strings.Cut(strings.TrimSpace(out), "\n"); line != "" {
			urls = append(urls, "http://"+line)
		}
	}
	return urls, nil
}

// containers lists the running containers of a service.
func (p *Patient) containers(ctx context.Context, service string) ([]string, error) {
	out, err := docker(ctx, "ps", "-q", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service="+service,
		"--filter", "label=com.docker.compose.oneoff=False")
	return strings.Fields(out), failed("Listing the patient's containers", err)
}

// Container returns the id of a service's first running container.
func (p *Patient) Container(ctx context.Context, service string) (string, error) {
	ids, err := p.containers(ctx, service)
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", fault.New(fault.NotFound, "The patient's %s has no running container.", service)
	}
	return ids[0], nil
}

// Compose runs a command of docker compose on the project and returns what it
// printed: Compose(ctx, "stop", "cache").
func (p *Patient) Compose(ctx context.Context, args ...string) (string, error) {
	out, err := docker(ctx, append([]string{"compose", "-p", p.name, "-f", p.File(), "--env-file", p.EnvFile(), "--progress", "quiet"}, args...)...)
	if err != nil {
		return out, failed("docker compose "+args[0], err)
	}
	return out, nil
}

// SQL runs statements as superuser inside the database's container, which
// works with every slot in use, and returns the rows, fields separated by |.
func (p *Patient) SQL(ctx context.Context, database, statements string) (string, error) {
	id, err := p.Container(ctx, "db")
	if err != nil {
		return "", err
	}
	out, err := dockerWith(ctx, strings.NewReader(statements), "exec", "-i", id, "/usr/lib/postgresql/15/bin/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database)
	return strings.TrimSpace(out), err
}

// Release makes the image of a release and returns its tag.
func (p *Patient) Release(ctx context.Context, r Release) (tag string, err error) {
	return releaseImage(ctx, p.program, p.base, r)
}

// Load starts traffic through nginx; see package traffic. o.URL, o.Token and
// o.Users are set unless they are given.
func (p *Patient) Load(o traffic.Options) *traffic.Load {
	if o.URL == "" {
		o.URL = p.URL()
	}
	if o.Token == "" {
		o.Token = p.Token()
	}
	if o.Users == nil {
		o.Users = api.Users()
	}
	return traffic.Start(o)
}

// Outside is what package patient needs to show the patient on a panel.
func (p *Patient) Outside() *patient.Outside {
	return &patient.Outside{Redis: p.RedisAddr(), RedisSay: "Redis in the project " + p.name, API: p.URL(), Token: p.Token()}
}

// Close takes everything away: containers, also those that others added to the
// project's network, volumes, and the folder. It may be called more than once.
func (p *Patient) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	err := p.remove(ctx)
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return err
}

// remove takes away what there is of the project, without its files: they may
// be gone.
func (p *Patient) remove(ctx context.Context) error {
	network := p.name + "_default"
	project := "label=com.docker.compose.project=" + p.name
	seen := map[string]bool{}
	for _, filter := range []string{project, "network=" + network} {
		out, err := docker(ctx, "ps", "-aq", "--no-trunc", "--filter", filter)
		if err != nil {
			return failed("Listing the patient's containers", err)
		}
		for _, id := range strings.Fields(out) {
			seen[id] = true
		}
	}
	for _, kind := range []struct {
		list, remove []string
		ids          []string
	}{
		{remove: []string{"rm", "-f", "-v"}, ids: slices.Sorted(maps.Keys(seen))},
		{list: []string{"network", "ls", "-q", "--filter", project}, remove: []string{"network", "rm"}},
		{list: []string{"volume", "ls", "-q", "--filter", project}, remove: []string{"volume", "rm", "-f"}},
	} {
		if kind.list != nil {
			out, err := docker(ctx, kind.list...)
			if err != nil {
				return failed("Listing what the patient left", err)
			}
			kind.ids = strings.Fields(out)
		}
		if len(kind.ids) == 0 {
			continue
		}
		if _, err := docker(ctx, append(kind.remove, kind.ids...)...); err != nil {
			return failed("Removing the patient", err)
		}
	}
	return nil
}
