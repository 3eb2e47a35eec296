package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"opsbot/internal/access"
	"opsbot/runbooks"
)

// Rules are what holds for runs because of what they belong to. Each is a
// sentence that says why, or "" where it does not hold.
type Rules struct {
	// Second: what is only confirmed otherwise needs a second person.
	Second string
	// Frozen: nothing destructive may be done.
	Frozen string
	// Alone: who may run the runbook may go on without the others whose word is
	// missing, with a reason that is on record.
	Alone string
}

// A Guardian knows the rules of what runs belong to. It is implemented by
// whoever keeps that; the engine knows it by its id alone.
type Guardian interface {
	// Rules returns those of the subject as they are now; the zero Rules for one
	// that is not known.
	Rules(ctx context.Context, subject string) (Rules, error)
}

// rules are those that hold for the run now.
func (w *worker) rules() (Rules, error) {
	if w.e.guardian == nil || w.run.Subject == "" {
		return Rules{}, nil
	}
	return w.e.guardian.Rules(w.ctx, w.run.Subject)
}

// stricter raises gates to what the rules ask for.
func (g gates) stricter(r Rules, rb *runbooks.Runbook) gates {
	if r.Second != "" && g.Confirm && g.Count == 0 {
		g.Count = 1
		g.Reasons = append(slices.Clone(g.Reasons), r.Second)
	}
	if g.Count > 0 && len(g.By) == 0 {
		g.By = rb.Roles.Run
	}
	return g
}

// choiceAlone answers a review in place of those who are not there.
const choiceAlone = "alone"

// A Note is something that happened in a run, told for the record of what the
// run belongs to.
type Note struct {
	Actor access.Actor
	Point string // started, step, asked, answered, refused, steered, ended
	Step  string
	Text  string // a sentence
	Alone bool   // somebody went on without the others whose word was missing
}

// Notes tells what a commit adds to the run: its audit entries and the steps
// that it ends, in words.
func (c Change) Notes(r *Run) []Note {
	var notes []Note
	who := fmt.Sprintf("R%d %s on %s", r.Number, r.Title, r.Environment)
	if r.DryRun {
		who += " (dry run)"
	}
	for _, id := range c.Ended {
		a := r.conclusion(id)
		if a == nil {
			continue
		}
		said := firstOf(a.Fault, a.Found)
		text := fmt.Sprintf("R%d, %s: %s", r.Number, c.called(id), orWord(string(a.Status), "done"))
		if said != "" {
			text += ": " + said
		}
		notes = append(notes, Note{Actor: system, Point: "step", Step: id, Text: text})
	}
	for _, e := range c.Audit {
		if e.Run != r.ID {
			continue
		}
		n := Note{Actor: e.Actor, Step: e.Step, Point: "answered"}
		by, about := person(e.Actor), fmt.Sprintf("%s of R%d", c.called(e.Step), r.Number)
		switch e.Act {
		case "start":
			n.Point, n.Text = "started", fmt.Sprintf("%s was started by %s.", who, by)
		case "end":
			n.Point, n.Text = "ended", who+" "+ended(r)
		case "act", "result": // the step's end says it
			continue
		case "refuse":
			wanted := e.Outcome
			if wanted == choiceAlone {
				wanted = "go on alone with"
			}
			n.Point, n.Text = "refused", fmt.Sprintf("%s was refused to %s %s: %s", by, wanted, about, e.Detail)
		case "void":
			n.Text = fmt.Sprintf("The approval of %s was withdrawn: %s", about, e.Detail)
		case "expire":
			n.Text = fmt.Sprintf("Nobody answered about %s in time.", about)
		case "uncertain":
			n.Text = fmt.Sprintf("Nobody knows what became of %s.", about)
		case "stop", "pause", "resume", choiceSkip, choiceRetry:
			n.Point, n.Text = "steered", fmt.Sprintf("%s %s R%d", by, did[e.Act], r.Number)
			if e.Act == choiceSkip || e.Act == choiceRetry {
				n.Text = fmt.Sprintf("%s %s %s", by, did[e.Act], about)
			}
		case choiceDone:
			n.Text = fmt.Sprintf("%s did %s by hand", by, about)
		case choiceAlone:
			n.Alone, n.Text = true, fmt.Sprintf("%s went on with %s without a second person", by, about)
		default:
			n.Text = fmt.Sprintf("%s %s %s", by, orWord(did[e.Act], "chose "+e.Act+" for"), about)
		}
		if e.Detail != "" && n.Point != "refused" && n.Point != "started" && n.Point != "ended" && e.Act != "void" {
			n.Text += ": " + e.Detail
		}
		if !strings.HasSuffix(n.Text, ".") {
			n.Text += "."
		}
		notes = append(notes, n)
	}
	return notes
}

// called is what people call the step.
func (c Change) called(id string) string {
	if c.Runbook != nil {
		if s := c.Runbook.Step(id); s != nil {
			return name(s)
		}
	}
	return "step " + id
}

// ended says how a run ended, and why if it did not succeed.
func ended(r *Run) string {
	why := sentence(r.Outcome)
	for _, known := range []string{"Failed at ", "Stopped by "} {
		if strings.HasPrefix(why, known) {
			return strings.TrimSuffix(ending(r), strings.ToLower(strings.Fields(known)[0])) + lower(why)
		}
	}
	if why == "" || why == "Done." {
		return ending(r) + "."
	}
	return ending(r) + ": " + why
}

// did says what people did, in the past.
var did = map[string]string{
	choiceConfirm: "confirmed", choiceApprove: "approved", choiceDeny: "denied", choiceCancel: "called off",
	choiceRedo: "had done again", choiceRollback: "had rolled back", choiceSkip: "left out", choiceRetry: "had tried again",
	"stop": "stopped", "pause": "paused", "resume": "resumed",
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// OnlyLooked reports whether nothing that the run did, or tried to do, changed
// anything: it is a check, and how it ended says how the systems are. What
// could not even be read is not well.
func (r *Run) OnlyLooked() bool {
	acted := false
	for _, a := range r.Attempts {
		if a.Purpose != ForStep && a.Purpose != ForItem {
			continue
		}
		switch a.State {
		case AttemptDone, AttemptFailed, AttemptUncertain:
		default:
			continue
		}
		if a.Effect > runbooks.Read {
			return false
		}
		acted = true
	}
	return acted && !r.DryRun
}

// Proven reports whether the run changed something and then found that it had
// helped: it succeeded, and at least one action that only looks passed after
// the last step that changed something. A step that runs another runbook counts
// as a change. rb is the run's runbook.
func (r *Run) Proven(rb *runbooks.Runbook) bool {
	if rb == nil || r.DryRun || r.ParentID != "" || r.State != Succeeded || r.Verdict != runbooks.Pass {
		return false
	}
	changed, proven := false, false
	for _, a := range r.Attempts {
		step := rb.Step(a.Step)
		switch {
		case step == nil || a.Phase != PhaseMain:
		case a.Purpose == ForChild, a.Effect > runbooks.Read, step.Run != nil:
			if a.State == AttemptDone || a.State == AttemptFailed || a.State == AttemptUncertain {
				changed, proven = true, false
			}
		case step.Action != nil && a.State == AttemptDone && a.Status == runbooks.Pass && (a.Purpose == ForStep || a.Purpose == ForItem):
			proven = true
		}
	}
	return changed && proven
}
