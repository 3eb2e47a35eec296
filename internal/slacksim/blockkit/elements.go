package blockkit

import "fmt"

// Places where an element may stand.
const (
	inSection = 1 << iota
	inActions
	inInput
	inContext
	inContextActions
)

// An element is one interactive or visible part of a block.
type element struct {
	in          int // places
	on          Surface
	interactive bool // has an action_id
	fields      shape
	check       func(c *checker, at string, v map[string]any) // what a shape cannot say; may be nil
}

var (
	actionID    = may(str(lim("action_id")))
	placeholder = may(plain(lim("select.placeholder")))
	textHint    = may(plain(lim("plain_text_input.placeholder")))
	id          = str(limit{})
	ids         = list(limit{}, id)
	contextText = anyText(limit{})
)

// common are the fields of every interactive element.
func common(more shape) shape {
	return shape{"action_id": actionID}.with(more)
}

func selectFields(more shape) shape {
	return common(shape{
		"placeholder": placeholder, "confirm": may(confirm), "focus_on_load": may(boolean),
	}).with(more)
}

var multi = shape{"max_selected_items": may(whole(limit{Min: new(1)}))}

// static fields of menus whose entries come with the message.
var static = shape{
	"options":       may(list(lim("select.options"), plainOption)),
	"option_groups": may(list(lim("select.option_groups"), optionGroup)),
}

// elements by type. Source: docs.slack.dev/reference/block-kit/block-elements.
var elements = map[string]element{
	"button": {in: inSection | inActions, on: everywhere, interactive: true, fields: common(shape{
		"text":                need(plain(lim("button.text"))),
		"url":                 may(link(lim("button.url"))),
		"value":               may(str(lim("button.value"))),
		"style":               may(oneOf("primary", "danger")),
		"confirm":             may(confirm),
		"accessibility_label": may(str(lim("button.accessibility_label"))),
	})},
	"workflow_button": {in: inSection | inActions, on: Message, interactive: true, fields: common(shape{
		"text":                need(plain(lim("button.text"))),
		"workflow":            need(is(shape{"trigger": need(anything)})),
		"style":               may(oneOf("primary", "danger")),
		"accessibility_label": may(str(lim("button.accessibility_label"))),
	})},
	"checkboxes": {in: inSection | inActions | inInput, on: everywhere, interactive: true, fields: common(shape{
		"options":         need(list(lim("checkboxes.options"), textOption)),
		"initial_options": may(list(limit{MinItems: new(1)}, textOption)),
		"confirm":         may(confirm), "focus_on_load": may(boolean),
	}), check: initialAmongOptions},
	"radio_buttons": {in: inSection | inActions | inInput, on: everywhere, interactive: true, fields: common(shape{
		"options":        need(list(lim("radio_buttons.options"), textOption)),
		"initial_option": may(textOption),
		"confirm":        may(confirm), "focus_on_load": may(boolean),
	}), check: initialAmongOptions},
	"overflow": {in: inSection | inActions, on: everywhere, interactive: true, fields: common(shape{
		"options": need(list(lim("overflow.options"), linkOption)),
		"confirm": may(confirm),
	})},
	"static_select": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(static).with(shape{"initial_option": may(plainOption)}), check: staticMenu},
	"multi_static_select": {in: inSection | inInput, on: everywhere, interactive: true,
		fields: selectFields(static).with(multi).with(shape{"initial_options": may(list(limit{MinItems: new(1)}, plainOption))}), check: staticMenu},
	"external_select": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(shape{"initial_option": may(plainOption), "min_query_length": may(whole(limit{}))})},
	"multi_external_select": {in: inSection | inInput, on: everywhere, interactive: true,
		fields: selectFields(multi).with(shape{"initial_options": may(list(limit{}, plainOption)), "min_query_length": may(whole(limit{}))})},
	"users_select": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(shape{"initial_user": may(id)})},
	"multi_users_select": {in: inSection | inInput, on: everywhere, interactive: true,
		fields: selectFields(multi).with(shape{"initial_users": may(ids)})},
	"conversations_select": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(shape{
			"initial_conversation": may(id), "default_to_current_conversation": may(boolean),
			"response_url_enabled": may(boolean), "filter": may(conversationFilter),
		}), check: responseURLInModals},
	"multi_conversations_select": {in: inSection | inInput, on: everywhere, interactive: true,
		fields: selectFields(multi).with(shape{
			"initial_conversations": may(ids), "default_to_current_conversation": may(boolean), "filter": may(conversationFilter),
		})},
	"channels_select": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(shape{"initial_channel": may(id), "response_url_enabled": may(boolean)}), check: responseURLInModals},
	"multi_channels_select": {in: inSection | inInput, on: everywhere, interactive: true,
		fields: selectFields(multi).with(shape{"initial_channels": may(ids)})},
	"datepicker": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(shape{"initial_date": may(pattern("2006-01-02"))})},
	"timepicker": {in: inSection | inActions | inInput, on: everywhere, interactive: true,
		fields: selectFields(shape{"initial_time": may(pattern("15:04")), "timezone": may(id)})},
	"datetimepicker": {in: inSection | inActions | inInput, on: everywhere, interactive: true, fields: common(shape{
		"initial_date_time": may(whole(limit{Min: new(1000000000), Max: new(9999999999)})),
		"confirm":           may(confirm), "focus_on_load": may(boolean),
	})},
	"plain_text_input": {in: inInput, on: everywhere, interactive: true, fields: common(shape{
		"placeholder": textHint, "initial_value": may(str(limit{})), "multiline": may(boolean),
		"min_length": may(whole(lim("plain_text_input.min_length"))), "max_length": may(whole(lim("plain_text_input.max_length"))),
		"dispatch_action_config": may(dispatchConfig), "focus_on_load": may(boolean),
	}), check: func(c *checker, at string, v map[string]any) {
		if lo, hi := integer(v["min_length"]), integer(v["max_length"]); v["max_length"] != nil && lo > hi {
			c.fail(at+"/min_length", "must be less than `max_length`")
		}
	}},
	"email_text_input": {in: inInput, on: everywhere, interactive: true, fields: common(shape{
		"placeholder": textHint, "initial_value": may(str(limit{})), "dispatch_action_config": may(dispatchConfig), "focus_on_load": may(boolean),
	})},
	"url_text_input": {in: inInput, on: everywhere, interactive: true, fields: common(shape{
		"placeholder": textHint, "initial_value": may(link(limit{})), "dispatch_action_config": may(dispatchConfig), "focus_on_load": may(boolean),
	})},
	"number_input": {in: inInput, on: everywhere, interactive: true, fields: common(shape{
		"is_decimal_allowed": need(boolean), "initial_value": may(str(limit{})), "min_value": may(str(limit{})), "max_value": may(str(limit{})),
		"placeholder": textHint, "dispatch_action_config": may(dispatchConfig), "focus_on_load": may(boolean),
	})},
	"rich_text_input": {in: inInput, on: Modal | Home, interactive: true, fields: common(shape{
		"placeholder": textHint, "initial_value": may(anything), "dispatch_action_config": may(dispatchConfig), "focus_on_load": may(boolean),
	})},
	"file_input": {in: inInput, on: Modal, interactive: true, fields: common(shape{
		"filetypes": may(list(limit{}, str(limit{}))), "max_files": may(whole(lim("file_input.max_files"))),
	})},
	"image": {in: inSection | inContext, on: everywhere, fields: shape{
		"image_url": may(link(lim("image.image_url"))), "slack_file": may(slackFile), "alt_text": need(str(lim("image.alt_text"))),
	}, check: imageSource},
	"feedback_buttons": {in: inContextActions, on: Message, interactive: true, fields: common(shape{
		"positive_button": need(is(feedbackButton)), "negative_button": need(is(feedbackButton)),
	})},
	"icon_button": {in: inContextActions, on: Message, interactive: true, fields: common(shape{
		"icon": need(oneOf("trash")), "text": need(plain(limit{})), "value": may(str(lim("icon_button.value"))),
		"confirm": may(confirm), "accessibility_label": may(str(lim("icon_button.accessibility_label"))),
		"visible_to_user_ids": may(list(lim("icon_button.visible_to_user_ids"), id)),
	})},
}

