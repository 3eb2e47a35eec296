package kit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxReference is the longest <…> that is read as one; an address may have
// 3,000 characters.
const maxReference = 8_000

// refEnd is the offset of the > that closes the < at s[0], or 0.
func refEnd(s string) int {
	n := strings.IndexAny(s[1:min(len(s), maxReference)], "<>\n")
	if n < 1 || s[n+1] != '>' {
		return 0
	}
	return n + 1
}

// A reference is what <…> stands for: text, perhaps with a link or a mark.
type reference struct {
	text  string
	href  string
	class string // of a mention
	title string
}

type link struct{ href, text string }

func (l link) write(w *inliner) { reference{text: l.text, href: l.href}.write(w) }

func (x reference) write(w *inliner) {
	switch {
	case x.href != "" && x.class != "":
		w.raw(`<a class="` + x.class + `" href="` + esc(x.href) + `">` + esc(x.text) + `</a>`)
	case x.href != "":
		w.raw(`<a href="` + esc(x.href) + `" target="_blank" rel="noopener noreferrer nofollow">` + esc(x.text) + `</a>`)
	case x.title != "":
		w.raw(`<time title="` + esc(x.title) + `">` + esc(x.text) + `</time>`)
	case x.class != "":
		w.raw(`<span class="` + x.class + `">` + esc(x.text) + `</span>`)
	default:
		w.text(x.text)
	}
}

// reference reads the inside of <…>; false means that it is none.
func (r Renderer) reference(s string) (reference, bool) {
	target, label, _ := strings.Cut(s, "|")
	label, _ = unescapeAll(label)
	if target == "" {
		return reference{}, false
	}
	switch target[0] {
	case '@':
		return r.mention(User, target[1:], label), true
	case '#':
		return r.mention(Channel, target[1:], label), true
	case '!':
		return r.special(target[1:], label)
	}
	target, _ = unescapeAll(target)
	href, ok := safeURL(target)
	if !ok {
		return reference{}, false
	}
	if label == "" {
		label = strings.TrimPrefix(target, "mailto:")
	}
	return reference{text: label, href: href}, true
}

func (r Renderer) mention(k Kind, id, label string) reference {
	x := reference{class: "mention"}
	switch k {
	case User:
		x.text = "@" + r.name(k, id, label)
		if id == r.Me && id != "" {
			x.class = "mention me"
		}
	case Channel:
		x.text = "#" + r.name(k, id, label)
		if r.Link != nil {
			x.href = r.Link(id)
		}
	case Group:
		x.text = "@" + strings.TrimPrefix(r.name(k, id, label), "@")
	}
	return x
}

func (r Renderer) special(s, label string) (reference, bool) {
	word, rest, _ := strings.Cut(s, "^")
	switch word {
	case "here", "channel", "everyone":
		return reference{text: "@" + word, class: "mention me"}, true
	case "subteam":
		return r.mention(Group, rest, label), true
	case "date":
		return r.date(rest, label), true
	}
	if label == "" {
		label = "<!" + s + ">"
	}
	return reference{text: label}, true
}

// date reads TIMESTAMP^FORMAT^LINK and shows the fallback where it cannot.
func (r Renderer) date(s, fallback string) reference {
	stamp, rest, _ := strings.Cut(s, "^")
	format, target, _ := strings.Cut(rest, "^")
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || sec < 0 || sec > 253402300799 || format == "" {
		return reference{text: fallback}
	}
	t := time.Unix(sec, 0).In(r.zone())
	format, _ = unescapeAll(format)
	x := reference{text: r.dateText(t, format), title: t.Format("Monday, 2 January 2006 15:04:05 MST")}
	if target != "" {
		target, _ = unescapeAll(target)
		x.href, _ = safeURL(target)
	}
	return x
}

func (r Renderer) dateText(t time.Time, format string) string {
	var b strings.Builder
	for format != "" {
		before, rest, ok := strings.Cut(format, "{")
		b.WriteString(before)
		if !ok {
			break
		}
		token, after, ok := strings.Cut(rest, "}")
		if !ok {
			b.WriteString("{" + rest)
			break
		}
		b.WriteString(r.dateToken(t, token))
		format = after
	}
	return b.String()
}

func (r Renderer) dateToken(t time.Time, token string) string {
	if base, ok := strings.CutSuffix(token, "_pretty"); ok {
		if day := r.day(t); day != "" {
			return day
		}
		token = base
	}
	switch token {
	case "date_num":
		return t.Format("2006-01-02")
	case "date":
		return t.Format("January 2, 2006")
	case "date_short":
		return t.Format("Jan 2, 2006")
	case "date_long":
		return t.Format("Monday, January 2, 2006")
	case "time":
		return t.Format("15:04")
	case "time_secs":
		return t.Format("15:04:05")
	case "ago":
		return ago(r.now().Sub(t))
	}
	return "{" + token + "}"
}

// day is yesterday, today or tomorrow, or "".
func (r Renderer) day(t time.Time) string {
	for offset, name := range map[int]string{-1: "yesterday", 0: "today", 1: "tomorrow"} {
		y, m, d := r.now().AddDate(0, 0, offset).Date()
		if ty, tm, td := t.Date(); ty == y && tm == m && td == d {
			return name
		}
	}
	return ""
}

func ago(d time.Duration) string {
	form := "%s ago"
	if d < 0 {
		d, form = -d, "in %s"
	}
	units := []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}}
	for _, u := range units {
		if n := int64(d / u.size); n > 1 {
			return fmt.Sprintf(form, fmt.Sprintf("%d %ss", n, u.name))
		} else if n == 1 {
			return fmt.Sprintf(form, "1 "+u.name)
		}
	}
	return "now"
}
