package incidents

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// What makes the thread of a critical incident too narrow: so many people with
// roles, or so many replies.
const (
	crowded = 8
	lengthy = 100
)

// redactAgain is how long after a private room was opened what was said in
// public is looked through again.
const redactAgain = 3 * time.Second

// Crowded offers a channel, once, when the thread has got many replies.
func (t *Tracker) Crowded(ctx context.Context, i *Incident, replies int) error {
	if replies < lengthy {
		return nil
	}
	return t.offerRoom(ctx, i, "lengthy/"+i.ID, func(*Incident) string { return fmt.Sprintf("This thread has more than %d replies.", lengthy) })
}

// thronged offers a channel, once, when many people work on the incident.
func (t *Tracker) thronged(ctx context.Context, i *Incident) error {
	if i.people() <= crowded {
		return nil
	}
	return t.offerRoom(ctx, i, "crowded/"+i.ID, func(i *Incident) string { return fmt.Sprintf("%d people work on %s.", i.people(), i.Ref()) })
}

// people is how many have a role, whichever and however many.
func (i *Incident) people() int {
	ids := map[string]bool{}
	for _, r := range i.Roles {
		ids[r.Actor.ID] = true
	}
	return len(ids)
}

// offerRoom asks whether a critical incident in a thread needs a channel, once
// for the key.
func (t *Tracker) offerRoom(ctx context.Context, i *Incident, key string, why func(*Incident) string) error {
	narrow := func(i *Incident) bool {
		return i.Room == "" && !i.Security && i.State.Active() && i.Severity.Critical()
	}
	if !narrow(i) {
		return nil
	}
	_, err := t.store.Update(ctx, []string{i.ID}, key, func(list []*Incident, now time.Time) ([]Change, error) {
		i := list[0]
		if !narrow(i) {
			return nil, errQuiet
		}
		c := Change{Events: []Event{{Kind: KindNudge, Data: map[string]string{"of": forChannel}}}}
		c.Notices = append(c.Notices, i.ask("crowded/"+i.ID, outbox.Prompt{
			Text:    fmt.Sprintf("%s Give %s a channel of its own?", why(i), i.Ref()),
			Buttons: []outbox.Item{{Label: "Open a channel", Command: "incident channel " + i.Ref()}},
		}))
		t.complete(i, Act{ID: i.ID, Actor: opsbot, Key: key}, now, &c)
		return []Change{c}, nil
	})
	if errors.Is(err, errQuiet) {
		return nil
	}
	return err
}

// forChannel names the offer of a channel among nudges.
const forChannel = "channel"

// OpenRoom asks for a channel of the incident's own, with the people who have
// roles in it. Restricted incidents get a private one.
func (t *Tracker) OpenRoom(ctx context.Context, act Act) (*Incident, error) {
	return t.openRoom(ctx, act, "")
}

// MoveIn makes a channel that people made by hand the incident's own.
func (t *Tracker) MoveIn(ctx context.Context, act Act, channel string) (*Incident, error) {
	return t.openRoom(ctx, act, channel)
}

