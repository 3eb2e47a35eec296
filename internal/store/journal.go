package store

import (
	"fmt"
	"slices"

	"opsbot/runbooks/engine"
)

// load returns one run with everything that belongs to it, and the time; lock
// is "" or "{lock}".
func (s *Store) load(t *tx, id, lock string) (*engine.Run, int64, error) {
	found, now, err := s.loadWhere(t, ` WHERE id = $1 `+lock, []any{id})
	if err != nil {
		return nil, 0, err
	}
	if len(found) == 0 {
		return nil, 0, engine.ErrNoRun
	}
	return found[0], now, nil
}

func (s *Store) loadWhere(t *tx, clause string, args []any) (found []*engine.Run, now int64, err error) {
	err = t.each(`SELECT `+runColumns+runOwned+` FROM runs`+clause, args, func(scan func(...any) error) error {
		var run engine.Run
		var due any
		if err := scan(dests(append(runFields(&run), ownedFields(&run)...), &due, &now)...); err != nil {
			return fmt.Errorf("store: read a run: %w", err)
		}
		found = append(found, &run)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return found, now, s.loadChildren(t, found)
}

// loadChildren adds texts, attempts, approvals and votes to the runs.
func (s *Store) loadChildren(t *tx, found []*engine.Run) error {
	if len(found) == 0 {
		return nil
	}
	byID := make(map[string]*engine.Run, len(found))
	ids := make([]any, len(found))
	for i, run := range found {
		byID[run.ID], ids[i] = run, run.ID
		text, ok := s.texts.find(run.Digest)
		if !ok {
			if _, err := t.one(`SELECT text FROM snapshots WHERE digest = $1`, []any{run.Digest}, &text); err != nil {
				return err
			}
			s.texts.keep(run.Digest, text)
		}
		run.Text = text
	}
	in := ` IN (` + holders(1, len(ids)) + `)`
	err := t.each(`SELECT run_id, `+stepColumns+` FROM steps WHERE run_id`+in+` ORDER BY run_id, seq`, ids, func(scan func(...any) error) error {
		var id string
		var a engine.Attempt
		if err := scan(append([]any{&id}, dests(stepFields(&a))...)...); err != nil {
			return fmt.Errorf("store: read an attempt: %w", err)
		}
		byID[id].Attempts = append(byID[id].Attempts, a)
		return nil
	})
	if err != nil {
		return err
	}
	type place struct {
		run   *engine.Run
		index int
	}
	places := make(map[string]place)
	err = t.each(`SELECT run_id, `+approvalColumns+` FROM approvals WHERE run_id`+in+` ORDER BY run_id, position`, ids, func(scan func(...any) error) error {
		var a engine.Approval
		if err := scan(append([]any{&a.Run}, dests(approvalFields(&a))...)...); err != nil {
			return fmt.Errorf("store: read an approval: %w", err)
		}
		run := byID[a.Run]
		places[a.ID] = place{run, len(run.Approvals)}
		run.Approvals = append(run.Approvals, a)
		return nil
	})
	if err != nil || len(places) == 0 {
		return err
	}
	return t.each(`SELECT approval_id, `+voteColumns+` FROM votes WHERE run_id`+in+` ORDER BY approval_id, position`, ids, func(scan func(...any) error) error {
		var id string
		var v engine.Vote
		if err := scan(append([]any{&id}, dests(voteFields(&v))...)...); err != nil {
			return fmt.Errorf("store: read a vote: %w", err)
		}
		p := places[id]
		p.run.Approvals[p.index].Votes = append(p.run.Approvals[p.index].Votes, v)
		return nil
	})
}

// children are the rows of a run's attempts, approvals and votes as they are
// in the database, to find what an update changed.
type children struct {
	attempts  [][]any
	approvals [][]any
	votes     [][][]any
}

func childrenOf(run *engine.Run) (*children, error) {
	var c children
	for i := range run.Attempts {
		r, err := row(stepFields(&run.Attempts[i]))
		if err != nil {
			return nil, err
		}
		c.attempts = append(c.attempts, r)
	}
	for i := range run.Approvals {
		a := &run.Approvals[i]
		r, err := row(approvalFields(a))
		if err != nil {
			return nil, err
		}
		var votes [][]any
		for j := range a.Votes {
			v, err := row(voteFields(&a.Votes[j]))
			if err != nil {
				return nil, err
			}
			votes = append(votes, v)
		}
		c.approvals, c.votes = append(c.approvals, r), append(c.votes, votes)
	}
	return &c, nil
}

// saveChildren writes what differs from was and returns the run as it is now
// stored. Rows may be added and, but for votes, changed, never taken away.
func saveChildren(t *tx, run *engine.Run, was *children) (*engine.Run, error) {
	is, err := childrenOf(run)
	if err != nil {
		return nil, err
	}
	if len(is.attempts) < len(was.attempts) || len(is.approvals) < len(was.approvals) {
		return nil, fmt.Errorf("store: update run %s: attempts and approvals are never removed", run.ID)
	}
	for i, r := range is.attempts {
		if err := saveAttempt(t, run, i, r, was); err != nil {
			return nil, err
		}
	}
	for i, r := range is.approvals {
		a := &run.Approvals[i]
		a.Run = run.ID
		var votes [][]any
		switch {
		case i >= len(was.approvals):
			args := append([]any{run.ID, i, attendAt(a)}, r...)
			err = t.later(`INSERT INTO approvals (run_id, position, attend_at, `+approvalColumns+`) VALUES (`+holders(1, len(args))+`)`, args...)
		case was.approvals[i][0] != r[0]:
			return nil, fmt.Errorf("store: update run %s: approval %v took the place of %v", run.ID, r[0], was.approvals[i][0])
		case !slices.Equal(was.approvals[i], r):
			votes = was.votes[i]
			args := append([]any{run.ID, attendAt(a)}, r...)
			err = t.later(`UPDATE approvals SET attend_at = $2, `+assignments(approvalColumns, 3)+` WHERE run_id = $1 AND id = $3`, args...)
		default:
			votes = was.votes[i]
		}
		if err != nil {
			return nil, err
		}
		if err := saveVotes(t, a, is.votes[i], votes); err != nil {
			return nil, err
		}
	}
	return stored(run), nil
}

func saveAttempt(t *tx, run *engine.Run, i int, r []any, was *children) error {
	output := clean(run.Attempts[i].Output)
	switch {
	case i >= len(was.attempts):
		args := append([]any{run.ID, output}, r...)
		return t.later(`INSERT INTO steps (run_id, output, `+stepColumns+`) VALUES (`+holders(1, len(args))+`)`, args...)
	case was.attempts[i][0] != r[0]:
		return fmt.Errorf("store: update run %s: attempt %v took the place of %v", run.ID, r[0], was.attempts[i][0])
	case output != "":
		args := append([]any{run.ID, output}, r...)
		return t.later(`UPDATE steps SET output = $2, `+assignments(stepColumns, 3)+` WHERE run_id = $1 AND seq = $3`, args...)
	case !slices.Equal(was.attempts[i], r):
		args := append([]any{run.ID}, r...)
		return t.later(`UPDATE steps SET `+assignments(stepColumns, 2)+` WHERE run_id = $1 AND seq = $2`, args...)
	}
	return nil
}

func saveVotes(t *tx, a *engine.Approval, is, was [][]any) error {
	for j, v := range is {
		if j < len(was) {
			if !slices.Equal(v, was[j]) {
				return fmt.Errorf("store: update run %s: a vote on %s was changed", a.Run, a.ID)
			}
			continue
		}
		args := append([]any{a.ID, j, a.Run}, v...)
		if err := t.later(`INSERT INTO votes (approval_id, position, run_id, `+voteColumns+`) VALUES (`+holders(1, len(args))+`)`, args...); err != nil {
			return err
		}
	}
	if len(is) < len(was) {
		return fmt.Errorf("store: update run %s: a vote on %s was removed", a.Run, a.ID)
	}
	return nil
}

// stored cuts a run to what a load would return: times in milliseconds, no
// output.
func stored(run *engine.Run) *engine.Run {
	out := *run
	for _, f := range runFields(&out) {
		settle(f)
	}
	out.Attempts = slices.Clone(run.Attempts)
	for i := range out.Attempts {
		out.Attempts[i].Output = ""
		for _, f := range stepFields(&out.Attempts[i]) {
			settle(f)
		}
	}
	out.Approvals = slices.Clone(run.Approvals)
	for i := range out.Approvals {
		for _, f := range approvalFields(&out.Approvals[i]) {
			settle(f)
		}
	}
	return &out
}

// settle brings a variable to what the database keeps of it.
func settle(f field) {
	switch f := f.(type) {
	case timeField:
		*f.p = moment(millis(*f.p))
	}
}
