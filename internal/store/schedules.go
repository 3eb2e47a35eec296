package store

import (
	"context"
	"errors"
	"time"

	"opsbot/runbooks/engine"
)

// schedules is the store of schedules as the engine sees it.
type schedules struct{ s *Store }

// Schedules returns the store of schedules.
func (s *Store) Schedules() engine.ScheduleStore { return schedules{s} }

func (v schedules) Plan(ctx context.Context, wanted []engine.Appointment) error {
	return v.s.write(ctx, func(t *tx) error {
		keep := make(map[string]bool, len(wanted))
		for _, a := range wanted {
			keep[a.Schedule] = true
			_, err := t.exec(`INSERT INTO schedules (id, runbook, next_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`,
				clean(a.Schedule), clean(a.Runbook), millis(a.Next))
			if err != nil {
				return err
			}
		}
		var gone []string
		err := t.each(`SELECT id FROM schedules ORDER BY id`, nil, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			if !keep[id] {
				gone = append(gone, id)
			}
			return err
		})
		for _, id := range gone {
			if err == nil {
				_, err = t.exec(`DELETE FROM schedules WHERE id = $1`, id)
			}
		}
		return err
	})
}

func (v schedules) Due(ctx context.Context, now time.Time) ([]engine.Appointment, error) {
	return v.appointments(ctx, `WHERE next_at > 0 AND next_at <= $1 ORDER BY next_at, id`, millis(now))
}

func (v schedules) List(ctx context.Context) ([]engine.Appointment, error) {
	return v.appointments(ctx, `ORDER BY next_at, id`)
}

func (v schedules) appointments(ctx context.Context, clause string, args ...any) (list []engine.Appointment, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		list = nil
		return t.each(`SELECT id, runbook, next_at FROM schedules `+clause, args, func(scan func(...any) error) error {
			var a engine.Appointment
			err := scan(&a.Schedule, &a.Runbook, instant(&a.Next))
			list = append(list, a)
			return err
		})
	})
	return list, err
}

// errFired ends a transaction whose firing is on record already, after a commit.
var errFired = errors.New("store: fired already")

func (v schedules) Fire(ctx context.Context, f engine.Fire) (*engine.Run, error) {
	var out *engine.Run
	var known bool
	err := v.s.write(ctx, func(t *tx) error {
		out, known = nil, false
		n, err := t.exec(`UPDATE schedules SET next_at = $3 WHERE id = $1 AND next_at = $2`, clean(f.Firing.Schedule), millis(f.Due), millis(f.Next))
		if err != nil {
			return err
		}
		if n == 0 {
			return errFired
		}
		var run engine.Run
		if f.Run != nil {
			run = *f.Run
		}
		n, err = t.exec(`INSERT INTO firings (schedule_id, fire_at, fired_at, runbook, environment, run_id, outcome)
			VALUES ($1, $2, {now}, $3, $4, $5, $6) ON CONFLICT (schedule_id, fire_at) DO NOTHING`,
			clean(f.Firing.Schedule), millis(f.Firing.At), clean(f.Firing.Runbook), clean(f.Firing.Environment), run.ID, clean(f.Firing.Outcome))
		if err != nil {
			return err
		}
		if n == 0 { // the schedule was gone in between; its times go on
			known = true
			return nil
		}
		if f.Run == nil {
			return commitChange(t, &run, f.Change)
		}
		there, err := v.s.create(t, &run)
		if err != nil {
			return err
		}
		if there != "" {
			known = true
			return nil
		}
		if err := commitChange(t, &run, f.Change); err != nil {
			return err
		}
		out, _, err = v.s.load(t, run.ID, "")
		return err
	})
	if known || errors.Is(err, errFired) {
		return nil, engine.ErrFired
	}
	return out, err
}

func (v schedules) Firings(ctx context.Context, limit int) (list []engine.Firing, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		list = nil
		return t.each(`SELECT f.schedule_id, f.fire_at, f.fired_at, f.runbook, f.environment, f.run_id, f.outcome,
				COALESCE(r.number, 0), COALESCE(r.state, ''), COALESCE(r.verdict, '')
			FROM firings f LEFT JOIN runs r ON r.id = f.run_id ORDER BY f.fired_at DESC, f.fire_at DESC, f.schedule_id LIMIT $1`, []any{limit}, firing(&list))
	})
	return list, err
}

func (v schedules) Last(ctx context.Context) (list []engine.Firing, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		list = nil
		return t.each(`SELECT f.schedule_id, f.fire_at, f.fired_at, f.runbook, f.environment, f.run_id, f.outcome,
				COALESCE(r.number, 0), COALESCE(r.state, ''), COALESCE(r.verdict, '')
			FROM schedules s JOIN firings f ON f.schedule_id = s.id
				AND f.fire_at = (SELECT MAX(fire_at) FROM firings WHERE schedule_id = s.id)
			LEFT JOIN runs r ON r.id = f.run_id ORDER BY f.schedule_id`, nil, firing(&list))
	})
	return list, err
}

func firing(list *[]engine.Firing) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var f engine.Firing
		err := scan(&f.Schedule, instant(&f.At), instant(&f.Fired), &f.Runbook, &f.Environment, &f.Run, &f.Outcome, &f.Number, &f.State, &f.Verdict)
		*list = append(*list, f)
		return err
	}
}
