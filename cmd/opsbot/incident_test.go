package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"opsbot/internal/slacksim"
)

const room = "incident-response"

// seek waits for a message of a channel, or one of its threads, that shows all
// the texts, as the person sees it. The newest one is returned.
func (h *house) seek(channel, person string, texts ...string) slacksim.Message {
	h.t.Helper()
	var found slacksim.Message
	h.until(fmt.Sprintf("%s sees %q in %s", person, texts, channel), func() bool {
		found = slacksim.Message{}
		for _, m := range h.sim.History(channel, person) {
			all := []slacksim.Message{m}
			if m.ReplyCount > 0 {
				all = h.sim.Thread(channel, m.TS, person)
			}
			for _, m := range all {
				if !m.Deleted && shows(m, texts) {
					found = m
				}
			}
		}
		return found.TS != ""
	})
	return found
}

// headline waits for the headline of the incident to show all the texts.
func (h *house) headline(ref string, texts ...string) slacksim.Message {
	h.t.Helper()
	var found slacksim.Message
	h.until(fmt.Sprintf("the headline of %s shows %q", ref, texts), func() bool {
		for _, m := range h.sim.History(room, "UANN") {
			if m.FromApp() && strings.Contains(m.Visible(), ref+" ·") && shows(m, texts) {
				found = m
			}
		}
		return found.TS != ""
	})
	return found
}

// press clicks a button of a message wherever it stands.
func (h *house) press(person string, m slacksim.Message, label string) {
	h.t.Helper()
	h.clickIn(m.Channel, person, m, label)
}

// mention says something to the bot in a thread.
func (h *house) mention(person, thread, text string) slacksim.Message {
	h.t.Helper()
	h.until("the bot knows the thread, in which it has said something", func() bool {
		return len(h.sim.Thread(room, thread, "UANN")) > 1
	})
	m, err := h.sim.As(person).Reply(room, thread, "@opsbot "+text)
	if err != nil {
		h.t.Fatalf("%s says %q: %v", person, text, err)
	}
	return m
}

// pinned reports whether the message is.
func (h *house) pinned(m slacksim.Message) bool {
	now, ok := h.sim.Message(m.Channel, m.TS)
	return ok && now.Pinned
}

// marked reports whether the bot has shown by a ✅ that it took the message.
func (h *house) marked(m slacksim.Message) bool {
	now, _ := h.sim.Message(m.Channel, m.TS)
	return slices.ContainsFunc(now.Reactions, func(r slacksim.Reaction) bool { return r.Name == "white_check_mark" })
}

// An incident from declaration to its end, by every door: slash, thread,
// buttons and forms.
func TestIncident(t *testing.T) {
	t.Parallel()
	onBoth(t, testIncident)
}

