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
}
