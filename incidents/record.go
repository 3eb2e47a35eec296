package incidents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
)

// A Record is all that is kept of an incident.
type Record struct {
	Incident *Incident `json:"incident"`
	Events   []Event   `json:"events"` // in the order of recording
	Updates  []Update  `json:"updates"`
}

// Record returns what is kept of the incident with the number. Of a restricted
// one, who has no role in it is told no more than that it is.
func (t *Tracker) Record(ctx context.Context, number int64, who access.Actor) (*Record, error) {
	i, err := t.Find(ctx, number)
	if err != nil {
		return nil, err
	}
	if err := t.Admit(ctx, Act{ID: i.ID, Actor: who}, i, "read it"); err != nil {
		return nil, err
	}
	r := &Record{Incident: i}
	if r.Events, err = t.store.Events(ctx, i.ID); err != nil {
		return nil, err
	}
	r.Updates, err = t.store.Updates(ctx, i.ID)
	return r, err
}

// Open reports whether the actor may read what it is about: everybody may,
// unless it is restricted.
func (i *Incident) Open(who access.Actor) bool {
	return !i.Security || slices.ContainsFunc(i.Roles, func(r Role) bool {
		return r.Actor.ID == who.ID && who.ID != "" && r.Actor.Kind == who.Kind
	})
}

// Markdown writes the record for people to read: the facts, the timeline with
// days and times in UTC and the numbers of its entries, the updates with how late they were, and the tasks.
func (r *Record) Markdown() string {
	var b strings.Builder
	i := r.Incident
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s: %s\n", i.Ref(), plainText(i.Title))
	line("| | |\n|---|---|")
	fact := func(name, value string) {
		if value != "" {
			line("| %s | %s |", name, strings.ReplaceAll(plainText(value), "|", "\\|"))
		}
	}
	fact("State", i.State.Word())
	fact("Severity", string(i.Severity)+", "+i.Severity.Word())
	for _, kind := range []RoleKind{Commander, Comms} {
		if h, ok := i.Holder(kind); ok {
			fact(upper(kind.Word()), name(h.Actor))
		}
	}
	fact("Down", i.Down)
	fact("Users affected", i.Affected)
	fact("Impact", i.Impact)
	for _, t := range []struct {
		name string
		at   time.Time
	}{
		{"Started", i.Started}, {"Detected", i.Detected}, {"Declared", i.Declared}, {"Acknowledged", i.Acknowledged},
		{"Mitigated", i.Mitigated}, {"Resolved", i.Resolved}, {"Ended", i.Ended},
	} {
		if !t.at.IsZero() {
			fact(t.name, t.at.UTC().Format("2006-01-02 15:04 UTC"))
		}
	}
	fact("Summary", i.Summary)
	line("\n## Timeline\n\nTimes are UTC.\n")
	for _, e := range Read(r.Events) {
		if s := e.Say(); s != "" && !e.Hidden {
			line("- %s %s (#%d)", e.Occurred.UTC().Format("2006-01-02 15:04"), plainText(s), e.Seq)
		}
	}
	if len(r.Updates) > 0 {
		line("\n## Updates\n\n| Written | To | By | Late | |\n|---|---|---|---|---|")
		for _, u := range r.Updates {
			late := "in time"
			switch d := u.Late(); {
			case u.State == Draft || u.State == Rejected:
				late = string(u.State)
			case d > 0:
				late = span(d)
			}
			line("| %s | %s | %s | %s | %s |", u.At.UTC().Format("2006-01-02 15:04"), u.Audience, name(u.By), late, strings.ReplaceAll(plainText(u.Text), "|", "\\|"))
		}
	}
	if len(i.Tasks) > 0 {
		line("\n## Tasks\n")
		for _, t := range i.Tasks {
			mark := " "
			if !t.Done.IsZero() {
				mark = "x"
			}
			line("- [%s] %d. %s (%s, %s)", mark, t.Number, plainText(t.Text), orElse(t.Name, orElse(t.Owner, "nobody yet")), orElse(t.Due, "no day"))
		}
	}
	return b.String()
}

// plainText keeps what people wrote from becoming markup of the document.
func plainText(s string) string {
	return strings.NewReplacer("<", "&lt;", "\n", " ", "`", "'").Replace(strings.TrimSpace(s))
}
