package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"opsbot/internal/actions/host"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

func TestRetry(t *testing.T) {
	t.Parallel()
	text := doc("again", step("1. Tweak", `
id: tweak
do: redis.tweak
target: cache
expect: result.to == "x"
retry: { times: 2, delay: 10ms, backoff: 2 }
`))
	flaky := errors.New("connection reset")
	for _, tt := range []struct {
		name  string
		fails int
		state engine.State
		tries int
	}{{"heals", 2, engine.Succeeded, 3}, {"does not heal", 5, engine.Failed, 3}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, text)
			b.world.tweak = func(n int) error {
				if n <= tt.fails {
					return flaky
				}
				return nil
			}
			b.serve()
			run := b.start("again")
			b.vote(b.asked(run, engine.Confirm), ann, "confirm") // once for all attempts
			r := b.ended(run, tt.state)
			if _, tweaked, _ := b.world.counts(); tweaked != tt.tries {
				t.Errorf("%d attempts, want %d", tweaked, tt.tries)
			}
			if strings.Contains(r.Outcome, "connection reset") {
				t.Errorf("the outcome quotes an internal error: %q", r.Outcome)
			}
			if r.Attempts[1].Number != 2 {
				t.Errorf("the second attempt has number %d", r.Attempts[1].Number)
			}
		})
	}
}

