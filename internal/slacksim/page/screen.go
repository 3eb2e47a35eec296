package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"

	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page/kit"
)

var errNobody = errors.New("the workspace has nobody to be")

// A place is what an address of the page says.
type place struct {
	As, Channel, Thread string
	Home                bool
}

// URL is the place's address.
func (at place) URL() string {
	q := url.Values{"as": {at.As}}
	switch {
	case at.Home:
		q.Set("home", "1")
	case at.Channel != "":
		q.Set("channel", at.Channel)
		if at.Thread != "" {
			q.Set("thread", at.Thread)
		}
	}
	return "/?" + q.Encode()
}

// A screen is all that the template draws.
type screen struct {
	Title, PanelTitle string
	HasPanel          bool
	At                place
	Me                person
	People            []person
	Rooms, Directs    []room
	App               person
	HomeURL           string
	Connected         bool
	Channel           *channelView
	Thread            *channelView
	Home              *homeView
	Modals            []modalView
	Notes             []note
	Commands, Persons string // JSON for completion
	Shortcuts         []slacksim.ShortcutItem
}

// DocTitle is the window's title, with the number of unread messages.
func (s *screen) DocTitle() string {
	name := s.App.Name
	if s.Channel != nil {
		name = s.Channel.Sign + s.Channel.Name
	}
	unread := 0
	for _, r := range slices.Concat(s.Rooms, s.Directs) {
		unread += r.Unread
	}
	if unread > 0 {
		name = fmt.Sprintf("(%d) %s", unread, name)
	}
	return name + " – " + s.Me.Name + " – " + s.Title
}

type person struct {
	ID, Name, Role, Initials, URL string
	Hue                           int
	Bot, Current                  bool
}

type room struct {
	ID, Name, Sign, URL string
	Person              *person // of a direct message
	Unread              int
	Current             bool
}

type channelView struct {
	ID, Name, Sign, Topic string
	ThreadTS, CloseURL    string // of a thread
	ListID, ComposerID    string
	Member, Archived      bool
	Cut                   bool // older messages are left out
	Items                 []item
}

// Placeholder is what the empty composer says.
func (c *channelView) Placeholder() string {
	if c.ThreadTS != "" {
		return "Reply…"
	}
	return "Message " + c.Sign + c.Name
}

type homeView struct {
	ID, Source string
	HTML       template.HTML
}

type modalView struct {
	ID, DOM, Source, Title, Submit, Close string
	Depth                                 int
	HTML                                  template.HTML
	Trouble                               string
}

// A note is a message that arrived out of sight.
type note struct{ DOM, Key, From, Text, URL string }

// A drawing makes one screen.
type drawing struct {
	*page
	at    place
	me    slacksim.User
	users map[string]slacksim.User
	chans map[string]slacksim.Channel
	kit   kit.Renderer
}

// screen reads the workspace as the person at a place sees it. With seen, what
// is drawn counts as read.
func (p *page) screen(at place, seen bool) (*screen, error) {
	people := p.people()
	me, ok := p.sim.User(at.As)
	if !ok || me.Bot {
		if len(people) == 0 {
			return nil, errNobody
		}
		me = people[0]
	}
	at.As = me.ID
	d := &drawing{page: p, at: at, me: me, users: map[string]slacksim.User{}, chans: map[string]slacksim.Channel{}}
	for _, u := range p.sim.Users() {
		d.users[u.ID] = u
	}
	channels := p.sim.ChannelsOf(me.ID)
	for _, c := range channels {
		d.chans[c.ID] = c
	}
	d.kit = kit.Renderer{Name: d.name, Link: d.channelURL, Me: me.ID, Now: p.sim.Now(), Zone: p.opts.Zone}
	d.at.Channel = d.where(channels)
	if d.at.Home {
		d.at.Channel, d.at.Thread = "", ""
	}
	bot, _ := p.sim.User(p.sim.BotUserID())
	s := &screen{
		Title: p.opts.Title, PanelTitle: p.opts.PanelTitle, HasPanel: p.opts.Panel != nil,
		Me: d.person(me), App: d.person(bot), HomeURL: place{As: me.ID, Home: true}.URL(), Connected: p.sim.Connected() > 0,
		Shortcuts: p.sim.Shortcuts(),
	}
	for _, u := range people {
		x := d.person(u)
		to := d.at
		to.As = u.ID
		if c, ok := d.chans[to.Channel]; ok && c.IM {
			to.Channel, to.Thread = "", ""
		}
		x.URL, x.Current = to.URL(), u.ID == me.ID
		s.People = append(s.People, x)
	}
	if c, ok := d.chans[d.at.Channel]; ok {
		if d.at.Thread != "" {
			s.Thread = d.thread(c, seen) // first, so that its replies are not new in the channel
		}
		s.Channel = d.channel(c, seen)
		if s.Thread == nil {
			d.at.Thread = ""
		}
	} else {
		d.at.Home, d.at.Channel = true, ""
		s.Home = d.home()
	}
	s.At = d.at
	d.rooms(s, channels)
	d.modals(s)
	d.completion(s)
	return s, nil
}

