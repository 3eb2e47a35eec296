package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"opsbot/bot"
	"opsbot/internal/config"
	"opsbot/internal/patient"
	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
	"opsbot/internal/store/storetest"
)

// A house is everything that a story needs but the bot: a workspace with
// people, an ailing system, and a configuration that knows both.
type house struct {
	t    *testing.T
	sim  *slacksim.Server
	work *workspace
	ill  *patient.Patient
	dir  string
	file string     // opsbot.yaml
	url  string     // of the database
	log  syncBuffer // of every bot that this process served

	opened map[string]opening // by person, what they last did that may open a form
}

// An opening is something that may open a form.
type opening struct {
	again func()
	late  int // how many forms were late for the person before it
}

// newHouse sets one up; it is gone at the end of the test.
func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseWith(t, patient.Options{})
}

func newHouseWith(t *testing.T, o patient.Options) *house {
	t.Helper()
	ill, err := patient.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ill.Close() })
	h := build(t, page.Options{Panel: ill.Panel()})
	h.ill = ill
	if h.file, err = writeDemoConfig(h.dir, h.work, ill, ""); err != nil {
		t.Fatal(err)
	}
	return h
}

// build sets up a workspace with people, and nothing else of a house.
func build(t *testing.T, o page.Options) *house {
	t.Helper()
	w, err := openWorkspace("127.0.0.1:0", slacksim.Options{Manifest: bot.Manifest, Team: "demo"}, o)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Serve(serving) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the simulator stopped with %v", err)
		}
	})
	h := &house{t: t, sim: w.sim, work: w, dir: t.TempDir()}
	h.url = "sqlite:" + h.path("opsbot.db")
	storetest.WriteSQLite(t, h.path("opsbot.db"))
	return h
}

// onBoth plays a story twice: with SQLite, and with PostgreSQL where there is a
// server to test with.
func onBoth(t *testing.T, story func(t *testing.T, h *house)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		story(t, newHouse(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := storetest.Postgres(t)
		h := newHouse(t)
		h.url = url
		h.edit("database: sqlite:opsbot.db", "database: "+url)
		story(t, h)
	})
}

// edit changes the configuration before the bot starts.
func (h *house) edit(old, new string) {
	h.t.Helper()
	text, err := os.ReadFile(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		h.t.Fatalf("the configuration has no %q", old)
	}
	if err := os.WriteFile(h.file, []byte(strings.ReplaceAll(string(text), old, new)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// serve starts the bot in this process and returns a function that stops it
// as SIGTERM would and waits until it has stopped.
func (h *house) serve() (stop func()) {
	h.t.Helper()
	cfg, err := config.Load(h.file, func(string) string { return "" })
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, &common{std: Streams{Out: &h.log, Err: &h.log}}, cfg) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				h.t.Errorf("serve returned %v", err)
			}
			if h.t.Failed() {
				h.t.Logf("the bot's log:\n%s", h.log.String())
			}
		})
	}
	h.t.Cleanup(stop)
	h.connected(1)
	return stop
}

// connected waits until the bot has n sockets.
func (h *house) connected(n int) {
	h.t.Helper()
	h.until("the bot is connected", func() bool { return h.sim.Connected() == n })
}

// until waits for something that the simulator can see.
func (h *house) until(what string, cond func() bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 90*time.Second)
	defer cancel()
	if err := h.sim.Wait(ctx, cond); err != nil {
		h.t.Fatalf("waited in vain until %s. What was said:\n%s", what, h.transcript())
	}
}

// transcript is everything that the bot has said, for failures.
func (h *house) transcript() string {
	var b strings.Builder
	for _, ch := range h.sim.Channels() {
		for _, u := range demoPeople {
			for _, m := range h.sim.History(ch.ID, u.id) {
				if u.id != "UANN" && !m.Ephemeral() {
					continue
				}
				fmt.Fprintf(&b, "#%s to %s: %s\n", ch.Name, m.For, m.Visible())
				if m.ReplyCount > 0 {
					for _, r := range h.sim.Thread(ch.ID, m.TS, u.id)[1:] {
						fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(r.Visible(), "\n", "\n    "))
					}
				}
			}
		}
	}
	return b.String()
}

// find waits for a message in #ops or one of its threads, as the person sees
// it, that shows all the texts. The newest one is returned.
func (h *house) find(person string, texts ...string) slacksim.Message {
	h.t.Helper()
	var found slacksim.Message
	h.until(fmt.Sprintf("%s sees %q", person, texts), func() bool {
		for _, m := range h.sim.History("ops", person) {
			all := []slacksim.Message{m}
			if m.ReplyCount > 0 {
				all = h.sim.Thread("ops", m.TS, person)
			}
			for _, m := range all {
				if shows(m, texts) {
					found = m
				}
			}
		}
		return found.TS != ""
	})
	return found
}