func TestDestructiveIsNeverRetried(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("again", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nretry: { times: 5, delay: 1ms }")))
	b.world.raise = runbooks.Destructive
	b.world.tweak = func(int) error { return fault.New(fault.Unavailable, "Redis went away.") }
	b.serve()
	run := b.start("again")
	b.pass(run)
	r := b.ended(run, engine.Failed)
	if _, tweaked, _ := b.world.counts(); tweaked != 1 {
		t.Errorf("%d attempts of a destructive step, want 1", tweaked)
	}
	if r.Outcome != "Failed at step 1 (Tweak): Redis went away." {
		t.Errorf("outcome %q", r.Outcome)
	}
}

// watching is a runbook that watches for the given time; where the watch is to
// succeed, that is more than a busy machine can need.
func watching(long string) string {
	return doc("watching", step("1. Watch", `
id: look
do: redis.look
target: cache
watch: { every: 10ms, for: `+long+`, until: (result.rate ?? 0) > 0.5, hold: 2 }
`)+"\n## Report\n\n```markdown report\nwatched: ${{ mark(\"look\") }}\n```\n")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	t.Run("holds", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, watching("2m"))
		b.world.onLook = func(n int) {
			b.world.set(func(w *world) {
				w.rate = new(0.2)
				if n == 2 || n >= 4 { // true once, then true for good
					w.rate = new(0.9)
				}
			})
		}
		b.serve()
		r := b.ended(b.start("watching"), engine.Succeeded)
		if _, _, looked := b.world.counts(); looked != 5 {
			t.Errorf("%d polls, want 5", looked)
		}
		if len(r.Attempts) != 1 {
			t.Errorf("%d attempts, want 1", len(r.Attempts))
		}
	})
	t.Run("times out", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, watching("1s"))
		b.serve()
		r := b.ended(b.start("watching"), engine.Failed)
		wantStatus(t, r, "look=fail")
		if !strings.Contains(r.Outcome, "not seen within 1 s: (result.rate ?? 0) > 0.5 (last: 1000 keys)") {
			t.Errorf("outcome %q", r.Outcome)
		}
	})
	t.Run("gives up", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, strings.Replace(watching("2m"), "hold: 2", "hold: 2, give_up: 3", 1))
		b.world.onLook = func(n int) {
			b.world.set(func(w *world) {
				w.down = fault.New(fault.Unavailable, "Redis does not answer.")
				if n == 3 {
					w.down = nil // two failures in a row are not three
				}
			})
		}
		b.serve()
		r := b.ended(b.start("watching"), engine.Failed)
		wantStatus(t, r, "look=fail")
		if _, _, looked := b.world.counts(); looked != 6 || !strings.Contains(r.Outcome, "Redis does not answer.") {
			t.Errorf("%d polls, want 6; outcome %q", looked, r.Outcome)
		}
	})
	t.Run("survives a lost system", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, watching("2m"))
		b.world.rate = new(0.9)
		b.world.onLook = func(n int) {
			b.world.set(func(w *world) {
				w.down = nil
				if n == 2 {
					w.down = fault.New(fault.Unavailable, "Redis does not answer.")
				}
			})
		}
		b.serve()
		b.ended(b.start("watching"), engine.Succeeded)
		if _, _, looked := b.world.counts(); looked != 4 {
			t.Errorf("%d polls, want 4", looked)
		}
	})
	t.Run("no data is unknown", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, doc("watching", step("1. Watch", `
id: look
do: redis.look
target: cache
watch: { every: 10ms, for: 500ms, until: result.rate > 0.5 }
`)))
		b.world.rate = nil
		b.serve()
		r := b.ended(b.start("watching"), engine.Failed)
		if r.Verdict != runbooks.Unknown {
			t.Errorf("verdict %q, want unknown", r.Verdict)
		}
	})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	look := func(id, expect, more string) string {
		return step(id, "id: "+id+"\ndo: redis.look\ntarget: cache\n"+expect+more)
	}
	const (
		good    = "expect: result.keys > 1\n"
		bad     = "expect: result.keys > 5000\n"
		warn    = "expect: [{ that: result.keys > 5000, else: warn, say: few }]\n"
		unknown = "expect: [{ that: result.keys > 5000, else: unknown, say: too few to judge }]\n"
		nodata  = "expect: result.rate > 0.5\n"
	)
	for _, tt := range []struct {
		name    string
		body    string
		state   engine.State
		verdict runbooks.Status
		steps   []string
	}{
		{"pass", look("a", good, ""), engine.Succeeded, runbooks.Pass, []string{"a=pass"}},
		{"warn goes on", look("a", warn, "") + look("b", good, ""), engine.Succeeded, runbooks.Warn, []string{"a=warn", "b=pass"}},
		{"fail stops", look("a", bad, "") + look("b", good, ""), engine.Failed, runbooks.Fail, []string{"a=fail", "b="}},
		{"unknown is never green", look("a", unknown, "on_fail: continue\n") + look("b", good, ""), engine.Failed, runbooks.Unknown, []string{"a=unknown", "b=pass"}},
		{"no data is unknown", look("a", nodata, ""), engine.Failed, runbooks.Unknown, []string{"a=unknown"}},
		{"fail outweighs unknown", look("a", nodata, "on_fail: continue\n") + look("b", bad, ""), engine.Failed, runbooks.Fail, []string{"a=unknown", "b=fail"}},
		{"noted", look("a", bad, "on_fail: note\n") + look("b", good, ""), engine.Succeeded, runbooks.Pass, []string{"a=fail", "b=pass"}},
		{"goto", look("a", good, "then: { goto: c }\non_fail: continue\n") + look("b", bad, "") + look("c", good, ""), engine.Succeeded, runbooks.Pass, []string{"a=pass", "b=", "c=pass"}},
		{"end failed", look("a", good, "then: { end: failed }\non_fail: continue\n") + look("b", good, ""), engine.Failed, runbooks.Fail, []string{"a=pass", "b="}},
		{"end ok", look("a", good, "then: { end: ok }\non_fail: continue\n") + look("b", bad, ""), engine.Succeeded, runbooks.Pass, []string{"a=pass", "b="}},
		{"decide list", look("a", good, "") + step("D", "id: d\ndo: decide\nrows:\n  - { if: steps.a.result.keys > 5000, end: failed }\n  - { if: steps.a.result.keys > 10, goto: c, say: plenty }\n  - { else: next }") + look("b", bad, "") + look("c", good, ""),
			engine.Succeeded, runbooks.Pass, []string{"d=pass", "b=", "c=pass"}},
		{"decide table", look("a", good, "") + step("D", "id: d\ndo: decide\ninputs: { keys: steps.a.result.keys }\nrows:\n  - { keys: \"<=10\", end: failed }\n  - { keys: \">10\", end: ok, say: plenty }\n  - { keys: none, goto: b }") + look("b", bad, ""),
			engine.Succeeded, runbooks.Pass, []string{"d=pass", "b="}},
		{"group when", look("a", good, "") + "\n## G\n\nText.\n\n```yaml group\nwhen: steps.a.result.keys > 5000\n```\n" + strings.ReplaceAll(look("b", bad, ""), "## b", "### b") + look("c", good, ""),
			engine.Succeeded, runbooks.Pass, []string{"b=skipped", "c=pass"}},
		{"notify", step("N", "id: n\ndo: notify\nwith: { to: thread, text: \"hello ${{ run.environment }}\" }"), engine.Succeeded, runbooks.Pass, []string{"n=pass"}},
		{"wait", step("W", "id: w\ndo: wait\nwith: { for: 30ms }") + look("a", good, ""), engine.Succeeded, runbooks.Pass, []string{"w=pass", "a=pass"}},
		{"end step", step("E", "id: e\ndo: end\nwith: { verdict: ok, say: \"that was it\" }"), engine.Succeeded, runbooks.Pass, []string{"e=pass"}},
		{"save", look("a", good, "save: { half: result.keys / 2, none: result.rate, big: result.keys > 500 }\n") + step("D", "id: d\ndo: decide\nrows:\n  - { if: steps.a.big and steps.a.half == 500 and steps.a.none == nil, end: ok }\n  - { else: next }") + look("b", bad, ""),
			engine.Succeeded, runbooks.Pass, []string{"d=pass", "b="}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, doc("verdict", tt.body))
			b.world.rate = nil
			b.serve()
			r := b.ended(b.start("verdict"), tt.state)
			if r.Verdict != tt.verdict {
				t.Errorf("verdict %q, want %q:\n%s", r.Verdict, tt.verdict, describe(r))
			}
			wantStatus(t, r, tt.steps...)
		})
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("each", step("1. Tweak all", `
id: all
do: redis.tweak
target: cache
each: { in: "[\"a\", \"b\", \"c\"]", as: item, max: 5 }
with: { to: "${{ item }}" }
expect: len(result) == 3
save: { last: "result[2].to" }
`)+step("2. Check", "id: d\ndo: decide\nrows:\n  - { if: steps.all.last == \"c\", end: ok }\n  - { else: { end: failed } }")))
	b.serve()
	run := b.start("each")
	confirm := b.asked(run, engine.Confirm)
	if len(confirm.Card.Arguments) != 3 || confirm.Card.Arguments[2] != (outbox.Fact{Label: "to [3]", Value: "c"}) {
		t.Errorf("the card's arguments are %v", confirm.Card.Arguments)
	}
	b.vote(confirm, ann, "confirm")
	r := b.ended(run, engine.Succeeded)
	wantStatus(t, r, "all=pass", "d=pass")
	if _, tweaked, _ := b.world.counts(); tweaked != 3 {
		t.Errorf("%d executions, want 3", tweaked)
	}
}

