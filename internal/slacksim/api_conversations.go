package slacksim

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// paginate cuts a page out of a list. The cursor is base64 of where the next
// page begins. size is the default; most is where the limit is capped.
func paginate[T any](r *request, list []T, size, most int) (page []T, next string, refusal obj) {
	if v := r.get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return nil, "", refuse("invalid_limit")
		}
		if n > 0 {
			size = n
		}
	}
	size = min(size, most)
	start := 0
	if cursor := r.get("cursor"); cursor != "" {
		raw, err := base64.StdEncoding.DecodeString(cursor)
		at, found := strings.CutPrefix(string(raw), "next:")
		n, err2 := strconv.Atoi(at)
		if err != nil || err2 != nil || !found || n <= 0 || n > len(list) {
			return nil, "", refuse("invalid_cursor")
		}
		start = n
	}
	end := min(start+size, len(list))
	if end < len(list) {
		text := "next:" + strconv.Itoa(end)
		for len(text)%3 != 2 { // cursors end in =, which clients must escape
			text = strings.Replace(text, "next:", "next:0", 1)
		}
		next = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return list[start:end], next, nil
}

var channelName = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]+$`)

// badName is Slack's error for a channel's name, empty for a good one.
func (s *Server) badName(name string, except *channel) string {
	switch {
	case name == "":
		return "invalid_name_required"
	case utf8.RuneCountInString(name) > 80:
		return "invalid_name_maxlength"
	case strings.Trim(name, "-_") == "":
		return "invalid_name_punctuation"
	case !channelName.MatchString(name):
		return "invalid_name_specials"
	}
	for _, c := range s.channels { // policy: an archived channel keeps its name
		if c.Name == name && c != except {
			return "name_taken"
		}
	}
	return ""
}

func createChannel(s *Server, r *request) obj {
	scope := "channels:manage"
	if r.flag("is_private") {
		scope = "groups:write"
	}
	if refusal := s.needScope([]string{scope}); refusal != nil {
		return refusal
	}
	name := strings.TrimPrefix(r.get("name"), "#")
	if code := s.badName(name, nil); code != "" {
		return refuse(code)
	}
	c := s.addChannel(Channel{Name: name, Private: r.flag("is_private"), Creator: s.app.botUserID, Members: []string{s.app.botUserID}})
	if !c.Private {
		s.emit("channel_created", obj{"type": "channel_created", "channel": s.channelJSON(c)})
	}
	return obj{"ok": true, "channel": s.channelJSON(c)}
}

func openDirect(s *Server, r *request) obj {
	if id := r.get("channel"); id != "" {
		c := s.channels[id]
		if c == nil || !c.has(s.app.botUserID) || !(c.IM || c.MPIM) {
			return refuse("channel_not_found")
		}
		return obj{"ok": true, "no_op": true, "already_open": true, "channel": s.directJSON(c, r)}
	}
	var users []string
	for _, id := range idList(r.get("users")) {
		u := s.users[id]
		switch {
		case u == nil:
			return refuse("user_not_found")
		case u.Deactivated:
			return refuse("user_disabled")
		}
		users = append(users, id)
	}
	switch {
	case len(users) == 0:
		return refuse("users_list_not_supplied")
	case len(users) > 8:
		return refuse("too_many_users")
	}
	scope := "im:write"
	if len(users) > 1 {
		scope = "mpim:write"
	}
	if refusal := s.needScope([]string{scope}); refusal != nil {
		return refusal
	}
	c, existed := s.direct(true, append(users, s.app.botUserID)...)
	answer := obj{"ok": true, "channel": s.directJSON(c, r)}
	if existed {
		answer["no_op"], answer["already_open"] = true, true
	}
	return answer
}

func (s *Server) directJSON(c *channel, r *request) obj {
	if r.flag("return_im") {
		return s.channelJSON(c)
	}
	return obj{"id": c.ID}
}

// idList reads IDs that come as a comma-separated list or a JSON array.
func idList(v string) []string {
	v = strings.NewReplacer("[", "", "]", "", `"`, "").Replace(v)
	var list []string
	for _, id := range strings.Split(v, ",") {
		if id = strings.TrimSpace(id); id != "" {
			list = append(list, id)
		}
	}
	return list
}

