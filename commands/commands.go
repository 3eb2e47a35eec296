// Package commands turns what people type or click into authorised calls on
// incidents and runs; it knows nothing of Slack.
package commands

import (
	"regexp"
	"strings"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// A Request is one thing that a person asked for: a typed line, a click or a
// submitted form.
type Request struct {
	// Key identifies the act; handling the same key twice has one effect.
	Key   string
	Actor access.Actor
	Where outbox.Conversation
	// Message is the ts of the message that asks, if one does.
	Message string
	// Zone is the IANA name of the person's time zone; "": not known.
	Zone string
	// Clicked says that Line comes from a button: what it changes is seen where
	// the button is.
	Clicked bool
	// Line is what was typed after the bot's name or instead of it, with the
	// leading noun: "runbook cache-fix env=demo".
	Line string
	// Names are what people are called, and channels, whose ids stand in Line:
	// "@ben" for U123, "#ops" for C123. See Named.
	Names map[string]string
	// Action and Values are set for clicks and forms instead of Line. Action
	// is one of the Action… constants with its opaque subject.
	Action  string
	Subject string
	Values  map[string]string
}

// Named gives the text with names in the place of the ids of people and
// channels: commands work with ids, people read names.
func (r Request) Named(text string) string {
	for id, name := range r.Names {
		if name != "" && strings.Contains(text, id) {
			text = regexp.MustCompile(`\b`+regexp.QuoteMeta(id)+`\b`).ReplaceAllLiteralString(text, name)
		}
	}
	return text
}

// A Reply is the answer to a Request.
type Reply struct {
	// Answer is said to the person alone; nil: nothing to say.
	Answer *outbox.Answer
	// Form is opened for the person, where the door can open one.
	Form *Form
	// Notices are committed with the end of the request.
	Notices []outbox.Notice
}

// A Form asks the person for values. Its submission comes back as a Request
// with the same Action and Subject.
type Form struct {
	Action  string
	Subject string
	Title   string // at most 24 characters
	Intro   string
	Submit  string // the verb on the button
	Fields  []outbox.Field
	// Must gives, by field, the exact text that is wanted: a typed confirmation.
	Must map[string]string
	// Keep comes back in the submission's Values, unseen by the person.
	Keep map[string]string
	// Where is the conversation that the submission belongs to.
	Where outbox.Conversation
	// Message is the one whose button asked for the form: the submission's act is
	// that click's. See access.Actor.
	Message string
	// Else is said where no form can be opened: what to type instead.
	Else string
}

// What a click or a submitted form can ask for. The Subject is opaque to the
// door that carries it.
const (
	// ActionDecide answers an approval: Subject is its id, Values[ValueChoice]
	// the choice; a form adds ValueReason, ValueTyped and, for each field of a
	// manual step, FieldPrefix + its name.
	ActionDecide = "decide"
	// ActionStop stops the run whose id is the Subject.
	ActionStop = "stop"
	// ActionOffer starts the offered runbook whose offer id is the Subject.
	ActionOffer = "offer"
	// ActionStart starts the runbook named by the Subject; Values hold
	// ValueEnvironment, ValueDryRun and, by name, the parameters.
	ActionStart = "start"
	// ActionIncident does what the line about an incident that is the Subject
	// says, with the form's Values.
	ActionIncident = "incident"
	// ActionDeclareHere asks for an incident to be declared from a message:
	// Values[ValueSaid] is what it says, Values[ValueBy] who wrote it, and
	// Where its place.
	ActionDeclareHere = "declare-here"
	// ActionHome draws the person's own page.
	ActionHome = "home"
	// ActionCapture puts the message Request.Message on the timeline of the
	// incident in whose room it stands: Values[ValueSaid] is what it says,
	// Values[ValueBy] who wrote it, and Values[ValueFiles] what hangs on it.
	ActionCapture = "capture"
	// ActionAmend keeps up with a message that may be on a timeline: Subject is
	// one of the Amend… constants, Values[ValueSaid] what it says now,
	// Values[ValueFiles] what hangs on it, and Line what of it is said to the
	// bot, "" for nothing.
	ActionAmend = "amend"
	AmendEdit   = "edit"
	AmendDelete = "delete"
	AmendUnpin  = "unpin"
	// ActionArchived tells that the Actor archived the channel Where, whose name
	// is the Subject.
	ActionArchived = "archived"
	// ActionCrowd says that the thread Where has Values[ValueReplies] replies.
	ActionCrowd = "crowd"
	// ActionPaper says that the message Request.Message shares a Markdown file,
	// whose id is the Subject and whose name Values[ValueFiles].
	ActionPaper = "paper"
	// ActionReason repeats the typed line that is the Subject, with ValueReason
	// as its reason.
	ActionReason = "reason"
)

// Names in Request.Values and of a Form's fields. The last two of a start are
// reserved words of the runbook format, so no parameter has them.
const (
	ValueChoice      = "choice"
	ValueReason      = "reason"
	ValueTyped       = "typed"
	ValueEnvironment = "env"
	ValueDryRun      = "dry-run"
	FieldPrefix      = "field:"
	ValueSubject     = "incident:" // what a run belongs to; no parameter has a colon
	ValueSaid        = valueSaid
	ValueBy          = valueBy
	ValueFiles       = "files"
	ValueReplies     = "replies"
	ValuePaper       = "paper" // what the file says that PaperOf names
)
