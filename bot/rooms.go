package bot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// Rooms is told of channels that were made for incidents.
type Rooms interface {
	RoomOpened(ctx context.Context, wanted outbox.Room, channel, link string) error
	// RoomFailed says that one cannot be made, and why; key names the attempt.
	RoomFailed(ctx context.Context, wanted outbox.Room, key, why string) error
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
	made, err := s.channelFor(ctx, r)
	if err != nil {
		s.roomless(ctx, d, r, err)
		return
	}
	if r.Topic != "" && r.Channel == "" {
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
	if err := again(ctx, func() error { return s.rooms.RoomOpened(ctx, r, made.ID, link) }); err != nil {
		s.log.Error("write down where a room is", "incident", r.Incident, "channel", made.ID, "error", err)
		return // the lease runs out, and the channel is found again
	}
	s.sent(ctx, d, "", "", "room")
}

// errUnfit is why a channel that people made cannot be a room.
type errUnfit string

func (e errUnfit) Error() string { return string(e) }

// channelFor makes the channel, finds the one that it made before, or looks at
// the one that people made.
func (s *sender) channelFor(ctx context.Context, r outbox.Room) (made *slack.Channel, err error) {
	if r.Channel != "" {
		err := s.call(ctx, "conversations.info", func(ctx context.Context) (err error) {
			made, err = s.w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: r.Channel})
			return err
		})
		switch o, _ := judge(err); {
		case o == nowhere || err == nil && !made.IsMember:
			return nil, errUnfit("opsbot is not in that channel")
		case err != nil:
			return nil, err
		case made.IsArchived:
			return nil, errUnfit("that channel is archived")
		case r.Private && !made.IsPrivate:
			return nil, errUnfit("that channel is public")
		}
		return made, nil
	}
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
			made = &slack.Channel{}
			made.ID = id
			return made, nil
		}
	}
	return made, err
}

// roomless ends an attempt at a room that failed: it is made again, and people
// are told unless that helps soon.
func (s *sender) roomless(ctx context.Context, d outbox.Delivery, r outbox.Room, err error) {
	o, _ := judge(err)
	if o == limited || o == unclear && !errors.As(err, new(errUnfit)) {
		s.later(ctx, d, "conversations.create", err)
		return
	}
	why := ""
	switch w := word(err); {
	case errors.As(err, new(errUnfit)):
		why = err.Error()
	case w == "name_taken":
		why = fmt.Sprintf("there are channels called %s, and like it, already", r.Name)
	case w == "restricted_action":
		why = "Slack does not let opsbot make such channels (restricted_action); an administrator of the workspace can allow it"
	case o == locked:
		why = fmt.Sprintf("Slack refuses opsbot (%s); opsbot doctor says what its app lacks", w)
	default:
		why = fmt.Sprintf("Slack refuses it (%s)", w)
	}
	if e := again(ctx, func() error { return s.rooms.RoomFailed(ctx, r, fmt.Sprintf("%d.%d", d.ID, d.Version), why) }); e != nil {
		s.log.Error("say that there is no room", "incident", r.Incident, "error", e)
		return // the lease runs out, and it is tried again
	}
	if o == locked {
		s.later(ctx, d, "conversations.create", err)
		return
	}
	s.drop(ctx, d, "conversations.create: "+why, nil)
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
