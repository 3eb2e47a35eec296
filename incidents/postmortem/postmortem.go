// Package postmortem writes what is to be learned from an incident: Markdown,
// made from the record, with sections that people fill in.
//
// What the record knows is never asked for again, and what people wrote is
// never lost: a draft that is made anew keeps their sections.
package postmortem

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/stats"
)

// A Record is everything that the draft is made from.
type Record struct {
	Incident *incidents.Incident
	Events   []incidents.Event
	Updates  []incidents.Update
	Runs     []Run
	Rules    incidents.Rules
	// Name says a person's name by their id; nil: the id.
	Name func(id string) string
}

// Sections that people write, by their headings. A draft has them with a
// question that asks for their text.
const (
	RootCause  = "Root cause"
	WentWell   = "What went well"
	Prevention = "Prevention"
	Playbooks  = "Changes to runbooks"
)

// Sections are those that people write, in their order.
var Sections = []string{RootCause, WentWell, Prevention, Playbooks}

// Changed lists the sections that people write, of those that differ.
func Changed(before, after string) (titles []string) {
	for _, title := range Sections {
		if Section(before, title) != Section(after, title) {
			titles = append(titles, title)
		}
	}
	return titles
}

// Required are the sections without which a post-mortem is not complete.
var Required = []string{RootCause, Prevention}

// asks stands in a section that nobody has written yet.
var asks = map[string]string{
	RootCause:  "_Why did it happen? Not who: what made it possible?_",
	WentWell:   "_What helped? What was luck?_",
	Prevention: "_What keeps it from happening again, or makes it shorter?_",
	Playbooks:  "_Which runbook was missing, wrong or slow?_",
}

// Draft writes the post-mortem: what somebody needs who was not there, the most
// important first. Times are UTC, to the minute.
func Draft(r Record) string {
	w := &writer{Record: r}
	i := r.Incident
	w.line("# Post-mortem of %s: %s", i.Ref(), escape(i.Title))
	w.line("")
	if i.Drill {
		w.line("This was an exercise.")
		w.line("")
	}
	if i.Security {
		w.line("**Restricted**: this is for those who worked on it.")
		w.line("")
	}
	w.line("%s", w.lead())
	w.line("")
	w.section("Summary", orNothing(i.Summary, "It has not been resolved."))
	w.section("Impact", w.impact())
	w.facts()
	for _, s := range Sections {
		if s == Playbooks {
			w.actions()
		}
		w.section(s, asks[s])
	}
	w.deltas()
	w.timeline()
	w.runs()
	w.communication()
	w.states()
	return strings.TrimRight(w.b.String(), "\n") + "\n"
}

