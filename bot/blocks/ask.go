package blocks

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// ask draws the card of one approval: what is asked and on what, what the
// click would do, who may click and until when. Once it is decided, the
// buttons give way to a line that says who decided what.
func ask(a outbox.Ask, at time.Time) Message {
	p := newPage()
	step := orElse(line(a.StepTitle, 100), line(a.Step, 60))
	env := line(a.Environment, 60)
	open := a.State == "" || a.State == "open"

	p.header(fmt.Sprintf("%s: %s", askTitle(a), step))
	p.bold(a.Question)
	if !open {
		p.markup(outcome(a, at))
	}
	p.markup(whereLine(a, env))
	if !open && len(a.Impact) > 3 {
		a.Impact = a.Impact[:3] // the rest helped to decide
	}
	p.plainLines(effectLines(a))
	p.markup(arguments(a))
	if open {
		p.markup(who(a, at))
	}
	p.note(smallPrint(a))

	var row []press
	for _, c := range a.Choices {
		if !open && (a.State != "expired" || c.ID != "again") {
			continue
		}
		row = append(row, choice(a, c, step, env))
	}
	p.actions(row...)
	return Message{Text: askText(a, step, env, open, at), Blocks: p.blocks}
}

var askTitles = map[string]map[string]string{
	"confirm":   {"": "Confirm", "granted": "Confirmed", "denied": "Not confirmed"},
	"review":    {"": "Review", "granted": "Approved", "denied": "Denied"},
	"ask":       {"": "Decide", "granted": "Decided", "denied": "Stopped"},
	"manual":    {"": "By hand", "granted": "Done by hand", "denied": "Not done"},
	"uncertain": {"": "Unclear outcome", "granted": "Decided", "denied": "Stopped"},
}

func askTitle(a outbox.Ask) string {
	switch a.State {
	case "expired":
		return "Expired"
	case "void":
		return "No longer valid"
	case "granted", "spent":
		return orElse(askTitles[a.Kind]["granted"], "Decided")
	case "denied":
		return orElse(askTitles[a.Kind]["denied"], "Denied")
	}
	return orElse(askTitles[a.Kind][""], "Decide")
}

// hexRun is an identity that no person reads to its end; the digest, which
// people can compare, covers all of it.
var hexRun = regexp.MustCompile(`[0-9a-f]{24,}`)

func shortHex(s string) string {
	return hexRun.ReplaceAllStringFunc(s, func(h string) string { return h[:8] + "…" })
}

func whereLine(a outbox.Ask, env string) string {
	var lines []string
	where := ""
	if env != "" {
		where = "*On* " + code(env, 60)
		if a.Critical {
			where += ", a critical environment"
		}
	}
	if t := line(shortHex(a.Target), 200); t != "" {
		where = strings.TrimSpace(where + " · " + code(t, 400))
	}
	if where != "" {
		lines = append(lines, strings.TrimPrefix(where, "· "))
	}
	return strings.Join(lines, "\n")
}

// effectLines say what the click would do, and why more is asked than usual.
func effectLines(a outbox.Ask) []string {
	var lines []string
	for _, s := range a.Impact {
		lines = append(lines, "• "+line(s, 240))
	}
	for _, s := range a.Items {
		lines = append(lines, "☐ "+line(s, 400))
	}
	if len(a.Fields) > 0 {
		var names []string
		for _, f := range a.Fields {
			names = append(names, orElse(line(f.Label, 60), line(f.Name, 60)))
		}
		lines = append(lines, "You will be asked for: "+cut(strings.Join(names, ", "), 400))
	}
	if len(a.Reasons) > 0 {
		why := make([]string, len(a.Reasons))
		for i, s := range a.Reasons {
			why[i] = line(s, 300)
		}
		lines = append(lines, "Note: "+cut(strings.Join(why, "; "), 900))
	}
	return lines
}

// arguments show the resolved arguments exactly.
func arguments(a outbox.Ask) string {
	const most = 20
	var lines []string
	for i, f := range a.Arguments {
		if i == most {
			lines = append(lines, "… and "+many(len(a.Arguments)-most, "more argument", "more arguments"))
			break
		}
		lines = append(lines, esc(line(f.Label, 60))+": "+code(f.Value, 300))
	}
	if text := strings.Join(lines, " · "); len(lines) < 5 && units(text) < 120 {
		return text
	}
	return strings.Join(lines, "\n")
}

// who says who may decide, how many are needed, who did already, and until when.
func who(a outbox.Ask, at time.Time) string {
	var lines []string
	may := people(a.Users, a.Groups, "or")
	verb := "decides"
	switch a.Kind {
	case "confirm":
		verb = "confirms"
	case "review":
		verb = "approves"
	case "manual":
		verb = "does it and ticks it off"
	}
	if may != "" {
		text := "*Who " + verb + ":* " + may
		if a.Type != "" {
			text += ", by typing " + code(a.Type, 100)
		}
		if a.Kind == "review" {
			text += ", but not who started or confirmed it"
		}
		lines = append(lines, text)
	}
	if yes := approvals(a); a.Needed > 1 || a.Needed == 1 && a.Kind == "review" {
		lines = append(lines, fmt.Sprintf("*Approvals:* %d of %d", yes, a.Needed))
	}
	lines = append(lines, votes(a, at)...)
	if !a.Expires.IsZero() {
		otherwise := "no answer means no"
		if a.Kind == "manual" || a.Kind == "ask" || a.Kind == "uncertain" {
			otherwise = "then the run stops"
		}
		lines = append(lines, fmt.Sprintf("*Until:* %s; %s", clock(a.Expires, at), otherwise))
	}
	return strings.Join(lines, "\n")
}

