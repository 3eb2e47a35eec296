package runbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Key identifies the schedule among those of the runbook with the slug. It
// stays the same while what starts, where and when stay the same, so that a
// change of anything else does not touch its next time.
func (s Schedule) Key(slug string) string {
	data, err := json.Marshal([]any{s.Cron, s.TZ, s.Environment, s.Params})
	if err != nil { // parameters are plain values
		data = fmt.Append(nil, s.Cron, s.TZ, s.Environment, s.Params)
	}
	sum := sha256.Sum256(data)
	return slug + "/" + hex.EncodeToString(sum[:6])
}

// When says when the schedule fires, as it is written: "0 8 * * *, Europe/Berlin".
func (s Schedule) When() string { return s.Cron + ", " + s.TZ }

// Next returns the first time after t at which the schedule fires, in UTC; the
// zero time if there is none or the schedule is malformed.
//
// The clock on the wall of the zone counts. A time that it skips when it is put
// forward fires at the moment it is put forward. A time that it shows twice
// when it is put back fires the first time only, unless the schedule fires in
// every hour of the day: then no hour is left out. So nothing is lost, and
// nothing that is meant to happen once happens twice.
func (s Schedule) Next(t time.Time) time.Time {
	c, err := parseCron(s.Cron)
	if err != nil {
		return time.Time{}
	}
	zone, err := time.LoadLocation(s.TZ)
	if err != nil {
		return time.Time{}
	}
	if c.hourly {
		return c.next(t.In(zone)).UTC()
	}
	for wall := c.next(wallOf(t, zone)); !wall.IsZero(); wall = c.next(wall) {
		if at := instantOf(wall, zone); at.After(t) {
			return at.UTC()
		}
	}
	return time.Time{}
}

// Last returns the last time at or before t, but not before since, at which
// the schedule fires. since must be such a time.
func (s Schedule) Last(since, t time.Time) time.Time {
	last := since
	// Looking from ever further back costs little, however long ago since is.
	for back := time.Minute; back < t.Sub(since); back *= 2 {
		if at := s.Next(t.Add(-back)); !at.IsZero() && !at.After(t) {
			last = at
			break
		}
	}
	for at := s.Next(last); !at.IsZero() && !at.After(t); at = s.Next(at) {
		last = at
	}
	return last
}

// A cronLine is a cron expression of five fields.
type cronLine struct {
	spec   cron.Schedule
	nth    int  // of the weekday within its month; 0: every one
	hourly bool // it fires in every hour
}

var nthWeekday = regexp.MustCompile(`^([A-Za-z]{3}|[0-6])#([1-5])$`)

// parseCron reads five fields. A weekday such as SUN#1 is the first Sunday of
// the month.
func parseCron(text string) (cronLine, error) {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return cronLine{}, fmt.Errorf("%d fields, not five", len(fields))
	}
	c := cronLine{hourly: anyField.MatchString(fields[1])}
	if m := nthWeekday.FindStringSubmatch(fields[4]); m != nil {
		fields[4], c.nth = m[1], int(m[2][0]-'0')
	}
	var err error
	c.spec, err = cron.ParseStandard(strings.Join(fields, " "))
	return c, err
}

// next is the first time after t that fits, by the clock that t shows.
func (c cronLine) next(t time.Time) time.Time {
	for {
		t = c.spec.Next(t)
		if t.IsZero() || c.nth == 0 || (t.Day()-1)/7+1 == c.nth {
			return t
		}
		y, m, d := t.Date()
		t = time.Date(y, m, d+1, 0, 0, 0, 0, t.Location()).Add(-time.Second)
	}
}

