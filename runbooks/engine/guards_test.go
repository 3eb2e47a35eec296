package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"opsbot/internal/fault"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// What only reads may turn out to change something, when its preview says so:
// then a watch does not do it again and again.
func TestWatchNeverActs(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("peeping", step("1. Peek", "id: peek\ndo: redis.peek\ntarget: cache\nconfirm: Peek?\nwatch: { every: 1ms, for: 1m, until: n > 3 }")))
	b.world.set(func(w *world) { w.raise = runbooks.Change })
	b.serve()
	run := b.start("peeping")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	r := b.ended(run, engine.Failed)
	if _, acted, _ := b.world.counts(); acted != 0 || !strings.Contains(r.Outcome, "a watch would do so again and again") {
		t.Errorf("acted %d times; outcome %q", acted, r.Outcome)
	}
}

// A change that was made is not made again because of what came of it; one that
// failed is.
func TestRetryOfWhatWasDone(t *testing.T) {
	t.Parallel()
	again := func(expect string) string {
		return step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nretry: { times: 3, delay: 1ms }\n"+expect)
	}
	b := newBench(t, doc("done", again(`expect: result.to == "y"`)), doc("broken", again("")))
	b.serve()
	run := b.start("done")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	wantStatus(t, b.ended(run, engine.Failed), "tweak=fail")
	if _, tweaked, _ := b.world.counts(); tweaked != 1 {
		t.Errorf("tweaked %d times, want 1", tweaked)
	}
	b.world.set(func(w *world) {
		w.tweak = func(n int) error {
			if n < 4 {
				return fault.New(fault.Unavailable, "not now")
			}
			return nil
		}
	})
	run = b.start("broken")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	b.ended(run, engine.Succeeded)
	if _, tweaked, _ := b.world.counts(); tweaked != 4 {
		t.Errorf("tweaked %d times in all, want 4", tweaked)
	}
}

