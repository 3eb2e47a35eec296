package blocks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"opsbot/commands"
	"opsbot/internal/outbox"
)

// A Sample is one message or view that the bot can send, as JSON in the shape
// that Slack's blocks.validate takes in its argument of the name Kind.
type Sample struct {
	Name string // "ask-review-open": unique, fit for a file's name
	Kind string // "message" or "view"
	JSON []byte
}

// Corpus returns a sample of every kind of message and view that the bot can
// send, in the states they go through, with hostile and over-long input too.
func Corpus() []Sample {
	at := time.Date(2026, 11, 23, 3, 14, 0, 0, time.UTC)
	var all []Sample
	for _, s := range contents(at) {
		m := Render(s.content, at)
		shape := struct {
			Text   string        `json:"text"`
			Blocks []slack.Block `json:"blocks,omitempty"`
		}{m.Text, m.Blocks}
		all = append(all, Sample{s.name, "message", encode(shape)})
	}
	for _, s := range homes(at) {
		all = append(all, Sample{s.name, "view", encode(Home(s.home))})
	}
	for _, s := range forms() {
		all = append(all, Sample{s.name, "view", encode(View(s.form))})
	}
	return all
}

// encode writes indented JSON with <, > and & as they are, for people to read.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		// Only a type that JSON cannot hold fails, and there is none in a block.
		panic(fmt.Sprintf("blocks: encode sample: %v", err))
	}
	return b.Bytes()
}

type contentSample struct {
	name    string
	content outbox.Content
}

type formSample struct {
	name string
	form commands.Form
}

const (
	hostile = "<!channel> <@U999|boss> & <https://evil.example|click> ```*bold* _it_ ~no~ \u202egnp.exe\x00\x1b[31mred"
	stem    = "0190f3c2-7a1b-7c3d-9e4f-5a6b7c8d9e0f"
)

var endless = strings.Repeat("no end & <!here> in sight 🙈 ", 500)

