package runbooks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/fault"
	"opsbot/runbooks"
	"opsbot/runbooks/library"
)

func cacheFix(t testing.TB) *runbooks.Runbook {
	t.Helper()
	l, problems := runbooks.Load(released(t), library.FS)
	rb, ok := l.Find("cache-fix")
	if !ok {
		t.Fatalf("cache-fix is broken:\n%v", problems)
	}
	return rb
}

func rate(f float64) *float64 { return &f }

// journal gives a value as a restart finds it.
func journal(t testing.TB, v any) any {
	t.Helper()
	if v == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var back any
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// The conditions of cache-fix must decide what a person on call would, on
// results as actions return them and as the journal gives them back.
func TestCacheFixDecides(t *testing.T) {
	t.Parallel()
	rb := cacheFix(t)
	params, problems := rb.CheckParams(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	step := func(status runbooks.Status, result any) runbooks.StepScope {
		return runbooks.StepScope{Status: status, Result: result}
	}
	for _, test := range []struct {
		name  string
		step  string
		cond  func(*runbooks.Step) *runbooks.Expr
		scope runbooks.Scope
		want  bool
		known bool
	}{
		{"clear on a low rate", "clear", when, runbooks.Scope{Steps: map[string]runbooks.StepScope{
			"before": step(runbooks.Pass, rateResult{Lookups: 50, Rate: rate(0.3)}), "keys": step(runbooks.Pass, countResult{Matched: 500})}}, true, true},
		{"not on a good rate", "clear", when, runbooks.Scope{Steps: map[string]runbooks.StepScope{
			"before": step(runbooks.Pass, rateResult{Lookups: 50, Rate: rate(0.6)}), "keys": step(runbooks.Pass, countResult{Matched: 500})}}, false, true},
		{"not when the count failed", "clear", when, runbooks.Scope{Steps: map[string]runbooks.StepScope{
			"before": step(runbooks.Pass, rateResult{Rate: rate(0.3)}), "keys": step(runbooks.Fail, countResult{Matched: 5})}}, false, true},
		{"yes when the count warned", "clear", when, runbooks.Scope{Steps: map[string]runbooks.StepScope{
			"before": step(runbooks.Pass, rateResult{Rate: rate(0.3)}), "keys": step(runbooks.Warn, countResult{Matched: 5})}}, true, true},
		{"not without data", "clear", when, runbooks.Scope{Steps: map[string]runbooks.StepScope{
			"before": step(runbooks.Unknown, rateResult{}), "keys": step(runbooks.Pass, countResult{Matched: 500})}}, false, true},
		{"not when the measurement was skipped", "clear", when, runbooks.Scope{Steps: map[string]runbooks.StepScope{
			"before": step(runbooks.Skipped, nil), "keys": step(runbooks.Pass, countResult{Matched: 500})}}, false, true},
		{"not when nothing ran", "clear", when, runbooks.Scope{}, false, true},
		{"enough lookups", "before", expects(0), runbooks.Scope{Result: rateResult{Lookups: 100}}, true, true},
		{"too few lookups", "before", expects(0), runbooks.Scope{Result: rateResult{Lookups: 99}}, false, true},
		{"no result at all", "before", expects(0), runbooks.Scope{}, false, false},
		{"a primary", "info", expects(0), runbooks.Scope{Result: redisInfo{Role: "master"}}, true, true},
		{"a replica", "info", expects(0), runbooks.Scope{Result: redisInfo{Role: "slave"}}, false, true},
		{"saved", "info", expects(1), runbooks.Scope{Result: redisInfo{LastSaveOK: true}}, true, true},
		{"warmed", "warm", expects(0), runbooks.Scope{Result: warmResult{OK: 50}}, true, true},
		{"rate reached", "after", until, runbooks.Scope{Result: rateResult{Lookups: 100, Rate: rate(0.6)}}, true, true},
		{"rate not reached", "after", until, runbooks.Scope{Result: rateResult{Lookups: 100, Rate: rate(0.59)}}, false, true},
		{"rate of too few lookups", "after", until, runbooks.Scope{Result: rateResult{Lookups: 99, Rate: rate(1)}}, false, false},
		{"no rate yet", "after", until, runbooks.Scope{Result: rateResult{}}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cond := test.cond(rb.Step(test.step))
			test.scope.Params = params
			for _, again := range []bool{false, true} {
				if again {
					test.scope.Result = journal(t, test.scope.Result)
					steps := map[string]runbooks.StepScope{}
					for id, s := range test.scope.Steps {
						s.Result = journal(t, s.Result)
						steps[id] = s
					}
					test.scope.Steps = steps
				}
				got, known, err := cond.Bool(&test.scope)
				if got != test.want || known != test.known || err != nil {
					t.Errorf("%s from the journal=%t: Bool() = %t, %t, %v, want %t, %t", cond, again, got, known, err, test.want, test.known)
				}
			}
		})
	}
}

func when(s *runbooks.Step) *runbooks.Expr  { return s.When }
func until(s *runbooks.Step) *runbooks.Expr { return s.Watch.Until }
func expects(i int) func(*runbooks.Step) *runbooks.Expr {
	return func(s *runbooks.Step) *runbooks.Expr { return s.Expect[i].That }
}

// saving makes a runbook whose step saves the expression, and returns it.
func saving(t testing.TB, expression string) (*runbooks.Expr, runbooks.Problems) {
	t.Helper()
	quoted := strings.ReplaceAll(expression, "'", "''")
	text := `---
format: 1
runbook: x
uses: { cache: redis, docker: docker, db: postgres, metrics: prometheus }
params:
  n: { type: int, default: 3 }
  f: { type: float, default: 0.5 }
  d: { type: duration, default: 30s }
  s: { type: string, default: abc }
  opt: { type: int }
  list: { type: list, of: string, default: [a, b] }
---
# Title

## 1. A

` + "```yaml step\nid: a\ndo: redis.hit_rate\non_fail: continue\n```\n\n## 2. B\n\n```yaml step\nid: b\ndo: prometheus.query\nsave: { x: '" + quoted + "' }\n```\n" +
		"\n## Report\n\n```markdown report\nx\n```\n"
	rb, problems := runbooks.Parse("x.md", []byte(text), catalog(t))
	if rb == nil {
		return nil, problems
	}
	return rb.Step("b").Save[0].Expr, nil
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	scope := &runbooks.Scope{
		Params: map[string]any{"n": 3, "f": 0.5, "d": 30 * time.Second, "s": "abc", "list": []any{"a", "b"}},
		Run:    runbooks.RunScope{ID: "R1", Environment: "demo", Elapsed: 90 * time.Second, Changes: []string{"clear"}, Started: time.Unix(0, 0).UTC()},
		Steps:  map[string]runbooks.StepScope{"a": {Status: runbooks.Fail, Result: rateResult{Hits: 6, Misses: 4, Lookups: 10, Rate: rate(0.6)}}},
		Result: queryResult{Series: []sample{
			{Labels: map[string]string{"status": "500"}, Value: rate(2)}, {Labels: map[string]string{"status": "401"}}}},
	}
	for _, test := range []struct {
		text string
		want any // an error: what its text contains
	}{
		{`1 + 2 * 3`, 7},
		{`params.n / 2`, 1.5},
		{`params.f * 100`, 50.0},
		{`params.n > 2 and params.f < 1`, true},
		{`params.d > duration("29s")`, true},
		{`params.d * 2`, time.Minute},
		{`params.s + "d"`, "abcd"},
		{`params.opt ?? 7`, 7},
		{`params.opt == nil`, true},
		{`params.opt > 1`, errors.New("no data")},
		{`params.list`, []any{"a", "b"}},
		{`join(params.list, "-")`, "a-b"},
		{`len(params.list)`, 2},
		{`"a" in params.list and not ("c" in params.list)`, true},
		{`filter(params.list, # != "a")`, []any{"b"}},
		{`map(params.list, upper(#))`, []any{"A", "B"}},
		{`any(params.list, # startsWith "b")`, true},
		{`count(result.series, .value != nil)`, 1},
		{`steps.a.failed`, true},
		{`steps.a?.result?.rate ?? 0`, 0.6},
		{`ratio(steps.a?.result?.hits ?? 0, 10)`, 0.6},
		{`ratio(1, 0)`, nil},
		{`ratio(1, 0) ?? 1`, 1},
		{`pct(ratio(1, 0))`, "no data"},
		{`pct(steps.a?.result?.rate)`, "60 %"},
		{`pct(0.12345)`, "12.3 %"},
		{`measured(nil, "ms")`, "no data"},
		{`measured(31.4, "ms")`, "31 ms"},
		{`measured(0.24, "ms")`, "0.2 ms"},
		{`measured(1200, "")`, "1200"},
		{`measured(0, "tables")`, "0 tables"},
		{`size(nil)`, "no data"},
		{`size(0)`, "0 B"},
		{`size(1023)`, "1023 B"},
		{`size(1536)`, "1.5 KiB"},
		{`size(268435456)`, "256 MiB"},
		{`series(result, "status", "500") ?? 0`, 2.0},
		{`series(result, "status", "401") ?? 0`, 0},
		{`series(result, "status", "503")`, nil},
		{`bytes("1GiB")`, 1 << 30},
		{`bytes("64kB")`, 64000},
		{`grep(["x: error", "fine"], "(?i)ERROR")`, []any{"x: error"}},
		{`ok("a")`, false},
		{`ran("a")`, true},
		{`mark("a")`, "✗"},
		{`run.environment + "/" + run.id`, "demo/R1"},
		{`run.elapsed`, 90 * time.Second},
		{`run.changes`, []any{"clear"}},
		{`params.f > 0 ? "yes" : "no"`, "yes"},
		{`result.value`, nil},
		{`result.value > 1`, errors.New("no data")},
		{`(result.value ?? 2) > 1`, true},
		{`not (params.n == 3)`, false},
		{`sum([1, 2, 3])`, 6},
		{`max(1, 2.5)`, 2.5},
		{`first(params.list) ?? ""`, "a"},
		{`params.s matches "^a.c$"`, true},
		{`result.series[5].value`, errors.New("out of range")},
		{`-params.n`, -3},
		{`params.n % 2`, 1},
		{`0 * 2.5 == 0`, true},
		{`10 ** 400 > 1`, errors.New("no data")},
		{`sortBy(result.series, .labels["status"])[0].labels["status"]`, "401"},
		{`split("a,b", ",")[1]`, "b"},
	} {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			e, problems := saving(t, test.text)
			if e == nil {
				t.Fatal(problems)
			}
			again := *scope
			again.Result = journal(t, scope.Result)
			for _, s := range []*runbooks.Scope{scope, &again} {
				got, err := e.Eval(s)
				if want, ok := test.want.(error); ok {
					if err == nil || !strings.Contains(err.Error(), want.Error()) || fault.KindOf(err) != fault.Invalid {
						t.Errorf("Eval() = %v, %v, want an error with %q", got, err, want)
					}
					if strings.Contains(want.Error(), "no data") != errors.Is(err, runbooks.ErrNoData) {
						t.Errorf("errors.Is(%v, ErrNoData) is wrong", err)
					}
					continue
				}
				if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
					t.Errorf("Eval() error %v (-want +got):\n%s", err, diff)
				}
			}
		})
	}
}

func TestExpressionsRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("(", 1500) + "1" + strings.Repeat(")", 1500)
	for _, test := range []struct{ text, code string }{
		{strings.Repeat("1+", 300) + "1", "RB301"},
		{deep, ""},
		{`params.s matches "` + strings.Repeat("a", 1001) + `"`, "RB301"},
		{`"a" + 1`, "RB301"},
		{`params.s > 1`, "RB301"},
		{`params.list > 1`, "RB301"},
		{`params.f ?? "none" > 1`, "RB301"},
		{`not params.n`, "RB301"},
		{`params.n ? 1 : 2`, "RB301"},
		{`params`, ""},
		{`result.value.x`, "RB301"},
		{`run.started.Year()`, "RB301"},
		{`repeat("a", 1000000)`, "RB301"},
		{`date("2026-01-01")`, "RB301"},
		{`reduce([1], #acc + #, 0)`, "RB301"},
		{`toJSON(params)`, "RB301"},
		{`__need(1)`, "RB301"},
		{`__meter`, "RB301"},
		{`steps[params.s]`, "RB301"},
		{`ok(params.s)`, "RB301"},
		{`grep(params.list, params.s)`, "RB301"},
		{`grep(params.n, "x")`, "RB301"},
		{`ratio("a", 1)`, "RB301"},
		{`len(1, 2)`, "RB301"},
		{`filter(params.list)`, "RB301"},
		{`prev.value`, "RB301"},
		{`secret("x")`, "RB401"},
		{`steps.a.result.hits`, "RB312"},
		{`steps.b.result`, "RB311"},
		{`steps.zz.failed`, "RB310"},
		{`1 / params.n`, "RB303"},
		{`params.n % 0`, "RB303"},
		{`1..params.n`, "RB301"},
		{`if true { 1 } else { 2 }`, "RB301"},
		{`1; 2`, "RB301"},
		{`"a" matches "["`, "RB301"},
		{`bytes("many")`, "RB301"},
		{``, "RB301"},
	} {
		t.Run(test.text[:min(30, len(test.text))], func(t *testing.T) {
			t.Parallel()
			e, problems := saving(t, test.text)
			if test.code == "" {
				if e == nil {
					t.Errorf("it is refused: %v", problems)
				}
				return
			}
			if len(problems) == 0 || problems[0].Code != test.code {
				t.Errorf("problems are %v, want %s", problems, test.code)
			}
		})
	}
}

