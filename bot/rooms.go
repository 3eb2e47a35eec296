package bot

import (
	"context"
	"fmt"
	"slices"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// Rooms is told of channels that were made for incidents.
type Rooms interface {
	RoomOpened(ctx context.Context, incident, channel, link string) error
}

// nameTries is how many names are tried for a channel.
const nameTries = 20

// room makes a channel, brings people into it, and says where it is. Done
// again, it finds the channel that it made before.
func (s *sender) room(ctx context.Context, d outbox.Delivery, r outbox.Room) {
	if s.rooms == nil {
		s.drop(ctx, d, "nobody is told of rooms", nil)
		return
	}
	var made *slack.Channel
	var err error
	for n := range nameTries {
		name := r.Name
		if n > 0 {
			name = fmt.Sprintf("%s-%d", r.Name, n+1)
		}
		err = s.call(ctx, "conversations.create", func(ctx context.Context) (err error) {
			made, err = s.w.api.CreateConversationContext(ctx, slack.CreateConversationParams{ChannelName: name, IsPrivate: r.Private})
			return err
		})
		if word(err) != "name_taken" {
			break
		}
		if id := s.w.made(ctx, name); id != "" { // by us, before a crash
			made, err = &slack.Channel{}, nil
			made.ID = id
			break
		}
	}
	if err != nil {
		s.settle(ctx, d, "conversations.create", err)
		return
	}
	if r.Topic != "" {
		err := s.call(ctx, "conversations.setTopic", func(ctx context.Context) error {
			_, err := s.w.api.SetTopicOfConversationContext(ctx, made.ID, r.Topic)
			return err
		})
		if err != nil {
			s.log.Warn("set the topic of a room", "channel", made.ID, "error", word(err))
		}
	}
	for _, user := range r.Invite { // one by one: one who cannot come must not keep the others out
		err := s.call(ctx, "conversations.invite", func(ctx context.Context) error {
			_, err := s.w.api.InviteUsersToConversationContext(ctx, made.ID, user)
			return err
		})
		if err != nil && !harmless[word(err)] {
			s.log.Warn("invite into a room", "channel", made.ID, "user", user, "error", word(err))
		}
	}
	link := s.w.Permalink(ctx, outbox.Conversation{Channel: d.ParentChannel, Thread: d.ParentTS})
	if err := again(ctx, func() error { return s.rooms.RoomOpened(ctx, r.Incident, made.ID, link) }); err != nil {
		s.log.Error("write down where a room is", "incident", r.Incident, "channel", made.ID, "error", err)
		return // the lease runs out, and the channel is found again
	}
	s.sent(ctx, d, "", "", "room")
}

// Permalink is the address at which people find a thread; "" if there is none,
// or Slack does not say.
func (w *Workspace) Permalink(ctx context.Context, thread outbox.Conversation) (link string) {
	if thread.Thread == "" {
		return ""
	}
	err := w.call(ctx, "chat.getPermalink", func(ctx context.Context) (err error) {
		link, err = w.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: thread.Channel, Ts: thread.Thread})
		return err
	})
	if err != nil {
		w.log.Warn("ask for the address of a thread", "channel", thread.Channel, "error", word(err))
		return ""
	}
	return link
}

// made returns the channel of that name if this app made it.
func (w *Workspace) made(ctx context.Context, name string) (id string) {
	cursor := ""
	for {
		var page []slack.Channel
		err := w.call(ctx, "conversations.list", func(ctx context.Context) (err error) {
			page, cursor, err = w.api.GetConversationsContext(ctx, &slack.GetConversationsParameters{
				Types: []string{"public_channel", "private_channel"}, Limit: 1000, Cursor: cursor, ExcludeArchived: true,
			})
			return err
		})
		if err != nil {
			return ""
		}
		for _, c := range page {
			if c.Name == name && c.Creator == w.who().user {
				return c.ID
			}
		}
		if cursor == "" {
			return ""
		}
	}
}

// redact replaces what the bot has said in a thread, and in a channel. Messages
// that say it already are left alone, so that it can be done again.
func (s *sender) redact(ctx context.Context, d outbox.Delivery, r outbox.Redaction) {
	var method string
	var err error
	if d.ParentTS != "" {
		method, err = s.redactThread(ctx, d.ParentChannel, d.ParentTS, r.Text)
	}
	if err == nil && r.Channel != "" {
		method, err = s.redactChannel(ctx, r.Channel, r.Text)
	}
	if err != nil {
		s.settle(ctx, d, method, err)
		return
	}
	s.sent(ctx, d, "", "", "redacted")
}

