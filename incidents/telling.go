package incidents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// A Telling is an update that somebody wants to post.
type Telling struct {
	Audiences []Alarm // ForTeams, ForUsers or both
	Text      string
	Unmoved   bool          // "no change"; Text may be empty then
	Next      time.Duration // 0: the interval stays
}

// Bounds on an interval that people choose.
const (
	minInterval = time.Minute
	maxInterval = 24 * time.Hour
)

// Post tells the audiences how things stand, and starts their clocks anew. An
// update to the users is published at once if the communications lead posts
// it, or the commander while there is no lead; else it waits as a draft for
// the lead, and the users' clock goes on.
func (t *Tracker) Post(ctx context.Context, act Act, m Telling) (*Incident, error) {
	return t.change(ctx, act, byCommand, "post updates", func(i *Incident, now time.Time, c *Change) error {
		var text string
		if !m.Unmoved || strings.TrimSpace(m.Text) != "" {
			var err error
			if text, err = tidy("The update", m.Text, MaxText); err != nil {
				return err
			}
		}
		switch {
		case !i.State.Active() && i.State != Resolved:
			return refuse("%s is %s; there is nothing to tell any more.", i.Ref(), strings.ToLower(i.State.Word()))
		case len(m.Audiences) == 0:
			return refuse("Say who is to hear it: teams, users or both.")
		case m.Next != 0 && (m.Next < minInterval || m.Next > maxInterval):
			return refuse("The next update can be due in a minute to a day, not in %s.", span(m.Next))
		}
		for _, of := range m.Audiences {
			if of == ForUsers && i.Security {
				return refuse("%s is restricted: nothing about it is published.", i.Ref())
			}
			said := text
			if said == "" {
				said = i.State.unmoved(of)
			}
			u, err := t.newUpdate(i, of, said, m.Unmoved, act.Actor, now)
			if err != nil {
				return err
			}
			if of == ForUsers && !mayPublish(i, act.Actor) {
				c.Updates = append(c.Updates, u)
				c.Events = append(c.Events, Event{Kind: KindDraft, Text: u.Text, Data: map[string]string{"update": u.ID, "audience": string(of)}})
				c.Notices = append(c.Notices, t.askForApproval(i, u))
				continue
			}
			t.told(i, &u, now, c)
			c.Updates = append(c.Updates, u)
			if m.Next != 0 {
				i.choose(of, m.Next, now)
			}
		}
		return nil
	})
}

// mayPublish reports whether an update to the users needs nobody else's word.
func mayPublish(i *Incident, a access.Actor) bool {
	if _, ok := i.Holder(Comms); ok {
		return i.Holds(Comms, a)
	}
	return i.Holds(Commander, a)
}

func (t *Tracker) newUpdate(i *Incident, of Alarm, text string, unmoved bool, by access.Actor, now time.Time) (Update, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Update{}, fmt.Errorf("make an update's id: %w", err)
	}
	u := Update{ID: id.String(), Audience: of, Text: text, Word: i.State.Public(), Unmoved: unmoved, By: by, At: now, State: Draft}
	if c := i.Clock(of); !c.Off() {
		u.Due = c.Due
	}
	return u, nil
}

// told makes an update count: it is posted, and its audience's clock starts anew.
func (t *Tracker) told(i *Incident, u *Update, now time.Time, c *Change) {
	data := map[string]string{"audience": string(u.Audience), "update": u.ID}
	if !u.Due.IsZero() {
		data["due"] = u.Due.UTC().Format(time.RFC3339)
	}
	u.State, u.Decided = Published, now
	if late := u.Late(); late > 0 {
		data["late"] = span(late)
	}
	line := outbox.Line{Text: fmt.Sprintf("Update to the %s by %s: %s", u.Audience, name(u.By), u.Text)}
	if u.Audience == ForUsers {
		u.State = Approved // the publishers take it from here
		line.Broadcast = true
		if u.Word != "" {
			line.Text = fmt.Sprintf("Update to the users (%s) by %s: %s", u.Word, name(u.By), u.Text)
		}
	}
	c.Events = append(c.Events, Event{Kind: KindUpdate, Text: u.Text, Data: data})
	c.Notices = append(c.Notices, i.say(line)...)
	c.Notices = append(c.Notices, i.hush(i.Clock(u.Audience))...)
	i.answered(u.Audience, now)
	last := *u
	i.Last = &last
	if u.Audience == ForUsers {
		i.Public = &last
	}
}

