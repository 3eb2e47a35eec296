package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// Fields of the forms for incidents.
const (
	valueTitle     = "title"
	valueSeverity  = "severity"
	valueState     = "state"
	valueText      = "text"
	valueAudience  = "audience"
	valueNext      = "next"
	valueDown      = "down"
	valueAffected  = "affected"
	valueImpact    = "impact"
	valueStarted   = "started"
	valueCommander = "commander"
	valueComms     = "comms"
	valueResponder = "responder"
	valuePerson    = "person"
	valueTag       = "tag"
	valueAt        = "at"
	valueDue       = "due"
	valueInto      = "into"
	valueRunbook   = "runbook"
	valueWhat      = "what"
	valueSaid      = "said" // kept: the message that an incident is declared from
	valueBy        = "by"   // kept: who wrote it
)

// maxSaid is how much of a message travels through a form.
const maxSaid = 1200

const (
	typeString = string(runbooks.TypeString)
	typeEnum   = string(runbooks.TypeEnum)
	typeUser   = "user"
	typeTime   = "time"
)

// notSure is how a severity is left open.
const notSure = "not sure yet"

func severityNames() []string {
	var list []string
	for _, s := range incidents.Severities {
		list = append(list, string(s)+" "+s.Word())
	}
	return list
}

// form makes one whose submission is the same order, with values.
func form(i *incidents.Incident, verb, title, submit string, fields ...outbox.Field) *Form {
	ref := ""
	if i != nil {
		ref = i.Ref() + " "
	}
	return &Form{Action: ActionIncident, Subject: NounIncident + " " + ref + verb, Title: clip(title, 24), Submit: submit, Fields: fields}
}

func formDeclare(req Request, o Order, title string) *Form {
	f := form(nil, orderDeclare, "Declare an incident", "Declare",
		outbox.Field{Name: valueTitle, Label: "What is wrong?", Type: typeString, Required: true, Default: title, Help: "A few words, such as API down."},
		outbox.Field{Name: valueSeverity, Label: "How bad is it?", Type: typeEnum, Values: append([]string{notSure}, severityNames()...), Default: notSure,
			Help: "Not sure yet is handled like SEV1."},
	)
	if o.Drill {
		f.Subject += " --drill"
	}
	f.Intro = "You will be its acting commander until you or somebody else accepts. In one line: " + orderUsage(req, "declare sev1 API down") + ". All commands: " + orderUsage(req, "help")
	f.Where = req.Where
	f.Else = "Say what is wrong: " + orderUsage(req, "declare API down")
	return f
}

func formStatus(i *incidents.Incident) *Form {
	var values []string
	states := incidents.States()
	for _, s := range states[slices.Index(states, i.State)+1:] {
		values = append(values, string(s))
	}
	if len(values) == 0 {
		values = []string{string(incidents.Closed)}
	}
	f := form(i, orderStatus, "Status of "+i.Ref(), "Set",
		outbox.Field{Name: valueState, Label: "Status", Type: typeEnum, Values: values, Default: values[0], Required: true},
		outbox.Field{Name: valueText, Label: "Note or summary", Type: typeString, Long: true, Help: "Needed to resolve: what was wrong, and what ended it."})
	f.Intro = fmt.Sprintf("%s is %s. Steps may be left out.", i.Ref(), strings.ToLower(i.State.Word()))
	f.Else = "Say which: status " + strings.Join(values, "|")
	return f
}

func formResolve(i *incidents.Incident) *Form {
	f := form(i, orderResolve, "Resolve "+i.Ref(), "Resolve",
		outbox.Field{Name: valueText, Label: "Summary", Type: typeString, Long: true, Required: true, Default: i.Summary, Help: "What was wrong, and what ended it."})
	f.Intro = "Both audiences are told, and the clocks stop."
	f.Else = "Say what ended it: resolve SUMMARY"
	return f
}

func formUpdate(o Order, i *incidents.Incident, now time.Time) *Form {
	audience := "teams"
	of := incidents.ForTeams
	switch len(o.Audiences) {
	case 1:
		audience, of = string(o.Audiences[0]), o.Audiences[0]
	case 2:
		audience = "both"
	}
	next := ""
	if o.For > 0 {
		next = runbooks.DurationText(o.For)
	}
	f := form(i, orderUpdate, "Update on "+i.Ref(), "Post",
		outbox.Field{Name: valueText, Label: "How things stand", Type: typeString, Long: true, Required: true, Default: incidents.DraftOf(i, of, now)},
		outbox.Field{Name: valueAudience, Label: "Who is to hear it", Type: typeEnum, Values: []string{"teams", "users", "both"}, Default: audience, Required: true,
			Help: "What users read is published once the communications lead approves."},
		outbox.Field{Name: valueNext, Label: "Next update in", Type: typeString, Help: "Such as 15m. Empty: as often as before.", Default: next})
	f.Else = "Say how things stand: update " + audience + " TEXT"
	return f
}

