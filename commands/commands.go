// Package commands turns what people type or click into authorised calls on
// incidents and runs; it knows nothing of Slack.
package commands

import (
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
	// Line is what was typed after the bot's name or instead of it, with the
	// leading noun: "runbook cache-fix env=demo".
	Line string
	// Action and Values are set for clicks and forms instead of Line. Action
	// is one of the Action… constants with its opaque subject.
	Action  string
	Subject string
	Values  map[string]string
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
)
