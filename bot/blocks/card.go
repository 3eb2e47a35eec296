package blocks

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// runCard draws the live message of a run: what and where, how it stands, the
// steps, who started it, and the buttons.
func runCard(c outbox.RunCard, at time.Time) Message {
	p := newPage()
	title, env := orElse(line(c.Title, 100), line(c.Runbook, 100)), line(c.Environment, 60)
	head := title
	if env != "" {
		head += " on " + env
	}
	if c.DryRun {
		head += " (dry run)"
	}
	p.header(head)
	p.markup(standing(c, at))
	p.plainLines(steps(c))
	p.note(origin(c, at))

	var row []press
	if c.Stoppable {
		row = append(row, press{
			id: idStop, value: c.Run, label: "Stop", style: slack.StyleDanger,
			dialog: dialog(
				"Stop "+ref(c.Number)+"?",
				fmt.Sprintf("%s ends before its next step. What is done stays done; cleanup and report still run.", head),
				"Stop the run", "Let it run"),
		})
	}
	for i, o := range c.Offers {
		if o.Why != "" {
			continue
		}
		label := orElse(line(o.Say, maxButton), "Run "+line(o.Runbook, 60))
		row = append(row, press{id: fmt.Sprint(idOffer, i), value: o.ID, label: label})
	}
	for _, o := range c.Offers {
		if o.Why != "" {
			p.plain(fmt.Sprintf("Not offered here: %s, because %s", orElse(line(o.Say, 100), line(o.Runbook, 100)), line(o.Why, 300)))
		}
	}
	if c.State == "failed" && !c.DryRun && !c.Incident {
		row = append(row, press{id: fmt.Sprint(idLine, 0), value: fmt.Sprintf("incident from R%d", c.Number), label: "Declare incident"})
	}
	p.actions(row...)
	return Message{Text: cardText(c, head, at), Blocks: p.blocks}
}

// state says how a run stands: a mark, and words that do without it.
func state(c outbox.RunCard) (mark, words string) {
	switch c.State {
	case "ready":
		for _, s := range c.Steps {
			if s.Mark != "pending" {
				return "…", "Running"
			}
		}
		return "…", "Starting"
	case "waiting":
		return "…", "Waiting for people"
	case "uncertain":
		return "?", "Needs a decision: the outcome of a step is unknown"
	case "succeeded":
		switch c.Verdict {
		case "warn":
			return "!", "Done, with warnings"
		case "unknown":
			return "?", "Done, but the result is unknown"
		}
		return "✓", "Done"
	case "failed":
		if c.Verdict == "unknown" {
			return "✗", "Failed: not enough data"
		}
		return "✗", "Failed"
	case "canceled":
		return "–", "Stopped"
	}
	return "…", line(c.State, 40)
}

func ended(c outbox.RunCard) bool {
	return c.State == "succeeded" || c.State == "failed" || c.State == "canceled"
}

// standing is the line to read at 3 am: the state, the step, and who must act.
func standing(c outbox.RunCard, at time.Time) string {
	mark, words := state(c)
	var b strings.Builder
	fmt.Fprintf(&b, "%s *%s*", mark, esc(words))
	switch n := current(c); {
	case ended(c) && !c.Started.IsZero() && !c.Ended.IsZero():
		fmt.Fprintf(&b, " after %s", span(c.Ended.Sub(c.Started)))
	case !ended(c) && n > 0:
		fmt.Fprintf(&b, " · step %d of %d", n, len(c.Steps))
	}
	if who := people(c.NextUsers, c.NextGroups, "or"); who != "" && !ended(c) {
		fmt.Fprintf(&b, "\n*Next:* %s", who)
		if next := line(c.Next, 400); next != "" {
			fmt.Fprintf(&b, " · %s", esc(next))
		}
	} else if next := line(c.Next, 400); next != "" && !same(next, words) {
		fmt.Fprintf(&b, "\n%s", esc(next))
	}
	if !c.Until.IsZero() && !ended(c) {
		fmt.Fprintf(&b, " · until %s", clock(c.Until, at))
	}
	if c.Waiters > 0 && !ended(c) {
		fmt.Fprintf(&b, "\n%s for this one.", many(c.Waiters, "other run waits", "other runs wait"))
	}
	return b.String()
}

// same reports whether two sentences say the same, but for the full stop.
func same(a, b string) bool { return strings.TrimRight(a, ".") == strings.TrimRight(b, ".") }

// current is the number of the step that a run is at; 0: none.
func current(c outbox.RunCard) int {
	n := 0
	for i, s := range c.Steps {
		switch s.Mark {
		case "running", "waiting", "uncertain":
			return i + 1
		case "pending":
		default:
			n = i + 1
		}
	}
	return n
}

