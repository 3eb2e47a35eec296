package kit

import (
	"html/template"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mrkdwn renders Slack's own markup. The grammar
// (docs.slack.dev/messaging/formatting-message-text):
//
//	*bold* _italic_ ~strike~ `code` ```block``` >quote, newline is a newline
//	<https://x|label> <mailto:a@b|a> <@U1> <#C1> <!subteam^S1> <!here>
//	<!date^1392734382^{date_short} at {time}|fallback> :emoji:
//	&amp; &lt; &gt; and nothing else is an escape
//
// A marker counts only at the border of a word, with its partner on the same
// line.
func (r Renderer) Mrkdwn(s string) template.HTML { return r.mrkdwn(s, false) }

// mrkdwn renders markup; when verbatim, bare addresses are no links.
func (r Renderer) mrkdwn(s string, verbatim bool) template.HTML {
	s = cut(strings.ReplaceAll(s, "\r\n", "\n"), maxText)
	w := &inliner{Renderer: r, verbatim: verbatim}
	for {
		text, rest, fenced := strings.Cut(s, "```")
		if !fenced {
			w.lines(s)
			break
		}
		code, after, closed := strings.Cut(rest, "```")
		if !closed {
			w.lines(s)
			break
		}
		w.lines(strings.TrimSuffix(text, "\n"))
		w.raw(`<pre class="code" tabindex="0"><code>`)
		w.text(r.codeText(strings.Trim(code, "\n")))
		w.raw(`</code></pre>`)
		s = strings.TrimPrefix(after, "\n")
	}
	return template.HTML(w.String())
}

// Plain renders a plain_text object: no markup but line ends and, unless
// emoji is false, :names:.
func (r Renderer) Plain(s string, emoji bool) template.HTML {
	s = cut(strings.ReplaceAll(s, "\r\n", "\n"), maxText)
	w := &inliner{Renderer: r}
	for i := 0; i < len(s); {
		if s[i] == '\n' {
			w.raw("<br>")
			i++
			continue
		}
		if n := w.emoji(s[i:], emoji); n > 0 {
			i += n
			continue
		}
		n := 1 + strings.IndexAny(s[i+1:], "\n:")
		if n == 0 {
			n = len(s) - i
		}
		w.text(s[i : i+n])
		i += n
	}
	return template.HTML(w.String())
}

// Note is mrkdwn as one plain line, as a notification shows it.
func (r Renderer) Note(s string) string {
	s = strings.ReplaceAll(cut(s, 2000), "```", " ")
	return strings.Join(strings.Fields(emojis(r.codeText(s))), " ")
}

// codeText undoes escapes and shows references by name, leaving the rest.
func (r Renderer) codeText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '<' {
			if end := refEnd(s[i:]); end > 0 {
				if ref, ok := r.reference(s[i+1 : i+end]); ok {
					b.WriteString(ref.text)
					i += end + 1
					continue
				}
			}
		}
		c, n := unescape(s[i:])
		b.WriteString(c)
		i += n
	}
	return b.String()
}

// An inliner writes HTML; everything that is not markup of its own goes
// through text.
type inliner struct {
	Renderer
	strings.Builder
	depth    int
	verbatim bool
}

func (w *inliner) raw(s string)  { w.WriteString(s) }
func (w *inliner) text(s string) { w.WriteString(esc(s)) }

// lines renders text without fences: quotes and lines.
func (w *inliner) lines(s string) {
	if s == "" {
		return
	}
	lines := strings.Split(s, "\n")
	for i := 0; i < len(lines); i++ {
		if rest, all, ok := quoted(lines[i]); ok {
			w.raw("<blockquote>")
			w.inline(rest)
			for i+1 < len(lines) {
				next, more := lines[i+1], all
				if !all {
					next, all, more = quoted(next)
				}
				if !more {
					break
				}
				w.raw("<br>")
				w.inline(next)
				i++
			}
			w.raw("</blockquote>")
			continue
		}
		w.inline(lines[i])
		if i+1 < len(lines) {
			if _, _, quote := quoted(lines[i+1]); !quote {
				w.raw("<br>")
			}
		}
	}
}

// quoted strips the sign of a quote; all is true for the one that quotes
// everything after it, too.
func quoted(line string) (rest string, all, ok bool) {
	for _, sign := range []string{"&gt;", ">"} {
		if rest, ok = strings.CutPrefix(line, sign); ok {
			if more, found := strings.CutPrefix(rest, sign+sign); found {
				return strings.TrimPrefix(more, " "), true, true
			}
			return strings.TrimPrefix(rest, " "), false, true
		}
	}
	return line, false, false
}

