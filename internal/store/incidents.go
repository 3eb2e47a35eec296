package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/incidents"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// incidentStore is the store as a tracker sees it.
type incidentStore struct{ s *Store }

// Incidents returns the store of incidents.
func (s *Store) Incidents() incidents.Store { return incidentStore{s} }

const incidentColumns = "id, number, title, state, since, severity, security, drill, declarer, origin, room, request_key, " +
	"down, affected, impact, summary, why, into_number, started_at, detected_at, declared_at, acknowledged_at, mitigated_at, " +
	"resolved_at, written_at, ended_at, reopened, tasks, last_update, runs, events"

func incidentFields(i *incidents.Incident) []field {
	return []field{
		text(&i.ID), number(&i.Number), text(&i.Title), text(&i.State), instant(&i.Since), text(&i.Severity), flag(&i.Security), flag(&i.Drill),
		document(&i.Declarer), document(&i.Origin), text(&i.Room), text(&i.RequestKey),
		text(&i.Down), text(&i.Affected), text(&i.Impact), text(&i.Summary), text(&i.Why), number(&i.Into),
		instant(&i.Started), instant(&i.Detected), instant(&i.Declared), instant(&i.Acknowledged), instant(&i.Mitigated),
		instant(&i.Resolved), instant(&i.Written), instant(&i.Ended), number(&i.Reopened), document(&i.Tasks), document(&i.Last), document(&i.Runs), number(&i.Events),
	}
}

const roleColumns = "kind, actor, tag, since, accepted_at, acting"

func roleFields(r *incidents.Role) []field {
	return []field{text(&r.Kind), document(&r.Actor), text(&r.Tag), instant(&r.Since), instant(&r.Accepted), flag(&r.Acting)}
}

const clockColumns = "alarm, interval_ms, due, snoozed, stage, wake_at, set_at, nudge"

func clockFields(c *incidents.Clock) []field {
	return []field{
		text(&c.Of), period(&c.Interval), instant(&c.Due), instant(&c.Snoozed), number(&c.Stage), instant(&c.Wake), instant(&c.Set), number(&c.Nudge),
	}
}

const eventColumns = "seq, kind, actor, text, occurred_at, recorded_at, about, source, data, request_key"

func eventFields(e *incidents.Event) []field {
	return []field{
		number(&e.Seq), text(&e.Kind), document(&e.Actor), text(&e.Text), instant(&e.Occurred), instant(&e.Recorded),
		number(&e.Of), document(&e.Source), document(&e.Data), text(&e.Key),
	}
}

const updateColumns = "id, number, audience, text, word, unmoved, author, written_at, state, decider, decided_at, due, outcomes"

func updateFields(u *incidents.Update) []field {
	return []field{
		text(&u.ID), number(&u.Number), text(&u.Audience), text(&u.Text), text(&u.Word), flag(&u.Unmoved), document(&u.By), instant(&u.At),
		text(&u.State), document(&u.Decider), instant(&u.Decided), instant(&u.Due), document(&u.Outcomes),
	}
}

type periodField struct{ p *time.Duration }

// period binds a length of time, which it cuts to milliseconds.
func period(p *time.Duration) field { return periodField{p} }

func (f periodField) value() (any, error) { return f.p.Milliseconds(), nil }

func (f periodField) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("store: %T in a period column", src)
	}
	*f.p = time.Duration(v) * time.Millisecond
	return nil
}

// errDoneBefore ends a transaction whose request was done before.
var errDoneBefore = errors.New("store: done before")

