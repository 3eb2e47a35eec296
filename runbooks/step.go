package runbooks

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var (
	builtins    = []string{"manual", "wait", "decide", "run", "notify", "end"}
	effectNames = []string{"read", "change", "destructive"}
)

const (
	maxReview     = 10
	maxRetries    = 20
	maxEach       = 100
	defaultWithin = 15 * time.Minute
)

// step reads the block of one step and moves the flow past it.
func (c *checker) step(d *draft, f *flow) {
	s, known := d.step, f.now
	entry := c.verb(d)
	if s.Do == "end" && s.Section == Cleanup {
		c.problem(d.block.get("do").pos, "RB210", "nothing ends the cleanup but its last step", "the steps after it would be left out")
	}
	result := c.resultShape(s, entry, d.block)
	skippable := false
	if d.block != nil {
		c.keys(d, entry)
		if n := d.block.get("when"); n != nil {
			s.When = c.condition(n, c.names(nil, known))
			skippable = true
		}
	}
	inside := s.When.assuming(known)
	saved := map[string]*shape{}
	if d.block != nil {
		c.body(d, entry, result, inside, saved)
		if c.rb.Optional(s.Target) {
			skippable = true
			if s.Effect > Read {
				c.problem(d.block.get("do").pos, "RB226", fmt.Sprintf("%s is optional, and %s can change something there", s.Target, s.Do), "steps only look at what may be missing: write the kind of "+s.Target+" without ?")
			}
		}
	}
	if s.Each != nil {
		result = listOf(result)
	}
	if s.ID != "" && c.later[s.ID] {
		c.steps[s.ID] = &stepNames{id: s.ID, result: result, saved: saved}
		c.byID[s.ID] = s
		delete(c.later, s.ID)
	}
	c.edges(d, f, inside, skippable)
}

// verb reads `do` and finds the action.
func (c *checker) verb(d *draft) *entry {
	s := d.step
	if d.block == nil {
		s.Do = "manual"
		return nil
	}
	n := d.block.get("do")
	if n == nil || n.null() {
		if len(s.Items) > 0 {
			s.Do = "manual"
			return nil
		}
		c.problem(s.Block, "RB203", "the step has no do:", "an action such as redis.info, or "+strings.Join(builtins, ", "))
		return nil
	}
	name, ok := c.text(n, "do")
	if !ok {
		return nil
	}
	s.Do = name
	if slices.Contains(builtins, name) {
		if len(s.Items) > 0 && name != "manual" {
			c.problem(n.pos, "RB106", "a check list is for people: it belongs to a manual step", "give it a heading of its own")
		}
		return nil
	}
	e := c.catalog.find(name)
	if e == nil {
		c.problem(n.pos, "RB204", fmt.Sprintf("there is no action %s", clip(name)), didYouMean(name, append(c.catalog.Names(), builtins...)))
		s.Do = ""
		return nil
	}
	if len(s.Items) > 0 {
		c.problem(n.pos, "RB106", "a check list is for people: it belongs to a manual step", "give it a heading of its own")
	}
	s.Action, s.Effect = e.action, e.spec.Effect
	return e
}

// resultShape is the shape of one result of the step.
func (c *checker) resultShape(s *Step, e *entry, block *node) *shape {
	switch {
	case e != nil:
		return e.result
	case s.Do == "run":
		return &shape{kind: recordKind, fields: map[string]*shape{"id": stringShape, "verdict": stringShape}}
	case s.Do == "manual" && block != nil && block.get("ask") != nil:
		s.Ask = c.params(block.get("ask"), "ask", "")
		r := &shape{kind: recordKind, fields: map[string]*shape{}}
		for _, q := range s.Ask {
			r.fields[q.Name] = paramShape(q)
		}
		return r
	case s.Do == "":
		return anyShape // whatever was meant
	}
	return emptyShape
}

