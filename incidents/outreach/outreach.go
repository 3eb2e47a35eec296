// Package outreach tells people outside of an incident's room: it publishes
// what was approved for the public, and keeps those who were paged in step.
//
// It looks at what is on record and brings the world into line with it, so that
// a crash at any moment only delays what it does.
package outreach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/dispatch"
	"opsbot/internal/feed"
	"opsbot/internal/outbox"
)

const (
	lookEvery = time.Second
	atOnce    = 20
)

// A Publication is an update that was approved for the public.
type Publication struct {
	Incident string // its id
	Update   incidents.Update
}

// A Call is a page that was not called off yet.
type Call struct {
	Incident     string // its id
	Place        string
	Name         string // tells calls of one incident apart
	At           time.Time
	Acknowledged bool // that was sent already
}

// A Store says what is on record. It is implemented by the store.
type Store interface {
	// Approved returns updates that were approved and are not published yet, the
	// oldest first.
	Approved(ctx context.Context, limit int) ([]Publication, error)
	// Calls returns triggers that were not resolved.
	Calls(ctx context.Context, limit int) ([]Call, error)
	// Escalations returns, for incidents that go on, the clocks that rang because
	// nobody took command, as incident id and event number.
	Escalations(ctx context.Context, limit int) ([]Escalation, error)
	// Public returns what the public was told of incidents, the newest first.
	// Restricted incidents and exercises are not among them.
	Public(ctx context.Context, limit int) ([]feed.Incident, error)
}

// An Escalation is a moment at which nobody had taken command for too long.
type Escalation struct {
	Incident string
	Event    int64
}

// An Office does the outreach. Store, Tracker and Parcels are required.
type Office struct {
	Store    Store
	Tracker  *incidents.Tracker
	Parcels  dispatch.Queue
	Places   []string                                                // that updates are published in, as the dispatcher knows them
	Escalate []string                                                // places of pagers that are called when nobody takes command
	Feed     bool                                                    // a status feed is served
	Link     func(ctx context.Context, i *incidents.Incident) string // to its thread; nil: none
	Log      *slog.Logger
}