// people are those one can be.
func (p *page) people() []slacksim.User {
	var list []slacksim.User
	for _, name := range p.opts.People {
		if u, ok := p.sim.User(name); ok {
			list = append(list, u)
		}
	}
	if len(p.opts.People) > 0 {
		return list
	}
	return slices.DeleteFunc(p.sim.Users(), func(u slacksim.User) bool { return u.Bot || u.Deactivated })
}

// where is the channel to show: the one asked for, else the first.
func (d *drawing) where(channels []slacksim.Channel) string {
	if _, ok := d.chans[d.at.Channel]; ok {
		return d.at.Channel
	}
	d.at.Thread = ""
	first := ""
	for _, c := range channels {
		if c.ID == d.opts.Start || c.Name != "" && c.Name == strings.TrimPrefix(d.opts.Start, "#") {
			return c.ID
		}
		if first == "" && slices.Contains(c.Members, d.me.ID) {
			first = c.ID
		}
	}
	return first
}

func (d *drawing) name(k kit.Kind, id string) (string, bool) {
	switch k {
	case kit.User:
		u, ok := d.users[id]
		return u.RealName, ok
	case kit.Channel:
		c, ok := d.chans[id]
		return c.Name, ok
	case kit.Group:
		for _, g := range d.sim.Usergroups() {
			if g.ID == id {
				return g.Handle, true
			}
		}
	}
	return "", false
}

func (d *drawing) channelURL(id string) string {
	if _, ok := d.chans[id]; !ok {
		return ""
	}
	return place{As: d.at.As, Channel: id}.URL()
}

func (d *drawing) person(u slacksim.User) person {
	x := person{ID: u.ID, Name: u.RealName, Bot: u.Bot, Initials: initials(u.RealName)}
	for _, key := range []string{u.ID, u.Name} {
		if role := d.opts.Roles[key]; role != "" {
			x.Role = role
		}
	}
	var sum int
	for _, c := range u.ID + u.Name {
		sum = (sum*31 + int(c)) % 8191
	}
	x.Hue = sum % 8
	// Neighbors should differ: the order of people decides where there is one.
	for i, p := range d.people() {
		if p.ID == u.ID {
			x.Hue = (i + 1) % 8
		}
	}
	if u.Bot {
		x.Hue = 0
	}
	return x
}

func initials(name string) string {
	var out []rune
	for _, word := range strings.Fields(name) {
		if r := []rune(word)[0]; len(out) < 2 {
			out = append(out, r)
		}
	}
	return strings.ToUpper(string(out))
}

func (d *drawing) rooms(s *screen, channels []slacksim.Channel) {
	for _, c := range channels {
		if c.Archived && c.ID != d.at.Channel {
			continue
		}
		r := room{ID: c.ID, Name: c.Name, Sign: sign(c), URL: place{As: d.at.As, Channel: c.ID}.URL(), Current: c.ID == d.at.Channel}
		if slices.Contains(c.Members, d.me.ID) {
			r.Unread = d.unread(c, s)
		}
		if c.IM || c.MPIM {
			other := d.person(d.other(c))
			r.Name, r.Person = d.directName(c), &other
			s.Directs = append(s.Directs, r)
			continue
		}
		s.Rooms = append(s.Rooms, r)
	}
	slices.SortFunc(s.Notes, func(a, b note) int { return strings.Compare(a.Key, b.Key) })
	if n := len(s.Notes); n > 10 {
		s.Notes = s.Notes[n-10:]
	}
}

func sign(c slacksim.Channel) string {
	switch {
	case c.IM, c.MPIM:
		return ""
	case c.Private:
		return "🔒"
	}
	return "#"
}

// other is whom a direct message is with.
func (d *drawing) other(c slacksim.Channel) slacksim.User {
	for _, id := range c.Members {
		if id != d.me.ID {
			return d.users[id]
		}
	}
	return d.me
}

func (d *drawing) directName(c slacksim.Channel) string {
	var names []string
	for _, id := range c.Members {
		if id != d.me.ID {
			names = append(names, d.users[id].RealName)
		}
	}
	if len(names) == 0 {
		return d.me.RealName + " (you)"
	}
	return strings.Join(names, ", ")
}