func contents(at time.Time) []contentSample {
	var all []contentSample
	add := func(name string, c outbox.Content) { all = append(all, contentSample{name, c}) }

	addCards(add, at)
	addAsks(add, at)

	add("line-restarted", outbox.Line{Run: stem, Text: "opsbot restarted; step 5 goes on."})
	add("line-needs-you", outbox.Line{Run: stem, Users: []string{"U024BE7LH"}, Groups: []string{"S0614TZR7"}, Text: "R12 needs you: review Clear our keys on demo."})
	add("line-output", outbox.Line{Run: stem, Text: "Output of step 1, Is Redis well?", Code: "role:master\nused_memory:41943040\nmaxmemory:41943040\nconnected_clients:31"})
	add("line-long-output", outbox.Line{Run: stem, Text: "Output of step 3, Whose keys are in there?", Code: strings.Repeat("prod_user:1234 <string> ttl=-1 & more\n", 400)})
	var journal strings.Builder
	for i := range 300 {
		fmt.Fprintf(&journal, "12:00:%02d api-1 GET /api/v1/orders/%d 500 in %d ms\n", i/5, i, 20+i)
	}
	add("line-output-head", outbox.Line{Run: stem, Text: "Output of step 2 (Read the log).", Code: journal.String(), Lines: 10})
	add("line-output-tail", outbox.Line{Run: stem, Text: "Output of step 2 (Read the log).", Code: journal.String(), Lines: 200, Tail: true})
	add("line-hostile", outbox.Line{Users: []string{hostile}, Groups: []string{hostile}, Text: hostile, Code: hostile})
	add("line-endless", outbox.Line{Users: repeat("U024BE7LH", 60), Text: endless, Code: endless})
	add("line-empty", outbox.Line{})

	add("report-pass", outbox.Report{Run: stem, Number: 12, Title: "Cache troubleshooting", Verdict: "pass", Users: []string{"U024BE7LH"},
		BodyMarkup: "*Cache fix* pass in 6m12s\n✓ removed 9412 keys\n✓ hit rate 3 % → 91 %"})
	add("report-fail", outbox.Report{Run: stem, Number: 13, Title: "Cache troubleshooting", Verdict: "fail",
		BodyMarkup: "*Cache fix* fail in 5m40s\n– removed 0 keys\n✗ hit rate 3 % → no data"})
	add("report-hostile", outbox.Report{Number: 14, Title: hostile, Verdict: "warn", BodyMarkup: "<!channel> <!here|here> " + esc(hostile)})
	add("report-endless", outbox.Report{Number: 15, Title: endless, Verdict: "unknown", BodyMarkup: strings.Repeat("✓ *step* done <https://example.com/a/very/long/link|see here> &amp; so on ", 400)})
	add("report-code", outbox.Report{Number: 16, Title: "Database health", Verdict: "pass", BodyMarkup: "Before\n```\n" + strings.Repeat("SELECT 1; -- &lt;idle&gt;\n", 300) + "```\nAfter"})

	addAlerts(add, at)
	addIncidents(add, at)

	add("file", outbox.File{Run: stem, Name: "keys.txt", Title: "Output of step 3 of R12", Text: "prod_user:1\nprod_user:2\n"})

	add("answer-list", outbox.Answer{
		Title: "Runbooks", Text: "1 run waits for you.",
		Items: []outbox.Item{
			{Name: "R12 Cache troubleshooting on demo", Detail: "Review of Clear our keys, until 03:29 UTC", Command: "runbook status R12", Label: "Show"},
			{Name: "cache-fix · Cache troubleshooting", Detail: "Use this when the cache hit rate is below 60 % or the API logs Redis errors. About 10 min.", Command: "runbook run cache-fix", Label: "Run"},
			{Name: "emergency-restart · Emergency restart", Detail: "Restart one service when nothing else helps. About 15 min.", Command: "runbook run emergency-restart", Label: "Run"},
		},
		Hint: "Run one with /runbook NAME, read it with /runbook show NAME. More: /runbook help",
	})
	if help, err := (&commands.Router{}).Handle(context.Background(), commands.Request{Line: "runbook help"}); err == nil && help.Answer != nil {
		add("answer-help", *help.Answer)
	}
	add("answer-show", outbox.Answer{
		Title: "Cache troubleshooting",
		Text: "cache-fix · also cache-troubleshooting · owned by sre · warning · about 10 min\n" +
			"Use this when the cache hit rate is below 60 % or the API logs Redis errors.\nClearing the cache makes requests slow for a few minutes.\n" +
			"May be run by oncall, sre. Approved by sre.\n\n" +
			"prefix=STRING — Key prefix that is ours; prod_ if left out\nwant=FLOAT — Hit rate that counts as fixed; 0.6 if left out",
		Code: `  ╠═ 4. Clear our keys [clear]
  ║    DESTRUCTIVE: redis.flush on cache
  ║    only if (steps.before?.result?.rate ?? 1) <
  ║      params.want and ok("keys")
  ║    GATE 1: the starter types ${{ run.environment }}
  ║    GATE 2: 1 other person of sre agrees within 15m
  ║    GATE 3: before, keys must hold again, read afresh
  ├─ 5. Warm the cache [warm]
  │    http.warm on api
  ├─ 6. Watch the hit rate rise [after]
  │    redis.hit_rate on cache
  │    pass ▸ end ok
╭─┤    fail ▸ go to escalate
│
╰▸┌─ 7. Escalate [escalate]
  │    by hand
  │    done ▸ end failed
`,
		Items: []outbox.Item{{Name: "Run it", Detail: "/runbook run cache-fix", Command: "runbook run cache-fix", Label: "Run"}},
	})
	add("answer-status", outbox.Answer{
		Title: "R12 Cache troubleshooting on demo",
		Text:  "Waiting for people, started by ann 90 s ago.\nNext, sre: approve step 4 (Clear our keys).\nTime left: 15 min.\n\n1. Is Redis well? — pass: primary, 31 clients\n4. Clear our keys — waiting",
		Hint:  "/runbook stop R12 WHY stops it.",
	})
	add("answer-refusal", outbox.Answer{Tone: "error", Text: "You cannot approve this: you started R12.", Hint: "Somebody else of sre must approve it."})
	add("answer-unknown", outbox.Answer{Tone: "error", Text: `There is no runbook "cache-fux".`, Hint: "Did you mean cache-fix? /runbook lists what there is."})
	add("answer-code", outbox.Answer{Title: "Cache troubleshooting", Text: "cache-fix.md", Code: "# Cache troubleshooting\n\nUse this when the hit rate is below 60 %.\n\n```yaml step\ndo: redis.info\n```\n"})
	add("answer-hostile", outbox.Answer{Title: hostile, Text: hostile, Hint: hostile, Code: hostile, Users: []string{hostile},
		Items: []outbox.Item{{Name: hostile, Detail: hostile, Command: hostile, Label: hostile}}})
	add("answer-endless", outbox.Answer{Title: endless, Text: endless, Hint: endless, Code: endless,
		Items: slicesOf(80, func(i int) outbox.Item {
			return outbox.Item{Name: fmt.Sprint("runbook ", i), Detail: endless, Command: endless, Label: endless}
		})})
	add("answer-many", outbox.Answer{Title: "Runs", Items: slicesOf(120, func(i int) outbox.Item {
		return outbox.Item{Name: fmt.Sprintf("R%d Cache troubleshooting on demo", i), Detail: "Done, 6 min", Command: fmt.Sprintf("runbook status R%d", i), Label: "Show"}
	})})
	add("answer-empty", outbox.Answer{})
	return all
}

