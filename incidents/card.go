package incidents

import (
	"fmt"
	"strings"
	"time"

	"opsbot/internal/outbox"
)

// place is where headlines stand, as people read it.
func (t *Tracker) place() string {
	if strings.HasPrefix(t.channel, "#") {
		return t.channel
	}
	return "the incident channel"
}

// headline is the incident's live message, which all of its room belongs to.
func (t *Tracker) headline(i *Incident, now time.Time) outbox.Notice {
	card := outbox.Incident{
		ID: i.ID, Number: i.Number, Title: i.Title, State: string(i.State), Word: i.State.Word(), Since: i.Since,
		Severity: string(i.Severity), Security: i.Security, Drill: i.Drill, Active: i.State.Active(), Over: i.State.Over(),
		Declared: i.Declared, Lasted: i.Lasted(now), Started: i.Started, Down: i.Down, Affected: i.Affected, Impact: i.Impact,
		Room: i.Room, Reopened: i.Reopened,
	}
	if r, ok := i.Holder(Commander); ok {
		card.Commander, card.Acting = r.Actor.ID, r.Acting
	}
	if r, ok := i.Offered(Commander); ok {
		card.Offered = r.Actor.ID
	}
	if r, ok := i.Holder(Comms); ok {
		card.Comms = r.Actor.ID
	} else if r, ok := i.Offered(Comms); ok {
		card.CommsOffered = r.Actor.ID
	}
	card.CommsWanted = t.rules.Of(i.Severity).Comms
	for _, of := range Audiences {
		if c := i.Clock(of); !c.Off() {
			card.Clocks = append(card.Clocks, outbox.DueLine{Audience: string(of), Due: c.Due, Snoozed: c.Snoozed})
		}
	}
	if u := i.Last; u != nil {
		card.Last = &outbox.Said{By: u.By.ID, At: u.At, Audience: string(u.Audience), Text: u.Text}
	}
	if u := i.Public; u != nil && u.State == Failed {
		for _, o := range u.Outcomes {
			if o.Why != "" {
				card.Unpublished = append(card.Unpublished, o.Place)
			}
		}
	}
	for n := len(i.Runs) - 1; n >= 0 && len(card.Runs) < 3; n-- {
		r := i.Runs[n]
		card.Runs = append(card.Runs, outbox.RunLine{Number: r.Number, Title: r.Title, State: r.State, Step: r.Step})
	}
	for _, task := range i.Tasks {
		card.Tasks++
		if task.Done.IsZero() {
			card.TasksOpen++
		}
	}
	switch i.State {
	case Resolved, Postmortem, Closed:
		card.Outcome = i.Summary
	case Canceled:
		card.Outcome = i.Why
	case Merged:
		card.Outcome = fmt.Sprintf("It goes on in INC-%d.", i.Into)
	}
	card.Asks = i.asks()
	card.Buttons = i.buttons()
	return outbox.Notice{Key: i.Key(), To: outbox.Conversation{Channel: t.channel}, Content: card}
}

// buttons are those under the headline.
func (i *Incident) buttons() []outbox.Item {
	ref := i.Ref()
	button := func(label, line string) outbox.Item {
		return outbox.Item{Label: label, Command: "incident " + line}
	}
	switch {
	case i.State == Canceled || i.State == Merged:
		return nil
	case i.Security && !i.State.Over():
		// Everybody sees it: no button whose form repeats what is known.
		list := []outbox.Item{button("Set status", "status "+ref), button("Run runbook", "run "+ref), button("More", "more "+ref)}
		if !i.State.Active() {
			list[1] = button("Reopen", "reopen "+ref)
		}
		return list
	case i.State == Closed:
		return []outbox.Item{button("Reopen", "reopen "+ref)}
	case !i.State.Active():
		return []outbox.Item{
			button("Set status", "status "+ref), button("Post-mortem", "postmortem "+ref),
			button("Reopen", "reopen "+ref), button("More", "more "+ref),
		}
	}
	return []outbox.Item{
		button("Post update", "update "+ref), button("Set status", "status "+ref), button("Roles", "roles "+ref),
		button("Run runbook", "run "+ref), button("More", "more "+ref),
	}
}

