package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"opsbot/internal/actions/postgres"
	"opsbot/internal/fault"
)

const oldLogs = `
CREATE TABLE logs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, b text, created_at timestamptz NOT NULL);
CREATE TABLE logs_archive (archived_run text, b text, a text, created_at timestamptz NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
INSERT INTO logs (a, b, created_at) SELECT 'a' || i, 'b' || i, now() - interval '100 days' FROM generate_series(1, 3000) i;
INSERT INTO logs (a, b, created_at) SELECT 'a' || i, 'b' || i, now() FROM generate_series(3001, 4000) i;
`

var logsArchive = map[string]postgres.Archive{"logs": {Table: "public.logs", Into: "public.logs_archive", Key: "id", Time: "created_at", RunColumn: "archived_run"}}

// While rows are archived, others write rows that are old already. None is
// lost and none is there twice, and none has its values mixed up.
func TestArchiveLosesNoRow(t *testing.T) {
	t.Parallel()
	w := admit(t, oldLogs)
	w.config.Archives = logsArchive
	conn := w.open()
	p, err := preview(t, "postgres.archive", conn, with{"table": "logs"})
	if err != nil || len(p.Live) != 1 || p.Live[0].Number != 3000 || !strings.Contains(p.Impact[0], "moves 3,000 rows of public.logs") {
		t.Fatalf("preview = %+v, %v", p, err)
	}
	dry := do[postgres.Archived](t, "postgres.archive", conn, with{"table": "logs", "dry_run": true})
	if dry.Matching != 3000 || dry.Moved != 0 || ask[int](w, "SELECT count(*) FROM logs_archive") != 0 {
		t.Errorf("dry run = %+v", dry)
	}
	if r := do[postgres.Archivable](t, "postgres.archivable", conn, with{"table": "logs"}); r.Matching != 3000 || r.Cutoff.IsZero() {
		t.Errorf("counted %+v", r)
	}

	stop := make(chan struct{})
	var wrote atomic.Int64
	writers := make(chan error, 3)
	for i := range 3 {
		client := w.client(fmt.Sprintf("writer %d", i))
		go func() {
			for {
				select {
				case <-stop:
					writers <- nil
					return
				default:
				}
				_, err := client.Exec(context.Background(), "INSERT INTO logs (a, b, created_at) VALUES ('a', 'b', now() - interval '200 days')")
				if err != nil {
					writers <- err
					return
				}
				wrote.Add(1)
			}
		}()
	}
	until(t, "the writers write", func() bool { return wrote.Load() > 10 })
	// A window, because they never stop making work.
	r := do[postgres.Archived](t, "postgres.archive", conn, with{"table": "logs", "batch": 500, "window": "2s"})
	until(t, "they have gone on", func() bool { return wrote.Load() > 100 })
	close(stop)
	for range 3 {
		if err := <-writers; err != nil {
			t.Fatal(err)
		}
	}
	if r.Moved < 3000 || r.Batches < 6 || r.First != "1" || r.Run != "r1" || r.Cutoff.IsZero() {
		t.Errorf("archived = %+v", r)
	}
	total := 4000 + int(wrote.Load())
	live, archived := ask[int](w, "SELECT count(*) FROM logs"), ask[int](w, "SELECT count(*) FROM logs_archive")
	if live+archived != total || archived != r.Moved {
		t.Errorf("%d live and %d archived rows of %d; %d were reported", live, archived, total, r.Moved)
	}
	if n := ask[int](w, "SELECT count(DISTINCT id) FROM (SELECT id FROM logs UNION ALL SELECT id FROM logs_archive) s"); n != total {
		t.Errorf("%d different rows of %d", n, total)
	}
	if n := ask[int](w, "SELECT count(*) FROM logs_archive WHERE a NOT LIKE 'a%' OR b NOT LIKE 'b%' OR archived_run <> 'r1'"); n != 0 {
		t.Errorf("%d archived rows are mixed up", n)
	}
	// It goes on where it stopped.
	rest := do[postgres.Archived](t, "postgres.archive", conn, with{"table": "logs"})
	if rest.Left != 0 || ask[int](w, "SELECT count(*) FROM logs") != 1000 {
		t.Errorf("the rest = %+v", rest)
	}
	// And back.
	if p, err := preview(t, "postgres.unarchive", conn, with{"table": "logs"}); err != nil || p.Live[0].Number != float64(total-1000) {
		t.Errorf("preview = %+v, %v", p, err)
	}
	back := do[postgres.Unarchived](t, "postgres.unarchive", conn, with{"table": "logs", "batch": 20000})
	if back.Moved != total-1000 || back.Left != 0 || ask[int](w, "SELECT count(*) FROM logs") != total {
		t.Errorf("moved back %+v of %d", back, total-1000)
	}
	if n := ask[int](w, "SELECT count(*) FROM logs WHERE a NOT LIKE 'a%' OR b NOT LIKE 'b%'"); n != 0 {
		t.Errorf("%d rows are mixed up", n)
	}
}

