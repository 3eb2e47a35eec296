package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"opsbot/runbooks/engine"
)

// A server of PostgreSQL is shut down under the bot and started again, as for
// an upgrade: what was on record goes on, and what was typed meanwhile is told
// not to have been done.
func TestDatabaseServerRestarts(t *testing.T) {
	t.Parallel()
	pg := newCluster(t)
	h := newHouse(t)
	pg.ctl("start")
	h.edit("sqlite:opsbot.db", pg.url())
	h.configure("http: { addr: \"127.0.0.1:0\" }\n")
	h.serve()
	h.slash("ann", "/runbook cache-fix window=5s")
	h.find("ann", "… 2. How low is the hit rate now?")
	pg.ctl("stop")
	const undone = "opsbot could not record this, so nothing was done. Please try again in a minute."
	if m, err := h.sim.As("ben").Slash("ops", "/runbook emergency-restart service=api"); err != nil || m.Visible() != undone {
		t.Errorf("a command is answered %q, %v, want %q", m.Visible(), err, undone)
	}
	if status, checks := h.ready(); status != 503 || !strings.Contains(checks["database"], "database") {
		t.Errorf("/readyz answers %d, %v", status, checks)
	}
	pg.ctl("start")
	p := &pilot{house: h}
	p.fly(p.landed)
	h.until("the card says the end", func() bool { return h.says("✓ *Done*") })
	if state := h.ended(); state != string(engine.Succeeded) {
		t.Errorf("the run ended %s", state)
	}
	h.once("Started Cache troubleshooting on demo.", "*Cache fix* pass")
}

// A cluster is a PostgreSQL server of a test's own.
type cluster struct {
	t         *testing.T
	bin, data string
	port      int
	account   *user.User // whose it is when root runs the tests; else nil
}

// newCluster prepares one that is not started yet. The test is skipped where
// PostgreSQL's programs are not installed, unless they are required.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, lookErr := exec.LookPath("initdb"); lookErr == nil {
		found = append(found, path)
	}
	if err != nil || len(found) == 0 {
		if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" {
			t.Fatal("PostgreSQL's initdb is not installed, and OPSBOT_TEST_REQUIRE=1 wants it to be")
		}
		t.Skip("PostgreSQL's initdb is not installed")
	}
	slices.Sort(found)
	dir, err := os.MkdirTemp("", "opsbot-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &cluster{t: t, bin: filepath.Dir(found[0]), data: filepath.Join(dir, "data"), port: reservedPort(t)}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if c.account, err = user.Lookup("postgres"); err != nil {
			t.Skipf("root cannot run PostgreSQL: %v", err)
		}
		uid, _ := strconv.Atoi(c.account.Uid) // numbers on every system that has a root
		gid, _ := strconv.Atoi(c.account.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	c.run("initdb", "-D", c.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	t.Cleanup(func() { _ = c.command("pg_ctl", "-D", c.data, "-m", "immediate", "-s", "stop").Run() })
	return c
}

// reservedPort is one that the system gives to nobody who asks for any, as every
// other server of the tests does: a server that stops finds it free again.
func reservedPort(t *testing.T) int {
	t.Helper()
	for {
		port := 20000 + rand.IntN(10000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
}

func (c *cluster) url() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

// ctl starts or stops the server and waits until it has.
func (c *cluster) ctl(verb string) {
	c.t.Helper()
	args := []string{"-D", c.data, "-s", "-w", "-m", "fast", "stop"}
	if verb == "start" {
		options := fmt.Sprintf("-c listen_addresses=127.0.0.1 -p %d -k %s -c fsync=off", c.port, c.data)
		args = []string{"-D", c.data, "-s", "-w", "-l", filepath.Join(c.data, "log"), "-o", options, "start"}
	}
	c.run("pg_ctl", args...)
}

func (c *cluster) run(program string, args ...string) {
	c.t.Helper()
	if out, err := c.command(program, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (c *cluster) command(program string, args ...string) *exec.Cmd {
	args = append([]string{filepath.Join(c.bin, program)}, args...)
	if c.account != nil {
		args = append([]string{"runuser", "-u", c.account.Username, "--"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	return cmd
}
