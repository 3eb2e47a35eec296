package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"opsbot/internal/fault"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// halfway changes something and then fails; nothing rolls back by itself.
var halfway = doc("halfway", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nconfirm: Go?")+
	step("2. Look", "id: look\ndo: redis.look\ntarget: cache\nexpect: result.keys < 5")+
	step("3. Wipe", "id: wipe\ndo: redis.wipe\ntarget: cache\nwith: { pattern: x }\nconfirm: Go?")) +
	"\n## Rollback\n" + strings.ReplaceAll(step("Untweak", "id: untweak\nwhen: ran(\"tweak\")\ndo: redis.tweak\ntarget: cache\nwith: { to: \"${{ steps.tweak?.result?.to ?? 'nothing' }}\" }\nconfirm: Undo?")+
	step("Unwipe", "id: unwipe\nwhen: ran(\"wipe\")\ndo: redis.tweak\ntarget: cache\nconfirm: Undo?"), "\n## ", "\n### ")

func TestRollbackFromItsButton(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, halfway)
		b.serve()
		run := b.start("halfway")
		b.vote(b.asked(run, engine.Confirm), ann, "confirm")
		b.ended(run, engine.Failed)
		card := b.card(run)
		if len(card.Offers) != 1 || card.Offers[0].Say != "Roll back" || card.Offers[0].Why != "" {
			t.Fatalf("the card offers %+v, want the rollback", card.Offers)
		}
		offer := card.Offers[0].ID
		if _, err := b.engine.StartOffer(t.Context(), offer, mia, "k0"); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("StartOffer() by a stranger = %v, want Forbidden", err)
		}
		back, err := b.engine.StartOffer(t.Context(), offer, ben, "k1")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.engine.StartOffer(t.Context(), offer, ann, "k2"); err != nil || again.ID != back.ID {
			t.Errorf("a second click gave %v, %v", again, err)
		}
		ask := b.asked(back, engine.Confirm)
		if ask.Step != "untweak" || ask.Card.Arguments[0].Value != "x" {
			t.Errorf("it asks about %s with %v", ask.Step, ask.Card.Arguments)
		}
		b.refused(ask, engine.Ballot{Actor: ann, Decision: "confirm"}, fault.Forbidden, "Only Ben")
		b.vote(ask, ben, "confirm")
		done := b.ended(back, engine.Succeeded)
		wantStatus(t, done, "untweak=pass", "unwipe=skipped", "tweak=pass", "look=fail")
		if done.Verdict != runbooks.Pass || done.Outcome != "Rolled back." || !strings.Contains(done.Title, "Rollback of R1") {
			t.Errorf("it ended %s as %q: %q", done.Verdict, done.Title, done.Outcome)
		}
		if card := b.card(back); len(card.Steps) != 2 || len(card.Offers) != 0 {
			t.Errorf("its card has the steps %v and offers %v", card.Steps, card.Offers)
		}
		if card := b.card(run); len(card.Offers) != 0 {
			t.Errorf("the rolled back run still offers %v", card.Offers)
		}
		if r, _ := b.engine.Find(t.Context(), run.ID); r.State != engine.Failed || len(r.Attempts) != 2 {
			t.Errorf("the run that was rolled back is\n%s", describe(r))
		}
		if _, tweaked, _ := b.world.counts(); tweaked != 2 {
			t.Errorf("tweaked %d times, want 2", tweaked)
		}
	})
}

// What did not change anything has nothing to roll back.
func TestNothingToRollBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, halfway)
	b.serve()
	run := b.start("halfway")
	b.vote(b.asked(run, engine.Confirm), ann, "cancel")
	b.ended(run, engine.Canceled)
	if card := b.card(run); len(card.Offers) != 0 {
		t.Errorf("the card offers %v", card.Offers)
	}
}

// A crash in the middle of a rollback is found like any other.
func TestRollbackSurvivesACrash(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, halfway)
		killed := b.killed("intent:untweak", 1)
		run := b.start("halfway")
		b.vote(b.asked(run, engine.Confirm), ann, "confirm")
		b.ended(run, engine.Failed)
		back, err := b.engine.StartOffer(t.Context(), run.ID+".rollback", ben, "k")
		if err != nil {
			t.Fatal(err)
		}
		b.vote(b.asked(back, engine.Confirm), ben, "confirm")
		<-killed
		b.restart()
		b.serve()
		b.vote(b.asked(back, engine.Doubt), ben, "redo")
		b.vote(b.asked(back, engine.Confirm), ben, "confirm")
		b.ended(back, engine.Succeeded)
		if _, tweaked, _ := b.world.counts(); tweaked != 2 {
			t.Errorf("tweaked %d times, want 2", tweaked)
		}
	})
}

