package blocks

import (
	"strings"
	"time"

	"opsbot/internal/outbox"
)

// addIncidents adds headlines in all states, and what incidents ask.
func addIncidents(add func(string, outbox.Content), at time.Time) {
	button := func(label, command string) outbox.Item { return outbox.Item{Label: label, Command: command} }
	buttons := []outbox.Item{
		button("Post update", "incident update INC-42"), button("Set status", "incident status INC-42"), button("Roles", "incident roles INC-42"),
		button("Run runbook", "incident run INC-42"), button("More", "incident more INC-42"),
	}
	fresh := outbox.Incident{
		ID: stem, Number: 42, Title: "API down", State: "declared", Word: "Declared", Since: at, Severity: "SEV?", Active: true,
		Declared: at, Commander: "U024BE7LH", Acting: true, CommsWanted: true, Asks: "Accept command, then assess: what is down, and who notices?",
		Clocks:  []outbox.DueLine{{Audience: "teams", Due: at.Add(5 * time.Minute)}, {Audience: "users", Due: at.Add(10 * time.Minute)}},
		Buttons: buttons,
	}
	add("incident-declared", fresh)
	fixing := fresh
	fixing.State, fixing.Word, fixing.Severity, fixing.Lasted, fixing.Declared = "fixing", "Fixing", "SEV1", 23*time.Minute, at.Add(-23*time.Minute)
	fixing.Acting, fixing.Comms, fixing.Started = false, "U0CLEO", at.Add(-31*time.Minute)
	fixing.Down, fixing.Affected, fixing.Impact = "The API answers 502", "everybody", "No orders come in"
	fixing.Asks = "Fix it, or go back to what worked."
	fixing.Clocks = []outbox.DueLine{{Audience: "teams", Due: at.Add(3 * time.Minute)}, {Audience: "users", Due: at.Add(-150 * time.Second)}}
	fixing.Last = &outbox.Said{By: "U0CLEO", At: at.Add(-4 * time.Minute), Audience: "teams", Text: "The database is up again; the API is being restarted."}
	fixing.Runs = []outbox.RunLine{{Number: 14, Title: "Emergency restart", State: "running", Step: "Restart api: waits for approval"}, {Number: 12, Title: "Health check", State: "failed", Step: "Does the API answer? 502"}}
	fixing.Tasks, fixing.TasksOpen = 2, 1
	add("incident-fixing", fixing)
	late := fixing
	late.Clocks = []outbox.DueLine{{Audience: "teams", Due: at.Add(-20 * time.Second)}, {Audience: "users", Due: at.Add(-12 * time.Minute), Snoozed: at.Add(3 * time.Minute)}}
	late.Unpublished = []string{"#status", "site"}
	late.Commander, late.Offered = "", "U0BEN"
	add("incident-late", late)
	watched := fixing
	watched.State, watched.Word, watched.Severity, watched.Reopened, watched.Room = "monitoring", "Monitoring", "SEV2", 1, "C0ROOM"
	watched.Lasted, watched.Asks = 125*time.Minute, "Check that it is over, and that it stays so."
	add("incident-monitoring", watched)
	over := fixing
	over.State, over.Word, over.Active, over.Clocks, over.Outcome, over.Asks = "resolved", "Resolved", false, nil, "A deployment had filled the connection pool; it was rolled back.", "Begin the post-mortem, and say who does what by when."
	over.Buttons = []outbox.Item{button("Set status", "incident status INC-42"), button("Post-mortem", "incident postmortem INC-42"), button("Reopen", "incident reopen INC-42"), button("More", "incident more INC-42")}
	add("incident-resolved", over)
	none := fresh
	none.State, none.Word, none.Active, none.Over, none.Outcome, none.Buttons, none.Clocks, none.Drill = "canceled", "Canceled", false, true, "The probe itself was broken.", nil, nil, true
	add("incident-canceled", none)
	secret := fixing
	secret.Security, secret.Room = true, "C0ROOM"
	add("incident-restricted", secret)
	add("incident-hostile", outbox.Incident{
		Number: 1, Title: hostile, State: hostile, Word: hostile, Severity: hostile, Active: true, Commander: hostile, Offered: hostile, Comms: hostile,
		Down: hostile, Affected: hostile, Impact: hostile, Declared: at, Room: hostile, Asks: hostile, Outcome: hostile,
		Clocks: []outbox.DueLine{{Audience: hostile, Due: at}}, Unpublished: []string{hostile},
		Last:    &outbox.Said{By: hostile, At: at, Audience: hostile, Text: hostile},
		Runs:    []outbox.RunLine{{Number: 1, Title: hostile, State: hostile, Step: hostile}},
		Buttons: []outbox.Item{{Label: hostile, Command: hostile}},
	})
	huge := outbox.Incident{Unpublished: []string{endless, endless},
		Number: 1 << 40, Title: endless, State: "fixing", Word: endless, Severity: endless, Active: true, Commander: endless, Down: endless, Affected: endless,
		Impact: endless, Declared: at, Started: at.Add(-1e6 * time.Hour), Lasted: 1e6 * time.Hour, Asks: endless, Outcome: endless,
		Last: &outbox.Said{By: endless, At: at, Audience: endless, Text: endless},
	}
	for range 40 {
		huge.Clocks = append(huge.Clocks, outbox.DueLine{Audience: endless, Due: at})
		huge.Runs = append(huge.Runs, outbox.RunLine{Number: 1, Title: endless, State: endless, Step: endless})
		huge.Buttons = append(huge.Buttons, button(endless, endless))
	}
	add("incident-endless", huge)
	add("incident-empty", outbox.Incident{})

	add("prompt-roles", outbox.Prompt{
		Users: []string{"U024BE7LH"}, Text: "You are acting commander of INC-42 until you or somebody else accepts. It needs a communications lead, too.",
		Buttons: []outbox.Item{button("Accept command", "incident accept INC-42 commander"), button("Assess", "incident assess INC-42"), button("Take communications", "incident accept INC-42 comms")},
	})
	add("prompt-nudge", outbox.Prompt{
		Users: []string{"U0CLEO"}, Text: "An update to the users is due.",
		Draft:   "Investigating: No orders come in. We are looking for the cause. Next update by 03:24 UTC.",
		Buttons: []outbox.Item{button("Post update", "incident update INC-42 users"), button("No change", "incident no-change INC-42 users"), button("Snooze 5 min", "incident snooze INC-42 users")},
	})
	add("prompt-escalation", outbox.Prompt{Groups: []string{"S0614TZR7"}, Text: "INC-42 has had no commander for 4 min.", Buttons: []outbox.Item{button("Accept", "incident accept INC-42 commander")}})
	add("prompt-room", outbox.Prompt{Text: "INC-42 goes on in its own channel.", Channel: "C0ROOM", Link: "https://example.slack.com/archives/C1/p1795700000000100"})
	add("prompt-hostile", outbox.Prompt{Users: []string{hostile}, Groups: []string{hostile}, Text: hostile, Draft: hostile, Channel: hostile, Link: hostile, Buttons: []outbox.Item{button(hostile, hostile)}})
	add("prompt-endless", outbox.Prompt{Users: repeat("U024BE7LH", 60), Text: endless, Draft: strings.Repeat(endless, 3), Buttons: []outbox.Item{button(endless, endless)}})
	add("prompt-empty", outbox.Prompt{})
}
