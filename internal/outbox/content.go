package outbox

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// All strings in contents are plain text unless their name ends in Markup: the
// sender escapes them. People are user ids; the sender shows them as mentions,
// a terminal as names.

// A RunCard is the live message of one run.
type RunCard struct {
	Run         string     `json:"run"`
	Number      int64      `json:"number"` // people say R12
	Runbook     string     `json:"runbook"`
	Title       string     `json:"title"`
	Environment string     `json:"environment"`
	Critical    bool       `json:"critical,omitempty"`
	DryRun      bool       `json:"dry_run,omitempty"`
	Starter     string     `json:"starter,omitempty"` // user id; "" for a schedule
	StarterName string     `json:"starter_name,omitempty"`
	State       string     `json:"state"` // engine.State
	Verdict     string     `json:"verdict,omitempty"`
	Started     time.Time  `json:"started"`
	Ended       time.Time  `json:"ended,omitzero"`
	Steps       []StepLine `json:"steps"`
	Next        string     `json:"next,omitempty"` // who can act next and how long is left, or why it ended
	NextUsers   []string   `json:"next_users,omitempty"`
	NextGroups  []string   `json:"next_groups,omitempty"` // names of groups, as configured
	Until       time.Time  `json:"until,omitzero"`        // when the wait named by Next ends
	Waiters     int        `json:"waiters,omitempty"`     // other runs that wait for this one's locks
	Stoppable   bool       `json:"stoppable,omitempty"`
	Offers      []Offer    `json:"offers,omitempty"`   // runbooks to go on with
	Incident    bool       `json:"incident,omitempty"` // it belongs to one already
}

// A StepLine is one step on a RunCard.
type StepLine struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Mark   string `json:"mark"`            // pending running waiting pass warn fail unknown skipped uncertain
	Found  string `json:"found,omitempty"` // one line: what was found or done, or why not
	Effect string `json:"effect,omitempty"`
}

// An Offer is a runbook that a person may start with one click.
type Offer struct {
	ID      string `json:"id"` // opaque
	Runbook string `json:"runbook"`
	Say     string `json:"say"`
	Why     string `json:"why,omitempty"` // why it cannot be started here; then it is no button
}

// A Fact is a labelled value.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// An Ask is the card of one approval: a run waits for people to decide.
type Ask struct {
	Approval    string   `json:"approval"` // opaque id, all that a button carries
	Kind        string   `json:"kind"`     // confirm review ask manual uncertain
	Run         string   `json:"run"`
	Number      int64    `json:"number"`
	Runbook     string   `json:"runbook"`
	Title       string   `json:"title"` // of the runbook
	Environment string   `json:"environment"`
	Critical    bool     `json:"critical,omitempty"`
	Step        string   `json:"step"`
	StepTitle   string   `json:"step_title"`
	Effect      string   `json:"effect"`
	Question    string   `json:"question"`
	Target      string   `json:"target,omitempty"`  // which system, with its identity
	Impact      []string `json:"impact,omitempty"`  // sentences: what the click would do
	Reasons     []string `json:"reasons,omitempty"` // why more is asked than usual
	Arguments   []Fact   `json:"arguments,omitempty"`
	Source      string   `json:"source,omitempty"`   // "cache-fix.md:62"
	Rollback    string   `json:"rollback,omitempty"` // what undoes it, or that nothing does
	// Covers are steps of the rollback that the approval covers too: their
	// digests, by step. What they would do stands among the Arguments.
	Covers    map[string]string `json:"covers,omitempty"`
	Digest    string            `json:"digest,omitempty"` // hex; people compare its first six characters
	Type      string            `json:"type,omitempty"`   // the phrase that must be typed to confirm
	Users     []string          `json:"users,omitempty"`  // who may decide, by id
	Groups    []string          `json:"groups,omitempty"` // who may decide, by group
	Needed    int               `json:"needed,omitempty"` // approvals wanted
	Votes     []Vote            `json:"votes,omitempty"`
	Items     []string          `json:"items,omitempty"`  // a manual step's check list
	Fields    []Field           `json:"fields,omitempty"` // a manual step's fields
	Choices   []Choice          `json:"choices,omitempty"`
	Expires   time.Time         `json:"expires,omitzero"`
	State     string            `json:"state"`             // open granted denied expired void
	Outcome   string            `json:"outcome,omitempty"` // who decided what and when, once decided
	OutcomeBy string            `json:"outcome_by,omitempty"`
	Link      string            `json:"link,omitempty"`
}

