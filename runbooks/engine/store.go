package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// ErrLeaseLost means that another owner has the run, or may have: stop acting.
var ErrLeaseLost = errors.New("the run's lease is lost")

// ErrNoRun means that there is no such run or approval.
var ErrNoRun = errors.New("no such run")

// A LockedError says that another run holds a lock that a new run needs.
type LockedError struct {
	Key    string
	Holder string // run id
	Number int64
	Since  time.Time
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("lock %s is held by R%d", e.Key, e.Number)
}

// LockPart stands in a lock's key between a connection and a part of it.
const LockPart = " / "

// A Fence proves that a writer still owns a run.
type Fence struct {
	Owner string
	Epoch int64
}

// A Change is what one commit adds beside the run itself.
type Change struct {
	Notices []outbox.Notice
	Audit   []AuditEntry
	Unlock  bool   // release every lock of the run's root
	Lock    bool   // take the run's Locks; a *LockedError undoes the commit
	Release bool   // give up the lease: the run waits, sleeps or has ended
	Start   *Birth // a run to create with the same commit; a *LockedError undoes all of it
	Await   string // id of a run whose end this one waits for: Waiting becomes Ready if it has ended
	Wake    string // id of a run to make Ready if it is Waiting and not paused: it awaits this one's end
	// Anew are keys of messages that are left where they stand: the next notice
	// of that key, in this commit or later, posts another message.
	Anew []string
	// Ended are the steps that this commit ends. What the run belongs to is told
	// of them: see Notes.
	Ended []string
	// Runbook has the titles of the steps for Notes; nil: ids stand for them.
	Runbook *runbooks.Runbook
}

// A Birth is a run that another one starts, and what its creation says.
type Birth struct {
	Run    *Run
	Change Change // its Notices and Audit
}

// An AuditEntry is one row of the audit log: who did what to what, and what
// came of it. The store adds time, sequence and the hash chain.
type AuditEntry struct {
	Actor    access.Actor
	Act      string // start, confirm, approve, deny, refuse, stop, act, expire …
	Run      string
	Step     string
	Approval string
	Digest   string
	Outcome  string
	Detail   string
}

// A Query selects runs. Zero fields do not restrict.
type Query struct {
	Runbook     string
	Environment string
	Unended     bool
	Subject     string
	Limit       int // at most 200; 0: 20
}

// A Lock is a held lock.
type Lock struct {
	Key     string
	Run     string
	Number  int64
	Since   time.Time
	Starter access.Actor // of the run
}

// By names who has started the run that holds the lock.
func (l Lock) By() string { return person(l.Starter) }

// A Store keeps runs. Every method is one transaction; times are the
// database's clock where they decide anything.
type Store interface {
	// Create commits a new run with its locks (run.Locks) and the change, gives
	// it its number and returns it. If a run with the same non-empty
	// RequestKey exists, that one is returned and nothing is written. It
	// returns a *LockedError if another root run holds one of the locks. A key
	// of the form whole + LockPart + part excludes the whole, and the reverse.
	Create(ctx context.Context, run *Run, change Change) (*Run, error)
	// Claim takes the longest-waiting run that is Ready, due and without a
	// live lease: owner set, epoch one up, lease of LeaseTime. It returns nil
	// without an error when there is none.
	Claim(ctx context.Context, owner string) (*Run, error)
	// Heartbeat extends the live leases of the owner to LeaseTime from now. It
	// never revives an expired one.
	Heartbeat(ctx context.Context, owner string) error
	// Update loads a run, lets fn change it, and commits what changed together
	// with the change fn returns. With a fence it returns ErrLeaseLost unless
	// the fence's owner and epoch hold a live lease; without, it is a person's
	// act and needs none. An error of fn rolls back and is returned as it is.
	// It returns ErrNoRun for an unknown id. fn may be called again if the
	// database asks for a retry, so it must have no effect but its result.
	Update(ctx context.Context, id string, fence *Fence, fn func(*Run) (Change, error)) (*Run, error)
	// Find returns the run with the id, or with the number as people say it
	// ("R12", "12"), or ErrNoRun.
	Find(ctx context.Context, ref string) (*Run, error)
	// RunOf returns the id of the run an approval belongs to, or ErrNoRun.
	RunOf(ctx context.Context, approval string) (string, error)
	// List returns runs, newest first.
	List(ctx context.Context, q Query) ([]*Run, error)
	// Overdue returns ids of runs that have an open approval past its Expires
	// or Remind.
	Overdue(ctx context.Context, limit int) ([]string, error)
	// Locks returns the held locks, oldest first.
	Locks(ctx context.Context) ([]Lock, error)
	// Output returns what an attempt wrote, or ErrNoRun.
	Output(ctx context.Context, run string, seq int) (string, error)
	// Now is the database's clock.
	Now(ctx context.Context) (time.Time, error)
	// Signal receives a value after a commit that made a run Ready, from any
	// replica. It may be spurious or missing; poll as well.
	Signal() <-chan struct{}
}

// LeaseTime is how long a claim lasts without a heartbeat.
const LeaseTime = 5 * time.Second
