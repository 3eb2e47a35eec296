package runbooks

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	exprparser "github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"opsbot/internal/fault"
)

const (
	maxExprBytes    = 4 << 10
	maxExprNodes    = 500
	maxExpressions  = 2000 // in one file
	maxPredicates   = 2
	maxRange        = 1000
	maxRegexp       = 1000
	memoryBudget    = 100_000 // elements that one evaluation may create
	maxBuiltText    = 1 << 20 // bytes of text that one evaluation may build
	hiddenPrefix    = "__"    // of the names that only the compiler uses
	statusesName    = "__statuses"
	secretsName     = "__secrets"
	earlierName     = "__earlier"
	meterName       = "__meter"
	needFunction    = "__need"
	plusFunction    = "__plus"
	measureFunction = "__measure"
	capFunction     = "__cap"
)

// ErrNoData is in the chain of the error of an expression that needed a value
// that is nil, NaN or infinite: there is no data.
var ErrNoData = errors.New("no data")

// A Scope is what expressions can see. It is read only.
type Scope struct {
	Params map[string]any // typed
	Run    RunScope
	// Steps has the steps that have a status; others read as nil.
	Steps map[string]StepScope
	// Result is the step's own result, and Prev the one of the poll before:
	// values of Spec.Result's type, or what encoding/json made of one.
	Result, Prev any
	N            int            // number of the poll, from 1
	Vars         map[string]any // the element of `each`, by the name of its `as`
	// Secret gives the value of a secret for `with`. Without it, secret() is an
	// error.
	Secret func(name string) (string, error)
	// Tainted, if it is there, is told every text that was made of a secret.
	Tainted func(text string)
	// Earlier gives what the step saved under the name in the newest run before
	// this one, of the same runbook on the same environment; nil if there is
	// none. Without it, earlier() is an error.
	Earlier func(step, name string) (any, error)
}

// A RunScope is `run` in expressions.
type RunScope struct {
	ID          string
	Started     time.Time
	Elapsed     time.Duration
	Verdict     string
	Changes     []string // ids of steps that changed something, in order
	Starter     string
	Environment string
}

// A StepScope is `steps.<id>` in expressions.
type StepScope struct {
	Status  Status
	Elapsed time.Duration
	Result  any            // as Scope.Result; nil if there is none
	Saved   map[string]any // by name
}

// An Expr is a compiled expression. It is immutable and safe for concurrent use.
type Expr struct {
	text    string
	pos     Pos
	program *vm.Program
	shape   *shape
	names   *names
	roots   map[string]bool // names in scope that it uses
	steps   map[string]bool // steps that it looks into
	named   []string        // steps that it names, in ok() and the like too
	secrets []string
	refs    []reference
	earlier []savedReference
	tree    ast.Node // while the file is checked
}

// A savedReference is a place where an expression asks for what a step has saved
// in an earlier run.
type savedReference struct {
	id, name string
	pos      Pos
}

// A reference is a place where an expression names a step.
type reference struct {
	id  string
	pos Pos
}

// String gives the expression as it is written.
func (e *Expr) String() string { return e.text }

// Pos is the place of its first character.
func (e *Expr) Pos() Pos { return e.pos }

// Secrets names the secrets it uses.
func (e *Expr) Secrets() []string { return e.secrets }

// Uses reports whether it looks at the step with the id.
func (e *Expr) Uses(step string) bool {
	return slices.Contains(e.named, step)
}

// Eval gives the expression's value: bool, int, float64, string,
// time.Duration, time.Time, []any, map[string]any or nil. A value that is NaN
// or infinite, and an operator applied to no data, are errors with ErrNoData in
// their chain. Errors are *fault.Error of kind Invalid.
func (e *Expr) Eval(s *Scope) (any, error) {
	env, err := e.env(s)
	if err != nil {
		return nil, e.failed(err)
	}
	machine := vm.VM{MemoryBudget: memoryBudget}
	v, err := machine.Run(e.program, env)
	if err != nil {
		return nil, e.failed(err)
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, e.failed(ErrNoData)
	}
	return v, nil
}

