package incidents

import (
	"strings"
	"time"
	"unicode/utf8"

	"opsbot/internal/access"
)

// An UpdateState says how far an update has come.
type UpdateState string

const (
	Draft     UpdateState = "draft"     // waits for the communications lead
	Approved  UpdateState = "approved"  // on its way
	Published UpdateState = "published" // everywhere
	Failed    UpdateState = "failed"    // somewhere it could not be published
	Rejected  UpdateState = "rejected"
)

// An Update tells an audience how things stand.
type Update struct {
	ID       string
	Number   int // from 1, within the incident
	Audience Alarm
	Text     string
	Word     string // the state as the public is told it
	Unmoved  bool   // "no change": that is what it says
	By       access.Actor
	At       time.Time // written
	State    UpdateState
	Decider  access.Actor // who approved or rejected it
	Decided  time.Time
	Due      time.Time // when one was due
	Outcomes []Outcome // by place, of what was published
}

// An Outcome says how publishing an update in one place went.
type Outcome struct {
	Place string    `json:"place"`
	Link  string    `json:"link,omitempty"`
	Why   string    `json:"why,omitempty"` // it failed; "": it is there
	At    time.Time `json:"at"`
	Tries int       `json:"tries,omitempty"`
}

// Told is when its audience heard it: a draft counts when it is approved.
func (u *Update) Told() time.Time {
	if !u.Decided.IsZero() {
		return u.Decided
	}
	return u.At
}

// Late is how much later than due its audience heard it; 0: in time.
func (u *Update) Late() time.Duration {
	if late := u.Told().Sub(u.Due); !u.Due.IsZero() && late >= time.Second {
		return late
	}
	return 0
}

// Bounds on what people write, in characters.
const (
	MaxTitle = 150
	MaxText  = 3000
	MaxTasks = 200
)

// tidy makes a text fit: it is trimmed, and refused if it is empty or too long.
func tidy(what, s string, most int) (string, error) {
	s = strings.TrimSpace(s)
	n := utf8.RuneCountInString(s)
	switch {
	case s == "":
		return "", refuse("%s is empty.", what)
	case !utf8.ValidString(s):
		return "", refuse("%s is not readable text (no valid UTF-8).", what)
	case n > most:
		return "", refuse("%s has %d characters; at most %d fit.", what, n, most)
	}
	return s, nil
}

// rate sets the severity. Intervals that were chosen by hand are forgotten.
func (i *Incident) rate(to Severity, why string, rules Rules, now time.Time) (Event, error) {
	if i.State.Over() {
		return Event{}, refuse("%s is %s; its severity does not change any more.", i.Ref(), strings.ToLower(i.State.Word()))
	}
	if to == i.Severity {
		return Event{}, refuse("%s is %s already.", i.Ref(), to)
	}
	e := Event{Kind: KindSeverity, Text: strings.TrimSpace(why), Data: map[string]string{"from": string(i.Severity), "to": string(to)}}
	i.Severity = to
	for n := range i.Clocks {
		if of := i.Clocks[n].Of; of == ForTeams || of == ForUsers {
			i.Clocks[n].Set = time.Time{}
		}
	}
	i.wind(rules, now)
	return e, nil
}