func addCards(add func(string, outbox.Content), at time.Time) {
	base := outbox.RunCard{
		Run: stem, Number: 12, Runbook: "cache-fix", Title: "Cache troubleshooting", Environment: "demo",
		Starter: "U024BE7LH", StarterName: "ann", Started: at.Add(-90 * time.Second), Stoppable: true,
	}
	titles := []string{
		"1. Is Redis well?", "2. How low is the hit rate now?", "3. Whose keys are in there?", "4. Clear our keys",
		"5. Warm the cache", "6. Watch the hit rate rise", "7. Escalate",
	}
	// steps gives the seven steps their marks; what is missing is pending.
	steps := func(marked ...string) []outbox.StepLine {
		lines := make([]outbox.StepLine, len(titles))
		for i, t := range titles {
			lines[i] = outbox.StepLine{ID: fmt.Sprint("s", i+1), Title: t, Mark: "pending"}
			if i < len(marked) {
				lines[i].Mark, lines[i].Found, _ = strings.Cut(marked[i], " ")
			}
		}
		return lines
	}
	with := func(change func(*outbox.RunCard)) outbox.RunCard {
		c := base
		change(&c)
		return c
	}
	three := []string{"pass primary, 40.0 MiB of 40.0 MiB, 31 clients", "pass 3.1 % of 402 lookups in 30s", "pass 9,412 of 9,730 keys match prod_*"}

	add("run-starting", with(func(c *outbox.RunCard) { c.State, c.Started, c.Steps = "ready", time.Time{}, steps() }))
	add("run-running", with(func(c *outbox.RunCard) { c.State, c.Steps = "ready", steps(three[0], "running counting for 30s") }))
	add("run-waiting-confirm", with(func(c *outbox.RunCard) {
		c.State, c.Steps = "waiting", steps(append(three, "waiting for a confirm")...)
		c.Next, c.NextUsers, c.Until = "confirm step 4 (Clear our keys) by typing demo", []string{"U024BE7LH"}, at.Add(15*time.Minute)
	}))
	add("run-waiting-review", with(func(c *outbox.RunCard) {
		c.State, c.Steps = "waiting", steps(append(three, "waiting for 1 approval")...)
		c.Next, c.NextGroups, c.Until, c.Waiters = "approve step 4 (Clear our keys)", []string{"sre"}, at.Add(15*time.Minute), 2
	}))
	add("run-done", with(func(c *outbox.RunCard) {
		c.State, c.Verdict, c.Stoppable, c.Ended = "succeeded", "pass", false, at.Add(5*time.Minute)
		c.Steps = steps(append(three, "pass 9,412 keys removed in 2.3s", "pass 50 of 50 requests well", "pass 91.2 % twice in a row", "skipped not needed")...)
		c.Next = "The hit rate is back: 91 %."
	}))
	add("run-failed", with(func(c *outbox.RunCard) {
		c.State, c.Verdict, c.Stoppable, c.Ended = "failed", "fail", false, at.Add(time.Minute)
		c.Steps = steps("fail this is a replica, not a primary")
		c.Next = "Failed at step 1 (Is Redis well?): this is a replica, not a primary."
		c.Offers = []outbox.Offer{{ID: "offer-1", Runbook: "emergency-restart", Say: "Restart Redis"},
			{ID: "offer-2", Runbook: "database-health", Say: "Look at the database", Why: "demo has no postgres connection"}}
	}))
	add("run-no-data", with(func(c *outbox.RunCard) {
		c.State, c.Verdict, c.Stoppable, c.Ended = "failed", "unknown", false, at.Add(time.Minute)
		c.Steps = steps(three[0], "unknown only 4 lookups in 30s: too few to judge")
		c.Next = "Stopped by @ben at step 2."
	}))
	add("run-warned", with(func(c *outbox.RunCard) {
		c.State, c.Verdict, c.Stoppable, c.Ended = "succeeded", "warn", false, at.Add(time.Minute)
		c.Steps = steps(three[0], "warn the last save is 3 days old", three[2], "skipped not needed", "skipped", "skipped", "skipped")
	}))
	add("run-stopped", with(func(c *outbox.RunCard) {
		c.State, c.Verdict, c.Stoppable, c.Ended = "canceled", "fail", false, at.Add(time.Minute)
		c.Steps = steps(three[0], three[1])
		c.Next = "Stopped by ben: wrong cluster."
	}))
	add("run-uncertain", with(func(c *outbox.RunCard) {
		c.State, c.Critical, c.Steps = "uncertain", true, steps(append(three, "uncertain opsbot was killed while it ran")...)
		c.Environment, c.Next, c.NextUsers, c.NextGroups = "production", "say what became of step 4", []string{"U024BE7LH"}, []string{"oncall", "S0614TZR7"}
	}))
	add("run-dry", with(func(c *outbox.RunCard) {
		c.State, c.DryRun, c.Steps = "ready", true, steps(append(three, "skipped would remove 9,412 of 9,730 keys")...)
	}))
	add("run-scheduled", with(func(c *outbox.RunCard) {
		c.State, c.Starter, c.StarterName, c.Steps = "ready", "", "the schedule of db-maintenance", steps("running")
	}))
	add("run-hostile", with(func(c *outbox.RunCard) {
		c.State, c.Title, c.Environment, c.Starter, c.Runbook, c.Next = hostile, hostile, hostile, hostile, hostile, hostile
		c.NextUsers, c.NextGroups, c.Run = []string{hostile}, []string{hostile}, hostile
		c.Steps = []outbox.StepLine{{ID: hostile, Title: hostile, Mark: hostile, Found: hostile}, {}}
		c.Offers = []outbox.Offer{{ID: hostile, Runbook: hostile, Say: hostile}, {Why: hostile}}
	}))
	add("run-endless", with(func(c *outbox.RunCard) {
		c.State, c.Title, c.Environment, c.Starter, c.Runbook, c.Next = "waiting", endless, endless, endless, endless, endless
		c.NextUsers, c.NextGroups = repeat("U024BE7LH", 200), repeat(endless, 200)
		c.Steps = slicesOf(300, func(i int) outbox.StepLine {
			return outbox.StepLine{ID: fmt.Sprint(i), Title: endless, Mark: "fail", Found: endless}
		})
		c.Offers = slicesOf(100, func(i int) outbox.Offer { return outbox.Offer{ID: fmt.Sprint(i), Say: endless} })
	}))
	add("run-empty", outbox.RunCard{})
}

