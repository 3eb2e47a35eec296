package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// order does one verb on one incident.
func (r *Router) order(ctx context.Context, req Request, o Order, i *incidents.Incident, filled bool) (Reply, error) {
	t := r.Incidents
	act := incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}
	person := o.who(req.Actor)
	var err error
	said := ""
	switch o.Verb {
	case orderShow:
		return answered(r.showIncident(ctx, req, i))
	case orderRuns:
		return answered(r.runsOf(ctx, i))
	case orderExport:
		return r.export(ctx, req, o, i)
	case orderPM:
		return r.postmortem(ctx, req, o, i)
	case orderPage:
		return r.page(ctx, req, o, i)
	case orderLead, orderComms:
		kind := incidents.Commander
		if o.Verb == orderComms {
			kind = incidents.Comms
		}
		switch {
		case o.Person == "":
			return Reply{Form: formPerson(o, i)}, nil
		case person.Same(req.Actor):
			_, err = t.Take(ctx, act, kind)
			said = "You are " + kind.Word() + " of " + i.Ref() + "."
		default:
			_, err = t.Offer(ctx, act, kind, person)
			said = "They are asked in the thread, and have the role once they accept."
		}
	case orderAccept:
		_, err = t.Take(ctx, act, o.Role)
		said = "You are " + o.Role.Word() + " of " + i.Ref() + "."
	case orderRoles:
		if !filled {
			return Reply{Form: formRoles(i)}, nil
		}
		return r.setRoles(ctx, req, i)
	case orderAdd:
		if o.Group != "" {
			_, err = t.Call(ctx, act, o.Group, o.Tag)
			said = "They are asked."
			break
		}
		if o.Person == "" {
			return Reply{Form: formPerson(o, i)}, nil
		}
		kind := incidents.Responder
		if o.Tag == string(incidents.Observer) {
			kind, o.Tag = incidents.Observer, ""
		}
		_, err = t.Add(ctx, act, kind, person, o.Tag)
		said = "Added."
	case orderLeave:
		_, err = t.Leave(ctx, act)
		said = "You have no role in " + i.Ref() + " any more."
	case orderAssess:
		if !filled {
			return Reply{Form: formAssess(i)}, nil
		}
		a, e := assessment(req.Values)
		if e != nil {
			return Reply{}, e
		}
		_, err = t.Assess(ctx, act, a)
		said = i.Ref() + " is assessed."
	case orderSeverity:
		if o.Severity == "" {
			return Reply{Form: formSeverity(i)}, nil
		}
		_, err = t.Rate(ctx, act, o.Severity, o.Rest)
		said = i.Ref() + " is " + string(o.Severity) + "."
	case orderStatus, orderResolve, orderClose:
		return r.move(ctx, req, o, i)
	case orderUpdate:
		if o.Rest == "" {
			return Reply{Form: formUpdate(o, i, r.now())}, nil
		}
		_, err = t.Post(ctx, act, incidents.Telling{Audiences: o.audiences(), Text: o.Rest, Next: o.For})
		said = "Your update to the " + both(o.audiences()) + " is in the thread."
	case orderNoChange:
		_, err = t.Post(ctx, act, incidents.Telling{Audiences: o.audiences(), Text: o.Rest, Unmoved: true, Next: o.For})
		said = "Noted: no change."
	case orderSnooze:
		_, err = t.Snooze(ctx, act, o.Audiences, o.For)
		said = "Snoozed."
	case orderNote:
		if o.Rest == "" {
			return Reply{Form: formNote(i)}, nil
		}
		return r.note(ctx, req, o, i)
	case orderTime:
		return r.correct(ctx, req, o, i)
	case orderSummary:
		if strings.TrimSpace(o.Rest) == "" {
			return Reply{}, fault.New(fault.Invalid, "The summary is empty.").Hinted("%s", orderUsage(req, "summary "+i.Ref()+" TEXT"))
		}
		_, err = t.Summarize(ctx, act, o.Rest)
		said = "The summary is corrected."
	case orderHide:
		if o.Number == 0 {
			return r.formHide(ctx, req, i)
		}
		_, err = t.Hide(ctx, act, int64(o.Number), o.Rest)
		said = fmt.Sprintf("#%d is hidden; it stays on record.", o.Number)
	case orderTask:
		if o.Number == 0 && o.Rest == "" {
			return Reply{Form: formTask(o, i)}, nil
		}
		owner := ""
		if o.Person != "" {
			owner = person.ID
		}
		if o.Number > 0 {
			if owner == "" && o.Due == "" {
				return Reply{Form: formTask(o, i)}, nil
			}
			_, err = t.AssignTask(ctx, act, o.Number, owner, o.Due)
			said = "The task is theirs."
		} else {
			_, err = t.AddTask(ctx, act, incidents.Task{Text: o.Rest, Owner: owner, Due: o.Due})
			said = "The task is on the list of " + i.Ref() + "."
		}
	case orderDone:
		_, err = t.FinishTask(ctx, act, o.Number)
		said = "Done."
	case orderRun:
		return r.runIn(ctx, req, o, i)
	case orderApprove, orderDeny:
		return r.cards(ctx, req, o.ID)
	case orderMerge:
		if o.Other == 0 {
			return r.formMerge(ctx, i)
		}
		_, err = t.Merge(ctx, act, o.Other)
		said = fmt.Sprintf("%s goes on in INC-%d.", i.Ref(), o.Other)
	case orderReopen, orderCancel, orderReject:
		if o.Rest == "" && (o.Verb != orderReject || !filled) {
			return Reply{Form: formWhy(o, i)}, nil
		}
		switch o.Verb {
		case orderReopen:
			_, err = t.Reopen(ctx, act, o.Rest)
			said = i.Ref() + " is open again."
		case orderCancel:
			_, err = t.Cancel(ctx, act, o.Rest)
			said = i.Ref() + " is canceled."
		default:
			_, err = t.Decide(ctx, act, o.ID, false, "", o.Rest)
			said = "The draft is rejected."
		}
	case orderPublish:
		_, err = t.Decide(ctx, act, o.ID, true, "", "")
		said = "It is being published."
	case orderEdit:
		if o.Rest == "" {
			return Reply{Form: formEdit(o, i)}, nil
		}
		_, err = t.Decide(ctx, act, o.ID, true, o.Rest, "")
		said = "It is being published."
	case orderChannel:
		switch where := strings.ToLower(strings.TrimSpace(o.Rest)); where {
		case "":
			_, err = t.OpenRoom(ctx, act)
		case hereWord:
			_, err = t.MoveIn(ctx, act, req.Where.Channel)
		default:
			return Reply{}, fault.New(fault.Invalid, "%q means nothing after channel: here takes the channel in which it is said.", clip(where, 40))
		}
		said = "The channel is being opened; it is linked in the thread."
		if i.Security {
			said = "The private channel is being opened; whoever works on " + i.Ref() + " is invited."
		}
	case orderSecurity:
		_, err = t.Secure(ctx, act, o.On, o.Rest)
		said = i.Ref() + " is restricted now."
		if !o.On {
			said = i.Ref() + " is not restricted any more."
		}
	case orderMore:
		if !filled {
			return Reply{Form: formMore(i)}, nil
		}
		return Reply{}, fault.New(fault.Invalid, "Nothing was chosen.")
	}
	if err != nil {
		return Reply{}, err
	}
	return done(req, said), nil
}

