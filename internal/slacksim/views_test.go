package slacksim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/slacksim"
)

// rule 91: A. A trigger is good for three seconds and for one view.
func TestTriggers(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	open := func(id string) string {
		t.Helper()
		return form(t, s, "views.open", "trigger_id", id, "view", modal).err()
	}
	id := trigger(t, s, w, "ann")
	if bad := form(t, s, "views.open", "trigger_id", id, "view", `{"type":"modal"}`); bad.err() != "invalid_arguments" {
		t.Errorf("a bad view: %s", bad.text)
	}
	if code := open(id); code != "" { // the bad view did not spend it
		t.Errorf("first use: %s", code)
	}
	if code := open(id); code != "exchanged_trigger_id" {
		t.Errorf("second use: %s", code)
	}
	if code := open("1.2.made-up"); code != "invalid_trigger_id" {
		t.Errorf("made-up: %s", code)
	}
	late := trigger(t, s, w, "ann")
	s.Advance(3*time.Second + time.Millisecond)
	if code := open(late); code != "expired_trigger_id" {
		t.Errorf("late: %s", code)
	}
	if a := form(t, s, "views.open", "view", modal); a.err() != "invalid_arguments" {
		t.Errorf("no trigger: %s", a.text)
	}
	if _, err := client(s).OpenViewContext(soon(t), trigger(t, s, w, "ann"), slack.ModalViewRequest{Type: "modal", Title: slack.NewTextBlockObject("plain_text", "T", false, false)}); refused(err) != "invalid_arguments" {
		t.Errorf("null blocks (X): %v", err)
	}
}

// rule 92: A. Three views fit on a stack, from a trigger inside the modal.
func TestPush(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ann := s.As("ann")
	withButton := strings.Replace(modal, `"blocks":[`, `"blocks":[{"type":"actions","block_id":"more","elements":[{"type":"button","action_id":"push","text":{"type":"plain_text","text":"More"}}]},`, 1)
	openModal(t, s, w, withButton)
	inside := func() string {
		t.Helper()
		views := ann.Views()
		done := async(func() error { return ann.ClickView(views[len(views)-1].ID, "push") })
		e := w.asked()
		w.ack(e, "")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if dig(e, "payload.channel") != nil || dig(e, "payload.response_url") != nil || dig(e, "payload.container.type") != "view" || dig(e, "payload.view.id") == nil {
			t.Errorf("payload = %v", e["payload"])
		}
		id, _ := dig(e, "payload.trigger_id").(string)
		return id
	}
	if a := form(t, s, "views.push", "trigger_id", inside(), "view", `{"type":"home","blocks":[{"type":"divider"}]}`); !strings.Contains(a.messages(), "must match the `type` of the root view whose stack we're pushing onto [json-pointer:/view/type]") {
		t.Errorf("type mismatch: %s", a.text)
	}
	for i, want := range []string{"", "", "push_limit_reached"} {
		if a := form(t, s, "views.push", "trigger_id", inside(), "view", withButton); a.err() != want {
			t.Errorf("push %d: %s", i+1, a.text)
		}
	}
	if views := ann.Views(); len(views) != 3 || views[2].RootID != views[0].ID || views[2].PreviousID != views[1].ID {
		t.Errorf("views = %+v", views)
	}
	if a := form(t, s, "views.push", "trigger_id", trigger(t, s, w, "ann"), "view", modal); a.err() != "invalid_trigger_id" {
		t.Errorf("push from outside: %s", a.text)
	}
}

// rule 93: A. Updates: a stale hash, both IDs, an unknown view.
func TestViewUpdate(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	external := strings.Replace(modal, `"type":"modal"`, `"type":"modal","external_id":"ext-1"`, 1)
	id := openModal(t, s, w, external)
	hash := s.As("ann").Views()[0].Hash
	checkRefusals(t, s, []refusalRow{
		{"rule 93: A", "views.update", []string{"view_id", id, "external_id", "ext-1", "view", external}, "invalid_arguments"},
		{"rule 93: A", "views.update", []string{"view", external}, "invalid_arguments"},
		{"rule 93: A", "views.update", []string{"view_id", "V404", "view", modal}, "not_found"},
		{"rule 93: A", "views.update", []string{"external_id", "ext-404", "view", modal}, "not_found"},
		{"rule 93: A", "views.update", []string{"view_id", id, "hash", "1.stale", "view", external}, "hash_conflict"},
		{"rule 93: A", "views.update", []string{"view_id", id, "hash", hash, "view", external}, ""},
		{"rule 93: A", "views.update", []string{"view_id", id, "hash", hash, "view", external}, "hash_conflict"},
		{"rule 93: A", "views.update", []string{"external_id", "ext-1", "view", external}, ""},
		{"reference", "views.open", []string{"trigger_id", trigger(t, s, w, "ben"), "view", external}, "duplicate_external_id"},
		{"reference", "views.open", []string{"trigger_id", "x", "view", `{"type":"modal","private_metadata":"` + strings.Repeat("x", 256<<10) + `"}`}, "view_too_large"},
	})
	if a := form(t, s, "views.update", "view_id", id, "external_id", "ext-1", "view", modal); !strings.Contains(a.messages(), "Cannot provide both `view_id` and `external_id`") {
		t.Errorf("both: %s", a.text)
	}
}

