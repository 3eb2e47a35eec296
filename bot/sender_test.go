package bot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/internal/outbox"
	"opsbot/internal/slacksim"
)

func TestPostEditAndThread(t *testing.T) {
	t.Parallel()
	h := settle(t)
	den := outbox.Conversation{Channel: h.id("den")}
	h.say(
		outbox.Notice{Key: "card", To: den, Content: outbox.Line{Text: "step 1"}},
		outbox.Notice{Under: "card", To: den, Content: outbox.Line{Text: "a detail"}},
	)
	card := h.expect("den", "step 1")
	if m := h.expect("den", "a detail"); m.ThreadTS != card.TS {
		t.Errorf("the detail is in thread %q, want %q", m.ThreadTS, card.TS)
	}
	h.say(outbox.Notice{Key: "card", To: den, Content: outbox.Line{Text: "step 2"}})
	h.until("an edit", func() bool {
		m, _ := h.sim.Message(card.Channel, card.TS)
		return strings.Contains(m.Text, "step 2") && m.Updates == 1
	})
	h.say(outbox.Notice{Content: outbox.Line{Text: "no place named"}})
	h.expect("ops", "no place named")
}

// Many edits in a second become few, the last of them the newest.
func TestEditsCoalesce(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.say(line("card", "state 0"))
	h.expect("ops", "state 0")
	for i := range 60 {
		h.say(line("card", fmt.Sprintf("state %d.", i+1)))
	}
	m := h.expect("ops", "state 60.")
	if m.Updates > 20 {
		t.Errorf("%d updates for 60 changes", m.Updates)
	}
	if n := h.count("chat.postMessage"); n != 1 {
		t.Errorf("%d posts", n)
	}
}

// A burst is kept in order and below what Slack bears: any 429 fails the test.
func TestPaceInAChannel(t *testing.T) {
	t.Parallel()
	h := settle(t)
	for i := range 8 {
		h.say(line("", fmt.Sprintf("line %d.", i)))
	}
	h.expect("ops", "line 7.")
	for i, m := range h.saying("ops", "line ") {
		if want := fmt.Sprintf("line %d.", i); !strings.Contains(m.Text, want) {
			t.Errorf("message %d says %q", i, m.Text)
		}
	}
	for _, c := range h.sim.Calls() {
		if c.HTTPStatus == 429 {
			t.Errorf("%s: 429", c.Method)
		}
	}
}

// During Retry-After nothing is sent to the method; others go on.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.say(line("card", "before"))
	h.expect("ops", "before")
	h.sim.Fail("chat.postMessage", slacksim.Fault{RetryAfter: 3 * time.Second})
	h.say(line("", "held up"))
	h.until("a 429", func() bool {
		calls := h.sim.Calls("chat.postMessage")
		return calls[len(calls)-1].HTTPStatus == 429
	})
	h.say(line("card", "after"))
	h.expect("ops", "after")
	h.expect("ops", "held up")
	calls := h.sim.Calls("chat.postMessage")
	if n := len(calls); n != 3 {
		t.Fatalf("%d posts, want 3", n)
	}
	if pause := calls[2].At.Sub(calls[1].At); pause < 3*time.Second {
		t.Errorf("posted again after %v", pause)
	}
}

// A minute of 5xx for all methods loses neither a command nor a final state,
// and doubles nothing.
func TestBadMinute(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.say(line("card", "state 1"))
	h.expect("ops", "state 1")
	h.sim.Fail("*", slacksim.Fault{Status: 503, For: time.Minute})
	h.say(line("card", "final state"), outbox.Notice{To: outbox.Conversation{Channel: h.id("den")}, Content: outbox.Line{Text: "a new line"}})
	h.slash("ann", "den", "/runbook list") // the socket lives
	h.until("it is tried", func() bool { return h.count("chat.update") > 0 && h.count("chat.postMessage") > 1 })
	h.sim.Advance(61 * time.Second)
	h.expect("ops", "final state")
	h.expect("den", "a new line")
	h.expect("den", "did runbook list")
}

