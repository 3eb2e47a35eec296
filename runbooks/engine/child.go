package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// A run that is started by a step is a run of its own: its text is pinned, its
// gates are its own, and it may end long after its parent's owner died. The
// parent waits for it without an owner, and is woken by the commit that ends
// the child. The child is created by the commit that lets the parent wait, so
// that there is no crash between the two.

// A call is what an attempt that started another run keeps as its result.
type call struct {
	Run     string `json:"run"`               // id of the run; "" before it was started
	Verdict string `json:"verdict,omitempty"` // once it has ended
}

// result is what expressions see of a step whose verb is `run`.
func (c call) result() map[string]any { return map[string]any{"id": c.Run, "verdict": c.Verdict} }

// calls reports whether the attempt is about another run of the step.
func (a *Attempt) calls(step *runbooks.Step) bool {
	return a.Purpose == ForChild || a.Purpose == ForStep && step != nil && step.Run != nil
}

// child is the id of the run that the attempt started, "" if it did not yet.
func (a *Attempt) child() string {
	var c call
	if len(a.Result) == 0 || json.Unmarshal(a.Result, &c) != nil {
		return ""
	}
	return c.Run
}

// calling is a copy of the attempt that is about another run and not over.
func (w *worker) calling() *Attempt {
	for _, a := range w.run.Attempts {
		if a.State == Intent && a.calls(w.rb.Step(a.Step)) {
			return &a
		}
	}
	return nil
}

// calling is an attempt whose run has been started and has not ended.
func (r *Run) calling() *Attempt {
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.State == Intent && a.child() != "" {
			return a
		}
	}
	return nil
}

// hand puts on record that the step's next act is to run another runbook.
func (w *worker) hand(step *runbooks.Step, purpose string, n runbooks.Next) {
	a := w.attempt(step, purpose, w.e.clock())
	a.Effect, a.Found = runbooks.Read, "runs "+n.Run.Runbook
	if step.Decide != nil {
		a.Item = 1 + slices.IndexFunc(step.Decide.Rows, func(r runbooks.Row) bool { return r.Next.Run == n.Run })
	}
	w.do(PointIntent, step.ID, func(r *Run, c *Change) { r.put(a) })
}

// handed is the target that the attempt follows.
func (w *worker) handed(step *runbooks.Step, a *Attempt) runbooks.Next {
	at := w.run.conclusion(step.ID)
	switch {
	case a.Purpose == ForStep:
		return runbooks.Next{Run: step.Run}
	case step.Decide != nil && a.Item > 0 && a.Item <= len(step.Decide.Rows):
		return step.Decide.Rows[a.Item-1].Next
	case at != nil && failed(at.Status):
		return onFail(step)
	}
	return step.Then
}

// attend starts the run that the attempt is about, or goes on when it has
// ended. A stop of this run is passed on to it.
func (w *worker) attend(a Attempt) (parked bool, err error) {
	step := w.rb.Step(a.Step)
	n := w.handed(step, &a)
	id := a.child()
	switch {
	case id == "" && w.run.Stop != nil && w.run.Phase != PhaseCleanup, n.Run == nil:
		a.State, a.Status, a.Found, a.ResultAt = AttemptSkipped, runbooks.Skipped, "not begun", w.e.clock()
		w.do("", "", func(r *Run, c *Change) { r.put(a) })
		return false, nil
	case id == "":
		return w.beget(step, n, a)
	}
	child, err := w.e.store.Find(w.ctx, id)
	switch {
	case err != nil:
		return false, fmt.Errorf("look at run %s of %s: %w", id, a.Step, err)
	case child.State.Ended():
		w.childEnded(step, n, a, child)
		return false, nil
	}
	if stop := w.run.Stop; stop != nil && w.run.Phase != PhaseCleanup {
		if err := w.e.stopChild(w.ctx, child, stop); err != nil {
			return false, err
		}
	}
	return true, w.parkFor(id, w.run.Stop != nil, nil)
}

// parkFor gives the run up until the other one ends. With a birth, the commit
// creates that one.
func (w *worker) parkFor(id string, told bool, birth *Birth) error {
	w.do("", "", func(r *Run, c *Change) {
		c.Release, c.Await, c.Start = true, id, birth
		r.State, r.WakeAt = Waiting, time.Time{}
		if r.Stop != nil && !told && r.Phase != PhaseCleanup || r.wishful(w.rb) {
			r.State = Ready // it has to be passed on, or obeyed
		}
	})
	return w.flush()
}

