package blocks

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// incident draws a headline: what is wrong since when, who is on it, when
// everybody hears next, and what can be done.
func incident(c outbox.Incident, at time.Time) Message {
	p := newPage()
	name := fmt.Sprintf("INC-%d", c.Number)
	if c.Security {
		p.header("🔒 " + name + " · restricted")
		p.plain("It is worked on by those who must know. Nothing about it is said here.")
		if c.Room != "" {
			p.markup("The room: " + channel(c.Room))
		}
		p.incidentButtons(c.Buttons)
		return Message{Text: name + " is restricted.", Blocks: p.blocks}
	}
	word := orElse(line(c.Word, 30), "Unknown")
	head := fmt.Sprintf("%s %s · %s · %s · %s", lamp(c), name, orElse(line(c.Severity, 10), "SEV?"), word, watch(c.Lasted))
	p.header(head)
	title := orElse(line(c.Title, 200), "(no title)")
	if c.Drill {
		title = "[Exercise] " + title
	}
	p.bold(title)
	p.fields(
		"*Commander*\n"+commander(c), "*Communications*\n"+comms(c),
		"*Impact*\n"+impact(c), "*Started*\n"+started(c, at),
	)
	if next := nextDue(c, at); next != "" {
		p.markup(next)
	}
	if l := c.Last; l != nil {
		p.markup(fmt.Sprintf("*Last update* to the %s, %s by %s", esc(line(l.Audience, 20)), clock(l.At, at), user(l.By)))
		p.plain(cut(clean(l.Text), 600))
	}
	if places := line(strings.Join(c.Unpublished, ", "), 300); places != "" {
		p.markup("⚠ The newest update to the users is *not published* in " + esc(places))
	}
	var runs []string
	for i, r := range c.Runs {
		if i == 3 {
			break
		}
		s := fmt.Sprintf("%s %s: %s", ref(r.Number), line(r.Title, 100), orElse(line(r.State, 60), "unknown"))
		if step := line(r.Step, 200); step != "" {
			s += " · " + step
		}
		runs = append(runs, s)
	}
	p.plain(strings.Join(runs, "\n"))
	if c.Outcome != "" {
		p.plain(word + ": " + cut(clean(c.Outcome), 800))
	}
	var small []string
	if c.Tasks > 0 {
		small = append(small, fmt.Sprintf("%s, %d open", many(c.Tasks, "task", "tasks"), c.TasksOpen))
	}
	if c.Reopened > 0 {
		small = append(small, "reopened "+many(c.Reopened, "time", "times"))
	}
	if c.Room != "" {
		small = append(small, "room: "+channel(c.Room))
	}
	if a := line(c.Asks, 200); a != "" && !c.Over {
		small = append([]string{esc(a)}, small...)
	}
	p.note(strings.Join(small, " · "))
	p.incidentButtons(c.Buttons)
	text := fmt.Sprintf("%s %s %s: %s", name, esc(line(c.Severity, 10)), esc(word), esc(title))
	if c.Impact != "" {
		text += ". " + esc(line(c.Impact, 300))
	}
	if c.Outcome != "" {
		text += ". " + esc(line(c.Outcome, 500))
	}
	return Message{Text: cutMarkup(text, maxText), Blocks: p.blocks}
}

// incidentButtons adds the row of buttons, whose values are commands.
func (p *page) incidentButtons(items []outbox.Item) {
	var row []press
	for i, it := range items {
		b := press{id: fmt.Sprint(idLine, i), value: it.Command, label: it.Label}
		if i == 0 {
			b.style = slack.StylePrimary
		}
		row = append(row, b)
	}
	p.actions(row...)
}

// fields adds short mrkdwn texts in two columns.
func (p *page) fields(texts ...string) {
	var list []*slack.TextBlockObject
	all := ""
	for _, t := range texts {
		room := p.room(600)
		if room == 0 {
			break
		}
		t = cutMarkup(t, room)
		list = append(list, mrkdwn(t))
		all += t
	}
	if len(list) > 0 {
		p.add(slack.NewSectionBlock(nil, list, nil), all)
	}
}