// A countingOutbox counts what was written down as sent.
type countingOutbox struct {
	outbox.Queue
	sent *atomic.Int32
}

func (q countingOutbox) Sent(ctx context.Context, d outbox.Delivery, channel, ts string) error {
	defer q.sent.Add(1)
	return q.Queue.Sent(ctx, d, channel, ts)
}

// A slow Web API slows no ack.
func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.sim.Fail("*", slacksim.Fault{Delay: 700 * time.Millisecond, Times: 30})
	for i := range 10 {
		h.slash("ann", "den", fmt.Sprintf("/runbook n%d.", i))
	}
	for _, a := range h.sim.Acks() {
		if a.Late || a.Problem != "" {
			t.Errorf("ack %+v", a)
		}
	}
	for i := range 10 {
		h.expect("den", fmt.Sprintf("did runbook n%d.", i))
	}
}

// An answer that never came is no reason to post twice.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	var sent atomic.Int32
	h.outbox = func(q outbox.Queue) outbox.Queue { return countingOutbox{q, &sent} }
	h.move()
	for i, key := range []string{"", "card"} {
		h.sim.Fail("chat.postMessage", slacksim.Fault{Lost: true})
		h.say(line(key, fmt.Sprintf("once %d", i)))
		h.until("it is written down", func() bool { return sent.Load() == int32(i+1) })
		h.expect("ops", fmt.Sprintf("once %d", i))
	}
	h.say(line("card", "edited"))
	if m := h.expect("ops", "edited"); m.Updates != 1 {
		t.Errorf("%d updates: the message found was not taken for the posted one", m.Updates)
	}
}

// A crashingOutbox forgets what was sent, as a kill -9 between post and record.
type crashingOutbox struct {
	outbox.Queue
	sent *atomic.Int32
}

func (q crashingOutbox) Sent(context.Context, outbox.Delivery, string, string) error {
	q.sent.Add(1)
	return errors.New("killed")
}

func TestCrashBetweenPostAndRecord(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	var sent atomic.Int32
	h.outbox = func(q outbox.Queue) outbox.Queue { return crashingOutbox{q, &sent} }
	h.move()
	den := outbox.Conversation{Channel: h.id("den")}
	h.say(
		outbox.Notice{Key: "card", To: den, Content: outbox.Line{Text: "the card"}},
		line("", "a line"),
		outbox.Notice{To: outbox.Conversation{Channel: h.sim.As("ann").ID()}, Content: outbox.Line{Text: "in private"}},
	)
	h.until("three are posted and not written down", func() bool { return sent.Load() >= 3 && h.count("chat.postMessage") == 3 })
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.outbox = nil
	h.move()
	h.say(outbox.Notice{Key: "card", To: den, Content: outbox.Line{Text: "the card, newer"}})
	h.expect("den", "the card, newer")
	h.say(line("", "another line"))
	h.expect("ops", "another line")
	h.expect("ops", "a line")
	h.until("all is written down", func() bool {
		due, err := h.db.Outbox().Due(t.Context(), "test", 10)
		return err == nil && len(due) == 0
	})
	if n := h.count("chat.postMessage"); n != 4 {
		t.Errorf("%d posts, want 4", n)
	}
}

func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.sim.AddUser(slacksim.User{Name: "admin", Admin: true})
	h.move()
	h.say(line("card", "first"))
	m := h.expect("ops", "first")
	if _, err := h.sim.As("ann").Reply("ops", m.TS, "hm"); err != nil {
		t.Fatal(err)
	}
	h.sim.Fail("chat.update", slacksim.Fault{Error: "message_not_found"})
	h.say(line("card", "second"))
	if again := h.expect("ops", "second"); again.TS == m.TS {
		t.Error("it was edited")
	}
	h.say(line("card", "third"))
	if m := h.expect("ops", "third"); m.Updates != 1 {
		t.Errorf("%d updates of the new message", m.Updates)
	}
}