func addAsks(add func(string, outbox.Content), at time.Time) {
	base := outbox.Ask{
		Approval: "Zk3vJ0uQ7xw", Run: stem, Number: 12, Runbook: "cache-fix", Title: "Cache troubleshooting", Environment: "demo",
		Step: "clear", StepTitle: "4. Clear our keys", Effect: "destructive",
		Question: "Remove up to 9,412 of 9,730 keys?",
		Target:   "cache, redis 127.0.0.1:6379/0 (bc9658f28ecf997e645b7fca2b98b908eb3c8c46/0)",
		Impact:   []string{"removes 9,412 of 9,730 keys: plain values matching prod_*", "keeps 318 others: queues, locks and sessions"},
		Arguments: []outbox.Fact{
			{Label: "mode", Value: "prefix"}, {Label: "pattern", Value: "prod_*"}, {Label: "types", Value: "[string]"},
		},
		Source: "cache-fix.md:62", Rollback: "The runbook has no rollback for this.", Digest: "a41f9c0de2b7",
		Expires: at.Add(15 * time.Minute), State: "open",
	}
	with := func(change func(*outbox.Ask)) outbox.Ask {
		a := base
		change(&a)
		return a
	}
	approve := []outbox.Choice{{ID: "approve", Label: "Approve", Style: "danger"}, {ID: "deny", Label: "Deny", Reason: true}}
	review := func(a *outbox.Ask) {
		a.Kind, a.Groups, a.Needed, a.Choices = "review", []string{"sre"}, 1, approve
	}
	add("ask-confirm-open", with(func(a *outbox.Ask) {
		a.Kind, a.Users, a.Type = "confirm", []string{"U024BE7LH"}, "demo"
		a.Choices = []outbox.Choice{{ID: "confirm", Label: "Confirm", Style: "danger"}, {ID: "cancel", Label: "Don't do it"}}
	}))
	add("ask-confirm-plain", with(func(a *outbox.Ask) {
		a.Kind, a.Users, a.Effect = "confirm", []string{"U024BE7LH"}, "change"
		a.Choices = []outbox.Choice{{ID: "confirm", Label: "Confirm", Style: "primary"}, {ID: "cancel", Label: "Don't do it"}}
	}))
	add("ask-confirm-granted", with(func(a *outbox.Ask) {
		a.Kind, a.State, a.Outcome, a.OutcomeBy = "confirm", "granted", "Confirmed by ann at 03:14 UTC", "U024BE7LH"
	}))
	add("ask-review-open", with(review))
	add("ask-review-critical", with(func(a *outbox.Ask) {
		review(a)
		a.Environment, a.Critical, a.Needed, a.Groups = "production", true, 2, []string{"sre", "S0614TZR7"}
		a.Reasons = []string{"production is critical", "nothing undoes it"}
		a.Votes = []outbox.Vote{{User: "U0G9QF9C6", Decision: "approve", At: at}}
		a.Link = "https://acme.slack.com/archives/C1/p1234567890123456"
	}))
	add("ask-review-granted", with(func(a *outbox.Ask) {
		review(a)
		a.State, a.Outcome, a.Votes = "granted", "Approved", []outbox.Vote{{User: "U0G9QF9C6", Decision: "approve", At: at}}
	}))
	add("ask-review-denied", with(func(a *outbox.Ask) {
		review(a)
		a.State, a.Outcome = "denied", "Denied"
		a.Votes = []outbox.Vote{{User: "U0G9QF9C6", Decision: "deny", Reason: "there is a deployment going on", At: at}}
	}))
	add("ask-review-expired", with(func(a *outbox.Ask) {
		review(a)
		a.State, a.Outcome = "expired", "Nobody approved in 15 min, which means no."
		a.Choices = append(approve[:2:2], outbox.Choice{ID: "again", Label: "Ask again"})
	}))
	add("ask-review-void", with(func(a *outbox.Ask) {
		review(a)
		a.State, a.Outcome = "void", "The number of keys changed from 9,412 to 31,007; it is asked again."
	}))
	add("ask-failed-step", with(func(a *outbox.Ask) {
		a.Kind, a.Users, a.Groups, a.Impact, a.Arguments, a.Effect = "ask", []string{"U024BE7LH"}, []string{"oncall", "sre"}, nil, nil, "read"
		a.StepTitle, a.Question, a.Rollback, a.Digest = "2. How low is the hit rate now?", "No data: only 4 lookups in 30s, too few to judge. How shall it go on?", "", ""
		a.Expires = at.Add(24 * time.Hour)
		a.Choices = []outbox.Choice{{ID: "retry", Label: "Retry", Style: "primary"}, {ID: "skip", Label: "Skip", Reason: true}, {ID: "stop", Label: "Stop", Style: "danger"}}
	}))
	add("ask-manual", with(func(a *outbox.Ask) {
		a.Kind, a.Users, a.Impact, a.Arguments, a.Target, a.Effect = "manual", []string{"U024BE7LH"}, nil, nil, "", "read"
		a.StepTitle, a.Question, a.Rollback, a.Digest = "7. Escalate", "Do this by hand, then tick it off.", "", ""
		a.Items = []string{"Check whether a deployment in the last hour changed cache keys", "Page the owner of the cache"}
		a.Fields = []outbox.Field{{Name: "cause", Label: "cause", Type: "string", Help: "What did you find?", Required: true}}
		a.Choices = []outbox.Choice{{ID: "done", Label: "Done", Style: "primary"}, {ID: "stop", Label: "Stop the run", Reason: true}}
	}))
	add("ask-uncertain", with(func(a *outbox.Ask) {
		a.Kind, a.Users, a.Groups = "uncertain", []string{"U024BE7LH"}, []string{"sre"}
		a.Question = "opsbot was killed while this step ran. Whether the keys are gone is not known. What became of it?"
		a.Choices = []outbox.Choice{{ID: "done", Label: "It is done", Reason: true}, {ID: "redo", Label: "Do it again", Style: "danger"},
			{ID: "skip", Label: "Skip it", Reason: true}, {ID: "stop", Label: "Stop the run", Style: "danger"}}
	}))
	add("ask-hostile", with(func(a *outbox.Ask) {
		a.Kind, a.Environment, a.StepTitle, a.Question, a.Target, a.Type = hostile, hostile, hostile, hostile, hostile, hostile
		a.Impact, a.Reasons, a.Items, a.Users, a.Groups = []string{hostile}, []string{hostile}, []string{hostile}, []string{hostile}, []string{hostile}
		a.Arguments, a.Source, a.Rollback, a.Digest, a.Link = []outbox.Fact{{Label: hostile, Value: hostile}}, hostile, hostile, hostile, hostile
		a.Votes = []outbox.Vote{{User: hostile, Decision: hostile, Reason: hostile}}
		a.Choices = []outbox.Choice{{ID: hostile, Label: hostile, Style: hostile}, {ID: "deny", Label: hostile, Style: "danger"}}
	}))
	add("ask-endless", with(func(a *outbox.Ask) {
		a.Kind, a.Environment, a.StepTitle, a.Question, a.Target = "review", endless, endless, endless, endless
		a.Impact, a.Reasons, a.Items = repeat(endless, 50), repeat(endless, 50), repeat(endless, 50)
		a.Users, a.Groups = repeat("U024BE7LH", 100), repeat(endless, 100)
		a.Arguments = slicesOf(60, func(i int) outbox.Fact { return outbox.Fact{Label: endless, Value: endless} })
		a.Source, a.Rollback, a.Digest, a.Needed = endless, endless, endless, 2
		a.Votes = slicesOf(60, func(i int) outbox.Vote {
			return outbox.Vote{User: "U024BE7LH", Decision: "approve", Reason: endless, At: at}
		})
		a.Choices = slicesOf(60, func(i int) outbox.Choice {
			return outbox.Choice{ID: fmt.Sprint("c", i), Label: endless, Style: "danger"}
		})
	}))
	add("ask-empty", outbox.Ask{})
}

