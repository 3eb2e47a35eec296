package runbooks

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// frontMatter reads the YAML between the two lines of dashes and returns the
// number of the line after it, 0 if there is none.
func (p *parser) frontMatter() int {
	if strings.TrimRight(p.doc.line(1), " ") != "---" {
		p.problem(Pos{1, 1}, "RB101", "a runbook begins with front matter between two lines of ---", "")
		return 0
	}
	last := 0
	for l := 2; l <= len(p.doc.lines); l++ {
		if strings.TrimRight(p.doc.line(l), " ") == "---" {
			last = l
			break
		}
	}
	if last == 0 {
		p.problem(Pos{1, 1}, "RB101", "the front matter is not closed by a line of ---", "")
		return 0
	}
	front, err := readYAML(p.doc, 2, last-1, 0)
	if err != nil {
		p.problem(err.pos, "RB101", err.message, err.hint)
		return 0 // nearly everything further down depends on it
	}
	if front == nil {
		front = &node{doc: p.doc, pos: Pos{2, 1}, kind: mapNode}
	}
	p.front(front)
	return last + 1
}

func (p *parser) front(n *node) {
	rb := p.rb
	rb.Severity = Info
	// The parameters come first: defaults and schedules are checked against them.
	if params := n.get("params"); params != nil {
		rb.Params = p.params(params, "params", soleHost(n.get("uses")))
	}
	ok := p.fields(n, "the front matter", "RB110", frontForm.names(), func(f field) {
		v := f.value
		switch f.key {
		case "format":
			if v.value != 1 {
				p.problem(v.pos, "RB106", fmt.Sprintf("format must be 1, not %s", v.describe()), "this version of opsbot reads format 1")
			}
		case "runbook":
			rb.Slug = p.slug(v)
			rb.at["runbook"] = v.pos
		case "number":
			rb.Number = p.integer(v, "number", 1, 9999)
			rb.at["number"] = v.pos
		case "aliases":
			rb.Aliases = p.slugs(v)
		case "owner":
			rb.Owner = p.group(v, "owner")
		case "tags":
			rb.Tags = p.words(v, "a tag")
		case "severity":
			rb.Severity = Severity(p.choice(v, "severity", frontForm.words("severity")...))
		case "estimate":
			rb.Estimate, p.estimateAt = p.duration(v, "estimate"), v.pos
		case "verified":
			rb.Verified = p.day(v)
			rb.at["verified"] = v.pos
		case "roles":
			p.fields(v, "roles", "RB106", rolesForm.names(), func(f field) {
				list := p.groups(f.value, "a group")
				if f.key == "run" {
					rb.Roles.Run = list
				} else {
					rb.Roles.Approve = list
				}
			})
		case "uses":
			p.uses(v)
		case "timeout":
			rb.Timeout = p.duration(v, "timeout")
		case "lock_wait":
			if v.text != "refuse" {
				rb.LockWait = p.duration(v, "lock_wait")
			}
		case "alerts":
			p.alerts(v)
		case "defaults":
			p.fields(v, "defaults", "RB106", defaultsForm.names(), func(f field) {
				if f.key == "timeout" {
					rb.Defaults.Timeout = p.duration(f.value, "defaults.timeout")
				} else {
					rb.Defaults.Retry = p.retry(f.value, nil)
				}
			})
		}
	})
	if !ok {
		return
	}
	if lock := n.get("lock"); lock != nil {
		p.lock(lock)
	}
	if schedule := n.get("schedule"); schedule != nil {
		p.schedules(schedule)
	}
	if n.get("format") == nil {
		p.problem(n.pos, "RB106", "the front matter needs format: 1", "")
	}
	if n.get("runbook") == nil {
		p.problem(n.pos, "RB111", "the front matter needs runbook:, the name in commands", "")
	}
}

func (p *parser) slug(n *node) string {
	s, ok := p.text(n, "runbook")
	switch {
	case !ok:
		return ""
	case !slugPattern.MatchString(s) || len(s) > 60:
		p.problem(n.pos, "RB111", fmt.Sprintf("%q is no name for a runbook", clip(s)), "lower case letters, digits and single hyphens, such as cache-fix")
	case slices.Contains(reservedName, s):
		p.problem(n.pos, "RB111", fmt.Sprintf("%q is a word of the commands and can't name a runbook", s), "")
	}
	return s
}

