package slacksim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// ackDeadline is how long an app has to acknowledge an envelope.
const ackDeadline = 3 * time.Second

// An outcome is how a delivery ended.
type outcome int

const (
	acked         outcome = iota
	noSocket              // the app was not connected
	timedOut              // no ack within ackDeadline
	shutdown              // the simulator was closed
	misunderstood         // the ack's payload made no sense, so the client shows an error
)

// A delivery is one envelope and what waits for its ack.
type delivery struct {
	s        *Server
	id       string // envelope_id
	kind     string // slash_commands, interactive, events_api
	what     string // payload type or event type, for the record
	accepts  bool   // accepts_response_payload
	payload  obj
	attempt  int // of events
	sent     time.Time
	deadline *timer
	// apply reads the ack's payload (nil when there is none) with the lock
	// held, before anything that the app does later can be seen.
	apply func(payload json.RawMessage) outcome
	done  chan outcome // one value; nil for events
	retry func()       // for events: what to do without an ack, lock held
}

// An Ack records one frame that the app sent over a socket.
type Ack struct {
	At         time.Time
	EnvelopeID string
	What       string          // slash_commands, block_actions, view_submission, app_mention, …; empty when unknown
	Payload    json.RawMessage // nil when absent or {}
	After      time.Duration   // since the envelope was sent
	Late       bool            // after the deadline, or a second time
	Problem    string          // why it was ignored; empty for a good one
}

// Acks returns the frames received from the app so far, oldest first.
func (s *Server) Acks() []Ack {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acks)
}

// Pending returns how many envelopes wait for their ack.
func (s *Server) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("slacksim: encode: %v", err)) // our own values always encode
	}
	return bytes.TrimSpace(b.Bytes())
}

// newEnvelopeID looks like the UUIDs that Slack uses.
func (s *Server) newEnvelopeID() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", s.rnd.Uint32(), s.rnd.IntN(1<<16), s.rnd.IntN(1<<12), s.rnd.IntN(1<<12), s.rnd.Int64N(1<<48))
}

// dispatch sends an envelope to one of the sockets, any of them, and plans its
// deadline. Without a socket it returns false. The lock is held.
func (s *Server) dispatch(d *delivery) bool {
	var open []*socket
	for _, k := range s.sockets {
		if !k.leaving {
			open = append(open, k)
		}
	}
	d.s, d.id, d.sent = s, s.newEnvelopeID(), s.clock.now()
	if len(open) == 0 {
		return false
	}
	k := open[s.rnd.IntN(len(open))]
	envelope := obj{"envelope_id": d.id, "type": d.kind, "accepts_response_payload": d.accepts, "payload": d.payload}
	if d.kind == "events_api" {
		envelope["retry_attempt"] = d.attempt
		envelope["retry_reason"] = ""
		if d.attempt > 0 {
			envelope["retry_reason"] = "timeout"
		}
	}
	s.pending[d.id] = d
	d.deadline = s.clock.after(ackDeadline, d.expire)
	out := outgoing{data: encode(envelope)}
	if s.faults.cutNext > 0 {
		s.faults.cutNext--
		out.cut = true
		k.leaving = true
	}
	k.send(out)
	return true
}

// ask delivers an envelope and waits for what becomes of it. The lock is not
// held.
func (s *Server) ask(d *delivery) outcome {
	d.done = make(chan outcome, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return shutdown
	}
	sent := s.dispatch(d)
	s.mu.Unlock()
	if !sent {
		return noSocket
	}
	return <-d.done
}

// expire is the deadline passing.
func (d *delivery) expire() {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if d.s.pending[d.id] != d {
		return
	}
	delete(d.s.pending, d.id)
	d.s.remember(d)
	if d.retry != nil {
		d.retry()
	}
	if d.done != nil {
		d.done <- timedOut
	}
}

// giveUp ends the wait because the server closes; the lock is held.
func (d *delivery) giveUp() {
	delete(d.s.pending, d.id)
	if d.done != nil {
		d.done <- shutdown
	}
}

// settled keeps the envelopes that are over, so that a late ack is told from
// a made-up one.
const settledKept = 2000

func (s *Server) remember(d *delivery) {
	s.settled[d.id] = d.what
	s.settledOrder = append(s.settledOrder, d.id)
	if len(s.settledOrder) > settledKept {
		delete(s.settled, s.settledOrder[0])
		s.settledOrder = s.settledOrder[1:]
	}
}

// An ackFrame is what apps send over a socket.
type ackFrame struct {
	EnvelopeID string          `json:"envelope_id"`
	Payload    json.RawMessage `json:"payload"`
}

// parseAck reads a frame. A payload of {} or null means none.
func parseAck(data []byte) (ackFrame, string) {
	var f ackFrame
	if err := json.Unmarshal(data, &f); err != nil {
		return ackFrame{}, "not a JSON object"
	}
	if f.EnvelopeID == "" {
		return ackFrame{}, "no envelope_id"
	}
	if p := bytes.TrimSpace(f.Payload); len(p) == 0 || string(p) == "null" || isEmptyObject(p) {
		f.Payload = nil
	}
	return f, ""
}

func isEmptyObject(p []byte) bool {
	return p[0] == '{' && len(bytes.TrimSpace(p[1:])) == 1
}

// receive handles one frame from the app. An ack counts on whichever socket
// it comes (policy: slack-go acks on the new one after a reconnect).
func (s *Server) receive(ctx context.Context, isText bool, data []byte) {
	var (
		f       ackFrame
		problem = "binary frame"
	)
	if isText {
		f, problem = parseAck(data)
	}
	s.mu.Lock()
	delay := s.faults.delayAcks
	s.mu.Unlock()
	if delay > 0 && !s.pause(ctx, delay) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.now()
	a := Ack{At: now, EnvelopeID: f.EnvelopeID, Payload: f.Payload, Problem: problem}
	d := s.pending[f.EnvelopeID]
	switch {
	case problem != "":
	case d == nil:
		what, known := s.settled[f.EnvelopeID]
		a.What, a.Late = what, known
		a.Problem = "unknown envelope"
		if known {
			a.Problem = "late"
		}
	case s.faults.dropAcks > 0 && (len(s.faults.dropOf) == 0 || slices.Contains(s.faults.dropOf, d.what)):
		s.faults.dropAcks--
		a.What, a.Problem = d.what, "dropped by a fault"
	default:
		a.What, a.After = d.what, now.Sub(d.sent)
		delete(s.pending, d.id)
		d.deadline.stop()
		s.remember(d)
		payload := f.Payload
		if !d.accepts {
			payload = nil // rule 34
		}
		result := acked
		if d.apply != nil {
			result = d.apply(payload)
		}
		if d.done != nil {
			d.done <- result
		}
	}
	if len(s.acks) >= maxCalls {
		s.acks = slices.Delete(s.acks, 0, maxCalls/2)
	}
	s.acks = append(s.acks, a)
	s.wake()
}