// taint tells the scope of the texts in a value, if a secret has gone into it.
func (e *Expr) taint(s *Scope, v any) {
	if len(e.secrets) == 0 || s.Tainted == nil {
		return
	}
	switch v := v.(type) {
	case string:
		s.Tainted(v)
	case []any:
		for _, one := range v {
			e.taint(s, one)
		}
	case map[string]any:
		for _, one := range v {
			e.taint(s, one)
		}
	}
}

// Bool gives the value of a condition. known is false if a nil, NaN or infinite
// operand decided it: then there is no answer, and no error either.
func (e *Expr) Bool(s *Scope) (value, known bool, err error) {
	v, err := e.Eval(s)
	switch {
	case errors.Is(err, ErrNoData):
		return false, false, nil
	case err != nil:
		return false, false, err
	case v == nil:
		return false, false, nil
	}
	b, ok := v.(bool)
	if !ok {
		return false, false, e.failed(fmt.Errorf("gives %s, not true or false", kindOf(v)))
	}
	return b, true, nil
}

func (e *Expr) failed(err error) error {
	cause := err
	reason := err.Error()
	var located *file.Error
	if errors.As(err, &located) {
		reason = located.Message
		switch field, ok := strings.CutPrefix(reason, "cannot fetch "); {
		case located.Prev != nil:
			cause = located.Prev
		case ok && strings.HasSuffix(field, " from <nil>"):
			// Reading a field of what is not there.
			cause, reason = ErrNoData, "no data to read "+strings.TrimSuffix(field, " from <nil>")+" of"
		default:
			cause = errors.New(reason)
		}
	}
	return fault.New(fault.Invalid, "The expression `%s` (line %d) has no value: %s.", clip(e.text), e.pos.Line, reason).Because(cause)
}

// kindOf names the kind of an expression's value for people.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "no data"
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	case string:
		return "a text"
	case time.Duration:
		return "a duration"
	case time.Time:
		return "a time"
	case []any:
		return "a list"
	}
	return "a record"
}

// env gives the values of the names that the expression uses, each in the form
// that its static type promises.
func (e *Expr) env(s *Scope) (map[string]any, error) {
	env := make(map[string]any, len(e.roots)+1)
	for root := range e.roots {
		switch root {
		case "params":
			v := make(map[string]any, len(e.names.params.fields))
			for name, sh := range e.names.params.fields {
				p, err := sh.fit(s.Params[name])
				if err != nil {
					return nil, fmt.Errorf("parameter %s: %w", name, err)
				}
				v[name] = p
			}
			env[root] = v
		case "run":
			changes, _ := stringsShape.fit(s.Run.Changes)
			env[root] = map[string]any{
				"id": s.Run.ID, "started": s.Run.Started, "elapsed": s.Run.Elapsed, "verdict": s.Run.Verdict,
				"changes": changes, "starter": s.Run.Starter, "environment": s.Run.Environment,
			}
		case "steps":
			v := make(map[string]any, len(e.steps))
			for id := range e.steps {
				step, ok := s.Steps[id]
				if !ok {
					continue
				}
				fields, err := e.names.steps[id].env(step)
				if err != nil {
					return nil, fmt.Errorf("step %s: %w", id, err)
				}
				v[id] = fields
			}
			env[root] = v
		case "result", "prev":
			v := s.Result
			if root == "prev" {
				v = s.Prev
			}
			fitted, err := e.names.result.fit(v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", root, err)
			}
			env[root] = fitted
		case "n":
			env[root] = s.N
		case statusesName:
			env[root] = s.Steps
		case secretsName:
			env[root] = s.Secret
		case earlierName:
			env[root] = s.Earlier
		case meterName:
			env[root] = new(int)
		default:
			fitted, err := e.names.vars[root].fit(s.Vars[root])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", root, err)
			}
			env[root] = fitted
		}
	}
	return env, nil
}

// A stepNames is what is known of a step when expressions are compiled.
type stepNames struct {
	id     string
	result *shape
	saved  map[string]*shape
}

