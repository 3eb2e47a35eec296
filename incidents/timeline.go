package incidents

import (
	"slices"
	"time"

	"opsbot/internal/access"
)

// A Kind says what an Event tells.
type Kind string

const (
	KindDeclared  Kind = "declared"
	KindState     Kind = "state"     // Data: from, to
	KindReopened  Kind = "reopened"  // Data: from, to
	KindCanceled  Kind = "canceled"  // Data: from, to
	KindMerged    Kind = "merged"    // Data: from, to, into
	KindTaken     Kind = "taken"     // another incident was merged into this one; Data: other
	KindSeverity  Kind = "severity"  // Data: from, to
	KindAssessed  Kind = "assessed"  // Data: down, affected, impact, started
	KindFlag      Kind = "flag"      // the security flag was set or taken back
	KindRole      Kind = "role"      // Data: role, user, tag, former
	KindUpdate    Kind = "update"    // Data: audience, due, late
	KindDraft     Kind = "draft"     // an update to the users waits for approval; Data: update
	KindApproved  Kind = "approved"  // Data: update
	KindRejected  Kind = "rejected"  // Data: update
	KindPublished Kind = "published" // Data: update, place, link
	KindFailed    Kind = "failed"    // an update could not be published; Data: update, place
	KindNudge     Kind = "nudge"     // an update was due, or a role empty; Data: of, stage
	KindSnooze    Kind = "snooze"    // Data: until
	KindNote      Kind = "note"
	KindMessage   Kind = "message" // a message of the thread, captured
	KindEdit      Kind = "edit"    // the message of event Of reads differently now
	KindDeletion  Kind = "deletion"
	KindUnpin     Kind = "unpin"
	KindHide      Kind = "hide" // event Of is not to be shown
	KindTask      Kind = "task" // Data: number
	KindDone      Kind = "done" // Data: number
	KindRoom      Kind = "room" // a channel of its own, or one that was archived; Data: channel, archived
	KindRun       Kind = "run"  // Data: run, number, point, step, …
	KindAlert     Kind = "alert"
	KindTime      Kind = "time" // a time was corrected; Data: which, was, is
)

// An Event is one entry of the timeline. Entries are only ever added; what was
// wrong is put right by another entry that names it.
type Event struct {
	Seq      int64 // from 1, within the incident
	Kind     Kind
	Actor    access.Actor
	Text     string    // what was said, as it was said
	Occurred time.Time // when it happened; zero when it is added: just then
	Recorded time.Time // when it was put on record, by the database's clock
	Of       int64     // number of the event that this one is about; 0: none
	Source   Message   // the Slack message it comes from
	Data     map[string]string
	Key      string // of the request; two events of one request have one key
}

// A Message says where in Slack something was said.
type Message struct {
	Channel string `json:"channel,omitempty"`
	TS      string `json:"ts,omitempty"`
	Thread  string `json:"thread,omitempty"`
}

// An Entry is an Event as people read it: with the corrections to it.
type Entry struct {
	Event
	Was     []string // earlier texts, the oldest first
	Deleted bool     // the message was deleted
	Hidden  bool
	Hider   access.Actor // who hid it
	Why     string       // they hid it; "": they did not say
}

// Read puts a timeline into the order in which things happened, with
// corrections where they belong. Hidden entries are among them, and say so.
func Read(events []Event) []Entry {
	list := make([]Entry, 0, len(events))
	at := map[int64]int{}
	for _, e := range events {
		n, known := at[e.Of]
		switch {
		case !known || e.Of == 0:
		case e.Kind == KindEdit:
			list[n].Was = append(list[n].Was, list[n].Text)
			list[n].Text = e.Text
			continue
		case e.Kind == KindDeletion:
			list[n].Deleted = true
			continue
		case e.Kind == KindHide, e.Kind == KindUnpin:
			list[n].Hidden, list[n].Hider, list[n].Why = true, e.Actor, e.Text
			continue
		}
		at[e.Seq] = len(list)
		list = append(list, Entry{Event: e})
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return a.Occurred.Compare(b.Occurred) })
	return list
}

// Backdated reports whether it was put on record noticeably later than it
// happened.
func (e Event) Backdated() bool { return e.Recorded.Sub(e.Occurred) >= time.Minute }
