package blockkit

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A check judges one value at a pointer.
type check func(c *checker, at string, v any)

// A field of an object: whether it must be there and what it holds.
type field struct {
	need  bool
	check check
}

// A shape lists an object's fields; any other is refused. "type" is always
// allowed.
type shape map[string]field

func need(f check) field { return field{need: true, check: f} }
func may(f check) field  { return field{check: f} }

// with returns the shape and more fields.
func (s shape) with(more shape) shape {
	out := maps.Clone(s)
	maps.Copy(out, more)
	return out
}

// object checks an object's fields in the order of their names.
func (c *checker) object(at string, v map[string]any, rules shape) {
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		f := rules[name]
		value, given := v[name]
		switch {
		case !given || (value == nil && !f.need):
			if f.need {
				c.missing(at, name)
			}
		case value == nil && strings.HasSuffix(name, "blocks"):
			c.fail(at+"/"+name, "must provide an array") // slack-go sends null for a view without blocks
		case value == nil:
			c.missing(at, name)
		default:
			f.check(c, at+"/"+name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if _, known := rules[name]; !known && name != "type" {
			c.fail(at, "invalid additional property: %s", name)
		}
	}
}

func (c *checker) unsupported(at string, kind any) {
	c.fail(at+"/type", "unsupported type: %s", fmt.Sprint(kind))
}

// str is a string within a limit.
func str(l limit) check {
	return func(c *checker, at string, v any) {
		s, ok := v.(string)
		if !ok {
			c.fail(at, "must provide a string")
			return
		}
		c.length(at, s, l)
	}
}

// link is an absolute URL within a limit.
func link(l limit) check {
	return func(c *checker, at string, v any) {
		str(l)(c, at, v)
		if s, ok := v.(string); ok && s != "" {
			if u, err := url.Parse(s); err != nil || u.Scheme == "" {
				c.fail(at, "must be a valid URL")
			}
		}
	}
}

func boolean(c *checker, at string, v any) {
	if _, ok := v.(bool); !ok {
		c.fail(at, "must be a boolean")
	}
}

func whole(l limit) check {
	return func(c *checker, at string, v any) {
		s, ok := v.(json.Number)
		if !ok {
			c.fail(at, "must be an integer")
			return
		}
		n, err := strconv.Atoi(s.String())
		switch {
		case err != nil:
			c.fail(at, "must be an integer")
		case l.Min != nil && n < *l.Min:
			c.bound(at, "min", *l.Min, n, "must be at least %d")
		case l.Max != nil && n > *l.Max:
			c.bound(at, "max", *l.Max, n, "must be at most %d")
		}
	}
}

func number(l limit) check {
	return func(c *checker, at string, v any) {
		s, ok := v.(json.Number)
		if !ok {
			c.fail(at, "must be a number")
			return
		}
		f, err := s.Float64()
		if err != nil {
			c.fail(at, "must be a number")
		} else if l.ExclusiveMin != nil && f <= float64(*l.ExclusiveMin) {
			c.fail(at, "must be greater than %d", *l.ExclusiveMin)
		}
	}
}

func oneOf(values ...string) check {
	return func(c *checker, at string, v any) {
		if s, ok := v.(string); !ok || !slices.Contains(values, s) {
			c.fail(at, "must be one of: %s", strings.Join(values, ", "))
		}
	}
}

func anything(*checker, string, any) {}

// list is an array whose items pass a check.
func list(l limit, item check) check {
	return func(c *checker, at string, v any) {
		items, ok := v.([]any)
		if !ok {
			c.fail(at, "must provide an array")
			return
		}
		c.count(at, len(items), l)
		for i, x := range items {
			if len(c.problems) >= maxProblems {
				return
			}
			item(c, at+"/"+strconv.Itoa(i), x)
		}
	}
}

// is is an object of a shape.
func is(rules shape) check {
	return func(c *checker, at string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			c.fail(at, "must provide an object")
			return
		}
		c.object(at, m, rules)
	}
}

// byType is an object whose type chooses its shape.
func byType(shapes map[string]shape) check {
	return func(c *checker, at string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			c.fail(at, "must provide an object")
			return
		}
		kind, ok := m["type"]
		if !ok {
			c.missing(at, "type")
			return
		}
		name, _ := kind.(string)
		rules, ok := shapes[name]
		if !ok {
			c.unsupported(at, kind)
			return
		}
		c.object(at, m, rules)
	}
}

