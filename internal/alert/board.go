package alert

import (
	"context"

	"opsbot/internal/outbox"
)

// A Report is what is to be shown of a group now.
type Report struct {
	Group  string       `json:"group"` // Group.ID
	Firing bool         `json:"firing"`
	Onsets []Onset      `json:"onsets"` // of its alerts
	Card   outbox.Alert `json:"card"`   // without what the Board knows of incidents
}

// A Board keeps one card per group that fires, over replicas and repeats, and
// tells the incidents that it concerns.
type Board interface {
	// Tell puts the report on record and queues its card for the ops channel,
	// in one transaction. A group that fires anew gets a new card; anything
	// else edits the present one, if it says something else than before. A
	// report of nothing but alerts that have been reported resolved is late,
	// and comes to nothing; so does the end of a group that has no card. It
	// returns whether a card was queued.
	//
	// In the same transaction, each beginning and each end of an alert comes
	// onto a timeline once: that of the incident which the group belongs to, or
	// else of the only one that is going on; an end also where its beginning is.
	Tell(ctx context.Context, r Report) (queued bool, err error)
}
