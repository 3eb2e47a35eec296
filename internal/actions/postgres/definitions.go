package postgres

import (
	"fmt"
	"slices"
	"strings"

	"opsbot/internal/fault"
)

// A Query is SQL that runbooks use by its name.
type Query struct {
	SQL  string
	Args []Param // for $1, $2, …
}

// A Param is a value of a Query.
type Param struct {
	Name    string // for messages
	Type    string // text, int, float, bool, duration or time; "" is text
	Default string // "": it must be given
}

// An Index is built and dropped by its id.
type Index struct {
	Table  string // with its schema: public.orders
	Name   string // without a schema: it is the table's
	On     string // what is indexed: "user_id, created_at DESC"
	Unique bool
	Method string // "" is btree
	Where  string // condition of a partial index
}

// An Archive says which rows are moved where.
type Archive struct {
	Table     string // with its schema
	Into      string // the archive's table, with its schema
	Key       string // column that is unique: id
	Time      string // column that tells a row's age: created_at
	RunColumn string // text column of the archive for the run that moved the row; "": none
}

// lookUp finds a definition by its id.
func lookUp[T any](c *Conn, what string, of map[string]T, id string) (T, error) {
	d, ok := of[id]
	if ok {
		return d, nil
	}
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	known := "None is configured."
	if len(names) > 0 {
		known = "There are " + strings.Join(names, ", ") + "."
	}
	return d, fault.New(fault.NotFound, "The connection to %s has no %s named %s.", c.place(), what, clip(id, 60)).Hinted("%s", known)
}

// split takes "schema.name" apart; a name alone is in public.
func split(name string) (schema, table string) {
	if schema, table, ok := strings.Cut(name, "."); ok {
		return schema, table
	}
	return "public", name
}

// check looks at the statement: one that reads. The error continues a sentence.
func (q Query) check() error { return reading(q.SQL) }

// readers begin statements that only read, as far as their functions do.
var readers = []string{"SELECT", "WITH", "VALUES", "TABLE", "SHOW"}

// doers are functions that act although the transaction is read-only, or that
// leave the database. The list cannot be complete, which is why statements are
// reviewed; it catches what nobody should have let through.
var doers = []string{
	"PG_CANCEL_BACKEND", "PG_TERMINATE_BACKEND", "PG_RELOAD_CONF", "PG_ROTATE_LOGFILE", "PG_PROMOTE",
	"PG_ADVISORY_LOCK", "PG_ADVISORY_LOCK_SHARED", "PG_ADVISORY_XACT_LOCK", "PG_ADVISORY_XACT_LOCK_SHARED",
	"PG_TRY_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK_SHARED", "PG_TRY_ADVISORY_XACT_LOCK", "PG_TRY_ADVISORY_XACT_LOCK_SHARED",
	"PG_SWITCH_WAL", "PG_CREATE_RESTORE_POINT", "PG_BACKUP_START", "PG_BACKUP_STOP", "PG_WAL_REPLAY_PAUSE", "PG_WAL_REPLAY_RESUME",
	"PG_LOGICAL_EMIT_MESSAGE", "PG_NOTIFY", "PG_STAT_RESET", "PG_STAT_STATEMENTS_RESET", "PG_STAT_RESET_SHARED",
	"PG_DROP_REPLICATION_SLOT", "PG_CREATE_PHYSICAL_REPLICATION_SLOT", "PG_CREATE_LOGICAL_REPLICATION_SLOT", "PG_REPLICATION_SLOT_ADVANCE",
	"PG_READ_FILE", "PG_READ_BINARY_FILE", "PG_LS_DIR", "PG_FILE_WRITE", "PG_FILE_UNLINK",
	"LO_IMPORT", "LO_EXPORT", "LO_CREATE", "LO_UNLINK", "DBLINK", "DBLINK_EXEC", "DBLINK_CONNECT", "SET_CONFIG", "SETVAL", "NEXTVAL", "PG_SLEEP", "PG_SLEEP_FOR", "PG_SLEEP_UNTIL",
}

// reading reports what speaks against running a statement as a query. The
// error continues a sentence that begins with the statement.
func reading(sql string) error {
	l := newLexer()
	statements, first, doer, meta := 0, "", "", false
	l.onToken = func(token string) {
		if name := strings.ToUpper(strings.Trim(token, `"`)); slices.Contains(doers, name) {
			doer = name
		}
	}
	l.onStatement = func(words []string, _ [2]string) {
		if statements++; statements == 1 {
			first = strings.ToUpper(words[0])
			if first == "(" && len(words) > 1 {
				first = strings.ToUpper(words[1])
			}
		}
	}
	l.onMeta = func(string) { meta = true }
	_, _ = l.Write([]byte(sql))
	l.Close()
	switch {
	case statements == 0:
		return fmt.Errorf("is empty")
	case statements > 1:
		return fmt.Errorf("has more than one statement")
	case meta:
		return fmt.Errorf("has a command of psql")
	case !slices.Contains(readers, first):
		return fmt.Errorf("does not begin with %s", strings.Join(readers, ", "))
	case doer != "":
		return fmt.Errorf("calls %s, which does more than read", strings.ToLower(doer))
	}
	return nil
}
