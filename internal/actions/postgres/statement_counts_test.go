package postgres

import (
	"fmt"
	"testing"
	"time"
)

// What a statement took in between is only told where it can be known.
func TestCountsSince(t *testing.T) {
	t.Parallel()
	reset := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	before := statementCounts{At: reset.Add(time.Hour), Reset: reset, All: true, Of: map[string][2]float64{"10/1": {100, 50}, "10/2": {7, 900}}}
	now := statementCounts{At: reset.Add(8 * 24 * time.Hour), Reset: reset, All: true, Of: map[string][2]float64{"10/1": {130, 80}, "10/2": {3, 20}, "10/3": {5, 6}}}
	for _, c := range []struct {
		name, key string
		change    func(before, now *statementCounts)
		want      string
	}{
		{"known", "10/1", nil, "30 calls, 30 ms"},
		{"reset by itself", "10/2", nil, "unknown"},
		{"new", "10/3", nil, "5 calls, 6 ms"},
		{"new, or beyond what was kept", "10/3", func(b, _ *statementCounts) { b.All = false }, "unknown"},
		{"new, or forgotten", "10/3", func(_, n *statementCounts) { n.Dealloc = 1 }, "unknown"},
		{"known, others forgotten", "10/1", func(_, n *statementCounts) { n.Dealloc = 1 }, "30 calls, 30 ms"},
		{"all reset", "10/1", func(_, n *statementCounts) { n.Reset = reset.Add(time.Minute) }, "unknown"},
	} {
		b, n := before, now
		if c.change != nil {
			c.change(&b, &n)
		}
		got := "unknown"
		if calls, ms, ok := b.since(c.key, n); ok {
			got = fmt.Sprintf("%v calls, %v ms", calls, ms)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if _, _, ok := (*statementCounts)(nil).since("10/1", now); ok {
		t.Error("something is known since nothing")
	}
}

func TestCountsAreKept(t *testing.T) {
	t.Parallel()
	many := statementCounts{At: time.Now().UTC(), All: true, Of: map[string][2]float64{}}
	for n := range mostCounts + 10 {
		many.Of[countsKey(10, int64(n))] = [2]float64{1, float64(n)}
	}
	text, err := many.most().text()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := readCounts(text)
	if err != nil || len(kept.Of) != mostCounts || kept.All || len(text) > 32<<10 {
		t.Errorf("%d of %d statements are kept, all of them: %v, in %d bytes (%v)", len(kept.Of), len(many.Of), kept.All, len(text), err)
	}
	if _, lost := kept.Of["10/9"]; lost {
		t.Error("one that took little is kept, and others are not")
	}
}

func FuzzCounts(f *testing.F) {
	f.Add(`{"at":"2026-03-02T09:00:00Z","reset":"2026-03-02T08:00:00Z","of":{"10/1":[1,2]},"all":true}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readCounts(text)
		if err == nil && (c == nil) != (text == "") {
			t.Errorf("%q is read as %v", text, c)
		}
		c.since("10/1", statementCounts{})
	})
}
