package blocks_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// check is our own judge of what Slack would refuse, and of what we promise
// beyond that. It reads JSON, as Slack does, and shares neither code nor
// constants with the renderer; its figures are copied from the Block Kit
// reference (docs.slack.dev/reference/block-kit).
func check(kind string, data []byte) (wrong []string) {
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		return []string{"not a JSON object: " + err.Error()}
	}
	c := &judge{actions: map[string]bool{}, ids: map[string]bool{}}
	switch kind {
	case "message":
		c.message(doc)
	case "view":
		c.view(doc)
	default:
		c.fail("", "unknown kind %q", kind)
	}
	return c.wrong
}

type judge struct {
	wrong   []string
	text    int // characters in all blocks
	primary int
	actions map[string]bool
	ids     map[string]bool
	inputs  bool
}

func (c *judge) fail(at, format string, args ...any) {
	c.wrong = append(c.wrong, at+": "+fmt.Sprintf(format, args...))
}

func (c *judge) message(doc map[string]any) {
	c.keys("", doc, "text", "blocks")
	text, _ := doc["text"].(string)
	if strings.TrimSpace(text) == "" {
		c.fail("text", "empty")
	}
	if n := length(text); n > 4000 {
		c.fail("text", "%d characters; chat.update takes 4000", n)
	}
	c.markup("text", text)
	if blocks, ok := doc["blocks"]; ok {
		c.blocks("blocks", blocks, 50, "section", "header", "context", "actions", "divider")
	}
	if c.text > 12000 {
		c.fail("blocks", "%d characters in all", c.text)
	}
}

func (c *judge) view(doc map[string]any) {
	if doc["type"] == "home" {
		c.keys("", doc, "type", "blocks", "private_metadata", "callback_id")
		c.blocks("blocks", doc["blocks"], 100, "section", "header", "context", "actions", "divider")
		return
	}
	c.keys("", doc, "type", "title", "blocks", "close", "submit", "private_metadata", "callback_id")
	if doc["type"] != "modal" {
		c.fail("type", "%v", doc["type"])
	}
	c.textObject("title", doc["title"], 24, "plain_text")
	for _, k := range []string{"close", "submit"} {
		if v, ok := doc[k]; ok {
			c.textObject(k, v, 24, "plain_text")
		}
	}
	c.str("private_metadata", doc["private_metadata"], 0, 3000)
	c.str("callback_id", doc["callback_id"], 0, 255)
	c.blocks("blocks", doc["blocks"], 100, "section", "input", "divider", "context", "header")
	if _, ok := doc["submit"]; c.inputs && !ok {
		c.fail("submit", "needed by input blocks")
	}
	if data, _ := json.Marshal(doc); len(data) > 250_000 {
		c.fail("", "%d bytes", len(data))
	}
}

func (c *judge) blocks(at string, v any, most int, allowed ...string) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > most {
		c.fail(at, "want 1 to %d blocks, have %d", most, len(list))
	}
	for i, b := range list {
		at := fmt.Sprintf("%s/%d", at, i)
		block, _ := b.(map[string]any)
		kind, _ := block["type"].(string)
		if !strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+kind+" ") {
			c.fail(at, "block type %q", kind)
		}
		if id, ok := block["block_id"].(string); ok {
			if id == "" || length(id) > 255 || c.ids[id] {
				c.fail(at, "block_id %q", id)
			}
			c.ids[id] = true
		}
		switch kind {
		case "section":
			if fields, ok := block["fields"]; ok {
				c.keys(at, block, "type", "fields", "block_id")
				c.each(at+"/fields", fields, 10, func(at string, f any) { c.textObject(at, f, 2000, "plain_text", "mrkdwn") })
				continue
			}
			c.keys(at, block, "type", "text", "block_id", "accessory")
			c.textObject(at+"/text", block["text"], 3000, "plain_text", "mrkdwn")
			if acc, ok := block["accessory"]; ok {
				c.element(at+"/accessory", acc, map[string]bool{})
			}
		case "header":
			c.keys(at, block, "type", "text", "block_id")
			c.textObject(at+"/text", block["text"], 150, "plain_text")
		case "context":
			c.keys(at, block, "type", "elements", "block_id")
			c.each(at+"/elements", block["elements"], 10, func(at string, e any) {
				c.textObject(at, e, 3000, "plain_text", "mrkdwn")
			})
		case "actions":
			c.keys(at, block, "type", "elements", "block_id")
			own := map[string]bool{}
			c.each(at+"/elements", block["elements"], 25, func(at string, e any) { c.element(at, e, own) })
		case "input":
			c.inputs = true
			c.keys(at, block, "type", "block_id", "label", "element", "hint", "optional")
			c.textObject(at+"/label", block["label"], 2000, "plain_text")
			if h, ok := block["hint"]; ok {
				c.textObject(at+"/hint", h, 2000, "plain_text")
			}
			c.input(at+"/element", block["element"])
		}
	}
}