// keys reports unknown keys and keys that have no meaning for this step.
func (c *checker) keys(d *draft, e *entry) {
	c.fields(d.block, "a step", "RB202", stepForm.names(), func(f field) {
		do := d.step.Do
		verb := do
		if e != nil {
			verb = OnActions
		}
		switch k := stepForm.key(f.key); {
		case do == "":
		case !k.For(verb):
			hint := ""
			if len(k.Only) == 1 && k.Only[0] != OnActions {
				hint = "it is for do: " + k.Only[0]
			}
			c.problem(f.pos, "RB202", fmt.Sprintf("%s has no meaning for %s", f.key, do), hint)
		case f.key == "with" && e == nil && builtinArguments[do] == nil:
			c.problem(f.pos, "RB202", fmt.Sprintf("%s takes no arguments", do), "")
		}
	})
}

// body reads all keys but id, do and when. What is known holds where the
// step's own `when` does.
func (c *checker) body(d *draft, e *entry, result *shape, known presence, saved map[string]*shape) {
	s, b := d.step, d.block
	before := c.names(nil, known)
	if n := b.get("each"); n != nil {
		s.Each = c.each(n, before)
		if s.Each != nil && s.Each.In != nil {
			before.vars = map[string]*shape{s.Each.As: elemOf(s.Each.In.shape)}
		}
	}
	one := c.names(result, known)
	one.vars = before.vars
	whole := c.names(result, known)
	if s.Each != nil {
		whole.result = listOf(result)
	}

	if e != nil {
		c.connection(s, e, b)
	}
	c.timing(s, e, b, one)
	c.effect(s, b)
	c.arguments(s, e, b, before)
	if n := b.get("expect"); n != nil {
		s.Expect = c.expect(n, whole)
	}
	if n := b.get("save"); n != nil {
		c.save(s, n, whole, saved)
	}
	c.gates(s, b, before, known)
	c.decision(s, b, before)
	late := c.names(whole.result.nullable(), known)
	if n := b.get("on_fail"); n != nil {
		s.OnFail = c.next(n, late, "on_fail", onFailWords)
		c.target(s.OnFail, place{s.Section, d.index})
	}
	if n := b.get("then"); n != nil {
		done := c.names(whole.result, known)
		s.Then = c.next(n, done, "then", thenWords)
		c.target(s.Then, place{s.Section, d.index})
	}
	if n := b.get("on_crash"); n != nil {
		s.OnCrash = c.onCrash(n)
	}
	if n := b.get("show"); n != nil {
		s.Show = c.show(n, e)
	}
	if n := b.get("who"); n != nil {
		s.Who = c.groups(n, "who")
	}
}

func elemOf(s *shape) *shape {
	if s.kind == listKind {
		return s.elem
	}
	return anyShape
}

func (c *checker) each(n *node, in *names) *Each {
	each := &Each{As: "item", Max: maxEach}
	ok := c.fields(n, "each", "RB106", eachForm.names(), func(f field) {
		switch f.key {
		case "in":
			if f.value.kind == listNode {
				c.problem(f.value.pos, "RB106", "in must be an expression", `write a list in quotes: "['a', 'b']"`)
				return
			}
			each.In = c.expression(f.value, in, "in")
			if each.In != nil && each.In.shape.kind != listKind && each.In.shape.kind != anyKind {
				c.problem(f.value.at(0), "RB301", fmt.Sprintf("in must be a list, and this is %s", each.In.shape.a()), "")
			}
		case "as":
			as, ok := c.text(f.value, "as")
			if ok && (!idPattern.MatchString(as) || slices.Contains([]string{"params", "run", "steps", "result", "prev", "n"}, as) || helperFunctions[as] != nil || allowedBuiltin(as)) {
				c.problem(f.value.pos, "RB106", fmt.Sprintf("%q can't name the element", clip(as)), "")
				return
			}
			each.As = as
		case "max":
			each.Max = c.integer(f.value, "max", 1, maxEach)
		}
	})
	if ok && n.get("in") == nil {
		c.problem(n.pos, "RB106", "each needs in, a list", "")
	}
	return each
}

