package runbooks

import (
	"context"
	"io"
	"time"
)

// An Action is something a step can do to one kind of system. Implementations
// are stateless and safe for concurrent use.
type Action interface {
	Spec() Spec
	// Run does it once. Call.Args is a pointer to a decoded value of Spec.Args'
	// type; the result must be of Spec.Result's type. What it writes to out is
	// kept as the step's output. It returns when ctx ends. An error that people
	// should understand is a *fault.Error.
	Run(ctx context.Context, call Call, out io.Writer) (any, error)
}

// A Previewer is an action that can say what it would do without doing it.
// Every action with an effect above Read should be one.
type Previewer interface {
	Preview(ctx context.Context, call Call) (Preview, error)
}

// A Spec declares an action. Schema, linter, reference and engine all read it.
type Spec struct {
	Name    string // "redis.flush": the connection's kind, a dot, a verb
	Summary string // one sentence in the imperative
	Effect  Effect
	Timeout time.Duration // per attempt, unless the runbook says otherwise; 0: none
	// Args is a zero struct whose exported fields are the arguments:
	//   Window time.Duration `arg:"window" default:"30s" min:"5s" max:"120s" help:"how long to count"`
	// Tags: arg (name), default, required:"true", min, max, values:"a|b", pattern, help;
	// url:"path" for the path of an address, also in a nested struct: what is
	// filled into one is escaped.
	// Field types: string, int, float64, bool, time.Duration, []string, map[string]string, map[string]any.
	Args any
	// Result is a zero struct whose exported fields are the result, named by
	// their json tags, with an optional help tag. A pointer field may be nil,
	// which means "no data". Field types: string, int, float64, bool,
	// time.Duration, *float64, []string, []struct, map[string]bool,
	// map[string]int, nested structs. It must survive a round trip through JSON.
	Result any
}

// A Call is one attempt of a step, with everything resolved.
type Call struct {
	Run    string // run id
	Step   string // step id
	Target Target
	Args   any // pointer to Spec.Args' type
}

// A Target is a named system of one environment, from the server's
// configuration and never from chat.
type Target struct {
	Environment string
	Name        string // of the connection, "cache"
	Kind        string // "redis"
	Conn        Connection
}

// A Connection is an opened target. Opening one reaches nothing yet.
type Connection interface {
	// Identity names the very system behind the connection, exactly: Redis
	// run_id and database, PostgreSQL system_identifier and database. It asks
	// the system, and returns a *fault.Error of kind Unavailable if that fails.
	Identity(ctx context.Context) (string, error)
	// Address says where the connection leads, without secrets:
	// "redis prod-redis:6379/0".
	Address() string
	Close() error
}

// A Limited connection may be unable to do a part of what its kind can.
type Limited interface {
	// Lacks says why the named action cannot work on this connection, as a
	// *fault.Error; nil if it can. It reaches nothing.
	Lacks(action string) error
}

// A Folder is a connection that knows files of its machine. A parameter of type
// file is looked for there when a run starts.
type Folder interface {
	// Newest is the file that was changed last, of those that fit the pattern: of
	// a whole path if there is a / in it, else of a name. The error is a
	// *fault.Error, of kind NotFound if there is none.
	Newest(pattern string) (File, error)
	// Named is the one of them with the whole path, or the name. Of two with the
	// same name none is meant.
	Named(pattern, name string) (File, error)
}

// A File is one that a Folder knows.
type File struct {
	Path     string
	Modified time.Time
}

// An Examiner is a connection that can look at itself in more detail than its
// identity: versions, privileges, what it needs on this machine.
type Examiner interface {
	// Examine returns what was found, in the order to be read. It changes
	// nothing. An error, a *fault.Error, means that it could not look at all.
	Examine(ctx context.Context) ([]Finding, error)
}

// A Finding is one thing that was looked at on a connection.
type Finding struct {
	Name string // "compose plugin"
	Bad  bool   // something cannot work like this
	Says string // "2.40.3", or what is wrong and what to do about it
}

// A Preview says what an action would do, just now.
type Preview struct {
	Identity string   // of the connection; compared exactly after the click
	Impact   []string // sentences for the card: "removes 9,412 of 9,730 keys matching prod_*"
	Effect   Effect   // raises the step's effect; never lowers it
	Reasons  []string // why it was raised
	Live     []Live   // values that are compared again after the click
}

// A Live is a value that the approval depends on.
type Live struct {
	Name      string    `json:"name"`
	Number    float64   `json:"number,omitempty"`
	Text      string    `json:"text,omitempty"` // instead of Number
	Tolerance Tolerance `json:"tolerance"`
}

// A Tolerance says how far a Live may move before the approval is void.
type Tolerance string

const (
	// Exact values may not change.
	Exact Tolerance = "exact"
	// Within10Percent values may move by a tenth either way.
	Within10Percent Tolerance = "10%"
	// MayFall values may get smaller, not larger.
	MayFall Tolerance = "may_fall"
)
