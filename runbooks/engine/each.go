package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// elements are the scopes of a loop's elements.
func elements(each *runbooks.Each, s *runbooks.Scope) ([]*runbooks.Scope, error) {
	list, err := each.In.Eval(s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s cannot be evaluated (%s).", each.In, err)
	}
	rv := reflect.ValueOf(list)
	if rv.Kind() != reflect.Slice {
		return nil, fault.New(fault.Invalid, "%s is no list to go through.", each.In)
	}
	most := each.Max
	if most <= 0 || most > 100 {
		most = 100
	}
	if rv.Len() > most {
		return nil, fault.New(fault.Invalid, "%s has %d elements; at most %d are allowed.", each.In, rv.Len(), most)
	}
	out := make([]*runbooks.Scope, rv.Len())
	for i := range out {
		c := *s
		c.Vars = maps.Clone(s.Vars)
		if c.Vars == nil {
			c.Vars = make(map[string]any)
		}
		c.Vars[each.As] = rv.Index(i).Interface()
		out[i] = &c
	}
	return out, nil
}

// loop makes the attempt of the next element, or concludes the step when every
// element has one or the last one failed. A step that people let try again goes
// on with the element that failed.
func (w *worker) loop(p *plan) error {
	var parts []json.RawMessage
	var began time.Time
	for _, a := range w.run.Attempts {
		if a.Step != p.step.ID || a.Purpose != ForItem || a.State == AttemptSuperseded {
			continue
		}
		if began.IsZero() {
			began = a.IntentAt
		}
		switch a.State {
		case AttemptFailed:
			w.settle(p.step, outcome{Status: a.Status, Final: true,
				Fault: fmt.Sprintf("element %d of %d: %s", a.Item, len(p.items), a.Fault)})
			return nil
		case AttemptDone, AttemptSkipped:
			part := a.Result
			if len(part) == 0 {
				part = json.RawMessage("{}")
			}
			parts = append(parts, part)
		}
	}
	if len(parts) < len(p.items) {
		return w.attemptOnce(p, p.items[len(parts)], ForItem, len(parts)+1)
	}
	data, err := json.Marshal(append([]json.RawMessage{}, parts...))
	if err != nil {
		return fmt.Errorf("results of %s: %w", p.step.ID, err)
	}
	o := outcome{Result: data, Final: true, Found: people(len(p.items), "element") + " done"}
	s := w.scope()
	if s.Result, err = decodeResult(p.step, data); err != nil {
		o.Status, o.Fault = runbooks.Fail, "its results cannot be read"
		w.e.log.Error("cannot read back results", "run", w.run.ID, "step", p.step.ID, "err", err)
	} else {
		o = w.judged(p.step, s, o)
	}
	a := w.attempt(p.step, ForStep, w.e.clock())
	a.Effect = p.effect
	if !began.IsZero() {
		a.IntentAt = began
	}
	w.conclude(p.step, a, o)
	return nil
}
