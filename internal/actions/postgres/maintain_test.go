package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"opsbot/internal/actions/postgres"
	"opsbot/internal/fault"
)

// patience is how long the tests' index builds wait for locks.
const patience = 2 * time.Second

func logsByUser(w *ward) {
	w.config.Indexes = map[string]postgres.Index{
		"by_user":   {Table: "public.logs", Name: "ix_logs_user", On: "user_id, created_at DESC"},
		"unique":    {Table: "public.logs", Name: "ux_logs_body", On: "body", Unique: true},
		"partial":   {Table: "public.logs", Name: "ix_partial", On: "lower(body) text_pattern_ops", Where: "user_id > 10"},
		"pk":        {Table: "public.logs", Name: "logs_pkey", On: "id", Unique: true},
		"no_table":  {Table: "public.nosuch", Name: "x", On: "id"},
		"no_column": {Table: "public.logs", Name: "x", On: "nosuch"},
		"two":       {Table: "public.logs", Name: "x", On: "id); DROP TABLE users; --"},
	}
	w.config.DDLWait = patience
}

func TestIndex(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	logsByUser(w)
	conn := w.open()
	args := with{"index": "by_user"}
	p, err := preview(t, "postgres.create_index", conn, args)
	if err != nil || len(p.Live) != 1 || p.Live[0].Text != "missing" || !strings.Contains(strings.Join(p.Impact, "\n"), "builds public.ix_logs_user on public.logs") {
		t.Fatalf("preview = %+v, %v", p, err)
	}
	look := func(state string) {
		t.Helper()
		if l := do[postgres.IndexLook](t, "postgres.index", conn, args); l.State != state || l.Want != "btree (user_id, created_at DESC)" || (l.Def == "") != (state == "missing") || (l.Bytes > 0) == (state == "missing") || l.TableBytes <= 0 {
			t.Errorf("a look at an index that is %s: %+v", state, l)
		}
	}
	look("missing")
	r := do[postgres.IndexBuilt](t, "postgres.create_index", conn, args)
	look("valid")
	if !r.Created || r.Cleaned || !r.Valid || r.Bytes <= 0 || !strings.Contains(r.Def, "USING btree (user_id, created_at DESC)") {
		t.Errorf("built = %+v", r)
	}
	if r := do[postgres.IndexBuilt](t, "postgres.create_index", conn, args); r.Created || !r.Valid {
		t.Errorf("built again = %+v", r)
	}
	if r := do[postgres.IndexBuilt](t, "postgres.create_index", conn, with{"index": "partial"}); !r.Created || !strings.Contains(r.Def, "WHERE (user_id > 10)") {
		t.Errorf("partial = %+v", r)
	}
	if r := do[postgres.IndexBuilt](t, "postgres.create_index", conn, with{"index": "partial"}); r.Created {
		t.Errorf("partial again = %+v", r)
	}

	// IF NOT EXISTS would call an invalid one a success.
	w.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_logs_user'::regclass")
	look("invalid")
	p, err = preview(t, "postgres.create_index", conn, args)
	if err != nil || p.Live[0].Text != "invalid" || !strings.Contains(p.Impact[0], "left it invalid") {
		t.Errorf("preview over an invalid index = %+v, %v", p, err)
	}
	r = do[postgres.IndexBuilt](t, "postgres.create_index", conn, args)
	if !r.Created || !r.Cleaned || !ask[bool](w, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_logs_user'::regclass") {
		t.Errorf("repaired = %+v", r)
	}

	// The same name with another definition is neither taken nor touched.
	w.run("DROP INDEX ix_logs_user; CREATE INDEX ix_logs_user ON logs (created_at)")
	look("other")
	for _, name := range []string{"postgres.create_index", "postgres.drop_index"} {
		if _, err := preview(t, name, conn, args); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "something else named public.ix_logs_user") {
			t.Errorf("%s: preview over another definition: %v", name, err)
		}
		if _, _, err := try(t, name, conn, args); fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s over another definition: %v", name, err)
		}
	}
	w.run("DROP INDEX ix_logs_user")

	// Rows that are there twice make a unique index fail; nothing stays behind.
	if _, _, err := try(t, "postgres.create_index", conn, with{"index": "unique"}); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "same key") {
		t.Errorf("a unique index on what is not: %v", err)
	}
	if n := ask[int](w, "SELECT count(*) FROM pg_class WHERE relname = 'ux_logs_body'"); n != 0 {
		t.Error("the invalid index is still there")
	}

	d := do[postgres.IndexDropped](t, "postgres.drop_index", conn, with{"index": "partial"})
	if !d.Dropped || ask[int](w, "SELECT count(*) FROM pg_class WHERE relname = 'ix_partial'") != 0 {
		t.Errorf("dropped = %+v", d)
	}
	if d := do[postgres.IndexDropped](t, "postgres.drop_index", conn, with{"index": "partial"}); d.Dropped {
		t.Errorf("dropped again = %+v", d)
	}
	for id, says := range map[string]string{"pk": "constraint", "no_table": "no table public.nosuch", "nosuch": "by_user, no_column"} {
		if _, _, err := try(t, "postgres.drop_index", conn, with{"index": id}); !strings.Contains(fault.Say(err), says) {
			t.Errorf("dropping %s: %v", id, err)
		}
	}
	for id, kind := range map[string]fault.Kind{"no_column": fault.Invalid, "two": fault.Invalid} {
		if _, _, err := try(t, "postgres.create_index", conn, with{"index": id}); fault.KindOf(err) != kind {
			t.Errorf("creating %s: %v", id, err)
		}
	}
	if ask[int](w, "SELECT count(*) FROM users") != 50 {
		t.Error("users is gone")
	}
	w.config.Maintenance = postgres.Role{User: "opsbot_ro" + w.suffix, Password: "change-me"}
	if _, _, err := try(t, "postgres.create_index", w.open(), args); fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), "must be owner") {
		t.Errorf("by another than the owner: %v", err)
	}
}

