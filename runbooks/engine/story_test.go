package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// fix is a runbook with the shape of cache-fix.
var fix = doc("fix",
	step("1. Look", `
id: look
do: redis.look
target: cache
expect:
  - { that: result.keys > 100, say: "only ${{ result.keys }} keys" }
on_fail: ask
`)+step("2. Wipe", `
id: wipe
when: (steps.look?.result?.rate ?? 1) < 0.6 and ok("look")
do: redis.wipe
target: cache
with: { pattern: "prod_*" }
confirm: { text: "Remove up to ${{ steps.look?.result?.keys ?? 0 }} keys?", type: "${{ run.environment }}" }
review: { by: [sre], count: 1, within: 15m }
recheck: [look]
on_crash: ask
`)+step("3. Look again", `
id: after
do: redis.look
target: cache
expect: result.keys == 0
on_fail: { goto: escalate }
then: { end: ok }
`)+step("4. Escalate", `
id: escalate
do: manual
ask: { cause: { type: string, help: What did you find? } }
then: { end: failed }
`)+"\n## Report\n\n```markdown report\n*Fix* ${{ run.verdict }}: ${{ mark(\"wipe\") }} removed ${{ steps.wipe?.result?.deleted ?? 0 }} <keys>\n```\n")

func TestFromStartToReport(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, fromStartToReport)
}

func fromStartToReport(t *testing.T, url string) {
	b := newBenchOn(t, url, fix)
	b.serve()
	run := b.start("fix")
	confirm := b.asked(run, engine.Confirm)
	if confirm.Type != "demo" || confirm.Card.Question != "Remove up to 1000 keys?" || confirm.Digest == "" {
		t.Errorf("the confirm asks %q, to be typed %q, digest %q", confirm.Card.Question, confirm.Type, confirm.Digest)
	}
	b.vote(confirm, ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	if review.Digest != confirm.Digest {
		t.Errorf("review and confirm are bound to different digests")
	}
	if want := []string{"removes 1000 keys matching prod_*"}; !slices.Equal(review.Card.Impact, want) {
		t.Errorf("the review's impact is %q, want %q", review.Card.Impact, want)
	}
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Fatal("wiped before the review")
	}
	b.vote(review, ben, "approve")
	r := b.ended(run, engine.Succeeded)
	wantStatus(t, r, "look=pass", "wipe=pass", "after=pass")
	if wiped, _, looked := b.world.counts(); wiped != 1 || looked != 3 {
		t.Errorf("wiped %d times and looked %d times, want 1 and 3", wiped, looked)
	}
	if r.Verdict != runbooks.Pass || r.Owner != "" {
		t.Errorf("verdict %q, owner %q", r.Verdict, r.Owner)
	}
	if locks, err := b.engine.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("Locks() = %v, %v after the end", locks, err)
	}
	contents := b.said()
	i := slices.IndexFunc(contents, func(c outbox.Content) bool { _, ok := c.(outbox.Report); return ok })
	if i < 0 {
		t.Fatalf("no report among %v", contents)
	}
	if rep := contents[i].(outbox.Report); rep.BodyMarkup != "*Fix* pass: ✓ removed 1000 <keys>" || !slices.Equal(rep.Users, []string{"UANN"}) {
		t.Errorf("report %q to %v", rep.BodyMarkup, rep.Users)
	}
	var acts []string
	for _, row := range b.audit() {
		acts = append(acts, row.Actor.ID+" "+row.Act)
	}
	if want := "UANN start, UANN confirm, UBEN approve, UANN act, opsbot result, opsbot end"; strings.Join(acts, ", ") != want {
		t.Errorf("the audit log says %s, want %s", strings.Join(acts, ", "), want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	confirm := b.asked(run, engine.Confirm)
	b.refused(confirm, engine.Ballot{Actor: ben, Decision: "confirm", Typed: "demo"}, fault.Forbidden, "Only Ann")
	b.refused(confirm, engine.Ballot{Actor: ann, Decision: "confirm", Typed: "dmeo"}, fault.Invalid, "type exactly: demo")
	b.refused(confirm, engine.Ballot{Actor: ann, Decision: "approve"}, fault.Invalid, "no answer")
	b.vote(confirm, ann, "confirm", typed(" demo "))
	review := b.asked(run, engine.Review)
	b.refused(confirm, engine.Ballot{Actor: ann, Decision: "confirm", Typed: "demo"}, fault.Conflict, "Already decided by Ann")

	atTerminal := ann
	atTerminal.Team, atTerminal.Via = "", "terminal"
	b.refused(review, engine.Ballot{Actor: ann, Decision: "approve"}, fault.Forbidden, "You started this run")
	b.refused(review, engine.Ballot{Actor: atTerminal, Decision: "approve"}, fault.Forbidden, "You started this run")
	b.refused(review, engine.Ballot{Actor: oli, Decision: "approve"}, fault.Forbidden, "not in sre")
	b.refused(review, engine.Ballot{Actor: mia, Decision: "deny", Reason: "no"}, fault.Forbidden, "not in sre")
	b.refused(review, engine.Ballot{Actor: someone("UBOT", "Bot"), Decision: "approve"}, fault.Forbidden, "Bots")
	b.refused(review, engine.Ballot{Actor: access.Actor{Kind: access.System, ID: "UBEN"}, Decision: "approve"}, fault.Forbidden, "Only people")
	b.refused(review, engine.Ballot{Actor: ben, Decision: "deny"}, fault.Invalid, "reason")
	if _, err := b.engine.Vote(t.Context(), "no-such-approval", engine.Ballot{Actor: ben, Decision: "approve"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Vote() on nothing = %v, want NotFound", err)
	}
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Fatal("a refused click had an effect")
	}
	waiting, err := b.engine.Waiting(t.Context(), ben)
	if err != nil || len(waiting) != 1 || waiting[0].Approval.ID != review.ID {
		t.Errorf("Waiting(ben) = %v, %v, want the review", waiting, err)
	}
	if waiting, err := b.engine.Waiting(t.Context(), ann); err != nil || len(waiting) != 0 {
		t.Errorf("Waiting(ann) = %v, %v, want nothing", waiting, err)
	}
	b.vote(review, ben, "approve")
	b.refused(review, engine.Ballot{Actor: ben, Decision: "approve"}, fault.Conflict, "Already decided by Ben")
	b.refused(review, engine.Ballot{Actor: ann, Decision: "approve"}, fault.Forbidden, "You started this run") // first who, then whether decided
	b.ended(run, engine.Succeeded)
	refused := 0
	for _, row := range b.audit() {
		if row.Act == "refuse" {
			refused++
		}
	}
	if refused != 13 {
		t.Errorf("%d refusals are in the audit log, want 13", refused)
	}
}

func TestRedeliveredVoteCountsOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	key := func(x *engine.Ballot) { x.Key, x.Typed = "click-1", "demo" }
	confirm := b.asked(run, engine.Confirm)
	b.vote(confirm, ann, "confirm", key)
	b.vote(confirm, ann, "confirm", key) // no refusal, no second vote
	review := b.asked(run, engine.Review)
	if r := b.vote(review, ben, "approve"); len(r.Approvals[0].Votes) != 1 {
		t.Errorf("the confirm has %d votes, want 1", len(r.Approvals[0].Votes))
	}
	b.ended(run, engine.Succeeded)
}

func TestDenialEndsTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	b.vote(b.asked(run, engine.Review), ben, "deny", because("there is a deployment"))
	r := b.ended(run, engine.Canceled)
	wantStatus(t, r, "look=pass", "wipe=skipped", "after=")
	if !strings.Contains(r.Outcome, "step 2 (Wipe): denied by Ben") || !strings.Contains(r.Outcome, "there is a deployment") {
		t.Errorf("outcome %q", r.Outcome)
	}
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Error("wiped in spite of the denial")
	}
}

func TestStarterMayThinkBetter(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "cancel")
	b.ended(run, engine.Canceled)
}

func TestWhenFalseIsSkipped(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.world.rate = new(0.9)
	b.serve()
	run := b.start("fix")
	manual := b.asked(run, engine.Manual) // `after` still sees keys: escalate
	b.refused(manual, engine.Ballot{Actor: ann, Decision: "done"}, fault.Invalid, "cause")
	b.vote(manual, oli, "done", func(x *engine.Ballot) { x.Fields = map[string]string{"cause": "a release"} })
	r := b.ended(run, engine.Failed)
	wantStatus(t, r, "wipe=skipped", "after=fail", "escalate=pass")
	if a := r.Attempts[len(r.Attempts)-1]; a.Found != "done by Oli; cause: a release" {
		t.Errorf("the manual step found %q", a.Found)
	}
}

