package slacksim

import (
	_ "embed"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

func apiTest(_ *Server, r *request) obj {
	args := obj{}
	for k, v := range r.args {
		args[k] = v
	}
	if code := r.get("error"); code != "" {
		return obj{"ok": false, "error": code, "args": args}
	}
	return obj{"ok": true, "args": args}
}

func authTest(s *Server, r *request) obj {
	if r.token == s.opts.AppToken { // policy: the answer for app-level tokens is not documented
		return obj{"ok": true, "app_name": s.manifest.Display.Name, "app_id": s.app.appID}
	}
	return obj{
		"ok": true, "url": "https://" + s.app.teamDomain + ".slack.com/", "team": s.app.teamName, "user": s.users[s.app.botUserID].Name,
		"team_id": s.app.teamID, "user_id": s.app.botUserID, "bot_id": s.app.botID, "is_enterprise_install": false,
	}
}

// exportManifest shows an app's settings to who may change them, as far as they
// are read here.
func exportManifest(s *Server, r *request) obj {
	if r.get("app_id") != s.app.appID {
		return refuse("invalid_app_id")
	}
	text, err := yaml.Marshal(s.manifest)
	if err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		return refuse("failed_export")
	}
	return obj{"ok": true, "manifest": json.RawMessage(text)}
}

func teamInfo(s *Server, r *request) obj {
	if t := r.get("team"); t != "" && t != s.app.teamID {
		return refuse("team_not_found")
	}
	return obj{"ok": true, "team": obj{
		"id": s.app.teamID, "name": s.app.teamName, "domain": s.app.teamDomain, "email_domain": "example.com",
		"icon": obj{"image_34": s.url + "/files/icon.png", "image_default": true},
	}}
}

func listEmoji(*Server, *request) obj { return obj{"ok": true, "emoji": obj{}, "cache_ts": "0"} }

func botInfo(s *Server, r *request) obj {
	if b := r.get("bot"); b != s.app.botID {
		return refuse("bot_not_found")
	}
	return obj{"ok": true, "bot": s.botProfile()}
}

func userInfo(s *Server, r *request) obj {
	u := s.users[r.get("user")]
	if u == nil {
		return refuse("user_not_found")
	}
	return obj{"ok": true, "user": s.userJSON(u)}
}

func listUsers(s *Server, r *request) obj {
	list := []obj{}
	for _, id := range s.userOrder {
		list = append(list, s.userJSON(s.users[id]))
	}
	page, next, refusal := paginate(r, list, 1000, 1000)
	if refusal != nil {
		return refusal
	}
	return obj{"ok": true, "members": page, "cache_ts": s.clock.now().Unix(), "response_metadata": obj{"next_cursor": next}}
}

func lookupByEmail(s *Server, r *request) obj {
	for _, id := range s.userOrder {
		if u := s.users[id]; u.Email != "" && strings.EqualFold(u.Email, r.get("email")) && !u.Deactivated {
			return obj{"ok": true, "user": s.userJSON(u)}
		}
	}
	return refuse("users_not_found") // plural, unlike users.info
}

func listGroups(s *Server, r *request) obj {
	if s.opts.FreePlan {
		return refuse("plan_upgrade_required")
	}
	list := []obj{}
	for _, g := range s.groups {
		if g.Disabled && !r.flag("include_disabled") {
			continue
		}
		deleted := int64(0)
		if g.Disabled {
			deleted = 1
		}
		shown := obj{
			"id": g.ID, "team_id": s.app.teamID, "is_usergroup": true, "name": g.Name, "description": "", "handle": g.Handle,
			"is_external": false, "date_create": 1, "date_update": 1, "date_delete": deleted, "auto_type": nil,
			"created_by": s.app.botUserID, "updated_by": s.app.botUserID, "deleted_by": nil,
			"prefs": obj{"channels": []string{}, "groups": []string{}},
		}
		if r.flag("include_count") { // a number: slack-go cannot read the reference's string
			shown["user_count"] = len(g.Users)
		}
		if r.flag("include_users") {
			shown["users"] = append([]string{}, g.Users...)
		}
		list = append(list, shown)
	}
	return obj{"ok": true, "usergroups": list}
}

func groupUsers(s *Server, r *request) obj {
	if s.opts.FreePlan {
		return refuse("plan_upgrade_required")
	}
	for _, g := range s.groups {
		if g.ID == r.get("usergroup") && (!g.Disabled || r.flag("include_disabled")) {
			return obj{"ok": true, "users": append([]string{}, g.Users...)}
		}
	}
	return refuse("no_such_subteam")
}

//go:embed facts/emoji.txt
var emojiList string

// knownEmoji are the names that reactions may have. Source: the emoji of
// slack-go's tests and Slack's picker, a common selection; custom ones do not
// exist here.
var knownEmoji = func() map[string]bool {
	known := map[string]bool{}
	for _, name := range strings.Fields(emojiList) {
		known[name] = true
	}
	return known
}()

