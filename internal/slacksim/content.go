package slacksim

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"opsbot/internal/slacksim/blockkit"
)

// Text limits in characters. Sources: slack.md §3.1 and the reference of
// chat.update; the number for ephemeral and scheduled messages is policy.
const (
	maxPostText    = 40000
	maxUpdateText  = 4000
	maxBlocksText  = 13200
	maxMetadata    = 16 << 10 // bytes; policy, Slack names no number
	maxAttachments = 100
)

// A content is what a message says, checked and completed. The has fields tell
// an absent argument from an empty one, which chat.update needs.
type content struct {
	text        string
	blocks      json.RawMessage // nil when none
	attachments json.RawMessage
	metadata    json.RawMessage
	hasText     bool
	hasBlocks   bool
	hasAttach   bool
	hasMetadata bool
	warnings    []string
	messages    []string // of response_metadata
}

// given returns a JSON argument, nil when it is absent, null or empty.
func (r *request) given(name string) json.RawMessage {
	v := bytes.TrimSpace([]byte(r.get(name)))
	if len(v) == 0 || string(v) == "null" {
		return nil
	}
	return v
}

// readContent checks the text, blocks, attachments and metadata arguments.
// maxText is where the text is refused; 0 truncates it at 40,000.
func (s *Server) readContent(r *request, maxText int) (content, obj) {
	c := content{text: r.get("text"), hasText: r.has("text")}
	if md := r.get("markdown_text"); md != "" {
		if c.text != "" || r.given("blocks") != nil {
			return c, refuse("markdown_text_conflict")
		}
		c.text = md
		raw, err := json.Marshal([]obj{{"type": "markdown", "text": md}})
		if err != nil {
			return c, refuse("internal_error")
		}
		r.args["blocks"] = string(raw)
	}
	if refusal := s.readBlocks(r, &c); refusal != nil {
		return c, refusal
	}
	if refusal := s.readAttachments(r, &c); refusal != nil {
		return c, refusal
	}
	if refusal := readMetadata(r, &c); refusal != nil {
		return c, refusal
	}
	n := utf8.RuneCountInString(c.text)
	switch {
	case maxText > 0 && n > maxText:
		return c, refuse("msg_too_long")
	case n > maxPostText:
		c.text = string([]rune(c.text)[:maxPostText])
		c.warnings = append(c.warnings, "message_truncated")
		c.messages = append(c.messages, "[WARN] Your message was truncated but still posted. The `text` field accepts up to 40,000 characters.")
	}
	return c, nil
}

// empty reports whether there is nothing to show.
func (c *content) empty() bool {
	return c.text == "" && c.blocks == nil && c.attachments == nil
}

func (s *Server) readBlocks(r *request, c *content) obj {
	raw := r.given("blocks")
	if raw == nil {
		return nil
	}
	var list []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return refuse("invalid_blocks_format")
	}
	c.hasBlocks = true
	if len(list) == 0 {
		return nil
	}
	if problems := blockkit.Blocks(raw, blockkit.Message, "/blocks"); len(problems) > 0 {
		return blocksRefusal("invalid_blocks", problems)
	}
	if !r.lenient && blockkit.TextLength(raw) > maxBlocksText {
		return refuse("msg_blocks_too_long")
	}
	c.blocks = blockkit.Complete(raw, func() string { return s.random(5) })
	return nil
}

// blocksRefusal is chat.*'s way to say what is wrong with blocks.
func blocksRefusal(code string, problems []blockkit.Problem) obj {
	texts, messages := []string{}, []string{}
	for _, p := range problems {
		if p.Code == "only_one_table_allowed" {
			code = "invalid_attachments"
			texts, messages = append(texts, p.Code), append(messages, "[ERROR] "+p.Code)
			continue
		}
		texts, messages = append(texts, p.String()), append(messages, "[ERROR] "+p.String())
	}
	return obj{"ok": false, "error": code, "errors": texts, "response_metadata": obj{"messages": messages}}
}

func (s *Server) readAttachments(r *request, c *content) obj {
	raw := r.given("attachments")
	if raw == nil {
		return nil
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return refuse("invalid_attachments")
	}
	c.hasAttach = true
	if len(list) > maxAttachments {
		return refuse("too_many_attachments")
	}
	if len(list) == 0 {
		return nil
	}
	for i, a := range list {
		blocks := bytes.TrimSpace(a["blocks"])
		if len(blocks) == 0 || string(blocks) == "null" {
			continue
		}
		if problems := blockkit.Blocks(blocks, blockkit.Message, "/attachments/"+itoa(i)+"/blocks"); len(problems) > 0 {
			return blocksRefusal("invalid_attachments", problems)
		}
		a["blocks"] = blockkit.Complete(blocks, func() string { return s.random(5) })
	}
	out, err := json.Marshal(list)
	if err != nil {
		return refuse("invalid_attachments")
	}
	c.attachments = out
	return nil
}

func readMetadata(r *request, c *content) obj {
	raw := r.given("metadata")
	if raw == nil {
		return nil
	}
	var m struct {
		Type    *string         `json:"event_type"`
		Payload json.RawMessage `json:"event_payload"`
	}
	if raw[0] != '{' || json.Unmarshal(raw, &m) != nil {
		return refuse("invalid_metadata_format")
	}
	c.hasMetadata = true
	payload := bytes.TrimSpace(m.Payload)
	none := len(payload) == 0 || string(payload) == "null"
	if none && (m.Type == nil || *m.Type == "") {
		return nil // {} removes; slack-go sends an empty pair to response URLs
	}
	if m.Type == nil || *m.Type == "" || none || payload[0] != '{' {
		return refuse("invalid_metadata_schema")
	}
	if len(raw) > maxMetadata {
		return refuse("metadata_too_large")
	}
	c.metadata = raw
	return nil
}
