package alert

import (
	"context"

	"opsbot/internal/outbox"
)

// A Report is what is to be shown of a group now.
type Report struct {
	Group   string // Group.ID
	Firing  bool
	Onsets  []string // of its alerts
	Content outbox.Content
}

// A Board keeps one card per group that fires, over replicas and repeats.
type Board interface {
	// Tell puts the report on record and queues its card for the ops channel,
	// in one transaction. A group that fires anew gets a new card; anything
	// else edits the present one, if it says something else than before. A
	// report of nothing but alerts that have been reported resolved is late,
	// and comes to nothing; so does the end of a group that has no card. It
	// returns whether a card was queued.
	Tell(ctx context.Context, r Report) (queued bool, err error)
}
