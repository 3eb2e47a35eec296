package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A cover is a step of the rollback that the review of another step covers: it
// is shown with that one, and may run without being asked about if, when its
// time comes, it would do the very same to the very same system.
type cover struct {
	step   *runbooks.Step
	digest string // "" where it is not known yet what it would do: then it is not covered
	text   string // for the card
}

// coverings adds to the plan what its step's review covers.
func (w *worker) coverings(p *plan) {
	if p.step.Review == nil || p.gates.Count == 0 {
		return
	}
	p.covers = nil
	for _, id := range p.step.Review.Covers {
		step := w.rb.Step(id)
		if step == nil || step.Action == nil {
			continue
		}
		then, err := w.resolve(step)
		if err == nil {
			err = w.preview(then)
		}
		if err != nil {
			p.covers = append(p.covers, cover{step: step, text: "not covered, since it is not known yet what it would do: " + fault.Say(err)})
			continue
		}
		p.covers = append(p.covers, cover{step: step, digest: then.digest, text: then.summary()})
	}
}

// summary says in one line what the plan would do to what.
func (p *plan) summary() string {
	parts := []string{p.step.Do}
	for _, it := range p.items {
		for _, k := range slices.Sorted(maps.Keys(it.with)) {
			parts = append(parts, k+"="+argText(it.with[k]))
		}
	}
	text := strings.Join(parts, " ")
	if p.target.Conn != nil {
		text += fmt.Sprintf(" on %s, %s (%s)", p.step.Target, p.target.Conn.Address(), p.identity)
	}
	if len(p.impact) > 0 {
		text += ": " + strings.Join(p.impact, "; ")
	}
	return text + "; covered by this approval, for this run"
}

// coverDigests are the digests of what is covered, by step; nil for none.
func coverDigests(covers []cover) map[string]string {
	var out map[string]string
	for _, x := range covers {
		if x.digest == "" {
			continue
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[x.step.ID] = x.digest
	}
	return out
}

// covering is the newest review that covers the step of the rollback: of a step
// that was begun under it. It ends when people decide about the step itself.
func (w *worker) covering(step *runbooks.Step) *Approval {
	if w.run.Phase != PhaseRollback || !w.round(step).IsZero() {
		return nil
	}
	for i := len(w.run.Approvals) - 1; i >= 0; i-- {
		a := &w.run.Approvals[i]
		if a.Kind == Review && a.State == Spent && a.Card.Covers[step.ID] != "" {
			return a
		}
	}
	return nil
}

// covered reports whether the plan may run without being asked about: it is
// what was shown, and no more people are wanted for it than have agreed.
func (w *worker) covered(p *plan) bool {
	a := w.covering(p.step)
	return a != nil && a.Card.Covers[p.step.ID] == p.digest && a.Needed >= p.gates.Count
}