// connection finds the step's target among the runbook's connections.
func (c *checker) connection(s *Step, e *entry, b *node) {
	n := b.get("target")
	if e.kind == "" {
		if n != nil {
			c.problem(n.pos, "RB207", fmt.Sprintf("%s needs no connection", s.Do), "leave out target")
		}
		return
	}
	if n == nil {
		var fits []string
		for _, u := range c.rb.Uses {
			if u.Kind == e.kind {
				fits = append(fits, u.Name)
			}
		}
		at := b.get("do").pos
		switch len(fits) {
		case 1:
			s.Target = fits[0]
		case 0:
			c.problem(at, "RB205", fmt.Sprintf("%s needs a connection of kind %s", s.Do, e.kind), fmt.Sprintf("add it to uses: { %s: %s }", e.kind, e.kind))
		default:
			c.problem(at, "RB205", fmt.Sprintf("%s could use %s", s.Do, strings.Join(fits, " or ")), "name one with target:")
		}
		return
	}
	name, ok := c.text(n, "target")
	if !ok {
		return
	}
	u := c.use(name)
	switch {
	case u == nil:
		c.problem(n.pos, "RB206", fmt.Sprintf("connection %s is not in uses", clip(name)), didYouMean(name, c.useNames()))
	case u.Kind != e.kind:
		c.problem(n.pos, "RB207", fmt.Sprintf("%s needs a connection of kind %s, and %s is %s", s.Do, e.kind, name, u.Kind), "")
	default:
		s.Target = name
	}
}

// timing reads timeout, retry and watch.
func (c *checker) timing(s *Step, e *entry, b *node, in *names) {
	if n := b.get("timeout"); n != nil {
		s.Timeout = c.duration(n, "timeout")
	} else if e != nil {
		s.Timeout = max(c.rb.Defaults.Timeout, 0)
		if s.Timeout == 0 {
			s.Timeout = e.spec.Timeout
		}
	}
	if n := b.get("retry"); n != nil {
		s.Retry = c.retry(n, in)
	}
	if n := b.get("watch"); n != nil {
		polls := *in
		polls.polls = true
		s.Watch = c.watch(n, &polls)
		if b.get("each") != nil {
			c.problem(n.pos, "RB230", "a step does not watch the elements of a list", "leave out each, or let a step behind it watch")
		}
	}
}

// retry reads a retry block. Without names no `if` is allowed.
func (p *parser) retry(n *node, in *names) *Retry {
	r := &Retry{Times: 1, Backoff: 1}
	form := retryForm
	if in == nil {
		form = defaultsForm.key("retry").Form
	}
	p.fields(n, "retry", "RB106", form.names(), func(f field) {
		switch f.key {
		case "times":
			r.Times = p.integer(f.value, "times", 1, maxRetries)
		case "delay":
			r.Delay = p.duration(f.value, "delay")
		case "backoff":
			b, ok := numberOf(f.value.value)
			if !ok || b < 1 || b > 10 {
				p.problem(f.value.pos, "RB106", "backoff must be a factor from 1 to 10", "")
				return
			}
			r.Backoff = b
		case "if":
			r.If = p.condition(f.value, in)
		}
	})
	return r
}

// withinRun reports a time that is longer than the run's own.
func (c *checker) withinRun(v *Value, n *node, doing string) {
	if d, ok := v.constantDuration(); ok && c.rb.Timeout > 0 && d > c.rb.Timeout {
		c.problem(n.pos, "RB231", fmt.Sprintf("%s for %s is longer than the run's timeout of %s", doing, DurationText(d), DurationText(c.rb.Timeout)), "")
	}
}

