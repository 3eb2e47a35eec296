package store

import (
	"sync"
	"time"

	"opsbot/runbooks/engine"
)

// The columns of each table and the fields they belong to, in the same order.
// What is missing in both is the store's own: number, owner, epoch, lease.

const runColumns = "id, runbook, title, digest, environment, critical, params, starter, origin, request_key, " +
	"subject, parent_id, root_id, dry_run, state, verdict, phase, cursor, paused, stop, outcome, lock_keys, offers, " +
	"wake_at, created_at, started_at, ended_at, acting_ns, restarts, waits_for, undoes, wishes, paused_with"

func runFields(r *engine.Run) []field {
	return []field{
		text(&r.ID), text(&r.Runbook), text(&r.Title), text(&r.Digest), text(&r.Environment), flag(&r.Critical),
		values(&r.Params), document(&r.Starter), document(&r.Origin), text(&r.RequestKey),
		text(&r.Subject), text(&r.ParentID), text(&r.RootID), flag(&r.DryRun),
		text(&r.State), text(&r.Verdict), text(&r.Phase), text(&r.Cursor), flag(&r.Paused),
		document(&r.Stop), text(&r.Outcome), document(&r.Locks), document(&r.Offers),
		instant(&r.WakeAt), instant(&r.Created), instant(&r.Started), instant(&r.Ended),
		number(&r.Acting), number(&r.Restarts), text(&r.WaitsFor), text(&r.Undoes), document(&r.Wishes), text(&r.PausedWith),
	}
}

// runOwned are what follows runColumns when a run is read. The time may be from
// before a wait for the row's lock, but nobody can claim the run from then on.
const runOwned = ", number, owner, epoch, lease_until, " +
	"(SELECT COUNT(*) FROM runs w WHERE w.waits_for = runs.id AND w.waits_for <> ''), due_at, {now}"

func ownedFields(r *engine.Run) []field {
	return []field{number(&r.Number), text(&r.Owner), number(&r.Epoch), instant(&r.LeaseUntil), number(&r.Waiters)}
}

const stepColumns = "seq, step, number, item, purpose, phase, epoch, effect, state, status, intent_at, result_at, " +
	"deadline, result, saved, found, fault, approval"

func stepFields(a *engine.Attempt) []field {
	return []field{
		number(&a.Seq), text(&a.Step), number(&a.Number), number(&a.Item), text(&a.Purpose), text(&a.Phase), number(&a.Epoch),
		number(&a.Effect), text(&a.State), text(&a.Status), instant(&a.IntentAt), instant(&a.ResultAt),
		instant(&a.Deadline), document(&a.Result), values(&a.Saved), text(&a.Found), text(&a.Fault), text(&a.Approval),
	}
}

const approvalColumns = "id, step, kind, state, digest, card, live, identity, asked_groups, needed, phrase, " +
	"created_at, expires_at, remind_at, decided_at"

func approvalFields(a *engine.Approval) []field {
	return []field{
		text(&a.ID), text(&a.Step), text(&a.Kind), text(&a.State), text(&a.Digest), document(&a.Card),
		document(&a.Live), text(&a.Identity), document(&a.Groups), number(&a.Needed), text(&a.Type),
		instant(&a.Created), instant(&a.Expires), instant(&a.Remind), instant(&a.Decided),
	}
}

const voteColumns = "actor, decision, reason, fields, request_key, cast_at"

func voteFields(v *engine.Vote) []field {
	return []field{document(&v.Actor), text(&v.Decision), text(&v.Reason), document(&v.Fields), text(&v.Key), document(&v.At)}
}

// attendAt is when an approval next needs the engine: at its reminder or its
// expiry, whichever is first; nil when it needs nothing by itself.
func attendAt(a *engine.Approval) any {
	if a.State != engine.Open {
		return nil
	}
	var at any
	for _, t := range []time.Time{a.Expires, a.Remind} {
		if ms := millis(t); ms != 0 && (at == nil || ms < at.(int64)) {
			at = ms
		}
	}
	return at
}

// snapshots caches runbook texts by digest: they never change, and every load
// of a run needs one. Callers must not change them.
type snapshots struct {
	mu    sync.Mutex
	texts map[string][]byte
}

// maxSnapshots is more texts than are in use at a time; each has a few
// kilobytes.
const maxSnapshots = 64

func (s *snapshots) find(digest string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.texts[digest]
	return text, ok
}

func (s *snapshots) keep(digest string, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts == nil || len(s.texts) >= maxSnapshots {
		s.texts = make(map[string][]byte)
	}
	s.texts[digest] = text
}
