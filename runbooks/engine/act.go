package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

var errTimeout = errors.New("the step's time is up")

const (
	progressEvery = 5 * time.Second // at most so often a watch shows how it goes
	stopPollEvery = time.Second     // how soon a stop made on another replica is seen
)

// act runs the action, once or as a watch, and judges what came of it. It
// returns an error, and no outcome, when the worker may not go on: the lease
// is lost, or opsbot stops before the action was over. Then the intent stays
// on record without a result.
func (w *worker) act(p *plan, it item, a Attempt) (outcome, error) {
	if !w.leased() { // the last look before the world is touched
		return outcome{}, ErrLeaseLost
	}
	if p.step.Watch != nil && a.Effect > runbooks.Read { // the linter sees it where the runbook tells
		return outcome{Status: runbooks.Fail, Final: true, Fault: "nothing was done: it can change something, and a watch would do so again and again"}, nil
	}
	began := w.e.now()
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	defer w.haltable(ctx, cancel)()
	defer context.AfterFunc(w.serving, func() {
		if a.Effect == runbooks.Read {
			cancel(errStopping)
			return
		}
		time.AfterFunc(w.e.grace, func() { cancel(errStopping) })
	})()

	out := new(tape)
	var o outcome
	if p.step.Watch != nil && a.Purpose == ForStep {
		o = w.watch(ctx, p, it, a, out)
	} else {
		o = w.once(ctx, p, it, a, out)
	}
	cause := context.Cause(ctx)
	switch {
	case !w.leased():
		return outcome{}, ErrLeaseLost
	case o.Status != runbooks.Fail || cause == nil: // it was over before anything ended it
	case errors.Is(cause, errStopping):
		return outcome{}, errStopping
	case errors.Is(cause, errStopped):
		o.Final, o.Fault = true, "stopped while it ran"
		if a.Effect > runbooks.Read {
			o.Fault += ": part of it may be done"
		}
		w.seeStop()
	}
	o.Output, o.Found, o.Fault = p.veil.text(out.String()), p.veil.text(o.Found), p.veil.text(o.Fault)
	o.Acting = w.e.now().Sub(began)
	w.e.passed(PointActed, w.run, p.step.ID)
	return o, nil
}

// haltable lets a person's stop end ctx: one made in this process at once, one
// made elsewhere within a second. The returned function ends that.
func (w *worker) haltable(ctx context.Context, cancel context.CancelCauseFunc) func() {
	if w.run.Phase == PhaseCleanup {
		return func() {} // a stop has its cleanup
	}
	w.mu.Lock()
	w.halt = cancel
	w.mu.Unlock()
	id := w.run.ID // w.run is the worker's own: it is replaced with each commit
	tick := time.NewTicker(stopPollEvery)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if r, err := w.e.store.Find(ctx, id); err == nil && r.Stop != nil {
				cancel(errStopped)
			}
		}
	}()
	return func() {
		tick.Stop()
		close(done)
		w.mu.Lock()
		w.halt = nil
		w.mu.Unlock()
	}
}

// seeStop takes over a stop that a person has committed.
func (w *worker) seeStop() {
	if r, err := w.e.store.Find(w.ctx, w.run.ID); err == nil && r.Stop != nil {
		w.run.Stop = r.Stop
	}
}

// once makes one call and judges it.
func (w *worker) once(ctx context.Context, p *plan, it item, a Attempt, out io.Writer) outcome {
	value, o, err := w.try(ctx, p, it, out)
	if err != nil {
		return w.broke(ctx, o, a, err)
	}
	o.Found = found(p.step, value)
	if a.Purpose == ForItem {
		o.Status = runbooks.Pass
		return o
	}
	s := w.scope()
	s.Result, s.Vars, s.N = value, it.vars, 1
	o = w.judged(p.step, s, o)
	// It did what it was to do. Doing it again because of what came of it is
	// for people to decide, unless it only looks.
	o.Final = o.Final || a.Effect > runbooks.Read
	return o
}

// broke is the outcome of a call that failed.
func (w *worker) broke(ctx context.Context, o outcome, a Attempt, err error) outcome {
	o.Status, o.Fault = runbooks.Fail, fault.Say(err)
	switch {
	case errors.Is(err, errTimeout):
		o.Fault = "took too long and was ended"
		if a.Effect > runbooks.Read {
			o.Fault += ": part of it may be done"
		}
	case fault.KindOf(err) == fault.Internal && ctx.Err() == nil: // nobody interrupted it
		w.e.log.Error("an action failed", "run", w.run.ID, "step", a.Step, "err", err)
	}
	return o
}

