package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"opsbot/internal/fault"
)

// The causes of postgres.ping.
const (
	causeRefused  = "refused"
	causeHost     = "host"
	causePassword = "password"
	causeSlots    = "slots"
	causeStarting = "starting"
	causeMissing  = "missing"
	causeTLS      = "tls"
	causeDenied   = "denied"
	causeTimeout  = "timeout"
	causeDisk     = "disk"
	causeBroken   = "broken"
)

// causeText says a cause in words.
func causeText(cause string) string {
	switch cause {
	case causeRefused:
		return "the connection was refused"
	case causeHost:
		return "there is no such host"
	case causePassword:
		return "the password was rejected"
	case causeSlots:
		return "all slots are in use"
	case causeStarting:
		return "it is starting up, shutting down or recovering"
	case causeMissing:
		return "the database is missing"
	case causeTLS:
		return "TLS did not work out"
	case causeDenied:
		return "it does not let this user in"
	case causeTimeout:
		return "there was no answer in time"
	case causeDisk:
		return "the disk is full"
	}
	return "the connection broke"
}

// A state is an SQLSTATE that an operator can do something about.
type state struct {
	kind       fault.Kind
	cause      string
	says, hint string
	quote      bool // the server's own sentence says more
}

// states are checked by the whole code first, then by its class of two
// characters. Source: PostgreSQL 15, appendix A.
var states = map[string]state{
	"28P01": {fault.Unavailable, causePassword, "rejected the password", "Rotate or correct the secret of this connection.", true},
	"28000": {fault.Forbidden, causeDenied, "does not let opsbot in", "Check pg_hba.conf, and whether it wants TLS.", true},
	"3D000": {fault.NotFound, causeMissing, "has no such database", "Was it renamed, or is it being restored?", false},
	"53300": {fault.Unavailable, causeSlots, "has all its slots in use", "Look for sessions that are idle in a transaction, and for a pool that is too large.", false},
	"53100": {fault.Unavailable, causeDisk, "is out of disk space", "Free space on its volume; do not restart it, it may not come back.", true},
	"53200": {fault.Unavailable, causeBroken, "is out of memory", "Look for what takes its memory.", true},
	"57P03": {fault.Unavailable, causeStarting, "is starting up, shutting down or recovering", "Wait until it is ready.", true},
	"57P01": {fault.Unavailable, causeBroken, "ended the connection: an administrator or a restart", "Try again.", false},
	"57P02": {fault.Unavailable, causeStarting, "crashed and is recovering", "Wait until it is ready, then look into its log.", false},
	"57P05": {fault.Unavailable, causeBroken, "ended the connection: it was idle for too long", "Try again.", false},
	"57014": {fault.Unavailable, causeTimeout, "cancelled the statement: it ran too long, or somebody asked for it", "Look at what else runs, or give the step a longer timeout.", false},
	"25P03": {fault.Unavailable, causeBroken, "ended a transaction that was idle for too long", "Try again.", false},
	"55P03": {fault.Conflict, "", "could not get a lock in time", "Look at who holds it with postgres.activity.", true},
	"55006": {fault.Conflict, "", "says that the object is in use", "End what uses it first.", true},
	"40P01": {fault.Conflict, "", "broke a deadlock", "Try again.", false},
	"40001": {fault.Conflict, "", "could not put concurrent changes in order", "Try again.", false},
	"42501": {fault.Forbidden, causeDenied, "does not allow this to opsbot's user", "Grant what is missing.", true},
	"25006": {fault.Forbidden, "", "refuses to write: this is a read-only transaction or a standby", "Queries of runbooks only read.", true},
	"42601": {fault.Invalid, "", "does not understand the statement", "Write one statement of correct SQL.", true},
	"42P01": {fault.NotFound, "", "has no such table", "Check the name, the schema and the migrations.", true},
	"42703": {fault.Invalid, "", "has no such column", "Check the statement against the table.", true},
	"42883": {fault.Invalid, "", "has no such function", "Check the statement, and the types of its values.", true},
	"42P07": {fault.Conflict, "", "has something of that name already", "Look at what it is.", true},
	"42704": {fault.NotFound, "", "has no such object", "Check the name.", true},
	"42P04": {fault.Conflict, "", "has a database of that name already", "Look at what it is.", true},
	"08P01": {fault.Invalid, "", "got another number of values than the statement has", "Give one value for each $1, $2, ….", true},
	"42P02": {fault.Invalid, "", "misses a value of the statement", "Give one value for each $1, $2, ….", true},
	"23505": {fault.Conflict, "", "has the same key already", "Look for the rows that are there twice.", false},
	"22":    {fault.Invalid, "", "cannot take a value of the statement", "Check the values.", true},
	"08":    {fault.Unavailable, causeBroken, "lost the connection", "Try again.", false},
	"53":    {fault.Unavailable, causeBroken, "is short of resources", "Look at its log.", true},
	"58":    {fault.Unavailable, causeBroken, "has trouble with its files", "Look at its log and its disk.", true},
	"XX":    {fault.Unavailable, causeBroken, "reports damage or a defect of its own", "Look at its log before anything is restarted.", true},
}

