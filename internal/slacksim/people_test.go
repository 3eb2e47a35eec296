package slacksim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"opsbot/internal/slacksim"
)

// What people do without the app, and what a real client does not let them do.
func TestPeople(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ann, cleo := s.As("ann"), s.As("cleo")
	parent := say(t, s, "ann", "#ops", "a < b & <!here> @nobody")
	if parent.Text != "a &lt; b &amp; <!here> @nobody" || parent.User != ann.ID() || parent.FromApp() || parent.Ephemeral() {
		t.Errorf("message = %+v", parent)
	}
	first, err := s.As("ben").Reply("#ops", parent.TS, "in #quiet?")
	if err != nil || first.ThreadTS != parent.TS || first.Text != "in <#"+channelID(t, s, "quiet")+">?" {
		t.Errorf("Reply() = %+v, %v", first, err)
	}
	if second, err := ann.Reply("#ops", first.TS, "to the reply"); err != nil || second.ThreadTS != parent.TS {
		t.Errorf("Reply() = %+v, %v", second, err)
	}
	if err := s.As("ben").Delete("#ops", first.TS); err != nil {
		t.Error(err)
	}
	if thread := s.Thread("#ops", parent.TS, "ann"); len(thread) != 2 || thread[0].ReplyCount != 1 {
		t.Errorf("thread = %+v", thread)
	}
	for name, act := range map[string]func() error{
		"an empty message":           func() error { _, err := ann.Say("#ops", "  "); return err },
		"where she is not":           func() error { _, err := cleo.Say("#ops", "x"); return err },
		"where nobody is":            func() error { _, err := ann.Say("#nowhere", "x"); return err },
		"a reply to nothing":         func() error { _, err := ann.Reply("#ops", "1.000001", "x"); return err },
		"another's message":          func() error { return cleo.Edit("#ops", parent.TS, "x") },
		"a reaction that is not":     func() error { return ann.React("#ops", parent.TS, "nonsense") },
		"a message nobody sees":      func() error { return ann.Pin("#ops", "1.000001") },
		"leaving #general":           func() error { return ann.Leave("#general") },
		"inviting nobody":            func() error { return ann.Invite("#ops", "nobody") },
		"removing who is not there":  func() error { return ann.Remove("#ops", "cleo") },
		"a person nobody knows":      func() error { _, err := s.As("zoe").Say("#ops", "x"); return err },
		"a button that is not there": func() error { return ann.Click("#ops", parent.TS, "go") },
		"a view that is not there":   func() error { return ann.Submit("V1", nil) },
		"a shortcut that is not":     func() error { return ann.Shortcut("nonsense") },
		"a private channel":          func() error { return cleo.Join("#secret") },
	} {
		if act() == nil {
			t.Errorf("%s: went well", name)
		}
	}
	if err := cleo.Join("#ops"); err != nil {
		t.Error(err)
	}
	if err := ann.Remove("#ops", "cleo"); err != nil {
		t.Error(err)
	}
	if err := s.As("ben").Leave("#ops"); err != nil {
		t.Error(err)
	}
	if c, _ := s.Channel("#ops"); !slices.Equal(c.Members, []string{ann.ID(), s.BotUserID()}) {
		t.Errorf("members = %v", c.Members)
	}
	s.DeactivateUser("ben")
	if _, err := s.As("ben").Say("#general", "x"); err == nil {
		t.Error("a deactivated person spoke")
	}
	if n := len(s.ChannelsOf("cleo")); n != 3 { // general, ops, quiet
		t.Errorf("cleo sees %d channels", n)
	}
	if len(s.Channels()) != 5 || len(s.Users()) != 4 {
		t.Errorf("%d channels, %d users", len(s.Channels()), len(s.Users()))
	}
	users, err := client(s).GetUsersContext(soon(t), slack.GetUsersOptionLimit(2))
	if err != nil || len(users) != 4 || !users[0].IsBot {
		t.Errorf("GetUsers() = %d, %v", len(users), err)
	}
}

