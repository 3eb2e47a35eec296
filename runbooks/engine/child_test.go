package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// remedy sets the world right, with a gate of its own.
var remedy = strings.Replace(doc("remedy", step("1. Tweak", `
id: tweak
do: redis.tweak
target: cache
with: { to: "${{ params.to }}" }
confirm: Set it right?
`)), "lock: cache\n", "lock: cache\nparams: { to: { type: string, required: true } }\n", 1)

const runRemedy = "run: remedy, with: { to: \"${{ run.environment }}\" }"

// troubled is a runbook whose check fails and hands over to remedy.
func troubled(slug, then string) string {
	return doc(slug, step("1. Look", `
id: look
do: redis.look
target: cache
expect: result.keys < 100
on_fail: { `+runRemedy+then+` }
`)+step("2. Look again", "id: after\ndo: redis.look\ntarget: cache"))
}

// childOf waits for a run that the run has started.
func (b *bench) childOf(run *engine.Run) *engine.Run {
	b.t.Helper()
	var child *engine.Run
	b.until(run, "child", func(*engine.Run) bool {
		runs, err := b.db.Runs().List(context.Background(), engine.Query{Limit: 200})
		if err != nil {
			b.t.Fatal(err)
		}
		i := slices.IndexFunc(runs, func(r *engine.Run) bool { return r.ParentID == run.ID })
		if i >= 0 {
			child = runs[i]
		}
		return i >= 0
	})
	return child
}

func TestChildRuns(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, childRuns)
}

func childRuns(t *testing.T, url string) {
	for _, tt := range []struct {
		slug, then string
		heal       bool // the remedy helps
		ill        bool // the remedy fails
		state      engine.State
		verdict    runbooks.Status
		want       []string
	}{
		{"again", ", then: retry", true, false, engine.Succeeded, runbooks.Pass, []string{"look=pass", "after=pass"}},
		{"in-vain", ", then: retry", false, false, engine.Failed, runbooks.Fail, []string{"look=fail", "after="}},
		{"onward", ", then: resume", false, false, engine.Succeeded, runbooks.Pass, []string{"look=fail", "after=pass"}},
		{"ending", "", false, false, engine.Succeeded, runbooks.Pass, []string{"look=fail", "after="}},
		{"ill", ", then: resume", false, true, engine.Failed, runbooks.Fail, []string{"look=fail", "after="}},
	} {
		t.Run(tt.slug, func(t *testing.T) {
			b := newBenchOn(t, url, remedy, troubled("again", ", then: retry"), troubled("in-vain", ", then: retry"),
				troubled("onward", ", then: resume"), troubled("ending", ""), troubled("ill", ", then: resume"))
			b.world.tweak = func(int) error {
				if tt.ill {
					return fault.New(fault.Unavailable, "It is ill.")
				}
				if tt.heal {
					b.world.keys = 1
				}
				return nil
			}
			b.serve()
			run := b.start(tt.slug)
			child := b.childOf(run)
			if child.RootID != run.ID || child.Starter != run.Starter || child.Params["to"] != "demo" || child.Origin != run.Origin {
				t.Errorf("the child is %+v", child)
			}
			confirm := b.asked(child, engine.Confirm)
			r := b.until(run, "wait", func(r *engine.Run) bool { return r.State == engine.Waiting })
			if r.Owner != "" {
				t.Errorf("the run that waits has the owner %s", r.Owner)
			}
			if card := b.card(run); !strings.Contains(card.Next, "Waiting for the run that step 1 (Look) has started") {
				t.Errorf("the card of the run that waits says %q", card.Next)
			}
			b.vote(confirm, ann, "confirm")
			r = b.ended(run, tt.state)
			if r.Verdict != tt.verdict {
				t.Errorf("the verdict is %s, want %s:\n%s", r.Verdict, tt.verdict, describe(r))
			}
			wantStatus(t, r, tt.want...)
			if _, tweaked, _ := b.world.counts(); tweaked != 1 {
				t.Errorf("tweaked %d times, want 1:\n%s", tweaked, describe(r))
			}
			if locks, err := b.engine.Locks(t.Context()); err != nil || len(locks) != 0 {
				t.Errorf("Locks() = %v, %v after the end", locks, err)
			}
		})
	}
}

