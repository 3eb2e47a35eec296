package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"opsbot/runbooks/engine"
)

// runs is the store as the engine sees it.
type runs struct{ s *Store }

// Runs returns the store of runs.
func (s *Store) Runs() engine.Store { return runs{s} }

var leaseMillis = engine.LeaseTime.Milliseconds()

// errThere ends a transaction that finds its work done already.
var errThere = errors.New("store: there already")

func (r runs) Create(ctx context.Context, run *engine.Run, change engine.Change) (*engine.Run, error) {
	var out *engine.Run
	err := r.s.write(ctx, func(t *tx) error {
		n := *run
		there, err := r.s.create(t, &n)
		if err != nil {
			return err
		}
		if there != "" {
			if out, _, err = r.s.load(t, there, ""); err != nil {
				return err
			}
			return errThere // rolls back what the counter gave
		}
		if err := commitChange(t, &n, change); err != nil {
			return err
		}
		out, _, err = r.s.load(t, n.ID, "")
		return err
	})
	if err != nil && !errors.Is(err, errThere) {
		return nil, err
	}
	if out == nil {
		return nil, fmt.Errorf("store: create run %s: it cannot be read back", run.ID)
	}
	return out, nil
}

// create inserts the run and takes its locks. If there is a run with its
// request key, it returns that one's id and has written nothing of the run.
func (s *Store) create(t *tx, n *engine.Run) (there string, err error) {
	// The counter's row lock orders creations, so that nobody else can be
	// between looking for the request's key and inserting it.
	if _, err := t.one(`UPDATE counters SET value = value + 1 WHERE name = 'run' RETURNING value`, nil, &n.Number); err != nil {
		return "", err
	}
	if n.RequestKey != "" {
		found, err := t.one(`SELECT id FROM runs WHERE request_key = $1`, []any{clean(n.RequestKey)}, &there)
		if err != nil || found {
			return there, err
		}
	}
	now, err := t.now()
	if err != nil {
		return "", err
	}
	if n.RootID == "" {
		n.RootID = n.ID
	}
	if n.Created.IsZero() {
		n.Created = moment(now)
	}
	if err := takeLocks(t, n, now); err != nil {
		return "", err
	}
	_, err = t.exec(`INSERT INTO snapshots (digest, text) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, n.Digest, n.Text)
	if err != nil {
		return "", err
	}
	args, err := row(runFields(n))
	if err != nil {
		return "", err
	}
	due := dueAt(n, now)
	args = append(args, n.Number, due)
	_, err = t.exec(`INSERT INTO runs (`+runColumns+`, number, due_at) VALUES (`+holders(1, len(args))+`)`, args...)
	if err != nil {
		return "", err
	}
	if due != nil {
		t.raised |= topicRuns
	}
	_, err = saveChildren(t, n, &children{})
	return "", err
}

// takeLocks takes the run's locks for its root, in the order of their keys so
// that two runs cannot wait for each other.
func takeLocks(t *tx, run *engine.Run, now int64) error {
	keys := slices.Clone(run.Locks)
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		n, err := t.exec(`INSERT INTO locks (key, root_id, since) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING`, clean(key), run.RootID, now)
		if err != nil {
			return err
		}
		// A part is held with the whole, and the whole with any of its parts.
		if whole, _, ok := strings.Cut(key, engine.LockPart); ok {
			err = heldBy(t, run.RootID, key, `l.key = $2`, clean(whole))
		} else {
			err = heldBy(t, run.RootID, key, `substr(l.key, 1, length($2)) = $2`, clean(key)+engine.LockPart)
		}
		if err != nil {
			return err
		}
		if n == 1 {
			continue
		}
		if err := heldBy(t, run.RootID, key, `l.key = $2`, clean(key)); err != nil {
			return err
		}
	}
	return nil
}

// heldBy returns a *engine.LockedError if another root holds a lock that meets
// the condition, in which $2 is arg.
func heldBy(t *tx, root, key, condition, arg string) error {
	held := engine.LockedError{Key: key}
	found, err := t.one(`SELECT l.root_id, l.since, COALESCE(r.number, 0) FROM locks l LEFT JOIN runs r ON r.id = l.root_id
		WHERE l.root_id <> $1 AND `+condition+` ORDER BY l.since, l.key LIMIT 1`,
		[]any{root, arg}, &held.Holder, instant(&held.Since), &held.Number)
	if err != nil || !found {
		return err
	}
	return &held
}

// dueAt is when a run may be claimed: nil unless it is ready and neither
// paused nor, if paused, asked to stop.
func dueAt(run *engine.Run, now int64) any {
	if run.State != engine.Ready || run.Paused && run.Stop == nil {
		return nil
	}
	return max(millis(run.WakeAt), now)
}

func (r runs) Claim(ctx context.Context, owner string) (*engine.Run, error) {
	if owner == "" {
		return nil, errors.New("store: claim without an owner")
	}
	var out *engine.Run
	err := r.s.write(ctx, func(t *tx) error {
		out = nil
		var run engine.Run
		var due any
		var now int64
		found, err := t.one(`UPDATE runs SET
				restarts = restarts + CASE WHEN owner <> '' AND EXISTS (
					SELECT 1 FROM steps WHERE steps.run_id = runs.id AND steps.state = 'intent') THEN 1 ELSE 0 END,
				owner = $1, epoch = epoch + 1, lease_until = {now} + CAST($2 AS BIGINT),
				started_at = CASE WHEN started_at = 0 THEN {now} ELSE started_at END
			WHERE id = (SELECT id FROM runs WHERE due_at <= {now} AND lease_until < {now} ORDER BY due_at, number LIMIT 1 {skip})
			RETURNING `+runColumns+runOwned, []any{owner, leaseMillis},
			dests(append(runFields(&run), ownedFields(&run)...), &due, &now)...)
		if err != nil || !found {
			return err
		}
		out = &run
		return r.s.loadChildren(t, []*engine.Run{out})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (r runs) Heartbeat(ctx context.Context, owner string) error {
	return r.s.write(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE runs SET lease_until = {now} + CAST($2 AS BIGINT) WHERE owner = $1 AND owner <> '' AND lease_until > {now}`, owner, leaseMillis)
		return err
	})
}

