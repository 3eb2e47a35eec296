package commands

import (
	"context"
	"errors"
	"strconv"
	"time"

	"opsbot/incidents"
	"opsbot/internal/access"
	"opsbot/internal/fault"
)

// capture puts a message on the timeline of the incident in whose room it
// stands. Elsewhere, a pin means nothing to opsbot; only the shortcut, which
// was chosen for nothing else, is told so.
func (r *Router) capture(ctx context.Context, req Request) (Reply, error) {
	if r.Incidents == nil {
		return Reply{}, nil
	}
	i, err := r.Incidents.At(ctx, req.Where)
	if errors.Is(err, incidents.ErrNone) {
		if req.Clicked {
			return Reply{}, fault.New(fault.Conflict, "This message does not stand in an incident's thread or channel.").
				Hinted("Put it there as a note: %s", orderUsage(req, "note INC-7 TEXT"))
		}
		return Reply{}, nil
	}
	if err != nil {
		return Reply{}, err
	}
	_, err = r.Incidents.Capture(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, incidents.Captured{
		Source: incidents.Message{Channel: req.Where.Channel, TS: req.Message, Thread: req.Where.Thread},
		Text:   req.Values[ValueSaid], Files: req.Values[ValueFiles], At: moment(req.Message),
		Author: access.Actor{Kind: access.Person, Team: req.Actor.Team, ID: req.Values[ValueBy], Via: "slack"},
	})
	return Reply{}, err
}

// amend keeps up with a message that may be on a timeline.
func (r *Router) amend(ctx context.Context, req Request) (Reply, error) {
	if r.Incidents == nil {
		return Reply{}, nil
	}
	kind := map[string]incidents.Kind{AmendEdit: incidents.KindEdit, AmendDelete: incidents.KindDeletion, AmendUnpin: incidents.KindUnpin}[req.Subject]
	if kind == "" {
		return Reply{}, nil
	}
	return Reply{}, r.Incidents.Amend(ctx, req.Actor, req.Key, incidents.Amendment{
		Message: incidents.Message{Channel: req.Where.Channel, TS: req.Message}, Kind: kind,
		Text: req.Values[ValueSaid], Files: req.Values[ValueFiles], Note: r.noted(req),
	})
}

// noted is what a message says as a note: what follows the verb, or all of it
// if it has become something else. Its time stays as it was.
func (r *Router) noted(req Request) string {
	line := orOther(req.Line, req.Values[ValueSaid])
	if !IsIncident(line) {
		line = NounIncident + " " + line // as in a room
	}
	if o, err := ParseOrder(line); err == nil && o.Verb == orderNote {
		return req.Named(o.Rest)
	}
	return req.Named(orOther(req.Line, req.Values[ValueSaid]))
}

// moment is when a message with the ts was written: its ts says so.
func moment(ts string) time.Time {
	seconds, err := strconv.ParseFloat(ts, 64)
	if err != nil || seconds < 1e9 || seconds > 1e10 {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC()
}

// crowded tells the incident whose thread it is how long that has become.
func (r *Router) crowded(ctx context.Context, req Request) (Reply, error) {
	n, err := strconv.Atoi(req.Values[ValueReplies])
	if r.Incidents == nil || err != nil {
		return Reply{}, nil
	}
	i, err := r.Incidents.At(ctx, req.Where)
	if errors.Is(err, incidents.ErrNone) {
		return Reply{}, nil
	}
	if err != nil {
		return Reply{}, err
	}
	return Reply{}, r.Incidents.Crowded(ctx, i, n)
}