func approvals(a outbox.Ask) int {
	n := 0
	for _, v := range a.Votes {
		if v.Decision == "approve" {
			n++
		}
	}
	return n
}

// votes say who answered what.
func votes(a outbox.Ask, at time.Time) []string {
	const most = 10
	var lines []string
	for i, v := range a.Votes {
		if i == most {
			lines = append(lines, "… and "+many(len(a.Votes)-most, "more answer", "more answers"))
			break
		}
		text := user(orElse(v.User, v.Name)) + " " + esc(decided(v.Decision))
		if !v.At.IsZero() {
			text += " at " + clock(v.At, at)
		}
		if r := line(v.Reason, 300); r != "" {
			text += ": " + esc(r)
		}
		lines = append(lines, text)
	}
	return lines
}

var decisions = map[string]string{
	"approve": "approved", "deny": "denied", "confirm": "confirmed", "cancel": "canceled",
	"retry": "chose to retry", "skip": "chose to skip", "rollback": "chose to roll back",
	"stop": "stopped", "again": "asked again", "redo": "chose to do it again", "done": "said that it is done",
}

func decided(d string) string { return orElse(decisions[d], "chose "+line(d, 40)) }

// outcome says how a decided approval ended: the votes, where they decided it,
// with people and times as the reader's client shows them.
func outcome(a outbox.Ask, at time.Time) string {
	said := votes(a, at)
	byVote := len(said) > 0 && (a.State == "granted" || a.State == "spent" || a.State == "denied")
	if text := line(a.Outcome, 400); text != "" && !byVote {
		said = append([]string{esc(text)}, said...)
	}
	switch {
	case len(said) == 0 && a.OutcomeBy != "":
		said = append(said, "by "+user(a.OutcomeBy))
	case a.OutcomeBy != "" && len(a.Votes) == 0:
		said[0] += " · " + user(a.OutcomeBy)
	}
	return strings.Join(said, "\n")
}

func smallPrint(a outbox.Ask) string {
	parts := []string{ref(a.Number)}
	if t := line(a.Title, 100); t != "" {
		parts[0] += " " + esc(t)
	}
	if r := line(a.Rollback, 300); r != "" {
		parts = append(parts, esc(r))
	}
	if s := line(a.Source, 120); s != "" {
		parts = append(parts, code(s, 120))
	}
	if a.Digest != "" {
		d, _ := head(line(a.Digest, maxID), 6)
		parts = append(parts, "digest "+code(d, 6))
	}
	if l := a.Link; strings.HasPrefix(l, "https://") && !strings.ContainsAny(l, "<>|& \n") && units(l) < 500 {
		parts = append(parts, "<"+l+"|open the run>")
	}
	return strings.Join(parts, " · ")
}

// choice makes the button of a choice. One that opens a form is not red but
// primary: the form is what asks once more.
func choice(a outbox.Ask, c outbox.Choice, step, env string) press {
	b := press{
		id: idDecide + c.ID, value: a.Approval,
		label: orElse(line(c.Label, maxButton), line(c.ID, maxButton)), style: slack.Style(c.Style),
	}
	switch {
	case b.style != slack.StyleDanger:
	case opensForm(a, c):
		b.style = slack.StylePrimary
	default:
		text := step
		if env != "" {
			text += ", on " + env
		}
		text += ". " + consequence(a, c)
		b.dialog = dialog(fmt.Sprintf("%s: %s?", ref(a.Number), b.label), text, b.label, "Go back")
	}
	return b
}

// consequence says what happens once the choice is made.
func consequence(a outbox.Ask, c outbox.Choice) string {
	switch c.ID {
	case "stop":
		return "The run ends here. What is done stays done; cleanup and report still run."
	case "rollback":
		return "The steps under Rollback run now."
	case "skip":
		return "The run goes on without this step."
	}
	var text string
	if len(a.Impact) > 0 {
		text = "This " + line(a.Impact[0], 140) + "."
	} else {
		text = "The step runs now."
	}
	if t := line(shortHex(a.Target), 80); t != "" {
		text += " On " + t + "."
	}
	return text
}

// opensForm reports whether a click on the choice asks for more first.
func opensForm(a outbox.Ask, c outbox.Choice) bool {
	typed := a.Type != "" && slices.Contains([]string{"confirm", "approve"}, c.ID)
	return c.Reason || typed || c.ID == "done" && len(a.Fields) > 0
}

// askText is the card as a notification.
func askText(a outbox.Ask, step, env string, open bool, at time.Time) string {
	where := ref(a.Number)
	if env != "" {
		where += " on " + esc(env)
	}
	q := strings.TrimSpace(clean(a.Question))
	if !open {
		return cutMarkup(strings.TrimSpace(fmt.Sprintf("%s: %s, %s. %s", where, askTitle(a), esc(step), outcome(a, at))), maxText)
	}
	text := fmt.Sprintf("%s: %s, %s.", where, askTitle(a), esc(step))
	if q != "" {
		text += " " + esc(cut(q, 400))
	}
	if may := people(a.Users, a.Groups, "or"); may != "" {
		text += " Asked of " + may + "."
	}
	if !a.Expires.IsZero() {
		text += fmt.Sprintf(" Until %s (%s left).", utc(a.Expires, at), span(a.Expires.Sub(at)))
	}
	for _, l := range effectLines(a) {
		if units(text)+units(l)*2 > maxText-100 {
			break
		}
		text += "\n" + esc(l)
	}
	return cutMarkup(text, maxText)
}
