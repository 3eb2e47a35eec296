package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/slacksim"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
	"opsbot/runbooks/library"
)

// childVariable makes the test binary be opsbot. Its value is the boundary at
// which the process kills itself, or "never".
const childVariable = "OPSBOT_TEST_CHILD"

// child is opsbot as a process that dies, without any chance to tidy up, when
// it passes the boundary.
func child() int {
	at := os.Getenv(childVariable)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], &common{
		std: Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
		observe: func(e engine.Event) {
			if e.String() == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		},
	})
}

// boundaries of cache-fix, in the order in which a run passes them.
var boundaries = []string{
	"started", "claimed",
	"intent:info", "acted:info", "result:info",
	"intent:before", "acted:before", "result:before",
	"intent:keys", "acted:keys", "result:keys",
	"asked:clear", "voted:clear",
	"recheck:before", "checked:before", "recheck:keys", "checked:keys",
	"intent:clear", "acted:clear", "result:clear",
	"intent:warm", "acted:warm", "result:warm",
	"intent:after", "acted:after", "result:after",
	"ending", "ended",
}

// kill -9 at every boundary, and a restart: the run goes on where it was, a
// waiting approval still waits, and what is destructive is never done twice.
func TestKillAtEveryBoundary(t *testing.T) {
	if testing.Short() {
		t.Skip("kills many processes")
	}
	t.Parallel()
	for d, db := range databases {
		for n, at := range boundaries {
			if n%len(databases) != d && os.Getenv("OPSBOT_TEST_CRASHES") != "all" {
				continue // every boundary on one of the databases; all on all takes long
			}
			t.Run(db.name+"/"+at, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				h.edit("database: sqlite:opsbot.db", "database: "+db.url(t))
				h.hurry()
				bot := h.spawn(at)
				h.connected(1)
				h.slash("ann", "/runbook cache-fix window=5s")

				died := make(chan struct{})
				p := &pilot{house: h}
				go func() {
					defer close(died)
					bot.wait()
				}()
				p.fly(func() bool {
					select {
					case <-died:
						return true
					default:
						return p.landed()
					}
				})
				select {
				case <-died:
				case <-time.After(20 * time.Second):
					t.Fatalf("the run ended without passing %s:\n%s", at, h.transcript())
				}
				if status, ok := bot.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
					t.Fatalf("the bot ended with %v, not by kill -9", bot.err)
				}
				marked := slices.Index(boundaries, at) >= slices.Index(boundaries, "acted:clear")
				if marked {
					h.mark()
				}
				again := h.spawn("never")
				p.uncertain = "It was done"
				if at == "intent:clear" {
					p.uncertain = "Do it again"
				}
				p.fly(p.landed)
				again.stop()
				h.succeeded(at)
				if marked && !h.marker() {
					t.Error("keys were removed a second time")
				}
			})
		}
	}
}

// The same at moments that nobody has chosen.
func TestKillAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("kills many processes")
	}
	t.Parallel()
	for _, db := range databases {
		for i := range 3 {
			t.Run(fmt.Sprintf("%s/%d", db.name, i), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				h.edit("database: sqlite:opsbot.db", "database: "+db.url(t))
				h.hurry()
				p := &pilot{house: h, uncertain: "It was done"}
				bot := h.spawn("never")
				h.connected(1)
				h.slash("ann", "/runbook cache-fix window=5s")
				marked, full := false, h.size()
				for range 4 {
					life := time.NewTimer(time.Duration(2000+rand.IntN(7000)) * time.Millisecond)
					p.fly(func() bool {
						select {
						case <-life.C:
							return true
						default:
							return p.landed()
						}
					})
					bot.kill()
					if !marked && h.size() < full-100 { // the clearing has begun
						h.mark()
						marked = true
					}
					bot = h.spawn("never")
				}
				p.fly(p.landed)
				bot.stop()
				h.ended() // exactly one run, whatever came of it: people called an unknown outcome done
				if marked && !h.marker() {
					t.Error("keys were removed a second time")
				}
			})
		}
	}
}

// databases that stories run on; url makes a fresh one.
var databases = []struct {
	name string
	url  func(testing.TB) string
}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}}

// A process is opsbot serving as a process of its own.
type process struct {
	h    *house
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan struct{}
	err  error
}

// spawn starts the bot as a process that dies at a boundary.
func (h *house) spawn(at string) *process {
	h.t.Helper()
	p := &process{h: h, log: &syncBuffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], "serve", "--config", h.file)
	p.cmd.Env = append(os.Environ(), childVariable+"="+at)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	h.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if h.t.Failed() {
			h.t.Logf("log of the bot that dies at %s:\n%s", at, p.log.String())
		}
	})
	return p
}

func (p *process) wait() { <-p.done }

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.wait()
}

// stop ends the process with SIGTERM and wants a clean end.
func (p *process) stop() {
	p.h.t.Helper()
	poll(p.h.t, "the bot has started", func() bool { return strings.Contains(p.log.String(), "opsbot starts") })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.h.t.Errorf("SIGTERM: %v", err)
	}
	p.wait()
	if p.err != nil {
		p.h.t.Errorf("after SIGTERM the bot ended with %v", p.err)
	}
}