func shows(m slacksim.Message, texts []string) bool {
	seen := m.Visible() + "\n" + m.Text
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			return false
		}
	}
	return true
}

// slash types a command into #ops.
func (h *house) slash(person, line string) {
	h.t.Helper()
	h.opens(person, func() { _, _ = h.sim.As(person).Slash("ops", line) })
	if _, err := h.sim.As(person).Slash("ops", line); err != nil {
		h.t.Fatalf("%s types %s: %v", person, line, err)
	}
}

// click presses a button of a message in #ops by its label.
func (h *house) click(person string, m slacksim.Message, label string) {
	h.t.Helper()
	h.clickIn("ops", person, m, label)
}

// clickIn presses a button by its label. Where a busy machine lets the three
// seconds of a click pass, the person presses again, as people do; if the button
// is gone by then, the first click has counted.
func (h *house) clickIn(channel, person string, m slacksim.Message, label string) {
	h.t.Helper()
	h.opens(person, func() { _ = h.sim.As(person).Click(channel, m.TS, label) })
	const late = "Operation timed out"
	err := h.sim.As(person).Click(channel, m.TS, label)
	again := false
	for deadline := time.Now().Add(time.Minute); err != nil && strings.Contains(err.Error(), late) && time.Now().Before(deadline); again = true {
		err = h.sim.As(person).Click(channel, m.TS, label)
	}
	if err != nil && (!again || strings.Contains(err.Error(), late)) {
		h.t.Fatalf("%s clicks %q: %v\n%s", person, label, err, h.transcript())
	}
}

// fill answers the modal that is open for the person: the first input of it
// gets the text.
func (h *house) fill(person, text string) {
	h.t.Helper()
	view := h.view(person)
	if err := h.submit(person, view, text); err != nil {
		h.t.Fatalf("%s submits %q: %v", person, text, err)
	}
}

// submit puts the text into the first input of a form and sends it.
func (h *house) submit(person string, view slacksim.View, text string) error {
	h.t.Helper()
	var blocks []struct {
		Type    string `json:"type"`
		BlockID string `json:"block_id"`
		Element struct {
			ActionID string `json:"action_id"`
		} `json:"element"`
	}
	if err := json.Unmarshal(view.Blocks, &blocks); err != nil {
		h.t.Fatal(err)
	}
	for _, b := range blocks {
		if b.Type == "input" {
			return h.sim.As(person).Submit(view.ID, map[string]map[string]any{b.BlockID: {b.Element.ActionID: text}})
		}
	}
	return fmt.Errorf("the form %q has no input", view.Title)
}

// view waits for the modal that the person looks at.
func (h *house) view(person string) slacksim.View {
	h.t.Helper()
	var view slacksim.View
	h.until(person+" sees a form", func() bool {
		if views := h.sim.As(person).Views(); len(views) > 0 {
			view = views[len(views)-1]
			return true
		}
		h.openAgain(person)
		return false
	})
	return view
}

// openAgain has the person try again if the form came too late.
func (h *house) openAgain(person string) {
	if o, ok := h.opened[person]; ok && h.lateForms(person) > o.late {
		h.opens(person, o.again)
		go o.again()
	}
}

// opens notes what the person does, should the form that it opens come too late.
func (h *house) opens(person string, again func()) {
	if h.opened == nil {
		h.opened = map[string]opening{}
	}
	h.opened[person] = opening{again, h.lateForms(person)}
}

// lateForms is how often the person was asked to try again, because a busy
// machine could not open a form in the three seconds that Slack gives.
func (h *house) lateForms(person string) (n int) {
	for _, ch := range h.sim.Channels() {
		for _, m := range h.sim.History(ch.ID, person) {
			all := []slacksim.Message{m}
			if m.ReplyCount > 0 {
				all = h.sim.Thread(ch.ID, m.TS, person)
			}
			for _, m := range all {
				if strings.Contains(m.Visible(), "could not be opened in time") {
					n++
				}
			}
		}
	}
	return n
}

// opsbot runs one command line as a terminal would, in this process.
func (h *house) opsbot(stdin string, args ...string) (code int, out, errs string) {
	h.t.Helper()
	return h.opsbotWith(h.file, stdin, args...)
}

func (h *house) opsbotWith(file, stdin string, args ...string) (code int, out, errs string) {
	h.t.Helper()
	var o, e syncBuffer
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Minute)
	defer cancel()
	code = Main(ctx, append(args, "--config", file), Streams{In: strings.NewReader(stdin), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// path is a file in the folder of the configuration.
func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// A syncBuffer may be written and read by different goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
