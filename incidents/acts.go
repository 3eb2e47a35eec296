package incidents

import (
	"context"
	"fmt"
	"strings"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// Move sets the state, forward. Resolved needs a summary, Closed what the
// severity asks for; the *Refusal lists all that is missing.
func (t *Tracker) Move(ctx context.Context, act Act, m Move) (*Incident, error) {
	return t.change(ctx, act, byCommander, "change its status", func(i *Incident, now time.Time, c *Change) error {
		was := i.State
		e, err := i.move(m, t.rules, now)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, e)
		c.Notices = append(c.Notices, t.moved(i, act.Actor, was, e.Text)...)
		if m.To == Resolved {
			return t.lastWords(i, act.Actor, now, c)
		}
		return nil
	})
}

// lastWords tells both audiences that it is over: the teams by the summary,
// the users by a draft in their words.
func (t *Tracker) lastWords(i *Incident, by access.Actor, now time.Time, c *Change) error {
	u, err := t.newUpdate(i, ForTeams, i.Summary, false, by, now)
	if err != nil {
		return err
	}
	u.State, u.Decided = Published, now
	c.Updates = append(c.Updates, u)
	c.Events = append(c.Events, Event{Kind: KindUpdate, Text: u.Text, Data: map[string]string{"audience": string(ForTeams), "update": u.ID}})
	i.Last = &u
	if t.rules.Interval(i, ForUsers) == 0 && i.Public == nil {
		return nil
	}
	return t.lastDraft(i, by, now, c)
}

// lastDraft drafts what users are told at the end, and has people reminded of
// it as long as nobody decides on it. Nothing is said of what is restricted.
func (t *Tracker) lastDraft(i *Incident, by access.Actor, now time.Time, c *Change) error {
	if i.Security {
		return nil
	}
	d, err := t.newUpdate(i, ForUsers, DraftOf(i, ForUsers, now), false, by, now)
	if err != nil {
		return err
	}
	c.Updates = append(c.Updates, d)
	c.Events = append(c.Events, Event{Kind: KindDraft, Text: d.Text, Data: map[string]string{"update": d.ID, "audience": string(ForUsers)}})
	c.Notices = append(c.Notices, t.askForApproval(i, d))
	i.clock(ForDraft, now).start(draftNag, now)
	return nil
}

// moved is said after each change of state.
func (t *Tracker) moved(i *Incident, by access.Actor, was State, note string) []outbox.Notice {
	line := outbox.Line{Text: fmt.Sprintf("%s → %s, by %s.", was.Word(), i.State.Word(), name(by)), Broadcast: i.State == Resolved}
	switch {
	case i.State == Resolved:
		line.Text = fmt.Sprintf("%s is resolved after %s, says %s: %s", i.Ref(), span(i.Lasted(i.Resolved)), name(by), note)
	case note != "":
		line.Text += " " + note
	}
	work, offered := t.work(i)
	if asks := i.State.Asks(); asks != "" && i.State != Resolved && !offered {
		line.Text += "\n" + asks
	}
	list := append(i.say(line), i.worked(was))
	if offered {
		list = append(list, i.ask(workKey(i, i.State), work))
	}
	if was.Active() && !i.State.Active() {
		list = append(list, pin(i, false))
		list = append(list, t.quiet(i)...)
	}
	if !was.Active() && i.State.Active() {
		list = append(list, pin(i, true))
	}
	return list
}

// quiet takes away what was asked and needs no answer any more.
func (t *Tracker) quiet(i *Incident) []outbox.Notice {
	list := append(i.hushAll(), i.takeBack(acceptKey(i, Commander)))
	for _, s := range []State{Assessing, Triaging, Monitoring} {
		list = append(list, i.worked(s))
	}
	return list
}

// hushAll takes the nudges of all clocks away.
func (i *Incident) hushAll() (list []outbox.Notice) {
	for n := range i.Clocks {
		list = append(list, i.hush(&i.Clocks[n])...)
	}
	return list
}

// workKey names the message that offers what is to be done in a state.
func workKey(i *Incident, s State) string { return fmt.Sprintf("work/%s/%s/%d", i.ID, s, i.Reopened) }

