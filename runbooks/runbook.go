// Package runbooks reads Markdown runbooks and states what their steps ask
// for; it runs nothing.
//
// A runbook is one Markdown file: prose for people, fenced step blocks for the
// machine. Parse turns it into an immutable Runbook or into Problems with
// exact positions; see docs/runbook-format.md for the language.
package runbooks

import (
	"time"
)

// A Pos is a place in a runbook's file. Line and Col start at 1; Col counts
// characters. The zero value means "nowhere in particular".
type Pos struct {
	Line int `json:"line"`
	Col  int `json:"col"`
}

// An Effect says how much a step can change. The zero value is Read.
type Effect int

const (
	// Read observes and changes nothing; it may be repeated freely.
	Read Effect = iota
	// Change alters a system in a way that is easily undone or harmless to repeat.
	Change
	// Destructive removes or interrupts something that cannot simply be put back.
	Destructive
)

// A Severity says how bad the situation is that a runbook is for.
type Severity string

// The severities of the format.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// A Runbook is one parsed file. It is immutable and safe for concurrent use.
type Runbook struct {
	Slug     string // its name in commands
	Title    string // the H1
	Summary  string // the prose under the H1, as Markdown
	Number   int    // 0: none
	Aliases  []string
	Owner    string
	Tags     []string
	Severity Severity
	Estimate time.Duration
	Verified time.Time // day of the last drill; zero: never
	Roles    Roles
	Uses     []Use
	Params   []Param
	Lock     []string      // connections to lock, "x/*" allowed; see Locks
	LockWait time.Duration // 0: refuse at once
	Timeout  time.Duration // of acting time; 0: none
	Schedule []Schedule
	Alerts   []map[string]string // label matchers that suggest this runbook
	Defaults Defaults

	Steps    []*Step // in file order, groups flattened
	Groups   []*Group
	Rollback []*Step
	Cleanup  []*Step
	Report   *Template // nil: none

	File   string // as given to Parse, for messages
	Text   []byte // the whole file
	Digest string // SHA-256 of Text, hex

	at    map[string]Pos // of what other files and the configuration decide about
	layer int            // of the folders that a library was loaded from; a later one wins
}

// Roles names the groups that may run a runbook and approve its steps.
type Roles struct {
	Run     []string
	Approve []string
}

// A Use is a connection that a runbook needs: its name and the kind it must be.
type Use struct {
	Name     string
	Kind     string // redis, postgres, docker, http, prometheus, host
	Optional bool   // where an environment lacks it, the steps that look at it are skipped
	Pos      Pos
}

// A Param is a declared parameter.
type Param struct {
	Name     string
	Type     ParamType
	Default  any // nil: none; already checked against the rules
	Required bool
	Help     string
	Pattern  string   // of a string, RE2
	Max      *float64 // length of a string or list, or greatest number, seconds or bytes
	Min      *float64
	Values   []string      // of an enum
	Of       ParamType     // of a list
	From     string        // glob of a file
	MaxAge   time.Duration // of a file, when a run starts; 0: any
	On       string        // connection that a file is looked for on, a Folder; "": nowhere
	Pos      Pos
}

// A ParamType is one of the format's parameter types.
type ParamType string

// The parameter types. A value is held in Go as noted.
const (
	TypeString   ParamType = "string"   // string
	TypeInt      ParamType = "int"      // int
	TypeFloat    ParamType = "float"    // float64
	TypeBool     ParamType = "bool"     // bool
	TypeDuration ParamType = "duration" // time.Duration
	TypeBytes    ParamType = "bytes"    // int, in bytes
	TypeEnum     ParamType = "enum"     // string
	TypeService  ParamType = "service"  // string
	TypeUser     ParamType = "user"     // string, a user id
	TypeChannel  ParamType = "channel"  // string, a channel id
	TypeTime     ParamType = "time"     // time.Time
	TypeFile     ParamType = "file"     // string, a path
	TypeList     ParamType = "list"     // []any
)

// A Schedule starts a runbook by the clock.
type Schedule struct {
	Cron        string
	TZ          string
	Environment string // "": the default one
	Params      map[string]any
	Notify      string
	Missed      string // "skip" or "once"
	Pos         Pos
}

// Defaults hold for every step that does not say otherwise.
type Defaults struct {
	Timeout time.Duration
	Retry   *Retry
}

// A Group is a heading that several steps share.
type Group struct {
	Title  string
	Prose  string
	When   *Expr // nil: always
	OnFail *Next // nil: none
	Pos    Pos
}

// A Section says which part of the runbook a step belongs to.
type Section string

// The sections that hold steps. A failure, a runbook that was run or an offer
// ends the main part alone: a rollback goes on, and has no other end before its
// last step than an `end`; a cleanup has none at all.
const (
	Main     Section = "main"
	Rollback Section = "rollback"
	Cleanup  Section = "cleanup"
)

