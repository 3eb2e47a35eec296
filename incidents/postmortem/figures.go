package postmortem

import (
	"slices"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/stats"
)

// Measured is what the figures know of an incident.
func Measured(i *incidents.Incident, waited time.Duration) stats.Record {
	return stats.Record{
		Ref: i.Ref(), Severity: string(i.Severity), Started: i.Started, Detected: i.Detected, Declared: i.Declared, Acknowledged: i.Acknowledged,
		Mitigated: i.Mitigated, Resolved: i.Resolved, Approvals: waited,
		Excluded: i.Drill || i.State == incidents.Canceled || i.State == incidents.Merged,
	}
}

// An Audience is how punctual the updates to it were.
type Audience struct {
	Of      incidents.Alarm
	Due     int // how many came due, or were sent before they did
	Sent    int
	Late    int           // of those sent
	Missed  int           // came due, and nothing was sent for them
	Latest  time.Duration // the worst of them
	Silence time.Duration // the longest time without one, from the declaration to the resolution
}

// Punctuality sums up the updates that were due and those that were sent, for
// both audiences. What came due is known from the reminders on the timeline:
// what nobody answers stays due, and counts once.
func Punctuality(i *incidents.Incident, events []incidents.Event, updates []incidents.Update) []Audience {
	end := i.Resolved
	if end.IsZero() {
		end = i.Ended
	}
	if end.IsZero() && len(events) > 0 {
		end = events[len(events)-1].Recorded
	}
	updates = slices.SortedStableFunc(slices.Values(updates), func(a, b incidents.Update) int { return a.Told().Compare(b.Told()) })
	var out []Audience
	for _, of := range incidents.Audiences {
		a, last, due := Audience{Of: of}, i.Declared, map[string]bool{}
		for _, e := range events {
			if e.Kind == incidents.KindNudge && e.Data["audience"] == string(of) && e.Data["due"] != "" {
				due[e.Data["due"]] = true
			}
		}
		a.Missed = len(due)
		for _, u := range updates {
			if u.Audience != of || u.State == incidents.Draft || u.State == incidents.Rejected {
				continue
			}
			a.Sent++
			if when := u.Due.UTC().Format(time.RFC3339); !u.Due.IsZero() {
				if due[when] {
					a.Missed--
				}
				a.Due++
				delete(due, when)
			}
			if late := u.Late(); late > 0 {
				a.Late++
				a.Latest = max(a.Latest, late)
			}
			a.Silence = max(a.Silence, u.Told().Sub(last))
			last = u.Told()
		}
		a.Due += a.Missed
		a.Silence = max(a.Silence, end.Sub(last))
		out = append(out, a)
	}
	return out
}

// A Span is a state and how long the incident was in it, in sum.
type Span struct {
	State incidents.State
	Took  time.Duration
}

// States says how long the incident was in each state that it has left, in the
// order in which it came to them.
func States(i *incidents.Incident, events []incidents.Event) []Span {
	var out []Span
	state, since := incidents.Declared, i.Declared
	for _, e := range events {
		to := incidents.State(e.Data["to"])
		switch e.Kind {
		case incidents.KindState, incidents.KindReopened, incidents.KindCanceled, incidents.KindMerged:
		default:
			continue
		}
		at := slices.IndexFunc(out, func(s Span) bool { return s.State == state })
		if at < 0 {
			at = len(out)
			out = append(out, Span{State: state})
		}
		out[at].Took += e.Recorded.Sub(since)
		state, since = to, e.Recorded
	}
	return slices.DeleteFunc(out, func(s Span) bool { return !s.State.Active() })
}
