package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type createIndex struct{}

// IndexArgs are the arguments of postgres.create_index and postgres.drop_index.
type IndexArgs struct {
	Index string `arg:"index" required:"true" help:"of the connection's configuration"`
}

// An IndexBuilt is the result of postgres.create_index.
type IndexBuilt struct {
	Name    string        `json:"name" help:"with its schema"`
	Table   string        `json:"table" help:"with its schema"`
	Created bool          `json:"created" help:"false: it was there, valid and the same"`
	Cleaned bool          `json:"cleaned" help:"an invalid leftover of a former attempt was removed"`
	Valid   bool          `json:"valid"`
	Def     string        `json:"def" help:"its definition, as the server has it"`
	Took    time.Duration `json:"took"`
	Bytes   int           `json:"bytes" help:"its size"`
}

// Found says the result in one line.
func (r IndexBuilt) Found() string {
	if !r.Created {
		return r.Name + " was there already, valid and as configured"
	}
	text := "built " + r.Name + ", " + size(r.Bytes) + ", in " + age(r.Took)
	if r.Cleaned {
		text += ", after removing an invalid leftover"
	}
	return text
}

func (createIndex) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.create_index",
		Summary: "Build a configured index without blocking writes.",
		Effect:  runbooks.Change,
		Timeout: 30 * time.Minute,
		Args:    IndexArgs{},
		Result:  IndexBuilt{},
	}
}

// indexOf returns what a call is aimed at.
func indexOf(call runbooks.Call) (*Conn, Index, error) {
	c, args, err := aimed[IndexArgs](call)
	if err != nil {
		return nil, Index{}, err
	}
	i, err := lookUp(c, "index", c.config.Indexes, args.Index)
	return c, i, err
}

// Preview says what would be built, and what it would have to wait for.
func (createIndex) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, i, err := indexOf(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	p := runbooks.Preview{Effect: runbooks.Change}
	if p.Identity, err = c.Identity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	err = c.maintain(ctx, "look at an index of", func(conn *pgx.Conn) error {
		s, err := i.inspect(ctx, conn)
		if err != nil {
			return err
		}
		p.Live = []runbooks.Live{{Name: "index " + i.fullName(), Text: s.word(), Tolerance: runbooks.Exact}}
		switch {
		case s.there && !s.same:
			return i.other(s)
		case s.there && s.valid:
			p.Impact = append(p.Impact, i.fullName()+" is there already, valid and as configured: nothing is built")
			return nil
		case s.there:
			p.Impact = append(p.Impact, "removes "+i.fullName()+" first: a former attempt left it invalid")
		}
		p.Impact = append(p.Impact, fmt.Sprintf("builds %s on %s (%s, about %s) without blocking writes: %s",
			i.fullName(), i.Table, size(s.table), things(int(s.rows), "row"), essence(s.wanted)))
		p.Impact = append(p.Impact, "needs room on the disk for the index, and for its sorting as much again")
		h, there, err := oldest(ctx, conn)
		if there && h.age > time.Second {
			p.Impact = append(p.Impact, "waits for "+h.String())
		}
		return err
	})
	return p, err
}

// Run builds the index, and leaves none behind that is not valid.
func (createIndex) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, i, err := indexOf(call)
	if err != nil {
		return nil, err
	}
	r := IndexBuilt{Name: i.fullName(), Table: i.Table}
	err = c.maintain(ctx, "build an index of", func(conn *pgx.Conn) error {
		s, err := i.inspect(ctx, conn)
		switch {
		case err != nil:
			return err
		case s.there && !s.same:
			return i.other(s)
		case s.there && s.valid:
			r.Valid, r.Def, r.Bytes = true, s.def, s.bytes
			return nil
		}
		if err := c.unhindered(ctx, conn, "Building "+i.fullName()); err != nil {
			return err
		}
		if s.there {
			fmt.Fprintln(out, "removes an invalid leftover")
			if err := run(ctx, conn, "DROP INDEX CONCURRENTLY "+i.quoted()); err != nil {
				return err
			}
			r.Cleaned = true
		}
		start := time.Now()
		f := c.follow(ctx, conn.PgConn().PID(), out)
		err = run(ctx, conn, i.create("CONCURRENTLY ", i.quotedTable()))
		f.stop()
		r.Took = time.Since(start)
		if err != nil {
			err = c.blocked(err, f.blocker)
			if e := c.dropInvalid(ctx, i.quoted()); e != nil {
				return c.leftover(i.fullName(), err, e)
			}
			fmt.Fprintln(out, "the unfinished index was removed again")
			return err
		}
		if s, err = i.inspect(ctx, conn); err != nil {
			return err
		}
		r.Created, r.Valid, r.Def, r.Bytes = true, s.valid, s.def, s.bytes
		if !s.valid || !s.same {
			if e := c.dropInvalid(ctx, i.quoted()); e != nil {
				return c.leftover(i.fullName(), fault.New(fault.Conflict, "%s was built and is not valid.", i.fullName()), e)
			}
			return fault.New(fault.Conflict, "%s was built and is not as configured.", i.fullName()).Hinted("It is: %s", clip(s.def, 200))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// leftover is the error of a build whose remains could not be removed.
func (c *Conn) leftover(name string, why, because error) error {
	return fault.New(fault.Conflict, "%s The invalid index %s is still there.", fault.Say(c.explain("build an index of", why)), name).
		Hinted("It slows writes down and helps no query. Run the step again: it is removed first.").Because(because)
}
