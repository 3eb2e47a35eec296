package page

import (
	"strings"
	"sync"

	"opsbot/internal/slacksim/page/kit"
)

// memory is what the page knows of its readers and the workspace does not:
// how far they have read, what they dismissed, what failed under their hands.
// Slack's client keeps the same by itself. The zero value is empty.
type memory struct {
	mu        sync.Mutex
	read      map[readKey]string // the newest ts seen
	dismissed map[readKey]bool
	failed    map[string]map[kit.Spot]string // by person and surface
	trouble   map[string]string              // by view
}

// maxMemory bounds each map; a full one starts again, which costs no more than
// an unread mark.
const maxMemory = 10_000

// readKey is a channel, or a thread when ts is set, as one person sees it.
type readKey struct{ user, channel, ts string }

// seen notes that everything up to ts was on the screen.
func (m *memory) seen(k readKey, ts string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read == nil || len(m.read) > maxMemory {
		m.read = map[readKey]string{}
	}
	if ts > m.read[k] {
		m.read[k] = ts
	}
}

func (m *memory) readUpTo(k readKey) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read[k]
}

func (m *memory) dismiss(k readKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dismissed == nil || len(m.dismissed) > maxMemory {
		m.dismissed = map[readKey]bool{}
	}
	m.dismissed[k] = true
}

func (m *memory) gone(k readKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dismissed[k]
}

// fail notes what went wrong at an element of a surface, or with "" that
// nothing did.
func (m *memory) fail(user, source string, at kit.Spot, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil || len(m.failed) > maxMemory {
		m.failed = map[string]map[kit.Spot]string{}
	}
	key := user + " " + source
	spots := map[kit.Spot]string{}
	for s, t := range m.failed[key] { // copied, since readers hold the old one
		spots[s] = t
	}
	if delete(spots, at); text != "" {
		spots[at] = text
	}
	if m.failed[key] = spots; len(spots) == 0 {
		delete(m.failed, key)
	}
}

func (m *memory) failures(user, source string) map[kit.Spot]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[user+" "+source]
}

// troubled notes what went wrong with a whole view, or with "" that nothing
// did.
func (m *memory) troubled(view, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trouble == nil || len(m.trouble) > maxMemory {
		m.trouble = map[string]string{}
	}
	if delete(m.trouble, view); text != "" {
		m.trouble[view] = text
	}
}

func (m *memory) troubleOf(view string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trouble[view]
}

// A source names a surface in the page: m:CHANNEL:TS or v:VIEW.
type source struct{ Channel, TS, View string }

func (s source) String() string {
	if s.View != "" {
		return "v:" + s.View
	}
	return "m:" + s.Channel + ":" + s.TS
}

func parseSource(s string) (source, bool) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "v":
		return source{View: rest}, rest != ""
	case "m":
		channel, ts, ok := strings.Cut(rest, ":")
		return source{Channel: channel, TS: ts}, ok && channel != "" && ts != ""
	}
	return source{}, false
}
