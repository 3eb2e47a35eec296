package incidents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/internal/outbox"
)

// Publishing puts on record how publishing an approved update went, once every
// place has taken it or given it up. Doing it again changes nothing.
func (t *Tracker) Publishing(ctx context.Context, id, update string, outcomes []Outcome) error {
	list, err := t.store.Updates(ctx, id)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(u Update) bool { return u.ID == update })
	if at < 0 || list[at].State != Approved {
		return nil
	}
	u := list[at]
	key := "published/" + update
	_, err = t.store.Update(ctx, []string{id}, key, func(list []*Incident, now time.Time) ([]Change, error) {
		i := list[0]
		var c Change
		var failed, places []string
		u := u
		u.State, u.Outcomes = Published, outcomes
		for _, o := range outcomes {
			e := Event{Kind: KindPublished, Data: map[string]string{"update": u.ID, "place": o.Place, "link": o.Link}}
			if o.Why != "" {
				u.State = Failed
				e.Kind, e.Text = KindFailed, o.Why
				failed = append(failed, o.Place+": "+o.Why)
			} else if o.Link != "" {
				places = append(places, o.Place+" ("+o.Link+")")
			} else {
				places = append(places, o.Place)
			}
			c.Events = append(c.Events, e)
		}
		if len(outcomes) == 0 {
			return nil, errQuiet
		}
		c.Updates = []Update{u}
		if i.Last != nil && i.Last.ID == u.ID {
			last := u
			i.Last = &last
		}
		if i.Public != nil && i.Public.ID == u.ID {
			i.Public = &u
		}
		if len(failed) > 0 {
			p := outbox.Prompt{
				Text:  fmt.Sprintf("The update to the users of %s could not be published everywhere. Tell them there by other means, or post another one.\n%s", i.Ref(), strings.Join(failed, "\n")),
				Draft: u.Text, Buttons: []outbox.Item{{Label: "Post update", Command: "incident update " + i.Ref() + " users"}},
			}
			if a := i.Owner(ForUsers); a != nil {
				p.Users = []string{a.ID}
			}
			c.Notices = append(c.Notices, i.ask("publishing/"+u.ID, p))
		} else {
			n := i.say(outbox.Line{Text: "Published: " + strings.Join(places, ", ") + "."})
			c.Notices = append(c.Notices, n...)
		}
		t.complete(i, Act{ID: id, Actor: opsbot, Key: key}, now, &c)
		return []Change{c}, nil
	})
	if err == errQuiet {
		return nil
	}
	return err
}

// Report says something about the incident in its room, as the message with
// the key: what was said under it before is replaced.
func (t *Tracker) Report(ctx context.Context, id, key string, p outbox.Prompt) error {
	_, err := t.store.Update(ctx, []string{id}, "", func(list []*Incident, _ time.Time) ([]Change, error) {
		return []Change{{Notices: []outbox.Notice{list[0].ask(key, p)}}}, nil
	})
	return err
}

// forPostmortem is what a nudge for the post-mortem is about.
const forPostmortem = "postmortem"

// RemindOfPostmortem asks in the room for the post-mortem, once for each day,
// and mentions the commander. It does nothing once the incident is over.
func (t *Tracker) RemindOfPostmortem(ctx context.Context, id, day string) error {
	key := "postmortem-due/" + day
	_, err := t.store.Update(ctx, []string{id}, key, func(list []*Incident, now time.Time) ([]Change, error) {
		i := list[0]
		if i.State != Resolved && i.State != Postmortem {
			return nil, errQuiet
		}
		p := outbox.Prompt{
			Text: fmt.Sprintf("The post-mortem of %s is due: it was resolved on %s.", i.Ref(), i.Resolved.UTC().Format("Monday, 2006-01-02")),
			Buttons: []outbox.Item{
				{Label: "Write the post-mortem", Command: "incident postmortem " + i.Ref()},
				{Label: "Close", Command: "incident close " + i.Ref()},
			},
		}
		if r, ok := i.Holder(Commander); ok {
			p.Users = []string{r.Actor.ID}
		}
		c := Change{
			Events:  []Event{{Kind: KindNudge, Data: map[string]string{"of": forPostmortem, "day": day}}},
			Notices: []outbox.Notice{i.ask("postmortem-due/"+i.ID+"/"+day, p)},
		}
		t.complete(i, Act{ID: id, Actor: opsbot, Key: key}, now, &c)
		return []Change{c}, nil
	})
	if err == errQuiet {
		return nil
	}
	return err
}

// Load returns the incident with the id, or ErrNone.
func (t *Tracker) Load(ctx context.Context, id string) (*Incident, error) {
	return t.store.Load(ctx, id)
}
