package slacksim_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"opsbot/internal/slacksim"
)

// said is the text of a Failure.
func said(err error) string {
	var f slacksim.Failure
	if errors.As(err, &f) {
		return f.Text
	}
	if err != nil {
		return "not a failure: " + err.Error()
	}
	return ""
}

// post makes the app post blocks and returns the message's ts, read already.
func post(t *testing.T, s *slacksim.Server, channel, blocks string, more ...string) string {
	t.Helper()
	a := form(t, s, "chat.postMessage", append([]string{"channel", channel, "text", "fallback", "blocks", blocks}, more...)...)
	if a.body["ok"] != true {
		t.Fatalf("post: %s", a.text)
	}
	s.ExpectMessage(t, "", "fallback")
	return a.str("ts")
}

const goButton = `[{"type":"actions","block_id":"b1","elements":[{"type":"button","action_id":"go","value":"v","text":{"type":"plain_text","text":"Go"}}]}]`

// modal is a view with one required input.
const modal = `{"type":"modal","callback_id":"cb","title":{"type":"plain_text","text":"T"},"submit":{"type":"plain_text","text":"Save"},"blocks":[
 {"type":"input","block_id":"title","label":{"type":"plain_text","text":"Name"},"element":{"type":"plain_text_input","action_id":"in"}},
 {"type":"input","block_id":"note","optional":true,"label":{"type":"plain_text","text":"Note"},"element":{"type":"plain_text_input","action_id":"in"}},
 {"type":"section","block_id":"plain","text":{"type":"mrkdwn","text":"words"}}]}`

// trigger clicks the button of a fresh message and returns its trigger_id.
func trigger(t *testing.T, s *slacksim.Server, w *wire, user string) string {
	t.Helper()
	ts := post(t, s, channelID(t, s, "ops"), goButton)
	done := async(func() error { return s.As(user).Click("#ops", ts, "go") })
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	id, _ := dig(e, "payload.trigger_id").(string)
	return id
}

// openModal opens a view for ann and returns its ID.
func openModal(t *testing.T, s *slacksim.Server, w *wire, view string) string {
	t.Helper()
	a := form(t, s, "views.open", "trigger_id", trigger(t, s, w, "ann"), "view", view)
	if a.body["ok"] != true {
		t.Fatalf("views.open: %s", a.text)
	}
	return a.str("view.id")
}

var goodValues = map[string]map[string]any{"title": {"in": "DB down"}}

// rule 20: D. An ack with only the envelope_id is enough for every type.
// rule 21: X. A payload of {} is the same as none (Bolt always sends it).
func TestBareAcks(t *testing.T) {
	t.Parallel()
	s := workspace(t, slacksim.Options{NoRateLimit: true})
	w := connectRaw(t, s)
	ops := channelID(t, s, "ops")
	ann := s.As("ann")
	for _, payload := range []string{"", "{}", " { } ", "null"} {
		ts := post(t, s, ops, goButton)
		view := openModal(t, s, w, modal)
		for name, act := range map[string]func() error{
			"slash_commands":  func() error { _, err := ann.Slash("#ops", "/runbook"); return err },
			"block_actions":   func() error { return ann.Click("#ops", ts, "go") },
			"shortcut":        func() error { return ann.Shortcut("incident_declare") },
			"message_action":  func() error { return ann.MessageShortcut("incident_add_message", "#ops", ts) },
			"view_submission": func() error { return ann.Submit(view, goodValues) },
		} {
			done := async(act)
			w.ack(w.asked(), payload)
			if err := <-done; err != nil {
				t.Errorf("%s acked with %q: %v", name, payload, err)
			}
		}
		if len(ann.Views()) != 0 {
			t.Error("the view is still open")
		}
	}
	if _, err := ann.Say("#ops", "hi"); err != nil {
		t.Fatal(err)
	}
	w.ack(w.next(), "")
	seen := map[string]bool{}
	waitFor(t, s, "the event's ack", func() bool { a := s.Acks(); return a[len(a)-1].What == "message" })
	for _, a := range s.Acks() {
		seen[a.What] = true
		if a.Problem != "" || a.Payload != nil {
			t.Errorf("ack = %+v", a)
		}
	}
	if len(seen) != 6 {
		t.Errorf("acked %v", seen)
	}
}