// A build that waits for an open transaction gives up, names it, and leaves no
// invalid index; one that would wait for an old transaction does not begin.
func TestIndexIsBlocked(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	logsByUser(w)
	conn := w.open()
	app := w.client("billing")
	w.exec(app, "BEGIN")
	w.exec(app, "UPDATE logs SET body = 'y' WHERE id = 1")
	_, out, err := try(t, "postgres.create_index", conn, with{"index": "by_user"})
	says := fault.Say(err)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(says, "Blocked by pid ") || !strings.Contains(says, "billing") {
		t.Errorf("blocked: %v\n%s", err, out)
	}
	if !strings.Contains(out, "waits for pid") {
		t.Errorf("the output does not say for whom it waits:\n%s", out)
	}
	if strings.Contains(says, "still there") != (ask[int](w, "SELECT count(*) FROM pg_class WHERE relname = 'ix_logs_user'") == 1) {
		t.Errorf("says %q, and that is not so", says)
	}
	until(t, "the transaction is old", func() bool {
		return ask[bool](w, "SELECT max(clock_timestamp() - xact_start) > interval '4500 ms' FROM pg_stat_activity WHERE datname = $1 AND application_name = 'billing'", w.name)
	})
	_, _, err = try(t, "postgres.create_index", conn, with{"index": "by_user"})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "so it was not begun") {
		t.Errorf("behind an old transaction: %v", err)
	}
	w.exec(app, "ROLLBACK")
	if r := do[postgres.IndexBuilt](t, "postgres.create_index", conn, with{"index": "by_user"}); !r.Valid {
		t.Errorf("after it: %+v", r)
	}
}

func TestVacuum(t *testing.T) {
	t.Parallel()
	w := admit(t, shop)
	conn := w.open()
	w.run("DELETE FROM logs WHERE id % 2 = 0")
	until(t, "the statistics see the dead rows", func() bool {
		return ask[int](w, "SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = 'logs'::regclass") > 0
	})
	r := do[postgres.Cleaned](t, "postgres.vacuum", conn, nil)
	names := []string{}
	for _, v := range r.Tables {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"public.logs", "public.users"}) || r.Done != 2 || len(r.Left) != 0 || r.Tables[0].DeadBefore < 400 {
		t.Errorf("cleaned = %+v", r)
	}
	if n := ask[int64](w, "SELECT vacuum_count FROM pg_stat_all_tables WHERE relid = 'logs'::regclass"); n < 1 {
		t.Errorf("logs was vacuumed %d times", n)
	}
	do[postgres.Cleaned](t, "postgres.vacuum", conn, with{"analyze_only": true, "tables": []any{"logs"}})
	if n := ask[int64](w, "SELECT analyze_count FROM pg_stat_all_tables WHERE relid = 'logs'::regclass"); n < 2 {
		t.Errorf("logs was analyzed %d times", n)
	}

	app := w.client("web")
	w.exec(app, "BEGIN; LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE")
	got, _, err := try(t, "postgres.vacuum", conn, nil)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "public.users") || got.(postgres.Cleaned).Done != 1 {
		t.Errorf("a locked table: %+v, %v", got, err)
	}
	w.exec(app, "ROLLBACK")
	if _, _, err := try(t, "postgres.vacuum", conn, with{"tables": []any{"nosuch"}}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a missing table: %v", err)
	}
	w.config.Maintenance = postgres.Role{User: "opsbot_ro" + w.suffix, Password: "change-me"}
	conn = w.open()
	// The server's success tag for another's table says nothing.
	for _, only := range []bool{false, true} {
		got, out, err := try(t, "postgres.vacuum", conn, with{"tables": []any{"public.logs"}, "analyze_only": only})
		if fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Say(err), "skipped public.logs") || !strings.Contains(out, "skipping") {
			t.Errorf("another's table, analyze only %v: %+v, %v\n%s", only, got, err, out)
		}
	}
	if _, _, err := try(t, "postgres.vacuum", conn, nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a user that owns nothing: %v", err)
	}
}

