package schema_test

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"opsbot/internal/actions/docker"
	"opsbot/internal/actions/host"
	"opsbot/internal/actions/postgres"
	"opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/internal/deployment"
	"opsbot/runbooks"
	"opsbot/runbooks/library"
	"opsbot/runbooks/schema"
)

func catalog(t *testing.T) *runbooks.Catalog {
	t.Helper()
	c, err := runbooks.NewCatalog(docker.Actions(), host.Actions(), postgres.Actions(), redis.Actions(), web.Actions(), deployment.Actions(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// compiled gives the schema to a validator that knows nothing of runbooks.
func compiled(t *testing.T, part string) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(schema.New(part, catalog(t)))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("runbook.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("runbook.json")
	if err != nil {
		t.Fatalf("the schema %q is none: %v", part, err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// pieces cuts a runbook into its front matter and its blocks.
func pieces(text string) map[string][]string {
	found := map[string][]string{}
	parts := strings.SplitN(text, "---\n", 3)
	found["front"] = []string{parts[1]}
	rest := parts[2]
	for _, kind := range []string{"step", "group"} {
		for _, after := range strings.Split(rest, "```yaml "+kind+"\n")[1:] {
			block, _, _ := strings.Cut(after, "```")
			found[kind] = append(found[kind], block)
		}
	}
	return found
}

func TestBuiltInRunbooksFit(t *testing.T) {
	t.Parallel()
	schemas := map[string]*jsonschema.Schema{"": compiled(t, "")}
	for _, part := range schema.Parts {
		schemas[part] = compiled(t, part)
	}
	files, err := fs.Glob(library.FS, "*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(library.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		found := pieces(string(text))
		if len(found["front"]) != 1 || len(found["step"]) == 0 {
			t.Fatalf("%s has %d steps", file, len(found["step"]))
		}
		for part, texts := range found {
			for _, text := range texts {
				if err := validate(t, schemas[part], text); err != nil {
					t.Errorf("%s, %s:\n%s%v", file, part, text, err)
				}
				if err := validate(t, schemas[""], text); err != nil {
					t.Errorf("%s, the whole schema:\n%s%v", file, text, err)
				}
			}
		}
	}
}

const (
	front = `format: 1
runbook: a
owner: sre
timeout: 10m
uses: { cache: redis, api: http }
params: { want: { type: float, default: 0.6 } }
defaults: { timeout: 1m }
`
	file = `---
FRONT---
# A

## 1. First

` + "```yaml step" + `
id: first
do: redis.info
expect: not result.loading
` + "```" + `

## 2. Second

` + "```yaml step" + `
STEP` + "```" + `

## 3. Third

` + "```yaml step" + `
id: third
do: redis.ping
` + "```" + `

## Report

` + "```markdown report" + `
done
` + "```" + `
`
)

// What the parser takes, the schema takes.
func TestFine(t *testing.T) {
	t.Parallel()
	whole := compiled(t, "")
	for _, f := range []string{
		front,
		front + "verified: 2026-03-31\nnumber: 7\naliases: [b, c-d]\ntags: x\nseverity: critical\nestimate: 1h30m\n",
		front + "lock: [cache, api/*]\nlock_wait: 5m\nroles: { run: sre, approve: [sre, dba] }\n",
		front + "lock_wait: refuse\nschedule: [{ cron: \"0 8 * * 1\", tz: Europe/Berlin, params: { want: 0.5 }, missed: skip }]\nalerts: [{ alertname: X, severity: 1 }]\n",
		strings.Replace(strings.Replace(front, "api: http", "api: http, ops: host, database: \"postgres?\"", 1), "params: { want: { type: float, default: 0.6 } }",
			"params: { f: { type: file, from: \"*.log\", max_age: 24h, default: newest } }", 1),
		strings.Replace(front, "params: { want: { type: float, default: 0.6 } }", `params:
  s: { type: string, pattern: "^a$", max: 5, required: true, help: x }
  i: { type: int, min: 1, max: 3, default: 2 }
  d: { type: duration, min: 5s, max: 1m, default: 30s }
  b: { type: bytes, min: 1MiB, default: 512MiB }
  e: { type: enum, values: [x, y], default: x }
  f: { type: file, from: "*.log", default: a.log }
  l: { type: list, of: int, max: 3, default: [1, 2] }
  y: { type: bool, default: true }`, 1),
	} {
		_, problems := runbooks.Parse("a.md", []byte(with(f, "id: second\ndo: redis.ping\n")), catalog(t))
		if problems.Err() != nil {
			t.Fatalf("the parser refuses: %v\n%s", problems, f)
		}
		if err := validate(t, whole, f); err != nil {
			t.Errorf("the schema refuses:\n%s%v", f, err)
		}
	}
	for _, s := range []string{
		"do: redis.info\ntarget: cache\nexpect: result.loading == false\n",
		"do: redis.info\nexpect: [result.last_save_ok, { that: result.loading, say: \"x ${{ result.role }}\", else: warn }]\n",
		"do: redis.hit_rate\nwith: { window: \"${{ duration('30s') }}\" }\nretry: { times: 2, delay: 1s, backoff: 1.5, if: \"true\" }\n",
		"do: redis.hit_rate\nwith: { window: 10s }\nwatch: { every: \"${{ duration('5s') }}\", for: 1m, until: \"true\", hold: 2 }\n",
		"do: redis.flush\nwith: { mode: prefix, pattern: \"a*\", types: [string, \"${{ 'hash' }}\"] }\nconfirm: Sure?\nreview: { by: sre, count: 2, within: 1h }\nrecheck: first\non_crash: { verify: first }\n",
		"do: redis.count_keys\nwith: { pattern: \"*\", sample: \"100\" }\n",
		"id: second\ndo: manual\nwho: sre\nask: { why: { type: string, required: true } }\n",
		"do: wait\nwith: { for: 10s }\n",
		"do: wait\nwith: { until: ok(\"first\"), max: 1m }\n",
		"do: notify\nwith: { to: \"#ops\", text: hello }\n",
		"do: end\nwhen: params.want > 2\n",
		"do: decide\nrows: [{ if: params.want > 1, goto: third }, { if: \"false\", end: failed, say: no }, { else: next }]\n",
		"do: decide\nrows: [{ if: params.want > 1, next: true }, { else: true, end: ok }]\nwhen: params.want > 2\n",
		"do: decide\ninputs: { want: params.want }\nrows: [{ want: \"<0.5\", goto: third }, { want: \">=0.5\", next: true }]\n",
		"do: redis.ping\non_fail: { offer: [{ run: b, with: { x: 1 }, say: Do b }, c], then: note }\nthen: { goto: third }\n",
		"do: redis.ping\non_fail: { run: b, with: { x: \"${{ params.want }}\" }, then: retry }\n",
	} {
		_, problems := runbooks.Parse("a.md", []byte(with(front, s)), catalog(t))
		if problems.Err() != nil {
			t.Errorf("the parser refuses: %v\n%s", problems, s)
		}
		if err := validate(t, whole, s); err != nil {
			t.Errorf("the schema refuses:\n%s%v", s, err)
		}
	}
}

func with(front, step string) string {
	return strings.NewReplacer("FRONT", strings.TrimSuffix(front, "\n")+"\n", "STEP", step).Replace(file)
}

// Typical mistakes are seen by both, before and after the file is saved.
func TestMistakes(t *testing.T) {
	t.Parallel()
	whole := compiled(t, "")
	parts := map[string]*jsonschema.Schema{"front": compiled(t, "front"), "step": compiled(t, "step")}
	for _, c := range []struct{ code, part, text string }{
		{"RB110", "front", front + "severty: critical\n"},
		{"RB106", "front", front + "severity: bad\n"},
		{"RB106", "front", strings.Replace(front, "format: 1", "format: 2", 1)},
		{"RB111", "front", strings.Replace(front, "runbook: a", "runbook: A b", 1)},
		{"RB106", "front", front + "estimate: 10 minutes\n"},
		{"RB106", "front", strings.Replace(front, "cache: redis", "cache: reddis", 1)},
		{"RB106", "front", strings.Replace(front, "type: float", "type: secret", 1)},
		{"RB106", "front", strings.Replace(front, "type: float", "type: float, pattern: x", 1)},
		{"RB106", "front", strings.Replace(front, "{ type: float, default: 0.6 }", "{ type: enum }", 1)},
		{"RB106", "front", front + "schedule: [{ cron: \"0 8 * * 1\", zone: UTC }]\n"},
		{"RB202", "step", "do: redis.ping\nexpects: \"true\"\n"},
		{"RB204", "step", "do: redis.flsh\n"},
		{"RB208", "step", "do: redis.hit_rate\nwith: { windows: 10s }\n"},
		{"RB209", "step", "do: redis.count_keys\n"},
		{"RB106", "step", "do: redis.hit_rate\nwith: { window: soon }\n"},
		{"RB106", "step", "do: redis.flush\nwith: { mode: everything }\nconfirm: Sure?\n"},
		{"RB221", "step", "do: redis.flush\nwith: { mode: all }\n"},
		{"RB222", "step", "do: redis.flush\nwith: { mode: all }\nconfirm: Sure?\nretry: { times: 1 }\n"},
		{"RB220", "step", "do: redis.flush\nwith: { mode: all }\nconfirm: Sure?\neffect: read\n"},
		{"RB210", "step", "do: redis.ping\non_fail: third\n"},
		{"RB210", "step", "do: redis.ping\non_fail: { goto: third, end: ok }\n"},
		{"RB210", "step", "do: redis.ping\non_fail: { goto: third, with: {} }\n"},
		{"RB230", "step", "do: redis.ping\nwatch: { every: 5s, for: 1m }\n"},
		{"RB301", "step", "do: redis.ping\nwhen: ${{ params.want > 1 }}\n"},
		{"RB202", "step", "do: manual\nretry: { times: 1 }\n"},
		{"RB202", "step", "do: redis.ping\nrows: []\n"},
		{"RB202", "step", "do: manual\nwith: { a: 1 }\n"},
		{"RB209", "step", "do: notify\nwith: { to: \"#ops\" }\n"},
		{"RB209", "step", "do: wait\nwith: { until: \"true\" }\n"},
		{"RB209", "step", "do: decide\n"},
		{"RB106", "step", "do: decide\nrows: [{ goto: third }]\n"},
		{"RB501", "step", "do: decide\ninputs: { want: params.want }\nrows: [{ want: few, end: ok }]\n"},
		{"RB106", "step", "do: redis.ping\nreview: { by: [sre], count: 0 }\n"},
	} {
		f, s := front, "do: redis.ping\n"
		if c.part == "front" {
			f = c.text
		} else {
			s = c.text
		}
		_, problems := runbooks.Parse("a.md", []byte(with(f, s)), catalog(t))
		if !strings.Contains(problemsText(problems), c.code) {
			t.Errorf("the parser does not say %s: %v\n%s", c.code, problems, c.text)
		}
		for name, sc := range map[string]*jsonschema.Schema{"whole": whole, c.part: parts[c.part]} {
			if validate(t, sc, c.text) == nil {
				t.Errorf("the schema %q takes:\n%s", name, c.text)
			}
		}
	}
	group := compiled(t, "group")
	if err := validate(t, group, "when: params.want > 1\non_fail: note\n"); err != nil {
		t.Error(err)
	}
	if validate(t, group, "if: params.want > 1\n") == nil {
		t.Error("the schema of groups takes if")
	}
}

func problemsText(ps runbooks.Problems) string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}
