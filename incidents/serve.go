package incidents

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

const (
	pollEvery = time.Second
	dueAtOnce = 20
)

// Serve lets clocks ring until ctx ends; it returns nil then. Any number of
// replicas may serve: a clock is rung by whoever finds it due while it has the
// incident, once.
func (t *Tracker) Serve(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if err := t.Ring(ctx); err != nil && ctx.Err() == nil {
			t.log.Error("ring the clocks of incidents", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// errQuiet ends a transaction in which there was nothing to do any more.
var errQuiet = errors.New("nothing is due")

// Ring rings every clock whose time has come, once.
func (t *Tracker) Ring(ctx context.Context) error {
	ids, err := t.store.Due(ctx, dueAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		var called []RoleKind
		_, err := t.store.Update(ctx, []string{id}, "", func(list []*Incident, now time.Time) ([]Change, error) {
			i := list[0]
			var c Change
			rung := false
			called = nil
			for n := range i.Clocks {
				if clock := &i.Clocks[n]; !clock.Wake.IsZero() && !clock.Wake.After(now) {
					rung = true
					t.rang(i, clock, now, &c)
				}
			}
			if !rung {
				return nil, errQuiet
			}
			for _, e := range c.Events {
				if i.Security && e.Data["escalated"] != "" {
					called = append(called, RoleKind(e.Data["of"]))
				}
			}
			t.complete(i, Act{ID: id, Actor: opsbot}, now, &c)
			return []Change{c}, nil
		})
		for _, kind := range called {
			if err == nil {
				if err = t.callIn(ctx, id, kind); err != nil {
					err = errors.Join(err, t.callSoon(ctx, id, kind))
				}
			}
		}
		if err != nil && !errors.Is(err, errQuiet) && !errors.Is(err, ErrNone) {
			// One incident must not keep the others' clocks from ringing.
			t.log.Error("ring the clocks of an incident", "incident", id, "error", err)
		}
	}
	return nil
}

// mostCalled bounds those who are asked directly, one by one.
const mostCalled = 30

// callIn asks those who are to be called, each directly, to take a role in a
// restricted incident: where it is worked on they would not hear of it.
func (t *Tracker) callIn(ctx context.Context, id string, kind RoleKind) error {
	people, err := t.policy.Members(ctx, t.people, t.escalation()...)
	if err != nil {
		return err
	}
	_, err = t.store.Update(ctx, []string{id}, "", func(list []*Incident, _ time.Time) ([]Change, error) {
		i := list[0]
		var c Change
		for _, who := range people {
			if len(c.Notices) == mostCalled || i.Open(access.Actor{Kind: access.Person, ID: who}) {
				continue
			}
			c.Notices = append(c.Notices, outbox.Notice{Key: "called/" + acceptKey(i, kind) + "/" + who, To: outbox.Conversation{Channel: who, Stay: true}, Content: outbox.Prompt{
				Text:    fmt.Sprintf("%s is restricted, and nobody has accepted to be its %s. Whoever accepts is let in.", i.Ref(), kind.Word()),
				Buttons: []outbox.Item{{Label: "Accept", Command: "incident accept " + i.Ref() + " " + string(kind)}},
			}})
		}
		return []Change{c}, nil
	})
	return err
}

// callSoon lets the clock of a role ring again before long: those who are to be
// called were not reached.
func (t *Tracker) callSoon(ctx context.Context, id string, kind RoleKind) error {
	_, err := t.store.Update(ctx, []string{id}, "", func(list []*Incident, now time.Time) ([]Change, error) {
		c := list[0].Clock(Alarm(kind))
		if c.Off() {
			return nil, errQuiet // somebody has come
		}
		c.Stage, c.Wake = Nudged, now.Add(min(c.Interval, callAgain))
		return []Change{{}}, nil
	})
	if errors.Is(err, errQuiet) {
		return nil
	}
	return err
}

// escalation are the groups that are called when nobody takes a role.
func (t *Tracker) escalation() []string {
	if len(t.rules.Escalation) > 0 {
		return t.rules.Escalation
	}
	return t.rules.OnCall
}

// rang does what a clock is for.
func (t *Tracker) rang(i *Incident, c *Clock, now time.Time, change *Change) {
	if c.Off() || !i.State.Active() && c.Of != ForDraft {
		c.Wake = time.Time{}
		return
	}
	switch c.Of {
	case ForHeadline:
		c.start(c.Interval, now) // complete queues the headline
	case ForBudget:
		c.Wake, c.Stage = time.Time{}, Nudged
		t.overrun(i, now, change)
	case ForDraft:
		t.unsaid(i, c, now, change)
	case ForCommander, ForComms:
		t.unfilled(i, c, now, change)
	default:
		t.due(i, c, now, change)
	}
}

// due nudges for an update, the louder the later it is.
func (t *Tracker) due(i *Incident, c *Clock, now time.Time, change *Change) {
	change.Notices = append(change.Notices, i.hush(c)...)
	again := c.Stage == Told
	stage := c.ring(now)
	late := c.Overdue(now)
	ref, audience := i.Ref(), string(c.Of)
	p := outbox.Prompt{
		Text:  fmt.Sprintf("An update to the %s is due.", audience),
		Draft: DraftOf(i, c.Of, now),
		Buttons: []outbox.Item{
			{Label: "Post update", Command: "incident update " + ref + " " + audience},
			{Label: "No change", Command: "incident no-change " + ref + " " + audience},
			{Label: "Snooze " + span(t.rules.Snooze), Command: "incident snooze " + ref + " " + audience},
		},
	}
	if late >= time.Second {
		p.Text = fmt.Sprintf("An update to the %s is %s overdue.", audience, span(late))
	}
	if set := c.Set; !set.IsZero() && now.Sub(set) >= t.rules.AskAgain || set.IsZero() && now.Sub(i.Declared) >= t.rules.AskAgain {
		p.Text += fmt.Sprintf(" %s has gone on for %s: choose how often the %s must hear from now on.", ref, span(now.Sub(i.Declared)), audience)
		next := fmt.Sprintf("incident no-change %s %s next ", ref, audience)
		p.Buttons = append(p.Buttons, outbox.Item{Label: "No change, next in 1 h", Command: next + "1h"}, outbox.Item{Label: "No change, next in 4 h", Command: next + "4h"})
		if hourly := now.Add(loudAgain); again && c.Wake.Before(hourly) {
			c.Wake = hourly // nobody has cared for half a day
		}
	}
	owner := i.Owner(c.Of)
	commander, commanded := i.Holder(Commander)
	switch {
	case again: // it stands there, and disturbs nobody
	case stage == Nudged:
		if owner != nil {
			p.Users = []string{owner.ID}
		}
	case commanded:
		p.Users = []string{commander.Actor.ID}
	}
	c.Nudge = i.Events + int64(len(change.Events)) + 1
	change.Notices = append(change.Notices, i.ask(nudgeKey(i, c.Of, c.Nudge), p))
	if stage == Told && owner != nil && (!again || loudly(late, c.Wake.Sub(now))) {
		direct := p
		direct.Users = nil
		direct.Text = ref + " (" + i.Title + "): " + p.Text
		change.Notices = append(change.Notices, outbox.Notice{To: outbox.Conversation{Channel: owner.ID}, Content: direct})
	}
	change.Events = append(change.Events, Event{Kind: KindNudge, Data: map[string]string{
		"audience": audience, "stage": itoa(int(stage)), "due": c.Due.UTC().Format(time.RFC3339),
	}})
}

// unsaid reminds of a last update to the users that waits for approval.
func (t *Tracker) unsaid(i *Incident, c *Clock, now time.Time, change *Change) {
	change.Notices = append(change.Notices, i.hush(c)...)
	if len(i.Drafts) == 0 || i.Security {
		c.start(0, now)
		return
	}
	waited := now.Sub(c.Due) + c.Interval
	d := i.Drafts[len(i.Drafts)-1]
	p := draftPrompt(i, d)
	p.Text = fmt.Sprintf("%s is %s, and users have not been told: the draft has waited for %s.", i.Ref(), strings.ToLower(i.State.Word()), span(waited))
	if a := i.Owner(ForUsers); a != nil && (c.Stage == Silent || loudly(waited, c.Interval)) {
		p.Users = []string{a.ID}
	}
	c.Stage, c.Wake = Nudged, now.Add(c.Interval)
	c.Nudge = i.Events + int64(len(change.Events)) + 1
	change.Notices = append(change.Notices, i.ask(nudgeKey(i, c.Of, c.Nudge), p))
	change.Events = append(change.Events, Event{Kind: KindNudge, Data: map[string]string{"of": string(ForDraft)}})
}

// nudgeKey names one nudge: each is a message of its own, so that it is seen,
// and the one before is taken away.
func nudgeKey(i *Incident, of Alarm, n int64) string {
	return fmt.Sprintf("nudge/%s/%s/%d", i.ID, of, n)
}

// hush takes the nudge away that stands in the room, if there is one.
func (i *Incident) hush(c *Clock) []outbox.Notice {
	if c == nil || c.Nudge == 0 {
		return nil
	}
	n := i.takeBack(nudgeKey(i, c.Of, c.Nudge))
	c.Nudge = 0
	return []outbox.Notice{n}
}

// overrun asks the commander whether a state that takes long is still right.
func (t *Tracker) overrun(i *Incident, now time.Time, change *Change) {
	p := outbox.Prompt{
		Text: fmt.Sprintf("%s has been %s for %s; the plan is %s. %s", i.Ref(), strings.ToLower(i.State.Word()), span(now.Sub(i.Since)), span(t.rules.Budgets[i.State]), i.asks()),
		Buttons: []outbox.Item{
			{Label: "Set status", Command: "incident status " + i.Ref()},
			{Label: "Post update", Command: "incident update " + i.Ref()},
		},
	}
	if r, ok := i.Holder(Commander); ok {
		p.Users = []string{r.Actor.ID}
	}
	change.Notices = append(change.Notices, i.ask("budget/"+i.ID, p))
	change.Events = append(change.Events, Event{Kind: KindNudge, Data: map[string]string{"of": string(ForBudget), "state": string(i.State)}})
}

// unfilled asks for somebody to take a role: first in the room, then those who
// are to be called when nobody comes. After that it goes on reminding, and calls
// for a commander once an hour.
func (t *Tracker) unfilled(i *Incident, c *Clock, now time.Time, change *Change) {
	kind := Commander
	if c.Of == ForComms {
		kind = Comms
	}
	stage := c.Stage
	change.Notices = append(change.Notices, i.hush(c)...)
	c.Nudge = i.Events + int64(len(change.Events)) + 1
	waited := now.Sub(c.Due) + c.Interval
	p := outbox.Prompt{
		Text:    fmt.Sprintf("%s has had no %s for %s.", i.Ref(), kind.Word(), span(waited)),
		Buttons: []outbox.Item{{Label: "Accept", Command: "incident accept " + i.Ref() + " " + string(kind)}},
	}
	if r, ok := i.Holder(kind); ok && r.Acting {
		p.Text = fmt.Sprintf("%s has had nobody who accepted command for %s; %s is only acting.", i.Ref(), span(waited), name(r.Actor))
		p.Users = []string{r.Actor.ID}
	} else if r, ok := i.Offered(kind); ok {
		p.Users = []string{r.Actor.ID}
	} else if r, ok := i.Holder(Commander); ok && kind == Comms {
		p.Users = []string{r.Actor.ID}
	}
	data := map[string]string{"of": string(c.Of)}
	step := max(c.Interval, roleAgain)
	switch {
	case stage == Silent:
		c.Stage, c.Wake = Nudged, now.Add(c.Interval)
	case stage == Told && (kind != Commander || !loudly(waited, step)):
		c.Wake = now.Add(step)
		p.Users = nil
	default:
		c.Stage, c.Wake = Told, now.Add(step)
		// Whoever takes command finds somebody for the communications: the same
		// people need not be called for both.
		if r, ok := i.Holder(Commander); kind == Commander || ok && !r.Acting {
			p.Groups = t.escalation()
			data["escalated"] = "true"
		}
	}
	data["stage"] = itoa(int(c.Stage))
	change.Notices = append(change.Notices, i.ask(nudgeKey(i, c.Of, c.Nudge), p))
	change.Events = append(change.Events, Event{Kind: KindNudge, Data: data})
}
