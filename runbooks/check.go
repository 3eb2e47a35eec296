package runbooks

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A place is where a step is: its section and its number there.
type place struct {
	section Section
	index   int
}

// A checker goes through the steps in the order in which they run. For each
// point of the run it knows which earlier steps may be missing there.
type checker struct {
	*parser
	places map[string]place
	ids    []string              // in file order
	steps  map[string]*stepNames // the steps gone through so far
	later  map[string]bool       // the others
	byID   map[string]*Step
}

// check reads the blocks of all steps, the main part first.
func (p *parser) check(drafts []*draft) {
	c := &checker{parser: p, places: map[string]place{}, steps: map[string]*stepNames{}, later: map[string]bool{}, byID: map[string]*Step{}}
	parts := map[Section][]*draft{}
	for _, d := range drafts {
		c.identify(d)
		d.index = len(parts[d.step.Section])
		parts[d.step.Section] = append(parts[d.step.Section], d)
		if id := d.step.ID; id != "" {
			if _, taken := c.places[id]; taken {
				at := d.step.Pos
				if d.block != nil && d.block.get("id") != nil {
					at = d.block.get("id").pos
				}
				p.problem(at, "RB201", fmt.Sprintf("there are two steps with the id %s", id), "")
				continue
			}
			c.places[id] = place{d.step.Section, d.index}
			c.ids = append(c.ids, id)
			c.later[id] = true
		}
	}
	if len(parts[Main]) == 0 && p.problems.Errors() == 0 {
		p.problem(c.titleAt, "RB103", "the runbook has no steps", "")
	}
	// After the main part anything may have been left out: a failure, a stop or
	// an early end can be followed by rollback, cleanup and report at any point.
	c.part(parts[Main], presence{})
	c.part(parts[Rollback], presence{})
	c.part(parts[Cleanup], presence{})
	for _, d := range drafts {
		switch d.step.Section {
		case Rollback:
			p.rb.Rollback = append(p.rb.Rollback, d.step)
		case Cleanup:
			p.rb.Cleanup = append(p.rb.Cleanup, d.step)
		default:
			p.rb.Steps = append(p.rb.Steps, d.step)
		}
	}
	if p.rb.Report != nil {
		p.rb.Report = p.template(p.fenceSnippet(p.reportFence), c.names(nil, presence{}))
	} else {
		p.warn(c.titleAt, "RB603", "the runbook has no ## Report", "a report is what people read the next day")
	}
	c.savedEarlier()
	c.estimate()
}

// savedEarlier looks after places that ask for what a step has saved in an
// earlier run: any step may be asked for, also one that has yet to come in this.
func (c *checker) savedEarlier() {
	for _, e := range c.compiled {
		for _, ref := range e.earlier {
			s := c.rb.Step(ref.id)
			switch {
			case s == nil:
				c.problem(ref.pos, "RB310", "there is no step "+clip(ref.id), didYouMean(ref.id, c.ids))
			case !slices.ContainsFunc(s.Save, func(v Saved) bool { return v.Name == ref.name }):
				names := make([]string, len(s.Save))
				for i, v := range s.Save {
					names[i] = v.Name
				}
				c.problem(ref.pos, "RB301", fmt.Sprintf("step %s saves no %s", ref.id, clip(ref.name)), didYouMean(ref.name, names))
			}
		}
	}
}

// identify gives a step its id.
func (c *checker) identify(d *draft) {
	if d.block != nil {
		if n := d.block.get("id"); n != nil {
			if s, ok := c.text(n, "id"); ok {
				if idPattern.MatchString(s) {
					d.step.ID = s
				} else {
					c.problem(n.pos, "RB106", fmt.Sprintf("%q is no id", clip(s)), "lower case letters, digits and _, beginning with a letter")
				}
			}
			return
		}
	}
	d.step.ID, d.step.Derived = deriveID(d.step.Title), true
	if !idPattern.MatchString(d.step.ID) {
		c.problem(d.step.Pos, "RB106", fmt.Sprintf("no id can be made of the title %q", clip(d.step.Title)), "give the step an id: of its own")
		d.step.ID = ""
		return
	}
	c.derived[d.step.ID] = true
}

// fenceSnippet gives a fence's content as text with its places.
func (p *parser) fenceSnippet(f fence) snippet {
	var b strings.Builder
	var starts []int // rune at which each line begins
	runes := 0
	for l := f.first; l <= f.last; l++ {
		line := p.doc.line(l)
		cut := min(f.indent, len(line)-len(strings.TrimLeft(line, " ")))
		starts = append(starts, runes)
		b.WriteString(line[cut:] + "\n")
		runes += utf8.RuneCountInString(line[cut:]) + 1
	}
	return snippet{text: b.String(), at: func(r int) Pos {
		i, found := slices.BinarySearch(starts, r)
		if !found {
			i--
		}
		if i < 0 {
			return f.pos
		}
		return Pos{Line: f.first + i, Col: r - starts[i] + 1 + f.indent}
	}}
}

