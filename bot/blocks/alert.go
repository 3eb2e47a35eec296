package blocks

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/commands"
	"opsbot/internal/outbox"
)

const (
	maxAlertLines    = 12 // drawn, of one group
	maxAlertRunbooks = 5
)

// alert draws the live message of a group of alerts: what fires since when, and
// a button for each runbook that they suggest. Nothing runs before the click.
func alert(a outbox.Alert, at time.Time) Message {
	p := newPage()
	title := orElse(line(a.Title, 120), "Alert")
	mark, words, firing := "!", "Firing", a.State != "resolved"
	if !firing {
		mark, words = "✓", "Resolved"
	}
	p.header(title)
	head := fmt.Sprintf("%s *%s*", mark, words)
	if s := line(a.Severity, 40); s != "" {
		head += " · " + esc(s)
	}
	if env := line(a.Environment, 60); env != "" {
		head += " · on " + esc(env)
	}
	if !a.Since.IsZero() {
		head += " · since " + clock(a.Since, at)
	}
	if !firing && !a.Ended.IsZero() {
		head += " · until " + clock(a.Ended, at)
	}
	p.markup(head)
	p.plain(cut(clean(a.Text), 1000))
	var lines []string
	for i, l := range a.Alerts {
		if i == maxAlertLines {
			break
		}
		lines = append(lines, alertLine(l))
	}
	if more := len(a.Alerts) - len(lines) + max(a.More, 0); more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	p.plain(strings.Join(lines, "\n"))
	var row []press
	if firing {
		for i, rb := range a.Runbooks {
			if i == maxAlertRunbooks {
				break
			}
			row = append(row, press{id: fmt.Sprint(idLine, i), value: of(a.Incident, rb.Command), label: orElse(line(rb.Label, maxButton), "Run"), style: slack.StylePrimary})
		}
		if a.Group != "" && a.Incident == "" {
			row = append(row, press{id: fmt.Sprint(idLine, maxAlertRunbooks), value: "incident alert " + a.Group, label: "Declare incident"})
		}
	}
	p.actions(row...)
	switch {
	case a.Incident != "" && firing:
		p.note(fmt.Sprintf("Belongs to %s: what is run from here is on its record.", line(a.Incident, 20)))
	case a.Incident != "":
		p.note(fmt.Sprintf("Belongs to %s.", line(a.Incident, 20)))
	case a.Noted != "":
		p.note(fmt.Sprintf("On the timeline of %s.", line(a.Noted, 20)))
	}
	switch link := alertLink(a.Link); {
	case firing && len(a.Runbooks) == 0:
		p.note(strings.TrimSpace("No runbook names this alert. " + link))
	case firing:
		p.note(strings.TrimSpace("Nothing runs before somebody clicks. " + link))
	case link != "":
		p.note(link)
	}
	text := fmt.Sprintf("%s: %s", words, esc(title))
	if s := line(a.Text, 300); s != "" {
		text += ". " + esc(s)
	}
	return Message{Text: cutMarkup(text, maxText), Blocks: p.blocks}
}

// of makes a command that starts a runbook one of the incident's.
func of(incident, command string) string {
	rest, ok := strings.CutPrefix(command, commands.Noun+" ")
	if incident == "" || !ok {
		return command
	}
	return commands.NounIncident + " " + incident + " " + rest
}

func alertLine(l outbox.AlertLine) string {
	mark := "•"
	if l.State == "resolved" {
		mark = "✓"
	}
	said := line(l.Text, 160)
	if labels := line(l.Labels, 200); labels != "" {
		said = strings.TrimSuffix(labels+": "+said, ": ")
	}
	if said == "" {
		said = orElse(line(l.State, 40), "firing")
	}
	return mark + " " + said
}

// alertLink leads to Alertmanager, if the address is one.
func alertLink(url string) string {
	url = line(url, 400)
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") || strings.ContainsAny(url, "<>| ") {
		return ""
	}
	return "<" + esc(url) + "|Alertmanager>"
}
