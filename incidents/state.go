package incidents

import (
	"slices"
	"strings"
	"time"
)

// A State is where the work on an incident stands. It goes forward, by any
// number of steps; back only by Reopen.
//
//	declared → assessing → triaging → fixing → monitoring → resolved → postmortem → closed
//	    └──────────┴───────────┴→ canceled        ▲ └───────────┴─────────┴──────────┘ reopen
//	    anything before resolved → merged         └─ fixing
type State string

const (
	Declared   State = "declared"   // entered by Declare
	Assessing  State = "assessing"  // what is down, and for whom?
	Triaging   State = "triaging"   // why, and what could be done?
	Fixing     State = "fixing"     // also entered by Reopen
	Monitoring State = "monitoring" // it seems to be over; does it last?
	Resolved   State = "resolved"   // needs a summary; the clocks stop
	Postmortem State = "postmortem" // what is to be learned
	Closed     State = "closed"     // needs what its severity asks for
	Canceled   State = "canceled"   // it was none; only before fixing
	Merged     State = "merged"     // it goes on in another one
)

// order is the way forward.
var order = []State{Declared, Assessing, Triaging, Fixing, Monitoring, Resolved, Postmortem, Closed}

// States are those that people can set, in their order.
func States() []State { return slices.Clone(order[1:]) }

