package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// undoable wipes, with a rollback that its review covers.
var undoable = doc("undoable", step("1. Wipe", `
id: wipe
do: redis.wipe
target: cache
with: { pattern: "prod_*" }
confirm: Wipe it?
review: { by: [sre], covers: [restore] }
on_fail: rollback
`)) + "\n## Rollback\n" + strings.ReplaceAll(step("Restore", `
id: restore
when: ran("wipe")
do: redis.tweak
target: cache
with: { to: "${{ run.environment }}" }
review: { by: [sre] }
`)+step("Look", "id: check\ndo: redis.look\ntarget: cache"), "\n## ", "\n### ")

func TestReviewCoversTheRollback(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		for _, moved := range []bool{false, true} {
			t.Run(fmt.Sprint("moved ", moved), func(t *testing.T) {
				b := newBenchOn(t, url, undoable)
				b.world.onWipe = func(context.Context) error {
					if moved {
						b.world.set(func(w *world) { w.identity = "redis-2" })
					}
					return fault.New(fault.Unavailable, "It broke.")
				}
				b.serve()
				run := b.start("undoable")
				confirm := b.asked(run, engine.Confirm)
				i := slices.IndexFunc(confirm.Card.Arguments, func(f outbox.Fact) bool { return f.Label == "if rolled back: Restore" })
				if want := "redis.tweak to=demo on cache, redis test:6379/0 (redis-1); covered by this approval, for this run"; i < 0 || confirm.Card.Arguments[i].Value != want {
					t.Errorf("the card shows %+v, want %q", confirm.Card.Arguments, want)
				}
				b.pass(run)
				if moved { // another system: what was shown is not what would be done
					again := b.asked(run, engine.Confirm)
					if again.Step != "restore" {
						t.Errorf("the step %s is asked about, want restore", again.Step)
					}
					b.vote(again, ann, "confirm")
					b.vote(b.asked(run, engine.Review), ben, "approve")
				}
				r := b.ended(run, engine.Failed)
				wantStatus(t, r, "wipe=fail", "restore=pass", "check=pass")
				if want := map[bool]int{false: 2, true: 4}[moved]; len(r.Approvals) != want {
					t.Errorf("%d questions were asked, want %d:\n%s", len(r.Approvals), want, describe(r))
				}
				for _, a := range r.Attempts {
					if a.Step == "restore" && (a.Approval == r.Approvals[1].ID) == moved {
						t.Errorf("restore ran under %q, moved %t", a.Approval, moved)
					}
				}
			})
		}
	})
}

// A rollback step whose arguments only the failed step could tell is not
// covered, and says so.
func TestWhatIsNotKnownIsNotCovered(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(undoable, `to: "${{ run.environment }}"`, `to: "n${{ steps.wipe?.result?.deleted }}"`, 1))
	b.serve()
	run := b.start("undoable")
	review := b.asked(run, engine.Confirm)
	if len(review.Card.Covers) != 0 {
		t.Errorf("the card covers %v", review.Card.Covers)
	}
	last := review.Card.Arguments[len(review.Card.Arguments)-1]
	if !strings.HasPrefix(last.Value, "not covered, since") {
		t.Errorf("the card says %+v", last)
	}
}
