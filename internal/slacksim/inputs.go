package slacksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A part is one element of a block, found in a message or view.
type part struct {
	block, element map[string]any
	blockID        string
	actionID       string
	kind           string // the element's type
}

// parts lists the elements of blocks in the order people see them.
func parts(blocks json.RawMessage) []part {
	var list []map[string]any
	if len(blocks) == 0 || json.Unmarshal(blocks, &list) != nil {
		return nil
	}
	var out []part
	add := func(b map[string]any, v any) {
		e, _ := v.(map[string]any)
		action, _ := e["action_id"].(string)
		if action == "" {
			return
		}
		id, _ := b["block_id"].(string)
		kind, _ := e["type"].(string)
		out = append(out, part{block: b, element: e, blockID: id, actionID: action, kind: kind})
	}
	var walk func(b map[string]any)
	walk = func(b map[string]any) {
		add(b, b["accessory"])
		add(b, b["element"])
		for _, key := range []string{"elements", "actions"} {
			for _, e := range anyList(b[key]) {
				if m, ok := e.(map[string]any); ok && m["type"] == "card" {
					walk(m)
					continue
				}
				add(b, e)
			}
		}
		for _, e := range anyList(b["child_blocks"]) {
			if m, ok := e.(map[string]any); ok {
				walk(m)
			}
		}
	}
	for _, b := range list {
		walk(b)
	}
	return out
}

func anyList(v any) []any {
	list, _ := v.([]any)
	return list
}

// textOf returns the words of a text object.
func textOf(v any) string {
	m, _ := v.(map[string]any)
	t, _ := m["text"].(string)
	return t
}

// label is what people see on the element.
func (p part) label() string {
	for _, key := range []string{"text", "placeholder"} {
		if t := textOf(p.element[key]); t != "" {
			return t
		}
	}
	return textOf(p.block["label"])
}

// key is where the element's value stands in state and actions; empty for
// elements that hold none.
func (p part) key() string {
	switch p.kind {
	case "plain_text_input", "email_text_input", "url_text_input", "number_input":
		return "value"
	case "static_select", "external_select", "radio_buttons":
		return "selected_option"
	case "multi_static_select", "multi_external_select", "checkboxes":
		return "selected_options"
	case "users_select":
		return "selected_user"
	case "multi_users_select":
		return "selected_users"
	case "channels_select":
		return "selected_channel"
	case "multi_channels_select":
		return "selected_channels"
	case "conversations_select":
		return "selected_conversation"
	case "multi_conversations_select":
		return "selected_conversations"
	case "datepicker":
		return "selected_date"
	case "timepicker":
		return "selected_time"
	case "datetimepicker":
		return "selected_date_time"
	case "rich_text_input":
		return "rich_text_value"
	case "file_input":
		return "files"
	}
	return ""
}

// many reports whether the element holds a list.
func (p part) many() bool {
	return p.kind == "checkboxes" || strings.HasPrefix(p.kind, "multi_") || p.kind == "file_input"
}

// initial is the value that the app preset.
func (p part) initial() any {
	switch key := p.key(); key {
	case "value":
		if v, _ := p.element["initial_value"].(string); v != "" {
			return v
		}
		return nil
	case "files":
		return []any{}
	default:
		v := p.element["initial_"+strings.TrimPrefix(key, "selected_")]
		if p.many() && v == nil {
			return []any{}
		}
		return v
	}
}

// stateOf is the state of all inputs: what was entered before, else what the
// app preset, else null.
func (s *Server) stateOf(blocks json.RawMessage, before map[string]map[string]obj) map[string]map[string]obj {
	state := map[string]map[string]obj{}
	for _, p := range parts(blocks) {
		key := p.key()
		if key == "" {
			continue
		}
		value := obj{"type": p.kind, key: p.initial()}
		if old := before[p.blockID][p.actionID]; old != nil && old["type"] == p.kind {
			value = old
		}
		if state[p.blockID] == nil {
			state[p.blockID] = map[string]obj{}
		}
		state[p.blockID][p.actionID] = value
	}
	return state
}

// enter puts what a person typed or chose into the state. A value is a string
// or a list of strings; "" and nil clear the input.
func (s *Server) enter(blocks json.RawMessage, state map[string]map[string]obj, values map[string]map[string]any) error {
	all := parts(blocks)
	for blockID, actions := range values {
		for actionID, given := range actions {
			i := slices.IndexFunc(all, func(p part) bool {
				return p.blockID == blockID && p.actionID == actionID && p.key() != ""
			})
			if i < 0 {
				return fmt.Errorf("there is no input %s/%s", blockID, actionID)
			}
			v, err := s.value(all[i], given)
			if err != nil {
				return fmt.Errorf("enter %v into %s/%s: %w", given, blockID, actionID, err)
			}
			state[blockID][actionID] = obj{"type": all[i].kind, all[i].key(): v}
		}
	}
	return nil
}

