package bot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/internal/outbox"
)

// reasons puts Slack's refusals of a place into words.
var reasons = map[string]string{
	"is_archived": "it is archived", "is_inactive": "it is archived",
	"not_in_channel": "opsbot is not in it", "channel_not_found": "it is gone, or private without opsbot in it",
	"messages_tab_disabled": "messages to the app are switched off", "user_disabled": "the account is deactivated",
	"user_not_found": "there is no such person", "file_uploads_disabled": "file uploads are switched off",
}

// elsewhere takes what cannot be said in its place to the ops channel, and
// what cannot be said there to the person whom it concerns. A review is never
// asked for in a direct message, and what is restricted never said in the ops
// channel.
func (s *sender) elsewhere(ctx context.Context, d outbox.Delivery, err error) {
	from, ops := d.Notice.To.Channel, s.w.ops()
	if d.Channel != "" {
		from = d.Channel
	}
	s.w.left(from)
	instead := d.Notice
	instead.Under, instead.To = "", outbox.Conversation{Stay: d.Notice.To.Stay}
	switch {
	case strings.HasPrefix(from, "U") || strings.HasPrefix(from, "W") || strings.HasPrefix(from, "D"):
		s.drop(ctx, d, word(err), nil)
		return
	case from != ops && !d.Notice.To.Stay:
		instead.To.Channel = ops
		why := reasons[word(err)]
		if why == "" {
			why = word(err)
		}
		s.explain(ctx, from, fmt.Sprintf("opsbot cannot write to %s (%s); what belongs there is said here.", s.w.describe(from), why))
	default:
		person := concerns(d.Notice.Content)
		if person == "" {
			why := word(err)
			if said := reasons[why]; said != "" {
				why = said
			}
			s.drop(ctx, d, why, nil)
			return
		}
		instead.To.Channel = person
	}
	s.drop(ctx, d, word(err), &instead)
}

// explainEvery is how often an unreachable channel is worth a word.
const explainEvery = time.Hour

// explain says once why something turns up in the ops channel: the key makes
// one message of all that is said about a channel.
func (s *sender) explain(ctx context.Context, from, text string) {
	s.mu.Lock()
	fresh := time.Since(s.told[from]) < explainEvery
	s.told[from] = time.Now()
	s.mu.Unlock()
	if fresh {
		return
	}
	err := s.queue.Enqueue(ctx, outbox.Notice{Key: "unreachable:" + from, To: outbox.Conversation{Channel: s.w.ops()}, Content: outbox.Line{Text: text}})
	if err != nil {
		s.log.Error("explain an unreachable channel", "channel", from, "error", err)
	}
}

// concerns returns whom a content is for; "" when nobody is to get it alone.
func concerns(c outbox.Content) string {
	first := func(users []string) string {
		if len(users) == 0 {
			return ""
		}
		return users[0]
	}
	switch c := c.(type) {
	case outbox.RunCard:
		return c.Starter
	case outbox.Report:
		return first(c.Users)
	case outbox.Line:
		return first(c.Users)
	case outbox.Answer:
		return first(c.Users)
	case outbox.Prompt:
		return first(c.Users)
	case outbox.Incident:
		return c.Commander
	}
	return ""
}

// deliverEphemeral answers one person: through the response_url of what they
// did, else in the channel, else directly. It may arrive twice.
func (s *sender) deliverEphemeral(ctx context.Context, d outbox.Delivery, m blocks.Message) {
	n := d.Notice
	if n.Reply != "" && n.To.Thread == "" && s.w.pace.rested("response_url") == 0 {
		err := s.call(ctx, "response_url", func(ctx context.Context) error { return s.w.respond(ctx, n.Reply, m, "ephemeral") })
		switch o, _ := judge(err); o {
		case fine:
			s.sent(ctx, d, "", "", "answered")
			return
		case limited, unclear:
			if d.Attempts < 3 {
				s.later(ctx, d, "response_url", err)
				return
			}
		}
		// Used up, or older than 30 minutes.
	}
	if s.w.pace.rested("chat.postEphemeral") > 0 {
		s.putBack(ctx, d, s.w.pace.rested("chat.postEphemeral"), "ratelimited")
		return
	}
	options := []slack.MsgOption{slack.MsgOptionText(m.Text, false)}
	if len(m.Blocks) > 0 {
		options = append(options, slack.MsgOptionBlocks(m.Blocks...))
	}
	if n.To.Thread != "" {
		options = append(options, slack.MsgOptionTS(n.To.Thread))
	}
	err := s.call(ctx, "chat.postEphemeral", func(ctx context.Context) error {
		_, err := s.w.api.PostEphemeralContext(ctx, n.To.Channel, n.Only, options...)
		return err
	})
	switch o, _ := judge(err); o {
	case fine:
		s.sent(ctx, d, "", "", "answered")
	case limited, unclear, locked:
		s.later(ctx, d, "chat.postEphemeral", err)
	case nowhere, gone:
		instead := n
		instead.Only, instead.Reply, instead.Under, instead.To = "", "", "", outbox.Conversation{Channel: n.Only}
		s.drop(ctx, d, word(err), &instead)
	default:
		s.log.Error("Slack refuses an answer", "notice", d.ID, "error", word(err), "details", details(err))
		if len(m.Blocks) == 0 {
			s.drop(ctx, d, word(err), nil)
			return
		}
		d.Notice.Reply = ""
		s.deliverEphemeral(ctx, d, blocks.Message{Text: m.Text})
	}
}

