package kit

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// maxBlocks is the most blocks of one surface that are rendered; Slack allows
// 50 in a message and 100 in a view.
const maxBlocks = 200

// A Surface is the message or view that blocks are part of.
type Surface struct {
	// ID begins the ids of the HTML elements; it must be unique on the page.
	ID string
	// Errors are shown at input blocks, by block_id.
	Errors map[string]string
	// State is what was entered before, by block_id and action_id, in
	// Slack's form; without it inputs start with their initial value.
	State map[string]map[string]any
	// Choices lists what a user, channel or conversation menu offers; nil
	// leaves them empty.
	Choices func(Kind) []Choice
	// Failed says what went wrong at an element, such as an app that did not
	// answer in time.
	Failed map[Spot]string
}

// A Spot is an element of a surface.
type Spot struct{ Block, Action string }

// A Choice is one entry of a menu.
type Choice struct {
	Value, Label, Description string
	Selected                  bool
}

//go:embed blocks.html
var blocksHTML string

var blocksTemplate = template.Must(template.New("kit").Parse(blocksHTML))

// Blocks renders an array of blocks. What is no array of blocks renders as
// nothing; an unknown block as a note that names its type.
func (r Renderer) Blocks(raw json.RawMessage, s Surface) template.HTML {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	list = list[:min(len(list), maxBlocks)]
	p := &painter{r: r, s: s}
	blocks := make([]blockView, 0, len(list))
	for i, b := range list {
		blocks = append(blocks, p.block(b, i))
	}
	var out bytes.Buffer
	if err := blocksTemplate.ExecuteTemplate(&out, "blocks", blocks); err != nil {
		return template.HTML(`<p class="unreadable">These blocks cannot be shown: ` + esc(err.Error()) + `</p>`)
	}
	return template.HTML(out.String())
}

// What the JSON says. One struct holds every kind, since most keys mean the
// same everywhere; a key of a wrong type stays empty.
type (
	node struct {
		Type      string            `json:"type"`
		BlockID   string            `json:"block_id"`
		ActionID  string            `json:"action_id"`
		Text      textNode          `json:"text"`
		Fields    []textNode        `json:"fields"`
		Accessory json.RawMessage   `json:"accessory"`
		Element   json.RawMessage   `json:"element"`
		Elements  []json.RawMessage `json:"elements"`
		Label     textNode          `json:"label"`
		Hint      textNode          `json:"hint"`
		Title     textNode          `json:"title"`
		Optional  bool              `json:"optional"`
		Dispatch  bool              `json:"dispatch_action"`
		Config    struct {
			On []string `json:"trigger_actions_on"`
		} `json:"dispatch_action_config"`
		ImageURL string              `json:"image_url"`
		AltText  string              `json:"alt_text"`
		Level    string              `json:"level"`
		Rows     [][]json.RawMessage `json:"rows"`
		Columns  []struct {
			Align string `json:"align"`
		} `json:"column_settings"`

		Value       string       `json:"value"`
		URL         string       `json:"url"`
		Style       any          `json:"style"` // of a button a string, of rich text also an object
		Accessible  string       `json:"accessibility_label"`
		Confirm     *confirmNode `json:"confirm"`
		Placeholder textNode     `json:"placeholder"`
		Options     []optionNode `json:"options"`
		Groups      []groupNode  `json:"option_groups"`
		Option      *optionNode  `json:"initial_option"`
		Initials    []optionNode `json:"initial_options"`
		Initial     string       `json:"initial_value"`
		Date        string       `json:"initial_date"`
		Time        string       `json:"initial_time"`
		DateTime    int64        `json:"initial_date_time"`
		User        string       `json:"initial_user"`
		Channel     string       `json:"initial_channel"`
		Convo       string       `json:"initial_conversation"`
		Users       []string     `json:"initial_users"`
		Channels    []string     `json:"initial_channels"`
		Convos      []string     `json:"initial_conversations"`
		Multiline   bool         `json:"multiline"`
		MinLength   int          `json:"min_length"`
		MaxLength   int          `json:"max_length"`
		MinValue    string       `json:"min_value"`
		MaxValue    string       `json:"max_value"`
		Decimal     bool         `json:"is_decimal_allowed"`
		Emoji       *bool        `json:"emoji"`
		Verbatim    bool         `json:"verbatim"`
		MinQuery    *int         `json:"min_query_length"`
		Filter      *filterNode  `json:"filter"`
		richNode
	}
	textNode struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Emoji    *bool  `json:"emoji"`
		Verbatim bool   `json:"verbatim"`
	}
	optionNode struct {
		Text        textNode `json:"text"`
		Value       string   `json:"value"`
		Description textNode `json:"description"`
		URL         string   `json:"url"`
	}
	groupNode struct {
		Label   textNode     `json:"label"`
		Options []optionNode `json:"options"`
	}
	confirmNode struct {
		Title   textNode `json:"title"`
		Text    textNode `json:"text"`
		Confirm textNode `json:"confirm"`
		Deny    textNode `json:"deny"`
		Style   string   `json:"style"`
	}
	filterNode struct {
		Include []string `json:"include"`
	}
)

