// Package fault defines the error that people may see.
//
// An Error has three parts for three readers: a Kind for the code that must
// decide, a Message and a Hint for the person at the keyboard, and a cause for
// the log. Any other error is a fault of opsbot itself: people see that it
// happened and where to look, never its text.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// A Kind says what a caller can do about an error.
type Kind string

const (
	// Invalid: the request itself is wrong; asking again unchanged cannot work.
	Invalid Kind = "invalid"
	// NotFound: what was named does not exist.
	NotFound Kind = "not_found"
	// Forbidden: the actor lacks the right.
	Forbidden Kind = "forbidden"
	// Conflict: the state of the thing does not allow it (already decided, locked, ended).
	Conflict Kind = "conflict"
	// Unavailable: a system that is needed did not answer; asking later may work.
	Unavailable Kind = "unavailable"
	// Internal: a defect of opsbot. It is the Kind of every error that is not an *Error.
	Internal Kind = "internal"
)

// An Error is an error that a person may see.
type Error struct {
	Kind    Kind
	Message string // one plain sentence: what failed, on which system; never a secret
	Hint    string // what to do next; may be empty
	Err     error  // the cause, for logs and errors.Is; may be nil
}

// New returns an Error of the kind with a formatted message.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Hinted returns a copy of e with a formatted hint.
func (e *Error) Hinted(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Because returns a copy of e with the cause, which only logs show.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Err = cause
	return &c
}

// Error gives the message and the cause, for logs.
func (e *Error) Error() string {
	if e.Err != nil {
		return strings.TrimSuffix(e.Message, ".") + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain, Internal for any
// other error and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Say returns what a person is told about err: message and hint of the first
// *Error in its chain, or a sentence that admits an internal error without
// quoting it.
func Say(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &e):
		return "Something went wrong inside opsbot; nothing more was done. The log has the details."
	case e.Hint == "":
		return e.Message
	default:
		return e.Message + " " + e.Hint
	}
}
