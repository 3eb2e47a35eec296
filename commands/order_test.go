package commands_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"opsbot/commands"
	"opsbot/incidents"
	"opsbot/internal/fault"
)

func TestParseOrder(t *testing.T) {
	t.Parallel()
	teams, users := []incidents.Alarm{incidents.ForTeams}, []incidents.Alarm{incidents.ForUsers}
	for line, want := range map[string]commands.Order{
		"incident":                                           {Verb: "declare"},
		"Incident declare API down":                          {Verb: "declare", Rest: "API down"},
		"incident new sev2 “API down”":                       {Verb: "declare", Rest: "API down", Severity: incidents.Sev2},
		"incident declare SEV-1 --drill API down":            {Verb: "declare", Rest: "API down", Severity: incidents.Sev1, Drill: true},
		"incident declare 1 of 3 nodes is gone":              {Verb: "declare", Rest: "1 of 3 nodes is gone"},
		"incident INC-7":                                     {Verb: "show", Ref: 7},
		"incident inc7 status mon looks good":                {Verb: "status", Ref: 7, State: incidents.Monitoring, Rest: "looks good"},
		"incident status INC-7 fixing":                       {Verb: "status", Ref: 7, State: incidents.Fixing},
		"incident status":                                    {Verb: "status"},
		"incident ic me":                                     {Verb: "lead", Person: "me"},
		"incident comms U024BE7LH":                           {Verb: "comms", Person: "U024BE7LH"},
		"incident add U024BE7LH as DBA":                      {Verb: "add", Person: "U024BE7LH", Tag: "dba"},
		"incident severity 2 only the shop":                  {Verb: "sev", Severity: incidents.Sev2, Rest: "only the shop"},
		"incident update looking into it":                    {Verb: "update", Rest: "looking into it"},
		"incident update users back soon next 15m":           {Verb: "update", Audiences: users, Rest: "back soon", For: 15 * time.Minute},
		"incident update teams what is next":                 {Verb: "update", Audiences: teams, Rest: "what is next"},
		"incident update both next 1 hour":                   {Verb: "update", Audiences: incidents.Audiences, For: time.Hour},
		"incident update it is back next 1 hour 30 minutes":  {Verb: "update", Rest: "it is back", For: 90 * time.Minute},
		"incident INC-7 time resolved 03:10 UTC clocks":      {Verb: "time", Ref: 7, Moment: "resolved", At: "03:10 UTC", Rest: "clocks"},
		"incident summary it was the cache":                  {Verb: "summary", Rest: "it was the cache"},
		"incident snooze 1 hour":                             {Verb: "snooze", For: time.Hour},
		"incident update next hour":                          {Verb: "update", Rest: "next hour"},
		"incident update line 1\nline 2":                     {Verb: "update", Rest: "line 1\nline 2"},
		"incident no-change users":                           {Verb: "no-change", Audiences: users},
		"incident snooze 5":                                  {Verb: "snooze", For: 5 * time.Minute},
		"incident snooze teams 10 min":                       {Verb: "snooze", Audiences: teams, For: 10 * time.Minute},
		"incident note at 14:05 disk full":                   {Verb: "note", At: "14:05", Rest: "disk full"},
		"incident note at 14:05 UTC disk full":               {Verb: "note", At: "14:05 UTC", Rest: "disk full"},
		"incident note at 2026-11-25 4:05 disk":              {Verb: "note", At: "2026-11-25 4:05", Rest: "disk"},
		"incident note at last it is over":                   {Verb: "note", Rest: "at last it is over"},
		"incident hide #12 the wrong thread":                 {Verb: "hide", Number: 12, Rest: "the wrong thread"},
		"incident hide INC-7":                                {Verb: "hide", Ref: 7},
		"incident task add an alert":                         {Verb: "task", Rest: "add an alert"},
		"incident task add an alert U024BE7LH by 2026-12-01": {Verb: "task", Rest: "add an alert", Person: "U024BE7LH", Due: "2026-12-01"},
		"incident task add an alert 2026-12-01 me":           {Verb: "task", Rest: "add an alert", Person: "me", Due: "2026-12-01"},
		"incident task INC-7 2":                              {Verb: "task", Ref: 7, Number: 2},
		"incident done #2":                                   {Verb: "done", Number: 2},
		"incident run cache-fix prefix=a":                    {Verb: "run", Rest: "cache-fix prefix=a"},
		"incident approve R12":                               {Verb: "approve", ID: "R12"},
		"incident merge INC-3":                               {Verb: "merge", Other: 3},
		"incident merge INC-3 into INC-4":                    {Verb: "merge", Ref: 3, Other: 4},
		"incident INC-3 merge INC-4":                         {Verb: "merge", Ref: 3, Other: 4},
		"incident reopen it’s back":                          {Verb: "reopen", Rest: "it's back"},
		"incident security":                                  {Verb: "security", On: true},
		"incident security off false alarm":                  {Verb: "security", Rest: "false alarm"},
		"incident export json":                               {Verb: "export", Format: "json"},
		"incident help Update":                               {Verb: "help", Rest: "update"},
		"incident accept INC-1 comms":                        {Verb: "accept", Ref: 1, Role: incidents.Comms},
	} {
		got, err := commands.ParseOrder(line)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("ParseOrder(%q) = %+v, %v\nwant %+v", line, got, err, want)
		}
	}
}

