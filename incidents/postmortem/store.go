package postmortem

import (
	"context"
	"errors"
	"time"

	"opsbot/internal/access"
)

// ErrNone means that there is no post-mortem yet.
var ErrNone = errors.New("no post-mortem")

// ErrChanged means that somebody else saved a version meanwhile.
var ErrChanged = errors.New("the post-mortem was changed meanwhile")

// A Version is a post-mortem as somebody left it. Versions are only ever added.
type Version struct {
	Incident string // its id
	Number   int    // from 1
	Text     string
	By       access.Actor
	At       time.Time // by the database's clock
}

// A Store keeps post-mortems with their history.
type Store interface {
	// Latest returns the newest version, or ErrNone.
	Latest(ctx context.Context, incident string) (Version, error)
	// Save adds v as the version after the numbered one (0: the first), and
	// returns it with its number and time. It returns ErrChanged if there is a
	// later version already, unless that says the same by the same person: then
	// it was saved before.
	Save(ctx context.Context, v Version, after int) (Version, error)
}