func (c *checker) watch(n *node, in *names) *Watch {
	w := &Watch{Hold: 1}
	ok := c.fields(n, "watch", "RB230", watchForm.names(), func(f field) {
		switch f.key {
		case "every":
			w.Every = c.durationValue(f.value, in, "every")
		case "for":
			w.For = c.durationValue(f.value, in, "for")
			c.withinRun(w.For, f.value, "watching")
		case "until":
			w.Until = c.condition(f.value, in)
		case "hold":
			w.Hold = c.integer(f.value, "hold", 1, 100)
		case "give_up":
			w.GiveUp = c.integer(f.value, "give_up", 1, 100)
		}
	})
	if !ok {
		return w
	}
	var missing []string
	for _, key := range []string{"every", "for", "until"} {
		if n.get(key) == nil {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		c.problem(n.pos, "RB230", "watch needs "+strings.Join(missing, " and "), "")
	}
	return w
}

// durationValue reads a duration that may be given by ${{ }}.
func (c *checker) durationValue(n *node, in *names, what string) *Value {
	if text, ok := n.value.(string); ok && strings.Contains(text, "${{") {
		v := c.value(n, in)
		v.as = durationShape
		if v.template != nil {
			if e := v.template.lone(); e != nil && e.shape.kind != durationKind && e.shape.kind != stringKind && e.shape.kind != anyKind {
				c.problem(e.pos, "RB301", fmt.Sprintf("%s must be a duration, and this is %s", what, e.shape.a()), "")
			}
		}
		return v
	}
	return &Value{pos: n.pos, literal: c.duration(n, what)}
}

// constantDuration gives a duration that is written out.
func (v *Value) constantDuration() (time.Duration, bool) {
	if v == nil {
		return 0, false
	}
	d, ok := v.literal.(time.Duration)
	return d, ok
}

// effect reads `effect` and checks what follows from it.
func (c *checker) effect(s *Step, b *node) {
	if n := b.get("effect"); n != nil {
		word := c.choice(n, "effect", effectNames...)
		if i := slices.Index(effectNames, word); i >= 0 {
			if Effect(i) < s.Effect {
				c.problem(n.pos, "RB220", fmt.Sprintf("the effect of %s is %s and can't be lowered to %s", s.Do, effectNames[s.Effect], word), "")
			} else {
				s.Effect = Effect(i)
			}
		}
	}
	do := s.Block
	if n := b.get("do"); n != nil {
		do = n.pos
	}
	if n := b.get("retry"); n != nil && s.Effect == Destructive {
		c.problem(n.pos, "RB222", "a destructive step is never tried again by itself", "")
	} else if n == nil && s.Effect != Destructive && s.Action != nil {
		s.Retry = c.rb.Defaults.Retry
	}
	if n := b.get("watch"); n != nil && s.Action != nil && s.Effect > Read {
		c.problem(n.pos, "RB222", "a watch would do it again and again: it is for steps that read", "let a step behind this one watch")
	}
	if s.Action != nil && s.Effect > Read && s.Timeout == 0 {
		c.problem(do, "RB223", fmt.Sprintf("%s can change something and has no timeout", s.Do), "set timeout: here or in defaults")
	}
	if s.Effect == Destructive && b.get("confirm") == nil {
		c.problem(do, "RB221", fmt.Sprintf("%s is destructive and has no confirm", s.Do), "ask: confirm: and a question")
	}
}

func (c *checker) expect(n *node, in *names) []Expectation {
	if n.kind == scalarNode {
		return []Expectation{{That: c.condition(n, in), Else: Fail, Pos: n.pos}}
	}
	items := n.items
	if n.kind == mapNode {
		items = []*node{n}
	}
	var list []Expectation
	for _, item := range items {
		x := Expectation{Else: Fail, Pos: item.pos}
		if item.kind != mapNode {
			x.That = c.condition(item, in)
			list = append(list, x)
			continue
		}
		c.fields(item, "an expectation", "RB106", expectationForm.names(), func(f field) {
			switch f.key {
			case "that":
				x.That = c.condition(f.value, in)
			case "say":
				x.Say = c.textTemplate(f.value, in, "say")
			case "else":
				x.Else = Status(c.choice(f.value, "else", expectationForm.words("else")...))
			}
		})
		if item.get("that") == nil {
			c.problem(item.pos, "RB106", "an expectation needs that, a condition", "")
		}
		list = append(list, x)
	}
	return list
}

func (c *checker) save(s *Step, n *node, in *names, saved map[string]*shape) {
	if n.kind != mapNode {
		c.problem(n.pos, "RB106", "save must be a map of names to expressions", "")
		return
	}
	for _, f := range n.fields {
		if !idPattern.MatchString(f.key) || slices.Contains([]string{"status", "failed", "skipped", "elapsed", "result"}, f.key) {
			c.problem(f.pos, "RB106", fmt.Sprintf("%q can't name a saved value", clip(f.key)), "")
			continue
		}
		e := c.expression(f.value, in, "a saved value")
		if e == nil {
			saved[f.key] = anyShape
			continue
		}
		saved[f.key] = e.shape
		s.Save = append(s.Save, Saved{Name: f.key, Expr: e})
	}
}

func (c *checker) onCrash(n *node) OnCrash {
	if n.kind == scalarNode {
		return OnCrash{Word: c.choice(n, "on_crash", "rerun", "ask")}
	}
	var oc OnCrash
	c.fields(n, "on_crash", "RB106", verifyForm.names(), func(f field) {
		oc.Verify = c.readStep(f.value, "verify")
		if s := c.byID[oc.Verify]; s != nil && len(s.Expect) == 0 {
			c.problem(f.value.pos, "RB215", fmt.Sprintf("verify: step %s expects nothing, so that it cannot tell whether this was done", oc.Verify), "give it an expect")
		}
	})
	return oc
}

// readStep reads the id of an earlier step that only reads.
func (c *checker) readStep(n *node, what string) string {
	id, ok := c.text(n, what)
	if !ok {
		return ""
	}
	s := c.byID[id]
	switch _, exists := c.places[id]; {
	case !exists:
		c.problem(n.pos, "RB215", fmt.Sprintf("%s: there is no step %s", what, clip(id)), didYouMean(id, c.ids))
	case s == nil:
		c.problem(n.pos, "RB215", fmt.Sprintf("%s: step %s is not an earlier one", what, id), "")
	case s.Action == nil || s.Effect != Read:
		c.problem(n.pos, "RB215", fmt.Sprintf("%s: step %s does not only read", what, id), "")
	case what == "verify" && c.rb.Optional(s.Target):
		c.problem(n.pos, "RB215", fmt.Sprintf("verify: step %s cannot tell where there is no %s", id, s.Target), "let a step on a connection that is always there look")
	default:
		c.referred([]reference{{id, n.pos}})
		return id
	}
	return ""
}

func (c *checker) show(n *node, e *entry) Show {
	show := Show{From: "start"}
	c.fields(n, "show", "RB106", showForm.names(), func(f field) {
		switch f.key {
		case "lines":
			show.Lines = c.integer(f.value, "lines", 1, 1000)
		case "from":
			show.From = c.choice(f.value, "from", showForm.words("from")...)
		case "columns":
			if f.value.kind != listNode {
				c.problem(f.value.pos, "RB106", "columns must be a list of the result's fields", "")
				return
			}
			for _, item := range f.value.items {
				name, ok := c.text(item, "a column")
				if ok && e != nil && e.result.fields[name] == nil {
					c.problem(item.pos, "RB301", fmt.Sprintf("unknown field %s", clip(name)), didYouMean(name, sortedKeys(e.result.fields)))
					continue
				}
				show.Columns = append(show.Columns, name)
			}
		}
	})
	return show
}
