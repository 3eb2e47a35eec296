package incidents_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/incidents"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
)

// people is a workspace of ann, ben and cleo on call, and eve, who is a guest;
// rob is a bot.
type people struct {
	away   atomic.Bool  // it does not answer
	missed atomic.Int32 // how often it did not
}

func (p *people) Members(_ context.Context, group string) ([]string, error) {
	if p.away.Load() {
		p.missed.Add(1)
		return nil, fault.New(fault.Unavailable, "Slack does not answer.")
	}
	if group == "oncall" {
		return []string{"UANN", "UBEN", "UCLEO"}, nil
	}
	return nil, fault.New(fault.NotFound, "no group %s", group)
}

func (*people) Standing(_ context.Context, user string) (access.Standing, error) {
	return access.Standing{Guest: user == "UEVE", Bot: user == "UROB"}, nil
}

func person(name string) access.Actor {
	return access.Actor{Kind: access.Person, Team: "T1", ID: "U" + strings.ToUpper(name), Name: name, Via: "slack"}
}

// A desk is a tracker with short clocks, on a database of its own.
type desk struct {
	*incidents.Tracker
	t  *testing.T
	s  *store.Store
	id string // of the incident that the acts are about
	// people are who is in the workspace.
	people *people
}

func open(t *testing.T, s *store.Store, change func(*incidents.Rules)) *desk {
	t.Helper()
	rules := incidents.DefaultRules()
	rules.OnCall = []string{"oncall"}
	if change != nil {
		change(&rules)
	}
	who := new(people)
	return &desk{t: t, s: s, people: who, Tracker: incidents.New(incidents.Options{
		Store: s.Incidents(), Rules: rules, People: who, Channel: "#incident-response",
		Policy: access.Policy{Groups: map[string]access.Group{"oncall": {Usergroup: "oncall"}}},
	})}
}

func (d *desk) declare(who, title string) *incidents.Incident {
	d.t.Helper()
	i, err := d.Declare(d.t.Context(), incidents.Declaration{Actor: person(who), Title: title})
	if err != nil {
		d.t.Fatal(err)
	}
	d.id = i.ID
	return i
}

func (d *desk) by(who string) incidents.Act { return incidents.Act{ID: d.id, Actor: person(who)} }

// must says that an act worked.
func (d *desk) must(i *incidents.Incident, err error) *incidents.Incident {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
	return i
}

// refused says that an act did not, for the reason.
func (d *desk) refused(want string, _ *incidents.Incident, err error) {
	d.t.Helper()
	var said *fault.Error
	if !errors.As(err, &said) || !strings.Contains(fault.Say(err), want) {
		d.t.Errorf("got %v, want a refusal with %q", err, want)
	}
}

// kinds are the events on record, in their order.
func (d *desk) kinds() (list []string) {
	d.t.Helper()
	events, err := d.Events(d.t.Context(), d.id)
	if err != nil {
		d.t.Fatal(err)
	}
	for n, e := range events {
		if e.Seq != int64(n+1) || e.Recorded.IsZero() || e.Occurred.IsZero() || e.Actor.ID == "" {
			d.t.Errorf("event %d is %+v", n+1, e)
		}
		list = append(list, string(e.Kind))
	}
	return list
}