// moved does something under review, which covers the way back if it fails.
var moved = strings.Replace(doc("moved", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nconfirm: Go?\nreview: { by: [sre], covers: [untweak] }\non_fail: rollback")+
	step("2. Wipe", "id: wipe\nwhen: params.deep\ndo: redis.wipe\ntarget: cache\nwith: { pattern: x }\nconfirm: Go?"))+
	"\n## Rollback\n"+strings.ReplaceAll(step("Untweak", "id: untweak\nwhen: ran(\"tweak\")\ndo: redis.tweak\ntarget: cache\nconfirm: Undo?"), "\n## ", "\n### "),
	"lock: cache\n", "lock: cache\nparams: { deep: { type: bool, default: false, help: Wipe it } }\n", 1)

// A run that succeeded can be rolled back for a day, with all its questions: what
// its review covered was a failure of this run.
func TestRollbackOfASuccess(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		b := newBenchOn(t, url, moved)
		b.serve()
		succeeds := func() (run *engine.Run, offer string) {
			t.Helper()
			run = b.start("moved")
			b.pass(run)
			b.ended(run, engine.Succeeded)
			card := b.card(run)
			if len(card.Offers) != 1 || card.Offers[0].Say != "Roll back, within 24 h" || card.Offers[0].Why != "" {
				t.Fatalf("the card offers %+v, want the rollback", card.Offers)
			}
			return run, card.Offers[0].ID
		}
		run, offer := succeeds()
		back, err := b.engine.StartOffer(t.Context(), offer, ben, "k1")
		if err != nil {
			t.Fatal(err)
		}
		ask := b.asked(back, engine.Confirm)
		if ask.Step != "untweak" {
			t.Errorf("it asks about %s", ask.Step)
		}
		// It holds what the run held, under other names of the same runbook, too.
		if _, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "moved", Actor: ann}); fault.KindOf(err) != fault.Conflict {
			t.Errorf("Start() during the rollback = %v, want Conflict", err)
		}
		b.vote(ask, ben, "confirm")
		done := b.ended(back, engine.Succeeded)
		if done.Outcome != "Rolled back." || len(b.card(back).Offers) != 0 || len(b.card(run).Offers) != 0 {
			t.Errorf("it ended %q; offers %v and %v", done.Outcome, b.card(back).Offers, b.card(run).Offers)
		}

		_, early := succeeds()
		later, late := succeeds()
		_, err = b.engine.StartOffer(t.Context(), early, ben, "k2")
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "has changed cache (") {
			t.Errorf("StartOffer() after a later change = %v, want a Conflict that names the connection", fault.Say(err))
		}
		storetest.Exec(t, b.url, fmt.Sprintf("UPDATE runs SET started_at = started_at - 90000000, ended_at = ended_at - 90000000 WHERE number = %d", later.Number))
		_, err = b.engine.StartOffer(t.Context(), late, ben, "k3")
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "more than 24 hours ago") {
			t.Errorf("StartOffer() a day later = %v, want a Conflict", err)
		}
	})
}

// A success that nothing of the rollback is for offers none.
func TestSuccessWithNothingToRollBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(moved, "ran(\"tweak\")", "ran(\"wipe\")", 1))
	b.serve()
	run := b.start("moved")
	b.pass(run)
	b.ended(run, engine.Succeeded)
	if card := b.card(run); len(card.Offers) != 0 {
		t.Errorf("the card offers %v", card.Offers)
	}
}

func TestOfferedOnceInHalfAnHour(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("other", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")),
		doc("pointer", step("1. Look", "id: look\ndo: redis.look\ntarget: cache\nexpect: result.keys < 5\non_fail: { offer: [{ run: other }], then: stop }")))
	b.serve()
	offers := func() string {
		run := b.start("pointer")
		b.ended(run, engine.Failed)
		return b.card(run).Offers[0].Why
	}
	if why := offers(); why != "" {
		t.Errorf("the first offer is none, because %q", why)
	}
	if why := offers(); !strings.HasPrefix(why, "R1 offered it at ") {
		t.Errorf("the second is not held back by the first: %q", why)
	}
	storetest.Exec(t, b.url, `UPDATE runs SET offers = REPLACE(offers, '"at":"20', '"at":"19')`) // long ago
	if why := offers(); why != "" {
		t.Errorf("after half an hour it is not offered, because %q", why)
	}
}
