package kit

import (
	"encoding/json"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// richNode holds the keys that only rich text has.
type richNode struct {
	UserID      string `json:"user_id"`
	ChannelID   string `json:"channel_id"`
	UsergroupID string `json:"usergroup_id"`
	Name        string `json:"name"`
	Range       string `json:"range"`
	Timestamp   int64  `json:"timestamp"`
	Format      string `json:"format"`
	Fallback    string `json:"fallback"`
	Indent      int    `json:"indent"`
}

// rich renders the elements of a rich_text block.
func (p *painter) rich(elements []json.RawMessage) template.HTML {
	w := &inliner{Renderer: p.r}
	p.richInto(w, elements)
	return template.HTML(w.String())
}

func (p *painter) richInto(w *inliner, elements []json.RawMessage) {
	if p.depth >= maxDepth {
		return
	}
	p.depth++
	defer func() { p.depth-- }()
	for _, raw := range elements {
		n := parse(raw)
		style, _ := n.Style.(string)
		switch n.Type {
		case "rich_text_section":
			w.raw("<p>")
			p.richInto(w, n.Elements)
			w.raw("</p>")
		case "rich_text_quote":
			w.raw("<blockquote>")
			p.richInto(w, n.Elements)
			w.raw("</blockquote>")
		case "rich_text_preformatted":
			w.raw(`<pre class="code" tabindex="0"><code>`)
			p.richInto(w, n.Elements)
			w.raw("</code></pre>")
		case "rich_text_list":
			tag := "ul"
			if style == "ordered" {
				tag = "ol"
			}
			w.raw("<" + tag + ` class="indent-` + strconv.Itoa(min(max(n.Indent, 0), 5)) + `">`)
			for _, item := range n.Elements {
				w.raw("<li>")
				p.richInto(w, parse(item).Elements)
				w.raw("</li>")
			}
			w.raw("</" + tag + ">")
		default:
			p.richLeaf(w, n)
		}
	}
}

func (p *painter) richLeaf(w *inliner, n node) {
	styles, _ := n.Style.(map[string]any)
	var closing []string
	for _, s := range [][2]string{{"bold", "strong"}, {"italic", "em"}, {"strike", "s"}, {"code", "code"}} {
		if on, _ := styles[s[0]].(bool); on {
			w.raw("<" + s[1] + ">")
			closing = append(closing, "</"+s[1]+">")
		}
	}
	switch n.Type {
	case "text":
		for i, line := range strings.Split(cut(n.Text.Text, maxText), "\n") {
			if i > 0 {
				w.raw("<br>")
			}
			w.text(line)
		}
	case "link":
		href, _ := safeURL(n.URL)
		text := n.Text.Text
		if text == "" {
			text = n.URL
		}
		link{href: href, text: text}.write(w)
	case "user":
		p.r.mention(User, n.UserID, "").write(w)
	case "channel":
		p.r.mention(Channel, n.ChannelID, "").write(w)
	case "usergroup":
		p.r.mention(Group, n.UsergroupID, "").write(w)
	case "broadcast":
		reference{text: "@" + n.Range, class: "mention me"}.write(w)
	case "emoji":
		if s := ":" + n.Name + ":"; w.emoji(s, true) == 0 {
			w.text(s)
		}
	case "date":
		text := n.Fallback
		if n.Timestamp > 0 && n.Format != "" {
			text = p.r.dateText(time.Unix(n.Timestamp, 0).In(p.r.zone()), n.Format)
		}
		w.text(text)
	case "color":
		w.text(n.Value)
	}
	for i := len(closing) - 1; i >= 0; i-- {
		w.raw(closing[i])
	}
}