func (sn *stepNames) env(step StepScope) (map[string]any, error) {
	result, err := sn.result.fit(step.Result)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	m := map[string]any{
		"status": string(step.Status), "failed": step.Status == Fail || step.Status == Unknown,
		"skipped": step.Status == Skipped, "elapsed": step.Elapsed, "result": result,
	}
	for name, sh := range sn.saved {
		if m[name], err = sh.fit(step.Saved[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return m, nil
}

// names are the names in scope of an expression.
type names struct {
	params *shape
	steps  map[string]*stepNames // that may be named here
	known  presence              // of them, how sure it is that they ran
	later  map[string]bool       // steps that come later, or the step itself
	all    []string              // ids of every step, for hints
	result *shape                // nil: not in scope
	polls  bool                  // prev and n are in scope
	vars   map[string]*shape
	secret bool // secret() is allowed
}

var runShape = &shape{kind: recordKind, fields: map[string]*shape{
	"id": stringShape, "started": timeShape, "elapsed": durationShape, "verdict": stringShape,
	"changes": stringsShape, "starter": stringShape, "environment": stringShape,
}}

// A snippet is the text of an expression with its places in the file.
type snippet struct {
	text string
	at   func(rune int) Pos
	// comment is set when YAML took the rest of the line for a comment.
	comment bool
}

// compile compiles a snippet, or reports what is wrong with it and returns nil.
func (p *parser) compile(s snippet, in *names) *Expr {
	report := func(rune int, code, message, hint string) {
		p.problem(s.at(rune), code, message, hint)
	}
	if strings.TrimSpace(s.text) == "" {
		report(0, "RB301", "an expression is missing", "")
		return nil
	}
	if len(s.text) > maxExprBytes {
		report(0, "RB301", fmt.Sprintf("expression is longer than %d KiB", maxExprBytes>>10), "split it with `save`")
		return nil
	}
	if p.exprCount++; p.exprCount > maxExpressions {
		if p.exprCount == maxExpressions+1 {
			report(0, "RB107", fmt.Sprintf("a runbook may have at most %d expressions", maxExpressions), "")
		}
		return nil
	}
	config := exprConfig()
	tree, err := parseExpr(s.text, config)
	if err != nil {
		at, message := 0, err.Error()
		var located *file.Error
		if errors.As(err, &located) {
			at, message = located.From, located.Message
		}
		if s.comment {
			report(utf8.RuneCountInString(s.text), "RB304", "the expression ends at \" #\", which begins a comment in YAML", "quote it")
			return nil
		}
		report(at, "RB301", message, "")
		return nil
	}
	e := &Expr{text: s.text, pos: s.at(0), names: in, roots: map[string]bool{}, steps: map[string]bool{}}
	inf := &inference{names: in, known: in.known, expr: e, places: s.at, report: report}
	if e.shape = inf.infer(&tree.Node); inf.failed {
		return nil
	}
	if e.program, err = compiler.Compile(tree, config); err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		report(0, "RB301", message, "")
		return nil
	}
	e.tree = tree.Node
	p.compiled = append(p.compiled, e)
	p.referred(e.refs)
	return e
}

// parseExpr parses an expression. The parser recurses on the text's nesting,
// which maxExprBytes bounds.
func parseExpr(text string, config *conf.Config) (tree *exprparser.Tree, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("this expression can't be read")
		}
	}()
	return exprparser.ParseWithConfig(text, config)
}

// exprConfig is the language of expressions: operators, the builtins in
// builtinShapes and our helpers. Each compilation has its own, since the
// compiler caches in it.
func exprConfig() *conf.Config {
	c := &conf.Config{
		ShortCircuit: true, MaxNodes: maxExprNodes, DisableIfOperator: true,
		Functions: helperFunctions, Builtins: languageBuiltins, Disabled: disabledBuiltins,
	}
	c.WithEnv(map[string]any{})
	return c
}

// languageBuiltins and disabledBuiltins divide the library's builtins into
// those that are part of the language and the others. They are only read.
var languageBuiltins, disabledBuiltins = func() (conf.FunctionsTable, map[string]bool) {
	in, out := conf.FunctionsTable{}, map[string]bool{}
	for name, f := range conf.CreateNew().Builtins {
		if allowedBuiltin(name) {
			in[name] = f
		} else {
			out[name] = true
		}
	}
	return in, out
}()

// location gives the rune at which a node is best pointed at.
func location(n ast.Node) int { return n.Location().From }