// worked takes away what was offered in a state.
func (i *Incident) worked(s State) outbox.Notice { return i.takeBack(workKey(i, s)) }

// work offers what is to be done in the incident's state, by buttons; ok is
// false where a sentence is enough.
func (t *Tracker) work(i *Incident) (p outbox.Prompt, ok bool) {
	p.Text = i.State.Asks()
	button := func(label, line string) {
		p.Buttons = append(p.Buttons, outbox.Item{Label: label, Command: "incident " + line})
	}
	run := func(names []string) {
		for _, name := range names {
			if t.runbook == nil {
				return
			}
			if title, can := t.runbook(name); can {
				button("Run "+title, "run "+i.Ref()+" "+name)
			}
		}
	}
	switch i.State {
	case Assessing:
		button("Assess", "assess "+i.Ref())
	case Triaging:
		run(t.rules.Triage)
		button("Move to fixing", "status "+i.Ref()+" fixing")
	case Monitoring:
		run(t.rules.Verify)
		button("Resolve", "resolve "+i.Ref())
		button("Reopen", "reopen "+i.Ref())
	}
	return p, len(p.Buttons) > 0
}

// Reopen goes back to fixing from what seemed to be over. Anybody who may act
// at all can say that it is not over.
func (t *Tracker) Reopen(ctx context.Context, act Act, why string) (*Incident, error) {
	return t.change(ctx, act, byMember, "reopen it", func(i *Incident, now time.Time, c *Change) error {
		was, stood := i.State, append(i.hushAll(), i.worked(i.State))
		e, err := i.reopen(why, t.rules, now)
		if err != nil {
			return err
		}
		c.Notices = append(c.Notices, stood...) // new clocks know nothing of it
		if _, ok := i.Holder(Commander); !ok {
			i.Roles = append(i.Roles, Role{Kind: Commander, Actor: act.Actor, Since: now, Acting: true})
			i.wind(t.rules, now)
		}
		c.Events = append(c.Events, e)
		line := outbox.Line{Text: fmt.Sprintf("%s is open again, says %s: %s", i.Ref(), name(act.Actor), e.Text), Broadcast: true}
		if r, ok := i.Holder(Commander); ok && !r.Actor.Same(act.Actor) {
			line.Users = []string{r.Actor.ID}
		}
		c.Notices = append(c.Notices, i.say(line)...)
		if !was.Active() {
			c.Notices = append(c.Notices, pin(i, true))
		}
		return nil
	})
}

// Cancel ends what was no incident.
func (t *Tracker) Cancel(ctx context.Context, act Act, why string) (*Incident, error) {
	return t.change(ctx, act, byCommander, "cancel it", func(i *Incident, now time.Time, c *Change) error {
		e, err := i.cancel(why, t.rules, now)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, e)
		c.Notices = append(c.Notices, i.say(outbox.Line{Text: fmt.Sprintf("%s is canceled by %s: %s", i.Ref(), name(act.Actor), i.Why)})...)
		c.Notices = append(c.Notices, pin(i, false))
		c.Notices = append(c.Notices, t.quiet(i)...)
		if i.Public != nil {
			return t.lastDraft(i, act.Actor, now, c)
		}
		return nil
	})
}

