package bot

import (
	"slices"
	"sync"
	"time"

	"opsbot/internal/outbox"
)

// echoPatience is how long Slack may take to tell the bot of its own doing.
const echoPatience = 2 * time.Minute

// unheard says what does not work without an event.
var unheard = map[string]string{
	"message.channels": "Edits and deletions of messages do not reach the timelines of incidents.",
	"pin_added":        "What is pinned does not come onto the timelines of incidents.",
	"pin_removed":      "What is unpinned stays on the timelines of incidents.",
	"reaction_added":   "A 📌 does not put a message onto an incident's timeline.",
}

// echoes find out which events the app did not subscribe to, which a bot token
// cannot ask for. Slack tells an app of its own pins, reactions and messages
// like of everybody's; an event that does not come back is missing in the
// app's settings. With more than one socket it may have gone to another
// process, so then nothing is concluded.
type echoes struct {
	patience time.Duration

	mu      sync.Mutex
	awaited map[string]time.Time // event → since when
	heard   map[string]bool
	missed  map[string]bool
}

func newEchoes(patience time.Duration) *echoes {
	if patience == 0 {
		patience = echoPatience
	}
	return &echoes{patience: patience, awaited: map[string]time.Time{}, heard: map[string]bool{}, missed: map[string]bool{}}
}

// await notes that the bot did what the event tells of.
func (e *echoes) await(event string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, waiting := e.awaited[event]; unheard[event] != "" && !waiting && !e.heard[event] && !e.missed[event] {
		e.awaited[event] = time.Now()
	}
}

// hear notes that the event came, whoever did what it tells of.
func (e *echoes) hear(event string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.awaited, event)
	e.heard[event] = true
}

// anew forgets what is waited for: on a socket that broke it may have been lost.
func (e *echoes) anew() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.awaited)
}

// overdue returns the events that did not come in time, and those of them that
// came after all, each once.
func (e *echoes) overdue() (missing, back []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for event, since := range e.awaited {
		if time.Since(since) >= e.patience {
			delete(e.awaited, event)
			e.missed[event] = true
			missing = append(missing, event)
		}
	}
	for event := range e.missed {
		if e.heard[event] {
			delete(e.missed, event)
			back = append(back, event)
		}
	}
	slices.Sort(missing)
	slices.Sort(back)
	return missing, back
}

// subscription is the event's name in the app's settings.
func (e event) subscription() string {
	if e.Type == "message" {
		return map[string]string{"channel": "message.channels", "group": "message.groups", "im": "message.im"}[e.ChannelType]
	}
	return e.Type
}

// listen tells people in the ops channel which events are missing.
func (w *Workspace) listen() (said []outbox.Notice) {
	if w.health.status().Connections != 1 {
		w.echoes.anew()
	}
	missing, back := w.echoes.overdue()
	say := func(event, text string) {
		said = append(said, outbox.Notice{Key: "unheard:" + event, Content: outbox.Line{Text: text}})
	}
	for _, event := range missing {
		w.log.Error("the Slack app lacks an event", "event", event)
		say(event, "Slack does not tell opsbot of "+event+". "+unheard[event]+
			" Add the event under Event Subscriptions in the app's settings, or paste the manifest (opsbot manifest), and install the app again.")
	}
	for _, event := range back {
		say(event, "Slack tells opsbot of "+event+".")
	}
	return said
}