// What one evaluation can cost is bounded whatever the results are.
func TestExpressionBudget(t *testing.T) {
	t.Parallel()
	lines := make([]string, 5000)
	for i := range lines {
		lines[i] = strings.Repeat("x", 1000)
	}
	series := make([]sample, 3000)
	e, problems := saving(t, `len(result.series)`)
	if e == nil {
		t.Fatal(problems)
	}
	got, err := e.Eval(&runbooks.Scope{Result: queryResult{Series: series}})
	if got != 1000 || err != nil {
		t.Errorf("a list of 3,000 has %v elements (%v), want 1,000", got, err)
	}
	for _, text := range []string{
		`map(1..1000, map(1..1000, #))`,
		`map(1..1000, map(1..1000, params.s + params.s))`,
		`map(1..1000, upper(params.s))`,
		`join(map(1..1000, params.s), params.s)`,
	} {
		e, problems := saving(t, text)
		if e == nil {
			t.Fatal(problems)
		}
		_, err := e.Eval(&runbooks.Scope{Params: map[string]any{"s": strings.Join(lines[:100], "")}})
		if err == nil {
			t.Errorf("%s is not bounded", text)
		}
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	rb := cacheFix(t)
	params, _ := rb.CheckParams(map[string]string{"prefix": "tmp_"})
	scope := &runbooks.Scope{Params: params, Run: runbooks.RunScope{Environment: "demo", Verdict: "pass", Elapsed: 95 * time.Second},
		Steps: map[string]runbooks.StepScope{
			"before": {Status: runbooks.Pass, Result: rateResult{Rate: rate(0.25)}}, "keys": {Status: runbooks.Pass, Result: countResult{Matched: 400, Total: 500}},
			"clear": {Status: runbooks.Pass, Result: flushResult{Deleted: 400}}, "after": {Status: runbooks.Fail, Result: rateResult{}},
		}}
	clear := rb.Step("clear")
	with, err := runbooks.ResolveWith(clear.With, scope)
	want := map[string]any{"mode": "prefix", "pattern": "tmp_*", "types": []any{"string"}}
	if diff := cmp.Diff(want, with); diff != "" || err != nil {
		t.Errorf("ResolveWith() error %v (-want +got):\n%s", err, diff)
	}
	with, err = runbooks.ResolveWith(rb.Step("before").With, scope)
	if diff := cmp.Diff(map[string]any{"window": 30 * time.Second}, with); diff != "" || err != nil {
		t.Errorf("a lone ${{ }} keeps its type: error %v (-want +got):\n%s", err, diff)
	}
	text, err := clear.Confirm.Text.Text(scope, nil)
	if text != "Remove up to 400 of 500 keys? How busy the database is, opsbot cannot see here." || err != nil {
		t.Errorf("Text() = %q, %v", text, err)
	}
	report, err := rb.Report.Text(scope, nil)
	if want := "*Cache fix* pass in 1m35s\n✓ removed 400 keys\n✗ hit rate 25 % → no data\n"; report != want || err != nil {
		t.Errorf("the report is %q, %v, want %q", report, err, want)
	}
	// Only what is filled in is escaped, and it is never read again.
	scope.Result = redisInfo{Role: "<!channel> ${{ params.prefix }}"}
	say, err := rb.Step("info").Expect[0].Say.Text(scope, func(s string) string { return strings.ReplaceAll(s, "<", "&lt;") })
	if want := "this is a &lt;!channel> ${{ params.prefix }}, not a primary"; say != want || err != nil {
		t.Errorf("Text() = %q, %v, want %q", say, err, want)
	}
	if _, err := rb.Step("before").Expect[0].Say.Text(&runbooks.Scope{}, nil); !errors.Is(err, runbooks.ErrNoData) && err == nil {
		t.Errorf("Text() without a result = %v, want an error", err)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	text := "---\nformat: 1\nrunbook: x\nuses: { api: http }\n---\n# T\n\n## 1. G\n\n```yaml step\nid: g\ndo: http.get\n" +
		"with:\n  path: /\n  headers: { Authorization: \"Bearer ${{ secret('token') }}\", Cookie: \"${{ secret('cookie') }}\" }\n```\n"
	rb, problems := runbooks.Parse("x.md", []byte(text), catalog(t))
	if rb == nil {
		t.Fatal(problems)
	}
	headers := rb.Step("g").With["headers"]
	if diff := cmp.Diff([]string{"cookie", "token"}, headers.Secrets()); diff != "" {
		t.Errorf("Secrets() (-want +got):\n%s", diff)
	}
	got, err := headers.Resolve(&runbooks.Scope{Secret: func(name string) (string, error) { return name + "!", nil }})
	if diff := cmp.Diff(map[string]any{"Authorization": "Bearer token!", "Cookie": "cookie!"}, got); diff != "" || err != nil {
		t.Errorf("Resolve() error %v (-want +got):\n%s", err, diff)
	}
	if _, err := headers.Resolve(&runbooks.Scope{}); err == nil {
		t.Error("without a source of secrets Resolve() has no error")
	}
}

func TestDecodeArgs(t *testing.T) {
	t.Parallel()
	spec := func(name string) runbooks.Spec {
		a, ok := catalog(t).Action(name)
		if !ok {
			t.Fatalf("no action %s", name)
		}
		return a.Spec()
	}
	for _, test := range []struct {
		action string
		with   map[string]any
		want   any // a string: part of the error
	}{
		{"redis.hit_rate", nil, &rateArgs{Window: 30 * time.Second}},
		{"redis.hit_rate", map[string]any{"window": "1m"}, &rateArgs{Window: time.Minute}},
		{"redis.hit_rate", map[string]any{"window": time.Minute}, &rateArgs{Window: time.Minute}},
		{"redis.hit_rate", map[string]any{"window": "1s"}, "at least 5s"},
		{"redis.hit_rate", map[string]any{"window": 7}, "must be a duration"},
		{"redis.hit_rate", map[string]any{"windw": 7}, "no argument"},
		{"redis.count_keys", map[string]any{}, `needs the argument "pattern"`},
		{"redis.count_keys", map[string]any{"pattern": "a*", "sample": "50"}, &countArgs{Pattern: "a*", Sample: 50}},
		{"redis.count_keys", map[string]any{"pattern": "a*", "sample": 1.5}, "must be an int"},
		{"redis.flush", map[string]any{"mode": "prefix", "types": []any{"string", "hash"}}, &flushArgs{Mode: "prefix", Types: []string{"string", "hash"}}},
		{"redis.flush", map[string]any{"mode": "prefix"}, &flushArgs{Mode: "prefix", Types: []string{"string"}}},
		{"redis.flush", map[string]any{"mode": "prefix", "types": "string,hash"}, "must be a list"},
		{"redis.flush", map[string]any{"mode": "prefix", "types": []any{"strng"}}, "must be one of"},
		{"http.get", map[string]any{"path": "/", "headers": map[string]any{"A": "b"}}, &getArgs{Path: "/", Headers: map[string]string{"A": "b"}}},
		{"redis.info", nil, &struct{}{}},
	} {
		t.Run(fmt.Sprint(test.action, test.with), func(t *testing.T) {
			t.Parallel()
			got, err := runbooks.DecodeArgs(spec(test.action), test.with)
			if want, ok := test.want.(string); ok {
				if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
					t.Errorf("DecodeArgs() = %v, want %q", err, want)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("DecodeArgs() error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDecodeResult(t *testing.T) {
	t.Parallel()
	for _, a := range testActions() {
		spec := a.Spec()
		data, err := json.Marshal(spec.Result)
		if err != nil {
			t.Fatal(err)
		}
		got, err := runbooks.DecodeResult(spec, data)
		if diff := cmp.Diff(spec.Result, got); diff != "" || err != nil {
			t.Errorf("%s: DecodeResult() error %v (-want +got):\n%s", spec.Name, err, diff)
		}
		if got, err := runbooks.DecodeResult(spec, nil); got != nil || err != nil {
			t.Errorf("%s: DecodeResult(nil) = %v, %v", spec.Name, got, err)
		}
	}
}

func TestNewCatalog(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		spec runbooks.Spec
	}{
		{"a name without a verb", runbooks.Spec{Name: "redis"}},
		{"a name in upper case", runbooks.Spec{Name: "Redis.info"}},
		{"an argument without a tag", runbooks.Spec{Name: "redis.x", Args: struct{ A string }{}}},
		{"a default that breaks its rule", runbooks.Spec{Name: "redis.x", Args: struct {
			A int `arg:"a" default:"1" min:"5"`
		}{}}},
		{"arguments that are no struct", runbooks.Spec{Name: "redis.x", Args: 5}},
		{"a result that is no struct", runbooks.Spec{Name: "redis.x", Result: 5}},
		{"a result with a channel", runbooks.Spec{Name: "redis.x", Result: struct{ C chan int }{}}},
		{"a negative timeout", runbooks.Spec{Name: "redis.x", Timeout: -1}},
		{"a bad pattern", runbooks.Spec{Name: "redis.x", Args: struct {
			A string `arg:"a" pattern:"("`
		}{}}},
	} {
		if _, err := runbooks.NewCatalog([]runbooks.Action{testAction{test.spec}}); err == nil {
			t.Errorf("NewCatalog() takes %s", test.name)
		}
	}
	twice := []runbooks.Action{testAction{runbooks.Spec{Name: "redis.x"}}}
	if _, err := runbooks.NewCatalog(twice, twice); err == nil {
		t.Error("NewCatalog() takes the same action twice")
	}
}