// said are the summaries of what waits in the outbox under the key's prefix.
func (d *desk) said(match string) (list []string) {
	d.t.Helper()
	for {
		due, err := d.s.Outbox().Due(d.t.Context(), "test", 100)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(due) == 0 {
			return list
		}
		for _, n := range due {
			if s := n.Notice.Content.ContentKind() + " " + n.Notice.Content.Summary(); strings.Contains(s, match) {
				list = append(list, s)
			}
			if err := d.s.Outbox().Sent(d.t.Context(), n, "C1", fmt.Sprintf("1.%06d", n.ID)); err != nil {
				d.t.Fatal(err)
			}
		}
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		i := d.declare("ann", "API down")
		if i.Ref() != "INC-1" || i.State != incidents.Declared || i.Severity != incidents.Unassessed {
			t.Fatalf("declared %+v", i)
		}
		if r, ok := i.Holder(incidents.Commander); !ok || !r.Acting || r.Actor.ID != "UANN" || !i.Acknowledged.IsZero() {
			t.Errorf("the declarer is %+v", r)
		}
		i = d.must(d.Take(t.Context(), d.by("ann"), incidents.Commander))
		if i.Acknowledged.IsZero() || !i.Clock(incidents.ForCommander).Off() || i.Clock(incidents.ForComms).Off() {
			t.Errorf("after accepting: %+v", i.Clocks)
		}
		i = d.must(d.Assess(t.Context(), d.by("ann"), incidents.Assessment{Down: "the API", Affected: "everybody", Impact: "no orders", Severity: incidents.Sev1}))
		if i.State != incidents.Triaging || i.Severity != incidents.Sev1 {
			t.Errorf("after the assessment: %s %s", i.State, i.Severity)
		}
		// Forward by any number of steps; skipped times stay empty.
		d.must(d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Fixing}))
		d.refused("does not go back", nil, func() error {
			_, err := d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Assessing})
			return err
		}())
		_, err := d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Resolved})
		d.refused("A summary", nil, err)
		_, err = d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Closed})
		var r *incidents.Refusal
		if !errors.As(err, &r) || len(r.Missing) != 2 || r.Missing[0].Fix != "resolve INC-1" || r.Missing[1].Fix != "postmortem INC-1" {
			t.Errorf("an early close lacks %+v", r)
		}
		i = d.must(d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Resolved, Summary: "rolled back"}))
		if i.Mitigated != (time.Time{}) || i.Resolved.IsZero() || i.Summary != "rolled back" || len(i.Drafts) != 0 {
			t.Errorf("resolved: %+v", i)
		}
		for _, c := range i.Clocks {
			if on := !c.Off() || !c.Wake.IsZero(); on != (c.Of == incidents.ForDraft) {
				t.Errorf("the clock %s runs: %v", c.Of, on)
			}
		}
		i = d.must(d.Reopen(t.Context(), d.by("ben"), "it is back"))
		if i.State != incidents.Fixing || i.Reopened != 1 || !i.Resolved.IsZero() || i.Clock(incidents.ForTeams).Off() {
			t.Errorf("reopened: %+v", i)
		}
		d.must(d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Resolved, Summary: "rolled back for good"}))
		d.must(d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Postmortem}))
		d.must(d.AddTask(t.Context(), d.by("ben"), incidents.Task{Text: "add an alert"}))
		_, err = d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Closed})
		d.refused("An owner for task 1", nil, err)
		d.refused("A decision on the update to the users", nil, err)
		i = d.must(d.Find(t.Context(), 1))
		for _, draft := range i.Drafts {
			d.must(d.Decide(t.Context(), d.by("ann"), draft.ID, false, "", "they were told by phone"))
		}
		if i = d.must(d.Find(t.Context(), 1)); len(i.Drafts) != 0 || !i.Clock(incidents.ForDraft).Off() {
			t.Errorf("after the decisions: %+v", i.Drafts)
		}
		d.must(d.AssignTask(t.Context(), d.by("ann"), 1, "UBEN", "2026-12-01"))
		i = d.must(d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Closed}))
		if !i.State.Over() || i.Ended.IsZero() {
			t.Errorf("closed: %+v", i)
		}
		want := "declared role assessed severity state state state update draft reopened state update draft state task rejected rejected task state"
		if got := strings.Join(d.kinds(), " "); got != want {
			t.Errorf("the timeline has\n%s\nwant\n%s", got, want)
		}
		d.audited()
	})
}