// done acknowledges what the room shows already, as quietly as the door allows.
func done(req Request, said string) Reply {
	switch {
	case req.Clicked:
		return Reply{}
	case req.Message != "" && req.Where.Channel != "":
		return Reply{Notices: []outbox.Notice{{To: outbox.Conversation{Channel: req.Where.Channel, Thread: req.Message}, Content: outbox.Reaction{Name: "white_check_mark"}}}}
	}
	return Reply{Answer: &outbox.Answer{Text: said}}
}

// who is the person that an order names.
func (o Order) who(actor access.Actor) access.Actor {
	if o.Person == "" || o.Person == Me || o.Person == actor.ID {
		return actor
	}
	return access.Actor{Kind: access.Person, Team: actor.Team, ID: o.Person, Via: actor.Via}
}

// audiences are whom an update is for: the teams unless it was said.
func (o Order) audiences() []incidents.Alarm {
	if len(o.Audiences) > 0 {
		return o.Audiences
	}
	return []incidents.Alarm{incidents.ForTeams}
}

func both(list []incidents.Alarm) string {
	words := make([]string, len(list))
	for n, a := range list {
		words[n] = string(a)
	}
	return strings.Join(words, " and ")
}

// declare opens an incident, or the form for one.
func (r *Router) declare(ctx context.Context, req Request, o Order, values map[string]string) (Reply, error) {
	if o.Rest == "" {
		return Reply{Form: formDeclare(req, o, "")}, nil
	}
	i, err := r.Incidents.Declare(ctx, incidents.Declaration{
		Actor: req.Actor, Key: req.Key, Title: o.Rest, Severity: o.Severity, Drill: o.Drill, Where: req.Where,
		Said: values[valueSaid], By: values[valueBy],
	})
	if err != nil {
		return Reply{}, err
	}
	if req.Message != "" {
		return done(req, ""), nil
	}
	return Reply{Answer: declared(i)}, nil
}