func TestParseOrderRefuses(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"incident resolv it":                         "Did you mean incident resolve?",
		"incident API down":                          "To declare one: incident declare api down",
		"incident status nonsense":                   "is no status",
		"incident sev 4":                             "is no severity",
		"incident sev":                               "",
		"incident lead @ann":                         "Choose the person from the list",
		"incident add U024BE7LH dba":                 "a tag follows as",
		"incident add U024BE7LH as a b":              "A tag is one word",
		"incident done two":                          "Which task?",
		"incident merge cheese":                      "is no incident",
		"incident merge INC-1 INC-2 3":               "is no incident",
		"incident approve everything":                "Which run?",
		"incident snooze until tomorrow":             "no length of time",
		"incident list mine":                         "is no list",
		"incident export pdf":                        "There is no export",
		"incident accept observer":                   "Which role?",
		"runbook list":                               "begin with incident",
		"incident note " + strings.Repeat("x", 3001): "at most 3000",
	} {
		_, err := commands.ParseOrder(line)
		if want == "" {
			if err != nil {
				t.Errorf("ParseOrder(%q) = %v", line, err)
			}
			continue
		}
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), want) {
			t.Errorf("ParseOrder(%q) = %v, want Invalid with %q", line, err, want)
		}
	}
}

// Every verb and every alias has a word of help.
func TestIncidentHelp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.router.Incidents = incidents.New(incidents.Options{})
	for _, verb := range []string{"leave", "snooze", "done", "runs", "export", "stats", "time", "summary", "deny", "no-change", "ic", "pm", "metrics", "update", "help"} {
		r, err := h.handle(commands.Request{Actor: ann, Line: "incident help " + verb})
		if err != nil || len(r.Answer.Items) != 1 || r.Answer.Text != "" {
			t.Errorf("help %s: %+v, %v", verb, r.Answer, err)
		}
	}
}

// Whatever is typed is read or refused with words, and never as something else
// than its verb.
func FuzzParseOrder(f *testing.F) {
	for _, line := range []string{
		"incident", "incident declare sev1 --drill x", "incident INC-7 update both hello next 15m", "incident note at 2026-11-25 14:05 UTC x",
		"incident task a b me by 2026-12-01", "incident merge INC-1 into INC-2", "incident update \x00\n next ", "incident snooze 999999h", "incident note at 99:99 x",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		o, err := commands.ParseOrder(line)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || !utf8.ValidString(fault.Say(err)) && utf8.ValidString(line) {
				t.Fatalf("ParseOrder(%q) = %v", line, err)
			}
			return
		}
		if !strings.Contains(" "+strings.Join(commands.Orders, " ")+" ", " "+o.Verb+" ") || o.For < 0 || o.Number < 0 {
			t.Errorf("ParseOrder(%q) = %+v", line, o)
		}
	})
}
