package bot

import (
	"context"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// A home tells whether the bot lives in a channel.
type home struct {
	member bool
	name   string
	public bool
	at     time.Time // until when this counts
}

// homeFresh is how long a membership counts without asking again. It saves
// most commands a call; a wrong answer only means that the first message goes
// astray and is sent to the ops channel instead.
const homeFresh = 5 * time.Minute

var farFuture = time.Unix(1<<40, 0)

// lives reports whether runs may be shown in the channel: the bot is a member,
// and others are too, so that a review can be asked for there. When Slack does
// not say, they may.
func (w *Workspace) lives(ctx context.Context, channel string) bool {
	if strings.HasPrefix(channel, "D") {
		return false
	}
	w.mu.Lock()
	known, ok := w.homes[channel]
	w.mu.Unlock()
	if ok && time.Now().Before(known.at) {
		return known.member
	}
	var ch *slack.Channel
	err := w.call(ctx, "conversations.info", func(ctx context.Context) (err error) {
		ch, err = w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
		return err
	})
	fresh := home{at: time.Now().Add(homeFresh)}
	switch o, _ := judge(err); o {
	case fine:
		fresh.member, fresh.name = ch.IsMember && !ch.IsIM && !ch.IsMpIM && !ch.IsArchived, ch.Name
		fresh.public = fresh.member && !ch.IsPrivate
	case limited, unclear:
		return !ok || known.member
	} // anything else means that the channel is closed to the bot
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.homes) > 10_000 {
		clear(w.homes)
	}
	w.homes[channel] = fresh
	return fresh.member
}

// public reports whether the bot is known to live in the channel, and that
// everybody may read it.
func (w *Workspace) public(channel string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.homes[channel]
	return h.member && h.public
}

// left notes that the bot cannot write to the channel.
func (w *Workspace) left(channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.homes[channel]
	h.member, h.at = false, time.Now().Add(homeFresh)
	w.homes[channel] = h
}
