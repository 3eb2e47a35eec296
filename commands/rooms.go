package commands

import (
	"context"
	"errors"

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
func (r Rooms) RoomOpened(ctx context.Context, wanted outbox.Room, channel, link string) error {
	if err := r.Incidents.RoomOpened(ctx, wanted, channel, link); err != nil {
		return err
	}
	room, err := r.Incidents.RoomOf(ctx, wanted.Incident)
	var none *incidents.Refusal
	if errors.As(err, &none) {
		return nil // a public channel came too late; the private one is on its way
	}
	if err != nil || !room.Stay {
		return err
	}
	return r.Runs.Relocate(ctx, wanted.Incident, room)
}

// RoomFailed is said of one that cannot be made. The runs of a restricted
// incident go on where only its commander reads them, until there is one.
func (r Rooms) RoomFailed(ctx context.Context, wanted outbox.Room, key, why string) error {
	if err := r.Incidents.RoomFailed(ctx, wanted, key, why); err != nil {
		return err
	}
	i, err := r.Incidents.Load(ctx, wanted.Incident)
	if err != nil || !i.Security || i.Room != "" {
		return err
	}
	who := i.Declarer
	if h, ok := i.Holder(incidents.Commander); ok {
		who = h.Actor
	}
	return r.Runs.Relocate(ctx, i.ID, outbox.Conversation{Channel: who.ID, Stay: true})
}