func (p *parser) slugs(n *node) []string {
	if n.kind != listNode {
		p.problem(n.pos, "RB106", fmt.Sprintf("aliases must be a list, not %s", n.describe()), "")
		return nil
	}
	var list []string
	for _, item := range n.items {
		alias := p.slug(item)
		list = append(list, alias)
		p.rb.at["alias "+alias] = item.pos
	}
	return list
}

func (p *parser) day(n *node) time.Time {
	s, ok := p.text(n, "verified")
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		p.problem(n.pos, "RB106", fmt.Sprintf("verified must be a day such as 2026-03-31, not %q", clip(s)), "")
	}
	return t
}

func (p *parser) uses(n *node) {
	if n.kind != mapNode {
		p.problem(n.pos, "RB106", "uses must be a map of connections to kinds, such as { cache: redis }", "")
		return
	}
	for _, f := range n.fields {
		if !wordPattern.MatchString(f.key) {
			p.problem(f.pos, "RB106", fmt.Sprintf("%q is no name for a connection", clip(f.key)), "")
			continue
		}
		if kind := p.choice(f.value, "the kind of "+f.key, useKinds...); kind != "" {
			kind, optional := strings.CutSuffix(kind, optionalMark)
			p.rb.Uses = append(p.rb.Uses, Use{Name: f.key, Kind: kind, Optional: optional, Pos: f.pos})
		}
	}
}

// optionalMark follows the kind of a connection that a runbook can do without.
const optionalMark = "?"

// useKinds are what may stand in uses.
var useKinds = func() []string {
	list := slices.Clone(Kinds)
	for _, kind := range Kinds {
		list = append(list, kind+optionalMark)
	}
	return list
}()

// lock reads connections to lock: names of uses, or x/* for every resource of one.
func (p *parser) lock(n *node) {
	items := []*node{n}
	if n.kind == listNode {
		items = n.items
	}
	for _, item := range items {
		s, ok := p.text(item, "lock")
		if !ok {
			continue
		}
		name, resource, _ := strings.Cut(s, "/")
		if p.use(name) == nil {
			p.problem(item.pos, "RB206", fmt.Sprintf("lock %q names no connection in uses", clip(s)), didYouMean(name, p.useNames()))
			continue
		}
		if p.use(name).Optional {
			p.problem(item.pos, "RB226", fmt.Sprintf("%s is optional, and is only looked at: there is nothing to lock", name), "leave it out of lock, or write its kind without ?")
			continue
		}
		if strings.Contains(s, "/") && resource != "*" && !wordPattern.MatchString(resource) {
			p.problem(item.pos, "RB106", fmt.Sprintf("lock %q must be a connection, or a connection with /* or the name of a resource", clip(s)), "")
			continue
		}
		p.rb.Lock = append(p.rb.Lock, s)
	}
}

func (p *parser) use(name string) *Use {
	for i := range p.rb.Uses {
		if p.rb.Uses[i].Name == name {
			return &p.rb.Uses[i]
		}
	}
	return nil
}

func (p *parser) useNames() []string {
	var list []string
	for _, u := range p.rb.Uses {
		list = append(list, u.Name)
	}
	return list
}

func (p *parser) alerts(n *node) {
	if n.kind != listNode {
		p.problem(n.pos, "RB106", "alerts must be a list of label matchers, such as [{ alertname: CacheHitRateLow }]", "")
		return
	}
	for _, item := range n.items {
		if item.kind != mapNode || len(item.fields) == 0 {
			p.problem(item.pos, "RB106", "an alert must be a map of labels to values", "")
			continue
		}
		labels := map[string]string{}
		for _, f := range item.fields {
			labels[f.key], _ = p.text(f.value, "the label "+f.key)
		}
		p.rb.Alerts = append(p.rb.Alerts, labels)
	}
}

// plainValue gives a node as a Go value.
func plainValue(n *node) any {
	switch n.kind {
	case listNode:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = plainValue(item)
		}
		return list
	case mapNode:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key] = plainValue(f.value)
		}
		return m
	}
	return n.value
}
