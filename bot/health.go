package bot

import (
	"fmt"
	"sync"
	"time"
)

// A Status says whether the Slack edge works, for /readyz and for people.
type Status struct {
	Connected   bool      // a socket has said hello
	Since       time.Time // of the present Connected
	Connections int       // sockets of this app, as the last hello counted them
	// Reasons says, in whole sentences, what is wrong; empty when all is well.
	Reasons []string
}

// Ready reports whether people's commands arrive and are answered.
func (s Status) Ready() bool { return s.Connected && len(s.Reasons) == 0 }

// What can be wrong at a time, one sentence each.
const (
	aboutLink   = "link"   // the socket
	aboutTokens = "tokens" // what Slack refuses altogether
	aboutCopies = "copies" // other processes of this app
	aboutInbox  = "inbox"  // recording commands
)

// health collects what the parts know.
type health struct {
	mu        sync.Mutex
	connected bool
	since     time.Time
	sockets   int
	wrong     map[string]string
	at        map[string]time.Time // when it was last said
}

// recordDoubt is how long a command that could not be recorded speaks against
// the database. Nobody can tell until the next command comes, and that may
// take days.
const recordDoubt = 10 * time.Second

func newHealth() *health {
	return &health{since: time.Now(), wrong: map[string]string{aboutLink: opening}, at: map[string]time.Time{}}
}

// say notes what is wrong about something; an empty sentence takes it back.
func (h *health) say(about, sentence string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sentence == "" {
		delete(h.wrong, about)
		return
	}
	h.wrong[about] = fmt.Sprintf(sentence, args...)
	h.at[about] = time.Now()
}

func (h *health) hello(sockets int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sockets = sockets
	if !h.connected {
		h.connected, h.since = true, time.Now()
	}
	delete(h.wrong, aboutLink)
}

// opening is what is wrong when nothing better is known.
const opening = "Slack's socket is not up yet."

// down notes that there is no socket, and why. Any reason that is known
// already tells more than opening.
func (h *health) down(sentence string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.connected {
		h.connected, h.since = false, time.Now()
	}
	if h.wrong[aboutLink] == "" || sentence != opening {
		h.wrong[aboutLink] = sentence
	}
}

func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Status{Connected: h.connected, Since: h.since, Connections: h.sockets}
	for _, about := range []string{aboutLink, aboutTokens, aboutCopies, aboutInbox} {
		if w := h.wrong[about]; w != "" && (about != aboutInbox || time.Since(h.at[about]) < recordDoubt) {
			s.Reasons = append(s.Reasons, w)
		}
	}
	return s
}