// wallOf is what the zone's clock shows at t, as a time of its own without
// summer or winter.
func wallOf(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instantOf is when the zone's clock first shows wall, or when it skips it.
func instantOf(wall time.Time, zone *time.Location) time.Time {
	about := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	// Offsets before and after a change that may be near.
	before, after := offset(about.Add(-36*time.Hour)), offset(about.Add(36*time.Hour))
	var shown []time.Time
	for _, o := range []time.Duration{before, after} {
		if t := wall.Add(-o); offset(t) == o {
			shown = append(shown, t)
		}
	}
	if len(shown) > 0 {
		return slices.MinFunc(shown, time.Time.Compare)
	}
	change, _ := wall.Add(-before).In(zone).ZoneBounds()
	return change
}

// severalDays finds a restriction of both the day of the month and the weekday,
// which cron reads as "or" and people as "and".
var anyField = regexp.MustCompile(`^(\*|\?)(/1)?$`)

func (p *parser) schedules(n *node) {
	if n.kind != listNode {
		p.problem(n.pos, "RB106", "schedule must be a list, such as [{ cron: \"0 8 * * *\", tz: UTC }]", "")
		return
	}
	for _, item := range n.items {
		s := Schedule{TZ: "UTC", Missed: "once", Pos: item.pos}
		p.fields(item, "a schedule", "RB106", scheduleForm.names(), func(f field) {
			v := f.value
			switch f.key {
			case "cron":
				s.Cron, _ = p.text(v, "cron")
				p.cron(v, s.Cron)
			case "tz":
				s.TZ, _ = p.text(v, "tz")
				if _, err := time.LoadLocation(s.TZ); err != nil || s.TZ == "" || s.TZ == "Local" {
					p.problem(v.pos, "RB114", fmt.Sprintf("there is no time zone %q", clip(s.TZ)), "such as Europe/Berlin or UTC")
				}
			case "environment":
				s.Environment, _ = p.word(v, "environment")
			case "notify":
				s.Notify = p.group(v, "notify")
			case "missed":
				s.Missed = p.choice(v, "missed", scheduleForm.words("missed")...)
			case "params":
				s.Params = p.given(v)
			}
		})
		if s.Cron == "" && item.get("cron") == nil {
			p.problem(item.pos, "RB114", "a schedule needs cron", "")
		}
		for _, q := range p.rb.Params {
			_, given := s.Params[q.Name]
			if q.Required && q.Default == nil && !given && p.problems.Errors() == 0 { // a default may be missing for being wrong
				p.problem(item.pos, "RB115", fmt.Sprintf("the schedule does not say %s, which every start needs", q.Name), "nobody is there to ask: add it to its params, or give the parameter a default")
			}
		}
		if slices.ContainsFunc(p.rb.Schedule, func(o Schedule) bool { return o.Key("") == s.Key("") }) {
			p.problem(item.pos, "RB114", "this schedule is there already", "")
			continue
		}
		p.rb.Schedule = append(p.rb.Schedule, s)
	}
}

func (p *parser) cron(n *node, text string) {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		p.problem(n.pos, "RB114", fmt.Sprintf("cron %q must have five fields: minute, hour, day, month, weekday", clip(text)), "the zone is tz:")
		return
	}
	c, err := parseCron(text)
	if err != nil {
		p.problem(n.pos, "RB114", fmt.Sprintf("cron %q can't be read: %s", clip(text), clip(err.Error())), "")
		return
	}
	if !anyField.MatchString(fields[2]) && !anyField.MatchString(fields[4]) {
		p.problem(n.pos, "RB114", fmt.Sprintf("cron %q restricts both the day of the month and the weekday", clip(text)), "cron fires when either matches: use one of them, or SUN#1 for the first Sunday of a month")
		return
	}
	if c.next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		p.problem(n.pos, "RB114", fmt.Sprintf("cron %q never comes", clip(text)), "")
	}
}

// given reads parameters that a schedule sets.
func (p *parser) given(n *node) map[string]any {
	out := map[string]any{}
	names := make([]string, len(p.rb.Params))
	for i, q := range p.rb.Params {
		names[i] = q.Name
	}
	p.fields(n, "params of a schedule", "RB106", names, func(f field) {
		param := p.rb.param(f.key)
		v, err := param.read(plainValue(f.value), false)
		if err != nil {
			p.problem(f.value.pos, "RB115", fmt.Sprintf("parameter %s %s", f.key, err), "")
			return
		}
		out[f.key] = v
	})
	return out
}