// Rows that others hold stay, and are counted.
func TestArchiveLeavesLockedRows(t *testing.T) {
	t.Parallel()
	w := admit(t, oldLogs)
	w.config.Archives = logsArchive
	conn := w.open()
	app := w.client("web")
	w.exec(app, "BEGIN")
	w.exec(app, "SELECT * FROM logs WHERE id <= 10 FOR UPDATE")
	r := do[postgres.Archived](t, "postgres.archive", conn, with{"table": "logs"})
	if r.Moved != 2990 || r.Left != 10 {
		t.Errorf("archived = %+v", r)
	}
	w.exec(app, "ROLLBACK")
	if r := do[postgres.Archived](t, "postgres.archive", conn, with{"table": "logs"}); r.Moved != 10 || r.Left != 0 || r.First != "1" || r.Last != "10" {
		t.Errorf("the rest = %+v", r)
	}
}

func TestArchiveRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, says string }{
		"another type":       {"ALTER TABLE logs_archive ALTER a TYPE varchar(10)", "column a is text in public.logs and character varying(10)"},
		"a missing column":   {"ALTER TABLE logs_archive DROP b", "has the column b, and public.logs_archive does not"},
		"one more column":    {"ALTER TABLE logs_archive ADD c int", "public.logs_archive has the column c"},
		"a child":            {"CREATE TABLE notes (log bigint REFERENCES logs)", "Other rows refer to those of public.logs: notes_log_fkey of notes"},
		"no key":             {"ALTER TABLE logs DROP CONSTRAINT logs_pkey", "not a unique key"},
		"no time":            {"ALTER TABLE logs_archive ALTER created_at TYPE text; ALTER TABLE logs ALTER created_at TYPE text", "is no time"},
		"no archive":         {"DROP TABLE logs_archive", "no table public.logs_archive"},
		"a swallowing table": {"CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER nothing BEFORE INSERT ON logs_archive FOR EACH ROW EXECUTE FUNCTION nothing()", "it was rolled back"},
		"no privilege":       {"REVOKE app FROM opsbot_maint", "does not allow this"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := admit(t, oldLogs)
			w.config.Archives = logsArchive
			w.run(w.named(c.sql))
			_, _, err := try(t, "postgres.archive", w.open(), with{"table": "logs"})
			if err == nil || !strings.Contains(fault.Say(err), c.says) {
				t.Errorf("says %q (%v)", fault.Say(err), err)
			}
			if n := ask[int](w, "SELECT count(*) FROM logs"); n != 4000 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
	w := admit(t, oldLogs)
	a := logsArchive["logs"]
	a.RunColumn = ""
	w.config.Archives = map[string]postgres.Archive{"logs": a}
	w.run("ALTER TABLE logs_archive DROP archived_run")
	conn := w.open()
	if r := do[postgres.Archived](t, "postgres.archive", conn, with{"table": "logs"}); r.Moved != 3000 || r.Run != "" || r.First != "1" || r.Last != "3000" {
		t.Errorf("archived = %+v", r)
	}
	if _, _, err := try(t, "postgres.unarchive", conn, with{"table": "logs"}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("moved back without a record: %v", err)
	}
	if _, _, err := try(t, "postgres.archive", conn, with{"table": "nosuch"}); !strings.Contains(fault.Say(err), "There are logs.") {
		t.Errorf("unknown archive: %v", err)
	}
}

// The cutoff is a time of the database's clock.
func TestArchiveCutoff(t *testing.T) {
	t.Parallel()
	w := admit(t, oldLogs)
	w.config.Archives = logsArchive
	before := ask[time.Time](w, "SELECT clock_timestamp() - interval '1200 hours'")
	r := do[postgres.Archived](t, "postgres.archive", w.open(), with{"table": "logs", "older_than": "1200h", "dry_run": true})
	after := ask[time.Time](w, "SELECT clock_timestamp() - interval '1200 hours'")
	if r.Cutoff.Before(before) || r.Cutoff.After(after) {
		t.Errorf("cutoff %s is not between %s and %s", r.Cutoff, before, after)
	}
}