func (v incidentStore) Create(ctx context.Context, i *incidents.Incident, fn func(*incidents.Incident, time.Time) (incidents.Change, error)) (*incidents.Incident, error) {
	var there string
	var out *incidents.Incident
	err := v.s.write(ctx, func(t *tx) error {
		there = ""
		n := *i
		// The counter's row lock orders creations, so that nobody else can be
		// between looking for the request's key and inserting it.
		if _, err := t.one(`UPDATE counters SET value = value + 1 WHERE name = 'incident' RETURNING value`, nil, &n.Number); err != nil {
			return err
		}
		if n.RequestKey != "" {
			found, err := t.one(`SELECT id FROM incidents WHERE request_key = $1`, []any{clean(n.RequestKey)}, &there)
			if err != nil {
				return err
			}
			if found {
				return errDoneBefore // rolls back what the counter gave
			}
		}
		now, err := t.now()
		if err != nil {
			return err
		}
		change, err := fn(&n, moment(now))
		if err != nil {
			return err
		}
		args, err := row(incidentFields(&n))
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO incidents (`+incidentColumns+`) VALUES (`+holders(1, len(args))+`)`, args...); err != nil {
			return err
		}
		if err := saveParts(t, &n); err != nil {
			return err
		}
		out = &n
		return commitIncidents(t, []*incidents.Incident{&n}, []incidents.Change{change})
	})
	if errors.Is(err, errDoneBefore) {
		return v.Load(ctx, there)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (v incidentStore) Update(ctx context.Context, ids []string, key string, fn func([]*incidents.Incident, time.Time) ([]incidents.Change, error)) ([]*incidents.Incident, error) {
	var out []*incidents.Incident
	err := v.s.write(ctx, func(t *tx) error {
		// Locked in one order, so that two of these cannot wait for each other.
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			var one int64
			found, err := t.one(`SELECT 1 FROM incidents WHERE id = $1 {lock}`, []any{clean(id)}, &one)
			if err == nil && !found {
				err = incidents.ErrNone
			}
			if err != nil {
				return err
			}
		}
		out = nil
		for _, id := range ids {
			i, err := loadIncident(t, `WHERE id = $1`, clean(id))
			if err != nil {
				return err
			}
			out = append(out, i)
		}
		if key != "" {
			var one int64
			found, err := t.one(`SELECT 1 FROM incident_events WHERE incident_id = $1 AND request_key = $2 LIMIT 1`, []any{clean(ids[0]), clean(key)}, &one)
			if err != nil {
				return err
			}
			if found {
				return errDoneBefore
			}
		}
		now, err := t.now()
		if err != nil {
			return err
		}
		changes, err := fn(out, moment(now))
		if err != nil {
			return err
		}
		for _, i := range out {
			if err := saveIncident(t, i); err != nil {
				return err
			}
		}
		return commitIncidents(t, out, changes)
	})
	if err != nil && !errors.Is(err, errDoneBefore) {
		return nil, err
	}
	return out, nil
}

// commitIncidents adds what changes bring beside the incidents themselves.
func commitIncidents(t *tx, list []*incidents.Incident, changes []incidents.Change) error {
	var audit []engine.AuditEntry
	for n, c := range changes {
		id := list[n].ID
		for k := range c.Events {
			args, err := row(eventFields(&c.Events[k]))
			if err != nil {
				return err
			}
			args = append([]any{id}, args...)
			if _, err := t.exec(`INSERT INTO incident_events (incident_id, `+eventColumns+`) VALUES (`+holders(1, len(args))+`)`, args...); err != nil {
				return err
			}
			if e := &c.Events[k]; e.Source.TS != "" {
				_, err := t.exec(`INSERT INTO incident_sources (channel, ts, incident_id, seq) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
					clean(e.Source.Channel), clean(e.Source.TS), id, e.Seq)
				if err != nil {
					return err
				}
			}
		}
		for k := range c.Updates {
			if err := saveUpdate(t, id, &c.Updates[k]); err != nil {
				return err
			}
		}
		if err := enqueue(t, c.Notices); err != nil {
			return err
		}
		for _, a := range c.Audit {
			audit = append(audit, engine.AuditEntry{Actor: a.Actor, Act: a.Act, Outcome: a.Outcome, Detail: a.Detail})
		}
	}
	return appendAudit(t, audit)
}

