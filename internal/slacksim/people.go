package slacksim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Failure is what Slack's client shows a person instead of what they wanted.
// Errors of other types mean that a real client has no such thing to click on
// or type into.
type Failure struct{ Text string }

func (f Failure) Error() string { return f.Text }

// What Slack's client says when the app does not do its part. Source: slack.md
// §1.7 (reported by users).
const (
	tookTooLong    = "Operation timed out. Apps need to respond within three seconds."
	viewTrouble    = "We had some trouble connecting. Try again?"
	notInteractive = "This app is not configured to handle interactive responses." // policy: the manifest has interactivity off
)

// A Person acts in Slack's client as one user.
type Person struct {
	s  *Server
	id string
}

// As returns the person with the ID or name. Every verb of an unknown person
// fails.
func (s *Server) As(user string) *Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.findUser(user); u != nil {
		return &Person{s: s, id: u.ID}
	}
	return &Person{s: s, id: user}
}

// ID returns the user ID.
func (p *Person) ID() string { return p.id }

// personChannel finds a channel as a person names it: by ID, name or #name,
// and a direct message by @name. Private ones without them do not exist.
func (s *Server) personChannel(user, name string) *channel {
	c := s.findChannel(name)
	if c == nil && strings.HasPrefix(name, "@") {
		if u := s.findUser(name); u != nil {
			c, _ = s.direct(true, user, u.ID)
		}
	}
	if c != nil && c.kind() != "channels" && !c.has(user) {
		return nil
	}
	return c
}

// in checks that the person can act in the channel. The lock is held.
func (p *Person) in(channel string) (*seat, error) {
	u := p.s.users[p.id]
	if u == nil || u.Deactivated {
		return nil, fmt.Errorf("there is no active user %s", p.id)
	}
	c := p.s.personChannel(p.id, channel)
	if c == nil {
		return nil, fmt.Errorf("%s sees no channel %s", u.Name, channel)
	}
	return &seat{channel: c, user: u}, nil
}

// A seat is a channel and who is acting in it.
type seat struct {
	*channel
	user *User
}

func (c *seat) writable() error {
	switch {
	case c.Archived:
		return fmt.Errorf("#%s is archived", c.Name)
	case !c.has(c.user.ID):
		return fmt.Errorf("%s is not in #%s", c.user.Name, c.Name)
	}
	return nil
}

var (
	markup   = regexp.MustCompile(`<[@#!][^<>\s]*>`)
	handles  = regexp.MustCompile(`(^|[\s(])@([a-z0-9._-]+)`)
	hashtags = regexp.MustCompile(`(^|[\s(])#([a-z0-9_-]+)`)
	escaper  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
)

// typed turns what a person types into what Slack stores: mentions become IDs
// and the three special characters are escaped. Finished markup, such as
// <@U1>, is kept.
func (s *Server) typed(text string) string {
	var b strings.Builder
	last := 0
	for _, at := range markup.FindAllStringIndex(text, -1) {
		b.WriteString(s.mentions(escaper.Replace(text[last:at[0]]), false))
		b.WriteString(text[at[0]:at[1]])
		last = at[1]
	}
	b.WriteString(s.mentions(escaper.Replace(text[last:]), false))
	return b.String()
}

// mentions replaces @name and #name; labeled as slash commands get them.
func (s *Server) mentions(text string, labeled bool) string {
	mark := func(sigil, id, name string) string {
		if labeled {
			return "<" + sigil + id + "|" + name + ">"
		}
		return "<" + sigil + id + ">"
	}
	text = handles.ReplaceAllStringFunc(text, func(m string) string {
		before, name, _ := strings.Cut(m, "@")
		if u := s.findUser(name); u != nil {
			return before + mark("@", u.ID, u.Name)
		}
		for _, g := range s.groups {
			if g.Handle == name {
				return before + "<!subteam^" + g.ID + "|@" + g.Handle + ">"
			}
		}
		return m
	})
	return hashtags.ReplaceAllStringFunc(text, func(m string) string {
		before, name, _ := strings.Cut(m, "#")
		if c := s.findChannel(name); c != nil {
			return before + mark("#", c.ID, c.Name)
		}
		return m
	})
}

// Say posts a message.
func (p *Person) Say(channel, text string) (Message, error) { return p.say(channel, "", text) }

// Reply posts a message in a thread.
func (p *Person) Reply(channel, threadTS, text string) (Message, error) {
	return p.say(channel, threadTS, text)
}