func addAlerts(add func(string, outbox.Content), at time.Time) {
	firing := outbox.Alert{
		Title: "CacheHitRateLow", State: "firing", Severity: "warning", Environment: "demo", Text: "The cache misses too often.",
		Since: at.Add(-4 * time.Minute), Link: "http://alerts.example:9093",
		Alerts: []outbox.AlertLine{
			{Labels: "instance=cache-1:9121", Text: "Hit rate 41 % for 5 minutes.", State: "firing", Since: at.Add(-4 * time.Minute)},
			{Labels: "instance=cache-2:9121", State: "resolved", Since: at.Add(-9 * time.Minute)},
		},
		Runbooks: []outbox.Item{
			{Name: "Cache troubleshooting", Command: "runbook run cache-fix env=demo", Label: "Run cache-fix"},
			{Name: "Performance diagnosis", Command: "runbook run performance-diagnosis env=demo", Label: "Run performance-diagnosis"},
		},
	}
	add("alert-firing", firing)
	own := firing
	own.Group, own.Incident = "0123456789abcdef01234567", "INC-7"
	add("alert-of-incident", own)
	noted := firing
	noted.Group, noted.Noted = own.Group, "INC-7"
	add("alert-noted", noted)
	resolved := firing
	resolved.State, resolved.Ended = "resolved", at.Add(-time.Minute)
	resolved.Alerts = []outbox.AlertLine{{Labels: "instance=cache-1:9121", State: "resolved", Since: at.Add(-4 * time.Minute)}}
	add("alert-resolved", resolved)
	alone := firing
	alone.Runbooks, alone.Link = nil, ""
	add("alert-without-runbook", alone)
	add("alert-hostile", outbox.Alert{Title: hostile, State: hostile, Severity: hostile, Environment: hostile, Text: hostile, Link: "https://" + hostile,
		Alerts: []outbox.AlertLine{{Labels: hostile, Text: hostile, State: hostile}}, More: -3,
		Runbooks: []outbox.Item{{Name: hostile, Command: hostile, Label: hostile}}})
	add("alert-endless", outbox.Alert{Title: endless, State: "firing", Severity: endless, Environment: endless, Text: endless, Since: at, Link: "https://" + strings.Repeat("x", 5000), More: 500,
		Alerts: slicesOf(1000, func(int) outbox.AlertLine { return outbox.AlertLine{Labels: endless, Text: endless, State: endless} }),
		Runbooks: slicesOf(60, func(i int) outbox.Item {
			return outbox.Item{Name: endless, Command: fmt.Sprint("runbook run x", i), Label: endless}
		})})
	add("alert-empty", outbox.Alert{})
}

