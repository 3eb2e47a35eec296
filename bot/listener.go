package bot

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"opsbot/internal/fault"
	"opsbot/internal/inbox"
)

const (
	// recorders is how many envelopes may be on their way into the inbox at a
	// time. The store commits them in groups, so that many wait for one fsync.
	recorders = 256
	// recordTimeout leaves a second of Slack's three for everything else.
	recordTimeout = 2 * time.Second
	// ackTimeout bounds handing an ack to slack-go, whose queue holds 20 and is
	// not read while no socket is open.
	ackTimeout = 3 * time.Second
	// ackDrain is how long the last acks are given to leave: slack-go drops what
	// is queued when its context ends (of 50 acks 4 were written at once, all
	// 50 within 50 ms).
	ackDrain = 250 * time.Millisecond
	// apologies is how many people at a time are told that there is no room.
	apologies = 64
	// slackSilence is after how long without a ping the socket counts as dead.
	slackSilence = 30 * time.Second
)

// A listener records what Slack delivers and acknowledges it. Its loop does
// nothing that can wait, since slack-go falls silent for good once nobody
// reads its events.
type listener struct {
	w        *Workspace
	inbox    inbox.Queue
	log      *slog.Logger
	draining *atomic.Bool
	alone    bool // another socket of this app is an error
	refused  *refusals
	crowds   crowds

	sm      *socketmode.Client
	slots   chan struct{} // one for each envelope being recorded
	spare   chan struct{} // one for each that found no slot
	pending sync.WaitGroup
}

// Serve runs until ctx ends or Slack refuses the connection for good. When it
// returns, everything recorded has been acknowledged as far as the socket
// allowed it.
func (l *listener) Serve(ctx context.Context) error {
	l.slots = make(chan struct{}, recorders)
	l.spare = make(chan struct{}, apologies)
	l.sm = socketmode.New(l.w.link,
		socketmode.OptionDialer(dialer(l.disconnected)),
		socketmode.OptionPingInterval(slackSilence),
		socketmode.OptionReadLimit(16<<20),
	)
	// The socket outlives ctx by the time that the last acks need.
	socket, closeSocket := context.WithCancel(context.WithoutCancel(ctx))
	defer closeSocket()
	ended := make(chan error, 1)
	go func() { ended <- l.sm.RunContext(socket) }()

	done := ctx.Done()
	quiet := time.NewTimer(0)
	<-quiet.C
	defer quiet.Stop()
	var latest time.Time // for the socket's end
	for {
		select {
		case evt := <-l.sm.Events:
			l.receive(socket, evt)
			if done == nil {
				quiet.Reset(ackDrain)
			}
		case <-done:
			done = nil
			latest = time.Now().Add(recordTimeout + ackTimeout)
			quiet.Reset(ackDrain)
		case now := <-quiet.C:
			if len(l.slots) > 0 && now.Before(latest) {
				quiet.Reset(ackDrain)
				continue
			}
			closeSocket()
		case err := <-ended:
			closeSocket()
			l.pending.Wait()
			l.w.health.down("opsbot is not connected to Slack.")
			l.w.metrics.connected.Set(0)
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return nil
			}
			return fault.New(fault.Invalid, "Slack refuses the app-level token (SLACK_APP_TOKEN): %s.", hint(err)).Because(err)
		}
	}
}