func (p *Person) say(channel, threadTS, text string) (Message, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	if err != nil {
		return Message{}, err
	}
	if err := c.writable(); err != nil {
		return Message{}, err
	}
	if strings.TrimSpace(text) == "" {
		return Message{}, errors.New("an empty message cannot be sent")
	}
	m := Message{User: p.id, Text: p.s.typed(text)}
	if threadTS != "" {
		parent := c.byTS[threadTS]
		if parent == nil || (parent.Deleted && !parent.Tombstone) || parent.For != "" {
			return Message{}, fmt.Errorf("there is no message %s to reply to", threadTS)
		}
		m.ThreadTS = cmp.Or(parent.ThreadTS, parent.TS)
	}
	m.Blocks = encode([]obj{{"type": "rich_text", "block_id": p.s.random(5), "elements": []obj{
		{"type": "rich_text_section", "elements": []obj{{"type": "text", "text": text}}},
	}}})
	return copyMessage(p.s.put(c.channel, m)), nil
}

// own finds a message of the person's that they can change.
func (p *Person) own(channel, ts string) (*seat, *Message, error) {
	c, err := p.in(channel)
	if err != nil {
		return nil, nil, err
	}
	m := c.message(ts)
	if m == nil || m.User != p.id {
		return nil, nil, fmt.Errorf("%s wrote no message %s", c.user.Name, ts)
	}
	return c, m, nil
}

// Edit changes one of the person's own messages.
func (p *Person) Edit(channel, ts, text string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, m, err := p.own(channel, ts)
	if err != nil {
		return err
	}
	p.s.update(c.channel, m, content{text: p.s.typed(text), hasText: true})
	return nil
}

// Delete deletes one of the person's own messages.
func (p *Person) Delete(channel, ts string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, m, err := p.own(channel, ts)
	if err != nil {
		return err
	}
	p.s.remove(c.channel, m)
	return nil
}

// Upload shares a text file, in a thread unless threadTS is empty, with a
// comment that may be empty.
func (p *Person) Upload(channel, threadTS, name, comment string, content []byte) (Message, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	if err != nil {
		return Message{}, err
	}
	if err := c.writable(); err != nil {
		return Message{}, err
	}
	switch {
	case name == "" || len(content) == 0:
		return Message{}, errors.New("an empty file cannot be shared")
	case len(content) > maxFile:
		return Message{}, errors.New("the file is too large")
	}
	m := Message{User: p.id, Text: p.s.typed(comment), Subtype: "file_share"}
	if threadTS != "" {
		parent := c.byTS[threadTS]
		if parent == nil || (parent.Deleted && !parent.Tombstone) || parent.For != "" {
			return Message{}, fmt.Errorf("there is no message %s to reply to", threadTS)
		}
		m.ThreadTS = cmp.Or(parent.ThreadTS, parent.TS)
	}
	f := &File{ID: p.s.newID("F"), Name: name, Title: name, Size: len(content), Content: slices.Clone(content), User: p.id, Channels: []string{c.ID}, Complete: true}
	p.s.files[f.ID] = f
	p.s.fileOrder = append(p.s.fileOrder, f.ID)
	m.Files = []File{*f}
	return copyMessage(p.s.put(c.channel, m)), nil
}

// Archive closes a channel that the person is in; nobody can write there then.
func (p *Person) Archive(channel string) error { return p.archive(channel, true) }

// Unarchive opens it again.
func (p *Person) Unarchive(channel string) error { return p.archive(channel, false) }

func (p *Person) archive(channel string, on bool) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	switch {
	case err != nil:
		return err
	case c.General || c.IM || c.MPIM:
		return fmt.Errorf("%s cannot be archived", channel)
	case !c.has(p.id):
		return fmt.Errorf("%s is not in #%s", c.user.Name, c.Name)
	case c.Archived == on:
		return fmt.Errorf("#%s is archived: %v", c.Name, on)
	}
	p.s.archive(c.channel, p.id, on)
	return nil
}

// visible finds a message that the person sees.
func (p *Person) visible(channel, ts string) (*seat, *Message, error) {
	c, err := p.in(channel)
	if err != nil {
		return nil, nil, err
	}
	m := c.message(ts)
	if m == nil || !m.visibleTo(p.id) {
		return nil, nil, fmt.Errorf("%s sees no message %s in %s", c.user.Name, ts, channel)
	}
	return c, m, nil
}

// React puts an emoji, named without colons, on a message.
func (p *Person) React(channel, ts, emoji string) error { return p.react(channel, ts, emoji, true) }

// Unreact takes it off again.
func (p *Person) Unreact(channel, ts, emoji string) error { return p.react(channel, ts, emoji, false) }

func (p *Person) react(channel, ts, emoji string, on bool) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, m, err := p.visible(channel, ts)
	if err != nil {
		return err
	}
	if m.For != "" {
		return errors.New("only you see this message; it takes no reactions")
	}
	if code := p.s.react(c.channel, m, p.id, strings.Trim(emoji, ":"), on); code != "" {
		return errors.New(code)
	}
	return nil
}

// Pin pins a message to its channel.
func (p *Person) Pin(channel, ts string) error { return p.pin(channel, ts, true) }

// Unpin takes the pin away.
func (p *Person) Unpin(channel, ts string) error { return p.pin(channel, ts, false) }