// tellIncident puts what a commit says of a run onto the timeline of the
// incident that the run belongs to.
func tellIncident(t *tx, run *engine.Run, change engine.Change) error {
	if run.Subject == "" {
		return nil
	}
	notes := change.Notes(run)
	if len(notes) == 0 {
		return nil
	}
	var one int64
	found, err := t.one(`SELECT 1 FROM incidents WHERE id = $1 {lock}`, []any{clean(run.Subject)}, &one)
	if err != nil || !found {
		return err // it belongs to something else
	}
	i, err := loadIncident(t, `WHERE id = $1`, clean(run.Subject))
	if err != nil {
		return err
	}
	now, err := t.now()
	if err != nil {
		return err
	}
	line := incidents.Run{ID: run.ID, Number: run.Number, Title: run.Title, State: "running"}
	var happened []incidents.Happening
	ended := false
	for _, n := range notes {
		happened = append(happened, incidents.Happening{
			Event: incidents.Event{Actor: n.Actor, Text: n.Text, Data: map[string]string{"run": run.ID, "number": fmt.Sprint(run.Number), "point": n.Point, "step": n.Step}},
			Alone: n.Alone,
		})
		switch n.Point {
		case "step":
			line.Step = strings.TrimPrefix(n.Text, fmt.Sprintf("R%d, ", run.Number)) // the line says which run
		case "ended":
			ended = true
		}
	}
	if run.State.Ended() {
		line.State = string(run.State)
	} else if run.State != engine.Ready {
		line.State = "waits for people"
	}
	finding := incidents.FoundNothing
	switch well := run.State == engine.Succeeded && run.Verdict == runbooks.Pass; {
	case !ended:
	case run.OnlyLooked() && well:
		finding = incidents.FoundWell
	case run.OnlyLooked():
		finding = incidents.FoundBad
	case run.Proven(change.Runbook):
		finding = incidents.FoundFixed
	}
	c := i.Follow(line, happened, finding, moment(now))
	if err := saveIncident(t, i); err != nil {
		return err
	}
	return commitIncidents(t, []*incidents.Incident{i}, []incidents.Change{c})
}

func saveIncident(t *tx, i *incidents.Incident) error {
	args, err := row(incidentFields(i))
	if err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE incidents SET `+assignments(incidentColumns, 1)+` WHERE id = $1`, args...); err != nil {
		return err
	}
	return saveParts(t, i)
}

func saveUpdate(t *tx, incident string, u *incidents.Update) error {
	if u.Number == 0 { // the incident's row is locked
		if _, err := t.one(`SELECT COALESCE(MAX(number), 0) + 1 FROM incident_updates WHERE incident_id = $1`, []any{incident}, &u.Number); err != nil {
			return err
		}
	}
	args, err := row(updateFields(u))
	if err != nil {
		return err
	}
	args = append([]any{incident}, args...)
	_, err = t.exec(`INSERT INTO incident_updates (incident_id, `+updateColumns+`) VALUES (`+holders(1, len(args))+`)
		ON CONFLICT (id) DO UPDATE SET text = excluded.text, word = excluded.word, state = excluded.state,
			decider = excluded.decider, decided_at = excluded.decided_at, outcomes = excluded.outcomes`, args...)
	return err
}

// saveParts writes roles and clocks: there are few, so all are written anew.
func saveParts(t *tx, i *incidents.Incident) error {
	for _, table := range []string{"incident_roles", "incident_clocks"} {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE incident_id = $1`, i.ID); err != nil {
			return err
		}
	}
	put := func(table, columns string, n int, fields []field) error {
		args, err := row(fields)
		if err != nil {
			return err
		}
		args = append([]any{i.ID, n}, args...)
		_, err = t.exec(`INSERT INTO `+table+` (incident_id, position, `+columns+`) VALUES (`+holders(1, len(args))+`)`, args...)
		return err
	}
	for n := range i.Roles {
		if err := put("incident_roles", roleColumns, n, roleFields(&i.Roles[n])); err != nil {
			return err
		}
	}
	for n := range i.Clocks {
		if err := put("incident_clocks", clockColumns, n, clockFields(&i.Clocks[n])); err != nil {
			return err
		}
	}
	return nil
}

