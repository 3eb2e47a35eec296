package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"opsbot/runbooks"
)

type ping struct{}

// A Pong is the result of postgres.ping. It is there also when the ping
// failed: then only Cause is set.
type Pong struct {
	MS          float64 `json:"ms" help:"milliseconds that an answer took on an open connection"`
	Version     string  `json:"version" help:"of the server: 15.18"`
	VersionNum  int     `json:"version_num" help:"the same as a number: 150018"`
	Writable    bool    `json:"writable" help:"a primary whose sessions may write"`
	Recovery    bool    `json:"recovery" help:"a standby, or a server that is restoring its log"`
	Database    string  `json:"database" help:"name of the database"`
	SystemID    string  `json:"system_id" help:"the server's system_identifier: two servers never share it"`
	SlotsUsed   int     `json:"slots_used" help:"client connections of all databases"`
	SlotsUsable int     `json:"slots_usable" help:"how many there can be without superusers"`
	SlotsPct    float64 `json:"slots_pct" help:"used by usable, of a hundred"`
	Cause       string  `json:"cause" help:"why it failed; empty: it did not. refused, host, password, slots, starting, missing, tls, denied, timeout, disk, broken"`
}

// Found says the result in one line.
func (r Pong) Found() string {
	if r.Cause != "" {
		return "no answer: " + causeText(r.Cause)
	}
	state := "writable"
	switch {
	case r.Recovery:
		state = "a standby, read-only"
	case !r.Writable:
		state = "set to read-only"
	}
	return fmt.Sprintf("PostgreSQL %s answered in %.1f ms, %s, %d of %d slots used", r.Version, r.MS, state, r.SlotsUsed, r.SlotsUsable)
}

func (ping) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "postgres.ping",
		Summary: "Ask PostgreSQL whether it answers and can write, or why it does not.",
		Timeout: 5 * time.Second,
		Result:  Pong{},
	}
}

func (ping) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	r, err := c.ping(ctx)
	if err != nil {
		return Pong{Cause: causeOf(err)}, c.explain("reach", err)
	}
	return r, nil
}

// ping asks on a connection of its own: an open one in the pool would hide
// that no new one can be made.
func (c *Conn) ping(ctx context.Context) (Pong, error) {
	conn, err := pgx.ConnectConfig(ctx, c.base.Copy())
	if err != nil {
		return Pong{}, err
	}
	defer hangUp(conn)
	start := time.Now()
	if err := conn.Ping(ctx); err != nil {
		return Pong{}, err
	}
	r := Pong{MS: float64(time.Since(start).Microseconds()) / 1000}
	var readOnly bool
	err = conn.QueryRow(ctx, `
		SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('server_version_num')::int,
			pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool, current_database(),
			(SELECT system_identifier::text FROM pg_control_system()),
			(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
			`+usableSlots).
		Scan(&r.Version, &r.VersionNum, &r.Recovery, &readOnly, &r.Database, &r.SystemID, &r.SlotsUsed, &r.SlotsUsable)
	if err != nil {
		return Pong{}, err
	}
	r.Writable = !r.Recovery && !readOnly
	r.SlotsPct = share(r.SlotsUsed, r.SlotsUsable)
	return r, nil
}

// usableSlots is how many connections there can be without superusers.
const usableSlots = `current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
	- coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int`

// share gives used by usable, of a hundred.
func share(used, usable int) float64 {
	if usable <= 0 {
		return 100
	}
	return float64(used) * 100 / float64(usable)
}