// audited checks the chain, and that there is something in it.
func (d *desk) audited() {
	d.t.Helper()
	if n, _, err := d.s.Audit().Verify(d.t.Context()); err != nil || n == 0 {
		d.t.Errorf("the audit log has %d entries: %v", n, err)
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	d := open(t, storetest.OpenURL(t, storetest.SQLite(t)), nil)
	d.declare("ann", "API down")
	ctx := t.Context()
	for want, act := range map[string]func() error{
		"Only the commander may change its status": func() error {
			_, err := d.Move(ctx, d.by("ben"), incidents.Move{To: incidents.Fixing})
			return err
		},
		"may change its severity": func() error { _, err := d.Rate(ctx, d.by("ben"), incidents.Sev3, ""); return err },
		"may cancel it":           func() error { _, err := d.Cancel(ctx, d.by("ben"), "no"); return err },
		"Only the commander or the communications lead may post updates": func() error {
			_, err := d.Post(ctx, d.by("ben"), incidents.Telling{Audiences: []incidents.Alarm{incidents.ForTeams}, Text: "x"})
			return err
		},
		"You are not in oncall": func() error { _, err := d.Take(ctx, d.by("dan"), incidents.Commander); return err },
		"Guests may not":        func() error { _, err := d.Assess(ctx, d.by("eve"), incidents.Assessment{Down: "x"}); return err },
		"This account may not": func() error {
			_, err := d.Declare(ctx, incidents.Declaration{Actor: person("rob"), Title: "x"})
			return err
		},
		"The title is empty": func() error {
			_, err := d.Declare(ctx, incidents.Declaration{Actor: person("ann"), Title: " "})
			return err
		},
		"is in the future": func() error {
			_, err := d.Note(ctx, d.by("eve"), "soon", time.Now().Add(time.Hour), incidents.Message{})
			return err
		},
		"You have no role": func() error { _, err := d.Leave(ctx, d.by("ben")); return err },
		"cannot take it":   func() error { _, err := d.Offer(ctx, d.by("ann"), incidents.Commander, person("eve")); return err },
	} {
		d.refused(want, nil, act())
	}
	// Notes are for everybody, guests too.
	d.must(d.Note(ctx, d.by("eve"), "I saw errors", time.Time{}, incidents.Message{}))
	rows, err := s1(d)
	if err != nil || rows != 11 {
		t.Errorf("%d refusals are audited, want 11: %v", rows, err)
	}
}

// s1 counts the refusals in the audit log.
func s1(d *desk) (n int, err error) {
	rows, err := d.s.Audit().List(d.t.Context(), 0, 1000)
	for _, r := range rows {
		if r.Act == "refuse" {
			n++
		}
	}
	return n, err
}

func TestHandover(t *testing.T) {
	t.Parallel()
	d := open(t, storetest.OpenURL(t, storetest.SQLite(t)), nil)
	d.declare("ann", "API down")
	ctx := t.Context()
	d.must(d.Take(ctx, d.by("ann"), incidents.Commander))
	i := d.must(d.Offer(ctx, d.by("ann"), incidents.Commander, person("dan")))
	if r, _ := i.Holder(incidents.Commander); r.Actor.ID != "UANN" {
		t.Errorf("before the handover is accepted, %s commands", r.Actor.ID)
	}
	// Who was asked may accept without being on call; the former one is told.
	i = d.must(d.Take(ctx, d.by("dan"), incidents.Commander))
	if r, _ := i.Holder(incidents.Commander); r.Actor.ID != "UDAN" || r.Acting {
		t.Errorf("after it, %+v commands", r)
	}
	if got := d.said("took over"); len(got) != 1 {
		t.Errorf("the former commander was told %q", got)
	}
	// Somebody on call takes command without being asked.
	d.must(d.Take(ctx, d.by("ben"), incidents.Commander))
	d.must(d.Take(ctx, d.by("cleo"), incidents.Comms))
	i = d.must(d.Leave(ctx, d.by("ben")))
	if _, ok := i.Holder(incidents.Commander); ok || i.Clock(incidents.ForCommander).Off() {
		t.Errorf("after the commander left: %+v", i)
	}
}

// Two people press at once, and each press arrives twice.
func TestRacesOfTwo(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		d.declare("ann", "API down")
		var worked, refused atomic.Int64
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				act := d.by("ann")
				act.Key = fmt.Sprintf("click-%d", n/2)
				_, err := d.Move(t.Context(), act, incidents.Move{To: incidents.Fixing})
				switch {
				case err == nil:
					worked.Add(1)
				case fault.KindOf(err) == fault.Conflict:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// One click does it, its second delivery finds it done; the others are late.
		if worked.Load() != 2 || refused.Load() != 6 {
			t.Errorf("%d worked, %d were refused", worked.Load(), refused.Load())
		}
		if got := strings.Join(d.kinds(), " "); got != "declared state" {
			t.Errorf("on the timeline: %s", got)
		}
	})
}

