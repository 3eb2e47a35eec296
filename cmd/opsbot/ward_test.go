package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"opsbot/commands"
	"opsbot/internal/outbox"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/compose/composetest"
	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
	"opsbot/runbooks/engine"
)

// A ward is a patient in containers on which runbooks are tried, one case after
// another: each gives it a fault, lets people run a runbook by clicks, looks at
// the servers themselves, and heals it.
type ward struct {
	t    *testing.T
	body *compose.Patient
}

// newWard starts the patient; it is gone at the end of the test.
func newWard(t *testing.T, o compose.Options) *ward {
	t.Helper()
	return &ward{t, composetest.Start(t, o)}
}

// A visit is one case: a bot with a database of its own and every connection to
// the patient, and people in a workspace of their own.
type visit struct {
	*house
	ward *ward
	runs int64 // that were started
}

// visit starts a bot. change may alter the environment's text before.
func (w *ward) visit(t *testing.T, change ...func(environment string) string) *visit {
	t.Helper()
	v := w.announce(t, change...)
	v.serve()
	return v
}

// announce is a visit whose bot is yet to be started.
func (w *ward) announce(t *testing.T, change ...func(environment string) string) *visit {
	t.Helper()
	environment, err := w.body.Environment("demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		environment = c(environment)
	}
	h := build(t, page.Options{})
	if h.file, err = writeDemoConfig(h.dir, h.work, nil, environment); err != nil {
		t.Fatal(err)
	}
	return &visit{house: h, ward: w}
}

// A reply is what a person says to the question of a step.
type reply struct {
	choice string            // id of a choice: confirm cancel approve deny retry skip rollback stop done
	fields map[string]string // of a manual step, by name
	before func()            // what happens while people think
}

// replies are by the id of the step; a list is for one question after another
// of it, the last one stays. What is not named is agreed to: confirmed, approved,
// done.
type replies map[string][]reply

// told is a run as opsbot tells it.
type told struct {
	runLine
	Card   outbox.RunCard `json:"card"`
	Asks   []outbox.Ask   `json:"asks"`
	Report string         `json:"report"`
}

// runFor is how long a run may take.
const runFor = 8 * time.Minute

// run lets Ann type "/runbook LINE" and people answer, and returns the run when
// it has ended.
func (v *visit) run(line string, says replies) told {
	v.t.Helper()
	v.slash("ann", "/runbook "+line)
	v.runs++
	return v.follow(v.runs, says)
}

// follow answers what the run asks until it has ended.
func (v *visit) follow(number int64, says replies) told {
	v.t.Helper()
	p := &people{visit: v, says: says, asked: map[string]int{}, clicked: map[string]time.Time{}}
	deadline := time.Now().Add(runFor)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		r, ok := v.told(number)
		if ok && engine.State(r.State).Ended() {
			v.t.Logf("%s %s %s: %s\n%s\n%s", r.Runbook, r.State, r.Verdict, r.Outcome, strings.Join(r.lines(), "\n"), r.Report)
			return r
		}
		for _, ask := range r.Asks {
			if ask.State == string(engine.Open) {
				p.answer(ask)
			}
		}
		<-tick.C
	}
	v.t.Fatalf("R%d is not at its end:\n%s", number, v.transcript())
	return told{}
}

// told asks opsbot for a run; false: it is not there yet.
func (v *visit) told(number int64) (told, bool) {
	v.t.Helper()
	code, out, _ := v.opsbot("", "runs", "show", fmt.Sprint("R", number), "--output", "json")
	if code != exitWell {
		return told{}, false
	}
	var r told
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		v.t.Fatalf("runs show: %v\n%s", err, out)
	}
	return r, true
}

// follows waits for a run that another one, or a click, has started.
func (v *visit) follows(says replies) told {
	v.t.Helper()
	v.runs++
	return v.follow(v.runs, says)
}

// accept clicks the button by which a run offers a runbook, and returns the run
// that it starts when that has ended.
func (v *visit) accept(r told, runbook string, says replies) told {
	v.t.Helper()
	i := slices.IndexFunc(r.Card.Offers, func(o outbox.Offer) bool { return o.Runbook == runbook && o.Why == "" })
	if i < 0 {
		v.t.Fatalf("R%d does not offer %s: %+v", r.Number, runbook, r.Card.Offers)
	}
	o := r.Card.Offers[i]
	var card slacksim.Message
	v.until("the offer of "+runbook+" is a button", func() bool {
		for _, m := range v.everything("ann") {
			if strings.Contains(string(m.Blocks), o.ID) && hasButton(m, o.Say) {
				card = m
				return true
			}
		}
		return false
	})
	v.press("ann", card, o.Say)
	return v.follows(says)
}

