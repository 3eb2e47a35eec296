package commands_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"opsbot/commands"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

const wipeBox = `---
format: 1
runbook: wipe-box
number: 9
aliases: [box]
owner: sre
severity: warning
estimate: 10m
roles: { run: [oncall, sre], approve: [sre] }
uses: { box: redis }
lock: box
timeout: 20m
params:
  prefix: { type: string, default: prod_, pattern: "^[a-z_]{2,8}$", help: Key prefix that is ours }
  keep: { type: int, default: 3, min: 0, max: 9, help: How many to keep. }
---
# Wipe the box

Use this when the box is full. It takes **everything** under ` + "`prefix`" + `.

Then look again.

## 1. Wipe it

` + "```yaml step" + `
id: wipe
do: redis.wipe
target: box
with: { prefix: "${{ params.prefix }}" }
timeout: 1m
confirm: { text: "Wipe ${{ params.prefix }}?", type: "${{ run.environment }}" }
review: { by: [sre], count: 1, within: 15m }
` + "```" + `

## 2. Look again

- [ ] The box is empty

` + "```yaml step" + `
id: look
do: manual
ask: { seen: { type: string, help: What did you see? } }
` + "```" + `
`

const restart = `---
format: 1
runbook: restart
owner: sre
roles: { run: [oncall] }
params:
  service: { type: string, required: true, pattern: "^[a-z]+$", help: The service to restart }
  note: { type: string, default: "" }
---
# Restart a service

When nothing else helps.

## 1. Restart it

- [ ] Restarted
`

// wipe is an action that removes nothing.
type wipe struct{}

type wipeArgs struct {
	Prefix string `arg:"prefix" required:"true" help:"what to wipe"`
}

type wipeResult struct {
	Deleted int `json:"deleted"`
}

func (wipe) Spec() runbooks.Spec {
	return runbooks.Spec{Name: "redis.wipe", Summary: "Wipe keys.", Effect: runbooks.Destructive, Timeout: time.Minute, Args: wipeArgs{}, Result: wipeResult{}}
}

func (wipe) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return wipeResult{Deleted: 7}, nil
}

func (wipe) Preview(context.Context, runbooks.Call) (runbooks.Preview, error) {
	return runbooks.Preview{Identity: "box 1", Impact: []string{"removes 7 of 9 keys"}, Effect: runbooks.Destructive}, nil
}

type box struct{}

func (box) Identity(context.Context) (string, error) { return "box 1", nil }
func (box) Address() string                          { return "redis box:6379/0" }
func (box) Close() error                             { return nil }

// town knows everybody, and no user group.
type town struct{}

func (town) Members(context.Context, string) ([]string, error) {
	return nil, fault.New(fault.NotFound, "There is no such user group.")
}

func (town) Standing(context.Context, string) (access.Standing, error) {
	return access.Standing{}, nil
}

func member(id, name string) access.Actor {
	return access.Actor{Kind: access.Person, Team: "T1", ID: id, Name: name, Via: "slack"}
}

var (
	ann = member("U1", "ann") // on call
	ben = member("U2", "ben") // of sre
	cat = member("U3", "cat") // of sre
	dan = member("U4", "dan") // nobody
	ops = outbox.Conversation{Channel: "C1"}
)

// A house is a router over a real engine and a real database.
type house struct {
	t      *testing.T
	router *commands.Router
	engine *engine.Engine
	events chan engine.Event
	keys   int
}

func newHouse(t *testing.T, environments ...string) *house {
	t.Helper()
	catalog, err := runbooks.NewCatalog([]runbooks.Action{wipe{}})
	if err != nil {
		t.Fatal(err)
	}
	lib, problems := runbooks.Load(catalog, fstest.MapFS{
		"wipe-box.md": {Data: []byte(wipeBox)}, "restart.md": {Data: []byte(restart)},
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, events: make(chan engine.Event, 1000)}
	var envs []engine.Environment
	for _, name := range environments {
		envs = append(envs, engine.Environment{Name: name, Targets: map[string]runbooks.Target{
			"box": {Environment: name, Name: "box", Kind: "redis", Conn: box{}},
		}})
	}
	h.engine = engine.New(engine.Options{
		Store: storetest.Open(t).Runs(), Library: lib, Catalog: catalog, Environments: envs, People: town{},
		Policy: access.Policy{Groups: map[string]access.Group{
			"oncall": {Users: []string{"U1"}}, "sre": {Users: []string{"U2", "U3"}},
		}},
		Log:     slog.New(slog.DiscardHandler),
		Observe: func(e engine.Event) { h.events <- e },
	})
	h.router = &commands.Router{Runs: h.engine}
	ctx, stop := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := h.engine.Serve(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { stop(); served.Wait() })
	return h
}

// reach waits until a run passes the boundary, such as "asked:wipe".
func (h *house) reach(boundary string) {
	h.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case e := <-h.events:
			if e.String() == boundary {
				return
			}
		case <-deadline:
			h.t.Fatalf("no run reached %s", boundary)
		}
	}
}

