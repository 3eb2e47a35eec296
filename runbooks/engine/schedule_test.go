package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// A calendar is the time of a test that no time passes in.
type calendar struct {
	mu sync.Mutex
	at time.Time
}

func (c *calendar) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *calendar) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

// A dated store tells the calendar's time for the database's.
type dated struct {
	engine.Store
	calendar *calendar
}

func (d dated) Now(context.Context) (time.Time, error) { return d.calendar.now(), nil }

// onCalendar lets the bench live in the calendar, from a moment on.
func (b *bench) onCalendar(from string) *calendar {
	b.t.Helper()
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		b.t.Fatal(err)
	}
	c := &calendar{at: at}
	b.runs = dated{b.db.Runs(), c}
	return c
}

// serveOn starts the engine in the calendar.
func (b *bench) serveOn(c *calendar) {
	b.t.Helper()
	b.serve(func(o *engine.Options) { o.Schedules, o.Now = b.db.Schedules(), c.now })
}

// replica is a further engine over the same store that only starts runs.
func (b *bench) replica(c *calendar) *engine.Engine {
	return engine.New(engine.Options{Store: b.runs, Schedules: b.db.Schedules(), Library: b.lib, Catalog: b.catlog,
		Environments: b.envs, People: town{}, Policy: b.policy, Now: c.now})
}

func (b *bench) fireDue() {
	b.t.Helper()
	if err := b.engine.FireDue(b.t.Context()); err != nil {
		b.t.Fatalf("FireDue() = %v", err)
	}
}

func (b *bench) firings() []engine.Firing {
	b.t.Helper()
	list, err := b.db.Schedules().Firings(b.t.Context(), 10_000)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// the only run there is.
func (b *bench) only() *engine.Run {
	b.t.Helper()
	runs, err := b.db.Runs().List(b.t.Context(), engine.Query{})
	if err != nil || len(runs) != 1 {
		b.t.Fatalf("there are %d runs (%v), want 1", len(runs), err)
	}
	return runs[0]
}

// by is doc with a schedule.
func by(slug, schedule, body string) string {
	return strings.Replace(doc(slug, body), "timeout: 20m", "schedule: ["+schedule+"]\ntimeout: 20m", 1)
}

// The calendar's year is long over: what is overdue by it is overdue by the
// database's clock as well.

var wipe = step("1. Wipe", `
id: wipe
do: redis.wipe
with: { pattern: "*" }
confirm: Go?
review: { by: [sre] }
`)

var looks = step("1. Look", "id: look\ndo: redis.look")

// A year passes, with its two nights on which the clock in Berlin is changed,
// for three replicas that all try to start everything.
func TestScheduleYear(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, url string) {
		var docs []string
		for slug, schedule := range map[string]string{
			"health":      `{ cron: "0 8 * * *", tz: UTC }`,
			"capacity":    `{ cron: "0 9 * * 1", tz: UTC }`,
			"maintenance": `{ cron: "0 2 * * SUN#1", tz: UTC }`,
			"cache":       `{ cron: "0 3 * * 3", tz: UTC }`,
			"night":       `{ cron: "30 2 * * *", tz: Europe/Berlin }`,
		} {
			docs = append(docs, strings.Replace(by(slug, schedule, looks), "lock: cache\n", "", 1))
		}
		b := newBenchOn(t, url, docs...)
		c := b.onCalendar("2025-01-01T00:00:00Z")
		b.serveOn(c)
		others := []*engine.Engine{b.replica(c), b.replica(c)}
		b.fireDue()
		finish := func(runbook string) {
			runs, err := b.db.Runs().List(t.Context(), engine.Query{Unended: true, Runbook: runbook, Limit: 200})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range runs {
				b.ended(r, engine.Succeeded)
			}
		}
		end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for {
			list, err := b.db.Schedules().List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !list[0].Next.Before(end) {
				break
			}
			finish(list[0].Runbook) // its own lock would keep it from starting again
			c.set(list[0].Next.Add(300 * time.Millisecond))
			var wg sync.WaitGroup
			for _, e := range append(others, b.engine) {
				wg.Go(func() {
					if err := e.FireDue(t.Context()); err != nil {
						t.Errorf("FireDue() = %v", err)
					}
				})
			}
			wg.Wait()
		}
		finish("")
		count := map[string]int{}
		days := map[string]bool{}
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.firings() {
			if f.Run == "" || f.State != engine.Succeeded {
				t.Errorf("%s at %v: %+v", f.Runbook, f.At, f)
			}
			count[f.Runbook]++
			switch f.Runbook {
			case "night":
				days[f.At.In(berlin).Format(time.DateOnly)] = true
				if at := f.At.In(berlin).Format("15:04"); at != "02:30" && f.At.In(berlin).Format(time.DateOnly+" 15:04") != "2025-03-30 03:00" {
					t.Errorf("the night's run was at %v", f.At.In(berlin))
				}
			case "maintenance":
				if f.At.Weekday() != time.Sunday || f.At.Day() > 7 || f.At.Hour() != 2 {
					t.Errorf("maintenance was at %v", f.At)
				}
			case "capacity":
				if f.At.Weekday() != time.Monday || f.At.Hour() != 9 {
					t.Errorf("the review was at %v", f.At)
				}
			case "cache":
				if f.At.Weekday() != time.Wednesday || f.At.Hour() != 3 {
					t.Errorf("the cache's turn was at %v", f.At)
				}
			}
		}
		for slug, want := range map[string]int{"health": 365, "capacity": 52, "maintenance": 12, "cache": 53, "night": 365} {
			if count[slug] != want {
				t.Errorf("%s ran %d times in the year, want %d", slug, count[slug], want)
			}
		}
		if len(days) != 365 {
			t.Errorf("night ran on %d days, want each of 365", len(days))
		}
		all, err := b.db.Runs().List(t.Context(), engine.Query{Limit: 1})
		if err != nil || all[0].Number != 365+52+12+53+365 {
			t.Errorf("the last run is R%d, %v; want as many runs as firings", all[0].Number, err)
		}
	})
}

