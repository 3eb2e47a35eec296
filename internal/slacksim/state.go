package slacksim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// deletedText stands in the place of a deleted message that has replies.
const deletedText = "This message was deleted."

// A channel is a Channel with what was said in it.
type channel struct {
	Channel
	msgs      []*Message // oldest first; ephemeral and deleted ones among them
	byTS      map[string]*Message
	threads   map[string][]*Message // replies by their parent's ts, oldest first
	pins      []pin
	bookmarks []*bookmark
	previous  []string // former names
	topicBy   string
	topicAt   time.Time
	purposeBy string
	purposeAt time.Time
}

type pin struct {
	ts, by string
	at     time.Time
}

// msgKey finds a message: the same ts may exist in two channels.
type msgKey struct{ channel, ts string }

func (c *channel) has(user string) bool { return slices.Contains(c.Members, user) }

// kind is the channel's kind as scope names begin.
func (c *channel) kind() string {
	switch {
	case c.IM:
		return "im"
	case c.MPIM:
		return "mpim"
	case c.Private:
		return "groups"
	}
	return "channels"
}

// message finds a message that is still there.
func (c *channel) message(ts string) *Message {
	if m := c.byTS[ts]; m != nil && !m.Deleted {
		return m
	}
	return nil
}

// AddUser adds a person to the workspace and to #general. A user with the same
// ID or name is replaced.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.addUser(u)
}

func (s *Server) addUser(u User) *User {
	if old := s.findUser(u.Name); old != nil && u.ID == "" {
		u.ID = old.ID
	}
	if u.ID == "" {
		u.ID = s.newID("U")
	}
	if u.Name == "" {
		u.Name = strings.ToLower(u.ID)
	}
	if u.RealName == "" {
		u.RealName = u.Name
	}
	if u.Email == "" && !u.Bot {
		u.Email = u.Name + "@example.com"
	}
	if u.TZ == "" {
		u.TZ = "Etc/UTC"
	}
	if s.users[u.ID] == nil {
		s.userOrder = append(s.userOrder, u.ID)
	}
	s.users[u.ID] = &u
	if !u.Bot && !u.Guest {
		for _, c := range s.channels {
			if c.General && !c.has(u.ID) {
				c.Members = append(c.Members, u.ID)
			}
		}
	}
	s.tell(Event{Kind: "user"})
	return &u
}

// AddChannel adds a channel with its members, who are given by ID or name; no
// event tells of it. The bot is a member only when it is named.
func (s *Server) AddChannel(c Channel) Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := c.Members
	c.Members = nil
	for _, m := range members {
		if u := s.findUser(m); u != nil && !slices.Contains(c.Members, u.ID) {
			c.Members = append(c.Members, u.ID)
		}
	}
	return copyChannel(s.addChannel(c))
}

func (s *Server) addChannel(c Channel) *channel {
	if c.ID == "" {
		prefix := "C"
		if c.IM {
			prefix = "D"
		}
		c.ID = s.newID(prefix)
	}
	if c.Created.IsZero() {
		c.Created = s.clock.now()
	}
	ch := s.channels[c.ID]
	if ch == nil {
		ch = &channel{byTS: map[string]*Message{}, threads: map[string][]*Message{}}
		s.channels[c.ID] = ch
		s.chanOrder = append(s.chanOrder, c.ID)
	}
	ch.Channel = c
	s.tell(Event{Kind: "channel", Channel: c.ID})
	return ch
}

// AddUsergroup adds a user group; its users are given by ID or name.
func (s *Server) AddUsergroup(g Usergroup) Usergroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.ID == "" {
		g.ID = s.newID("S")
	}
	if g.Name == "" {
		g.Name = g.Handle
	}
	users := g.Users
	g.Users = nil
	for _, name := range users {
		if u := s.findUser(name); u != nil {
			g.Users = append(g.Users, u.ID)
		}
	}
	s.groups = slices.DeleteFunc(s.groups, func(old *Usergroup) bool { return old.ID == g.ID })
	s.groups = append(s.groups, &g)
	return g
}

