package trial_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"opsbot/runbooks"
	"opsbot/runbooks/trial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const head = `---
format: 1
runbook: %s
owner: sre
roles: { run: [oncall], approve: [sre] }
uses: { cache: redis, api: http }
params: { want: { type: float, default: 0.5, min: 0, max: 1 } }
timeout: 20m
defaults: { timeout: 1m }
---
# Test of %[1]s

A runbook for a test.
`

// doc is a runbook's file of step blocks and a report.
func doc(slug string, steps ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, slug)
	report := "${{ run.verdict }} <${{ run.elapsed }}> on ${{ run.environment }}"
	for i, s := range steps {
		if strings.HasPrefix(s, "## ") {
			b.WriteString("\n" + s + "\n")
			continue
		}
		fmt.Fprintf(&b, "\n## %d. Step\n\nProse.\n\n```yaml step\n%s\n```\n", i+1, strings.TrimSpace(s))
	}
	fmt.Fprintf(&b, "\n## Report\n\n```markdown report\n%s\n```\n", report)
	return b.String()
}

// load parses the runbooks; the first is the one that is tested.
func load(t testing.TB, docs ...string) (*runbooks.Library, *runbooks.Runbook, *runbooks.Catalog) {
	t.Helper()
	catalog := catalogOf(t)
	files := fstest.MapFS{}
	for i, d := range docs {
		files[fmt.Sprintf("doc%d.md", i)] = &fstest.MapFile{Data: []byte(d)}
	}
	lib, problems := runbooks.Load(catalog, files)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for _, rb := range lib.All() {
		if rb.File == "doc0.md" {
			return lib, rb, catalog
		}
	}
	t.Fatal("the first runbook is not in the library")
	return nil, nil, nil
}

// run runs a test file, which must be sound, and gives the failures as lines.
func run(t *testing.T, cases string, docs ...string) []string {
	t.Helper()
	lib, rb, catalog := load(t, docs...)
	suite, problems := trial.Parse("x.test.yaml", []byte(cases), rb, lib)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	results, err := suite.Run(t.Context(), trial.Options{Library: lib, Catalog: catalog})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(suite.Cases) {
		t.Errorf("%d results of %d cases", len(results), len(suite.Cases))
	}
	var out []string
	for _, r := range results {
		for _, f := range r.Failures {
			out = append(out, fmt.Sprintf("%s:%d:%d %s: %s", r.Case.Name, f.Pos.Line, f.Pos.Col, f.What, f.Message))
			if f.Diff != "" {
				out = append(out, strings.Split(f.Diff, "\n")...)
			}
		}
		if r.Passed() != (len(r.Failures) == 0) {
			t.Errorf("%s: Passed() is %t with %d failures", r.Case.Name, r.Passed(), len(r.Failures))
		}
	}
	return out
}

const (
	ping  = "id: ping\ndo: redis.ping\ntarget: cache"
	flush = "id: wipe\ndo: redis.flush\ntarget: cache\nwith: { mode: prefix, pattern: \"x*\" }\nconfirm: Remove them?"
	rate  = "id: rate\ndo: redis.hit_rate\ntarget: cache\nsave: { now: result.rate }"
)

// Everything that a case can say has its effect.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		docs  []string
		cases string
	}{
		"waits and watches take no time": {
			[]string{doc("a", "id: pause\ndo: wait\nwith: { for: 9m }", rate+"\nwatch: { every: 10s, for: 10m, until: (result.rate ?? 0) > params.want, hold: 2 }")},
			`
cases:
  - name: it rises
    params: { want: 0.6 }
    steps: { rate: [{ result: { rate: 0.2 } }, { result: { rate: 0.7 } }, { result: { rate: 0.5 } }, { result: { rate: 0.8 } }] }
    expect: { path: [pause, rate], report: pass <9m40s> on test }
  - name: it does not
    steps: { rate: { result: { lookups: 5 } } }
    expect: { path: [pause, rate: fail], verdict: fail, ends: failed, outcome: not seen within 10 min }
`,
		},
		"the run before": {
			[]string{doc("a", rate+"\nexpect: (result.rate ?? 0) >= (earlier(\"rate\", \"now\") ?? 0)")},
			`
steps: { rate: { result: { rate: 0.4 } } }
earlier: { rate: { now: 0.3 } }
cases:
  - { name: better, expect: { path: [rate] } }
  - { name: worse, earlier: { rate: { now: 0.5 } }, expect: { path: [rate: fail] } }
