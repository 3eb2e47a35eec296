package redis

import (
	"fmt"
	"strconv"
	"strings"
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

// percent writes a share: "62 %", "0.4 %".
func percent(share float64) string {
	p := share * 100
	if p > 0 && p < 1 || p > 99 && p < 100 {
		return fmt.Sprintf("%.1f %%", p)
	}
	return fmt.Sprintf("%.0f %%", p)
}
