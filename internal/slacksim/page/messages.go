package page

import (
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page/kit"
)

const (
	// maxShown is the most messages of a channel that are drawn.
	maxShown = 200
	// together is how close two messages of one author follow each other
	// to share one head.
	together = 5 * time.Minute
	// maxPreview is the most characters of a file that are shown.
	maxPreview = 1_500
)

// An item is a line of a message list: a day, a message or a notice.
type item struct {
	DOM       string
	Day       string // a divider, when set
	Source    string
	TS        string
	Who       person
	Mine      bool
	Clock     string
	When      string
	Compact   bool
	Ephemeral bool
	Mentioned bool
	System    bool // told by Slack itself, such as that somebody joined
	Edited    bool
	Pinned    bool
	Raw       string // what its author would edit; empty on others' messages
	Text      template.HTML
	Blocks    template.HTML
	Note      string
	Notice    template.HTML // a failure told by the client itself
	Attached  []attachment
	Files     []fileView
	Reactions []reactionView
	Quick     []reactionView
	Shortcuts []slacksim.ShortcutItem
	Replies   int
	NewReply  int
	LastReply string
	ThreadURL string
	Also      string // of a broadcast reply
}

type attachment struct{ Text, Blocks template.HTML }

type fileView struct {
	Name, Size, Preview, URL string
	More                     bool
}

type reactionView struct {
	Name, Glyph, Who string
	Count            int
	Mine             bool
}

// quick are the reactions offered in a message's menu.
var quick = []string{"+1", "eyes", "white_check_mark", "pushpin", "tada", "question"}

func (d *drawing) channel(c slacksim.Channel, seen bool) *channelView {
	v := &channelView{
		ID: c.ID, Name: c.Name, Sign: sign(c), Topic: c.Topic, Member: slices.Contains(c.Members, d.me.ID), Archived: c.Archived,
		ListID: dom("list", c.ID), ComposerID: dom("composer", c.ID),
	}
	if c.IM || c.MPIM {
		v.Name = d.directName(c)
	}
	msgs := d.sim.History(c.ID, d.me.ID)
	if n := len(msgs); n > maxShown {
		msgs, v.Cut = msgs[n-maxShown:], true
	}
	v.Items = d.list("m", msgs, d.notices(c.ID), "")
	if seen && len(msgs) > 0 {
		d.memory.seen(readKey{d.me.ID, c.ID, ""}, msgs[len(msgs)-1].TS)
	}
	return v
}

// thread draws the open thread; nil when there is none of that name.
func (d *drawing) thread(c slacksim.Channel, seen bool) *channelView {
	msgs := d.sim.Thread(c.ID, d.at.Thread, d.me.ID)
	if len(msgs) == 0 || msgs[0].TS != d.at.Thread {
		return nil
	}
	if n := len(msgs); n > maxShown {
		msgs = append(msgs[:1:1], msgs[n-maxShown:]...)
	}
	v := &channelView{
		ID: c.ID, Name: c.Name, Sign: sign(c), ThreadTS: d.at.Thread, CloseURL: place{As: d.at.As, Channel: c.ID}.URL(),
		Member: slices.Contains(c.Members, d.me.ID), Archived: c.Archived,
		ListID: dom("thread", c.ID, d.at.Thread), ComposerID: dom("composer", c.ID, d.at.Thread),
		Items: d.list("t", msgs, nil, d.at.Thread),
	}
	if c.IM || c.MPIM {
		v.Name = d.directName(c)
	}
	if seen {
		d.memory.seen(readKey{d.me.ID, c.ID, d.at.Thread}, msgs[len(msgs)-1].TS)
	}
	return v
}

// notices are the failures that belong to a channel rather than to a message.
func (d *drawing) notices(channel string) []slacksim.Notice {
	return slices.DeleteFunc(d.sim.As(d.me.ID).Notices(), func(n slacksim.Notice) bool {
		return n.Channel != channel || n.TS != "" || n.ViewID != ""
	})
}