// Each kind of element sends its choice under its own key (slack.md §1.5).
func TestElementsSendTheirChoice(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	const two = `"options":[{"text":{"type":"plain_text","text":"One"},"value":"1"},{"text":{"type":"plain_text","text":"Two"},"value":"2"}]`
	ts := post(t, s, channelID(t, s, "ops"), `[{"type":"actions","block_id":"b","elements":[
	 {"type":"overflow","action_id":"over",`+two+`},{"type":"radio_buttons","action_id":"radio",`+two+`},{"type":"checkboxes","action_id":"boxes",`+two+`},
	 {"type":"users_select","action_id":"who"},{"type":"channels_select","action_id":"where"},{"type":"conversations_select","action_id":"talk"},
	 {"type":"datepicker","action_id":"day"},{"type":"timepicker","action_id":"hour"},{"type":"datetimepicker","action_id":"when"}]},
	 {"type":"section","block_id":"s","text":{"type":"mrkdwn","text":"x"},"accessory":{"type":"multi_static_select","action_id":"multi",`+two+`}}]`)
	for target, row := range map[string]struct {
		choice []string
		path   string
		want   any
	}{
		"over": {[]string{"Two"}, "selected_option.value", "2"}, "radio": {[]string{"1"}, "selected_option.text.text", "One"},
		"who": {[]string{"ben"}, "selected_user", userID(t, s, "ben")}, "where": {[]string{"#quiet"}, "selected_channel", channelID(t, s, "quiet")},
		"talk": {[]string{"ops"}, "selected_conversation", channelID(t, s, "ops")}, "day": {[]string{"2026-11-24"}, "selected_date", "2026-11-24"},
		"hour": {[]string{"08:15"}, "selected_time", "08:15"}, "when": {[]string{"1795419525"}, "selected_date_time", float64(1795419525)},
		"boxes": {[]string{"One", "Two"}, "selected_options", 2}, "multi": {[]string{"Two"}, "selected_options", 1},
	} {
		done := async(func() error { return ann.Click("#ops", ts, target, row.choice...) })
		e := w.asked()
		w.ack(e, "")
		if err := <-done; err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		list, _ := dig(e, "payload.actions").([]any)
		action, _ := list[0].(map[string]any)
		got := dig(action, row.path)
		if many, ok := got.([]any); ok {
			got = len(many)
		}
		if got != row.want || action["action_id"] != target || action["block_id"] == "" || action["action_ts"] == nil {
			t.Errorf("%s: %v", target, action)
		}
	}
	// What ben sees in the same menus is his own affair.
	done := async(func() error { return s.As("ben").Click("#ops", ts, "day", "2026-12-01") })
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v := dig(e, "payload.state.values.b.who.selected_user"); v != nil {
		t.Errorf("ben's state has ann's choice %v", v)
	}
	if dig(e, "payload.state.values.b.day.selected_date") != "2026-12-01" {
		t.Errorf("state = %v", dig(e, "payload.state"))
	}
}

// A conversation menu that asks for it brings a response_url to a submission.
func TestResponseURLOfForm(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	id := openModal(t, s, w, `{"type":"modal","title":{"type":"plain_text","text":"T"},"submit":{"type":"plain_text","text":"Go"},"blocks":[{"type":"input","block_id":"c",
	 "label":{"type":"plain_text","text":"Where"},"element":{"type":"conversations_select","action_id":"a","response_url_enabled":true}}]}`)
	done := async(func() error { return s.As("ann").Submit(id, map[string]map[string]any{"c": {"a": "#quiet"}}) })
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	urls, _ := dig(e, "payload.response_urls").([]any)
	if len(urls) != 1 {
		t.Fatalf("response_urls = %v", urls)
	}
	first, _ := urls[0].(map[string]any)
	u, _ := first["response_url"].(string)
	if a := respond(t, u, `{"text":"there","response_type":"in_channel"}`); a.body["ok"] != true {
		t.Error(a.text)
	}
	s.ExpectMessage(t, "#quiet", "there")
}

// With interactivity off in the manifest a button does nothing but complain.
func TestInteractivityOff(t *testing.T) {
	t.Parallel()
	s := workspace(t, slacksim.Options{Manifest: []byte(`{"display_information":{"name":"x"},"oauth_config":{"scopes":{"bot":["chat:write"]}}}`)})
	ts := post(t, s, channelID(t, s, "ops"), goButton)
	if err := s.As("ann").Click("#ops", ts, "go"); !strings.Contains(said(err), "not configured") {
		t.Errorf("Click() = %v", err)
	}
	a := send(t, "POST", s.APIURL()+"apps.connections.open", formType, s.AppToken(), "")
	if a.err() != "forbidden_team" { // policy: Socket Mode is off too
		t.Errorf("apps.connections.open: %s", a.text)
	}
}
