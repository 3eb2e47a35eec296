package bot

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/internal/outbox"
)

const (
	// onTheWay is how many deliveries a process has leased at a time.
	onTheWay = 16
	sendPoll = time.Second
	// deliverWithin bounds one attempt at a delivery.
	deliverWithin = 45 * time.Second
	// lastWords is how long the sender goes on after its context has ended, so
	// that a stop is still told.
	lastWords = 5 * time.Second
	// shortWait is the longest pause that is sat out; for a longer one the
	// notice is put back, so that a newer edit can take its place.
	shortWait = 50 * time.Millisecond
	pauseMost = time.Minute
)

// A sender delivers what the outbox holds. Per conversation the outbox hands
// out one notice at a time, and so keeps their order.
type sender struct {
	w     *Workspace
	queue outbox.Queue
	owner string
	log   *slog.Logger

	mentions Mentions
	rooms    Rooms // may be nil

	leases *holds[int64]

	mu sync.Mutex
	// under holds the ids under way here, and what was leased of the same id a
	// moment before that was noted as done.
	under map[int64]*outbox.Delivery
	freed chan struct{}
	wake  time.Time            // when the earliest notice that was put back is due
	told  map[string]time.Time // when an unreachable channel was last explained
	done  sync.WaitGroup
}

// Serve delivers until ctx ends, and then for a moment longer what is due.
func (s *sender) Serve(ctx context.Context) error {
	s.under, s.told = map[int64]*outbox.Delivery{}, map[string]time.Time{}
	s.leases = newHolds(func(ctx context.Context, ids ...int64) ([]int64, error) { return s.queue.Keep(ctx, s.owner, ids...) })
	defer s.leases.serve(s.log)()
	s.freed = make(chan struct{}, 1)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	poll := time.NewTimer(sendPoll)
	defer poll.Stop()
	done := ctx.Done()
	var end <-chan time.Time
	for {
		if said := s.w.listen(); len(said) > 0 {
			if err := s.queue.Enqueue(work, said...); err != nil {
				s.log.Error("say which events are missing", "error", err)
			}
		}
		began, err := s.begin(work)
		if err != nil && work.Err() == nil {
			s.log.Error("look into the outbox", "error", err)
		}
		if done == nil && s.idle() && began == 0 {
			break // the last words are spoken
		}
		poll.Reset(s.nap())
		select {
		case <-s.queue.Signal():
		case <-s.freed:
		case <-poll.C:
		case <-done:
			done = nil
			timer := time.NewTimer(lastWords)
			defer timer.Stop()
			end = timer.C
		case <-end:
			stop()
			s.done.Wait()
			return nil
		}
	}
	s.done.Wait()
	return nil
}

// begin leases what is due and sends it beside the loop.
func (s *sender) begin(ctx context.Context) (int, error) {
	s.mu.Lock()
	room := onTheWay - len(s.under)
	s.mu.Unlock()
	if room <= 0 {
		return 0, nil
	}
	asked := time.Now()
	due, err := s.queue.Due(ctx, s.owner, room)
	if err != nil {
		return 0, err
	}
	began := 0
	for _, d := range due {
		began++
		s.mu.Lock()
		s.leases.take(d.ID, asked)
		_, busy := s.under[d.ID]
		if s.under[d.ID] = nil; busy {
			s.under[d.ID] = &d // its turn comes within moments
		}
		s.mu.Unlock()
		if !busy {
			s.done.Go(func() { s.run(ctx, d) })
		}
	}
	return began, nil
}

func (s *sender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.under) == 0
}

// nap returns how long nothing will be due.
func (s *sender) nap() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := time.Until(s.wake); wait > 0 {
		return min(wait, sendPoll)
	}
	return sendPoll
}