// list draws messages and, among them by time, notices. Ids begin with
// prefix, since a message can be in the channel and in its thread at once.
func (d *drawing) list(prefix string, msgs []slacksim.Message, notices []slacksim.Notice, thread string) []item {
	var items []item
	var last slacksim.Message
	var lastAt time.Time
	day := ""
	flush := func(until time.Time) {
		for len(notices) > 0 && notices[0].At.Before(until) {
			items = append(items, d.notice(prefix, notices[0]))
			notices, last = notices[1:], slacksim.Message{}
		}
	}
	for _, m := range msgs {
		if d.memory.gone(readKey{d.me.ID, m.Channel, m.TS}) {
			continue
		}
		at := stamp(m.TS).In(d.opts.Zone)
		flush(at)
		if text := d.day(at); text != day && thread == "" {
			day = text
			items, last = append(items, item{DOM: dom(prefix, "day", at.Format("20060102")), Day: text}), slacksim.Message{}
		}
		x := d.message(prefix, m, at, thread)
		x.Compact = last.User == m.User && last.TS != "" && at.Sub(lastAt) < together && last.For == m.For && x.Blocks == "" && !(thread != "" && last.TS == thread)
		items = append(items, x)
		last, lastAt = m, at
	}
	flush(time.Unix(1<<40, 0))
	return items
}

func (d *drawing) notice(prefix string, n slacksim.Notice) item {
	at := n.At.In(d.opts.Zone)
	key := fmt.Sprintf("%s%d", n.Channel, n.At.UnixNano())
	if d.memory.gone(readKey{d.me.ID, n.Channel, key}) {
		return item{DOM: dom(prefix, "notice", key)}
	}
	return item{
		DOM: dom(prefix, "notice", key), Source: source{Channel: n.Channel, TS: key}.String(), Notice: d.kit.Mrkdwn(n.Text), Note: d.kit.Note(n.Text), Ephemeral: true,
		Clock: at.Format("15:04"), When: at.Format("Monday, 2 January 2006 15:04:05"),
	}
}

// stamp reads a message's ts; one that is none is the epoch.
func stamp(ts string) time.Time {
	sec, frac, _ := strings.Cut(ts, ".")
	s, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return time.Unix(0, 0)
	}
	us, err := strconv.ParseInt(frac, 10, 64)
	if err != nil {
		us = 0
	}
	return time.Unix(s, us*1000)
}

func (d *drawing) day(t time.Time) string {
	now := d.sim.Now().In(d.opts.Zone)
	switch t.Format(time.DateOnly) {
	case now.Format(time.DateOnly):
		return "Today"
	case now.AddDate(0, 0, -1).Format(time.DateOnly):
		return "Yesterday"
	}
	return t.Format("Monday, 2 January")
}

func (d *drawing) message(prefix string, m slacksim.Message, at time.Time, thread string) item {
	src := source{Channel: m.Channel, TS: m.TS}.String()
	author := d.users[m.User]
	x := item{
		DOM: dom(prefix, m.Channel, m.TS), Source: src, TS: m.TS, Who: d.person(author), Mine: m.User == d.me.ID,
		Clock: at.Format("15:04"), When: at.Format("Monday, 2 January 2006 15:04:05"),
		Ephemeral: m.Ephemeral(), Edited: m.Edited, Pinned: m.Pinned,
		System: strings.HasPrefix(m.Subtype, "channel_"),
		Note:   author.RealName + ": " + d.kit.Note(m.Text),
	}
	if m.Tombstone {
		x.Text, x.Who, x.System = d.kit.Mrkdwn(m.Text), person{Name: "Slackbot", Bot: true}, true
		x.Mine, x.Edited, x.Pinned, x.Note = false, false, false, "Slackbot: "+m.Text
		return d.threaded(x, m, thread)
	}
	if m.FromApp() {
		x.Who.Bot = true
	}
	if x.Mine && m.Subtype == "" {
		x.Raw = plain.Replace(m.Text)
	}
	failed := d.memory.failures(d.me.ID, src)
	// What a person typed comes as blocks as well; its text has the markup.
	if m.FromApp() {
		x.Blocks = d.kit.Blocks(m.Blocks, kit.Surface{ID: x.DOM, Choices: d.choices, Failed: failed})
	}
	if x.Blocks == "" {
		x.Text = d.kit.Mrkdwn(m.Text)
		// A card names its people all its life; there the name alone stands out.
		x.Mentioned = strings.Contains(m.Text, "<@"+d.me.ID) && m.User != d.me.ID && !x.System
	}
	x.Attached = d.attachments(x.DOM, m.Attachments, failed)
	for _, f := range m.Files {
		x.Files = append(x.Files, d.file(f))
	}
	for _, r := range m.Reactions {
		x.Reactions = append(x.Reactions, d.reaction(r, m))
	}
	if x.Ephemeral {
		return x
	}
	for _, name := range quick {
		x.Quick = append(x.Quick, reactionView{Name: name, Glyph: kit.Glyph(name), Mine: reacted(m, name, d.me.ID)})
	}
	x.Shortcuts = slices.DeleteFunc(d.sim.Shortcuts(), func(s slacksim.ShortcutItem) bool { return !s.Message })
	return d.threaded(x, m, thread)
}

