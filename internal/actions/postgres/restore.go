package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type restore struct{}

// RestoreArgs are the arguments of postgres.restore.
type RestoreArgs struct {
	Backup string `arg:"backup" required:"true" help:"path of a dump below the connection's backups; .sql or .sql.gz"`
	SHA256 string `arg:"sha256" pattern:"^([0-9a-f]{64})?$" help:"what the file must be, of file.verify_dump"`
}

// A TableRows compares one table of a dump with the same of a database.
type TableRows struct {
	Name     string `json:"name" help:"with its schema"`
	Dump     int    `json:"dump" help:"rows in the dump"`
	Restored int    `json:"restored" help:"rows in the database"`
}

// A Restored is the result of postgres.restore.
type Restored struct {
	Database string        `json:"database" help:"the new database, for postgres.verify and postgres.swap"`
	Backup   string        `json:"backup" help:"the file"`
	SHA256   string        `json:"sha256" help:"of the file that was read"`
	Bytes    int           `json:"bytes" help:"of SQL"`
	Rows     int           `json:"rows" help:"in all tables"`
	Tables   []TableRows   `json:"tables"`
	Took     time.Duration `json:"took"`
}

// Found says the result in one line.
func (r Restored) Found() string {
	return fmt.Sprintf("restored %s in %s into %s, in %s", things(r.Rows, "row"), things(len(r.Tables), "table"), r.Database, age(r.Took))
}

func (restore) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.restore",
		Summary: "Restore a dump into a new database beside the old one.",
		Effect:  runbooks.Destructive,
		Timeout: 30 * time.Minute,
		Args:    RestoreArgs{},
		Result:  Restored{},
	}
}

// scanWithin bounds how long a preview reads a dump.
const scanWithin = time.Minute

// Preview says what would be restored, how old it is, and where.
func (restore) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, args, err := aimed[RestoreArgs](call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	b, err := c.openBackup(args.Backup)
	if err != nil {
		return runbooks.Preview{}, err
	}
	defer b.Close()
	p := runbooks.Preview{Effect: runbooks.Destructive}
	if p.Identity, err = c.restoreIdentity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	old := time.Since(b.info.ModTime())
	p.Impact = []string{
		fmt.Sprintf("restores %s (%s) into a new database beside %s, which goes on untouched", b.path, size(int(b.info.Size())), c.database),
		fmt.Sprintf("the backup is of %s, %s ago: a swap would lose what was written since", b.info.ModTime().UTC().Format("2006-01-02 15:04 MST"), age(old)),
	}
	p.Live = []runbooks.Live{{Name: "backup", Text: fmt.Sprintf("%s %d %s", b.path, b.info.Size(), b.info.ModTime().UTC().Format(time.RFC3339Nano)), Tolerance: runbooks.Exact}}
	short, cancel := context.WithTimeout(ctx, scanWithin)
	defer cancel()
	d, err := b.scan(short)
	switch {
	case short.Err() != nil && ctx.Err() == nil:
		p.Impact = append(p.Impact, "it is too large to be read before the click; it is read before anything is created")
		return p, nil
	case err != nil:
		return runbooks.Preview{}, err
	}
	if err := d.is(b, args.SHA256); err != nil {
		return runbooks.Preview{}, err
	}
	p.Impact = append(p.Impact, fmt.Sprintf("it has %s in %s, and takes %s or more on the disk", things(d.rows(), "row"), things(len(d.tables), "table"), size(int(d.bytes))))
	if err := c.restoring(ctx, frontDesk, "look at", func(desk *pgx.Conn) error {
		_, err := c.restorer(ctx, desk, d)
		return err
	}); err != nil {
		return runbooks.Preview{}, err
	}
	return p, nil
}

// restoreIdentity asks for the server by the role that restores: the database
// itself may be gone.
func (c *Conn) restoreIdentity(ctx context.Context) (id string, err error) {
	err = c.restoring(ctx, frontDesk, "reach", func(desk *pgx.Conn) error {
		return desk.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&id)
	})
	return id + "/" + c.database, err
}

// is compares the file with the digest of an earlier step.
func (d *dump) is(b *backup, sha256 string) error {
	if sha256 == "" || sha256 == d.sha256 {
		return nil
	}
	return fault.New(fault.Conflict, "The backup %s is not the file that was verified: its SHA-256 is another.", b.path).Hinted("Verify it again.")
}

// restorer returns as whom psql runs: as a superuser only where the dump has an
// extension that nobody else may create.
func (c *Conn) restorer(ctx context.Context, desk *pgx.Conn, d *dump) (Role, error) {
	reserved, err := texts(ctx, desk, `SELECT name FROM pg_available_extension_versions v WHERE name = ANY ($1) GROUP BY name HAVING bool_and(superuser AND NOT trusted) ORDER BY 1`, d.extensions)
	if err != nil {
		return Role{}, err
	}
	// plpgsql is in every new database already.
	reserved = slices.DeleteFunc(reserved, func(name string) bool { return name == "plpgsql" })
	switch {
	case len(reserved) == 0:
		return c.config.Restore, nil
	case c.config.Reserve.User == "":
		return Role{}, fault.New(fault.Forbidden, "The dump has extensions that only a superuser may create: %s.", strings.Join(reserved, ", ")).
			Hinted("Set reserve_user on the connection.")
	}
	return c.config.Reserve, nil
}