// private counts the direct messages that say so.
func (h *house) private(text string) (n int) {
	for _, c := range h.sim.Channels() {
		if c.IM {
			n += len(h.saying(c.ID, text))
		}
	}
	return n
}

func TestArchivedChannel(t *testing.T) {
	t.Parallel()
	h := settle(t)
	den := outbox.Conversation{Channel: h.id("den")}
	card := outbox.RunCard{Run: "r", Number: 7, Runbook: "cache-fix", Title: "Fix the cache", Environment: "demo", State: "waiting", Starter: h.sim.As("ann").ID()}
	h.say(outbox.Notice{Key: "card", To: den, Content: card})
	h.expect("den", "Fix the cache")
	h.sim.ArchiveChannel("den")
	card.State = "succeeded"
	h.say(
		outbox.Notice{Key: "card", To: den, Content: card},
		outbox.Notice{To: den, Content: outbox.Line{Text: "by the way"}},
	)
	h.expect("ops", "Fix the cache")
	h.expect("ops", "by the way")
	h.expect("ops", "opsbot cannot write to #den")
	// From now on it lives there.
	card.Next = "nothing"
	h.say(outbox.Notice{Key: "card", To: den, Content: card})
	h.until("an edit in #ops", func() bool { return h.saying("ops", "Fix the cache")[0].Updates == 1 })

	// What is restricted goes to whom it concerns, and not into #ops.
	h.say(outbox.Notice{To: outbox.Conversation{Channel: den.Channel, Stay: true}, Content: outbox.Line{Text: "between us", Users: []string{h.sim.As("ann").ID()}}})
	h.until("ann hears of it", func() bool { return h.private("between us") == 1 })
	if len(h.saying("ops", "between us")) > 0 {
		t.Error("what is restricted was said in #ops")
	}

	// Without an ops channel, the starter hears of it; and nobody is asked to
	// decide something in private.
	h.sim.ArchiveChannel("ops")
	card.Number = 8
	card.Title = "Another"
	h.say(outbox.Notice{Key: "card2", Content: card}, outbox.Notice{Key: "ask", Content: outbox.Ask{Approval: "A", Question: "Really?", State: "open", Users: []string{h.sim.As("ann").ID()}}})
	h.until("ann hears of it", func() bool { return h.private("Another") == 1 })
	for _, c := range h.sim.Channels() {
		if len(h.saying(c.ID, "Really?")) > 0 {
			t.Error("a review was asked for in private")
		}
	}
}

func TestEphemeralFindsItsPerson(t *testing.T) {
	t.Parallel()
	h := settle(t)
	ann, carl := h.sim.As("ann").ID(), h.sim.As("carl").ID()
	// A response_url that is used up, or not Slack's at all.
	h.say(outbox.Notice{Only: ann, To: outbox.Conversation{Channel: h.id("den")}, Reply: h.sim.URL() + "/commands/T/1/nonsense", Content: outbox.Answer{Text: "to ann"}})
	if m := h.expect("den", "to ann"); m.For != ann {
		t.Errorf("for %q", m.For)
	}
	h.say(outbox.Notice{Only: ann, To: outbox.Conversation{Channel: h.id("den")}, Reply: "https://evil.example.com/x", Content: outbox.Answer{Text: "not to evil"}})
	h.expect("den", "not to evil")
	// carl is not in #den.
	h.say(outbox.Notice{Only: carl, To: outbox.Conversation{Channel: h.id("den")}, Content: outbox.Answer{Text: "to carl"}})
	h.until("carl hears of it", func() bool {
		for _, c := range h.sim.Channels() {
			if c.IM && len(h.saying(c.ID, "to carl")) == 1 {
				return true
			}
		}
		return false
	})
}