// channelKinds reads the types argument and needs a scope for each.
func (s *Server) channelKinds(r *request) (map[string]bool, obj) {
	kinds := map[string]string{"public_channel": "channels", "private_channel": "groups", "im": "im", "mpim": "mpim"}
	types := r.get("types")
	if types == "" {
		types = "public_channel"
	}
	want := map[string]bool{}
	for _, t := range strings.Split(types, ",") {
		kind, ok := kinds[strings.TrimSpace(t)]
		if !ok {
			return nil, refuse("invalid_types")
		}
		if refusal := s.needScope([]string{kind + ":read"}); refusal != nil {
			return nil, refusal
		}
		want[kind] = true
	}
	return want, nil
}

func (s *Server) listOf(r *request, include func(*channel) bool) obj {
	want, refusal := s.channelKinds(r)
	if refusal != nil {
		return refusal
	}
	list := []obj{}
	for _, id := range s.chanOrder {
		c := s.channels[id]
		if !want[c.kind()] || !include(c) || (r.flag("exclude_archived") && c.Archived) {
			continue
		}
		shown := s.channelJSON(c)
		if !c.IM {
			shown["num_members"] = len(c.Members)
		}
		list = append(list, shown)
	}
	page, next, refusal := paginate(r, list, 100, 999)
	if refusal != nil {
		return refusal
	}
	return obj{"ok": true, "channels": page, "response_metadata": obj{"next_cursor": next}}
}

func listChannels(s *Server, r *request) obj {
	return s.listOf(r, func(c *channel) bool { return c.kind() == "channels" || c.has(s.app.botUserID) })
}

func userChannels(s *Server, r *request) obj {
	user := r.get("user")
	if user == "" {
		user = s.app.botUserID
	}
	if s.users[user] == nil {
		return refuse("user_not_found")
	}
	return s.listOf(r, func(c *channel) bool {
		return c.has(user) && (c.kind() == "channels" || c.has(s.app.botUserID))
	})
}

func channelInfo(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	if refusal != nil {
		return refusal
	}
	out := s.channelJSON(c)
	if r.flag("include_num_members") {
		out["num_members"] = len(c.Members)
	}
	return obj{"ok": true, "channel": out}
}

func channelMembers(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	if refusal != nil {
		return refusal
	}
	page, next, refusal := paginate(r, c.Members, 100, 1000)
	if refusal != nil {
		return refusal
	}
	return obj{"ok": true, "members": append([]string{}, page...), "response_metadata": obj{"next_cursor": next}}
}

func joinAsApp(s *Server, r *request) obj {
	c := s.channels[r.get("channel")]
	switch {
	case c == nil || (c.kind() != "channels" && !c.has(s.app.botUserID)):
		return refuse("channel_not_found")
	case c.kind() != "channels":
		return refuse("method_not_supported_for_channel_type")
	case c.Archived:
		return refuse("is_archived")
	}
	already := c.has(s.app.botUserID)
	s.joinChannel(c, s.app.botUserID, "")
	answer := obj{"ok": true, "channel": s.channelJSON(c)}
	if already {
		addWarnings(answer, []string{"already_in_channel"})
	}
	return answer
}

func leaveAsApp(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	switch {
	case refusal != nil:
		return refusal
	case c.IM || c.MPIM:
		return refuse("method_not_supported_for_channel_type")
	case c.General:
		return refuse("cant_leave_general")
	case c.Archived:
		return refuse("is_archived")
	case !c.has(s.app.botUserID):
		return obj{"ok": false, "not_in_channel": true, "error": "not_in_channel"}
	case c.Private && len(c.Members) == 1:
		return refuse("last_member")
	}
	s.leaveChannel(c, s.app.botUserID)
	return obj{"ok": true}
}