`,
		},
		"retries with a growing delay": {
			[]string{doc("a", "id: warm\ndo: http.warm\ntarget: api\nwith: { list: x }\nretry: { times: 2, delay: 10s, backoff: 3 }\nexpect: result.failed == 0")},
			`
steps: { warm: [{ error: no route }, { result: { failed: 1 } }, { result: { ok: 3 } }] }
cases:
  - { name: third, expect: { path: [warm], report: pass <40s> on test } }
  - { name: never, steps: { warm: { error: no route } }, expect: { path: [warm: fail], outcome: [no route, step 1], report: fail <40s> on test } }
`,
		},
		"how long an action takes counts": {
			[]string{doc("a", ping, strings.Replace(ping, "id: ping", "id: second", 1))},
			`
steps: { second: { result: { ms: 0.5 } } }
cases:
  - { name: slow, steps: { ping: { takes: 4s } }, expect: { path: [ping, second], report: pass <4s> on test } }
  - { name: too slow, steps: { ping: { takes: 5m } }, expect: { path: [ping: fail], outcome: took too long, report: fail <1m> on test } }
`,
		},
		"gates are as strong as in earnest": {
			[]string{doc("a", flush)},
			`
steps: { wipe: { result: { deleted: 3 }, preview: { impact: ["removes 3 keys"] } } }
cases:
  - name: by default everybody agrees
    expect: { path: [wipe], ends: succeeded, asked: [wipe: { effect: destructive, type: test, reviewers: 1, by: sre }] }
  - name: critical
    environment: { name: production, critical: true }
    expect: { path: [wipe], asked: [wipe: { type: production, reviewers: 2 }], report: pass <0s> on production }
  - name: not confirmed
    answers: { wipe: cancel }
    expect: { path: [wipe: skipped], ends: canceled, outcome: canceled by ann, asked: [wipe: { reviewers: 0 }] }
  - name: denied
    answers: { wipe: { answer: deny, reason: not now } }
    expect: { path: [wipe: skipped], ends: canceled, outcome: "denied by cleo at 09:00 UTC: not now" }
  - name: nobody answers
    answers: { wipe: silence }
    expect: { path: [wipe: skipped], ends: canceled, outcome: nobody confirmed within 15 min }
`,
		},
		"a preview may raise the effect": {
			[]string{doc("a", strings.Replace(flush, "mode: prefix", "mode: prefix", 1))},
			`
cases:
  - { name: raised, steps: { wipe: { preview: { effect: destructive, reasons: sessions } } }, expect: { asked: [wipe: { effect: destructive }] } }
`,
		},
		"people choose after a failure": {
			[]string{doc("a", ping+"\non_fail: ask", "## Rollback\n\n### Undo\n\nProse.\n\n```yaml step\nid: undo\ndo: redis.ping\ntarget: cache\n```")},
			`
steps: { ping: { error: down }, undo: {} }
cases:
  - { name: retry, steps: { ping: [{ error: down }, { error: down }, {}] }, answers: { ping: [retry, retry] }, expect: { path: [ping], asked: [ping, ping: { choices: [retry, skip, rollback, stop] }] } }
  - { name: skip, answers: { ping: { answer: skip, reason: known } }, expect: { path: [ping: skipped], ends: succeeded } }
  - { name: rollback, answers: { ping: rollback }, expect: { path: [ping: fail, undo], ends: failed, outcome: Rolled back } }
  - { name: stop, answers: { ping: stop }, expect: { path: [ping: fail], ends: canceled } }
  - { name: silence, answers: { ping: silence }, expect: { ends: canceled, outcome: nobody answered } }
`,
		},
		"manual steps have fields": {
			[]string{doc("a", "id: look\ndo: manual\nask: { users: { type: int, required: true }, note: { type: string, default: none } }\nexpect: result.users > 5", "id: tick\ndo: manual")},
			`
cases:
  - { name: enough, answers: { look: { fields: { users: 7 } } }, expect: { path: [look, tick] } }
  - { name: too few, answers: { look: { fields: { users: 3 } } }, expect: { path: [look: fail], asked: [look: { by: oncall }] } }
`,
		},
		"one element after another": {
			[]string{doc("a", "id: all\ndo: http.warm\ntarget: api\nwith: { list: \"${{ part }}\" }\neach: { in: '[\"a\", \"b\", \"c\"]', as: part }\nexpect: sum(map(result, .ok)) == 6")},
			`