// Serve works until ctx ends; it returns nil then. Any number of replicas may.
func (o *Office) Serve(ctx context.Context) error {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var reminded time.Time
	for {
		if time.Since(reminded) >= time.Minute {
			reminded = time.Now()
			if err := o.remind(ctx, reminded); err != nil && ctx.Err() == nil {
				log.Error("remind of post-mortems", "error", err)
			}
		}
		for what, do := range map[string]func(context.Context) error{"publish updates": o.publish, "keep pages in step": o.follow, "page those who are to be called": o.escalate} {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				log.Error(what, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Prefixes of places: the keys under which they are configured.
const (
	PagerPlace   = "pagers."
	WebhookPlace = "status.webhooks."
	ChannelPlace = "status.channels."
)

// short is a place's name for people.
func short(place string) string {
	for _, p := range []string{PagerPlace, WebhookPlace, ChannelPlace} {
		place = strings.TrimPrefix(place, p)
	}
	return place
}

// A Channel publishes updates in a channel of Slack: a Carrier. What is posted
// is known by its key, so that it is there once. It is said there or nowhere:
// readers of the channel do not see what is said in place of it.
type Channel struct {
	Name   string // "#status", or an id
	Outbox outbox.Queue
	Link   func(ctx context.Context, message outbox.Conversation) string // nil: none
}

const (
	postedEvery = 100 * time.Millisecond
	postedIn    = 10 * time.Second // of one attempt
)

// Carry queues the message, and waits for what becomes of it.
func (c Channel) Carry(ctx context.Context, p dispatch.Parcel) (string, error) {
	var b Update
	if err := json.Unmarshal(p.Body, &b); err != nil || p.Kind != dispatch.KindUpdate {
		return "", &dispatch.Refused{Why: "Channels take nothing but updates."}
	}
	word := b.Status
	if word != "" {
		word = strings.ToUpper(word[:1]) + word[1:] + ": "
	}
	tick := time.NewTicker(postedEvery)
	defer tick.Stop()
	deadline := time.After(postedIn)
	for queued := false; ; {
		where, why, err := c.Outbox.Posted(ctx, p.Key)
		switch {
		case err != nil:
			return "", err
		case why != "":
			return "", &dispatch.Refused{Why: fmt.Sprintf("opsbot cannot write to %s: %s.", c.Name, strings.TrimSuffix(why, "."))}
		case where.Thread != "" && c.Link != nil:
			return c.Link(ctx, where), nil
		case where.Thread != "":
			return "", nil
		case !queued:
			// Another attempt finds it waiting, and says the same again.
			queued = true
			if err := c.Outbox.Enqueue(ctx, outbox.Notice{
				Key: p.Key, To: outbox.Conversation{Channel: c.Name, Stay: true}, Content: outbox.Line{Text: fmt.Sprintf("%s%s (%s)", word, b.Text, b.Incident)},
			}); err != nil {
				return "", err
			}
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-deadline:
			return "", fmt.Errorf("the message for %s still waits for Slack", c.Name)
		case <-tick.C:
		}
	}
}

// An Update is what a webhook gets: the body of a parcel of dispatch.KindUpdate.
type Update struct {
	Action   string    `json:"action"` // update
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	Severity string    `json:"severity"`
	Status   string    `json:"status"` // investigating, identified, monitoring, resolved
	Text     string    `json:"text"`
	At       time.Time `json:"at"`
}

// publish brings approved updates to every place, and puts on record how that
// went once all have answered.
func (o *Office) publish(ctx context.Context) error {
	list, err := o.Store.Approved(ctx, atOnce)
	if err != nil {
		return err
	}
	for _, p := range list {
		i, err := o.Tracker.Load(ctx, p.Incident)
		if err != nil {
			return err
		}
		if err := o.publishOne(ctx, i, p.Update); err != nil {
			return fmt.Errorf("%s, update %d: %w", i.Ref(), p.Update.Number, err)
		}
	}
	return nil
}

func (o *Office) publishOne(ctx context.Context, i *incidents.Incident, u incidents.Update) error {
	switch {
	case i.Security:
		return o.Tracker.Publishing(ctx, i.ID, u.ID, []incidents.Outcome{{Place: "the public", Why: "the incident is restricted", At: time.Now()}})
	case i.Drill:
		return o.Tracker.Publishing(ctx, i.ID, u.ID, []incidents.Outcome{{Place: "nowhere, as this is an exercise", At: time.Now()}})
	}
	at := u.Decided
	if at.IsZero() {
		at = u.At
	}
	data, err := json.Marshal(Update{"update", u.ID, i.Ref(), string(i.Severity), strings.ToLower(u.Word), u.Text, at.UTC()})
	if err != nil {
		return err
	}
	list, err := o.Parcels.List(ctx, i.ID)
	if err != nil {
		return err
	}
	known := map[string]dispatch.Outcome{}
	for _, p := range list {
		known[p.Key] = p
	}
	outcomes, waiting := []incidents.Outcome{}, false
	for _, place := range o.Places {
		key := "update/" + u.ID + "/" + place
		p, there := known[key]
		switch {
		case !there:
			err := o.Parcels.Add(ctx, dispatch.Parcel{Key: key, Place: place, Subject: i.ID, Kind: dispatch.KindUpdate, Body: data})
			if err != nil {
				return err
			}
			waiting = true
		case p.State == dispatch.Delivered:
			outcomes = append(outcomes, incidents.Outcome{Place: short(place), Link: p.Link, At: p.At, Tries: p.Tries + 1})
		case p.State == dispatch.Failed:
			outcomes = append(outcomes, incidents.Outcome{Place: short(place), Why: p.Why, At: p.At, Tries: p.Tries})
		default:
			waiting = true
		}
	}
	if waiting {
		return nil
	}
	if o.Feed {
		outcomes = append(outcomes, incidents.Outcome{Place: "status feed", At: time.Now()})
	}
	if len(outcomes) == 0 {
		outcomes = append(outcomes, incidents.Outcome{Place: "the incident channel only (no other place is configured)", At: time.Now()})
	}
	return o.Tracker.Publishing(ctx, i.ID, u.ID, outcomes)
}

// follow calls pages off: acknowledged once somebody accepts command after the
// page, whoever had it before, resolved with the incident.
func (o *Office) follow(ctx context.Context) error {
	calls, err := o.Store.Calls(ctx, 200)
	if err != nil {
		return err
	}
	for _, c := range calls {
		i, err := o.Tracker.Load(ctx, c.Incident)
		if errors.Is(err, incidents.ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		action := ""
		commander, _ := i.Holder(incidents.Commander)
		switch {
		case !i.State.Active():
			action = dispatch.Resolve
		case !c.Acknowledged && commander.Accepted.After(c.At):
			action = dispatch.Acknowledge
		}
		if action == "" {
			continue
		}
		p, err := Page(i, action, time.Now()).Parcel(c.Place, c.Name)
		if err == nil {
			err = o.Parcels.Add(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// escalate pages when nobody has taken command for too long.
func (o *Office) escalate(ctx context.Context) error {
	if len(o.Escalate) == 0 {
		return nil
	}
	list, err := o.Store.Escalations(ctx, 200)
	if err != nil {
		return err
	}
	for _, e := range list {
		i, err := o.Tracker.Load(ctx, e.Incident)
		if err != nil {
			return err
		}
		for _, place := range o.Escalate {
			page := Page(i, dispatch.Trigger, time.Now())
			page.Note, page.By = "Nobody has taken command.", "opsbot"
			if o.Link != nil {
				page.Link = o.Link(ctx, i)
			}
			p, err := page.Parcel(place, "escalation-"+strconv.FormatInt(e.Event, 10))
			if err == nil {
				err = o.Parcels.Add(ctx, p)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// remind asks for post-mortems that their severity wants and nobody finished.
func (o *Office) remind(ctx context.Context, now time.Time) error {
	list, err := o.Tracker.List(ctx, incidents.Query{Open: true, Limit: 200})
	if err != nil {
		return err
	}
	for _, i := range list {
		day, due := DueDay(i.Resolved, now)
		if !due || i.Drill || !o.Tracker.Rules().Of(i.Severity).Postmortem {
			continue
		}
		if err := o.Tracker.RemindOfPostmortem(ctx, i.ID, day); err != nil {
			return err
		}
	}
	return nil
}

// dueHour is when on a working day people are reminded, in UTC.
const dueHour = 9

// DueDay says on which day a reminder of the post-mortem of what was resolved
// belongs now: the first on the next working day, then one on each. due is
// false before the first, and for what is not resolved.
func DueDay(resolved, now time.Time) (day string, due bool) {
	if resolved.IsZero() {
		return "", false
	}
	working := func(t time.Time) bool { return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday }
	at := func(t time.Time) time.Time {
		t = t.UTC()
		return time.Date(t.Year(), t.Month(), t.Day(), dueHour, 0, 0, 0, time.UTC)
	}
	first := at(resolved).AddDate(0, 0, 1)
	for !working(first) {
		first = first.AddDate(0, 0, 1)
	}
	if now.Before(first) {
		return "", false
	}
	last := at(now)
	for last.After(now) || !working(last) {
		last = last.AddDate(0, 0, -1)
	}
	return last.Format(time.DateOnly), true
}

// Page is a page about the incident as it is. What is restricted is not told
// outside.
func Page(i *incidents.Incident, action string, now time.Time) dispatch.Page {
	p := dispatch.Page{Action: action, Key: i.ID, Incident: i.Ref(), Title: i.Title, Severity: string(i.Severity), State: i.State.Word(), Impact: i.Impact, At: now}
	if p.Impact == "" {
		p.Impact = i.Down
	}
	if i.Security {
		p.Title, p.Impact = "restricted", ""
	}
	return p
}

// Tell says in the incident's room what has become of a page or publication.
// What went well at once is said where it was asked for, not here.
func (o *Office) Tell(ctx context.Context, out dispatch.Outcome) error {
	var page dispatch.Page
	what := "An update to the users"
	if out.Kind == dispatch.KindPage {
		if err := json.Unmarshal(out.Body, &page); err != nil {
			return nil // nothing that could be told
		}
		what = map[string]string{dispatch.Trigger: "The page", dispatch.Acknowledge: "That the page is acknowledged", dispatch.Resolve: "That the incident is over"}[page.Action]
	}
	place := short(out.Place)
	p := outbox.Prompt{}
	switch out.State {
	case dispatch.Late:
		p.Text = fmt.Sprintf("%s did not reach %s yet: %s opsbot keeps trying.", what, place, sentence(out.Why))
	case dispatch.Failed:
		p.Text = fmt.Sprintf("%s did not reach %s: %s", what, place, sentence(out.Why))
		if page.Action == dispatch.Trigger {
			p.Text += " Call them by other means."
			p.Broadcast = true
		}
	case dispatch.Delivered:
		switch {
		case page.Action == dispatch.Trigger:
			p.Text = fmt.Sprintf("%s was paged.", place)
		case out.Tries > 0:
			p.Text = fmt.Sprintf("%s reached %s after %d attempts.", what, place, out.Tries+1)
		default:
			return nil
		}
	}
	err := o.Tracker.Report(ctx, out.Subject, fmt.Sprintf("parcel/%d", out.ID), p)
	if errors.Is(err, incidents.ErrNone) {
		return nil
	}
	return err
}

func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s != "" && !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
