package incidents

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// at is so many seconds after noon.
func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// A clock gets louder at its time, half an interval later, and a whole one
// later; then it rings once an interval until somebody answers.
func TestClockGetsLouder(t *testing.T) {
	t.Parallel()
	var c Clock
	c.start(100*time.Second, noon)
	for i, want := range []struct {
		wake int
		be   Stage
	}{{100, Nudged}, {150, Mentioned}, {200, Told}, {300, Told}, {400, Told}} {
		if !c.Wake.Equal(at(want.wake)) {
			t.Fatalf("ring %d comes at %s, want %s", i, c.Wake, at(want.wake))
		}
		if got := c.ring(c.Wake); got != want.be {
			t.Errorf("ring %d is %d, want %d", i, got, want.be)
		}
	}
	if c.ring(at(595)); !c.Wake.Equal(at(700)) {
		t.Errorf("late, it rings again at %s", c.Wake)
	}
	if late := c.Overdue(at(200)); late != 100*time.Second {
		t.Errorf("it is %s overdue", late)
	}
	c.start(c.Interval, at(610))
	if c.Stage != Silent || !c.Wake.Equal(at(710)) || c.Overdue(at(700)) != 0 {
		t.Errorf("after an answer: %+v", c)
	}
}

// Who does not answer is called once an hour, however often they are reminded.
func TestLoudly(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{5 * time.Minute, 7 * time.Minute, time.Hour} {
		calls := 0
		for waited := step; waited <= 12*time.Hour; waited += step {
			if loudly(waited, step) {
				calls++
			}
		}
		if want := int((12 * time.Hour).Truncate(step) / time.Hour); calls != want {
			t.Errorf("every %s, there are %d calls in 12 hours, want %d", step, calls, want)
		}
	}
}

// After a pause of any length one nudge comes, then the next stages after half
// an interval each.
func TestClockCatchesUpOnce(t *testing.T) {
	t.Parallel()
	var c Clock
	c.start(100*time.Second, noon)
	if got := c.ring(at(5000)); got != Nudged || !c.Wake.Equal(at(5050)) {
		t.Errorf("after a long pause it is at %d and rings at %s", got, c.Wake)
	}
	if got := c.ring(at(5050)); got != Mentioned || !c.Wake.Equal(at(5100)) {
		t.Errorf("then it is at %d and rings at %s", got, c.Wake)
	}
}

func TestClockSnoozes(t *testing.T) {
	t.Parallel()
	var c Clock
	c.start(100*time.Second, noon)
	c.ring(at(100))
	c.snooze(300*time.Second, at(110))
	if !c.Wake.Equal(at(410)) || c.Stage != Silent {
		t.Fatalf("snoozed: %+v", c)
	}
	if late := c.Overdue(at(410)); late != 310*time.Second {
		t.Errorf("a snooze hides that it is %s late, want 310 s", late)
	}
	if got := c.ring(at(410)); got != Nudged || !c.Wake.Equal(at(460)) {
		t.Errorf("after the snooze it is at %d and rings at %s", got, c.Wake)
	}
	// Before its time, a snooze does not make it ring sooner.
	c.start(100*time.Second, at(500))
	c.snooze(time.Second, at(510))
	if !c.Wake.Equal(at(600)) {
		t.Errorf("snoozed before its time it rings at %s", c.Wake)
	}
}

func TestClockAdjusts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		was, is time.Duration
		due     int // 0: never
	}{
		"shorter comes sooner":      {100 * time.Second, 30 * time.Second, 80},
		"longer leaves what is due": {100 * time.Second, 500 * time.Second, 100},
		"the same changes nothing":  {100 * time.Second, 100 * time.Second, 100},
		"off":                       {100 * time.Second, 0, 0},
		"on":                        {0, 100 * time.Second, 150},
	} {
		var clock Clock
		clock.start(c.was, noon)
		clock.adjust(c.is, at(50))
		want := time.Time{}
		if c.due > 0 {
			want = at(c.due)
		}
		if !clock.Due.Equal(want) || !clock.Wake.Equal(want) || clock.Interval != c.is {
			t.Errorf("%s: %+v", name, clock)
		}
	}
}

// What each severity asks for, by the table in the documentation.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		severity Severity
		affected string
		security bool
		want     string
	}{
		{Unassessed, "", false, "5m0s 10m0s true true"},
		{Sev1, "none", false, "5m0s 10m0s true true"},
		{Sev1, "", true, "5m0s 0s true true"},
		{Sev2, "", false, "15m0s 30m0s true true"},
		{Sev2, "all of them", false, "15m0s 30m0s true true"},
		{Sev2, "Nobody.", false, "15m0s 0s true true"},
		{Sev3, "some", false, "1h0m0s 0s false false"},
	} {
		i := &Incident{Severity: c.severity, Affected: c.affected, Security: c.security}
		r := DefaultRules()
		got := fmt.Sprintf("%s %s %v %v", r.Interval(i, ForTeams), r.Interval(i, ForUsers), r.Of(c.severity).Comms, r.Of(c.severity).Postmortem)
		if got != c.want {
			t.Errorf("%s, affected %q, security %v: %s, want %s", c.severity, c.affected, c.security, got, c.want)
		}
	}
}

func TestParseState(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]State{
		"fixing": Fixing, "Mon": Monitoring, "pm": Postmortem, "post-mortem": Postmortem, "resolved": Resolved, "res": Resolved,
		"identified": Fixing, "closed": Closed, "": "", "f": "", "merged": "", "canceled": "",
	} {
		if got, ok := ParseState(in); got != want || ok != (want != "") {
			t.Errorf("ParseState(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"INC-7": 7, "inc7": 7, "Inc-120": 120, "INC-0": 0, "7": 0, "INC-": 0, "INC-7x": 0, "INC-9999999999": 0} {
		if got, ok := ParseRef(in); got != want || ok != (want != 0) {
			t.Errorf("ParseRef(%q) = %d, %v, want %d", in, got, ok, want)
		}
	}
}

// A timeline reads in the order in which things happened, with what was put
// right later where it belongs.
func TestRead(t *testing.T) {
	t.Parallel()
	events := []Event{
		{Seq: 1, Kind: KindDeclared, Text: "API down", Occurred: at(60), Recorded: at(60)},
		{Seq: 2, Kind: KindNote, Text: "deployed 1.8", Occurred: at(0), Recorded: at(90)},
		{Seq: 3, Kind: KindMessage, Text: "rolling back", Occurred: at(70), Recorded: at(100)},
		{Seq: 4, Kind: KindEdit, Of: 3, Text: "rolling back to 1.7", Occurred: at(110), Recorded: at(110)},
		{Seq: 5, Kind: KindDeletion, Of: 3, Occurred: at(120), Recorded: at(120)},
		{Seq: 6, Kind: KindHide, Of: 2, Occurred: at(130), Recorded: at(130)},
		{Seq: 7, Kind: KindEdit, Of: 99, Text: "of what is not there", Occurred: at(140), Recorded: at(140)},
	}
	got := ""
	for _, e := range Read(events) {
		got += fmt.Sprintf("%d %s was %q deleted %v hidden %v back-dated %v\n", e.Seq, e.Text, e.Was, e.Deleted, e.Hidden, e.Backdated())
	}
	want := `2 deployed 1.8 was [] deleted false hidden true back-dated true
1 API down was [] deleted false hidden false back-dated false
3 rolling back to 1.7 was ["rolling back"] deleted true hidden false back-dated false
7 of what is not there was [] deleted false hidden false back-dated false
`
	if got != want {
		t.Errorf("read\n%swant\n%s", got, want)
	}
}
