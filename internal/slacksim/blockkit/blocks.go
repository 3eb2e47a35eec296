package blockkit

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// A block is one block type: where it may stand and what it holds.
type block struct {
	on     Surface
	fields shape
	check  func(c *checker, at string, v map[string]any) // may be nil
}

// blockTypes is filled by init because blocks hold blocks.
// Source: docs.slack.dev/reference/block-kit/blocks.
var blockTypes map[string]block

func init() {
	richText := func(c *checker, at string, v any) { c.nested(at, v, "rich_text") }
	taskCard := func(c *checker, at string, v any) {
		if m, ok := v.(map[string]any); ok && m["type"] == nil { // in a plan the type goes without saying
			c.object(at, m, blockTypes["task_card"].fields)
			return
		}
		c.nested(at, v, "task_card")
	}
	card := func(c *checker, at string, v any) { c.nested(at, v, "card") }
	child := func(c *checker, at string, v any) {
		c.nested(at, v, "section", "header", "divider", "context", "context_actions", "actions", "image", "rich_text", "markdown", "table", "data_table", "data_visualization", "task_card", "plan", "card", "carousel")
	}
	image := elementIn(inContext)
	cell := byType(map[string]shape{
		"raw_text":    {"text": need(str(lim("table.cell_text")))},
		"raw_number":  {"value": need(number(limit{})), "text": may(str(limit{}))},
		"rich_text":   {"elements": need(list(limit{}, richTextElement)), "block_id": may(str(lim("block_id")))},
		"action_cell": {"element": need(elementIn(inActions)), "fallback": may(anything)},
	})
	point := is(shape{"label": need(str(lim("data_visualization.point_label"))), "value": need(number(limit{}))})
	series := shape{
		"series": need(list(lim("data_visualization.series"), is(shape{
			"name": need(str(lim("data_visualization.series_name"))),
			"data": need(list(lim("data_visualization.data"), point)),
		}))),
		"axis_config": need(is(shape{
			"categories": need(list(lim("data_visualization.categories"), str(lim("data_visualization.category_label")))),
			"x_label":    may(str(lim("data_visualization.axis_label"))), "y_label": may(str(lim("data_visualization.axis_label"))),
		})),
	}
	pie := shape{"segments": need(list(lim("data_visualization.segments"), is(shape{
		"label": need(str(lim("data_visualization.segment.label"))), "value": need(number(lim("data_visualization.segment.value"))),
	})))}

	blockTypes = map[string]block{
		"section": {on: everywhere, fields: shape{
			"text":      may(anyText(lim("section.text"))),
			"fields":    may(list(lim("section.fields"), anyText(limit{MaxLength: lim("section.fields").ItemLength}))),
			"accessory": may(elementIn(inSection)), "expand": may(boolean),
		}, check: func(c *checker, at string, v map[string]any) {
			if v["text"] == nil && v["fields"] == nil {
				c.add(Problem{Code: "missing_field", Message: "missing required field: text", Pointer: at, Field: "text", lax: true})
			}
		}},
		"header":          {on: everywhere, fields: shape{"text": need(plain(lim("header.text")))}},
		"divider":         {on: everywhere, fields: shape{}},
		"context":         {on: everywhere, fields: shape{"elements": need(list(lim("context.elements"), elementIn(inContext)))}},
		"context_actions": {on: Message, fields: shape{"elements": need(list(lim("context_actions.elements"), elementIn(inContextActions)))}},
		"actions":         {on: everywhere, fields: shape{"elements": need(list(lim("actions.elements"), elementIn(inActions)))}},
		"image": {on: everywhere, fields: shape{
			"image_url": may(link(lim("image.image_url"))), "slack_file": may(slackFile),
			"alt_text": need(str(lim("image.alt_text"))), "title": may(plain(lim("image.title"))),
		}, check: imageSource},
		"input": {on: everywhere, fields: shape{
			"label": need(plain(lim("input.label"))), "hint": may(plain(lim("input.hint"))),
			"element": need(elementIn(inInput)), "optional": may(boolean), "dispatch_action": may(boolean),
		}, check: func(c *checker, at string, v map[string]any) {
			c.inputs = append(c.inputs, at)
			e, _ := v["element"].(map[string]any)
			if on, _ := v["dispatch_action"].(bool); on && e["type"] == "file_input" {
				c.fail(at+"/dispatch_action", "does not work with `file_input`")
			}
		}},
		"rich_text": {on: everywhere, fields: shape{"elements": need(list(limit{}, richTextElement))}},
		"video": {on: everywhere, fields: shape{
			"alt_text": need(str(lim("video.alt_text"))), "title": need(plain(lim("video.title"))),
			"thumbnail_url": need(link(limit{})), "video_url": need(link(limit{})), "title_url": may(link(limit{})),
			"author_name": may(str(lim("video.author_name"))), "description": may(plain(lim("video.description"))),
			"provider_name": may(str(lim("video.provider_name"))), "provider_icon_url": may(link(limit{})),
		}},
		"file": {on: Message, fields: shape{"external_id": need(str(limit{})), "source": need(oneOf("remote"))}},
		"markdown": {on: Message, fields: shape{"text": need(str(lim("markdown.text")))}, check: func(c *checker, at string, v map[string]any) {
			s, _ := v["text"].(string)
			c.markdown += utf8.RuneCountInString(s)
		}},
		"table": {on: Message, fields: shape{
			"rows": need(list(lim("table.rows"), list(lim("table.cells"), cell))),
			"column_settings": may(list(lim("table.column_settings"), func(c *checker, at string, v any) {
				if v != nil { // null leaves a column as it is
					is(shape{"align": may(oneOf("left", "center", "right", "")), "is_wrapped": may(boolean)})(c, at, v)
				}
			})),
		}, check: func(c *checker, at string, v map[string]any) { c.tables++ }},
		"data_table": {on: Message, fields: shape{
			"caption": need(str(limit{})), "rows": need(list(lim("data_table.rows"), list(lim("data_table.columns"), cell))),
			"page_size": may(whole(lim("data_table.page_size"))), "row_header_column_index": may(whole(limit{})),
		}, check: dataTable},
		"data_visualization": {on: Message, fields: shape{
			"title": need(str(lim("data_visualization.title"))),
			"chart": need(byType(map[string]shape{"pie": pie, "bar": series, "area": series, "line": series})),
		}},
		"task_card": {on: Message, fields: shape{
			"task_id": need(str(limit{})), "title": need(str(limit{})), "status": may(oneOf("pending", "in_progress", "complete", "error")),
			"details": may(richText), "output": may(richText), "hide_title": may(boolean),
			"sources": may(list(limit{}, is(shape{"url": need(link(limit{})), "text": need(str(limit{}))}))),
		}},
		"plan": {on: Message, fields: shape{"title": need(str(limit{})), "tasks": may(list(limit{}, taskCard))}},
		"alert": {on: Modal, fields: shape{
			"text": need(anyText(lim("alert.text"))), "level": may(oneOf("default", "info", "warning", "error", "success")),
		}},
		"card": {on: Message, fields: shape{
			"hero_image": may(image), "icon": may(image), "slack_icon": may(anything),
			"title": may(anyText(lim("card.title"))), "subtitle": may(anyText(lim("card.subtitle"))),
			"body": may(anyText(lim("card.body"))), "subtext": may(anyText(lim("card.subtext"))),
			"actions": may(list(lim("card.actions"), elementIn(inActions))),
		}},
		"carousel": {on: Message, fields: shape{"elements": need(list(lim("carousel.elements"), card))}},
		"container": {on: Message, fields: shape{
			"title": may(anyText(lim("container.title"))), "rich_text_title": may(richText), "subtitle": may(anyText(lim("container.subtitle"))),
			"icon": may(image), "width": may(oneOf("narrow", "standard", "wide", "full")),
			"is_collapsible": may(boolean), "default_collapsed": may(boolean), "has_header_divider": may(boolean),
			"child_blocks": need(list(lim("container.child_blocks"), child)),
		}},
		"layout": {on: Message, fields: shape{
			"label": need(str(lim("layout.label"))), "is_label_visible": may(boolean), "grid_lines": may(oneOf("none", "rows", "outer")),
			"rows": need(list(limit{MinItems: new(1)}, is(shape{"items": need(list(limit{MinItems: new(1)}, is(shape{
				"block": need(child), "width": may(oneOf("narrow", "standard", "wide")), "horizontal_alignment": may(oneOf("start", "center", "end")),
			})))}))),
			"fallback": may(list(limit{}, child)),
		}},
	}
	for name, b := range blockTypes {
		b.fields = b.fields.with(shape{"block_id": may(str(lim("block_id")))})
		blockTypes[name] = b
	}
	settled = true
}