// askForApproval asks whoever publishes for their word.
func (t *Tracker) askForApproval(i *Incident, u Update) outbox.Notice {
	p := draftPrompt(i, u)
	if a := i.Owner(ForUsers); a != nil {
		p.Users = []string{a.ID}
	}
	return i.ask("draft/"+u.ID, p)
}

func draftPrompt(i *Incident, u Update) outbox.Prompt {
	return outbox.Prompt{
		Text:  fmt.Sprintf("%s drafted an update to the users of %s. It is published once you approve it.", name(u.By), i.Ref()),
		Draft: u.Text,
		Buttons: []outbox.Item{
			{Label: "Publish", Command: "incident publish " + i.Ref() + " " + u.ID},
			{Label: "Edit", Command: "incident edit " + i.Ref() + " " + u.ID},
			{Label: "Reject", Command: "incident reject " + i.Ref() + " " + u.ID},
		},
	}
}

// Decide publishes a drafted update, with another text if it is not empty, or
// rejects it. That is the communications lead's right; the commander's while
// there is no lead.
func (t *Tracker) Decide(ctx context.Context, act Act, update string, publish bool, text, why string) (*Incident, error) {
	const what = "publish updates to the users"
	return t.change(ctx, act, byMember, what, func(i *Incident, now time.Time, c *Change) error {
		if !mayPublish(i, act.Actor) {
			if _, ok := i.Holder(Comms); ok {
				r, _ := i.Holder(Comms)
				return forbid("Only the communications lead may %s. That is %s.", what, name(r.Actor)).lack("", "comms "+i.Ref()+" me", "Take communications")
			}
			return i.may(byCommander, act.Actor, what)
		}
		at := slices.IndexFunc(i.Drafts, func(u Update) bool { return u.ID == update })
		if at < 0 {
			return refuse("%s has no such draft: it was decided on already.", i.Ref())
		}
		u := &i.Drafts[at]
		switch {
		case publish && i.Security:
			return refuse("%s is restricted: nothing about it is published.", i.Ref())
		}
		u.Decider, u.Decided = act.Actor, now
		if len(i.Drafts) == 1 {
			clock := i.clock(ForDraft, now)
			c.Notices = append(c.Notices, i.hush(clock)...)
			clock.start(0, now)
		}
		if !publish {
			u.State = Rejected
			c.Updates = append(c.Updates, *u)
			c.Events = append(c.Events, Event{Kind: KindRejected, Text: strings.TrimSpace(why), Data: map[string]string{"update": u.ID}})
			p := outbox.Prompt{Text: fmt.Sprintf("%s rejected the draft of %s.", name(act.Actor), name(u.By)), Draft: u.Text}
			if why = strings.TrimSpace(why); why != "" {
				p.Text += " " + why
			}
			c.Notices = append(c.Notices, i.ask("draft/"+u.ID, p))
			return nil
		}
		if text = strings.TrimSpace(text); text != "" {
			var err error
			if u.Text, err = tidy("The update", text, MaxText); err != nil {
				return err
			}
		}
		u.Word = i.State.Public()
		c.Events = append(c.Events, Event{Kind: KindApproved, Text: u.Text, Data: map[string]string{"update": u.ID}})
		by := u.By
		t.told(i, u, now, c)
		e := &c.Events[len(c.Events)-1]
		e.Actor, e.Data["approver"] = by, name(act.Actor)
		u.Decider = act.Actor
		c.Updates = append(c.Updates, *u)
		c.Notices = append(c.Notices, i.ask("draft/"+u.ID, outbox.Prompt{Text: fmt.Sprintf("%s approved the draft of %s; it is being published.", name(act.Actor), name(by))}))
		return nil
	})
}

