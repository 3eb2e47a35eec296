package page

import (
	"fmt"
	"net/http"
	"time"
)

const (
	// settle is how long the stream gathers changes before it tells of
	// them: a bot that posts, edits and reacts makes one redraw.
	settle = 40 * time.Millisecond
	// beat is how often a comment keeps the stream open.
	beat = 15 * time.Second
)

// serveEvents streams "changed" whenever something happened that the person
// may see. It carries nothing else: the page asks for what it shows.
func (p *page) serveEvents(w http.ResponseWriter, r *http.Request) {
	user := r.URL.Query().Get("as")
	out := http.NewResponseController(w)
	// A stream outlives the server's write timeout, where it has one.
	_ = out.SetWriteDeadline(time.Time{})
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	events := p.sim.Subscribe(r.Context())
	send := func(format string, args ...any) bool {
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil && out.Flush() == nil
	}
	if !send("retry: 1000\nevent: hello\ndata: {}\n\n") {
		return
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var due <-chan time.Time
	for {
		select {
		case e, open := <-events:
			if !open {
				return
			}
			if e.User == "" || e.User == user {
				if due == nil {
					due = time.After(settle)
				}
			}
		case <-due:
			due = nil
			if !send("event: changed\ndata: {}\n\n") {
				return
			}
		case <-ticker.C:
			if !send(": still here\n\n") {
				return
			}
		}
	}
}
