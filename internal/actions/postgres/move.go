package postgres

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
)

// betweenBatches lets others at the table.
const betweenBatches = 100 * time.Millisecond

// A column is one of a table.
type column struct {
	name, kind string
	generated  bool
	notNull    bool
}

func columnsOf(ctx context.Context, conn *pgx.Conn, table string) ([]column, error) {
	rows, err := conn.Query(ctx, `SELECT attname, format_type(atttypid, atttypmod), attgenerated <> '', attnotnull
		FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (column, error) {
		var c column
		err := row.Scan(&c.name, &c.kind, &c.generated, &c.notNull)
		return c, err
	})
}

func find(list []column, name string) *column {
	if i := slices.IndexFunc(list, func(c column) bool { return c.name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}

func (a Archive) live() string    { return quoted(pair(a.Table)...) }
func (a Archive) archive() string { return quoted(pair(a.Into)...) }

func pair(name string) []string {
	schema, table := split(name)
	return []string{schema, table}
}

// check refuses tables between which rows would get lost or mixed up, and
// returns the columns that are copied and the type of the key.
func (a Archive) check(ctx context.Context, conn *pgx.Conn) (columns []string, keyType string, err error) {
	live, err := columnsOf(ctx, conn, a.live())
	if err != nil {
		return nil, "", err
	}
	old, err := columnsOf(ctx, conn, a.archive())
	if err != nil {
		return nil, "", err
	}
	refuse := func(format string, args ...any) error {
		return fault.New(fault.Conflict, format, args...).Hinted("Nothing was moved. Correct the tables or the archive's configuration.")
	}
	for _, t := range []struct {
		name string
		has  []column
	}{{a.Table, live}, {a.Into, old}} {
		if len(t.has) == 0 {
			return nil, "", fault.New(fault.NotFound, "There is no table %s.", t.name).Hinted("Correct the archive in the configuration.")
		}
	}
	for _, c := range live {
		switch o := find(old, c.name); {
		case o == nil:
			return nil, "", refuse("%s has the column %s, and %s does not.", a.Table, c.name, a.Into)
		case o.kind != c.kind:
			return nil, "", refuse("The column %s is %s in %s and %s in %s.", c.name, c.kind, a.Table, o.kind, a.Into)
		case !c.generated && o.generated:
			return nil, "", refuse("The column %s of %s is computed, so nothing can be put into it.", c.name, a.Into)
		case !o.generated:
			columns = append(columns, c.name)
		}
	}
	for _, o := range old {
		if find(live, o.name) == nil && o.name != a.RunColumn {
			return nil, "", refuse("%s has the column %s, and %s does not.", a.Into, o.name, a.Table)
		}
	}
	if a.RunColumn != "" {
		if o := find(old, a.RunColumn); o == nil || o.kind != "text" || find(live, a.RunColumn) != nil {
			return nil, "", refuse("%s needs the column %s of type text, which %s must not have.", a.Into, a.RunColumn, a.Table)
		}
	}
	key, at := find(live, a.Key), find(live, a.Time)
	if key == nil || at == nil {
		return nil, "", refuse("%s lacks its column %s or %s.", a.Table, a.Key, a.Time)
	}
	if kind := at.kind; !strings.HasPrefix(kind, "timestamp") && kind != "date" {
		return nil, "", refuse("The column %s of %s is no time, but %s.", a.Time, a.Table, kind)
	}
	var unique bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = i.indkey[0]
		WHERE i.indrelid = $1::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1 AND k.attname = $2)`, a.live(), a.Key).Scan(&unique)
	if err != nil {
		return nil, "", err
	}
	if !unique || !key.notNull {
		return nil, "", refuse("The column %s of %s is not a unique key without gaps.", a.Key, a.Table)
	}
	children, err := texts(ctx, conn, `SELECT format('%s of %s', conname, conrelid::regclass) FROM pg_constraint WHERE contype = 'f' AND confrelid = $1::regclass ORDER BY 1`, a.live())
	if err != nil {
		return nil, "", err
	}
	if len(children) > 0 {
		return nil, "", refuse("Other rows refer to those of %s: %s.", a.Table, clip(strings.Join(children, ", "), 200))
	}
	return columns, key.kind, nil
}

// A move takes rows from one table to another, batch by batch.
type move struct {
	from, to string // quoted
	key      string
	keyType  string
	columns  []string
	where    string // with $1
	value    any    // for $1
	mark     string // column of to that gets the run's id; "": none
	run      string
	batch    int
}

// A moved says how far a move came.
type moved struct {
	rows, batches int
	first, last   string
}

// statement moves one batch. Rows are chosen, deleted and written by one
// statement with one snapshot: two would lose rows that are committed between
// them. Locked rows are left for another time.
func (m move) statement() string {
	names := make([]string, len(m.columns))
	for i, c := range m.columns {
		names[i] = quoted(c)
	}
	list := strings.Join(names, ", ")
	into, values := list, list
	if m.mark != "" {
		into, values = list+", "+quoted(m.mark), list+", $5::text"
	}
	key := quoted(m.key)
	return `WITH doomed AS MATERIALIZED (
	SELECT ` + key + ` FROM ` + m.from + ` WHERE ` + m.where + ` ORDER BY ` + key + ` LIMIT $2 FOR UPDATE SKIP LOCKED
), moved AS (
	DELETE FROM ` + m.from + ` t USING doomed d WHERE t.` + key + ` = d.` + key + ` RETURNING t.*
), written AS (
	INSERT INTO ` + m.to + ` (` + into + `) OVERRIDING SYSTEM VALUE SELECT ` + values + ` FROM moved RETURNING 1
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM written),
	coalesce(least($3::` + m.keyType + `, (SELECT ` + key + ` FROM moved ORDER BY ` + key + ` LIMIT 1))::text, ''),
	coalesce(greatest($4::` + m.keyType + `, (SELECT ` + key + ` FROM moved ORDER BY ` + key + ` DESC LIMIT 1))::text, '')`
}

// all goes on until nothing is left, or the end is reached. What was moved is
// returned with an error too.
func (m move) all(ctx context.Context, conn *pgx.Conn, end time.Time, out io.Writer) (moved, error) {
	var done moved
	sql := m.statement()
	for {
		var deleted, written int
		first, last := done.first, done.last
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			args := []any{m.value, m.batch, none(first), none(last)}
			if m.mark != "" {
				args = append(args, m.run)
			}
			if err := tx.QueryRow(ctx, sql, args...).Scan(&deleted, &written, &first, &last); err != nil {
				return err
			}
			if deleted != written { // a trigger or a rule of the table
				return fault.New(fault.Conflict, "A batch took %s out of %s and put %d into %s: it was rolled back.", things(deleted, "row"), m.from, written, m.to).
					Hinted("Look for triggers and rules of the two tables.")
			}
			return nil
		})
		if err != nil {
			if done.rows > 0 {
				fmt.Fprintf(out, "stopped after moving %s in %s\n", things(done.rows, "row"), batches(done.batches))
			}
			return done, err
		}
		if deleted == 0 {
			return done, nil
		}
		done = moved{done.rows + deleted, done.batches + 1, first, last}
		if done.batches%20 == 1 {
			fmt.Fprintf(out, "%s moved\n", things(done.rows, "row"))
		}
		if time.Now().After(end) {
			fmt.Fprintln(out, "the window is over")
			return done, nil
		}
		if err := pause(ctx, betweenBatches); err != nil {
			return done, err
		}
	}
}

// none is NULL for nothing.
func none(text string) any {
	if text == "" {
		return nil
	}
	return text
}
