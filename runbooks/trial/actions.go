package trial

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// A stage holds what the actions of a case answer, and counts the calls.
type stage struct {
	clock   *clock
	runs    engine.Store
	scripts map[string]*script // by key

	mu      sync.Mutex
	calls   map[string]int
	missing []string // steps that acted without a script, by key
}

// next is the reply to the step's next call. Looking ahead does not count as a
// call.
func (s *stage) next(ctx context.Context, call runbooks.Call, counted bool) (reply, error) {
	run, err := s.runs.Find(ctx, call.Run)
	if err != nil {
		return reply{}, fmt.Errorf("find the runbook of %s: %w", call.Step, err)
	}
	step := key(run.Runbook, call.Step)
	s.mu.Lock()
	defer s.mu.Unlock()
	script, ok := s.scripts[step]
	if !ok {
		s.missing = append(s.missing, step)
		return reply{}, fault.New(fault.Invalid, "The test says nothing about what %s answers.", call.Step)
	}
	n := s.calls[step]
	if counted {
		s.calls[step]++
	}
	return script.replies[min(n, len(script.replies)-1)], nil
}

// A played action has the declaration of a real one and answers from the stage.
type played struct {
	spec  runbooks.Spec
	stage *stage
}

func (a played) Spec() runbooks.Spec { return a.spec }

func (a played) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	r, err := a.stage.next(ctx, call, true)
	if err != nil {
		return nil, err
	}
	if r.output != "" {
		if _, err := io.WriteString(out, r.output); err != nil {
			return nil, fmt.Errorf("write the output of %s: %w", call.Step, err)
		}
	}
	if limit, ok := ctx.Deadline(); ok {
		// The limit counts by the wall, the reply by the case's clock.
		if left := time.Until(limit).Round(100 * time.Millisecond); r.takes > left {
			a.stage.clock.advance(left)
			return nil, fault.New(fault.Unavailable, "took too long: %s of %s", r.takes, left)
		}
	}
	a.stage.clock.advance(r.takes)
	if r.fail != "" {
		return r.result, fault.New(fault.Unavailable, "%s", r.fail)
	}
	return r.result, nil
}

// foreseen is a played action that can say what it would do.
type foreseen struct{ played }

func (a foreseen) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	r, err := a.stage.next(ctx, call, false)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := r.preview
	p.Identity = standIn
	return p, nil
}

// cast gives every action of the catalog a played one.
func cast(real *runbooks.Catalog, s *stage) (*runbooks.Catalog, error) {
	var actions []runbooks.Action
	for _, name := range real.Names() {
		action, _ := real.Action(name)
		a := played{spec: action.Spec(), stage: s}
		if _, ok := action.(runbooks.Previewer); ok {
			actions = append(actions, foreseen{a})
			continue
		}
		actions = append(actions, a)
	}
	return runbooks.NewCatalog(actions)
}

// zero is a result without data.
func zero(spec runbooks.Spec) any {
	if spec.Result == nil {
		return nil
	}
	return reflect.Zero(reflect.TypeOf(spec.Result)).Interface()
}

// standIn is the identity of every system of a test.
const standIn = "test"

// A connection leads nowhere.
type connection struct{ name string }

func (connection) Identity(context.Context) (string, error) { return standIn, nil }
func (c connection) Address() string                        { return c.name }
func (connection) Close() error                             { return nil }

// Newest is a file made up from the pattern, as old as the case.
func (connection) Newest(pattern string) (runbooks.File, error) {
	return runbooks.File{Path: strings.NewReplacer("*", runbooks.Newest, "?", "x").Replace(pattern), Modified: epoch}, nil
}

// Named is any file, as old as the case.
func (connection) Named(_, name string) (runbooks.File, error) {
	return runbooks.File{Path: name, Modified: epoch}, nil
}
