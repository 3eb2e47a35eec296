package engine_test

import (
	"strings"
	"testing"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks/engine"
)

// When nobody else is there, the group that the policy names may answer the
// review of its own run: with a reason that everybody hears of, now and at the
// end.
func TestBreakTheGlass(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.policy.Glass = &access.Glass{By: "sre", Channel: "C9"}
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	b.refused(review, engine.Ballot{Actor: ann, Decision: "approve"}, fault.Forbidden, "You started this run")
	b.refused(review, engine.Ballot{Actor: oli, Decision: "alone", Reason: "now"}, fault.Forbidden, "You are not in sre.")
	b.refused(review, engine.Ballot{Actor: ann, Decision: "alone"}, fault.Invalid, "give a reason")
	b.vote(review, ann, "alone", because("Ben's phone is off"))
	r := b.until(run, "end", func(r *engine.Run) bool { return r.State.Ended() })
	if wiped, _, _ := b.world.counts(); wiped != 1 {
		t.Errorf("wiped %d times, want once:\n%s", wiped, describe(r))
	}
	var told []string
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
			if l, ok := d.Notice.Content.(outbox.Line); ok && d.Notice.To.Channel == "C9" {
				told = append(told, strings.Join(l.Groups, ",")+": "+l.Text)
			}
			if err := q.Sent(t.Context(), d, "C1", d.Notice.Key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "sre: Glass broken: Ann goes on with ") || !strings.HasSuffix(told[0], "on demo without review: Ben's phone is off.") ||
		!strings.Contains(told[1], "in which Ann broke the glass, ") || !strings.HasSuffix(told[1], "Please review afterwards what was done.") {
		t.Errorf("the channel was told %q", told)
	}
	found := false
	for _, row := range b.audit() {
		found = found || row.Act == "alone" && row.Actor.ID == ann.ID && row.Detail == "Ben's phone is off"
	}
	if !found {
		t.Error("the audit log has no word of it")
	}
}

func TestWithoutAGlass(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.serve()
	run := b.start("fix")
	b.vote(b.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	for _, c := range review.Card.Choices {
		if c.ID == "alone" {
			t.Error("the card offers to go on alone")
		}
	}
	if _, err := b.engine.Vote(t.Context(), review.ID, engine.Ballot{Actor: ben, Decision: "alone", Reason: "why not"}); err == nil {
		t.Error("somebody went on alone")
	}
}

// The server may want reviewers from among fewer people than the runbook does,
// and refuses a start that they cannot review.
func TestPolicyNarrowsReviewers(t *testing.T) {
	t.Parallel()
	b := newBench(t, fix)
	b.policy.Groups["leads"] = access.Group{Users: []string{"UCY"}}
	b.policy.Approvers = []string{"leads"}
	b.serve()
	_, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "fix", Actor: ann})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "needs 1 reviewer in sre besides you, and there is nobody") {
		t.Errorf("Start() = %v", err)
	}
	b.policy.Groups["leads"] = access.Group{Users: []string{"UBEN"}}
	b.engine.Reload(b.lib, b.envs, b.policy)
	run := b.start("fix", func(r *engine.StartRequest) { r.Actor = someone("UOLI", "Oli") })
	b.vote(b.asked(run, engine.Confirm), oli, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	b.refused(review, engine.Ballot{Actor: ann, Decision: "approve"}, fault.Forbidden, "You are not in leads.")
	b.vote(review, ben, "approve")
	b.until(run, "end", func(r *engine.Run) bool { return r.State.Ended() })
}
