package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
)

// A judge watches replicas from within the database, where they cannot evade
// it: a trigger knows which connection claimed a run last, and puts on record
// every write to that run by another replica's connection.
type judge struct {
	t  *testing.T
	db *sql.DB
}

// replicaName is how the judge tells a replica's connections from people's.
const replicaName = "replica-"

var judging = []string{
	`CREATE TABLE claims (run_id TEXT, epoch BIGINT, replica TEXT, at TIMESTAMPTZ, released TIMESTAMPTZ, PRIMARY KEY (run_id, epoch))`,
	`CREATE TABLE breaches (run_id TEXT, replica TEXT, owner TEXT, what TEXT, at TIMESTAMPTZ)`,
	`CREATE FUNCTION watch(run TEXT, what TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
	DECLARE
		me TEXT := current_setting('application_name');
		last TEXT;
	BEGIN
		SELECT replica INTO last FROM claims WHERE run_id = run ORDER BY epoch DESC LIMIT 1;
		IF me LIKE 'replica-%' AND me IS DISTINCT FROM last THEN
			INSERT INTO breaches VALUES (run, me, last, what, clock_timestamp());
		END IF;
	END $$`,
	`CREATE FUNCTION watch_run() RETURNS TRIGGER LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.epoch <> OLD.epoch THEN
			INSERT INTO claims VALUES (NEW.id, NEW.epoch, current_setting('application_name'), clock_timestamp());
		ELSE
			PERFORM watch(NEW.id, 'run');
			IF OLD.owner <> '' AND NEW.owner = '' THEN
				UPDATE claims SET released = clock_timestamp() WHERE run_id = NEW.id AND epoch = NEW.epoch;
			END IF;
		END IF;
		RETURN NULL;
	END $$`,
	`CREATE FUNCTION watch_part() RETURNS TRIGGER LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM watch(NEW.run_id, TG_TABLE_NAME);
		RETURN NULL;
	END $$`,
	`CREATE TRIGGER watch AFTER UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION watch_run()`,
	`CREATE TRIGGER watch AFTER INSERT OR UPDATE ON steps FOR EACH ROW EXECUTE FUNCTION watch_part()`,
	`CREATE TRIGGER watch AFTER INSERT OR UPDATE ON approvals FOR EACH ROW EXECUTE FUNCTION watch_part()`,
}

// newJudge lets a judge watch the database, whose tables must be there.
func newJudge(t *testing.T, url string) *judge {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, statement := range judging {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return &judge{t, db}
}

// breaches are the writes to runs that the writer had lost, as text.
func (j *judge) breaches() []string {
	j.t.Helper()
	var out []string
	j.each(`SELECT run_id, replica, COALESCE(owner, ''), what FROM breaches ORDER BY at`, func(scan func(...any) error) error {
		var run, replica, owner, what string
		err := scan(&run, &replica, &owner, &what)
		out = append(out, fmt.Sprintf("%s wrote the %s of %s, which %s had", replica, what, run, owner))
		return err
	})
	return out
}

// A takeover is a claim of a run whose owner had not given it up.
type takeover struct {
	run  string
	from string    // replica that had it
	had  time.Time // since then
	at   time.Time
}

func (j *judge) takeovers() []takeover {
	j.t.Helper()
	var out []takeover
	j.each(`SELECT c.run_id, p.replica, p.at, c.at FROM claims c JOIN claims p ON p.run_id = c.run_id AND p.epoch = c.epoch - 1
		WHERE p.released IS NULL ORDER BY c.at`, func(scan func(...any) error) error {
		var o takeover
		err := scan(&o.run, &o.from, &o.had, &o.at)
		out = append(out, o)
		return err
	})
	return out
}

func (j *judge) each(query string, fn func(scan func(...any) error) error) {
	j.t.Helper()
	rows, err := j.db.QueryContext(context.Background(), query)
	if err != nil {
		j.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			j.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		j.t.Fatal(err)
	}
}

// distribution says how durations are distributed.
func distribution(ds []time.Duration) string {
	if len(ds) == 0 {
		return "none"
	}
	slices.Sort(ds)
	var s strings.Builder
	for _, p := range []int{0, 50, 90, 99, 100} {
		fmt.Fprintf(&s, "p%d %.1fs ", p, ds[(len(ds)-1)*p/100].Seconds())
	}
	return strings.TrimSpace(s.String())
}