// redactThread does so below a message. It returns the method that failed.
func (s *sender) redactThread(ctx context.Context, channel, ts, text string) (string, error) {
	return s.redactAll(ctx, channel, text, "conversations.replies", func(ctx context.Context, cursor string) (page []slack.Message, next string, err error) {
		page, more, next, err := s.w.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: ts, Limit: 200, Cursor: cursor})
		page = slices.DeleteFunc(page, func(m slack.Message) bool { return m.Timestamp == ts })
		if !more {
			next = ""
		}
		return page, next, err
	})
}

// redactChannel does so in a channel, its threads and its topic, if not only its
// members can read it.
func (s *sender) redactChannel(ctx context.Context, channel, text string) (string, error) {
	var info *slack.Channel
	err := s.call(ctx, "conversations.info", func(ctx context.Context) (err error) {
		info, err = s.w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
		return err
	})
	if o, _ := judge(err); o == nowhere || err == nil && (info.IsPrivate || info.IsArchived) {
		return "", nil // nothing can be edited in what is archived or gone
	} else if err != nil {
		return "conversations.info", err
	}
	err = s.call(ctx, "conversations.setTopic", func(ctx context.Context) error {
		_, err := s.w.api.SetTopicOfConversationContext(ctx, channel, text)
		return err
	})
	if !s.passes("set the topic of a restricted incident's channel", channel, err) {
		return "conversations.setTopic", err
	}
	var threads []string
	method, err := s.redactAll(ctx, channel, text, "conversations.history", func(ctx context.Context, cursor string) ([]slack.Message, string, error) {
		found, err := s.w.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel, Limit: 200, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		for _, m := range found.Messages {
			if m.ReplyCount > 0 {
				threads = append(threads, m.Timestamp)
			}
		}
		return found.Messages, found.ResponseMetaData.NextCursor, nil
	})
	for _, ts := range threads {
		if err == nil {
			method, err = s.redactThread(ctx, channel, ts, text)
		}
	}
	return method, err
}

// redactAll does so with all messages of all pages.
func (s *sender) redactAll(ctx context.Context, channel, text, method string, read func(ctx context.Context, cursor string) ([]slack.Message, string, error)) (string, error) {
	for cursor := ""; ; {
		var page []slack.Message
		err := s.w.call(ctx, method, func(ctx context.Context) (err error) {
			page, cursor, err = read(ctx, cursor)
			return err
		})
		if err != nil {
			return method, err
		}
		for _, m := range page {
			if m.User != s.w.who().user {
				continue
			}
			for _, f := range m.Files {
				if f.Mode == "tombstone" {
					continue
				}
				err := s.w.call(ctx, "files.delete", func(ctx context.Context) error { return s.w.api.DeleteFileContext(ctx, f.ID) })
				if !s.passes("take back a file", channel, err) {
					return "files.delete", err
				}
			}
			if m.Text == text || m.SubType != "" && m.SubType != "bot_message" && m.SubType != "thread_broadcast" {
				continue // the last of them are joins, and files without a word
			}
			err := s.w.call(ctx, "chat.update", func(ctx context.Context) error {
				_, _, _, err := s.w.api.UpdateMessageContext(ctx, channel, m.Timestamp, slack.MsgOptionText(text, false), slack.MsgOptionBlocks())
				return err
			})
			if !s.passes("take back a message", channel, err) {
				return "chat.update", err
			}
		}
		if cursor == "" {
			return "", nil
		}
	}
}

// passes reports whether to go on with the next message: what Slack refuses for
// good must not keep the others in public.
func (s *sender) passes(what, channel string, err error) bool {
	switch o, _ := judge(err); o {
	case fine, gone:
		return true
	case limited, unclear, locked:
		return false
	}
	if w := word(err); w != "file_deleted" && w != "file_not_found" {
		s.log.Error(what, "channel", channel, "error", w)
	}
	return true
}

// settle ends an attempt that failed: it is made again, or given up.
func (s *sender) settle(ctx context.Context, d outbox.Delivery, method string, err error) {
	switch o, _ := judge(err); o {
	case limited, unclear, locked:
		s.later(ctx, d, method, err)
	default:
		s.drop(ctx, d, method+": "+word(err), nil)
	}
}