// card is the run's card as it is now.
func (b *bench) card(run *engine.Run) outbox.RunCard {
	b.t.Helper()
	v, err := b.engine.View(context.Background(), run.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return v.Card
}

func TestChildSpeaksInItsRootsThread(t *testing.T) {
	t.Parallel()
	b := newBench(t, remedy, troubled("ending", ""))
	b.serve()
	run := b.start("ending")
	child := b.childOf(run)
	b.vote(b.asked(child, engine.Confirm), ann, "confirm")
	b.ended(run, engine.Succeeded)
	mentions := 0
	q := b.db.Outbox()
	for {
		due, err := q.Due(t.Context(), "test", 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(due) == 0 {
			break
		}
		for _, d := range due {
			if d.Notice.Key != "run/"+run.ID && d.Notice.Under != "run/"+run.ID {
				t.Errorf("%q stands under %q", d.Notice.Content.Summary(), d.Notice.Under)
			}
			if l, ok := d.Notice.Content.(outbox.Line); ok {
				mentions += len(l.Users)
			}
			if err := q.Sent(t.Context(), d, "C1", fmt.Sprint(d.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if mentions != 2 {
		t.Errorf("Ann is mentioned %d times, want at the start and at the end", mentions)
	}
}

func TestChildByVerbAndByRow(t *testing.T) {
	t.Parallel()
	verb := step("1. Mend", "id: mend\ndo: run\nwith: { runbook: remedy, params: { to: x }, then: resume }\non_fail: continue\nexpect: result.verdict == \"pass\"\nsave: { child: result.id }")
	b := newBench(t, remedy,
		doc("verb", verb+step("2. Look", "id: look\ndo: redis.look\ntarget: cache\nwhen: ok(\"mend\") and steps.mend.result.verdict == \"pass\" and steps.mend.child == steps.mend.result.id")),
		doc("verb-end", strings.Replace(verb, ", then: resume", "", 1)+step("2. Look", "id: look\ndo: redis.look\ntarget: cache\nwhen: steps.mend.failed")),
		doc("verb-goto", strings.Replace(verb, ", then: resume }", " }\nthen: { goto: far }", 1)+step("2. Look", "id: look\ndo: redis.look\ntarget: cache")+
			step("3. Look far", "id: far\ndo: redis.look\ntarget: cache")),
		doc("row", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")+step("2. Decide", `
id: which
do: decide
rows:
  - { if: steps.look.result.keys < 5, end: ok }
  - { if: steps.look.result.keys > 100, `+runRemedy+`, then: resume }
  - { else: next }
`)+step("3. Look again", "id: after\ndo: redis.look\ntarget: cache")),
		doc("then", step("1. Look", "id: look\ndo: redis.look\ntarget: cache\nthen: { "+runRemedy+", then: resume }")+
			step("2. Look again", "id: after\ndo: redis.look\ntarget: cache")),
	)
	b.serve()
	for slug, want := range map[string][]string{
		"verb": {"mend=pass", "look=pass"}, "verb-end": {"mend=pass", "look="},
		"verb-goto": {"mend=pass", "look=", "far=pass"},
		"row":       {"look=pass", "which=pass", "after=pass"}, "then": {"look=pass", "after=pass"},
	} {
		run := b.start(slug)
		b.vote(b.asked(b.childOf(run), engine.Confirm), ann, "confirm")
		r := b.ended(run, engine.Succeeded)
		wantStatus(t, r, want...)
	}
	// A child that nobody confirms is a failure of its step.
	run := b.start("verb")
	b.vote(b.asked(b.childOf(run), engine.Confirm), ann, "cancel")
	r := b.ended(run, engine.Failed)
	wantStatus(t, r, "mend=fail", "look=skipped")
	// A dry run starts nothing.
	dry := b.start("verb", func(r *engine.StartRequest) { r.DryRun = true })
	b.ended(dry, engine.Succeeded)
	runs, err := b.engine.List(t.Context(), engine.Query{Runbook: "remedy", Limit: 50})
	if err != nil || len(runs) != 6 {
		t.Errorf("%d runs of the remedy, %v, want 6", len(runs), err)
	}
}

func TestStopOfAParentStopsItsChild(t *testing.T) {
	t.Parallel()
	b := newBench(t, remedy, troubled("mid", ""), doc("top", step("1. Mid", "id: mid\ndo: run\nwith: { runbook: mid }")))
	b.serve()
	run := b.start("top")
	mid := b.childOf(run)
	low := b.childOf(mid)
	b.asked(low, engine.Confirm)
	if _, err := b.engine.Pause(t.Context(), run.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.Resume(t.Context(), run.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.Stop(t.Context(), run.ID, ben, "make room"); err != nil {
		t.Fatal(err)
	}
	r := b.ended(run, engine.Canceled)
	if r.Outcome != "Stopped by Ben: make room." {
		t.Errorf("outcome %q", r.Outcome)
	}
	for _, c := range []*engine.Run{mid, low} {
		if c = b.ended(c, engine.Canceled); c.Stop.By != ben || c.Ended.After(r.Ended) {
			t.Errorf("R%d was stopped by %v at %v, its root ended at %v", c.Number, c.Stop.By, c.Ended, r.Ended)
		}
	}
	if _, tweaked, _ := b.world.counts(); tweaked != 0 {
		t.Error("a stopped run had an effect")
	}
}

func TestChildIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	deep := doc("d4", step("1. Look", "id: look\ndo: redis.look\ntarget: cache"))
	secret := strings.Replace(doc("closed", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")), "run: [oncall, sre]", "run: [oncall]", 1)
	b := newBench(t, deep, runs("d3", "d4"), runs("d2", "d3"), runs("d1", "d2"), secret, runs("opener", "closed"))
	b.serve()
	b.ended(b.start("d1"), engine.Succeeded)
	_, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "opener", Actor: ann})
	if fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), "You may not run closed") {
		t.Errorf("Start() of a runbook with a closed child = %v", err)
	}
}

// The linter refuses what is too deep; what became too deep since a run was
// started is refused when it gets there.
func TestRunsGrowTooDeep(t *testing.T) {
	t.Parallel()
	leaf := func(slug string) string {
		return doc(slug, step("1. Look", "id: look\ndo: redis.look\ntarget: cache"))
	}
	b := newBench(t, leaf("d1"), doc("d0", step("1. Wait", "id: tick\ndo: manual\nwho: [sre]")+step("2. Run", "id: it\ndo: run\nwith: { runbook: d1 }")))
	b.serve()
	run := b.start("d0")
	tick := b.asked(run, engine.Manual)
	deeper, problems := runbooks.Load(b.catlog, files(leaf("d4"), runs("d3", "d4"), runs("d2", "d3"), runs("d1", "d2")))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	b.engine.Reload(deeper, b.envs, b.policy)
	b.vote(tick, ann, "done")
	r := b.ended(run, engine.Failed)
	if !strings.Contains(r.Outcome, "runbooks may run each other only 3 deep, and d4 would be one more") {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestChildMeetsALock(t *testing.T) {
	t.Parallel()
	free := strings.Replace(troubled("free", ", then: resume"), "lock: cache\n", "", 1)
	b := newBench(t, remedy, free, fix)
	b.serve()
	holder := b.start("fix")
	b.asked(holder, engine.Confirm)
	run := b.start("free")
	r := b.ended(run, engine.Failed)
	if !strings.Contains(r.Outcome, "remedy could not be started: R1 (Test of fix on demo") {
		t.Errorf("outcome %q", r.Outcome)
	}
	if runs, err := b.engine.List(t.Context(), engine.Query{Runbook: "remedy"}); err != nil || len(runs) != 0 {
		t.Errorf("a refused child left %v, %v", runs, err)
	}
}

func TestKilledAroundAChild(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); killAroundChild(t, storetest.SQLite) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); killAroundChild(t, storetest.Postgres) })
}

// killAroundChild kills the process at every boundary of a run and its child.
func killAroundChild(t *testing.T, database func(testing.TB) string) {
	parent := troubled("parent", ", then: retry")
	whole := func(t *testing.T, killed func(b *bench) (asked, answered func())) {
		b := newBenchOn(t, database(t), remedy, parent)
		b.world.tweak = func(int) error { b.world.keys = 1; return nil }
		asked, answered := killed(b)
		run := b.start("parent")
		asked()
		b.vote(b.asked(b.childOf(run), engine.Confirm), ann, "confirm")
		answered()
		r := b.ended(run, engine.Succeeded)
		wantStatus(t, r, "look=pass", "after=pass")
		runs, err := b.engine.List(t.Context(), engine.Query{Runbook: "remedy"})
		if err != nil || len(runs) != 1 {
			t.Errorf("%d children, %v, want 1", len(runs), err)
		}
		if _, tweaked, _ := b.world.counts(); tweaked != 1 {
			t.Errorf("tweaked %d times, want 1:\n%s", tweaked, describe(r))
		}
	}
	nothing := func() {}
	var mu sync.Mutex
	var seen []string
	whole(t, func(b *bench) (asked, answered func()) {
		b.serve(func(o *engine.Options) {
			o.Observe = func(e engine.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Runbook == "parent" {
					seen = append(seen, e.String())
				}
			}
		})
		return nothing, nothing
	})
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(seen, "child:look") {
		t.Fatalf("the boundaries are %v", seen)
	}
	passed := make(map[string]int)
	for i, at := range seen {
		passed[at]++
		nth := passed[at]
		if at == "claimed" && nth > 1 || i > slices.Index(seen, "child:look") {
			break // later boundaries need an answer, and are those of any run
		}
		t.Run(fmt.Sprintf("%d %s", i+1, at), func(t *testing.T) {
			t.Parallel()
			whole(t, func(b *bench) (asked, answered func()) {
				killed := b.killed(at, nth)
				return func() {
					<-killed
					b.restart()
					b.serve()
				}, nothing
			})
		})
	}
	// Killed when the child has ended, and before its parent went on.
	for _, at := range []string{"result:tweak", "ended"} {
		t.Run("child "+at, func(t *testing.T) {
			t.Parallel()
			whole(t, func(b *bench) (asked, answered func()) {
				killed := b.killed(at, 1)
				return nothing, func() {
					<-killed
					b.restart()
					b.serve()
				}
			})
		})
	}
}

// A child may end before its parent has lain down, and is never waited for then.
func TestManyParentsAreWoken(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		const families, rounds = 8, 2
		var docs []string
		for i := range families {
			free := func(s string) string { return strings.Replace(s, "lock: cache\n", "", 1) }
			docs = append(docs, free(doc(fmt.Sprintf("low%d", i), step("1. Look", "id: look\ndo: redis.look\ntarget: cache"))),
				free(doc(fmt.Sprintf("mid%d", i), step("1. Low", fmt.Sprintf("id: low\ndo: run\nwith: { runbook: low%d }", i)))),
				free(doc(fmt.Sprintf("top%d", i), step("1. Mid", fmt.Sprintf("id: mid\ndo: run\nwith: { runbook: mid%d, then: resume }", i))+
					step("2. Mid again", fmt.Sprintf("id: again\ndo: run\nwith: { runbook: mid%d }", i)))))
		}
		b := newBenchOn(t, url, docs...)
		b.serve()
		for range rounds {
			var runs []*engine.Run
			for i := range families {
				runs = append(runs, b.start(fmt.Sprintf("top%d", i)))
			}
			for _, run := range runs {
				wantStatus(t, b.ended(run, engine.Succeeded), "mid=pass", "again=pass")
			}
		}
		all, err := b.engine.List(t.Context(), engine.Query{Limit: 200})
		if err != nil || len(all) != families*rounds*5 {
			t.Errorf("%d runs, %v, want %d", len(all), err, families*rounds*5)
		}
	})
}