func (p *Person) pin(channel, ts string, on bool) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, m, err := p.visible(channel, ts)
	if err != nil {
		return err
	}
	if code := p.s.pin(c.channel, m, p.id, on); code != "" {
		return errors.New(code)
	}
	return nil
}

// Join joins a public channel.
func (p *Person) Join(channel string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	if err != nil {
		return err
	}
	p.s.joinChannel(c.channel, p.id, "")
	return nil
}

// Leave leaves a channel.
func (p *Person) Leave(channel string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	if err != nil {
		return err
	}
	if c.General {
		return errors.New("nobody can leave #general")
	}
	p.s.leaveChannel(c.channel, p.id)
	return nil
}

// Invite brings somebody, who may be the bot, into a channel that the person
// is in.
func (p *Person) Invite(channel, user string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	if err != nil {
		return err
	}
	if err := c.writable(); err != nil {
		return err
	}
	u := p.s.findUser(user)
	if u == nil {
		return fmt.Errorf("there is no user %s", user)
	}
	p.s.joinChannel(c.channel, u.ID, p.id)
	return nil
}

// Remove takes somebody, who may be the bot, out of a channel.
func (p *Person) Remove(channel, user string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, err := p.in(channel)
	if err != nil {
		return err
	}
	u := p.s.findUser(user)
	if u == nil || !c.has(u.ID) {
		return fmt.Errorf("%s is not in %s", user, channel)
	}
	p.s.leaveChannel(c.channel, u.ID)
	return nil
}

// Notices returns the failures that Slack's client showed the person, oldest
// first.
func (p *Person) Notices() []Notice {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return slices.Clone(p.s.notices[p.id])
}

// notice shows a failure to the person and returns it. The lock is held.
func (p *Person) notice(n Notice) error {
	n.At = p.s.clock.now()
	list := append(p.s.notices[p.id], n)
	if len(list) > 100 {
		list = list[len(list)-100:]
	}
	p.s.notices[p.id] = list
	p.s.tell(Event{Kind: "notice", Channel: n.Channel, TS: n.TS, User: p.id})
	return Failure{Text: n.Text}
}

// Slash types a slash command, such as "/runbook cache-fix", into a channel.
// The message is what the app answered in its ack; it is empty when the app
// answered nothing there.
func (p *Person) Slash(channel, line string) (Message, error) {
	name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
	p.s.mu.Lock()
	c, err := p.in(channel)
	if err == nil {
		err = c.writable()
	}
	commands := p.s.Commands()
	i := slices.IndexFunc(commands, func(c Command) bool { return c.Command == name })
	if err == nil && i < 0 {
		err = p.notice(Notice{Channel: c.ID, Text: name + " is not a valid command."})
	}
	if err == nil && p.s.needScope([]string{"commands"}) != nil {
		err = p.notice(Notice{Channel: c.ID, Text: name + ` failed with the error "app_missing_scope"`})
	}
	if err != nil {
		p.s.mu.Unlock()
		return Message{}, err
	}
	shown := c.Name
	switch {
	case c.IM || c.MPIM:
		shown = "directmessage"
	case c.Private:
		shown = "privategroup"
	}
	text = strings.TrimSpace(text)
	if commands[i].ShouldEscape {
		text = p.s.mentions(text, true)
	}
	var reply Message
	d := &delivery{kind: "slash_commands", what: "slash_commands", accepts: true, payload: obj{
		"token": p.s.app.secret, "team_id": p.s.app.teamID, "team_domain": p.s.app.teamDomain, "channel_id": c.ID, "channel_name": shown,
		"user_id": p.id, "user_name": c.user.Name, "command": name, "text": text, "api_app_id": p.s.app.appID, "is_enterprise_install": "false",
		"response_url": p.s.newHook("commands", hook{channel: c.ID, user: p.id}), "trigger_id": p.s.newTrigger(p.id, nil),
	}}
	d.apply = func(payload json.RawMessage) outcome {
		m, result := p.s.replyFromAck(c.channel, p.id, payload, line)
		if m != nil {
			reply = copyMessage(m)
		}
		return result
	}
	p.s.mu.Unlock()

	result := p.s.ask(d)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	fail := func(why string) error {
		return p.notice(Notice{Channel: c.ID, Text: name + ` failed with the error "` + why + `"`})
	}
	switch result {
	case noSocket:
		return Message{}, fail("dispatch_failed")
	case timedOut:
		return Message{}, fail("operation_timeout")
	case misunderstood:
		return Message{}, fail("invalid_command_response") // policy: the client's words are not documented
	case shutdown:
		return Message{}, errors.New("the simulator was closed")
	}
	return reply, nil
}

// SlashInThread types a slash command into a thread, where Slack has none.
func (p *Person) SlashInThread(channel, threadTS, line string) error {
	name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	c, _, err := p.visible(channel, threadTS)
	if err != nil {
		return err
	}
	return p.notice(Notice{Channel: c.ID, TS: threadTS, Text: name + " is not supported in threads. Sorry!"})
}