// value turns what a person gives into what Slack sends.
func (s *Server) value(p part, given any) (any, error) {
	var texts []string
	switch g := given.(type) {
	case nil:
	case string:
		if g != "" {
			texts = []string{g}
		}
	case []string:
		texts = g
	case []any:
		for _, x := range g {
			texts = append(texts, fmt.Sprint(x))
		}
	default:
		texts = []string{fmt.Sprint(g)}
	}
	out := []any{}
	for _, t := range texts {
		one, err := s.oneValue(p, t)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	switch {
	case p.many():
		if most := p.number("max_selected_items"); most > 0 && len(out) > most {
			return nil, fmt.Errorf("at most %d can be chosen", most)
		}
		return out, nil
	case len(out) == 0:
		return nil, nil
	case len(out) > 1:
		return nil, errors.New("only one value can be given")
	}
	return out[0], nil
}

func (p part) number(key string) int {
	n, _ := p.element[key].(float64)
	return int(n)
}

func (s *Server) oneValue(p part, text string) (any, error) {
	switch p.key() {
	case "selected_option", "selected_options":
		return p.option(text)
	case "selected_user", "selected_users":
		if u := s.findUser(text); u != nil {
			return u.ID, nil
		}
		return nil, errors.New("there is no such person")
	case "selected_channel", "selected_channels", "selected_conversation", "selected_conversations":
		if c := s.findChannel(text); c != nil {
			return c.ID, nil
		}
		return nil, errors.New("there is no such channel")
	case "selected_date":
		_, err := time.Parse(time.DateOnly, text)
		return text, err
	case "selected_time":
		_, err := time.Parse("15:04", text)
		return text, err
	case "selected_date_time":
		return strconv.ParseInt(text, 10, 64)
	case "rich_text_value":
		return obj{"type": "rich_text", "elements": []obj{{"type": "rich_text_section", "elements": []obj{{"type": "text", "text": text}}}}}, nil
	case "files":
		if f := s.files[text]; f != nil {
			return s.fileJSON(f), nil
		}
		return nil, errors.New("there is no such file")
	}
	return text, nil
}

// option finds a menu's entry by value or label. The entries of an external
// menu are whatever the app offered, so any is taken.
func (p part) option(text string) (any, error) {
	options := anyList(p.element["options"])
	for _, g := range anyList(p.element["option_groups"]) {
		if m, ok := g.(map[string]any); ok {
			options = append(options, anyList(m["options"])...)
		}
	}
	for _, by := range []func(map[string]any) any{
		func(o map[string]any) any { return o["value"] },
		func(o map[string]any) any { return textOf(o["text"]) },
	} {
		for _, o := range options {
			if m, ok := o.(map[string]any); ok && by(m) == text {
				return m, nil
			}
		}
	}
	if strings.HasSuffix(p.kind, "external_select") {
		return obj{"text": obj{"type": "plain_text", "text": text, "emoji": true}, "value": text}, nil
	}
	return nil, errors.New("there is no such choice")
}

// invalid is what Slack's client says at a field before it sends a view; empty
// when the field is in order. The wording is policy.
func (p part) invalid(state obj) string {
	if p.block["type"] != "input" {
		return ""
	}
	v := state[p.key()]
	list, isList := v.([]any)
	if v == nil || (isList && len(list) == 0) {
		if optional, _ := p.block["optional"].(bool); !optional {
			return "Please complete this required field."
		}
		return ""
	}
	text, _ := v.(string)
	n := utf8.RuneCountInString(text)
	switch p.kind {
	case "plain_text_input":
		if most := p.number("max_length"); most > 0 && n > most {
			return fmt.Sprintf("Please shorten this text to %d characters or less.", most)
		}
		if least := p.number("min_length"); n < least {
			return fmt.Sprintf("Please use at least %d characters.", least)
		}
	case "number_input":
		return p.invalidNumber(text)
	case "email_text_input":
		if _, err := mail.ParseAddress(text); err != nil {
			return "Please enter a valid email address."
		}
	case "url_text_input":
		if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Host == "" {
			return "Please enter a valid URL."
		}
	}
	return ""
}

func (p part) invalidNumber(text string) string {
	f, err := strconv.ParseFloat(text, 64)
	decimal, _ := p.element["is_decimal_allowed"].(bool)
	if err != nil || (!decimal && strings.ContainsAny(text, ".eE")) {
		return "Please enter a valid number."
	}
	bound := func(key string) (float64, bool) {
		s, _ := p.element[key].(string)
		b, err := strconv.ParseFloat(s, 64)
		return b, err == nil
	}
	if lo, ok := bound("min_value"); ok && f < lo {
		return fmt.Sprintf("Please enter a number that is at least %v.", lo)
	}
	if hi, ok := bound("max_value"); ok && f > hi {
		return fmt.Sprintf("Please enter a number that is at most %v.", hi)
	}
	return ""
}