// unread counts what the person has not seen in a channel: messages of others,
// and replies that mention them. Each is a note as well.
func (d *drawing) unread(c slacksim.Channel, s *screen) int {
	n := 0
	add := func(m slacksim.Message, thread string) {
		n++
		u := d.users[m.User]
		from := u.RealName + " in " + sign(c) + c.Name
		if c.IM {
			from = u.RealName
		}
		to := place{As: d.at.As, Channel: c.ID, Thread: thread}
		s.Notes = append(s.Notes, note{DOM: "n-" + dom(c.ID, m.TS), Key: m.TS + ":" + c.ID, From: from, Text: d.kit.Note(m.Text), URL: to.URL()})
	}
	read := d.memory.readUpTo(readKey{d.me.ID, c.ID, ""})
	for _, m := range d.sim.History(c.ID, d.me.ID) {
		if m.TS > read && d.news(m) {
			add(m, "")
		}
		if m.ReplyCount == 0 || m.ThreadTS != m.TS {
			continue
		}
		upTo := d.memory.readUpTo(readKey{d.me.ID, c.ID, m.TS})
		for _, r := range d.sim.Thread(c.ID, m.TS, d.me.ID) {
			if r.TS != m.TS && r.TS > upTo && d.news(r) && (strings.Contains(r.Text, "<@"+d.me.ID) || r.Ephemeral()) {
				add(r, m.TS)
			}
		}
	}
	return n
}

// news reports whether a message can be unread at all.
func (d *drawing) news(m slacksim.Message) bool {
	return m.User != d.me.ID && m.Subtype != "channel_join" && !d.memory.gone(readKey{d.me.ID, m.Channel, m.TS})
}

func dom(parts ...string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
			return r
		}
		return '_'
	}, strings.Join(parts, "-"))
}

func (d *drawing) home() *homeView {
	v := d.sim.As(d.me.ID).Home()
	if v.ID == "" {
		return &homeView{}
	}
	src := source{View: v.ID}.String()
	return &homeView{ID: dom("home", v.ID), Source: src, HTML: d.kit.Blocks(v.Blocks, d.surface(dom("h", v.ID), src, v))}
}

func (d *drawing) modals(s *screen) {
	stack := d.sim.As(d.me.ID).Views()
	for i, v := range stack {
		src := source{View: v.ID}.String()
		m := modalView{
			ID: v.ID, DOM: dom("modal", v.ID), Source: src, Title: v.Title, Submit: v.Submit, Close: v.Close, Depth: i + 1,
			HTML: d.kit.Blocks(v.Blocks, d.surface(dom("v", v.ID), src, v)), Trouble: d.memory.troubleOf(v.ID),
		}
		if m.Close == "" {
			m.Close = "Cancel"
		}
		s.Modals = append(s.Modals, m)
	}
}

func (d *drawing) surface(id, src string, v slacksim.View) kit.Surface {
	return kit.Surface{ID: id, Errors: v.Errors, State: v.State, Choices: d.choices, Failed: d.memory.failures(d.me.ID, src)}
}

// choices fills menus of people and channels.
func (d *drawing) choices(k kit.Kind) []kit.Choice {
	var list []kit.Choice
	switch k {
	case kit.User:
		for _, u := range d.sim.Users() {
			if !u.Deactivated {
				list = append(list, kit.Choice{Value: u.ID, Label: u.RealName})
			}
		}
	case kit.Channel:
		for _, c := range d.sim.ChannelsOf(d.me.ID) {
			if !c.IM && !c.MPIM && !c.Archived {
				list = append(list, kit.Choice{Value: c.ID, Label: "#" + c.Name})
			}
		}
	}
	return list
}

func (d *drawing) completion(s *screen) {
	type command struct {
		Command     string `json:"command"`
		Hint        string `json:"hint,omitempty"`
		Description string `json:"description,omitempty"`
	}
	type human struct {
		Name string `json:"name"`
		Real string `json:"real"`
	}
	commands, humans := []command{}, []human{}
	for _, c := range d.sim.Commands() {
		commands = append(commands, command{c.Command, c.UsageHint, c.Description})
	}
	for _, u := range d.sim.Users() {
		if !u.Deactivated {
			humans = append(humans, human{u.Name, u.RealName})
		}
	}
	// Strings always encode.
	a, _ := json.Marshal(commands)
	b, _ := json.Marshal(humans)
	s.Commands, s.Persons = string(a), string(b)
}
