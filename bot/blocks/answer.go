package blocks

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// oneLine draws a short message; those it concerns are mentioned in front.
func oneLine(l outbox.Line) Message {
	p := newPage()
	who := people(l.Users, l.Groups, "and")
	said := strings.TrimSpace(clean(l.Text))
	text := escTo(said, maxText-800)
	if who != "" && calm(said) && units(said) < 1000 {
		p.markup(strings.TrimSpace(who + " " + esc(said)))
	} else {
		p.markup(who)
		p.plain(said)
	}
	m := Message{Text: strings.TrimSpace(who + " " + text)}
	code := strings.Trim(clean(l.Code), "\n")
	shown := excerpt(code, l.Lines, l.Tail)
	if p.verbatim(shown, wholeBelow) || shown != code {
		m.File = &File{Name: "output.txt", Title: orElse(line(said, 150), "Output"), Text: l.Code}
	}
	m.Blocks = p.blocks
	if m.Text == "" {
		m.Text = escTo(line(l.Code, maxText), maxText)
	}
	return m
}

const wholeBelow = "all of it is in the file below"

// excerpt is as many lines of an output as are wanted, and as a message takes
// of its end; 0: all.
func excerpt(code string, lines int, tail bool) string {
	all := strings.Split(code, "\n")
	if lines <= 0 || len(all) <= lines && !tail {
		return code
	}
	for lines = min(lines, len(all)); ; lines /= 2 {
		left := len(all) - lines
		short := strings.Join(all[:lines], "\n")
		if tail {
			short = strings.Join(all[left:], "\n")
		}
		switch {
		case tail && units(esc(short)) > maxCode-200 && lines > 1:
			continue
		case left == 0:
			return code
		case tail:
			return fmt.Sprintf("… %s before; %s\n%s", many(left, "line", "lines"), wholeBelow, short)
		}
		return fmt.Sprintf("%s\n… %s more; %s", short, many(left, "line", "lines"), wholeBelow)
	}
}

var verdicts = map[string]string{
	"pass": "went well", "warn": "ended with warnings", "fail": "failed", "unknown": "ended without enough data",
}

// report draws what a run has to say at its end.
func report(r outbox.Report) Message {
	p := newPage()
	title := orElse(line(r.Title, 100), "Run")
	verdict := orElse(verdicts[r.Verdict], line(r.Verdict, 40))
	p.header("Report: " + title)
	body := quiet(clean(r.BodyMarkup))
	for _, piece := range splitMarkup(body, maxSection) {
		if p.room(maxSection) < 200 {
			break
		}
		p.markup(piece)
	}
	small := ref(r.Number)
	if verdict != "" {
		small += " " + esc(verdict)
	}
	if who := people(r.Users, nil, "and"); who != "" {
		small = who + " · " + small
	}
	p.note(small)
	text := fmt.Sprintf("%s %s %s.", ref(r.Number), esc(title), esc(verdict))
	if body != "" {
		text += "\n" + cutMarkup(body, maxText-units(text)-10)
	}
	return Message{Text: text, Blocks: p.blocks}
}

// answer draws the reply to a command.
func answer(a outbox.Answer) Message {
	p := newPage()
	if t := line(a.Title, maxHeader); t != "" {
		p.header(t)
	}
	if who := people(a.Users, nil, "and"); who != "" {
		p.markup(who)
	}
	p.plain(a.Text)
	for i, it := range a.Items {
		if len(p.blocks) >= maxMessageBlocks-4 || p.room(600) < 600 {
			p.plain("… and " + many(len(a.Items)-i, "more", "more"))
			break
		}
		p.item(i, it)
	}
	p.verbatim(a.Code, "")
	if h := strings.TrimSpace(clean(a.Hint)); h != "" {
		if room := p.room(1000); room > 0 {
			h = cut(h, room)
			p.add(slack.NewContextBlock("", plain(h)), h)
		}
	}
	text := strings.TrimSpace(clean(a.Summary()))
	if text == "" {
		text = strings.TrimSpace(clean(a.Code))
	}
	return Message{Text: escTo(text, maxText), Blocks: p.blocks}
}

// item adds one row, with its button beside it.
func (p *page) item(i int, it outbox.Item) {
	name, detail := line(it.Name, 150), line(it.Detail, 400)
	text := name
	if detail != "" {
		text = strings.TrimSpace(name + "\n" + detail)
	}
	if text == "" {
		return
	}
	object := plain(text)
	if name != "" && !strings.Contains(name, "*") && calm(text) {
		text = strings.TrimSpace("*" + esc(name) + "*\n" + esc(detail))
		object = mrkdwn(text)
	}
	section := slack.NewSectionBlock(object, nil, nil)
	if it.Command != "" {
		if b := p.button(press{id: fmt.Sprint(idLine, i), value: it.Command, label: orElse(it.Label, "Run")}); b != nil {
			section.Accessory = slack.NewAccessory(b)
		}
	}
	p.add(section, text)
}
