package incidents

import (
	"slices"
	"time"
)

// An Alarm names what a Clock is for.
type Alarm string

const (
	ForTeams     Alarm = "teams"     // an update to the teams is due
	ForUsers     Alarm = "users"     // an update to the users is due
	ForCommander Alarm = "commander" // nobody has accepted command
	ForComms     Alarm = "comms"     // nobody has accepted the communications
	ForBudget    Alarm = "budget"    // the state takes longer than it should
	ForDraft     Alarm = "draft"     // the last update to the users waits for approval
	ForHeadline  Alarm = "headline"  // the headline shows the time, so it is edited now and then
)

// Audiences are the alarms that updates answer.
var Audiences = []Alarm{ForTeams, ForUsers}

// A Stage says how loud a clock has been since its time came.
type Stage int

const (
	Silent    Stage = iota // its time has not come, or is snoozed
	Nudged                 // one nudge stands in the thread
	Mentioned              // half an interval late: the commander was mentioned
	Told                   // a whole interval late: its owner was told directly; since then it is repeated, quietly
)

// How what nobody answers is repeated once everybody was called.
const (
	roleAgain = 10 * time.Minute // for an empty role, if it is not asked for less often anyway
	callAgain = time.Minute      // where nobody could be called, because Slack did not say whom
	loudAgain = time.Hour        // between two times that somebody is called, and not only reminded
	draftNag  = 10 * time.Minute // for the last update to the users, once the other clocks have stopped
)

// loudly reports whether a repetition that comes every step falls on a time to
// call somebody again: each full hour of waiting does.
func loudly(waited, step time.Duration) bool {
	return waited/loudAgain > (waited-step)/loudAgain
}

// A Clock is one thing that comes due again and again, or once. Everything is
// computed from Due, so that nothing is lost by a restart.
type Clock struct {
	Of       Alarm
	Interval time.Duration // 0: it is off
	Due      time.Time
	Snoozed  time.Time // it is silent until then
	Stage    Stage
	Wake     time.Time // when it has to be looked at next; zero: not by itself
	Set      time.Time // when the interval was chosen
	Nudge    int64     // event of the nudge that stands in the room; 0: none does
}

// Off reports whether nothing comes due.
func (c *Clock) Off() bool { return c == nil || c.Interval <= 0 }

// Overdue is how late it is; 0: not at all.
func (c *Clock) Overdue(now time.Time) time.Duration {
	if c.Off() || c.Due.IsZero() {
		return 0
	}
	return max(0, now.Sub(c.Due))
}

// start lets an interval begin.
func (c *Clock) start(interval time.Duration, now time.Time) {
	c.Interval, c.Stage, c.Snoozed = interval, Silent, time.Time{}
	c.Due, c.Wake = time.Time{}, time.Time{}
	if interval > 0 {
		c.Due = now.Add(interval)
		c.Wake = c.Due
	}
}

// adjust gives a running clock another interval: what was due sooner stays due.
func (c *Clock) adjust(interval time.Duration, now time.Time) {
	switch {
	case interval <= 0 || c.Off():
		c.start(interval, now)
	case interval != c.Interval:
		due := now.Add(interval)
		c.Interval = interval
		if due.Before(c.Due) {
			c.start(interval, now)
		}
	}
}

// snooze keeps it silent for a while. It stays as late as it is.
func (c *Clock) snooze(d time.Duration, now time.Time) {
	c.Snoozed = now.Add(d)
	if c.Snoozed.Before(c.Due) {
		c.Snoozed = c.Due
	}
	c.Wake, c.Stage = c.Snoozed, Silent
}

// ring is called when Wake has come. It returns how loud to be, and sets when
// to ring again: it gets louder, then goes on once an interval until somebody
// answers. However late it is called, it goes one stage at a time, and leaves
// half an interval before the next: after a restart, one nudge comes and not a
// heap.
func (c *Clock) ring(now time.Time) Stage {
	base := c.Due
	if c.Snoozed.After(base) {
		base = c.Snoozed
	}
	half := c.Interval / 2
	next := time.Time{}
	switch c.Stage {
	case Silent:
		c.Stage, next = Nudged, base.Add(half)
	case Nudged:
		c.Stage, next = Mentioned, base.Add(c.Interval)
	case Mentioned, Told:
		c.Stage, next = Told, base.Add((now.Sub(base)/c.Interval+1)*c.Interval)
		if next.Sub(now) < half {
			next = next.Add(c.Interval)
		}
	}
	if next.Sub(now) < half {
		next = now.Add(half)
	}
	c.Wake = next
	return c.Stage
}

// wind sets the clocks to what state, severity and roles ask for. Clocks that
// run go on; all stop when the incident is no longer active, but the one for
// its last words.
func (i *Incident) wind(rules Rules, now time.Time) {
	if !i.State.Active() {
		for n := range i.Clocks {
			if c := &i.Clocks[n]; c.Of != ForDraft {
				c.start(0, now)
			}
		}
		return
	}
	for _, of := range Audiences {
		c := i.clock(of, now)
		want := rules.Interval(i, of)
		if c.Interval == 0 || c.Set.IsZero() {
			c.adjust(want, now)
		} else if want == 0 {
			c.start(0, now)
		}
	}
	i.nag(ForCommander, Commander, true, rules, now)
	i.nag(ForComms, Comms, rules.Of(i.Severity).Comms, rules, now)
	if c := i.clock(ForBudget, now); !c.Set.Equal(i.Since) {
		c.start(rules.Budgets[i.State], now)
		c.Set = i.Since
	}
	if c := i.clock(ForHeadline, now); c.Off() {
		c.start(HeadlineEvery, now)
	}
}

// HeadlineEvery is how often a headline is edited though nothing has happened:
// it shows how long the incident lasts.
const HeadlineEvery = time.Minute

// nag lets the clock of a role run while nobody has accepted it.
func (i *Incident) nag(of Alarm, kind RoleKind, wanted bool, rules Rules, now time.Time) {
	c := i.clock(of, now)
	filled := slices.ContainsFunc(i.Roles, func(r Role) bool { return r.Kind == kind && !r.Accepted.IsZero() })
	switch {
	case filled || !wanted:
		c.start(0, now)
	case c.Off():
		c.start(rules.RoleNag, now)
	}
}

// clock returns the clock, which it adds if there is none.
func (i *Incident) clock(of Alarm, now time.Time) *Clock {
	if c := i.Clock(of); c != nil {
		return c
	}
	i.Clocks = append(i.Clocks, Clock{Of: of})
	return &i.Clocks[len(i.Clocks)-1]
}

// choose sets an audience's interval by hand, from now on.
func (i *Incident) choose(of Alarm, interval time.Duration, now time.Time) {
	c := i.clock(of, now)
	c.start(interval, now)
	c.Set = now
}

// answered starts the interval of an audience anew: it has heard.
func (i *Incident) answered(of Alarm, now time.Time) {
	if c := i.Clock(of); !c.Off() {
		c.start(c.Interval, now)
	}
}
