// Package engine runs runbooks: one step at a time, under approval, and again
// after a restart.
package engine

import (
	"encoding/json"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// A State is where a run is in its life. See docs/architecture.md for the drawing.
type State string

const (
	// Ready runs want an owner, now or at WakeAt. Entered by a start, an
	// answer, a timer; left when an owner finds that people must decide, or at
	// the end.
	Ready State = "ready"
	// Waiting runs have an open approval, or have started another run that has
	// not ended, and no owner. Entered by the owner; left by an answer, an
	// expiry, a stop or the other run's end, to Ready.
	Waiting State = "waiting"
	// Uncertain runs were found with an intent and no result on a step that
	// may not be repeated. Left to Ready when a person decides.
	Uncertain State = "uncertain"
	// Succeeded, Failed and Canceled runs have ended for good.
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// Ended reports whether nothing more can happen to the run.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Canceled }

// A Phase is the part of the runbook that a run is in.
type Phase string

// The phases, in the order in which a run can pass through them.
const (
	PhaseMain     Phase = "main"
	PhaseRollback Phase = "rollback"
	PhaseCleanup  Phase = "cleanup"
	PhaseReport   Phase = "report"
)

// A Run is one execution of a runbook on one environment, pinned to the
// runbook's text. It is a plain value: the store loads and saves it whole.
type Run struct {
	ID          string // UUID v7
	Number      int64  // given by the store; people say R12
	Runbook     string // slug
	Title       string
	Digest      string // of Text, hex
	Text        []byte // the runbook as it was at the start
	Environment string
	Critical    bool
	Params      map[string]any // as text and JSON numbers; see Runbook.Params
	Starter     access.Actor
	Origin      outbox.Conversation // where it was started and is shown
	RequestKey  string              // of the command that started it; unique when not empty
	Subject     string              // opaque id of what it belongs to, an incident
	ParentID    string
	RootID      string // itself when it has no parent
	Undoes      string // id of an ended run: this one does its rollback, and begins with its journal
	DryRun      bool

	State      State
	Verdict    runbooks.Status // "" until known
	Phase      Phase
	Cursor     string // id of the step that is next in Phase; "" at the phase's end
	Paused     bool
	PausedWith string // id of the paused run above it that it last stood still with; "": none
	Stop       *Stop  // a stop was asked for
	Outcome    string // one sentence on how it ended
	Locks      []string
	WaitsFor   string    // id of the run whose locks it waits for, before its first step; "": none
	Waiters    int       // runs that wait for this one's locks; counted by the store
	WakeAt     time.Time // when Ready: not before
	Created    time.Time
	Started    time.Time // first claimed
	Ended      time.Time
	Acting     time.Duration // acting time used so far, waits not counted
	Restarts   int           // how often an owner was lost in the middle of a step

	Owner      string // random id of the process that acts; "" when nobody does
	Epoch      int64  // rises with every claim
	LeaseUntil time.Time

	Attempts  []Attempt  // in order of Seq
	Approvals []Approval // in order of creation
	Offers    []Offer    // runbooks that people may start next, in order of appearance
	Wishes    []Wish     // what people want of steps that the run does not ask about
}

// A Wish is a person's word about a step: to leave it out when its turn comes,
// or to try it again though it failed and the run went on.
type Wish struct {
	Step string       `json:"step"`
	Act  string       `json:"act"` // skip or retry
	By   access.Actor `json:"by"`
	Why  string       `json:"why,omitempty"`
	At   time.Time    `json:"at"`
	Done bool         `json:"done,omitempty"`
}

// An Offer is another runbook that a step of this one suggests: people may
// start it with one click, as an ordinary run with its own gates.
type Offer struct {
	ID      string            `json:"id"`   // opaque, unique over all runs
	Step    string            `json:"step"` // that offered it; "": the run itself, and it is its own rollback
	At      time.Time         `json:"at"`
	Runbook string            `json:"runbook"`
	Params  map[string]string `json:"params,omitempty"`
	Say     string            `json:"say"`
	Why     string            `json:"why,omitempty"`     // why it cannot be started on this environment; then it is no button
	Started string            `json:"started,omitempty"` // id of the run that a click started
}

// A Stop is a person's wish to end a run.
type Stop struct {
	By  access.Actor `json:"by"`
	Why string       `json:"why,omitempty"`
	At  time.Time    `json:"at"`
}

// An AttemptState is where one attempt of a step is.
type AttemptState string

// Intent is committed before acting; the others replace it afterwards.
const (
	Intent            AttemptState = "intent"
	AttemptDone       AttemptState = "done"
	AttemptFailed     AttemptState = "failed"
	AttemptUncertain  AttemptState = "uncertain" // an intent that a later owner found
	AttemptSkipped    AttemptState = "skipped"
	AttemptSuperseded AttemptState = "superseded" // a retried or redone attempt
)

// What an attempt is for. Only a ForStep attempt can conclude its step.
const (
	ForStep    = "step"
	ForItem    = "item"    // one element of an `each`
	ForRecheck = "recheck" // a read step run again after the approval of another
	ForVerify  = "verify"  // a read step that tells what became of an uncertain one
	ForChild   = "child"   // another run, where the step's end leads to one
)

// An Attempt is one try of one step: a row of the journal.
type Attempt struct {
	Seq      int // from 1, over the whole run
	Step     string
	Number   int    // from 1, within the step
	Item     int    // of an `each`, from 1; 0: the step as a whole
	Purpose  string // see the Purpose constants
	Phase    Phase
	Epoch    int64
	Effect   runbooks.Effect
	State    AttemptState
	Status   runbooks.Status // once judged
	IntentAt time.Time
	ResultAt time.Time
	Deadline time.Time       // of a watch or a wait, kept over restarts
	Result   json.RawMessage // of the action's result type
	Saved    map[string]any
	Found    string // one line for people
	Fault    string // what failed, for people
	Approval string // id of the approval it acted under
	// Output is what the action wrote, bounded. It is written by Update and
	// read by Store.Output only; loaded runs leave it empty.
	Output string
}

// An ApprovalKind says what is asked.
type ApprovalKind string

const (
	// Confirm: the starter states the intent.
	Confirm ApprovalKind = "confirm"
	// Review: other people agree.
	Review ApprovalKind = "review"
	// Choice: a step failed and `on_fail: ask` lets people choose.
	Choice ApprovalKind = "ask"
	// Manual: people do something and tick it.
	Manual ApprovalKind = "manual"
	// Doubt: a step's outcome is unknown after a crash.
	Doubt ApprovalKind = "uncertain"
)

// An ApprovalState is where an approval is. Only Open ones take votes.
type ApprovalState string

// The states of an approval. Expired means no.
const (
	Open    ApprovalState = "open"
	Granted ApprovalState = "granted"
	Denied  ApprovalState = "denied"
	Expired ApprovalState = "expired"
	Void    ApprovalState = "void"  // what was shown is no longer true, or the run ended
	Spent   ApprovalState = "spent" // its step was started under it
)

// An Approval asks people to decide about one resolved step. A confirm or
// review is bound to the digest of what was shown: if arguments or target
// differ when the step is about to run, it is void and asked again. Silence is
// refusal.
type Approval struct {
	ID       string // opaque, random; all that a button carries
	Run      string
	Step     string
	Kind     ApprovalKind
	State    ApprovalState
	Digest   string // hex
	Card     outbox.Ask
	Live     []runbooks.Live // values at the time of asking
	Identity string          // of the connection at the time of asking
	Groups   []string        // who may decide; empty: the starter alone
	Needed   int
	Type     string // phrase to be typed; "": none
	Votes    []Vote
	Created  time.Time
	Expires  time.Time
	Remind   time.Time // next reminder; zero: none
	Decided  time.Time
}

// A Vote is one person's answer. Votes are only ever added.
type Vote struct {
	Actor    access.Actor      `json:"actor"`
	Decision string            `json:"decision"` // a Choice id of the card
	Reason   string            `json:"reason,omitempty"`
	Fields   map[string]string `json:"fields,omitempty"`
	Key      string            `json:"key,omitempty"` // of the request, so that a repeated one counts once
	At       time.Time         `json:"at"`
}
