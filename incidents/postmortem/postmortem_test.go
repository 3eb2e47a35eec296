package postmortem_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/incidents"
	"opsbot/incidents/postmortem"
	"opsbot/internal/access"
)

var update = flag.Bool("update", false, "write the golden files")

var begin = time.Date(2026, 11, 26, 23, 40, 0, 0, time.UTC)

func at(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }

func person(name string) access.Actor {
	return access.Actor{Kind: access.Person, ID: "U" + strings.ToUpper(name), Name: name, Via: "slack"}
}

func example() postmortem.Record {
	ann, ben, cleo := person("Ann"), person("Ben"), person("Cleo")
	i := &incidents.Incident{
		ID: "01994f6e", Number: 7, Title: "API down | <all> regions", State: incidents.Postmortem, Severity: incidents.Sev1, Declarer: ann,
		Down: "The API answers 500", Affected: "everybody", Impact: "No orders for 41 minutes", Summary: "A lost index; the rollback brought it back.",
		Started: at(0), Detected: at(4), Declared: at(5), Acknowledged: at(7), Mitigated: at(32), Resolved: at(46), Written: at(600), Reopened: 1,
		Roles: []incidents.Role{{Kind: incidents.Commander, Actor: ben, Accepted: at(7)}, {Kind: incidents.Comms, Actor: cleo, Accepted: at(8)}, {Kind: incidents.Responder, Actor: ann, Tag: "dba", Accepted: at(9)}},
		Tasks: []incidents.Task{{Number: 1, Text: "Alert on sequential scans", Owner: "UANN", Due: "2026-12-01"}, {Number: 2, Text: "Rehearse the restore", Done: at(900), Owner: "UBEN"}, {Number: 3, Text: "Ask the vendor"}},
	}
	e := func(seq int64, kind incidents.Kind, by access.Actor, m int, text string, data ...string) incidents.Event {
		ev := incidents.Event{Seq: seq, Kind: kind, Actor: by, Text: text, Occurred: at(m), Recorded: at(m), Data: map[string]string{}}
		for n := 0; n+1 < len(data); n += 2 {
			ev.Data[data[n]] = data[n+1]
		}
		return ev
	}
	events := []incidents.Event{
		e(1, incidents.KindDeclared, ann, 5, i.Title, "severity", "SEV?"),
		e(2, incidents.KindRole, ben, 7, "accepted", "role", "commander", "user", "UBEN", "name", "Ben"),
		e(3, incidents.KindState, ben, 9, "", "from", "declared", "to", "triaging"),
		e(4, incidents.KindSeverity, ben, 9, "all regions", "from", "SEV?", "to", "SEV1"),
		e(5, incidents.KindUpdate, cleo, 12, "We are looking into it.", "audience", "users", "late", "2 min"),
		e(6, incidents.KindState, ben, 14, "", "from", "triaging", "to", "fixing"),
		e(7, incidents.KindRun, ann, 15, "R12 Rollback started by Ann."),
		e(8, incidents.KindNote, ann, 16, "# It is the index `orders_at`"),
		e(9, incidents.KindEdit, ann, 17, "It is the index orders_user"),
		e(10, incidents.KindState, ben, 32, "", "from", "fixing", "to", "monitoring"),
		e(11, incidents.KindReopened, ben, 35, "errors again", "from", "monitoring", "to", "fixing"),
		e(12, incidents.KindState, ben, 40, "", "from", "fixing", "to", "monitoring"),
		e(13, incidents.KindState, ben, 46, i.Summary, "from", "monitoring", "to", "resolved"),
		e(14, incidents.KindNote, cleo, 50, "secret"), e(15, incidents.KindHide, cleo, 51, ""),
	}
	events[8].Of, events[14].Of = 8, 14
	events[7].Recorded = at(20) // back-dated
	u := func(of incidents.Alarm, m, due int, text string, state incidents.UpdateState) incidents.Update {
		return incidents.Update{Audience: of, Text: text, At: at(m), Due: at(due), State: state, By: cleo}
	}
	return postmortem.Record{
		Incident: i, Events: events, Rules: incidents.DefaultRules(),
		Updates: []incidents.Update{
			u(incidents.ForTeams, 9, 10, "looking", incidents.Published), u(incidents.ForUsers, 12, 10, "We are looking into it.", incidents.Published),
			u(incidents.ForUsers, 20, 22, "lol", incidents.Rejected), u(incidents.ForTeams, 30, 14, "rolled back", incidents.Published), u(incidents.ForUsers, 46, 47, "It works again.", incidents.Failed),
		},
		Runs: []postmortem.Run{{
			Number: 12, Title: "Rollback", Where: "production", Starter: "Ann", Reviewers: []string{"Ben", "Cleo"}, Outcome: "succeeded", Started: at(15), Ended: at(31), Planned: 10 * time.Minute, Waited: 3 * time.Minute,
			Steps: []postmortem.Step{
				{ID: "look", Title: "What runs now?", Outcome: "passed", Found: "api:41 | healthy", Took: 20 * time.Second, Tries: 1},
				{ID: "back", Title: "Put back what ran before", Outcome: "passed", Found: "api:40", Took: 9 * time.Minute, Tries: 2},
				{ID: "warm", Title: "Warm the cache", Outcome: "skipped"},
				{ID: "wait", Title: "Wait", Outcome: "passed", Took: 10 * time.Minute, Tries: 1},
			},
		}},
		Name: func(id string) string { return map[string]string{"UANN": "Ann", "UBEN": "Ben"}[id] },
	}
}

