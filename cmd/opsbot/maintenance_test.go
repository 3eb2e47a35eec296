package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"opsbot/internal/outbox"
	"opsbot/internal/patient/compose"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// due makes the schedule of a runbook fire now.
func (v *visit) due(runbook string) {
	v.t.Helper()
	storetest.Exec(v.t, "sqlite:"+v.path("opsbot.db"), fmt.Sprintf("UPDATE schedules SET next_at = %d WHERE runbook = '%s'", time.Now().UnixMilli(), runbook))
	v.runs++
}

// expire lets the time for the open question of a step be over.
func (v *visit) expire(step string) {
	v.t.Helper()
	storetest.Exec(v.t, "sqlite:"+v.path("opsbot.db"), fmt.Sprintf("UPDATE approvals SET expires_at = %[1]d, attend_at = %[1]d WHERE state = 'open' AND step = '%[2]s'", time.Now().UnixMilli(), step))
}

// remind lets the time for a reminder of a step's open question come.
func (v *visit) remind(step string) {
	v.t.Helper()
	storetest.Exec(v.t, "sqlite:"+v.path("opsbot.db"), fmt.Sprintf("UPDATE approvals SET remind_at = %[1]d, attend_at = %[1]d WHERE state = 'open' AND step = '%[2]s'", time.Now().UnixMilli(), step))
}

// open waits until the run asks about the step, as confirm or review.
func (v *visit) open(number int64, step, kind string) outbox.Ask {
	v.t.Helper()
	var found outbox.Ask
	deadline := time.Now().Add(runFor)
	for found.Approval == "" {
		r, _ := v.told(number)
		for _, ask := range r.Asks {
			if ask.State == string(engine.Open) && ask.Step == step && ask.Kind == kind {
				found = ask
			}
		}
		if time.Now().After(deadline) || r.State != "" && engine.State(r.State).Ended() {
			v.t.Fatalf("R%d does not ask about %s:\n%s", number, step, v.transcript())
		}
		time.Sleep(200 * time.Millisecond)
	}
	return found
}

// calls waits for a message that mentions the group of the handle, and shows the
// texts.
func (v *visit) calls(handle string, texts ...string) {
	v.t.Helper()
	id := ""
	for _, g := range v.sim.Usergroups() {
		if g.Handle == handle {
			id = g.ID
		}
	}
	if id == "" {
		v.t.Fatalf("there is no group %s", handle)
	}
	v.until("@"+handle+" is called: "+strings.Join(texts, ", "), func() bool {
		for _, m := range v.everything("ann") {
			if strings.Contains(string(m.Blocks)+m.Text, "<!subteam^"+id) && shows(m, texts) {
				return true
			}
		}
		return false
	})
}

const (
	// everyLog is what the rows of both tables say, in order: equal texts are
	// equal rows, none missing and none there twice.
	everyLog = `SELECT count(*) || ' ' || md5(string_agg(format('%s %s %s %s %s %s %s %s %s %s', id, user_id, status, positions, matched, difference, currency, ledger, details, created_at), ',' ORDER BY id))
		FROM (SELECT id, user_id, status, positions, matched, difference, currency, ledger, details, created_at FROM reconciliation_logs
			UNION ALL SELECT id, user_id, status, positions, matched, difference, currency, ledger, details, created_at FROM reconciliation_logs_archive) t`
	archivedLogs = "SELECT count(*) FROM reconciliation_logs_archive"
	oldLogs      = "SELECT count(*) FROM reconciliation_logs WHERE created_at < now() - interval '90 days'"
	lateLogs     = 900
)