// Merge ends the incident in favour of the one with the number, which goes on
// and has it on its timeline.
func (t *Tracker) Merge(ctx context.Context, act Act, into int64) (*Incident, error) {
	const what = "merge it"
	act.Actor = t.named(ctx, act.Actor)
	if err := t.fit(ctx, byCommander, act.Actor); err != nil {
		return nil, t.refused(ctx, act, nil, what, err)
	}
	other, err := t.Find(ctx, into)
	if err != nil {
		return nil, t.refused(ctx, act, nil, what, err)
	}
	if other.ID == act.ID {
		return nil, t.refused(ctx, act, other, what, refuse("%s cannot be merged into itself.", other.Ref()))
	}
	var seen *Incident
	list, err := t.store.Update(ctx, []string{act.ID, other.ID}, act.Key, func(list []*Incident, now time.Time) ([]Change, error) {
		i, target := list[0], list[1]
		seen = i
		if err := i.may(byCommander, act.Actor, what); err != nil {
			return nil, err
		}
		if !target.Open(act.Actor) {
			return nil, forbid("%s is restricted to those who work on it; only one of them may merge another into it.", target.Ref())
		}
		e, err := i.merge(target, t.rules, now)
		if err != nil {
			return nil, err
		}
		gone, kept := Change{Events: []Event{e}}, Change{Events: []Event{{Kind: KindTaken, Text: i.Title, Data: map[string]string{"other": i.Ref()}}}}
		into, from := fmt.Sprintf("%s (%s)", target.Ref(), target.Title), fmt.Sprintf("%s (%s)", i.Ref(), i.Title)
		if i.Security || target.Security { // neither may say what the other is about
			into, from = target.Ref(), i.Ref()
			gone.Events[0].Text, kept.Events[0].Text = "", ""
		}
		gone.Notices = append(i.say(outbox.Line{Text: fmt.Sprintf("%s goes on in %s, says %s.", i.Ref(), into, name(act.Actor))}), pin(i, false))
		gone.Notices = append(gone.Notices, t.quiet(i)...)
		line := outbox.Line{Text: fmt.Sprintf("%s was merged into this one by %s.", from, name(act.Actor))}
		if r, ok := target.Holder(Commander); ok && !r.Actor.Same(act.Actor) {
			line.Users = []string{r.Actor.ID}
		}
		kept.Notices = target.say(line)
		if i.Public != nil {
			if err := t.lastDraft(i, act.Actor, now, &gone); err != nil {
				return nil, err
			}
		}
		t.complete(i, act, now, &gone)
		t.complete(target, act, now, &kept)
		return []Change{gone, kept}, nil
	})
	if err != nil {
		return nil, t.refused(ctx, act, seen, what, err)
	}
	return list[0], nil
}

// Rate sets the severity.
func (t *Tracker) Rate(ctx context.Context, act Act, to Severity, why string) (*Incident, error) {
	return t.change(ctx, act, byCommander, "change its severity", func(i *Incident, now time.Time, c *Change) error {
		return t.rated(i, act.Actor, to, why, now, c)
	})
}

func (t *Tracker) rated(i *Incident, by access.Actor, to Severity, why string, now time.Time, c *Change) error {
	was := i.Severity
	e, err := i.rate(to, why, t.rules, now)
	if err != nil {
		return err
	}
	c.Events = append(c.Events, e)
	line := outbox.Line{Text: fmt.Sprintf("%s: %s → %s (%s), by %s.", i.Ref(), was, to, to.Word(), name(by)), Broadcast: true}
	if e.Text != "" {
		line.Text += " " + e.Text
	}
	for _, of := range Audiences {
		if c := i.Clock(of); !c.Off() {
			line.Text += fmt.Sprintf(" %s hear every %s.", upper(string(of)), span(c.Interval))
		}
	}
	c.Notices = append(c.Notices, i.say(line)...)
	for n := range i.Clocks {
		if clock := &i.Clocks[n]; clock.Off() {
			c.Notices = append(c.Notices, i.hush(clock)...)
		}
	}
	c.Notices = append(c.Notices, t.roles(i))
	return nil
}

// An Assessment says what is known. Empty fields leave what was said before.
type Assessment struct {
	Down     string
	Affected string
	Impact   string
	Started  time.Time
	Severity Severity // "": as it is
}