// What is made of no data is no data, which a row can take.
func TestTableWithoutData(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("table", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")+step("2. Decide", `
id: which
do: decide
inputs: { rate: steps.look.result.rate * 100 }
rows:
  - { rate: "<50", end: failed }
  - { rate: ">=50", end: failed }
  - { rate: none, end: ok, say: nobody asked }
`)))
	b.world.set(func(w *world) { w.rate = nil })
	b.serve()
	if r := b.ended(b.start("table"), engine.Succeeded); r.Outcome != "nobody asked" {
		t.Errorf("outcome %q", r.Outcome)
	}
}

// An expectation that warns did not hold: it does not tell that an interrupted
// step was done.
func TestWarningSettlesNoDoubt(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("verified",
		step("1. Is it empty?", "id: empty\ndo: redis.look\ntarget: cache\nexpect: { that: result.keys == 0, else: warn }")+
			step("2. Wipe", `
id: wipe
do: redis.wipe
target: cache
with: { pattern: "prod_*" }
confirm: Wipe it?
on_crash: { verify: empty }
`)))
	b.serve(func(o *engine.Options) { o.Grace = 1 })
	run := b.start("verified")
	reached := make(chan struct{})
	b.world.set(func(w *world) {
		w.onWipe = func(ctx context.Context) error {
			close(reached)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	b.pass(run)
	<-reached
	b.restart()
	b.world.set(func(w *world) { w.onWipe = nil })
	b.serve()
	b.vote(b.asked(run, engine.Doubt), ben, "skip", because("not done"))
	wantStatus(t, b.ended(run, engine.Succeeded), "wipe=skipped")
}

// Two destructive steps do not meet in one system, also where their runbooks
// name no lock.
func TestDestructiveStepsLock(t *testing.T) {
	t.Parallel()
	unlocked := func(slug string) string {
		return strings.Replace(doc(slug, step("1. Wipe", "id: wipe\ndo: redis.wipe\ntarget: cache\nwith: { pattern: \"*\" }\nconfirm: Really?")), "lock: cache\n", "", 1)
	}
	b := newBench(t, unlocked("one"), unlocked("two"),
		strings.Replace(doc("reader", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")), "lock: cache\n", "", 1))
	b.serve()
	run := b.start("one")
	b.asked(run, engine.Confirm)
	_, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "two", Actor: ben})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "holds cache (redis test:6379/0)") {
		t.Errorf("Start() of another = %v, want a conflict about the cache", err)
	}
	b.ended(b.start("reader"), engine.Succeeded)
	b.pass(run)
	b.ended(run, engine.Succeeded)
	b.asked(b.start("two"), engine.Confirm)
}

// Waits and watches take no longer than the run may, whatever they were told.
func TestWaitsWithinTheRun(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"wait":  step("1. Wait", "id: w\ndo: wait\nwith: { for: \"${{ duration('2h') }}\" }"),
		"until": step("1. Wait", "id: w\ndo: wait\nwith: { until: \"false\", max: \"${{ duration('2h') }}\" }"),
		"watch": step("1. Watch", "id: w\ndo: redis.look\ntarget: cache\nwatch: { every: 10ms, for: \"${{ duration('2h') }}\", until: \"false\" }"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, strings.Replace(doc("long", body), "timeout: 20m", "timeout: 1s", 1))
			b.serve()
			wantStatus(t, b.ended(b.start("long"), engine.Failed), "w=fail")
		})
	}
}

// A dry run offers nothing: a button on its card would start something, and the
// real run after it would not have one.
func TestDryRunOffersNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, remedy, doc("offering", step("1. Look", `
id: look
do: redis.look
target: cache
expect: result.keys < 5
on_fail: { offer: [{ run: remedy, with: { to: x } }] }
`)+step("2. Watch", "id: watch\ndo: redis.look\ntarget: cache\nwatch: { every: 1ms, for: 1m, until: result.keys < 5 }\non_fail: { goto: far }")+
		step("3. Skipped then", "id: near\ndo: redis.look\ntarget: cache")+
		step("4. Far", "id: far\ndo: redis.look\ntarget: cache")+
		step("5. Wipe", "id: wipe\ndo: redis.wipe\ntarget: cache\nwith: { pattern: \"*\" }\nconfirm: Really?")+
		step("6. Needs it", "id: needs\ndo: redis.echo\ntarget: cache\nwith: { lines: \"${{ steps.wipe.result.deleted }}\" }")+
		step("7. Expects it", "id: expects\ndo: redis.look\ntarget: cache\nexpect: [result.keys > 5, steps.wipe.result.deleted > 0]")))
	b.serve()
	r := b.ended(b.start("offering", func(r *engine.StartRequest) { r.DryRun = true }), engine.Succeeded)
	if len(r.Offers) != 0 {
		t.Errorf("offers %+v", r.Offers)
	}
	for _, a := range r.Attempts {
		want := map[string]string{"look": "; leads to an offer", "watch": "; unknown: after failure step 4 (Far)"}[a.Step]
		said := a.Fault
		if said == "" {
			said = a.Found
		}
		if !strings.HasSuffix(said, want) {
			t.Errorf("%s is shown as %q, want it to end with %q", a.Step, said, want)
		}
	}
	wantStatus(t, r, "wipe=skipped", "needs=skipped", "expects=pass")
	for step, want := range map[string]string{
		"needs":   "unknown: it needs what step 5 (Wipe) would find",
		"expects": "1000 keys; unknown: steps.wipe.result.deleted > 0",
	} {
		if i := slices.IndexFunc(r.Attempts, func(a engine.Attempt) bool { return a.Step == step }); i < 0 || r.Attempts[i].Found != want {
			t.Errorf("%s is not shown as %q:\n%s", step, want, describe(r))
		}
	}
	if r = b.ended(b.start("offering"), engine.Failed); len(r.Offers) == 0 || r.Offers[0].Why != "" {
		t.Errorf("the real run offers %+v", r.Offers)
	}
}