// joinedArg is channelArg for methods that need the app to be a member of an
// open channel.
func (s *Server) joinedArg(r *request) (*channel, obj) {
	c, refusal := s.channelArg(r, "channel")
	switch {
	case refusal != nil:
		return nil, refusal
	case c.IM || c.MPIM:
		return nil, refuse("method_not_supported_for_channel_type")
	case !c.has(s.app.botUserID):
		return nil, refuse("not_in_channel")
	case c.Archived:
		return nil, refuse("is_archived")
	}
	return c, nil
}

func kickFromChannel(s *Server, r *request) obj {
	c, refusal := s.joinedArg(r)
	if refusal != nil {
		return refusal
	}
	user := r.get("user")
	switch {
	case s.users[user] == nil:
		return refuse("user_not_found")
	case user == s.app.botUserID:
		return refuse("cant_kick_self")
	case c.General:
		return refuse("cant_kick_from_general")
	case !c.has(user):
		return refuse("not_in_channel")
	}
	s.leaveChannel(c, user)
	return obj{"ok": true, "errors": obj{}}
}

func inviteToChannel(s *Server, r *request) obj {
	c, refusal := s.joinedArg(r)
	if refusal != nil {
		return refusal
	}
	users := idList(r.get("users"))
	switch {
	case len(users) == 0:
		return refuse("no_user")
	case len(users) > 100:
		return refuse("too_many_users")
	}
	var wrong []obj
	var good []string
	for _, id := range users {
		code := ""
		switch u := s.users[id]; {
		case u == nil || u.Deactivated:
			code = "user_not_found"
		case id == s.app.botUserID:
			code = "cant_invite_self"
		case c.has(id):
			code = "already_in_channel"
		default:
			good = append(good, id)
		}
		if code != "" {
			wrong = append(wrong, obj{"user": id, "ok": false, "error": code})
		}
	}
	if len(wrong) > 0 && (!r.flag("force") || len(good) == 0) {
		a := refuse(wrong[0]["error"].(string))
		a["errors"] = wrong
		return a
	}
	for _, id := range good {
		s.joinChannel(c, id, s.app.botUserID)
	}
	answer := obj{"ok": true, "channel": s.channelJSON(c)}
	if len(wrong) > 0 {
		answer["errors"] = wrong
	}
	return answer
}

// maxTopic is the length of topics and purposes in characters. Source: reference.
const maxTopic = 250

func (s *Server) describeChannel(r *request, what string) obj {
	c, refusal := s.joinedArg(r)
	if refusal != nil {
		return refusal
	}
	text := r.get(what)
	if utf8.RuneCountInString(text) > maxTopic {
		return refuse("too_long")
	}
	now := s.clock.now()
	if what == "topic" {
		c.Topic, c.topicBy, c.topicAt = text, s.app.botUserID, now
	} else {
		c.Purpose, c.purposeBy, c.purposeAt = text, s.app.botUserID, now
	}
	m := Message{Subtype: "channel_" + what, User: s.app.botUserID, Text: "set the channel " + what + ": " + text}
	s.put(c, m)
	s.tell(Event{Kind: "channel", Channel: c.ID})
	return obj{"ok": true, "channel": s.channelJSON(c)}
}

func setTopic(s *Server, r *request) obj   { return s.describeChannel(r, "topic") }
func setPurpose(s *Server, r *request) obj { return s.describeChannel(r, "purpose") }

func renameChannel(s *Server, r *request) obj {
	c, refusal := s.joinedArg(r)
	if refusal != nil {
		return refusal
	}
	name := strings.TrimPrefix(r.get("name"), "#")
	if code := s.badName(name, c); code != "" {
		return refuse(code)
	}
	c.previous = append(c.previous, c.Name)
	c.Name = name
	s.emit("channel_rename", obj{"type": "channel_rename", "channel": obj{"id": c.ID, "name": name, "created": c.Created.Unix()}})
	s.tell(Event{Kind: "channel", Channel: c.ID})
	return obj{"ok": true, "channel": s.channelJSON(c)}
}