func formAssess(i *incidents.Incident) *Form {
	started := ""
	if !i.Started.IsZero() {
		started = i.Started.UTC().Format(time.RFC3339)
	}
	f := form(i, orderAssess, "Assess "+i.Ref(), "Save",
		outbox.Field{Name: valueDown, Label: "What is down?", Type: typeString, Default: i.Down, Long: true},
		outbox.Field{Name: valueAffected, Label: "Which users notice?", Type: typeString, Default: i.Affected, Help: "none, if nobody does."},
		outbox.Field{Name: valueImpact, Label: "What does it mean for them?", Type: typeString, Default: i.Impact, Long: true},
		outbox.Field{Name: valueStarted, Label: "When did it begin?", Type: typeTime, Default: started},
		outbox.Field{Name: valueSeverity, Label: "How bad is it?", Type: typeEnum, Values: append([]string{notSure}, severityNames()...), Default: severityName(i.Severity)})
	f.Intro = "What you do not know, leave as it is."
	f.Else = "Forms do not open from a thread by text: use the button Assess, or type sev 1|2|3, and note what you know."
	return f
}

func severityName(s incidents.Severity) string {
	if s == incidents.Unassessed {
		return notSure
	}
	return string(s) + " " + s.Word()
}

func formSeverity(i *incidents.Incident) *Form {
	f := form(i, orderSeverity, "Severity of "+i.Ref(), "Set",
		outbox.Field{Name: valueSeverity, Label: "How bad is it?", Type: typeEnum, Values: severityNames(), Required: true},
		outbox.Field{Name: valueText, Label: "Why?", Type: typeString, Long: true})
	f.Else = "Say which: sev 1|2|3 [why]"
	return f
}

func formPerson(o Order, i *incidents.Incident) *Form {
	f := form(i, o.Verb, "Roles of "+i.Ref(), "Ask", outbox.Field{Name: valuePerson, Label: "Who?", Type: typeUser, Required: true})
	if o.Verb == orderAdd {
		f.Fields = append(f.Fields, outbox.Field{Name: valueTag, Label: "As", Type: typeString, Help: "Such as backend, dba, devops; observer for somebody who only follows."})
	}
	f.Else = "Say who: " + o.Verb + " @somebody, or " + o.Verb + " me"
	return f
}

func formRoles(i *incidents.Incident) *Form {
	field := func(name, label string, kind incidents.RoleKind) outbox.Field {
		f := outbox.Field{Name: name, Label: label, Type: typeUser}
		if r, ok := i.Holder(kind); ok {
			f.Default = r.Actor.ID
		}
		return f
	}
	f := form(i, orderRoles, "Roles of "+i.Ref(), "Save",
		field(valueCommander, "Commander", incidents.Commander), field(valueComms, "Communications lead", incidents.Comms),
		outbox.Field{Name: valueResponder, Label: "Add a responder", Type: typeUser},
		outbox.Field{Name: valueTag, Label: "as", Type: typeString, Help: "Such as backend, dba, devops."})
	f.Intro = "Whoever you choose is asked, and has the role once they accept. Yourself you can choose at once."
	f.Else = "Say who: lead @somebody, comms @somebody, add @somebody as dba"
	return f
}

func formNote(i *incidents.Incident) *Form {
	f := form(i, orderNote, "Note on "+i.Ref(), "Add",
		outbox.Field{Name: valueText, Label: "What happened?", Type: typeString, Long: true, Required: true},
		outbox.Field{Name: valueAt, Label: "When?", Type: typeTime, Help: "Empty: just now."})
	f.Else = "Say what happened: note [at 14:05] TEXT"
	return f
}

// hideChoices is how many entries the form offers to hide: the newest.
const hideChoices = 50

