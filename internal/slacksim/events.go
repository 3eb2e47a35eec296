package slacksim

import (
	"slices"
	"strings"
	"time"
)

// retryAfter is when an event is sent again, counted from the failure of the
// attempt before: at once, after a minute, after five. Source: D:apis/events-api.
var retryAfter = []time.Duration{0, time.Minute, 5 * time.Minute}

// eventScopes are what an app needs beside the subscription to get an event.
// One of them is enough. Source: methods and events reference (A).
var eventScopes = map[string][]string{
	"app_mention":           {"app_mentions:read"},
	"message.channels":      {"channels:history"},
	"message.groups":        {"groups:history"},
	"message.im":            {"im:history"},
	"message.mpim":          {"mpim:history"},
	"reaction_added":        {"reactions:read"},
	"reaction_removed":      {"reactions:read"},
	"pin_added":             {"pins:read"},
	"pin_removed":           {"pins:read"},
	"member_joined_channel": {"channels:read", "groups:read"},
	"member_left_channel":   {"channels:read", "groups:read"},
	"channel_archive":       {"channels:read"},
	"channel_unarchive":     {"channels:read"},
	"group_archive":         {"groups:read"},
	"group_unarchive":       {"groups:read"},
	"user_change":           {"users:read"},
	"channel_rename":        {"channels:read"},
	"channel_created":       {"channels:read"},
}

// emit sends an event if the app subscribed to it and has the scope. The lock
// is held.
func (s *Server) emit(subscription string, event obj) {
	if s.closed || !s.manifest.subscribed(subscription) || s.needScope(eventScopes[subscription]) != nil {
		return
	}
	name, _ := event["type"].(string)
	now := s.clock.now()
	if event["event_ts"] == nil {
		event["event_ts"] = s.newTS()
	}
	payload := obj{
		"token": s.app.secret, "team_id": s.app.teamID, "api_app_id": s.app.appID, "event": event,
		"type": "event_callback", "event_id": s.newID("Ev"), "event_time": now.Unix(),
		"authorizations": []obj{{
			"enterprise_id": nil, "team_id": s.app.teamID, "user_id": s.app.botUserID, "is_bot": true, "is_enterprise_install": false,
		}},
		"is_ext_shared_channel": false, "event_context": "4-" + s.random(20),
	}
	first := &delivery{s: s, kind: "events_api", what: name, payload: payload}
	if s.faults.swap {
		s.faults.swap, s.faults.held = false, first
		return
	}
	s.deliverEvent(first)
	if s.faults.dupEvents > 0 {
		s.faults.dupEvents--
		s.deliverEvent(&delivery{s: s, kind: "events_api", what: name, payload: payload})
	}
	if held := s.faults.held; held != nil {
		s.faults.held = nil
		s.deliverEvent(held)
	}
}

// deliverEvent sends one attempt. Without a socket the attempt fails after the
// usual three seconds (policy), so that the retries keep their distances.
func (s *Server) deliverEvent(d *delivery) {
	d.retry = func() {
		if d.attempt >= len(retryAfter) || s.closed {
			return // given up
		}
		again := &delivery{s: s, kind: d.kind, what: d.what, payload: d.payload, attempt: d.attempt + 1}
		wait := retryAfter[d.attempt]
		if wait == 0 {
			s.deliverEvent(again)
			return
		}
		s.clock.after(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.closed {
				s.deliverEvent(again)
			}
		})
	}
	if !s.dispatch(d) {
		s.clock.after(ackDeadline, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			d.retry()
		})
	}
}

// subscriptionOf names the message event of a channel's kind.
func subscriptionOf(c *channel) (subscription, channelType string) {
	switch c.kind() {
	case "groups":
		return "message.groups", "group"
	case "im":
		return "message.im", "im"
	case "mpim":
		return "message.mpim", "mpim"
	}
	return "message.channels", "channel"
}