var feedbackButton = shape{
	"text": need(plain(lim("feedback_button.text"))), "value": need(str(lim("feedback_button.value"))),
	"accessibility_label": may(str(lim("feedback_button.accessibility_label"))),
}

// elementIn checks an element that stands in a place.
func elementIn(place int) check {
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
		if place == inContext && (name == "plain_text" || name == "mrkdwn") {
			contextText(c, at, v)
			return
		}
		e, known := elements[name]
		if !known || e.in&place == 0 || e.on&c.on == 0 {
			c.unsupported(at, kind)
			return
		}
		c.object(at, m, e.fields)
		if e.check != nil {
			e.check(c, at, m)
		}
		if action, _ := m["action_id"].(string); action != "" {
			if c.actionIDs[action] {
				c.fail(at+"/action_id", "`action_id` %q already exists", action)
			}
			c.actionIDs[action] = true
		}
	}
}

// staticMenu: options xor option_groups, and the initial choice among them.
func staticMenu(c *checker, at string, v map[string]any) {
	_, flat := v["options"]
	_, grouped := v["option_groups"]
	switch {
	case !flat && !grouped:
		c.missing(at, "options")
		return
	case flat && grouped:
		c.fail(at, "must provide only one of `options` and `option_groups`")
		return
	}
	initialAmongOptions(c, at, v)
}

func initialAmongOptions(c *checker, at string, v map[string]any) {
	var all []any
	all = append(all, items(v["options"])...)
	for _, g := range items(v["option_groups"]) {
		if group, ok := g.(map[string]any); ok {
			all = append(all, items(group["options"])...)
		}
	}
	among := func(at string, x any) {
		for _, o := range all {
			if same(o, x) {
				return
			}
		}
		c.fail(at, "must match one of the provided options")
	}
	if x, ok := v["initial_option"]; ok && x != nil {
		among(at+"/initial_option", x)
	}
	for i, x := range items(v["initial_options"]) {
		among(fmt.Sprintf("%s/initial_options/%d", at, i), x)
	}
}

func items(v any) []any {
	list, _ := v.([]any)
	return list
}

func responseURLInModals(c *checker, at string, v map[string]any) {
	if on, _ := v["response_url_enabled"].(bool); on && c.on != Modal {
		c.fail(at+"/response_url_enabled", "only works in modals")
	}
}

func imageSource(c *checker, at string, v map[string]any) {
	_, byURL := v["image_url"]
	_, byFile := v["slack_file"]
	switch {
	case !byURL && !byFile:
		c.missing(at, "image_url")
	case byURL && byFile:
		c.fail(at, "must provide only one of `image_url` and `slack_file`")
	}
}