func TestFiles(t *testing.T) {
	t.Parallel()
	h := settle(t)
	den := outbox.Conversation{Channel: h.id("den")}
	long := strings.Repeat("a long line of output\n", 500)
	h.say(
		outbox.Notice{Key: "card", To: den, Content: outbox.Line{Text: "see below", Code: long}},
		outbox.Notice{To: den, Content: outbox.File{Name: "report.txt", Title: "Report", Text: "short"}},
	)
	h.until("two files", func() bool {
		files := h.sim.Files()
		return len(files) == 2 && files[0].Complete && files[1].Complete
	})
	for _, f := range h.sim.Files() {
		if !f.Complete || len(f.Channels) != 1 || f.Title == "" {
			t.Errorf("file %+v", f)
		}
		if f.Name != "report.txt" && string(f.Content) != long {
			t.Errorf("%s holds %d bytes, want %d", f.Name, len(f.Content), len(long))
		}
	}
}

// Blocks that Slack does not take cost the looks, not the words.
// What was said in public is taken back, with its threads and files; what people
// wrote, and what is not the bot's, stays.
func TestRedaction(t *testing.T) {
	t.Parallel()
	h := settle(t)
	ops, den := outbox.Conversation{Channel: h.id("ops")}, outbox.Conversation{Channel: h.id("den")}
	h.say(
		outbox.Notice{Key: "head", To: ops, Content: outbox.Line{Text: "INC-1 · restricted"}},
		outbox.Notice{Under: "head", Content: outbox.Line{Text: "The list is on a server in the north."}},
		outbox.Notice{Under: "head", Content: outbox.File{Name: "list.txt", Title: "The list", Text: "everybody"}},
		outbox.Notice{Key: "card", To: den, Content: outbox.Line{Text: "We look at the server."}},
		outbox.Notice{Under: "card", Content: outbox.Line{Text: "It is not the first time."}},
	)
	h.expect("ops", "The list is on a server")
	h.expect("den", "It is not the first time.")
	h.until("the file is there", func() bool { return len(h.sim.Files()) == 1 && len(h.sim.Files()[0].Channels) == 1 })
	hers, err := h.sim.As("ann").Say("den", "I look, too.")
	if err != nil {
		t.Fatal(err)
	}
	// One that Slack refuses to change does not keep the others in public.
	h.sim.Fail("chat.update", slacksim.Fault{Error: "edit_window_closed"})
	redaction := outbox.Notice{Under: "head", Content: outbox.Redaction{Text: "INC-1 is restricted.", Channel: den.Channel}}
	h.say(redaction)
	h.until("all others are taken back", func() bool { return len(h.saying("den", "INC-1 is restricted.")) == 2 && h.sim.Files()[0].Deleted })
	if len(h.saying("ops", "The list is on a server")) != 1 {
		t.Error("the message that Slack refused to change has changed")
	}
	h.say(redaction)
	h.until("all is taken back", func() bool {
		return len(h.saying("ops", "INC-1 is restricted.")) == 1 && len(h.saying("den", "INC-1 is restricted.")) == 2 && h.sim.Files()[0].Deleted
	})
	if m, _ := h.sim.Message("den", hers.TS); m.Text != "I look, too." || len(h.saying("ops", "INC-1 · restricted")) != 1 {
		t.Errorf("ann's message is %q, and the headline %v", m.Text, h.saying("ops", "INC-1 · restricted"))
	}
}

func TestRefusedBlocks(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.sim.Fail("chat.postMessage", slacksim.Fault{Error: "invalid_blocks"})
	h.say(line("card", "the words"))
	m := h.expect("ops", "the words")
	if len(m.Blocks) > 4 {
		t.Errorf("blocks: %s", m.Blocks)
	}
	h.say(line("card", "more words"))
	h.expect("ops", "more words")
}

// Whatever goes out keeps to Slack's metadata and text rules.
func TestMessagesAreWellFormed(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.say(line("run:"+strings.Repeat("k", 300), "<!channel> & <b>"))
	m := h.expect("ops", "&lt;!channel&gt;")
	if !strings.Contains(string(m.Metadata), "opsbot_notice") {
		t.Errorf("metadata %s", m.Metadata)
	}
	if len(m.Flags) > 0 {
		t.Errorf("flags %v", m.Flags)
	}
}