// try makes one call within its time. The value has gone through JSON, so that
// a resumed run sees the very same.
func (w *worker) try(ctx context.Context, p *plan, it item, out io.Writer) (value any, o outcome, err error) {
	limit := p.step.Timeout
	if left, ok := w.budget(); ok && left == 0 {
		return nil, o, fault.New(fault.Conflict, "Nothing was done: the time that the run has for this is used up.")
	} else if ok && (limit == 0 || left < limit) {
		limit = left
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimeout)
		defer cancel()
	}
	result, err := func() (r any, err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%s panicked: %v\n%s", p.step.Do, v, debug.Stack())
			}
		}()
		return p.step.Action.Run(leased{ctx, w}, w.call(p, it), out)
	}()
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		err = errors.Join(errTimeout, err)
	}
	if rv := reflect.ValueOf(result); rv.IsValid() && (rv.Kind() != reflect.Pointer || !rv.IsNil()) {
		data, jerr := json.Marshal(result)
		if jerr == nil {
			data, jerr = p.veil.json(data) // before anything is made of it
		}
		if jerr == nil {
			value, jerr = runbooks.DecodeResult(p.step.Action.Spec(), data)
		}
		if jerr != nil {
			return nil, o, p.veil.error(errors.Join(err, fmt.Errorf("result of %s: %w", p.step.Do, jerr)))
		}
		o.Result = data
	}
	return value, o, p.veil.error(err)
}

// watch polls until the condition has held often enough, or time is up.
func (w *worker) watch(ctx context.Context, p *plan, it item, a Attempt, out io.Writer) outcome {
	watch := p.step.Watch
	every, err := durationOf(watch.Every, w.scope())
	if err != nil {
		return outcome{Status: runbooks.Fail, Fault: fault.Say(err), Final: true}
	}
	var last outcome
	var prev any
	held, failures, shown := 0, 0, w.e.now()
	for n := 1; ; n++ {
		next := w.e.now().Add(every)
		value, o, err := w.try(ctx, p, it, out)
		s := w.scope()
		s.Result, s.Prev, s.N, s.Vars = value, prev, n, it.vars
		switch {
		case err != nil:
			last, held, failures = w.broke(ctx, o, a, err), 0, failures+1
			if failures == watch.GiveUp {
				return last
			}
			if k := fault.KindOf(err); ctx.Err() != nil || k == fault.Invalid || k == fault.Forbidden {
				return last
			}
		default:
			yes, known, err := watch.Until.Bool(s)
			if err != nil {
				o.Status, o.Fault, o.Final = runbooks.Fail, "could not evaluate "+watch.Until.String()+": "+err.Error(), true
				return o
			}
			last, prev, failures = o, value, 0
			last.Found = found(p.step, value)
			if yes && known {
				held++
			} else {
				held = 0
			}
			if held >= max(watch.Hold, 1) {
				return w.judged(p.step, s, last)
			}
			last.Status, last.Fault = runbooks.Fail, last.Found
			if !known {
				last.Status = runbooks.Unknown
			}
		}
		if w.run.DryRun {
			return outcome{Status: runbooks.Skipped, Final: true, Result: last.Result,
				Found: "now: " + firstOf(last.Fault, last.Found) + "; would be watched until " + watch.Until.String() + w.forks(p.step)}
		}
		if wait := max(next.Sub(w.e.now()), 0); w.e.clock().Add(wait).After(a.Deadline) {
			last.Fault = w.missed(p.step, a, last)
			return last
		}
		if w.e.now().Sub(shown) >= progressEvery {
			if err := w.progress(a, firstOf(last.Fault, last.Found)); err != nil {
				return last // the lease is lost; act sees it
			}
			shown = w.e.now()
		}
		w.e.sleep(ctx, max(next.Sub(w.e.now()), 0))
		if ctx.Err() != nil {
			last.Status = runbooks.Fail
			return last
		}
	}
}

// missed says that a watch did not see what it waited for.
func (w *worker) missed(step *runbooks.Step, a Attempt, last outcome) string {
	text := "not seen in time: " + step.Watch.Until.String()
	if w.cut(step.Watch.For, &a) {
		text = "not seen in the time that the run has: " + step.Watch.Until.String()
	} else if length, err := durationOf(step.Watch.For, w.scope()); err == nil {
		text = "not seen within " + short(length) + ": " + step.Watch.Until.String()
	}
	if last.Fault != "" {
		text += " (last: " + last.Fault + ")"
	}
	return text
}

// progress shows how a watch goes.
func (w *worker) progress(a Attempt, seen string) error {
	a.Found = seen
	w.do("", "", func(r *Run, c *Change) { r.put(a) })
	return w.flush()
}

// A tape keeps what an action writes: all of it up to a limit, beyond that its
// beginning and its end.
type tape struct {
	head, tail []byte
	cut        int // bytes left out between them
}

const (
	tapeHead = 256 << 10
	tapeTail = 768 << 10
)

func (t *tape) Write(p []byte) (int, error) {
	n := len(p)
	if room := tapeHead - len(t.head); room > 0 {
		k := min(room, len(p))
		t.head, p = append(t.head, p[:k]...), p[k:]
	}
	t.tail = append(t.tail, p...)
	if over := len(t.tail) - tapeTail; over > tapeTail { // seldom, so that writing stays cheap
		t.tail = append([]byte(nil), t.tail[over:]...)
		t.cut += over
	}
	return n, nil
}

func (t *tape) String() string {
	tail := t.tail
	cut := t.cut
	if over := len(tail) - tapeTail; over > 0 {
		tail, cut = tail[over:], cut+over
	}
	if cut == 0 {
		return string(t.head) + string(tail)
	}
	return fmt.Sprintf("%s\n… %d bytes left out …\n%s", t.head, cut, tail)
}