func (r runs) Update(ctx context.Context, id string, fence *engine.Fence, fn func(*engine.Run) (engine.Change, error)) (*engine.Run, error) {
	var out *engine.Run
	err := r.s.write(ctx, func(t *tx) error {
		run, now, err := r.s.load(t, id, "{lock}")
		if err != nil {
			return err
		}
		if fence != nil && (fence.Owner == "" || run.Owner != fence.Owner || run.Epoch != fence.Epoch || millis(run.LeaseUntil) <= now) {
			return engine.ErrLeaseLost
		}
		before := *run
		was, err := childrenOf(run)
		if err != nil {
			return err
		}
		wasRow, err := row(runFields(run))
		if err != nil {
			return err
		}
		change, err := fn(run)
		if err != nil {
			return err
		}
		// The store's own.
		run.ID, run.Number, run.Owner, run.Epoch, run.LeaseUntil = before.ID, before.Number, before.Owner, before.Epoch, before.LeaseUntil
		if err := await(t, run, change.Await); err != nil {
			return err
		}
		if err := saveRun(t, run, &before, wasRow, change.Release, now); err != nil {
			return err
		}
		if change.Lock {
			// The counter's row lock orders whoever takes locks, so that a whole
			// and its part are not taken side by side.
			if _, err := t.exec(`UPDATE counters SET value = value WHERE name = 'run'`); err != nil {
				return err
			}
			if err := takeLocks(t, run, now); err != nil {
				return err
			}
		}
		if run.Digest != before.Digest {
			return fmt.Errorf("store: update run %s: its runbook cannot change", id)
		}
		if out, err = saveChildren(t, run, was); err != nil {
			return err
		}
		if fence == nil {
			t.raised |= topicRuns // a person's act is news for whoever has the run, too
		}
		if change, err = r.s.startWith(t, change); err != nil {
			return err
		}
		return commitChange(t, run, change)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// saveRun writes the run's row if anything in it changed, and leaves in run
// what is now stored.
func saveRun(t *tx, run, before *engine.Run, wasRow []any, release bool, now int64) error {
	args, err := row(runFields(run))
	if err != nil {
		return err
	}
	// A run's place in the queue is from when it became claimable, unless it
	// gives up its turn or its time was moved.
	due, wasDue := dueAt(run, now), dueAt(before, now)
	renew := release || (due == nil) != (wasDue == nil) || !run.WakeAt.Equal(before.WakeAt)
	release = release && before.Owner != ""
	if !slices.Equal(args, wasRow) || release {
		args = append(args, run.ID)
		if _, err := t.exec(`UPDATE runs SET `+assignments(runColumns, 1)+` WHERE id = $`+fmt.Sprint(len(args)), args...); err != nil {
			return err
		}
	}
	if renew {
		if _, err := t.exec(`UPDATE runs SET due_at = $2 WHERE id = $1`, run.ID, due); err != nil {
			return err
		}
		if due != nil {
			t.raised |= topicRuns
		}
	}
	if release {
		run.Owner, run.LeaseUntil = "", time.Time{}
		if _, err := t.exec(`UPDATE runs SET owner = '', lease_until = 0 WHERE id = $1`, run.ID); err != nil {
			return err
		}
	}
	return nil
}

// commitChange writes what goes with a run's change. The audit log comes last,
// for what it may lock.
func commitChange(t *tx, run *engine.Run, change engine.Change) error {
	if change.Unlock {
		if _, err := t.exec(`DELETE FROM locks WHERE root_id = $1`, run.RootID); err != nil {
			return err
		}
		// Whoever waits for them looks again. One that is just looking will
		// look again by itself, and is not waited for.
		n, err := t.exec(`UPDATE runs SET wake_at = 0, due_at = {now}
			WHERE id IN (SELECT id FROM runs WHERE waits_for = $1 AND due_at IS NOT NULL {skip})`, run.RootID)
		if err != nil {
			return err
		}
		if n > 0 {
			t.raised |= topicRuns
		}
	}
	if err := wake(t, change.Wake); err != nil {
		return err
	}
	if err := enqueue(t, change.Notices); err != nil {
		return err
	}
	return appendAudit(t, change.Audit)
}

var runNumber = regexp.MustCompile(`^[Rr]?([1-9][0-9]{0,17})$`)

func (r runs) Find(ctx context.Context, ref string) (*engine.Run, error) {
	var out *engine.Run
	err := r.s.read(ctx, func(t *tx) (err error) {
		id := clean(ref)
		if m := runNumber.FindStringSubmatch(ref); m != nil {
			found, err := t.one(`SELECT id FROM runs WHERE number = CAST($1 AS BIGINT)`, []any{m[1]}, &id)
			if err != nil {
				return err
			}
			if !found {
				return engine.ErrNoRun
			}
		}
		out, _, err = r.s.load(t, id, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (r runs) RunOf(ctx context.Context, approval string) (string, error) {
	var id string
	err := r.s.read(ctx, func(t *tx) error {
		found, err := t.one(`SELECT run_id FROM approvals WHERE id = $1`, []any{clean(approval)}, &id)
		if err == nil && !found {
			err = engine.ErrNoRun
		}
		return err
	})
	return id, err
}

func (r runs) List(ctx context.Context, q engine.Query) ([]*engine.Run, error) {
	var where []string
	var args []any
	by := func(column, value string) {
		if value != "" {
			args = append(args, clean(value))
			where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	by("runbook", q.Runbook)
	by("environment", q.Environment)
	by("subject", q.Subject)
	if q.Subject != "" {
		where = append(where, "subject <> ''") // as the index says it
	}
	if q.Unended {
		where = append(where, "state NOT IN ('succeeded', 'failed', 'canceled')")
	}
	clause := ""
	if len(where) > 0 {
		clause = " WHERE " + strings.Join(where, " AND ")
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 20
	}
	args = append(args, min(limit, 200))
	var out []*engine.Run
	err := r.s.read(ctx, func(t *tx) (err error) {
		out, _, err = r.s.loadWhere(t, clause+fmt.Sprintf(" ORDER BY number DESC LIMIT $%d", len(args)), args)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (r runs) Overdue(ctx context.Context, limit int) ([]string, error) {
	var ids []string
	err := r.s.read(ctx, func(t *tx) error {
		return t.each(`SELECT run_id FROM approvals WHERE attend_at <= {now} GROUP BY run_id ORDER BY MIN(attend_at), run_id LIMIT $1`,
			[]any{limit}, func(scan func(...any) error) error {
				var id string
				err := scan(&id)
				ids = append(ids, id)
				return err
			})
	})
	return ids, err
}

func (r runs) Locks(ctx context.Context) ([]engine.Lock, error) {
	var locks []engine.Lock
	err := r.s.read(ctx, func(t *tx) error {
		return t.each(`SELECT l.key, l.root_id, l.since, r.number FROM locks l JOIN runs r ON r.id = l.root_id ORDER BY l.since, l.key`,
			nil, func(scan func(...any) error) error {
				var l engine.Lock
				err := scan(&l.Key, &l.Run, instant(&l.Since), &l.Number)
				locks = append(locks, l)
				return err
			})
	})
	return locks, err
}

func (r runs) Output(ctx context.Context, run string, seq int) (string, error) {
	var out string
	err := r.s.read(ctx, func(t *tx) error {
		found, err := t.one(`SELECT output FROM steps WHERE run_id = $1 AND seq = $2`, []any{run, seq}, &out)
		if err == nil && !found {
			err = engine.ErrNoRun
		}
		return err
	})
	return out, err
}

func (r runs) Now(ctx context.Context) (time.Time, error) { return r.s.now(ctx) }

func (r runs) Signal() <-chan struct{} { return r.s.signals.runs }