func (h *house) handle(req commands.Request) (commands.Reply, error) {
	h.t.Helper()
	if req.Key == "" {
		h.keys++
		req.Key = "key " + string(rune('a'+h.keys))
	}
	if req.Where == (outbox.Conversation{}) {
		req.Where = ops
	}
	return h.router.Handle(context.Background(), req)
}

// say types a line and returns what is answered, in words.
func (h *house) say(who access.Actor, line string) string {
	h.t.Helper()
	return words(h.handle(commands.Request{Actor: who, Line: line}))
}

func words(reply commands.Reply, err error) string {
	var b strings.Builder
	switch {
	case err != nil && fault.KindOf(err) == fault.Internal:
		b.WriteString("defect: " + err.Error())
	case err != nil:
		b.WriteString(string(fault.KindOf(err)) + ": " + fault.Say(err))
	case reply.Answer != nil:
		b.WriteString(reply.Answer.Summary())
	}
	if f := reply.Form; f != nil {
		b.WriteString("form " + f.Title + ":")
		for _, x := range f.Fields {
			b.WriteString(" " + x.Name)
		}
	}
	return b.String()
}

func (h *house) want(got, want string) {
	h.t.Helper()
	if got != want {
		h.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// question is the id of the only approval that waits for the person.
func (h *house) question(who access.Actor) string {
	h.t.Helper()
	waiting, err := h.engine.Waiting(context.Background(), who)
	if err != nil || len(waiting) != 1 {
		h.t.Fatalf("%d questions wait for %s, %v", len(waiting), who.Name, err)
	}
	return waiting[0].Approval.ID
}

func (h *house) click(who access.Actor, approval, choice string) string {
	h.t.Helper()
	return words(h.handle(commands.Request{Actor: who, Action: commands.ActionDecide, Subject: approval,
		Values: map[string]string{commands.ValueChoice: choice}}))
}

// submit fills in a form.
func (h *house) submit(who access.Actor, f *commands.Form, entered map[string]string) string {
	h.t.Helper()
	values := map[string]string{}
	for k, v := range entered {
		values[k] = v
	}
	for k, v := range f.Keep {
		values[k] = v
	}
	return words(h.handle(commands.Request{Actor: who, Action: f.Action, Subject: f.Subject, Values: values, Where: f.Where}))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "demo")
	for _, tt := range []struct {
		who        access.Actor
		line, want string
	}{
		{ann, "runbook wipe-bx", `not_found: There is no runbook "wipe-bx". Did you mean wipe-box? /runbook lists them all.`},
		{ann, "runbook statsu", `not_found: There is no runbook "statsu". Did you mean /runbook status? /runbook lists the runbooks.`},
		{ann, "runbook zzz", `not_found: There is no runbook "zzz". /runbook lists them all.`},
		{ann, "runbook show wipe", `not_found: There is no runbook "wipe". /runbook lists them all.`},
		{ann, "deploy", `invalid: "deploy" is nothing that opsbot knows. Commands begin with runbook; runbook help lists them.`},
		{dan, "runbook wipe-box", "forbidden: You may not run wipe-box. You are not in oncall or sre."},
		{dan, "runbook restart", "forbidden: You may not run restart. You are not in oncall."},
		{ann, "runbook wipe-box env=prod", `not_found: There is no environment "prod". There is demo.`},
		{ann, "runbook wipe-box prefx=a", `invalid: wipe-box has no parameter "prefx"; did you mean "prefix"? /runbook show wipe-box lists the parameters.`},
		{ann, "runbook wipe-box prefix=A keep=12", ``},
		{ann, "runbook status R9", `not_found: There is no run "R9".`},
		{ann, "runbook stop R9", `not_found: There is no run "R9".`},
		{ann, "runbook skip R9 wipe because", `not_found: There is no run "R9".`},
	} {
		got := h.say(tt.who, tt.line)
		if tt.want == "" {
			if !strings.HasPrefix(got, "invalid: ") || !strings.Contains(got, "refix") || !strings.Contains(got, "eep") {
				t.Errorf("%s: got %s", tt.line, got)
			}
			continue
		}
		h.want(got, tt.want)
	}
	for action, want := range map[string]string{
		commands.ActionDecide: "not_found: This question no longer exists.",
		commands.ActionStop:   `not_found: There is no run "nothing".`,
		commands.ActionOffer:  "not_found: This offer no longer exists.",
		commands.ActionStart:  `not_found: There is no runbook "nothing". /runbook lists them all.`,
		"other":               "invalid: opsbot does not know this button; it comes from another version. Type the command instead: /runbook help lists them.",
	} {
		h.want(words(h.handle(commands.Request{Actor: ann, Action: action, Subject: "nothing", Values: map[string]string{commands.ValueChoice: "approve"}})), want)
	}
	runs, err := h.engine.List(t.Context(), engine.Query{})
	if err != nil || len(runs) != 0 {
		t.Errorf("%d runs were started by refused requests, %v", len(runs), err)
	}
}

// TestWholeRun plays a run through the router: the starter confirms by typing,
// the second person's approval counts, a manual step is ticked off.
func TestWholeRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "demo")
	h.want(h.say(ann, "runbook box"), "")
	h.reach("asked:wipe")
	if got := h.say(ben, "runbook wipe-box"); !strings.HasPrefix(got, "wipe-box is running on demo already: R1, started by ann at ") {
		t.Errorf("the second start says %s", got)
	}

	confirm := h.question(ann)
	h.want(h.click(ben, confirm, "confirm"), "forbidden: Only ann, who started this run, can confirm it.")
	reply, err := h.handle(commands.Request{Actor: ann, Action: commands.ActionDecide, Subject: confirm,
		Values: map[string]string{commands.ValueChoice: "confirm"}})
	if err != nil || reply.Form == nil {
		t.Fatalf("the click on Confirm gives %+v, %v", reply, err)
	}
	want := &commands.Form{
		Action: commands.ActionDecide, Subject: confirm, Title: "Confirm on demo", Submit: "Confirm", Where: ops,
		Intro:  "1. Wipe it on demo\nWipe prod_?\nbox, redis box:6379/0 (box 1)\n• removes 7 of 9 keys",
		Fields: []outbox.Field{{Name: commands.ValueTyped, Label: "Type demo to confirm", Type: "string", Required: true}},
		Must:   map[string]string{commands.ValueTyped: "demo"},
	}
	if diff := cmp.Diff(want, reply.Form, cmpopts.IgnoreFields(commands.Form{}, "Keep")); diff != "" {
		t.Error(diff)
	}
	h.want(h.submit(ben, reply.Form, map[string]string{commands.ValueTyped: "demo"}), "forbidden: Only ann, who started this run, can confirm it.")
	h.want(h.submit(ann, reply.Form, map[string]string{commands.ValueTyped: "Demo"}), "invalid: To confirm, type exactly: demo")
	h.want(h.submit(ann, reply.Form, map[string]string{commands.ValueTyped: "demo"}), "")
	h.reach("asked:wipe")

	review := h.question(ben)
	h.want(h.click(ann, review, "approve"), "forbidden: You started this run, so somebody else has to approve it.")
	h.want(h.click(dan, review, "approve"), "forbidden: You are not in sre.")
	h.want(h.click(dan, review, "deny"), "forbidden: You are not in sre.")
	h.want(h.click(ben, review, "deny"), "form Deny on demo: reason")
	h.want(h.click(ben, review, "dance"), `invalid: "dance" is no answer to this question.`)
	h.want(h.click(ben, review, "approve"), "")
	if got := h.click(cat, review, "approve"); !strings.HasPrefix(got, "conflict: Already decided by ben: Approved by ben at ") {
		t.Errorf("the late click is told %s", got)
	}
	h.reach("asked:look")

	manual := h.question(ann)
	reply, err = h.handle(commands.Request{Actor: ann, Action: commands.ActionDecide, Subject: manual, Values: map[string]string{commands.ValueChoice: "done"}})
	if err != nil || reply.Form == nil || len(reply.Form.Fields) != 1 || reply.Form.Fields[0].Name != commands.FieldPrefix+"seen" {
		t.Fatalf("the click on Done gives %+v, %v", reply, err)
	}
	if got := h.submit(ann, reply.Form, nil); !strings.HasPrefix(got, "invalid: seen") {
		t.Errorf("an empty form is told %s", got)
	}
	h.want(h.submit(ann, reply.Form, map[string]string{commands.FieldPrefix + "seen": "nothing"}), "")
	h.reach("ended")
	run, err := h.engine.Find(t.Context(), "R1")
	if err != nil || run.State != engine.Succeeded {
		t.Fatalf("the run ended as %+v, %v", run, err)
	}
	if got := h.say(ann, "runbook stop R1"); !strings.HasPrefix(got, "conflict: R1 has ended already") {
		t.Errorf("stopping it now says %s", got)
	}
}