// UnmarshalJSON takes a text object or, as in rich text, a bare string.
func (t *textNode) UnmarshalJSON(b []byte) error {
	type object textNode
	if json.Unmarshal(b, &t.Text) == nil {
		t.Type = "plain_text"
		return nil
	}
	t.Text = ""
	_ = json.Unmarshal(b, (*object)(t)) // a wrong type leaves the rest readable
	return nil
}

func parse(raw json.RawMessage) (n node) {
	_ = json.Unmarshal(raw, &n) // what does not fit stays empty
	return n
}

// What the template is given.
type (
	blockView struct {
		Kind, Raw     string // Raw is the type as it came
		DOM, Block    string
		HTML          template.HTML
		Fields        []template.HTML
		Accessory     *elementView
		Elements      []elementView
		Label, Hint   template.HTML
		Error, Level  string
		Group         bool // the element is a group of controls and needs a fieldset
		Optional      bool
		ImageURL, Alt string
		Title         template.HTML
		Rows          [][]cellView
	}
	cellView struct {
		HTML  template.HTML
		Align string
	}
	elementView struct {
		Kind, Raw            string
		DOM, Block, Action   string
		HTML                 template.HTML
		Label                string // for assistive technology
		Value, URL, Style    string
		Confirm              *confirmView
		Placeholder          string
		Choices              []Choice
		Groups               []choiceGroup
		Multiple             bool
		Input, Min, Max      string // kind of the input and its bounds
		MinLength, MaxLength int
		Live, Enter          bool // reports changes; reports the Enter key
		Error, DescribedBy   string
		Failed               string
		Required             bool
		ImageURL             string
		External             bool
		MinQuery             int
	}
	choiceGroup struct {
		Label   string
		Choices []Choice
	}
	confirmView struct {
		Title, OK, Deny string
		HTML            template.HTML
		Danger          bool
	}
)

// A painter makes the views of one surface.
type painter struct {
	r     Renderer
	s     Surface
	depth int
}

