package slacksim

import (
	"encoding/json"
	"fmt"
	"time"

	"opsbot/internal/slacksim/blockkit"
)

// Limits of views. Source: slack.md §2.3 and §3.1.
const (
	triggerLife = 3 * time.Second
	maxStack    = 3
	maxViewSize = 250 << 10
)

// A trigger lets the app open one view for one person.
type trigger struct {
	user   string
	issued time.Time
	used   bool
	view   *view // the modal it came from; nil elsewhere
}

// newTrigger makes a trigger_id. The lock is held.
func (s *Server) newTrigger(user string, from *view) string {
	if len(s.triggers) > settledKept { // the expired ones are of no more use than unknown ones
		for id, t := range s.triggers {
			if s.clock.now().Sub(t.issued) > time.Hour {
				delete(s.triggers, id)
			}
		}
	}
	if from != nil && from.kind != "modal" {
		from = nil
	}
	id := fmt.Sprintf("%d.%d.%s", 1e12+s.rnd.Int64N(1e12), s.rnd.Int64N(1e9), s.random(32))
	s.triggers[id] = &trigger{user: user, issued: s.clock.now(), view: from}
	return id
}

// useTrigger spends a trigger_id.
func (s *Server) useTrigger(id string) (*trigger, obj) {
	t := s.triggers[id]
	switch {
	case t == nil:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case s.clock.now().Sub(t.issued) > triggerLife:
		return nil, refuse("expired_trigger_id")
	}
	return t, nil
}

// A view is a modal or a Home tab that somebody has open.
type view struct {
	id, kind, user string
	hash           string
	root, previous string
	spec           viewSpec
	blocks         json.RawMessage
	values         map[string]map[string]obj
	errors         map[string]string
}

// viewSpec is a view as an app sends it.
type viewSpec struct {
	Type            string          `json:"type"`
	Title           json.RawMessage `json:"title"`
	Submit          json.RawMessage `json:"submit"`
	Close           json.RawMessage `json:"close"`
	Blocks          json.RawMessage `json:"blocks"`
	PrivateMetadata string          `json:"private_metadata"`
	CallbackID      string          `json:"callback_id"`
	ExternalID      string          `json:"external_id"`
	ClearOnClose    bool            `json:"clear_on_close"`
	NotifyOnClose   bool            `json:"notify_on_close"`
	SubmitDisabled  bool            `json:"submit_disabled"`
}

// readView checks a view. The messages are Slack's, with pointers that begin
// with /view.
func readView(raw json.RawMessage) (viewSpec, []string) {
	var spec viewSpec
	if problems := blockkit.View(raw, "/view"); len(problems) > 0 {
		var messages []string
		for _, p := range problems {
			messages = append(messages, p.String())
		}
		return spec, messages
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return spec, []string{"must provide an object [json-pointer:/view]"}
	}
	return spec, nil
}

// viewArg reads the view argument of a views.* method.
func viewArg(r *request) (viewSpec, obj) {
	raw := r.given("view")
	if raw == nil || raw[0] != '{' {
		return viewSpec{}, refuseArgs("must provide an object [json-pointer:/view]")
	}
	if len(raw) > maxViewSize {
		return viewSpec{}, refuse("view_too_large")
	}
	spec, messages := readView(raw)
	if len(messages) > 0 {
		return spec, refuseArgs(messages...)
	}
	return spec, nil
}

// fillView gives a view a new content and hash; what people entered stays where
// block_id and action_id are the same.
func (s *Server) fillView(v *view, spec viewSpec) {
	v.spec, v.kind = spec, spec.Type
	v.blocks = blockkit.Complete(spec.Blocks, func() string { return s.random(5) })
	v.hash = fmt.Sprintf("%d.%s", s.clock.now().Unix(), s.random(8))
	v.errors = nil
	v.values = s.stateOf(v.blocks, v.values)
}

// externalTaken reports whether another open view has the external_id.
func (s *Server) externalTaken(id string, except *view) bool {
	if id == "" {
		return false
	}
	for _, v := range s.views {
		if v != except && v.spec.ExternalID == id {
			return true
		}
	}
	return false
}

// showView puts a new view on a person's stack.
func (s *Server) showView(user string, spec viewSpec, on *view) *view {
	v := &view{id: s.newID("V"), user: user}
	v.root = v.id
	if on != nil {
		v.root, v.previous = on.root, on.id
	}
	s.fillView(v, spec)
	s.views[v.id] = v
	s.stacks[user] = append(s.stacks[user], v)
	s.tell(Event{Kind: "view", User: user})
	return v
}

func (s *Server) viewJSON(v *view) obj {
	orNull := func(raw json.RawMessage) any {
		if len(raw) == 0 {
			return nil
		}
		return raw
	}
	out := obj{
		"id": v.id, "team_id": s.app.teamID, "type": v.kind, "blocks": v.blocks, "private_metadata": v.spec.PrivateMetadata,
		"callback_id": v.spec.CallbackID, "external_id": v.spec.ExternalID, "state": obj{"values": v.values}, "hash": v.hash,
		"clear_on_close": v.spec.ClearOnClose, "notify_on_close": v.spec.NotifyOnClose, "title": orNull(v.spec.Title),
		"close": orNull(v.spec.Close), "submit": orNull(v.spec.Submit), "submit_disabled": v.spec.SubmitDisabled,
		"previous_view_id": nil, "root_view_id": v.root, "app_id": s.app.appID, "app_installed_team_id": s.app.teamID, "bot_id": s.app.botID,
	}
	if v.previous != "" {
		out["previous_view_id"] = v.previous
	}
	return out
}