func TestReindex(t *testing.T) {
	t.Parallel()
	w := admit(t, shop+`INSERT INTO logs (user_id, body) SELECT 1 + i % 50, 'b' FROM generate_series(1, 50000) i;
		CREATE INDEX logs_user ON logs (id, user_id); DELETE FROM logs WHERE id % 10 <> 0;`)
	w.config.DDLWait = patience
	conn := w.open()
	do[postgres.Cleaned](t, "postgres.vacuum", conn, with{"tables": []any{"logs"}})
	p, err := preview(t, "postgres.reindex", conn, nil)
	if err != nil || !strings.Contains(strings.Join(p.Impact, "\n"), "rebuilds public.logs_user") {
		t.Fatalf("preview = %+v, %v", p, err)
	}
	// A rebuild that was cut off leaves an invalid index.
	w.run("SET ROLE app" + w.suffix)
	w.run("CREATE INDEX logs_user_ccnew ON logs (id, user_id)")
	w.run("RESET ROLE")
	w.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'logs_user_ccnew'::regclass")
	b := do[postgres.Bloat](t, "postgres.bloat", conn, nil)
	if b.Looked != 3 || len(b.Bloated) != 2 || !slices.Equal(b.Leftovers, []string{"public.logs_user_ccnew"}) || b.Bytes <= 0 || b.Bloated[0].Unused < 30 {
		t.Errorf("measured %+v", b)
	}
	r := do[postgres.Reindexed](t, "postgres.reindex", conn, nil)
	names := []string{}
	for _, i := range r.Indexes {
		names = append(names, i.Name)
		if i.Before < 30 || i.After > 20 || i.BytesAfter >= i.BytesBefore {
			t.Errorf("rebuilt %+v", i)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"public.logs_pkey", "public.logs_user"}) || !slices.Equal(r.Leftovers, []string{"public.logs_user_ccnew"}) || r.Looked != 3 {
		t.Errorf("reindexed = %+v", r)
	}
	if n := ask[int](w, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") + ask[int](w, "SELECT count(*) FROM pg_class WHERE relname ~ '_ccnew'"); n != 0 {
		t.Errorf("%d invalid indexes are left", n)
	}
	if b := do[postgres.Bloat](t, "postgres.bloat", conn, nil); len(b.Bloated) != 0 || len(b.Leftovers) != 0 {
		t.Errorf("measured after it %+v", b)
	}
	if r := do[postgres.Reindexed](t, "postgres.reindex", conn, nil); len(r.Indexes) != 0 {
		t.Errorf("a second time: %+v", r)
	}

	// Blocked, it gives up and tidies.
	app := w.client("billing")
	w.exec(app, "BEGIN")
	w.exec(app, "UPDATE logs SET body = 'y' WHERE id = 10")
	_, _, err = try(t, "postgres.reindex", conn, with{"indexes": []any{"public.logs_user"}, "min_bloat": 0})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "Blocked by pid") {
		t.Errorf("blocked: %v", err)
	}
	w.exec(app, "ROLLBACK")
	do[postgres.Reindexed](t, "postgres.reindex", conn, nil)
	if n := ask[int](w, "SELECT count(*) FROM pg_class WHERE relname ~ '_ccnew'"); n != 0 {
		t.Errorf("%d remains", n)
	}
	w.run("DROP EXTENSION pgstattuple")
	if _, err := preview(t, "postgres.reindex", conn, nil); !strings.Contains(fault.Say(err), "CREATE EXTENSION pgstattuple") {
		t.Errorf("without the extension: %v", err)
	}
}
