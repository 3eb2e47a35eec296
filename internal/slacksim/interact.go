package slacksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"opsbot/internal/slacksim/blockkit"
)

// A Press is one use of an interactive element.
type Press struct {
	Channel string                    // with TS: the message that holds the element; an ID, name or #name
	TS      string                    //
	ViewID  string                    // instead of Channel and TS: the view that holds it
	BlockID string                    // narrows Target; may be empty
	Target  string                    // the element's action_id, or the label that people see
	Choice  []string                  // what is chosen or typed: option values or labels, names, a date, text
	Deny    bool                      // say no in the element's confirm dialog
	State   map[string]map[string]any // what the other inputs of the message or view hold, as for Submit
}

// A Confirm is an element's dialog "are you sure?".
type Confirm struct {
	Title, Text, Yes, No string
	Danger               bool
}

// Click uses an element of a message: a button, or with a choice a menu, a
// date picker and the like. A confirm dialog is answered with yes.
func (p *Person) Click(channel, ts, target string, choice ...string) error {
	return p.Press(Press{Channel: channel, TS: ts, Target: target, Choice: choice})
}

// ClickView uses an element of an open view.
func (p *Person) ClickView(viewID, target string, choice ...string) error {
	return p.Press(Press{ViewID: viewID, Target: target, Choice: choice})
}

// A place is what holds the element that is used. The lock is held while one
// exists.
type place struct {
	seat  *seat    // of messages
	m     *Message // nil for views
	v     *view
	parts []part
}

func (p *Person) place(press Press) (place, error) {
	if press.ViewID != "" {
		v := p.s.views[press.ViewID]
		if v == nil || v.user != p.id {
			return place{}, fmt.Errorf("no view %s is open", press.ViewID)
		}
		return place{v: v, parts: parts(v.blocks)}, nil
	}
	c, m, err := p.visible(press.Channel, press.TS)
	if err != nil {
		return place{}, err
	}
	all := parts(m.Blocks)
	var attachments []struct {
		Blocks json.RawMessage `json:"blocks"`
	}
	if len(m.Attachments) > 0 && json.Unmarshal(m.Attachments, &attachments) == nil {
		for _, a := range attachments {
			all = append(all, parts(a.Blocks)...)
		}
	}
	return place{seat: c, m: m, parts: all}, nil
}

// find returns the one element that the press means.
func (l place) find(press Press) (part, error) {
	for _, match := range []func(part) bool{
		func(e part) bool { return e.actionID == press.Target },
		func(e part) bool { return e.label() == press.Target },
	} {
		var hits []part
		for _, e := range l.parts {
			if match(e) && (press.BlockID == "" || press.BlockID == e.blockID) {
				hits = append(hits, e)
			}
		}
		switch len(hits) {
		case 0:
		case 1:
			return hits[0], nil
		default:
			return part{}, fmt.Errorf("%d elements are called %q: name the block too", len(hits), press.Target)
		}
	}
	var there []string
	for _, e := range l.parts {
		there = append(there, fmt.Sprintf("%s %q", e.actionID, e.label()))
	}
	return part{}, fmt.Errorf("nothing is called %q; there is %s", press.Target, strings.Join(there, ", "))
}

// Confirmation returns the dialog that the element shows first.
func (p *Person) Confirmation(press Press) (Confirm, bool, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	at, err := p.place(press)
	if err != nil {
		return Confirm{}, false, err
	}
	e, err := at.find(press)
	if err != nil {
		return Confirm{}, false, err
	}
	c, ok := e.element["confirm"].(map[string]any)
	if !ok {
		return Confirm{}, false, nil
	}
	return Confirm{Title: textOf(c["title"]), Text: textOf(c["text"]), Yes: textOf(c["confirm"]), No: textOf(c["deny"]), Danger: c["style"] == "danger"}, true, nil
}

// Press uses an element and waits for the app's ack. The error is a Failure
// when Slack's client would show one.
func (p *Person) Press(press Press) error {
	p.s.mu.Lock()
	d, at, err := p.press(press)
	p.s.mu.Unlock()
	if err != nil || d == nil {
		return err
	}
	result := p.s.ask(d)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	switch result {
	case noSocket, timedOut:
		n := Notice{Text: tookTooLong}
		if at.m != nil {
			n.Channel, n.TS = at.m.Channel, at.m.TS
		} else {
			n.ViewID = at.v.id
		}
		return p.notice(n)
	case shutdown:
		return errors.New("the simulator was closed")
	}
	return nil
}

