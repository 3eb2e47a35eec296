package incidents

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// MaxAlertEntries is how many entries one group of alerts gets on one timeline:
// one that comes and goes all night must not bury what people did.
const MaxAlertEntries = 50

// Alerts that have a name in an entry; of the others it has the number.
const namedAlerts = 4

// An AlertGroup is what was last reported of alerts that belong together.
type AlertGroup struct {
	ID       string
	Episode  int64 // rises when it fires anew
	Name     string
	Text     string // what its author says of it
	Firing   bool
	Since    time.Time // when the first of its alerts began
	Reported time.Time // when the first report of this episode came
	Incident int64     // number of the incident that it belongs to; 0: none that is not over
}

// ErrNoAlert means that no such group of alerts was reported.
var ErrNoAlert = errors.New("no such group of alerts")

// An Alerted is what is new about a group of alerts for one timeline.
type Alerted struct {
	Group string
	Name  string
	Text  string
	Began []Onset // that are not on the timeline
	Ended []Onset
	Over  bool   // none of the group fires any more
	Own   bool   // somebody said that the group belongs to the incident
	Other string // the incident that it belongs to instead; "": none
	Last  bool   // nothing of the group is put on this timeline after this
}

// An Onset is one alert, from its beginning to its end.
type Onset struct {
	Labels string // that the others of its group do not have
	Starts time.Time
	Ends   time.Time // zero: it fires
}

// alertmanager is who tells of alerts.
var alertmanager = access.Actor{Kind: access.System, ID: "alertmanager", Name: "Alertmanager"}

// Heed puts what alerts did on the timeline. Of alerts that belong to the
// incident it is said in the room, too, with the offer to go on or back. The
// events are the store's to add.
func (i *Incident) Heed(a Alerted, now time.Time) Change {
	c := i.heed(a, now)
	for n := range c.Events {
		i.Events++
		c.Events[n].Seq, c.Events[n].Recorded = i.Events, now
	}
	if clock := i.clock(ForHeadline, now); i.State.Active() {
		clock.Interval, clock.Wake = HeadlineEvery, now
	}
	return c
}

func (i *Incident) heed(a Alerted, now time.Time) Change {
	var c Change
	tell := func(status, text string, at time.Time) {
		if a.Last {
			text += " It has come and gone often; from here on only its card tells."
		}
		if at.Year() < 2000 || at.After(now) {
			at = now
		}
		c.Events = append(c.Events, Event{Kind: KindAlert, Actor: alertmanager, Text: clip(text, MaxText), Occurred: at,
			Data: map[string]string{"group": a.Group, "alert": a.Name, "status": status}})
	}
	if len(a.Began) > 0 {
		first := a.Began[0].Starts
		for _, o := range a.Began {
			if o.Starts.Before(first) {
				first = o.Starts
			}
		}
		tell("firing", strings.TrimSuffix(fmt.Sprintf("Alert %s fires%s: %s", a.Name, which(a.Began), a.Text), ": "), first)
	}
	if len(a.Ended) > 0 {
		var last time.Time
		var lasted time.Duration
		for _, o := range a.Ended {
			if o.Ends.After(last) {
				last = o.Ends
			}
			lasted = max(lasted, o.Ends.Sub(o.Starts))
		}
		text := fmt.Sprintf("Alert %s ended%s", a.Name, which(a.Ended))
		if lasted > 0 && lasted < 30*24*time.Hour {
			text += " after " + span(lasted)
		}
		if !a.Over {
			text += "; others of its group still fire"
		}
		tell("resolved", text+".", last)
	}
	if !a.Own || len(c.Events) == 0 {
		return c
	}
	key := "alert/" + a.Group
	if a.Over && len(a.Ended) > 0 {
		c.Notices = i.offers(key, true, fmt.Sprintf("Alert %s ended.", a.Name), "alert "+a.Name+" ended")
	} else if len(a.Began) > 0 {
		c.Notices = i.offers(key, false, fmt.Sprintf("Alert %s fires: it is not over.", a.Name), "alert "+a.Name+" fires")
	}
	if len(c.Notices) == 0 {
		for _, e := range c.Events {
			c.Notices = append(c.Notices, i.say(outbox.Line{Text: e.Text})...)
		}
	}
	return c
}

// which names the alerts of a group by what tells them apart.
func which(list []Onset) string {
	var names []string
	for _, o := range list {
		if len(names) < namedAlerts && o.Labels != "" {
			names = append(names, clip(o.Labels, 150))
		}
	}
	if more := len(list) - len(names); more > 0 && len(list) > 1 {
		if len(names) == 0 {
			return fmt.Sprintf(" (%d alerts)", more)
		}
		names = append(names, fmt.Sprintf("%d more", more))
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, "; ") + ")"
}

// Alert returns what is known of a group of alerts, or a *fault.Error of kind
// NotFound.
func (t *Tracker) Alert(ctx context.Context, group string) (AlertGroup, error) {
	a, err := t.store.Alert(ctx, group)
	if errors.Is(err, ErrNoAlert) {
		return a, fault.New(fault.NotFound, "opsbot knows nothing of this alert any more.").Because(err)
	}
	return a, err
}

// Adopt says that a group of alerts belongs to the incident: what they did so
// far comes onto its timeline, and what they will do. Anybody may.
func (t *Tracker) Adopt(ctx context.Context, act Act, group string) (*Incident, error) {
	const what = "put alerts on the timeline"
	if err := t.fit(ctx, byAnyone, act.Actor); err != nil {
		return nil, t.refused(ctx, act, nil, what, err)
	}
	act.Actor = t.named(ctx, act.Actor)
	var seen *Incident
	i, err := t.store.Adopt(ctx, act.ID, group, func(i *Incident, a Alerted, now time.Time) (Change, error) {
		seen = i
		if i.State.Over() {
			return Change{}, refuse("%s is %s; its timeline has ended.", i.Ref(), strings.ToLower(i.State.Word()))
		}
		if a.Other != "" {
			return Change{}, refuse("The alert %s belongs to %s.", a.Name, a.Other)
		}
		c := i.heed(a, now)
		if len(c.Events) == 0 { // all of it is there already
			c.Events = []Event{{Kind: KindAlert, Actor: alertmanager, Text: fmt.Sprintf("Alert %s belongs to it.", a.Name)}}
		}
		for n := range c.Events {
			if c.Events[n].Data == nil {
				c.Events[n].Data = map[string]string{"group": group, "alert": a.Name}
			}
			c.Events[n].Data["by"], c.Events[n].Data["name"] = act.Actor.ID, name(act.Actor)
		}
		t.complete(i, act, now, &c)
		return c, nil
	})
	if errors.Is(err, ErrNoAlert) {
		return nil, fault.New(fault.NotFound, "opsbot knows nothing of this alert any more.").Because(err)
	}
	if err != nil {
		return nil, t.refused(ctx, act, seen, what, err)
	}
	return i, nil
}
