package postmortem

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxText is the most bytes that a post-mortem may have.
const MaxText = 512 << 10

// heading is the heading on a line, if it is one that Draft writes: of the
// second level.
func heading(line string) (string, bool) {
	if !strings.HasPrefix(line, "## ") {
		return "", false
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "## ")), true
}

// part is a heading and the lines under it. The first part has no heading.
type part struct {
	heading string
	lines   []string
}

func split(text string) []part {
	parts := []part{{}}
	fenced := false
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(l), "```") {
			fenced = !fenced
		}
		if h, is := heading(l); is && !fenced {
			parts = append(parts, part{heading: h})
			continue
		}
		last := &parts[len(parts)-1]
		last.lines = append(last.lines, l)
	}
	return parts
}

func join(parts []part) string {
	var b strings.Builder
	for n, p := range parts {
		if p.heading != "" {
			fmt.Fprintf(&b, "## %s\n", p.heading)
		}
		b.WriteString(strings.Join(p.lines, "\n"))
		if n < len(parts)-1 {
			b.WriteString("\n")
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// record begins what Draft adds to a section by itself.
const record = "From the record:"

// Section returns what people wrote under a heading; "" if they have not yet,
// or the heading is not there.
func Section(text, title string) string {
	for _, p := range split(text) {
		if !strings.EqualFold(p.heading, title) {
			continue
		}
		body := strings.Join(p.lines, "\n")
		body, _, _ = strings.Cut(body, record)
		body = strings.TrimSpace(body)
		if body == asks[title] {
			return ""
		}
		return body
	}
	return ""
}

// With returns the text with another body under a heading; an empty one asks
// for it again. A heading that is not there is added at the end. Headings in
// the body go a level down, so that they cannot be taken for sections.
func With(text, title, body string) string {
	body = strings.TrimSpace(strings.ReplaceAll(body, "\r\n", "\n"))
	lines := strings.Split(body, "\n")
	for n, l := range lines {
		if _, is := heading(l); is || strings.HasPrefix(l, "# ") {
			lines[n] = "### " + strings.TrimSpace(strings.TrimLeft(l, "#"))
		}
	}
	if body = strings.Join(lines, "\n"); body == "" {
		body = asks[title]
	}
	parts := split(text)
	at := slices.IndexFunc(parts, func(p part) bool { return strings.EqualFold(p.heading, title) })
	if at < 0 {
		parts = append(parts, part{heading: title})
		at = len(parts) - 1
	}
	kept := ""
	if _, after, found := strings.Cut(strings.Join(parts[at].lines, "\n"), record); found {
		kept = "\n" + record + strings.TrimRight(after, "\n") + "\n"
	}
	parts[at].lines = strings.Split("\n"+body+"\n"+kept, "\n")
	return join(parts)
}

// Renew makes a fresh draft that keeps what people wrote in the old text:
// their sections, and whole sections that a draft does not have.
func Renew(old, fresh string) string {
	for _, s := range Sections {
		if body := Section(old, s); body != "" {
			fresh = With(fresh, s, body)
		}
	}
	known := map[string]bool{}
	for _, p := range split(fresh) {
		known[strings.ToLower(p.heading)] = true
	}
	parts := split(fresh)
	for _, p := range split(old) {
		if p.heading != "" && !known[strings.ToLower(p.heading)] {
			if last := &parts[len(parts)-1]; len(last.lines) > 0 && last.lines[len(last.lines)-1] != "" {
				last.lines = append(last.lines, "")
			}
			parts = append(parts, p)
		}
	}
	return join(parts)
}

// Missing lists the required sections that nobody has written.
func Missing(text string) (titles []string) {
	for _, s := range Required {
		if Section(text, s) == "" {
			titles = append(titles, s)
		}
	}
	return titles
}

// Check says why a text that somebody hands in cannot be the post-mortem of
// the incident that people call ref; "" if it can.
func Check(text, ref string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	switch {
	case len(text) > MaxText:
		return fmt.Sprintf("It has %d bytes; at most %d are kept.", len(text), MaxText)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "It is not readable text (UTF-8)."
	case strings.TrimSpace(text) == "":
		return "It is empty."
	case !strings.HasPrefix(first, "# "):
		return "Its first line is no title (# …): it may not be the file that opsbot gave out."
	case !slices.Contains(strings.FieldsFunc(first, func(r rune) bool { return r == ' ' || r == ':' || r == ',' }), ref):
		return fmt.Sprintf("Its title does not name %s.", ref)
	}
	return ""
}