// block checks one block of a surface.
func (c *checker) block(at string, v any) {
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
	b, known := blockTypes[name]
	if !known || b.on&c.on == 0 {
		c.unsupported(at, kind)
		return
	}
	c.actionIDs = map[string]bool{}
	c.object(at, m, b.fields)
	if b.check != nil {
		b.check(c, at, m)
	}
	if bid, _ := m["block_id"].(string); bid != "" {
		if c.blockIDs[bid] {
			c.fail(at+"/block_id", "`block_id` %q already exists", bid)
		}
		c.blockIDs[bid] = true
	}
}

// nested checks a block inside another, of one of the kinds.
func (c *checker) nested(at string, v any, kinds ...string) {
	m, _ := v.(map[string]any)
	for _, k := range kinds {
		if m["type"] == k {
			c.block(at, v)
			return
		}
	}
	if m == nil {
		c.fail(at, "must provide an object")
		return
	}
	c.unsupported(at, m["type"])
}

func dataTable(c *checker, at string, v map[string]any) {
	if n, most := textLength(v["rows"]), *tableContent.MaxLength; n > most {
		c.bound(at+"/rows", "max_length", most, n, "must be less than %d characters")
	}
	for i, row := range items(v["rows"]) {
		for j, x := range items(row) {
			if m, ok := x.(map[string]any); ok && m["type"] == "raw_text" {
				s, _ := m["text"].(string)
				c.length(at+"/rows/"+strconv.Itoa(i)+"/"+strconv.Itoa(j)+"/text", s, tableCellText)
			}
		}
	}
}

