package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type activity struct{}

// A Session is a client's connection.
type Session struct {
	PID         int           `json:"pid"`
	Started     string        `json:"started" help:"when the connection began; with pid it names the session"`
	User        string        `json:"user"`
	App         string        `json:"app" help:"application_name, or the client's address"`
	Database    string        `json:"database"`
	State       string        `json:"state" help:"active, idle, idle in transaction, …"`
	Transaction time.Duration `json:"transaction" help:"age of its transaction; 0: none"`
	Idle        time.Duration `json:"idle" help:"how long in this state"`
	Waiting     bool          `json:"waiting" help:"for a lock"`
	Blocks      []int         `json:"blocks" help:"pids that wait for it"`
	Query       string        `json:"query" help:"the last statement's beginning, without its values"`
}

// An Activity is the result of postgres.activity. It is there also when no
// slot was left to look: then Cause is slots.
type Activity struct {
	Clients     int            `json:"clients" help:"client connections to this server, without opsbot's"`
	Active      int            `json:"active" help:"of them, those that run a statement"`
	Waiting     int            `json:"waiting" help:"of the active, those that wait for a lock"`
	Idle        int            `json:"idle"`
	IdleInTx    int            `json:"idle_in_tx" help:"idle in a transaction, which holds locks and hinders vacuum"`
	SlotsUsed   int            `json:"slots_used" help:"client connections, opsbot's own included"`
	SlotsUsable int            `json:"slots_usable" help:"how many there can be without superusers"`
	SlotsPct    float64        `json:"slots_pct" help:"used by usable, of a hundred"`
	Exhausted   bool           `json:"exhausted" help:"opsbot was refused for lack of a slot; looked at through a reserved one"`
	OldestXact  time.Duration  `json:"oldest_xact" help:"age of the oldest open transaction; 0: none"`
	ByState     map[string]int `json:"by_state"`
	ByApp       map[string]int `json:"by_app"`
	ByUser      map[string]int `json:"by_user"`
	Blockers    []Session      `json:"blockers" help:"sessions that others wait for, at most 50"`
	Open        []Session      `json:"transactions" help:"sessions with an open transaction, oldest first, at most 50"`
	Abandoned   []Session      `json:"idle_transactions" help:"of them, those that do nothing, oldest first, at most 50"`
	BaseBackups int            `json:"base_backups" help:"that are being taken"`
	Cause       string         `json:"cause" help:"why it could not look; empty: it could"`
}

// Found says the result in one line.
func (r Activity) Found() string {
	if r.Cause != "" {
		return "could not look: " + causeText(r.Cause)
	}
	parts := []string{
		things(r.Clients, "client"),
		fmt.Sprintf("%d active", r.Active),
		fmt.Sprintf("%d waiting for a lock", r.Waiting),
		fmt.Sprintf("%d idle in a transaction", r.IdleInTx),
		fmt.Sprintf("%d of %d slots", r.SlotsUsed, r.SlotsUsable),
	}
	if r.OldestXact > 0 {
		parts = append(parts, "oldest transaction "+age(r.OldestXact))
	}
	if len(r.Blockers) > 0 {
		parts = append(parts, things(len(r.Blockers), "blocker"))
	}
	if r.Exhausted {
		parts = append(parts, "no slot was left for opsbot")
	}
	return strings.Join(parts, ", ")
}

func (activity) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.activity",
		Summary: "Count client connections by what they do, and name who blocks whom.",
		Timeout: 10 * time.Second,
		Result:  Activity{},
	}
}

// activitySQL returns one JSON document, so that psql can ask it too. Ages are
// nanoseconds. Own sessions are left out of everything but the slots.
const activitySQL = `
WITH clients AS (
	SELECT pid, backend_start::text AS started, usename::text AS "user",
		coalesce(nullif(application_name, ''), host(client_addr), 'local') AS app,
		datname::text AS database, coalesce(state, 'unknown') AS state,
		coalesce((extract(epoch FROM clock_timestamp() - xact_start) * 1e9)::bigint, 0) AS transaction,
		coalesce((extract(epoch FROM clock_timestamp() - state_change) * 1e9)::bigint, 0) AS idle,
		coalesce(wait_event_type = 'Lock', false) AS waiting,
		pg_blocking_pids(pid) AS blocked_by, left(query, 1000) AS query
	FROM pg_stat_activity
	WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'opsbot'
), sessions AS (
	SELECT c.*, ARRAY(SELECT b.pid FROM clients b WHERE c.pid = ANY (b.blocked_by) ORDER BY 1) AS blocks FROM clients c
)
SELECT json_build_object(
	'clients', (SELECT count(*) FROM clients),
	'active', (SELECT count(*) FROM clients WHERE state = 'active'),
	'waiting', (SELECT count(*) FROM clients WHERE state = 'active' AND waiting),
	'idle', (SELECT count(*) FROM clients WHERE state = 'idle'),
	'idle_in_tx', (SELECT count(*) FROM clients WHERE state LIKE 'idle in transaction%'),
	'slots_used', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
	'slots_usable', ` + usableSlots + `,
	'oldest_xact', (SELECT coalesce(max(transaction), 0) FROM clients),
	'by_state', (SELECT coalesce(json_object_agg(state, n), '{}') FROM (SELECT state, count(*) n FROM clients GROUP BY 1) s),
	'by_app', (SELECT coalesce(json_object_agg(app, n), '{}') FROM (SELECT app, count(*) n FROM clients GROUP BY 1 ORDER BY 2 DESC LIMIT 20) s),
	'by_user', (SELECT coalesce(json_object_agg(coalesce("user", 'unknown'), n), '{}') FROM (SELECT "user", count(*) n FROM clients GROUP BY 1 ORDER BY 2 DESC LIMIT 20) s),
	'blockers', (SELECT coalesce(json_agg(s), '[]') FROM (SELECT * FROM sessions WHERE blocks <> '{}' ORDER BY transaction DESC LIMIT 50) s),
	'transactions', (SELECT coalesce(json_agg(s), '[]') FROM (SELECT * FROM sessions WHERE transaction > 0 ORDER BY transaction DESC LIMIT 50) s),
	'idle_transactions', (SELECT coalesce(json_agg(s), '[]') FROM (SELECT * FROM sessions WHERE state LIKE 'idle in transaction%' ORDER BY transaction DESC LIMIT 50) s),
	'base_backups', (SELECT count(*) FROM pg_stat_progress_basebackup))::text`

