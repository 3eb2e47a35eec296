package outbox

import (
	"fmt"
	"strings"
	"time"
)

// An Incident is the headline of one incident: its live message.
type Incident struct {
	ID           string        `json:"id"`
	Number       int64         `json:"number"` // people say INC-7
	Title        string        `json:"title"`
	State        string        `json:"state"`
	Word         string        `json:"word"` // the state as people say it
	Since        time.Time     `json:"since"`
	Severity     string        `json:"severity"`
	Security     bool          `json:"security,omitempty"` // says nothing but that there is one
	Drill        bool          `json:"drill,omitempty"`
	Active       bool          `json:"active"`
	Over         bool          `json:"over,omitempty"`
	Declared     time.Time     `json:"declared"`
	Lasted       time.Duration `json:"lasted"` // when the card was made, in nanoseconds
	Started      time.Time     `json:"started,omitzero"`
	Down         string        `json:"down,omitempty"`
	Affected     string        `json:"affected,omitempty"`
	Impact       string        `json:"impact,omitempty"`
	Commander    string        `json:"commander,omitempty"` // user id
	Acting       bool          `json:"acting,omitempty"`    // until somebody accepts
	Offered      string        `json:"offered,omitempty"`   // user id: was asked to take command
	Comms        string        `json:"comms,omitempty"`
	CommsOffered string        `json:"comms_offered,omitempty"`
	CommsWanted  bool          `json:"comms_wanted,omitempty"`
	Clocks       []DueLine     `json:"clocks,omitempty"`
	Last         *Said         `json:"last,omitempty"`        // update
	Unpublished  []string      `json:"unpublished,omitempty"` // places that lack the newest update to the users
	Runs         []RunLine     `json:"runs,omitempty"`        // newest first
	Tasks        int           `json:"tasks,omitempty"`
	TasksOpen    int           `json:"tasks_open,omitempty"`
	Asks         string        `json:"asks,omitempty"`    // what people are to do now
	Outcome      string        `json:"outcome,omitempty"` // how it ended
	Room         string        `json:"room,omitempty"`    // its own channel
	Reopened     int           `json:"reopened,omitempty"`
	Buttons      []Item        `json:"buttons,omitempty"` // Label and Command
}

// A DueLine says when an audience hears next.
type DueLine struct {
	Audience string    `json:"audience"` // teams, users
	Due      time.Time `json:"due"`
	Snoozed  time.Time `json:"snoozed,omitzero"`
}

// Said is what somebody told an audience.
type Said struct {
	By       string    `json:"by"` // user id
	At       time.Time `json:"at"`
	Audience string    `json:"audience"`
	Text     string    `json:"text"`
}

// A RunLine is one run of an Incident.
type RunLine struct {
	Number int64  `json:"number"`
	Title  string `json:"title"`
	State  string `json:"state"`
	Step   string `json:"step,omitempty"`
}

// A Prompt asks people to do something, with a button for each way to.
type Prompt struct {
	Text      string   `json:"text"`
	Draft     string   `json:"draft,omitempty"` // a text that they may use as it is
	Users     []string `json:"users,omitempty"` // mentioned in front, once
	Groups    []string `json:"groups,omitempty"`
	Buttons   []Item   `json:"buttons,omitempty"` // Label and Command
	Broadcast bool     `json:"broadcast,omitempty"`
	Channel   string   `json:"channel,omitempty"` // id of one that the prompt leads to
	Link      string   `json:"link,omitempty"`    // to the headline
}

// A Pin pins the message that its notice stands under, or takes the pin away.
type Pin struct {
	On bool `json:"on"`
}

// A Reaction adds an emoji to the message whose ts is the notice's thread.
type Reaction struct {
	Name string `json:"name"` // without colons
}

// An Invite asks people into the notice's channel.
type Invite struct {
	Users []string `json:"users"`
}

// A Room asks for a channel of an incident's own. Its notice stands under the
// headline.
type Room struct {
	Incident string   `json:"incident"` // id
	Name     string   `json:"name"`     // wanted; another one is taken if there is such a channel
	Private  bool     `json:"private,omitempty"`
	Topic    string   `json:"topic,omitempty"`
	Invite   []string `json:"invite,omitempty"` // user ids
	By       string   `json:"by,omitempty"`     // user id of who wants it
	// Channel is one that people made, which becomes it; "": one is made.
	Channel string `json:"channel,omitempty"`
}

// A Redaction replaces what opsbot said in the thread of the message that its
// notice stands under; what people wrote stays.
type Redaction struct {
	Text string `json:"text"` // that stands there instead
	// Channel is redacted as well, topic and threads with it; "": none.
	Channel string `json:"channel,omitempty"`
}

// A Removed takes the message with the notice's key away, or keeps it from
// being posted.
type Removed struct{}

func (Incident) ContentKind() string  { return "incident" }
func (Prompt) ContentKind() string    { return "prompt" }
func (Pin) ContentKind() string       { return "pin" }
func (Reaction) ContentKind() string  { return "reaction" }
func (Removed) ContentKind() string   { return "removed" }
func (Invite) ContentKind() string    { return "invite" }
func (Room) ContentKind() string      { return "room" }
func (Redaction) ContentKind() string { return "redaction" }

func (i Incident) Summary() string {
	ref := fmt.Sprintf("INC-%d", i.Number)
	if i.Security {
		return ref + " is restricted."
	}
	s := fmt.Sprintf("%s %s %s: %s", ref, i.Severity, i.Word, i.Title)
	if i.Outcome != "" {
		s += ". " + i.Outcome
	}
	return s
}

func (p Prompt) Summary() string {
	return strings.TrimSpace(p.Text + "\n" + p.Draft)
}

func (p Pin) Summary() string {
	if p.On {
		return "pinned"
	}
	return "unpinned"
}

func (r Reaction) Summary() string { return ":" + r.Name + ":" }

func (Removed) Summary() string { return "removed" }

func (i Invite) Summary() string { return "invited " + strings.Join(i.Users, ", ") }

func (r Room) Summary() string { return "a channel " + r.Name }

func (r Redaction) Summary() string { return r.Text }