func (t *Tracker) openRoom(ctx context.Context, act Act, channel string) (*Incident, error) {
	const what = "open a channel"
	if channel != "" {
		other, err := t.At(ctx, outbox.Conversation{Channel: channel})
		if err != nil && !errors.Is(err, ErrNone) {
			return nil, err
		}
		home, e := t.store.Place(ctx, HeadlinePrefix+act.ID)
		switch {
		case e != nil:
			return nil, e
		case err == nil && other.ID != act.ID:
			return nil, t.refused(ctx, act, nil, what, refuse("This is the channel of %s.", other.Ref()))
		case channel == home.Channel || strings.HasPrefix(channel, "D"):
			return nil, t.refused(ctx, act, nil, what, refuse("Make a channel for the incident alone, invite opsbot, and say it there."))
		}
	}
	return t.change(ctx, act, byMember, what, func(i *Incident, now time.Time, c *Change) error {
		switch {
		case i.Room != "":
			return refuse("%s has a channel already.", i.Ref())
		case i.State.Over():
			return refuse("%s is %s; it needs no channel.", i.Ref(), strings.ToLower(i.State.Word()))
		}
		c.Events = append(c.Events, Event{Kind: KindRoom, Data: map[string]string{"asked": "true"}})
		room := i.wantRoom(act.Actor)
		if r := room.Content.(outbox.Room); channel != "" {
			r.Channel = channel
			room.Content = r
		}
		c.Notices = append(c.Notices, room)
		return nil
	})
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// wantRoom has a channel made, and the person told if that fails.
func (i *Incident) wantRoom(by access.Actor) outbox.Notice {
	r := outbox.Room{Incident: i.ID, By: by.ID, Private: i.Security, Name: fmt.Sprintf("inc-%d", i.Number), Topic: clip(i.Ref()+": "+i.Title, 250)}
	if slug := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(i.Title), "-"), "-"); slug != "" && !i.Security {
		r.Name = strings.TrimRight(clipBytes(r.Name+"-"+slug, 60), "-")
	}
	if i.Security {
		r.Name, r.Topic = fmt.Sprintf("inc-%d-restricted", i.Number), i.Ref()
	}
	for _, role := range i.Roles {
		if !slices.Contains(r.Invite, role.Actor.ID) {
			r.Invite = append(r.Invite, role.Actor.ID)
		}
	}
	key := "room/" + i.ID
	if i.Security {
		key += "/private"
	}
	return outbox.Notice{Key: key, Under: i.Key(), Content: r}
}

func clipBytes(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}

// RoomOpened says that the channel that was wanted is there, and how to get to
// the headline from it. Saying it again changes nothing, and a public one comes
// too late for what is restricted by now.
func (t *Tracker) RoomOpened(ctx context.Context, r outbox.Room, channel, link string) error {
	id := r.Incident
	_, err := t.store.Update(ctx, []string{id}, "", func(list []*Incident, now time.Time) ([]Change, error) {
		i := list[0]
		if i.Room == channel || i.Security && !r.Private {
			return nil, errQuiet
		}
		c := Change{Events: []Event{{Kind: KindRoom, Data: map[string]string{"channel": channel}}}}
		if i.Security {
			again := i.redaction() // of what was on its way when the flag was set
			again.NotBefore = now.Add(redactAgain)
			c.Notices = append(c.Notices, again)
		} else {
			c.Notices = append(c.Notices, outbox.Notice{Under: i.Key(), Content: outbox.Prompt{Text: fmt.Sprintf("%s goes on in its own channel. Updates and changes of state are told here, too.", i.Ref()), Channel: channel}})
		}
		i.Room = channel
		text := fmt.Sprintf("This is the room of %s: %s. Commands work here without \"incident\".", i.Ref(), i.Title)
		c.Notices = append(c.Notices, outbox.Notice{To: outbox.Conversation{Channel: channel}, Content: outbox.Prompt{Text: text, Link: link}})
		if i.State.Active() {
			c.Notices = append(c.Notices, t.roles(i))
		}
		t.complete(i, Act{ID: id, Actor: opsbot}, now, &c)
		return []Change{c}, nil
	})
	if errors.Is(err, errQuiet) {
		return nil
	}
	return err
}

