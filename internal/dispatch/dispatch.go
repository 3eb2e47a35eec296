// Package dispatch sends what leaves the house other than by Slack: pages to
// people on call, and updates to the public.
//
// What is to be sent is a Parcel in a queue in the database. A Dispatcher hands
// it to the Carrier of its place until that one has it, so that it is delivered
// at least once; a place that cannot be reached is tried again, ever more
// seldom, and a parcel that is given up says why. Parcels of one place about
// one subject are delivered in their order: nobody is paged for what was
// resolved a moment before.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kinds of parcels.
const (
	KindPage   = "page"
	KindUpdate = "update"
)

// A Parcel is one thing to deliver to one place.
type Parcel struct {
	ID      int64  // given by the queue
	Key     string // names it for good: adding it again changes nothing
	Place   string // as configured: "pagers.oncall"
	Subject string // opaque id of what it is about
	Kind    string
	Body    []byte    // JSON, as documented for the kind
	Created time.Time // by the database's clock
	Tries   int       // attempts that failed
}

// A State says how far a parcel has come.
type State string

const (
	Waiting   State = "waiting" // for its first attempt
	Late      State = "late"    // an attempt failed; there will be more
	Delivered State = "delivered"
	Failed    State = "failed" // given up
)

// An Outcome is a parcel and what has become of it so far.
type Outcome struct {
	Parcel
	State State
	Why   string // the last attempt failed; a sentence for people
	Link  string // to what was made of it, if the place told one
	At    time.Time
}

// A Queue keeps parcels. It is implemented by the store.
type Queue interface {
	// Add queues parcels whose Key is new.
	Add(ctx context.Context, parcels ...Parcel) error
	// Due returns parcels that may be delivered now, oldest first, at most limit
	// and one per place and subject; each is leased to the owner for a minute.
	Due(ctx context.Context, owner string, limit int) ([]Parcel, error)
	// Settle records how an attempt ended and gives up the lease: Delivered and
	// Failed are final, Late is tried again after the wait. Waiting means that
	// there was no attempt after all.
	Settle(ctx context.Context, o Outcome, wait time.Duration) error
	// Untold returns outcomes that differ from what Told was last called with,
	// oldest first. Waiting parcels have nothing to tell.
	Untold(ctx context.Context, limit int) ([]Outcome, error)
	// Told records that people know of the outcome.
	Told(ctx context.Context, o Outcome) error
	// List returns everything about a subject, in the order of adding.
	List(ctx context.Context, subject string) ([]Outcome, error)
}

// A Carrier delivers parcels to one place. It may be handed a parcel twice.
//
// Its errors are sentences for people, without secrets. A *Refused means that
// trying again would not help; a *Busy says when to try again; anything else
// is tried again by itself.
type Carrier interface {
	Carry(ctx context.Context, p Parcel) (link string, err error)
}

// Refused means that the place does not want the parcel, however often it is
// offered.
type Refused struct{ Why string }

func (r *Refused) Error() string { return r.Why }

// Busy means that the place wants to be left alone for a while.
type Busy struct {
	Why   string
	After time.Duration
}

func (b *Busy) Error() string { return b.Why }

func refuse(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// final reports whether an error makes all further attempts useless.
func final(err error) bool {
	var r *Refused
	return errors.As(err, &r)
}