var tags = map[byte]string{'*': "strong", '_': "em", '~': "s"}

// inline renders one line.
func (w *inliner) inline(s string) {
	var hopeless [256]bool // markers that have no partner in the rest of s
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '<':
			if end := refEnd(s[i:]); end > 0 {
				if ref, ok := w.reference(s[i+1 : i+end]); ok {
					ref.write(w)
					i += end + 1
					continue
				}
			}
		case c == '`':
			if n := strings.IndexByte(s[i+1:], '`'); n > 0 {
				w.raw("<code>")
				w.text(w.codeText(s[i+1 : i+1+n]))
				w.raw("</code>")
				i += n + 2
				continue
			}
		case tags[c] != "" && !hopeless[c] && w.depth < maxDepth && opens(s, i):
			j := partner(s, i)
			if j < 0 {
				hopeless[c] = true
				break
			}
			w.raw("<" + tags[c] + ">")
			w.depth++
			w.inline(s[i+1 : j])
			w.depth--
			w.raw("</" + tags[c] + ">")
			i = j + 1
			continue
		case c == ':':
			if n := w.emoji(s[i:], true); n > 0 {
				i += n
				continue
			}
		case c == 'h' && !w.verbatim && (i == 0 || !wordBefore(s, i)):
			if l, n := bareURL(s[i:]); n > 0 {
				l.write(w)
				i += n
				continue
			}
		}
		t, n := unescape(s[i:])
		w.text(t)
		i += n
	}
}

// opens reports whether the marker at s[i] can begin something.
func opens(s string, i int) bool {
	if i+1 >= len(s) || s[i+1] == s[i] || s[i+1] == ' ' || s[i+1] == '\t' {
		return false
	}
	return i == 0 || (s[i-1] != s[i] && !wordBefore(s, i))
}

// partner finds the marker that ends what s[i] begins, or -1. References and
// code in between are passed over.
func partner(s string, i int) int {
	m := s[i]
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '<':
			if end := refEnd(s[j:]); end > 0 {
				j += end
			}
		case '`':
			if n := strings.IndexByte(s[j+1:], '`'); n > 0 {
				j += n + 1
			}
		case m:
			if j > i+1 && s[j-1] != ' ' && s[j-1] != '\t' && (j+1 == len(s) || s[j+1] != m && !wordAfter(s, j+1)) {
				return j
			}
		}
	}
	return -1
}

func wordBefore(s string, i int) bool {
	c, _ := utf8.DecodeLastRuneInString(s[:i])
	return unicode.IsLetter(c) || unicode.IsDigit(c)
}

func wordAfter(s string, i int) bool {
	c, _ := utf8.DecodeRuneInString(s[i:])
	return unicode.IsLetter(c) || unicode.IsDigit(c)
}

// unescape reads one character, undoing Slack's three escapes.
func unescape(s string) (text string, n int) {
	switch {
	case strings.HasPrefix(s, "&amp;"):
		return "&", 5
	case strings.HasPrefix(s, "&lt;"):
		return "<", 4
	case strings.HasPrefix(s, "&gt;"):
		return ">", 4
	}
	_, n = utf8.DecodeRuneInString(s)
	return s[:n], n
}

var entities = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">")

func unescapeAll(s string) (string, bool) {
	t := entities.Replace(s)
	return t, t != s
}

// bareURL reads the web address that s starts with; n is its length, or 0.
// Slack makes those links by itself.
func bareURL(s string) (l link, n int) {
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return link{}, 0
	}
	n = strings.IndexAny(s, " \t\n<>|\"'`*")
	if n < 0 {
		n = len(s)
	}
	if i := strings.Index(s[:n], "&gt;"); i >= 0 {
		n = i
	}
	if i := strings.Index(s[:n], "&lt;"); i >= 0 {
		n = i
	}
	for n > 0 && strings.IndexByte(".,:;!?)]}_~", s[n-1]) >= 0 {
		n--
	}
	text, _ := unescapeAll(s[:n])
	href, ok := safeURL(text)
	if !ok {
		return link{}, 0
	}
	return link{href: href, text: text}, n
}

// safeURL lets the schemes through that a chat may link to; anything else is
// "".
func safeURL(s string) (href string, ok bool) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil {
		return "", false
	}
	switch u.Scheme {
	case "http", "https":
		ok = u.Host != ""
	case "mailto", "tel":
		ok = u.Opaque != ""
	}
	if !ok {
		return "", false
	}
	return u.String(), true
}
