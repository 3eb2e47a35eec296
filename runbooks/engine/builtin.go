package engine

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// waitPoll is how often the condition of a `wait` is evaluated.
const waitPoll = 5 * time.Second

// builtIn does a step that acts on no system.
func (w *worker) builtIn(step *runbooks.Step) (parked bool, err error) {
	switch step.Do {
	case "decide":
		w.decide(step)
		return false, nil
	case "end":
		w.end(step)
		return false, nil
	}
	if w.run.DryRun {
		return w.rehearse(step)
	}
	switch step.Do {
	case "manual":
		return true, w.manual(step)
	case "wait":
		return w.wait(step)
	case "notify":
		w.notify(step)
		return false, nil
	case "run":
		w.hand(step, ForStep, runbooks.Next{Run: step.Run})
		return false, nil
	}
	w.settle(step, outcome{Status: runbooks.Fail, Final: true,
		Fault: fmt.Sprintf("this version of opsbot cannot do %q", step.Do)})
	return false, nil
}

func (w *worker) end(step *runbooks.Step) {
	n := runbooks.Next{End: step.End.Verdict, Say: step.End.Say}
	a := w.attempt(step, ForStep, w.e.clock())
	a.State, a.Status, a.ResultAt, a.Found = AttemptDone, runbooks.Pass, a.IntentAt, "ends the run: "+step.End.Verdict
	w.do(PointResult, step.ID, func(r *Run, c *Change) { r.put(a) })
	w.follow(step, n, runbooks.Pass, "")
}

// decide takes the first row that fits. No row that fits is a failure: a gap
// that the linter could not see.
func (w *worker) decide(step *runbooks.Step) {
	if w.run.DryRun && w.undecided(step) {
		return
	}
	s := w.scope()
	row, found, err := choose(step.Decide, s)
	switch {
	case err != nil:
		w.settle(step, outcome{Status: runbooks.Fail, Fault: err.Error(), Final: true})
		return
	case row == nil:
		w.settle(step, outcome{Status: runbooks.Fail, Fault: "no row fits (" + found + ")", Final: true})
		return
	}
	if row.Next.Say != nil {
		if text, err := row.Next.Say.Text(s, nil); err == nil {
			found = text
		}
	}
	if found == "" {
		found = "→ " + whereTo(row.Next, w.rb)
	}
	a := w.attempt(step, ForStep, w.e.clock())
	a.State, a.Status, a.ResultAt, a.Found = AttemptDone, runbooks.Pass, a.IntentAt, found
	w.do(PointResult, step.ID, func(r *Run, c *Change) { r.put(a) })
	w.follow(step, row.Next, runbooks.Pass, "")
}

// choose returns the row that fits, and for a table what its inputs were.
func choose(d *runbooks.Decision, s *runbooks.Scope) (*runbooks.Row, string, error) {
	values := make(map[string]*float64, len(d.Inputs))
	var seen []string
	for _, in := range d.Inputs {
		v, err := in.Expr.Eval(s)
		if errors.Is(err, runbooks.ErrNoData) {
			v, err = nil, nil // a row with none takes it
		}
		if err != nil {
			return nil, "", fmt.Errorf("could not evaluate %s: %w", in.Name, err)
		}
		values[in.Name] = floatOf(v)
		text := "no data"
		if f := values[in.Name]; f != nil {
			text = number(*f)
		}
		seen = append(seen, in.Name+" "+text)
	}
	found := strings.Join(seen, ", ")
	for i := range d.Rows {
		row := &d.Rows[i]
		switch {
		case row.Else:
			return row, found, nil
		case row.If != nil:
			yes, err := truth(row.If, s)
			if err != nil {
				return nil, "", fmt.Errorf("row %d: %s", i+1, fault.Say(err))
			}
			if yes {
				return row, found, nil
			}
		case len(d.Inputs) > 0 && fits(row, values):
			return row, found, nil
		}
	}
	return nil, found, nil
}

func fits(row *runbooks.Row, values map[string]*float64) bool {
	for name, cell := range row.Cells {
		v := values[name]
		switch {
		case cell.Any:
		case cell.None:
			if v != nil {
				return false
			}
		case v == nil:
			return false
		case cell.Min != nil && (*v < *cell.Min || cell.MinOpen && *v == *cell.Min):
			return false
		case cell.Max != nil && (*v > *cell.Max || cell.MaxOpen && *v == *cell.Max):
			return false
		}
	}
	return true
}