// beget starts the run that the attempt is about.
func (w *worker) beget(step *runbooks.Step, n runbooks.Next, a Attempt) (parked bool, err error) {
	if err := w.flush(); err != nil { // a refusal of the start undoes the start alone
		return false, err
	}
	refused := func(err error) (bool, error) {
		if fault.KindOf(err) == fault.Internal {
			return false, err
		}
		o := outcome{Status: runbooks.Fail, Final: true, Fault: fmt.Sprintf("%s could not be started: %s", n.Run.Runbook, fault.Say(err))}
		w.returned(step, n, a, o)
		return false, nil
	}
	values, err := runbooks.ResolveWith(n.Run.Params, w.after(step))
	if err != nil {
		return refused(fault.New(fault.Invalid, "Its parameters cannot be resolved: %s.", err).Because(err))
	}
	params := make(map[string]string, len(values))
	for k, v := range values {
		params[k] = textOf(v)
	}
	r := w.run
	child, rb, err := w.e.prepare(w.ctx, StartRequest{
		Runbook: n.Run.Runbook, Environment: r.Environment, Params: params, Actor: r.Starter,
		RequestKey: fmt.Sprintf("child/%s/%s/%s/%d", r.ID, step.ID, a.Purpose, a.Number), Origin: r.Origin, Subject: r.Subject,
	}, r)
	if err != nil {
		return refused(err)
	}
	env, _ := w.e.settings.Load().environment(r.Environment)
	change := w.e.announce(child, rb, r.Starter)
	begun := a
	begun.Result, begun.Found = encodeCall(call{Run: child.ID}), "runs "+child.Title
	for {
		w.do(PointChild, step.ID, func(r *Run, c *Change) { r.put(begun) })
		err = w.parkFor(child.ID, false, &Birth{Run: child, Change: change})
		var locked *LockedError
		if !errors.As(err, &locked) {
			w.e.refresh(w.ctx, child.WaitsFor)
			return true, err
		}
		if err := w.forget(); err != nil {
			return false, err
		}
		refusal := w.e.held(w.ctx, locked, rb, env)
		if !queue(child, rb, locked, refusal) {
			return refused(refusal)
		}
		change = w.e.announce(child, rb, r.Starter)
	}
}

// forget drops what the worker decided since its last commit.
func (w *worker) forget() error {
	run, err := w.e.store.Find(w.ctx, w.run.ID)
	if err != nil {
		return err
	}
	w.run, w.pending = run, nil
	return nil
}

func encodeCall(c call) json.RawMessage {
	data, _ := json.Marshal(c) // strings can always be encoded
	return data
}

// calledBy reads what encodeCall wrote; nil is none.
func calledBy(data []byte) any {
	var c call
	if len(data) == 0 || json.Unmarshal(data, &c) != nil {
		return nil
	}
	return c.result()
}

// childEnded goes on with what came of the other run.
func (w *worker) childEnded(step *runbooks.Step, n runbooks.Next, a Attempt, child *Run) {
	o := outcome{Status: runbooks.Fail, Final: true, Acting: child.Acting,
		Result: encodeCall(call{Run: child.ID, Verdict: string(child.Verdict)})}
	text := fmt.Sprintf("R%d (%s): %s", child.Number, child.Title, sentence(child.Outcome))
	switch {
	case child.State == Succeeded:
		o.Status, o.Found = child.Verdict, text
		if o.Status == "" {
			o.Status = runbooks.Pass
		}
	case child.State == Failed && failed(child.Verdict):
		o.Status, o.Fault = child.Verdict, text
	default:
		o.Fault = text
	}
	w.returned(step, n, a, o)
}

// returned concludes the attempt that was about another run. Where that did
// not go well, the run ends, whatever `then` says: nobody may go on as if it
// had. A step whose verb is `run` has its own on_fail.
func (w *worker) returned(step *runbooks.Step, n runbooks.Next, a Attempt, o outcome) {
	if a.Purpose == ForStep {
		if !failed(o.Status) {
			s := w.scope()
			s.Result = calledBy(o.Result)
			o = w.judged(step, s, o)
		}
		w.conclude(step, a, o)
		return
	}
	now := w.e.clock()
	a.Status, a.Found, a.Fault, a.ResultAt, a.State = o.Status, o.Found, o.Fault, now, AttemptDone
	if failed(o.Status) {
		a.State = AttemptFailed
	}
	w.do(PointResult, step.ID, func(r *Run, c *Change) {
		r.put(a)
		r.Acting += o.Acting
	})
	next := after(w.rb, w.run.Phase, step.ID)
	switch {
	case w.run.Stop != nil && w.run.Phase != PhaseCleanup: // the drive sees to it
	case failed(o.Status) && w.run.Phase != PhaseMain:
		w.moveTo(next)
	case failed(o.Status):
		w.endMain("", failedAt(step, o.Fault))
	case n.Run.Then == "retry":
		w.superseded(step)
	case n.Run.Then == "resume" || w.run.Phase != PhaseMain:
		w.moveTo(next)
	default:
		w.endMain("", o.Found)
	}
}

