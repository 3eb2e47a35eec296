package store_test

import (
	"database/sql"
	"fmt"
	"testing"

	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// Runs were numbered by a counter once; the numbers go on where it stopped.
func TestRunNumbersGoOn(t *testing.T) {
	t.Parallel()
	for dialect, fresh := range map[string]func(testing.TB) string{"sqlite": storetest.NoSQLite, "postgres": storetest.Postgres} {
		for _, given := range []int{0, 7} {
			t.Run(fmt.Sprint(dialect, " after ", given), func(t *testing.T) {
				t.Parallel()
				url := fresh(t)
				driver, source := "pgx", url
				if file, ok := store.File(url); ok {
					driver, source = "sqlite", "file:"+file
				}
				db, err := sql.Open(driver, source)
				if err != nil {
					t.Fatal(err)
				}
				if err := store.MigrateTo(t.Context(), db, dialect, 10); err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				storetest.Exec(t, url, `UPDATE counters SET value = $1 WHERE name = 'run'`, given)
				s := storetest.OpenURL(t, url)
				for i := range 2 {
					run, err := s.Runs().Create(t.Context(), storetest.NewRun(), engine.Change{})
					if err != nil {
						t.Fatal(err)
					}
					if want := int64(given + i + 1); run.Number != want {
						t.Errorf("run %d of this opsbot is R%d, want R%d", i+1, run.Number, want)
					}
				}
			})
		}
	}
}
