package bot

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Kinds of inbox items, as Slack names what is in them.
const (
	kindSlash  = "slash_commands"
	kindClick  = "block_actions"
	kindSubmit = "view_submission"
	kindEvent  = "event"
)

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
	EventID string `json:"event_id"`
	Event   event  `json:"event"`
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
		said := e.Type == "app_mention" || e.Type == "message" && e.ChannelType == "im"
		plain := e.Subtype == "" || e.Subtype == "file_share" || e.Subtype == "thread_broadcast"
		if said && plain && e.BotID == "" && e.User != "" {
			return kindEvent, join("said", e.Channel, e.TS), e.Channel != "" && e.TS != ""
		}
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