// What somebody typed survives an update of the same block and action.
func TestUpdateKeepsInput(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	live := strings.Replace(modal, `{"type":"input","block_id":"title"`, `{"type":"input","dispatch_action":true,"block_id":"title"`, 1)
	id := openModal(t, s, w, live)
	done := async(func() error { return s.As("ann").ClickView(id, "in", "typed") })
	if err := <-done; err == nil { // two inputs are called "in"
		t.Error("an ambiguous target was used")
	}
	done = async(func() error {
		return s.As("ann").Press(slacksim.Press{ViewID: id, BlockID: "title", Target: "in", Choice: []string{"typed"}})
	})
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if dig(e, "payload.view.state.values.title.in.value") != "typed" {
		t.Errorf("state = %v", dig(e, "payload.view.state"))
	}
	if a := form(t, s, "views.update", "view_id", id, "view", modal); a.str("view.state.values.title.in.value") != "typed" {
		t.Errorf("updated: %s", a.text)
	}
}

// rule 94: A. Publishing needs the Home tab.
func TestHome(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ann := userID(t, s, "ann")
	home := `{"type":"home","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"open incidents"}}]}`
	checkRefusals(t, s, []refusalRow{
		{"reference", "views.publish", []string{"user_id", ann, "view", home}, ""},
		{"reference", "views.publish", []string{"user_id", ann, "hash", "1.stale", "view", home}, "hash_conflict"},
		{"reference", "views.publish", []string{"user_id", ann, "view", modal}, "invalid_arguments"},
		{"reference", "views.publish", []string{"user_id", "U404", "view", home}, "invalid_arguments"},
	})
	if v, err := s.As("ann").OpenHome(); err != nil || !strings.Contains(string(v.Blocks), "open incidents") || v.Type != "home" {
		t.Errorf("OpenHome() = %+v, %v", v, err)
	}
	off := workspace(t, slacksim.Options{Manifest: []byte(`{"display_information":{"name":"x"}}`)})
	checkRefusals(t, off, []refusalRow{{"rule 94: A", "views.publish", []string{"user_id", userID(t, off, "ann"), "view", home}, "not_enabled"}})
}