// run delivers a notice, and what was leased under its id meanwhile.
func (s *sender) run(ctx context.Context, d outbox.Delivery) {
	for {
		s.attempt(ctx, d)
		s.mu.Lock()
		next := s.under[d.ID]
		if next != nil {
			s.under[d.ID] = nil
		} else {
			delete(s.under, d.ID)
			s.leases.drop(d.ID)
		}
		s.mu.Unlock()
		if next == nil {
			break
		}
		d = *next
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

func (s *sender) attempt(ctx context.Context, d outbox.Delivery) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic while a notice was delivered", "notice", d.ID, "panic", r)
			s.drop(ctx, d, fmt.Sprintf("panic: %v", r), nil)
		}
	}()
	ctx, leave := s.leases.under(ctx, d.ID)
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, deliverWithin)
	defer cancel()
	s.deliver(ctx, d)
}

// deliver takes one notice to where it belongs, and writes down how that went.
func (s *sender) deliver(ctx context.Context, d outbox.Delivery) {
	n := d.Notice
	if n.To.Channel = s.address(n.To.Channel); n.To.Channel == "" {
		n.To.Channel = s.w.ops()
	}
	// What stands under a message that is itself a reply goes into the same
	// thread: threads have no threads.
	if n.Under != "" && (n.To.Thread == "" || n.To.Channel != d.ParentChannel) {
		n.To.Thread = d.ParentTS
	}
	if n.Under != "" {
		if d.ParentChannel != "" {
			n.To.Channel = d.ParentChannel
		}
	}
	d.Notice = n
	if s.gesture(ctx, d) {
		return
	}
	m := blocks.Render(s.mentions.resolve(ctx, n.Content), time.Now())
	switch {
	case n.Only != "":
		s.deliverEphemeral(ctx, d, m)
	case m.File != nil && len(m.Blocks) == 0:
		s.deliverFile(ctx, d, m)
	default:
		s.deliverMessage(ctx, d, m)
	}
}

// deliverMessage posts or edits a message.
func (s *sender) deliverMessage(ctx context.Context, d outbox.Delivery, m blocks.Message) {
	if d.TS == "" && d.Tried {
		// An earlier attempt had no answer that was written down.
		channel, ts, ok := s.seek(ctx, d)
		if !ok {
			return // not to be told yet; the lease runs out, and then again
		}
		d.Channel, d.TS = channel, ts
	}
	if d.TS != "" {
		s.edit(ctx, d, m)
		return
	}
	s.post(ctx, d, m)
}

func (s *sender) edit(ctx context.Context, d outbox.Delivery, m blocks.Message) {
	if !s.may(ctx, d, "chat.update", d.Channel, true) {
		return
	}
	options := []slack.MsgOption{slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...)}
	if d.Notice.Key != "" {
		options = append(options, slack.MsgOptionMetadata(metadata(d)))
	}
	err := s.call(ctx, "chat.update", func(ctx context.Context) error {
		_, _, _, err := s.w.api.UpdateMessageContext(ctx, d.Channel, d.TS, options...)
		return err
	})
	switch o, _ := judge(err); o {
	case fine:
		s.sent(ctx, d, d.Channel, d.TS, "edited")
	case limited, unclear, locked:
		s.later(ctx, d, "chat.update", err) // an edit may be made twice
	case gone:
		s.log.Info("a message to edit is gone; it is posted anew", "key", d.Notice.Key, "error", word(err))
		if err := again(ctx, func() error { return s.queue.Forget(ctx, d.Notice.Key) }); err != nil {
			s.log.Error("forget a message", "key", d.Notice.Key, "error", err)
			return
		}
		d.Channel, d.TS = "", ""
		s.post(ctx, d, m)
		if head, ok := d.Notice.Content.(outbox.Incident); ok && head.Active { // the pin went with the old one
			pin := outbox.Notice{Key: "pin/" + head.ID, Under: d.Notice.Key, Content: outbox.Pin{On: true}}
			if err := again(ctx, func() error { return s.queue.Enqueue(ctx, pin) }); err != nil {
				s.log.Error("pin a headline again", "key", d.Notice.Key, "error", err)
			}
		}
	case nowhere:
		if err := again(ctx, func() error { return s.queue.Forget(ctx, d.Notice.Key) }); err != nil {
			s.log.Error("forget a message", "key", d.Notice.Key, "error", err)
			return
		}
		if place := d.Notice.To.Channel; place != "" && place != d.Channel {
			// It belongs to another place by now than where it was posted.
			s.w.left(d.Channel)
			d.Channel, d.TS = "", ""
			s.post(ctx, d, m)
			return
		}
		s.elsewhere(ctx, d, err)
	default:
		s.plainly(ctx, d, m, err)
	}
}