// receive deals with one of slack-go's events. It does not wait for anything.
func (l *listener) receive(ctx context.Context, evt socketmode.Event) {
	switch evt.Type {
	case socketmode.EventTypeHello:
		l.hello(evt.Request)
	case socketmode.EventTypeConnecting:
		l.w.health.down(opening)
		l.w.metrics.connected.Set(0)
	case socketmode.EventTypeConnectionError:
		if e, ok := evt.Data.(*slack.ConnectionErrorEvent); ok {
			l.w.health.down("Slack's socket cannot be opened: " + hint(e.ErrorObj) + ".")
			l.log.Warn("open Slack's socket", "error", e.ErrorObj, "attempt", e.Attempt, "retry_in", e.Backoff)
		}
	case socketmode.EventTypeIncomingError:
		if e, ok := evt.Data.(*slack.IncomingEventError); ok && !errors.Is(e.ErrorObj, context.Canceled) {
			l.log.Debug("read from Slack's socket", "error", e.ErrorObj)
		}
	case socketmode.EventTypeErrorWriteFailed:
		if e, ok := evt.Data.(*socketmode.ErrorWriteFailed); ok {
			// What it acknowledged is on record: should Slack deliver it again, its
			// key is known.
			l.w.metrics.envelopes.WithLabelValues("any", "ack_lost").Inc()
			l.log.Warn("acknowledge", "envelope", e.Response.EnvelopeID, "error", e.Cause)
		}
	case socketmode.EventTypeErrorBadMessage:
		if e, ok := evt.Data.(*socketmode.ErrorBadMessage); ok {
			l.unreadable(ctx, e)
		}
	default:
		if evt.Request != nil && evt.Request.EnvelopeID != "" {
			l.take(ctx, evt)
		}
	}
}

func (l *listener) hello(req *socketmode.Request) {
	l.w.gate.hello()
	l.w.echoes.anew()
	sockets := 0
	if req != nil {
		sockets = req.NumConnections
	}
	l.w.health.hello(sockets)
	l.w.metrics.connected.Set(1)
	l.w.metrics.opens.Inc()
	l.w.health.say(aboutCopies, "")
	if sockets > 1 && l.alone {
		l.w.health.say(aboutCopies, "Slack counts %d connections of this app: another opsbot runs with the same tokens and gets a part of the commands.", sockets)
		l.log.Error("another copy of the app is connected", "connections", sockets)
	}
	l.log.Info("connected to Slack", "connections", sockets)
}

// disconnected is told the reason of each disconnect frame.
func (l *listener) disconnected(reason string) {
	switch reason {
	case "link_disabled":
		l.w.gate.hold(offWait)
		l.w.health.say(aboutLink, "Socket Mode was switched off in the Slack app's settings. opsbot tries again every %d minutes.", int(offWait.Minutes()))
		l.log.Error("Socket Mode was switched off in the Slack app's settings", "retry_in", offWait)
	case "too_many_websockets":
		l.w.gate.hold(crowdedWait)
		l.w.health.say(aboutLink, "More than 10 sockets are open for this Slack app: other copies of it are running.")
		l.log.Error("too many sockets are open for this Slack app: other copies of it are running", "retry_in", crowdedWait)
	default:
		l.log.Info("Slack closes the socket", "reason", reason)
	}
}

// unreadable acknowledges what slack-go cannot parse, mostly a type that is
// newer than it; Slack would deliver it again and again.
func (l *listener) unreadable(ctx context.Context, e *socketmode.ErrorBadMessage) {
	var frame struct {
		EnvelopeID string `json:"envelope_id"`
		Type       string `json:"type"`
	}
	if err := json.Unmarshal(e.Message, &frame); err != nil || frame.EnvelopeID == "" {
		l.w.metrics.envelopes.WithLabelValues("unknown", "unreadable").Inc()
		return
	}
	l.log.Warn("envelope not understood", "type", frame.Type, "error", e.Cause)
	var answer any
	if frame.Type == "slash_commands" {
		answer = ephemeral("opsbot could not read what Slack sent; nothing was done.")
	}
	l.w.metrics.envelopes.WithLabelValues(known(frame.Type), "unreadable").Inc()
	l.spawn(l.slots, func() { l.ack(ctx, frame.EnvelopeID, answer) })
}

// spawn runs f beside the loop, if there is a slot for it.
func (l *listener) spawn(slots chan struct{}, f func()) bool {
	select {
	case slots <- struct{}{}:
	default:
		return false
	}
	l.pending.Go(func() {
		defer func() { <-slots }()
		defer func() {
			if r := recover(); r != nil {
				l.log.Error("panic while an envelope was recorded", "panic", r)
			}
		}()
		f()
	})
	return true
}