// loadIncident returns the one that the clause selects.
func loadIncident(t *tx, clause string, args ...any) (*incidents.Incident, error) {
	list, err := loadIncidents(t, clause, args...)
	if err == nil && len(list) == 0 {
		err = incidents.ErrNone
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func loadIncidents(t *tx, clause string, args ...any) (list []*incidents.Incident, err error) {
	err = t.each(`SELECT `+incidentColumns+` FROM incidents `+clause, args, func(scan func(...any) error) error {
		var i incidents.Incident
		if err := scan(dests(incidentFields(&i))...); err != nil {
			return fmt.Errorf("store: read an incident: %w", err)
		}
		list = append(list, &i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		err := t.each(`SELECT `+roleColumns+` FROM incident_roles WHERE incident_id = $1 ORDER BY position`, []any{i.ID}, func(scan func(...any) error) error {
			var r incidents.Role
			err := scan(dests(roleFields(&r))...)
			i.Roles = append(i.Roles, r)
			return err
		})
		if err != nil {
			return nil, err
		}
		err = t.each(`SELECT `+clockColumns+` FROM incident_clocks WHERE incident_id = $1 ORDER BY position`, []any{i.ID}, func(scan func(...any) error) error {
			var c incidents.Clock
			err := scan(dests(clockFields(&c))...)
			i.Clocks = append(i.Clocks, c)
			return err
		})
		if err != nil {
			return nil, err
		}
		if i.Drafts, err = updatesWhere(t, `incident_id = $1 AND state = 'draft'`, i.ID); err != nil {
			return nil, err
		}
		public, err := updatesWhere(t, `incident_id = $1 AND audience = 'users' AND state IN ('approved', 'published', 'failed')`, i.ID)
		if err != nil {
			return nil, err
		}
		for n := range public {
			if i.Public == nil || !public[n].Decided.Before(i.Public.Decided) {
				i.Public = &public[n]
			}
		}
	}
	return list, nil
}

func updatesWhere(t *tx, clause string, args ...any) (list []incidents.Update, err error) {
	err = t.each(`SELECT `+updateColumns+` FROM incident_updates WHERE `+clause+` ORDER BY incident_id, number`, args, func(scan func(...any) error) error {
		var u incidents.Update
		err := scan(dests(updateFields(&u))...)
		list = append(list, u)
		return err
	})
	return list, err
}

func (v incidentStore) one(ctx context.Context, clause string, args ...any) (i *incidents.Incident, err error) {
	err = v.s.read(ctx, func(t *tx) (err error) {
		i, err = loadIncident(t, clause, args...)
		return err
	})
	return i, err
}

func (v incidentStore) Find(ctx context.Context, number int64) (*incidents.Incident, error) {
	return v.one(ctx, `WHERE number = $1`, number)
}

func (v incidentStore) Load(ctx context.Context, id string) (*incidents.Incident, error) {
	return v.one(ctx, `WHERE id = $1`, clean(id))
}

func (v incidentStore) At(ctx context.Context, where outbox.Conversation) (*incidents.Incident, error) {
	if where.Channel == "" {
		return nil, incidents.ErrNone
	}
	i, err := v.one(ctx, `WHERE room = $1 AND room <> ''`, clean(where.Channel))
	if err == nil || !errors.Is(err, incidents.ErrNone) || where.Thread == "" {
		return i, err
	}
	// As incidents.HeadlinePrefix has it, and the index; what follows the id is of
	// a former place.
	return v.one(ctx, `WHERE id IN (SELECT substr(target_key, 10, 36) FROM messages
		WHERE channel = $1 AND ts = $2 AND substr(target_key, 1, 9) = 'incident/')`, clean(where.Channel), clean(where.Thread))
}

func (v incidentStore) Place(ctx context.Context, key string) (where outbox.Conversation, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		_, err := t.one(`SELECT channel, ts FROM messages WHERE target_key = $1`, []any{clean(key)}, &where.Channel, &where.Thread)
		return err
	})
	return where, err
}

// activeStates are those with State.Active.
const activeStates = `('declared', 'assessing', 'triaging', 'fixing', 'monitoring')`

func (v incidentStore) List(ctx context.Context, q incidents.Query) (list []*incidents.Incident, err error) {
	clause := `WHERE ($2 = 0 OR number < $2)`
	switch {
	case q.Active:
		clause += ` AND state IN ` + activeStates
	case q.Open:
		clause += ` AND state NOT IN ('closed', 'canceled', 'merged')`
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 20
	}
	err = v.s.read(ctx, func(t *tx) (err error) {
		list, err = loadIncidents(t, clause+` ORDER BY number DESC LIMIT $1`, min(limit, 200), q.Below)
		return err
	})
	return list, err
}

func (v incidentStore) Events(ctx context.Context, id string) (list []incidents.Event, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		list = nil
		return t.each(`SELECT `+eventColumns+` FROM incident_events WHERE incident_id = $1 ORDER BY seq`, []any{clean(id)}, func(scan func(...any) error) error {
			var e incidents.Event
			err := scan(dests(eventFields(&e))...)
			list = append(list, e)
			return err
		})
	})
	return list, err
}

