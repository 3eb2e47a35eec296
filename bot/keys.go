package bot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/slack-go/slack"
)

// Kinds of inbox items, as Slack names what is in them.
const (
	kindSlash  = "slash_commands"
	kindClick  = "block_actions"
	kindSubmit = "view_submission"
	kindEvent  = "event"
	kindAct    = "message_action" // a shortcut on a message
	kindCrowd  = "crowd"          // a reply in a thread with many
)

// homeOpened is the event of somebody who looks at the app's own page.
const homeOpened = "app_home_opened"

// A payload holds the few fields of Slack's payloads that decide what becomes
// of an envelope. Everything else is read when the work is done.
type payload struct {
	Type        string `json:"type"` // empty for slash commands
	TriggerID   string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	TeamID      string `json:"team_id"`
	User        struct {
		ID string `json:"id"`
	} `json:"user"`
	Container struct {
		ChannelID string `json:"channel_id"`
		MessageTS string `json:"message_ts"`
		ViewID    string `json:"view_id"`
		ThreadTS  string `json:"thread_ts"`
	} `json:"container"`
	View struct {
		ID     string `json:"id"`
		Hash   string `json:"hash"`
		Blocks []struct {
			Type    string `json:"type"`
			BlockID string `json:"block_id"`
		} `json:"blocks"`
	} `json:"view"`
	Actions []struct {
		ActionID string `json:"action_id"`
		BlockID  string `json:"block_id"`
		ActionTS string `json:"action_ts"`
	} `json:"actions"`
	CallbackID string `json:"callback_id"`
	MessageTS  string `json:"message_ts"`
	EventID    string `json:"event_id"`
	Event      event  `json:"event"`
}

// An event is the part of a message or mention that matters here.
type event struct {
	Type        string `json:"type"`
	Subtype     string `json:"subtype"`
	BotID       string `json:"bot_id"`
	User        string `json:"user"`
	Team        string `json:"team"`
	Text        string `json:"text"`
	Channel     string `json:"channel"`
	ChannelType string `json:"channel_type"`
	TS          string `json:"ts"`
	ThreadTS    string `json:"thread_ts"`
	Tab         string `json:"tab"` // of the app's home

	// Of reactions and pins.
	Reaction  string `json:"reaction"`
	ChannelID string `json:"channel_id"`
	EventTS   string `json:"event_ts"`
	Item      struct {
		Type    string  `json:"type"`
		Channel string  `json:"channel"`
		TS      string  `json:"ts"`
		Message message `json:"message"`
	} `json:"item"`

	Files []slack.File `json:"files"`

	// Of edits and deletions.
	Message   message `json:"message"`
	DeletedTS string  `json:"deleted_ts"`
}

// A message is one inside of an event about it.
type message struct {
	TS       string `json:"ts"`
	Subtype  string `json:"subtype"`
	User     string `json:"user"`
	BotID    string `json:"bot_id"`
	Text     string `json:"text"`
	ThreadTS string `json:"thread_ts"`
	Edited   struct {
		TS string `json:"ts"`
	} `json:"edited"`
	Files []slack.File `json:"files"`
}

// readPayload decodes an envelope's payload. Fields of an unexpected type are
// an error: then it is not a payload that anybody here can work with.
func readPayload(data []byte) (payload, error) {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return payload{}, fmt.Errorf("read Slack's payload: %w", err)
	}
	return p, nil
}

