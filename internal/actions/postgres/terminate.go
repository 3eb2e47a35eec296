package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type terminate struct{}

// TerminateArgs are the arguments of postgres.terminate.
type TerminateArgs struct {
	PIDs []int `arg:"pids" required:"true" help:"of one to five sessions, as postgres.activity lists them"`
}

// Terminated is the result of postgres.terminate.
type Terminated struct {
	Ended   []int `json:"ended" help:"pids of sessions that are over now"`
	Gone    []int `json:"gone" help:"pids that were gone already, or belong to another session by now"`
	Staying []int `json:"staying" help:"pids that were told to end and have not within five seconds"`
}

// Found says the result in one line.
func (r Terminated) Found() string {
	text := "ended " + things(len(r.Ended), "session")
	if n := len(r.Gone); n > 0 {
		text += fmt.Sprintf(", %d were gone already", n)
	}
	if n := len(r.Staying); n > 0 {
		text += fmt.Sprintf(", %d have not ended yet", n)
	}
	return text
}

func (terminate) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.terminate",
		Summary: "End sessions and roll back their transactions.",
		Effect:  runbooks.Destructive,
		Timeout: 15 * time.Second,
		Args:    TerminateArgs{},
		Result:  Terminated{},
	}
}

// A sighting is a session as a preview showed it.
type sighting struct {
	pid     int
	started string // backend_start
}

const (
	maxTerminated = 5
	// endsWithin is how long sessions are watched after they were told to end.
	endsWithin = 5 * time.Second
)

func (terminate) plan(call runbooks.Call) (*Conn, []int, error) {
	c, args, err := aimed[TerminateArgs](call)
	if err != nil {
		return nil, nil, err
	}
	pids := slices.Clone(args.PIDs)
	slices.Sort(pids)
	pids = slices.Compact(pids)
	if len(pids) == 0 || len(pids) > maxTerminated || pids[0] <= 0 {
		return nil, nil, fault.New(fault.Invalid, "postgres.terminate ends one to %d sessions, named by their pids.", maxTerminated)
	}
	return c, pids, nil
}

// sessionsSQL returns the client sessions with the pids as JSON. Background
// processes and opsbot's own sessions are not among them.
func sessionsSQL(pids []int) string {
	return `SELECT coalesce(json_agg(json_build_object('pid', pid, 'started', backend_start::text, 'user', usename,
		'app', coalesce(nullif(application_name, ''), host(client_addr), 'local'), 'database', datname, 'state', coalesce(state, 'unknown'),
		'transaction', coalesce((extract(epoch FROM clock_timestamp() - xact_start) * 1e9)::bigint, 0),
		'query', left(query, 1000)) ORDER BY pid), '[]')::text
	FROM pg_stat_activity WHERE pid IN (` + pidList(pids) + `) AND backend_type = 'client backend' AND application_name <> 'opsbot'`
}

func pidList(pids []int) string {
	texts := make([]string, len(pids))
	for i, p := range pids {
		texts[i] = strconv.Itoa(p)
	}
	return strings.Join(texts, ", ")
}

// ask runs a query of ours that returns one text, through a reserved slot if
// there is no other.
func (c *Conn) ask(ctx context.Context, doing, sql string) (string, error) {
	var text string
	err := c.read(ctx, doing, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(&text) })
	if causeOf(err) == causeSlots && c.config.Reserve.User != "" {
		return c.reserved(ctx, sql)
	}
	return text, err
}

func (c *Conn) sessions(ctx context.Context, pids []int) ([]Session, error) {
	text, err := c.ask(ctx, "look around in", sessionsSQL(pids))
	if err != nil {
		return nil, err
	}
	var list []Session
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("read the sessions of %s: %w", c.place(), err)
	}
	return list, nil
}

