package incidents

import (
	"context"
	"fmt"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// Take gives the actor a role that one person has, and counts as accepting it.
// Command is for members of the on-call groups and of those that are called
// when nobody takes it, for who acts in it, and for whoever was asked; the former holder is told.
func (t *Tracker) Take(ctx context.Context, act Act, kind RoleKind) (*Incident, error) {
	what := "take command"
	if kind == Comms {
		what = "take the communications"
	}
	var uncalled error
	if len(t.rules.OnCall) > 0 {
		uncalled = t.policy.May(ctx, t.people, act.Actor, t.rules.commanders()...)
		if k := fault.KindOf(uncalled); k == fault.Internal {
			return nil, uncalled
		}
	}
	i, err := t.change(ctx, act, byMember, what, func(i *Incident, now time.Time, c *Change) error {
		if kind == Commander && uncalled != nil && !i.Holds(Commander, act.Actor) {
			if r, ok := i.Offered(Commander); !ok || !r.Actor.Same(act.Actor) {
				return uncalled
			}
		}
		if !i.Open(act.Actor) && !t.lets(i, kind, uncalled) {
			return forbid("%s is restricted: those on call may come in, and whom its people ask.", i.Ref())
		}
		first := kind == Commander && i.Acknowledged.IsZero()
		asked, offered := i.Offered(kind)
		e, former, err := i.take(kind, act.Actor, t.rules, now)
		if err != nil {
			return err
		}
		if former != nil && !i.Open(*former) { // who handed over goes on reading
			i.Roles = append(i.Roles, Role{Kind: Observer, Actor: *former, Since: now, Accepted: now})
		}
		c.Events = append(c.Events, e)
		line := outbox.Line{Text: fmt.Sprintf("%s is %s of %s now.", name(act.Actor), kind.Word(), i.Ref())}
		if first {
			line.Text += fmt.Sprintf(" It took %s until somebody accepted.", span(now.Sub(i.Declared)))
		}
		if former != nil {
			line.Users = []string{former.ID}
			line.Text = fmt.Sprintf("%s took over: %s", name(act.Actor), line.Text)
		}
		c.Notices = append(c.Notices, i.invite(act.Actor)...)
		c.Notices = append(c.Notices, i.say(line)...)
		c.Notices = append(c.Notices, t.roles(i))
		if offered {
			c.Notices = append(c.Notices, i.takeBack(offerKey(i, kind, asked.Actor)))
		}
		of := ForCommander
		if kind == Comms {
			of = ForComms
		}
		c.Notices = append(c.Notices, i.hush(i.Clock(of))...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return i, t.thronged(ctx, i)
}

// lets reports whether who takes a role may come into a restricted incident by
// it: who is on call, or anybody if nobody is said to be and it has no commander.
func (t *Tracker) lets(i *Incident, kind RoleKind, uncalled error) bool {
	if len(t.rules.OnCall) > 0 {
		return uncalled == nil
	}
	_, led := i.Holder(Commander)
	return kind == Commander && !led
}

// invite brings people into the incident's own channel, if it has one.
func (i *Incident) invite(people ...access.Actor) (list []outbox.Notice) {
	if i.Room == "" {
		return nil
	}
	for _, p := range people {
		if p.Kind == access.Person {
			list = append(list, outbox.Notice{Key: "invite/" + i.ID + "/" + p.ID, To: outbox.Conversation{Channel: i.Room}, Content: outbox.Invite{Users: []string{p.ID}}})
		}
	}
	return list
}

// offerKey names the message that offers a role to somebody.
func offerKey(i *Incident, kind RoleKind, to access.Actor) string {
	return acceptKey(i, kind) + "/" + to.ID
}

// Offer asks somebody to take a role that one person has. Who has it keeps it
// until the other accepts. The commander may offer both, the communications
// lead their own, and members of the on-call groups command.
func (t *Tracker) Offer(ctx context.Context, act Act, kind RoleKind, to access.Actor) (*Incident, error) {
	what := "hand over the " + kind.Word() + "'s role"
	to = t.named(ctx, to)
	if err := t.policy.Fit(ctx, t.people, to); err != nil {
		if k := fault.KindOf(err); k == fault.Internal || k == fault.Unavailable {
			return nil, err
		}
		return nil, t.refused(ctx, act, nil, what, refuse("%s cannot take it: %s", name(to), fault.Say(err)))
	}
	oncall := len(t.rules.OnCall) > 0 && t.policy.May(ctx, t.people, act.Actor, t.rules.commanders()...) == nil
	return t.change(ctx, act, byMember, what, func(i *Incident, now time.Time, c *Change) error {
		if !oncall && !i.Holds(kind, act.Actor) {
			if err := i.may(byCommander, act.Actor, what); err != nil {
				return err
			}
		}
		e, err := i.offer(kind, to, now)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, e)
		c.Notices = append(c.Notices, i.invite(to)...) // who is not in the channel does not hear the question
		c.Notices = append(c.Notices, i.ask(offerKey(i, kind, to), outbox.Prompt{
			Users:   []string{to.ID},
			Text:    fmt.Sprintf("%s asks you to be %s of %s (%s).", name(act.Actor), kind.Word(), i.Ref(), i.Title),
			Buttons: []outbox.Item{{Label: "Accept", Command: "incident accept " + i.Ref() + " " + string(kind)}},
		}))
		return nil
	})
}

// Add makes somebody a responder with a tag, such as dba, or an observer.
func (t *Tracker) Add(ctx context.Context, act Act, kind RoleKind, who access.Actor, tag string) (*Incident, error) {
	who = t.named(ctx, who)
	i, err := t.change(ctx, act, byMember, "add people", func(i *Incident, now time.Time, c *Change) error {
		e, err := i.add(kind, who, tag, now)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, e)
		line := outbox.Line{Text: fmt.Sprintf("%s works on %s", name(who), i.Ref())}
		if kind == Observer {
			line.Text = fmt.Sprintf("%s follows %s", name(who), i.Ref())
		}
		if tag != "" {
			line.Text += " as " + tag
		}
		line.Text += "."
		if !who.Same(act.Actor) {
			line.Users = []string{who.ID}
			line.Text = fmt.Sprintf("%s asked you to help with %s (%s)", name(act.Actor), i.Ref(), i.Title)
			if tag != "" {
				line.Text += " as " + tag
			}
			line.Text += "."
		}
		c.Notices = append(c.Notices, i.invite(who)...)
		c.Notices = append(c.Notices, i.say(line)...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return i, t.thronged(ctx, i)
}

// Call asks a user group for help, by "@handle" or by its id in Slack: whoever
// of them comes says so with a button.
func (t *Tracker) Call(ctx context.Context, act Act, group, tag string) (*Incident, error) {
	if handle, ok := strings.CutPrefix(group, "@"); ok {
		if _, err := t.people.Members(ctx, handle); fault.KindOf(err) == fault.NotFound {
			return nil, err
		}
	}
	return t.change(ctx, act, byMember, "call people", func(i *Incident, now time.Time, c *Change) error {
		if i.State.Over() {
			return refuse("%s is %s; nobody is needed any more.", i.Ref(), strings.ToLower(i.State.Word()))
		}
		if i.Security {
			return refuse("%s is restricted: a group would not hear of it in its private channel. Ask people by their names: add @somebody.", i.Ref())
		}
		c.Events = append(c.Events, Event{Kind: KindRole, Text: "called", Data: map[string]string{"role": string(Responder), "group": group, "tag": tag}})
		p := outbox.Prompt{Groups: []string{group}, Text: fmt.Sprintf("%s asks for your help with %s (%s)", name(act.Actor), i.Ref(), i.Title)}
		join := "incident add " + i.Ref() + " me"
		if tag != "" {
			p.Text += " as " + tag
			join += " as " + tag
		}
		p.Text += "."
		p.Buttons = []outbox.Item{{Label: "I'll help", Command: join}}
		c.Notices = append(c.Notices, i.ask("call/"+i.ID+"/"+itoa(int(i.Events)), p))
		return nil
	})
}

// Leave takes every role from the actor. A role that must be filled is asked
// for again.
func (t *Tracker) Leave(ctx context.Context, act Act) (*Incident, error) {
	return t.change(ctx, act, byAnyone, "leave", func(i *Incident, now time.Time, c *Change) error {
		e, had, err := i.leave(act.Actor, t.rules, now)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, e)
		words := make([]string, len(had))
		for n, k := range had {
			words[n] = k.Word()
		}
		p := outbox.Prompt{Text: fmt.Sprintf("%s left %s (%s).", name(act.Actor), i.Ref(), strings.Join(words, ", "))}
		for _, k := range had {
			if k.Exclusive() && i.State.Active() {
				p.Text += fmt.Sprintf(" It has no %s.", k.Word())
				p.Buttons = append(p.Buttons, outbox.Item{Label: "Take it", Command: "incident accept " + i.Ref() + " " + string(k)})
			}
		}
		if len(p.Buttons) > 1 {
			p.Buttons[0].Label, p.Buttons[1].Label = "Take command", "Take communications"
		}
		c.Notices = append(c.Notices, i.ask("left/"+i.ID+"/"+itoa(int(i.Events)), p))
		return nil
	})
}