// names gives what expressions can see after the steps gone through so far.
func (c *checker) names(result *shape, known presence) *names {
	return &names{params: c.paramsShape(), steps: c.steps, known: known, later: c.later, all: c.ids, result: result}
}

func (p *parser) paramsShape() *shape {
	if p.paramsAre == nil {
		p.paramsAre = &shape{kind: recordKind, fields: map[string]*shape{}}
		for _, q := range p.rb.Params {
			p.paramsAre.fields[q.Name] = paramShape(q)
		}
	}
	return p.paramsAre
}

// part goes through the steps of one section.
func (c *checker) part(drafts []*draft, start presence) {
	f := &flow{now: start, gotos: map[string]presence{}}
	var group *groupDraft
	var skipped presence // the way around the group
	leave := func() {
		f.now = joined(f.now, skipped)
		group, skipped = nil, nil
	}
	for _, d := range drafts {
		if group != nil && d.group != group {
			leave()
		}
		if d.group != nil && d.group != group {
			group = d.group
			if way := c.groupHead(group, lastOf(drafts, group), f); way != nil {
				skipped = way
			}
		}
		if way, ok := f.gotos[d.step.ID]; ok {
			f.now = joined(f.now, way)
			delete(f.gotos, d.step.ID)
		}
		if f.now == nil && skipped == nil {
			c.problem(d.step.Pos, "RB217", fmt.Sprintf("step %q can't be reached", clip(d.step.Title)), "every way ends or goes past it")
			f.now = start // the rest of its problems are worth knowing
		} else if f.now == nil {
			f.now = skipped
		}
		c.step(d, f)
		if skipped != nil {
			skipped = skipped.after(d.step.ID, mayLackResult)
		}
	}
	leave()
}

// lastOf is the index of a group's last step.
func lastOf(drafts []*draft, group *groupDraft) (last int) {
	for _, d := range drafts {
		if d.group == group {
			last = d.index
		}
	}
	return last
}

// groupHead reads a group's block. It returns the way of a run that skips the
// group, nil if none can.
func (c *checker) groupHead(g *groupDraft, last int, f *flow) presence {
	if g.block == nil {
		return nil
	}
	known := f.now
	if known == nil {
		known = presence{}
	}
	c.fields(g.block, "a group", "RB202", groupForm.names(), func(fd field) {
		switch fd.key {
		case "when":
			g.group.When = c.condition(fd.value, c.names(nil, known))
		case "on_fail":
			next := c.next(fd.value, c.names(nil, known), "on_fail", onFailWords)
			g.group.OnFail = &next
			c.target(next, place{Main, last}) // for whichever of its steps has failed
		}
	})
	if g.group.When == nil {
		return nil
	}
	way := f.now
	if f.now != nil {
		f.now = g.group.When.assuming(f.now)
	}
	return way
}

// scalar reports a value that is not a scalar.
func (p *parser) scalar(n *node, what string) bool {
	if n.kind == scalarNode && n.value != nil {
		return true
	}
	hint := ""
	if n.kind == mapNode {
		hint = "an expression that begins with { or [ needs quotes"
	}
	p.problem(n.pos, "RB106", fmt.Sprintf("%s must be an expression, not %s", what, n.describe()), hint)
	return false
}

// expression compiles a scalar.
func (p *parser) expression(n *node, in *names, what string) *Expr {
	if !p.scalar(n, what) {
		return nil
	}
	s := n.snippet()
	// ${{ }} around a whole condition is a habit from elsewhere.
	if strings.HasPrefix(s.text, "${{") {
		p.problem(n.pos, "RB301", "this is an expression already", "leave out ${{ }}")
		return nil
	}
	return p.compile(s, in)
}

// condition compiles a scalar that must be a bool.
func (p *parser) condition(n *node, in *names) *Expr {
	e := p.expression(n, in, "a condition")
	if e != nil && (e.shape.kind != boolKind && e.shape.kind != anyKind || e.shape == nilShape || e.shape == mixedShape) {
		p.problem(n.at(0), "RB302", fmt.Sprintf("a condition must be true or false, and this is %s", e.shape.a()), hintBool(e.shape))
		return nil
	}
	return e
}

// textTemplate reads text for people, with ${{ }}.
func (p *parser) textTemplate(n *node, in *names, what string) *Template {
	if _, ok := p.text(n, what); !ok {
		return nil
	}
	return p.template(n.snippet(), in)
}

// estimate compares the estimate with the waits that are certain.
func (c *checker) estimate() {
	if c.rb.Estimate == 0 {
		return
	}
	var sum float64
	for _, s := range c.rb.Steps {
		if s.Wait == nil || s.Wait.For == nil || s.When != nil || s.Group != nil && s.Group.When != nil {
			continue
		}
		if d, ok := s.Wait.For.literal.(interface{ Seconds() float64 }); ok {
			sum += d.Seconds()
		}
	}
	if sum > c.rb.Estimate.Seconds() {
		c.warn(c.estimateAt, "RB602", fmt.Sprintf("the waits alone take longer than the estimate of %s", DurationText(c.rb.Estimate)), "")
	}
}
