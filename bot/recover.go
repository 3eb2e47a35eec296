package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// seek looks in Slack for a message that may have been posted. known is false
// when that could not be found out in the delivery's time; ts is empty when the
// message is not there.
func (s *sender) seek(ctx context.Context, d outbox.Delivery) (channel, ts string, known bool) {
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		channel, ts, err := s.find(ctx, d)
		switch o, wait := judge(err); o {
		case fine:
			if ts != "" {
				s.log.Info("found a message that was posted but not written down", "notice", d.ID, "key", d.Notice.Key)
			}
			return channel, ts, true
		case limited:
			pause = max(pause, wait)
		case unclear:
		default:
			// The bot may post here but not read. Twice is better than never.
			s.log.Warn("cannot look for a message; it may be posted twice", "notice", d.ID, "error", word(err))
			return "", "", true
		}
		if !sleep(ctx, pause) {
			return "", "", false
		}
	}
}

// find reads back through the conversation.
func (s *sender) find(ctx context.Context, d outbox.Delivery) (channel, ts string, err error) {
	channel = d.Notice.To.Channel
	if strings.HasPrefix(channel, "U") || strings.HasPrefix(channel, "W") {
		err := s.w.call(ctx, "conversations.open", func(ctx context.Context) error {
			ch, _, _, err := s.w.api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{channel}})
			if err == nil {
				channel = ch.ID
			}
			return err
		})
		if err != nil {
			return "", "", fmt.Errorf("open a direct message: %w", err)
		}
	}
	oldest := fmt.Sprintf("%d.000000", time.Now().Add(-seekBack).Unix())
	for cursor, page := "", 0; page < seekPages; page++ {
		var messages []slack.Message
		var next string
		if thread := d.Notice.To.Thread; thread != "" {
			err = s.w.call(ctx, "conversations.replies", func(ctx context.Context) (err error) {
				messages, _, next, err = s.w.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
					ChannelID: channel, Timestamp: thread, Cursor: cursor, Oldest: oldest, Limit: 200, IncludeAllMetadata: true,
				})
				return err
			})
			var said slack.SlackErrorResponse
			if errors.As(err, &said) && said.Err == "thread_not_found" {
				return channel, "", nil
			}
		} else {
			err = s.w.call(ctx, "conversations.history", func(ctx context.Context) error {
				history, err := s.w.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
					ChannelID: channel, Cursor: cursor, Oldest: oldest, Limit: 200, IncludeAllMetadata: true,
				})
				if err == nil {
					messages, next = history.Messages, history.ResponseMetaData.NextCursor
				}
				return err
			})
		}
		if err != nil {
			return "", "", err
		}
		for _, m := range messages {
			if m.BotID == s.w.who().bot && m.Metadata.EventType == noticeEvent && m.Metadata.EventPayload["notice"] == mark(d) {
				return channel, m.Timestamp, nil
			}
		}
		if next == "" || next == cursor {
			break
		}
		cursor = next
	}
	return channel, "", nil
}
