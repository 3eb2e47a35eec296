package slacksim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// handlers are the methods that are simulated. Every other method of the
// reference answers unknown_method and is reported by the test that called it.
var handlers map[string]handler

func init() {
	handlers = map[string]handler{
		"api.test": apiTest, "auth.test": authTest,
		"apps.connections.open": (*Server).openConnection,
		"apps.manifest.export":  exportManifest,
		"chat.postMessage":      postMessage, "chat.update": updateMessage, "chat.delete": deleteMessage,
		"chat.postEphemeral": postEphemeral, "chat.getPermalink": getPermalink, "chat.scheduleMessage": scheduleMessage,
		"chat.scheduledMessages.list": listScheduled, "chat.deleteScheduledMessage": deleteScheduled,
		"conversations.create": createChannel, "conversations.open": openDirect, "conversations.list": listChannels,
		"conversations.info": channelInfo, "conversations.members": channelMembers, "conversations.join": joinAsApp,
		"conversations.leave": leaveAsApp, "conversations.kick": kickFromChannel, "conversations.invite": inviteToChannel,
		"conversations.setTopic": setTopic, "conversations.setPurpose": setPurpose, "conversations.rename": renameChannel,
		"conversations.archive": archiveChannel, "conversations.unarchive": unarchiveChannel,
		"conversations.history": channelHistory, "conversations.replies": threadReplies,
		"users.info": userInfo, "users.list": listUsers, "users.lookupByEmail": lookupByEmail, "users.conversations": userChannels,
		"usergroups.list": listGroups, "usergroups.users.list": groupUsers,
		"views.open": openView, "views.push": pushView, "views.update": updateView, "views.publish": publishView,
		"reactions.add": addReaction, "reactions.remove": removeReaction, "reactions.get": getReactions,
		"pins.add": addPin, "pins.remove": removePin, "pins.list": listPins,
		"bookmarks.add": addBookmark, "bookmarks.edit": editBookmark, "bookmarks.list": listBookmarks, "bookmarks.remove": removeBookmark,
		"files.getUploadURLExternal": uploadURL, "files.completeUploadExternal": completeUpload, "files.info": fileInfo, "files.delete": deleteFile,
		"blocks.validate": validateBlocks, "team.info": teamInfo, "emoji.list": listEmoji, "bots.info": botInfo,
	}
}

// appChannel finds the channel that a posting method's argument means: an ID,
// a name, or a user's ID for their direct messages. Private channels without
// the app do not exist for it.
func (s *Server) appChannel(arg string) *channel {
	c := s.findChannel(arg)
	if c == nil {
		if u := s.users[arg]; u != nil && !u.Deactivated {
			c, _ = s.direct(true, u.ID, s.app.botUserID)
		}
	}
	if c != nil && c.kind() != "channels" && !c.has(s.app.botUserID) {
		return nil
	}
	return c
}

// channelArg finds the channel of a method that wants an ID, and checks the
// scope for the channel's kind.
func (s *Server) channelArg(r *request, name string) (*channel, obj) {
	c := s.channels[r.get(name)]
	if c == nil || (c.kind() != "channels" && !c.has(s.app.botUserID)) {
		return nil, refuse("channel_not_found")
	}
	return c, s.needKind(r, c)
}

// needKind checks that the app has one of the method's scopes that concern the
// channel's kind. Methods whose scopes name no kind need nothing more.
func (s *Server) needKind(r *request, c *channel) obj {
	var byKind, ofKind []string
	for _, scope := range r.fact.Scopes {
		kind, _, _ := strings.Cut(scope, ":")
		switch kind {
		case "channels", "groups", "im", "mpim":
			byKind = append(byKind, scope)
			if kind == c.kind() {
				ofKind = append(ofKind, scope)
			}
		}
	}
	if len(byKind) == 0 {
		return nil
	}
	if len(ofKind) == 0 {
		return refuse("method_not_supported_for_channel_type")
	}
	return s.needScope(ofKind)
}

// postTarget finds and checks where a message is to go.
func (s *Server) postTarget(r *request) (*channel, obj) {
	c := s.appChannel(r.get("channel"))
	switch {
	case c == nil:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.IM && s.manifest.Features.Home.MessagesTab != nil && !*s.manifest.Features.Home.MessagesTab:
		return nil, refuse("messages_tab_disabled")
	case !c.has(s.app.botUserID) && !s.scopes["chat:write.public"]:
		return nil, refuse("not_in_channel")
	}
	for _, custom := range []string{"username", "icon_emoji", "icon_url"} {
		if r.get(custom) != "" {
			return c, s.needScope([]string{"chat:write.customize"})
		}
	}
	return c, nil
}