// press builds the block_actions envelope; nil when nothing is sent.
func (p *Person) press(press Press) (*delivery, place, error) {
	at, err := p.place(press)
	if err != nil {
		return nil, at, err
	}
	e, err := at.find(press)
	if err != nil {
		return nil, at, err
	}
	if !p.s.manifest.Settings.Interactivity.Enabled {
		return nil, at, p.notice(Notice{Channel: press.Channel, TS: press.TS, ViewID: press.ViewID, Text: notInteractive})
	}
	if press.Deny {
		if e.element["confirm"] == nil {
			return nil, at, fmt.Errorf("%q asks for no confirmation", press.Target)
		}
		return nil, at, nil
	}
	state, err := p.enterState(at, press)
	if err != nil {
		return nil, at, err
	}
	action, err := p.action(e, press)
	if err != nil {
		return nil, at, err
	}
	if key := e.key(); key != "" {
		if state[e.blockID] != nil {
			state[e.blockID][e.actionID] = obj{"type": e.kind, key: action[key]}
		}
		if dispatch, _ := e.block["dispatch_action"].(bool); e.block["type"] == "input" && !dispatch {
			return nil, at, nil // an input tells the app only when it is submitted
		}
	}
	payload := p.envelope("block_actions")
	payload["actions"] = []obj{action}
	payload["state"] = obj{"values": state}
	p.describe(payload, at)
	return &delivery{kind: "interactive", what: "block_actions", payload: payload}, at, nil
}

// enterState returns the state of the place's inputs with the press's own.
func (p *Person) enterState(at place, press Press) (map[string]map[string]obj, error) {
	if at.v != nil {
		return at.v.values, p.s.enter(at.v.blocks, at.v.values, press.State)
	}
	if at.m.inputs == nil {
		at.m.inputs = map[string]map[string]map[string]obj{}
	}
	state := p.s.stateOf(at.m.Blocks, at.m.inputs[p.id])
	at.m.inputs[p.id] = state // each person's inputs are their own
	return state, p.s.enter(at.m.Blocks, state, press.State)
}

// action is the element's entry in the payload.
func (p *Person) action(e part, press Press) (obj, error) {
	action := obj{"type": e.kind, "action_id": e.actionID, "block_id": e.blockID, "action_ts": p.s.newTS()}
	copyFields := func(names ...string) {
		for _, n := range names {
			if v, ok := e.element[n]; ok {
				action[n] = v
			}
		}
	}
	switch key := e.key(); {
	case e.kind == "button":
		copyFields("text", "value", "style", "url")
	case e.kind == "overflow":
		if len(press.Choice) != 1 {
			return nil, errors.New("choose one entry of the menu")
		}
		o, err := e.option(press.Choice[0])
		if err != nil {
			return nil, err
		}
		action["selected_option"] = o
	case e.kind == "feedback_buttons":
		side := "positive_button"
		if len(press.Choice) == 1 && press.Choice[0] == "negative" {
			side = "negative_button"
		}
		b, _ := e.element[side].(map[string]any)
		action["text"], action["value"] = b["text"], b["value"]
	case key != "":
		v, err := p.s.value(e, press.Choice)
		if err != nil {
			return nil, fmt.Errorf("choose %v: %w", press.Choice, err)
		}
		action[key] = v
		copyFields("placeholder")
	default:
		copyFields("text", "value")
	}
	return action, nil
}