// Run reads the whole dump first, then creates a database and replays it there
// in one transaction, which is only committed after the last line of the same
// file was seen. What did not work out is removed again.
func (restore) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[RestoreArgs](call)
	if err != nil {
		return nil, err
	}
	b, err := c.openBackup(args.Backup)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	start := time.Now()
	d, err := b.scan(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.is(b, args.SHA256); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "the dump is whole: %s in %s\n", things(d.rows(), "row"), things(len(d.tables), "table"))
	r := Restored{Backup: b.path, SHA256: d.sha256, Bytes: int(d.bytes), Rows: d.rows()}
	err = c.restoring(ctx, frontDesk, "restore beside", func(desk *pgx.Conn) error {
		who, err := c.restorer(ctx, desk, d)
		if err != nil {
			return err
		}
		name, err := c.unused(ctx, desk, "restore")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "creates %s\n", name)
		if err := c.createBeside(ctx, desk, name, out); err != nil {
			if code(err) == "42P04" { // another run's, since a moment ago
				return err
			}
			if e := c.dropNew(ctx, name, out); e != nil {
				fmt.Fprintf(out, "%s could not be removed: %s\n", name, fault.Say(e))
			}
			return err
		}
		if r.Tables, err = c.replay(ctx, b, d, who, name, out); err != nil {
			if e := c.dropNew(ctx, name, out); e != nil {
				fmt.Fprintf(out, "%s could not be removed: %s\n", name, fault.Say(e))
			}
			return err
		}
		r.Database = name
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(start)
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// dropNew removes a database that this step has created.
func (c *Conn) dropNew(ctx context.Context, name string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
	defer cancel()
	err := c.restoring(ctx, frontDesk, "remove a database of", func(desk *pgx.Conn) error {
		return run(ctx, desk, "DROP DATABASE IF EXISTS "+quoted(name)+" WITH (FORCE)")
	})
	if err == nil {
		fmt.Fprintf(out, "removed %s again\n", name)
	}
	return err
}

// replay feeds the dump to psql and counts what came of it: psql's exit code
// says nothing about rows that were never there.
func (c *Conn) replay(ctx context.Context, b *backup, d *dump, who Role, name string, out io.Writer) ([]TableRows, error) {
	source, err := b.read(ctx)
	if err != nil {
		return nil, b.refused(err)
	}
	f := newFrame(source, d.sha256)
	err = c.config.Psql.Run(ctx, PsqlSession{who.User, who.Password, name}, f, io.Discard)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("restore %s: %w", b.path, ctx.Err())
	case f.failed() != nil: // psql's own complaint comes after it
		return nil, b.refused(f.failed())
	case err != nil:
		return nil, c.psqlFailed("replay the dump on", err)
	}
	var list []TableRows
	err = c.restoring(ctx, name, "count the rows of", func(conn *pgx.Conn) error {
		var err error
		if list, err = countRows(ctx, conn, d); err != nil {
			return err
		}
		if wrong := different(list); len(wrong) > 0 {
			return fault.New(fault.Conflict, "After the restore, %s are not as in the dump.", clip(strings.Join(wrong, ", "), 300)).
				Hinted("The new database was removed again. Look into the server's log.")
		}
		// The planner knows nothing of what was restored.
		return run(ctx, conn, "ANALYZE")
	})
	return list, err
}

// A frame is a dump inside of one transaction. Its last line, the COMMIT, is
// only given out after the dump ended as a whole one, and was the same file
// that was read before. psql ends a transaction without it by undoing it.
type frame struct {
	mu      sync.Mutex // psql's end may be seen before its reader has come to one
	source  *pass
	scanner *dumpScanner
	sha256  string
	next    []byte // before anything else
	over    bool
	wrong   error
}

func newFrame(source *pass, sha256 string) *frame {
	return &frame{source: source, scanner: newDumpScanner(), sha256: sha256, next: []byte("BEGIN;\n")}
}

// failed says why no COMMIT was given out; nil: it was, or nobody read so far.
func (f *frame) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrong
}

func (f *frame) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.wrong != nil:
		return 0, f.wrong
	case len(f.next) > 0:
		n := copy(p, f.next)
		f.next = f.next[n:]
		return n, nil
	case f.over:
		return 0, io.EOF
	}
	n, err := f.source.Read(p)
	if n > 0 {
		if _, e := f.scanner.Write(p[:n]); e != nil {
			return 0, f.fail(e)
		}
	}
	switch {
	case err == io.EOF:
		if e := f.end(); e != nil {
			return 0, f.fail(e)
		}
		f.over, f.next = true, []byte("\nCOMMIT;\n")
		return n, nil
	case err != nil:
		return 0, f.fail(err)
	}
	return n, nil
}

func (f *frame) fail(err error) error {
	f.wrong = err
	return err
}

func (f *frame) end() error {
	if err := f.scanner.end(); err != nil {
		return err
	}
	sum, err := f.source.digest()
	if err == nil && sum != f.sha256 {
		err = errors.New("was changed while it was restored")
	}
	return err
}