func TestRecheckMustHold(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	b.world.set(func(w *world) { w.onLook = func(int) { w.set(func(w *world) { w.keys = 50 }) } }) // after the comparison of live values
	b.vote(review, ben, "approve")
	r := b.ended(run, engine.Failed)
	wantStatus(t, r, "look=pass", "wipe=fail")
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Error("wiped although the recheck failed")
	}
	if !strings.Contains(r.Outcome, "step 1 (Look) no longer holds: only 50 keys") {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestNoLongerNeeded(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	b.world.set(func(w *world) { w.rate = new(0.95) })
	b.vote(review, ben, "approve")
	r := b.until(run, "skipped wipe", func(r *engine.Run) bool { return status(r, "wipe") == runbooks.Skipped })
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Error("wiped although it was no longer needed")
	}
	i := slices.IndexFunc(r.Attempts, func(a engine.Attempt) bool { return a.Step == "wipe" })
	if r.Attempts[i].Found != "no longer needed" {
		t.Errorf("wipe found %q", r.Attempts[i].Found)
	}
}

func TestChangedWorldVoidsTheApproval(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*world)
		void   bool
		why    string
	}{
		{"more keys", func(w *world) { w.keys = 1101 }, true, "Matching keys changed from 1,000 to 1,101."},
		{"within tolerance", func(w *world) { w.keys = 1100 }, false, ""},
		{"another system", func(w *world) { w.identity = "redis-2" }, true, "another system"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fix)
			b.serve()
			run := b.start("fix")
			confirm := b.asked(run, engine.Confirm)
			b.vote(confirm, ann, "confirm", typed("demo"))
			review := b.asked(run, engine.Review)
			b.world.set(tt.change)
			b.vote(review, ben, "approve")
			if !tt.void {
				b.ended(run, engine.Succeeded)
				return
			}
			second := b.asked(run, engine.Confirm)
			if second.ID == confirm.ID || len(second.Card.Reasons) == 0 || !strings.Contains(upperFirst(second.Card.Reasons[0]), "Asked again") {
				t.Errorf("asked again with %q", second.Card.Reasons)
			}
			r := b.until(run, "void", func(r *engine.Run) bool {
				return r.Approvals[0].State == engine.Void && r.Approvals[1].State == engine.Void
			})
			if !strings.Contains(r.Approvals[1].Card.Outcome, tt.why) {
				t.Errorf("void because %q, want %q", r.Approvals[1].Card.Outcome, tt.why)
			}
			b.pass(run)
			b.ended(run, engine.Succeeded)
			if wiped, _, _ := b.world.counts(); wiped != 1 {
				t.Errorf("wiped %d times, want 1", wiped)
			}
		})
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func TestCriticalEnvironmentWantsTwo(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.envs[0].Critical = true
	cat := someone("UCAT", "Cat")
	b.policy.Groups["sre"] = access.Group{Usergroup: "sre", Users: []string{"UCAT"}}
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	if review.Needed != 2 || len(review.Card.Reasons) == 0 {
		t.Errorf("needed %d, reasons %q", review.Needed, review.Card.Reasons)
	}
	b.vote(review, ben, "approve")
	b.refused(review, engine.Ballot{Actor: ben, Decision: "approve"}, fault.Conflict, "1 more approval")
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Fatal("wiped with one of two approvals")
	}
	b.vote(review, cat, "approve")
	b.ended(run, engine.Succeeded)
}

