package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// entry finds the number of the entry whose text it is.
func (h *house) entry(ref, text string) string {
	h.t.Helper()
	number := regexp.MustCompile(regexp.QuoteMeta(text) + `.*\(#(\d+)\)`)
	var found []string
	poll(h.t, "the entry is on record", func() bool {
		found = number.FindStringSubmatch(h.shown(ref))
		return found != nil
	})
	return found[1]
}

// Who wrote something, or has command, can leave it out of what people read;
// the record for scripts keeps it.
func TestHideEntries(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev3 API down")
	head := h.headline("INC-1", "API down")
	h.mention("dan", head.TS, "note the password is hunter2")
	secret := h.entry("INC-1", "dan: the password is hunter2")
	h.mention("ben", head.TS, "note lunch is at one")
	lunch := h.entry("INC-1", "ben: lunch is at one")

	h.slash("cleo", "/incident show INC-1")
	h.find("UCLEO", "#"+secret+" ", "dan: the password is hunter2", "hide INC-1 NUMBER [why]")

	h.mention("ben", head.TS, "hide "+secret+" not my business")
	h.seek(room, "UBEN", "Only the commander may hide what others wrote.", "Take command")
	h.mention("ann", head.TS, "hide 1")
	h.seek(room, "UANN", "Entry #1 tells what was done; only notes, messages and alerts can be hidden.")
	h.mention("ann", head.TS, "hide 99")
	h.seek(room, "UANN", "There is no entry #99 on the timeline of INC-1.")
	h.mention("ann", head.TS, "hide hunter2")
	h.seek(room, "UANN", "Which entry? Type its number after hide")

	// Its author by a command, the commander by the form.
	if got := h.answer("dan", func() { h.slash("dan", "/incident hide #"+secret+" a secret") }); !strings.Contains(got, "#"+secret+" is hidden; it stays on record.") {
		t.Errorf("dan was told %q", got)
	}
	h.mention("ann", head.TS, "hide "+secret)
	h.seek(room, "UANN", "Entry #"+secret+" is hidden already.")
	h.slash("ann", "/incident hide INC-1")
	form := h.view("ann")
	if blocks := string(form.Blocks); !strings.Contains(blocks, "ben: lunch is at one") || strings.Contains(blocks, "hunter2") {
		t.Errorf("the form offers %s", blocks)
	}
	choice := regexp.MustCompile(`#` + lunch + ` [^"\\]*`).FindString(string(form.Blocks))
	if err := h.sim.As("ann").Submit(form.ID, map[string]map[string]any{"what": {"enum": choice}}); err != nil {
		t.Fatal(err)
	}
	poll(t, "both are hidden", func() bool {
		got := h.shown("INC-1")
		return !strings.Contains(got, "hunter2") && !strings.Contains(got, "lunch")
	})

	code, out, errs := h.opsbot("", "incidents", "export", "INC-1")
	if code != exitWell || strings.Contains(out, "hunter2") {
		t.Errorf("export exits with %d: %s%s", code, out, errs)
	}
	code, out, errs = h.opsbot("", "incidents", "export", "INC-1", "--format", "json")
	if code != exitWell {
		t.Fatalf("export exits with %d: %s", code, errs)
	}
	var record struct {
		Timeline []struct {
			Text   string
			Hidden *struct {
				By  struct{ Name string }
				Why string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, e := range record.Timeline {
		if e.Hidden != nil {
			kept = append(kept, e.Text+", hidden by "+e.Hidden.By.Name+": "+e.Hidden.Why)
		}
	}
	if got := strings.Join(kept, "\n"); got != "the password is hunter2, hidden by dan: a secret\nlunch is at one, hidden by ann: " {
		t.Errorf("the export has hidden entries\n%s", got)
	}
	h.noDefects()
}

// A note that was typed as a message follows that message, and so does what was
// captured, also when Slack leaves a tombstone; files stay with what they hang on.
func TestEntriesFollowTheirMessages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev3 API down")
	head := h.headline("INC-1", "API down")
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := h.mention("dan", head.TS, "note at 2026-11-25 04:05 UTC the disk is full")
	h.recorded("INC-1", "2026-11-25 04:05 dan: the disk is full")
	second := h.mention("ben", head.TS, "note that was me")
	third := h.mention("cleo", head.TS, "note 1.8 went out")
	h.recorded("INC-1", "ben: that was me", "cleo: 1.8 went out")
	try(h.sim.As("dan").Edit(room, first.TS, "@opsbot note at 2026-11-25 04:05 UTC the disk of *db* is full"))
	try(h.sim.As("ben").Delete(room, second.TS))
	// Its own pin does not take a note off again.
	try(h.sim.As("cleo").Pin(room, third.TS))
	try(h.sim.As("cleo").Unpin(room, third.TS))
	try(h.sim.As("cleo").Edit(room, third.TS, "1.8.1 went out, I think"))
	h.recorded("INC-1", `2026-11-25 04:05 dan: the disk of *db* is full (put on record at`, `(edited; it said "the disk is full")`,
		"ben: that was me (the message was deleted)", `cleo: 1.8.1 went out, I think (edited; it said "1.8 went out")`)

	picture, err := h.sim.As("ben").Upload(room, head.TS, "graph.png", "look at this", []byte("x"))
	try(err)
	try(h.sim.As("ann").Pin(room, picture.TS))
	bare, err := h.sim.As("ben").Upload(room, head.TS, "bare.png", "", []byte("y"))
	try(err)
	try(h.sim.As("ann").Pin(room, bare.TS))
	h.recorded("INC-1", "ben: look at this graph.png http", "ben: bare.png http")
	try(h.sim.As("ben").Edit(room, picture.TS, "look at that"))
	h.recorded("INC-1", "ben: look at that graph.png http")

	h.mention("ann", head.TS, "channel")
	const own = "inc-1-api-down"
	h.seek(own, "UANN", "This is the room of INC-1")
	fourth, err := h.sim.As("ann").Say(own, "pool exhausted?")
	try(err)
	_, err = h.sim.As("ann").Reply(own, fourth.TS, "no, sorry")
	try(err)
	try(h.sim.As("ann").React(own, fourth.TS, "pushpin"))
	h.recorded("INC-1", "ann: pool exhausted?")
	try(h.sim.As("ann").Delete(own, fourth.TS))
	h.recorded("INC-1", "ann: pool exhausted? (the message was deleted)")
	h.noDefects()
}

// The thread of a SEV1 in which much is said is offered a channel, once.
func TestLongThread(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev1 API down")
	head := h.headline("INC-1", "API down")
	h.seek(room, "UANN", "You are acting commander of INC-1")
	talk := func(n int) {
		t.Helper()
		for range n {
			if _, err := h.sim.As("ben").Reply(room, head.TS, "still looking"); err != nil {
				t.Fatal(err)
			}
		}
	}
	offers := func() (n int) {
		for _, m := range h.sim.Thread(room, head.TS, "UANN") {
			if strings.Contains(m.Visible(), "Give INC-1 a channel of its own?") {
				n++
			}
		}
		return n
	}
	talk(60)
	h.mention("ann", head.TS, "note halfway") // after what was said before it
	h.recorded("INC-1", "ann: halfway")
	if n := offers(); n != 0 {
		t.Fatalf("a channel is offered %d times after some 60 replies", n)
	}
	talk(60)
	h.seek(room, "UANN", "This thread has more than 100 replies. Give INC-1 a channel of its own?", "Open a channel")
	talk(40)
	h.mention("ann", head.TS, "note the end")
	h.recorded("INC-1", "ann: the end", "The thread had become too narrow; a channel was offered.")
	if n := offers(); n != 1 {
		t.Errorf("a channel is offered %d times", n)
	}
	h.noDefects()
}

// A post-mortem comes back as a file that is dropped into the thread, and is
// taken by a click.
func TestPostmortemDropped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	h.slash("ann", "/incident declare sev3 API down")
	head := h.headline("INC-1", "API down")
	drop := func(name, text string) string {
		t.Helper()
		m, err := h.sim.As("ben").Upload(room, head.TS, name, "", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return m.Files[0].ID
	}
	drop("INC-1.md", "# too early")
	h.mention("ann", head.TS, "resolve it was the pool")
	h.headline("INC-1", "Resolved")
	h.mention("ann", head.TS, "postmortem")
	h.seek(room, "UANN", "The post-mortem of INC-1 is above")
	drop("notes.md", "# my notes")
	code, text, errs := h.opsbot("", "incidents", "export", "INC-1")
	if code != exitWell {
		t.Fatalf("export exits with %d: %s", code, errs)
	}
	at := strings.Index(text, "## Root cause\n")
	if at < 0 {
		t.Fatalf("there is no root cause in\n%s", text)
	}
	at += len("## Root cause\n")
	edited := text[:at] + "\nThe pool had *ten* connections.\n" + text[at:]

	bad := drop("INC-1.md", "no post-mortem at all")
	ask := h.seek(room, "UBEN", "Is INC-1.md the new post-mortem of INC-1?", "Take this version")
	h.press("ben", ask, "Take this version")
	h.seek(room, "UBEN", "This cannot be the post-mortem of INC-1.")
	good := drop("INC-1 (1).md", edited)
	ask = h.seek(room, "UBEN", "Is INC-1 (1).md the new post-mortem of INC-1?")
	h.press("ben", ask, "Take this version")
	h.seek(room, "UANN", "ben took INC-1 (1).md as the post-mortem of INC-1. Changed: Root cause.")
	if _, out, _ := h.opsbot("", "incidents", "export", "INC-1"); !strings.Contains(out, "The pool had *ten* connections.") {
		t.Errorf("the post-mortem is\n%s", out)
	}
	h.recorded("INC-1", "ben: changed the post-mortem (version 2): uploaded")

	// A file can be taken only where it is shared.
	if got := h.answer("dan", func() { h.slash("dan", "/incident postmortem INC-1 take "+good) }); !strings.Contains(got, "The file is not in this channel any more.") {
		t.Errorf("dan was told %q", got)
	}
	for _, m := range h.sim.Thread(room, head.TS, "UBEN") {
		if strings.Contains(m.Visible(), "notes.md the new") || strings.Contains(m.Visible(), "Take this version") && !strings.Contains(string(m.Blocks), bad) {
			t.Errorf("the bot asks %s", m.Visible())
		}
	}
	h.noDefects()
}