// thread resolves thread_ts. A reply's ts works, but is flagged: it should be
// the parent's.
func (s *Server) thread(c *channel, r *request, m *Message) obj {
	ts := r.get("thread_ts")
	if ts == "" {
		return nil
	}
	parent := c.message(ts)
	if parent == nil || parent.For != "" {
		return refuse("cannot_reply_to_message") // policy: what an unknown thread_ts does is not documented
	}
	if parent.ThreadTS != "" && parent.ThreadTS != parent.TS {
		m.Flags = append(m.Flags, "thread_ts "+ts+" is a reply's, not the parent's")
		s.log.Warn("thread_ts is a reply's", "channel", c.ID, "ts", ts)
		ts = parent.ThreadTS
	}
	m.ThreadTS = ts
	m.Broadcast = r.flag("reply_broadcast")
	if m.Broadcast {
		m.Subtype = "thread_broadcast"
	}
	return nil
}

func (s *Server) appMessage(c content) Message {
	return Message{
		User: s.app.botUserID, BotID: s.app.botID, Text: c.text, Blocks: c.blocks, Attachments: c.attachments, Metadata: c.metadata,
	}
}

func postMessage(s *Server, r *request) obj {
	c, refusal := s.postTarget(r)
	if refusal != nil {
		return refusal
	}
	what, refusal := s.readContent(r, 0)
	if refusal != nil {
		return refusal
	}
	if what.empty() {
		return refuse("no_text")
	}
	m := s.appMessage(what)
	if refusal := s.thread(c, r, &m); refusal != nil {
		return refusal
	}
	p := s.put(c, m)
	answer := obj{"ok": true, "channel": c.ID, "ts": p.TS, "message": s.messageJSON(p, true)}
	if len(what.warnings) > 0 {
		answer["response_metadata"] = obj{"messages": what.messages}
		addWarnings(answer, what.warnings)
	}
	return answer
}

// update replaces what a message says, by chat.update's rules for what is left
// out: text without blocks removes the blocks, blocks without text keep it,
// and attachments stay until they are replaced.
func (s *Server) update(c *channel, m *Message, what content) {
	before := s.messageJSON(m, false)
	textChanged := what.hasText && what.text != m.Text
	if what.hasText {
		m.Text = what.text
	}
	if what.hasBlocks || what.hasText {
		m.Blocks = what.blocks
	}
	if what.hasAttach {
		m.Attachments = what.attachments
	}
	if what.hasMetadata {
		m.Metadata = what.metadata
	}
	m.Updates++
	m.Edited = m.Edited || textChanged
	s.tell(Event{Kind: "update", Channel: c.ID, TS: m.TS, User: m.For})
	if m.For == "" {
		s.emitChange(c, "message_changed", before, m)
	}
}

func updateMessage(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	if refusal != nil {
		return refusal
	}
	m := c.message(r.get("ts"))
	switch {
	case m == nil:
		return refuse("message_not_found")
	case !m.FromApp() || m.For != "":
		return refuse("cant_update_message")
	case c.Archived:
		return refuse("is_inactive")
	}
	what, refusal := s.readContent(r, maxUpdateText)
	if refusal != nil {
		return refusal
	}
	if !what.hasText && !what.hasBlocks && !what.hasAttach || (what.empty() && m.Text == "") || (what.hasText && what.empty()) {
		return refuse("no_text")
	}
	if hasRichText(m.Blocks) && what.blocks != nil && !hasRichText(what.blocks) {
		return refuse("block_mismatch")
	}
	s.update(c, m, what)
	return obj{"ok": true, "channel": c.ID, "ts": m.TS, "text": m.Text, "message": s.messageJSON(m, true)}
}

func hasRichText(blocks json.RawMessage) bool {
	var list []struct {
		Type string `json:"type"`
	}
	if len(blocks) == 0 || json.Unmarshal(blocks, &list) != nil {
		return false
	}
	for _, b := range list {
		if b.Type == "rich_text" {
			return true
		}
	}
	return false
}

// remove deletes a message. One with replies leaves a tombstone, and what
// Slack tells of it is an edit; once the last reply is gone, so is that.
// Source: events captured by users (I:slack-edge#10, openclaw#22035).
func (s *Server) remove(c *channel, m *Message) {
	before := s.messageJSON(m, false)
	m.Deleted, m.Tombstone = true, m.ReplyCount > 0
	if parent := c.byTS[m.ThreadTS]; parent != nil && parent != m && m.For == "" {
		parent.ReplyCount--
		parent.Tombstone = parent.Tombstone && parent.ReplyCount > 0
	}
	c.pins = slices.DeleteFunc(c.pins, func(p pin) bool { return p.ts == m.TS }) // policy: without an event
	m.Pinned = false
	if m.Tombstone {
		m.Text, m.Blocks, m.Attachments, m.Metadata, m.Files, m.Reactions = deletedText, nil, nil, nil, nil, nil
	}
	delete(s.unread, msgKey{c.ID, m.TS})
	s.tell(Event{Kind: "delete", Channel: c.ID, TS: m.TS, User: m.For})
	switch {
	case m.Tombstone:
		s.emitChange(c, "message_changed", before, m)
	case m.For == "":
		s.emitChange(c, "message_deleted", before, m)
	}
}