// The number of reactions is limited in both directions. Source: reference of
// reactions.add names the errors; the numbers are Slack's help page's.
const (
	maxEmoji        = 50 // different ones on a message
	maxOwnReactions = 23 // of one person on a message
	maxPins         = 100
	maxBookmarks    = 100
)

// react adds or takes a reaction; the answer is Slack's error, empty when done.
func (s *Server) react(c *channel, m *Message, user, name string, on bool) string {
	base, tone, toned := strings.Cut(name, "::")
	if !knownEmoji[base] || (toned && !skinTone.MatchString(tone)) {
		return "invalid_name"
	}
	i := slices.IndexFunc(m.Reactions, func(r Reaction) bool { return r.Name == name })
	has := i >= 0 && slices.Contains(m.Reactions[i].Users, user)
	if on {
		own := 0
		for _, r := range m.Reactions {
			if slices.Contains(r.Users, user) {
				own++
			}
		}
		switch {
		case c.Archived:
			return "is_archived"
		case has:
			return "already_reacted"
		case own >= maxOwnReactions:
			return "too_many_reactions"
		case i < 0 && len(m.Reactions) >= maxEmoji:
			return "too_many_emoji"
		case i < 0:
			m.Reactions = append(m.Reactions, Reaction{Name: name, Users: []string{user}, Count: 1})
		default:
			m.Reactions[i].Users = append(m.Reactions[i].Users, user)
			m.Reactions[i].Count++
		}
	} else {
		if !has {
			return "no_reaction"
		}
		m.Reactions[i].Users = slices.DeleteFunc(slices.Clone(m.Reactions[i].Users), func(u string) bool { return u == user })
		if m.Reactions[i].Count--; m.Reactions[i].Count == 0 {
			m.Reactions = slices.Delete(m.Reactions, i, i+1)
		}
	}
	event := "reaction_removed"
	if on {
		event = "reaction_added"
	}
	s.emitItem(event, c, user, m, obj{"reaction": name})
	s.tell(Event{Kind: "reaction", Channel: c.ID, TS: m.TS})
	return ""
}

var skinTone = regexp.MustCompile(`^skin-tone-[2-6]$`)

// reactionItem finds the message that a reaction method means.
func (s *Server) reactionItem(r *request) (*channel, *Message, obj) {
	if r.get("channel") == "" || r.get("timestamp") == "" {
		return nil, nil, refuse("no_item_specified")
	}
	c, refusal := s.channelArg(r, "channel")
	if refusal != nil {
		return nil, nil, refusal
	}
	if !timestamp.MatchString(r.get("timestamp")) {
		return nil, nil, refuse("bad_timestamp")
	}
	m := c.message(r.get("timestamp"))
	if m == nil || m.For != "" {
		return nil, nil, refuse("message_not_found")
	}
	return c, m, nil
}

func addReaction(s *Server, r *request) obj {
	c, m, refusal := s.reactionItem(r)
	if refusal != nil {
		return refusal
	}
	if code := s.react(c, m, s.app.botUserID, r.get("name"), true); code != "" {
		return refuse(code)
	}
	return obj{"ok": true}
}

func removeReaction(s *Server, r *request) obj {
	c, m, refusal := s.reactionItem(r)
	if refusal != nil {
		return refusal
	}
	if code := s.react(c, m, s.app.botUserID, r.get("name"), false); code != "" {
		return refuse(code)
	}
	return obj{"ok": true}
}

func getReactions(s *Server, r *request) obj {
	c, m, refusal := s.reactionItem(r)
	if refusal != nil {
		return refusal
	}
	shown := s.messageJSON(m, false)
	shown["permalink"] = s.permalink(c.ID, m.TS)
	return obj{"ok": true, "type": "message", "channel": c.ID, "message": shown}
}

// pin pins or unpins; the answer is Slack's error, empty when done.
func (s *Server) pin(c *channel, m *Message, user string, on bool) string {
	i := slices.IndexFunc(c.pins, func(p pin) bool { return p.ts == m.TS })
	switch {
	case on && i >= 0:
		return "already_pinned"
	case on && (m.For != "" || c.Archived):
		return "not_pinnable"
	case on && len(c.pins) >= maxPins:
		return "too_many_pins"
	case !on && i < 0:
		return "no_pin"
	case on:
		c.pins = append(c.pins, pin{ts: m.TS, by: user, at: s.clock.now()})
	default:
		c.pins = slices.Delete(c.pins, i, i+1)
	}
	m.Pinned = on
	event := "pin_removed"
	if on {
		event = "pin_added"
	}
	s.emitItem(event, c, user, m, nil)
	s.tell(Event{Kind: "pin", Channel: c.ID, TS: m.TS})
	return ""
}

