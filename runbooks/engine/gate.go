package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

const (
	reviewWithin  = 15 * time.Minute // and confirms; silence is refusal
	answerWithin  = 24 * time.Hour   // asks, manual steps, doubts
	answerRemind  = 15 * time.Minute
	startWithin   = 2 * time.Minute // from the last approval or recheck to the act
	previewWithin = 2 * time.Minute
)

// gates are the acts that people owe before a step may run: the stronger of
// the runbook's and the policy's.
type gates struct {
	Confirm bool
	Type    *runbooks.Template // phrase of the confirm, from the file
	Typed   bool               // a phrase is needed; the environment's name unless Type says otherwise
	Count   int                // reviewers
	By      []string           // groups of the reviewers
	Within  time.Duration
	Reasons []string // why more is asked than the file does
}

// gatesOf says which gates a step of the effect has.
func gatesOf(rb *runbooks.Runbook, step *runbooks.Step, effect runbooks.Effect, policy access.Policy, env *Environment) gates {
	g := gates{Confirm: step.Confirm != nil || effect > runbooks.Read, By: rb.Roles.Approve, Within: reviewWithin}
	if step.Confirm != nil && step.Confirm.Type != nil {
		g.Type, g.Typed = step.Confirm.Type, true
	}
	if step.Review != nil {
		g.Count = max(step.Review.Count, 1)
		if len(step.Review.By) > 0 {
			g.By = step.Review.By
		}
		if step.Review.Within > 0 {
			g.Within = step.Review.Within
		}
	}
	if effect < runbooks.Destructive {
		return g
	}
	g.Typed = true
	if floor := policy.Reviewers(env.Critical); floor > g.Count {
		g.Count = floor
		why := fmt.Sprintf("the server's policy wants %s for a destructive step", people(floor, "reviewer"))
		if env.Critical {
			why = fmt.Sprintf("%s is critical: the server's policy wants %s for a destructive step", env.Name, people(floor, "reviewer"))
		}
		g.Reasons = append(g.Reasons, why)
	}
	return g
}

func (g gates) none() bool { return !g.Confirm && g.Count == 0 }

// A plan is a step with everything resolved: what it would do, to what, and
// what people have to agree to first.
type plan struct {
	step     *runbooks.Step
	items    []item // one, or one per element of `each`
	target   runbooks.Target
	effect   runbooks.Effect
	gates    gates
	identity string
	impact   []string
	reasons  []string
	live     []runbooks.Live
	covers   []cover
	rules    Rules
	veil     veil
	digest   string
}

// An item is one call of the action.
type item struct {
	with map[string]any // as people see it and approve it: a secret by its name
	args any
	vars map[string]any
}

// resolve evaluates the step's arguments. It reaches no system.
func (w *worker) resolve(step *runbooks.Step) (*plan, error) {
	p := &plan{step: step, effect: step.Effect}
	spec := step.Action.Spec()
	p.target.Environment = w.env.Name // of an action that needs no connection
	if step.Target != "" {
		target, ok := w.env.Targets[step.Target]
		if !ok {
			return nil, fault.New(fault.NotFound, "%s has no connection %q any more.", w.env.Name, step.Target)
		}
		p.target = target
	}
	scopes := []*runbooks.Scope{w.scope()}
	if step.Each != nil {
		var err error
		if scopes, err = elements(step.Each, scopes[0]); err != nil {
			return nil, err
		}
	}
	for _, s := range scopes {
		s.Secret = func(name string) (string, error) { return w.secretOf(&p.veil, name) }
		s.Tainted = p.veil.add
		with, err := runbooks.ResolveWith(step.With, s)
		if err != nil {
			return nil, fault.New(fault.Invalid, "Its arguments cannot be resolved: %s.", p.veil.text(err.Error())).Because(p.veil.error(err))
		}
		args, err := runbooks.DecodeArgs(spec, with)
		if err != nil {
			return nil, p.veil.error(err)
		}
		for name, v := range step.With {
			if secrets := v.Secrets(); len(secrets) > 0 {
				with[name] = "the secret " + strings.Join(secrets, ", ")
			}
		}
		p.items = append(p.items, item{with: with, args: args, vars: s.Vars})
	}
	rules, err := w.rules()
	if err != nil {
		return nil, err
	}
	p.rules = rules
	p.gates = gatesOf(w.rb, step, p.effect, w.e.settings.Load().policy, w.env).stricter(p.rules, w.rb)
	return p, nil
}

