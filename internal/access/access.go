// Package access says who an actor is and what they may do.
package access

import "context"

// An ActorKind says where an actor comes from.
type ActorKind string

const (
	// Person is a member of the Slack workspace, in Slack or at a terminal.
	Person ActorKind = "person"
	// Schedule is the server's clock: it starts runs and answers nothing.
	Schedule ActorKind = "schedule"
	// System is opsbot itself: expiry, recovery after a restart.
	System ActorKind = "system"
)

// An Actor is somebody or something that acts. Its identity is Kind, Team and
// ID; Name is only for display. The zero value is nobody and may do nothing.
type Actor struct {
	Kind ActorKind `json:"kind"`
	Team string    `json:"team,omitempty"` // Slack team id
	ID   string    `json:"id"`             // Slack user id, or the schedule's name
	Name string    `json:"name,omitempty"` // display name, may be empty
	Via  string    `json:"via,omitempty"`  // "slack" or "terminal": where this act was made
	// Message is the one whose button was clicked in this act, as CHANNEL/TS; ""
	// for any other act.
	Message string `json:"message,omitempty"`
}

// WithoutMessage is the actor as it is kept for later acts, which are not that
// click's.
func (a Actor) WithoutMessage() Actor {
	a.Message = ""
	return a
}

// Same reports whether a and b are one identity, whatever their names and
// wherever they act.
func (a Actor) Same(b Actor) bool {
	return a.Kind == b.Kind && a.Team == b.Team && a.ID == b.ID && a.ID != ""
}

// A Standing is what the workspace says about a person. The zero value is a
// full member in good standing.
type Standing struct {
	Bot         bool // an app's user
	Guest       bool // single- or multi-channel guest
	Stranger    bool // from another workspace through Slack Connect
	Deactivated bool
}

// A Directory knows the workspace's people. Implementations may cache, but not
// for longer than their documentation says.
type Directory interface {
	// Members returns the user ids of the Slack user group with the handle.
	// It returns a *fault.Error of kind NotFound for an unknown handle and of
	// kind Unavailable when neither Slack nor a fresh cache can tell.
	Members(ctx context.Context, usergroup string) ([]string, error)
	// Standing says what kind of member the user is.
	Standing(ctx context.Context, user string) (Standing, error)
}