func forms() []formSample {
	where := outbox.Conversation{Channel: "C024BE91L", Thread: "1763867640.000100"}
	every := []outbox.Field{
		{Name: "env", Label: "Environment", Type: "enum", Values: []string{"demo", "staging", "production"}, Required: true, Help: "Where to run it."},
		{Name: "service", Label: "service", Type: "service", Required: true, Help: "The service to restart"},
		{Name: "replicas", Label: "replicas", Type: "int", Default: "2"},
		{Name: "want", Label: "want", Type: "float", Default: "0.6", Help: "Hit rate that counts as fixed"},
		{Name: "window", Label: "window", Type: "duration", Default: "30s"},
		{Name: "limit", Label: "limit", Type: "bytes", Default: "1GiB"},
		{Name: "force", Label: "force", Type: "bool", Default: "false"},
		{Name: "zone", Label: "zone", Type: "enum", Values: []string{"a", "b", "c", "d", "e", "f"}, Default: "c"},
		{Name: "owner", Label: "owner", Type: "user", Default: "U024BE7LH"},
		{Name: "room", Label: "room", Type: "channel"},
		{Name: "since", Label: "since", Type: "time", Default: "2026-11-23T03:00:00Z"},
		{Name: "note", Label: "note", Type: "string", Long: true},
	}
	return []formSample{
		{"form-start", commands.Form{Action: commands.ActionStart, Subject: "emergency-restart", Title: "Emergency restart", Intro: "Restart one service when nothing else helps.",
			Submit: "Run", Fields: every, Keep: map[string]string{commands.ValueDryRun: "true"}, Where: where}},
		{"form-confirm", commands.Form{Action: commands.ActionDecide, Subject: "Zk3vJ0uQ7xw", Title: "Confirm on demo", Submit: "Confirm",
			Intro:  "R12 Clear our keys on demo, cache: redis 127.0.0.1:6379/0.\nRemove up to 9,412 of 9,730 keys?",
			Fields: []outbox.Field{{Name: commands.ValueTyped, Label: "Type demo to confirm", Type: "string", Required: true}},
			Must:   map[string]string{commands.ValueTyped: "demo"}, Keep: map[string]string{commands.ValueChoice: "confirm"}, Where: where}},
		{"form-deny", commands.Form{Action: commands.ActionDecide, Subject: "Zk3vJ0uQ7xw", Title: "Deny R12", Submit: "Deny",
			Fields: []outbox.Field{{Name: commands.ValueReason, Label: "Why?", Type: "string", Required: true, Long: true, Help: "It is kept with the run."}},
			Keep:   map[string]string{commands.ValueChoice: "deny"}, Where: where}},
		{"form-hostile", commands.Form{Action: hostile, Subject: hostile, Title: hostile, Intro: hostile, Submit: hostile,
			Fields: []outbox.Field{{Name: hostile, Label: hostile, Type: hostile, Help: hostile, Values: []string{hostile}, Default: hostile}, {Name: hostile}, {}},
			Must:   map[string]string{hostile: hostile}}},
		{"form-endless", commands.Form{Action: "start", Title: endless, Intro: endless, Submit: endless,
			Fields: slicesOf(maxFields, func(i int) outbox.Field {
				return outbox.Field{Name: fmt.Sprint("f", i), Label: endless, Type: endless, Help: endless, Default: endless, Values: repeat(endless, 200)}
			})}},
		{"form-too-much", commands.Form{Action: "start", Subject: endless, Title: "Too much", Submit: "Run"}},
		{"form-empty", commands.Form{}},
	}
}