// identify says what was done, as the kind and key of an inbox item. Two
// deliveries of one act have one key, whatever their envelopes. ok is false
// for what nobody has to act on, such as the bot's own messages, edits and
// closed forms.
func identify(envelope string, p payload) (kind, key string, ok bool) {
	switch envelope {
	case "slash_commands":
		return kindSlash, "slash:" + p.TriggerID, p.TriggerID != ""
	case "interactive":
		switch p.Type {
		case kindSubmit:
			return kindSubmit, join("view", p.View.ID, p.View.Hash, p.User.ID), p.View.ID != ""
		case kindAct:
			return kindAct, join("act", p.TriggerID), p.TriggerID != "" && p.CallbackID != ""
		case kindClick:
			if len(p.Actions) == 0 {
				return "", "", false
			}
			a := p.Actions[0]
			place := p.Container.ViewID
			if place == "" {
				place = p.Container.ChannelID + "/" + p.Container.MessageTS
			}
			return kindClick, join("click", place, a.BlockID, a.ActionID, p.User.ID, a.ActionTS), true
		}
	case "events_api":
		// One sentence can arrive as app_mention and as message, each with an
		// event_id of its own; what was said is known by its place.
		e := p.Event
		if e.Type == homeOpened {
			return kindEvent, join("home", e.User, p.EventID), e.User != "" && e.Tab == "home"
		}
		if archived(e) {
			return kindEvent, join(e.Type, e.Channel, e.EventTS), e.Channel != "" && e.EventTS != ""
		}
		if kind, key, ok := identifyMark(e); ok {
			return kind, key, true
		}
		if _, ok := e.paper(); ok {
			return kindEvent, join("paper", e.Channel, e.TS), e.Channel != "" && e.TS != ""
		}
		said := e.Type == "app_mention" || e.Type == "message" && e.ChannelType == "im"
		plain := e.Subtype == "" || e.Subtype == "file_share" || e.Subtype == "thread_broadcast"
		if said && plain && e.BotID == "" && e.User != "" {
			return kindEvent, join("said", e.Channel, e.TS), e.Channel != "" && e.TS != ""
		}
	}
	return "", "", false
}

// tombstone is what takes the place of a deleted message that has replies.
const tombstone = "tombstone"

// archived reports whether somebody archived a channel.
func archived(e event) bool { return e.Type == "channel_archive" || e.Type == "group_archive" }

// pushpin is the reaction that puts a message on an incident's timeline.
const pushpin = "pushpin"

// identifyMark does the same for what people do to messages: they mark, pin,
// edit and delete them.
func identifyMark(e event) (kind, key string, ok bool) {
	switch {
	case (e.Type == "reaction_added" || e.Type == "reaction_removed") && e.Reaction == pushpin && e.Item.Type == "message":
		return kindEvent, join(e.Type, e.Item.Channel, e.Item.TS, e.User, e.EventTS), e.Item.TS != "" && e.User != ""
	case (e.Type == "pin_added" || e.Type == "pin_removed") && e.Item.Type == "message" && e.Item.Message.BotID == "":
		return kindEvent, join(e.Type, e.ChannelID, e.Item.Message.TS, e.User, e.EventTS), e.Item.Message.TS != "" && e.User != ""
	case e.Type == "message" && e.Subtype == "message_changed" && e.Message.Subtype == tombstone:
		return kindEvent, join("deleted", e.Channel, e.Message.TS), e.Message.TS != ""
	case e.Type == "message" && e.Subtype == "message_changed" && e.Message.Edited.TS != "" && e.Message.BotID == "":
		return kindEvent, join("edited", e.Channel, e.Message.TS, e.Message.Edited.TS), e.Message.TS != ""
	case e.Type == "message" && e.Subtype == "message_deleted":
		return kindEvent, join("deleted", e.Channel, e.DeletedTS), e.DeletedTS != ""
	}
	return "", "", false
}

func join(parts ...string) string { return strings.Join(parts, ":") }

// firstInput returns the block that can carry an error about a whole view.
func (p payload) firstInput() string {
	for _, b := range p.View.Blocks {
		if b.Type == "input" {
			return b.BlockID
		}
	}
	return ""
}

// changedAccount is the user whose account an event tells of, such as that it
// was deactivated; "" for every other envelope.
func changedAccount(envelope string, data []byte) string {
	if envelope != "events_api" || !bytes.Contains(data, []byte("user_change")) {
		return ""
	}
	var p struct {
		Event struct {
			Type string `json:"type"`
			User struct {
				ID string `json:"id"`
			} `json:"user"`
		} `json:"event"`
	}
	if json.Unmarshal(data, &p) != nil || p.Event.Type != "user_change" {
		return ""
	}
	return p.Event.User.ID
}