type writer struct {
	Record
	b strings.Builder
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

func (w *writer) section(title, body string) {
	w.line("## %s", title)
	w.line("")
	w.line("%s", body)
	w.line("")
}

func (w *writer) name(id string) string {
	if w.Name != nil {
		if n := w.Name(id); n != "" {
			return cell(n)
		}
	}
	return cell(id)
}

// lead says in a line how bad it was, for how long.
func (w *writer) lead() string {
	i := w.Incident
	s := fmt.Sprintf("%s, %s.", i.Severity, i.Severity.Word())
	began, least := i.Started, ""
	if began.IsZero() {
		began, least = i.Declared, "at least "
	}
	if i.Resolved.IsZero() {
		return fmt.Sprintf("%s It began at %s and has not been resolved.", s, minute(began))
	}
	s = fmt.Sprintf("%s It lasted %s%s, ", s, least, span(i.Resolved.Sub(began)))
	if day := began.UTC().Format("2006-01-02"); i.Resolved.UTC().Format("2006-01-02") == day {
		return fmt.Sprintf("%sfrom %s to %s UTC on %s.", s, began.UTC().Format("15:04"), i.Resolved.UTC().Format("15:04"), day)
	}
	return fmt.Sprintf("%sfrom %s to %s.", s, minute(began), minute(i.Resolved))
}

func (w *writer) facts() {
	i := w.Incident
	w.line("## People and times")
	w.line("")
	w.line("| | |")
	w.line("|-|-|")
	w.line("| Severity | %s, %s |", i.Severity, i.Severity.Word())
	for _, k := range []incidents.RoleKind{incidents.Commander, incidents.Comms} {
		if r, ok := i.Holder(k); ok {
			w.line("| %s | %s |", first(k.Word()), cell(cmp.Or(r.Actor.Name, r.Actor.ID)))
		}
	}
	var others []string
	for _, r := range i.Roles {
		if r.Kind == incidents.Responder {
			who := cell(cmp.Or(r.Actor.Name, r.Actor.ID))
			if r.Tag != "" {
				who += " (" + cell(r.Tag) + ")"
			}
			others = append(others, who)
		}
	}
	if len(others) > 0 {
		w.line("| Responders | %s |", strings.Join(others, ", "))
	}
	for _, f := range []struct {
		name string
		at   time.Time
	}{
		{"Started", i.Started}, {"Detected", i.Detected}, {"Declared", i.Declared}, {"Acknowledged", i.Acknowledged},
		{"Mitigated", i.Mitigated}, {"Resolved", i.Resolved},
	} {
		said := "not known"
		if !f.at.IsZero() {
			said = minute(f.at)
		}
		w.line("| %s | %s |", f.name, said)
	}
	m := Measured(i, w.waited())
	for _, which := range stats.Measures {
		if d, ok := m.Of(which); ok && (which != stats.Approval || len(w.Runs) > 0) {
			w.line("| %s | %s |", which.Word(), stats.Span(d))
		}
	}
	if i.Reopened > 0 {
		times := "once"
		if i.Reopened > 1 {
			times = fmt.Sprintf("%d times", i.Reopened)
		}
		w.line("| Reopened | %s |", times)
	}
	w.line("")
}

func (w *writer) impact() string {
	i := w.Incident
	var lines []string
	for _, f := range [][2]string{{"What was down", i.Down}, {"Users affected", i.Affected}, {"What it meant for them", i.Impact}} {
		if f[1] != "" {
			lines = append(lines, "- "+f[0]+": "+escape(f[1]))
		}
	}
	if len(lines) == 0 {
		return "Nobody put the impact on record."
	}
	return strings.Join(lines, "\n")
}

func (w *writer) actions() {
	w.line("## Action items")
	w.line("")
	if len(w.Incident.Tasks) == 0 {
		w.line("There are none.")
		w.line("")
		return
	}
	w.line("| # | What | Owner | Due | Done |")
	w.line("|-|-|-|-|-|")
	for _, t := range w.Incident.Tasks {
		owner, due, done := "**nobody**", "–", "–"
		if t.Owner != "" {
			owner = w.name(t.Owner)
		}
		if t.Due != "" {
			due = t.Due
		}
		if !t.Done.IsZero() {
			done = t.Done.UTC().Format("2006-01-02")
		}
		w.line("| %d | %s | %s | %s | %s |", t.Number, cell(t.Text), owner, due, done)
	}
	w.line("")
}

// timeline tells what happened until the post-mortem was begun. What other
// sections tell, and what only kept people going, is left to the record.
func (w *writer) timeline() {
	w.line("## Timeline")
	w.line("")
	w.line("Times are UTC. Reminders, drafts and the steps of runs are left out here; they are on the timeline of %s itself.", w.Incident.Ref())
	day, summary := "", ""
	for _, e := range incidents.Read(w.Events) {
		said := e.Say()
		switch {
		case said == "" || !w.matters(e) || e.Kind == incidents.KindUpdate && e.Text == summary:
			continue
		case e.Kind == incidents.KindState && e.Data["to"] == string(incidents.Resolved):
			summary = e.Text // the teams are told the same
		}
		if d := e.Occurred.UTC().Format("Monday, 2006-01-02"); d != day {
			day = d
			w.line("")
			w.line("### %s", d)
			w.line("")
		}
		w.line("- %s %s", e.Occurred.UTC().Format("15:04"), escape(said))
	}
	w.line("")
}

// matters reports whether somebody who was not there must know.
func (w *writer) matters(e incidents.Entry) bool {
	if written := w.Incident.Written; e.Hidden || !written.IsZero() && !e.Occurred.Before(written) {
		return false
	}
	switch e.Kind {
	case incidents.KindTask, incidents.KindDone, incidents.KindDraft, incidents.KindApproved, incidents.KindPublished, incidents.KindSnooze:
		return false
	case incidents.KindNudge: // for a role that was empty, but not for an update
		return e.Data["of"] == string(incidents.ForCommander) || e.Data["of"] == string(incidents.ForComms)
	case incidents.KindRun:
		return e.Data["point"] != "step" && e.Data["point"] != "refused"
	}
	return true
}

// communication says how punctual the updates were, for each audience.
func (w *writer) communication() {
	w.line("## Communication")
	w.line("")
	w.line("| Audience | Due every | Due | Sent | On time | Late | Never sent | Latest by | Longest silence |")
	w.line("|-|-|-|-|-|-|-|-|-|")
	for _, a := range Punctuality(w.Incident, w.Events, w.Updates) {
		latest, silence := "–", "–"
		if a.Late > 0 {
			latest = span(a.Latest)
		}
		if a.Silence > 0 { // as long as it goes on, nobody knows
			silence = span(a.Silence)
		}
		w.line("| %s | %s | %d | %d | %d | %d | %d | %s | %s |", a.Of, w.every(a.Of), a.Due, a.Sent, a.Sent-a.Late, a.Late, a.Missed, latest, silence)
	}
	w.line("")
	var wrong []string
	for _, u := range w.Updates {
		what := ""
		switch u.State {
		case incidents.Draft:
			what = "still waits for approval"
		case incidents.Rejected:
			what = "was rejected"
		case incidents.Failed:
			what = "could not be published everywhere"
		default:
			continue
		}
		wrong = append(wrong, fmt.Sprintf("- The update to the %s of %s %s: %s", u.Audience, u.At.UTC().Format("15:04"), what, escape(clip(oneLine(u.Text), 200))))
	}
	if len(wrong) > 0 {
		w.line("%s", strings.Join(wrong, "\n"))
		w.line("")
	}
}

// every says how often an audience was to hear, by the severities that the
// incident had one after the other.
func (w *writer) every(of incidents.Alarm) string {
	var list []string
	i := *w.Incident
	add := func(severity string) {
		i.Severity = incidents.Severity(severity)
		said := "–"
		if d := w.Rules.Interval(&i, of); d > 0 {
			said = span(d)
		}
		if len(list) == 0 || list[len(list)-1] != said {
			list = append(list, said)
		}
	}
	for _, e := range w.Events {
		switch e.Kind {
		case incidents.KindDeclared:
			add(e.Data["severity"])
		case incidents.KindSeverity:
			add(e.Data["to"])
		}
	}
	if len(list) == 0 {
		add(string(i.Severity))
	}
	return strings.Join(list, ", then ")
}

// states says how long the states took against their budgets.
func (w *writer) states() {
	states := States(w.Incident, w.Events)
	if len(states) == 0 {
		return
	}
	w.line("## Time in each state")
	w.line("")
	w.line("| State | Planned | Took |")
	w.line("|-|-|-|")
	for _, s := range states {
		planned := "–"
		if b := w.Rules.Budgets[s.State]; b > 0 {
			planned = span(b)
		}
		w.line("| %s | %s | %s |", s.State.Word(), planned, span(s.Took))
	}
	w.line("")
}