// Assess puts on record what is down and for whom, and moves what was only
// declared on to triaging. Anybody who may act at all may say what they see;
// the severity is the commander's.
func (t *Tracker) Assess(ctx context.Context, act Act, a Assessment) (*Incident, error) {
	return t.change(ctx, act, byMember, "assess it", func(i *Incident, now time.Time, c *Change) error {
		if i.State.Over() {
			return refuse("%s is %s; there is nothing to assess.", i.Ref(), strings.ToLower(i.State.Word()))
		}
		data := map[string]string{}
		for _, f := range []struct {
			name, is string
			was      *string
		}{{"down", a.Down, &i.Down}, {"affected", a.Affected, &i.Affected}, {"impact", a.Impact, &i.Impact}} {
			if is := clip(strings.TrimSpace(f.is), 1000); is != "" && is != *f.was {
				data[f.name], *f.was = is, is
			}
		}
		if !a.Started.IsZero() && !a.Started.Equal(i.Started) {
			if a.Started.After(now) {
				return refuse("It cannot have begun in the future.")
			}
			data["started"], i.Started = a.Started.UTC().Format(time.RFC3339), a.Started
		}
		rate := a.Severity != "" && a.Severity != i.Severity
		if len(data) == 0 && !rate {
			return refuse("That says nothing new about %s.", i.Ref())
		}
		if len(data) > 0 {
			c.Events = append(c.Events, Event{Kind: KindAssessed, Data: data})
			c.Notices = append(c.Notices, i.say(outbox.Line{Text: "Assessed by " + name(act.Actor) + ".\n" + assessed(i)})...)
		}
		if rate {
			if err := i.may(byCommander, act.Actor, "change its severity"); err != nil {
				return err
			}
			if err := t.rated(i, act.Actor, a.Severity, "", now, c); err != nil {
				return err
			}
		}
		if (i.State == Declared || i.State == Assessing) && i.Down != "" && i.Holds(Commander, act.Actor) {
			was := i.State
			e, err := i.move(Move{To: Triaging}, t.rules, now)
			if err != nil {
				return err
			}
			c.Events = append(c.Events, e)
			c.Notices = append(c.Notices, t.moved(i, act.Actor, was, "")...)
		}
		i.wind(t.rules, now) // whether users notice decides about their clock
		return nil
	})
}

// assessed is what is known, a line for each.
func assessed(i *Incident) string {
	var lines []string
	for _, f := range [][2]string{{"Down", i.Down}, {"Users affected", i.Affected}, {"Impact", i.Impact}} {
		if f[1] != "" {
			lines = append(lines, f[0]+": "+f[1])
		}
	}
	if !i.Started.IsZero() {
		lines = append(lines, "Started: "+i.Started.UTC().Format("2006-01-02 15:04 UTC"))
	}
	return strings.Join(lines, "\n")
}

// Secure sets or takes back the security flag. Anybody may set it, in time;
// only the commander takes it back.
func (t *Tracker) Secure(ctx context.Context, act Act, on bool, why string) (*Incident, error) {
	n := byMember
	if !on {
		n = byCommander
	}
	return t.change(ctx, act, n, "change the security flag", func(i *Incident, now time.Time, c *Change) error {
		if i.Security == on {
			return refuse("The security flag of %s is like that already.", i.Ref())
		}
		// What was asked is taken back where it stands, and what stands there is
		// no place for it any more.
		c.Notices = append(c.Notices, t.quiet(i)...)
		i.Security = on
		i.wind(t.rules, now)
		e := Event{Kind: KindFlag, Text: strings.TrimSpace(why), Data: map[string]string{"to": "off"}}
		text := "The security flag of " + i.Ref() + " was taken back by " + name(act.Actor) + "."
		if on {
			e.Data["to"] = "on"
			text = "Security: nothing more about " + i.Ref() + " is said in public, and destructive steps are frozen, says " + name(act.Actor) +
				". What people wrote here themselves stays: edit or delete it if it tells too much."
		}
		c.Events = append(c.Events, e)
		c.Notices = append(c.Notices, outbox.Notice{Under: i.Key(), Content: outbox.Line{Text: text}})
		if on {
			again := i.redaction() // of what is on its way now
			again.Key += "/again"
			again.NotBefore = now.Add(redactAgain)
			c.Notices = append(c.Notices, i.redaction(), again)
			i.Room = "" // which everybody can read, as far as is known
			c.Notices = append(c.Notices, i.wantRoom(act.Actor))
			if i.Origin.Channel != "" && i.Origin.Channel != t.channel {
				c.Notices = append(c.Notices, outbox.Notice{Key: originKey(i), To: i.Origin, Content: outbox.Line{Text: i.Ref() + " is restricted."}})
			}
		} else if i.Room != "" {
			c.Notices = append(c.Notices, outbox.Notice{To: outbox.Conversation{Channel: i.Room}, Content: outbox.Line{Text: text}})
		}
		return nil
	})
}

