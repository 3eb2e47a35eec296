// Package bot is the Slack edge: it acknowledges, deduplicates, renders and
// delivers.
//
// What Slack delivers over Socket Mode is put on record in the inbox, then
// acknowledged, then worked on (listener, worker). What is to be said waits in
// the outbox, from where it is posted, edited and, after a crash, found again
// (sender). A Workspace is the connection that both share. How messages look
// is package blocks' affair.
package bot

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/fault"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
)

// Options say what a Bot works with. Only Alone, Mentions and Log may be left out.
type Options struct {
	Workspace *Workspace
	Inbox     inbox.Queue
	Outbox    outbox.Queue
	Handler   Handler
	// Alone makes another socket of the same app an error in Status: on SQLite
	// there can be one process only, and the other would get commands that
	// nobody here ever sees.
	Alone bool
	// Mentions says which groups can be pinged; the zero value pings none.
	Mentions Mentions
	// Rooms is told of channels made for incidents; nil: none are made.
	Rooms Rooms
	Log   *slog.Logger // nil: the workspace's
}

// A Bot connects the queues and the handler with a workspace. Use New.
type Bot struct {
	w        *Workspace
	log      *slog.Logger
	draining atomic.Bool
	listener *listener
	worker   *worker
	sender   *sender
}

// New returns a bot that does nothing before Serve.
func New(o Options) *Bot {
	log := o.Log
	if log == nil {
		log = o.Workspace.log
	}
	// A fresh name each time: leases of an earlier process are not ours.
	owner := uuid.NewString()
	refused := newRefusals()
	b := &Bot{w: o.Workspace, log: log}
	b.listener = &listener{w: o.Workspace, inbox: o.Inbox, log: log, draining: &b.draining, alone: o.Alone, refused: refused}
	b.worker = &worker{w: o.Workspace, inbox: o.Inbox, handler: o.Handler, owner: owner, log: log, refused: refused, people: o.Mentions.Directory}
	b.sender = &sender{w: o.Workspace, queue: o.Outbox, owner: owner, log: log, mentions: o.Mentions, rooms: o.Rooms}
	return b
}

// Serve works until ctx ends or Slack refuses the app for good; then it stops
// in order: no new requests are begun, those under way are finished, what is
// to be said is said, and only then the socket closes. Until that moment what
// people do is recorded and acknowledged. While Slack cannot be reached at the
// start, it keeps trying. It returns nil after ctx has ended, otherwise an
// error for people. Call it once.
func (b *Bot) Serve(ctx context.Context) error {
	defer b.w.Close()
	if err := b.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	base := context.WithoutCancel(ctx)
	link, work, send := begin(base, b.listener.Serve), begin(base, b.worker.Serve), begin(base, b.sender.Serve)
	var err error
	select {
	case <-ctx.Done():
		b.log.Info("the Slack edge stops")
	case err = <-link.ended:
	case err = <-work.ended:
	case err = <-send.ended:
	}
	b.draining.Store(true)
	for _, p := range []part{work, send, link} {
		p.stop()
		err = errors.Join(err, <-p.ended)
	}
	return err
}

// A part of the bot runs until stop is called. ended gets its error, then is
// closed.
type part struct {
	stop  func()
	ended <-chan error
}

func begin(ctx context.Context, serve func(context.Context) error) part {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- serve(ctx)
		close(ended)
	}()
	return part{cancel, ended}
}

// start checks the workspace, as long as it takes Slack to answer.
func (b *Bot) start(ctx context.Context) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := b.w.Check(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if fault.KindOf(err) != fault.Unavailable {
			b.w.health.say(aboutTokens, "%s", fault.Say(err))
			return err
		}
		b.w.health.down(fault.Say(err))
		b.log.Warn("start", "error", err, "retry_in", pause)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}