// declareFrom opens an incident from a run that went wrong.
func (r *Router) declareFrom(ctx context.Context, req Request, o Order) (Reply, error) {
	view, err := r.Runs.View(ctx, o.ID)
	if err != nil {
		return Reply{}, err
	}
	run := view.Run
	if run.Subject != "" {
		return r.declaredBefore(ctx, run)
	}
	title := clip(fmt.Sprintf("%s failed on %s", run.Title, run.Environment), incidents.MaxTitle)
	i, err := r.Incidents.Declare(ctx, incidents.Declaration{Actor: req.Actor, Key: "from/" + run.ID, Title: title, Where: run.Origin, Run: number(run)})
	if err != nil {
		return Reply{}, err
	}
	// From here on the card has no button, and whoever clicked at the same moment
	// has got the same incident.
	if _, err := r.Runs.Assign(ctx, run.ID, i.ID); err != nil {
		return Reply{}, err
	}
	if !i.Declarer.Same(req.Actor) {
		return r.declaredBefore(ctx, &engine.Run{Number: run.Number, Subject: i.ID})
	}
	return Reply{Answer: declared(i)}, nil
}

// declaredBefore says which incident a run belongs to, and where that is.
func (r *Router) declaredBefore(ctx context.Context, run *engine.Run) (Reply, error) {
	i, err := r.Incidents.Load(ctx, run.Subject)
	if err != nil {
		return Reply{}, err
	}
	text := fmt.Sprintf("%s belongs to %s already.", number(run), i.Ref())
	if r.Link != nil {
		if link := r.Link(ctx, i); link != "" {
			text += " " + link
		}
	}
	return Reply{Answer: &outbox.Answer{Text: text}}, nil
}

// declared says what has become of a declaration.
func declared(i *incidents.Incident) *outbox.Answer {
	return &outbox.Answer{Text: fmt.Sprintf("%s is declared. You are its acting commander; it is worked on in its thread.", i.Ref())}
}

// declareHere opens the form for an incident from a message.
func (r *Router) declareHere(req Request) (Reply, error) {
	if r.Incidents == nil {
		return Reply{}, fault.New(fault.Conflict, "This opsbot keeps no incidents.")
	}
	title, _, _ := strings.Cut(strings.TrimSpace(req.Values[valueSaid]), "\n")
	f := formDeclare(req, Order{Verb: orderDeclare}, clip(strings.TrimSpace(title), incidents.MaxTitle))
	f.Keep = map[string]string{valueSaid: clip(req.Values[valueSaid], maxSaid), valueBy: req.Values[valueBy]}
	return Reply{Form: f}, nil
}

// move changes the state, or opens the form for it.
func (r *Router) move(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	m := incidents.Move{To: o.State, Note: o.Rest}
	switch o.Verb {
	case orderResolve:
		m.To, m.Summary, m.Note = incidents.Resolved, o.Rest, ""
	case orderClose:
		m.To = incidents.Closed
	}
	switch {
	case m.To == "":
		return Reply{Form: formStatus(i)}, nil
	case m.To == incidents.Resolved && m.Summary == "":
		m.Summary = m.Note
		if m.Summary == "" {
			return Reply{Form: formResolve(i)}, nil
		}
	}
	if m.To == incidents.Closed {
		if err := r.unlearned(ctx, i); err != nil {
			return Reply{}, r.refused(ctx, req, i, "close it", err)
		}
	}
	i, err := r.Incidents.Move(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, m)
	if err != nil {
		return Reply{}, err
	}
	if m.To == incidents.Postmortem && r.Postmortems != nil {
		return r.postmortem(ctx, req, Order{Verb: orderPM}, i)
	}
	return done(req, i.Ref()+" is "+strings.ToLower(m.To.Word())+"."), nil
}

// note puts a sentence on the timeline, at the time that was said.
func (r *Router) note(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	at, zone, err := r.instant(req, o)
	if err != nil {
		return Reply{}, err
	}
	var source incidents.Message // slash commands and buttons have none
	if req.Message != "" {
		source = incidents.Message{Channel: req.Where.Channel, TS: req.Message, Thread: req.Where.Thread}
	}
	_, err = r.Incidents.Note(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, o.Rest, at, source)
	if err != nil {
		return Reply{}, err
	}
	if at.IsZero() {
		return done(req, "Noted on the timeline of "+i.Ref()+"."), nil
	}
	// A time that was read wrongly must be seen.
	said := fmt.Sprintf("Noted on the timeline of %s at %s", i.Ref(), instantIn(at, zone))
	return Reply{Answer: &outbox.Answer{Text: said + "."}, Notices: done(req, "").Notices}, nil
}