// call is one call of the plan's action.
func (w *worker) call(p *plan, it item) runbooks.Call {
	return runbooks.Call{Run: w.run.ID, Step: p.step.ID, Target: p.target, Args: it.args}
}

// preview asks the systems what the step would do just now, which may raise
// its effect and with it its gates.
func (w *worker) preview(p *plan) error {
	ctx, cancel := context.WithTimeout(w.ctx, previewWithin)
	defer cancel()
	previewer, can := p.step.Action.(runbooks.Previewer)
	if can {
		for _, it := range p.items {
			seen, err := previewer.Preview(ctx, w.call(p, it))
			if err != nil {
				return p.veil.error(err)
			}
			p.identity = seen.Identity
			p.impact = append(p.impact, p.veil.texts(seen.Impact)...)
			p.reasons = append(p.reasons, p.veil.texts(seen.Reasons)...)
			for _, l := range seen.Live {
				l.Name, l.Text = p.veil.text(l.Name), p.veil.text(l.Text)
				p.live = append(p.live, l)
			}
			p.effect = max(p.effect, seen.Effect)
		}
	}
	if p.identity == "" && p.target.Conn != nil {
		id, err := p.target.Conn.Identity(ctx)
		if err != nil {
			return err
		}
		p.identity = id
	}
	p.gates = gatesOf(w.rb, p.step, p.effect, w.e.settings.Load().policy, w.env).stricter(p.rules, w.rb)
	w.coverings(p)
	digest, err := w.digest(p)
	p.digest = digest
	return err
}

