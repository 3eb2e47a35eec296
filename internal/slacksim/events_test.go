package slacksim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"opsbot/internal/slacksim"
)

// event acks and returns the next event envelope.
func (w *wire) event() map[string]any {
	w.t.Helper()
	e := w.next()
	if e["type"] != "events_api" {
		w.t.Fatalf("envelope = %v, want an event", e)
	}
	w.ack(e, "")
	return e
}

// said posts as the person.
func say(t *testing.T, s *slacksim.Server, user, channel, text string) slacksim.Message {
	t.Helper()
	m, err := s.As(user).Say(channel, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rule 41: D:apis/events-api. An event not acked in 3 s comes again at once,
// after a minute and after five, then never.
func TestEventRetries(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	say(t, s, "ann", "#ops", "hello")
	first := w.next()
	if first["retry_attempt"] != float64(0) || first["retry_reason"] != "" {
		t.Errorf("first = %v", first)
	}
	seen := map[any]bool{first["envelope_id"]: true}
	for i, wait := range []time.Duration{0, time.Minute, 5 * time.Minute} {
		s.Advance(3 * time.Second)
		s.Advance(wait)
		again := w.next()
		if again["retry_attempt"] != float64(i+1) || again["retry_reason"] != "timeout" || dig(again, "payload.event_id") != dig(first, "payload.event_id") || seen[again["envelope_id"]] {
			t.Errorf("attempt %d = %v", i+1, again)
		}
		seen[again["envelope_id"]] = true
	}
	s.Advance(time.Hour)
	say(t, s, "ann", "#ops", "later")
	if e := w.event(); dig(e, "payload.event.text") != "later" {
		t.Errorf("a fifth attempt: %v", e)
	}
}

// rule 42: I:vercel/chat#666. An event while no socket is open is delivered by
// a retry.
func TestEventWithoutSocket(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	say(t, s, "ann", "#ops", "anybody there?")
	s.Advance(3 * time.Second) // the first attempt has failed
	s.Advance(3 * time.Second) // and so has the second
	w := connectRaw(t, s)
	s.Advance(time.Minute)
	e := w.event()
	if dig(e, "payload.event.text") != "anybody there?" || e["retry_attempt"] != float64(2) {
		t.Errorf("event = %v", e)
	}
}

// rule 43: D. The same event can come twice (as a fault, here).
// rule 52: D. Order is not kept.
func TestDuplicateAndReorder(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	s.DuplicateEvents(1)
	say(t, s, "ann", "#ops", "twice")
	a, b := w.event(), w.event()
	if dig(a, "payload.event_id") != dig(b, "payload.event_id") || a["envelope_id"] == b["envelope_id"] {
		t.Errorf("events = %v, %v", a, b)
	}
	s.ReorderEvents()
	say(t, s, "ann", "#ops", "first")
	say(t, s, "ann", "#ops", "second")
	if a, b := w.event(), w.event(); dig(a, "payload.event.text") != "second" || dig(b, "payload.event.text") != "first" {
		t.Errorf("events = %v, %v", a, b)
	}
}

// rule 44: D. A mention is an app_mention and a message: same ts, other event.
// rule 45: D. In a direct message it is a message alone.
// rule 46: D. Where the bot is not a member nothing is sent.
func TestMentions(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	m := say(t, s, "ann", "#ops", "@opsbot help")
	a, b := w.event(), w.event()
	if dig(a, "payload.event.type") != "message" || dig(b, "payload.event.type") != "app_mention" || dig(a, "payload.event.ts") != m.TS || dig(b, "payload.event.ts") != m.TS ||
		dig(a, "payload.event_id") == dig(b, "payload.event_id") || dig(b, "payload.event.text") != "<@"+s.BotUserID()+"> help" || dig(a, "payload.event.channel_type") != "channel" {
		t.Errorf("events = %v, %v", a, b)
	}
	say(t, s, "ann", "#quiet", "@opsbot are you here?")
	say(t, s, "ann", "@opsbot", "@opsbot in private")
	say(t, s, "ann", "#secret", "group")
	c, d := w.event(), w.event()
	if dig(c, "payload.event.channel_type") != "im" || dig(c, "payload.event.type") != "message" || dig(d, "payload.event.channel_type") != "group" {
		t.Errorf("events = %v, %v", c, d)
	}
	for path, want := range map[string]any{"payload.type": "event_callback", "payload.team_id": s.TeamID(), "payload.api_app_id": s.AppID(), "payload.is_ext_shared_channel": false} {
		if got := dig(c, path); got != want {
			t.Errorf("%s = %v", path, got)
		}
	}
}

// rule 47: D. Without the subscription or without the scope nothing is sent.
func TestSubscriptionAndScope(t *testing.T) {
	t.Parallel()
	const manifest = `{"display_information":{"name":"x"},"settings":{"socket_mode_enabled":true,"event_subscriptions":{"bot_events":["app_mention","reaction_added"]}},
	 "oauth_config":{"scopes":{"bot":["app_mentions:read","channels:history","reactions:read"]}}}`
	s := workspace(t, slacksim.Options{Manifest: []byte(manifest)})
	w := connectRaw(t, s)
	m := say(t, s, "ann", "#ops", "hello") // message.channels is not subscribed to
	s.RemoveScope("reactions:read")
	if err := s.As("ann").React("#ops", m.TS, "eyes"); err != nil {
		t.Fatal(err)
	}
	say(t, s, "ann", "#ops", "hi <@"+s.BotUserID()+">")
	if e := w.event(); dig(e, "payload.event.type") != "app_mention" {
		t.Errorf("event = %v", e)
	}
}

// rule 48: D. The bot's own post comes back with its bot_id.
// rule 49: J. An edit is message_changed, hidden, with both messages.
func TestOwnPostsAndEdits(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ts := post(t, s, channelID(t, s, "ops"), goButton)
	if e := w.event(); dig(e, "payload.event.bot_id") != s.BotID() || dig(e, "payload.event.ts") != ts {
		t.Errorf("event = %v", e)
	}
	m := say(t, s, "ann", "#ops", "runbok")
	w.event()
	if err := s.As("ann").Edit("#ops", m.TS, "runbook"); err != nil {
		t.Fatal(err)
	}
	e := w.event()
	for path, want := range map[string]any{
		"payload.event.subtype": "message_changed", "payload.event.hidden": true, "payload.event.message.text": "runbook", "payload.event.message.ts": m.TS,
		"payload.event.previous_message.text": "runbok",
	} {
		if got := dig(e, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if dig(e, "payload.event.ts") == m.TS {
		t.Error("the change has the message's own ts")
	}
	if err := s.As("ann").Delete("#ops", m.TS); err != nil {
		t.Fatal(err)
	}
	if e := w.event(); dig(e, "payload.event.subtype") != "message_deleted" || dig(e, "payload.event.deleted_ts") != m.TS {
		t.Errorf("event = %v", e)
	}
}

// A deleted message with replies is an edit into a
// tombstone; its thread lives on for people, until the last reply is gone.
func TestTombstone(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	w := connectRaw(t, s)
	ts := post(t, s, ops, goButton)
	w.event()
	if err := s.As("ann").Pin("#ops", ts); err != nil {
		t.Fatal(err)
	}
	for dig(w.event(), "payload.event.type") != "pin_added" {
	}
	reply, err := s.As("ann").Reply("#ops", ts, "on it")
	if err != nil {
		t.Fatal(err)
	}
	w.event()
	if err := s.As("ann").Delete("#ops", ts); err == nil {
		t.Error("Ann deleted the app's message")
	}
	if err := s.DeleteMessage("#ops", ts); err != nil {
		t.Fatal(err)
	}
	e := w.event()
	for path, want := range map[string]any{
		"payload.event.subtype": "message_changed", "payload.event.message.subtype": "tombstone", "payload.event.message.ts": ts,
		"payload.event.message.user": "USLACKBOT", "payload.event.previous_message.bot_id": s.BotID(),
	} {
		if got := dig(e, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	checkRefusals(t, s, []refusalRow{
		{"rule 70: A", "chat.update", []string{"channel", ops, "ts", ts, "text", "x"}, "message_not_found"},
		{"rule 70: A", "chat.delete", []string{"channel", ops, "ts", ts}, "message_not_found"},
		{"rule 85: A", "pins.remove", []string{"channel", ops, "timestamp", ts}, "message_not_found"},
		{"policy", "chat.postMessage", []string{"channel", ops, "thread_ts", ts, "text", "x"}, "cannot_reply_to_message"},
	})
	api := client(s)
	if pins, _, err := api.ListPinsContext(soon(t), ops); err != nil || len(pins) != 0 {
		t.Errorf("pins = %v, %v", pins, err)
	}
	msgs, _, _, err := api.GetConversationRepliesContext(soon(t), &slack.GetConversationRepliesParameters{ChannelID: ops, Timestamp: ts})
	if err != nil || len(msgs) != 2 || msgs[0].SubType != "tombstone" || msgs[1].Text != "on it" {
		t.Errorf("replies = %+v, %v", msgs, err)
	}
	if _, err := s.As("ben").Reply("#ops", ts, "where did it go?"); err != nil {
		t.Errorf("Ben cannot reply any more: %v", err)
	}
	for _, m := range s.Thread("#ops", ts, "ann")[1:] {
		if err := s.DeleteMessage("#ops", m.TS); err != nil {
			t.Fatal(err)
		}
	}
	if left := s.Thread("#ops", ts, "ann"); len(left) != 0 {
		t.Errorf("left over: %+v", left)
	}
	if m, _ := s.Message("#ops", reply.TS); !m.Deleted {
		t.Error("the reply is still there")
	}
}

// The other events that opsbot's manifest subscribes to, as slack-go decodes
// them. Source: slack.md §1.5.
func TestOtherEvents(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	got := make(chan any, 20)
	connect(t, s, func(a *app, e socketmode.Event) {
		a.ack(e)
		if outer, ok := e.Data.(slackevents.EventsAPIEvent); ok {
			got <- outer.InnerEvent.Data
		}
	})
	ann := s.As("ann")
	m := say(t, s, "ann", "#quiet", "hello")
	steps := []struct {
		name string
		act  func() error
		same func(any) bool
	}{
		{"joined", func() error { return ann.Invite("#quiet", "opsbot") }, func(e any) bool {
			j, ok := e.(*slackevents.MemberJoinedChannelEvent)
			return ok && j.User == s.BotUserID() && j.Inviter == ann.ID() && j.ChannelType == "C"
		}},
		{"reaction", func() error { return ann.React("#quiet", m.TS, ":eyes:") }, func(e any) bool {
			r, ok := e.(*slackevents.ReactionAddedEvent)
			return ok && r.Reaction == "eyes" && r.Item.Timestamp == m.TS && r.ItemUser == ann.ID()
		}},
		{"unreaction", func() error { return ann.Unreact("#quiet", m.TS, "eyes") }, func(e any) bool {
			r, ok := e.(*slackevents.ReactionRemovedEvent)
			return ok && r.Reaction == "eyes"
		}},
		{"pin", func() error { return ann.Pin("#quiet", m.TS) }, func(e any) bool {
			p, ok := e.(*slackevents.PinAddedEvent)
			return ok && p.User == ann.ID() && p.Item.Message.Timestamp == m.TS
		}},
		{"unpin", func() error { return ann.Unpin("#quiet", m.TS) }, func(e any) bool { _, ok := e.(*slackevents.PinRemovedEvent); return ok }},
		{"home", func() error { _, err := ann.OpenHome(); return err }, func(e any) bool {
			h, ok := e.(*slackevents.AppHomeOpenedEvent)
			return ok && h.User == ann.ID() && h.Tab == "home" && strings.HasPrefix(h.Channel, "D") && h.View == nil
		}},
		{"file", func() error {
			_, err := ann.Upload("#quiet", m.TS, "post-mortem.md", "edited", []byte("# INC-1"))
			return err
		}, func(e any) bool {
			f, ok := e.(*slackevents.MessageEvent)
			return ok && f.SubType == "file_share" && len(f.Message.Files) == 1 && f.Message.Files[0].Name == "post-mortem.md"
		}},
		{"archive", func() error { return ann.Archive("#quiet") }, func(e any) bool {
			a, ok := e.(*slackevents.ChannelArchiveEvent)
			return ok && a.User == ann.ID()
		}},
		{"private archive", func() error { s.ArchiveChannel("secret"); return nil }, func(e any) bool {
			_, ok := e.(*slackevents.GroupArchiveEvent)
			return ok
		}},
		{"deactivated", func() error { s.DeactivateUser("ben"); return nil }, func(e any) bool {
			u, ok := e.(*slackevents.UserChangeEvent)
			return ok && u.User.Deleted && u.User.Name == "ben"
		}},
		{"reactivated", func() error { s.ReactivateUser("ben"); return nil }, func(e any) bool {
			u, ok := e.(*slackevents.UserChangeEvent)
			return ok && !u.User.Deleted
		}},
	}
	for _, step := range steps {
		if err := step.act(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for deadline := soon(t); ; {
			select {
			case e := <-got:
				if text, ok := e.(*slackevents.MessageEvent); ok && text.SubType != "file_share" {
					continue // "has joined the channel"
				}
				if !step.same(e) {
					t.Errorf("%s: got %#v", step.name, e)
				}
			case <-deadline.Done():
				t.Fatalf("%s: no event", step.name)
			}
			break
		}
	}
}

// rules 50 and 51: X. Envelopes and events of types that do not exist can be
// sent, and their acks are told from unknown ones.
func TestSendRaw(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	if s.SendRaw(`{}`) {
		t.Error("sent without a socket")
	}
	w := connectRaw(t, s)
	s.SendRaw(`{"type":"brand_new","envelope_id":"e1","payload":{}}`)
	e := w.next()
	if want := map[string]any{"type": "brand_new", "envelope_id": "e1", "payload": map[string]any{}}; !cmp.Equal(e, want) {
		t.Error(cmp.Diff(want, e))
	}
	w.ack(e, "")
	waitFor(t, s, "the ack", func() bool { return len(s.Acks()) == 1 })
	if a := s.Acks()[0]; a.Problem != "" || a.EnvelopeID != "e1" {
		t.Errorf("ack = %+v", a)
	}
}

// The faults that need a socket: an ack lost, an ack late, a socket that breaks
// in the middle of an envelope.
func TestSocketFaults(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	s.DropNextAcks(1)
	done := async(func() error { _, err := s.As("ann").Slash("#ops", "/runbook"); return err })
	e := w.asked()
	w.ack(e, "")
	waitFor(t, s, "the lost ack", func() bool { return len(s.Acks()) == 1 })
	w.ack(e, "") // a client that says it twice is lucky
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.DelayAcks(time.Millisecond)
	done = async(func() error { _, err := s.As("ann").Slash("#ops", "/runbook"); return err })
	w.ack(w.asked(), "")
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.CutNextEnvelope()
	done = async(func() error { _, err := s.As("ann").Slash("#ops", "/runbook"); return err })
	if code := w.ended(); code != -1 {
		t.Errorf("close code = %d, want none", code)
	}
	s.ExpectConnected(t, 0)
	s.Advance(3 * time.Second)
	if err := <-done; said(err) == "" {
		t.Error("a command was answered over a broken socket")
	}
}
