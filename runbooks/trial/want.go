package trial

import (
	"slices"
	"strconv"
	"strings"

	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

var (
	statuses = []string{string(runbooks.Pass), string(runbooks.Warn), string(runbooks.Fail), string(runbooks.Unknown), string(runbooks.Skipped)}
	verdicts = statuses[:4]
	states   = []string{string(engine.Succeeded), string(engine.Failed), string(engine.Canceled)}
)

// wants reads what a case expects.
func (r *reader) wants(n runbooks.Node, c *Case) {
	fields := r.keys(n, "expect", "path", "asked", "offered", "verdict", "ends", "outcome", "report")
	if fields != nil && len(fields) == 0 && len(n.Fields()) == 0 {
		r.problem(n.Pos(), codeForm, "", "expect must name something: a case that expects nothing cannot fail")
	}
	if f, ok := fields["path"]; ok {
		c.want.path = r.list(f.Value, "path", func(id string, at runbooks.Pos, n runbooks.Node) entry {
			r.step(id, at)
			status := string(runbooks.Pass)
			if !n.IsNull() {
				status = r.word(n, "the status of "+id, statuses)
			}
			return entry{id, []prop{{"", status}}}
		})
	}
	if f, ok := fields["asked"]; ok {
		c.want.asked = r.list(f.Value, "asked", r.question)
	}
	if f, ok := fields["offered"]; ok {
		c.want.offered = r.list(f.Value, "offered", func(name string, _ runbooks.Pos, n runbooks.Node) entry {
			if !n.IsNull() {
				r.problem(n.Pos(), codeForm, "", "an offer has nothing but the runbook's name")
			}
			return entry{name: name}
		})
	}
	if f, ok := fields["verdict"]; ok {
		c.want.verdict = &text{f.Value.Pos(), r.word(f.Value, "verdict", verdicts)}
	}
	if f, ok := fields["ends"]; ok {
		c.want.ends = &text{f.Value.Pos(), r.word(f.Value, "ends", states)}
	}
	if f, ok := fields["outcome"]; ok {
		c.want.outcome = r.texts(f.Value, "outcome")
	}
	f, ok := fields["report"]
	switch {
	case !ok:
	case f.Value.IsMap():
		parts := r.keys(f.Value, "report", "contains", "lacks")
		if f, ok := parts["contains"]; ok {
			c.want.holds = r.texts(f.Value, "contains")
		}
		if f, ok := parts["lacks"]; ok {
			c.want.lacks = r.texts(f.Value, "lacks")
		}
	default:
		c.want.report = &text{f.Value.Pos(), r.text(f.Value, "report")}
	}
}

// list reads a list of names, each bare or as a map of one key.
func (r *reader) list(n runbooks.Node, what string, read func(name string, at runbooks.Pos, n runbooks.Node) entry) *listed {
	out := &listed{pos: n.Pos(), entries: []entry{}}
	if !n.IsList() {
		r.problem(n.Pos(), codeForm, "", "%s must be a list, not %s", what, n.Describe())
		return out
	}
	for _, item := range n.Items() {
		if fields := item.Fields(); len(fields) == 1 {
			out.entries = append(out.entries, read(fields[0].Key, fields[0].Pos, fields[0].Value))
			continue
		}
		if name := r.text(item, "an element of "+what); name != "" {
			out.entries = append(out.entries, read(name, item.Pos(), runbooks.Node{}))
		}
	}
	return out
}

// The properties of a question, in the order in which they are shown.
const (
	propEffect    = "effect"
	propType      = "type"
	propReviewers = "reviewers"
	propBy        = "by"
	propChoices   = "choices"
)

// question reads an element of asked.
func (r *reader) question(id string, at runbooks.Pos, n runbooks.Node) entry {
	r.step(id, at)
	e := entry{name: id}
	if n.IsNull() {
		return e
	}
	known := []string{propEffect, propType, propReviewers, propBy, propChoices}
	fields := r.keys(n, "a question", known...)
	for _, key := range known {
		f, ok := fields[key]
		if !ok {
			continue
		}
		value := ""
		switch key {
		case propEffect:
			value = r.word(f.Value, key, effects)
		case propReviewers:
			count, ok := f.Value.Scalar().(int)
			if !ok || count < 0 {
				r.problem(f.Value.Pos(), codeForm, "", "reviewers must be a number, not %s", f.Value.Describe())
			}
			value = strconv.Itoa(count)
		case propBy, propChoices:
			names := plainTexts(r.texts(f.Value, key))
			slices.Sort(names)
			value = strings.Join(names, " or ")
		default:
			value = strconv.Quote(r.text(f.Value, key))
		}
		e.props = append(e.props, prop{key, value})
	}
	return e
}
