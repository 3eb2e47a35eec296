package bot_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/commands"
	"opsbot/internal/fault"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
)

func form() *commands.Form {
	return &commands.Form{
		Action: commands.ActionStart, Subject: "cache-fix", Title: "Start cache-fix", Submit: "Start",
		Fields: []outbox.Field{{Name: "why", Label: "Why", Type: "string", Required: true}, {Name: "phrase", Label: "Type it", Type: "string", Required: true}},
		Must:   map[string]string{"phrase": "prod"},
	}
}

func TestFormAndSubmission(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.handle(func(_ context.Context, req commands.Request) (commands.Reply, error) {
		if req.Action == "" {
			f := form()
			f.Where = req.Where
			return commands.Reply{Form: f}, nil
		}
		return commands.Reply{Answer: &outbox.Answer{Text: "because " + req.Values["why"]}}, nil
	})
	h.slash("ann", "den", "/runbook cache-fix")
	ann := h.sim.As("ann")
	h.until("a form", func() bool { return len(ann.Views()) == 1 })
	view := ann.Views()[0]

	// What is wrong for all to see is said at the field, and not recorded.
	enter := func(phrase string) error {
		return ann.Submit(view.ID, map[string]map[string]any{"why": {"string": "it hurts"}, "phrase": {"string": phrase}})
	}
	if err := enter("prd"); err == nil {
		t.Error("the wrong phrase was taken")
	}
	if views := ann.Views(); len(views) != 1 || views[0].Errors["phrase"] == "" {
		t.Fatalf("the form shows %+v", views)
	}
	if n := len(h.requests()); n != 1 {
		t.Errorf("%d requests, want only the command", n)
	}
	if err := enter("prod"); err != nil {
		t.Fatal(err)
	}
	h.expect("den", "because it hurts")
	if len(ann.Views()) != 0 {
		t.Error("the form stays open")
	}
	if req := h.requests()[1]; req.Action != commands.ActionStart || req.Subject != "cache-fix" || req.Where.Channel != h.id("den") {
		t.Errorf("submitted %+v", req)
	}
}

// A form that would come too late is no form: the person is told.
func TestLateForm(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.handle(func(ctx context.Context, _ commands.Request) (commands.Reply, error) {
		for len(h.sim.Acks()) == 0 && ctx.Err() == nil { // the clock is for the trigger, not for the ack
			time.Sleep(time.Millisecond)
		}
		h.sim.Advance(4 * time.Second)
		return commands.Reply{Form: form()}, nil
	})
	h.slash("ann", "den", "/runbook cache-fix")
	h.expect("den", "could not be opened in time")
}

func TestFormByMention(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.handle(func(context.Context, commands.Request) (commands.Reply, error) {
		return commands.Reply{Form: form()}, nil
	})
	if _, err := h.sim.As("ann").Say("den", "<@"+h.sim.BotUserID()+"> runbook cache-fix"); err != nil {
		t.Fatal(err)
	}
	h.expect("den", "A form cannot be opened from here")
	h.handle(func(context.Context, commands.Request) (commands.Reply, error) {
		f := form()
		f.Else = "Type it with why=… instead."
		return commands.Reply{Form: f}, nil
	})
	if _, err := h.sim.As("ann").Say("den", "<@"+h.sim.BotUserID()+"> runbook cache-fix"); err != nil {
		t.Fatal(err)
	}
	h.expect("den", "Type it with why=… instead.")
}

func TestErrorsAreTold(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.handle(func(_ context.Context, req commands.Request) (commands.Reply, error) {
		switch {
		case strings.HasSuffix(req.Line, "forbidden"):
			return commands.Reply{}, fault.New(fault.Forbidden, "You may not do this.").Hinted("Ask sre.").Because(errors.New("canary-17"))
		case strings.HasSuffix(req.Line, "panic"):
			panic("canary-18")
		}
		return commands.Reply{}, errors.New("canary-19")
	})
	h.slash("ann", "den", "/runbook forbidden")
	h.expect("den", "You may not do this. Ask sre.")
	h.slash("ann", "den", "/runbook panic")
	h.expect("den", "Something went wrong inside opsbot")
	h.slash("ben", "den", "/runbook error")
	h.until("two internal errors are told", func() bool { return len(h.saying("den", "Something went wrong inside opsbot")) == 2 })
	if found := h.saying("den", "canary"); len(found) > 0 {
		t.Errorf("people see the cause: %s", found[0].Text)
	}
}

func TestUnavailableIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := settle(t)
	var tries atomic.Int32
	h.handle(func(_ context.Context, req commands.Request) (commands.Reply, error) {
		if strings.HasSuffix(req.Line, "soon") && tries.Add(1) > 1 {
			return commands.Reply{Answer: &outbox.Answer{Text: "it works now"}}, nil
		}
		return commands.Reply{}, fault.New(fault.Unavailable, "Redis does not answer.")
	})
	h.slash("ann", "den", "/runbook soon")
	h.expect("den", "it works now")
	h.slash("ben", "ops", "/runbook never")
	h.expect("ops", "Redis does not answer.")
	if n := len(h.requests()); n != 5 {
		t.Errorf("%d requests, want 2 and 3", n)
	}
}

// A flakyInbox loses the connection when an answer is committed.
type flakyInbox struct {
	inbox.Queue
	broken *atomic.Int32
}

func (q flakyInbox) Done(ctx context.Context, key string, notices ...outbox.Notice) error {
	if q.broken.Add(-1) >= 0 {
		return errors.New("connection reset")
	}
	return q.Queue.Done(ctx, key, notices...)
}

func TestAnswerIsCommittedInTheEnd(t *testing.T) {
	t.Parallel()
	h := settle(t)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	var broken atomic.Int32
	broken.Store(3)
	h.inbox = func(q inbox.Queue) inbox.Queue { return flakyInbox{q, &broken} }
	h.move()
	h.slash("ann", "den", "/runbook list")
	h.expect("den", "did runbook list")
	if n := len(h.requests()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// What is started where the bot is not goes on in the ops channel, and whoever
// asked is told.
func TestAwayFromHome(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.handle(func(_ context.Context, req commands.Request) (commands.Reply, error) {
		return commands.Reply{Notices: []outbox.Notice{{Key: "card", To: req.Where, Content: outbox.Line{Text: "a card"}}}}, nil
	})
	h.slash("carl", "general", "/runbook cache-fix")
	h.expect("ops", "a card")
	carl, _ := h.sim.User("carl")
	if m := h.expect("general", "It goes on in #ops"); m.For != carl.ID {
		t.Errorf("told %q", m.For)
	}
}

func TestClick(t *testing.T) {
	t.Parallel()
	h := settle(t)
	h.say(outbox.Notice{Key: "a", To: outbox.Conversation{Channel: h.id("den")}, Content: outbox.Ask{
		Approval: "A1", Kind: "review", Number: 1, Title: "T", Environment: "demo", StepTitle: "S", Question: "Clear?", Effect: "destructive",
		Choices: []outbox.Choice{{ID: "approve", Label: "Approve", Style: "primary"}, {ID: "deny", Label: "Deny"}}, State: "open",
	}})
	m := h.expect("den", "Clear?")
	if err := h.sim.As("ben").Click(m.Channel, m.TS, "Approve"); err != nil {
		t.Fatal(err)
	}
	h.expect("den", "did decide")
	req := h.requests()[0]
	if req.Subject != "A1" || req.Values[commands.ValueChoice] != "approve" || req.Actor.ID != h.sim.As("ben").ID() || req.Actor.Team != h.sim.TeamID() {
		t.Errorf("clicked %+v", req)
	}
}
