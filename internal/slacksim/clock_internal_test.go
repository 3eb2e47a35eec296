package slacksim

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Work runs in the order it is due, sees the time it was planned for, and may
// plan more within the span that is skipped.
func TestClockAdvance(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := newClock(func() time.Time { return start })
	defer c.close()
	var got []string
	note := func(what string) { got = append(got, what+" "+c.now().Sub(start).String()) }
	c.after(3*time.Hour, func() { note("late") })
	c.after(time.Hour, func() {
		note("first")
		c.after(time.Hour, func() { note("planned by first") })
	})
	c.after(time.Hour, func() { note("second") })
	stopped := c.after(time.Hour, func() { note("stopped") })
	if !stopped.stop() || stopped.stop() {
		t.Error("stop() does not say whether it kept the work from running")
	}
	c.advance(2*time.Hour + time.Minute)
	note("then")
	c.advance(time.Hour)
	want := []string{"first 1h0m0s", "second 1h0m0s", "planned by first 2h0m0s", "then 2h1m0s", "late 3h0m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// After close nothing runs any more.
func TestClockClose(t *testing.T) {
	t.Parallel()
	c := newClock(nil)
	c.after(time.Hour, func() { t.Error("ran") })
	c.close()
	c.after(0, func() { t.Error("ran") })
	c.advance(2 * time.Hour)
}