// formHide offers the entries that the person may hide.
func (r *Router) formHide(ctx context.Context, req Request, i *incidents.Incident) (Reply, error) {
	events, err := r.Incidents.Events(ctx, i.ID)
	if err != nil {
		return Reply{}, err
	}
	var values []string
	for _, e := range slices.Backward(incidents.Read(events)) {
		if len(values) < hideChoices && e.Hideable() && !e.Hidden && (e.By(req.Actor) || i.Holds(incidents.Commander, req.Actor)) {
			values = append(values, clip(fmt.Sprintf("#%d %s %s", e.Seq, e.Occurred.UTC().Format("15:04"), strings.Join(strings.Fields(e.Say()), " ")), 75))
		}
	}
	if len(values) == 0 {
		return Reply{}, fault.New(fault.Conflict, "There is nothing on the timeline of %s that you may hide: notes, messages and alerts are hidden by who wrote them, or by the commander.", i.Ref())
	}
	f := form(i, orderHide, "Hide an entry", "Hide",
		outbox.Field{Name: valueWhat, Label: "Which one?", Type: typeEnum, Values: values, Required: true},
		outbox.Field{Name: valueText, Label: "Why?", Type: typeString})
	f.Intro = "It is left out of what people read. It stays on record. Times are UTC."
	f.Else = "Say which: hide NUMBER [why]; show has the numbers."
	return Reply{Form: f}, nil
}

func formTask(o Order, i *incidents.Incident) *Form {
	verb := orderTask
	var fields []outbox.Field
	if o.Number > 0 {
		verb = fmt.Sprintf("%s %d", orderTask, o.Number)
	} else {
		fields = append(fields, outbox.Field{Name: valueText, Label: "What must be done?", Type: typeString, Required: true, Long: true})
	}
	fields = append(fields, outbox.Field{Name: valuePerson, Label: "Who does it?", Type: typeUser, Required: o.Number > 0},
		outbox.Field{Name: valueDue, Label: "By when?", Type: typeString, Help: "A day, such as 2026-12-01."})
	f := form(i, verb, "Task of "+i.Ref(), "Save", fields...)
	f.Else = "Say what must be done: task TEXT @somebody by 2026-12-01"
	return f
}

func formWhy(o Order, i *incidents.Incident) *Form {
	verb, title := o.Verb, strings.ToUpper(o.Verb[:1])+o.Verb[1:]+" "+i.Ref()
	field := outbox.Field{Name: valueText, Label: "Why?", Type: typeString, Long: true, Required: true}
	if o.Verb == orderReject {
		verb, title, field.Required = o.Verb+" "+o.ID, "Reject the draft", false
	}
	f := form(i, verb, title, title[:strings.IndexByte(title, ' ')], field)
	f.Else = "Say why: " + o.Verb + " WHY"
	return f
}

func formEdit(o Order, i *incidents.Incident) *Form {
	text := ""
	for _, u := range i.Drafts {
		if u.ID == o.ID {
			text = u.Text
		}
	}
	return form(i, orderEdit+" "+o.ID, "Publish", "Publish", outbox.Field{Name: valueText, Label: "What users read", Type: typeString, Long: true, Required: true, Default: text})
}

func formRun(i *incidents.Incident, all []*runbooks.Runbook) *Form {
	var names []string
	for _, rb := range all {
		names = append(names, rb.Slug)
	}
	f := form(i, orderRun, "Run for "+i.Ref(), "Go on", outbox.Field{Name: valueRunbook, Label: "Runbook", Type: typeEnum, Values: names[:min(100, len(names))], Required: true})
	f.Intro = "Its card stands in the incident's thread, and what it does is on the timeline."
	f.Else = "Say which: run NAME [key=value …]"
	return f
}

func (r *Router) formMerge(ctx context.Context, i *incidents.Incident) (Reply, error) {
	list, err := r.Incidents.List(ctx, incidents.Query{Open: true, Limit: 100})
	if err != nil {
		return Reply{}, err
	}
	var names []string
	for _, other := range list {
		if other.ID != i.ID && !other.Security {
			names = append(names, clip(other.Ref()+" "+other.Title, 75))
		}
	}
	if len(names) == 0 {
		return Reply{}, fault.New(fault.Conflict, "There is no other open incident that %s could be merged into.", i.Ref())
	}
	f := form(i, orderMerge, "Merge "+i.Ref(), "Merge", outbox.Field{Name: valueInto, Label: "Into", Type: typeEnum, Values: names, Required: true})
	f.Intro = i.Ref() + " ends, and the other one goes on."
	f.Else = "Say into which: merge INC-7"
	return Reply{Form: f}, nil
}

