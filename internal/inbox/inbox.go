// Package inbox describes what came from Slack and was acknowledged, but is
// perhaps not yet dealt with. An item is on record before its acknowledgement
// leaves, so that an acknowledged command is never lost.
package inbox

import (
	"context"
	"time"

	"opsbot/internal/outbox"
)

// An Item is one delivery from Slack.
type Item struct {
	// Key identifies what the person did, never the envelope: two deliveries
	// of one click have one key. It is kept for 24 hours.
	Key      string
	Kind     string // "slash_commands", "block_actions", "view_submission", "event" …
	Payload  []byte // Slack's JSON
	Received time.Time
	Attempts int // how often somebody started on it, this time included
}

// A Queue keeps items until they are dealt with. It is implemented by the store.
type Queue interface {
	// Record commits the item. Fresh is false when its key is on record
	// already: there is nothing more to do than to acknowledge.
	Record(ctx context.Context, item Item) (fresh bool, err error)
	// Next leases up to limit unfinished items, oldest first, to the owner
	// for outbox.LeaseTime.
	Next(ctx context.Context, owner string, limit int) ([]Item, error)
	// Keep extends the owner's leases on the items with these keys, and returns
	// those that the owner still had.
	Keep(ctx context.Context, owner string, keys ...string) (kept []string, err error)
	// Done finishes an item and commits the notices that answer it.
	Done(ctx context.Context, key string, notices ...outbox.Notice) error
	// Later puts an item back until at; why is kept for operators.
	Later(ctx context.Context, key string, at time.Time, why string) error
	// Signal receives a value after a commit that added an item. It may be
	// spurious; poll as well.
	Signal() <-chan struct{}
}
