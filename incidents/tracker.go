package incidents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// Options are what a Tracker works with. Store and People are required.
type Options struct {
	Store   Store
	Rules   Rules
	People  access.Directory
	Policy  access.Policy
	Channel string       // where headlines stand, by id or as "#name"; "": the ops channel
	Log     *slog.Logger // nil: nothing is logged
	// Runbook is the title of the runbook with the name; ok is false if there is
	// none, or nothing that it could run on. nil: there are no runbooks.
	Runbook func(name string) (title string, ok bool)
}

// A Tracker does what people ask of incidents, and what clocks do by
// themselves. It is safe for concurrent use, also over many processes with one
// store. Its refusals are *Refusal or other errors that can be said as a
// *fault.Error; all of them are audited.
type Tracker struct {
	store   Store
	rules   Rules
	people  access.Directory
	policy  access.Policy
	channel string
	log     *slog.Logger
	runbook func(name string) (title string, ok bool)
}

// New returns a Tracker; call Serve to let clocks ring.
func New(o Options) *Tracker {
	t := &Tracker{store: o.Store, rules: o.Rules, people: o.People, policy: o.Policy, channel: o.Channel, log: o.Log, runbook: o.Runbook}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	return t
}

// Rules are what the tracker goes by.
func (t *Tracker) Rules() Rules { return t.rules }

// An Act says who asks for what about which incident.
type Act struct {
	ID    string // of the incident
	Actor access.Actor
	Key   string // of the request: done once, however often it comes; "": none
}

// opsbot is the actor of what happens by itself.
var opsbot = access.Actor{Kind: access.System, ID: "opsbot", Name: "opsbot"}

// A need is the right that an act asks for.
type need int

const (
	byAnyone    need = iota // any person
	byMember                // a full member of the workspace
	byCommander             // who has command, or acts in it
	byCommand               // the commander or the communications lead
)

// fit checks what needs a look at the workspace, before any transaction.
func (t *Tracker) fit(ctx context.Context, n need, a access.Actor) error {
	if n != byAnyone {
		return t.policy.Fit(ctx, t.people, a)
	}
	if a.Kind != access.Person || a.ID == "" {
		return forbid("Only people may do this.")
	}
	s, err := t.people.Standing(ctx, a.ID)
	switch {
	case err != nil:
		return err
	case s.Deactivated, s.Bot:
		return forbid("This account may not take part: it is a bot's, or deactivated.")
	}
	return nil
}

// may checks what the incident says about the actor.
func (i *Incident) may(n need, a access.Actor, what string) error {
	commands, tells := i.Holds(Commander, a), i.Holds(Comms, a)
	switch {
	case n == byCommander && !commands:
		return forbid("Only the commander may %s.", what).lack(i.inCommand(), "lead "+i.Ref()+" me", "Take command")
	case n == byCommand && !commands && !tells:
		return forbid("Only the commander or the communications lead may %s.", what).
			lack(i.inCommand(), "comms "+i.Ref()+" me", "Take communications")
	}
	return nil
}

func (i *Incident) inCommand() string {
	r, ok := i.Holder(Commander)
	switch {
	case !ok:
		return "Nobody has command of " + i.Ref() + "."
	case r.Acting:
		return "Until somebody accepts, that is " + name(r.Actor) + "."
	}
	return "That is " + name(r.Actor) + "."
}

// A namer is a directory that knows people's names, too.
type namer interface {
	Name(ctx context.Context, user string) string
}

// named completes an actor whose name nobody said.
func (t *Tracker) named(ctx context.Context, a access.Actor) access.Actor {
	if n, ok := t.people.(namer); ok && a.Name == "" && a.Kind == access.Person {
		a.Name = n.Name(ctx, a.ID)
	}
	return a
}

// nameOf is the name of a user of the actor's workspace; "" if it is not known.
func (t *Tracker) nameOf(ctx context.Context, by Act, user string) string {
	switch user {
	case "":
		return ""
	case by.Actor.ID:
		return by.Actor.Name
	}
	return t.named(ctx, access.Actor{Kind: access.Person, ID: user}).Name
}