func TestStopWhileActing(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix+"\n## Cleanup\n\n### Tidy\n\nText.\n\n```yaml step\nid: tidy\ndo: redis.look\ntarget: cache\n```\n")
	reached := make(chan struct{})
	b.world.onWipe = func(ctx context.Context) error {
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	}
	b.serve()
	run := b.start("fix")
	b.pass(run)
	<-reached
	if _, err := b.engine.Stop(t.Context(), run.ID, mia, ""); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("Stop() by a stranger = %v, want Forbidden", err)
	}
	if _, err := b.engine.Stop(t.Context(), "R1", oli, "wrong cluster"); err != nil {
		t.Fatal(err)
	}
	r := b.ended(run, engine.Canceled)
	wantStatus(t, r, "wipe=fail", "tidy=pass")
	i := slices.IndexFunc(r.Attempts, func(a engine.Attempt) bool { return a.Step == "wipe" })
	if r.Attempts[i].Fault != "stopped while it ran: part of it may be done" || r.Outcome != "Stopped by Oli: wrong cluster." {
		t.Errorf("fault %q, outcome %q", r.Attempts[i].Fault, r.Outcome)
	}
	if _, err := b.engine.Stop(t.Context(), run.ID, ann, ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("Stop() of an ended run = %v, want Conflict", err)
	}
}

func TestStopWhileAsking(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	confirm := b.asked(run, engine.Confirm)
	if _, err := b.engine.Stop(t.Context(), run.ID, ann, ""); err != nil {
		t.Fatal(err)
	}
	b.ended(run, engine.Canceled)
	b.refused(confirm, engine.Ballot{Actor: ann, Decision: "confirm", Typed: "demo"}, fault.Conflict, "closed: Stopped by Ann.")
}

