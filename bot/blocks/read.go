package blocks

import (
	"regexp"
	"strings"

	"github.com/slack-go/slack"

	"opsbot/commands"
	"opsbot/internal/access"
	"opsbot/internal/outbox"
)

// action_ids say what a button does; its value says to what. A list of offers
// or commands adds a number, so that no two are alike in a message.
const (
	idDecide = "decide:" // + choice; value: approval id
	idStop   = "stop"    // value: run id
	idOffer  = "offer:"  // + number; value: offer id
	idLine   = "line:"   // + number; value: what a person could type as well
)

// Slash reads a slash command: "/runbook cache-fix" asks for the line
// "runbook cache-fix".
func Slash(cmd slack.SlashCommand, key string) commands.Request {
	noun := strings.TrimPrefix(cmd.Command, "/")
	return commands.Request{
		Key:   key,
		Actor: person(cmd.TeamID, cmd.UserID, cmd.UserName),
		Where: outbox.Conversation{Channel: cmd.ChannelID},
		Line:  strings.TrimSpace(noun + " " + strings.TrimSpace(typed(cmd.Text))), Names: names(cmd.Text),
	}
}

// Mention reads a message that begins with, or holds, the bot's mention: what
// follows it is the command. ts is the message's own; a thread that is the
// message itself is no thread yet.
func Mention(text, channel, thread, user, team, ts, botUser, key string) commands.Request {
	if at := mention(text, botUser); at >= 0 {
		text = text[at:]
	}
	if thread == ts {
		thread = ""
	}
	return commands.Request{
		Key:   key,
		Actor: person(team, user, ""),
		Where: outbox.Conversation{Channel: channel, Thread: thread},
		Line:  strings.TrimSpace(typed(text)), Names: names(text), Message: ts,
	}
}

// Callback ids of the shortcuts on messages, as the manifest has them.
const (
	ShortcutDeclare  = "incident_declare"
	ShortcutTimeline = "incident_timeline"
)

// Shortcut reads a shortcut that somebody chose on a message. It returns false
// for any that is not ours.
func Shortcut(cb slack.InteractionCallback, key string) (commands.Request, bool) {
	m := cb.Message
	req := commands.Request{
		Key: key, Actor: presser(cb), Where: outbox.Conversation{Channel: cb.Channel.ID, Thread: m.ThreadTimestamp}, Message: m.Timestamp,
		Values: map[string]string{commands.ValueSaid: typed(m.Text), commands.ValueBy: m.User}, Names: names(m.Text),
	}
	switch cb.CallbackID {
	case ShortcutDeclare:
		req.Action = commands.ActionDeclareHere
		if req.Where.Thread == "" {
			req.Where.Thread = m.Timestamp // what is said about it belongs under the message
		}
	case ShortcutTimeline:
		req.Action, req.Clicked = commands.ActionCapture, true
		Quote(&req, m)
	default:
		return commands.Request{}, false
	}
	return req, cb.Channel.ID != "" && m.Timestamp != ""
}

// mention returns the index behind the first mention of the user, or -1.
func mention(text, user string) int {
	for from := 0; user != ""; {
		i := strings.Index(text[from:], "<@"+user)
		if i < 0 {
			return -1
		}
		i += from + len("<@"+user)
		if end := strings.IndexByte(text[i:], '>'); end == 0 || end > 0 && text[i] == '|' {
			return i + end + 1
		}
		from = i
	}
	return -1
}