// change does one act on one incident: fn changes it and adds to the change,
// which the headline is part of.
func (t *Tracker) change(ctx context.Context, act Act, n need, what string, fn func(i *Incident, now time.Time, c *Change) error) (*Incident, error) {
	if err := t.fit(ctx, n, act.Actor); err != nil {
		return nil, t.refused(ctx, act, nil, what, err)
	}
	act.Actor = t.named(ctx, act.Actor)
	var seen *Incident
	list, err := t.store.Update(ctx, []string{act.ID}, act.Key, func(list []*Incident, now time.Time) ([]Change, error) {
		i := list[0]
		seen = i
		if err := i.may(n, act.Actor, what); err != nil {
			return nil, err
		}
		var c Change
		if err := fn(i, now, &c); err != nil {
			return nil, err
		}
		t.complete(i, act, now, &c)
		return []Change{c}, nil
	})
	if err != nil {
		return nil, t.refused(ctx, act, seen, what, err)
	}
	return list[0], nil
}

// complete stamps what a change adds, and adds headline and audit.
func (t *Tracker) complete(i *Incident, act Act, now time.Time, c *Change) {
	for n := range c.Events {
		e := &c.Events[n]
		i.Events++
		e.Seq, e.Recorded = i.Events, now
		if e.Actor.ID == "" {
			e.Actor = act.Actor
		}
		if e.Occurred.IsZero() {
			e.Occurred = now
		}
		e.Key = act.Key
		if act.Actor.Kind == access.Person {
			c.Audit = append(c.Audit, AuditEntry{Actor: act.Actor, Act: "incident " + string(e.Kind), Outcome: "done", Detail: i.Ref() + ": " + e.brief()})
		}
	}
	for n := range c.Notices {
		c.Notices[n].To.Stay = i.Security
	}
	c.Notices = append([]outbox.Notice{t.headline(i, now)}, c.Notices...)
}

// brief is an event in a few words, for the audit log.
func (e Event) brief() string {
	parts := []string{}
	for _, k := range []string{"from", "to", "role", "user", "audience", "into", "other", "number", "which"} {
		if v := e.Data[k]; v != "" {
			parts = append(parts, k+"="+v)
		}
	}
	s := strings.Join(parts, " ")
	if e.Text != "" {
		s = strings.TrimSpace(s + " " + clip(strings.Join(strings.Fields(e.Text), " "), 200))
	}
	return s
}

// refused puts a refusal on record and returns it.
func (t *Tracker) refused(ctx context.Context, act Act, i *Incident, what string, err error) error {
	if errors.Is(err, ErrNone) {
		return fault.New(fault.NotFound, "There is no such incident.").Because(err)
	}
	if kind := fault.KindOf(err); kind == fault.Internal || kind == fault.Unavailable {
		return fmt.Errorf("%s: %w", what, err)
	}
	detail := fault.Say(err)
	if i != nil {
		detail = i.Ref() + ": " + detail
	}
	if e := t.store.Record(ctx, AuditEntry{Actor: act.Actor, Act: "refuse", Outcome: "incident: " + what, Detail: detail}); e != nil {
		t.log.Error("put a refusal on record", "error", e)
	}
	return err
}

// Refused puts on record what was refused about an incident outside of the
// tracker, and returns it.
func (t *Tracker) Refused(ctx context.Context, act Act, i *Incident, what string, err error) error {
	return t.refused(ctx, act, i, what, err)
}

// Admit refuses whoever does not work on a restricted incident.
func (t *Tracker) Admit(ctx context.Context, act Act, i *Incident, what string) error {
	if i.Open(act.Actor) {
		return nil
	}
	return t.refused(ctx, act, i, what, forbid("%s is restricted to those who work on it. Any of them can let you in: add @you.", i.Ref()))
}

// A Declaration is a new incident.
type Declaration struct {
	Actor    access.Actor
	Key      string
	Title    string
	Severity Severity // "": SEV?
	Drill    bool
	Where    outbox.Conversation // where it was declared
	Said     string              // the message that it was declared from; "": none
	By       string              // who wrote that message; user id
	Run      string              // the run that it was declared from, as people call it; "": none
	Alert    string              // name of the alert that it was declared from; "": none
	Started  time.Time           // zero: not known
	Detected time.Time           // zero: just now
}