func (activity) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	r, err := c.activity(ctx)
	if err != nil {
		return Activity{Cause: causeOf(err), Exhausted: causeOf(err) == causeSlots, SlotsPct: share(0, 0)}, err
	}
	fmt.Fprintln(out, r.Found())
	for _, s := range r.Blockers {
		fmt.Fprintf(out, "%s blocks %v: %s\n", s.name(), s.Blocks, s.Query)
	}
	for _, s := range r.Open {
		fmt.Fprintf(out, "%s, %s, transaction of %s: %s\n", s.name(), s.State, age(s.Transaction), s.Query)
	}
	return r, nil
}

// activity looks around; without a slot for the reading role through a reserved
// one, if a user for it is configured.
func (c *Conn) activity(ctx context.Context) (Activity, error) {
	var text string
	err := c.read(ctx, "look around in", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, activitySQL).Scan(&text)
	})
	exhausted := causeOf(err) == causeSlots
	if exhausted && c.config.Reserve.User != "" {
		text, err = c.reserved(ctx, activitySQL)
	}
	if err != nil {
		return Activity{}, err
	}
	var r Activity
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Activity{}, fmt.Errorf("read the activity of %s: %w", c.place(), err)
	}
	r.Exhausted = exhausted
	r.SlotsPct = share(r.SlotsUsed, r.SlotsUsable)
	for _, list := range [][]Session{r.Blockers, r.Open, r.Abandoned} {
		for i := range list {
			list[i].Query = quiet(list[i].Query)
		}
	}
	return r, nil
}

// reserved asks through psql as the superuser for whom the server keeps slots.
// The text is ours alone.
func (c *Conn) reserved(ctx context.Context, sql string) (string, error) {
	var out bytes.Buffer
	session := PsqlSession{c.config.Reserve.User, c.config.Reserve.Password, c.database}
	err := c.config.Psql.Run(ctx, session, strings.NewReader(sql+";\n"), &out)
	if err != nil {
		return "", c.psqlFailed("look around in", err)
	}
	return strings.TrimSpace(out.String()), nil
}

// name is how a card names a session: "pid 4711 (api, ann)".
func (s Session) name() string { return fmt.Sprintf("pid %d (%s, %s)", s.PID, s.App, s.User) }

// quiet shortens a statement and leaves its values out: they are the business
// of those who sent it.
func quiet(sql string) string {
	var tokens []string
	l := newLexer()
	l.onToken = func(token string) {
		switch {
		case token == "'" || token == "$$":
			token = "'…'"
		case token[0] >= '0' && token[0] <= '9':
			token = "…"
		}
		tokens = append(tokens, token)
	}
	l.onDrop = func() { tokens = tokens[:len(tokens)-1] }
	_, _ = l.Write([]byte(sql))
	l.Close()
	var b strings.Builder
	glue := true
	for _, token := range tokens {
		if !glue && !strings.Contains(".,()", token) {
			b.WriteByte(' ')
		}
		b.WriteString(token)
		glue = token == "." || token == "("
	}
	return clip(b.String(), 200)
}

// firstLine leaves out what follows an error: it may quote rows.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// psqlFailed turns an error of psql into one that people understand.
func (c *Conn) psqlFailed(doing string, err error) error {
	said, ok := err.(*PsqlError)
	if !ok {
		return c.explain(doing, err)
	}
	return fault.New(fault.Unavailable, "Could not %s %s: psql ended with code %d.", doing, c.subject(), said.ExitCode).
		Hinted("It said: %s", clip(firstLine(said.Stderr), 300)).Because(err)
}
