package store

import (
	"context"
	"database/sql"
)

// MigrateTo brings an empty database up to an older schema.
func MigrateTo(ctx context.Context, db *sql.DB, dialect string, version int64) error {
	provider, err := migrationsFor(db, dialect)
	if err != nil {
		return err
	}
	_, err = provider.UpTo(ctx, version)
	return err
}