func TestScheduleStart(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("health", `{ cron: "0 8 * * *", tz: Europe/Berlin, environment: demo }`, looks))
	c := b.onCalendar("2025-06-01T05:59:00Z")
	b.serveOn(c)
	b.fireDue()
	c.set(c.now().Add(59 * time.Second))
	b.fireDue()
	if f := b.firings(); len(f) != 0 {
		t.Fatalf("it fired before its time: %+v", f)
	}
	table, err := b.engine.Timetable(t.Context())
	if err != nil || len(table) != 1 || !table[0].Kept || table[0].Next.Format(time.RFC3339) != "2025-06-01T06:00:00Z" || table[0].Last != nil || table[0].Problem != "" {
		t.Errorf("Timetable() = %+v, %v", table, err)
	}
	c.set(c.now().Add(2 * time.Second))
	b.fireDue()
	r := b.ended(b.only(), engine.Succeeded)
	if r.Starter.Kind != access.Schedule || r.Starter.Name != "the schedule of health" || r.Origin != (outbox.Conversation{}) {
		t.Errorf("the run's starter is %+v, at %+v", r.Starter, r.Origin)
	}
	var card outbox.RunCard
	var lines []string
	for _, s := range b.said() {
		switch s := s.(type) {
		case outbox.RunCard:
			card = s
		case outbox.Line:
			lines = append(lines, s.Text)
			if len(s.Users)+len(s.Groups) > 0 {
				t.Errorf("a run that came through calls %v %v", s.Users, s.Groups)
			}
		}
	}
	if card.Starter != "" || card.StarterName != "the schedule of health" {
		t.Errorf("the card says it was started by %q, %q", card.Starter, card.StarterName)
	}
	if !strings.Contains(strings.Join(lines, "\n"), "It was started by the schedule of health.") {
		t.Errorf("said: %q", lines)
	}
	if table, err = b.engine.Timetable(t.Context()); err != nil || table[0].Last == nil || table[0].Last.State != engine.Succeeded || table[0].Next.Format(time.RFC3339) != "2025-06-02T06:00:00Z" {
		t.Errorf("Timetable() = %+v, %v", table, err)
	}
}

