package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/commands"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/slacksim"
)

func TestSlashIsAckedAndAnswered(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.slash("ann", "den", "/runbook list")
	m := h.expect("den", "did runbook list")
	if ann, _ := h.sim.User("ann"); m.For != ann.ID {
		t.Errorf("the answer is for %q, want ann alone", m.For)
	}
	for _, a := range h.sim.Acks() {
		if a.Late || a.Problem != "" {
			t.Errorf("ack %+v", a)
		}
	}
}

// Work never holds up an ack: slack.md 4, "undrained channel".
func TestAcksDoNotWaitForWork(t *testing.T) {
	t.Parallel()
	h := settle(t)
	gate := make(chan struct{})
	h.handle(func(ctx context.Context, req commands.Request) (commands.Reply, error) {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return commands.Reply{Answer: &outbox.Answer{Text: "late answer to " + req.Line}}, nil
	})
	var people sync.WaitGroup
	for i := range 120 { // more than slack-go's 50 slots and the worker's 32
		people.Go(func() {
			if _, err := h.sim.As("ann").Slash("den", fmt.Sprintf("/runbook n%d.", i)); err != nil {
				t.Errorf("command %d: %v", i, err)
			}
		})
	}
	people.Wait()
	close(gate)
	for i := range 120 {
		h.expect("den", fmt.Sprintf("late answer to runbook n%d.", i))
	}
}

func TestOrderInAConversation(t *testing.T) {
	t.Parallel()
	h := settle(t)
	for i := range 20 {
		h.slash("ann", "den", fmt.Sprintf("/runbook n%d", i))
	}
	h.until("20 requests", func() bool { return len(h.requests()) == 20 })
	for i, req := range h.requests() {
		if want := fmt.Sprintf("runbook n%d", i); req.Line != want {
			t.Errorf("request %d is %q, want %q", i, req.Line, want)
		}
	}
}

// A mention that arrives twice, and as message too, is acted on once.
func TestRepeatedEvents(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.sim.DuplicateEvents(1)
	if _, err := h.sim.As("ann").Say("den", "<@"+h.sim.BotUserID()+"> runbook list"); err != nil {
		t.Fatal(err)
	}
	h.expect("den", "did runbook list")
	h.sim.DropNextAcks(1, "app_mention") // so it comes again, as a retry
	m, err := h.sim.As("ben").Say("den", "<@"+h.sim.BotUserID()+"> runbook status")
	if err != nil {
		t.Fatal(err)
	}
	h.expect("den", "did runbook status")
	acks := h.mentions()
	h.sim.Advance(2 * time.Minute)
	h.until("the retry is acknowledged", func() bool { return h.mentions() > acks })
	if n := len(h.requests()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	if req := h.requests()[1]; req.Where.Channel != m.Channel || req.Where.Thread != "" {
		t.Errorf("asked in %+v", req.Where)
	}
}

func TestEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.sim.ReorderEvents()
	for _, word := range []string{"one", "two"} {
		if _, err := h.sim.As("ann").Say("den", "<@"+h.sim.BotUserID()+"> runbook "+word); err != nil {
			t.Fatal(err)
		}
	}
	h.expect("den", "did runbook one")
	h.expect("den", "did runbook two")
}

func TestMentionInAThread(t *testing.T) {
	t.Parallel()
	h := settle(t)
	top, err := h.sim.As("ann").Say("den", "look at this")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.sim.As("ben").Reply("den", top.TS, "<@"+h.sim.BotUserID()+"> runbook status"); err != nil {
		t.Fatal(err)
	}
	if m := h.expect("den", "did runbook status"); m.ThreadTS != top.TS {
		t.Errorf("answered in thread %q, want %q", m.ThreadTS, top.TS)
	}
}

func TestDirectMessage(t *testing.T) {
	t.Parallel()
	h := settle(t)
	if _, err := h.sim.As("carl").Say("@opsbot", "runbook list"); err != nil {
		t.Fatal(err)
	}
	h.until("one request", func() bool { return len(h.requests()) == 1 })
	req := h.requests()[0]
	if req.Line != "runbook list" {
		t.Errorf("asked %q", req.Line)
	}
	// What it starts must be seen by those who may agree to it.
	if req.Where.Channel != h.id("ops") {
		t.Errorf("goes on in %s, want #ops", req.Where.Channel)
	}
	h.until("an answer", func() bool {
		for _, c := range h.sim.Channels() {
			if c.IM && len(h.saying(c.ID, "did runbook list")) == 1 {
				return true
			}
		}
		return false
	})
}