func TestDeclareTwice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		var ids sync.Map
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				i, err := d.Declare(t.Context(), incidents.Declaration{Actor: person("ann"), Key: "slash:1", Title: "API down"})
				if err != nil {
					t.Error(err)
					return
				}
				ids.Store(i.ID, true)
			})
		}
		wg.Wait()
		n := 0
		ids.Range(func(any, any) bool { n++; return true })
		list, err := d.List(t.Context(), incidents.Query{Active: true})
		if n != 1 || len(list) != 1 || list[0].Number != 1 || err != nil {
			t.Errorf("%d incidents, listed %d, %v", n, len(list), err)
		}
	})
}

// Merging three ends three, and the one that goes on knows of all.
func TestMergeThree(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		target := d.declare("ann", "The database is slow")
		for _, title := range []string{"API down", "Jobs are late", "Logins fail"} {
			d.declare("ann", title)
			i := d.must(d.Merge(t.Context(), d.by("ann"), target.Number))
			if i.State != incidents.Merged || i.Into != 1 || i.Ended.IsZero() {
				t.Errorf("merged: %+v", i)
			}
			_, err := d.Merge(t.Context(), d.by("ann"), target.Number)
			d.refused("only what is going on", nil, err)
		}
		d.id = target.ID
		if got := strings.Join(d.kinds(), " "); got != "declared taken taken taken" {
			t.Errorf("on the timeline: %s", got)
		}
		_, err := d.Merge(t.Context(), d.by("ann"), target.Number)
		d.refused("into itself", nil, err)
		_, err = d.Merge(t.Context(), d.by("ann"), 2)
		d.refused("INC-2 is merged", nil, err)
	})
}

// Neither of two says what the other is about if that may not be said, and who
// does not work on a restricted one merges nothing into it.
func TestMergeRestricted(t *testing.T) {
	t.Parallel()
	d := open(t, storetest.OpenURL(t, storetest.SQLite(t)), nil)
	secret := d.declare("ann", "Customers leaked")
	d.must(d.Secure(t.Context(), d.by("ann"), true, ""))
	if err := d.RoomOpened(t.Context(), outbox.Room{Incident: secret.ID, Private: true}, "G1", ""); err != nil {
		t.Fatal(err)
	}
	d.declare("ben", "API down")
	_, err := d.Merge(t.Context(), d.by("ben"), secret.Number)
	d.refused("INC-1 is restricted to those who work on it", nil, err)
	d.declare("ann", "Jobs are late")
	d.said("") // what was said before
	d.must(d.Merge(t.Context(), d.by("ann"), secret.Number))
	for _, line := range d.said("line ") {
		if strings.Contains(line, "leaked") || strings.Contains(line, "late") {
			t.Errorf("it is said: %s", line)
		}
	}
	events, err := d.Events(t.Context(), d.id)
	if last := events[len(events)-1]; err != nil || last.Kind != incidents.KindMerged || last.Text != "" {
		t.Errorf("the record ends with %+v, %v", last, err)
	}
}

// Reopening takes the question of a clock away that stood from before.
func TestReopenHushes(t *testing.T) {
	t.Parallel()
	d := open(t, storetest.OpenURL(t, storetest.SQLite(t)), func(r *incidents.Rules) {
		terms := r.Terms[incidents.Sev1]
		terms.Teams = time.Millisecond
		r.Terms[incidents.Sev1] = terms
	})
	d.declare("ann", "API down")
	d.must(d.Move(t.Context(), d.by("ann"), incidents.Move{To: incidents.Monitoring}))
	d.said("")
	deadline := time.Now().Add(time.Minute)
	for len(d.said("An update to the teams")) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no update comes due")
		}
		if err := d.Ring(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.must(d.Reopen(t.Context(), d.by("ann"), "it is back"))
	if got := d.said("removed"); len(got) != 2 { // and what is to be done while monitoring
		t.Errorf("taken back: %q", got)
	}
}