// What holds a lock keeps the start from taking place, once, and visibly.
func TestScheduleLocked(t *testing.T) {
	t.Parallel()
	ask := step("1. Ask", "id: ask\ndo: manual")
	b := newBench(t, doc("holder", ask), by("health", `{ cron: "0 8 * * *", notify: oncall }`, looks),
		by("holder2", `{ cron: "0 8 * * *" }`, ask))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	b.serveOn(c)
	b.fireDue()
	holder := b.start("holder")
	b.asked(holder, engine.Manual)
	b.said()
	for range 3 {
		c.set(time.Date(2025, 6, 1, 8, 0, 0, 0, time.UTC))
		b.fireDue()
	}
	f := b.firings()
	if len(f) != 2 {
		t.Fatalf("there are %d firings, want one of each schedule: %+v", len(f), f)
	}
	for _, f := range f {
		if f.Run != "" || !strings.HasPrefix(f.Outcome, "not run: R1 (Test of holder on demo, started by Ann at 07:00 UTC) holds cache") {
			t.Errorf("the firing says %+v", f)
		}
	}
	called := map[string][]string{}
	for _, s := range b.said() {
		if l, ok := s.(outbox.Line); ok && strings.Contains(l.Text, "was not run. R1 (") {
			called[strings.Fields(l.Text)[2]] = l.Groups
		}
	}
	if fmt.Sprint(called) != "map[health:[oncall] holder2:[oncall sre]]" {
		t.Errorf("called: %v", called)
	}
	if !slices.ContainsFunc(b.audit(), func(r store.AuditRow) bool { return r.Act == "start" && r.Outcome == "not run" }) {
		t.Error("the audit log does not know of it")
	}
	b.vote(b.asked(holder, engine.Manual), ann, "done")
	b.ended(holder, engine.Succeeded)
	c.set(time.Date(2025, 6, 1, 8, 0, 30, 0, time.UTC))
	b.fireDue()
	if n := len(b.firings()); n != 2 {
		t.Errorf("it was tried again: %d firings", n)
	}
}

// A start that is still running keeps the next one from taking place.
func TestScheduleRunning(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("slow", `{ cron: "0 8 * * *" }`, step("1. Ask", "id: ask\ndo: manual")))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	b.serveOn(c)
	b.fireDue()
	c.set(time.Date(2025, 6, 1, 8, 0, 0, 0, time.UTC))
	b.fireDue()
	b.asked(b.only(), engine.Manual)
	c.set(time.Date(2025, 6, 2, 7, 59, 0, 0, time.UTC))
	b.fireDue()
	c.set(time.Date(2025, 6, 2, 8, 0, 0, 0, time.UTC))
	b.fireDue()
	f := b.firings()
	if len(f) != 2 || f[0].Run != "" || !strings.Contains(f[0].Outcome, "slow is running on demo already: R1, started by the schedule of slow") {
		t.Errorf("firings: %+v", f)
	}
}

// Nobody ran for ten days.
func TestScheduleMissed(t *testing.T) {
	t.Parallel()
	for missed, want := range map[string]int{"skip": 0, "once": 1} {
		t.Run(missed, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, by("health", `{ cron: "0 8 * * *", missed: `+missed+` }`, looks))
			c := b.onCalendar("2025-06-01T07:00:00Z")
			b.serveOn(c)
			b.fireDue()
			b.stop()
			c.set(time.Date(2025, 6, 11, 20, 0, 0, 0, time.UTC))
			b.serveOn(c)
			b.fireDue()
			b.fireDue()
			f := b.firings()
			if len(f) != 1 || !f[0].At.Equal(time.Date(2025, 6, 11, 8, 0, 0, 0, time.UTC)) || (f[0].Run != "") != (want == 1) {
				t.Fatalf("firings: %+v; want one, of the last missed time", f)
			}
			if want == 0 && !strings.Contains(f[0].Outcome, "missed: skip") {
				t.Errorf("the outcome is %q", f[0].Outcome)
			}
			runs, err := b.db.Runs().List(t.Context(), engine.Query{})
			if err != nil || len(runs) != want {
				t.Fatalf("there are %d runs, %v; want %d", len(runs), err, want)
			}
			for _, r := range runs {
				b.ended(r, engine.Succeeded)
			}
			// A minute's delay is none.
			c.set(time.Date(2025, 6, 12, 8, 0, 59, 0, time.UTC))
			b.fireDue()
			if f := b.firings(); len(f) != 2 || f[0].Run == "" {
				t.Errorf("firings after the next day: %+v", f)
			}
		})
	}
}