// text is a text object. The general limit of 3,000 holds unless l is tighter.
func text(l limit, kinds ...string) check {
	general := lim("text")
	if l.MaxLength == nil {
		l.MaxLength = general.MaxLength
	}
	if l.MinLength == nil {
		l.MinLength = general.MinLength
	}
	shapes := map[string]shape{}
	for _, k := range kinds {
		if k == "plain_text" {
			shapes[k] = shape{"text": need(str(l)), "emoji": may(boolean)}
		} else {
			shapes[k] = shape{"text": need(str(l)), "verbatim": may(boolean)}
		}
	}
	inner := byType(shapes)
	return func(c *checker, at string, v any) {
		before := len(c.problems)
		inner(c, at, v)
		if len(kinds) > 1 && len(c.problems) > before {
			// Where several kinds are possible Slack first says that none fits.
			c.problems = slices.Insert(c.problems, before, Problem{
				Code: "failed_constraint", Message: "failed to match all allowed schemas", Pointer: at,
			})
		}
	}
}

func plain(l limit) check   { return text(l, "plain_text") }
func anyText(l limit) check { return text(l, "plain_text", "mrkdwn") }

// Composition objects. Source: docs.slack.dev/reference/block-kit/composition-objects.
var (
	confirm = is(shape{
		"title":   need(plain(lim("confirmation.title"))),
		"text":    need(anyText(lim("confirmation.text"))), // plain_text by the reference, but mrkdwn is let through
		"confirm": need(plain(lim("confirmation.confirm"))),
		"deny":    need(plain(lim("confirmation.deny"))),
		"style":   may(oneOf("primary", "danger")),
	})
	optionShape = shape{
		"text":        need(plain(lim("option.text"))),
		"value":       need(str(lim("option.value"))),
		"description": may(plain(lim("option.description"))),
	}
	plainOption = is(optionShape)
	textOption  = is(optionShape.with(shape{ // checkboxes and radio buttons also take mrkdwn
		"text":        need(anyText(lim("option.text"))),
		"description": may(anyText(lim("option.description"))),
	}))
	linkOption  = is(optionShape.with(shape{"url": may(link(lim("option.url")))}))
	optionGroup = is(shape{
		"label":   need(plain(lim("option_group.label"))),
		"options": need(list(lim("option_group.options"), plainOption)),
	})
	slackFileShape = is(shape{"id": may(str(limit{})), "url": may(link(lim("url_source.url")))})
	slackFile      = func(c *checker, at string, v any) {
		slackFileShape(c, at, v)
		if m, ok := v.(map[string]any); ok && (m["id"] == nil) == (m["url"] == nil) {
			c.fail(at, "must provide exactly one of `id` and `url`")
		}
	}
	conversationFilter = func(c *checker, at string, v any) {
		is(shape{
			"include":                          may(list(limit{}, oneOf("im", "mpim", "private", "public"))),
			"exclude_external_shared_channels": may(boolean),
			"exclude_bot_users":                may(boolean),
		})(c, at, v)
		if m, ok := v.(map[string]any); ok && len(m) == 0 {
			c.fail(at, "must not be empty")
		}
	}
	dispatchConfig = is(shape{
		"trigger_actions_on": may(list(limit{}, oneOf("on_enter_pressed", "on_character_entered"))),
	})
)

// Views. Source: docs.slack.dev/reference/views.
var (
	homeShape = shape{
		"blocks": need(func(c *checker, at string, v any) {
			c.blocks(at, v, viewBlocks)
		}),
		"private_metadata": may(str(lim("view.private_metadata"))),
		"callback_id":      may(str(lim("view.callback_id"))),
		"external_id":      may(str(lim("view.external_id"))),
	}
	modalShape = homeShape.with(shape{
		"title":           need(plain(lim("view.title"))),
		"close":           may(plain(lim("view.close"))),
		"submit":          may(plain(lim("view.submit"))),
		"clear_on_close":  may(boolean),
		"notify_on_close": may(boolean),
		"submit_disabled": may(boolean),
	})
)

// same reports whether two options are equal in what Slack compares.
func same(a, b any) bool {
	x, _ := a.(map[string]any)
	y, _ := b.(map[string]any)
	if x == nil || y == nil || !reflect.DeepEqual(x["value"], y["value"]) {
		return false
	}
	xt, _ := x["text"].(map[string]any)
	yt, _ := y["text"].(map[string]any)
	return xt != nil && yt != nil && reflect.DeepEqual(xt["text"], yt["text"])
}