// more are the verbs of the button More, with what it says for each.
func more(i *incidents.Incident) [][2]string {
	list := [][2]string{
		{orderAssess, "Assess: what is down, and for whom"}, {orderSeverity, "Set the severity"}, {orderTask, "Add a task"}, {orderNote, "Add a note"},
		{orderHide, "Hide an entry of the timeline"},
		{orderAdd, "Add people"}, {orderRuns, "Show its runs"}, {orderShow, "Show its timeline"},
	}
	if i.State.Active() {
		list = append(list, [2]string{orderPage, "Page somebody"}, [2]string{orderChannel, "Give it a channel of its own"}, [2]string{orderMerge, "Merge it into another"},
			[2]string{orderResolve, "Resolve it"}, [2]string{orderCancel, "Cancel it: it was none"}, [2]string{orderSecurity, "Restrict it: security"})
	}
	if i.State == incidents.Monitoring {
		list = append(list, [2]string{orderReopen, "Reopen it"})
	}
	if !i.State.Active() {
		list = append(list, [2]string{orderPM, "Write the post-mortem"}, [2]string{orderReopen, "Reopen it"}, [2]string{orderClose, "Close it"})
	}
	return append(list, [2]string{orderLeave, "Leave my role"})
}

func formMore(i *incidents.Incident) *Form {
	var labels []string
	for _, m := range more(i) {
		labels = append(labels, m[1])
	}
	f := form(i, orderMore, i.Ref(), "Go on", outbox.Field{Name: valueWhat, Label: "What shall be done?", Type: typeEnum, Values: labels, Required: true})
	f.Else = "Type it: help lists everything."
	return f
}

// fill puts a form's values into the order that it was opened for.
func (o *Order) fill(v map[string]string) error {
	text := strings.TrimSpace(v[valueText])
	switch o.Verb {
	case orderDeclare:
		if o.Rest = v[valueTitle]; o.Rest == "" {
			return fault.New(fault.Invalid, "The title is empty.")
		}
		o.Severity = severityOf(v[valueSeverity])
	case orderStatus:
		o.State, o.Rest = incidents.State(v[valueState]), text
	case orderUpdate:
		o.Rest = text
		switch v[valueAudience] {
		case "teams", "users":
			o.Audiences = []incidents.Alarm{incidents.Alarm(v[valueAudience])}
		case "both":
			o.Audiences = slices.Clone(incidents.Audiences)
		}
		if next := strings.TrimSpace(v[valueNext]); next != "" {
			d, err := parseSpan(next)
			if err != nil {
				return err
			}
			o.For = d
		}
	case orderSeverity:
		o.Severity, o.Rest = severityOf(v[valueSeverity]), text
	case orderLead, orderComms, orderAdd:
		o.Person, o.Tag = v[valuePerson], strings.ToLower(strings.TrimSpace(v[valueTag]))
		if o.Tag != "" && !tagName.MatchString(o.Tag) {
			return fault.New(fault.Invalid, "A tag is one word, such as backend, dba or devops.")
		}
	case orderNote:
		o.Rest = text
		if t, err := time.Parse(time.RFC3339, v[valueAt]); err == nil {
			o.At = t.UTC().Format("2006-01-02 15:04") + " UTC"
		}
	case orderHide:
		first, _ := term(v[valueWhat])
		if err := o.hide(first); err != nil {
			return err
		}
		o.Rest = text
	case orderTask:
		if o.Number == 0 {
			o.Rest = text
		}
		o.Person, o.Due = v[valuePerson], strings.TrimSpace(v[valueDue])
		if _, err := time.Parse(time.DateOnly, o.Due); o.Due != "" && err != nil {
			return fault.New(fault.Invalid, "%q is no day, such as 2026-12-01.", clip(o.Due, 40))
		}
	case orderRun:
		o.Rest = v[valueRunbook]
	case orderMerge:
		first, _ := term(v[valueInto])
		n, ok := incidents.ParseRef(first)
		if !ok {
			return fault.New(fault.Invalid, "Into which incident?")
		}
		o.Other = n
	case orderMore:
		ref := incidents.Incident{Number: o.Ref}
		for _, state := range []incidents.State{incidents.Declared, incidents.Resolved} {
			ref.State = state
			for _, m := range more(&ref) {
				if m[1] == v[valueWhat] {
					o.Verb = m[0]
				}
			}
		}
		o.On = o.Verb == orderSecurity
	case orderResolve, orderReopen, orderCancel, orderReject, orderEdit:
		o.Rest = text
	}
	return nil
}

func severityOf(name string) incidents.Severity {
	first, _ := term(name)
	s, ok := incidents.ParseSeverity(first)
	if !ok || s == incidents.Unassessed {
		return ""
	}
	return s
}