// A change of the runbook changes what is on record.
func TestScheduleFollowsRunbook(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("health", `{ cron: "0 8 * * *" }, { cron: "0 9 * * *" }`, looks))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	b.serveOn(c)
	b.fireDue()
	nexts := func() (list []string) {
		all, err := b.db.Schedules().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			list = append(list, a.Next.Format("15:04"))
		}
		return list
	}
	if got := fmt.Sprint(nexts()); got != "[08:00 09:00]" {
		t.Errorf("on record: %s", got)
	}
	other := newBench(t, by("health", `{ cron: "0 9 * * *", missed: skip }, { cron: "0 10 * * *" }`, looks))
	b.engine.Reload(other.lib, b.envs, b.policy)
	c.set(time.Date(2025, 6, 1, 9, 30, 0, 0, time.UTC))
	b.fireDue()
	if got := fmt.Sprint(nexts()); got != "[10:00 09:00]" {
		t.Errorf("on record after the change: %s; want the missed 09:00 gone on to the next day", got)
	}
	if f := b.firings(); len(f) != 1 || f[0].Run != "" {
		t.Errorf("firings: %+v; want the missed one, skipped", f)
	}
	b.engine.Reload(newBench(t, doc("health", looks)).lib, b.envs, b.policy)
	b.fireDue()
	if got := nexts(); len(got) != 0 {
		t.Errorf("on record without a schedule: %v", got)
	}
}

// A start that cannot be is said to be so; one that may be possible soon is
// tried for a while.
func TestScheduleRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("elsewhere", `{ cron: "0 8 * * *", environment: moon }`, looks),
		by("wiper", `{ cron: "0 9 * * *" }`, wipe))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	people := &absent{}
	b.serve(func(o *engine.Options) { o.Schedules, o.Now, o.People = b.db.Schedules(), c.now, people })
	b.fireDue()
	table, err := b.engine.Timetable(t.Context())
	if err != nil || !strings.Contains(table[0].Problem, `There is no environment "moon"`) {
		t.Errorf("Timetable() = %+v, %v", table, err)
	}
	c.set(time.Date(2025, 6, 1, 8, 0, 0, 0, time.UTC))
	b.fireDue()
	if f := b.firings(); len(f) != 1 || !strings.Contains(f[0].Outcome, `not run: there is no environment "moon"`) {
		t.Errorf("firings: %+v", f)
	}
	people.set(true)
	for _, minute := range []int{0, 2, 4} {
		c.set(time.Date(2025, 6, 1, 9, minute, 0, 0, time.UTC))
		if err := b.engine.FireDue(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("FireDue() without Slack = %v", err)
		}
	}
	if n := len(b.firings()); n != 1 {
		t.Errorf("there are %d firings while Slack is away, want 1", n)
	}
	people.set(false)
	b.fireDue()
	if f := b.firings(); len(f) != 2 || f[0].Run == "" {
		t.Errorf("firings after Slack came back: %+v", f)
	}
	people.set(true)
	c.set(time.Date(2025, 6, 2, 9, 6, 0, 0, time.UTC))
	b.fireDue()
	f := b.firings()
	i := slices.IndexFunc(f, func(f engine.Firing) bool { return f.Runbook == "wiper" && f.At.Day() == 2 })
	if len(f) != 4 || i < 0 || f[i].Run != "" || f[i].Outcome != "not run: slack does not answer." {
		t.Errorf("firings after five minutes without Slack: %+v", f)
	}
}