var style = may(is(shape{
	"bold": may(boolean), "italic": may(boolean), "strike": may(boolean), "code": may(boolean), "underline": may(boolean),
	"highlight": may(boolean), "client_highlight": may(boolean), "unlink": may(boolean),
}))

// richTextInline are the leaves of rich text that an app may send.
var richTextInline = byType(map[string]shape{
	"text":      {"text": need(str(limit{MinLength: new(1)})), "style": style},
	"link":      {"url": need(str(limit{})), "text": may(str(limit{})), "unsafe": may(boolean), "style": style},
	"emoji":     {"name": need(str(limit{})), "unicode": may(str(limit{})), "skin_tone": may(whole(limit{})), "style": style},
	"user":      {"user_id": need(str(limit{})), "style": style},
	"usergroup": {"usergroup_id": need(str(limit{})), "style": style},
	"channel":   {"channel_id": need(str(limit{})), "style": style},
	"team":      {"team_id": need(str(limit{})), "style": style},
	"broadcast": {"range": need(oneOf("here", "channel", "everyone")), "style": style},
	"color":     {"value": need(str(limit{})), "style": style},
	"date":      {"timestamp": need(whole(limit{})), "format": need(str(limit{})), "url": may(str(limit{})), "fallback": may(str(limit{})), "style": style},
})

var richTextSection = byType(map[string]shape{
	"rich_text_section": {"elements": need(list(limit{}, richTextInline))},
})

var richTextElement = byType(map[string]shape{
	"rich_text_section":      {"elements": need(list(limit{}, richTextInline))},
	"rich_text_preformatted": {"elements": need(list(limit{}, richTextInline)), "border": may(whole(limit{})), "language": may(str(limit{}))},
	"rich_text_quote":        {"elements": need(list(limit{}, richTextInline)), "border": may(whole(limit{}))},
	"rich_text_list": {
		"elements": need(list(limit{}, richTextSection)), "style": need(oneOf("bullet", "ordered")),
		"indent": may(whole(limit{})), "offset": may(whole(limit{})), "border": may(whole(limit{})),
	},
})

// pattern is a date or time in the layout of package time.
func pattern(layout string) check {
	return func(c *checker, at string, v any) {
		s, _ := v.(string)
		if _, err := time.Parse(layout, s); err != nil {
			c.fail(at, "must be a valid date or time")
		}
	}
}

func integer(v any) int {
	n, _ := v.(json.Number)
	i, err := strconv.Atoi(n.String())
	if err != nil {
		return 0
	}
	return i
}
