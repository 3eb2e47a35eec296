package store

import (
	"fmt"

	"opsbot/runbooks/engine"
)

const ended = `('succeeded', 'failed', 'canceled')`

// startWith creates the run that a change starts, and returns the change with
// what that run says and leaves on record.
func (s *Store) startWith(t *tx, change engine.Change) (engine.Change, error) {
	if change.Start == nil {
		return change, nil
	}
	n := *change.Start.Run
	there, err := s.create(t, &n)
	switch {
	case err != nil:
		return change, err
	case there == n.ID: // this very commit was made before, and its answer was lost
		return change, nil
	case there != "":
		return change, fmt.Errorf("store: start run %s: the key %q belongs to run %s", n.ID, n.RequestKey, there)
	}
	change.Notices = append(change.Notices[:len(change.Notices):len(change.Notices)], change.Start.Change.Notices...)
	change.Audit = append(change.Audit[:len(change.Audit):len(change.Audit)], change.Start.Change.Audit...)
	return change, nil
}

// await keeps a run from waiting for one that has ended. It is called with the
// run's row locked, for which the other's end waits: see wake.
func await(t *tx, run *engine.Run, other string) error {
	if other == "" || run.State != engine.Waiting {
		return nil
	}
	var one int64
	over, err := t.one(`SELECT 1 FROM runs WHERE id = $1 AND state IN `+ended, []any{other}, &one)
	if over {
		run.State = engine.Ready
	}
	return err
}

// wake makes a run ready that waits for the end of another. The row is locked
// first, so that a run which is about to wait is seen waiting, or sees the end.
func wake(t *tx, id string) error {
	if id == "" {
		return nil
	}
	var state string
	var paused bool
	found, err := t.one(`SELECT state, paused FROM runs WHERE id = $1 {lock}`, []any{id}, &state, flag(&paused))
	if err != nil || !found || state != string(engine.Waiting) || paused {
		return err
	}
	t.raised |= topicRuns
	_, err = t.exec(`UPDATE runs SET state = 'ready', wake_at = 0, due_at = {now} WHERE id = $1`, id)
	return err
}