func TestDraft(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]postmortem.Record{
		"major": example(),
		"bare":  {Incident: &incidents.Incident{Number: 8, Title: "Slow pages", Severity: incidents.Sev3, Declared: begin, Drill: true, Security: true}},
	} {
		got := postmortem.Draft(r)
		file := filepath.Join("testdata", name+".md")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if why := postmortem.Check(got, r.Incident.Ref()); why != "" {
			t.Errorf("%s: its own draft is refused: %s", name, why)
		}
		if missing := postmortem.Missing(got); len(missing) != len(postmortem.Required) {
			t.Errorf("%s: a fresh draft lacks only %v", name, missing)
		}
	}
}

// Who was never told anything was not told in time: what came due is known from
// the reminders, however often it was reminded of.
func TestPunctuality(t *testing.T) {
	t.Parallel()
	due := func(m int, of string, at int) incidents.Event {
		return incidents.Event{Kind: incidents.KindNudge, Recorded: begin.Add(time.Duration(m) * time.Minute),
			Data: map[string]string{"audience": of, "due": begin.Add(time.Duration(at) * time.Minute).Format(time.RFC3339)}}
	}
	i := &incidents.Incident{Severity: incidents.Sev3, Declared: begin, Resolved: begin.Add(50 * time.Minute)}
	events := []incidents.Event{due(5, "teams", 5), due(10, "users", 10), due(15, "users", 10), due(20, "users", 10), due(40, "teams", 40)}
	sent := func(m, due int) incidents.Update {
		return incidents.Update{Audience: incidents.ForTeams, At: begin.Add(time.Duration(m) * time.Minute), Due: begin.Add(time.Duration(due) * time.Minute), State: incidents.Published}
	}
	got := fmt.Sprintf("%+v", postmortem.Punctuality(i, events, []incidents.Update{sent(7, 5), sent(10, 12)}))
	if want := "[{Of:teams Due:3 Sent:2 Late:1 Missed:1 Latest:2m0s Silence:40m0s} {Of:users Due:1 Sent:0 Late:0 Missed:1 Latest:0s Silence:50m0s}]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	events = append([]incidents.Event{{Kind: incidents.KindDeclared, Data: map[string]string{"severity": "SEV1"}}, {Kind: incidents.KindSeverity, Data: map[string]string{"to": "SEV3"}}}, events...)
	draft := postmortem.Draft(postmortem.Record{Incident: i, Events: events, Rules: incidents.DefaultRules()})
	if want := "| users | 10 min, then – | 1 | 0 | 0 | 0 | 1 | – | 50 min |"; !strings.Contains(draft, want) {
		t.Errorf("the post-mortem lacks %q:\n%s", want, draft)
	}
}

