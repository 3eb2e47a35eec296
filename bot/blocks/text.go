package blocks

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// units counts as Slack's clients do, in UTF-16 units, which is never less
// than characters; what Slack's servers count is not documented.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// colours are a terminal's escape sequences, which tools write into their output.
var colours = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// clean drops what no message should hold: broken UTF-8, control characters,
// colours, and the marks that turn the direction of text, with which one name
// can be made to look like another.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.Contains(s, "\x1b") {
		s = colours.ReplaceAllString(s, "")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
}

// line makes one line of s, cut to max.
func line(s string, max int) string { return cut(strings.Join(strings.Fields(clean(s)), " "), max) }

// cut shortens s to max and says how much is missing.
func cut(s string, max int) string { return cutFor(s, max, "") }

// cutFor is cut with a hint at where the rest is.
func cutFor(s string, max int, rest string) string {
	if units(s) <= max {
		return s
	}
	if rest != "" {
		rest = "; " + rest
	}
	// The longest tail there can be is reserved: its number has at most as
	// many digits as the count of all characters.
	room := max - units(fmt.Sprintf("… (%d more characters%s)", utf8.RuneCountInString(s), rest))
	if room < max/2 {
		head, _ := head(s, max-1)
		return strings.TrimRight(head, " \n") + "…"
	}
	head, left := head(s, room)
	return fmt.Sprintf("%s… (%d more characters%s)", head, left, rest)
}

// head returns the first max units of s and the number of characters after
// them. It does not part a character from the marks that combine with it.
func head(s string, max int) (string, int) {
	n, end := 0, len(s)
	for i, r := range s {
		w := 1
		if r > 0xFFFF {
			w = 2
		}
		if n+w > max {
			end = i
			break
		}
		n += w
	}
	if end == len(s) {
		return s, 0
	}
	// Nobody stacks more than a few marks but to do mischief.
	whole := end
	for range 8 {
		r, _ := utf8.DecodeRuneInString(s[whole:])
		if whole == 0 || !unicode.Is(unicode.M, r) && r != 0x200D {
			break
		}
		_, size := utf8.DecodeLastRuneInString(s[:whole])
		whole -= size
	}
	if whole > 0 {
		end = whole
	}
	return s[:end], utf8.RuneCountInString(s[end:])
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", fence, "'''")

// esc makes plain text safe inside mrkdwn: what a person typed never becomes a
// mention, a link, or a code block that swallows what follows.
func esc(s string) string { return escaper.Replace(s) }

// calm reports whether mrkdwn shows s as it is: no character of its markup
// finds a partner on its line.
func calm(s string) bool {
	for l := range strings.SplitSeq(s, "\n") {
		for _, c := range "*_~`" {
			if strings.Count(l, string(c)) > 1 {
				return false
			}
		}
	}
	return !strings.HasPrefix(s, ">") && !strings.Contains(s, "\n>")
}

// code shows a value exactly, in one line, where mrkdwn would take its
// asterisks for bold. A code span cannot hold a backtick.
func code(s string, max int) string {
	s = line(strings.ReplaceAll(s, "`", "'"), max)
	if s == "" {
		return "(empty)"
	}
	return "`" + esc(s) + "`"
}

var (
	userID  = regexp.MustCompile(`^[UW][A-Z0-9]{1,20}$`)
	groupID = regexp.MustCompile(`^S[A-Z0-9]{5,20}$`)
)

// user mentions a person; what is no user id is shown as it is.
func user(id string) string {
	if userID.MatchString(id) {
		return "<@" + id + ">"
	}
	return esc(line(id, 80))
}

var channelID = regexp.MustCompile(`^[CG][A-Z0-9]{1,20}$`)

// channel links to a channel; what is no channel's id is shown as it is.
func channel(id string) string {
	if channelID.MatchString(id) {
		return "<#" + id + ">"
	}
	return esc(line(id, 80))
}

// group names a configured group; a user group's id mentions its members.
func group(name string) string {
	if groupID.MatchString(name) {
		return "<!subteam^" + name + ">"
	}
	return "@" + esc(line(name, 80))
}

// people joins users and groups: "ann, ben or @sre".
func people(users, groups []string, or string) string {
	var all []string
	for _, u := range users {
		all = append(all, user(u))
	}
	for _, g := range groups {
		all = append(all, group(g))
	}
	const most = 12
	if n := len(all); n > most {
		all = append(all[:most:most], fmt.Sprintf("%d more", n-most))
	}
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " " + or + " " + all[last]
}

// clock shows a time in each reader's own zone; the day is left out when it
// is near the time of rendering.
func clock(t, at time.Time) string {
	t = t.UTC()
	format := "{date_short_pretty} {time}"
	if near(t, at) {
		format = "{time}"
	}
	return fmt.Sprintf("<!date^%d^%s|%s>", t.Unix(), format, utc(t, at))
}

// utc is clock for places that know no zones.
func utc(t, at time.Time) string {
	if near(t, at) {
		return t.UTC().Format("15:04 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func near(t, at time.Time) bool {
	d := t.Sub(at)
	return -12*time.Hour < d && d < 12*time.Hour
}

// span says a length of time as people do: "45 s", "3 min 20 s", "2 h 5 min".
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 0:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour && d%time.Hour < time.Minute:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
}

// escTo escapes s and cuts it so that the result has at most max units.
func escTo(s string, max int) string {
	e := esc(s)
	for room := max; units(e) > max; room = room * 4 / 5 {
		e = esc(cut(s, room))
	}
	return e
}
