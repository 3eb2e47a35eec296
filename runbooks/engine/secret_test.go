package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

func TestApprovalIsBoundToASecretsVersion(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("sealed", step("1. Tweak", `
id: tweak
do: redis.tweak
target: cache
with: { to: "${{ secret('key') }}" }
confirm: Go?
`)))
	var value atomic.Value
	value.Store("hunter1")
	b.serve(func(o *engine.Options) {
		o.Environments[0].Secrets = map[string]engine.Secret{
			"key": func(context.Context) (string, error) { return value.Load().(string), nil },
		}
	})
	run := b.start("sealed")
	first := b.asked(run, engine.Confirm)
	value.Store("hunter2")
	b.vote(first, ann, "confirm")
	again := b.until(run, "second question", func(r *engine.Run) bool { return len(r.Approvals) == 2 }).Approvals[1]
	if again.Digest == first.Digest || !strings.Contains(strings.Join(again.Card.Reasons, " "), "what the step would do has changed") {
		t.Errorf("it asks again because of %q", again.Card.Reasons)
	}
	for _, a := range again.Card.Arguments {
		if strings.Contains(a.Value, "hunter") {
			t.Errorf("the card shows the secret: %+v", a)
		}
	}
	b.vote(again, ann, "confirm")
	b.ended(run, engine.Succeeded)
}

// Whoever writes that a failed check ends the run well means it.
func TestEndOKAfterAFailure(t *testing.T) {
	t.Parallel()
	check := "id: look\ndo: redis.look\ntarget: cache\nexpect: result.keys < 5\non_fail: "
	b := newBench(t, doc("well", step("1. Look", check+"{ end: ok }")), doc("ill", step("1. Look", check+"continue")+step("2. End", "do: end\nwith: { verdict: ok }")))
	b.serve()
	if r := b.ended(b.start("well"), engine.Succeeded); r.Verdict != runbooks.Pass || !strings.HasPrefix(r.Outcome, "Ended at step 1 (Look): expected") {
		t.Errorf("it ended %s: %q", r.Verdict, r.Outcome)
	}
	b.ended(b.start("ill"), engine.Failed)
}