// everything is each message of the channels that a person can read, and of
// their threads.
func (h *house) everything(person string) []slacksim.Message {
	var all []slacksim.Message
	for _, c := range h.sim.ChannelsOf(person) {
		if c.IM {
			continue
		}
		for _, m := range h.sim.History(c.ID, person) {
			all = append(all, m)
			if m.ReplyCount > 0 {
				all = append(all, h.sim.Thread(c.ID, m.TS, person)[1:]...)
			}
		}
	}
	return all
}

// people answer what a run asks.
type people struct {
	*visit
	says    replies
	asked   map[string]int       // questions that were answered, by step
	clicked map[string]time.Time // by approval and person
}

// answer clicks on a question, if its message is there already.
func (p *people) answer(ask outbox.Ask) {
	p.t.Helper()
	say := reply{}
	if list := p.says[ask.Step]; len(list) > 0 {
		say = list[min(p.asked[ask.Step], len(list)-1)]
	}
	// A machine that is too busy to renew a lease leaves an outcome open: what
	// was begun is begun again.
	agree := map[string]string{"confirm": "confirm", "review": "approve", "manual": "done", "uncertain": "redo"}
	choice := agree[ask.Kind]
	offered := func(id string) bool {
		return slices.ContainsFunc(ask.Choices, func(c outbox.Choice) bool { return c.ID == id })
	}
	decided := say.choice != "" && offered(say.choice)
	if decided {
		choice = say.choice
	}
	if choice == "" {
		p.t.Fatalf("nobody knows what to say to %s of %s: %s %v\n%s", ask.Kind, ask.Step, ask.Question, ask.Choices, p.transcript())
	}
	who := p.who(ask)
	if time.Since(p.clicked[ask.Approval+who]) < 10*clickAgain {
		return
	}
	var label string
	for _, c := range ask.Choices {
		if c.ID == choice {
			label = c.Label
		}
	}
	for _, m := range p.everything(who) {
		if !strings.Contains(string(m.Blocks), ask.Approval) || !hasButton(m, label) {
			continue
		}
		if say.before != nil && (decided || say.choice == "") {
			say.before()
		}
		p.clicked[ask.Approval+who] = time.Now()
		if decided || say.choice == "" {
			p.asked[ask.Step]++
		}
		p.press(who, m, label)
		if ask.Type != "" && ask.Kind == "confirm" && choice == "confirm" || len(ask.Fields) > 0 && choice == "done" || reason(ask, choice) {
			p.form(who, ask, say)
		}
		return
	}
}

func reason(ask outbox.Ask, choice string) bool {
	return slices.ContainsFunc(ask.Choices, func(c outbox.Choice) bool { return c.ID == choice && c.Reason })
}

// who answers: Ann starts and confirms, Ben and then Cleo review; what is asked
// of sre alone is Ben's.
func (p *people) who(ask outbox.Ask) string {
	switch {
	case ask.Kind == "review" && len(ask.Votes) > 0:
		return "cleo"
	case ask.Kind == "review", len(ask.Users) == 0 && len(ask.Groups) > 0 && !slices.Contains(ask.Groups, "oncall"):
		return "ben"
	}
	return "ann"
}

// form fills in what a click has opened.
func (p *people) form(who string, ask outbox.Ask, say reply) {
	p.t.Helper()
	view := p.view(who)
	var blocks []struct {
		Type    string `json:"type"`
		BlockID string `json:"block_id"`
		Element struct {
			ActionID string `json:"action_id"`
		} `json:"element"`
	}
	if err := json.Unmarshal(view.Blocks, &blocks); err != nil {
		p.t.Fatal(err)
	}
	values := map[string]map[string]any{}
	for _, b := range blocks {
		if b.Type != "input" {
			continue
		}
		text := "the people of a test want it so"
		if b.BlockID == commands.ValueTyped {
			text = ask.Type
		} else if name, ok := strings.CutPrefix(b.BlockID, commands.FieldPrefix); ok {
			given, known := say.fields[name]
			if !known {
				continue // it is left empty
			}
			text = given
		}
		values[b.BlockID] = map[string]any{b.Element.ActionID: text}
	}
	if err := p.sim.As(who).Submit(view.ID, values); err != nil {
		p.t.Fatalf("%s fills in %s of %s: %v\n%s", who, ask.Kind, ask.Step, err, view.Blocks)
	}
}

// lines are the steps that the run came to, with what was found.
func (r told) lines() []string {
	var list []string
	for _, s := range r.Card.Steps {
		if s.Mark != "pending" {
			list = append(list, "  "+s.ID+": "+s.Mark+", "+s.Found)
		}
	}
	return list
}

