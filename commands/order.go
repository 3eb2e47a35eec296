package commands

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"opsbot/incidents"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// The grammar of incidents. REF is INC-7; without it, the incident is the one
// whose thread or channel this is, else the only open one.
//
//	line = "incident" [REF] [ verb [REF] … ]
//
//	incident                       a form to declare one
//	incident declare [sev1|sev2|sev3] [--drill] TITLE
//	incident list [open|all] | show [REF] | help [VERB]
//	incident lead|comms PERSON|me | add PERSON|@GROUP [as TAG] | leave
//	incident assess | sev 1|2|3 [why] | status STATE [note]
//	incident update [teams|users|both] [text] [next 15m]
//	incident no-change [teams|users|both] | snooze [teams|users] [5m]
//	incident note [at 14:05] TEXT | hide N [why] | task TEXT [PERSON] [by 2026-12-01] | done N
//	incident run RUNBOOK [key=value …] | runs | approve|deny RUN
//	incident channel [here] | page TARGET [text] | merge REF | reopen WHY | cancel WHY
//	incident time started|detected|declared|acknowledged|mitigated|resolved 03:10 [why] | summary TEXT
//	incident resolve SUMMARY | postmortem | close | export [md|json] | stats
//	incident security on|off [why]

// NounIncident is the first word of a line about incidents.
const NounIncident = "incident"

// The verbs after "incident".
const (
	orderDeclare  = "declare"
	orderList     = "list"
	orderShow     = "show"
	orderLead     = "lead"
	orderComms    = "comms"
	orderAdd      = "add"
	orderLeave    = "leave"
	orderAssess   = "assess"
	orderSeverity = "sev"
	orderStatus   = "status"
	orderUpdate   = "update"
	orderNoChange = "no-change"
	orderSnooze   = "snooze"
	orderNote     = "note"
	orderHide     = "hide"
	orderTask     = "task"
	orderDone     = "done"
	orderRun      = "run"
	orderRuns     = "runs"
	orderApprove  = "approve"
	orderDeny     = "deny"
	orderChannel  = "channel"
	orderPage     = "page"
	orderMerge    = "merge"
	orderReopen   = "reopen"
	orderCancel   = "cancel"
	orderResolve  = "resolve"
	orderPM       = "postmortem"
	orderClose    = "close"
	orderExport   = "export"
	orderStats    = "stats"
	orderTime     = "time"
	orderSummary  = "summary"
	orderSecurity = "security"
	orderHelp     = "help"

	// What buttons ask for, and nobody has to type.
	orderRoles   = "roles"
	orderMore    = "more"
	orderAccept  = "accept"  // a role
	orderPublish = "publish" // a drafted update
	orderEdit    = "edit"    // a drafted update
	orderReject  = "reject"  // a drafted update
	orderFrom    = "from"    // declares one from a run
	orderAlert   = "alert"   // declares one from a group of alerts, or gives it to one
)

// Orders are the words that mean something after "incident".
var Orders = []string{
	orderDeclare, orderList, orderShow, orderLead, orderComms, orderAdd, orderLeave, orderAssess, orderSeverity, orderStatus,
	orderUpdate, orderNoChange, orderSnooze, orderNote, orderHide, orderTask, orderDone, orderRun, orderRuns, orderApprove, orderDeny,
	orderChannel, orderPage, orderMerge, orderReopen, orderCancel, orderResolve, orderPM, orderClose, orderExport, orderStats, orderTime, orderSummary,
	orderSecurity, orderHelp, orderRoles, orderMore, orderAccept, orderPublish, orderEdit, orderReject, orderFrom, orderAlert,
}

var orderAliases = map[string]string{
	"new": orderDeclare, "open": orderDeclare, "start": orderDeclare, "ic": orderLead, "commander": orderLead,
	"severity": orderSeverity, "communications": orderComms, "state": orderStatus, "nochange": orderNoChange,
	"post-mortem": orderPM, "pm": orderPM, "join": orderAdd, "metrics": orderStats,
}