// plain undoes Slack's escapes, for the person who wrote the text.
var plain = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// threaded adds what a message in a channel says of its thread.
func (d *drawing) threaded(x item, m slacksim.Message, thread string) item {
	if thread != "" {
		return x
	}
	root := m.TS
	if m.ThreadTS != "" && m.ThreadTS != m.TS {
		root, x.Also = m.ThreadTS, "replied to a thread"
	}
	x.ThreadURL = place{As: d.at.As, Channel: m.Channel, Thread: root}.URL()
	if x.Replies = m.ReplyCount; x.Replies > 0 && root == m.TS {
		upTo := d.memory.readUpTo(readKey{d.me.ID, m.Channel, m.TS})
		replies := d.sim.Thread(m.Channel, m.TS, d.me.ID)
		x.LastReply = stamp(replies[len(replies)-1].TS).In(d.opts.Zone).Format("15:04")
		for _, r := range replies {
			if r.TS != m.TS && r.TS > upTo && r.User != d.me.ID {
				x.NewReply++
			}
		}
	}
	return x
}

func (d *drawing) attachments(id string, raw json.RawMessage, failed map[kit.Spot]string) []attachment {
	var list []struct {
		Text     string          `json:"text"`
		Pretext  string          `json:"pretext"`
		Title    string          `json:"title"`
		Fallback string          `json:"fallback"`
		Blocks   json.RawMessage `json:"blocks"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []attachment
	for i, a := range list[:min(len(list), 100)] {
		words := slices.DeleteFunc([]string{a.Pretext, a.Title, a.Text}, func(s string) bool { return s == "" })
		x := attachment{Blocks: d.kit.Blocks(a.Blocks, kit.Surface{ID: id + "-a" + strconv.Itoa(i), Choices: d.choices, Failed: failed})}
		if len(words) == 0 && x.Blocks == "" {
			words = []string{a.Fallback}
		}
		x.Text = d.kit.Mrkdwn(strings.Join(words, "\n"))
		out = append(out, x)
	}
	return out
}

func (d *drawing) file(f slacksim.File) fileView {
	if f.Deleted {
		return fileView{Name: "This file was deleted."}
	}
	name := f.Title
	if name == "" {
		name = f.Name
	}
	v := fileView{Name: name, Size: size(f.Size), URL: "/ui/file/" + f.ID + "?as=" + d.me.ID}
	if !utf8.Valid(f.Content) || strings.ContainsRune(string(f.Content), 0) {
		return v
	}
	r := []rune(string(f.Content))
	if v.More = len(r) > maxPreview; v.More {
		r = r[:maxPreview]
	}
	v.Preview = strings.TrimRight(string(r), "\n")
	return v
}

func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func reacted(m slacksim.Message, name, user string) bool {
	for _, r := range m.Reactions {
		if r.Name == name {
			return slices.Contains(r.Users, user)
		}
	}
	return false
}

func (d *drawing) reaction(r slacksim.Reaction, m slacksim.Message) reactionView {
	var names []string
	for _, id := range r.Users {
		names = append(names, d.users[id].RealName)
	}
	return reactionView{Name: r.Name, Glyph: kit.Glyph(r.Name), Count: r.Count, Who: strings.Join(names, ", "), Mine: reacted(m, r.Name, d.me.ID)}
}