func testIncident(t *testing.T, h *house) {
	h.serve()

	if got := h.answer("ann", func() { h.slash("ann", "/incident declare API down") }); !strings.Contains(got, "INC-1 is declared") {
		t.Errorf("ann was told %q", got)
	}
	head := h.headline("INC-1", "SEV?", "Declared", "API down", "acting, not accepted", "not assessed")
	h.until("the headline is pinned", func() bool { return h.pinned(head) })
	ask := h.seek(room, "UANN", "You are acting commander of INC-1")
	if ask.ThreadTS != head.TS {
		t.Errorf("the question stands in thread %q, want %q", ask.ThreadTS, head.TS)
	}
	h.press("ann", ask, "Accept command")
	h.headline("INC-1", "<@UANN>\n*Communications")
	h.seek(room, "UANN", "has command of INC-1")

	// The form of the button.
	h.press("ann", ask, "Assess")
	view := h.view("ann")
	err := h.sim.As("ann").Submit(view.ID, map[string]map[string]any{
		"down": {"string": "The API answers 502"}, "affected": {"string": "everybody"}, "impact": {"string": "No orders come in"}, "severity": {"enum": "SEV1 critical"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.headline("INC-1", "SEV1", "Triaging", "The API answers 502", "No orders come in")

	// In the thread "incident" is left out, and what was understood gets a mark.
	said := h.mention("ann", head.TS, "status fixing the deploy is suspect")
	h.headline("INC-1", "Fixing")
	h.seek(room, "UANN", "Triaging → Fixing", "the deploy is suspect")
	h.until("the command is marked", func() bool { return h.marked(said) })

	// Who may not is told why, alone, with a way out.
	h.mention("dan", head.TS, "sev 3")
	h.seek(room, "UDAN", "Only the commander may change its severity", "That is ann")

	// Communications: the commander's words for users wait for the lead.
	h.mention("ann", head.TS, "comms @cleo")
	offer := h.seek(room, "UCLEO", "asks you to be communications lead")
	h.press("cleo", offer, "Accept")
	h.headline("INC-1", "<@UCLEO>")
	h.mention("ann", head.TS, "update users We are working on it.")
	draft := h.seek(room, "UCLEO", "drafted an update to the users", "We are working on it.")
	h.press("ann", draft, "Publish")
	h.seek(room, "UANN", "Only the communications lead may publish")
	h.press("cleo", draft, "Publish")
	h.seek(room, "UANN", "Update to the users (Identified)", "We are working on it.")
	h.headline("INC-1", "*Last update* to the users")

	// A form with a draft of facts.
	h.press("ann", head, "Post update")
	if form := string(h.view("ann").Blocks); !strings.Contains(form, "Down: The API answers 502") {
		t.Errorf("the draft has no facts: %s", form)
	}
	h.fill("ann", "Rolled back; the API is starting.")
	h.headline("INC-1", "*Last update* to the teams", "Rolled back; the API is starting.")

	// Resolving needs a summary; closing needs more, each with its button.
	h.mention("ann", head.TS, "close")
	refusal := h.seek(room, "UANN", "INC-1 cannot be closed yet", "A summary", "A post-mortem")
	h.press("ann", refusal, "Resolve")
	h.fill("ann", "The deploy had filled the pool; it was rolled back.")
	h.headline("INC-1", "Resolved", "rolled back")
	h.until("the pin is gone", func() bool { return !h.pinned(head) })
	h.seek(room, "UANN", "INC-1 is resolved after")

	// Anybody sees that it is not over.
	h.mention("ben", head.TS, "reopen it is back")
	h.headline("INC-1", "Fixing", "reopened 1 time")
	h.until("it is pinned again", func() bool { return h.pinned(head) })
	h.noDefects()
}

// noDefects fails if the bot said that something went wrong inside of it.
// What a busy machine could not write down in Slack's time comes again.
func (h *house) noDefects() {
	h.t.Helper()
	for line := range strings.Lines(h.log.String()) {
		late := strings.Contains(line, "record what Slack delivered") && strings.Contains(line, "deadline exceeded")
		if strings.Contains(line, "level=ERROR") && !late {
			h.t.Errorf("the log has an error: %s", line)
		}
	}
}

// From a message, and from the bare command's form.
func TestDeclareFromMessage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve()
	said, err := h.sim.As("dan").Say("ops", "Is it me, or is the shop down?\nI get 502s.")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.sim.As("ben").MessageShortcut("incident_declare", "ops", said.TS); err != nil {
		t.Fatal(err)
	}
	if form := string(h.view("ben").Blocks); !strings.Contains(form, "Is it me, or is the shop down?") {
		t.Errorf("the title is not filled in: %s", form)
	}
	h.fill("ben", "The shop is down")
	h.headline("INC-1", "The shop is down", "<@UBEN>")
	h.find("UDAN", "INC-1 was declared", "#incident-response")

	h.slash("ann", "/incident")
	h.fill("ann", "Jobs are late")
	h.headline("INC-2", "Jobs are late")

	// With two open, a command says which ones there are, and its button goes on.
	h.slash("ann", "/incident status fixing")
	which := h.find("UANN", "2 incidents are open. Which one?", "INC-1 The shop is down", "INC-2 Jobs are late")
	h.press("ann", which, "INC-2")
	h.headline("INC-2", "Fixing")

	h.slash("ann", "/incident merge INC-1")
	h.find("UANN", "2 incidents are open. Which one?")
	h.slash("ann", "/incident INC-2 merge INC-1")
	h.headline("INC-2", "Merged", "It goes on in INC-1")
	h.seek(room, "UBEN", "INC-2 (Jobs are late) was merged into this one")
	h.find("UANN", "INC-2 goes on in INC-1.")
	if got := h.answer("ann", func() { h.slash("ann", "/incident show INC-1") }); !strings.Contains(got, "dan: Is it me") || !strings.Contains(got, "merged INC-2 into it") {
		t.Errorf("its timeline reads\n%s", got)
	}
	h.slash("ann", "/incident note INC-1 at 23:59 UTC yesterday's deploy")
	h.find("UANN", "Noted on the timeline of INC-1 at", "23:59 UTC")
	h.noDefects()
}

const lookBook = `---
format: 1
runbook: look
owner: sre
roles: { run: [oncall, sre], approve: [sre] }
uses: { cache: redis }
---
# Look at the cache

For a test.

## 1. Ping it

` + "```yaml step" + `
id: ping
do: redis.ping
target: cache
` + "```" + `
`

const saveBook = `---
format: 1
runbook: save
owner: sre
roles: { run: [oncall, sre], approve: [sre] }
uses: { cache: redis }
params:
  policy: { type: string, default: allkeys-lru }
---
# Set the policy

For a test.

## 1. Set it

` + "```yaml step" + `
id: save
do: redis.config_set
target: cache
with: { key: maxmemory-policy, value: "${{ params.policy }}" }
` + "```" + `
`

const wipeBook = `---
format: 1
runbook: wipe
owner: sre
roles: { run: [oncall, sre], approve: [sre] }
uses: { cache: redis }
---
# Wipe the cache

For a test.

## 1. Wipe it

` + "```yaml step" + `
id: wipe
do: redis.flush
target: cache
with: { mode: prefix, pattern: "prod_user*", types: [string] }
confirm: { text: "Wipe it?" }
review: { by: [sre] }
` + "```" + `
`

// Runs of an incident are on its record: a green check offers to go on, a plain
// confirm needs a second person, who is alone may break the glass, and security
// freezes what destroys.
func TestIncidentRuns(t *testing.T) {
	t.Parallel()
	onBoth(t, testIncidentRuns)
}

func testIncidentRuns(t *testing.T, h *house) {
	if err := os.Mkdir(h.path("runbooks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"look": lookBook, "save": saveBook, "wipe": wipeBook} {
		h.write("runbooks/"+name+".md", text)
	}
	h.configure("runbooks: [runbooks]\n")
	h.edit(`cache: { redis: `, `cache: { pure_cache: true, redis: `)
	h.serve()
	h.slash("ann", "/incident declare Cache is slow")
	head := h.headline("INC-1", "Cache is slow")
	h.mention("ann", head.TS, "lead me")
	h.seek(room, "UANN", "ann is commander of INC-1 now")

	// A check that finds nothing wrong.
	h.mention("ann", head.TS, "run look")
	card := h.seek(room, "UANN", "Look at the cache on demo", "*Done*")
	if card.ThreadTS != head.TS {
		t.Errorf("the card stands in thread %q, want %q", card.ThreadTS, head.TS)
	}
	offer := h.seek(room, "UANN", "R1 Look at the cache found nothing wrong. Is it over?")
	h.headline("INC-1", "R1 Look at the cache: succeeded")

	// What is only confirmed otherwise needs Ben, too, in a SEV?.
	h.mention("ann", head.TS, "run save")
	h.press("ann", h.seek(room, "UANN", "Set it", "Confirm"), "Confirm")
	review := h.seek(room, "UBEN", "Set it", "INC-1 is SEV?: everything that changes something needs a second person", "Approve")
	h.press("ann", review, "Approve")
	h.seek(room, "UANN", "You started this run, so somebody else has to approve it.")
	h.press("ben", review, "Approve")
	h.seek(room, "UANN", "Set the policy on demo", "*Done*")

	// Nobody else is there.
	h.mention("ann", head.TS, "run save policy=allkeys-lfu")
	h.press("ann", h.seek(room, "UANN", "R3", "Set it", "Confirm"), "Confirm")
	alone := h.seek(room, "UANN", "R3", "Set it", "Break glass: go on alone")
	h.press("dan", alone, "Break glass: go on alone")
	h.seek(room, "UDAN", "You are not in oncall or sre")
	h.press("ann", alone, "Break glass: go on alone")
	h.fill("ann", "nobody answers the phone")
	h.seek(room, "UANN", "R3", "Set the policy on demo", "*Done*")
	h.seek(room, "UANN", "Task 1: Review afterwards: ann went on with step 1 (Set it) of R3 without a second person: nobody answers the phone")

	// What changed something and did not look at what came of it proves nothing.
	if list := h.standing(head, "Is it over?"); len(list) != 1 {
		t.Errorf("%d messages ask whether it is over, want that of R1", len(list))
	}

	// Security: what is under way goes on where not everybody reads it.
	h.press("ann", offer, "Move to monitoring")
	h.headline("INC-1", "Monitoring")
	h.mention("ann", head.TS, "add <@UBEN> as dba")
	h.seek(room, "UBEN", "asked you to help with INC-1")
	h.mention("ann", head.TS, "run save policy=noeviction")
	h.seek(room, "UANN", "R4", "Set it", "Confirm")
	h.mention("ben", head.TS, "security on break-in")
	const private = "inc-1-restricted"
	h.seek(private, "UANN", "This is the room of INC-1")
	h.press("ann", h.seek(private, "UANN", "R4", "Set it", "Confirm"), "Confirm")
	h.press("ben", h.seek(private, "UBEN", "R4", "Set it", "Approve"), "Approve")
	h.seek(private, "UANN", "R4", "Set the policy on demo", "*Done*")
	h.until("nothing that opsbot said can be read in public", func() bool {
		return !slices.ContainsFunc(h.sim.Thread(room, head.TS, "UDAN")[1:], func(m slacksim.Message) bool {
			return m.FromApp() && !m.Ephemeral() && m.Text != "INC-1 is restricted."
		})
	})
	h.mention("ann", head.TS, "run wipe")
	h.seek(private, "UANN", "Wipe the cache on demo", "*Failed*", "INC-1 is a matter of security")
	h.mention("ann", head.TS, "security off it was us")
	h.seek(private, "UANN", "The security flag of INC-1 was taken back by ann.")
	got := h.shown("INC-1")
	for _, want := range []string{
		"R1 Look at the cache on demo was started by ann.", "R1, step 1 (Ping it): pass", "R1 Look at the cache on demo succeeded.",
		"ann confirmed step 1 (Set it) of R2.", "ann was refused to approve step 1 (Set it) of R2", "ben approved step 1 (Set it) of R2.",
		"R5, step 1 (Wipe it): fail: Destructive steps are frozen",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the record lacks %q:\n%s", want, got)
		}
	}
	if code, out, errs := h.opsbot("", "incidents", "list"); code != exitWell || !strings.Contains(out, "INC-1") || !strings.Contains(out, "monitoring") {
		t.Errorf("list exits with %d: %s%s", code, out, errs)
	}
	h.noDefects()
}
