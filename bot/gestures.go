package bot

import (
	"context"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/internal/outbox"
)

// harmless are answers which say that things are as they should be already.
var harmless = map[string]bool{
	"already_pinned": true, "no_pin": true, "not_pinned": true, "already_reacted": true, "already_in_channel": true,
	"message_not_found": true, "cant_invite_self": true,
}

// gesture does what is no message: a pin, a reaction, an invitation, a removal,
// somebody's home page.
// It returns false for everything else.
func (s *sender) gesture(ctx context.Context, d outbox.Delivery) bool {
	n := d.Notice
	var method, echo string // echo is the event that tells of it
	var call func(context.Context) error
	switch c := n.Content.(type) {
	case outbox.Room:
		s.room(ctx, d, c)
		return true
	case outbox.Redaction:
		s.redact(ctx, d, c)
		return true
	case outbox.Pin:
		item := slack.NewRefToMessage(d.ParentChannel, d.ParentTS)
		method, echo = "pins.add", "pin_added"
		call = func(ctx context.Context) error { return s.w.api.AddPinContext(ctx, d.ParentChannel, item) }
		if !c.On {
			method, echo = "pins.remove", "pin_removed"
			call = func(ctx context.Context) error { return s.w.api.RemovePinContext(ctx, d.ParentChannel, item) }
		}
		if d.ParentTS == "" {
			call = nil
		}
	case outbox.Reaction:
		method, echo = "reactions.add", "reaction_added"
		call = func(ctx context.Context) error {
			return s.w.api.AddReactionContext(ctx, c.Name, slack.NewRefToMessage(n.To.Channel, n.To.Thread))
		}
	case outbox.Invite:
		method = "conversations.invite"
		call = func(ctx context.Context) error {
			_, err := s.w.api.InviteUsersToConversationContext(ctx, n.To.Channel, c.Users...)
			return err
		}
	case outbox.Removed:
		method = "chat.delete"
		call = func(ctx context.Context) error {
			_, _, err := s.w.api.DeleteMessageContext(ctx, d.Channel, d.TS)
			return err
		}
		if d.TS == "" && d.Tried {
			channel, ts, ok := s.seek(ctx, d)
			if !ok {
				return true
			}
			d.Channel, d.TS = channel, ts
		}
		if d.TS == "" {
			call = nil // it was never posted, and will not be
		}
	case outbox.Home:
		method = "views.publish"
		call = func(ctx context.Context) error {
			_, err := s.w.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: c.User, View: blocks.Home(c)})
			return err
		}
	default:
		return false
	}
	if call == nil {
		s.sent(ctx, d, "", "", "not_needed")
		return true
	}
	if wait := s.w.pace.rested(method); wait > 0 {
		s.putBack(ctx, d, wait, "ratelimited")
		return true
	}
	err := s.call(ctx, method, call)
	if err == nil {
		s.w.echoes.await(echo)
	}
	switch o, _ := judge(err); {
	case o == fine || harmless[word(err)]:
		if _, removed := n.Content.(outbox.Removed); removed {
			if err := again(ctx, func() error { return s.queue.Forget(ctx, n.Key) }); err != nil {
				s.log.Error("forget a message", "key", n.Key, "error", err)
			}
		}
		s.sent(ctx, d, "", "", method)
	case o == limited || o == unclear || o == locked && word(err) != "missing_scope":
		s.later(ctx, d, method, err)
	default:
		s.drop(ctx, d, fmt.Sprintf("%s: %s", method, word(err)), nil)
	}
	return true
}

// address finds the channel that is given by its name.
func (s *sender) address(channel string) string {
	if strings.HasPrefix(channel, "#") {
		if id := s.w.ChannelID(channel); id != "" {
			return id
		}
		return s.w.ops()
	}
	return channel
}