// stateOf looks a code up.
func stateOf(code string) (state, bool) {
	if s, ok := states[code]; ok {
		return s, true
	}
	s, ok := states[code[:min(2, len(code))]]
	return s, ok
}

// explain turns an error of the client into one that people understand. doing
// is what was tried, such that "could not <doing> PostgreSQL at …" is a
// sentence. The text never has the statement or its values.
func (c *Conn) explain(doing string, err error) error {
	if err == nil || ours(err) {
		return err
	}
	var reply *pgconn.PgError
	if errors.As(err, &reply) {
		s, known := stateOf(reply.Code)
		if !known {
			s = state{fault.Unavailable, causeBroken, "answered with an error", "", true}
		}
		says := s.says
		if reply.Code == "28P01" {
			says = fmt.Sprintf("rejected the password of %s", userIn(reply.Message))
		}
		hint := s.hint
		if s.quote {
			hint = strings.TrimSpace(hint + " It said: " + clip(reply.Message, 200))
		}
		return fault.New(s.kind, "%s %s.", c.subject(), says).Hinted("%s", hint).Because(err)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s %s: %w", doing, c.place(), err)
	}
	if strings.Contains(err.Error(), "arguments, got") { // pgx has no name for it
		return fault.New(fault.Invalid, "The statement takes another number of values.").Hinted("Give one value for each $1, $2, ….").Because(err)
	}
	says, hint := "", ""
	switch causeOf(err) {
	case causeRefused:
		says, hint = "refused the connection", "Is it running, and is the address right?"
	case causeHost:
		says, hint = "could not be found: no such host", "Check the connection's address."
	case causeTLS:
		says, hint = "and opsbot do not agree about TLS", "Check sslmode in the connection's address, and the server's certificate."
	case causeTimeout:
		says, hint = "did not answer in time", "It may be overloaded, or a firewall drops the packets."
	default:
		return fault.New(fault.Unavailable, "Could not %s %s.", doing, c.subject()).
			Hinted("The connection broke. Is it a PostgreSQL server?").Because(err)
	}
	return fault.New(fault.Unavailable, "%s %s.", c.subject(), says).Hinted("%s", hint).Because(err)
}

// userIn finds the user in `password authentication failed for user "x"`.
func userIn(message string) string {
	if _, rest, ok := strings.Cut(message, `user "`); ok {
		if name, _, ok := strings.Cut(rest, `"`); ok && name != "" {
			return clip(name, 63)
		}
	}
	return "opsbot's user"
}

// causeOf classifies a failed connection or statement.
func causeOf(err error) string {
	var (
		reply     *pgconn.PgError
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		timeout   net.Error
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &reply):
		if s, ok := stateOf(reply.Code); ok && s.cause != "" {
			return s.cause
		}
		return causeBroken
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return causeRefused
	case errors.As(err, &dns):
		return causeHost
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record),
		strings.Contains(err.Error(), "server refused TLS connection"): // pgconn has no name for it
		return causeTLS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return causeTimeout
	}
	return causeBroken
}

// code returns the SQLSTATE of an error, "" if the server did not say one.
func code(err error) string {
	var reply *pgconn.PgError
	if errors.As(err, &reply) {
		return reply.Code
	}
	return ""
}
