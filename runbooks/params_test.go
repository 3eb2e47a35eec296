package runbooks_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/runbooks"
)

const everyParam = `---
format: 1
runbook: every-param
uses: { cache: redis, ops: host }
params:
  prefix: { type: string, default: prod_, pattern: "^[a-z_]+$", max: 10, help: Ours }
  count: { type: int, required: true, min: 1, max: 10, help: How many }
  rate: { type: float, default: 0.6, min: 0, max: 1 }
  dry: { type: bool, default: false }
  window: { type: duration, default: 30s, min: 5s, max: 2m }
  size: { type: bytes, default: 1GiB, max: 4GiB }
  mode: { type: enum, values: [prefix, whole], default: prefix }
  service: { type: service }
  who: { type: user }
  where: { type: channel }
  since: { type: time }
  dump: { type: file, from: "*.dump", max_age: 24h }
  tables: { type: list, of: string, max: 2, default: [users] }
  ports: { type: list, of: int }
---
# Every parameter

## 1. Look

` + "```yaml step\nid: a\ndo: redis.info\n```\n\n## Report\n\n```markdown report\n${{ params.prefix }}\n```\n"

func TestCheckParams(t *testing.T) {
	t.Parallel()
	rb, problems := runbooks.Parse("x.md", []byte(everyParam), catalog(t))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, test := range []struct {
		name, value string
		want        any // a ParamProblem's message, if it is one
		wrong       bool
	}{
		{"prefix", "tmp_", "tmp_", false},
		{"prefix", "TMP", `prefix must match ^[a-z_]+$, and "TMP" does not.`, true},
		{"prefix", "abcdefghijk", "prefix may have at most 10 characters, not 11.", true},
		{"count", "3", 3, false},
		{"count", "0", "count must be at least 1, not 0.", true},
		{"count", "11", "count must be at most 10, not 11.", true},
		{"count", "1.5", `count must be a whole number, not "1.5".`, true},
		{"count", "", `count must be a whole number, not "".`, true},
		{"rate", "0.75", 0.75, false},
		{"rate", "NaN", `rate must be a number, not "NaN".`, true},
		{"rate", "Inf", `rate must be a number, not "Inf".`, true},
		{"rate", "2", "rate must be at most 1, not 2.", true},
		{"dry", "true", true, false},
		{"dry", "maybe", `dry must be true or false, not "maybe".`, true},
		{"window", "1m", time.Minute, false},
		{"window", "60", `window must be a duration such as 30s or 5m, not "60".`, true},
		{"window", "1s", "window must be at least 5s, not 1s.", true},
		{"window", "3m", "window must be at most 2m, not 3m.", true},
		{"size", "512MiB", 512 << 20, false},
		{"size", "5GiB", "size must be at most 4294967296, not 5368709120.", true},
		{"size", "big", `size must be a size such as 512MiB, not "big".`, true},
		{"mode", "whole", "whole", false},
		{"mode", "whol", `mode must be one of prefix, whole, not "whol"; did you mean "whole"?`, true},
		{"service", "api", "api", false},
		{"service", "api; rm -rf /", `service must be the plain name of a service such as api, not "api; rm -rf /".`, true},
		{"service", "-api", `service must be the plain name of a service such as api, not "-api".`, true},
		{"service", strings.Repeat("a", 64), "service must be the plain name of a service such as api, not \"" + strings.Repeat("a", 57) + "…\".", true},
		{"who", "<@U024BE7LH|bob>", "U024BE7LH", false},
		{"who", "bob", `who must be a person, as @name, not "bob".`, true},
		{"where", "<#C024BE91L|ops>", "C024BE91L", false},
		{"since", "2026-03-31T14:00:00Z", time.Date(2026, 3, 31, 14, 0, 0, 0, time.UTC), false},
		{"since", "yesterday", `since must be a time such as 2026-03-31T14:00:00Z, not "yesterday".`, true},
		{"dump", "a.dump", "a.dump", false},
		{"dump", "/var/backups/a.dump", "/var/backups/a.dump", false},
		{"dump", "a.sql", `dump must be the name of a file like *.dump, not "a.sql".`, true},
		{"dump", "../a.dump", `dump must be the name of a file like *.dump, not "../a.dump".`, true},
		{"tables", "users, orders", []any{"users", "orders"}, false},
		{"tables", "a,b,c", "tables may have at most 2 elements, not 3.", true},
		{"ports", "80,443", []any{80, 443}, false},
		{"ports", "80,x", `ports element 2 must be a whole number, not "x".`, true},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Parallel()
			given := map[string]string{"count": "1"}
			given[test.name] = test.value
			typed, problems := rb.CheckParams(given)
			if test.wrong {
				want := []runbooks.ParamProblem{{Name: test.name, Message: test.want.(string)}}
				if diff := cmp.Diff(want, problems); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				return
			}
			if problems != nil {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(test.want, typed[test.name]); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckParamsNames(t *testing.T) {
	t.Parallel()
	rb, _ := runbooks.Parse("x.md", []byte(everyParam), catalog(t))
	_, problems := rb.CheckParams(map[string]string{"widnow": "1m", "zzz": "1"})
	want := []runbooks.ParamProblem{
		{Name: "count", Message: "count is required (How many).", Missing: true},
		{Name: "widnow", Message: `every-param has no parameter "widnow"; did you mean "window"?`},
		{Name: "zzz", Message: `every-param has no parameter "zzz"; it takes prefix, count, rate, dry, window, size, mode, service, who, where, since, dump, tables, ports.`},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParamsSurviveJSON(t *testing.T) {
	t.Parallel()
	rb, _ := runbooks.Parse("x.md", []byte(everyParam), catalog(t))
	typed, problems := rb.CheckParams(map[string]string{"count": "2", "since": "2026-03-31T14:00:00Z", "ports": "80", "service": "api"})
	if problems != nil {
		t.Fatal(problems)
	}
	data, err := json.Marshal(rb.EncodeParams(typed))
	if err != nil {
		t.Fatal(err)
	}
	var encoded map[string]any
	if err := json.Unmarshal(data, &encoded); err != nil {
		t.Fatal(err)
	}
	got, err := rb.DecodeParams(encoded)
	if diff := cmp.Diff(typed, got); diff != "" || err != nil {
		t.Errorf("DecodeParams() error %v (-want +got):\n%s", err, diff)
	}
	if _, err := rb.DecodeParams(map[string]any{"count": "many"}); err == nil {
		t.Error("DecodeParams() takes a text for a number")
	}
}