// slack-go acknowledges nothing that it cannot parse.
func TestUnknownIsAcked(t *testing.T) {
	t.Parallel()
	h := settle(t)
	for id, frame := range map[string]string{
		"e1": `{"envelope_id":"e1","type":"brand_new","payload":{"x":1}}`,
		"e2": `{"envelope_id":"e2","type":"events_api","payload":{"type":"event_callback","event_id":"Ev9","event":{"type":"nobody_knows_this"}}}`,
		"e3": `{"envelope_id":"e3","type":"events_api","payload":[]}`,
		"e4": `{"envelope_id":"e4","type":"slash_commands","payload":"x"}`,
		"e5": `{"envelope_id":"e5","type":"interactive","payload":{"type":"shortcut","callback_id":"x"}}`,
	} {
		h.sim.SendRaw(frame)
		h.until(id+" is acknowledged", func() bool {
			for _, a := range h.sim.Acks() {
				if a.EnvelopeID == id && a.Problem == "" {
					return true
				}
			}
			return false
		})
	}
	h.slash("ann", "den", "/runbook list")
	h.expect("den", "did runbook list")
}

func TestBackAfterRefreshAndDrop(t *testing.T) {
	t.Parallel()
	h := settle(t)
	for i, fault := range []func(){func() { h.sim.Disconnect("refresh_requested") }, h.sim.DropSockets, h.sim.CutNextEnvelope} {
		fault()
		// A person tries again when Slack says that the app did not answer.
		h.until("a command gets through", func() bool {
			_, err := h.sim.As("ann").Slash("den", fmt.Sprintf("/runbook n%d", i))
			return err == nil
		})
		h.expect("den", fmt.Sprintf("did runbook n%d", i))
	}
}

// Events of a time without a socket are delivered by Slack's retries.
func TestEventWhileDisconnected(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.sim.Fail("link", slacksim.Fault{Status: 503, For: time.Minute})
	h.sim.DropSockets()
	h.until("the socket is gone", func() bool { return h.sim.Connected() == 0 })
	if _, err := h.sim.As("ann").Say("den", "<@"+h.sim.BotUserID()+"> runbook list"); err != nil {
		t.Fatal(err)
	}
	h.sim.Heal()
	h.until("the bot is connected", func() bool { return h.sim.Connected() == 1 })
	h.sim.Advance(2 * time.Minute)
	h.sim.Advance(5 * time.Minute)
	h.expect("den", "did runbook list")
}

// A Slack that turns every socket away must not be hammered: slack-go alone
// would ask more than a thousand times a second.
func TestNoReconnectStorm(t *testing.T) {
	t.Parallel()
	h := settle(t)
	before := h.count("apps.connections.open")
	h.sim.RejectSockets("too_many_websockets", 0)
	h.sim.DropSockets()
	h.until("the reason is known", func() bool {
		s := h.w.Status()
		return !s.Connected && strings.Contains(strings.Join(s.Reasons, " "), "More than 10 sockets")
	})
	if n := h.count("apps.connections.open") - before; n > 2 {
		t.Errorf("%d opens", n)
	}
	if err := h.stop(); err != nil {
		t.Errorf("stop while waiting to reconnect: %v", err)
	}
}

func TestSocketModeSwitchedOff(t *testing.T) {
	t.Parallel()
	h := settle(t)
	before := h.count("apps.connections.open")
	h.sim.Disconnect("link_disabled")
	h.until("the reason is known", func() bool {
		return strings.Contains(strings.Join(h.w.Status().Reasons, " "), "Socket Mode was switched off")
	})
	if n := h.count("apps.connections.open") - before; n > 1 {
		t.Errorf("%d opens", n)
	}
}

func TestOtherCopies(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.alone = true
	h.move()
	other := build(t, slacksim.Options{})
	other.sim = h.sim
	other.alone = true
	other.start()
	other.until("the copy sees the other", func() bool {
		return strings.Contains(strings.Join(other.w.Status().Reasons, " "), "another opsbot runs")
	})
}

// mentions counts the acks for mentions. There are others: whatever is posted
// is an event, too.
func (h *house) mentions() (n int) {
	for _, a := range h.sim.Acks() {
		if a.What == "app_mention" {
			n++
		}
	}
	return n
}

// A brokenInbox does not take records.
type brokenInbox struct {
	inbox.Queue
	stuck bool
}

func (q brokenInbox) Record(ctx context.Context, item inbox.Item) (bool, error) {
	if !q.stuck {
		return false, errors.New("disk full")
	}
	<-ctx.Done()
	_, err := q.Queue.Record(context.Background(), item) // it goes through after all
	return false, errors.Join(ctx.Err(), err)
}