// envelope is what every interactive payload has. The lock is held.
func (p *Person) envelope(kind string) obj {
	u := p.s.users[p.id]
	return obj{
		"type": kind, "token": p.s.app.secret, "api_app_id": p.s.app.appID,
		"user":                  obj{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": p.s.app.teamID},
		"team":                  obj{"id": p.s.app.teamID, "domain": p.s.app.teamDomain},
		"is_enterprise_install": false, "enterprise": nil,
	}
}

// describe adds where the element stands. A view has neither channel nor
// response_url.
func (p *Person) describe(payload obj, at place) {
	if at.v != nil {
		payload["container"] = obj{"type": "view", "view_id": at.v.id}
		payload["view"] = p.s.viewJSON(at.v)
		payload["trigger_id"] = p.s.newTrigger(p.id, at.v)
		return
	}
	container := obj{"type": "message", "message_ts": at.m.TS, "channel_id": at.m.Channel, "is_ephemeral": at.m.For != ""}
	if at.m.ThreadTS != "" {
		container["thread_ts"] = at.m.ThreadTS
	}
	payload["container"] = container
	payload["channel"] = obj{"id": at.seat.ID, "name": at.seat.Name}
	if at.m.For == "" { // policy: an ephemeral message is left out altogether
		payload["message"] = p.s.messageJSON(at.m, true)
	}
	payload["trigger_id"] = p.s.newTrigger(p.id, nil)
	payload["response_url"] = p.s.newHook("actions", hook{channel: at.m.Channel, user: p.id, source: at.m.TS})
}

// Suggest types a query into an external menu and returns what the app offers.
func (p *Person) Suggest(press Press, query string) ([]Option, error) {
	p.s.mu.Lock()
	at, err := p.place(press)
	var e part
	if err == nil {
		e, err = at.find(press)
	}
	if err == nil && !strings.HasSuffix(e.kind, "external_select") {
		err = fmt.Errorf("%q is not an external menu", press.Target)
	}
	if err == nil && e.number("min_query_length") > len([]rune(query)) {
		err = fmt.Errorf("the menu asks the app only from %d characters on", e.number("min_query_length"))
	}
	if err != nil {
		p.s.mu.Unlock()
		return nil, err
	}
	payload := p.envelope("block_suggestion")
	p.describe(payload, at)
	delete(payload, "response_url")
	delete(payload, "trigger_id")
	payload["action_id"], payload["block_id"], payload["value"] = e.actionID, e.blockID, query
	var offered []Option
	d := &delivery{kind: "interactive", what: "block_suggestion", accepts: true, payload: payload}
	d.apply = func(raw json.RawMessage) outcome {
		var ok bool
		offered, ok = readOptions(raw)
		if !ok {
			return misunderstood
		}
		return acked
	}
	p.s.mu.Unlock()
	if result := p.s.ask(d); result != acked {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		return nil, p.notice(Notice{Text: "There was a problem loading options."}) // policy
	}
	return offered, nil
}

// readOptions reads the ack of a block_suggestion: {"options":[…]} or
// {"option_groups":[…]} of at most 100.
func readOptions(raw json.RawMessage) ([]Option, bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || len(fields) != 1 {
		return nil, false
	}
	menu := maps.Clone(fields)
	menu["type"] = json.RawMessage(`"static_select"`)
	if options := fields["options"]; string(options) == "[]" {
		return nil, true
	}
	// The same rules hold as for a menu whose entries come with the message.
	block := encode([]obj{{"type": "actions", "elements": []any{menu}}})
	if len(blockkit.Blocks(block, blockkit.Message, "")) > 0 {
		return nil, false
	}
	type option struct {
		Text struct {
			Text string `json:"text"`
		} `json:"text"`
		Value string `json:"value"`
	}
	var lists struct {
		Options []option `json:"options"`
		Groups  []struct {
			Options []option `json:"options"`
		} `json:"option_groups"`
	}
	if json.Unmarshal(raw, &lists) != nil {
		return nil, false
	}
	for _, g := range lists.Groups {
		lists.Options = append(lists.Options, g.Options...)
	}
	var out []Option
	for _, o := range lists.Options {
		out = append(out, Option{Text: o.Text.Text, Value: o.Value})
	}
	return out, true
}

// Shortcut uses a global shortcut.
func (p *Person) Shortcut(callbackID string) error {
	return p.shortcut(callbackID, false, "", "")
}

// MessageShortcut uses a shortcut on a message.
func (p *Person) MessageShortcut(callbackID, channel, ts string) error {
	return p.shortcut(callbackID, true, channel, ts)
}

func (p *Person) shortcut(callbackID string, onMessage bool, channel, ts string) error {
	p.s.mu.Lock()
	known := false
	for _, c := range p.s.Shortcuts() {
		known = known || c.CallbackID == callbackID && c.Message == onMessage
	}
	var err error
	if !known {
		err = fmt.Errorf("the app has no such shortcut %s", callbackID)
	}
	if u := p.s.users[p.id]; err == nil && u == nil {
		err = fmt.Errorf("there is no user %s", p.id)
	}
	kind := "shortcut"
	if onMessage {
		kind = "message_action"
	}
	var payload obj
	if err == nil {
		payload = p.envelope(kind)
		payload["callback_id"], payload["action_ts"], payload["trigger_id"] = callbackID, p.s.newTS(), p.s.newTrigger(p.id, nil)
	}
	if err == nil && onMessage {
		var c *seat
		var m *Message
		if c, m, err = p.visible(channel, ts); err == nil {
			payload["message_ts"], payload["message"] = m.TS, p.s.messageJSON(m, true)
			payload["channel"] = obj{"id": c.ID, "name": c.Name}
			payload["response_url"] = p.s.newHook("actions", hook{channel: c.ID, user: p.id, source: m.TS})
		}
	}
	p.s.mu.Unlock()
	if err != nil {
		return err
	}
	if result := p.s.ask(&delivery{kind: "interactive", what: kind, payload: payload}); result != acked {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		return p.notice(Notice{Channel: channel, TS: ts, Text: tookTooLong})
	}
	return nil
}