func (s *Server) viewAnswer(v *view) obj { return obj{"ok": true, "view": s.viewJSON(v)} }

func openView(s *Server, r *request) obj {
	spec, refusal := viewArg(r)
	if refusal != nil {
		return refusal
	}
	if spec.Type != "modal" {
		return refuseArgs("unsupported type: " + spec.Type + " [json-pointer:/view/type]")
	}
	if !r.has("trigger_id") {
		return refuseArgs("missing required field: trigger_id")
	}
	t, refusal := s.useTrigger(r.get("trigger_id"))
	if refusal != nil {
		return refusal
	}
	if s.externalTaken(spec.ExternalID, nil) {
		return refuse("duplicate_external_id")
	}
	t.used = true
	for _, old := range s.stacks[t.user] { // a new root replaces what was open
		delete(s.views, old.id)
	}
	s.stacks[t.user] = nil
	return s.viewAnswer(s.showView(t.user, spec, nil))
}

func pushView(s *Server, r *request) obj {
	spec, refusal := viewArg(r)
	if refusal != nil {
		return refusal
	}
	if spec.Type != "modal" {
		return refuseArgs("must match the `type` of the root view whose stack we're pushing onto [json-pointer:/view/type]")
	}
	if !r.has("trigger_id") {
		return refuseArgs("missing required field: trigger_id")
	}
	t, refusal := s.useTrigger(r.get("trigger_id"))
	if refusal != nil {
		return refusal
	}
	stack := s.stacks[t.user]
	switch {
	case t.view == nil || len(stack) == 0:
		return refuse("invalid_trigger_id") // policy: a push needs a trigger from inside a modal
	case len(stack) >= maxStack:
		return refuse("push_limit_reached")
	case s.externalTaken(spec.ExternalID, nil):
		return refuse("duplicate_external_id")
	}
	t.used = true
	return s.viewAnswer(s.showView(t.user, spec, stack[len(stack)-1]))
}

func updateView(s *Server, r *request) obj {
	spec, refusal := viewArg(r)
	if refusal != nil {
		return refusal
	}
	id, external := r.get("view_id"), r.get("external_id")
	switch {
	case id != "" && external != "":
		return refuseArgs("Cannot provide both `view_id` and `external_id`")
	case id == "" && external == "":
		return refuseArgs("missing required field: view_id")
	}
	v := s.views[id]
	for _, other := range s.views {
		if external != "" && other.spec.ExternalID == external {
			v = other
		}
	}
	switch {
	case v == nil:
		return refuse("not_found")
	case r.get("hash") != "" && r.get("hash") != v.hash:
		return refuse("hash_conflict")
	case spec.Type != v.kind:
		return refuseArgs("must match the `type` of the view that is updated [json-pointer:/view/type]")
	case s.externalTaken(spec.ExternalID, v):
		return refuse("duplicate_external_id")
	}
	s.fillView(v, spec)
	s.tell(Event{Kind: "view", User: v.user})
	return s.viewAnswer(v)
}

func publishView(s *Server, r *request) obj {
	spec, refusal := viewArg(r)
	if refusal != nil {
		return refusal
	}
	user := s.users[r.get("user_id")]
	switch {
	case user == nil:
		return refuseArgs("invalid `user_id` [json-pointer:/user_id]")
	case spec.Type != "home":
		return refuseArgs("unsupported type: " + spec.Type + " [json-pointer:/view/type]")
	case !s.manifest.Features.Home.HomeTab:
		return refuse("not_enabled")
	}
	v := s.homes[user.ID]
	if v == nil {
		v = &view{id: s.newID("V"), user: user.ID}
		v.root = v.id
	} else if h := r.get("hash"); h != "" && h != v.hash {
		return refuse("hash_conflict")
	}
	if s.externalTaken(spec.ExternalID, v) {
		return refuse("duplicate_external_id")
	}
	s.fillView(v, spec)
	s.homes[user.ID], s.views[v.id] = v, v
	s.tell(Event{Kind: "home", User: user.ID})
	return s.viewAnswer(v)
}

func validateBlocks(s *Server, r *request) obj {
	var given []string
	for _, name := range []string{"blocks", "view", "message"} {
		if r.given(name) != nil {
			given = append(given, name)
		}
	}
	if len(given) != 1 {
		return refuseArgs("must provide exactly one of `blocks`, `view` or `message`")
	}
	raw := r.given(given[0])
	if !json.Valid(raw) {
		return refuseArgs("must be valid JSON [json-pointer:/" + given[0] + "]")
	}
	var problems []blockkit.Problem
	switch given[0] {
	case "blocks":
		problems = blockkit.Blocks(raw, blockkit.Message, "")
	case "view":
		problems = blockkit.View(raw, "")
	case "message":
		var m struct {
			Blocks json.RawMessage `json:"blocks"`
		}
		if json.Unmarshal(raw, &m) != nil {
			return refuseArgs("must provide an object [json-pointer:/message]")
		}
		if len(m.Blocks) > 0 {
			problems = blockkit.Blocks(m.Blocks, blockkit.Message, "/blocks")
		}
	}
	if problems = blockkit.Noticed(problems); len(problems) > 0 {
		return obj{"ok": false, "error": "invalid_" + given[0], "errors": problems}
	}
	return obj{"ok": true}
}
