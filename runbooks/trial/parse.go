package trial

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"opsbot/runbooks"
)

// The limits of a test file, beside those of its YAML.
const (
	maxCases   = 100
	maxReplies = 200 // of a step
)

// The codes of a test file's own problems. RB101 and RB107 are those of its YAML.
const (
	codeKey    = "RT101" // unknown key
	codeForm   = "RT102" // a value has the wrong form, or is missing
	codeStep   = "RT103" // no such step
	codeUnfit  = "RT104" // the step cannot have this
	codeResult = "RT105" // does not fit what the action gives
	codeParams = "RT106" // the runbook does not take these parameters
)

// A reader collects what is wrong with a test file.
type reader struct {
	file     string
	rb       *runbooks.Runbook // whose steps are meant
	lib      *runbooks.Library
	problems runbooks.Problems
}

func (r *reader) problem(at runbooks.Pos, code, hint, format string, args ...any) {
	r.problems = append(r.problems, runbooks.Problem{File: r.file, Pos: at, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// Parse reads a test file of the runbook; lib has those that it may run. The
// Suite is nil if there are problems. file is only used in messages.
func Parse(file string, text []byte, rb *runbooks.Runbook, lib *runbooks.Library) (*Suite, runbooks.Problems) {
	root, problems := runbooks.ReadYAML(file, text)
	if len(problems) > 0 {
		return nil, problems
	}
	r := &reader{file: file, rb: rb, lib: lib}
	s := r.suite(root)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return s, nil
}

// keys gives a map's fields by key, and complains about unknown ones. It
// returns nil for anything but a map.
func (r *reader) keys(n runbooks.Node, what string, known ...string) map[string]runbooks.NodeField {
	if !n.IsMap() {
		r.problem(n.Pos(), codeForm, "", "%s must be a map, not %s", what, n.Describe())
		return nil
	}
	out := make(map[string]runbooks.NodeField)
	for _, f := range n.Fields() {
		if !slices.Contains(known, f.Key) {
			r.problem(f.Pos, codeKey, hintOf(f.Key, known), "%s has no key %q", what, f.Key)
			continue
		}
		out[f.Key] = f
	}
	return out
}

// hintOf says which word was meant, or which there are.
func hintOf(word string, known []string) string {
	if near := runbooks.Nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if len(known) == 0 || len(known) > 20 {
		return ""
	}
	return "there are " + strings.Join(known, ", ")
}

var common = []string{"params", "environment", "steps", "answers", "runs", "earlier"}

func (r *reader) suite(root runbooks.Node) *Suite {
	top := r.keys(root, "a test file", append([]string{"cases"}, common...)...)
	if top == nil {
		return nil
	}
	base := &Case{params: map[string]string{}, paramsAt: map[string]runbooks.Pos{}, environment: "test", scripts: map[string]*script{}, answers: map[string][]*answer{}, earlier: map[string]any{}}
	r.common(top, base, false)
	cases, ok := top["cases"]
	if !ok || !cases.Value.IsList() || len(cases.Value.Items()) == 0 {
		r.problem(root.Pos(), codeForm, "", "a test file needs cases: a list of at least one")
		return nil
	}
	items := cases.Value.Items()
	if len(items) > maxCases {
		r.problem(items[maxCases].Pos(), codeForm, "", "more than %d cases in one file", maxCases)
		return nil
	}
	s := &Suite{File: r.file, Runbook: r.rb}
	names := map[string]bool{}
	for _, n := range items {
		c := r.testCase(n, base)
		if c == nil {
			continue
		}
		if names[c.Name] {
			r.problem(c.Pos, codeForm, "", "there are two cases called %q", c.Name)
		}
		names[c.Name] = true
		s.Cases = append(s.Cases, c)
	}
	return s
}

func (r *reader) testCase(n runbooks.Node, base *Case) *Case {
	fields := r.keys(n, "a case", append([]string{"name", "expect"}, common...)...)
	if fields == nil {
		return nil
	}
	c := &Case{
		Pos: n.Pos(), params: maps.Clone(base.params), paramsAt: maps.Clone(base.paramsAt), environment: base.environment, critical: base.critical, without: base.without,
		scripts: maps.Clone(base.scripts), answers: maps.Clone(base.answers), earlier: maps.Clone(base.earlier),
	}
	if name, ok := fields["name"]; ok {
		c.Name = r.text(name.Value, "name")
	}
	if c.Name == "" {
		r.problem(n.Pos(), codeForm, "", "a case needs a name")
	}
	r.common(fields, c, true)
	_, problems := r.rb.CheckParams(c.params)
	for _, p := range problems {
		at, ok := c.paramsAt[p.Name]
		if !ok {
			at = n.Pos()
		}
		r.problem(at, codeParams, "", "%s", strings.TrimSuffix(p.Message, "."))
	}
	if want, ok := fields["expect"]; ok {
		r.wants(want.Value, c)
	} else {
		r.problem(n.Pos(), codeForm, "", "the case %q needs expect: what must come of it", c.Name)
	}
	return c
}

// common reads what a file says for all of its cases, and a case for itself.
func (r *reader) common(fields map[string]runbooks.NodeField, c *Case, own bool) {
	if f, ok := fields["params"]; ok {
		r.params(f.Value, c.params)
		for _, p := range f.Value.Fields() {
			c.paramsAt[p.Key] = p.Pos
		}
	}
	if f, ok := fields["environment"]; ok {
		r.environment(f.Value, c)
	}
	if f, ok := fields["steps"]; ok {
		r.scripts(f.Value, c)
	}
	if f, ok := fields["answers"]; ok {
		r.answers(f.Value, c, own)
	}
	if f, ok := fields["earlier"]; ok {
		r.earlier(f.Value, c)
	}
	if f, ok := fields["runs"]; ok {
		r.children(f.Value, c, own)
	}
}

// children reads what the steps of runbooks meet that this one runs.
func (r *reader) children(n runbooks.Node, c *Case, own bool) {
	if !n.IsMap() {
		r.problem(n.Pos(), codeForm, "", "runs must be a map of runbooks, not %s", n.Describe())
		return
	}
	for _, f := range n.Fields() {
		rb, ok := r.lib.Find(f.Key)
		if !ok {
			hint := ""
			if near := r.lib.Suggest(f.Key); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			r.problem(f.Pos, codeStep, hint, "there is no runbook %q", f.Key)
			continue
		}
		fields := r.keys(f.Value, "a runbook that is run", "steps", "answers", "earlier")
		parent := r.rb
		r.rb = rb
		r.common(fields, c, own)
		r.rb = parent
	}
}

// earlier reads what the run before has saved.
func (r *reader) earlier(n runbooks.Node, c *Case) {
	for step, f := range r.bySteps(n, "earlier") {
		var names []string
		for _, s := range step.Save {
			names = append(names, s.Name)
		}
		for name, v := range r.keys(f.Value, "what step "+step.ID+" saved", names...) {
			c.earlier[key(r.rb.Slug, step.ID)+"."+name] = plain(v.Value)
		}
	}
}

// plain gives a node as an expression would see it.
func plain(n runbooks.Node) any {
	switch {
	case n.IsMap():
		m := map[string]any{}
		for _, f := range n.Fields() {
			m[f.Key] = plain(f.Value)
		}
		return m
	case n.IsList():
		list := []any{}
		for _, item := range n.Items() {
			list = append(list, plain(item))
		}
		return list
	}
	return n.Scalar()
}

// params reads parameters as they would be typed.
func (r *reader) params(n runbooks.Node, into map[string]string) {
	if !n.IsMap() {
		r.problem(n.Pos(), codeForm, "", "params must be a map, not %s", n.Describe())
		return
	}
	for _, f := range n.Fields() {
		if f.Value.IsList() {
			var parts []string
			for _, item := range f.Value.Items() {
				parts = append(parts, r.text(item, "an element of "+f.Key))
			}
			into[f.Key] = strings.Join(parts, ",")
			continue
		}
		into[f.Key] = r.text(f.Value, f.Key)
	}
}

func (r *reader) environment(n runbooks.Node, c *Case) {
	if !n.IsMap() {
		c.environment, c.critical, c.without = r.text(n, "environment"), false, nil
		return
	}
	fields := r.keys(n, "environment", "name", "critical", "without")
	if f, ok := fields["name"]; ok {
		c.environment = r.text(f.Value, "name")
	}
	if f, ok := fields["critical"]; ok {
		c.critical = r.bool(f.Value, "critical")
	}
	if f, ok := fields["without"]; ok {
		c.without = r.without(f.Value)
	}
}

// without reads the optional connections that an environment lacks.
func (r *reader) without(n runbooks.Node) (names []string) {
	if !n.IsList() {
		r.problem(n.Pos(), codeForm, "", "without must be a list of optional connections, not %s", n.Describe())
		return nil
	}
	for _, item := range n.Items() {
		name := r.text(item, "a connection")
		if name != "" && !r.rb.Optional(name) {
			r.problem(item.Pos(), codeUnfit, "", "%s uses no optional connection %s", r.rb.Slug, name)
		}
		names = append(names, name)
	}
	return names
}

// text reads a scalar as text.
func (r *reader) text(n runbooks.Node, what string) string {
	if n.IsMap() || n.IsList() || n.IsNull() {
		r.problem(n.Pos(), codeForm, "", "%s must be a text, not %s", what, n.Describe())
		return ""
	}
	return n.Text()
}

func (r *reader) bool(n runbooks.Node, what string) bool {
	b, ok := n.Scalar().(bool)
	if !ok {
		r.problem(n.Pos(), codeForm, "", "%s must be true or false, not %s", what, n.Describe())
	}
	return b
}

func (r *reader) duration(n runbooks.Node, what string) time.Duration {
	d, err := time.ParseDuration(n.Text())
	if err != nil || d < 0 || d > maxTakes {
		r.problem(n.Pos(), codeForm, "", "%s must be a duration such as 30s or 5m, not %s", what, n.Describe())
		return 0
	}
	return d
}

// maxTakes keeps the clock of a case in the past of every other clock.
const maxTakes = 24 * time.Hour

// word reads one of a closed set.
func (r *reader) word(n runbooks.Node, what string, known []string) string {
	w := r.text(n, what)
	if w != "" && !slices.Contains(known, w) {
		r.problem(n.Pos(), codeForm, hintOf(w, known), "%s cannot be %q", what, w)
	}
	return w
}

// texts reads one text or a list of them.
func (r *reader) texts(n runbooks.Node, what string) []text {
	if !n.IsList() {
		return []text{{n.Pos(), r.text(n, what)}}
	}
	out := []text{}
	for _, item := range n.Items() {
		out = append(out, text{item.Pos(), r.text(item, what)})
	}
	return out
}

func plainTexts(list []text) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.text
	}
	return out
}

// step finds a step of the runbook; nil after a complaint.
func (r *reader) step(id string, at runbooks.Pos) *runbooks.Step {
	if s := r.rb.Step(id); s != nil {
		return s
	}
	var ids []string
	for _, s := range slices.Concat(r.rb.Steps, r.rb.Rollback, r.rb.Cleanup) {
		ids = append(ids, s.ID)
	}
	r.problem(at, codeStep, hintOf(id, ids), "%s has no step %q", r.rb.Slug, id)
	return nil
}

// bySteps goes through a map of step ids, past those that the runbook lacks.
func (r *reader) bySteps(n runbooks.Node, what string) iter.Seq2[*runbooks.Step, runbooks.NodeField] {
	return func(yield func(*runbooks.Step, runbooks.NodeField) bool) {
		if !n.IsMap() {
			r.problem(n.Pos(), codeForm, "", "%s must be a map of step ids, not %s", what, n.Describe())
			return
		}
		for _, f := range n.Fields() {
			if step := r.step(f.Key, f.Pos); step != nil && !yield(step, f) {
				return
			}
		}
	}
}

// scripts reads what actions answer.
func (r *reader) scripts(n runbooks.Node, c *Case) {
	for step, f := range r.bySteps(n, "steps") {
		if step.Action == nil {
			r.problem(f.Pos, codeUnfit, "what people answer belongs under answers", "step %s is %q and calls no action", step.ID, step.Do)
			continue
		}
		list := []runbooks.Node{f.Value}
		if f.Value.IsList() {
			list = f.Value.Items()
		}
		if len(list) == 0 || len(list) > maxReplies {
			r.problem(f.Value.Pos(), codeForm, "", "step %s needs 1 to %d replies", step.ID, maxReplies)
			continue
		}
		s := &script{}
		for _, item := range list {
			s.replies = append(s.replies, r.reply(item, step))
		}
		c.scripts[key(r.rb.Slug, step.ID)] = s
	}
}

func (r *reader) reply(n runbooks.Node, step *runbooks.Step) reply {
	spec := step.Action.Spec()
	out := reply{result: zero(spec)}
	fields := r.keys(n, "a reply of "+step.ID, "result", "error", "output", "takes", "preview")
	if f, ok := fields["error"]; ok {
		out.fail, out.result = r.text(f.Value, "error"), nil
	}
	if f, ok := fields["result"]; ok {
		out.result = r.result(f.Value, spec)
	}
	if f, ok := fields["output"]; ok {
		out.output = r.text(f.Value, "output")
	}
	if f, ok := fields["takes"]; ok {
		out.takes = r.duration(f.Value, "takes")
	}
	f, ok := fields["preview"]
	if !ok {
		return out
	}
	if _, can := step.Action.(runbooks.Previewer); !can {
		r.problem(f.Pos, codeUnfit, "", "%s has no preview", step.Do)
		return out
	}
	seen := r.keys(f.Value, "preview", "effect", "impact", "reasons")
	if f, ok := seen["effect"]; ok {
		out.preview.Effect = runbooks.Effect(max(0, slices.Index(effects, r.word(f.Value, "effect", effects))))
	}
	if f, ok := seen["impact"]; ok {
		out.preview.Impact = plainTexts(r.texts(f.Value, "impact"))
	}
	if f, ok := seen["reasons"]; ok {
		out.preview.Reasons = plainTexts(r.texts(f.Value, "reasons"))
	}
	return out
}

// effects are the names of the effects, in order.
var effects = []string{"read", "change", "destructive"}

// answers reads what people say.
func (r *reader) answers(n runbooks.Node, c *Case, own bool) {
	for step, f := range r.bySteps(n, "answers") {
		list := []runbooks.Node{f.Value}
		if f.Value.IsList() {
			list = f.Value.Items()
		}
		said := []*answer{}
		for _, item := range list {
			said = append(said, r.answer(item, step, own))
		}
		c.answers[key(r.rb.Slug, step.ID)] = said
	}
}

func (r *reader) answer(n runbooks.Node, step *runbooks.Step, own bool) *answer {
	a := &answer{pos: n.Pos(), own: own, reason: "says the test"}
	if !n.IsMap() {
		a.word = r.word(n, "an answer", words)
		return a
	}
	fields := r.keys(n, "an answer", "answer", "reason", "fields")
	if f, ok := fields["answer"]; ok {
		a.word = r.word(f.Value, "an answer", words)
	} else {
		a.word = sayDone
		if step.Do != "manual" {
			r.problem(n.Pos(), codeForm, "", "an answer for %s needs answer: one of %s", step.ID, strings.Join(words, ", "))
		}
	}
	if f, ok := fields["reason"]; ok {
		a.reason = r.text(f.Value, "reason")
	}
	filled, ok := fields["fields"]
	if !ok {
		return a
	}
	a.fields = map[string]string{}
	r.params(filled.Value, a.fields)
	var known []string
	for _, p := range step.Ask {
		known = append(known, p.Name)
	}
	for _, f := range filled.Value.Fields() {
		if !slices.Contains(known, f.Key) {
			r.problem(f.Pos, codeUnfit, hintOf(f.Key, known), "step %s has no field %q", step.ID, f.Key)
		}
	}
	return a
}