func TestTimeoutOfAStep(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("slow", step("1. Wipe", "id: wipe\ndo: redis.wipe\ntarget: cache\nwith: { pattern: \"*\" }\ntimeout: 30ms\nconfirm: Really?")))
	b.world.onWipe = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	b.serve()
	run := b.start("slow")
	b.pass(run)
	r := b.ended(run, engine.Failed)
	if r.Outcome != "Failed at step 1 (Wipe): took too long and was ended: part of it may be done." {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestTimeoutOfTheRun(t *testing.T) {
	t.Parallel()
	text := doc("slow", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")+step("2. More", "id: more\ndo: redis.look\ntarget: cache"))
	b := newBench(t, strings.Replace(text, "timeout: 20m", "timeout: 2s", 1))
	b.world.onLook = func(int) { <-time.After(2100 * time.Millisecond) } // the system is slow
	b.serve()
	r := b.ended(b.start("slow"), engine.Failed)
	if r.Outcome != "It took longer than the 2 s that the runbook allows." {
		t.Errorf("outcome %q", r.Outcome)
	}
	wantStatus(t, r, "look=pass", "more=")
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("loud", step("1. Chat", "id: chat\ndo: redis.chat\ntarget: cache")))
	b.serve()
	r := b.ended(b.start("loud"), engine.Succeeded)
	out, err := b.engine.Output(t.Context(), r.ID, r.Attempts[0].Seq)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) > 1<<20+100 || !strings.HasPrefix(out, "line 0\n") || !strings.HasSuffix(out, "line 299999\n") || !strings.Contains(out, "bytes left out") {
		t.Errorf("%d bytes were kept, from %.20q to %q", len(out), out, out[max(0, len(out)-20):])
	}
	if _, err := b.engine.Output(t.Context(), r.ID, 99); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Output() of nothing = %v, want NotFound", err)
	}
}

func TestPanickingAction(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("bad", step("1. Panic", "id: p\ndo: redis.panic\ntarget: cache")))
	b.serve()
	r := b.ended(b.start("bad"), engine.Failed)
	if !strings.HasPrefix(r.Outcome, "Failed at step 1 (Panic): Something went wrong inside opsbot") {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("hush", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nwith: { to: \"${{ secret(\\\"token\\\") }}\" }")))
	b.serve(func(o *engine.Options) {
		o.Environments[0].Secrets = secretsOf("token", "canary-4711")
	})
	run := b.start("hush")
	confirm := b.asked(run, engine.Confirm)
	if want := []outbox.Fact{{Label: "to", Value: "the secret token"}}; !slices.Equal(confirm.Card.Arguments, want) {
		t.Errorf("the card shows %v, want %v", confirm.Card.Arguments, want)
	}
	b.vote(confirm, ann, "cancel")
	if r := b.ended(run, engine.Canceled); strings.Contains(fmt.Sprintf("%+v", r), "canary") {
		t.Error("the secret is on record")
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("back", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nexpect: result.to == \"y\"\non_fail: rollback")+
		step("2. More", "id: more\ndo: redis.look\ntarget: cache")+
		"\n## Rollback\n\n### Undo\n\nText.\n\n```yaml step\nid: undo\nwhen: ran(\"tweak\")\ndo: redis.tweak\ntarget: cache\n```\n"+
		"\n### Undo more\n\nText.\n\n```yaml step\nid: undo_more\nwhen: ran(\"more\")\ndo: redis.tweak\ntarget: cache\n```\n"))
	b.serve()
	run := b.start("back")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	b.until(run, "rollback", func(r *engine.Run) bool { return r.Phase == engine.PhaseRollback })
	b.vote(b.asked(run, engine.Confirm), ann, "confirm")
	r := b.ended(run, engine.Failed)
	wantStatus(t, r, "tweak=fail", "more=", "undo=pass", "undo_more=skipped")
	if !strings.HasSuffix(r.Outcome, "Rolled back.") {
		t.Errorf("outcome %q", r.Outcome)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	confirm := b.asked(run, engine.Confirm)
	if _, err := b.engine.Pause(t.Context(), run.ID, ben, "lunch"); err != nil {
		t.Fatal(err)
	}
	b.vote(confirm, ann, "confirm", typed("demo"))
	if r, _ := b.engine.Find(t.Context(), run.ID); r.State != engine.Waiting || !r.Paused {
		t.Errorf("a paused run went on when somebody answered: %s", r.State)
	}
	if _, err := b.engine.Resume(t.Context(), run.ID, ben, ""); err != nil {
		t.Fatal(err)
	}
	b.vote(b.asked(run, engine.Review), ben, "approve")
	b.ended(run, engine.Succeeded)
}

