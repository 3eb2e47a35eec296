package engine_test

import (
	"strings"
	"testing"

	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// under is a step of a section such as Cleanup.
func under(id, yaml string) string {
	return "\n### " + id + "\n\nText.\n\n```yaml step\nid: " + id + "\n" + strings.TrimSpace(yaml) + "\n```\n"
}

func looking(id, more string) string { return under(id, "do: redis.look\ntarget: cache\n"+more) }

// Nothing that a cleanup step says or meets leaves out the rest of the cleanup,
// nor makes a run fail that did its work.
func TestCleanupIsNeverCutShort(t *testing.T) {
	t.Parallel()
	fails := "expect: result.keys > 5000\n"
	for name, tt := range map[string]struct {
		step    string
		status  string
		verdict runbooks.Status
	}{
		"fails":            {looking("odd", fails), "fail", runbooks.Warn},
		"fails and stops":  {looking("odd", fails+"on_fail: stop"), "fail", runbooks.Warn},
		"fails and offers": {looking("odd", fails+"on_fail: { offer: [tidy], then: stop }"), "fail", runbooks.Warn},
		"fails and runs":   {looking("odd", fails+"on_fail: { run: small }"), "fail", runbooks.Pass},
		"passes and stops": {looking("odd", "then: stop"), "pass", runbooks.Pass},
		"runs another":     {under("odd", "do: run\nwith: { runbook: small }"), "pass", runbooks.Pass},
		"panics":           {under("odd", "do: redis.panic\ntarget: cache"), "fail", runbooks.Warn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, doc("small", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")),
				doc("tidy", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")+
					"\n## Rollback\n"+looking("back", "")+
					"\n## Cleanup\n"+tt.step+looking("last", "")))
			b.serve()
			r := b.ended(b.start("tidy"), engine.Succeeded)
			wantStatus(t, r, "look=pass", "back=", "odd="+tt.status, "last=pass")
			if r.Verdict != tt.verdict || r.Outcome != "Done." && r.Verdict == runbooks.Pass {
				t.Errorf("verdict %q, outcome %q, want %q:\n%s", r.Verdict, r.Outcome, tt.verdict, describe(r))
			}
		})
	}
}

// People cannot cut it short either: a stop comes too late, and the Stop that a
// question of the cleanup offers means its step.
func TestStopInTheCleanup(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("tidy", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")+
		"\n## Cleanup\n"+looking("odd", "expect: result.keys > 5000\non_fail: ask")+
		under("tick", "do: manual\nwho: [sre]")+under("tweak", "do: redis.tweak\ntarget: cache")+looking("last", "")))
	b.serve()
	run := b.start("tidy")
	ask := b.asked(run, engine.Choice)
	if _, err := b.engine.Stop(t.Context(), run.ID, ben, ""); err == nil || !strings.Contains(err.Error(), "at its end already") {
		t.Errorf("Stop() in the cleanup = %v", err)
	}
	if _, err := b.engine.Pause(t.Context(), run.ID, ben, ""); err == nil || !strings.Contains(err.Error(), "at its end already") {
		t.Errorf("Pause() in the cleanup = %v", err)
	}
	b.vote(ask, ann, "stop", because("enough"))
	b.vote(b.asked(run, engine.Manual), ann, "stop", because("enough"))
	b.vote(b.asked(run, engine.Confirm), ann, "cancel")
	r := b.ended(run, engine.Succeeded)
	wantStatus(t, r, "odd=skipped", "tick=skipped", "tweak=skipped", "last=pass")
	if r.Stop != nil {
		t.Errorf("the run counts as stopped: %+v", r.Stop)
	}
}

// In a rollback a failure leaves nothing out, since what is not rolled back
// stays; the author's own ending and a person's stop do. Cleanup and report
// follow each of them, and no ending makes good what led here.
func TestEndingsOfARollback(t *testing.T) {
	t.Parallel()
	fails := "expect: result.keys > 5000\n"
	for name, tt := range map[string]struct {
		step, status, next string
	}{
		"fails":            {looking("odd", fails), "fail", "pass"},
		"fails and stops":  {looking("odd", fails+"on_fail: stop"), "fail", "pass"},
		"runs another":     {under("odd", "do: run\nwith: { runbook: small }"), "pass", "pass"},
		"fails and runs":   {looking("odd", fails+"on_fail: { run: small }"), "fail", "pass"},
		"fails and offers": {looking("odd", fails+"on_fail: { offer: [small], then: stop }"), "fail", "pass"},
		"passes and stops": {looking("odd", "then: stop"), "pass", "pass"},
		"fails and ends":   {looking("odd", fails+"on_fail: { end: ok }"), "fail", ""},
		"decides to end":   {under("odd", "do: decide\nrows:\n  - { if: steps.look?.failed ?? true, end: ok }\n  - { else: next }"), "pass", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, doc("small", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")),
				doc("back", step("1. Look", "id: look\ndo: redis.look\ntarget: cache\n"+fails+"on_fail: rollback")+
					"\n## Rollback\n"+tt.step+looking("rest", "")+
					"\n## Cleanup\n"+looking("last", "")))
			b.serve()
			r := b.ended(b.start("back"), engine.Failed)
			wantStatus(t, r, "look=fail", "odd="+tt.status, "rest="+tt.next, "last=pass")
			if r.Verdict != runbooks.Fail || !strings.HasPrefix(r.Outcome, "Failed at step 1 (Look)") && tt.next != "" {
				t.Errorf("verdict %q, outcome %q:\n%s", r.Verdict, r.Outcome, describe(r))
			}
		})
	}
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, doc("back", step("1. Look", "id: look\ndo: redis.look\ntarget: cache\n"+fails+"on_fail: rollback")+
			"\n## Rollback\n"+under("tick", "do: manual\nwho: [sre]")+looking("rest", "")+
			"\n## Cleanup\n"+looking("last", "")))
		b.serve()
		run := b.start("back")
		b.asked(run, engine.Manual)
		if _, err := b.engine.Stop(t.Context(), run.ID, ben, "by hand then"); err != nil {
			t.Fatal(err)
		}
		r := b.ended(run, engine.Canceled)
		wantStatus(t, r, "look=fail", "tick=", "rest=", "last=pass")
		if r.Verdict != runbooks.Fail {
			t.Errorf("verdict %q", r.Verdict)
		}
	})
}