// pin has the headline pinned, or no longer.
func pin(i *Incident, on bool) outbox.Notice {
	return outbox.Notice{Key: "pin/" + i.ID, Under: i.Key(), Content: outbox.Pin{On: on}}
}

// say is said in the room: the thread, and the incident's own channel if it
// has one. While a restricted incident has none, whom it concerns is told
// directly: the thread is public.
func (i *Incident) say(c outbox.Content) []outbox.Notice {
	if i.Security {
		line, _ := c.(outbox.Line)
		return []outbox.Notice{{To: i.confided(line.Users), Content: c}}
	}
	list := []outbox.Notice{{Under: i.Key(), Content: c}}
	if i.Room != "" {
		list = append(list, outbox.Notice{To: outbox.Conversation{Channel: i.Room}, Content: c})
	}
	return list
}

// ask is asked where the people are: in the channel if there is one, else in
// the thread. The key lets it be edited or removed.
func (i *Incident) ask(key string, p outbox.Prompt) outbox.Notice {
	switch {
	case i.Security:
		// A key of its own: what was asked in public before must not be edited
		// into what is secret.
		return outbox.Notice{Key: key + "/restricted", To: i.confided(p.Users), Content: p}
	case i.Room != "":
		return outbox.Notice{Key: key, To: outbox.Conversation{Channel: i.Room}, Content: p}
	}
	return outbox.Notice{Key: key, Under: i.Key(), Content: p}
}

// takeBack removes what was asked.
func (i *Incident) takeBack(key string) outbox.Notice {
	n := i.ask(key, outbox.Prompt{})
	n.Content = outbox.Removed{}
	return n
}

// confided is where something about a restricted incident may be said: in its
// private channel, or as long as there is none to one person, the first of those
// whom it concerns, else the commander.
func (i *Incident) confided(concerns []string) outbox.Conversation {
	r, led := i.Holder(Commander)
	switch {
	case i.Room != "":
		return outbox.Conversation{Channel: i.Room, Stay: true}
	case len(concerns) > 0:
		return outbox.Conversation{Channel: concerns[0], Stay: true}
	case led:
		return outbox.Conversation{Channel: r.Actor.ID, Stay: true}
	}
	return outbox.Conversation{Channel: i.Declarer.ID, Stay: true}
}

// acceptKey names the message that asks somebody to accept a role.
func acceptKey(i *Incident, kind RoleKind) string { return "accept/" + i.ID + "/" + string(kind) }

// roles is the message that asks for a commander and, if one is needed, a
// communications lead, as it reads now.
func (t *Tracker) roles(i *Incident) outbox.Notice {
	p := outbox.Prompt{}
	button := func(label, line string) {
		p.Buttons = append(p.Buttons, outbox.Item{Label: label, Command: "incident " + line})
	}
	r, ok := i.Holder(Commander)
	switch {
	case !ok:
		p.Text = fmt.Sprintf("%s has no commander.", i.Ref())
		button("Accept command", "accept "+i.Ref()+" commander")
	case r.Acting:
		p.Users = []string{r.Actor.ID}
		p.Text = fmt.Sprintf("You are acting commander of %s until you or somebody else accepts. %s", i.Ref(), i.asks())
		button("Accept command", "accept "+i.Ref()+" commander")
	default:
		p.Text = fmt.Sprintf("%s has command of %s. %s", name(r.Actor), i.Ref(), i.asks())
	}
	if i.Down == "" {
		button("Assess", "assess "+i.Ref())
	}
	if c, ok := i.Holder(Comms); ok {
		p.Text += fmt.Sprintf(" %s keeps everybody informed.", name(c.Actor))
	} else if t.rules.Of(i.Severity).Comms {
		p.Text += " It needs a communications lead, too."
		button("Take communications", "accept "+i.Ref()+" comms")
	}
	return i.ask(acceptKey(i, Commander), p)
}