// rule 95: I. A title of 25. rule 96: I. An input without submit.
// rule 97: I. 51 message blocks, 101 view blocks.
// rule 98: I. A section of 3,001. rule 102: A. Blocks that are no array.
// rule 103: I. All block text together. rule 104: I. Two tables.
// The error's shape differs by method (slack.md §3.5).
func TestBlockErrorShapes(t *testing.T) {
	t.Parallel()
	s := workspace(t, slacksim.Options{NoRateLimit: true})
	ops := channelID(t, s, "ops")
	const divider = `{"type":"divider"}`
	many := func(n int) string { return "[" + strings.Repeat(divider+",", n-1) + divider + "]" }
	section := func(n int) string {
		return `{"type":"section","text":{"type":"mrkdwn","text":"` + strings.Repeat("x", n) + `"}}`
	}
	view := func(title, blocks string) string {
		return `{"type":"modal","title":{"type":"plain_text","text":"` + title + `"},"blocks":` + blocks + `}`
	}
	const table = `{"type":"table","rows":[[{"type":"raw_text","text":"a"}]]}`
	const input = `{"type":"input","label":{"type":"plain_text","text":"L"},"element":{"type":"plain_text_input"}}`
	for _, row := range []struct {
		rule, method, content, code, message string
		errors                               bool
	}{
		{"rule 95", "views.open", view(strings.Repeat("t", 25), many(1)), "invalid_arguments", "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]", false},
		{"rule 96", "views.open", view("T", "["+divider+","+divider+","+input+"]"), "invalid_arguments", "must define `submit` to use an `input` block in modals [json-pointer:/view/blocks/2/input]", false},
		{"rule 97", "chat.postMessage", many(51), "invalid_blocks", "no more than 50 items allowed [json-pointer:/blocks]", true},
		{"rule 97", "views.open", view("T", many(101)), "invalid_arguments", "no more than 100 items allowed [json-pointer:/view/blocks]", false},
		{"rule 98", "chat.postMessage", "[" + section(3001) + "]", "invalid_blocks", `failed to match all allowed schemas [json-pointer:/blocks/0/text]","[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]`, true},
		{"rule 98", "chat.postEphemeral", "[" + section(3001) + "]", "invalid_blocks", "must be less than 3001 characters", true},
		{"rule 102", "chat.postMessage", `{"type":"divider"}`, "invalid_blocks_format", "", false},
		{"rule 102", "chat.postMessage", `words`, "invalid_blocks_format", "", false},
		{"rule 103", "chat.postMessage", "[" + strings.Repeat(section(2700)+",", 4) + section(2401) + "]", "msg_blocks_too_long", "", false},
		{"rule 104", "chat.postMessage", "[" + table + "," + table + "]", "invalid_attachments", "only_one_table_allowed", true},
	} {
		var a answer
		switch row.method {
		case "views.open":
			a = form(t, s, row.method, "trigger_id", "x", "view", row.content)
		default:
			a = form(t, s, row.method, "channel", ops, "user", userID(t, s, "ann"), "text", "x", "blocks", row.content)
		}
		_, hasErrors := a.body["errors"]
		if a.err() != row.code || !strings.Contains(a.messages(), row.message) || hasErrors != row.errors {
			t.Errorf("%s: %s: %.600s", row.rule, row.method, a.text)
		}
	}
	// 13,200 exactly passes, and a response_url has no such limit.
	post(t, s, ops, "["+strings.Repeat(section(2700)+",", 4)+section(2400)+"]")
	w := connectRaw(t, s)
	done := async(func() error { _, err := s.As("ann").Slash("#ops", "/runbook"); return err })
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	u, _ := dig(e, "payload.response_url").(string)
	if a := respond(t, u, `{"text":"long","blocks":[`+strings.Repeat(section(2700)+",", 5)+section(2700)+"]}"); a.body["ok"] != true {
		t.Errorf("rule 103: response_url: %s", a.text)
	}
	s.ExpectEphemeral(t, "#ops", "ann", "long")
}

// blocks.validate needs no token and does not notice an empty section (I).
func TestBlocksValidate(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	check := func(name, value string) answer {
		t.Helper()
		return form(t, s, "blocks.validate", "token", "", name, value)
	}
	if a := check("blocks", `[{"type":"section"},{"type":"divider"}]`); a.body["ok"] != true {
		t.Errorf("empty section: %s", a.text)
	}
	a := check("blocks", `[{"type":"section","text":{"type":"nonsense","text":"x"}}]`)
	errs, _ := a.at("errors").([]any)
	if a.err() != "invalid_blocks" || len(errs) == 0 {
		t.Fatalf("bad type: %s", a.text)
	}
	last, _ := errs[len(errs)-1].(map[string]any)
	if last["pointer"] != "/0/text/type" || last["code"] != "failed_constraint" {
		t.Errorf("errors = %v", errs)
	}
	if a := check("view", modal); a.body["ok"] != true {
		t.Errorf("view: %s", a.text)
	}
	if a := check("view", `{"type":"modal"}`); a.err() != "invalid_view" {
		t.Errorf("bad view: %s", a.text)
	}
	if a := check("message", `{"text":"x","blocks":[{"type":"header"}]}`); a.err() != "invalid_message" {
		t.Errorf("bad message: %s", a.text)
	}
	for _, bad := range [][]string{{}, {"blocks", "[]", "view", modal}, {"blocks", "{"}} {
		if a := form(t, s, "blocks.validate", bad...); a.err() != "invalid_arguments" {
			t.Errorf("%q: %s", bad, a.text)
		}
	}
}