func (s *Server) pinRequest(r *request, on bool) obj {
	if r.get("timestamp") == "" {
		return refuse("no_item_specified")
	}
	c, m, refusal := s.reactionItem(r)
	if refusal != nil {
		return refusal
	}
	if !c.has(s.app.botUserID) {
		return refuse("not_in_channel")
	}
	if code := s.pin(c, m, s.app.botUserID, on); code != "" {
		return refuse(code)
	}
	return obj{"ok": true}
}

func addPin(s *Server, r *request) obj    { return s.pinRequest(r, true) }
func removePin(s *Server, r *request) obj { return s.pinRequest(r, false) }

func listPins(s *Server, r *request) obj {
	c, refusal := s.channelArg(r, "channel")
	if refusal != nil {
		return refusal
	}
	items := []obj{}
	for _, p := range c.pins {
		m := c.message(p.ts)
		if m == nil {
			continue
		}
		shown := s.messageJSON(m, false)
		shown["permalink"] = s.permalink(c.ID, m.TS)
		items = append(items, obj{"type": "message", "channel": c.ID, "created": p.at.Unix(), "created_by": p.by, "message": shown})
	}
	slices.Reverse(items) // the newest first
	return obj{"ok": true, "items": items}
}

// A bookmark is a link at the top of a channel.
type bookmark struct {
	id, title, link, emoji string
	created, updated       int64
}

func (s *Server) bookmarkJSON(c *channel, b *bookmark, rank int) obj {
	return obj{
		"id": b.id, "channel_id": c.ID, "title": b.title, "link": b.link, "emoji": b.emoji, "icon_url": "", "type": "link",
		"entity_id": nil, "date_created": b.created, "date_updated": b.updated, "rank": string(rune('a' + rank%26)),
		"last_updated_by_user_id": s.app.botUserID, "last_updated_by_team_id": s.app.teamID, "shortcut_id": nil, "app_id": s.app.appID,
	}
}

func (s *Server) bookmarkChannel(r *request) (*channel, obj) {
	c, refusal := s.channelArg(r, "channel_id")
	if refusal == nil && !c.has(s.app.botUserID) {
		return nil, refuse("channel_not_found") // policy
	}
	return c, refusal
}

func goodLink(link string) bool {
	u, err := url.Parse(link)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func addBookmark(s *Server, r *request) obj {
	c, refusal := s.bookmarkChannel(r)
	switch {
	case refusal != nil:
		return refusal
	case r.get("type") != "link":
		return refuse("invalid_bookmark_type")
	case !goodLink(r.get("link")):
		return refuse("invalid_link")
	case len(c.bookmarks) >= maxBookmarks:
		return refuse("too_many_bookmarks")
	}
	b := &bookmark{id: s.newID("Bk"), title: r.get("title"), link: r.get("link"), emoji: r.get("emoji"), created: s.clock.now().Unix()}
	c.bookmarks = append(c.bookmarks, b)
	s.tell(Event{Kind: "channel", Channel: c.ID})
	return obj{"ok": true, "bookmark": s.bookmarkJSON(c, b, len(c.bookmarks)-1)}
}

// bookmarkArg finds a bookmark by its ID.
func (s *Server) bookmarkArg(r *request) (*channel, int, obj) {
	c, refusal := s.bookmarkChannel(r)
	if refusal != nil {
		return nil, 0, refusal
	}
	i := slices.IndexFunc(c.bookmarks, func(b *bookmark) bool { return b.id == r.get("bookmark_id") })
	if i < 0 {
		return nil, 0, refuse("not_found")
	}
	return c, i, nil
}

func editBookmark(s *Server, r *request) obj {
	c, i, refusal := s.bookmarkArg(r)
	if refusal != nil {
		return refusal
	}
	if r.has("link") && !goodLink(r.get("link")) {
		return refuse("invalid_link")
	}
	b := c.bookmarks[i]
	for name, field := range map[string]*string{"title": &b.title, "link": &b.link, "emoji": &b.emoji} {
		if r.has(name) {
			*field = r.get(name)
		}
	}
	b.updated = s.clock.now().Unix()
	return obj{"ok": true, "bookmark": s.bookmarkJSON(c, b, i)}
}

func listBookmarks(s *Server, r *request) obj {
	c, refusal := s.bookmarkChannel(r)
	if refusal != nil {
		return refusal
	}
	list := []obj{}
	for i, b := range c.bookmarks {
		list = append(list, s.bookmarkJSON(c, b, i))
	}
	return obj{"ok": true, "bookmarks": list}
}

func removeBookmark(s *Server, r *request) obj {
	c, i, refusal := s.bookmarkArg(r)
	if refusal != nil {
		return refusal
	}
	c.bookmarks = slices.Delete(c.bookmarks, i, i+1)
	s.tell(Event{Kind: "channel", Channel: c.ID})
	return obj{"ok": true}
}