// A Step is one heading with something to do. Fields that the file leaves out
// are zero; what the action or the defaults add is found by its methods.
type Step struct {
	ID      string
	Derived bool // the id was made from the title
	Title   string
	Prose   string
	Group   *Group // nil: none
	Section Section
	Pos     Pos // of the heading
	Block   Pos // of the block's first line of YAML; zero for a bare check list

	Do      string // kind.verb, or a built-in: manual wait decide run notify end
	Action  Action // nil for a built-in
	Target  string // name of a connection; filled in where only one fits
	With    map[string]*Value
	When    *Expr
	Expect  []Expectation
	Save    []Saved
	Watch   *Watch
	Retry   *Retry // its own or the default's; nil: none
	Each    *Each
	Timeout time.Duration // its own, the default's or the action's; 0: none
	Effect  Effect        // the stronger of the file's and the action's
	Confirm *Confirm
	Review  *Review
	Recheck []string
	OnFail  Next // zero: stop
	Then    Next // zero: next
	OnCrash OnCrash
	Show    Show
	Who     []string // manual: who may tick
	Ask     []Param  // manual: fields to fill
	Items   []string // check list
	Wait    *Wait
	Notify  *Notify
	End     *End
	Run     *Child
	Decide  *Decision
}

// An Expectation is one condition of `expect`.
type Expectation struct {
	That *Expr
	Say  *Template // nil: the condition itself is quoted
	Else Status    // Fail, Warn or Unknown
	Pos  Pos
}

// A Saved is one named value of `save`, in file order.
type Saved struct {
	Name string
	Expr *Expr
}

// A Watch polls a step until a condition holds.
type Watch struct {
	Every  *Value // duration
	For    *Value // duration
	Until  *Expr
	Hold   int // true polls in a row; at least 1
	GiveUp int // failed polls in a row after which it ends; 0: only with For
}

// A Retry repeats a failed attempt.
type Retry struct {
	Times   int // further attempts after the first
	Delay   time.Duration
	Backoff float64 // the delay grows by this factor; at least 1
	If      *Expr   // nil: always
}

// An Each runs a step once per element of a list.
type Each struct {
	In  *Expr
	As  string
	Max int
}

// A Confirm asks the starter to state the intent.
type Confirm struct {
	Text *Template
	Type *Template // what must be typed; nil: a click is enough
}

// A Review asks other people to agree.
type Review struct {
	By     []string // groups
	Count  int
	Within time.Duration
	Covers []string // ids of rollback steps
}

// A Next says where a run goes. Exactly one field is set; the zero value means
// the default of the key it was left out of.
type Next struct {
	Word      string // stop continue note ask rollback next
	Goto      string // step id
	End       string // ok or failed
	Run       *Child
	Offer     []OfferedRunbook
	Say       *Template
	OfferThen string // after Offer: stop continue note
	Pos       Pos
}

// A Child is a runbook started by a step.
type Child struct {
	Runbook string
	Params  map[string]*Value
	Then    string // retry resume end
	Pos     Pos
}

// An OfferedRunbook is a runbook that people may start by a button.
type OfferedRunbook struct {
	Runbook string
	Params  map[string]*Value
	Say     *Template
	Pos     Pos
}

// OnCrash says what to do with a step whose outcome is unknown after a crash.
// The zero value means: rerun a read step, ask about any other.
type OnCrash struct {
	Word   string // rerun or ask
	Verify string // step id
}

// Show selects what Slack shows of a step's output.
type Show struct {
	Lines   int
	From    string // start or end
	Columns []string
}

// A Wait lets time pass.
type Wait struct {
	For   *Value // duration
	Until *Expr
	Max   *Value // duration
}

// A Notify says something to somebody.
type Notify struct {
	To   string
	Text *Template
}

// An End ends the run.
type End struct {
	Verdict string // ok or failed
	Say     *Template
}

// A Decision chooses where to go.
type Decision struct {
	Inputs []Saved // of a table; empty for a list
	Rows   []Row
}

// A Row is one case of a decision.
type Row struct {
	If    *Expr           // of a list
	Else  bool            // of a list
	Cells map[string]Cell // of a table, by input; a missing input matches all
	Next  Next
	Pos   Pos
}

// A Cell is one condition of a decision table: an interval, nothing at all, or
// no data.
type Cell struct {
	Any      bool
	None     bool // no data
	Min, Max *float64
	MinOpen  bool // the bound itself is excluded
	MaxOpen  bool
	Text     string // as written
	Pos      Pos
}

// A Status is how a step ended.
type Status string

// The statuses of the format. A run's verdict is its worst: Fail, then
// Unknown, then Warn, then Pass. Unknown is never drawn green.
const (
	Pass    Status = "pass"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Unknown Status = "unknown"
	Skipped Status = "skipped"
)
