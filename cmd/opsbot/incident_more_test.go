package main

import (
	"encoding/json"
	"slices"
	"testing"

	"opsbot/internal/slacksim"
)

// choices are what the form lets the person choose from.
func (h *house) choices(view slacksim.View) (list []string) {
	h.t.Helper()
	var blocks []struct {
		Element struct {
			Options []struct {
				Text struct {
					Text string `json:"text"`
				} `json:"text"`
			} `json:"options"`
		} `json:"element"`
	}
	if err := json.Unmarshal(view.Blocks, &blocks); err != nil {
		h.t.Fatal(err)
	}
	for _, b := range blocks {
		for _, o := range b.Element.Options {
			list = append(list, o.Text.Text)
		}
	}
	return list
}

// form waits for a form of that title, and closes it.
func (h *house) form(person, title string) {
	h.t.Helper()
	h.until(person+" sees the form "+title, func() bool {
		if views := h.sim.As(person).Views(); len(views) == 1 && views[0].Title == title {
			return true
		}
		h.openAgain(person)
		return false
	})
	if err := h.sim.As(person).CloseView(h.view(person).ID, true); err != nil {
		h.t.Fatal(err)
	}
}

// Everything that the button More offers does what it says: it opens its form,
// answers, or is done.
func TestMore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	duty := newOutside(t, "", "{}", 200)
	h.configure("pagers: { duty: { webhook: \"" + duty.URL + "\" } }\n")
	h.serve()
	h.slash("ann", "/incident declare Jobs are late")
	h.headline("INC-1", "Jobs are late")
	h.slash("ann", "/incident declare API down")
	head := h.headline("INC-2", "API down")
	h.seek(room, "UANN", "You are acting commander of INC-2")
	h.slash("ann", "/incident note INC-2 the deploy was at noon")
	h.find("UANN", "Noted on the timeline of INC-2")

	form := func(title string) func(choose func()) {
		return func(choose func()) {
			choose()
			h.opens("ann", choose)
			h.form("ann", title)
		}
	}
	said := func(channel string, texts ...string) func(choose func()) {
		return func(choose func()) { choose(); h.seek(channel, "UANN", texts...) }
	}
	type entry struct {
		label string
		does  func(choose func())
	}
	try := func(title string, entries ...entry) {
		t.Helper()
		h.press("ann", head, "More")
		var want []string
		for _, e := range entries {
			want = append(want, e.label)
		}
		if got := h.choices(h.view("ann")); !slices.Equal(sorted(got), sorted(want)) {
			t.Fatalf("More offers %q, want %q", got, want)
		}
		h.form("ann", title)
		for _, e := range entries {
			e.does(func() {
				h.press("ann", head, "More")
				view := h.view("ann")
				if err := h.sim.As("ann").Submit(view.ID, map[string]map[string]any{"what": {"enum": e.label}}); err != nil {
					t.Fatalf("%s: %v", e.label, err)
				}
			})
		}
	}
	try("INC-2",
		entry{"Assess: what is down, and for whom", form("Assess INC-2")},
		entry{"Set the severity", form("Severity of INC-2")},
		entry{"Add a task", form("Task of INC-2")},
		entry{"Add a note", form("Note on INC-2")},
		entry{"Hide an entry of the timeline", form("Hide an entry")},
		entry{"Add people", form("Roles of INC-2")},
		entry{"Show its runs", said(room, "Runs of INC-2")},
		entry{"Show its timeline", said(room, "#1 ", "INC-2 · SEV?", "the deploy was at noon")},
		entry{"Page somebody", said(room, "duty was paged.")},
		entry{"Give it a channel of its own", said("inc-2-api-down", "This is the room of INC-2")},
		entry{"Merge it into another", form("Merge INC-2")},
		entry{"Resolve it", form("Resolve INC-2")},
		entry{"Cancel it: it was none", form("Cancel INC-2")},
		entry{"Leave my role", said("inc-2-api-down", "ann left INC-2")},
		entry{"Restrict it: security", said(room, "INC-2 is restricted.")},
	)

	h.slash("ann", "/incident declare Mails are slow")
	head = h.headline("INC-3", "Mails are slow")
	h.slash("ann", "/incident resolve INC-3 It was the relay.")
	h.headline("INC-3", "Resolved")
	h.slash("ann", "/incident note INC-3 the relay was full")
	h.find("UANN", "Noted on the timeline of INC-3")
	try("INC-3",
		entry{"Assess: what is down, and for whom", form("Assess INC-3")},
		entry{"Set the severity", form("Severity of INC-3")},
		entry{"Add a task", form("Task of INC-3")},
		entry{"Add a note", form("Note on INC-3")},
		entry{"Hide an entry of the timeline", form("Hide an entry")},
		entry{"Add people", form("Roles of INC-3")},
		entry{"Show its runs", said(room, "Runs of INC-3")},
		entry{"Show its timeline", said(room, "#1 ", "INC-3 · SEV?", "the relay was full")},
		entry{"Reopen it", form("Reopen INC-3")},
		entry{"Write the post-mortem", said(room, "The post-mortem of INC-3 is above")},
		entry{"Close it", said(room, "INC-3 cannot be closed yet")},
		entry{"Leave my role", said(room, "ann left INC-3")},
	)
	h.noDefects()
}
