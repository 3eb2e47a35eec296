package incidents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"opsbot/internal/outbox"
)

// A Happening is something that a run of the incident did.
type Happening struct {
	Event
	Alone bool // somebody went on without the second person that was asked for
}

// A Finding is what the end of a run says about how the systems are.
type Finding int

const (
	FoundNothing Finding = iota // the run goes on, or changed something and did not look at what came of it
	FoundWell                   // it only looked, and all is well
	FoundBad                    // it only looked, and not all is well
	FoundFixed                  // it changed something, and what it looked at afterwards is well
)

// Follow puts what a run did on the timeline, and what follows from it: a
// headline that shows the run, a task to review what was done alone, and, when
// a run has found how the systems are, the offer to go on or back. The events
// are the store's to add.
func (i *Incident) Follow(run Run, happened []Happening, found Finding, now time.Time) Change {
	var c Change
	for _, h := range happened {
		i.Events++
		h.Seq, h.Kind, h.Recorded = i.Events, KindRun, now
		if h.Occurred.IsZero() {
			h.Occurred = now
		}
		c.Events = append(c.Events, h.Event)
		if h.Alone && len(i.Tasks) < MaxTasks {
			i.Events++
			task := Task{Number: len(i.Tasks) + 1, Text: clip("Review afterwards: "+h.Text, 500), By: opsbot}
			i.Tasks = append(i.Tasks, task)
			c.Events = append(c.Events, Event{Seq: i.Events, Kind: KindTask, Actor: opsbot, Text: task.Text, Occurred: now, Recorded: now,
				Data: map[string]string{"number": itoa(task.Number)}})
			c.Notices = append(c.Notices, i.say(outbox.Line{Text: fmt.Sprintf("Task %d: %s", task.Number, task.Text)})...)
		}
	}
	run.At = now.UnixMilli()
	i.Runs = slices.DeleteFunc(i.Runs, func(r Run) bool {
		if r.ID == run.ID && run.Step == "" {
			run.Step = r.Step
		}
		return r.ID == run.ID
	})
	i.Runs = append(i.Runs, run)
	if over := len(i.Runs) - MaxRuns; over > 0 {
		i.Runs = i.Runs[over:]
	}
	// Whoever serves the clocks edits the headline: what it says depends on more
	// than is known here.
	if clock := i.clock(ForHeadline, now); i.State.Active() {
		clock.Interval, clock.Wake = HeadlineEvery, now
	}
	who := fmt.Sprintf("R%d", run.Number)
	switch found {
	case FoundWell:
		c.Notices = append(c.Notices, i.offers(run.ID, true, fmt.Sprintf("%s %s found nothing wrong.", who, run.Title), who+" found nothing wrong")...)
	case FoundFixed:
		c.Notices = append(c.Notices, i.offers(run.ID, true, fmt.Sprintf("%s %s is done, and its checks passed.", who, run.Title), who+" is done, and its checks passed")...)
	case FoundBad:
		c.Notices = append(c.Notices, i.offers(run.ID, false, fmt.Sprintf("%s %s found that it is not over: %s.", who, run.Title, orElse(run.Step, run.State)), who+" "+run.Title+" failed")...)
	}
	return c
}

// offers asks whether the state is still right after what was said about how
// things are; note goes with the change of state. by names who asks: what it
// asked before is replaced.
func (i *Incident) offers(by string, well bool, said, note string) []outbox.Notice {
	at := slices.Index(order, i.State)
	p := outbox.Prompt{}
	if r, ok := i.Holder(Commander); ok {
		p.Users = []string{r.Actor.ID}
	}
	switch {
	case well && at >= 0 && at < slices.Index(order, Monitoring):
		p.Text = said + " Is it over?"
		p.Buttons = []outbox.Item{{Label: "Move to monitoring", Command: "incident status " + i.Ref() + " monitoring " + note}}
	case !well && at >= slices.Index(order, Monitoring):
		p.Text = said
		p.Buttons = []outbox.Item{{Label: "Reopen", Command: "incident reopen " + i.Ref() + " " + note}}
	default:
		return nil
	}
	return []outbox.Notice{i.ask("offer/"+i.ID+"/"+by, p)}
}

// RunRules say what holds for runs of an incident, each a sentence with the
// reason or "".
type RunRules struct {
	Second string // what is only confirmed otherwise needs a second person
	Frozen string // nothing destructive may be done
	Alone  string // whoever is alone may go on, with a reason
}

// RunRules returns those of the incident with the id; the zero RunRules if there
// is none, or it is over.
func (t *Tracker) RunRules(ctx context.Context, id string) (RunRules, error) {
	i, err := t.store.Load(ctx, id)
	if errors.Is(err, ErrNone) {
		return RunRules{}, nil
	}
	if err != nil {
		return RunRules{}, err
	}
	var r RunRules
	if i.State.Over() {
		return r, nil
	}
	if i.Security {
		r.Frozen = fmt.Sprintf("Destructive steps are frozen: %s is a matter of security, and what is there may be evidence.", i.Ref())
	}
	if i.Severity.Critical() && i.State.Active() {
		r.Second = fmt.Sprintf("%s is %s: everything that changes something needs a second person", i.Ref(), i.Severity)
		r.Alone = fmt.Sprintf("%s is %s: whoever is alone may break the glass, with a reason; it is reviewed afterwards", i.Ref(), i.Severity)
	}
	return r, nil
}