func TestPreviewRaisesTheEffect(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("tweak", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache")))
	b.serve()
	run := b.start("tweak")
	if a := b.asked(run, engine.Confirm); a.Type != "" || a.Card.Effect != "change" {
		t.Errorf("a change wants %q typed, effect %s", a.Type, a.Card.Effect)
	}
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	r := b.ended(run, engine.Succeeded)
	if r.Outcome != "Done." {
		t.Errorf("outcome %q", r.Outcome)
	}
	b.world.set(func(w *world) { w.raise = runbooks.Destructive })
	run = b.start("tweak")
	a := b.asked(run, engine.Confirm)
	if a.Type != "demo" || a.Card.Effect != "destructive" || !slices.Contains(a.Card.Reasons, "it would interrupt sessions") {
		t.Errorf("a raised step wants %q typed, effect %s, reasons %q", a.Type, a.Card.Effect, a.Card.Reasons)
	}
	b.pass(run)
	b.ended(run, engine.Succeeded)
}

func TestExpiryMeansNo(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	late := &ahead{Store: b.runs}
	b.runs = late
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	late.by.Store(int64(8 * time.Minute))
	b.until(run, "reminder", func(r *engine.Run) bool { return r.Approvals[1].Remind.IsZero() })
	if r, _ := b.engine.Find(t.Context(), run.ID); r.State != engine.Waiting {
		t.Errorf("the reminder left the run %s", r.State)
	}
	late.by.Store(int64(15*time.Minute + time.Second))
	r := b.ended(run, engine.Canceled)
	if !strings.Contains(r.Outcome, "nobody approved within 15 min, which means no") {
		t.Errorf("outcome %q", r.Outcome)
	}
	b.refused(review, engine.Ballot{Actor: ben, Decision: "approve"}, fault.Conflict, "closed")
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Error("wiped after the expiry")
	}
	again := b.vote(review, ben, "again")
	if again.ID == run.ID || !again.Starter.Same(ben) {
		t.Errorf("asking again gave R%d of %s", again.Number, again.Starter.Name)
	}
	b.asked(again, engine.Confirm)
}

func TestLateClickIsRefusedBeforeTheSweep(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	late := &ahead{Store: b.runs, blind: true}
	b.runs = late
	b.serve()
	run := b.start("fix")
	confirm := b.asked(run, engine.Confirm)
	late.by.Store(int64(time.Hour))
	b.refused(confirm, engine.Ballot{Actor: ann, Decision: "confirm", Typed: "demo"}, fault.Conflict, "expired")
}

func TestAnApprovalGoesStale(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	late := &ahead{Store: b.runs, blind: true}
	b.runs = late
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	b.stop() // nobody acts when the approval comes
	b.vote(review, ben, "approve")
	late.by.Store(int64(3 * time.Minute))
	b.serve()
	b.until(run, "second confirm", func(r *engine.Run) bool { return len(r.Approvals) == 3 })
	if wiped, _, _ := b.world.counts(); wiped != 0 {
		t.Error("wiped under a stale approval")
	}
	b.pass(run)
	b.ended(run, engine.Succeeded)
}

func TestAskThenSkip(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.world.keys = 5
	b.serve()
	run := b.start("fix")
	ask := b.asked(run, engine.Choice)
	if !strings.Contains(ask.Card.Question, "Only 5 keys.") {
		t.Errorf("the question is %q", ask.Card.Question)
	}
	b.refused(ask, engine.Ballot{Actor: mia, Decision: "skip", Reason: "x"}, fault.Forbidden, "not in")
	b.world.set(func(w *world) { w.keys = 7 })
	b.vote(ask, oli, "retry")
	ask = b.asked(run, engine.Choice)
	if !strings.Contains(ask.Card.Question, "Only 7 keys.") {
		t.Errorf("after the retry the question is %q", ask.Card.Question)
	}
	if _, err := b.engine.Skip(t.Context(), run.ID, "look", ann, "known"); err != nil {
		t.Fatal(err)
	}
	r := b.until(run, "escalation", func(r *engine.Run) bool { return r.Cursor == "escalate" })
	wantStatus(t, r, "look=skipped", "wipe=skipped")
}