// post writes a new message, and looks for it before it writes it again.
func (s *sender) post(ctx context.Context, d outbox.Delivery, m blocks.Message) {
	if !s.may(ctx, d, "chat.postMessage", d.Notice.To.Channel, false) {
		return
	}
	for pause := time.Second; ; pause *= 2 {
		channel, ts, err := s.write(ctx, d, m)
		switch o, _ := judge(err); o {
		case fine:
			if s.w.public(channel) {
				s.w.echoes.await("message.channels")
			}
			s.sent(ctx, d, channel, ts, "posted")
			s.attach(ctx, d, m, channel, ts)
			return
		case limited, locked:
			s.later(ctx, d, "chat.postMessage", err)
			return
		case nowhere:
			s.elsewhere(ctx, d, err)
			return
		case gone: // the thread is
			if d.Notice.To.Thread == "" {
				s.drop(ctx, d, word(err), nil)
				return
			}
			d.Notice.To.Thread = ""
			continue
		case refused:
			s.plainly(ctx, d, m, err)
			return
		}
		// Nobody knows whether it was posted.
		s.log.Warn("a message may or may not be posted; looking for it", "notice", d.ID, "key", d.Notice.Key, "error", word(err))
		if !sleep(ctx, pause) {
			return
		}
		channel, ts, known := s.seek(ctx, d)
		if !known {
			return
		}
		if ts != "" {
			s.sent(ctx, d, channel, ts, "found")
			s.attach(ctx, d, m, channel, ts)
			return
		}
	}
}

