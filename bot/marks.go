package bot

import (
	"context"

	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/commands"
)

// marked reads what somebody did to a message.
func marked(e event, team, key, botUser string) (commands.Request, bool) {
	m := blocks.Mark{Team: team, User: e.User, Key: key, Channel: e.Channel, How: e.Type}
	switch e.Type {
	case "reaction_added", "reaction_removed":
		m.Channel, m.TS = e.Item.Channel, e.Item.TS
	case "pin_added", "pin_removed":
		m.Channel, m.TS, m.Thread, m.Author, m.Text, m.Files = e.ChannelID, e.Item.Message.TS, e.Item.Message.ThreadTS, e.Item.Message.User, e.Item.Message.Text, e.Item.Message.Files
	case "message":
		m.How = e.Subtype
		m.TS, m.Thread, m.Author, m.Text, m.Files = e.Message.TS, e.Message.ThreadTS, e.Message.User, e.Message.Text, e.Message.Files
		switch {
		case e.Subtype == "message_deleted":
			m.TS = e.DeletedTS
		case e.Message.Subtype == tombstone: // whose author Slack says it is itself
			m.How, m.User, m.Author, m.Text = "message_deleted", "", "", ""
		}
		if m.User == "" {
			m.User = m.Author // an edit is its author's
		}
	}
	return blocks.Marked(m, botUser)
}

// quote reads the message that a request is about, if it says no more than
// where that stands: reactions come without it.
func (k *worker) quote(ctx context.Context, j *job) {
	r := &j.req
	if r.Action != commands.ActionCapture || r.Values[commands.ValueSaid] != "" || r.Values[commands.ValueFiles] != "" || r.Where.Thread != "" {
		return
	}
	var found []slack.Message
	err := k.w.call(ctx, "conversations.replies", func(ctx context.Context) (err error) {
		found, _, _, err = k.w.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: r.Where.Channel, Timestamp: r.Message, Limit: 1, Inclusive: true})
		return err
	})
	if err != nil {
		k.log.Warn("read a message that was marked", "channel", r.Where.Channel, "error", word(err))
		return
	}
	for _, m := range found {
		if m.Timestamp == r.Message {
			blocks.Quote(r, m)
		}
	}
}
