// Package trial tests runbooks without the systems that they are for.
//
// A test file beside a runbook says what its actions answer and what people
// say, and what has to come of it. The runbook is run by the engine that runs
// it in earnest, on a database of its own and on a clock that jumps over every
// wait; only the actions are played. See docs/runbook-tests.md for the format.
package trial

import (
	"strings"
	"time"

	"opsbot/runbooks"
)

// Suffix is how the name of a test file ends: cache-fix.test.yaml tests
// cache-fix.md.
const Suffix = ".test.yaml"

// RunbookFile is the name of the runbook that a test file is for; ok is false
// if it is not a test file's name.
func RunbookFile(test string) (file string, ok bool) {
	base, ok := strings.CutSuffix(test, Suffix)
	return base + ".md", ok
}

// FileFor is the name of the test file of a runbook's file.
func FileFor(runbook string) string { return strings.TrimSuffix(runbook, ".md") + Suffix }

// A Suite is one test file. It is immutable.
type Suite struct {
	File    string // as given to Parse
	Runbook *runbooks.Runbook
	Cases   []*Case
}

// A Case is one run of the runbook with what it meets and what must come of it.
type Case struct {
	Name string
	Pos  runbooks.Pos

	params      map[string]string
	paramsAt    map[string]runbooks.Pos
	environment string
	critical    bool
	without     []string             // optional connections that are missing
	scripts     map[string]*script   // by key
	answers     map[string][]*answer // by key, in order
	earlier     map[string]any       // what the run before saved, by key of the step and name
	want        wants
}

// key names a step of a runbook.
func key(runbook, step string) string { return runbook + "/" + step }

// A script is what the action of a step answers, call by call; the last reply
// stays.
type script struct {
	replies []reply
}

// A reply is one answer of an action.
type reply struct {
	result  any // of the action's result type; nil: none
	fail    string
	output  string
	takes   time.Duration
	preview runbooks.Preview
}

// An answer is what somebody says to a question of a step.
type answer struct {
	word   string
	reason string
	fields map[string]string
	pos    runbooks.Pos
	own    bool // of the case itself, not of the whole file: it must be used
}

// The answers. For a gate, yes confirms and approves.
const (
	sayYes      = "yes"
	sayCancel   = "cancel"  // the starter does not confirm
	sayDeny     = "deny"    // a reviewer says no; without a review, the starter
	saySilence  = "silence" // nobody answers until it is too late
	sayRetry    = "retry"
	saySkip     = "skip"
	sayRollback = "rollback"
	sayStop     = "stop"
	sayDone     = "done"
)

var words = []string{sayYes, sayCancel, sayDeny, saySilence, sayRetry, saySkip, sayRollback, sayStop, sayDone}

// wants are what a case expects. Parts that the file does not name are not
// compared.
type wants struct {
	path    *listed
	asked   *listed
	offered *listed
	verdict *text
	ends    *text
	outcome []text // each contained
	report  *text
	holds   []text // each contained in the report
	lacks   []text // none contained in the report
}

type text struct {
	pos  runbooks.Pos
	text string
}

// listed is an expected list; entries are as they are compared and shown.
type listed struct {
	pos     runbooks.Pos
	entries []entry
}

// An entry of a list: a step or a runbook, with its properties in the order in
// which they are shown.
type entry struct {
	name  string
	props []prop
}

type prop struct{ key, value string }

func (e entry) String() string {
	var b strings.Builder
	b.WriteString(e.name)
	for i, p := range e.props {
		switch {
		case i > 0:
			b.WriteString(", ")
		default:
			b.WriteString(": ")
		}
		if p.key != "" {
			b.WriteString(p.key + " ")
		}
		b.WriteString(p.value)
	}
	return b.String()
}

// A Failure is one expectation that was not met.
type Failure struct {
	Pos     runbooks.Pos
	What    string // the key under expect, or "run" for a run that could not go on
	Message string // one line
	Diff    string // lines that begin with "-" for what was wanted and "+" for what came; "" for none
}

// A Result is what came of a case.
type Result struct {
	Case     *Case
	Failures []Failure // none: it passed
	Trail    []string  // one line per step that the run came to
}

// Passed reports whether every expectation was met.
func (r Result) Passed() bool { return len(r.Failures) == 0 }