// write is one call of chat.postMessage.
func (s *sender) write(ctx context.Context, d outbox.Delivery, m blocks.Message) (channel, ts string, err error) {
	options := []slack.MsgOption{
		slack.MsgOptionText(m.Text, false), slack.MsgOptionMetadata(metadata(d)),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
	if len(m.Blocks) > 0 {
		options = append(options, slack.MsgOptionBlocks(m.Blocks...))
	}
	if d.Notice.To.Thread != "" {
		options = append(options, slack.MsgOptionTS(d.Notice.To.Thread))
		if broadcast(d.Notice.Content) {
			options = append(options, slack.MsgOptionBroadcast())
		}
	}
	err = s.call(ctx, "chat.postMessage", func(ctx context.Context) (err error) {
		channel, ts, err = s.w.api.PostMessageContext(ctx, d.Notice.To.Channel, options...)
		return err
	})
	return channel, ts, err
}

// broadcast reports whether a reply is to be seen in the channel as well.
func broadcast(c outbox.Content) bool {
	switch c := c.(type) {
	case outbox.Line:
		return c.Broadcast
	case outbox.Prompt:
		return c.Broadcast
	}
	return false
}

// plainly says without blocks what Slack would not take with them. That should
// not happen; if it does, people get the words at least.
func (s *sender) plainly(ctx context.Context, d outbox.Delivery, m blocks.Message, why error) {
	s.log.Error("Slack refuses a message", "notice", d.ID, "kind", d.Notice.Content.ContentKind(), "error", word(why), "details", details(why))
	if len(m.Blocks) == 0 {
		s.drop(ctx, d, word(why), nil)
		return
	}
	plain := blocks.Render(outbox.Line{Text: d.Notice.Content.Summary()}, time.Now())
	var channel, ts string
	var err error
	if d.TS != "" {
		err = s.call(ctx, "chat.update", func(ctx context.Context) (err error) {
			channel, ts, _, err = s.w.api.UpdateMessageContext(ctx, d.Channel, d.TS, slack.MsgOptionText(plain.Text, false), slack.MsgOptionBlocks())
			return err
		})
	} else {
		plain.Blocks = nil
		channel, ts, err = s.write(ctx, d, plain)
	}
	switch o, _ := judge(err); o {
	case fine:
		s.sent(ctx, d, channel, ts, "plain")
	case limited, unclear, locked:
		s.later(ctx, d, "chat.postMessage", err)
	default:
		s.drop(ctx, d, word(why)+", then "+word(err), nil)
	}
}

// may asks for leave to write. If there is none soon, it puts the notice back
// and returns false.
func (s *sender) may(ctx context.Context, d outbox.Delivery, method, channel string, edit bool) bool {
	for {
		wait := s.w.pace.rested(method)
		reason := "ratelimited"
		if wait <= 0 {
			wait, reason = s.w.pace.may(channel, edit), "pace"
		}
		if wait <= 0 {
			return true
		}
		if wait > shortWait {
			s.w.metrics.waits.WithLabelValues(reason).Add(wait.Seconds())
			s.putBack(ctx, d, wait, reason)
			return false
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
}

// call makes one call, under its own timeout.
func (s *sender) call(ctx context.Context, method string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.w.count(method, f(ctx))
}

// later puts a notice back after an error that passes.
func (s *sender) later(ctx context.Context, d outbox.Delivery, method string, err error) {
	wait := min(pauseMost, time.Second<<min(d.Attempts, 6))
	wait += rand.N(wait/4 + 1)
	if o, _ := judge(err); o == limited {
		wait = s.w.pace.rested(method)
	} else if o == locked {
		wait = pauseMost
	}
	s.log.Warn("a message is put off", "notice", d.ID, "method", method, "error", word(err), "retry_in", wait)
	s.putBack(ctx, d, wait, word(err))
}

func (s *sender) putBack(ctx context.Context, d outbox.Delivery, wait time.Duration, why string) {
	s.mu.Lock()
	if at := time.Now().Add(wait); s.wake.Before(time.Now()) || at.Before(s.wake) {
		s.wake = at
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := s.queue.Later(ctx, d, time.Now().Add(wait), why); err != nil {
		s.log.Error("put a notice back", "notice", d.ID, "error", err)
	}
	s.w.metrics.deliveries.WithLabelValues("put_off").Inc()
}

// sent writes down where the message is. If that fails, the notice's lease
// runs out, and the message is found again by its metadata.
func (s *sender) sent(ctx context.Context, d outbox.Delivery, channel, ts, result string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := again(ctx, func() error { return s.queue.Sent(ctx, d, channel, ts) }); err != nil {
		result = "not_committed"
		s.log.Error("write down where a message is", "notice", d.ID, "error", err)
	} else {
		s.leases.settle(d.ID)
	}
	s.w.metrics.deliveries.WithLabelValues(result).Inc()
}

func (s *sender) drop(ctx context.Context, d outbox.Delivery, why string, instead *outbox.Notice) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	s.log.Error("a message is given up", "notice", d.ID, "key", d.Notice.Key, "kind", d.Notice.Content.ContentKind(),
		"channel", d.Notice.To.Channel, "why", why, "said_elsewhere", instead != nil)
	if err := again(ctx, func() error { return s.queue.Drop(ctx, d, why, instead) }); err != nil {
		s.log.Error("drop a notice", "notice", d.ID, "error", err)
	}
	s.w.metrics.deliveries.WithLabelValues("given_up").Inc()
}

// sleep waits for d; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