// Preview lists the sessions and what they lose. Each is bound to the moment
// at which it began: a pid is used again.
func (t terminate) Preview(ctx context.Context, call runbooks.Call) (runbooks.Preview, error) {
	c, pids, err := t.plan(call)
	if err != nil {
		return runbooks.Preview{}, err
	}
	list, err := c.sessions(ctx, pids)
	if err != nil {
		return runbooks.Preview{}, err
	}
	if len(list) == 0 {
		return runbooks.Preview{}, fault.New(fault.NotFound, "No client's session on %s has the pid %s.", c.place(), pidList(pids)).
			Hinted("They may be over, or background processes. Look again with postgres.activity.")
	}
	p := runbooks.Preview{Effect: runbooks.Destructive}
	if p.Identity, err = c.identity(ctx); err != nil {
		return runbooks.Preview{}, err
	}
	seen := make([]sighting, 0, len(list))
	for _, s := range list {
		seen = append(seen, sighting{s.PID, s.Started})
		says := "cuts " + s.name() + " on " + s.Database + ", " + s.State
		if s.Transaction > 0 {
			says += ", rolls back a transaction of " + age(s.Transaction)
		}
		p.Impact = append(p.Impact, says+": "+quiet(s.Query))
		p.Live = append(p.Live, runbooks.Live{Name: "session " + strconv.Itoa(s.PID), Text: s.Started, Tolerance: runbooks.Exact})
	}
	if n := len(pids) - len(list); n > 0 {
		p.Impact = append(p.Impact, fmt.Sprintf("%d of the pids are no client's session any more", n))
	}
	c.remember(call, seen)
	return p, nil
}

// identity is Identity, through a reserved slot if there is no other.
func (c *Conn) identity(ctx context.Context) (string, error) {
	id, err := c.ask(ctx, "reach", "SELECT system_identifier::text FROM pg_control_system()")
	return id + "/" + c.database, err
}

// remember keeps what a preview showed for the run of the same step.
func (c *Conn) remember(call runbooks.Call, seen []sighting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) > 1000 { // runs that were never confirmed
		clear(c.seen)
	}
	c.seen[call.Run+"/"+call.Step] = seen
}

// recall returns it, once.
func (c *Conn) recall(call runbooks.Call) []sighting {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen[call.Run+"/"+call.Step]
	delete(c.seen, call.Run+"/"+call.Step)
	return seen
}

// Run ends the sessions that the preview showed, and no other that has got one
// of their pids meanwhile.
func (t terminate) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, pids, err := t.plan(call)
	if err != nil {
		return nil, err
	}
	seen := c.recall(call)
	if seen == nil { // opsbot was started anew since; what is there now was compared with what was shown
		list, err := c.sessions(ctx, pids)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			seen = append(seen, sighting{s.PID, s.Started})
		}
	}
	r := Terminated{Ended: []int{}, Gone: []int{}, Staying: []int{}}
	told := []sighting{}
	for _, pid := range pids {
		i := slices.IndexFunc(seen, func(s sighting) bool { return s.pid == pid })
		if i < 0 {
			r.Gone = append(r.Gone, pid)
			continue
		}
		was, err := c.tell(ctx, seen[i])
		if err != nil {
			return nil, err
		}
		if !was {
			r.Gone = append(r.Gone, pid)
			continue
		}
		fmt.Fprintf(out, "told pid %d to end\n", pid)
		told = append(told, seen[i])
	}
	deadline := time.Now().Add(endsWithin)
	for len(told) > 0 {
		left := []sighting{}
		for _, s := range told {
			there, err := c.there(ctx, s)
			switch {
			case err != nil:
				return nil, err
			case there:
				left = append(left, s)
			default:
				r.Ended = append(r.Ended, s.pid)
			}
		}
		if told = left; len(told) == 0 || time.Now().After(deadline) {
			break
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, c.explain("watch the sessions of", err)
		}
	}
	for _, s := range told {
		r.Staying = append(r.Staying, s.pid)
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// condition is SQL that holds for the session alone.
func (s sighting) condition() string {
	return fmt.Sprintf("pid = %d AND backend_start = '%s'::timestamptz AND backend_type = 'client backend'",
		s.pid, strings.ReplaceAll(s.started, "'", "''"))
}

// tell asks a session to end, and reports whether it was there.
func (c *Conn) tell(ctx context.Context, s sighting) (bool, error) {
	sql := "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false)::text FROM pg_stat_activity WHERE " + s.condition()
	var text string
	err := c.maintain(ctx, "end a session of", func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&text) })
	if causeOf(err) == causeSlots && c.config.Reserve.User != "" {
		text, err = c.reserved(ctx, sql)
	}
	return text == "true", err
}

func (c *Conn) there(ctx context.Context, s sighting) (bool, error) {
	text, err := c.ask(ctx, "look around in", "SELECT (count(*) > 0)::text FROM pg_stat_activity WHERE "+s.condition())
	return text == "true", err
}
