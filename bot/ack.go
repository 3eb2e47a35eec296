package bot

import (
	"context"
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
	p, err := readPayload(req.Payload)
	if err != nil {
		l.log.Warn("payload not understood", "type", req.Type, "error", err)
	}
	kind, key, ok := identify(req.Type, p)
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
	if !l.refused.reopen(item.Key) {
		l.unrecorded(ctx, req, item, p)
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	fresh, err := l.inbox.Record(bounded, item)
	cancel()
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

// unrecorded tells the person that nothing will be done. Should the item have
// reached the database all the same, it stays undone.
func (l *listener) unrecorded(ctx context.Context, req socketmode.Request, item inbox.Item, p payload) {
	switch item.Kind {
	case kindEvent:
		// Without an ack Slack delivers an event again, up to three times.
		l.w.metrics.envelopes.WithLabelValues(req.Type, "not_recorded").Inc()
		return
	case kindSlash:
		l.refused.add(item.Key)
		l.acked(ctx, req, "not_recorded", item.Received, ephemeral(notRecorded))
	case kindSubmit:
		l.refused.add(item.Key)
		var answer any
		if block := p.firstInput(); block != "" {
			answer = map[string]any{"response_action": "errors", "errors": map[string]string{block: formNotRecorded}}
		}
		l.acked(ctx, req, "not_recorded", item.Received, answer)
	default:
		l.refused.add(item.Key)
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
	mu   sync.Mutex
	keys map[string]refusal
}

type refusal struct {
	at      time.Time
	ignored bool // the item was found in the inbox, and finished unread
}

func (r *refusals) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys = map[string]refusal{}
	}
	now := time.Now()
	if len(r.keys) > 10_000 {
		for k, v := range r.keys {
			if now.Sub(v.at) > time.Hour {
				delete(r.keys, k)
			}
		}
	}
	r.keys[key] = refusal{now, r.keys[key].ignored}
}

// ignore reports whether the item with the key must stay undone.
func (r *refusals) ignore(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, refused := r.keys[key]
	if refused {
		v.ignored = true
		r.keys[key] = v
	}
	return refused
}

// reopen makes way for another attempt under the key. It returns false when
// that is too late: the key is used up.
func (r *refusals) reopen(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[key].ignored {
		return false
	}
	delete(r.keys, key)
	return true
}
