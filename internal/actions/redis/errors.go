package redis

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/fault"
)

// replies are the errors of Redis that an operator can do something about, by
// the word they begin with. Source: redis 7.0, server.c and acl.c; all but
// LOADING were also seen on a running server.
var replies = []struct {
	prefix     string
	kind       fault.Kind
	says, hint string
}{
	{"WRONGPASS", fault.Unavailable, "rejected the password", "Rotate or correct the secret of this connection."},
	{"NOAUTH", fault.Unavailable, "wants a password and none is configured", "Add a password reference to this connection."},
	{"ERR AUTH <password> called without any password configured", fault.Unavailable, "has no password, but one is configured", "Check that this is the right Redis."},
	{"ERR Client sent AUTH, but no password is set", fault.Unavailable, "has no password, but one is configured", "Check that this is the right Redis."},
	{"NOPERM", fault.Forbidden, "does not allow this to opsbot's user", "Extend the ACL of that user, or name a maintenance_user that may."},
	{"LOADING", fault.Unavailable, "is still loading its data", "Wait until it is ready and try again."},
	{"MISCONF", fault.Unavailable, "cannot save to disk and refuses writes", "Check the disk and the directory of its snapshots."},
	{"OOM", fault.Unavailable, "is out of memory and refuses writes", "Free memory or raise maxmemory."},
	{"READONLY", fault.Conflict, "is a replica and refuses writes", "Point the connection at the primary."},
	{"MASTERDOWN", fault.Unavailable, "is a replica that has lost its primary", "Check the primary and the network between them."},
	{"ERR DB index is out of range", fault.Invalid, "has no database of that number", "Correct the number at the end of the connection's address."},
	{"ERR max number of clients reached", fault.Unavailable, "has all its client slots in use", "Look for a program that opens connections and keeps them."},
	{"MOVED", fault.Conflict, "is one node of a cluster", "opsbot works on single servers only."},
}

// explain turns an error of the client into one that people understand. doing
// is what was tried, such that "could not <doing> Redis at …" is a sentence.
func (c *Conn) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s %s: %w", doing, c.address, err)
	}
	text := err.Error()
	for _, r := range replies {
		if strings.HasPrefix(text, r.prefix) {
			hint := r.hint
			if r.prefix == "NOPERM" {
				hint += " It said: " + firstLine(text) // which names the command
			}
			return fault.New(r.kind, "%s %s.", c.subject(), r.says).Hinted("%s", hint).Because(err)
		}
	}
	unavailable := func(says, hint string) error {
		return fault.New(fault.Unavailable, "%s %s.", c.subject(), says).Hinted("%s", hint).Because(err)
	}
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		timeout   net.Error
		reply     redis.Error
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return unavailable("refused the connection", "Is it running, and is the address right?")
	case errors.As(err, &dns):
		return unavailable("could not be found: no such host", "Check the connection's address.")
	case errors.As(err, &authority), errors.As(err, &hostname):
		return unavailable("has a certificate that is not trusted", "Check its name and its issuer.")
	case errors.Is(err, os.ErrNotExist):
		return unavailable("has no socket there", "Is it running, and is the path right?")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if c.client.Options().TLSConfig != nil {
			return unavailable("did not answer in time", "Is it overloaded, does a firewall drop the packets, and does it speak TLS?")
		}
		return unavailable("did not answer in time", "It may be overloaded, or a firewall drops the packets.")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return unavailable("closed the connection", "Is it a Redis server, and does it want TLS?")
	case errors.As(err, &reply):
		return fault.New(fault.Unavailable, "%s answered with an error.", c.subject()).
			Hinted("It said: %s", firstLine(text)).Because(err)
	default:
		return fault.New(fault.Unavailable, "Could not %s %s.", doing, c.subject()).
			Hinted("Is it a Redis server, and does it want TLS?").Because(err)
	}
}

// firstLine shortens what a server said to something that fits in a sentence.
func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return text
}