// An environment that has never had the connections is not called every day;
// one that has lost them is told once.
func TestScheduleLacking(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("health", `{ cron: "0 8 * * *", notify: oncall }`, looks))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	b.serveOn(c)
	bare := []engine.Environment{{Name: b.envs[0].Name, Default: true}}
	for i, day := range []struct {
		envs []engine.Environment
		ran  bool
		told int
	}{{bare, false, 0}, {bare, false, 0}, {b.envs, true, 0}, {bare, false, 1}, {bare, false, 0}} {
		b.engine.Reload(b.lib, day.envs, b.policy)
		b.fireDue()
		c.set(time.Date(2025, 6, 1+i, 8, 0, 0, 0, time.UTC))
		b.said()
		b.fireDue()
		f := b.firings()
		if len(f) != i+1 || (f[0].Run != "") != day.ran {
			t.Fatalf("day %d: firings %+v", i+1, f)
		}
		if day.ran {
			b.ended(b.only(), engine.Succeeded)
		} else if !strings.Contains(f[0].Outcome, `not run: health needs a redis connection named "cache", which demo does not have`) {
			t.Errorf("day %d: the firing says %q", i+1, f[0].Outcome)
		}
		told := 0
		for _, s := range b.said() {
			if l, ok := s.(outbox.Line); ok && strings.Contains(l.Text, "was not run.") {
				told++
			}
		}
		if told != day.told {
			t.Errorf("day %d: told %d times, want %d", i+1, told, day.told)
		}
	}
	table, err := b.engine.Timetable(t.Context())
	if err != nil || !strings.Contains(table[0].Problem, "which demo does not have") {
		t.Errorf("Timetable() = %+v, %v", table, err)
	}
	rb, _ := b.engine.Library().Find("health")
	if why := b.engine.Lacking(rb); !strings.Contains(why, "which demo does not have") {
		t.Errorf("Lacking() = %q", why)
	}
	b.engine.Reload(b.lib, append(bare, b.envs...), b.policy)
	if why := b.engine.Lacking(rb); why != "" {
		t.Errorf("Lacking() = %q, although one environment can run it", why)
	}
}

// absent is a town whose directory can be out of reach.
type absent struct {
	town
	mu   sync.Mutex
	away bool
}

func (a *absent) set(away bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = away
}

func (a *absent) Members(ctx context.Context, handle string) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return nil, fault.New(fault.Unavailable, "Slack does not answer.")
	}
	return a.town.Members(ctx, handle)
}

// Nobody started it, so anybody who may run it confirms, and does not review.
func TestScheduleReview(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("wiper", `{ cron: "0 8 * * *", notify: oncall }`, wipe))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	b.serveOn(c)
	b.fireDue()
	c.set(time.Date(2025, 6, 1, 8, 0, 0, 0, time.UTC))
	b.fireDue()
	run := b.only()
	confirm := b.asked(run, engine.Confirm)
	b.refused(confirm, engine.Ballot{Actor: mia, Decision: "confirm", Typed: "demo"}, fault.Forbidden, "not in oncall or sre")
	b.vote(confirm, ann, "confirm", typed("demo"))
	review := b.asked(run, engine.Review)
	b.refused(review, engine.Ballot{Actor: ann, Decision: "approve"}, fault.Forbidden, "You confirmed this step")
	calls := 0
	for _, s := range b.said() {
		if l, ok := s.(outbox.Line); ok && slices.Contains(l.Groups, "oncall") && strings.Contains(l.Text, "was started by the clock") {
			calls++
		}
	}
	if calls != 1 { // the confirm's card asks oncall by itself
		t.Errorf("oncall was called %d times beside the cards, want 1", calls)
	}
	b.vote(review, ben, "approve")
	b.ended(run, engine.Succeeded)
	if wiped, _, _ := b.world.counts(); wiped != 1 {
		t.Errorf("wiped %d times, want 1", wiped)
	}
}

func TestScheduleExpires(t *testing.T) {
	t.Parallel()
	b := newBench(t, by("wiper", `{ cron: "0 8 * * *", notify: oncall }`, wipe))
	c := b.onCalendar("2025-06-01T07:00:00Z")
	b.serveOn(c)
	b.fireDue()
	c.set(time.Date(2025, 6, 1, 8, 0, 0, 0, time.UTC))
	b.fireDue()
	run := b.only()
	b.asked(run, engine.Confirm)
	c.set(time.Date(2025, 6, 1, 8, 16, 0, 0, time.UTC))
	run = b.ended(run, engine.Canceled)
	wantStatus(t, run, "wipe=skipped")
	if !strings.Contains(describe(run), `found="not run: nobody confirmed within 15 min`) {
		t.Errorf("the run does not say so:\n%s", describe(run))
	}
	last := ""
	for _, s := range b.said() {
		if l, ok := s.(outbox.Line); ok && slices.Contains(l.Groups, "oncall") {
			last = l.Text
		}
	}
	if !strings.Contains(last, "was started by the clock and was stopped. Stopped at") || !strings.Contains(last, "nobody confirmed within 15 min") {
		t.Errorf("oncall was told last: %q", last)
	}
}
