package slacksim

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A Fault makes Web API calls go wrong. The first of RetryAfter, Status and
// Error that is set decides the answer.
type Fault struct {
	RetryAfter time.Duration // 429 with this Retry-After, in whole seconds
	Status     int           // such as 503
	Error      string        // such as fatal_error
	Delay      time.Duration // wait so long first, in real time; alone: answer late but well
	Lost       bool          // do the work, then break the connection instead of answering
	Times      int           // how many calls; 0 with For: any number, 0 without: one
	For        time.Duration // how long, on the simulated clock; 0: until Times are used up

	until time.Time
}

type faults struct {
	byMethod  map[string][]*Fault
	dropAcks  int           // acks to lose
	dropOf    []string      // of these types only; empty: of any
	delayAcks time.Duration // ack processing, in real time
	dupEvents int           // events to deliver twice
	swap      bool          // hold the next event back
	held      *delivery     // it waits for the one after
	noPings   bool
	cutNext   int // envelopes to break off half-way

	rejecting  string // reason with which new sockets are turned away; empty: they are not
	rejections int    // how many more; 0: all
}

// Fail makes calls of a method go wrong; "*" is any method, "link" the
// WebSocket upgrade, "response_url" and "upload" those doors. Several faults
// are used up in order.
func (s *Server) Fail(method string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 && f.For == 0 {
		f.Times = 1
	}
	if f.For > 0 {
		f.until = s.clock.now().Add(f.For)
	}
	s.faults.byMethod[method] = append(s.faults.byMethod[method], &f)
}

// Heal ends every fault that Fail began.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults.byMethod)
}

// takeFault returns a copy of the fault that hits this call, nil when none does.
func (s *Server) takeFault(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range []string{method, "*"} {
		list := s.faults.byMethod[key]
		for len(list) > 0 {
			f := list[0]
			if !f.until.IsZero() && !s.clock.now().Before(f.until) {
				list = list[1:]
				s.faults.byMethod[key] = list
				continue
			}
			hit := *f
			if f.Times > 0 {
				f.Times--
				if f.Times == 0 {
					s.faults.byMethod[key] = list[1:]
				}
			}
			return &hit
		}
	}
	return nil
}

// delayed waits as the fault says; false means that the caller went away.
func (s *Server) delayed(ctx context.Context, f *Fault) bool {
	if f == nil || f.Delay <= 0 {
		return true
	}
	return s.pause(ctx, f.Delay)
}

// pause waits in real time; false means that ctx or the server ended first.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

// refuses reports whether the call is answered by the fault.
func (f *Fault) refuses() bool {
	return f != nil && !f.Lost && (f.RetryAfter > 0 || f.Status != 0 || f.Error != "")
}

func (f *Fault) loses() bool { return f != nil && f.Lost }

func (f *Fault) answer(h http.Header) (int, obj) {
	switch {
	case f.RetryAfter > 0:
		h.Set("Retry-After", strconv.Itoa(max(1, int((f.RetryAfter+time.Second-1)/time.Second))))
		return http.StatusTooManyRequests, refuse("ratelimited")
	case f.Status != 0:
		code := f.Error
		if code == "" {
			code = "service_unavailable"
		}
		return f.Status, refuse(code)
	default:
		return http.StatusOK, refuse(f.Error)
	}
}

// RevokeToken makes every later call with the bot token answer token_revoked,
// and with the app-level token invalid_auth.
func (s *Server) RevokeToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[s.opts.BotToken] = "token_revoked"
	s.revoked[s.opts.AppToken] = "invalid_auth"
}

// RemoveScope takes a scope from the app, as a reinstall without it would;
// connections:write is the app-level token's.
func (s *Server) RemoveScope(scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.scopes, scope)
}

// RemoveEvent unsubscribes the app from an event, such as pin_added.
func (s *Server) RemoveEvent(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := &s.manifest.Settings.Events.Bot
	*events = slices.DeleteFunc(slices.Clone(*events), func(e string) bool { return e == name })
}

// AddEvent subscribes the app to an event.
func (s *Server) AddEvent(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest.Settings.Events.Bot = append(slices.Clone(s.manifest.Settings.Events.Bot), name)
}

// DropSockets breaks every connection without a close frame.
func (s *Server) DropSockets() {
	for _, k := range s.openSockets() {
		k.cancel()
	}
}

func (s *Server) openSockets() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sockets)
}

// Disconnect sends a disconnect frame with the reason (warning,
// refresh_requested, link_disabled, too_many_websockets) to every socket and
// closes it as Slack would. After link_disabled each new socket is told the
// same until AcceptSockets.
func (s *Server) Disconnect(reason string) {
	if reason == "link_disabled" {
		s.RejectSockets(reason, 0)
	}
	for _, k := range s.openSockets() {
		s.dismiss(k, reason)
	}
}

// RejectSockets turns the next n sockets away with the reason instead of a
// hello; 0 means all until AcceptSockets.
func (s *Server) RejectSockets(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.rejecting, s.faults.rejections = reason, n
}

// AcceptSockets ends RejectSockets.
func (s *Server) AcceptSockets() { s.RejectSockets("", 0) }

// DropNextAcks loses the next n acks, as if they had never arrived; where types
// are named, as Ack.What has them, only acks of those.
func (s *Server) DropNextAcks(n int, of ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.dropAcks, s.faults.dropOf = n, of
}

// DelayAcks makes every ack arrive so much later, in real time; 0 ends it.
func (s *Server) DelayAcks(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.delayAcks = d
}

// DuplicateEvents delivers each of the next n events twice, in two envelopes
// with one event_id.
func (s *Server) DuplicateEvents(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.dupEvents = n
}

// ReorderEvents holds the next event back until the one after it was sent.
func (s *Server) ReorderEvents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.swap = true
}

// CutNextEnvelope breaks the connection in the middle of the next envelope.
func (s *Server) CutNextEnvelope() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.cutNext++
}

// IgnorePings stops the server from sending and answering pings.
func (s *Server) IgnorePings(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.noPings = on
}

// SendRaw sends a frame as it is to one of the sockets, such as an envelope of
// a type that does not exist. It reports whether a socket was open. An ack for
// its envelope_id is recorded as good.
func (s *Server) SendRaw(frame string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sockets) == 0 {
		return false
	}
	if f, problem := parseAck([]byte(frame)); problem == "" {
		d := &delivery{s: s, id: f.EnvelopeID, what: "raw", sent: s.clock.now()}
		s.pending[d.id] = d
		d.deadline = s.clock.after(ackDeadline, d.expire)
	}
	s.sockets[s.rnd.IntN(len(s.sockets))].send(outgoing{data: []byte(frame)})
	return true
}
