package bot

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"opsbot/bot/blocks"
	"opsbot/internal/inbox"
)

const (
	notRecorded     = "opsbot could not record this, so nothing was done. Please try again in a minute."
	formNotRecorded = "opsbot could not record this, so nothing was done. Please try again in a minute, or close the form and start anew."
	afterRestart    = "opsbot is restarting. Your request is on record and starts as soon as it is back."
)

// take sees to one envelope beside the loop.
func (l *listener) take(ctx context.Context, evt socketmode.Event) {
	arrived := time.Now()
	if l.spawn(l.slots, func() { l.judge(ctx, evt, arrived, l.record) }) {
		return
	}
	// So much is being recorded that one more has no place.
	l.w.metrics.envelopes.WithLabelValues(known(evt.Request.Type), "overload").Inc()
	l.spawn(l.spare, func() { l.judge(ctx, evt, arrived, l.unrecorded) })
}

// judge acknowledges at once what asks for nothing, and what can be answered
// from memory: a form that anybody can see is wrong, a menu that wants options.
// The rest goes on.
func (l *listener) judge(ctx context.Context, evt socketmode.Event, arrived time.Time, on func(context.Context, socketmode.Request, inbox.Item, payload)) {
	req := *evt.Request
	if user := changedAccount(req.Type, req.Payload); user != "" {
		l.w.accountChanged(user)
		l.acked(ctx, req, "account", arrived, nil)
		return
	}
	p, err := readPayload(req.Payload)
	if err != nil {
		l.log.Warn("payload not understood", "type", req.Type, "error", err)
	}
	if req.Type == "events_api" {
		l.w.echoes.hear(p.Event.subscription())
	}
	kind, key, ok := identify(req.Type, p)
	if !ok && req.Type == "events_api" {
		kind, key, ok = l.crowds.reply(p.Event)
	}
	var answer any
	if cb, is := evt.Data.(slack.InteractionCallback); is {
		switch cb.Type {
		case slack.InteractionTypeViewSubmission:
			if errs := blocks.Check(cb); len(errs) > 0 {
				answer, ok = map[string]any{"response_action": "errors", "errors": errs}, false
			}
		case slack.InteractionTypeBlockSuggestion:
			answer = map[string]any{"options": []any{}}
		}
	}
	switch {
	case ok:
		on(ctx, req, inbox.Item{Key: key, Kind: kind, Payload: req.Payload, Received: arrived}, p)
	case req.Type == "slash_commands":
		l.acked(ctx, req, "not_recorded", arrived, ephemeral(notRecorded))
	default:
		l.acked(ctx, req, "nothing_to_do", arrived, answer)
	}
}

// known keeps what Slack may invent out of the figures' labels.
func known(envelope string) string {
	switch envelope {
	case "slash_commands", "interactive", "events_api":
		return envelope
	}
	return "unknown"
}

// record commits the item, then acknowledges it.
func (l *listener) record(ctx context.Context, req socketmode.Request, item inbox.Item, p payload) {
	if !l.refused.begin(item.Key) {
		l.unrecorded(ctx, req, item, p)
		return
	}
	fresh, err := l.commit(ctx, item)
	if err != nil {
		l.log.Error("record what Slack delivered", "kind", item.Kind, "error", err)
		l.w.health.say(aboutInbox, "Commands cannot be recorded: the database does not take them.")
		l.unrecorded(ctx, req, item, p)
		return
	}
	l.w.health.say(aboutInbox, "")
	result := "recorded"
	if !fresh {
		result = "repeated"
	}
	var answer any
	if fresh && l.draining.Load() {
		if item.Kind == kindSlash {
			answer = ephemeral(afterRestart)
		} else {
			defer l.whisper(ctx, p, afterRestart)
		}
	}
	l.acked(ctx, req, result, item.Received, answer)
}

// commit puts the item on record, and lets go who waits to hear how that went,
// even if it panics.
func (l *listener) commit(ctx context.Context, item inbox.Item) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	err = errors.New("panic")
	defer func() { l.refused.decide(item.Key, err == nil || comesAgain(item.Kind)) }()
	return l.inbox.Record(ctx, item)
}

// comesAgain reports whether Slack delivers an item again that was not
// acknowledged, up to three times.
func comesAgain(kind string) bool { return kind == kindEvent || kind == kindCrowd }