// An Order is a parsed line about incidents.
type Order struct {
	Verb      string
	Ref       int64  // of INC-7; 0: not said
	Rest      string // what follows the verb and is not read here: text, or the words of run
	Severity  incidents.Severity
	State     incidents.State
	Drill     bool
	Person    string // a user id, or "me"
	Role      incidents.RoleKind
	Group     string // a user group, by "@handle" or by its id, instead of a Person
	Tag       string
	Audiences []incidents.Alarm
	For       time.Duration // of a snooze, or until the next update
	Moment    string        // which time is corrected
	At        string        // 14:05, or a day and a time, as typed; with its zone, if one was said
	Number    int           // of a task, or of an entry of the timeline
	Due       string        // of a task: a day
	Other     int64         // of the incident to merge into
	All       bool
	On        bool
	ID        string // of an update, a run or a group of alerts
	Format    string
}

// hereWord, after channel, stands for the channel in which it is said.
const hereWord = "here"

// Me stands for whoever types.
const Me = "me"

var (
	personID = regexp.MustCompile(`^[UW][A-Z0-9]{1,20}$`)
	groupRef = regexp.MustCompile(`^(?:@[a-z0-9._-]{1,80}|S[A-Z0-9]{1,20})$`)
	zoned    = regexp.MustCompile(`^(?:(\d{4}-\d{2}-\d{2})[ T])?(\d{1,2}:\d{2})(?:\s*(UTC|Z))?(?:\s|$)`)
	opaqueID = regexp.MustCompile(`^[0-9a-fA-F-]{8,40}$`)
	tagName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.+-]{0,30}$`)
)

// IsIncident reports whether a line is about incidents.
func IsIncident(line string) bool {
	noun, _ := word(line)
	return strings.EqualFold(noun, NounIncident)
}

// ParseOrder reads a line that begins with "incident". Its errors are
// *fault.Error of kind Invalid.
func ParseOrder(line string) (Order, error) {
	var o Order
	if n := utf8.RuneCountInString(line); n > incidents.MaxText {
		return o, fault.New(fault.Invalid, "That is %d characters; a command has at most %d.", n, incidents.MaxText)
	}
	if !utf8.ValidString(line) {
		return o, fault.New(fault.Invalid, "That is not readable text (no valid UTF-8).")
	}
	// Lines of a text stay lines; everything else is one space.
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, plainer.Replace(line))
	noun, rest := term(line)
	if !strings.EqualFold(noun, NounIncident) {
		return o, fault.New(fault.Invalid, "Commands about incidents begin with %s.", NounIncident)
	}
	rest = o.ref(rest)
	verb, rest := term(rest)
	verb = strings.ToLower(verb)
	if alias, ok := orderAliases[verb]; ok {
		verb = alias
	}
	switch {
	case verb == "" && o.Ref != 0:
		o.Verb = orderShow
		return o, nil
	case verb == "":
		o.Verb = orderDeclare
		return o, nil
	case !slices.Contains(Orders, verb):
		e := fault.New(fault.Invalid, "%q is nothing that can be done with an incident.", clip(verb, 40))
		if slices.Contains(Verbs, verb) {
			return o, e.Hinted("It can be done with a run: %s", clip(strings.TrimSpace(Noun+" "+verb+" "+rest), 60))
		}
		if near := runbooks.Nearest(verb, Orders); near != "" {
			return o, e.Hinted("Did you mean %s %s? %s help lists everything.", NounIncident, near, NounIncident)
		}
		return o, e.Hinted("%s help lists everything. To declare one: %s declare %s", NounIncident, NounIncident, clip(strings.TrimSpace(verb+" "+rest), 60))
	}
	o.Verb = verb
	if verb == orderMerge {
		return o, o.merge(rest)
	}
	if o.Ref == 0 && verb != orderDeclare {
		rest = o.ref(rest)
	}
	return o, o.words(strings.TrimSpace(rest))
}

// ref takes INC-7 from the front of a line.
func (o *Order) ref(line string) (rest string) {
	w, after := term(line)
	if n, ok := incidents.ParseRef(w); ok {
		o.Ref = n
		return after
	}
	return line
}

// merge reads "REF", or "REF [into] REF".
func (o *Order) merge(line string) error {
	var refs []int64
	for w, rest := term(line); w != ""; w, rest = term(rest) {
		n, ok := incidents.ParseRef(w)
		switch {
		case ok:
			refs = append(refs, n)
		case !strings.EqualFold(w, "into"):
			return fault.New(fault.Invalid, "%q is no incident. They are called INC and a number, such as INC-7.", clip(w, 40))
		}
	}
	switch {
	case len(refs) == 1:
		o.Other = refs[0]
	case len(refs) == 2 && o.Ref == 0:
		o.Ref, o.Other = refs[0], refs[1]
	case len(refs) > 1:
		return fault.New(fault.Invalid, "One incident is merged into one other; do it once for each.")
	}
	return nil
}

// words reads what follows the verb.
func (o *Order) words(rest string) error {
	first, after := term(rest)
	switch o.Verb {
	case orderDeclare:
		if s, ok := incidents.ParseSeverity(first); ok && strings.HasPrefix(strings.ToLower(first), "sev") {
			o.Severity, rest = s, strings.TrimSpace(after)
		}
		if first, after = term(rest); first == "--drill" || first == "—drill" {
			o.Drill, rest = true, strings.TrimSpace(after)
		}
		o.Rest = unquote(rest)
	case orderList:
		switch strings.ToLower(first) {
		case "", "open":
		case "all":
			o.All = true
		default:
			return fault.New(fault.Invalid, "%q is no list of incidents: there are open and all.", clip(first, 40))
		}
	case orderLead, orderComms:
		return o.person(rest, o.Verb)
	case orderAdd:
		if groupRef.MatchString(first) {
			o.Group, o.Rest = first, strings.TrimSpace(after)
		} else if err := o.person(rest, o.Verb); err != nil || o.Person == "" {
			return err
		}
		as, tag := term(o.Rest)
		if strings.EqualFold(as, "as") {
			as, tag = term(tag)
		} else if as != "" {
			return fault.New(fault.Invalid, "%q is one word too many; a tag follows as: add @ann as dba.", clip(as, 40))
		}
		if as != "" && !tagName.MatchString(as) || strings.TrimSpace(tag) != "" {
			return fault.New(fault.Invalid, "A tag is one word, such as backend, dba or devops.")
		}
		o.Tag, o.Rest = strings.ToLower(as), ""
	case orderSeverity:
		if first == "" {
			return nil
		}
		s, ok := incidents.ParseSeverity(first)
		if !ok || s == incidents.Unassessed {
			return fault.New(fault.Invalid, "%q is no severity: 1 is critical, 2 major, 3 minor.", clip(first, 40))
		}
		o.Severity, o.Rest = s, strings.TrimSpace(after)
	case orderStatus:
		if first == "" {
			return nil
		}
		s, ok := incidents.ParseState(first)
		if !ok {
			return fault.New(fault.Invalid, "%q is no status. There are %s.", clip(first, 40), stateList())
		}
		o.State, o.Rest = s, strings.TrimSpace(after)
	case orderUpdate, orderNoChange, orderSnooze:
		return o.telling(rest)
	case orderNote:
		return o.note(rest)
	case orderTime:
		return o.moment(first, after)
	case orderHide:
		return o.hide(rest)
	case orderTask:
		return o.task(rest)
	case orderDone:
		return o.number(rest)
	case orderApprove, orderDeny:
		if !runRef.MatchString(first) {
			return fault.New(fault.Invalid, "Which run? Type its number after %s, such as R12.", o.Verb)
		}
		o.ID = first
	case orderFrom:
		if !runRef.MatchString(first) {
			return fault.New(fault.Invalid, "%q is no run.", clip(first, 40))
		}
		o.ID = first
	case orderAlert:
		if !opaqueID.MatchString(first) {
			return fault.New(fault.Invalid, "Which alert? The button on its card knows.")
		}
		o.ID, o.On = first, strings.EqualFold(strings.TrimSpace(after), "new")
	case orderAccept:
		o.Role = incidents.RoleKind(strings.ToLower(first))
		if !o.Role.Exclusive() {
			return fault.New(fault.Invalid, "Which role? There are commander and comms.")
		}
	case orderPublish, orderReject, orderEdit:
		if !opaqueID.MatchString(first) {
			return fault.New(fault.Invalid, "Which draft? Its buttons know.")
		}
		o.ID, o.Rest = first, strings.TrimSpace(after)
	case orderExport:
		switch o.Format = strings.ToLower(first); o.Format {
		case "", "md", "json":
		default:
			return fault.New(fault.Invalid, "There is no export as %q: there are md and json.", clip(first, 40))
		}
	case orderSecurity:
		switch strings.ToLower(first) {
		case "", "on":
			o.On = true
		case "off":
		default:
			return fault.New(fault.Invalid, "%q means nothing here: it is on or off.", clip(first, 40))
		}
		o.Rest = strings.TrimSpace(after)
	case orderHelp:
		o.Rest = strings.ToLower(first)
	default:
		o.Rest = rest
	}
	return nil
}

// person reads somebody, if anybody is named.
func (o *Order) person(rest, verb string) error {
	first, after := term(rest)
	switch {
	case first == "":
		return nil
	case strings.EqualFold(first, Me):
		o.Person = Me
	case personID.MatchString(first):
		o.Person = first
	default:
		return fault.New(fault.Invalid, "%q is nobody that opsbot knows.", clip(first, 40)).
			Hinted("Choose the person from the list that Slack offers after @, or type me: %s me.", verb)
	}
	o.Rest = strings.TrimSpace(after)
	return nil
}

// telling reads whom an update is for, and when the next one is due.
func (o *Order) telling(rest string) error {
	first, after := term(rest)
	switch a := strings.ToLower(first); a {
	case "teams", "users":
		o.Audiences, rest = []incidents.Alarm{incidents.Alarm(a)}, after
	case "both":
		o.Audiences, rest = slices.Clone(incidents.Audiences), after
	}
	rest = strings.TrimSpace(rest)
	if o.Verb == orderSnooze {
		if rest == "" {
			return nil
		}
		d, err := parseSpan(rest)
		if err != nil {
			return err
		}
		o.For = d
		return nil
	}
	// "next 15m" at the very end says when the next one is due.
	if at := strings.LastIndex(" "+strings.ToLower(rest), " next "); at >= 0 {
		if d, err := parseSpan(strings.TrimSpace(rest[at+len("next"):])); err == nil {
			o.For, rest = d, strings.TrimSpace(rest[:at])
		}
	}
	o.Rest = rest
	return nil
}

// units are the words for units of time, the longest first.
var units = strings.NewReplacer("minutes", "m", "minute", "m", "mins", "m", "min", "m", "hours", "h", "hour", "h", "hrs", "h", "hr", "h")

// parseSpan reads "15m", "15 min", "1h", "1 hour 30 minutes" or "15".
func parseSpan(s string) (time.Duration, error) {
	bad := fault.New(fault.Invalid, "%q is no length of time, such as 15m or 1h.", clip(s, 40))
	t := units.Replace(strings.ToLower(strings.ReplaceAll(s, " ", "")))
	if n, err := strconv.Atoi(t); err == nil && n < 100000 {
		t = fmt.Sprintf("%dm", n)
	}
	d, err := time.ParseDuration(t)
	if err != nil || d <= 0 || d > 365*24*time.Hour {
		return 0, bad
	}
	return d, nil
}

// note reads "[at 14:05] text".
func (o *Order) note(rest string) error {
	if at, after := term(rest); strings.EqualFold(at, "at") {
		after = strings.TrimSpace(after)
		if m := zoned.FindStringSubmatch(after); m != nil {
			o.At = strings.TrimSpace(m[1] + " " + m[2])
			if m[3] != "" {
				o.At += " UTC"
			}
			rest = after[len(m[0]):]
		}
	}
	o.Rest = strings.TrimSpace(rest)
	return nil
}

// moment reads "resolved 03:10 [why]".
func (o *Order) moment(which, rest string) error {
	o.Moment = strings.ToLower(which)
	if !slices.Contains(incidents.Moments, o.Moment) {
		return fault.New(fault.Invalid, "Which time? There are %s.", strings.Join(incidents.Moments, ", ")).
			Hinted("%s %s resolved 03:10 [why]", NounIncident, orderTime)
	}
	rest = strings.TrimSpace(rest)
	if at, after := term(rest); strings.EqualFold(at, "at") {
		rest = strings.TrimSpace(after)
	}
	m := zoned.FindStringSubmatch(rest)
	if m == nil {
		return fault.New(fault.Invalid, "When was it %s? Type a time, such as 03:10, 03:10 UTC or 2026-11-25 03:10.", o.Moment)
	}
	o.At = strings.TrimSpace(m[1] + " " + m[2])
	if m[3] != "" {
		o.At += " UTC"
	}
	o.Rest = strings.TrimSpace(rest[len(m[0]):])
	return nil
}

// instantOf makes a moment of what was typed after "at": today, or yesterday
// if that would be in the future, in the zone unless UTC was said.
func instantOf(typed string, zone *time.Location, now time.Time) (time.Time, error) {
	if rest, is := strings.CutSuffix(typed, " UTC"); is {
		typed, zone = rest, time.UTC
	}
	now = now.In(zone)
	if t, err := time.ParseInLocation("2006-01-02 15:04", typed, zone); err == nil {
		return t.UTC(), nil
	}
	t, err := time.ParseInLocation("15:04", typed, zone)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "%q is no time of day, such as 14:05.", clip(typed, 40))
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, zone)
	if at.After(now.Add(time.Minute)) {
		at = at.AddDate(0, 0, -1)
	}
	return at.UTC(), nil
}

// task reads "TEXT [PERSON] [by DAY]", or "N PERSON [by DAY]" for one that there is.
func (o *Order) task(rest string) error {
	words := strings.Fields(rest)
	for len(words) > 0 {
		last := words[len(words)-1]
		_, err := time.Parse(time.DateOnly, last)
		switch {
		case err == nil && o.Due == "":
			o.Due = last
			words = words[:len(words)-1]
			if n := len(words); n > 0 && (strings.EqualFold(words[n-1], "by") || strings.EqualFold(words[n-1], "due")) {
				words = words[:n-1]
			}
			continue
		case o.Person == "" && (personID.MatchString(last) || len(words) > 1 && last == Me):
			o.Person = last
			words = words[:len(words)-1]
			continue
		}
		break
	}
	o.Rest = strings.Join(words, " ")
	if n, err := strconv.Atoi(o.Rest); err == nil && n > 0 && n <= incidents.MaxTasks {
		o.Number, o.Rest = n, ""
	}
	return nil
}

// hide reads "N [why]", if anything.
func (o *Order) hide(rest string) error {
	first, after := term(rest)
	if first == "" {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(first, "#"))
	if err != nil || n < 1 || n > 1e9 {
		return fault.New(fault.Invalid, "Which entry? Type its number after %s; %s %s has the numbers.", o.Verb, NounIncident, orderShow)
	}
	o.Number, o.Rest = n, strings.TrimSpace(after)
	return nil
}

func (o *Order) number(rest string) error {
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "#"))
	if err != nil || n < 1 || n > incidents.MaxTasks {
		return fault.New(fault.Invalid, "Which task? Type its number after %s.", o.Verb)
	}
	o.Number = n
	return nil
}

// term cuts the first word off, at any kind of space.
func term(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \n")
	if i := strings.IndexAny(s, " \n"); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func stateList() string {
	var names []string
	for _, s := range incidents.States() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