func TestSections(t *testing.T) {
	t.Parallel()
	draft := postmortem.Draft(example())
	text := postmortem.With(draft, postmortem.RootCause, "A migration dropped it.\r\n\r\n## Not a section\n- really")
	text = postmortem.With(text, postmortem.Prevention, "Lint migrations.")
	text = postmortem.With(text, postmortem.Playbooks, "Look at indexes first.")
	text = postmortem.With(text, "Costs", "None.")
	if got := postmortem.Section(text, postmortem.RootCause); got != "A migration dropped it.\n\n### Not a section\n- really" {
		t.Errorf("root cause: %q", got)
	}
	if got := postmortem.Section(text, postmortem.Playbooks); got != "Look at indexes first." {
		t.Errorf("runbooks: %q", got)
	}
	if !strings.Contains(text, "step `warm` was left out") || len(postmortem.Missing(text)) != 0 {
		t.Errorf("what the record knows is gone:\n%s", text)
	}
	// Made anew, with another word in the record: people's words stay.
	later := example()
	later.Incident.Summary = "Another summary."
	renewed := postmortem.Renew(text, postmortem.Draft(later))
	for _, want := range []string{"Another summary.", "A migration dropped it.", "Lint migrations.", "Look at indexes first.", "## Costs\n\nNone."} {
		if !strings.Contains(renewed, want) {
			t.Errorf("after making it anew, %q is missing:\n%s", want, renewed)
		}
	}
	if again := postmortem.Renew(renewed, postmortem.Draft(later)); again != renewed {
		t.Errorf("it is not stable:\n%s", cmp.Diff(renewed, again))
	}
	// Emptied, it asks again.
	if got := postmortem.Missing(postmortem.With(text, postmortem.Prevention, " ")); len(got) != 1 || got[0] != postmortem.Prevention {
		t.Errorf("missing %v", got)
	}
	// What was handed in with other spaces and without a section is read, too.
	if got := postmortem.Section("# x\n##  root cause \nyes\n```\n## no\n```\n", postmortem.RootCause); got != "yes\n```\n## no\n```" {
		t.Errorf("hand-made: %q", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"# Post-mortem of INC-7: API down\n": "", "# INC-7, what we learned": "",
		"":                        "It is empty.",
		"Post-mortem of INC-7":    "no title",
		"# Post-mortem of INC-70": "does not name INC-7",
		"# INC-7 \x00":            "not readable",
		"# INC-7 \xff":            "not readable",
		"# INC-7\n" + strings.Repeat("x", postmortem.MaxText): "at most",
	} {
		if got := postmortem.Check(text, "INC-7"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("Check(%.30q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzSections(f *testing.F) {
	f.Add(postmortem.Draft(example()), "a\n## b\n```\n## c")
	f.Add("## Root cause\nFrom the record:\nx", "")
	f.Fuzz(func(t *testing.T, text, body string) {
		out := postmortem.With(text, postmortem.RootCause, body)
		if strings.TrimSpace(body) == "" {
			return
		}
		// A fence that somebody left open swallows what follows; nothing else may.
		if strings.Contains(text+body, "```") || strings.Contains(text+body, "From the record:") {
			return
		}
		again := postmortem.With(out, postmortem.Prevention, "x")
		if postmortem.Section(again, postmortem.RootCause) != postmortem.Section(out, postmortem.RootCause) {
			t.Fatalf("writing one section changed another:\n%q\n%q", out, again)
		}
	})
}
