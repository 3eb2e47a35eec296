package main

import (
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// Redis cannot be reached: the first step says which system and why, nobody
// takes the silence for a good sign, a restart of Redis is offered, and the
// run stops there.
func TestUnreachableRedis(t *testing.T) {
	t.Parallel()
	const nowhere = "127.0.0.1:1" // no port that anybody is given
	h := newHouse(t)
	h.byHand()
	h.edit(h.ill.RedisURL(), "redis://"+nowhere+"/0")
	h.serve()
	h.slash("ann", "/runbook cache-fix window=5s")
	card := h.find("ann", "Cache troubleshooting on demo", "*Failed*")
	line := after(t, card.Visible(), "1. Is Redis well? — ")
	if !strings.Contains(line, nowhere) || !strings.Contains(line, "refused") {
		t.Errorf("the step says %q, without the system and what is wrong", line)
	}
	if strings.Contains(card.Visible(), "✓") {
		t.Errorf("something is green:\n%s", card.Visible())
	}
	h.find("ann", "*Cache fix* ", "– removed 0 keys", "hit rate no data → no data")
	if state := h.ended(); state != string(engine.Failed) {
		t.Errorf("the run ended %s", state)
	}

	// The offer is one click away, as a run of its own.
	h.click("ann", h.find("ann", "Restart Redis"), "Restart Redis")
	h.find("ann", "By hand: 1. Save the evidence")
	if n := h.runs(); n != 2 {
		t.Errorf("there are %d runs, want 2", n)
	}
}

// A wrong password is told as such, and never shown.
func TestWrongRedisPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.write("redis-password", "hunter2-is-wrong\n")
	h.edit(`cache: { redis: "`+h.ill.RedisURL()+`" }`, `cache: { redis: "`+h.ill.RedisURL()+`", password: file:redis-password }`)
	if err := h.cache().ConfigSet(t.Context(), "requirepass", "the-right-one").Err(); err != nil {
		t.Fatal(err)
	}
	h.serve()
	h.slash("ann", "/runbook cache-fix window=5s")
	card := h.find("ann", "Cache troubleshooting on demo", "*Failed*")
	line := after(t, card.Visible(), "1. Is Redis well? — ")
	if !strings.Contains(line, "password") || !strings.Contains(line, strings.TrimPrefix(strings.TrimSuffix(h.ill.RedisURL(), "/0"), "redis://")) {
		t.Errorf("the step says %q, without the system and what is wrong", line)
	}
	for name, text := range map[string]string{"what was said": h.transcript(), "the log": h.log.String()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s has the password:\n%s", name, text)
		}
	}
}

// What is broken in the house stops the start, with the place and a sentence,
// before anything is opened or said.
func TestBrokenHouse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		breaks func(*house)
		code   int
		want   []string
	}{
		{"runbook", func(h *house) {
			if err := os.Mkdir(h.path("runbooks"), 0o700); err != nil {
				h.t.Fatal(err)
			}
			h.write("runbooks/broken.md", "---\nformat: 1\nrunbook: broken\nowner: sre\nroles: { run: [sre], approve: [sre] }\nuses: { cache: redis }\n---\n# Broken\n\nFor a test.\n\n## 1. Flush\n\n```yaml step\nid: flush\ndo: redis.flsh\ntarget: cache\n```\n")
			h.configure("runbooks: [runbooks]\n")
		}, exitUsage, []string{"the runbooks have errors; nothing was started:", "runbooks/broken.md:16:5: RB204", "redis.flush"}},
		{"runbooks folder", func(h *house) { h.configure("runbooks: [nowhere]\n") }, exitUsage, []string{"the runbooks folder ", "nowhere is not there"}},
		{"unknown key", func(h *house) { h.configure("enviroments: {}\n") }, exitUsage, []string{`: unknown key "enviroments"; did you mean "environments"?`}},
		{"secret in the file", func(h *house) { h.edit("bot_token: file:bot-token", "bot_token: xoxb-hunter2") }, exitUsage, []string{"a secret is given as env:NAME, file:PATH or command:PROGRAM ARGS, never in the file itself"}},
		{"missing secret", func(h *house) { h.edit("token: file:api-token", "token: file:no-such-file") }, exitUsage, []string{"environment demo, connection api:", "no-such-file"}},
		{"wrong bot token", func(h *house) { h.write("bot-token", "xoxb-hunter2") }, exitUsage, []string{"opsbot: Slack refuses the bot token (SLACK_BOT_TOKEN): Slack does not know this token: copy it again, and look for a missing character."}},
		{"wrong app token", func(h *house) { h.write("app-token", "xapp-hunter2") }, exitUsage, []string{"opsbot: Slack refuses the app-level token (SLACK_APP_TOKEN): Slack does not know this token"}},
		{"missing scope", func(h *house) { h.sim.RemoveScope("usergroups:read") }, exitUsage, []string{"opsbot: The Slack app lacks the scopes usergroups:read. Add them under OAuth & Permissions"}},
		{"missing scope of the app token", func(h *house) { h.sim.RemoveScope("connections:write") }, exitUsage, []string{"opsbot: Slack refuses the app-level token (SLACK_APP_TOKEN): it lacks the scope connections:write."}},
		{"unknown channel", func(h *house) { h.edit(`ops_channel: "#ops"`, `ops_channel: "#opps"`) }, exitUsage, []string{"opsbot: There is no channel #opps, or it is private and the bot is not in it."}},
		{"PostgreSQL that is not there", func(h *house) { h.edit("sqlite:opsbot.db", "postgres://ops@127.0.0.1:1/opsbot") }, exitUnreachable, []string{"127.0.0.1:1"}},
		{"folder of the file is not there", func(h *house) { h.edit("sqlite:opsbot.db", "sqlite:no/such/folder/opsbot.db") }, exitUnreachable, []string{"/no/such/folder does not exist. Create it, or name another file."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			c.breaks(h)
			code, out, errs := h.opsbot("", "serve")
			if code != c.code {
				t.Errorf("the exit code is %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(errs, want) {
					t.Errorf("it says\n%s\nwithout %q", errs, want)
				}
			}
			if strings.Contains(out+errs, "hunter2") {
				t.Errorf("a secret is shown:\n%s", errs)
			}
			if h.sim.Connected() != 0 {
				t.Error("a socket is open although nothing serves")
			}
			for _, ch := range h.sim.Channels() {
				for _, m := range h.sim.History(ch.ID, "ann") {
					if m.FromApp() && m.Subtype == "" {
						t.Errorf("#%s was told: %s", ch.Name, m.Visible())
					}
				}
			}
		})
	}
}

