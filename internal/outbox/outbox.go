// Package outbox describes what must be said in Slack once a change is
// committed. A Notice is written in the transaction that changed the state;
// the Slack edge delivers it afterwards, in order per conversation, and edits
// a message that it already posted under the same key.
package outbox

import (
	"context"
	"encoding/json"
	"time"
)

// A Conversation is a place where things are said.
type Conversation struct {
	Channel string `json:"channel,omitempty"` // channel id; "" means the configured ops channel
	Thread  string `json:"thread,omitempty"`  // ts of the thread's parent, if the place is a thread
	// Stay is set of what is restricted: it is said there, or to the person whom
	// it concerns, or not at all.
	Stay bool `json:"stay,omitempty"`
}

// A Notice is one thing to say. Its Key names the Slack message: the first
// notice with a key posts, later ones edit, and an undelivered older edit is
// dropped in favour of the newest.
type Notice struct {
	Key     string       // "" for a message that is never edited
	To      Conversation // where
	Under   string       // key of the message whose thread this belongs to; overrides To.Thread
	Only    string       // user id: ephemeral, for this person alone
	Reply   string       // response_url to answer through first; To is the fallback
	Content Content
	// NotBefore delays delivery, for instance of a reminder. Zero means now.
	NotBefore time.Time
}

// Content is what a notice says, without any of Slack's shapes. The set is
// closed: see the types in this package and Decode.
type Content interface {
	// ContentKind names the type in the database, for instance "run_card".
	ContentKind() string
	// Summary is the plain-text form: the whole meaning in a sentence or two,
	// for notifications, screen readers and terminals.
	Summary() string
}

// A Delivery is a notice as the queue hands it to the sender.
type Delivery struct {
	ID       int64
	Notice   Notice
	Version  int64  // rises with every notice of the same key
	Channel  string // of the posted message to edit; "" when there is none yet
	TS       string // of the posted message to edit; "" when there is none yet
	ParentTS string // ts of the message named by Notice.Under, once that is posted
	Attempts int
	// ParentChannel is where the message named by Notice.Under was posted; ""
	// when there is none.
	ParentChannel string
	// Tried is set when an earlier lease on the notice ended without Sent, Later
	// or Drop (a crash, a lost answer): the message may be in Slack already and
	// must be looked for before it is posted. It outlives a newer version that
	// takes the notice's place.
	Tried bool
}

// LeaseTime is how long an item of a queue belongs to who took it, or last
// renewed it.
const LeaseTime = 15 * time.Second

// A Queue is the outbox as the sender sees it. It is implemented by the store.
type Queue interface {
	// Due returns notices that may be sent now, at most limit, oldest first and
	// at most one per conversation; each is leased to the owner for LeaseTime.
	// A notice whose Under is not posted yet is not due.
	Due(ctx context.Context, owner string, limit int) ([]Delivery, error)
	// Keep extends the owner's leases on these deliveries to LeaseTime from now,
	// and returns those that the owner still had.
	Keep(ctx context.Context, owner string, ids ...int64) (kept []int64, err error)
	// Sent records where the message is and removes the notice.
	Sent(ctx context.Context, d Delivery, channel, ts string) error
	// Later puts a notice back until at, counting an attempt.
	Later(ctx context.Context, d Delivery, at time.Time, why string) error
	// Drop gives a notice up for good and keeps the reason; instead, when not
	// nil, is queued in the same transaction.
	Drop(ctx context.Context, d Delivery, why string, instead *Notice) error
	// Forget removes what is known about the message posted under key, so that
	// the next notice posts anew (it was deleted by hand).
	Forget(ctx context.Context, key string) error
	// Posted says what has become of the message with the key: where it stands,
	// with its ts as Thread, or why it was given up. Both are empty as long as
	// it waits, and for a key that is not known.
	Posted(ctx context.Context, key string) (where Conversation, why string, err error)
	// Enqueue adds notices outside of any other change.
	Enqueue(ctx context.Context, notices ...Notice) error
	// Signal receives a value, without blocking the sender, after a commit that
	// added a notice. It may be spurious; poll as well.
	Signal() <-chan struct{}
}

// Encode returns the content's kind and its JSON form.
func Encode(c Content) (kind string, data []byte, err error) {
	data, err = json.Marshal(c)
	return c.ContentKind(), data, err
}
