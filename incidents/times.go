package incidents

import (
	"context"
	"slices"
	"strings"
	"time"

	"opsbot/internal/outbox"
)

// Moments are the times of an incident that can be corrected.
var Moments = []string{"started", "detected", "declared", "acknowledged", "mitigated", "resolved"}

func (i *Incident) moment(which string) *time.Time {
	switch which {
	case "started":
		return &i.Started
	case "detected":
		return &i.Detected
	case "declared":
		return &i.Declared
	case "acknowledged":
		return &i.Acknowledged
	case "mitigated":
		return &i.Mitigated
	case "resolved":
		return &i.Resolved
	}
	return nil
}

// inOrder are the moments of which the first cannot be after the second. When
// somebody accepted command says nothing about what was mitigated by then.
var inOrder = [][2]string{
	{"started", "detected"}, {"detected", "declared"}, {"declared", "acknowledged"}, {"declared", "mitigated"}, {"declared", "resolved"},
	{"mitigated", "resolved"}, {"acknowledged", "resolved"},
}

// theSummary is what is corrected beside the Moments.
const theSummary = "the summary"

const moment = "2006-01-02 15:04 UTC"

// Correct puts a time right that the figures are made from; old and new value
// stay on the timeline. When it began and was detected, anybody knows who may
// act at all; the rest is the commander's.
func (t *Tracker) Correct(ctx context.Context, act Act, which string, at time.Time, why string) (*Incident, error) {
	n := byCommander
	if which == "started" || which == "detected" {
		n = byMember
	}
	return t.change(ctx, act, n, "correct its times", func(i *Incident, now time.Time, c *Change) error {
		is := i.moment(which)
		switch {
		case is == nil:
			return refuse("%q is no time of an incident. There are %s.", clip(which, 40), strings.Join(Moments, ", "))
		case i.State == Canceled || i.State == Merged:
			return refuse("%s is %s; no figure is made from its times.", i.Ref(), strings.ToLower(i.State.Word()))
		case is.IsZero() && which == "resolved":
			return refuse("%s is not resolved.", i.Ref()).lack("", "resolve "+i.Ref(), "Resolve")
		case at.After(now):
			return refuse("%s is in the future.", at.UTC().Format(moment))
		case at.Equal(*is):
			return refuse("That is what is on record already.")
		}
		was := *is
		*is = at
		for _, pair := range inOrder {
			first, second := i.moment(pair[0]), i.moment(pair[1])
			if slices.Contains(pair[:], which) && !first.IsZero() && !second.IsZero() && first.After(*second) {
				return refuse("%s cannot be %s at %s: it was %s at %s.", i.Ref(), which, at.UTC().Format(moment),
					other(pair, which), i.moment(other(pair, which)).UTC().Format(moment))
			}
		}
		before := ""
		if !was.IsZero() {
			before = was.UTC().Format(moment)
		}
		t.corrected(i, act, which, before, at.UTC().Format(moment), why, c)
		return nil
	})
}

func other(pair [2]string, which string) string {
	if pair[0] == which {
		return pair[1]
	}
	return pair[0]
}

// Summarize puts right how the incident was resolved.
func (t *Tracker) Summarize(ctx context.Context, act Act, text string) (*Incident, error) {
	return t.change(ctx, act, byCommander, "correct its summary", func(i *Incident, now time.Time, c *Change) error {
		text, err := tidy("The summary", text, MaxText)
		switch {
		case err != nil:
			return err
		case i.Resolved.IsZero():
			return refuse("%s is not resolved; it has no summary yet.", i.Ref()).lack("", "resolve "+i.Ref(), "Resolve")
		case text == i.Summary:
			return refuse("That is what is on record already.")
		}
		was := i.Summary
		i.Summary = text
		t.corrected(i, act, theSummary, was, text, "", c)
		return nil
	})
}

func (t *Tracker) corrected(i *Incident, act Act, which, was, is, why string, c *Change) {
	why = strings.TrimSpace(why)
	c.Events = append(c.Events, Event{Kind: KindTime, Text: why, Data: map[string]string{"which": which, "was": was, "is": is}})
	line := correction(name(act.Actor), which, was, is)
	if why != "" {
		line += " " + why
	}
	c.Notices = append(c.Notices, i.say(outbox.Line{Text: line})...)
}
