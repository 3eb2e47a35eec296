package runbooks_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/runbooks"
)

// times are when the schedule fires from a moment on, n times, on the wall of
// its zone and in UTC.
func times(t *testing.T, s runbooks.Schedule, from string, n int) (list []string) {
	t.Helper()
	zone, err := time.LoadLocation(s.TZ)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		next := s.Next(at)
		if !next.After(at) {
			t.Fatalf("Next(%v) = %v, which is not after it", at, next)
		}
		at = next
		list = append(list, at.In(zone).Format("01-02 15:04 MST")+" "+at.UTC().Format("15:04"))
	}
	return list
}

func TestScheduleNext(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cron, zone, from string
		want             []string
	}{
		"every day": {"0 8 * * *", "UTC", "2026-03-01T08:00:00Z",
			[]string{"03-02 08:00 UTC 08:00", "03-03 08:00 UTC 08:00"}},
		"a time that the clock skips comes when it does": {"30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z",
			[]string{"03-28 02:30 CET 01:30", "03-29 03:00 CEST 01:00", "03-30 02:30 CEST 00:30"}},
		"several skipped times are one": {"0,20,40 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"03-29 03:00 CEST 01:00", "03-29 03:20 CEST 01:20", "03-29 03:40 CEST 01:40", "03-30 02:00 CEST 00:00"}},
		"a time that the clock shows twice comes once": {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"10-25 02:30 CEST 00:30", "10-26 02:30 CET 01:30"}},
		"asked between the two": {"30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z",
			[]string{"10-26 02:30 CET 01:30"}},
		"every hour is every hour in autumn": {"15 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z",
			[]string{"10-25 02:15 CEST 00:15", "10-25 02:15 CET 01:15", "10-25 03:15 CET 02:15"}},
		"every hour is every hour in spring": {"15 * * * *", "Europe/Berlin", "2026-03-28T23:30:00Z",
			[]string{"03-29 01:15 CET 00:15", "03-29 03:15 CEST 01:15", "03-29 04:15 CEST 02:15"}},
		"half an hour of summer": {"15 2 * * *", "Australia/Lord_Howe", "2026-10-02T12:00:00Z",
			[]string{"10-03 02:15 +1030 15:45", "10-04 02:30 +11 15:30", "10-05 02:15 +11 15:15"}},
		"a midnight that is skipped": {"0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z",
			[]string{"04-24 01:00 EEST 22:00", "04-25 00:00 EEST 21:00"}},
		"the other half of the world": {"30 2 * * *", "America/New_York", "2026-11-01T00:00:00Z",
			[]string{"11-01 02:30 EST 07:30", "11-02 02:30 EST 07:30"}},
		"the first Sunday": {"0 2 * * SUN#1", "UTC", "2026-01-01T00:00:00Z", []string{
			"01-04 02:00 UTC 02:00", "02-01 02:00 UTC 02:00", "03-01 02:00 UTC 02:00", "04-05 02:00 UTC 02:00",
			"05-03 02:00 UTC 02:00", "06-07 02:00 UTC 02:00", "07-05 02:00 UTC 02:00", "08-02 02:00 UTC 02:00",
			"09-06 02:00 UTC 02:00", "10-04 02:00 UTC 02:00", "11-01 02:00 UTC 02:00", "12-06 02:00 UTC 02:00"}},
		"a fifth Monday is not in every month": {"0 9 * * 1#5", "UTC", "2026-01-01T00:00:00Z",
			[]string{"03-30 09:00 UTC 09:00", "06-29 09:00 UTC 09:00", "08-31 09:00 UTC 09:00"}},
		"every minute of a first Sunday": {"* * * * SUN#1", "Europe/Berlin", "2026-02-01T22:58:00Z",
			[]string{"02-01 23:59 CET 22:59", "03-01 00:00 CET 23:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := runbooks.Schedule{Cron: c.cron, TZ: c.zone}
			if diff := cmp.Diff(c.want, times(t, s, c.from, len(c.want))); diff != "" {
				t.Errorf("Next (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the zone and year do to their clocks, a daily schedule fires once on
// each day of the calendar.
func TestScheduleEveryDayOnce(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Kathmandu"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, cron := range []string{"30 2 * * *", "0 0 * * *", "15 1 * * *", "59 23 * * *"} {
			s := runbooks.Schedule{Cron: cron, TZ: zone}
			end := time.Date(2027, 1, 1, 0, 0, 0, 0, loc)
			days := map[string]int{}
			for at := s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, loc).Add(-time.Second)); at.Before(end); at = s.Next(at) {
				days[at.In(loc).Format(time.DateOnly)]++
			}
			if len(days) != 365 {
				t.Errorf("%s in %s fired on %d days of 2026, want 365", cron, zone, len(days))
			}
			for day, n := range days {
				if n != 1 {
					t.Errorf("%s in %s fired %d times on %s", cron, zone, n, day)
				}
			}
		}
	}
}

func TestScheduleLast(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ cron, since, now, want string }{
		{"0 8 * * *", "2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z"},
		{"0 8 * * *", "2026-01-01T08:00:00Z", "2026-01-02T07:59:59Z", "2026-01-01T08:00:00Z"},
		{"0 8 * * *", "2026-01-01T08:00:00Z", "2026-02-20T09:00:00Z", "2026-02-20T08:00:00Z"},
		{"* * * * *", "2006-01-01T08:00:00Z", "2026-02-20T09:00:30Z", "2026-02-20T09:00:00Z"},
		{"0 2 * * SUN#1", "2026-01-04T02:00:00Z", "2026-05-01T00:00:00Z", "2026-04-05T02:00:00Z"},
	} {
		s := runbooks.Schedule{Cron: c.cron, TZ: "UTC"}
		if got := s.Last(at(c.since), at(c.now)); !got.Equal(at(c.want)) {
			t.Errorf("Last(%s, %s) of %q = %v, want %s", c.since, c.now, c.cron, got, c.want)
		}
	}
}

func TestScheduleKey(t *testing.T) {
	t.Parallel()
	s := runbooks.Schedule{Cron: "0 8 * * *", TZ: "UTC", Params: map[string]any{"n": 1}}
	key := s.Key("x")
	s.Notify, s.Missed, s.Pos = "sre", "skip", runbooks.Pos{Line: 3}
	if s.Key("x") != key {
		t.Error("who is told and what becomes of missed starts changes the key")
	}
	for what, change := range map[string]func(*runbooks.Schedule){
		"cron": func(s *runbooks.Schedule) { s.Cron = "1 8 * * *" }, "zone": func(s *runbooks.Schedule) { s.TZ = "Europe/Berlin" },
		"environment": func(s *runbooks.Schedule) { s.Environment = "e" }, "parameters": func(s *runbooks.Schedule) { s.Params = map[string]any{"n": 2} },
	} {
		other := s
		if change(&other); other.Key("x") == key {
			t.Errorf("the %s does not change the key", what)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 8 * * *", "0 2 * * SUN#1", "*/5 0-3 1,15 * *", "0 0 29 2 *", "0 0 31 2 *", "1 2 3", "* * * * #", "TZ=UTC * * * *", "@daily"} {
		f.Add(s, "Europe/Berlin", int64(1774700000))
	}
	f.Fuzz(func(t *testing.T, cron, zone string, unix int64) {
		if unix < 0 || unix > 4e9 || len(cron) > 100 {
			return
		}
		from := time.Unix(unix, 0)
		s := runbooks.Schedule{Cron: cron, TZ: zone}
		if at := s.Next(from); !at.IsZero() && !at.After(from) {
			t.Errorf("Next(%v) = %v", from, at)
		}
	})
}
