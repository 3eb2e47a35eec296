package postgres

import (
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type checkpoint struct{}

// A Checkpointed is the result of postgres.checkpoint.
type Checkpointed struct {
	Took time.Duration `json:"took"`
}

// Found says the result in one line.
func (r Checkpointed) Found() string { return "everything is on disk, after " + age(r.Took) }

func (checkpoint) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.checkpoint",
		Summary: "Write everything to disk, so that a restart is quick.",
		Timeout: 5 * time.Minute,
		Result:  Checkpointed{},
	}
}

func (checkpoint) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	var r Checkpointed
	err = c.maintain(ctx, "checkpoint", func(conn *pgx.Conn) error {
		start := time.Now()
		err := run(ctx, conn, "CHECKPOINT")
		r.Took = time.Since(start)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}