// Those who are to be called to a restricted incident are called once Slack says
// who they are, and not only an hour later.
func TestCalledInAgain(t *testing.T) {
	t.Parallel()
	d := open(t, storetest.OpenURL(t, storetest.SQLite(t)), func(r *incidents.Rules) { r.RoleNag = time.Millisecond })
	d.declare("ann", "API down")
	d.must(d.Secure(t.Context(), d.by("ann"), true, "a leak"))
	d.said("")
	ring := func(what string, done func() bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for !done() {
			if time.Now().After(deadline) {
				t.Fatal("in vain: " + what)
			}
			if err := d.Ring(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.people.away.Store(true)
	ring("Slack is asked who is on call", func() bool { return d.people.missed.Load() > 0 })
	if got := d.said("Whoever accepts is let in"); len(got) != 0 {
		t.Errorf("called: %q", got)
	}
	d.people.away.Store(false)
	var called []string
	ring("both others are called", func() bool {
		called = append(called, d.said("Whoever accepts is let in")...)
		return len(called) >= 2
	})
}

// A channel is offered once, when more than eight people work on it, however
// many roles each of them has.
func TestManyPeople(t *testing.T) {
	t.Parallel()
	d := open(t, storetest.OpenURL(t, storetest.SQLite(t)), nil)
	d.declare("ann", "API down")
	ctx := t.Context()
	d.must(d.Take(ctx, d.by("ann"), incidents.Comms))
	for n := range 7 {
		d.must(d.Add(ctx, d.by("ann"), incidents.Responder, person(fmt.Sprintf("p%d", n)), ""))
		d.must(d.Add(ctx, d.by("ann"), incidents.Observer, person(fmt.Sprintf("p%d", n)), ""))
	}
	const offer = "a channel of its own?"
	if got := d.said(offer); len(got) != 0 {
		t.Errorf("for eight people: %q", got)
	}
	d.must(d.Take(ctx, d.by("ben"), incidents.Comms)) // ann keeps command
	if got := d.said("9 people work on INC-1. Give INC-1 " + offer); len(got) != 1 {
		t.Errorf("for nine: %q", got)
	}
	d.must(d.Add(ctx, d.by("ann"), incidents.Responder, person("kim"), ""))
	if got := d.said(offer); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		i := d.declare("ann", "API down")
		ctx := t.Context()
		due := i.Clock(incidents.ForUsers).Due
		i = d.must(d.Post(ctx, d.by("ann"), incidents.Telling{Audiences: []incidents.Alarm{incidents.ForTeams}, Text: "looking", Next: 20 * time.Minute}))
		if c := i.Clock(incidents.ForTeams); c.Interval != 20*time.Minute {
			t.Errorf("the teams' clock: %+v", c)
		}
		if !i.Clock(incidents.ForUsers).Due.Equal(due) {
			t.Error("an update to the teams satisfied the users")
		}
		// With a lead, what the commander writes for users waits for the lead.
		d.must(d.Take(ctx, d.by("cleo"), incidents.Comms))
		i = d.must(d.Post(ctx, d.by("ann"), incidents.Telling{Audiences: []incidents.Alarm{incidents.ForUsers}, Text: "we are on it"}))
		if len(i.Drafts) != 0 { // as it was before the commit
			t.Errorf("drafts: %+v", i.Drafts)
		}
		i = d.must(d.Find(ctx, 1))
		if len(i.Drafts) != 1 || !i.Clock(incidents.ForUsers).Due.Equal(due) {
			t.Fatalf("a draft counts as told: %+v", i)
		}
		draft := i.Drafts[0].ID
		_, err := d.Decide(ctx, d.by("ann"), draft, true, "", "")
		d.refused("Only the communications lead may publish", nil, err)
		i = d.must(d.Decide(ctx, d.by("cleo"), draft, true, "We are working on it.", ""))
		if i.Last == nil || i.Last.Text != "We are working on it." || i.Clock(incidents.ForUsers).Due.Equal(due) {
			t.Errorf("after the approval: %+v", i)
		}
		_, err = d.Decide(ctx, d.by("cleo"), draft, false, "", "")
		d.refused("decided on already", nil, err)
		list, err := d.Updates(ctx, d.id)
		if err != nil || len(list) != 2 || list[1].State != incidents.Approved || list[1].Decider.ID != "UCLEO" || list[1].By.ID != "UANN" || list[1].Number != 2 {
			t.Errorf("updates: %+v, %v", list, err)
		}
		// Nothing is published of what is restricted.
		d.must(d.Secure(ctx, d.by("ben"), true, "break-in"))
		_, err = d.Post(ctx, d.by("cleo"), incidents.Telling{Audiences: []incidents.Alarm{incidents.ForUsers}, Text: "x"})
		d.refused("restricted", nil, err)
	})
}

// Times are put right with a trace, in an order that can have been.
func TestCorrectTimes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		d.declare("ann", "API down")
		ctx := t.Context()
		now := time.Now().Truncate(time.Minute)
		d.must(d.Take(ctx, d.by("ann"), incidents.Commander))
		i := d.must(d.Correct(ctx, d.by("ben"), "started", now.Add(-time.Hour), ""))
		if !i.Started.Equal(now.Add(-time.Hour)) {
			t.Errorf("it started at %s", i.Started)
		}
		refuse := func(want, who, which string, at time.Time) {
			t.Helper()
			i, err := d.Correct(ctx, d.by(who), which, at, "")
			d.refused(want, i, err)
		}
		refuse("is not resolved", "ann", "resolved", now)
		i, err := d.Summarize(ctx, d.by("ann"), "It was the cache.")
		d.refused("is not resolved", i, err)
		d.must(d.Move(ctx, d.by("ann"), incidents.Move{To: incidents.Resolved, Summary: "It was the index."}))
		refuse("Only the commander may correct its times", "ben", "declared", now.Add(-10*time.Minute))
		refuse("INC-1 cannot be detected at", "ben", "detected", now.Add(-2*time.Hour))
		refuse("in the future", "ann", "resolved", now.Add(time.Hour))
		refuse("INC-1 cannot be resolved at", "ann", "resolved", now.Add(-time.Minute))
		d.must(d.Correct(ctx, d.by("ann"), "detected", now.Add(-40*time.Minute), ""))
		d.must(d.Correct(ctx, d.by("ann"), "declared", now.Add(-30*time.Minute), "it was told by phone"))
		d.must(d.Correct(ctx, d.by("ann"), "acknowledged", now.Add(-20*time.Minute), ""))
		i = d.must(d.Correct(ctx, d.by("ann"), "resolved", now.Add(-10*time.Minute), ""))
		if !i.Resolved.Equal(now.Add(-10 * time.Minute)) {
			t.Errorf("it was resolved at %s", i.Resolved)
		}
		i = d.must(d.Summarize(ctx, d.by("ann"), "It was the cache."))
		events, err := d.Events(ctx, d.id)
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, e := range incidents.Read(events) {
			said += e.Say() + "\n"
		}
		for _, want := range []string{"ann corrected declared: " + now.Add(-30*time.Minute).UTC().Format("2006-01-02 15:04 UTC") + " instead of ", "it was told by phone", "ann corrected the summary: \"It was the cache.\" instead of \"It was the index.\"."} {
			if !strings.Contains(said, want) || i.Summary != "It was the cache." {
				t.Errorf("the timeline lacks %q:\n%s", want, said)
			}
		}
	})
}