// instant is the moment that an order names, in the person's own zone unless
// UTC was said; zero if it names none.
func (r *Router) instant(req Request, o Order) (at time.Time, zone *time.Location, err error) {
	zone = time.UTC
	if o.At == "" {
		return at, zone, nil
	}
	if z, err := time.LoadLocation(req.Zone); err == nil && req.Zone != "" {
		zone = z
	}
	at, err = instantOf(o.At, zone, r.now())
	return at, zone, err
}

func instantIn(at time.Time, zone *time.Location) string {
	said := at.In(zone).Format("2006-01-02 15:04 MST")
	if zone != time.UTC {
		said += fmt.Sprintf(" (%s)", at.Format("15:04 UTC"))
	}
	return said
}

// correct puts a time of the incident right.
func (r *Router) correct(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	at, zone, err := r.instant(req, o)
	if err != nil {
		return Reply{}, err
	}
	if _, err := r.Incidents.Correct(ctx, incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key}, o.Moment, at, o.Rest); err != nil {
		return Reply{}, err
	}
	return Reply{Answer: &outbox.Answer{Text: fmt.Sprintf("%s was %s at %s.", i.Ref(), o.Moment, instantIn(at, zone))}, Notices: done(req, "").Notices}, nil
}

// setRoles does what the form for roles asks for.
func (r *Router) setRoles(ctx context.Context, req Request, i *incidents.Incident) (Reply, error) {
	var told []string
	steps := []struct {
		field string
		kind  incidents.RoleKind
	}{{valueCommander, incidents.Commander}, {valueComms, incidents.Comms}, {valueResponder, incidents.Responder}}
	for _, s := range steps {
		id := req.Values[s.field]
		who := Order{Person: id}.who(req.Actor)
		holder, held := i.Holder(s.kind)
		if id == "" || s.kind.Exclusive() && held && !holder.Acting && holder.Actor.ID == id {
			continue
		}
		act := incidents.Act{ID: i.ID, Actor: req.Actor, Key: req.Key + "/" + s.field}
		var err error
		switch {
		case s.kind == incidents.Responder:
			tag := strings.ToLower(strings.TrimSpace(req.Values[valueTag]))
			if tag != "" && !tagName.MatchString(tag) {
				return Reply{}, fault.New(fault.Invalid, "A tag is one word, such as backend, dba or devops.")
			}
			_, err = r.Incidents.Add(ctx, act, s.kind, who, tag)
		case who.Same(req.Actor):
			_, err = r.Incidents.Take(ctx, act, s.kind)
		default:
			_, err = r.Incidents.Offer(ctx, act, s.kind, who)
		}
		switch kind := fault.KindOf(err); {
		case err == nil:
		case kind == fault.Conflict || kind == fault.Forbidden:
			told = append(told, fault.Say(err))
		default:
			return Reply{}, err
		}
	}
	if len(told) > 0 {
		return Reply{}, fault.New(fault.Conflict, "%s", strings.Join(told, " "))
	}
	return Reply{}, nil
}

// runIn starts a runbook that belongs to the incident: its card stands in the
// room.
func (r *Router) runIn(ctx context.Context, req Request, o Order, i *incidents.Incident) (Reply, error) {
	if !i.State.Active() && i.State != incidents.Resolved {
		return Reply{}, r.refused(ctx, req, i, "run a runbook for it",
			fault.New(fault.Conflict, "%s is %s; a runbook that is run for it would belong to nothing.", i.Ref(), strings.ToLower(i.State.Word())).
				Hinted("Run it without the incident: %s", usage(req, orOther(o.Rest, "NAME"))))
	}
	if strings.TrimSpace(o.Rest) == "" {
		return Reply{Form: formRun(i, r.Runs.Library().All())}, nil
	}
	room, err := r.Incidents.Room(ctx, i)
	if err != nil {
		return Reply{}, err
	}
	c, err := Parse(Noun + " " + verbRun + " " + o.Rest)
	if err != nil {
		return Reply{}, err
	}
	c.Incident = i.ID
	elsewhere := req.Clicked && req.Where.Channel != room.Channel // as on an alert's card
	req.Where = room
	reply, err := r.start(ctx, req, c)
	if err == nil && reply.Form == nil && reply.Answer == nil {
		req.Clicked = req.Clicked && !elsewhere
		reply = done(req, "It runs in the thread of "+i.Ref()+".")
	}
	return reply, err
}