func (c *judge) each(at string, v any, most int, f func(at string, e any)) {
	list, _ := v.([]any)
	if len(list) == 0 || len(list) > most {
		c.fail(at, "want 1 to %d, have %d", most, len(list))
	}
	for i, e := range list {
		f(fmt.Sprintf("%s/%d", at, i), e)
	}
}

func (c *judge) element(at string, v any, own map[string]bool) {
	e, _ := v.(map[string]any)
	if e["type"] != "button" {
		c.fail(at, "element type %v", e["type"])
		return
	}
	c.keys(at, e, "type", "text", "action_id", "value", "style", "confirm")
	c.textObject(at+"/text", e["text"], 75, "plain_text")
	c.str(at+"/value", e["value"], 1, 2000)
	id := c.str(at+"/action_id", e["action_id"], 1, 255)
	if own[id] || c.actions[id] {
		c.fail(at, "action_id %q twice", id)
	}
	own[id], c.actions[id] = true, true
	switch e["style"] {
	case nil:
	case "primary":
		if c.primary++; c.primary > 1 {
			c.fail(at, "a second primary button")
		}
	case "danger":
		if e["confirm"] == nil {
			c.fail(at, "danger without a dialog")
		}
	default:
		c.fail(at, "style %v", e["style"])
	}
	if d, ok := e["confirm"].(map[string]any); ok {
		c.keys(at+"/confirm", d, "title", "text", "confirm", "deny", "style")
		c.textObject(at+"/confirm/title", d["title"], 100, "plain_text")
		c.textObject(at+"/confirm/text", d["text"], 300, "plain_text")
		c.textObject(at+"/confirm/confirm", d["confirm"], 30, "plain_text")
		c.textObject(at+"/confirm/deny", d["deny"], 30, "plain_text")
	}
}

func (c *judge) input(at string, v any) {
	e, _ := v.(map[string]any)
	c.str(at+"/action_id", e["action_id"], 1, 255)
	option := func(at string, v any) {
		o, _ := v.(map[string]any)
		c.keys(at, o, "text", "value")
		c.textObject(at+"/text", o["text"], 75, "plain_text")
		c.str(at+"/value", o["value"], 1, 150)
	}
	among := func(key string) {
		initial, ok := e[key]
		if !ok {
			return
		}
		want, _ := json.Marshal(initial)
		list, _ := e["options"].([]any)
		for _, o := range list {
			if have, _ := json.Marshal(o); string(have) == string(want) {
				return
			}
		}
		c.fail(at+"/"+key, "is not among the options")
	}
	switch e["type"] {
	case "plain_text_input":
		c.keys(at, e, "type", "action_id", "multiline", "max_length", "initial_value", "focus_on_load")
		n, _ := e["max_length"].(float64)
		if n < 1 || n > 3000 {
			c.fail(at, "max_length %v", n)
		}
		c.str(at+"/initial_value", e["initial_value"], 0, int(n))
	case "number_input":
		c.keys(at, e, "type", "action_id", "is_decimal_allowed", "initial_value")
	case "radio_buttons":
		c.keys(at, e, "type", "action_id", "options", "initial_option")
		c.each(at+"/options", e["options"], 10, option)
		among("initial_option")
	case "static_select":
		c.keys(at, e, "type", "action_id", "placeholder", "options", "initial_option")
		c.textObject(at+"/placeholder", e["placeholder"], 150, "plain_text")
		c.each(at+"/options", e["options"], 100, option)
		among("initial_option")
	case "users_select":
		c.keys(at, e, "type", "action_id", "placeholder", "initial_user")
	case "conversations_select":
		c.keys(at, e, "type", "action_id", "placeholder", "filter")
	case "datetimepicker":
		c.keys(at, e, "type", "action_id", "initial_date_time")
	default:
		c.fail(at, "element type %v", e["type"])
	}
}

