package postgres

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// size writes bytes for people: "96 MiB", "16.3 MiB", "812 B".
func size(n int) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return strconv.Itoa(n) + " B"
	}
	f, u := float64(n)/1024, 0
	for f >= 1023.95 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	text := strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
	return text + " " + units[u:u+1] + "iB"
}

// number writes a count with thousands separated: "9,412".
func number(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// things writes a count with its noun: "1 key", "9,412 keys".
func things(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// batches counts batches.
func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return number(n) + " batches"
}

// age writes a duration as people say it: "240 ms", "4.2 s", "3 min", "2 h 5 min", "3 d".
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.Itoa(int(d.Milliseconds())) + " ms"
	case d < time.Minute:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return strconv.Itoa(int(d.Hours())/24) + " d"
}

// clip shortens text to one line of at most n characters.
func clip(text string, n int) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// queryValue finds a setting in the query of a URL.
func queryValue(raw, key string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Query().Get(key)
}