// rule 22: ? An ack for an unknown envelope, and a second one, are ignored and
// recorded.
// rule 23: ? So is a frame that is not JSON, has no envelope_id, or is binary.
func TestOddFrames(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	done := async(func() error { _, err := s.As("ann").Slash("#ops", "/runbook"); return err })
	e := w.asked()
	w.ack(e, "")
	w.ack(e, `{"text":"again"}`)
	w.write(`{"envelope_id":"nobody","payload":{"text":"x"}}`)
	w.write(`not JSON`)
	w.write(`[1]`)
	w.write(`{"payload":{}}`)
	if err := w.conn.Write(soon(t), websocket.MessageBinary, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	waitFor(t, s, "seven frames", func() bool { return len(s.Acks()) == 7 })
	var got []string
	for _, a := range s.Acks() {
		got = append(got, a.Problem)
	}
	if want := "|late|unknown envelope|not a JSON object|not a JSON object|no envelope_id|binary frame"; strings.Join(got, "|") != want {
		t.Errorf("problems = %q, want %q", strings.Join(got, "|"), want)
	}
	if !s.Acks()[1].Late || len(s.History("#ops", "ann")) != 0 {
		t.Error("the second ack counted")
	}
}

// rule 24: G,I:slack-go#1196. A client frame over 20,480 bytes ends the socket
// with 1009.
func TestFrameLimit(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	fits := `{"envelope_id":"x","payload":{"text":"` + strings.Repeat("a", 20480) + `"}}`
	fits = strings.Replace(fits, strings.Repeat("a", len(fits)-20480), "", 1)
	w.write(fits)
	waitFor(t, s, "the frame", func() bool { return len(s.Acks()) == 1 })
	w.write(fits + " ")
	if code := w.ended(); code != websocket.StatusMessageTooBig {
		t.Errorf("close code = %d, want 1009", code)
	}
}

// rule 25: I. A slash command not acked in 3 s fails for the person; a later
// ack is ignored.
// rule 26: I. With no socket it fails at once.
func TestSlashFailures(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ann := s.As("ann")
	if _, err := ann.Slash("#ops", "/runbook x"); said(err) != `/runbook failed with the error "dispatch_failed"` {
		t.Errorf("no socket: %v", err)
	}
	w := connectRaw(t, s)
	done := async(func() error { _, err := ann.Slash("#ops", "/runbook x"); return err })
	e := w.asked()
	s.Advance(3 * time.Second)
	if err := <-done; said(err) != `/runbook failed with the error "operation_timeout"` {
		t.Errorf("late: %v", err)
	}
	w.ack(e, `{"text":"too late"}`)
	waitFor(t, s, "the late ack", func() bool { return len(s.Acks()) == 1 })
	if a := s.Acks()[0]; !a.Late || a.What != "slash_commands" || len(s.History("#ops", "ann")) != 0 {
		t.Errorf("ack = %+v, history %v", a, s.History("#ops", "ann"))
	}
	if n := ann.Notices(); len(n) != 2 {
		t.Errorf("notices = %+v", n)
	}
	if _, err := ann.Slash("#ops", "/nonsense"); said(err) != "/nonsense is not a valid command." {
		t.Errorf("unknown command: %v", err)
	}
}

// rule 27: D. A slash command's ack payload becomes a message, for the typist
// alone unless it says in_channel.
// rule 28: D. in_channel shows what was typed to everybody.
// rule 29: ? An ack with invalid blocks is a failure that only the person sees.
func TestSlashReplies(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	slash := func(payload string) (slacksim.Message, error) {
		t.Helper()
		var m slacksim.Message
		done := async(func() (err error) { m, err = ann.Slash("#ops", "/runbook list"); return err })
		w.ack(w.asked(), payload)
		return m, <-done
	}
	m, err := slash(`{"text":"only you"}`)
	if err != nil || m.For != ann.ID() || len(s.History("#ops", "ben")) != 0 || len(s.History("#ops", "ann")) != 1 {
		t.Errorf("ephemeral: %+v, %v", m, err)
	}
	m, err = slash(`{"response_type":"in_channel","text":"all","blocks":` + goButton + `}`)
	if err != nil || m.For != "" {
		t.Errorf("in_channel: %+v, %v", m, err)
	}
	if h := s.History("#ops", "ben"); len(h) != 2 || h[0].Text != "/runbook list" || h[0].User != ann.ID() || h[1].Text != "all" {
		t.Errorf("history = %+v", h)
	}
	for _, bad := range []string{`{"text":"x","blocks":[{"type":"nonsense"}]}`, `{"ok":true}`, `"words"`} {
		if _, err := slash(bad); said(err) == "" {
			t.Errorf("ack with %s went well", bad)
		}
	}
	if len(s.Calls()) != 1 { // apps.connections.open: the app got no error anywhere
		t.Errorf("calls = %+v", s.Calls())
	}
}

// rule 30: D. Slash commands cannot be used in threads.
func TestSlashInThread(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	connectRaw(t, s)
	m, err := s.As("ann").Say("#quiet", "hello")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.As("ann").SlashInThread("#quiet", m.TS, "/runbook x"); said(err) != "/runbook is not supported in threads. Sorry!" {
		t.Errorf("got %v", err)
	}
}

// rule 31: D. With should_escape, names arrive as IDs; without, as typed.
func TestSlashPayload(t *testing.T) {
	t.Parallel()
	manifest := `{"display_information":{"name":"x"},"oauth_config":{"scopes":{"bot":["commands"]}},"settings":{"socket_mode_enabled":true},
	 "features":{"slash_commands":[{"command":"/esc","should_escape":true},{"command":"/raw"}]}}`
	s := workspace(t, slacksim.Options{Manifest: []byte(manifest)})
	w := connectRaw(t, s)
	ben, ops := userID(t, s, "ben"), channelID(t, s, "ops")
	for line, want := range map[string]string{
		"/esc  page @ben in #ops, not a@b": "page <@" + ben + "|ben> in <#" + ops + "|ops>, not a@b",
		"/raw page @ben in #ops":           "page @ben in #ops",
		"/esc":                             "",
	} {
		done := async(func() error { _, err := s.As("ann").Slash("#ops", line); return err })
		e := w.asked()
		w.ack(e, "")
		if err := <-done; err != nil {
			t.Error(err)
		}
		if dig(e, "payload.text") != want {
			t.Errorf("%s: text = %q, want %q", line, dig(e, "payload.text"), want)
		}
		if e["type"] != "slash_commands" || e["accepts_response_payload"] != true {
			t.Errorf("envelope = %v", e)
		}
		p, _ := e["payload"].(map[string]any)
		for k, v := range p { // D,P: all values are strings
			if _, ok := v.(string); !ok {
				t.Errorf("%s is not a string: %v", k, v)
			}
		}
		for _, k := range []string{"token", "team_id", "team_domain", "channel_id", "channel_name", "user_id", "user_name", "command", "api_app_id", "is_enterprise_install", "response_url", "trigger_id"} {
			if _, ok := p[k]; !ok {
				t.Errorf("the payload has no %s", k)
			}
		}
		if p["thread_ts"] != nil {
			t.Error("a slash command knows of no thread")
		}
	}
}

// rule 32: I. A button not acked in 3 s shows a warning to who clicked.
// rule 34: P. A payload in the ack of a button is ignored.
func TestButtonAcks(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ann := s.As("ann")
	ts := post(t, s, channelID(t, s, "ops"), goButton)
	const late = "Operation timed out. Apps need to respond within three seconds."
	if err := ann.Click("#ops", ts, "go"); said(err) != late {
		t.Errorf("no socket: %v", err)
	}
	w := connectRaw(t, s)
	done := async(func() error { return ann.Click("#ops", ts, "Go") })
	e := w.asked()
	if e["accepts_response_payload"] != false {
		t.Error("block_actions accepts a payload")
	}
	s.Advance(3 * time.Second)
	if err := <-done; said(err) != late {
		t.Errorf("late: %v", err)
	}
	if n := ann.Notices(); len(n) != 2 || n[1].TS != ts || len(s.As("ben").Notices()) != 0 {
		t.Errorf("notices = %+v", n)
	}
	done = async(func() error { return ann.Click("#ops", ts, "Go") })
	w.ack(w.asked(), `{"text":"a reply nobody sees"}`)
	if err := <-done; err != nil || len(s.History("#ops", "ann")) != 1 {
		t.Errorf("Click() = %v, history %v", err, s.History("#ops", "ann"))
	}
}

// rule 33: D. A button with a URL still sends a payload that wants an ack.
// rule 35: D. A denied confirm dialog sends nothing.
func TestURLAndConfirm(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	ts := post(t, s, channelID(t, s, "ops"), `[{"type":"actions","elements":[
	 {"type":"button","action_id":"docs","url":"https://example.com","text":{"type":"plain_text","text":"Docs"}},
	 {"type":"button","action_id":"wipe","style":"danger","text":{"type":"plain_text","text":"Wipe"},"confirm":{"style":"danger","title":{"type":"plain_text","text":"Sure?"},
	  "text":{"type":"plain_text","text":"All goes."},"confirm":{"type":"plain_text","text":"Wipe it"},"deny":{"type":"plain_text","text":"Keep"}}}]}]`)
	press := slacksim.Press{Channel: "#ops", TS: ts, Target: "wipe"}
	want := slacksim.Confirm{Title: "Sure?", Text: "All goes.", Yes: "Wipe it", No: "Keep", Danger: true}
	if c, ok, err := ann.Confirmation(press); c != want || !ok || err != nil {
		t.Errorf("Confirmation() = %+v, %v, %v", c, ok, err)
	}
	press.Deny = true
	if err := ann.Press(press); err != nil {
		t.Error(err)
	}
	done := async(func() error { return ann.Click("#ops", ts, "docs") })
	e := w.asked() // the first envelope: the denied click sent none
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
	actions, _ := dig(e, "payload.actions").([]any)
	if first, _ := actions[0].(map[string]any); first["action_id"] != "docs" {
		t.Errorf("actions = %v", actions)
	}
}

// The block_actions payload (D, J, P) and rule 106: D. State is keyed block_id,
// then action_id.
func TestBlockActionsPayload(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ops := channelID(t, s, "ops")
	ts := post(t, s, ops, `[{"type":"actions","block_id":"b1","elements":[
	 {"type":"static_select","action_id":"pick","options":[{"text":{"type":"plain_text","text":"One"},"value":"1"},{"text":{"type":"plain_text","text":"Two"},"value":"2"}]},
	 {"type":"button","action_id":"go","value":"v","text":{"type":"plain_text","text":"Go"}}]}]`)
	done := async(func() error { return s.As("ann").Click("#ops", ts, "pick", "Two") })
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"payload.type": "block_actions", "payload.container.type": "message", "payload.container.message_ts": ts, "payload.container.channel_id": ops,
		"payload.container.is_ephemeral": false, "payload.channel.id": ops, "payload.channel.name": "ops", "payload.message.ts": ts, "payload.message.bot_id": s.BotID(),
		"payload.user.id": userID(t, s, "ann"), "payload.team.id": s.TeamID(), "payload.enterprise": nil, "payload.is_enterprise_install": false, "payload.api_app_id": s.AppID(),
		"payload.state.values.b1.pick.selected_option.value": "2", "payload.state.values.b1.pick.type": "static_select",
	} {
		if got := dig(e, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if u, _ := dig(e, "payload.response_url").(string); !strings.HasPrefix(u, s.URL()+"/actions/") {
		t.Errorf("response_url = %q", u)
	}
	if err := s.As("ann").Click("#ops", ts, "pick", "Three"); err == nil || said(err) == "" {
		t.Error("a choice that is not offered was sent")
	}
	if err := s.As("cleo").Click("#secret", ts, "go"); err == nil {
		t.Error("cleo clicked in a channel that she does not see")
	}
}

// rule 36: D. An empty ack of a submission closes the view.
// rule 37: D. Errors keyed by an input's block_id stand at the field.
// rule 38: I:bolt-python#241. Errors keyed by anything else, or a payload Slack
// does not know, are trouble for the person; the app hears nothing.
// rule 39: I. So is an invalid view in update or push.
func TestSubmissionAcks(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	id := openModal(t, s, w, modal)
	submit := func(payload string) error {
		t.Helper()
		done := async(func() error { return ann.Submit(ann.Views()[len(ann.Views())-1].ID, goodValues) })
		e := w.asked()
		if dig(e, "payload.type") != "view_submission" || e["accepts_response_payload"] != true {
			t.Errorf("envelope = %v", e)
		}
		w.ack(e, payload)
		return <-done
	}
	const trouble = "We had some trouble connecting. Try again?"
	for _, bad := range []string{
		`{"response_action":"errors","errors":{"nowhere":"x"}}`, `{"response_action":"errors","errors":{"plain":"not an input"}}`, `{"response_action":"errors"}`,
		`{"ok":true}`, `{"response_action":"dance"}`, `{"response_action":"update"}`,
		`{"response_action":"update","view":{"type":"modal","title":{"type":"plain_text","text":"much too long a title for it"},"blocks":[{"type":"divider"}]}}`,
		`{"response_action":"push","view":{"type":"modal"}}`, `{"response_action":"push","view":{"type":"home","blocks":[{"type":"divider"}]}}`,
	} {
		if err := submit(bad); said(err) != trouble || len(ann.Views()) != 1 {
			t.Errorf("ack %s: %v, %d views", bad, err, len(ann.Views()))
		}
	}
	if err := submit(`{"response_action":"errors","errors":{"title":"taken"}}`); said(err) != "title: taken" || ann.Views()[0].Errors["title"] != "taken" {
		t.Errorf("errors: %v, %+v", err, ann.Views())
	}
	plain := `{"type":"modal","callback_id":"second","title":{"type":"plain_text","text":"T2"},"submit":{"type":"plain_text","text":"Save"},"blocks":[{"type":"input","block_id":"title","label":{"type":"plain_text","text":"Name"},"element":{"type":"plain_text_input","action_id":"in"}}]}`
	if err := submit(`{"response_action":"update","view":` + plain + `}`); err != nil || ann.Views()[0].ID != id || ann.Views()[0].CallbackID != "second" {
		t.Errorf("update: %v, %+v", err, ann.Views())
	}
	if err := submit(`{"response_action":"push","view":` + modal + `}`); err != nil || len(ann.Views()) != 2 || ann.Views()[1].PreviousID != id || ann.Views()[1].RootID != id {
		t.Errorf("push: %v, %+v", err, ann.Views())
	}
	if err := submit(``); err != nil || len(ann.Views()) != 1 {
		t.Errorf("empty: %v, %+v", err, ann.Views())
	}
	if err := submit(`{"response_action":"clear"}`); err != nil || len(ann.Views()) != 0 {
		t.Errorf("clear: %v, %+v", err, ann.Views())
	}
	late := openModal(t, s, w, modal)
	done := async(func() error { return ann.Submit(late, goodValues) })
	w.asked()
	s.Advance(3 * time.Second)
	if err := <-done; said(err) != trouble || len(ann.Views()) != 1 {
		t.Errorf("late: %v", err)
	}
}

// rule 40: D. Only a view with notify_on_close tells of being closed, and
// whether the whole stack was.
func TestViewClosed(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	if err := ann.CloseView(openModal(t, s, w, modal), false); err != nil {
		t.Fatal(err)
	}
	noisy := strings.Replace(modal, `"type":"modal"`, `"type":"modal","notify_on_close":true,"private_metadata":"pm"`, 1)
	for _, all := range []bool{false, true} {
		if err := ann.CloseView(openModal(t, s, w, noisy), all); err != nil {
			t.Fatal(err)
		}
		e := w.asked() // the quiet view sent nothing before it
		w.ack(e, "")
		if dig(e, "payload.type") != "view_closed" || dig(e, "payload.is_cleared") != all || dig(e, "payload.view.private_metadata") != "pm" || dig(e, "payload.trigger_id") != nil {
			t.Errorf("payload = %v", e["payload"])
		}
	}
	if len(ann.Views()) != 0 {
		t.Error("a view is still open")
	}
}

// rule 105: D. An untouched optional input is null in the state.
func TestStateOfInputs(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	id := openModal(t, s, w, modal)
	done := async(func() error { return s.As("ann").Submit(id, goodValues) })
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"payload.view.state.values.title.in.value": "DB down", "payload.view.state.values.note.in.type": "plain_text_input",
		"payload.view.id": id, "payload.view.callback_id": "cb", "payload.view.previous_view_id": nil, "payload.view.root_view_id": id, "payload.view.close": nil,
	} {
		if got := dig(e, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	note, _ := dig(e, "payload.view.state.values.note.in").(map[string]any)
	if v, ok := note["value"]; !ok || v != nil {
		t.Errorf("the untouched input is %v", note)
	}
}