// The file has one owner: a second bot says who has it, and the first one goes
// on.
func TestSecondBotOnTheSameFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	h.serve()
	code, _, errs := h.opsbot("", "serve")
	if code != exitUnreachable || !strings.Contains(errs, "opsbot.db is in use by another opsbot process. Stop that process first") {
		t.Errorf("the second bot exits with %d and says %q", code, errs)
	}
	h.connected(1)
	h.slash("ann", "/runbook emergency-restart service=api")
	h.find("ann", "By hand: 1. Save the evidence")
}

// The database goes away while the bot serves: whoever types or clicks is told
// that nothing was done, and so it is; when it is back, everything goes on
// where it was.
func TestDatabaseGoesAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.byHand()
	direct := storetest.Postgres(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.addr()
	h.edit("sqlite:opsbot.db", u.String())
	h.configure("http: { addr: \"127.0.0.1:0\" }\n")
	h.serve()
	h.slash("ann", "/runbook emergency-restart service=api")
	asked := h.find("ann", "By hand: 1. Save the evidence")

	g.shut()
	const undone = "opsbot could not record this, so nothing was done. Please try again in a minute."
	m, err := h.sim.As("ann").Slash("ops", "/runbook cache-fix window=5s")
	if err != nil || m.Visible() != undone {
		t.Errorf("a command is answered %q, %v, want %q", m.Visible(), err, undone)
	}
	h.refused("ann", undone, func() { h.click("ann", asked, "Done") })
	if figures := get(t, h.health()+"/metrics"); !strings.Contains(figures, "opsbot_database_up 0") || strings.Contains(figures, "opsbot_outbox_depth") {
		t.Error("without the database, /metrics has figures of it")
	}
	if status, checks := h.ready(); status != 503 || !strings.Contains(checks["database"], "database") || checks["slack"] != "Commands cannot be recorded: the database does not take them." {
		t.Errorf("/readyz answers %d, %v", status, checks)
	}

	g.open()
	poll(t, "the bot is ready again", func() bool { status, _ := h.ready(); return status == 200 })
	h.refused("ben", "R1 is stopping: what runs just now may still finish.", func() { h.slash("ben", "/runbook stop R1 enough") })
	h.find("ann", "Stopped by", "enough")
	poll(t, "the run has ended as canceled", func() bool { return h.ended() == string(engine.Canceled) })
}

// It goes away in the middle of a run and for longer than a lease: what was on
// record is there, nothing runs twice, and the run reaches its end.
func TestDatabaseGoesAwayInMidRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	u, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, u.Host)
	u.Host = g.addr()
	h.edit("sqlite:opsbot.db", u.String())
	stop := h.serve()
	h.slash("ann", "/runbook cache-fix window=5s")
	h.find("ann", "… 2. How low is the hit rate now?")
	g.shut()
	poll(t, "the owner notices", func() bool { return strings.Contains(h.log.String(), "lease") })
	g.open()
	p := &pilot{house: h}
	p.fly(p.landed)
	stop()
	h.succeeded("no boundary")
}

// A gate forwards connections to a server while it is open; while it is shut,
// it cuts those there are and takes no more.
type gate struct {
	listener net.Listener
	server   string

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, server: server, conns: map[net.Conn]bool{}}
	g.wg.Go(g.serve)
	t.Cleanup(func() {
		_ = l.Close()
		g.shut()
		g.wg.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.listener.Addr().String() }

func (g *gate) serve() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", g.server)
		if err != nil || !g.keep(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			g.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

// keep remembers the connection, unless the gate is shut.
func (g *gate) keep(in, out net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.conns[in], g.conns[out] = true, true
	}
	return !g.closed
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for c := range g.conns {
		_ = c.Close()
		delete(g.conns, c)
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}