func deleteMessage(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	if refusal != nil {
		return refusal
	}
	m := c.message(r.get("ts"))
	switch {
	case m == nil:
		return refuse("message_not_found")
	case !m.FromApp() || m.For != "":
		return refuse("cant_delete_message")
	}
	s.remove(c, m)
	return obj{"ok": true, "channel": c.ID, "ts": m.TS}
}

func postEphemeral(s *Server, r *request) obj {
	c := s.appChannel(r.get("channel"))
	switch user := s.users[r.get("user")]; {
	case c == nil:
		return refuse("channel_not_found")
	case c.Archived:
		return refuse("is_archived")
	case !c.has(s.app.botUserID) && !(s.scopes["chat:write.public"] && c.kind() == "channels"):
		return refuse("not_in_channel")
	case user == nil || !c.has(user.ID):
		return refuse("user_not_in_channel")
	}
	what, refusal := s.readContent(r, maxPostText)
	if refusal != nil {
		return refusal
	}
	if what.empty() {
		return refuse("no_text")
	}
	m := s.appMessage(what)
	m.For = r.get("user")
	m.Metadata = nil
	if refusal := s.thread(c, r, &m); refusal != nil {
		return refusal
	}
	return obj{"ok": true, "message_ts": s.put(c, m).TS}
}

func getPermalink(s *Server, r *request) obj {
	c := s.channels[r.get("channel")]
	if c == nil || (c.kind() != "channels" && !c.has(s.app.botUserID)) {
		return refuse("channel_not_found")
	}
	m := c.message(r.get("message_ts"))
	if m == nil || m.For != "" {
		return refuse("message_not_found")
	}
	link := s.permalink(c.ID, m.TS)
	if m.ThreadTS != "" && m.ThreadTS != m.TS {
		link += "?thread_ts=" + m.ThreadTS + "&cid=" + c.ID
	}
	return obj{"ok": true, "channel": c.ID, "permalink": link}
}

// A scheduled message waits for its hour.
type scheduled struct {
	id, channel string
	postAt      time.Time
	created     time.Time
	message     Message
	timer       *timer
}

// Limits of chat.scheduleMessage. Source: its reference.
const (
	maxSchedule       = 120 * 24 * time.Hour
	schedulePerWindow = 30
	scheduleWindow    = 5 * time.Minute
)

func scheduleMessage(s *Server, r *request) obj {
	c, refusal := s.postTarget(r)
	if refusal != nil {
		return refusal
	}
	seconds, err := strconv.ParseInt(r.get("post_at"), 10, 64)
	if err != nil {
		return refuse("invalid_time")
	}
	at, now := time.Unix(seconds, 0), s.clock.now()
	switch {
	case !at.After(now):
		return refuse("time_in_past")
	case at.Sub(now) > maxSchedule:
		return refuse("time_too_far")
	}
	near := 0
	for _, q := range s.scheduled {
		if q.channel == c.ID && q.postAt.Sub(at).Abs() < scheduleWindow {
			near++
		}
	}
	if near >= schedulePerWindow {
		return refuse("restricted_too_many")
	}
	what, refusal := s.readContent(r, maxPostText)
	if refusal != nil {
		return refusal
	}
	if what.empty() {
		return refuse("no_text")
	}
	m := s.appMessage(what)
	if refusal := s.thread(c, r, &m); refusal != nil {
		return refusal
	}
	q := &scheduled{id: s.newID("Q"), channel: c.ID, postAt: at, created: now, message: m}
	s.scheduled[q.id] = q
	q.timer = s.clock.after(at.Sub(now), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.scheduled, q.id)
		// A message with metadata is accepted and never posted: a defect that
		// the reference admits.
		if len(q.message.Metadata) == 0 && !c.Archived && !s.closed {
			s.put(c, q.message)
		}
	})
	shown := s.messageJSON(&m, true)
	shown["type"] = "delayed_message"
	delete(shown, "ts")
	return obj{"ok": true, "channel": c.ID, "scheduled_message_id": q.id, "post_at": seconds, "message": shown}
}

func listScheduled(s *Server, r *request) obj {
	list := []obj{}
	for _, id := range sortedKeys(s.scheduled) {
		q := s.scheduled[id]
		if want := r.get("channel"); want == "" || want == q.channel {
			list = append(list, obj{"id": q.id, "channel_id": q.channel, "post_at": q.postAt.Unix(), "date_created": q.created.Unix(), "text": q.message.Text})
		}
	}
	page, next, refusal := paginate(r, list, 100, 1000)
	if refusal != nil {
		return refusal
	}
	return obj{"ok": true, "scheduled_messages": page, "response_metadata": obj{"next_cursor": next}}
}

func deleteScheduled(s *Server, r *request) obj {
	q := s.scheduled[r.get("scheduled_message_id")]
	if q == nil || q.channel != r.get("channel") {
		return refuse("invalid_scheduled_message_id")
	}
	q.timer.stop()
	delete(s.scheduled, q.id)
	return obj{"ok": true}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
