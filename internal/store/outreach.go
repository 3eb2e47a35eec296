package store

import (
	"context"
	"strings"

	"opsbot/incidents"
	"opsbot/incidents/outreach"
	"opsbot/internal/dispatch"
	"opsbot/internal/feed"
)

type outreachStore struct{ s *Store }

// Outreach returns what is on record for people outside of incidents' rooms.
func (s *Store) Outreach() outreach.Store { return outreachStore{s} }

func (v outreachStore) Approved(ctx context.Context, limit int) (out []outreach.Publication, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(`SELECT incident_id, `+updateColumns+` FROM incident_updates WHERE state = 'approved' ORDER BY decided_at, id LIMIT $1`,
			[]any{limit}, func(scan func(...any) error) error {
				var p outreach.Publication
				dest := []any{&p.Incident}
				for _, f := range updateFields(&p.Update) {
					dest = append(dest, f)
				}
				err := scan(dest...)
				out = append(out, p)
				return err
			})
	})
	return out, err
}

func (v outreachStore) Calls(ctx context.Context, limit int) (out []outreach.Call, err error) {
	// What calls a call off has the same key but for the action.
	const query = `SELECT p.subject, p.place, p.key, p.created_at,
			EXISTS (SELECT 1 FROM parcels a WHERE a.key = REPLACE(p.key, '/trigger/', '/acknowledge/'))
		FROM parcels p
		WHERE p.kind = 'page' AND p.key LIKE 'page/%/trigger/%'
			AND NOT EXISTS (SELECT 1 FROM parcels r WHERE r.key = REPLACE(p.key, '/trigger/', '/resolve/'))
		ORDER BY p.id LIMIT $1`
	err = v.s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(query, []any{limit}, func(scan func(...any) error) error {
			var c outreach.Call
			var key string
			err := scan(&c.Incident, &c.Place, &key, instant(&c.At), flag(&c.Acknowledged))
			_, c.Name, _ = strings.Cut(key, "/"+dispatch.Trigger+"/")
			out = append(out, c)
			return err
		})
	})
	return out, err
}

func (v outreachStore) Escalations(ctx context.Context, limit int) (out []outreach.Escalation, err error) {
	const query = `SELECT e.incident_id, e.seq FROM incidents i JOIN incident_events e ON e.incident_id = i.id
		WHERE i.state NOT IN ('resolved', 'postmortem', 'closed', 'canceled', 'merged') AND NOT i.drill
			AND e.kind = 'nudge' AND e.data LIKE '%"escalated":"true"%' AND e.data LIKE '%"of":"commander"%'
			AND NOT EXISTS (SELECT 1 FROM parcels p WHERE p.subject = i.id AND p.key LIKE 'page/%/trigger/escalation-' || CAST(e.seq AS TEXT))
		ORDER BY e.recorded_at LIMIT $1`
	err = v.s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(query, []any{limit}, func(scan func(...any) error) error {
			var e outreach.Escalation
			err := scan(&e.Incident, &e.Event)
			out = append(out, e)
			return err
		})
	})
	return out, err
}

func (v outreachStore) Public(ctx context.Context, limit int) (out []feed.Incident, err error) {
	const query = `SELECT i.number, i.severity, i.state, u.id, u.word, u.text, CASE WHEN u.decided_at > 0 THEN u.decided_at ELSE u.written_at END AS told_at
		FROM incident_updates u JOIN incidents i ON i.id = u.incident_id
		WHERE u.audience = 'users' AND u.state IN ('approved', 'published', 'failed') AND NOT i.security AND NOT i.drill AND i.state NOT IN ('canceled', 'merged')
		ORDER BY i.number DESC, u.number DESC LIMIT $1`
	err = v.s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(query, []any{limit}, func(scan func(...any) error) error {
			var i feed.Incident
			var u feed.Update
			var state incidents.State
			if err := scan(&i.Number, &i.Severity, &state, &u.ID, &u.Word, &u.Text, instant(&u.At)); err != nil {
				return err
			}
			i.Active = state.Active()
			if last := len(out) - 1; last >= 0 && out[last].Number == i.Number {
				out[last].Updates = append(out[last].Updates, u)
				return nil
			}
			i.Updates = []feed.Update{u}
			out = append(out, i)
			return nil
		})
	})
	return out, err
}
