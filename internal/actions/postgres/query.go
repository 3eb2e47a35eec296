package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type query struct{}

// QueryArgs are the arguments of postgres.query.
type QueryArgs struct {
	Name    string   `arg:"name" help:"of a query in the connection's configuration; or give sql"`
	SQL     string   `arg:"sql" help:"one reading statement, written out, with $1 for values"`
	Args    []any    `arg:"args" help:"values for $1, $2, …; what is left out has the configured default"`
	Columns []string `arg:"columns" help:"names of the columns that must come back, in order"`
	MaxRows int      `arg:"max_rows" default:"100" min:"1" max:"1000" help:"more rows are cut off"`
}

// A Table is the result of postgres.query.
type Table struct {
	Columns   []string         `json:"columns" help:"names, in order"`
	Rows      []map[string]any `json:"rows" help:"by column; times and other types as text"`
	Truncated bool             `json:"truncated" help:"there were more rows"`
}

// Found says the result in one line.
func (r Table) Found() string {
	text := things(len(r.Rows), "row")
	if r.Truncated {
		text = "more than " + text
	}
	if len(r.Rows) == 1 && len(r.Columns) <= 6 {
		parts := make([]string, len(r.Columns))
		for i, c := range r.Columns {
			parts[i] = fmt.Sprintf("%s = %v", c, r.Rows[0][c])
		}
		return clip(strings.Join(parts, ", "), 200)
	}
	return text
}

func (query) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.query",
		Summary: "Run a named or written-out query in a read-only transaction.",
		Timeout: 10 * time.Second,
		Args:    QueryArgs{},
		Result:  Table{},
	}
}

// maxCell and maxTable bound what a query may bring back, in bytes.
const (
	maxCell  = 4 << 10
	maxTable = 256 << 10
)

func (query) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := aimed[QueryArgs](call)
	if err != nil {
		return nil, err
	}
	sql, values, err := c.statement("postgres.query", args.Name, args.SQL, args.Args)
	if err != nil {
		return nil, err
	}
	var r Table
	err = c.read(ctx, "query", func(tx pgx.Tx) error {
		var err error
		r, err = fetch(ctx, tx, args.MaxRows, sql, values)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.print(out)
	if err := r.mustHave(args.Columns); err != nil {
		return nil, err
	}
	return r, nil
}

// statement returns what is to be run: a query of the configuration, or one
// that is written out, with its values as text.
func (c *Conn) statement(action, name, sql string, args []any) (string, []any, error) {
	if (name == "") == (sql == "") {
		return "", nil, fault.New(fault.Invalid, "%s needs either a name or sql.", action)
	}
	var params []Param
	if name != "" {
		q, err := lookUp(c, "query", c.config.Queries, name)
		if err != nil {
			return "", nil, err
		}
		sql, params = q.SQL, q.Args
		if len(args) > len(params) {
			return "", nil, fault.New(fault.Invalid, "The query %s takes %s, not %d.", name, things(len(params), "value"), len(args))
		}
	} else if err := reading(sql); err != nil {
		return "", nil, fault.New(fault.Invalid, "The SQL of the step %s.", err).
			Hinted("%s runs one statement that only reads.", action)
	}
	var values []any
	for _, a := range args {
		text, err := asText(a)
		if err != nil {
			return "", nil, fault.New(fault.Invalid, "%s: %s.", action, err)
		}
		values = append(values, text)
	}
	for i, p := range params {
		if i >= len(values) {
			if p.Default == "" {
				return "", nil, fault.New(fault.Invalid, "The query %s needs a value for %s.", name, p.Name)
			}
			values = append(values, p.Default)
		}
		value, err := p.read(values[i].(string))
		if err != nil {
			return "", nil, fault.New(fault.Invalid, "%s of the query %s %s.", p.Name, name, err)
		}
		values[i] = value
	}
	return sql, values, nil
}

// read checks a value; the error continues a sentence. What it returns is what
// PostgreSQL reads in any type that fits.
func (p Param) read(text string) (string, error) {
	var err error
	kind := p.Type
	switch p.Type {
	case "int":
		_, err = strconv.ParseInt(text, 10, 64)
		kind = "a whole number"
	case "float":
		_, err = strconv.ParseFloat(text, 64)
		kind = "a number"
	case "bool":
		_, err = strconv.ParseBool(text)
		kind = "true or false"
	case "duration":
		d, e := time.ParseDuration(text)
		if e != nil {
			// What came as a duration is written as seconds by now.
			if _, e = strconv.ParseFloat(strings.TrimSuffix(text, " seconds"), 64); e == nil {
				return text, nil
			}
			err = e
		} else {
			return seconds(d), nil
		}
		kind = "a duration such as 30s"
	case "time":
		_, err = time.Parse(time.RFC3339, text)
		kind = "a time such as 2026-01-02T15:04:05Z"
	}
	if err != nil {
		return "", fmt.Errorf("must be %s, not %q", kind, clip(text, 60))
	}
	return text, nil
}

// ParamTypes are the types that a Param can have.
var ParamTypes = []string{"text", "int", "float", "bool", "duration", "time"}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " seconds"
}

