// Package incidents keeps the life of an incident: states, roles, clocks and
// timeline.
//
// An Incident is what is known of it now; its timeline, a list of Events that
// is only ever added to, says how it came to be so. A Tracker changes both in
// one transaction, together with the audit log and what is to be said about
// it. Runs, messages and people are known by their ids alone.
package incidents

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// An Incident is something that is wrong with the systems, and the work on it.
// Times are the database's clock; the zero time means that it has not happened
// or that nobody knows.
type Incident struct {
	ID         string
	Number     int64 // people say INC-7
	Title      string
	State      State
	Since      time.Time // of the state
	Severity   Severity
	Security   bool // say nothing in public, touch nothing that is evidence
	Drill      bool // an exercise: kept out of the figures
	Declarer   access.Actor
	Origin     outbox.Conversation // where it was declared
	Room       string              // id of its own channel; "": the headline's thread is the room
	RequestKey string              // of the request that declared it

	Down     string // what does not work
	Affected string // which users notice; see UserFacing
	Impact   string // what that means for them
	Summary  string // how it was resolved
	Why      string // it was canceled
	Into     int64  // number of the incident it was merged into; 0: none

	Started      time.Time // when it began, as far as is known
	Detected     time.Time // when somebody or something noticed
	Declared     time.Time
	Acknowledged time.Time // a commander accepted
	Mitigated    time.Time // first monitored
	Resolved     time.Time
	Written      time.Time // the post-mortem was begun
	Ended        time.Time // closed, canceled or merged
	Reopened     int

	Roles  []Role
	Clocks []Clock
	Tasks  []Task
	Drafts []Update // that wait for approval; written through Change.Updates
	Public *Update  // the newest that users were told; the store looks for it
	Last   *Update  // the newest that was posted, of any audience
	Runs   []Run    // the newest last; at most MaxRuns
	Events int64    // number of the newest event
}

// MaxRuns is how many runs an Incident knows by itself; the timeline has all.
const MaxRuns = 8

// A Run is a run that belongs to the incident, as the headline shows it.
type Run struct {
	ID     string `json:"id"`
	Number int64  `json:"number"` // people say R12
	Title  string `json:"title"`
	State  string `json:"state"`          // "running", or how it ended
	Step   string `json:"step,omitempty"` // the last one, and what was found
	At     int64  `json:"at"`             // of the last change, in unix milliseconds
}

// A Task is something that must be done because of the incident, maybe after it.
type Task struct {
	Number int          `json:"number"` // from 1, within the incident
	Text   string       `json:"text"`
	Owner  string       `json:"owner,omitempty"` // user id; "": nobody's yet
	Name   string       `json:"name,omitempty"`  // of the owner, as far as it is known
	Due    string       `json:"due,omitempty"`   // a day, 2026-11-30; "": none
	By     access.Actor `json:"by"`
	Done   time.Time    `json:"done,omitzero"`
}

// Ref is what people call it: INC-7.
func (i *Incident) Ref() string { return fmt.Sprintf("INC-%d", i.Number) }

// Key names the headline's message, whose thread is the room.
func (i *Incident) Key() string { return HeadlinePrefix + i.ID }

// HeadlinePrefix begins the key of every headline.
const HeadlinePrefix = "incident/"

var reference = regexp.MustCompile(`^(?i:inc)-?([1-9][0-9]{0,8})$`)

// ParseRef reads INC-7 or inc7. ok is false for anything else.
func ParseRef(s string) (number int64, ok bool) {
	m := reference.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

// UserFacing reports whether users notice it. As long as nobody has said, they
// may.
func (i *Incident) UserFacing() bool {
	switch strings.ToLower(strings.Trim(strings.TrimSpace(i.Affected), ".!")) {
	case "no", "none", "nobody", "no one", "no users", "0":
		return false
	}
	return true
}

// Holder is who has the role: for the commander, who accepted it, or else who
// acts in it until somebody does. ok is false if nobody has it.
func (i *Incident) Holder(kind RoleKind) (r Role, ok bool) {
	for _, r := range i.Roles {
		if r.Kind == kind && (!r.Accepted.IsZero() || r.Acting) {
			return r, true
		}
	}
	return Role{}, false
}

// Offered is who was asked to take the role and has not answered.
func (i *Incident) Offered(kind RoleKind) (r Role, ok bool) {
	at := slices.IndexFunc(i.Roles, func(r Role) bool { return r.Kind == kind && r.Accepted.IsZero() && !r.Acting })
	if at < 0 {
		return Role{}, false
	}
	return i.Roles[at], true
}

// Holds reports whether the actor has the role, by acceptance or as acting.
func (i *Incident) Holds(kind RoleKind, a access.Actor) bool {
	return slices.ContainsFunc(i.Roles, func(r Role) bool {
		return r.Kind == kind && r.Actor.Same(a) && (!r.Accepted.IsZero() || r.Acting)
	})
}

// Clock returns the clock of that name, or nil.
func (i *Incident) Clock(of Alarm) *Clock {
	for n := range i.Clocks {
		if i.Clocks[n].Of == of {
			return &i.Clocks[n]
		}
	}
	return nil
}

// Owner is who keeps the clock: the communications lead, else the commander;
// nil while there is neither.
func (i *Incident) Owner(of Alarm) *access.Actor {
	kinds := []RoleKind{Comms, Commander}
	if of != ForTeams && of != ForUsers {
		kinds = kinds[1:]
	}
	for _, kind := range kinds {
		if r, ok := i.Holder(kind); ok {
			return &r.Actor
		}
	}
	return nil
}

// Task returns the one with the number, or nil.
func (i *Incident) Task(number int) *Task {
	if number < 1 || number > len(i.Tasks) {
		return nil
	}
	return &i.Tasks[number-1]
}

// Lasted is how long it has been going on at the time, or went on.
func (i *Incident) Lasted(now time.Time) time.Duration {
	end := now
	for _, t := range []time.Time{i.Resolved, i.Ended} {
		if !t.IsZero() && t.Before(end) {
			end = t
		}
	}
	return max(0, end.Sub(i.Declared))
}