// Snooze keeps a clock silent for a while, or both for no audience; 0 is the
// usual while.
func (t *Tracker) Snooze(ctx context.Context, act Act, audiences []Alarm, d time.Duration) (*Incident, error) {
	if d == 0 {
		d = t.rules.Snooze
	}
	return t.change(ctx, act, byCommand, "snooze its clocks", func(i *Incident, now time.Time, c *Change) error {
		if d < time.Second || d > time.Hour {
			return refuse("A clock can be snoozed for an hour at most, not for %s.", span(d))
		}
		if len(audiences) == 0 {
			audiences = Audiences
		}
		var kept []string
		for _, of := range audiences {
			clock := i.Clock(of)
			if clock.Off() {
				continue
			}
			c.Notices = append(c.Notices, i.hush(clock)...)
			clock.snooze(d, now)
			kept = append(kept, string(of))
			c.Events = append(c.Events, Event{Kind: KindSnooze, Text: span(d), Data: map[string]string{"audience": string(of), "until": clock.Snoozed.UTC().Format(time.RFC3339)}})
		}
		if len(kept) == 0 {
			return refuse("No update of %s comes due; there is nothing to snooze.", i.Ref())
		}
		c.Notices = append(c.Notices, i.say(outbox.Line{Text: fmt.Sprintf("%s snoozed the %s' clock for %s.", name(act.Actor), strings.Join(kept, "' and "), span(d))})...)
		return nil
	})
}

// DraftOf makes an update out of facts: the state, the last run and its last
// step, what runs now, and what is known of the impact.
func DraftOf(i *Incident, of Alarm, now time.Time) string {
	var parts []string
	if of == ForUsers {
		// The state is said wherever it is published.
		impact := orElse(i.Impact, orElse(i.Down, i.Title)) + "."
		switch i.State {
		case Fixing:
			parts = append(parts, impact, "We know what is wrong and work on a fix.")
		case Monitoring:
			parts = append(parts, "A fix is in place, and we watch whether it holds. The problem was: "+impact)
		case Resolved:
			parts = append(parts, "It works again. The problem was: "+impact)
		case Canceled:
			parts = append(parts, "It was a false alarm: "+impact)
		case Merged:
			parts = append(parts, impact, fmt.Sprintf("It belongs to INC-%d; what is new is said there.", i.Into))
		default:
			parts = append(parts, impact, "We are looking for the cause.")
		}
	} else {
		parts = append(parts, fmt.Sprintf("%s since %s.", i.State.Word(), i.Since.UTC().Format("15:04 UTC")))
		if i.Down != "" {
			parts = append(parts, "Down: "+strings.TrimSuffix(i.Down, ".")+".")
		}
		for n := len(i.Runs) - 1; n >= 0 && n >= len(i.Runs)-2; n-- {
			parts = append(parts, i.Runs[n].sentence())
		}
		if len(i.Runs) == 0 {
			parts = append(parts, "No runbook was run yet.")
		}
	}
	if c := i.Clock(of); !c.Off() {
		parts = append(parts, "Next update by "+now.Add(c.Interval).UTC().Format("15:04 UTC")+".")
	}
	return strings.Join(parts, " ")
}

// sentence says how far a run has come.
func (r Run) sentence() string {
	s := fmt.Sprintf("R%d %s", r.Number, r.Title)
	if r.State == "running" {
		s += " is running"
	} else {
		s += " " + r.State
	}
	if r.Step != "" {
		s += "; last: " + strings.TrimSuffix(r.Step, ".")
	}
	return s + "."
}

func orElse(s, other string) string {
	if strings.TrimSpace(s) == "" {
		return other
	}
	return strings.TrimSuffix(strings.TrimSpace(s), ".")
}
