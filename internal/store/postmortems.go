package store

import (
	"context"

	"opsbot/incidents/postmortem"
)

type postmortems struct{ s *Store }

// Postmortems returns the store of post-mortems.
func (s *Store) Postmortems() postmortem.Store { return postmortems{s} }

func (p postmortems) Latest(ctx context.Context, incident string) (v postmortem.Version, err error) {
	err = p.s.read(ctx, func(t *tx) error {
		v, err = latestPostmortem(t, incident)
		return err
	})
	return v, err
}

func latestPostmortem(t *tx, incident string) (v postmortem.Version, err error) {
	v = postmortem.Version{Incident: incident}
	found, err := t.one(`SELECT number, body, author, saved_at FROM postmortems WHERE incident_id = $1 ORDER BY number DESC LIMIT 1`,
		[]any{clean(incident)}, &v.Number, &v.Text, document(&v.By), instant(&v.At))
	if err == nil && !found {
		err = postmortem.ErrNone
	}
	return v, err
}

func (p postmortems) Save(ctx context.Context, v postmortem.Version, after int) (postmortem.Version, error) {
	var out postmortem.Version
	err := p.s.write(ctx, func(t *tx) error {
		// The incident's row orders those who save at once.
		var id string
		if found, err := t.one(`SELECT id FROM incidents WHERE id = $1 {lock}`, []any{clean(v.Incident)}, &id); err != nil || !found {
			if err == nil {
				err = postmortem.ErrNone
			}
			return err
		}
		last, err := latestPostmortem(t, v.Incident)
		switch {
		case err != nil && err != postmortem.ErrNone:
			return err
		case last.Number > after:
			if last.Number == after+1 && last.Text == v.Text && last.By.Same(v.By) {
				out = last
				return nil
			}
			return postmortem.ErrChanged
		}
		by, err := document(&v.By).value()
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO postmortems (incident_id, number, body, author, saved_at) VALUES ($1, $2, $3, $4, {now})`,
			clean(v.Incident), last.Number+1, clean(v.Text), by); err != nil {
			return err
		}
		out, err = latestPostmortem(t, v.Incident)
		return err
	})
	return out, err
}
