package trial_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"opsbot/runbooks"
	"opsbot/runbooks/trial"
)

var tested = doc("a", ping, flush, rate, "id: tick\ndo: manual\nask: { users: { type: int } }")

// What is wrong with a test file is told at its place.
func TestParseProblems(t *testing.T) {
	t.Parallel()
	lib, rb, _ := load(t, tested)
	const good = "cases:\n  - name: x\n    expect: { verdict: pass }\n"
	if _, problems := trial.Parse("x.test.yaml", []byte(good), rb, lib); len(problems) > 0 {
		t.Fatalf("a sound file has problems: %v", problems)
	}
	for text, want := range map[string]string{
		"":                                       "x.test.yaml:1:1: RT102 a test file must be a map, not nothing",
		"cases: []":                              "x.test.yaml:1:1: RT102 a test file needs cases: a list of at least one",
		"casess: []\n" + good:                    `x.test.yaml:1:1: RT101 a test file has no key "casess" (did you mean cases?)`,
		"cases: [{ name: x }]":                   `x.test.yaml:1:9: RT102 the case "x" needs expect: what must come of it`,
		"cases: [{ name: x, expect: {} }]":       `x.test.yaml:1:28: RT102 expect must name something: a case that expects nothing cannot fail`,
		"cases: [{ expect: { verdict: pass } }]": "x.test.yaml:1:9: RT102 a case needs a name",
		good + "  - { name: x, expect: { ends: failed } }":                `x.test.yaml:4:5: RT102 there are two cases called "x"`,
		"cases:\n  - name: x\n    name: y\n":                              `x.test.yaml:3:5: RB101 mapping key "name" already defined on line 2`,
		"cases: &a [*a]":                                                  "x.test.yaml:1:8: RB101 anchors, aliases, merge keys and tags are not part of the format (write the value out, or quote it)",
		"cases: [\xff]":                                                   "x.test.yaml: RB107 the file is not UTF-8 text",
		good + "x: " + strings.Repeat("y", 5000):                          "x.test.yaml:4:1: RB107 line is longer than 4 KiB",
		"cases:" + strings.Repeat("\n  - "+strings.Repeat("y", 500), 150): "x.test.yaml:1:1: RB101 block is longer than 64 KiB",
		"cases:" + strings.Repeat("\n  - {}", 101):                        "x.test.yaml:102:5: RT102 more than 100 cases in one file",

		"steps: { pong: {} }\n" + good:                                         `x.test.yaml:1:10: RT103 a has no step "pong" (did you mean ping?)`,
		"earlier: { pong: {} }\n" + good:                                       `x.test.yaml:1:12: RT103 a has no step "pong" (did you mean ping?)`,
		"earlier: { ping: { ms: 3 } }\n" + good:                                `x.test.yaml:1:20: RT101 what step ping saved has no key "ms"`,
		"earlier: 3\n" + good:                                                  `x.test.yaml:1:10: RT102 earlier must be a map of step ids, not "3"`,
		"steps: { tick: {} }\n" + good:                                         `x.test.yaml:1:10: RT104 step tick is "manual" and calls no action (what people answer belongs under answers)`,
		"steps: { ping: [] }\n" + good:                                         "x.test.yaml:1:16: RT102 step ping needs 1 to 200 replies",
		"steps: { ping: { resalt: {} } }\n" + good:                             `x.test.yaml:1:18: RT101 a reply of ping has no key "resalt" (did you mean result?)`,
		"steps: { ping: { takes: soon } }\n" + good:                            `x.test.yaml:1:25: RT102 takes must be a duration such as 30s or 5m, not "soon"`,
		"steps: { ping: { preview: {} } }\n" + good:                            "x.test.yaml:1:18: RT104 redis.ping has no preview",
		"steps: { wipe: { preview: { effect: harmless } } }\n" + good:          `x.test.yaml:1:37: RT102 effect cannot be "harmless" (there are read, change, destructive)`,
		"steps:\n  rate:\n    result: { lookupss: 3 }\n" + good:                `x.test.yaml:3:15: RT105 the result of redis.hit_rate has no field "lookupss" (did you mean lookups?)`,
		"steps:\n  rate:\n    result: { lookups: 3.5 }\n" + good:               `x.test.yaml:3:24: RT105 lookups must be a whole number, not "3.5"`,
		"steps:\n  rate:\n    result: { rate: high }\n" + good:                 `x.test.yaml:3:21: RT105 rate must be a number, not "high"`,
		"steps:\n  rate:\n    result: { reset: 1 }\n" + good:                   `x.test.yaml:3:22: RT105 reset must be true or false, not "1"`,
		"steps:\n  ping: [{}, { result: 3 }]\n" + good:                         `x.test.yaml:2:24: RT105 the result of redis.ping must be a map, not "3"`,
		"answers: { tick: perhaps }\n" + good:                                  `x.test.yaml:1:18: RT102 an answer cannot be "perhaps" (there are yes, cancel, deny, silence, retry, skip, rollback, stop, done)`,
		"answers: { wipe: { reason: why } }\n" + good:                          "x.test.yaml:1:18: RT102 an answer for wipe needs answer: one of yes, cancel, deny, silence, retry, skip, rollback, stop, done",
		"answers: { tick: { fields: { user: 3 } } }\n" + good:                  `x.test.yaml:1:30: RT104 step tick has no field "user" (did you mean users?)`,
		"environment: { name: x, critical: very }\n" + good:                    `x.test.yaml:1:35: RT102 critical must be true or false, not "very"`,
		"params: { want: 3 }\n" + good:                                         "x.test.yaml:1:11: RT106 want must be at most 1, not 3",
		"cases: [{ name: x, params: { wand: 1 }, expect: { verdict: pass } }]": "x.test.yaml:1:30: RT106 ",
		"runs: { b: {} }\n" + good:                                             `x.test.yaml:1:9: RT103 there is no runbook "b"`,
		"cases: [{ name: x, expect: { path: ping } }]":                         `x.test.yaml:1:36: RT102 path must be a list, not "ping"`,
		"cases: [{ name: x, expect: { path: [ping: fine] } }]":                 `x.test.yaml:1:43: RT102 the status of ping cannot be "fine" (there are pass, warn, fail, unknown, skipped)`,
		"cases: [{ name: x, expect: { path: [pong] } }]":                       `x.test.yaml:1:37: RT103 a has no step "pong" (did you mean ping?)`,
		"cases: [{ name: x, expect: { asked: [wipe: { reviewers: two }] } }]":  `x.test.yaml:1:57: RT102 reviewers must be a number, not "two"`,
		"cases: [{ name: x, expect: { verdict: fine } }]":                      `x.test.yaml:1:39: RT102 verdict cannot be "fine" (there are pass, warn, fail, unknown)`,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			suite, problems := trial.Parse("x.test.yaml", []byte(text), rb, lib)
			if suite != nil {
				t.Error("there is a suite")
			}
			if len(problems) == 0 || !strings.HasPrefix(problems[0].String(), want) || strings.HasSuffix(want, ")") && problems[0].String() != want {
				t.Errorf("problems are\n%v, want\n%s", problems, want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	if got := trial.FileFor("ops/cache-fix.md"); got != "ops/cache-fix.test.yaml" {
		t.Errorf("FileFor() = %q", got)
	}
	if got, ok := trial.RunbookFile("ops/cache-fix.test.yaml"); got != "ops/cache-fix.md" || !ok {
		t.Errorf("RunbookFile() = %q, %t", got, ok)
	}
	if _, ok := trial.RunbookFile("cache-fix.yaml"); ok {
		t.Error("any YAML file is taken for a test file")
	}
}

// Whatever is in a test file, it is a suite or it has problems at places in
// the file.
func FuzzParse(f *testing.F) {
	lib, rb, _ := load(f, tested)
	for _, seed := range []string{
		"cases:\n  - name: x\n    expect: { verdict: pass }\n",
		"steps: { ping: [{ error: x }, { result: { ms: 1 }, takes: 3s, output: y }], wipe: { preview: { effect: change, impact: [a] } } }\nenvironment: { name: p, critical: true }\ncases: []",
		"answers: { tick: { fields: { users: 3 } }, wipe: [deny, { answer: silence }] }\nparams: { want: 0.3 }\nruns: { a: { steps: { rate: { result: { rate: null } } } } }",
		"cases: [{ name: x, expect: { path: [ping, wipe: skipped], asked: [wipe: { type: x, reviewers: 2, by: [a] }], offered: [b], ends: failed, outcome: [x], report: { contains: x, lacks: [y] } } }]",
		"cases: {", "? - ? -", "\ufeffcases: [\t]", "'", "cases:\r\n- name: \"\\u00e9\"\r\n  expect: {verdict: warn}\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		suite, problems := trial.Parse("f", []byte(text), rb, lib)
		if (suite == nil) != (len(problems) > 0) {
			t.Fatalf("suite %v with %d problems", suite, len(problems))
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range problems {
			if p.Pos == (runbooks.Pos{}) {
				continue
			}
			if p.Pos.Line < 1 || p.Pos.Line > lines || p.Pos.Col < 1 {
				t.Errorf("%s is not a place in %d lines", p, lines)
			}
			if !utf8.ValidString(p.String()) {
				t.Errorf("%q is not UTF-8", p.String())
			}
		}
	})
}