// Clocks ring once over any number of replicas, by themselves get louder, leave
// half an interval between two rings however late they are, and go on.
func TestClocksRingOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, func(r *incidents.Rules) {
			r.Terms[incidents.Sev1] = incidents.Terms{Teams: 300 * time.Millisecond}
			r.Budgets, r.RoleNag = nil, time.Hour
		})
		d.declare("ann", "API down")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := d.Ring(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			})
		}
		deadline := time.After(60 * time.Second)
		for slices.Index(d.kinds(), "nudge") < 0 || len(d.kinds()) < 4 {
			select {
			case <-deadline:
				t.Fatalf("in vain: %v", d.kinds())
			case <-ctx.Done():
			default:
			}
		}
		stop()
		wg.Wait()
		events, err := d.Events(t.Context(), d.id)
		if err != nil {
			t.Fatal(err)
		}
		for n, e := range events[1:] {
			if want := fmt.Sprint(min(n+1, 3)); e.Data["stage"] != want {
				t.Errorf("ring %d is of stage %s, want %s", n+1, e.Data["stage"], want)
			}
			if gap := e.Recorded.Sub(events[n].Recorded); gap < 150*time.Millisecond {
				t.Errorf("ring %d comes %s after what was before it", n+1, gap)
			}
		}
		if i := d.must(d.Find(t.Context(), 1)); i.Clock(incidents.ForTeams).Wake.IsZero() {
			t.Errorf("it will not ring again: %+v", i.Clock(incidents.ForTeams))
		}
	})
}

