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
	if there, err = byRequest(t, n.RequestKey); err != nil || there != "" {
		return there, err
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
		if locked := (*engine.LockedError)(nil); errors.As(err, &locked) {
			// Who has them may be this very request, handled twice at once.
			if there, lookErr := byRequest(t, n.RequestKey); lookErr != nil || there != "" {
				return "", also(errAgain, lookErr)
			}
		}
		return "", err
	}
	err = t.later(`INSERT INTO snapshots (digest, text) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, n.Digest, n.Text)
	if err != nil {
		return "", err
	}
	args, err := row(runFields(n))
	if err != nil {
		return "", err
	}
	// Numbers come last and in no transaction's order, so that creations do not
	// wait for each other. One that is refused after this leaves a gap.
	if _, err := t.one(`INSERT INTO run_numbers (run_id) VALUES ($1) RETURNING number`, []any{n.ID}, &n.Number); err != nil {
		return "", err
	}
	due := dueAt(n, now)
	args = append(args, n.Number, due)
	err = t.later(`INSERT INTO runs (`+runColumns+`, number, due_at) VALUES (`+holders(1, len(args))+`)`, args...)
	if err != nil {
		return "", err
	}
	if due != nil {
		t.raised |= topicRuns
	}
	_, err = saveChildren(t, n, &children{})
	return "", err
}

// byRequest returns the id of the run that the request has started, else "".
func byRequest(t *tx, key string) (id string, err error) {
	if key == "" {
		return "", nil
	}
	_, err = t.one(`SELECT id FROM runs WHERE request_key = $1`, []any{clean(key)}, &id)
	return id, err
}

// takeLocks takes the run's locks for its root. It returns a
// *engine.LockedError if another root holds what meets one of them.
func takeLocks(t *tx, run *engine.Run, now int64) error {
	keys := make([]string, len(run.Locks))
	for i, key := range run.Locks {
		keys[i] = clean(key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) == 0 {
		return nil
	}
	// A whole and its part are two rows, which nothing keeps from being written
	// side by side: whoever takes either takes turns.
	if err := t.takeTurns(wholes(keys)); err != nil {
		return err
	}
	if err := heldBy(t, run.RootID, keys); err != nil {
		return err
	}
	args, rows := []any{run.RootID, now}, make([]string, len(keys))
	for i, key := range keys {
		args = append(args, key)
		rows[i] = fmt.Sprintf("($%d, $1, CAST($2 AS BIGINT))", len(args))
	}
	// What its root holds already stays as it is.
	return t.later(`INSERT INTO locks (key, root_id, since) VALUES `+strings.Join(rows, ", ")+` ON CONFLICT (key) DO NOTHING`, args...)
}

// heldBy returns a *engine.LockedError for the first of the keys, which are in
// order, that another root holds the same, a part or the whole of.
func heldBy(t *tx, root string, keys []string) error {
	args := []any{root}
	var met []string
	for _, key := range keys {
		args = append(args, key)
		condition := fmt.Sprintf("l.key = $%d", len(args))
		if whole, _, ok := strings.Cut(key, engine.LockPart); ok {
			args = append(args, whole)
			condition += fmt.Sprintf(" OR l.key = $%d", len(args))
		} else {
			args = append(args, key+engine.LockPart)
			condition += fmt.Sprintf(" OR substr(l.key, 1, length($%d)) = $%[1]d", len(args))
		}
		met = append(met, condition)
	}
	var held []engine.LockedError
	err := t.each(`SELECT l.key, l.root_id, l.since, COALESCE(r.number, 0) FROM locks l LEFT JOIN runs r ON r.id = l.root_id
		WHERE l.root_id <> $1 AND (`+strings.Join(met, " OR ")+`) ORDER BY l.since, l.key`, args, func(scan func(...any) error) error {
		var e engine.LockedError
		err := scan(&e.Key, &e.Holder, instant(&e.Since), &e.Number)
		held = append(held, e)
		return err
	})
	if err != nil {
		return err
	}
	for _, key := range keys {
		whole, _, _ := strings.Cut(key, engine.LockPart)
		for _, e := range held {
			if e.Key == key || e.Key == whole || strings.HasPrefix(e.Key, key+engine.LockPart) {
				e.Key = key
				return &e
			}
		}
	}
	return nil
}

// wholes are the connections that the sorted keys lock, or lock a part of.
func wholes(keys []string) []string {
	var list []string
	for _, key := range keys {
		whole, _, _ := strings.Cut(key, engine.LockPart)
		list = append(list, whole)
	}
	slices.Sort(list)
	return slices.Compact(list)
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
		if err := t.later(`UPDATE runs SET `+assignments(runColumns, 1)+` WHERE id = $`+fmt.Sprint(len(args)), args...); err != nil {
			return err
		}
	}
	if renew {
		if err := t.later(`UPDATE runs SET due_at = $2 WHERE id = $1`, run.ID, due); err != nil {
			return err
		}
		if due != nil {
			t.raised |= topicRuns
		}
	}
	if release {
		run.Owner, run.LeaseUntil = "", time.Time{}
		if err := t.later(`UPDATE runs SET owner = '', lease_until = 0 WHERE id = $1`, run.ID); err != nil {
			return err
		}
	}
	return nil
}

// commitChange writes what goes with a run's change. The audit log comes last,
// for what it may lock.
func commitChange(t *tx, run *engine.Run, change engine.Change) error {
	if change.Unlock {
		if err := t.later(`DELETE FROM locks WHERE root_id = $1`, run.RootID); err != nil {
			return err
		}
		// Whoever waits for them looks again. One that is just looking will
		// look again by itself, and is not waited for.
		n, err := t.exec(`UPDATE runs SET wake_at = 0, due_at = {now}
			WHERE id IN (SELECT id FROM runs WHERE waits_for = $1 AND waits_for <> '' AND due_at IS NOT NULL {skip})`, run.RootID)
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
	for _, key := range change.Anew {
		if err := leave(t, key); err != nil {
			return err
		}
	}
	if err := enqueue(t, change.Notices); err != nil {
		return err
	}
	if err := tellIncident(t, run, change); err != nil {
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
		return t.each(`SELECT l.key, l.root_id, l.since, r.number, r.starter FROM locks l JOIN runs r ON r.id = l.root_id ORDER BY l.since, l.key`,
			nil, func(scan func(...any) error) error {
				var l engine.Lock
				err := scan(dests([]field{text(&l.Key), text(&l.Run), instant(&l.Since), number(&l.Number), document(&l.Starter)})...)
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