// ArchiveChannel archives a channel as an admin would.
func (s *Server) ArchiveChannel(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.findChannel(name); c != nil && !c.Archived {
		s.archive(c, "", true)
	}
}

// DeleteMessage deletes anybody's message as an admin would by hand, those of
// the app included. Replies to it stay.
func (s *Server) DeleteMessage(channel, ts string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.findChannel(channel)
	if c == nil {
		return fmt.Errorf("there is no channel %s", channel)
	}
	m := c.message(ts)
	if m == nil || m.For != "" {
		return fmt.Errorf("there is no message %s in %s", ts, channel)
	}
	s.remove(c, m)
	return nil
}

// DeactivateUser switches a person's account off. Slack takes them out of
// their channels and user groups (policy: without events of leaving) and tells
// apps of the account alone.
func (s *Server) DeactivateUser(name string) { s.activate(name, false) }

// ReactivateUser switches it on again. The person is in no channel but
// #general then.
func (s *Server) ReactivateUser(name string) { s.activate(name, true) }

func (s *Server) activate(name string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findUser(name)
	if u == nil || u.Deactivated == !on {
		return
	}
	u.Deactivated = !on
	gone := func(id string) bool { return id == u.ID }
	for _, c := range s.channels {
		switch {
		case on && c.General && !u.Guest && !c.has(u.ID):
			c.Members = append(c.Members, u.ID)
		case !on && !c.IM && !c.MPIM:
			c.Members = slices.DeleteFunc(slices.Clone(c.Members), gone)
		}
	}
	for _, g := range s.groups {
		if !on {
			g.Users = slices.DeleteFunc(slices.Clone(g.Users), gone)
		}
	}
	s.emitUser(u)
	s.tell(Event{Kind: "user"})
}

// findUser finds a user by ID, name or @name.
func (s *Server) findUser(name string) *User {
	if u := s.users[name]; u != nil {
		return u
	}
	name = strings.TrimPrefix(name, "@")
	for _, id := range s.userOrder {
		if s.users[id].Name == name {
			return s.users[id]
		}
	}
	return nil
}

// findChannel finds a channel by ID, name or #name.
func (s *Server) findChannel(name string) *channel {
	if c := s.channels[name]; c != nil {
		return c
	}
	name = strings.TrimPrefix(name, "#")
	for _, id := range s.chanOrder {
		if c := s.channels[id]; name != "" && c.Name == name {
			return c
		}
	}
	return nil
}

// direct returns the direct message channel of exactly these users, made on
// first use unless create is false.
func (s *Server) direct(create bool, users ...string) (ch *channel, existed bool) {
	slices.Sort(users)
	users = slices.Compact(users)
	for _, id := range s.chanOrder {
		c := s.channels[id]
		if !c.IM && !c.MPIM {
			continue
		}
		if members := slices.Sorted(slices.Values(c.Members)); slices.Equal(members, users) {
			return c, true
		}
	}
	if !create {
		return nil, false
	}
	c := Channel{Members: slices.Clone(users), IM: len(users) <= 2, MPIM: len(users) > 2, Private: true}
	if c.MPIM {
		c.ID = s.newID("G")
	}
	return s.addChannel(c), false
}

// Users lists everybody, the bot included, in the order they were added.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]User, 0, len(s.userOrder))
	for _, id := range s.userOrder {
		list = append(list, *s.users[id])
	}
	return list
}

// User finds a user by ID, name or @name.
func (s *Server) User(name string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.findUser(name); u != nil {
		return *u, true
	}
	return User{}, false
}

// Usergroups lists the user groups.
func (s *Server) Usergroups() []Usergroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Usergroup
	for _, g := range s.groups {
		c := *g
		c.Users = slices.Clone(g.Users)
		list = append(list, c)
	}
	return list
}

func copyChannel(c *channel) Channel {
	out := c.Channel
	out.Members = slices.Clone(c.Members)
	return out
}

// Channels lists every channel and direct message in the order they came.
func (s *Server) Channels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Channel, 0, len(s.chanOrder))
	for _, id := range s.chanOrder {
		list = append(list, copyChannel(s.channels[id]))
	}
	return list
}

