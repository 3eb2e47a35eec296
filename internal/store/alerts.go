package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"opsbot/incidents"
	"opsbot/internal/alert"
	"opsbot/internal/outbox"
)

// alerts is the board of alerts.
type alerts struct{ s *Store }

// Alerts returns the board of alerts.
func (s *Store) Alerts() alert.Board { return alerts{s} }

func (v alerts) Tell(ctx context.Context, r alert.Report) (queued bool, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return false, fmt.Errorf("store: encode a report of alerts: %w", err)
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	err = v.s.write(ctx, func(t *tx) error {
		queued = false
		_, err := t.exec(`INSERT INTO alerts (group_id, episode, firing, digest, onsets, changed_at)
			VALUES ($1, 0, FALSE, '', '', {now}) ON CONFLICT (group_id) DO NOTHING`, clean(r.Group))
		if err != nil {
			return err
		}
		var episode, fired int64
		var firing bool
		var said string
		var over []string
		// Locked, so that of two replicas with the same report one sees what the other did.
		_, err = t.one(`SELECT episode, firing, digest, onsets, fired_at FROM alerts WHERE group_id = $1 {lock}`, []any{clean(r.Group)},
			&episode, flag(&firing), &said, document(&over), &fired)
		if err != nil {
			return err
		}
		switch {
		case r.Firing && !firing:
			if late(r.Onsets, over) {
				return nil
			}
			episode++
			if fired, err = t.now(); err != nil {
				return err
			}
		case !r.Firing && !firing, digest == said:
			return nil
		}
		var ended []string
		if !r.Firing {
			for _, o := range r.Onsets {
				ended = append(ended, o.ID)
			}
		}
		onsets, err := document(&ended).value()
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE alerts SET episode = $2, firing = $3, digest = $4, onsets = $5, report = $6, fired_at = $7, changed_at = {now} WHERE group_id = $1`,
			clean(r.Group), episode, r.Firing, digest, onsets, clean(string(data)), fired)
		if err != nil {
			return err
		}
		h, err := hear(t, r.Group, "")
		if err != nil {
			return err
		}
		if err := h.tell(t, r); err != nil {
			return err
		}
		queued = true
		return enqueue(t, []outbox.Notice{h.card(r, episode)})
	})
	return queued && err == nil, err
}

// late reports whether all alerts were reported resolved before.
func late(onsets []alert.Onset, over []string) bool {
	return len(over) > 0 && !slices.ContainsFunc(onsets, func(o alert.Onset) bool { return !slices.Contains(over, o.ID) })
}

// hearers are the incidents that a group of alerts may concern, locked.
type hearers struct {
	owner string // id of the one that the group belongs to; "": none
	only  string // id of the only one that is going on, without exercises; "": none, or several
	by    map[string]*hearer
}

// A hearer is an incident with what of alerts is on its timeline.
type hearer struct {
	*incidents.Incident
	group        string
	own          bool
	began, ended []string // onsets of this group
	entries      int64
	known, past  []string // onsets of all groups, as an alert may be in several
}

// hear locks the incidents that a group may concern, and the one with the id.
// The group is locked already, so incidents always come after groups.
func hear(t *tx, group, id string) (*hearers, error) {
	h := &hearers{by: map[string]*hearer{}}
	ids := map[string]bool{}
	if id != "" {
		ids[id] = true
	}
	var owners []string
	err := t.each(`SELECT a.incident_id, a.own FROM incident_alerts a JOIN incidents i ON i.id = a.incident_id
		WHERE a.group_id = $1 ORDER BY i.number DESC LIMIT 20`, []any{clean(group)}, func(scan func(...any) error) error {
		var id string
		var own bool
		err := scan(&id, flag(&own))
		if own {
			owners = append(owners, id)
		}
		ids[id] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	if h.owner, err = ownerAmong(t, owners); err != nil {
		return nil, err
	}
	var active []string
	err = t.each(`SELECT id FROM incidents WHERE state IN `+activeStates+` AND NOT drill ORDER BY number LIMIT 2`, nil, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		active = append(active, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(active) == 1 {
		h.only = active[0]
	}
	for _, id := range []string{h.owner, h.only} {
		if id != "" {
			ids[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		one, err := hearerOf(t, group, id)
		if err != nil {
			return nil, err
		}
		h.by[id] = one
	}
	// What was looked at before the lock may have changed meanwhile.
	if i := h.by[h.only]; i != nil && !i.State.Active() {
		h.only = ""
	}
	if i := h.by[h.owner]; i != nil && i.State.Over() {
		h.owner = ""
	}
	return h, nil
}

// hearerOf locks and loads an incident, or returns incidents.ErrNone.
func hearerOf(t *tx, group, id string) (*hearer, error) {
	var there int64
	found, err := t.one(`SELECT 1 FROM incidents WHERE id = $1 {lock}`, []any{clean(id)}, &there)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, incidents.ErrNone
	}
	out := &hearer{group: group}
	if out.Incident, err = loadIncident(t, `WHERE id = $1`, clean(id)); err != nil {
		return nil, err
	}
	err = t.each(`SELECT group_id, own, began, ended, entries FROM incident_alerts WHERE incident_id = $1`, []any{clean(id)}, func(scan func(...any) error) error {
		var of string
		var own bool
		var began, ended []string
		var entries int64
		if err := scan(&of, flag(&own), document(&began), document(&ended), &entries); err != nil {
			return err
		}
		out.known, out.past = append(out.known, began...), append(out.past, ended...)
		if of == group {
			out.own, out.began, out.ended, out.entries = own, began, ended, entries
		}
		return nil
	})
	return out, err
}

// ownerAmong is the first of the incidents that is not over; one that was merged
// stands for the one that goes on.
func ownerAmong(t *tx, ids []string) (string, error) {
	for _, id := range ids {
		var state incidents.State
		var into int64
		found, err := t.one(`SELECT state, into_number FROM incidents WHERE id = $1`, []any{id}, text(&state), &into)
		for hops := 0; err == nil && found && state == incidents.Merged && hops < 10; hops++ {
			found, err = t.one(`SELECT id, state, into_number FROM incidents WHERE number = $1`, []any{into}, &id, text(&state), &into)
		}
		if err != nil {
			return "", err
		}
		if found && !state.Over() {
			return id, nil
		}
	}
	return "", nil
}

// tell puts what is new in a report on the timelines that it belongs to.
func (h *hearers) tell(t *tx, r alert.Report) error {
	// A group that belongs to an incident whose work has ended begins something new.
	begins, ends := h.only, h.only
	if i := h.by[h.owner]; i != nil {
		ends = h.owner
		if i.State.Active() || i.State == incidents.Resolved {
			begins = h.owner
		}
	}
	type news struct{ began, ended []alert.Onset }
	plan := map[string]*news{}
	of := func(id string) *news {
		if plan[id] == nil {
			plan[id] = &news{}
		}
		return plan[id]
	}
	for _, o := range r.Onsets {
		heard := false // on a timeline already
		for id, i := range h.by {
			switch {
			case o.Ends.IsZero():
				heard = heard || slices.Contains(i.known, o.ID)
			case slices.Contains(i.past, o.ID):
				heard = true
			case slices.Contains(i.known, o.ID) && !i.State.Over():
				heard = true
				of(id).ended = append(of(id).ended, o)
			}
		}
		switch {
		case heard:
		case o.Ends.IsZero() && begins != "":
			of(begins).began = append(of(begins).began, o)
		case !o.Ends.IsZero() && ends != "":
			of(ends).ended = append(of(ends).ended, o)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(plan)) {
		i, p := h.by[id], plan[id]
		if i.entries >= incidents.MaxAlertEntries {
			continue
		}
		a := i.news(r, p.began, p.ended)
		a.Own = id == h.owner
		now, err := t.now()
		if err != nil {
			return err
		}
		if err := i.save(t, i.Heed(a, moment(now)), p.began, p.ended); err != nil {
			return err
		}
	}
	return nil
}

// news is what is told of a group.
func (i *hearer) news(r alert.Report, began, ended []alert.Onset) incidents.Alerted {
	plain := func(list []alert.Onset) (out []incidents.Onset) {
		for _, o := range list {
			out = append(out, incidents.Onset{Labels: o.Labels, Starts: o.Starts, Ends: o.Ends})
		}
		return out
	}
	entries := int64(min(1, len(began)) + min(1, len(ended)))
	return incidents.Alerted{Group: r.Group, Name: r.Card.Title, Text: r.Card.Text, Began: plain(began), Ended: plain(ended), Over: !r.Firing,
		Last: i.entries+entries >= incidents.MaxAlertEntries}
}

// save commits a change to an incident together with the onsets that it tells of.
func (i *hearer) save(t *tx, c incidents.Change, began, ended []alert.Onset) error {
	for _, o := range began {
		i.began = append(i.began, o.ID)
	}
	for _, o := range ended {
		i.ended = append(i.ended, o.ID)
	}
	i.entries += int64(len(c.Events))
	args, err := row([]field{document(&i.began), document(&i.ended)})
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO incident_alerts (incident_id, group_id, own, began, ended, entries) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (incident_id, group_id) DO UPDATE SET own = excluded.own, began = excluded.began, ended = excluded.ended, entries = excluded.entries`,
		i.ID, clean(i.group), i.own, args[0], args[1], i.entries)
	if err != nil {
		return err
	}
	if err := saveIncident(t, i.Incident); err != nil {
		return err
	}
	return commitIncidents(t, []*incidents.Incident{i.Incident}, []incidents.Change{c})
}

// card is the group's card, with what is known of incidents.
func (h *hearers) card(r alert.Report, episode int64) outbox.Notice {
	c := r.Card
	c.Group = r.Group
	if i := h.by[h.owner]; i != nil {
		c.Incident = i.Ref()
	}
	for _, id := range slices.Sorted(maps.Keys(h.by)) {
		i := h.by[id]
		if c.Incident == "" && c.Noted == "" && slices.ContainsFunc(r.Onsets, func(o alert.Onset) bool { return slices.Contains(i.began, o.ID) || slices.Contains(i.ended, o.ID) }) {
			c.Noted = i.Ref()
		}
	}
	return outbox.Notice{Key: fmt.Sprintf("alert/%s/%d", r.Group, episode), Content: c}
}

// reported reads the newest report of a group, or returns incidents.ErrNoAlert.
func reported(t *tx, group, lock string) (r alert.Report, episode int64, fired time.Time, err error) {
	found, err := t.one(`SELECT episode, report, fired_at FROM alerts WHERE group_id = $1 AND report <> '' `+lock, []any{clean(group)},
		&episode, document(&r), instant(&fired))
	if err == nil && !found {
		err = incidents.ErrNoAlert
	}
	return r, episode, fired, err
}

func (v incidentStore) Alert(ctx context.Context, group string) (out incidents.AlertGroup, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		r, episode, fired, err := reported(t, group, "")
		if err != nil {
			return err
		}
		out = incidents.AlertGroup{ID: r.Group, Episode: episode, Name: r.Card.Title, Text: r.Card.Text, Firing: r.Firing, Since: r.Card.Since, Reported: fired}
		var owners []string
		err = t.each(`SELECT a.incident_id FROM incident_alerts a JOIN incidents i ON i.id = a.incident_id
			WHERE a.group_id = $1 AND a.own ORDER BY i.number DESC LIMIT 20`, []any{clean(group)}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			owners = append(owners, id)
			return err
		})
		if err != nil {
			return err
		}
		owner, err := ownerAmong(t, owners)
		if err != nil || owner == "" {
			return err
		}
		_, err = t.one(`SELECT number FROM incidents WHERE id = $1`, []any{owner}, &out.Incident)
		return err
	})
	return out, err
}