func TestNotRecorded(t *testing.T) {
	t.Parallel()
	for name, stuck := range map[string]bool{"refused": false, "too late": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := settle(t)
			// A message with a button and an open form, from better times.
			h.handle(func(context.Context, commands.Request) (commands.Reply, error) {
				return commands.Reply{
					Answer: &outbox.Answer{Text: "click", Items: []outbox.Item{{Name: "x", Command: "runbook x", Label: "Go"}}},
					Form:   form(),
				}, nil
			})
			h.slash("ann", "den", "/runbook x")
			m := h.expect("den", "click")
			h.until("a form", func() bool { return len(h.sim.As("ann").Views()) == 1 })
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h.inbox = func(q inbox.Queue) inbox.Queue { return brokenInbox{q, stuck} }
			h.move()
			asked := len(h.requests())

			answer, err := h.sim.As("ann").Slash("den", "/runbook y")
			if err != nil || !strings.Contains(answer.Text, "nothing was done") {
				t.Errorf("slash: %q, %v", answer.Text, err)
			}
			if err := h.sim.As("ann").Click(m.Channel, m.TS, "Go"); err != nil {
				t.Errorf("click: %v", err)
			}
			h.until("the click is answered", func() bool { return len(h.saying("den", "nothing was done")) == 2 })
			view := h.sim.As("ann").Views()[0]
			_ = h.sim.As("ann").Submit(view.ID, map[string]map[string]any{"why": {"string": "because"}, "phrase": {"string": "prod"}})
			if views := h.sim.As("ann").Views(); len(views) != 1 || !strings.Contains(views[0].Errors["why"], "nothing was done") {
				t.Errorf("%d forms, errors %v", len(views), h.sim.As("ann").Notices())
			}
			// An event gets no ack, so that Slack sends it again.
			acks := h.mentions()
			if _, err := h.sim.As("ann").Say("den", "<@"+h.sim.BotUserID()+"> runbook list"); err != nil {
				t.Fatal(err)
			}
			h.until("the status tells", func() bool {
				return strings.Contains(strings.Join(h.w.Status().Reasons, " "), "cannot be recorded")
			})
			if n := h.mentions() - acks; n != 0 {
				t.Errorf("%d acks for the event", n)
			}
			for _, req := range h.requests()[asked:] {
				if !strings.HasPrefix(req.Key, "said:") {
					t.Errorf("%s was done although nothing was to be", req.Key)
				}
			}
			// Back to health, the event arrives.
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h.inbox = nil
			h.move()
			h.sim.Advance(2 * time.Minute)
			h.sim.Advance(5 * time.Minute)
			h.until("the event is handled", func() bool {
				for _, req := range h.requests() {
					if req.Line == "runbook list" {
						return true
					}
				}
				return false
			})
		})
	}
}

// An inbox that does not take records until it is told to.
type laterInbox struct {
	inbox.Queue
	well *atomic.Bool
	late bool // what it did not take in time reaches the database
	done *atomic.Int32
}

func (q laterInbox) Done(ctx context.Context, key string, notices ...outbox.Notice) error {
	defer q.done.Add(1)
	return q.Queue.Done(ctx, key, notices...)
}

func (q laterInbox) Record(ctx context.Context, item inbox.Item) (bool, error) {
	if q.well.Load() {
		return q.Queue.Record(ctx, item)
	}
	if q.late {
		if _, err := q.Queue.Record(ctx, item); err != nil {
			return false, err
		}
	}
	return false, context.DeadlineExceeded
}

// A form that could not be recorded can be submitted again, and is acted on
// once; if its first submission sits in the database unread, the person hears
// that again.
func TestFormAgain(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"lost": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, slacksim.Options{})
			var well atomic.Bool
			var done atomic.Int32
			well.Store(true)
			h.inbox = func(q inbox.Queue) inbox.Queue { return laterInbox{q, &well, late, &done} }
			h.handle(func(_ context.Context, req commands.Request) (commands.Reply, error) {
				if req.Action == "" {
					return commands.Reply{Form: form()}, nil
				}
				return commands.Reply{Answer: &outbox.Answer{Text: "because " + req.Values["why"]}}, nil
			})
			h.move()
			h.slash("ann", "den", "/runbook x")
			ann := h.sim.As("ann")
			h.until("a form", func() bool { return len(ann.Views()) == 1 })
			submit := func() {
				_ = ann.Submit(ann.Views()[0].ID, map[string]map[string]any{"why": {"string": "so"}, "phrase": {"string": "prod"}})
			}
			well.Store(false)
			submit()
			if len(ann.Views()) != 1 || !strings.Contains(ann.Views()[0].Errors["why"], "nothing was done") {
				t.Fatalf("%d forms, errors %v", len(ann.Views()), ann.Notices())
			}
			well.Store(true)
			if late {
				h.until("the worker has passed it over", func() bool { return done.Load() == 2 })
			}
			submit()
			if late {
				if len(ann.Views()) == 0 || !strings.Contains(ann.Views()[0].Errors["why"], "nothing was done") {
					t.Errorf("%d forms, notices %v", len(ann.Views()), ann.Notices())
				}
			} else {
				h.until("the form is acted on", func() bool { return len(h.requests()) == 2 })
			}
			for _, req := range h.requests() {
				if late && req.Action != "" {
					t.Errorf("done all the same: %+v", req)
				}
			}
		})
	}
}

