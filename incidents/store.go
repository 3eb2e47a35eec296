package incidents

import (
	"context"
	"errors"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// ErrNone means that there is no such incident.
var ErrNone = errors.New("no such incident")

// A Change is what one commit adds beside the incident itself.
type Change struct {
	Events  []Event
	Updates []Update // to be added, or changed by their ID
	Notices []outbox.Notice
	Audit   []AuditEntry
}

// An AuditEntry is one row of the audit log.
type AuditEntry struct {
	Actor   access.Actor
	Act     string
	Outcome string
	Detail  string
}

// A Query selects incidents. Zero fields do not restrict.
type Query struct {
	Active bool  // going on: before resolved
	Open   bool  // not closed, canceled or merged
	Below  int64 // only those with a smaller number
	Limit  int   // at most 200; 0: 20
}

// A Store keeps incidents. Every method is one transaction; times are the
// database's clock.
type Store interface {
	// Create gives the incident its number, has fn make the change for it, and
	// commits both. If one with the same non-empty RequestKey exists, that one
	// is returned and nothing is written.
	Create(ctx context.Context, i *Incident, fn func(i *Incident, now time.Time) (Change, error)) (*Incident, error)
	// Update locks the incidents, has fn change them, and commits them with
	// what it adds to each. If an event with the non-empty key is on record for
	// the first of them, they are returned as they are: the request was done
	// before. An error of fn rolls back and is returned as it is. It returns
	// ErrNone for an unknown id. fn may be called again if the database asks
	// for a retry, so it must have no effect but its result.
	Update(ctx context.Context, ids []string, key string, fn func(list []*Incident, now time.Time) ([]Change, error)) ([]*Incident, error)
	// Find returns the incident with the number, or ErrNone.
	Find(ctx context.Context, number int64) (*Incident, error)
	// Load returns the incident with the id, or ErrNone.
	Load(ctx context.Context, id string) (*Incident, error)
	// At returns the incident whose room the conversation is: its headline's
	// thread or its own channel; or ErrNone.
	At(ctx context.Context, where outbox.Conversation) (*Incident, error)
	// Place returns the thread of the message with the key: it has no channel
	// if that is not posted.
	Place(ctx context.Context, key string) (outbox.Conversation, error)
	// List returns incidents, newest first.
	List(ctx context.Context, q Query) ([]*Incident, error)
	// Events returns the timeline in the order of recording.
	Events(ctx context.Context, id string) ([]Event, error)
	// Sources returns where on timelines a message is.
	Sources(ctx context.Context, m Message) ([]Source, error)
	// Updates returns the incident's updates in the order of writing.
	Updates(ctx context.Context, id string) ([]Update, error)
	// Alert returns what was last reported of the group of alerts, or ErrNoAlert.
	Alert(ctx context.Context, group string) (AlertGroup, error)
	// Adopt records that the group of alerts belongs to the incident, has fn
	// make the change for what of it is not on the timeline, and commits both;
	// the group's card says so then. A group that belongs to it already changes
	// nothing. It returns ErrNoAlert and ErrNone for what there is not, and else
	// does as Update.
	Adopt(ctx context.Context, id, group string, fn func(i *Incident, a Alerted, now time.Time) (Change, error)) (*Incident, error)
	// Due returns ids of incidents with a clock whose Wake has come.
	Due(ctx context.Context, limit int) ([]string, error)
	// Record adds to the audit log outside of any change.
	Record(ctx context.Context, entries ...AuditEntry) error
}