// ChannelsOf lists what a person's sidebar can show: public channels, and the
// private channels and direct messages they are in.
func (s *Server) ChannelsOf(user string) []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Channel
	u := s.findUser(user)
	for _, id := range s.chanOrder {
		c := s.channels[id]
		if u != nil && (c.kind() == "channels" || c.has(u.ID)) {
			list = append(list, copyChannel(c))
		}
	}
	return list
}

// Channel finds a channel by ID, name or #name.
func (s *Server) Channel(name string) (Channel, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.findChannel(name); c != nil {
		return copyChannel(c), true
	}
	return Channel{}, false
}

func copyMessage(m *Message) Message {
	out := *m
	out.Reactions = nil
	for _, r := range m.Reactions {
		r.Users = slices.Clone(r.Users)
		out.Reactions = append(out.Reactions, r)
	}
	out.Files = slices.Clone(m.Files)
	out.Flags = slices.Clone(m.Flags)
	return out
}

// visibleTo reports whether the user sees the message at all.
func (m *Message) visibleTo(user string) bool {
	return (!m.Deleted || m.Tombstone) && (m.For == "" || m.For == user)
}

// History returns a channel as the person sees it, oldest first, with what
// only they can see; replies are left out unless they were broadcast. An
// unknown channel has none.
func (s *Server) History(channel, user string) []Message {
	return s.read(channel, user, func(m *Message) bool {
		return m.ThreadTS == "" || m.ThreadTS == m.TS || m.Broadcast
	})
}

// Thread returns a message and its replies, oldest first.
func (s *Server) Thread(channel, ts, user string) []Message {
	return s.read(channel, user, func(m *Message) bool { return m.TS == ts || m.ThreadTS == ts })
}

func (s *Server) read(channel, user string, want func(*Message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.findUser(user)
	if u == nil {
		return nil
	}
	c := s.personChannel(u.ID, channel)
	if c == nil {
		return nil
	}
	var list []Message
	for _, m := range c.msgs {
		if m.visibleTo(u.ID) && want(m) {
			list = append(list, copyMessage(m))
		}
	}
	return list
}

// Message returns a message, also a deleted or an ephemeral one.
func (s *Server) Message(channel, ts string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.findChannel(channel); c != nil && c.byTS[ts] != nil {
		return copyMessage(c.byTS[ts]), true
	}
	return Message{}, false
}

// put stores a new message and tells the app of it.
func (s *Server) put(c *channel, m Message) *Message {
	p := s.store(c, m)
	if p.For == "" {
		s.emitMessage(c, p)
	}
	return p
}

// store keeps a new message: it fills in TS and Channel, counts it in its
// thread and tells whoever watches.
func (s *Server) store(c *channel, m Message) *Message {
	m.TS, m.Channel = s.newTS(), c.ID
	p := &m
	c.msgs = append(c.msgs, p)
	c.byTS[p.TS] = p
	if parent := c.byTS[p.ThreadTS]; parent != nil && p.For == "" {
		parent.ThreadTS = parent.TS
		parent.ReplyCount++
		c.threads[parent.TS] = append(c.threads[parent.TS], p)
	}
	if p.FromApp() {
		s.unread[msgKey{c.ID, p.TS}] = true
	}
	s.tell(Event{Kind: "message", Channel: c.ID, TS: p.TS, User: p.For})
	return p
}

// Visible returns all the words that a reader of the message sees: its blocks'
// and attachments' when it has some, else its text.
func (m Message) Visible() string {
	var words []string
	for _, raw := range []json.RawMessage{m.Blocks, m.Attachments} {
		var v any
		if len(raw) > 0 && json.Unmarshal(raw, &v) == nil {
			collectText(v, &words)
		}
	}
	if len(words) == 0 {
		return m.Text
	}
	return strings.Join(words, "\n")
}

// collectText gathers every string under a key that Slack's client renders.
func collectText(v any, words *[]string) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			collectText(x, words)
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			text, isText := v[k].(string)
			switch {
			case !isText:
				collectText(v[k], words)
			case k == "text" || k == "alt_text" || k == "title" || k == "fallback" || k == "pretext":
				*words = append(*words, text)
			}
		}
	}
}