// Click reads a click on one of our buttons. It returns false for anything
// else: a link button, or an element of another app or age.
func Click(cb slack.InteractionCallback, key string) (commands.Request, bool) {
	if cb.Type != slack.InteractionTypeBlockActions || len(cb.ActionCallback.BlockActions) == 0 {
		return commands.Request{}, false
	}
	a := cb.ActionCallback.BlockActions[0]
	req := commands.Request{Key: key, Actor: presser(cb), Where: place(cb)}
	if ts := orElse(cb.Container.MessageTs, cb.Message.Timestamp); ts != "" && req.Where.Channel != "" {
		req.Actor.Message = req.Where.Channel + "/" + ts
	}
	switch id := a.ActionID; {
	case a.Value == "":
		return commands.Request{}, false
	case strings.HasPrefix(id, idDecide):
		req.Action, req.Subject = commands.ActionDecide, a.Value
		req.Values = map[string]string{commands.ValueChoice: strings.TrimPrefix(id, idDecide)}
	case id == idStop:
		req.Action, req.Subject = commands.ActionStop, a.Value
	case strings.HasPrefix(id, idOffer):
		req.Action, req.Subject = commands.ActionOffer, a.Value
	case strings.HasPrefix(id, idLine) && a.Value == homeLine:
		req.Action = commands.ActionHome
	case strings.HasPrefix(id, idLine):
		req.Line, req.Clicked = a.Value, true
	default:
		return commands.Request{}, false
	}
	return req, true
}

// Opened is somebody's look at the app's own page.
func Opened(user, team, key string) commands.Request {
	return commands.Request{Key: key, Actor: person(team, user, ""), Action: commands.ActionHome}
}

func presser(cb slack.InteractionCallback) access.Actor {
	team := cb.User.TeamID
	if team == "" {
		team = cb.Team.ID
	}
	return person(team, cb.User.ID, cb.User.Name)
}

// place is the conversation of the message that was clicked.
func place(cb slack.InteractionCallback) outbox.Conversation {
	where := outbox.Conversation{Channel: cb.Container.ChannelID, Thread: cb.Container.ThreadTs}
	if where.Channel == "" {
		where.Channel = cb.Channel.ID
	}
	if where.Thread == "" {
		where.Thread = cb.Message.ThreadTimestamp
	}
	if where.Thread != "" && where.Thread == cb.Message.Timestamp {
		where.Thread = "" // the parent itself, which stands in the channel
	}
	return where
}

func person(team, id, name string) access.Actor {
	return access.Actor{Kind: access.Person, Team: team, ID: id, Name: name, Via: "slack"}
}

// typed gives back what a person typed before Slack marked it up: ids for
// people and channels, because commands work with ids, and for everything
// else the text that was seen.
func typed(s string) string {
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		b.WriteString(unescaper.Replace(s[:i]))
		s = s[i:]
		end := strings.IndexByte(s, '>')
		if end < 0 {
			break
		}
		b.WriteString(unescaper.Replace(seen(s[1:end])))
		s = s[end+1:]
	}
	b.WriteString(unescaper.Replace(s))
	return b.String()
}

// reference is how Slack marks people and channels up.
var reference = regexp.MustCompile(`<([@#])([A-Z0-9]{1,20})(?:\|([^>|]*))?>`)

// names are what the people and channels are called whose ids typed leaves in
// the text; "" for those that Slack did not name.
func names(s string) map[string]string {
	var found map[string]string
	for _, m := range reference.FindAllStringSubmatch(s, 100) {
		if found == nil {
			found = map[string]string{}
		}
		if found[m[2]] = ""; m[3] != "" {
			found[m[2]] = m[1] + unescaper.Replace(m[3])
		}
	}
	return found
}

var unescaper = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// seen reads the inside of one <…>.
func seen(ref string) string {
	target, label, labelled := strings.Cut(ref, "|")
	switch {
	case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"):
		return target[1:]
	case strings.HasPrefix(target, "!subteam^"):
		if labelled {
			return "@" + strings.TrimPrefix(label, "@")
		}
		return strings.TrimPrefix(target, "!subteam^")
	case strings.HasPrefix(target, "!"):
		if labelled {
			return label
		}
		return "@" + target[1:]
	case labelled:
		return label
	}
	return strings.TrimPrefix(target, "mailto:")
}