func TestOffer(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("first", step("1. Look", "id: look\ndo: redis.look\ntarget: cache\nexpect: result.keys > 5000\non_fail: { offer: [{ run: second, with: { seen: \"${{ result?.keys ?? -1 }}\" }, say: \"Do the second, ${{ result?.keys ?? -1 }} keys\" }], then: stop }")),
		strings.Replace(doc("second", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")), "timeout: 20m", "timeout: 20m\nparams: { seen: { type: int } }", 1))
	b.serve()
	r := b.ended(b.start("first"), engine.Failed)
	if len(r.Offers) != 1 || !strings.HasPrefix(r.Offers[0].Say, "Do the second, ") || r.Offers[0].Why != "" || r.Offers[0].Params["seen"] == "-1" {
		t.Fatalf("offers %v", r.Offers)
	}
	if _, err := b.engine.StartOffer(t.Context(), r.Offers[0].ID, mia, "k"); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("StartOffer() by a stranger = %v, want Forbidden", err)
	}
	second, err := b.engine.StartOffer(t.Context(), r.Offers[0].ID, ben, "k")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.engine.StartOffer(t.Context(), r.Offers[0].ID, ann, "k2"); err != nil || again.ID != second.ID {
		t.Errorf("a second click gave %v, %v", again, err)
	}
	b.ended(second, engine.Succeeded)
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix", func(r *engine.StartRequest) { r.DryRun = true })
	r := b.ended(run, engine.Succeeded)
	wantStatus(t, r, "look=pass", "wipe=skipped", "after=fail", "escalate=skipped")
	wiped, tweaked, looked := b.world.counts()
	if wiped != 0 || tweaked != 0 || looked != 2 {
		t.Errorf("wiped %d, tweaked %d, looked %d times", wiped, tweaked, looked)
	}
	if len(r.Approvals) != 0 || len(r.Locks) != 0 {
		t.Errorf("a dry run asked %d questions and took locks %v", len(r.Approvals), r.Locks)
	}
	want := "would do this: removes 1000 keys matching prod_*; with pattern=prod_*; asks Ann to confirm by typing; then 1 reviewer of sre"
	if a := r.Attempts[1]; a.Found != want {
		t.Errorf("wipe is shown as %q, want %q", a.Found, want)
	}
}

func TestLongWaitNeedsNoOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("wait", step("1. Wait", "id: w\ndo: wait\nwith: { for: 5s }")+step("2. Look", "id: look\ndo: redis.look\ntarget: cache")))
	b.serve()
	run := b.start("wait")
	asleep := b.until(run, "sleep", func(r *engine.Run) bool { return len(r.Attempts) == 1 && r.Owner == "" })
	b.restart()
	b.serve()
	r := b.ended(run, engine.Succeeded)
	if len(r.Attempts) != 2 || !r.Attempts[0].Deadline.Equal(asleep.Attempts[0].Deadline) || r.Restarts != 0 {
		t.Errorf("the wait did not survive the restart as it was:\n%s", describe(r))
	}
}

