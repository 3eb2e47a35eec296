package runbooks

import (
	"fmt"
	"strings"
)

// nearest returns the candidate that a mistyped word most likely meant, or ""
// if none is near: at most one edit for words up to four characters, two up to
// eight, three beyond, a swap of neighbours counting as one.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	limit := 3
	switch n := len([]rune(word)); {
	case n <= 1:
		return ""
	case n <= 4:
		limit = 1
	case n <= 8:
		limit = 2
	}
	best, found := limit+1, ""
	lower := strings.ToLower(word)
	for _, c := range candidates {
		if c == word || len(c) > 64 {
			continue
		}
		if d := distance(lower, strings.ToLower(c)); d < best || d == best && found != "" && c < found {
			best, found = d, c
		}
	}
	return found
}

// Nearest returns the candidate that a mistyped word most likely meant, or ""
// if none is near.
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }

// didYouMean is nearest as a hint, "" if none is near.
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// distance is the optimal string alignment distance between a and b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
