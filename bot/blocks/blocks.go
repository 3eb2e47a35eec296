// Package blocks renders what must be said as Block Kit and reads what people
// click.
//
// Both directions are pure functions. Whatever the input, what comes out keeps
// Slack's limits; text that is too long is cut, and says so. Free text stands
// in plain_text objects, where Slack interprets nothing, because mrkdwn knows
// no escape for its asterisks and a card that asks for approval must show
// "prod_*" as it is. mrkdwn carries only mentions, times and values in code
// spans, and everything in it that was typed is escaped.
package blocks

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// A Message is what chat.postMessage, chat.update and a response_url take.
type Message struct {
	// Text is the fallback for notifications and screen readers, in mrkdwn. It
	// says what the blocks say and is never empty.
	Text   string
	Blocks []slack.Block
	// File, when not nil, is to be uploaded into the same conversation. Without
	// blocks it is all there is; with blocks it holds what they had to cut.
	File *File
}

// A File is a text that is too long for a message.
type File struct {
	Name  string
	Title string
	Text  string // may hold the bytes of a picture
}

// Render shows a content as it is at the given time, which only decides how
// times are written. It is pure.
func Render(c outbox.Content, at time.Time) Message {
	var m Message
	switch c := c.(type) {
	case outbox.RunCard:
		m = runCard(c, at)
	case outbox.Ask:
		m = ask(c, at)
	case outbox.Line:
		m = oneLine(c)
	case outbox.Report:
		m = report(c)
	case outbox.Answer:
		m = answer(c)
	case outbox.Alert:
		m = alert(c, at)
	case outbox.Incident:
		m = incident(c, at)
	case outbox.Prompt:
		m = prompt(c)
	case outbox.File:
		m = Message{Text: esc(line(c.Title, 500)), File: file(c)}
	default:
		m = Message{Text: escTo(clean(c.Summary()), maxText)}
	}
	if strings.TrimSpace(m.Text) == "" {
		m.Text = "opsbot has something to say"
	}
	return m
}

// A page collects the blocks of one message within their shares of its text.
type page struct {
	blocks  []slack.Block
	content int // what is left of maxContent
	buttons int // what is left of maxButtons
	ids     map[string]bool
	primary bool // the message has its primary button
}

func newPage() *page {
	return &page{content: maxContent, buttons: maxButtons, ids: map[string]bool{}}
}

// room is how long the next text of at most max may be; 0: none.
func (p *page) room(max int) int {
	if len(p.blocks) >= maxMessageBlocks-2 || p.content < 40 {
		return 0
	}
	return min(max, p.content)
}

func (p *page) add(b slack.Block, text string) {
	p.blocks = append(p.blocks, b)
	p.content -= units(text)
}

// header adds a heading.
func (p *page) header(text string) {
	text = line(text, p.room(maxHeader))
	if text != "" {
		p.add(slack.NewHeaderBlock(plain(text)), text)
	}
}

// plain adds text that Slack shows as it is.
func (p *page) plain(text string) {
	text = strings.TrimSpace(clean(text))
	room := p.room(maxSection)
	if text == "" || room == 0 {
		return
	}
	text = cut(text, room)
	p.add(slack.NewSectionBlock(plain(text), nil, nil), text)
}

// bold adds one line of free text in bold, if that does not change it.
func (p *page) bold(text string) {
	text = strings.TrimSpace(clean(text))
	if strings.ContainsAny(text, "*\n") || !calm(text) || units(text) > 300 || text == "" {
		p.plain(text)
		return
	}
	p.markup("*" + esc(text) + "*")
}

// markup adds mrkdwn.
func (p *page) markup(text string) {
	room := p.room(maxSection)
	if text == "" || room == 0 {
		return
	}
	text = cutMarkup(text, room)
	p.add(slack.NewSectionBlock(mrkdwn(text), nil, nil), text)
}

// note adds mrkdwn in small print.
func (p *page) note(text string) {
	room := p.room(maxSection)
	if text == "" || room == 0 {
		return
	}
	text = cutMarkup(text, room)
	p.add(slack.NewContextBlock("", mrkdwn(text)), text)
}

// verbatim adds a block of code. It returns true if some of it was cut.
func (p *page) verbatim(text, rest string) bool {
	// A fence inside would end the block.
	text = strings.ReplaceAll(strings.Trim(clean(text), "\n"), fence, "`\u200b`\u200b`")
	room := p.room(maxCode)
	if text == "" || room < 100 {
		return text != ""
	}
	short := text
	for max := room - 10; units(esc(short)) > room-10; max = max * 4 / 5 {
		short = cutFor(text, max, rest)
	}
	shown := "```\n" + esc(short) + "\n```"
	p.add(slack.NewSectionBlock(mrkdwn(shown), nil, nil), shown)
	return short != text
}

// A press is a button to be.
type press struct {
	id     string // action_id
	value  string
	label  string
	style  slack.Style
	dialog *slack.ConfirmationBlockObject
}

// actions adds a row of buttons.
func (p *page) actions(presses ...press) {
	var row []slack.BlockElement
	for _, b := range presses {
		if el := p.button(b); el != nil && len(row) < maxElements {
			row = append(row, el)
		}
	}
	if len(row) > 0 && len(p.blocks) < maxMessageBlocks {
		p.blocks = append(p.blocks, slack.NewActionBlock("", row...))
	}
}

// button makes a button, or nil if it cannot be one: without a label, with an
// id that Slack would not carry, or when the message's share is used up.
func (p *page) button(b press) *slack.ButtonBlockElement {
	label := line(b.label, maxButton)
	if label == "" || b.id == "" || units(b.id) > maxID || b.value == "" || units(b.value) > maxValue || p.ids[b.id] {
		return nil
	}
	cost := units(label)
	if d := b.dialog; d != nil {
		cost += units(d.Title.Text) + units(d.Text.Text) + units(d.Confirm.Text) + units(d.Deny.Text)
	}
	if cost > p.buttons {
		return nil
	}
	p.buttons -= cost
	p.ids[b.id] = true
	el := slack.NewButtonBlockElement(b.id, b.value, plain(label))
	el.Confirm = b.dialog
	switch {
	case b.style == slack.StylePrimary && !p.primary:
		p.primary = true
		el.Style = slack.StylePrimary
	case b.style == slack.StyleDanger && b.dialog != nil:
		el.Style = slack.StyleDanger
	}
	return el
}

// dialog asks once more before a click counts. It names the object and the
// consequence; the labels are verbs.
func dialog(title, text, confirm, deny string) *slack.ConfirmationBlockObject {
	return slack.NewConfirmationBlockObject(
		plain(line(title, maxDialogTitle)), plain(cut(clean(text), maxDialogText)),
		plain(line(confirm, maxDialogLabel)), plain(line(deny, maxDialogLabel))).WithStyle(slack.StyleDanger)
}

func plain(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, true)
}

func file(f outbox.File) *File {
	name := line(f.Name, 120)
	if name == "" {
		name = "output.txt"
	}
	title := line(f.Title, 200)
	if title == "" {
		title = name
	}
	text := f.Text
	if f.Data != nil {
		text = string(f.Data)
	}
	if text == "" {
		text = "(empty)\n" // Slack takes no empty file
	}
	return &File{Name: name, Title: title, Text: text}
}

func ref(number int64) string { return fmt.Sprintf("R%d", number) }