func repeat(s string, n int) []string { return slicesOf(n, func(int) string { return s }) }

func slicesOf[T any](n int, make1 func(int) T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = make1(i)
	}
	return all
}

// homes are pages of people.
func homes(at time.Time) []struct {
	name string
	home outbox.Home
} {
	quiet := outbox.Home{User: "U024BE7LH", At: at, Sections: []outbox.HomeSection{
		{Title: "Open incidents", Empty: "None. Quiet is good."}, {Title: "Waiting for you", Empty: "Nothing."},
	}}
	busy := outbox.Home{User: "U024BE7LH", At: at, Sections: []outbox.HomeSection{
		{Title: "Open incidents", Items: []outbox.Item{{Name: "INC-7 API down", Detail: "SEV1 · Fixing · 12 min\nNext update: teams 03:19 UTC, users 2 min overdue", Command: "incident show INC-7", Label: "Show"}, {Name: "INC-8 · restricted", Detail: "Assessing"}}},
		{Title: "Waiting for you", Items: []outbox.Item{{Name: "R12 Cache troubleshooting on demo", Detail: "Remove up to 41,220 keys? · until 03:29 UTC", Command: "runbook status R12", Label: "Show"}}},
	}}
	endless := outbox.Home{User: "U024BE7LH", At: at}
	for range 6 {
		s := outbox.HomeSection{Title: strings.Repeat("T", 400)}
		for n := range 40 {
			s.Items = append(s.Items, outbox.Item{Name: strings.Repeat("<!channel> ", 80), Detail: strings.Repeat("ä", 3000), Command: fmt.Sprint("x", n), Label: strings.Repeat("L", 200)})
		}
		endless.Sections = append(endless.Sections, s)
	}
	return []struct {
		name string
		home outbox.Home
	}{{"home-quiet", quiet}, {"home-busy", busy}, {"home-endless", endless}}
}