// assessment reads the form's values.
func assessment(v map[string]string) (incidents.Assessment, error) {
	a := incidents.Assessment{Down: v[valueDown], Affected: v[valueAffected], Impact: v[valueImpact], Severity: severityOf(v[valueSeverity])}
	if s := v[valueStarted]; s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return a, fault.New(fault.Invalid, "%q is no time.", clip(s, 40))
		}
		a.Started = t
	}
	return a, nil
}

// incidentHelp lists what can be typed.
func incidentHelp(req Request, verb string) outbox.Answer {
	rows := [][3]string{
		{orderDeclare, "declare [sev1|sev2|sev3] [--drill] TITLE", "Declare an incident. You are its acting commander."},
		{orderList, "list [open|all]", "What there is."},
		{orderShow, "show [INC-7]", "How it stands, and its timeline."},
		{orderLead, "lead @somebody | me", "Hand over command, or take it."},
		{orderComms, "comms @somebody | me", "The same for the communications lead, who keeps both clocks."},
		{orderAdd, "add @somebody|@group [as dba]", "Ask for help. leave gives your roles up."},
		{orderPage, "page NAME [why]", "Call somebody by a pager."},
		{orderAssess, "assess", "What is down, which users notice, what it means, since when."},
		{orderSeverity, "sev 1|2|3 [why]", "1 is critical, 2 major, 3 minor."},
		{orderStatus, "status STATE [note]", "Go on to " + stateList() + "."},
		{orderUpdate, "update [teams|users|both] TEXT [next 15m]", "Tell how things stand. no-change says that nothing has changed; snooze 5m keeps the clocks silent."},
		{orderNote, "note [at 14:05] TEXT", "Put something on the timeline, also what happened earlier."},
		{orderHide, "hide N [why]", "Leave an entry out of what people read; show has the numbers. It stays on record."},
		{orderTask, "task TEXT [@somebody] [by 2026-12-01]", "Something to do. done N says that it is done."},
		{orderRun, "run RUNBOOK [key=value …]", "Run a runbook for the incident. runs lists them."},
		{orderApprove, "approve R12", "Shows what the run waits for; only its card's buttons decide."},
		{orderChannel, "channel [here]", "A channel of its own. here: the one in which you say it becomes that."},
		{orderMerge, "merge INC-7", "This one ends, that one goes on."},
		{orderResolve, "resolve SUMMARY", "It is over: what ended it?"},
		{orderTime, "time started|detected|declared|acknowledged|mitigated|resolved 03:10 [why]", "Put a time right that the figures are made from. summary TEXT does that for the summary."},
		{orderReopen, "reopen WHY", "It is not over."},
		{orderCancel, "cancel WHY", "It was none."},
		{orderPM, "postmortem", "What is to be learned: write it, or read it. export md|json puts the record here, stats says how long incidents take."},
		{orderClose, "close", "Nothing more is to be done."},
		{orderSecurity, "security on|off [why]", "Say nothing in public, and freeze destructive steps."},
	}
	if alias, ok := orderAliases[verb]; ok {
		verb = alias
	}
	if verb != "" { // what stands beside others in the list
		rows = append(rows, [][3]string{
			{orderLeave, "leave", "Give your roles up."},
			{orderNoChange, "no-change [teams|users|both] [next 15m]", "An update that says that nothing has changed."},
			{orderSnooze, "snooze [teams|users] [5m]", "Keep the clocks silent for a while; what is due stays due."},
			{orderDone, "done N", "Task N is done."},
			{orderRuns, "runs", "The runs of the incident."},
			{orderDeny, "deny R12", "Shows what the run waits for; only its card's buttons decide."},
			{orderExport, "export [md|json]", "Puts the post-mortem or the whole record here."},
			{orderStats, "stats [90d]", "How long incidents take, by severity."},
			{orderSummary, "summary TEXT", "Put right how it was resolved."},
			{orderHelp, "help [VERB]", "What can be typed."},
		}...)
	}
	a := outbox.Answer{Title: "Incidents"}
	if known := slices.ContainsFunc(rows, func(row [3]string) bool { return row[0] == verb }); verb != "" && !known {
		a.Text, verb = fmt.Sprintf("%q is nothing that can be done with an incident. This can:", clip(verb, 40)), ""
	}
	for _, row := range rows {
		if verb == "" || verb == row[0] {
			a.Items = append(a.Items, outbox.Item{Name: orderUsage(req, row[1]), Detail: row[2]})
		}
	}
	a.Hint = "In an incident's thread, mention opsbot, and leave " + NounIncident + " out: @opsbot status fixing. Elsewhere, name it if several are open: " + orderUsage(req, "status INC-7 fixing")
	return a
}