// ParseState reads a state's name or the beginning of it.
func ParseState(s string) (State, bool) {
	s = strings.ToLower(s)
	switch s {
	case "":
		return "", false
	case "post-mortem", "pm":
		return Postmortem, true
	case "fixed":
		return Monitoring, true
	case "identified":
		return Fixing, true
	case "investigating":
		return Assessing, true
	}
	var found []State
	for _, st := range order {
		if string(st) == s {
			return st, true
		}
		if len(s) >= 3 && strings.HasPrefix(string(st), s) {
			found = append(found, st)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	return "", false
}

// Active reports whether there is still something to fix or to watch: the
// clocks run.
func (s State) Active() bool {
	return slices.Contains(order[:slices.Index(order, Resolved)], s)
}

// Over reports whether nothing more is to be done.
func (s State) Over() bool { return s == Closed || s == Canceled || s == Merged }

// Word says the state for people.
func (s State) Word() string {
	switch s {
	case Postmortem:
		return "Post-mortem"
	case "":
		return "Unknown"
	}
	return strings.ToUpper(string(s[:1])) + string(s[1:])
}

// Public is what users are told about the state; "": nothing. What was none, or
// goes on in another incident, is over for those who follow it.
func (s State) Public() string {
	switch s {
	case Declared, Assessing, Triaging:
		return "Investigating"
	case Fixing:
		return "Identified"
	case Monitoring:
		return "Monitoring"
	case Resolved, Postmortem, Closed, Canceled, Merged:
		return "Resolved"
	}
	return ""
}

// unmoved says to an audience that nothing has changed. Users hear no words of
// ours.
func (s State) unmoved(to Alarm) string {
	if to != ForUsers {
		return "No change: " + strings.ToLower(s.Word()) + "."
	}
	switch s.Public() {
	case Fixing.Public():
		return "No change: we still work on a fix."
	case Monitoring.Public():
		return "No change: we still watch whether the fix holds."
	case Resolved.Public():
		return "No change: it works."
	}
	return "No change: we are still looking for the cause."
}

// Asks says what people are to do in a state; "" where nothing is asked.
func (s State) Asks() string {
	switch s {
	case Declared:
		return "Accept command, then assess: what is down, and who notices?"
	case Assessing:
		return "Say what is down, which users notice, what it means for them, and when it began."
	case Triaging:
		return "Find the cause: run a health check, look at the backups, prepare a rollback."
	case Fixing:
		return "Fix it, or go back to what worked."
	case Monitoring:
		return "Check that it is over, and that it stays so."
	case Resolved:
		return "Begin the post-mortem, and say who does what by when."
	case Postmortem:
		return "Complete the post-mortem, then close."
	}
	return ""
}

// asks is State.Asks, without what was done already.
func (i *Incident) asks() string {
	if i.State == Declared && !i.Acknowledged.IsZero() {
		return "Assess it: what is down, and who notices?"
	}
	return i.State.Asks()
}

// A Move asks for another state.
type Move struct {
	To      State
	Summary string // how it was resolved; needed for Resolved and what follows, unless it is known
	Note    string
}

// move changes the state. The refusal names everything that is missing.
func (i *Incident) move(m Move, rules Rules, now time.Time) (Event, error) {
	from, to := slices.Index(order, i.State), slices.Index(order, m.To)
	switch {
	case from < 0:
		return Event{}, refuse("%s is %s; it does not change any more.", i.Ref(), strings.ToLower(i.State.Word()))
	case to < 0 || m.To == Declared:
		return Event{}, refuse("%q is no state that an incident can be set to.", m.To)
	case from == to:
		return Event{}, refuse("%s is %s already.", i.Ref(), strings.ToLower(i.State.Word()))
	case to < from:
		r := refuse("%s is %s; it does not go back to %s.", i.Ref(), strings.ToLower(i.State.Word()), strings.ToLower(m.To.Word()))
		if from >= slices.Index(order, Monitoring) {
			r.lack("If it is not over, reopen it.", "reopen "+i.Ref(), "Reopen")
		}
		return Event{}, r
	}
	if s := strings.TrimSpace(m.Summary); s != "" {
		i.Summary = s
	}
	if r := i.lacking(m.To, rules); r != nil {
		return Event{}, r
	}
	e := Event{Kind: KindState, Text: strings.TrimSpace(m.Note), Data: map[string]string{"from": string(i.State), "to": string(m.To)}}
	if m.To == Resolved {
		e.Text = i.Summary
	}
	i.enter(m.To, rules, now)
	return e, nil
}

// lacking lists what stands between the incident and a state; nil: nothing.
func (i *Incident) lacking(to State, rules Rules) error {
	r := refuse("%s cannot be %s yet.", i.Ref(), strings.ToLower(to.Word()))
	at := slices.Index(order, to)
	if at >= slices.Index(order, Resolved) && i.Summary == "" {
		r.lack("A summary: what was wrong, and what ended it.", "resolve "+i.Ref(), "Resolve")
	}
	if at > slices.Index(order, Resolved) && i.Resolved.IsZero() && i.Summary != "" {
		r.lack("It must be resolved first.", "status "+i.Ref()+" resolved", "Resolve")
	}
	if to == Closed {
		for _, d := range i.Drafts {
			r.lack("A decision on the update to the users that waits for approval: "+clip(strings.Join(strings.Fields(d.Text), " "), 100), "edit "+i.Ref()+" "+d.ID, "Publish")
		}
	}
	if to == Closed && rules.Of(i.Severity).Postmortem {
		if i.Written.IsZero() {
			r.lack("A post-mortem: "+string(i.Severity)+" asks for one.", "postmortem "+i.Ref(), "Begin post-mortem")
		}
		for _, t := range i.Tasks {
			if t.Owner == "" && t.Done.IsZero() {
				r.lack("An owner for task "+itoa(t.Number)+": "+t.Text, "task "+i.Ref()+" "+itoa(t.Number), "Give it an owner")
			}
		}
	}
	if len(r.Missing) == 0 {
		return nil
	}
	return r
}

// enter sets the state with the time stamps and clocks that go with it. Times
// of states that were left out stay empty: nobody knows them.
func (i *Incident) enter(to State, rules Rules, now time.Time) {
	i.State, i.Since = to, now
	switch to {
	case Monitoring:
		if i.Mitigated.IsZero() {
			i.Mitigated = now
		}
	case Resolved:
		i.Resolved = now
	case Postmortem:
		i.Written = now
	case Closed, Canceled, Merged:
		i.Ended = now
	}
	i.wind(rules, now)
}

// reopen goes back to Fixing from a state in which it seemed to be over.
func (i *Incident) reopen(why string, rules Rules, now time.Time) (Event, error) {
	at := slices.Index(order, i.State)
	if at < slices.Index(order, Monitoring) {
		return Event{}, refuse("%s is %s; only what was thought to be over can be reopened.", i.Ref(), strings.ToLower(i.State.Word()))
	}
	if strings.TrimSpace(why) == "" {
		return Event{}, refuse("Say why %s must be reopened.", i.Ref())
	}
	e := Event{Kind: KindReopened, Text: strings.TrimSpace(why), Data: map[string]string{"from": string(i.State), "to": string(Fixing)}}
	i.Reopened++
	i.Mitigated, i.Resolved, i.Written, i.Ended, i.Summary = time.Time{}, time.Time{}, time.Time{}, time.Time{}, ""
	i.Clocks = nil // they start anew
	i.enter(Fixing, rules, now)
	return e, nil
}

// cancel ends what turned out to be no incident.
func (i *Incident) cancel(why string, rules Rules, now time.Time) (Event, error) {
	switch at := slices.Index(order, i.State); {
	case at < 0:
		return Event{}, refuse("%s is %s already.", i.Ref(), strings.ToLower(i.State.Word()))
	case at >= slices.Index(order, Fixing):
		r := refuse("%s is %s; only before the fixing begins can it be canceled.", i.Ref(), strings.ToLower(i.State.Word()))
		if i.State.Active() {
			r.lack("If it is over, resolve it with a summary.", "resolve "+i.Ref(), "Resolve")
		}
		return Event{}, r
	}
	if strings.TrimSpace(why) == "" {
		return Event{}, refuse("Say why %s is no incident.", i.Ref())
	}
	i.Why = strings.TrimSpace(why)
	e := Event{Kind: KindCanceled, Text: i.Why, Data: map[string]string{"from": string(i.State), "to": string(Canceled)}}
	i.enter(Canceled, rules, now)
	return e, nil
}

// merge ends it in favour of another, which goes on.
func (i *Incident) merge(into *Incident, rules Rules, now time.Time) (Event, error) {
	switch {
	case i.ID == into.ID:
		return Event{}, refuse("%s cannot be merged into itself.", i.Ref())
	case !i.State.Active():
		return Event{}, refuse("%s is %s; only what is going on can be merged.", i.Ref(), strings.ToLower(i.State.Word()))
	case into.State.Over():
		r := refuse("%s is %s; it cannot take another in.", into.Ref(), strings.ToLower(into.State.Word()))
		if into.Into != 0 {
			r.lack("It went on in INC-"+itoa(int(into.Into))+".", "merge "+i.Ref()+" into INC-"+itoa(int(into.Into)), "Merge into that")
		}
		return Event{}, r
	}
	e := Event{Kind: KindMerged, Text: into.Title, Data: map[string]string{"from": string(i.State), "to": string(Merged), "into": into.Ref()}}
	i.Into = into.Number
	i.enter(Merged, rules, now)
	return e, nil
}
