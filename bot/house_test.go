package bot_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"opsbot/bot"
	"opsbot/commands"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/slacksim"
	"opsbot/internal/store"
)

// The tests mostly wait, for a second of Slack's or for each other, so more of
// them run at a time than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 90 * time.Second

// A house is a Slack, a database and, once it moves in, a bot.
type house struct {
	t    testing.TB
	sim  *slacksim.Server
	file string
	log  *slog.Logger

	db *store.Store
	w  *bot.Workspace

	mu      sync.Mutex
	handler func(context.Context, commands.Request) (commands.Reply, error)
	asked   []commands.Request
	inbox   func(inbox.Queue) inbox.Queue
	outbox  func(outbox.Queue) outbox.Queue
	alone   bool

	echoPatience time.Duration

	registry *prometheus.Registry

	stop func() error
}

// build makes a workspace with #ops, #den and three people: ann and ben, and
// carl, who is in no channel but #general. The bot is nowhere yet.
func build(t testing.TB, o slacksim.Options) *house {
	t.Helper()
	if o.Manifest == nil {
		o.Manifest = bot.Manifest
	}
	sim, err := slacksim.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim)
	sim.SetURL(srv.URL)
	t.Cleanup(func() { _ = sim.Close(); srv.Close() })
	for _, name := range []string{"ann", "ben", "carl"} {
		sim.AddUser(slacksim.User{Name: name})
	}
	sim.AddChannel(slacksim.Channel{Name: "ops", Members: []string{"ann", "ben"}})
	sim.AddChannel(slacksim.Channel{Name: "den", Members: []string{"ann", "ben", sim.BotUserID()}})
	h := &house{t: t, sim: sim, file: filepath.Join(t.TempDir(), "bot.db"), log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		h.log = slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	h.handler = func(_ context.Context, req commands.Request) (commands.Reply, error) {
		return commands.Reply{Answer: &outbox.Answer{Text: "did " + req.Line + req.Action}}, nil
	}
	t.Cleanup(func() {
		if h.stop != nil {
			if err := h.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
	return h
}

// settle builds a house and lets the bot move in.
func settle(t testing.TB) *house {
	t.Helper()
	h := build(t, slacksim.Options{})
	h.move()
	return h
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (h *house) access() bot.Access {
	return bot.Access{
		BotToken: h.sim.BotToken(), AppToken: h.sim.AppToken(), APIURL: h.sim.APIURL(),
		OpsChannel: "#ops", Channels: []string{"den"}, Log: h.log, EchoPatience: h.echoPatience,
	}
}

// start opens the database and serves. ended gets what Serve returned.
func (h *house) start() (ended <-chan error) {
	h.t.Helper()
	db, err := store.Open(h.t.Context(), "sqlite:"+h.file, store.Options{Log: h.log})
	if err != nil {
		h.t.Fatal(err)
	}
	access := h.access()
	if h.registry != nil {
		access.Metrics = h.registry
	}
	w, err := bot.NewWorkspace(access)
	if err != nil {
		h.t.Fatal(err)
	}
	h.db, h.w = db, w
	in, out := db.Inbox(), db.Outbox()
	if h.inbox != nil {
		in = h.inbox(in)
	}
	if h.outbox != nil {
		out = h.outbox(out)
	}
	b := bot.New(bot.Options{Workspace: w, Inbox: in, Outbox: out, Handler: h, Alone: h.alone})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	result := make(chan error, 1)
	go func() {
		err := b.Serve(ctx)
		done <- err
		result <- err
	}()
	h.stop = func() error {
		cancel()
		err := <-result
		h.stop = nil
		if cerr := db.Close(); err == nil {
			err = cerr
		}
		return err
	}
	return done
}

// move starts the bot and waits until it is connected.
func (h *house) move() {
	h.t.Helper()
	h.start()
	h.until("the bot is connected", func() bool { return h.w.Status().Ready() })
}

// Handle is the door behind the bot: it notes who asked for what.
func (h *house) Handle(ctx context.Context, req commands.Request) (commands.Reply, error) {
	h.mu.Lock()
	h.asked = append(h.asked, req)
	f := h.handler
	h.mu.Unlock()
	return f(ctx, req)
}

func (h *house) handle(f func(context.Context, commands.Request) (commands.Reply, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handler = f
}

// requests returns what was asked so far.
func (h *house) requests() []commands.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

func (h *house) until(what string, done func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			h.t.Fatalf("in vain: %s\n%s", what, h.picture())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// picture shows what there is to see, for failures.
func (h *house) picture() string {
	var b strings.Builder
	for _, c := range h.sim.Channels() {
		for _, m := range h.messages(c.ID) {
			fmt.Fprintf(&b, "%s %s for=%q thread=%q: %s\n", c.Name, m.TS, m.For, m.ThreadTS, m.Text)
		}
	}
	for _, c := range h.sim.Calls() {
		if !c.OK {
			fmt.Fprintf(&b, "%s → %s %d\n", c.Method, c.Error, c.HTTPStatus)
		}
	}
	if h.w != nil {
		fmt.Fprintf(&b, "%+v\n", h.w.Status())
	}
	return b.String()
}

// messages are the app's in the channel, everybody's ephemeral ones and the
// replies included.
func (h *house) messages(channel string) (list []slacksim.Message) {
	seen := map[string]bool{}
	add := func(ms []slacksim.Message) {
		for _, m := range ms {
			if m.FromApp() && !seen[m.TS] {
				seen[m.TS] = true
				list = append(list, m)
			}
		}
	}
	for _, u := range h.sim.Users() {
		for _, m := range h.sim.History(channel, u.ID) {
			add([]slacksim.Message{m})
			add(h.sim.Thread(channel, m.TS, u.ID))
		}
	}
	return list
}

// saying returns the app's messages in the channel that hold the text.
func (h *house) saying(channel, text string) (list []slacksim.Message) {
	for _, m := range h.messages(channel) {
		if strings.Contains(m.Text, text) || strings.Contains(string(m.Blocks), text) {
			list = append(list, m)
		}
	}
	return list
}

// expect waits for a message of the app.
func (h *house) expect(channel, text string) slacksim.Message {
	h.t.Helper()
	var found []slacksim.Message
	h.until(fmt.Sprintf("a message in %s that says %q", channel, text), func() bool {
		found = h.saying(channel, text)
		return len(found) > 0
	})
	if len(found) > 1 {
		h.t.Fatalf("%d messages in %s say %q", len(found), channel, text)
	}
	return found[0]
}

// say queues notices, as a change of state would.
func (h *house) say(notices ...outbox.Notice) {
	h.t.Helper()
	if err := h.db.Outbox().Enqueue(h.t.Context(), notices...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) id(channel string) string {
	h.t.Helper()
	c, ok := h.sim.Channel(channel)
	if !ok {
		h.t.Fatalf("no channel %s", channel)
	}
	return c.ID
}

func (h *house) slash(person, channel, line string) {
	h.t.Helper()
	if _, err := h.sim.As(person).Slash(channel, line); err != nil {
		h.t.Fatalf("%s types %s: %v\n%s", person, line, err, h.picture())
	}
}

func (h *house) count(method string) int { return len(h.sim.Calls(method)) }

func line(key, text string) outbox.Notice {
	return outbox.Notice{Key: key, Content: outbox.Line{Text: text}}
}