// hurry replaces cache-fix by one that need not look for long.
func (h *house) hurry() {
	h.t.Helper()
	text, err := fs.ReadFile(library.FS, "cache-fix.md")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range [][2]string{{"every: 5s, for: 5m", "every: 1s, for: 5m"}, {", hold: 2 }", ", hold: 1 }"}} {
		if !bytes.Contains(text, []byte(s[0])) {
			h.t.Fatalf("cache-fix has no %q", s[0])
		}
		text = bytes.ReplaceAll(text, []byte(s[0]), []byte(s[1]))
	}
	if err := os.Mkdir(h.path("runbooks"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	h.write("runbooks/cache-fix.md", string(text))
	h.configure("runbooks: [runbooks]\n")
}

// A pilot answers what the bot asks, as Ann who starts and Ben who reviews.
type pilot struct {
	house     *house
	uncertain string               // what is said of a step whose outcome nobody knows
	clicked   map[string]time.Time // by message and button
}

// clickAgain is how long the pilot waits for what a click brings.
const clickAgain = 3 * time.Second

// fly answers until done says so. It goes by what people see in Slack.
func (p *pilot) fly(done func() bool) {
	h := p.house
	h.t.Helper()
	deadline := time.Now().Add(4 * time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			h.t.Fatalf("the run is not at its end:\n%s", h.transcript())
		}
		ctx, cancel := context.WithTimeout(h.t.Context(), 200*time.Millisecond)
		_ = h.sim.Wait(ctx, func() bool { return done() || h.sim.Connected() > 0 && p.question() != nil })
		cancel()
		if q := p.question(); q != nil && h.sim.Connected() > 0 {
			q()
		}
	}
}

// question returns how to answer the newest open question, nil if there is none.
func (p *pilot) question() func() {
	h := p.house
	if views := h.sim.As("ann").Views(); len(views) > 0 {
		return func() { p.fill("ann") }
	}
	for _, m := range h.sim.History("ops", "ann") {
		if m.ReplyCount == 0 {
			continue
		}
		for _, r := range h.sim.Thread("ops", m.TS, "ann")[1:] {
			for _, q := range []struct{ person, label string }{{"ann", "Confirm"}, {"ben", "Approve"}, {"ann", p.uncertain}} {
				button := r.TS + q.label
				if q.label != "" && hasButton(r, q.label) && time.Since(p.clicked[button]) > clickAgain {
					return func() {
						if p.clicked == nil {
							p.clicked = map[string]time.Time{}
						}
						p.clicked[button] = time.Now()
						_ = h.sim.As(q.person).Click("ops", r.TS, q.label)
					}
				}
			}
		}
	}
	return nil
}

// fill answers a form: with the environment's name where one is to be typed,
// else with a reason.
func (p *pilot) fill(person string) {
	views := p.house.sim.As(person).Views()
	if len(views) == 0 {
		return
	}
	text := "looked at Redis: the keys are gone"
	if strings.Contains(string(views[len(views)-1].Blocks), "demo") {
		text = "demo"
	}
	if err := p.house.submit(person, views[len(views)-1], text); err != nil {
		_ = p.house.sim.As(person).CloseView(views[len(views)-1].ID, true)
	}
}

func hasButton(m slacksim.Message, label string) bool {
	return strings.Contains(string(m.Blocks), fmt.Sprintf(`"text":%q`, label)) && strings.Contains(string(m.Blocks), `"type":"button"`)
}

// landed reports whether the run's report is there and its card says the end.
func (p *pilot) landed() bool {
	for _, m := range p.house.sim.History("ops", "ann") {
		if m.ReplyCount == 0 {
			continue
		}
		for _, r := range p.house.sim.Thread("ops", m.TS, "ann")[1:] {
			if strings.Contains(r.Visible(), "Cache fix") && strings.Contains(r.Visible(), "hit rate") {
				return true
			}
		}
	}
	return false
}

// cache is a client of the patient's Redis, for looking behind the bot's back.
func (h *house) cache() *redis.Client {
	h.t.Helper()
	opts, err := redis.ParseURL(h.ill.RedisURL())
	if err != nil {
		h.t.Fatal(err)
	}
	client := redis.NewClient(opts)
	h.t.Cleanup(func() { client.Close() })
	return client
}

const markerKey = "prod_marker_of_the_test"

// mark puts a key where a second clearing would remove it.
func (h *house) mark() {
	h.t.Helper()
	if err := h.cache().Set(h.t.Context(), markerKey, "here", 0).Err(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) marker() bool {
	h.t.Helper()
	n, err := h.cache().Exists(h.t.Context(), markerKey).Result()
	if err != nil {
		h.t.Fatal(err)
	}
	return n == 1
}

// size is how many keys the patient's Redis holds.
func (h *house) size() int64 {
	h.t.Helper()
	n, err := h.cache().DBSize(h.t.Context()).Result()
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// ended is the state of the only run, from the database itself.
func (h *house) ended() string {
	h.t.Helper()
	code, out, errs := h.opsbot("", "runs", "list", "--output", "json")
	if code != exitWell {
		h.t.Fatalf("runs list exits with %d: %s", code, errs)
	}
	_, state, _ := strings.Cut(out, `"state": "`)
	state, _, _ = strings.Cut(state, `"`)
	if strings.Count(out, `"id"`) != 1 {
		h.t.Errorf("want exactly one run, got %s", out)
	}
	return state
}

func (h *house) succeeded(at string) {
	h.t.Helper()
	if state := h.ended(); state != string(engine.Succeeded) {
		h.t.Errorf("killed at %s, the run ended %s:\n%s", at, state, h.transcript())
	}
}