// marks are drawn before a step; the words after its title say the same.
var marks = map[string]string{
	"pending": "·", "running": "…", "waiting": "…", "pass": "✓", "warn": "!",
	"fail": "✗", "unknown": "?", "skipped": "–", "uncertain": "?",
}

// notReached is what the engine says of a step that an ended run did not come to.
const notReached = "not reached"

// stepLine says one step in one line.
func stepLine(c outbox.RunCard, s outbox.StepLine, most int) string {
	mark, ok := marks[s.Mark]
	if !ok {
		mark = "·"
	}
	found := line(s.Found, most)
	words := ""
	with := func(status string) string {
		switch {
		case found == "" || strings.HasPrefix(strings.ToLower(found), status):
			return orElse(found, status)
		case strings.HasPrefix(found, "for "):
			return status + " " + found
		}
		return status + ": " + found
	}
	switch {
	case found == notReached:
		words = found
	case s.Mark == "pending":
		words = found
		if ended(c) {
			words = with(notReached)
		}
	case s.Mark == "running", s.Mark == "waiting", s.Mark == "skipped":
		words = with(s.Mark)
	case s.Mark == "pass":
		words = orElse(found, "done")
	case s.Mark == "warn":
		words = with("warning")
	case s.Mark == "fail":
		words = with("failed")
	case s.Mark == "unknown":
		words = with("no data")
	case s.Mark == "uncertain":
		words = with("outcome unknown")
	default:
		words = found
	}
	text := mark + " " + orElse(line(s.Title, 120), line(s.ID, 60))
	if words != "" {
		text += " — " + words
	}
	return text
}

// steps are the lines of all steps. With very many of them, what was found is
// told shorter.
func steps(c outbox.RunCard) []string {
	most := 240
	if len(c.Steps) > 20 {
		most = 80
	}
	var lines []string
	rest := unreached(c)
	for _, s := range c.Steps[:len(c.Steps)-rest] {
		lines = append(lines, stepLine(c, s, most))
	}
	if rest > 0 {
		lines = append(lines, fmt.Sprintf("· %d more steps — not reached", rest))
	}
	return lines
}

// unreached counts the steps at the end that an ended run did not come to, if
// they are too many to be told one by one.
func unreached(c outbox.RunCard) int {
	n := 0
	for n < len(c.Steps) {
		s := c.Steps[len(c.Steps)-1-n]
		if s.Mark != "pending" && (s.Mark != "skipped" || s.Found != notReached) {
			break
		}
		n++
	}
	if !ended(c) || n < 3 {
		return 0
	}
	return n
}

// plainLines adds lines of plain text in as few sections as hold them, and
// says how many did not fit.
func (p *page) plainLines(lines []string) {
	for len(lines) > 0 {
		room := p.room(maxSection) - 40
		if room < 200 {
			p.content = max(p.content, 60)
			p.plain("… and " + many(len(lines), "more line", "more lines"))
			return
		}
		text, n := "", 0
		for n < len(lines) && units(text)+1+units(lines[n]) <= room {
			text += lines[n] + "\n"
			n++
		}
		if n == 0 {
			text, n = lines[0], 1
		}
		p.plain(text)
		lines = lines[n:]
	}
}

// origin is the small print: number, starter, time, environment.
func origin(c outbox.RunCard, at time.Time) string {
	parts := []string{ref(c.Number)}
	switch {
	case c.Starter != "":
		parts[0] += ", started by " + user(c.Starter)
	case c.StarterName != "":
		parts[0] += ", started by " + esc(line(c.StarterName, 60))
	}
	if !c.Started.IsZero() {
		parts = append(parts, clock(c.Started, at))
	}
	if env := line(c.Environment, 60); env != "" {
		if c.Critical {
			env += ", a critical environment"
		}
		parts = append(parts, esc(env))
	}
	if slug := line(c.Runbook, 60); slug != "" {
		parts = append(parts, code(slug, 60))
	}
	return strings.Join(parts, " · ")
}

// cardText is the card as a notification: what, where, how it stands, who must act.
func cardText(c outbox.RunCard, head string, at time.Time) string {
	_, words := state(c)
	text := fmt.Sprintf("%s %s: %s.", ref(c.Number), esc(head), esc(words))
	if next := line(c.Next, 400); next != "" && !same(next, words) {
		text += " " + esc(strings.TrimRight(next, ".")) + "."
	}
	if who := people(c.NextUsers, c.NextGroups, "or"); who != "" && !ended(c) {
		text += " Next: " + who
		if !c.Until.IsZero() {
			text += fmt.Sprintf(", until %s (%s left)", utc(c.Until, at), span(c.Until.Sub(at)))
		}
		text += "."
	}
	for _, l := range steps(c) {
		if units(text)+units(l)*2 > maxText-100 {
			text += "\n…"
			break
		}
		text += "\n" + esc(l)
	}
	return cutMarkup(text, maxText)
}