// A step on an optional connection is skipped where an environment lacks it,
// with the reason, also when it is to be looked at again; where the connection
// is there, the step counts like any other.
func TestOptionalConnection(t *testing.T) {
	t.Parallel()
	text := strings.Replace(doc("careful", step("1. Is the replica idle?", `
id: idle
do: redis.look
target: replica
expect: result.keys < 10
`)+step("2. Wipe", `
id: wipe
do: redis.wipe
target: cache
with: { pattern: "a*" }
confirm: { text: "Wipe, with ${{ steps.idle?.result?.keys ?? 'no data on' }} keys in the replica?" }
recheck: [idle]
`)), "{ cache: redis }", "{ cache: redis, replica: redis? }", 1)
	for _, tt := range []struct {
		name         string
		there, busy  bool
		state        engine.State
		found, asked string
		wiped        int
	}{
		{"missing", false, false, engine.Succeeded, "demo has no connection replica", "no data on keys", 1},
		{"idle", true, false, engine.Succeeded, "5 keys", "with 5 keys", 1},
		{"busy", true, true, engine.Failed, "1000 keys", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, text)
			if tt.there {
				replica := newWorld()
				if !tt.busy {
					replica.keys = 5
				}
				b.envs[0].Targets["replica"] = runbooks.Target{Environment: "demo", Name: "replica", Kind: "redis", Conn: replica}
			}
			b.serve()
			run := b.start("careful")
			if tt.asked != "" {
				ask := b.asked(run, engine.Confirm)
				if !strings.Contains(ask.Card.Question, tt.asked) {
					t.Errorf("it asks %q", ask.Card.Question)
				}
				b.vote(ask, ann, "confirm", typed("demo"))
				b.vote(b.asked(run, engine.Review), ben, "approve")
			}
			r := b.ended(run, tt.state)
			if got := r.Attempts[0]; got.Found != tt.found || (got.Status == runbooks.Skipped) == tt.there {
				t.Errorf("the look is %s: %q", got.Status, got.Found)
			}
			if wiped, _, _ := b.world.counts(); wiped != tt.wiped {
				t.Errorf("wiped %d times, want %d", wiped, tt.wiped)
			}
		})
	}
	t.Run("dry run", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, text)
		b.serve()
		run, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "careful", Environment: "demo", Actor: ann, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		r := b.ended(run, engine.Succeeded)
		if got := r.Attempts[0]; got.Found != "demo has no connection replica" {
			t.Errorf("the look is %s: %q", got.Status, got.Found)
		}
		if strings.Contains(r.Attempts[1].Found, "unknown") {
			t.Errorf("the act is %q", r.Attempts[1].Found)
		}
	})
}

// A file that a parameter names is looked for before anything is done: the run
// has its whole path, and none begins with one that is not there or too old.
func TestFileParameter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name string, age time.Duration) string {
		path, at := filepath.Join(dir, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newest := put("new.dump", time.Hour)
	put("old.dump", 30*time.Hour)
	ops, err := host.Open(host.Config{Files: map[string]string{"dumps": filepath.Join(dir, "*.dump")}})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(doc("restoring", step("1. Tell", "id: tell\ndo: redis.look\ntarget: cache\nsave: { path: params.dump }")),
		"uses: { cache: redis }", "uses: { cache: redis, ops: host }\nparams: { dump: { type: file, from: \"*.dump\", default: newest, max_age: 26h } }", 1)
	b := newBench(t, text)
	b.envs[0].Targets["ops"] = runbooks.Target{Environment: "demo", Name: "ops", Kind: "host", Conn: ops}
	b.serve()
	for _, given := range []map[string]string{nil, {"dump": "newest"}, {"dump": "new.dump"}, {"dump": newest}} {
		run, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "restoring", Params: given, Actor: ann})
		if err != nil {
			t.Fatal(err)
		}
		if r := b.ended(run, engine.Succeeded); !strings.Contains(fmt.Sprint(r.Attempts[0].Saved["path"]), newest) {
			t.Errorf("%v: the step has %v, want %s", given, r.Attempts[0].Saved, newest)
		}
	}
	for name, want := range map[string]string{
		"none.dump": "dump: There is no file none.dump. Files are looked for at " + dir,
		"old.dump":  "and may be at most 26h old. Does what writes such files still run?",
		"new.sql":   `dump must be the name of a file like *.dump, not "new.sql".`,
	} {
		_, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "restoring", Params: map[string]string{"dump": name}, Actor: ann})
		if !strings.Contains(fault.Say(err), want) {
			t.Errorf("%s: %q", name, fault.Say(err))
		}
	}
	if runs, err := b.runs.List(t.Context(), engine.Query{Limit: 20}); err != nil || len(runs) != 4 {
		t.Errorf("%d runs on record, want the 4 that began (%v)", len(runs), err)
	}
}