// A Vote is one person's answer, for display.
type Vote struct {
	User     string    `json:"user"`
	Name     string    `json:"name,omitempty"`
	Decision string    `json:"decision"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// A Choice is one button of an Ask.
type Choice struct {
	ID     string `json:"id"` // approve deny confirm cancel retry skip rollback stop redo done
	Label  string `json:"label"`
	Style  string `json:"style,omitempty"`  // primary, danger or ""
	Reason bool   `json:"reason,omitempty"` // a reason must be given: the click opens a form
}

// A Field is something to fill in.
type Field struct {
	Name     string   `json:"name"`
	Label    string   `json:"label"`
	Type     string   `json:"type"` // a parameter type of the runbook format
	Help     string   `json:"help,omitempty"`
	Values   []string `json:"values,omitempty"` // of an enum
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	Long     bool     `json:"long,omitempty"` // several lines
}

// A Line is a short message, mostly in a run's thread.
type Line struct {
	Text   string   `json:"text"`
	Run    string   `json:"run,omitempty"`
	Users  []string `json:"users,omitempty"`  // mentioned in front, once
	Groups []string `json:"groups,omitempty"` // mentioned in front, once
	Code   string   `json:"code,omitempty"`   // output, shown verbatim; what is not shown of it goes into a file
	Lines  int      `json:"lines,omitempty"`  // of Code to be shown; 0: as many as fit
	Tail   bool     `json:"tail,omitempty"`   // the last lines of Code rather than the first
	// Broadcast shows a line of a thread in the channel as well.
	Broadcast bool `json:"broadcast,omitempty"`
}

// A Report is what a run has to say at its end.
type Report struct {
	Run        string   `json:"run"`
	Number     int64    `json:"number"`
	Title      string   `json:"title"`
	Verdict    string   `json:"verdict"`
	BodyMarkup string   `json:"body_markup"` // mrkdwn; interpolated values are escaped already
	Users      []string `json:"users,omitempty"`
}

// An Answer replies to a command: help, a list, a refusal.
type Answer struct {
	Tone  string   `json:"tone,omitempty"` // "", "error"
	Title string   `json:"title,omitempty"`
	Text  string   `json:"text,omitempty"`
	Items []Item   `json:"items,omitempty"`
	Hint  string   `json:"hint,omitempty"`
	Code  string   `json:"code,omitempty"` // a verbatim block
	Users []string `json:"users,omitempty"`
}

// An Item is one row of an Answer.
type Item struct {
	Name    string `json:"name"`
	Detail  string `json:"detail,omitempty"`
	Command string `json:"command,omitempty"` // the command a button runs
	Label   string `json:"label,omitempty"`   // that button's text
}

// An Alert is the live message of a group of alerts.
type Alert struct {
	Title       string      `json:"title"`
	State       string      `json:"state"` // firing, resolved
	Severity    string      `json:"severity,omitempty"`
	Environment string      `json:"environment,omitempty"`
	Text        string      `json:"text,omitempty"` // what the alerts' author says
	Since       time.Time   `json:"since"`
	Ended       time.Time   `json:"ended,omitzero"`
	Alerts      []AlertLine `json:"alerts"`
	More        int         `json:"more,omitempty"` // alerts that are not among them
	Link        string      `json:"link,omitempty"` // to Alertmanager
	Runbooks    []Item      `json:"runbooks"`       // what they suggest

	Group    string `json:"group,omitempty"`    // opaque: names it in commands; "": no incident can be declared from it
	Incident string `json:"incident,omitempty"` // INC-7, which it belongs to
	Noted    string `json:"noted,omitempty"`    // INC-7, if it is on that timeline without belonging to it
}

// An AlertLine is one alert of an Alert.
type AlertLine struct {
	Labels string    `json:"labels,omitempty"` // that the others do not have
	Text   string    `json:"text,omitempty"`
	State  string    `json:"state"` // firing, resolved
	Since  time.Time `json:"since"`
}

// A File is a long output, uploaded into a conversation.
type File struct {
	Run   string `json:"run,omitempty"`
	Name  string `json:"name"`
	Title string `json:"title"`
	Text  string `json:"text"`
	Data  []byte `json:"data,omitempty"` // instead of Text: a picture
}

func (RunCard) ContentKind() string { return "run_card" }
func (Ask) ContentKind() string     { return "ask" }
func (Line) ContentKind() string    { return "line" }
func (Report) ContentKind() string  { return "report" }
func (Answer) ContentKind() string  { return "answer" }
func (File) ContentKind() string    { return "file" }
func (Alert) ContentKind() string   { return "alert" }

func (c RunCard) Summary() string {
	s := fmt.Sprintf("%s on %s (R%d): %s", c.Title, c.Environment, c.Number, c.State)
	if c.Verdict != "" {
		s += ", " + c.Verdict
	}
	if c.Next != "" {
		s += ". " + c.Next
	}
	return s
}

func (a Ask) Summary() string {
	if a.State != "" && a.State != "open" {
		return fmt.Sprintf("R%d %s: %s", a.Number, a.StepTitle, a.Outcome)
	}
	return fmt.Sprintf("R%d on %s needs you: %s", a.Number, a.Environment, a.Question)
}

func (l Line) Summary() string   { return l.Text }
func (r Report) Summary() string { return fmt.Sprintf("%s (R%d) %s", r.Title, r.Number, r.Verdict) }
func (f File) Summary() string   { return f.Title }

func (a Alert) Summary() string {
	s := a.Title + " is " + a.State
	if a.Environment != "" {
		s += " on " + a.Environment
	}
	if a.Text != "" {
		s += ": " + a.Text
	}
	return s
}

func (a Answer) Summary() string {
	var parts []string
	for _, s := range []string{a.Title, a.Text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	for _, it := range a.Items {
		parts = append(parts, strings.TrimSpace(it.Name+" "+it.Detail))
	}
	if a.Hint != "" {
		parts = append(parts, a.Hint)
	}
	return strings.Join(parts, "\n")
}

// Decode returns the content that Encode stored.
func Decode(kind string, data []byte) (Content, error) {
	switch kind {
	case "run_card":
		return decode[RunCard](data)
	case "ask":
		return decode[Ask](data)
	case "line":
		return decode[Line](data)
	case "report":
		return decode[Report](data)
	case "answer":
		return decode[Answer](data)
	case "file":
		return decode[File](data)
	case "home":
		return decode[Home](data)
	case "alert":
		return decode[Alert](data)
	case "incident":
		return decode[Incident](data)
	case "prompt":
		return decode[Prompt](data)
	case "pin":
		return decode[Pin](data)
	case "reaction":
		return decode[Reaction](data)
	case "invite":
		return decode[Invite](data)
	case "room":
		return decode[Room](data)
	case "redaction":
		return decode[Redaction](data)
	case "removed":
		return decode[Removed](data)
	}
	return nil, fmt.Errorf("outbox: unknown content kind %q", kind)
}

func decode[T Content](data []byte) (Content, error) {
	var c T
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("outbox: decode %s: %w", c.ContentKind(), err)
	}
	return c, nil
}
