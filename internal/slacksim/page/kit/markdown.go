package kit

import (
	"html/template"
	"strings"
)

// Markdown renders a markdown block: headings, lists, quotes, fences, rules,
// and in lines **bold**, *italic*, ~~strike~~, `code` and [links](https://x).
func (r Renderer) Markdown(s string) template.HTML {
	w := &inliner{Renderer: r}
	lines := strings.Split(cut(strings.ReplaceAll(s, "\r\n", "\n"), maxText), "\n")
	open := "" // the block element that is open
	enter := func(tag string) {
		if tag == open {
			return
		}
		if open != "" {
			w.raw("</" + open + ">")
		}
		if tag != "" {
			w.raw("<" + tag + ">")
		}
		open = tag
	}
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		level := len(line) - len(strings.TrimLeft(line, "#"))
		item, tag := listItem(line)
		switch {
		case line == "":
			enter("")
		case strings.HasPrefix(line, "```"):
			enter("")
			w.raw(`<pre class="code" tabindex="0"><code>`)
			for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "```"); i++ {
				w.text(lines[i] + "\n")
			}
			w.raw("</code></pre>")
		case level > 0 && level <= 6 && strings.HasPrefix(line[level:], " "):
			enter("")
			w.raw(`<p class="heading">`)
			w.markdownLine(strings.TrimSpace(line[level:]))
			w.raw("</p>")
		case strings.Trim(line, "-") == "" && len(line) >= 3:
			enter("")
			w.raw("<hr>")
		case tag != "":
			enter(tag)
			w.raw("<li>")
			w.markdownLine(item)
			w.raw("</li>")
		case strings.HasPrefix(line, ">"):
			if open == "blockquote" {
				w.raw("<br>")
			}
			enter("blockquote")
			w.markdownLine(strings.TrimSpace(line[1:]))
		default:
			if open == "p" {
				w.raw("<br>")
			}
			enter("p")
			w.markdownLine(line)
		}
	}
	enter("")
	return template.HTML(w.String())
}

// listItem splits the sign off a list's line; tag is ul, ol or "".
func listItem(line string) (text, tag string) {
	for _, sign := range []string{"- ", "* ", "+ "} {
		if text, ok := strings.CutPrefix(line, sign); ok {
			for box, mark := range map[string]string{"[ ] ": "☐ ", "[x] ": "☑ "} {
				if rest, ok := strings.CutPrefix(text, box); ok {
					return mark + rest, "ul"
				}
			}
			return text, "ul"
		}
	}
	digits := len(line) - len(strings.TrimLeft(line, "0123456789"))
	if digits > 0 && digits < 10 {
		if text, ok := strings.CutPrefix(line[digits:], ". "); ok {
			return text, "ol"
		}
	}
	return line, ""
}

var marks = []struct{ sign, tag string }{{"**", "strong"}, {"__", "strong"}, {"~~", "s"}, {"*", "em"}, {"_", "em"}}

func (w *inliner) markdownLine(s string) {
	hopeless := map[string]bool{} // signs that have no partner in the rest of s
next:
	for i := 0; i < len(s); {
		rest := s[i:]
		switch rest[0] {
		case '\\':
			if len(rest) > 1 && strings.IndexByte("\\`*_~[]()#+-.!<>", rest[1]) >= 0 {
				w.text(rest[1:2])
				i += 2
				continue
			}
		case '`':
			if n := strings.IndexByte(rest[1:], '`'); n > 0 {
				w.raw("<code>")
				w.text(rest[1 : n+1])
				w.raw("</code>")
				i += n + 2
				continue
			}
		case '[':
			if l, n := markdownLink(rest); n > 0 {
				l.write(w)
				i += n
				continue
			}
		case ':':
			if n := w.emoji(rest, true); n > 0 {
				i += n
				continue
			}
		}
		for _, m := range marks {
			if w.depth >= maxDepth || hopeless[m.sign] || !strings.HasPrefix(rest, m.sign) || len(rest) == len(m.sign) || rest[len(m.sign)] == ' ' ||
				m.sign[0] == '_' && wordBefore(s, i) {
				continue
			}
			inner, _, ok := strings.Cut(rest[len(m.sign):], m.sign)
			if !ok {
				hopeless[m.sign] = true
				continue
			}
			if inner == "" {
				continue
			}
			w.raw("<" + m.tag + ">")
			w.depth++
			w.markdownLine(inner)
			w.depth--
			w.raw("</" + m.tag + ">")
			i += len(inner) + 2*len(m.sign)
			continue next
		}
		n := 1 + strings.IndexAny(rest[1:], "\\`[:*_~")
		if n == 0 {
			n = len(rest)
		}
		w.text(rest[:n])
		i += n
	}
}

// markdownLink reads [text](address) at the start of s; n is its length.
func markdownLink(s string) (l link, n int) {
	text, rest, ok := strings.Cut(s[1:min(len(s), maxReference)], "](")
	if !ok || strings.ContainsAny(text, "[]") {
		return link{}, 0
	}
	address, _, ok := strings.Cut(rest, ")")
	if !ok {
		return link{}, 0
	}
	href, ok := safeURL(address)
	if !ok {
		return link{}, 0
	}
	return link{href: href, text: text}, len(text) + len(address) + 4
}