// emitMessage tells the app of a new message in a channel it is in, and of
// being mentioned there.
func (s *Server) emitMessage(c *channel, m *Message) {
	if !c.has(s.app.botUserID) {
		return
	}
	subscription, channelType := subscriptionOf(c)
	event := s.messageJSON(m, false)
	event["channel"], event["channel_type"], event["event_ts"] = c.ID, channelType, m.TS
	s.emit(subscription, event)

	mentioned := strings.Contains(m.Text, "<@"+s.app.botUserID+">") || strings.Contains(m.Text, "<@"+s.app.botUserID+"|")
	if mentioned && !m.FromApp() && channelType != "im" && m.Subtype == "" {
		mention := s.messageJSON(m, false)
		mention["type"], mention["channel"], mention["event_ts"] = "app_mention", c.ID, m.TS
		s.emit("app_mention", mention)
	}
}

// emitChange tells of an edit or a deletion.
func (s *Server) emitChange(c *channel, subtype string, before obj, m *Message) {
	if !c.has(s.app.botUserID) {
		return
	}
	subscription, channelType := subscriptionOf(c)
	event := obj{
		"type": "message", "subtype": subtype, "hidden": true, "channel": c.ID, "channel_type": channelType,
		"ts": s.newTS(), "previous_message": before,
	}
	if subtype == "message_deleted" {
		event["deleted_ts"] = m.TS
	} else {
		event["message"] = s.messageJSON(m, false)
	}
	s.emit(subscription, event)
}

// emitItem tells of a reaction or a pin in a channel the app is in.
func (s *Server) emitItem(name string, c *channel, user string, m *Message, more obj) {
	if !c.has(s.app.botUserID) {
		return
	}
	event := obj{"type": name, "user": user, "item_user": m.User, "item": obj{"type": "message", "channel": c.ID, "ts": m.TS}}
	if strings.HasPrefix(name, "pin_") {
		event["channel_id"] = c.ID
		event["item"] = obj{"type": "message", "channel": c.ID, "created": s.clock.now().Unix(), "created_by": user, "message": s.messageJSON(m, false)}
	}
	for k, v := range more {
		event[k] = v
	}
	s.emit(name, event)
}

// emitMember tells of somebody who came, the bot itself included.
func (s *Server) emitMember(name string, c *channel, user, inviter string) {
	if !c.has(s.app.botUserID) || c.IM || c.MPIM {
		return
	}
	kind := "C"
	if c.Private {
		kind = "G"
	}
	event := obj{"type": name, "user": user, "channel": c.ID, "channel_type": kind, "team": s.app.teamID}
	if inviter != "" {
		event["inviter"] = inviter
	}
	s.emit(name, event)
}

// join adds a user to a channel as Slack does: with a message that says so
// and, when the app is there, an event.
func (s *Server) joinChannel(c *channel, user, inviter string) {
	if c.has(user) {
		return
	}
	c.Members = append(c.Members, user)
	if !c.IM && !c.MPIM {
		m := Message{Subtype: "channel_join", User: user, Text: "<@" + user + "> has joined the channel"}
		s.put(c, m)
	}
	s.emitMember("member_joined_channel", c, user, inviter)
	s.tell(Event{Kind: "channel", Channel: c.ID})
}

func (s *Server) leaveChannel(c *channel, user string) {
	s.emitMember("member_left_channel", c, user, "")
	c.Members = slices.DeleteFunc(c.Members, func(m string) bool { return m == user })
	s.tell(Event{Kind: "channel", Channel: c.ID})
}

// archive closes a channel; on false opens it again. A private channel has
// events of its own. Source: events reference (A).
func (s *Server) archive(c *channel, user string, on bool) {
	c.Archived = on
	if c.has(s.app.botUserID) {
		name := "channel_"
		if c.Private {
			name = "group_"
		}
		if on {
			name += "archive"
		} else {
			name += "unarchive"
		}
		event := obj{"type": name, "channel": c.ID}
		if user != "" {
			event["user"] = user
		}
		s.emit(name, event)
	}
	s.tell(Event{Kind: "channel", Channel: c.ID})
}

// emitUser tells of a change to a person's account. The event goes to every
// app that asked for it, whatever channels the person is in.
func (s *Server) emitUser(u *User) {
	s.emit("user_change", obj{"type": "user_change", "user": s.userJSON(u), "cache_ts": s.clock.now().Unix()})
}