// The same request twice starts one run.
func TestStartTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "demo")
	for range 2 {
		h.want(words(h.handle(commands.Request{Key: "one", Actor: ann, Line: "runbook wipe-box"})), "")
	}
	runs, err := h.engine.List(t.Context(), engine.Query{})
	if err != nil || len(runs) != 1 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "staging", "production")
	for _, tt := range []struct {
		line   string
		thread string
		fields []string
		keep   map[string]string
		els    string
	}{
		{"runbook restart", "", []string{"env", "service"}, map[string]string{},
			"More is needed to start restart. Type /runbook run restart env=staging|production service=…"},
		{"runbook restart service=api --dry-run", "1.1", []string{"env"}, map[string]string{"service": "api", "dry-run": "true"},
			"More is needed to start restart. Type @opsbot runbook run restart --dry-run service=api env=staging|production"},
		{"runbook restart env=staging note=x", "", []string{"service"}, map[string]string{"env": "staging", "note": "x"},
			"More is needed to start restart. Type /runbook run restart env=staging note=x service=…"},
		{"runbook wipe-box", "", []string{"env"}, map[string]string{},
			"More is needed to start wipe-box. Type /runbook run wipe-box env=staging|production"},
	} {
		reply, err := h.handle(commands.Request{Actor: ann, Line: tt.line, Where: outbox.Conversation{Channel: "C1", Thread: tt.thread}})
		if err != nil || reply.Form == nil {
			t.Errorf("%s: %+v, %v", tt.line, reply, err)
			continue
		}
		var fields []string
		for _, f := range reply.Form.Fields {
			fields = append(fields, f.Name)
			if !f.Required {
				t.Errorf("%s: %s is not required", tt.line, f.Name)
			}
		}
		got := []any{fields, reply.Form.Keep, reply.Form.Else, reply.Form.Where.Thread}
		if diff := cmp.Diff([]any{tt.fields, tt.keep, tt.els, tt.thread}, got); diff != "" {
			t.Errorf("%s:\n%s", tt.line, diff)
		}
	}
	// A wrong value is refused before anything is asked.
	h.want(h.say(ann, "runbook restart service=API"), h.say(ann, "runbook restart env=staging service=API"))

	reply, err := h.handle(commands.Request{Actor: ann, Line: "runbook restart note=\"a b\""})
	if err != nil {
		t.Fatal(err)
	}
	h.want(h.submit(dan, reply.Form, map[string]string{"env": "staging", "service": "api"}), "forbidden: You may not run restart. You are not in oncall.")
	h.want(h.submit(ann, reply.Form, map[string]string{"env": "staging", "service": "api"}), "")
	run, err := h.engine.Find(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"staging", map[string]any{"service": "api", "note": "a b"}, ops}, []any{run.Environment, run.Params, run.Origin}); diff != "" {
		t.Error(diff)
	}
}