// digest binds approvals to what was shown: the runbook's text, and with it
// the question's template, the step, its resolved arguments, its gates' phrase
// and the very system.
func (w *worker) digest(p *plan) (string, error) {
	with := make([]map[string]any, len(p.items))
	for i, it := range p.items {
		with[i] = it.with
	}
	shown := map[string]any{
		"runbook": w.run.Digest, "step": p.step.ID, "environment": w.run.Environment, "with": with,
		"target": p.step.Target, "identity": p.identity, "effect": p.effect, "question": defaultQuestion,
	}
	if len(p.veil.versions) > 0 {
		shown["secrets"] = p.veil.versions
	}
	if digests := coverDigests(p.covers); digests != nil {
		shown["covers"] = digests
	}
	data, err := json.Marshal(shown)
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", p.step.ID, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// valid returns the approvals of the kind that hold for the step now, newest
// last: granted or in use, since people last decided to try it again.
func (w *worker) valid(step *runbooks.Step, kind ApprovalKind) *Approval {
	var found *Approval
	since := w.round(step)
	for i := range w.run.Approvals {
		a := &w.run.Approvals[i]
		switch {
		case a.Step != step.ID:
		case (a.Kind == Choice || a.Kind == Doubt) && a.State == Spent:
			found = nil // a new round
		case a.Created.Before(since):
		case a.Kind == kind && (a.State == Granted || a.State == Spent):
			found = a
		}
	}
	return found
}

// gate asks for what is missing before the plan may run. Parked means that
// people must answer; again, that the step must be visited anew.
func (w *worker) gate(p *plan) (again, parked bool, err error) {
	if p.rules.Frozen != "" && p.effect == runbooks.Destructive {
		w.settle(p.step, outcome{Status: runbooks.Fail, Fault: p.rules.Frozen, Final: true})
		return true, false, nil
	}
	if w.covered(p) {
		return false, false, nil
	}
	confirm, review := w.valid(p.step, Confirm), w.valid(p.step, Review)
	now := w.e.clock()
	var held []*Approval
	for _, a := range []*Approval{confirm, review} {
		if a != nil {
			held = append(held, a)
		}
	}
	for _, a := range held {
		why := changed(a, p)
		if why == "" && a.State == Granted && now.Sub(w.anchor(a)) > startWithin && (review != nil || p.gates.Count == 0) {
			why = "The step did not start within " + short(startWithin) + " of the approval."
		}
		if why != "" {
			w.void(p.step, why)
			return true, false, nil
		}
	}
	why := w.voided(p.step)
	switch {
	case p.gates.Confirm && confirm == nil:
		a, err := w.confirmation(p, now, why)
		if err != nil {
			w.settle(p.step, outcome{Status: runbooks.Fail, Fault: fault.Say(err), Final: true})
			return true, false, nil
		}
		return false, true, w.await(p.step, a)
	case p.gates.Count > 0 && (review == nil || review.Needed < p.gates.Count):
		return false, true, w.await(p.step, w.review(p, now, why))
	}
	return false, false, nil
}

// anchor is the moment from which the start of an approved step is timed: the
// newest of the approvals and the rechecks made under them.
func (w *worker) anchor(a *Approval) time.Time {
	t := a.Decided
	for i := range w.run.Approvals {
		if b := &w.run.Approvals[i]; b.Step == a.Step && b.State == Granted && b.Decided.After(t) {
			t = b.Decided
		}
	}
	for _, at := range w.run.Attempts {
		if at.Purpose == ForRecheck && at.ResultAt.After(t) {
			t = at.ResultAt
		}
	}
	return t
}

// void withdraws every approval of the step that still holds.
func (w *worker) void(step *runbooks.Step, why string) {
	now := w.e.clock()
	w.do("", "", func(r *Run, c *Change) {
		for i := range r.Approvals {
			a := &r.Approvals[i]
			if a.Step == step.ID && (a.Kind == Confirm || a.Kind == Review) && (a.State == Granted || a.State == Spent || a.State == Open) {
				a.close(Void, why, now)
				c.Notices = append(c.Notices, askNotice(r, a))
				c.Audit = append(c.Audit, AuditEntry{Actor: system, Act: "void", Run: r.ID, Step: step.ID,
					Approval: a.ID, Digest: a.Digest, Outcome: "void", Detail: why})
			}
		}
	})
}

// voided says why the step's last confirm or review was withdrawn; "" if none was.
func (w *worker) voided(step *runbooks.Step) string {
	why := ""
	for _, a := range w.run.Approvals {
		if a.Step == step.ID && (a.Kind == Confirm || a.Kind == Review) {
			why = ""
			if a.State == Void {
				why = a.Card.Outcome
			}
		}
	}
	return why
}

// await commits a question and gives the run up until it is answered.
func (w *worker) await(step *runbooks.Step, a Approval) error {
	return w.park(w.question(step, a), time.Time{})
}

// question asks with the next commit; it returns the state to wait in.
func (w *worker) question(step *runbooks.Step, a Approval) State {
	a.ID, a.Run, a.Step, a.State = uuid.NewString(), w.run.ID, step.ID, Open
	a.Card.Approval = a.ID
	state := Waiting
	if a.Kind == Doubt {
		state = Uncertain
	}
	summons := w.summon(a)
	w.do(PointAsked, step.ID, func(r *Run, c *Change) {
		if r.Stop != nil && r.Phase != PhaseCleanup {
			return // nobody needs to answer any more
		}
		r.ask(a)
		r.State, r.WakeAt = state, time.Time{}
		c.Notices = append(c.Notices, askNotice(r, &a))
		c.Notices = append(c.Notices, summons...)
	})
	return state
}

// changed says how the plan differs from what the approval was given for; ""
// if it does not, or within the tolerance of its live values.
func changed(a *Approval, p *plan) string {
	if a.Identity != p.identity {
		return "The connection leads to another system now."
	}
	if a.Digest != p.digest {
		return "What the step would do has changed."
	}
	for i, was := range a.Live {
		j := slices.IndexFunc(p.live, func(l runbooks.Live) bool { return l.Name == was.Name })
		if len(a.Live) == len(p.live) && p.live[i].Name == was.Name {
			j = i // a loop may have several of one name
		}
		if j < 0 {
			return fmt.Sprintf("%s can no longer be told.", upper(was.Name))
		}
		if is := p.live[j]; !within(was, is) {
			return fmt.Sprintf("%s changed from %s to %s.", upper(was.Name), liveText(was), liveText(is))
		}
	}
	return ""
}

func within(was, is runbooks.Live) bool {
	if was.Text != is.Text {
		return false
	}
	switch was.Tolerance {
	case runbooks.Within10Percent:
		return math.Abs(is.Number-was.Number) <= math.Abs(was.Number)/10
	case runbooks.MayFall:
		return is.Number <= was.Number
	}
	return is.Number == was.Number
}

func liveText(l runbooks.Live) string {
	if l.Text != "" {
		return l.Text
	}
	return number(l.Number)
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