// What is under way while the bot stops is acknowledged, and done once it is
// back: slack.md 4, "acks lost at shutdown".
func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	h := settle(t)
	started := make(chan struct{}, 1)
	gate := make(chan struct{})
	h.handle(func(ctx context.Context, req commands.Request) (commands.Reply, error) {
		if req.Line == "runbook slow" {
			started <- struct{}{}
			<-gate
		}
		return commands.Reply{Answer: &outbox.Answer{Text: "did " + req.Line}}, nil
	})
	h.slash("ann", "den", "/runbook slow")
	<-started
	stopped := make(chan error, 1)
	stop := h.stop
	go func() { stopped <- stop() }()

	// Commands that arrive while it stops.
	told, i := 0, 0
	h.until("somebody hears of the restart", func() bool {
		i++
		answer, err := h.sim.As("ben").Slash("den", fmt.Sprintf("/runbook n%d.", i))
		if err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		if strings.Contains(answer.Text, "starts as soon as it is back") {
			told++
		}
		return told >= 10
	})
	var people sync.WaitGroup
	var mu sync.Mutex
	acked := map[string]bool{}
	for j := range 50 {
		people.Go(func() {
			if _, err := h.sim.As("ben").Slash("den", fmt.Sprintf("/runbook m%d.", j)); err == nil {
				mu.Lock()
				acked[fmt.Sprintf("runbook m%d.", j)] = true
				mu.Unlock()
			}
		})
	}
	close(gate)
	people.Wait()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	for _, a := range h.sim.Acks() {
		if a.Late || a.Problem != "" {
			t.Errorf("ack %+v", a)
		}
	}
	h.move()
	h.expect("den", "did runbook slow")
	for j := 1; j <= i; j++ {
		acked[fmt.Sprintf("runbook n%d.", j)] = true
	}
	h.until("all that was acknowledged is done", func() bool {
		done := map[string]int{}
		for _, req := range h.requests() {
			done[req.Line]++
		}
		for line := range acked {
			if done[line] == 0 {
				return false
			}
		}
		return true
	})
	seen := map[string]int{}
	for _, req := range h.requests() {
		if seen[req.Key]++; seen[req.Key] > 1 {
			t.Errorf("%s was asked %d times", req.Line, seen[req.Key])
		}
	}
}

// An ack that would not fit into Slack's 20,480 bytes is sent without payload.
func TestLargeAck(t *testing.T) {
	t.Parallel()
	h := settle(t)
	fields := make([]outbox.Field, 40)
	values := map[string]map[string]any{}
	for i := range fields {
		name := fmt.Sprintf("f%02d", i) + strings.Repeat("x", 240)
		fields[i] = outbox.Field{Name: name, Label: "F", Type: "int_list", Required: true}
		values[name] = map[string]any{"int_list": "nonsense"}
	}
	h.handle(func(context.Context, commands.Request) (commands.Reply, error) {
		return commands.Reply{Form: &commands.Form{Action: commands.ActionStart, Subject: "x", Title: "Many", Submit: "Go", Fields: fields}}, nil
	})
	h.slash("ann", "den", "/runbook x")
	h.until("a form", func() bool { return len(h.sim.As("ann").Views()) == 1 })
	_ = h.sim.As("ann").Submit(h.sim.As("ann").Views()[0].ID, values)
	for _, a := range h.sim.Acks() {
		if raw, _ := json.Marshal(a.Payload); a.Problem != "" || a.Late || len(raw) > 20_480 {
			t.Errorf("ack %s of %d bytes: %s", a.What, len(raw), a.Problem)
		}
	}
	h.slash("ann", "den", "/runbook still here")
}