// Declare opens an incident. Anybody may, who is no bot.
func (t *Tracker) Declare(ctx context.Context, d Declaration) (*Incident, error) {
	d.Actor = t.named(ctx, d.Actor)
	act := Act{Actor: d.Actor, Key: d.Key}
	title, err := tidy("The title", strings.Join(strings.Fields(d.Title), " "), MaxTitle)
	if err == nil {
		err = t.fit(ctx, byAnyone, d.Actor)
	}
	if err != nil {
		return nil, t.refused(ctx, act, nil, "declare", err)
	}
	var author access.Actor
	if d.By != "" {
		author = t.named(ctx, access.Actor{Kind: access.Person, Team: d.Actor.Team, ID: d.By, Via: "slack"})
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an incident's id: %w", err)
	}
	if d.Severity == "" {
		d.Severity = Unassessed
	}
	i := &Incident{
		ID: id.String(), Title: title, State: Declared, Severity: d.Severity, Drill: d.Drill,
		Declarer: d.Actor, Origin: d.Where, RequestKey: d.Key, Started: d.Started, Detected: d.Detected,
	}
	return t.store.Create(ctx, i, func(i *Incident, now time.Time) (Change, error) {
		i.Since, i.Declared = now, now
		if i.Detected.IsZero() || i.Detected.After(now) {
			i.Detected = now
		}
		if i.Started.After(now) {
			i.Started = now // somebody's clock is ahead
		}
		i.Roles = []Role{{Kind: Commander, Actor: d.Actor, Since: now, Acting: true}}
		i.Clocks = nil
		i.wind(t.rules, now)
		e := Event{Kind: KindDeclared, Text: title, Data: map[string]string{"severity": string(i.Severity)}}
		if d.Run != "" {
			e.Data["run"] = d.Run
		}
		if d.Alert != "" {
			e.Data["alert"] = d.Alert
		}
		c := Change{Events: []Event{e}}
		if d.Said != "" {
			c.Events = append(c.Events, Event{Kind: KindMessage, Text: clip(d.Said, MaxText), Actor: author,
				Source: Message{Channel: d.Where.Channel, TS: d.Where.Thread}})
		}
		c.Notices = append(c.Notices, pin(i, true), t.roles(i))
		if w := d.Where; w.Channel != "" && w.Channel != t.channel {
			c.Notices = append(c.Notices, outbox.Notice{Key: originKey(i), To: w, Content: outbox.Line{
				Text: fmt.Sprintf("%s was declared: %s. It is worked on in %s.", i.Ref(), i.Title, t.place()),
			}})
		}
		t.complete(i, act, now, &c)
		return c, nil
	})
}

// originKey names what is said where an incident was declared.
func originKey(i *Incident) string { return "origin/" + i.ID }

// Find returns the incident that people call INC-7, or a *fault.Error of kind
// NotFound.
func (t *Tracker) Find(ctx context.Context, number int64) (*Incident, error) {
	i, err := t.store.Find(ctx, number)
	if errors.Is(err, ErrNone) {
		return nil, fault.New(fault.NotFound, "There is no incident INC-%d.", number).Because(err)
	}
	return i, err
}

// At returns the incident whose room the conversation is, or ErrNone.
func (t *Tracker) At(ctx context.Context, where outbox.Conversation) (*Incident, error) {
	return t.store.At(ctx, where)
}

// Room is the conversation in which the incident is worked on; empty as long as
// its headline is not posted. A restricted incident without a private channel
// has none: the *Refusal says so.
func (t *Tracker) Room(ctx context.Context, i *Incident) (outbox.Conversation, error) {
	if i.Room != "" {
		return outbox.Conversation{Channel: i.Room, Stay: i.Security}, nil
	}
	if i.Security {
		return outbox.Conversation{}, refuse("%s is restricted, and has no private channel yet: in its thread everybody would read it.", i.Ref()).
			lack("", "channel "+i.Ref(), "Make the channel")
	}
	return t.Thread(ctx, i)
}

// RoomOf is the room of the incident with the id, or ErrNone.
func (t *Tracker) RoomOf(ctx context.Context, id string) (outbox.Conversation, error) {
	i, err := t.store.Load(ctx, id)
	if err != nil {
		return outbox.Conversation{}, err
	}
	return t.Room(ctx, i)
}

// Thread is the headline's thread; empty as long as that is not posted.
func (t *Tracker) Thread(ctx context.Context, i *Incident) (outbox.Conversation, error) {
	return t.store.Place(ctx, i.Key())
}

// List returns incidents, newest first.
func (t *Tracker) List(ctx context.Context, q Query) ([]*Incident, error) {
	return t.store.List(ctx, q)
}

// Events returns an incident's timeline in the order of recording.
func (t *Tracker) Events(ctx context.Context, id string) ([]Event, error) {
	return t.store.Events(ctx, id)
}

// Updates returns an incident's updates in the order of writing.
func (t *Tracker) Updates(ctx context.Context, id string) ([]Update, error) {
	return t.store.Updates(ctx, id)
}

func name(a access.Actor) string {
	if a.Name != "" {
		return a.Name
	}
	return a.ID
}

// clip cuts a text to so many characters.
func clip(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}