// RoomFailed says that the channel cannot be made, to who wanted it and, if the
// incident is restricted, to the commander: nothing else may be said about it in
// public then. why is what Slack says; key names the attempt.
func (t *Tracker) RoomFailed(ctx context.Context, r outbox.Room, key, why string) error {
	id, by := r.Incident, r.By
	key = "room-failed/" + key
	_, err := t.store.Update(ctx, []string{id}, key, func(list []*Incident, now time.Time) ([]Change, error) {
		i := list[0]
		if i.Room != "" || i.Security && !r.Private {
			return nil, errQuiet
		}
		c := Change{Events: []Event{{Kind: KindRoom, Text: why, Data: map[string]string{"failed": "true"}}}}
		p := outbox.Prompt{
			Text: fmt.Sprintf("The channel of %s could not be made: %s. %s goes on in its thread. Try again, or make a channel by hand, invite opsbot, and say there: @opsbot incident channel %s here",
				i.Ref(), why, i.Ref(), i.Ref()),
			Buttons: []outbox.Item{{Label: "Try again", Command: "incident channel " + i.Ref()}},
		}
		if !strings.HasPrefix(by, "U") && !strings.HasPrefix(by, "W") { // opsbot itself, or nobody knows who
			by = ""
		}
		people := []string{by}
		if i.Security {
			p.Text = fmt.Sprintf("%s is restricted, and its private channel could not be made: %s. Until it has one, nothing about it is said in its thread, which is public, and no runbook can be run for it. Try again, or make a private channel by hand, invite opsbot and those who work on it, and say there: @opsbot incident channel %s here",
				i.Ref(), why, i.Ref())
			if r, ok := i.Holder(Commander); ok && r.Actor.ID != by {
				people = append(people, r.Actor.ID)
			}
		}
		people = slices.DeleteFunc(people, func(id string) bool { return id == "" })
		switch {
		case i.Security:
			for _, who := range people {
				c.Notices = append(c.Notices, outbox.Notice{Key: "room-failed/" + i.ID + "/" + who, To: outbox.Conversation{Channel: who}, Content: p})
			}
		default:
			p.Users = people
			c.Notices = append(c.Notices, i.ask("room-failed/"+i.ID, p))
		}
		t.complete(i, Act{ID: id, Actor: opsbot, Key: key}, now, &c)
		return []Change{c}, nil
	})
	if errors.Is(err, errQuiet) {
		return nil
	}
	return err
}

// redaction takes back what opsbot has said in the thread, and in the channel
// that everybody could read.
func (i *Incident) redaction() outbox.Notice {
	return outbox.Notice{Key: "redaction/" + i.ID, Under: i.Key(), Content: outbox.Redaction{Text: i.Ref() + " is restricted.", Channel: i.Room}}
}

// ChannelArchived keeps incidents going whose channel somebody archived. One
// with a channel of its own goes back to its thread, or, if it is restricted,
// gets a new one. What was said in the thread of an archived channel is said in
// the ops channel by then; only the record is missing.
func (t *Tracker) ChannelArchived(ctx context.Context, actor access.Actor, key, channel, name string) error {
	list, err := t.store.List(ctx, Query{Open: true, Limit: 200})
	if err != nil {
		return err
	}
	actor = t.named(ctx, actor)
	if actor.ID == "" {
		actor = opsbot // Slack does not always say who it was
	}
	for _, i := range list {
		home, err := t.store.Place(ctx, i.Key())
		if err != nil {
			return err
		}
		// A headline that could not be edited has moved already.
		was := home.Channel == channel || t.channel == channel || t.channel == name
		if i.Room != channel && !was {
			continue
		}
		act := Act{ID: i.ID, Actor: actor, Key: key}
		_, err = t.store.Update(ctx, []string{i.ID}, key, func(list []*Incident, now time.Time) ([]Change, error) {
			c := list[0].archived(channel, actor)
			t.complete(list[0], act, now, &c)
			return []Change{c}, nil
		})
		if err != nil && !errors.Is(err, ErrNone) {
			return err
		}
	}
	return nil
}

// archived says what follows from the end of one of its channels.
func (i *Incident) archived(channel string, by access.Actor) Change {
	e := Event{Kind: KindRoom, Data: map[string]string{"channel": channel, "archived": "home"}}
	if i.Room != channel {
		return Change{Events: []Event{e}}
	}
	i.Room = ""
	e.Data["archived"] = "own"
	c := Change{Events: []Event{e}}
	if i.Security {
		c.Notices = append(c.Notices, i.wantRoom(by))
	} else {
		c.Notices = append(c.Notices, i.say(outbox.Line{Text: fmt.Sprintf("%s archived the channel of %s. It goes on in this thread.", name(by), i.Ref())})...)
	}
	return c
}
