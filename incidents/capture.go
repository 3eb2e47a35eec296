package incidents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// A Captured is a message that somebody wants on the timeline.
type Captured struct {
	Source Message
	Author access.Actor
	Text   string
	Files  string    // what hangs on it, a line for each
	At     time.Time // when it was written
}

// Capture puts a message on the timeline, at the time when it was written, and
// marks it. A message that is there already stays as it is; one that was taken
// off comes back.
func (t *Tracker) Capture(ctx context.Context, act Act, m Captured) (*Incident, error) {
	m.Author = t.named(ctx, m.Author)
	there, err := t.store.Sources(ctx, m.Source)
	if err != nil {
		return nil, err
	}
	for _, s := range there {
		if s.Incident == act.ID && !s.Hidden {
			return t.store.Load(ctx, act.ID)
		}
	}
	return t.change(ctx, act, byAnyone, "add to the timeline", func(i *Incident, now time.Time, c *Change) error {
		text := whole(m.Text, m.Files)
		if text == "" {
			return refuse("The message says nothing that could be kept.")
		}
		c.Events = append(c.Events, Event{
			Kind: KindMessage, Actor: m.Author, Text: clip(text, MaxText), Occurred: m.At, Source: m.Source,
			Data: map[string]string{"by": act.Actor.ID, "name": name(act.Actor)},
		})
		c.Notices = append(c.Notices, outbox.Notice{
			To: outbox.Conversation{Channel: m.Source.Channel, Thread: m.Source.TS}, Content: outbox.Reaction{Name: "white_check_mark"},
		})
		return nil
	})
}

// whole is what a message says, with the names and links of its files.
func whole(text, files string) string {
	return strings.TrimSpace(strings.TrimSpace(text) + "\n" + files)
}

// A Source says where on which timeline a message is.
type Source struct {
	Incident string
	Seq      int64
	Kind     Kind   // KindMessage, or KindNote
	Text     string // as it reads now
	Hidden   bool
	Deleted  bool
	By       string // user id of who put it there
}

// An Amendment says what has become of a message.
type Amendment struct {
	Message Message
	Kind    Kind   // KindEdit, KindDeletion, or KindUnpin: whoever put it on the timeline took it off
	Text    string // of an edit: what it says now
	Files   string // of an edit: what hangs on it
	Note    string // of an edit: what it says as a note
}

// Amend keeps up with a message that may be on timelines. What is on record
// stays; the change is an event of its own.
func (t *Tracker) Amend(ctx context.Context, actor access.Actor, key string, m Amendment) error {
	there, err := t.store.Sources(ctx, m.Message)
	if err != nil {
		return err
	}
	actor = t.named(ctx, actor)
	if actor.ID == "" {
		actor = opsbot // Slack does not say who deleted a message
	}
	for _, s := range there {
		text := clip(whole(m.Text, m.Files), MaxText)
		if s.Kind == KindNote {
			text = clip(strings.TrimSpace(m.Note), MaxText)
		}
		switch {
		case m.Kind == KindEdit && (text == "" || text == s.Text || s.Deleted), m.Kind == KindDeletion && s.Deleted,
			// A note is there because it was said, whoever pins it.
			m.Kind == KindUnpin && (s.Hidden || s.By != actor.ID || s.Kind == KindNote):
			continue
		}
		_, err := t.store.Update(ctx, []string{s.Incident}, fmt.Sprintf("%s/%d", key, s.Seq), func(list []*Incident, now time.Time) ([]Change, error) {
			c := Change{Events: []Event{{Kind: m.Kind, Of: s.Seq, Text: text, Source: m.Message}}}
			if m.Kind != KindEdit {
				c.Events[0].Text = ""
			}
			act := Act{ID: s.Incident, Actor: actor, Key: fmt.Sprintf("%s/%d", key, s.Seq)}
			t.complete(list[0], act, now, &c)
			return []Change{c}, nil
		})
		if err != nil && !errors.Is(err, ErrNone) {
			return err
		}
	}
	return nil
}

// Hide takes an entry out of what people read; it stays on record, and in the
// export for scripts. Only what somebody wrote, or an alert, can be hidden, and
// only by the commander, or by whoever wrote it or put it there: what was done
// stays where it is.
func (t *Tracker) Hide(ctx context.Context, act Act, seq int64, why string) (*Incident, error) {
	const what = "hide what others wrote"
	events, err := t.store.Events(ctx, act.ID)
	if err != nil {
		return nil, err
	}
	list := Read(events)
	at := slices.IndexFunc(list, func(e Entry) bool { return e.Seq == seq })
	return t.change(ctx, act, byAnyone, "hide an entry", func(i *Incident, now time.Time, c *Change) error {
		switch {
		case at < 0:
			return refuse("There is no entry #%d on the timeline of %s.", seq, i.Ref())
		case list[at].Hidden:
			return refuse("Entry #%d is hidden already.", seq)
		case !list[at].Hideable():
			return refuse("Entry #%d tells what was done; only notes, messages and alerts can be hidden.", seq)
		case !list[at].By(act.Actor):
			if err := i.may(byCommander, act.Actor, what); err != nil {
				return err
			}
		}
		c.Events = append(c.Events, Event{Kind: KindHide, Of: seq, Text: clip(strings.TrimSpace(why), 500), Data: map[string]string{"number": itoa(int(seq))}})
		return nil
	})
}

// Hideable reports whether the event can be hidden at all.
func (e Event) Hideable() bool {
	return e.Kind == KindNote || e.Kind == KindMessage || e.Kind == KindAlert
}

// By reports whether the actor said it, or put it on the timeline.
func (e Event) By(a access.Actor) bool {
	return e.Actor.Same(a) || a.Kind == access.Person && a.ID != "" && e.Data["by"] == a.ID
}