// mark is how a step ended: pass warn fail unknown skipped, or pending.
func (r told) mark(step string) string {
	for _, s := range r.Card.Steps {
		if s.ID == step {
			return s.Mark
		}
	}
	return "no such step"
}

// found is the line that a step's result is told in.
func (r told) found(step string) string {
	for _, s := range r.Card.Steps {
		if s.ID == step {
			return s.Found
		}
	}
	return ""
}

// offers are the runbooks that can be started by a click on the run's card.
func (r told) offers() []string {
	var list []string
	for _, o := range r.Card.Offers {
		if o.Why == "" {
			list = append(list, o.Runbook)
		}
	}
	return list
}

// wants is what a case expects of a run; what is left out does not matter.
type wants struct {
	state   engine.State
	verdict string
	marks   map[string]string // by step
	offers  []string          // each of them must be there
	asked   []string          // steps that somebody was asked about, in order
	report  []string          // parts of the report
	outcome string            // part of the last sentence
}

// check compares.
func (r told) check(t *testing.T, w wants) {
	t.Helper()
	if w.state != "" && r.State != string(w.state) {
		t.Errorf("%s ended %s, want %s: %s", r.Runbook, r.State, w.state, r.Outcome)
	}
	if w.verdict != "" && r.Verdict != w.verdict {
		t.Errorf("the verdict of %s is %s, want %s", r.Runbook, r.Verdict, w.verdict)
	}
	for step, want := range w.marks {
		if got := r.mark(step); got != want {
			t.Errorf("%s of %s is %s, want %s: %s", step, r.Runbook, got, want, r.found(step))
		}
	}
	for _, want := range w.offers {
		if !slices.Contains(r.offers(), want) {
			t.Errorf("%s does not offer %s: %+v", r.Runbook, want, r.Card.Offers)
		}
	}
	if w.asked != nil {
		var got []string
		for _, ask := range r.Asks {
			got = append(got, ask.Step)
		}
		if got = slices.Compact(got); !slices.Equal(got, w.asked) {
			t.Errorf("%s asked about %q, want %q", r.Runbook, got, w.asked)
		}
	}
	for _, want := range w.report {
		if !strings.Contains(r.Report, want) {
			t.Errorf("the report of %s lacks %q:\n%s", r.Runbook, want, r.Report)
		}
	}
	if !strings.Contains(r.Outcome, w.outcome) {
		t.Errorf("%s says %q, want %q", r.Runbook, r.Outcome, w.outcome)
	}
}

// docker asks the engine itself.
func (w *ward) docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// compose runs docker compose on the patient.
func (w *ward) compose(t *testing.T, args ...string) {
	t.Helper()
	if _, err := w.body.Compose(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// containers are the ids of a service's containers, stopped ones too.
func (w *ward) containers(t *testing.T, service string) []string {
	t.Helper()
	return strings.Fields(w.docker(t, "ps", "-aq", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+w.body.Project(), "--filter", "label=com.docker.compose.service="+service,
		"--filter", "label=com.docker.compose.oneoff=False"))
}

// events listens to what the engine says of a service's containers, until the
// returned function is called, which gives what was heard. The names of events are
// separated by spaces. Old events are no use: health checks push them out within
// a minute.
func (w *ward) events(t *testing.T, service, events, format string) func() string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	args := []string{"events", "--format", format}
	for _, id := range w.containers(t, service) {
		args = append(args, "--filter", "container="+id)
	}
	for _, event := range strings.Fields(events) {
		args = append(args, "--filter", "event="+event)
	}
	cmd := exec.CommandContext(ctx, "docker", args...)
	var heard syncBuffer
	cmd.Stdout = &heard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end := func() string {
		once.Do(func() {
			stop()
			_ = cmd.Wait() // killed
		})
		return strings.TrimSpace(heard.String())
	}
	t.Cleanup(func() { end() })
	return end
}

// inspect reads one thing of a service's only container.
func (w *ward) inspect(t *testing.T, service, format string) string {
	t.Helper()
	ids := w.containers(t, service)
	if len(ids) != 1 {
		t.Fatalf("%s has %d containers", service, len(ids))
	}
	return w.docker(t, "inspect", "--format", format, ids[0])
}

// sql asks PostgreSQL itself, as superuser.
func (w *ward) sql(t *testing.T, statements string) string {
	t.Helper()
	out, err := w.body.SQL(t.Context(), "bot_production", statements)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fault gives the API faults; "" ends them.
func (w *ward) fault(t *testing.T, query string) {
	t.Helper()
	if err := w.body.Fault(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// reload makes nginx resolve the API's name again, after containers were made
// anew.
func (w *ward) reload(t *testing.T) {
	t.Helper()
	w.compose(t, "kill", "-s", "HUP", "nginx")
}