func TestRoomOfAThread(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		i := d.declare("ann", "API down")
		due, err := s.Outbox().Due(t.Context(), "test", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range due {
			if n.Notice.Key == i.Key() {
				err = errors.Join(err, s.Outbox().Sent(t.Context(), n, "C9", "17.5"))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.At(t.Context(), outbox.Conversation{Channel: "C9", Thread: "17.5"}); err != nil || got.ID != i.ID {
			t.Errorf("At the thread = %v, %v", got, err)
		}
		// The headline is gone, and its thread goes on.
		if err := s.Outbox().Forget(t.Context(), i.Key()); err != nil {
			t.Fatal(err)
		}
		if got, err := d.At(t.Context(), outbox.Conversation{Channel: "C9", Thread: "17.5"}); err != nil || got.ID != i.ID {
			t.Errorf("At the former thread = %v, %v", got, err)
		}
		if place, err := d.Thread(t.Context(), i); err != nil || place.Channel != "" {
			t.Errorf("without its headline the thread is %v, %v", place, err)
		}
		for _, where := range []outbox.Conversation{{Channel: "C9"}, {Channel: "C9", Thread: "17.6"}, {Channel: "C8", Thread: "17.5"}, {}} {
			if got, err := d.At(t.Context(), where); !errors.Is(err, incidents.ErrNone) {
				t.Errorf("At(%v) = %v, %v", where, got, err)
			}
		}
	})
}

// Messages come onto the timeline once, whoever marks them how often, and what
// becomes of them is added, not changed.
func TestCapture(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := open(t, s, nil)
		d.declare("ann", "API down")
		ctx := t.Context()
		m := incidents.Message{Channel: "C1", TS: "1795700000.000100", Thread: "1795700000.000001"}
		at := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
		for _, who := range []string{"ben", "cleo"} {
			d.must(d.Capture(ctx, d.by(who), incidents.Captured{Source: m, Author: person("dan"), Text: "rolling back", At: at, Files: "graph.png"}))
		}
		amend := func(who string, kind incidents.Kind, text string) {
			t.Helper()
			if err := d.Amend(ctx, person(who), who+string(kind)+text, incidents.Amendment{Message: m, Kind: kind, Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		amend("dan", incidents.KindEdit, "rolling back to 1.7")
		amend("dan", incidents.KindEdit, "rolling back to 1.7") // delivered twice
		amend("cleo", incidents.KindUnpin, "")                  // ben put it there
		amend("dan", incidents.KindDeletion, "")
		if got := strings.Join(d.kinds(), " "); got != "declared message edit deletion" {
			t.Errorf("on the timeline: %s", got)
		}
		events, err := d.Events(ctx, d.id)
		if err != nil {
			t.Fatal(err)
		}
		entry := incidents.Read(events)[0]
		want := `dan: rolling back to 1.7 (put on record at ` + entry.Recorded.Format("15:04 UTC") + `) (edited; it said "rolling back\ngraph.png") (the message was deleted)`
		if got := entry.Say(); got != want || !entry.Occurred.Equal(at) {
			t.Errorf("it reads\n%s\nwant\n%s", got, want)
		}
		amend("ben", incidents.KindUnpin, "")
		events, err = d.Events(ctx, d.id)
		if err != nil || !incidents.Read(events)[0].Hidden {
			t.Errorf("it is still shown: %v", err)
		}
		// It may come back.
		d.must(d.Capture(ctx, d.by("ben"), incidents.Captured{Source: m, Author: person("dan"), Text: "rolling back", At: at}))
		if got := strings.Join(d.kinds(), " "); got != "declared message edit deletion unpin message" {
			t.Errorf("on the timeline: %s", got)
		}
	})
}
