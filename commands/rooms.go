package commands

import (
	"context"

	"opsbot/incidents"
	"opsbot/internal/outbox"
)

// Rooms takes what belongs to an incident along when it gets a channel.
type Rooms struct {
	Incidents *incidents.Tracker
	Runs      interface {
		Relocate(ctx context.Context, subject string, to outbox.Conversation) error
	}
}

// RoomOpened is said of a channel that was made for the incident. The runs of
// one that is restricted move there; saying it again changes nothing.
func (r Rooms) RoomOpened(ctx context.Context, incident, channel, link string) error {
	if err := r.Incidents.RoomOpened(ctx, incident, channel, link); err != nil {
		return err
	}
	room, err := r.Incidents.RoomOf(ctx, incident)
	if err != nil || !room.Stay {
		return err
	}
	return r.Runs.Relocate(ctx, incident, room)
}