// write inserts rows that are old already, one by one, while the test goes on;
// the returned function waits for the last.
func (w *ward) write(t *testing.T) (done func()) {
	t.Helper()
	id, err := w.body.Container(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "docker", "exec", id, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "bot_production", "-c", fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
		INSERT INTO reconciliation_logs (user_id, status, positions, matched, difference, currency, ledger, details, created_at)
		VALUES ('u001', 'late', 1, 1, 0, 'EUR', 'L', i::text, now() - interval '200 days'); COMMIT; PERFORM pg_sleep(0.01); END LOOP; END $$`, lateLogs))
	var out syncBuffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("the writer: %v: %s", err, out.String())
		}
	}
}

// Tables are cleaned, bloated indexes rebuilt, old rows moved while others write
// old ones: none is lost and none is there twice. What does not fit is refused,
// what breaks off is moved back.
func TestDatabaseMaintenanceInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 60_000})
	v := w.visit(t)
	number := func(t *testing.T, sql string) int {
		t.Helper()
		n, err := strconv.Atoi(w.sql(t, sql))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	t.Run("an archive of another type", func(t *testing.T) {
		w.sql(t, "ALTER TABLE reconciliation_logs_archive ALTER status TYPE varchar(40)")
		before := w.sql(t, everyLog)
		r := v.run("database-maintenance min_bloat=100", nil)
		r.check(t, wants{state: engine.Failed, verdict: "fail", asked: []string{}, marks: map[string]string{"vacuum": "pass", "old": "fail", "archive": "skipped"}})
		if got := w.sql(t, everyLog); got != before || number(t, archivedLogs) != 0 {
			t.Errorf("rows were moved: %s before, %s after", before, got)
		}
		w.sql(t, "ALTER TABLE reconciliation_logs_archive ALTER status TYPE text")
	})
	t.Run("breaks off, and is taken back", func(t *testing.T) {
		before, live := w.sql(t, everyLog), number(t, "SELECT count(*) FROM reconciliation_logs")
		w.sql(t, `CREATE FUNCTION enough() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF (SELECT count(*) FROM reconciliation_logs_archive) > 3000 THEN RAISE EXCEPTION 'enough'; END IF; RETURN NULL; END $$;
			CREATE TRIGGER enough AFTER INSERT ON reconciliation_logs_archive FOR EACH STATEMENT EXECUTE FUNCTION enough()`)
		r := v.run("database-maintenance min_bloat=100 batch=1000", nil)
		r.check(t, wants{state: engine.Failed, asked: []string{"archive", "unarchive"}, marks: map[string]string{"archive": "fail", "unarchive": "pass"}})
		if got := w.sql(t, everyLog); got != before || number(t, archivedLogs) != 0 || number(t, "SELECT count(*) FROM reconciliation_logs") != live {
			t.Errorf("%s before, %s after, %d are archived", before, got, number(t, archivedLogs))
		}
		w.sql(t, "DROP TRIGGER enough ON reconciliation_logs_archive; DROP FUNCTION enough")
	})
	t.Run("who owns nothing", func(t *testing.T) {
		w.sql(t, "REVOKE app FROM opsbot_maint")
		before := w.sql(t, "SELECT sum(vacuum_count) FROM pg_stat_user_tables")
		r := v.run("database-maintenance", nil)
		r.check(t, wants{state: engine.Failed, verdict: "fail", asked: []string{}, marks: map[string]string{"vacuum": "fail", "archive": "skipped"}})
		if got := w.sql(t, "SELECT sum(vacuum_count) FROM pg_stat_user_tables"); got != before {
			t.Errorf("%s tables were cleaned before, %s after", before, got)
		}
		w.sql(t, "GRANT app TO opsbot_maint")
	})
	t.Run("at night, and nobody answers", func(t *testing.T) {
		before := w.sql(t, everyLog)
		v := w.visit(t)
		v.due("database-maintenance")
		ask := v.open(v.runs, "archive", "confirm")
		v.calls("oncall", "Move 4")
		v.expire("archive")
		r := v.follow(v.runs, nil)
		r.check(t, wants{state: engine.Canceled, marks: map[string]string{"vacuum": "pass", "archive": "skipped"}})
		if !strings.Contains(r.found("archive"), "not run") {
			t.Errorf("archive: %s", r.found("archive"))
		}
		v.until("the card says so", func() bool {
			for _, m := range v.everything("ann") {
				if strings.Contains(string(m.Blocks), ask.Approval) && !hasButton(m, "Confirm") || shows(m, []string{"Archive old rows", "not run"}) {
					return true
				}
			}
			return false
		})
		if got := w.sql(t, everyLog); got != before || number(t, archivedLogs) != 0 {
			t.Errorf("rows were moved: %s before, %s after", before, got)
		}
	})
	t.Run("all of it", func(t *testing.T) {
		// The archive has its columns in another order.
		w.sql(t, `ALTER TABLE reconciliation_logs_archive RENAME TO former;
			CREATE TABLE reconciliation_logs_archive (archived_run text, created_at timestamptz NOT NULL, details text NOT NULL, ledger text NOT NULL, currency text NOT NULL,
				difference numeric(18, 2) NOT NULL, matched integer NOT NULL, positions integer NOT NULL, status text NOT NULL, user_id text NOT NULL, id bigint PRIMARY KEY);
			DROP TABLE former; ALTER TABLE reconciliation_logs_archive OWNER TO app`)
		w.sql(t, "UPDATE reconciliation_logs SET details = details WHERE id % 3 = 0; DELETE FROM audit_logs WHERE id % 10 <> 0")
		poll(t, "the server knows of the dead rows", func() bool {
			return number(t, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'reconciliation_logs'") > 10_000
		})
		before, old, size := w.sql(t, everyLog), number(t, oldLogs), number(t, "SELECT pg_relation_size('audit_logs_pkey')")
		var written func()
		r := v.run("database-maintenance batch=500", replies{"archive": {{before: func() { written = w.write(t) }}}})
		if written == nil {
			t.Fatal("nobody was asked")
		}
		written()
		r.check(t, wants{state: engine.Succeeded, asked: []string{"reindex", "archive"},
			marks: map[string]string{"vacuum": "pass", "reindex": "pass", "sizes": "pass", "tidy": "pass"}, report: []string{"public.reconciliation_logs"}})
		const late = " WHERE status <> 'late'"
		if got := w.sql(t, everyLog+late); got != before {
			t.Errorf("the rows were %s, and are %s", before, got)
		}
		if n := number(t, strings.Replace(everyLog, "SELECT count(*) || ' ' || md5(", "SELECT count(*) FILTER (WHERE status = 'late') + 0 * length(", 1)); n != lateLogs {
			t.Errorf("of %d rows that were written meanwhile there are %d", lateLogs, n)
		}
		if n := number(t, strings.Replace(everyLog, "SELECT count(*) || ' ' || md5(", "SELECT count(*) - count(DISTINCT id) + 0 * length(", 1)); n != 0 {
			t.Errorf("%d rows are there twice", n)
		}
		archived := number(t, archivedLogs)
		if archived < old || archived > old+lateLogs {
			t.Errorf("%d rows are archived, %d were old", archived, old)
		}
		t.Logf("%d of %d rows archived in %s, of %d that were written meanwhile %s; the rest waits for the next month", archived, old, r.found("archive"),
			lateLogs, w.sql(t, archivedLogs+" WHERE status = 'late'"))
		if now := number(t, "SELECT pg_relation_size('audit_logs_pkey')"); now >= size/2 {
			t.Errorf("the bloated index had %d bytes, and has %d", size, now)
		}
		if n := number(t, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); n != 0 {
			t.Errorf("%d invalid indexes are left", n)
		}
	})
}
