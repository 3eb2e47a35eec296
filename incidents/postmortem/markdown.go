package postmortem

import (
	"strings"
	"time"

	"opsbot/incidents/stats"
)

// minute is a moment as people write it.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span is a length of time that may be too short to be told.
func span(d time.Duration) string {
	if d < time.Second {
		return "under 1 s"
	}
	return stats.Span(d)
}

func first(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func orNothing(s, other string) string {
	if strings.TrimSpace(s) == "" {
		return other
	}
	return escape(s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// escape keeps text from being read as Markdown structure: it is one line, and
// what could begin a heading, a list or a tag stands for itself.
func escape(s string) string {
	s = oneLine(s)
	s = strings.NewReplacer("\\", "\\\\", "<", "&lt;", "`", "'").Replace(s)
	if s != "" && strings.ContainsRune("#>-+*", rune(s[0])) {
		s = "\\" + s
	}
	return s
}

// cell is escape for a table.
func cell(s string) string { return strings.ReplaceAll(escape(s), "|", "\\|") }