func archiveChannel(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	switch {
	case refusal != nil:
		return refusal
	case c.IM || c.MPIM:
		return refuse("method_not_supported_for_channel_type")
	case c.General:
		return refuse("cant_archive_general")
	case c.Archived:
		return refuse("already_archived")
	case !c.has(s.app.botUserID):
		return refuse("not_in_channel")
	}
	s.archive(c, s.app.botUserID, true)
	return obj{"ok": true}
}

func unarchiveChannel(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	switch {
	case refusal != nil:
		return refusal
	case !c.Archived:
		return refuse("not_archived")
	}
	s.archive(c, s.app.botUserID, false)
	return obj{"ok": true}
}

var timestamp = regexp.MustCompile(`^\d{1,10}(\.\d{1,6})?$`)

// window keeps the messages between oldest and latest.
func window(r *request, msgs []*Message) ([]*Message, obj) {
	oldest, latest := r.get("oldest"), r.get("latest")
	if oldest != "" && !timestamp.MatchString(oldest) {
		return nil, refuse("invalid_ts_oldest")
	}
	if latest != "" && latest != "now" && !timestamp.MatchString(latest) {
		return nil, refuse("invalid_ts_latest")
	}
	inclusive := r.flag("inclusive")
	return slices.DeleteFunc(msgs, func(m *Message) bool {
		at := micros(m.TS)
		if oldest != "" && oldest != "0" {
			if o := micros(oldest); at < o || (at == o && !inclusive) {
				return true
			}
		}
		if latest != "" && latest != "now" {
			if l := micros(latest); at > l || (at == l && !inclusive) {
				return true
			}
		}
		return false
	}), nil
}

// micros reads a timestamp as microseconds.
func micros(ts string) int64 {
	seconds, fraction, _ := strings.Cut(ts, ".")
	fraction = (fraction + "000000")[:6]
	n, err := strconv.ParseInt(seconds+fraction, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// historyArg finds the channel and refuses what the app may not read.
func (s *Server) historyArg(r *request) (*channel, obj) {
	c, refusal := s.channelArg(r, "channel")
	if refusal == nil && !c.has(s.app.botUserID) {
		return nil, refuse("not_in_channel")
	}
	return c, refusal
}

func (s *Server) messagePage(r *request, msgs []*Message, size int) obj {
	all := r.flag("include_all_metadata")
	page, next, refusal := paginate(r, msgs, size, 999)
	if refusal != nil {
		return refusal
	}
	list := []obj{}
	for _, m := range page {
		list = append(list, s.messageJSON(m, all))
	}
	answer := obj{"ok": true, "messages": list, "has_more": next != ""}
	if next != "" {
		answer["response_metadata"] = obj{"next_cursor": next}
	}
	return answer
}

func channelHistory(s *Server, r *request) obj {
	c, refusal := s.historyArg(r)
	if refusal != nil {
		return refusal
	}
	var msgs []*Message
	for _, m := range c.msgs {
		if (!m.Deleted || m.Tombstone) && m.For == "" && (m.ThreadTS == "" || m.ThreadTS == m.TS || m.Broadcast) {
			msgs = append(msgs, m)
		}
	}
	slices.Reverse(msgs)
	msgs, refusal = window(r, msgs)
	if refusal != nil {
		return refusal
	}
	answer := s.messagePage(r, msgs, 100)
	if answer["ok"] == true {
		answer["pin_count"] = len(c.pins)
	}
	return answer
}

func threadReplies(s *Server, r *request) obj {
	c, refusal := s.historyArg(r)
	if refusal != nil {
		return refusal
	}
	parent := c.byTS[r.get("ts")]
	if parent == nil || (parent.Deleted && !parent.Tombstone) || parent.For != "" {
		return refuse("thread_not_found")
	}
	if parent.ThreadTS != "" && parent.ThreadTS != parent.TS { // a reply's ts shows just the reply
		return s.messagePage(r, []*Message{parent}, 1000)
	}
	replies := slices.DeleteFunc(slices.Clone(c.threads[parent.TS]), func(m *Message) bool { return m.Deleted })
	replies, refusal = window(r, replies)
	if refusal != nil {
		return refusal
	}
	return s.messagePage(r, append([]*Message{parent}, replies...), 1000)
}