cases:
  - { name: sums, steps: { all: [{ result: { ok: 1 } }, { result: { ok: 2 } }, { result: { ok: 3 } }] }, expect: { path: [all] } }
  - { name: breaks, steps: { all: [{}, { error: second }] }, expect: { path: [all: fail], outcome: element 2 of 3 } }
`,
		},
		"a runbook that another one runs": {
			[]string{doc("a", ping+"\non_fail: { run: b, then: resume }", strings.Replace(ping, "id: ping", "id: after", 1)), doc("b", ping, flush)},
			`
steps: { ping: { error: down }, after: {} }
runs: { b: { steps: { ping: {}, wipe: { result: { deleted: 2 } } } } }
cases:
  - { name: cures, expect: { path: [ping: fail, after] } }
  - { name: denied, runs: { b: { answers: { wipe: deny } } }, expect: { ends: failed } }
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := run(t, c.cases, c.docs...); len(got) > 0 {
				t.Errorf("failures:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// What is not as expected is told with its place and what came instead.
func TestFailures(t *testing.T) {
	t.Parallel()
	got := run(t, `
steps: { ping: {}, wipe: { result: { deleted: 3 } } }
cases:
  - name: all wrong
    expect:
      path: [ping, wipe: skipped]
      asked: [wipe: { reviewers: 2, type: production }]
      offered: [b]
      verdict: fail
      ends: canceled
      outcome: [Done, Undone]
      report: { contains: fail, lacks: pass }
  - name: nothing said
    steps: { ping: { error: down } }
    answers: { wipe: [yes, deny] }
    expect: { path: [ping] }
  - name: wrong answer
    answers: { ping: retry }
    expect: { report: "pass" }
`, doc("a", ping, flush))
	want := []string{
		"all wrong:6:13 path: path is not as expected",
		" ping: pass",
		"-wipe: skipped",
		"+wipe: pass",
		"all wrong:7:14 asked: asked is not as expected",
		`-wipe: type "production", reviewers 2`,
		`+wipe: effect destructive, type "test", reviewers 1, by sre`,
		"all wrong:8:16 offered: offered is not as expected",
		"-b",
		`all wrong:9:16 verdict: verdict is "pass", want "fail"`,
		`all wrong:10:13 ends: ends is "succeeded", want "canceled"`,
		"all wrong:11:23 outcome: the run ended with “Done.”, without \"Undone\" in it",
		"all wrong:12:27 report: report is not as expected",
		"-fail",
		"+pass <0s> on test",
		`all wrong:12:40 report: "pass" is in the report:`,
		"pass <0s> on test",
		"nothing said:16:21 path: path is not as expected",
		"-ping: pass",
		"+ping: fail",
		"nothing said:15:23 answers: the answer yes for wipe was not used: nothing asked for it",
		"nothing said:15:28 answers: the answer deny for wipe was not used: nothing asked for it",
		"wrong answer:19:23 report: report is not as expected",
		"-pass",
		"+pass <0s> on test",
		"wrong answer:18:22 answers: the answer retry for ping was not used: nothing asked for it",
	}
	if d := cmp.Diff(want, strings.Split(strings.Join(got, "\n"), "\n")); d != "" {
		t.Errorf("failures (-want +got):\n%s", d)
	}
}

// A case that cannot go on says why, and ends.
func TestStuck(t *testing.T) {
	t.Parallel()
	got := run(t, `
cases:
  - { name: no reply, expect: { ends: failed } }
  - { name: no answer, steps: { ping: { error: down } }, expect: { ends: canceled } }
  - { name: round and round, steps: { ping: { error: down } }, answers: { ping: [`+strings.Repeat("retry, ", 50)+`] }, expect: { ends: canceled } }
  - { name: refused answer, steps: { ping: {} }, answers: { fill: { fields: { users: many } } }, expect: { ends: canceled } }
`, doc("a", ping+"\non_fail: ask", "id: fill\ndo: manual\nask: { users: { type: int, required: true } }"))
	for _, want := range []string{
		"no reply:3:5 steps: ping acted, but the test says nothing about what it answers",
		"no answer:4:5 answers: ping asks “Down. How shall it go on?”, and the test gives no answer; one of retry, skip, stop",
		"round and round:5:5 answers: more than 50 questions were asked: does something go round in circles?",
		"refused answer:6:67 answers: the answer done for fill was refused: users: users must be a whole number, not \"many\".",
	} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
}
