package docker

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

const maxGroups = 20

// variable are the parts of a line that differ between two of a kind.
var variable = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?`), "#"},
	{regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`), `"…"`},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "#"},
	{regexp.MustCompile(`(?i)\b(?:0x)?[0-9a-f]*\d[0-9a-f]{7,}\b`), "#"},
	{regexp.MustCompile(`\d+(?:\.\d+)*`), "#"},
	{regexp.MustCompile(`\s+`), " "},
}

// topics are asked in order; the first that fits is a line's.
var topics = []struct {
	name string
	find *regexp.Regexp
}{
	{"jwt", regexp.MustCompile(`(?i)\bjwt\b|jsonwebtoken|signature (?:verification|has expired)|invalid signature|decode ?error`)},
	{"redis", regexp.MustCompile(`(?i)redis|\bMISCONF\b|\bNOAUTH\b`)},
	{"database", regexp.MustCompile(`(?i)postgres|psycopg|sqlalchemy|\bpgx?\b|database|too many clients|deadlock|sqlstate|asyncpg`)},
	{"memory", regexp.MustCompile(`(?i)out of memory|\boom\b|cannot allocate memory|memoryerror`)},
	{"timeout", regexp.MustCompile(`(?i)time(?:d)?[ -]?out|deadline exceeded`)},
}

// signature is what lines of a kind have in common.
func signature(line string) string {
	line = clip(line, 500)
	for _, v := range variable {
		line = v.find.ReplaceAllString(line, v.put)
	}
	return strings.TrimSpace(clip(line, 160))
}

func topic(line string) string {
	for _, t := range topics {
		if t.find.MatchString(line) {
			return t.name
		}
	}
	return "other"
}

// group gathers lines by signature, the largest group first.
func group(lines []logged) []LogGroup {
	at := map[string]int{}
	groups := []LogGroup{}
	for _, l := range lines {
		sig := signature(l.text)
		i, ok := at[sig]
		if !ok {
			i = len(groups)
			at[sig] = i
			groups = append(groups, LogGroup{Signature: sig, Topic: topic(l.text)})
		}
		g := &groups[i]
		g.Count++
		if !l.at.Before(g.LastAt) {
			g.LastAt, g.Sample = l.at, clip(l.text, 300)
		}
	}
	slices.SortStableFunc(groups, func(a, b LogGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.LastAt.Compare(a.LastAt))
	})
	return groups[:min(len(groups), maxGroups)]
}