// unrecorded tells the person that nothing will be done. Should the item have
// reached the database all the same, it stays undone.
func (l *listener) unrecorded(ctx context.Context, req socketmode.Request, item inbox.Item, p payload) {
	switch item.Kind {
	case kindEvent, kindCrowd:
		l.w.metrics.envelopes.WithLabelValues(req.Type, "not_recorded").Inc()
		return
	case kindSlash:
		l.acked(ctx, req, "not_recorded", item.Received, ephemeral(notRecorded))
	case kindSubmit:
		var answer any
		if block := p.firstInput(); block != "" {
			answer = map[string]any{"response_action": "errors", "errors": map[string]string{block: formNotRecorded}}
		}
		l.acked(ctx, req, "not_recorded", item.Received, answer)
	default:
		l.acked(ctx, req, "not_recorded", item.Received, nil)
		l.whisper(ctx, p, notRecorded)
	}
}

// acked acknowledges and measures.
func (l *listener) acked(ctx context.Context, req socketmode.Request, result string, arrived time.Time, answer any) {
	kind := known(req.Type)
	if !l.ack(ctx, req.EnvelopeID, answer) {
		result = "ack_lost"
	}
	l.w.metrics.envelopes.WithLabelValues(kind, result).Inc()
	l.w.metrics.ack.WithLabelValues(kind).Observe(time.Since(arrived).Seconds())
}

// ack hands the acknowledgement to the socket. An answer that would not fit
// into a frame is left out: an empty ack is better than none.
func (l *listener) ack(ctx context.Context, envelope string, answer any) bool {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	err := l.sm.AckCtx(ctx, envelope, answer)
	if err != nil && answer != nil && ctx.Err() == nil {
		l.log.Error("acknowledge with an answer", "envelope", envelope, "error", err)
		err = l.sm.AckCtx(ctx, envelope, nil)
	}
	if err != nil {
		l.log.Warn("acknowledge", "envelope", envelope, "error", err)
	}
	return err == nil
}

// whisper tells the person who clicked, through the click's response_url.
func (l *listener) whisper(ctx context.Context, p payload, text string) {
	if p.ResponseURL == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := l.w.respond(ctx, p.ResponseURL, blocks.Message{Text: text}, ""); err != nil {
		l.log.Warn("answer through response_url", "error", word(err))
	}
}

func ephemeral(text string) map[string]any {
	return map[string]any{"response_type": "ephemeral", "text": text}
}

// refusals are the keys of which people were told that nothing was done. The
// write that was given up may reach the database a moment later; then it must
// stay undone. A form can be submitted again under the same key.
type refusals struct {
	mu      sync.Mutex
	decided sync.Cond
	keys    map[string]refusal
}

type refusal struct {
	at      time.Time
	writing int  // records under way, whose outcome nobody knows yet
	told    bool // the person heard that nothing was done
	ignored bool // the item was found in the inbox, and finished unread
}

func newRefusals() *refusals {
	r := &refusals{keys: map[string]refusal{}}
	r.decided.L = &r.mu
	return r
}

// begin makes way for an attempt to record the key, which ends with decide. It
// returns false when that is too late: the key is used up.
func (r *refusals) begin(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.keys[key]
	if v.ignored {
		return false
	}
	v.writing++
	v.told = false
	r.keys[key] = v
	return true
}

// decide ends an attempt. If it was recorded, the item may be worked on.
func (r *refusals) decide(key string, recorded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.keys[key]
	v.writing--
	if recorded && v.writing == 0 {
		delete(r.keys, key)
	} else {
		v.at, v.told = time.Now(), !recorded
		r.keys[key] = v
		r.forget()
	}
	r.decided.Broadcast()
}

// forget bounds what is kept.
func (r *refusals) forget() {
	if len(r.keys) <= 10_000 {
		return
	}
	for k, v := range r.keys {
		if v.writing == 0 && time.Since(v.at) > time.Hour {
			delete(r.keys, k)
		}
	}
}

// ignore reports whether the item with the key must stay undone. It waits for
// an attempt under way, whose item a worker may see before its listener does;
// that is recordTimeout at most.
func (r *refusals) ignore(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.keys[key].writing > 0 {
		r.decided.Wait()
	}
	v := r.keys[key]
	if v.told {
		v.ignored = true
		r.keys[key] = v
	}
	return v.told
}
