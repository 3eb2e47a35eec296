package slacksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Views returns the person's open modals, the visible one last.
func (p *Person) Views() []View {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	var list []View
	for _, v := range p.s.stacks[p.id] {
		list = append(list, p.s.viewOf(v))
	}
	return list
}

// Home returns the Home tab that the app published for the person; its ID is
// empty when there is none.
func (p *Person) Home() View {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if v := p.s.homes[p.id]; v != nil {
		return p.s.viewOf(v)
	}
	return View{}
}

// OpenHome opens the app's Home tab, which tells the app, and returns what is
// there now.
func (p *Person) OpenHome() (View, error) {
	p.s.mu.Lock()
	if p.s.users[p.id] == nil || !p.s.manifest.Features.Home.HomeTab {
		p.s.mu.Unlock()
		return View{}, errors.New("the app has no Home tab")
	}
	dm, _ := p.s.direct(true, p.id, p.s.app.botUserID)
	event := obj{"type": "app_home_opened", "user": p.id, "channel": dm.ID, "tab": "home"}
	if v := p.s.homes[p.id]; v != nil {
		event["view"] = p.s.viewJSON(v)
	}
	p.s.emit("app_home_opened", event)
	p.s.mu.Unlock()
	return p.Home(), nil
}

// viewOf is a view as readers get it. The lock is held.
func (s *Server) viewOf(v *view) View {
	words := func(raw json.RawMessage) string {
		var t any
		if len(raw) == 0 || json.Unmarshal(raw, &t) != nil {
			return ""
		}
		return textOf(t)
	}
	state := map[string]map[string]any{}
	for b, actions := range v.values {
		state[b] = map[string]any{}
		for a, value := range actions {
			state[b][a] = map[string]any(value)
		}
	}
	return View{
		ID: v.id, Type: v.kind, CallbackID: v.spec.CallbackID, ExternalID: v.spec.ExternalID, Title: words(v.spec.Title),
		Submit: words(v.spec.Submit), Close: words(v.spec.Close), PrivateMetadata: v.spec.PrivateMetadata, Blocks: v.blocks,
		Hash: v.hash, RootID: v.root, PreviousID: v.previous, Errors: maps.Clone(v.errors), State: state, Raw: encode(s.viewJSON(v)),
	}
}

// top finds the person's visible modal by its ID; only that one can be used.
func (p *Person) top(viewID string) (*view, error) {
	stack := p.s.stacks[p.id]
	if len(stack) == 0 || stack[len(stack)-1].id != viewID {
		return nil, fmt.Errorf("view %s is not on top", viewID)
	}
	return stack[len(stack)-1], nil
}

// Submit fills inputs, by block_id and action_id, and presses the view's
// submit button. Inputs that are not named keep what they hold. A field that
// the client itself finds wrong is a Failure and the app hears nothing; errors
// that the app answers are in the view's Errors and also a Failure.
func (p *Person) Submit(viewID string, values map[string]map[string]any) error {
	p.s.mu.Lock()
	v, err := p.top(viewID)
	if err == nil {
		err = p.fill(v, values)
	}
	if err != nil {
		p.s.mu.Unlock()
		return err
	}
	payload := p.envelope("view_submission")
	payload["view"] = p.s.viewJSON(v)
	payload["trigger_id"] = p.s.newTrigger(p.id, v)
	payload["response_urls"] = p.responseURLs(v)
	d := &delivery{kind: "interactive", what: "view_submission", accepts: true, payload: payload}
	d.apply = func(raw json.RawMessage) outcome { return p.s.submitted(v, raw) }
	p.s.mu.Unlock()

	result := p.s.ask(d)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	switch {
	case result == shutdown:
		return errors.New("the simulator was closed")
	case result != acked:
		return p.notice(Notice{ViewID: v.id, Text: viewTrouble})
	case len(v.errors) > 0:
		return Failure{Text: fieldErrors(v.errors)}
	}
	return nil
}

func fieldErrors(m map[string]string) string {
	text := ""
	for _, block := range sortedKeys(m) {
		if text != "" {
			text += "; "
		}
		text += block + ": " + m[block]
	}
	return text
}

