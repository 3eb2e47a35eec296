// Package kit renders Slack's mrkdwn and Block Kit as HTML for the
// simulator's page. It escapes everything it is given, fetches nothing and
// never fails: what it cannot read it shows as text. Whether blocks are
// allowed is not its business; the simulator has judged them before.
package kit

import (
	"html/template"
	"time"
	"unicode/utf8"
)

const (
	// maxText is the most bytes of one text that are rendered; Slack itself
	// cuts a message at 40,000 characters.
	maxText = 4 * 40_000
	// maxDepth bounds the nesting of formatting and of rich text.
	maxDepth = 8
)

// A Kind says what an id in a text refers to.
type Kind int

// What can be mentioned.
const (
	User Kind = iota
	Channel
	Group
)

// A Renderer turns texts and blocks into HTML for one reader. The zero value
// works: it shows ids instead of names and times in UTC.
type Renderer struct {
	// Name resolves an id to the name people see, without @ or #; nil or
	// false shows the id.
	Name func(Kind, string) (string, bool)
	// Link is where a mention of a channel leads; nil makes it no link.
	Link func(channel string) string
	// Me is the reader: mentions of them stand out.
	Me string
	// Now is the present, for {date_pretty} and {ago}; the zero value is
	// time.Now().
	Now time.Time
	// Zone is the reader's time zone; nil is UTC.
	Zone *time.Location
}

func (r Renderer) now() time.Time {
	if r.Now.IsZero() {
		return time.Now().In(r.zone())
	}
	return r.Now.In(r.zone())
}

func (r Renderer) zone() *time.Location {
	if r.Zone == nil {
		return time.UTC
	}
	return r.Zone
}

func (r Renderer) name(k Kind, id, fallback string) string {
	if r.Name != nil {
		if n, ok := r.Name(k, id); ok && n != "" {
			return n
		}
	}
	if fallback != "" {
		return fallback
	}
	return id
}

// cut shortens s to n bytes at most, at the border of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func esc(s string) string { return template.HTMLEscapeString(s) }
