package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"

	"opsbot/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// serial is the ever-rising integer primary key of each dialect.
var serial = map[string]string{
	"sqlite":   "INTEGER PRIMARY KEY AUTOINCREMENT",
	"postgres": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}

// renderedFS fills {serial} into the files it opens.
type renderedFS struct {
	fs.FS
	serial string
}

func (f renderedFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return file, err
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	return rendered{file, strings.NewReader(strings.ReplaceAll(string(data), "{serial}", f.serial))}, nil
}

type rendered struct {
	fs.File
	text io.Reader
}

func (r rendered) Read(p []byte) (int, error) { return r.text.Read(p) }

func migrationsFor(db *sql.DB, dialect string) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	goosely := map[string]goose.Dialect{"sqlite": goose.DialectSQLite3, "postgres": goose.DialectPostgres}[dialect]
	return goose.NewProvider(goosely, db, renderedFS{dir, serial[dialect]}, goose.WithDisableGlobalRegistry(true))
}

// newest is the version of the last migration.
func newest() (version int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(names[len(names)-1]) // sorted
}

// migrate brings the schema up to this binary's, which may be what it is
// already. With readOnly it only looks.
func migrate(ctx context.Context, db *sql.DB, dialect string, readOnly bool) error {
	newest, err := newest()
	if err != nil {
		return fmt.Errorf("store: list the migrations: %w", err)
	}
	// goose would create its table, and read all migrations.
	var version int64
	err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	if err != nil && (liteCode(err) == 1 || sqlState(err) == "42P01") { // no such table
		err = nil
	}
	switch {
	case err != nil:
		return interpret(ctx, err, "read the schema's version")
	case version > newest:
		return fault.New(fault.Conflict, "The database's schema (version %d) is newer than this opsbot knows (version %d).", version, newest).
			Hinted("Run the newer opsbot that wrote it, or restore a backup from before.")
	case version == newest:
		return nil
	case readOnly:
		return fault.New(fault.Conflict, "The database's schema (version %d) is older than this opsbot's (version %d).", version, newest).
			Hinted("Start opsbot serve once; it brings the schema up to date.")
	}
	provider, err := migrationsFor(db, dialect)
	if err != nil {
		return fmt.Errorf("store: read the migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return interpret(ctx, err, "bring the schema up to date")
	}
	return nil
}