func (v incidentStore) Sources(ctx context.Context, m incidents.Message) (list []incidents.Source, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		list = nil
		type place struct {
			id  string
			seq int64
		}
		at := map[place]int{}
		return t.each(`SELECT e.incident_id, `+qualified("e", eventColumns)+` FROM incident_sources s
			JOIN incident_events e ON e.incident_id = s.incident_id AND e.seq = s.seq
			WHERE s.channel = $1 AND s.ts = $2 ORDER BY e.incident_id, e.seq`, []any{clean(m.Channel), clean(m.TS)}, func(scan func(...any) error) error {
			var id string
			var e incidents.Event
			if err := scan(append([]any{&id}, dests(eventFields(&e))...)...); err != nil {
				return err
			}
			if e.Of == 0 {
				at[place{id, e.Seq}] = len(list)
				by := e.Data["by"]
				if by == "" {
					by = e.Actor.ID
				}
				list = append(list, incidents.Source{Incident: id, Seq: e.Seq, Kind: e.Kind, Text: e.Text, By: by})
				return nil
			}
			n, ok := at[place{id, e.Of}]
			switch {
			case !ok:
			case e.Kind == incidents.KindEdit:
				list[n].Text = e.Text
			case e.Kind == incidents.KindDeletion:
				list[n].Deleted = true
			default:
				list[n].Hidden = true
			}
			return nil
		})
	})
	return list, err
}

// qualified writes columns with the table's alias.
func qualified(alias, columns string) string {
	return alias + "." + strings.ReplaceAll(columns, ", ", ", "+alias+".")
}

func (v incidentStore) Updates(ctx context.Context, id string) (list []incidents.Update, err error) {
	err = v.s.read(ctx, func(t *tx) (err error) {
		list, err = updatesWhere(t, `incident_id = $1`, clean(id))
		return err
	})
	return list, err
}

func (v incidentStore) Due(ctx context.Context, limit int) (ids []string, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		ids = nil
		return t.each(`SELECT incident_id FROM incident_clocks WHERE wake_at > 0 AND wake_at <= {now}
			GROUP BY incident_id ORDER BY MIN(wake_at) LIMIT $1`, []any{limit}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	return ids, err
}

func (v incidentStore) Record(ctx context.Context, entries ...incidents.AuditEntry) error {
	audit := make([]engine.AuditEntry, len(entries))
	for n, a := range entries {
		audit[n] = engine.AuditEntry{Actor: a.Actor, Act: a.Act, Outcome: a.Outcome, Detail: a.Detail}
	}
	return v.s.Audit().Append(ctx, audit...)
}