// asText writes a value as PostgreSQL reads it. As text it fits parameters of
// any type, and the server says when it does not.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case time.Duration:
		return seconds(v), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	}
	return "", fmt.Errorf("a value of args is text, a number, a bool, a duration or a time")
}

// fetch runs a statement and reads at most limit rows.
func fetch(ctx context.Context, tx pgx.Tx, limit int, sql string, values []any) (Table, error) {
	rows, err := tx.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, values...)...)
	if err != nil {
		return Table{}, err
	}
	defer rows.Close()
	r := Table{Columns: []string{}, Rows: []map[string]any{}}
	fields := rows.FieldDescriptions()
	for _, f := range fields {
		r.Columns = append(r.Columns, f.Name)
	}
	total := 0
	for rows.Next() {
		if len(r.Rows) == limit || total > maxTable {
			r.Truncated = true
			break
		}
		row := map[string]any{}
		for i, raw := range rows.RawValues() {
			total += min(len(raw), maxCell)
			row[r.Columns[i]] = cell(fields[i].DataTypeOID, raw)
		}
		r.Rows = append(r.Rows, row)
	}
	rows.Close()
	return r, rows.Err()
}

// cell gives a value as expressions can use it: null, true, numbers and JSON
// as they are, anything else as PostgreSQL's own text.
func cell(oid uint32, raw []byte) any {
	if raw == nil {
		return nil
	}
	text := string(raw)
	switch oid {
	case pgtype.BoolOID:
		return text == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		// Larger ones would lose their last digits on the way through JSON.
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n <= 1<<53 && n >= -1<<53 {
			return int(n)
		}
	case pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return nil // no data
	case pgtype.JSONOID, pgtype.JSONBOID:
		var v any
		if len(raw) <= maxCell && json.Unmarshal(raw, &v) == nil {
			return v
		}
	}
	if len(text) > maxCell {
		return strings.ToValidUTF8(text[:maxCell], "") + "…"
	}
	return text
}

// print writes the rows for people, tabs between the columns.
func (r Table) print(out io.Writer) {
	fmt.Fprintln(out, strings.Join(r.Columns, "\t"))
	for _, row := range r.Rows {
		for i, c := range r.Columns {
			if i > 0 {
				fmt.Fprint(out, "\t")
			}
			if row[c] != nil {
				fmt.Fprint(out, clip(fmt.Sprint(row[c]), 200))
			}
		}
		fmt.Fprintln(out)
	}
	if r.Truncated {
		fmt.Fprintln(out, "… and more")
	}
}

// mustHave compares the columns with those that the runbook counts on.
func (r Table) mustHave(columns []string) error {
	if len(columns) == 0 || strings.Join(columns, "\x00") == strings.Join(r.Columns, "\x00") {
		return nil
	}
	return fault.New(fault.Conflict, "The query returned the columns %s, not %s.", strings.Join(r.Columns, ", "), strings.Join(columns, ", ")).
		Hinted("Was the query changed after the runbook was written?")
}
