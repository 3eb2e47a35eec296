package blocks

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// broadcasts ping everybody: no report, however it was written, does that.
var broadcasts = regexp.MustCompile(`<!(channel|here|everyone)(\|[^<>]*)?>`)

// quiet turns broadcasts into words.
func quiet(markup string) string { return broadcasts.ReplaceAllString(markup, "@$1") }

const fence = "```"

// splitMarkup cuts mrkdwn into pieces of at most max units, at line ends where
// it can, never inside <…> or an entity, and closes and opens code blocks
// again. max must be at least 100.
func splitMarkup(s string, max int) []string {
	var pieces []string
	open := false
	for s != "" {
		prefix := ""
		if open {
			prefix = fence + "\n"
		}
		room := max - units(prefix) - len(fence) - 1
		if units(s)+units(prefix) <= max && (!open || strings.Count(s, fence)%2 == 1) {
			pieces = append(pieces, prefix+s)
			break
		}
		n := border(s, room)
		part := s[:n]
		s = strings.TrimPrefix(s[n:], "\n")
		if strings.Count(part, fence)%2 == 1 {
			open = !open
		}
		piece := prefix + strings.TrimRight(part, "\n")
		if open {
			piece += "\n" + fence
		}
		if strings.Trim(piece, "` \n") != "" {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}

// border finds where to cut s, at most room units on and never at 0.
func border(s string, room int) int {
	h, left := head(s, room)
	if left == 0 {
		return len(s)
	}
	n := len(h)
	if nl := strings.LastIndexByte(h, '\n'); nl > n/2 {
		return nl
	}
	// Not inside a fence, a <reference> or an &entity;.
	safe := n
	if i := strings.LastIndex(h, "`"); i >= 0 && n-i <= 3 {
		safe = len(strings.TrimRight(h, "`"))
	}
	if i := strings.LastIndexByte(h[:safe], '<'); i >= 0 && !strings.Contains(h[i:safe], ">") {
		safe = i
	}
	if i := strings.LastIndexByte(h[:safe], '&'); i >= 0 && safe-i < 6 && !strings.Contains(h[i:safe], ";") {
		safe = i
	}
	if safe == 0 {
		return n
	}
	return safe
}

// cutMarkup shortens mrkdwn to max and says how much is missing.
func cutMarkup(s string, max int) string {
	if units(s) <= max {
		return s
	}
	if max < 140 {
		h := s[:border(s, max-1)]
		return h + "…"
	}
	first := splitMarkup(s, max-40)[0]
	missing := utf8.RuneCountInString(s) - utf8.RuneCountInString(first)
	return first + fmt.Sprintf("… (%d more characters)", missing)
}