func TestSteering(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "demo")
	h.want(h.say(ann, "runbook restart service=api"), "")
	h.reach("asked:restart_it")
	h.want(h.say(dan, "runbook stop R1"), "forbidden: You are not in oncall.")
	h.want(h.say(ann, "runbook pause R1 lunch"), "R1 is paused before its next step. /runbook resume R1 lets it go on.")
	h.want(h.say(ann, "runbook pause R1"), "conflict: R1 is paused already.")
	h.want(h.say(ann, "runbook resume R1"), "R1 goes on.")
	h.want(h.say(ann, "runbook skip R1 restart_it"), "form Skip restart_it: reason")
	h.want(h.say(ann, "runbook retry R1 other"), `not_found: R1 has no step "other". Its steps are restart_it.`)
	runs, err := h.engine.List(t.Context(), engine.Query{})
	if err != nil || len(runs) != 1 {
		t.Fatal(len(runs), err)
	}
	if got := words(h.handle(commands.Request{Actor: ann, Action: commands.ActionStop, Subject: runs[0].ID})); !strings.HasPrefix(got, "R1 is stop") {
		t.Errorf("the stop button says %s", got)
	}
	h.reach("ended")
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "demo")
	h.want(h.say(dan, "runbook status"), "Runs in progress\nNothing is running.\n/runbook history lists what ran before.")
	h.want(h.say(dan, "runbook history"), "Last runs\nNothing ran yet.")
	h.want(h.say(dan, "runbook locks"), "Locks\nNothing is locked.")
	h.want(h.say(dan, "runbook schedule"), "Schedule\nNo runbook has a schedule.")
	h.want(h.say(dan, ""), `Runbooks
Nothing waits for you.
Wipe the box wipe-box: Use this when the box is full. About 10 min.
Restart a service restart: When nothing else helps.
Run one with /runbook NAME, read it with /runbook show NAME. More: /runbook help`)
	if got := h.say(dan, "runbook help"); !strings.Contains(got, "What opsbot does") {
		t.Errorf("help: %s", got)
	}

	reply, err := h.handle(commands.Request{Actor: dan, Line: "runbook show 9"})
	if err != nil {
		t.Fatal(err)
	}
	want := &outbox.Answer{
		Title: "Wipe the box",
		Text: "wipe-box · also box · owned by sre · warning · about 10 min\n" +
			"Use this when the box is full. It takes everything under prefix.\n\nThen look again.\n" +
			"May be run by oncall, sre. Approved by sre.\n\n" +
			"prefix=STRING — Key prefix that is ours; prod_ if left out\n" +
			"keep=INT — How many to keep; 3 if left out",
		Items: []outbox.Item{{Name: "Run it", Detail: "/runbook run wipe-box", Command: "runbook run wipe-box", Label: "Run"}},
		Code: `╔═ 1. Wipe it [wipe]
║    DESTRUCTIVE: redis.wipe on box
║    with prefix: ${{ params.prefix }}
║    asks: Wipe ${{ params.prefix }}?
║    GATE 1: the starter types ${{ run.environment }}
║    GATE 2: 1 other person of sre agrees within 15m
│
├─ 2. Look again [look]
│    by hand
│
■ end; the verdict is that of its worst step
`,
	}
	if diff := cmp.Diff(want, reply.Answer); diff != "" {
		t.Error(diff)
	}

	h.want(h.say(ann, "runbook wipe-box"), "")
	h.reach("asked:wipe")
	overview, err := h.handle(commands.Request{Actor: ann, Line: "runbook"})
	if err != nil {
		t.Fatal(err)
	}
	a := overview.Answer
	if a.Text != "One run waits for you." || a.Items[0].Name != "R1 Wipe the box on demo" || a.Items[0].Command != "runbook status R1" ||
		!strings.HasPrefix(a.Items[0].Detail, "Waits for you: confirm 1. Wipe it, 14 min left") {
		t.Errorf("the overview begins with %q and %+v", a.Text, a.Items[0])
	}
	others, err := h.handle(commands.Request{Actor: ben, Line: "runbook"})
	if err != nil {
		t.Fatal(err)
	}
	if a := others.Answer; a.Text != "Nothing waits for you." || !strings.HasPrefix(a.Items[0].Detail, "Waiting for people, started by ann ") {
		t.Errorf("ben's begins with %q and %+v", a.Text, a.Items[0])
	}
	status := h.say(dan, "runbook status r1")
	for _, part := range []string{"R1 Wipe the box on demo", "Waiting for people, started by ann", "Next, ann: confirm step 1 (Wipe it) by typing demo.", "Time left: 14 min.", "1. Wipe it — waiting", "2. Look again — pending", "/runbook stop R1"} {
		if !strings.Contains(status, part) {
			t.Errorf("the status lacks %q:\n%s", part, status)
		}
	}
	locks := h.say(dan, "runbook locks")
	if !strings.Contains(locks, "runbook wipe-box on demo held by R1 for ") || !strings.Contains(locks, ", started by ann") {
		t.Errorf("locks: %s", locks)
	}
	if got := h.say(dan, "runbook history restart"); got != "Last runs of Restart a service\nNothing ran yet." {
		t.Errorf("history: %s", got)
	}
	if got := h.say(dan, "runbook history box"); !strings.Contains(got, "R1 Wipe the box on demo") {
		t.Errorf("history: %s", got)
	}
}

// At a terminal and in a thread, people are told what they can type there.
func TestUsage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "demo")
	terminal := ann
	terminal.Via = "terminal"
	h.want(h.say(terminal, "runbook zzz"), `not_found: There is no runbook "zzz". opsbot runs lists them all.`)
	h.want(words(h.handle(commands.Request{Actor: ann, Line: "runbook zzz", Where: outbox.Conversation{Channel: "C1", Thread: "1.1"}})),
		`not_found: There is no runbook "zzz". @opsbot runbook lists them all.`)
	if !slices.Contains(commands.Verbs, "help") {
		t.Error("help is no verb")
	}
}