// lamp shows at a glance how bad it is; words say the same.
func lamp(c outbox.Incident) string {
	switch {
	case c.State == "monitoring":
		return "🔵"
	case c.State == "canceled", c.State == "merged":
		return "⚪"
	case !c.Active:
		return "🟢"
	case c.Severity == "SEV3":
		return "🟡"
	case c.Severity == "SEV2":
		return "🟠"
	}
	return "🔴"
}

// watch shows a length of time as a stopwatch does, in hours and minutes.
func watch(d time.Duration) string {
	d = max(0, d)
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

func commander(c outbox.Incident) string {
	who := "nobody – *take command*"
	if c.Commander != "" {
		who = user(c.Commander)
		if c.Acting {
			who += " (acting, not accepted)"
		}
	}
	if c.Offered != "" {
		who += "\n" + user(c.Offered) + " was asked"
	}
	return who
}

func comms(c outbox.Incident) string {
	switch {
	case c.Comms != "":
		return user(c.Comms)
	case c.CommsOffered != "":
		return user(c.CommsOffered) + " was asked"
	case c.CommsWanted:
		return "nobody – *needed*"
	}
	return "nobody"
}

func impact(c outbox.Incident) string {
	var parts []string
	for _, s := range []string{c.Down, c.Impact} {
		if s = line(s, 200); s != "" {
			parts = append(parts, esc(s))
		}
	}
	if a := line(c.Affected, 100); a != "" {
		parts = append(parts, "Users affected: "+esc(a))
	}
	if len(parts) == 0 {
		return "not assessed"
	}
	return strings.Join(parts, "\n")
}

// started shows when it began, in UTC and in the reader's own zone.
func started(c outbox.Incident, at time.Time) string {
	if c.Started.IsZero() {
		return "not known; declared " + utc(c.Declared, at) + " (" + clock(c.Declared, at) + ")"
	}
	return utc(c.Started, at) + " (" + clock(c.Started, at) + ")"
}

// nextDue says when each audience hears next: "Next: teams 14:05 · users ⚠ 2 min overdue".
func nextDue(c outbox.Incident, at time.Time) string {
	var parts []string
	for _, d := range c.Clocks {
		audience := esc(line(d.Audience, 20))
		late := at.Sub(d.Due)
		switch {
		case late < time.Second:
			parts = append(parts, audience+" "+clock(d.Due, at))
		case late < time.Minute:
			parts = append(parts, audience+" ⚠ due now")
		default:
			parts = append(parts, fmt.Sprintf("%s ⚠ *%s overdue*", audience, span(late.Truncate(time.Minute))))
		}
		if d.Snoozed.After(at) && late >= time.Second {
			parts[len(parts)-1] += ", snoozed until " + clock(d.Snoozed, at)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "Next: " + strings.Join(parts, " · ")
}

// prompt draws a question with its buttons.
func prompt(c outbox.Prompt) Message {
	p := newPage()
	who := people(c.Users, c.Groups, "and")
	said := strings.TrimSpace(clean(c.Text))
	if who != "" && calm(said) && units(said) < 1000 {
		p.markup(strings.TrimSpace(who + " " + esc(said)))
	} else {
		p.markup(who)
		p.plain(said)
	}
	draft := strings.TrimSpace(clean(c.Draft))
	if draft != "" {
		p.markup("*Draft*")
		p.plain(cut(draft, 2500))
	}
	if c.Channel != "" {
		p.markup("Go to " + channel(c.Channel))
	}
	if link := strings.TrimSpace(c.Link); strings.HasPrefix(link, "https://") || strings.HasPrefix(link, "http://") {
		if !strings.ContainsAny(link, "<>| ") && units(link) < 500 {
			p.note("<" + esc(link) + "|The headline>")
		}
	}
	p.incidentButtons(c.Buttons)
	text := strings.TrimSpace(who + " " + escTo(said, maxText-1500))
	if draft != "" {
		text += "\n" + escTo(draft, 1000)
	}
	return Message{Text: text, Blocks: p.blocks}
}
