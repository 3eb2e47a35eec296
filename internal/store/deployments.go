package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"opsbot/internal/access"
	"opsbot/internal/deployment"
	"opsbot/internal/fault"
	"opsbot/runbooks/engine"
)

// deployments is the book of deployments.
type deployments struct{ s *Store }

// Deployments returns the book of deployments.
func (s *Store) Deployments() deployment.Book { return deployments{s} }

const deploymentSelect = `SELECT d.number, d.environment, d.service, d.image, d.image_id, d.digest, d.config_hash, d.migration_head,
	d.note, d.recorded_at, d.run_id, d.step, r.number, r.runbook, r.starter FROM deployments d JOIN runs r ON r.id = d.run_id `

func (v deployments) Record(ctx context.Context, d deployment.Deployment) (*deployment.Deployment, error) {
	var out *deployment.Deployment
	err := v.s.write(ctx, func(t *tx) error {
		out = &d
		var starter access.Actor
		var dry bool
		found, err := t.one(`SELECT number, runbook, environment, starter, dry_run FROM runs WHERE id = $1`, []any{clean(d.Run)},
			&d.RunNumber, &d.Runbook, &d.Environment, document(&starter), flag(&dry))
		switch {
		case err != nil:
			return err
		case !found:
			return engine.ErrNoRun
		case dry:
			return nil
		}
		// The counter's row lock orders the writers, so that nobody else can be
		// between looking for the step and adding to it.
		var number int64
		if _, err := t.one(`UPDATE counters SET value = value + 1 WHERE name = 'deployment' RETURNING value`, nil, &number); err != nil {
			return err
		}
		list, err := deploymentsWhere(t, `WHERE d.run_id = $1 AND d.step = $2 AND d.service = $3`, clean(d.Run), clean(d.Step), clean(d.Service))
		if err != nil {
			return err
		}
		if len(list) > 0 {
			out = &list[0]
			return errThere // rolls back what the counter gave
		}
		_, err = t.exec(`INSERT INTO deployments (number, environment, service, image, image_id, digest, config_hash, migration_head, note, recorded_at, run_id, step)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {now}, $10, $11)`, number, clean(d.Environment), clean(d.Service), clean(d.Image),
			clean(d.ImageID), clean(d.Digest), clean(d.ConfigHash), clean(d.MigrationHead), clean(d.Note), clean(d.Run), clean(d.Step))
		if err != nil {
			return err
		}
		if list, err = deploymentsWhere(t, `WHERE d.number = $1`, number); err != nil {
			return err
		}
		if len(list) != 1 {
			return fmt.Errorf("store: deployment %d cannot be read back", number)
		}
		out = &list[0]
		return appendAudit(t, []engine.AuditEntry{{Actor: starter, Act: "deploy", Run: d.Run, Step: d.Step, Digest: d.ImageID, Outcome: "recorded",
			Detail: fmt.Sprintf("D%d: %s on %s", number, d.Service, d.Environment)}})
	})
	if err != nil && !errors.Is(err, errThere) {
		return nil, err
	}
	return out, nil
}

func (v deployments) Last(ctx context.Context, run, service string) (last, before *deployment.Deployment, err error) {
	err = v.s.read(ctx, func(t *tx) error {
		last, before = nil, nil
		var env string
		found, err := t.one(`SELECT environment FROM runs WHERE id = $1`, []any{clean(run)}, &env)
		if err == nil && !found {
			err = engine.ErrNoRun
		}
		if err != nil {
			return err
		}
		list, err := deploymentsWhere(t, `WHERE d.environment = $1 AND d.service = $2 ORDER BY d.number DESC LIMIT 1`, env, clean(service))
		if err != nil || len(list) == 0 {
			return err
		}
		last = &list[0]
		list, err = deploymentsWhere(t, `WHERE d.environment = $1 AND d.service = $2 AND d.image_id <> $3 ORDER BY d.number DESC LIMIT 1`,
			env, clean(service), last.ImageID)
		if err == nil && len(list) > 0 {
			before = &list[0]
		}
		return err
	})
	return last, before, err
}

func (v deployments) List(ctx context.Context, q deployment.Query) (list []deployment.Deployment, err error) {
	var where []string
	var args []any
	by := func(column, value string) {
		if value != "" {
			args = append(args, clean(value))
			where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	by("d.environment", q.Environment)
	by("d.service", q.Service)
	clause := ""
	if len(where) > 0 {
		clause = "WHERE " + strings.Join(where, " AND ")
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 20
	}
	args = append(args, min(limit, 200))
	err = v.s.read(ctx, func(t *tx) (err error) {
		list, err = deploymentsWhere(t, clause+fmt.Sprintf(" ORDER BY d.number DESC LIMIT $%d", len(args)), args...)
		return err
	})
	return list, err
}

var deploymentNumber = regexp.MustCompile(`^[Dd]?([1-9][0-9]{0,17})$`)

func (v deployments) Find(ctx context.Context, ref string) (*deployment.Deployment, error) {
	var list []deployment.Deployment
	if m := deploymentNumber.FindStringSubmatch(ref); m != nil {
		err := v.s.read(ctx, func(t *tx) (err error) {
			list, err = deploymentsWhere(t, `WHERE d.number = CAST($1 AS BIGINT)`, m[1])
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "There is no deployment %q.", ref).Hinted("opsbot deployments list shows them: they are called D and a number, such as D7.")
	}
	return &list[0], nil
}

func deploymentsWhere(t *tx, clause string, args ...any) (list []deployment.Deployment, err error) {
	err = t.each(deploymentSelect+clause, args, func(scan func(...any) error) error {
		var d deployment.Deployment
		err := scan(&d.Number, &d.Environment, &d.Service, &d.Image, &d.ImageID, &d.Digest, &d.ConfigHash, &d.MigrationHead,
			&d.Note, instant(&d.At), &d.Run, &d.Step, &d.RunNumber, &d.Runbook, document(&d.By))
		list = append(list, d)
		return err
	})
	return list, err
}