// dom is an id for HTML: action and block ids may hold any character.
func (p *painter) dom(parts ...string) string {
	h := fnv.New64a()
	for _, s := range parts {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return p.s.ID + "-" + strconv.FormatUint(h.Sum64(), 36)
}

func (p *painter) textHTML(t textNode) template.HTML {
	switch {
	case t.Text == "":
		return ""
	case t.Type == "mrkdwn":
		return p.r.mrkdwn(t.Text, t.Verbatim)
	}
	return p.r.Plain(t.Text, t.Emoji == nil || *t.Emoji)
}

// words is a text without markup, for attributes.
func words(t textNode) string { return emojis(cut(t.Text, 3000)) }

func (p *painter) block(raw json.RawMessage, i int) blockView {
	n := parse(raw)
	if n.BlockID == "" {
		n.BlockID = "#" + strconv.Itoa(i)
	}
	v := blockView{Kind: n.Type, Raw: n.Type, Block: n.BlockID, DOM: p.dom(n.BlockID)}
	switch n.Type {
	case "divider":
	case "header":
		v.HTML = p.textHTML(n.Text)
	case "section":
		v.HTML = p.textHTML(n.Text)
		for _, f := range n.Fields[:min(len(n.Fields), 10)] {
			v.Fields = append(v.Fields, p.textHTML(f))
		}
		if len(n.Accessory) > 0 && string(n.Accessory) != "null" {
			e := p.element(parse(n.Accessory), n.BlockID, true)
			v.Accessory = &e
		}
	case "context":
		for _, e := range n.Elements[:min(len(n.Elements), 20)] {
			v.Elements = append(v.Elements, p.contextElement(parse(e), n.BlockID))
		}
	case "actions", "context_actions":
		v.Kind = "actions"
		for _, e := range n.Elements[:min(len(n.Elements), 50)] {
			v.Elements = append(v.Elements, p.element(parse(e), n.BlockID, true))
		}
	case "input":
		p.input(&v, n)
	case "image":
		v.Title, v.Alt = p.textHTML(n.Title), n.AltText
		v.ImageURL, _ = safeURL(n.ImageURL)
	case "rich_text":
		v.HTML = p.rich(n.Elements)
	case "markdown":
		v.HTML = p.r.Markdown(n.Text.Text)
	case "table":
		v.Rows = p.table(n)
	case "alert":
		v.HTML, v.Level = p.textHTML(n.Text), n.Level
	default:
		v.Kind = "unknown"
	}
	return v
}

func (p *painter) input(v *blockView, n node) {
	v.Label, v.Hint, v.Optional = p.textHTML(n.Label), p.textHTML(n.Hint), n.Optional
	v.Error = p.s.Errors[n.BlockID]
	e := p.element(parse(n.Element), n.BlockID, n.Dispatch)
	e.Label = "" // the <label> says it
	e.Required, e.Error = !n.Optional, v.Error
	var described []string
	if v.Hint != "" {
		described = append(described, v.DOM+"-hint")
	}
	if v.Error != "" {
		described = append(described, v.DOM+"-error")
	}
	e.DescribedBy = strings.Join(described, " ")
	v.Elements, v.Group = []elementView{e}, e.Kind == "checkboxes" || e.Kind == "radio_buttons"
}

func (p *painter) contextElement(n node, block string) elementView {
	if n.Type == "image" {
		return p.element(n, block, false)
	}
	// In a context block the element is the text object itself.
	return elementView{Kind: "text", HTML: p.textHTML(textNode{Type: n.Type, Text: n.Text.Text, Emoji: n.Emoji, Verbatim: n.Verbatim})}
}

func (p *painter) element(n node, block string, live bool) elementView {
	v := elementView{
		Kind: n.Type, Raw: n.Type, Block: block, Action: n.ActionID, DOM: p.dom(block, n.ActionID),
		Label: n.Accessible, Placeholder: words(n.Placeholder), Live: live, Failed: p.s.Failed[Spot{block, n.ActionID}],
		Confirm: p.confirm(n.Confirm),
	}
	entered := p.s.State[block][n.ActionID]
	switch n.Type {
	case "button", "workflow_button", "icon_button":
		v.Kind, v.Value, v.HTML = "button", n.Value, p.textHTML(n.Text)
		v.Style, _ = n.Style.(string)
		v.URL, _ = safeURL(n.URL)
	case "image":
		v.Label = n.AltText
		v.ImageURL, _ = safeURL(n.ImageURL)
	case "overflow":
		for _, o := range n.Options {
			v.Choices = append(v.Choices, choice(o, nil))
		}
	case "checkboxes", "radio_buttons", "static_select", "multi_static_select", "external_select", "multi_external_select":
		p.menu(&v, n, entered)
	case "users_select", "multi_users_select", "channels_select", "multi_channels_select", "conversations_select", "multi_conversations_select":
		p.people(&v, n, entered)
	case "plain_text_input", "number_input", "email_text_input", "url_text_input", "datepicker", "timepicker", "datetimepicker", "rich_text_input":
		p.typed(&v, n, entered)
	default:
		v.Kind = "unknown"
	}
	if v.Label == "" && (v.Kind == "select" || v.Kind == "typed") {
		v.Label = v.Placeholder
	}
	return v
}

func (p *painter) confirm(c *confirmNode) *confirmView {
	if c == nil {
		return nil
	}
	v := &confirmView{Title: words(c.Title), OK: words(c.Confirm), Deny: words(c.Deny), HTML: p.textHTML(c.Text), Danger: c.Style == "danger"}
	// Slack's own words where the app left them out.
	for s, word := range map[*string]string{&v.Title: "Are you sure?", &v.OK: "Yes", &v.Deny: "Cancel"} {
		if *s == "" {
			*s = word
		}
	}
	return v
}

func choice(o optionNode, selected map[string]bool) Choice {
	return Choice{Value: o.Value, Label: words(o.Text), Description: words(o.Description), Selected: selected[o.Value]}
}

func (p *painter) menu(v *elementView, n node, entered any) {
	v.Multiple = strings.HasPrefix(n.Type, "multi_") || n.Type == "checkboxes"
	v.External = strings.HasSuffix(n.Type, "external_select")
	if n.MinQuery != nil {
		v.MinQuery = *n.MinQuery
	}
	selected := map[string]bool{}
	if m, ok := entered.(map[string]any); ok {
		if b, err := json.Marshal(m); err == nil {
			var s struct {
				One  *optionNode  `json:"selected_option"`
				Many []optionNode `json:"selected_options"`
			}
			_ = json.Unmarshal(b, &s)
			n.Option, n.Initials = s.One, s.Many
		}
	}
	if n.Option != nil {
		n.Initials = append(n.Initials, *n.Option)
	}
	for _, o := range n.Initials {
		selected[o.Value] = true
	}
	for _, o := range n.Options[:min(len(n.Options), 100)] {
		v.Choices = append(v.Choices, choice(o, selected))
	}
	for _, g := range n.Groups[:min(len(n.Groups), 100)] {
		cg := choiceGroup{Label: words(g.Label)}
		for _, o := range g.Options[:min(len(g.Options), 100)] {
			cg.Choices = append(cg.Choices, choice(o, selected))
		}
		v.Groups = append(v.Groups, cg)
	}
	if v.External {
		for _, o := range n.Initials {
			v.Choices = append(v.Choices, choice(o, selected))
		}
	}
	if strings.Contains(n.Type, "select") {
		v.Kind = "select"
	}
}

func (p *painter) people(v *elementView, n node, entered any) {
	kind, key, initial := User, "user", append(n.Users, n.User)
	switch {
	case strings.HasSuffix(n.Type, "channels_select"):
		kind, key, initial = Channel, "channel", append(n.Channels, n.Channel)
	case strings.HasSuffix(n.Type, "conversations_select"):
		kind, key, initial = Channel, "conversation", append(n.Convos, n.Convo)
	}
	v.Kind, v.Multiple = "select", strings.HasPrefix(n.Type, "multi_")
	if m, ok := entered.(map[string]any); ok {
		initial = nil
		if s, ok := m["selected_"+key].(string); ok {
			initial = append(initial, s)
		}
		if list, ok := m["selected_"+key+"s"].([]any); ok {
			for _, e := range list {
				s, _ := e.(string)
				initial = append(initial, s)
			}
		}
	}
	selected := map[string]bool{}
	for _, id := range initial {
		selected[id] = id != ""
	}
	if p.s.Choices == nil {
		return
	}
	for _, c := range p.s.Choices(kind) {
		c.Selected = selected[c.Value]
		v.Choices = append(v.Choices, c)
	}
}

func (p *painter) typed(v *elementView, n node, entered any) {
	v.Kind, v.Value = "typed", n.Initial
	v.MinLength, v.MaxLength = max(n.MinLength, 0), max(n.MaxLength, 0)
	m, _ := entered.(map[string]any)
	if s, ok := m["value"].(string); ok {
		v.Value = s
	}
	v.Enter = v.Live && (len(n.Config.On) == 0 || contains(n.Config.On, "on_enter_pressed"))
	v.Live = v.Live && contains(n.Config.On, "on_character_entered")
	switch n.Type {
	case "plain_text_input", "rich_text_input":
		v.Input = "text"
		if n.Multiline || n.Type == "rich_text_input" {
			v.Input = "lines"
		}
	case "number_input":
		v.Input, v.Min, v.Max = "number", n.MinValue, n.MaxValue
		v.Style = "1"
		if n.Decimal {
			v.Style = "any"
		}
	case "email_text_input":
		v.Input = "email"
	case "url_text_input":
		v.Input = "url"
	case "datepicker":
		v.Input, v.Value, v.Live = "date", n.Date, v.Enter
		if s, ok := m["selected_date"].(string); ok {
			v.Value = s
		}
	case "timepicker":
		v.Input, v.Value, v.Live = "time", n.Time, v.Enter
		if s, ok := m["selected_time"].(string); ok {
			v.Value = s
		}
	case "datetimepicker":
		v.Input, v.Live = "datetime-local", v.Enter
		if f, ok := m["selected_date_time"].(float64); ok {
			n.DateTime = int64(f)
		}
		if n.DateTime > 0 {
			v.Value = time.Unix(n.DateTime, 0).In(p.r.zone()).Format("2006-01-02T15:04")
		}
	}
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func (p *painter) table(n node) [][]cellView {
	var rows [][]cellView
	for _, row := range n.Rows[:min(len(n.Rows), 100)] {
		cells := make([]cellView, 0, len(row))
		for i, raw := range row[:min(len(row), 20)] {
			c := parse(raw)
			v := cellView{HTML: p.r.Plain(c.Text.Text, false)}
			if c.Type == "rich_text" {
				v.HTML = p.rich(c.Elements)
			}
			if i < len(n.Columns) {
				switch n.Columns[i].Align {
				case "right", "center":
					v.Align = n.Columns[i].Align
				}
			}
			cells = append(cells, v)
		}
		rows = append(rows, cells)
	}
	return rows
}