func (c *judge) textObject(at string, v any, most int, kinds ...string) {
	o, _ := v.(map[string]any)
	kind, _ := o["type"].(string)
	if !strings.Contains(" "+strings.Join(kinds, " ")+" ", " "+kind+" ") {
		c.fail(at, "text type %q", kind)
	}
	c.keys(at, o, "type", "text", "emoji", "verbatim")
	_, emoji := o["emoji"]
	_, verbatim := o["verbatim"]
	if emoji && kind == "mrkdwn" || verbatim && kind == "plain_text" {
		c.fail(at, "emoji belongs to plain_text, verbatim to mrkdwn")
	}
	if kind == "mrkdwn" && o["verbatim"] != true {
		c.fail(at, "mrkdwn without verbatim")
	}
	text := c.str(at, o["text"], 1, most)
	if strings.TrimSpace(text) == "" {
		c.fail(at, "blank")
	}
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' || r == 0x202E {
			c.fail(at, "control character %U", r)
			break
		}
	}
	c.text += length(text)
	if kind == "mrkdwn" {
		c.markup(at, text)
	}
}

func (c *judge) str(at string, v any, least, most int) string {
	s, ok := v.(string)
	if !ok && (v != nil || least > 0) {
		c.fail(at, "no string: %v", v)
	}
	if n := length(s); n < least || n > most {
		c.fail(at, "%d characters, want %d to %d", n, least, most)
	}
	return s
}

func (c *judge) keys(at string, o map[string]any, known ...string) {
	for k := range o {
		if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+k+" ") {
			c.fail(at, "invalid additional property: %s", k)
		}
	}
}

var (
	angled   = regexp.MustCompile(`<[^<>]*>`)
	ours     = regexp.MustCompile(`^<(@[UW][A-Z0-9]+|#[CG][A-Z0-9]+|!subteam\^S[A-Z0-9]+|!date\^-?\d+\^[^|<>]+\|[^|<>]+|https?://[^|<>]+\|[^|<>]+)>$`)
	entities = regexp.MustCompile(`&(amp|lt|gt);`)
)

// markup checks that whatever Slack would interpret was put there by us.
func (c *judge) markup(at, s string) {
	for _, ref := range angled.FindAllString(s, -1) {
		if !ours.MatchString(ref) {
			c.fail(at, "reference %q", ref)
		}
	}
	if rest := angled.ReplaceAllString(s, ""); strings.ContainsAny(rest, "<>") {
		c.fail(at, "half a reference in %.80q", rest)
	}
	if strings.Contains(entities.ReplaceAllString(s, ""), "&") {
		c.fail(at, "bare ampersand or half an entity")
	}
	if strings.Count(s, "```")%2 != 0 {
		c.fail(at, "a code block is left open")
	}
}

// length counts UTF-16 units, the strictest of the ways to count.
func length(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x10000 {
			n++
		}
	}
	return n
}