// fill enters the values and lets the client check every field.
func (p *Person) fill(v *view, values map[string]map[string]any) error {
	if len(v.spec.Submit) == 0 || string(v.spec.Submit) == "null" {
		return errors.New("the view has no submit button")
	}
	if err := p.s.enter(v.blocks, v.values, values); err != nil {
		return err
	}
	v.errors = map[string]string{}
	for _, e := range parts(v.blocks) {
		if why := e.invalid(v.values[e.blockID][e.actionID]); why != "" {
			v.errors[e.blockID] = why
		}
	}
	p.s.tell(Event{Kind: "view", User: p.id})
	if len(v.errors) > 0 {
		return Failure{Text: fieldErrors(v.errors)}
	}
	return nil
}

// responseURLs are made for conversation menus that ask for them.
func (p *Person) responseURLs(v *view) []obj {
	list := []obj{}
	for _, e := range parts(v.blocks) {
		if on, _ := e.element["response_url_enabled"].(bool); !on {
			continue
		}
		if id, _ := v.values[e.blockID][e.actionID][e.key()].(string); id != "" {
			list = append(list, obj{
				"response_url": p.s.newHook("actions", hook{channel: id, user: p.id}), "block_id": e.blockID, "action_id": e.actionID, "channel_id": id,
			})
		}
	}
	return list
}

// submitted carries out the ack of a view_submission. What Slack does not
// understand is trouble for the person, and the app hears nothing of it.
func (s *Server) submitted(v *view, raw json.RawMessage) outcome {
	if raw == nil {
		s.close(v)
		return acked
	}
	var answer struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return misunderstood
	}
	switch answer.Action {
	case "errors":
		inputs := map[string]bool{}
		for _, e := range parts(v.blocks) {
			inputs[e.blockID] = inputs[e.blockID] || e.block["type"] == "input"
		}
		for block := range answer.Errors {
			if !inputs[block] {
				return misunderstood
			}
		}
		if len(answer.Errors) == 0 {
			return misunderstood
		}
		v.errors = answer.Errors
		s.tell(Event{Kind: "view", User: v.user})
		return acked
	case "clear":
		for _, each := range slices.Clone(s.stacks[v.user]) {
			s.close(each)
		}
		return acked
	case "update", "push":
		return s.answeredView(v, answer.Action, answer.View)
	}
	return misunderstood
}

func (s *Server) answeredView(v *view, action string, raw json.RawMessage) outcome {
	if len(raw) == 0 || len(raw) > maxViewSize {
		return misunderstood
	}
	spec, problems := readView(raw)
	if len(problems) > 0 || spec.Type != "modal" {
		s.log.Warn("the app answered with a view that Slack refuses", "problems", problems)
		return misunderstood
	}
	if action == "push" {
		if len(s.stacks[v.user]) >= maxStack || s.externalTaken(spec.ExternalID, nil) {
			return misunderstood
		}
		s.showView(v.user, spec, v)
		return acked
	}
	if s.externalTaken(spec.ExternalID, v) {
		return misunderstood
	}
	s.fillView(v, spec)
	s.tell(Event{Kind: "view", User: v.user})
	return acked
}

// close takes a modal off its stack.
func (s *Server) close(v *view) {
	s.stacks[v.user] = slices.DeleteFunc(s.stacks[v.user], func(o *view) bool { return o == v })
	delete(s.views, v.id)
	s.tell(Event{Kind: "view", User: v.user})
}

// CloseView closes the visible modal, or with all the whole stack. The app is
// told of each closed view that asked for it.
func (p *Person) CloseView(viewID string, all bool) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	v, err := p.top(viewID)
	if err != nil {
		return err
	}
	closing := []*view{v}
	all = all || v.spec.ClearOnClose
	if all {
		closing = slices.Clone(p.s.stacks[p.id])
		slices.Reverse(closing)
	}
	for _, each := range closing {
		if each.spec.NotifyOnClose {
			payload := p.envelope("view_closed")
			payload["view"], payload["is_cleared"] = p.s.viewJSON(each), all
			p.s.dispatch(&delivery{kind: "interactive", what: "view_closed", payload: payload})
		}
		p.s.close(each)
	}
	return nil
}