// withChildren is the status of a concluded step for the verdict: a failure
// that another run was started for counts as that run ended, and no other run
// makes it better.
func (r *Run) withChildren(at *Attempt) runbooks.Status {
	status := at.Status
	for _, a := range r.Attempts {
		switch {
		case a.Step != at.Step || a.Purpose != ForChild:
		case a.State == AttemptDone && a.Seq > at.Seq && failed(status):
			status = a.Status
		case a.State == AttemptDone || a.State == AttemptFailed:
			status = worse(status, a.Status)
		}
	}
	return status
}

// handedOver reports whether the step's failure has led to another run already.
func (r *Run) handedOver(step string) bool {
	return slices.ContainsFunc(r.Attempts, func(a Attempt) bool {
		return a.Step == step && a.Purpose == ForChild && a.State == AttemptDone
	})
}

// stopChild passes the stop of a run on to the run that it waits for.
func (e *Engine) stopChild(ctx context.Context, child *Run, stop *Stop) error {
	rb, err := e.runbook(child)
	if err != nil {
		e.log.Error("cannot read the runbook of a run that is stopped", "run", child.ID, "err", err)
	}
	_, err = e.store.Update(ctx, child.ID, nil, func(r *Run) (Change, error) {
		var c Change
		if r.State.Ended() || r.Stop != nil || r.Phase == PhaseCleanup || r.Phase == PhaseReport {
			return c, nil
		}
		r.stop(&c, stop)
		c.Audit = append(c.Audit, AuditEntry{Actor: stop.By, Act: "stop", Run: r.ID, Step: r.Cursor, Outcome: "done", Detail: "with the run that started it"})
		c.Notices = append([]outbox.Notice{runNotice(r, rb)}, c.Notices...)
		return c, nil
	})
	if err != nil {
		return fmt.Errorf("stop R%d: %w", child.Number, err)
	}
	e.halt(child.ID)
	return nil
}

// depth is how many runs stand above one that parent starts.
func (e *Engine) depth(ctx context.Context, parent *Run) (int, error) {
	n := 0
	for r := parent; r != nil; n++ {
		if r.ParentID == "" || n > runbooks.MaxDepth {
			return n + 1, nil
		}
		up, err := e.store.Find(ctx, r.ParentID)
		if err != nil {
			return 0, fmt.Errorf("look for the run above R%d: %w", r.Number, err)
		}
		r = up
	}
	return n, nil
}

// children are the runbooks that rb runs by itself.
func children(rb *runbooks.Runbook) []string {
	var names []string
	add := func(n runbooks.Next) {
		if n.Run != nil && !slices.Contains(names, n.Run.Runbook) {
			names = append(names, n.Run.Runbook)
		}
	}
	for _, step := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
		if step.Run != nil {
			add(runbooks.Next{Run: step.Run})
		}
		add(onFail(step))
		add(step.Then)
		if step.Decide != nil {
			for _, row := range step.Decide.Rows {
				add(row.Next)
			}
		}
	}
	return names
}

// family calls fn for rb and every runbook that it may lead to by itself, and
// returns the first refusal. depth is how many runs stand above rb.
func (s *settings) family(rb *runbooks.Runbook, depth int, fn func(*runbooks.Runbook) error) error {
	if err := fn(rb); err != nil {
		return err
	}
	for _, slug := range children(rb) {
		child, ok := s.library.Find(slug)
		switch {
		case !ok:
			return fault.New(fault.Invalid, "%s cannot be run: it runs %s, and there is no such runbook.", rb.Slug, slug)
		case depth >= runbooks.MaxDepth:
			return fault.New(fault.Invalid, "%s cannot be run: runbooks may run each other only %d deep, and %s would be one more.", rb.Slug, runbooks.MaxDepth, slug)
		}
		if err := s.family(child, depth+1, fn); err != nil {
			return fault.New(fault.KindOf(err), "%s may run %s. %s", rb.Slug, slug, fault.Say(err)).Because(err)
		}
	}
	return nil
}

// mayRun refuses an actor who may not run the runbook. A schedule may run what
// it is written in.
func (e *Engine) mayRun(ctx context.Context, s *settings, rb *runbooks.Runbook, actor access.Actor) error {
	if actor.Kind == access.Schedule {
		return nil
	}
	err := s.policy.May(ctx, e.people, actor, rb.Roles.Run...)
	if fault.KindOf(err) == fault.Forbidden {
		return fault.New(fault.Forbidden, "You may not run %s. %s", rb.Slug, fault.Say(err)).Because(err)
	}
	return err
}
