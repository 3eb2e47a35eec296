package blocks

import (
	"strings"

	"github.com/slack-go/slack"

	"opsbot/commands"
	"opsbot/internal/outbox"
)

// A Mark is what somebody did to a message.
type Mark struct {
	How     string // Slack's name of the event
	Team    string
	User    string // who did it; "" if Slack does not say
	Key     string
	Channel string
	TS      string // of the message
	Thread  string // that it stands in
	Author  string // of the message
	Text    string // of the message; "" if Slack does not say
	Files   []slack.File
}

// Marked turns a mark into the request to keep the message on a timeline, or
// to keep up with it.
func Marked(m Mark, botUser string) (commands.Request, bool) {
	req := commands.Request{
		Key: m.Key, Where: outbox.Conversation{Channel: m.Channel, Thread: m.Thread}, Message: m.TS,
		Actor:  person(m.Team, m.User, ""),
		Values: map[string]string{commands.ValueSaid: typed(m.Text), commands.ValueBy: m.Author}, Names: names(m.Text),
	}
	hang(&req, m.Files)
	switch m.How {
	case "reaction_added", "pin_added":
		req.Action = commands.ActionCapture
	case "reaction_removed", "pin_removed":
		req.Action, req.Subject = commands.ActionAmend, commands.AmendUnpin
	case "message_changed":
		req.Action, req.Subject = commands.ActionAmend, commands.AmendEdit
		if at := mention(m.Text, botUser); at >= 0 {
			req.Line = strings.TrimSpace(typed(m.Text[at:]))
		}
	case "message_deleted":
		req.Action, req.Subject = commands.ActionAmend, commands.AmendDelete
	default:
		return commands.Request{}, false
	}
	return req, m.Channel != "" && m.TS != ""
}

// Archived reads that somebody archived a channel, which people call name.
func Archived(channel, name, user, team, key string) commands.Request {
	return commands.Request{Key: key, Action: commands.ActionArchived, Where: outbox.Conversation{Channel: channel}, Subject: name, Actor: person(team, user, "")}
}

// Quote adds what a message says to the request that is about it.
func Quote(r *commands.Request, m slack.Message) {
	r.Values[commands.ValueSaid], r.Values[commands.ValueBy], r.Names = typed(m.Text), m.User, names(m.Text)
	if r.Values[commands.ValueBy] == "" {
		r.Values[commands.ValueBy] = m.BotID
	}
	if m.ThreadTimestamp != "" {
		r.Where.Thread = m.ThreadTimestamp
	}
	hang(r, m.Files)
}

// hang adds the names and links of a message's files.
func hang(r *commands.Request, list []slack.File) {
	var files []string
	for _, f := range list {
		files = append(files, strings.TrimSpace(f.Name+" "+f.Permalink))
	}
	if len(files) > 0 {
		r.Values[commands.ValueFiles] = strings.Join(files, "\n")
	}
}