// Note puts a sentence on the timeline; a zero time is now. If it was said in a
// message, the source says in which: the note follows it.
func (t *Tracker) Note(ctx context.Context, act Act, text string, at time.Time, source Message) (*Incident, error) {
	return t.change(ctx, act, byAnyone, "add a note", func(i *Incident, now time.Time, c *Change) error {
		text, err := tidy("The note", text, MaxText)
		if err != nil {
			return err
		}
		if at.After(now.Add(time.Minute)) {
			return refuse("%s is in the future; a note tells what has happened.", at.UTC().Format("2006-01-02 15:04 UTC"))
		}
		c.Events = append(c.Events, Event{Kind: KindNote, Text: text, Occurred: at, Source: source})
		return nil
	})
}

// AddTask puts something to do on record.
func (t *Tracker) AddTask(ctx context.Context, act Act, task Task) (*Incident, error) {
	task.Name = t.nameOf(ctx, act, task.Owner)
	return t.change(ctx, act, byMember, "add a task", func(i *Incident, now time.Time, c *Change) error {
		text, err := tidy("The task", task.Text, 500)
		if err != nil {
			return err
		}
		if len(i.Tasks) >= MaxTasks {
			return refuse("%s has %d tasks, which is the most.", i.Ref(), MaxTasks)
		}
		task.Text, task.Number, task.By, task.Done = text, len(i.Tasks)+1, act.Actor, time.Time{}
		i.Tasks = append(i.Tasks, task)
		c.Events = append(c.Events, Event{Kind: KindTask, Text: text, Data: map[string]string{"number": itoa(task.Number), "user": task.Owner, "name": task.Name, "due": task.Due}})
		line := outbox.Line{Text: fmt.Sprintf("Task %d: %s", task.Number, text)}
		if task.Due != "" {
			line.Text += " (due " + task.Due + ")"
		}
		if task.Owner != "" && task.Owner != act.Actor.ID {
			line.Users = []string{task.Owner}
		} else if task.Owner == "" {
			line.Text += " – nobody's yet"
		}
		c.Notices = append(c.Notices, i.say(line)...)
		return nil
	})
}

// AssignTask gives a task an owner and a due day; "" leaves what there is.
func (t *Tracker) AssignTask(ctx context.Context, act Act, number int, owner, due string) (*Incident, error) {
	called := t.nameOf(ctx, act, owner)
	return t.change(ctx, act, byMember, "assign a task", func(i *Incident, now time.Time, c *Change) error {
		task := i.Task(number)
		if task == nil {
			return refuse("%s has no task %d.", i.Ref(), number)
		}
		if owner != "" {
			task.Owner, task.Name = owner, called
		}
		if due != "" {
			task.Due = due
		}
		c.Events = append(c.Events, Event{Kind: KindTask, Text: task.Text, Data: map[string]string{"number": itoa(number), "user": task.Owner, "name": task.Name, "due": task.Due}})
		line := outbox.Line{Text: fmt.Sprintf("Task %d: %s", number, task.Text)}
		if task.Owner != act.Actor.ID {
			line.Users = []string{task.Owner}
		}
		c.Notices = append(c.Notices, i.say(line)...)
		return nil
	})
}

// FinishTask says that a task is done.
func (t *Tracker) FinishTask(ctx context.Context, act Act, number int) (*Incident, error) {
	return t.change(ctx, act, byMember, "finish a task", func(i *Incident, now time.Time, c *Change) error {
		task := i.Task(number)
		switch {
		case task == nil:
			return refuse("%s has no task %d.", i.Ref(), number)
		case !task.Done.IsZero():
			return refuse("Task %d is done already.", number)
		}
		task.Done = now
		if task.Owner == "" {
			task.Owner, task.Name = act.Actor.ID, name(act.Actor)
		}
		c.Events = append(c.Events, Event{Kind: KindDone, Text: task.Text, Data: map[string]string{"number": itoa(number)}})
		c.Notices = append(c.Notices, i.say(outbox.Line{Text: fmt.Sprintf("✓ Task %d is done, says %s: %s", number, name(act.Actor), task.Text)})...)
		return nil
	})
}

// span says a length of time as people do.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d%time.Hour < time.Minute:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