// An external menu asks the app; the answer is held to the rules of menus.
func TestSuggest(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	ts := post(t, s, channelID(t, s, "ops"), `[{"type":"actions","block_id":"b","elements":[{"type":"external_select","action_id":"svc","min_query_length":1,"placeholder":{"type":"plain_text","text":"Service"}}]}]`)
	press := slacksim.Press{Channel: "#ops", TS: ts, Target: "Service"}
	if _, err := s.As("ann").Suggest(press, ""); err == nil {
		t.Error("a query shorter than min_query_length was sent")
	}
	ask := func(payload string) ([]slacksim.Option, error) {
		t.Helper()
		var got []slacksim.Option
		done := async(func() (err error) { got, err = s.As("ann").Suggest(press, "ap"); return err })
		e := w.asked()
		if dig(e, "payload.type") != "block_suggestion" || dig(e, "payload.value") != "ap" || dig(e, "payload.action_id") != "svc" || e["accepts_response_payload"] != true {
			t.Errorf("envelope = %v", e)
		}
		w.ack(e, payload)
		return got, <-done
	}
	got, err := ask(`{"options":[{"text":{"type":"plain_text","text":"API"},"value":"api"}]}`)
	if err != nil || len(got) != 1 || got[0] != (slacksim.Option{Text: "API", Value: "api"}) {
		t.Errorf("Suggest() = %v, %v", got, err)
	}
	if got, err := ask(`{"options":[]}`); err != nil || len(got) != 0 {
		t.Errorf("nothing found: %v, %v", got, err)
	}
	for _, bad := range []string{"", `{"options":[{"text":"API"}]}`, `{"words":[]}`} {
		if _, err := ask(bad); said(err) == "" {
			t.Errorf("ack %q went well", bad)
		}
	}
}

// What the client itself checks before a form is sent; the app hears nothing.
func TestClientSideChecks(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	field := func(id, element string) string {
		return `{"type":"input","block_id":"` + id + `","optional":true,"label":{"type":"plain_text","text":"L"},"element":` + element + `}`
	}
	view := `{"type":"modal","title":{"type":"plain_text","text":"T"},"submit":{"type":"plain_text","text":"Go"},"blocks":[` + strings.Join([]string{
		field("text", `{"type":"plain_text_input","action_id":"a","min_length":2,"max_length":4}`),
		field("num", `{"type":"number_input","action_id":"a","is_decimal_allowed":false,"min_value":"1","max_value":"9"}`),
		field("mail", `{"type":"email_text_input","action_id":"a"}`), field("url", `{"type":"url_text_input","action_id":"a"}`),
		field("date", `{"type":"datepicker","action_id":"a","initial_date":"2026-11-23"}`),
		field("who", `{"type":"multi_users_select","action_id":"a","max_selected_items":1}`),
		field("boxes", `{"type":"checkboxes","action_id":"a","options":[{"text":{"type":"plain_text","text":"One"},"value":"1"},{"text":{"type":"plain_text","text":"Two"},"value":"2"}]}`),
	}, ",") + `]}`
	id := openModal(t, s, w, view)
	ann := s.As("ann")
	for _, row := range []struct {
		block string
		value any
		field bool // an error at the field, otherwise no such thing can be entered
	}{
		{"text", "x", true}, {"text", "xxxxx", true}, {"num", "0", true}, {"num", "10", true}, {"num", "1.5", true}, {"num", "one", true}, {"mail", "nobody", true}, {"url", "nowhere", true},
		{"date", "soon", false}, {"who", []string{"ann", "ben"}, false}, {"who", "nobody", false}, {"boxes", "Three", false}, {"nowhere", "x", false},
	} {
		values := map[string]map[string]any{"text": {"a": "x"}} // too short, so nothing is ever sent
		values[row.block] = map[string]any{"a": row.value}
		err := ann.Submit(id, values)
		if shown := ann.Views()[0].Errors[row.block] != ""; err == nil || shown != row.field {
			t.Errorf("%s = %v: %v, at the field: %v", row.block, row.value, err, shown)
		}
	}
	done := async(func() error {
		return ann.Submit(id, map[string]map[string]any{"text": {"a": "abc"}, "num": {"a": "5"}, "mail": {"a": "a@example.com"}, "url": {"a": "https://example.com"}, "who": {"a": []string{"ben"}}, "boxes": {"a": []string{"Two"}}})
	})
	e := w.asked()
	w.ack(e, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{"num.a.value": "5", "date.a.selected_date": "2026-11-23"} {
		if got := dig(e, "payload.view.state.values."+path); got != want {
			t.Errorf("%s = %v", path, got)
		}
	}
	if users, _ := dig(e, "payload.view.state.values.who.a.selected_users").([]any); len(users) != 1 || users[0] != userID(t, s, "ben") {
		t.Errorf("users = %v", users)
	}
	if boxes, _ := dig(e, "payload.view.state.values.boxes.a.selected_options").([]any); len(boxes) != 1 {
		t.Errorf("boxes = %v", boxes)
	}
}
