package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"opsbot/internal/fault"
)

// said are words of the engine, or of Compose, that an operator can do
// something about. Sources: moby 20.10 and compose 2.40; all were seen.
var said = []struct {
	text        string
	kind        fault.Kind
	says, hint  string
	quoteItself bool
}{
	{"port is already allocated", fault.Conflict, "A port that the container publishes is taken.", "A fixed port allows one container: publish a range in the Compose file, or reach the replicas through the proxy.", true},
	{"address already in use", fault.Conflict, "A port that the container publishes is taken by another program.", "Find out which, or publish another port.", true},
	{"no configuration file provided", fault.Invalid, "Compose found no file.", "Check the connection's compose_file.", false},
	{"pull access denied", fault.Unavailable, "The registry refused the image, and it is not present here.", "Check its name, and the credentials of this machine for the registry.", false},
	{"manifest unknown", fault.NotFound, "The registry has no such image, and it is not present here.", "Check its tag.", false},
	{"No such image", fault.NotFound, "The image is not present here.", "Pull it first.", true},
	{"x509:", fault.Unavailable, "The registry's certificate is not trusted.", "Check the registry's name and the trust store of the engine's host.", true},
	{"no space left on device", fault.Unavailable, "The engine's disk is full.", "Free space on its host.", false},
	{"executable file not found", fault.NotFound, "The image has no such program.", "", true},
	{"no such file or directory: unknown", fault.NotFound, "The image has no such program.", "", true},
}

// explain turns an error of the client into one that people understand. doing
// is what was tried, such that "Could not <doing>." is a sentence.
func (c *Conn) explain(doing string, err error) error {
	var own *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	}
	text := clean(err.Error())
	var dns *net.DNSError
	unavailable := func(says, hint string) error {
		return fault.New(fault.Unavailable, "%s %s.", c.subject(), says).Hinted("%s", hint).Because(err)
	}
	switch {
	case strings.Contains(text, "permission denied") && !cerrdefs.IsInternal(err) && !cerrdefs.IsInvalidArgument(err):
		return unavailable("does not let opsbot in", "Is opsbot allowed to use the socket?")
	case errors.As(err, &dns):
		return unavailable("could not be found: no such host", "Check the connection's address.")
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return unavailable("did not answer in time", "It may be overloaded; try again.")
	case client.IsErrConnectionFailed(err):
		return unavailable("cannot be reached", "Is the engine running, and is opsbot allowed to use the socket?")
	case cerrdefs.IsPermissionDenied(err), cerrdefs.IsUnauthorized(err):
		return fault.New(fault.Forbidden, "%s does not allow this to opsbot: %s.", c.subject(), doing).
			Hinted("If a proxy filters the socket, it has to let this pass.").Because(err)
	}
	if e := recognise(text); e != nil {
		return e.Because(err)
	}
	kind := fault.Unavailable
	switch {
	case cerrdefs.IsNotFound(err):
		kind = fault.NotFound
	case cerrdefs.IsConflict(err):
		kind = fault.Conflict
	case cerrdefs.IsInvalidArgument(err):
		kind = fault.Invalid
	}
	return fault.New(kind, "Could not %s.", doing).Hinted("Docker said: %s", clip(text, 300)).Because(err)
}

// recognise finds what an operator can do something about; nil if nothing is known.
func recognise(text string) *fault.Error {
	for _, s := range said {
		if !strings.Contains(text, s.text) {
			continue
		}
		e := fault.New(s.kind, "%s", s.says)
		hint := s.hint
		if s.quoteItself {
			hint = strings.TrimSpace(hint + " Docker said: " + clip(lineWith(text, s.text), 300))
		}
		return e.Hinted("%s", hint)
	}
	return nil
}

// lineWith is the line of a text that contains a word.
func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return strings.TrimSpace(line)
		}
	}
	return text
}