func (v incidentStore) Adopt(ctx context.Context, id, group string, fn func(*incidents.Incident, incidents.Alerted, time.Time) (incidents.Change, error)) (out *incidents.Incident, err error) {
	err = v.s.write(ctx, func(t *tx) error {
		r, episode, _, err := reported(t, group, "{lock}")
		if err != nil {
			return err
		}
		h, err := hear(t, group, id)
		if err != nil {
			return err
		}
		i := h.by[id]
		out = i.Incident
		if i.own {
			return errDoneBefore
		}
		var began, ended []alert.Onset
		for _, o := range r.Onsets {
			if !slices.Contains(i.known, o.ID) {
				began = append(began, o)
			}
			if !o.Ends.IsZero() && !slices.Contains(i.past, o.ID) {
				ended = append(ended, o)
			}
		}
		now, err := t.now()
		if err != nil {
			return err
		}
		a := i.news(r, began, ended)
		a.Own = true
		if other := h.by[h.owner]; other != nil {
			a.Other = other.Ref()
		}
		c, err := fn(i.Incident, a, moment(now))
		if err != nil {
			return err
		}
		i.own, h.owner = true, id
		if err := i.save(t, c, began, ended); err != nil {
			return err
		}
		return enqueue(t, []outbox.Notice{h.card(r, episode)})
	})
	if err != nil && !errors.Is(err, errDoneBefore) {
		return nil, err
	}
	return out, nil
}