// respond posts through a response_url. An empty kind replaces nothing and
// leaves the kind of message to Slack's default, ephemeral.
func (w *Workspace) respond(ctx context.Context, to string, m blocks.Message, kind string) error {
	if !w.slackURL(to) {
		return errForeignURL
	}
	message := &slack.WebhookMessage{Text: m.Text, ResponseType: kind}
	if len(m.Blocks) > 0 {
		message.Blocks = &slack.Blocks{BlockSet: m.Blocks}
	}
	return slack.PostWebhookCustomHTTPContext(ctx, to, w.http, message)
}

// deliverFile uploads a file into the conversation. It may arrive twice: an
// upload carries nothing by which it could be found again.
func (s *sender) deliverFile(ctx context.Context, d outbox.Delivery, m blocks.Message) {
	err := s.upload(ctx, *m.File, d.Notice.To)
	switch o, _ := judge(err); o {
	case fine:
		s.sent(ctx, d, "", "", "uploaded")
	case limited, unclear, locked:
		s.later(ctx, d, "files.completeUploadExternal", err)
	case nowhere:
		s.elsewhere(ctx, d, err)
	case gone:
		d.Notice.To.Thread = ""
		if err := s.upload(ctx, *m.File, d.Notice.To); err != nil {
			s.drop(ctx, d, word(err), nil)
			return
		}
		s.sent(ctx, d, "", "", "uploaded")
	default:
		s.drop(ctx, d, word(err), nil)
	}
}

// attach uploads what a new message had to cut, into its thread.
func (s *sender) attach(ctx context.Context, d outbox.Delivery, m blocks.Message, channel, ts string) {
	if m.File == nil {
		return
	}
	to := outbox.Conversation{Channel: channel, Thread: d.Notice.To.Thread}
	if to.Thread == "" {
		to.Thread = ts
	}
	content := outbox.File{Name: m.File.Name, Title: m.File.Title, Text: m.File.Text}
	err := again(ctx, func() error { return s.queue.Enqueue(ctx, outbox.Notice{To: to, Content: content}) })
	if err != nil {
		s.log.Error("queue a long output", "notice", d.ID, "error", err)
	}
}

func (s *sender) upload(ctx context.Context, f blocks.File, to outbox.Conversation) error {
	if f.Text == "" {
		f.Text = "\n" // Slack takes no empty file
	}
	title := f.Title
	if title == "" {
		title = f.Name
	}
	ctx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	var link *slack.GetUploadURLExternalResponse
	err := s.w.call(ctx, "files.getUploadURLExternal", func(ctx context.Context) (err error) {
		link, err = s.w.api.GetUploadURLExternalContext(ctx, slack.GetUploadURLExternalParameters{FileName: f.Name, FileSize: len(f.Text)})
		return err
	})
	if err != nil {
		return fmt.Errorf("ask where to upload: %w", err)
	}
	err = s.w.api.UploadToURL(ctx, slack.UploadToURLParameters{UploadURL: link.UploadURL, Filename: f.Name, Content: f.Text})
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	err = s.w.call(ctx, "files.completeUploadExternal", func(ctx context.Context) error {
		_, err := s.w.api.CompleteUploadExternalContext(ctx, slack.CompleteUploadExternalParameters{
			Files: []slack.FileSummary{{ID: link.FileID, Title: title}}, Channel: to.Channel, ThreadTimestamp: to.Thread,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("share the upload: %w", err)
	}
	return nil
}

// metadata marks a message, so that it can be found again.
func metadata(d outbox.Delivery) slack.SlackMetadata {
	return slack.SlackMetadata{EventType: noticeEvent, EventPayload: map[string]any{"notice": mark(d), "version": d.Version}}
}

// mark names the message: by its key, or, for a message that is never edited,
// by the notice's number.
func mark(d outbox.Delivery) string {
	if d.Notice.Key != "" {
		return d.Notice.Key
	}
	return fmt.Sprintf("notice-%d", d.ID)
}

const (
	noticeEvent = "opsbot_notice"
	// seekBack is how far back a message is looked for: further than any pause
	// after which its delivery would still make sense.
	seekBack  = 24 * time.Hour
	seekPages = 10
)