func TestAskThenStop(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.world.keys = 5
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Choice), ann, "stop", because("enough"))
	r := b.ended(run, engine.Canceled)
	if r.Outcome != "Stopped by Ann: enough." {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestStartRefusals(t *testing.T) {
	t.Parallel()
	needy := strings.Replace(doc("needy", step("1. Tick", "do: manual\nid: tick")), "owner: sre", "owner: sre\nparams: { service: { type: enum, values: [api, db], required: true } }", 1)
	b := newBench(t, fix, needy)
	b.serve()
	try := func(req engine.StartRequest) error {
		_, err := b.engine.Start(context.Background(), req)
		return err
	}
	for _, tt := range []struct {
		name string
		req  engine.StartRequest
		kind fault.Kind
		want string
	}{
		{"unknown runbook", engine.StartRequest{Runbook: "fixx", Actor: ann}, fault.NotFound, "Did you mean fix?"},
		{"unknown environment", engine.StartRequest{Runbook: "fix", Environment: "prod", Actor: ann}, fault.NotFound, "There is demo."},
		{"no right", engine.StartRequest{Runbook: "fix", Actor: mia}, fault.Forbidden, "You may not run fix. You are not in oncall or sre."},
		{"guest", engine.StartRequest{Runbook: "fix", Actor: someone("UGUEST", "Gus")}, fault.Forbidden, "Guests"},
		{"nobody", engine.StartRequest{Runbook: "fix"}, fault.Forbidden, "Only people"},
		{"missing parameter", engine.StartRequest{Runbook: "needy", Actor: ann}, fault.Invalid, "service"},
		{"wrong parameter", engine.StartRequest{Runbook: "needy", Actor: ann, Params: map[string]string{"service": "cash"}}, fault.Invalid, "service"},
		{"unknown parameter", engine.StartRequest{Runbook: "fix", Actor: ann, Params: map[string]string{"servise": "x"}}, fault.Invalid, "servise"},
	} {
		err := try(tt.req)
		if fault.KindOf(err) != tt.kind || !strings.Contains(fault.Say(err), tt.want) {
			t.Errorf("%s: Start() = %v (%q), want %s with %q", tt.name, err, fault.Say(err), tt.kind, tt.want)
		}
	}
	var params *engine.ParamsError
	if err := try(engine.StartRequest{Runbook: "needy", Actor: ann}); !errors.As(err, &params) || !params.Problems[0].Missing {
		t.Errorf("Start() = %v, want a ParamsError", err)
	}
	b.envs = append(b.envs, engine.Environment{Name: "bare"})
	b.engine.Reload(b.lib, b.envs, b.policy)
	if err := try(engine.StartRequest{Runbook: "fix", Environment: "bare", Actor: ann}); !strings.Contains(fault.Say(err), `connection named "cache"`) {
		t.Errorf("without the connection Start() = %v", err)
	}
	b.envs[0].Default = false
	b.engine.Reload(b.lib, b.envs, b.policy)
	var env *engine.EnvironmentError
	if err := try(engine.StartRequest{Runbook: "fix", Actor: ann}); !errors.As(err, &env) || !slices.Equal(env.Choices, []string{"demo", "bare"}) {
		t.Errorf("without a choice Start() = %v, want an EnvironmentError", err)
	}
	lonely := access.Policy{Groups: map[string]access.Group{"sre": {Users: []string{"UANN"}}}}
	b.engine.Reload(b.lib, b.envs, lonely)
	if err := try(engine.StartRequest{Runbook: "fix", Environment: "demo", Actor: ann}); !strings.Contains(fault.Say(err), "there is nobody") {
		t.Errorf("without a reviewer Start() = %v", err)
	}
	if runs, err := b.engine.List(t.Context(), engine.Query{}); err != nil || len(runs) != 0 {
		t.Errorf("List() = %v, %v after refusals only", runs, err)
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix, doc("other", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")))
	b.envs = append(b.envs, engine.Environment{Name: "twin", Targets: map[string]runbooks.Target{
		"cache": {Environment: "twin", Name: "cache", Kind: "redis", Conn: elsewhere{b.world}},
	}})
	b.serve()
	run := b.start("fix")
	b.asked(run, engine.Confirm)
	var running *engine.RunningError
	if _, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "fix", Actor: ben}); !errors.As(err, &running) || running.Run.ID != run.ID {
		t.Errorf("a second Start() = %v, want a RunningError", err)
	}
	_, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "other", Actor: ben})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "R1 (Test of fix on demo, started by Ann") {
		t.Errorf("another runbook's Start() = %v", err)
	}
	if _, err = b.engine.Start(t.Context(), engine.StartRequest{Runbook: "other", Environment: "twin", Actor: ben}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("Start() on the same system under another name = %v, want Conflict", err)
	}
	same := b.start("fix", func(r *engine.StartRequest) { r.DryRun, r.RequestKey = true, "k" })
	if twice := b.start("fix", func(r *engine.StartRequest) { r.DryRun, r.RequestKey = true, "k" }); twice.ID != same.ID {
		t.Error("one request key gave two runs")
	}
	if _, err := b.engine.Stop(t.Context(), run.ID, ben, "make room"); err != nil {
		t.Fatal(err)
	}
	b.ended(run, engine.Canceled)
	b.ended(b.start("other", func(r *engine.StartRequest) { r.Actor = ben }), engine.Succeeded)
}

// elsewhere is the same system under another address.
type elsewhere struct{ *world }

func (elsewhere) Address() string { return "redis alias:6379/0" }
