package engine_test

import (
	"testing"

	"opsbot/runbooks/engine"
)

// The message of a click is on record with what the click did, and with nothing
// that follows from it: not the act of the run that it started, nor its child.
func TestMessageIsThatOfItsClick(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("parent", step("1. Wipe", "id: wipe\ndo: redis.wipe\ntarget: cache\nwith: { pattern: \"a*\" }\nconfirm: Sure?")+step("2. Other", "id: other\ndo: run\nwith: { runbook: child, then: resume }")),
		doc("child", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")))
	b.serve()
	clicked := func(ts string) engine.StartRequest {
		who := ann
		who.Message = "C1/" + ts
		return engine.StartRequest{Runbook: "parent", Actor: who}
	}
	run, err := b.engine.Start(t.Context(), clicked("1.1"))
	if err != nil {
		t.Fatal(err)
	}
	ballot := func(ballot *engine.Ballot) { ballot.Actor.Message = "C1/2.2" }
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", ballot, typed("demo"))
	b.vote(b.asked(run, engine.Review), ben, "approve")
	b.ended(run, engine.Succeeded)
	rows, err := b.db.Audit().List(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range rows {
		want := ""
		switch {
		case r.Act == "start" && r.Run == run.ID:
			want = "C1/1.1"
		case r.Act == "confirm":
			want = "C1/2.2"
		}
		seen[r.Act]++
		if r.Actor.Message != want {
			t.Errorf("%s of run %s is of the message %q, want %q", r.Act, r.Run, r.Actor.Message, want)
		}
	}
	if seen["start"] != 2 || seen["confirm"] != 1 || seen["act"] == 0 {
		t.Errorf("on record are %v", seen)
	}
}