// floatOf is a number as decision tables see it; nil is no data.
func floatOf(v any) *float64 {
	if d, ok := v.(time.Duration); ok {
		f := d.Seconds()
		return &f
	}
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	var f float64
	switch {
	case rv.CanInt():
		f = float64(rv.Int())
	case rv.CanFloat():
		f = rv.Float()
	default:
		return nil
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// whereTo says where a decision leads.
func whereTo(n runbooks.Next, rb *runbooks.Runbook) string {
	switch {
	case n.Goto != "":
		return name(rb.Step(n.Goto))
	case n.End != "":
		return "end, " + n.End
	case n.Run != nil:
		return "run " + n.Run.Runbook
	case len(n.Offer) > 0:
		return "an offer"
	case n.Word == "" || n.Word == "next":
		return "next"
	}
	return n.Word
}

// manual asks people to do something and tick it.
func (w *worker) manual(step *runbooks.Step) error {
	now := w.e.clock()
	groups := step.Who
	if len(groups) == 0 {
		groups = w.rb.Roles.Run
	}
	a := Approval{Kind: Manual, Groups: groups, Needed: 1, Created: now, Expires: now.Add(answerWithin), Remind: now.Add(answerRemind)}
	a.Card = w.card(step, Manual, now)
	a.Card.Question = plain(step.Prose)
	if a.Card.Question == "" {
		a.Card.Question = "Do this by hand, then tick it off."
	}
	a.Card.Groups, a.Card.Items, a.Card.Expires = groups, step.Items, a.Expires
	for _, f := range step.Ask {
		a.Card.Fields = append(a.Card.Fields, field(f))
	}
	a.Card.Choices = []outbox.Choice{{ID: choiceDone, Label: "Done", Style: "primary"}, {ID: choiceStop, Label: "Stop the run", Reason: true}}
	return w.await(step, a)
}

func field(p runbooks.Param) outbox.Field {
	f := outbox.Field{Name: p.Name, Label: strings.ReplaceAll(p.Name, "_", " "), Type: string(p.Type), Help: p.Help,
		Values: p.Values, Required: p.Required || p.Default == nil}
	if p.Default != nil {
		f.Default = textOf(p.Default)
	}
	return f
}

// wait lets time pass without an owner: the intent on record holds the time at
// which it ends.
func (w *worker) wait(step *runbooks.Step) (parked bool, err error) {
	now := w.e.clock()
	s := w.scope()
	a := w.current(step)
	if a == nil {
		fresh := w.attempt(step, ForStep, now)
		length := step.Wait.For
		if length == nil {
			length = step.Wait.Max
		}
		d, err := durationOf(length, s)
		if err != nil {
			w.conclude(step, fresh, outcome{Status: runbooks.Fail, Fault: fault.Say(err), Final: true})
			return false, nil
		}
		fresh.Deadline = now.Add(w.within(d))
		w.do(PointIntent, step.ID, func(r *Run, c *Change) { r.put(fresh) })
		a = &fresh
	}
	over, wake := !now.Before(a.Deadline), a.Deadline
	o := outcome{Status: runbooks.Pass, Found: "waited " + short(rounded(now.Sub(a.IntentAt))), Final: true}
	o.Acting = min(now.Sub(a.IntentAt), a.Deadline.Sub(a.IntentAt)) // downtime is not counted
	if until := step.Wait.Until; until != nil {
		yes, err := truth(until, s)
		switch {
		case err != nil:
			o.Status, o.Fault, over = runbooks.Fail, fault.Say(err), true
		case yes:
			over = true
		case over:
			o.Status, o.Fault = runbooks.Fail, "did not come true in time: "+until.String()
		default:
			if next := now.Add(waitPoll); next.Before(wake) {
				wake = next
			}
		}
	}
	if !over {
		return true, w.park(Ready, wake)
	}
	if until := step.Wait.Until; until == nil && w.cut(step.Wait.For, a) {
		o.Status, o.Fault = runbooks.Fail, "the time that the run has for this is used up"
	}
	w.conclude(step, *a, o)
	return false, nil
}

// within is a length of time, or what the run's limits leave of it.
func (w *worker) within(d time.Duration) time.Duration {
	if left, ok := w.budget(); ok {
		d = min(d, left)
	}
	return d
}

// cut reports whether the run's limits left the attempt less than this.
func (w *worker) cut(length *runbooks.Value, a *Attempt) bool {
	d, err := durationOf(length, w.scope())
	return err == nil && a.Deadline.Sub(a.IntentAt) < d-time.Millisecond // moments are kept to the millisecond
}

// notify says something to somebody.
func (w *worker) notify(step *runbooks.Step) {
	text, err := step.Notify.Text.Text(w.scope(), nil)
	if err != nil {
		w.settle(step, outcome{Status: runbooks.Fail, Fault: "its text cannot be made: " + err.Error(), Final: true})
		return
	}
	starter := w.run.Starter
	said := outbox.Line{Text: text}
	var n outbox.Notice
	switch to := step.Notify.To; to {
	case "", "thread":
		n = w.run.line(said)
	case "starter":
		if starter.ID != "" {
			said.Users = []string{starter.ID}
		}
		n = w.run.line(said)
	case "ops":
		said.Run = w.run.ID
		n = outbox.Notice{Content: said}
	default:
		said.Run = w.run.ID
		n = outbox.Notice{To: outbox.Conversation{Channel: to}, Content: said}
	}
	w.do("", "", func(r *Run, c *Change) { c.Notices = append(c.Notices, n) })
	w.settle(step, outcome{Status: runbooks.Pass, Found: "said: " + text})
}
