package runbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

var (
	onFailWords = []string{"stop", "continue", "note", "ask", "rollback"}
	thenWords   = []string{"next", "stop", "continue", "rollback"}
	rowWords    = []string{"next"}
	nextKinds   = []string{"goto", "run", "offer", "end"}
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// next reads where a run goes: one of the words, or a map with one target.
func (c *checker) next(n *node, in *names, what string, words []string) Next {
	next := Next{Pos: n.pos}
	if n.kind == scalarNode {
		word, ok := c.text(n, what)
		if ok && !slices.Contains(words, word) {
			hint := didYouMean(word, words)
			if what == "then" && slices.Contains(afterRun, word) {
				hint = "what follows do: run stands in with: { runbook: …, then: " + word + " }"
			} else if _, step := c.places[word]; step {
				hint = "write { goto: " + word + " }"
			} else if hint == "" {
				hint = "one of " + strings.Join(words, ", ") + ", or a map with " + strings.Join(nextKinds, ", ")
			}
			c.problem(n.pos, "RB210", fmt.Sprintf("%s can't be %q", what, clip(word)), hint)
			return next
		}
		next.Word = word
		return next
	}
	if n.kind != mapNode {
		c.problem(n.pos, "RB210", fmt.Sprintf("%s must be a word or a map with one target, not %s", what, n.describe()), "")
		return next
	}
	return c.nextMap(n, in, what, nextForm.names())
}

// nextMap reads the target among the keys of a map.
func (c *checker) nextMap(n *node, in *names, what string, keys []string) Next {
	next := Next{Pos: n.pos}
	targets := 0
	c.fields(n, what, "RB210", keys, func(f field) {
		v := f.value
		switch f.key {
		case "next":
			targets++
			if v.value != nil && v.value != true {
				c.problem(v.pos, "RB210", "next takes no value", "")
			}
			next.Word = "next"
		case "goto":
			targets++
			next.Goto, _ = c.text(v, "goto")
			next.Pos = v.pos
		case "end":
			targets++
			next.End = c.choice(v, "end", verdictForm.Words...)
		case "run":
			targets++
			next.Run = &Child{Then: "end", Params: c.childParams(n.get("with"), in), Pos: v.pos}
			next.Run.Runbook, _ = c.text(v, "run")
			next.Pos = v.pos
			if then := n.get("then"); then != nil {
				next.Run.Then = c.afterwards(then, what == "on_fail")
			}
		case "offer":
			targets++
			next.Offer = c.offers(v, in)
			next.OfferThen = "stop"
			if then := n.get("then"); then != nil {
				next.OfferThen = c.choice(then, "then", afterOffer...)
			}
		case "say":
			next.Say = c.textTemplate(v, in, "say")
		}
	})
	switch {
	case targets == 0:
		c.problem(n.pos, "RB210", what+" has no target", "one of "+strings.Join(nextKinds, ", "))
	case targets > 1:
		c.problem(n.pos, "RB210", what+" has more than one target", "")
	case next.Run == nil && n.get("with") != nil:
		c.problem(n.get("with").pos, "RB210", "with belongs to run", "")
	case next.Run == nil && next.Offer == nil && n.get("then") != nil:
		c.problem(n.get("then").pos, "RB210", "then belongs to run and offer", "")
	}
	return next
}

// afterwards reads what follows a runbook that is run. Only where a step has
// failed there is one to try again.
func (c *checker) afterwards(n *node, failed bool) string {
	if failed {
		return c.choice(n, "then", afterRun...)
	}
	if n.value == "retry" {
		c.problem(n.pos, "RB210", "there is no failed step to retry here", "a step is tried again by its own on_fail: { run: …, then: retry }")
		return "resume" // so that nothing behind it seems out of reach
	}
	return c.choice(n, "then", afterRun[1:]...)
}

func (c *checker) childParams(n *node, in *names) map[string]*Value {
	if n == nil {
		return nil
	}
	if n.kind != mapNode {
		c.problem(n.pos, "RB106", "with must be a map of parameters", "")
		return nil
	}
	params := map[string]*Value{}
	for _, f := range n.fields {
		params[f.key] = c.value(f.value, in)
	}
	return params
}

// offers reads a list of runbooks; a single one may be a name.
func (c *checker) offers(n *node, in *names) []OfferedRunbook {
	items := n.items
	if n.kind != listNode {
		items = []*node{n}
	}
	var list []OfferedRunbook
	for _, item := range items {
		o := OfferedRunbook{Pos: item.pos}
		if item.kind == scalarNode {
			o.Runbook, _ = c.text(item, "offer")
			list = append(list, o)
			continue
		}
		c.fields(item, "an offer", "RB210", offerForm.names(), func(f field) {
			switch f.key {
			case "run":
				o.Runbook, _ = c.text(f.value, "run")
				o.Pos = f.value.pos
			case "with":
				o.Params = c.childParams(f.value, in)
			case "say":
				o.Say = c.textTemplate(f.value, in, "say")
			}
		})
		if item.get("run") == nil {
			c.problem(item.pos, "RB210", "an offer needs run, the name of a runbook", "")
		}
		list = append(list, o)
	}
	if len(list) == 0 || len(list) > 5 {
		c.problem(n.pos, "RB210", "offer must name one to five runbooks", "")
	}
	return list
}

// target checks a goto, that there is a rollback, and that nothing ends the
// cleanup. from is where it stands.
func (c *checker) target(next Next, from place) {
	if next.End != "" && from.section == Cleanup {
		c.problem(next.Pos, "RB210", "nothing ends the cleanup but its last step", "the steps after it would be left out")
	}
	if next.Word == "rollback" && (from.section != Main || len(c.rollbackIDs()) == 0) {
		message := "there is no ## Rollback to go to"
		if from.section != Main {
			message = "only the main part leads to the rollback"
		}
		c.problem(next.Pos, "RB210", message, "")
	}
	if next.Goto == "" {
		return
	}
	to, ok := c.places[next.Goto]
	switch {
	case !ok:
		c.problem(next.Pos, "RB211", fmt.Sprintf("goto: there is no step %s", clip(next.Goto)), didYouMean(next.Goto, c.ids))
	case to.section != from.section:
		c.problem(next.Pos, "RB211", fmt.Sprintf("goto: step %s is in another part of the runbook", next.Goto), "")
	case to.index <= from.index || !c.later[next.Goto]:
		c.problem(next.Pos, "RB212", fmt.Sprintf("goto: step %s is not further down", next.Goto), "a loop is watch, retry or each")
	default:
		c.referred([]reference{{next.Goto, next.Pos}})
	}
}

// edges moves the flow past a step: to the next one, to the targets of gotos, or
// to nowhere.
func (c *checker) edges(d *draft, f *flow, inside presence, skippable bool) {
	s, before := d.step, f.now
	f.now = nil
	done := inside.after(s.ID, seen)
	failed := inside.after(s.ID, mayLackResult)
	// lead moves the flow along one way; goesOn says what a target that was left
	// out means.
	lead := func(next Next, way presence, goesOn bool) {
		switch {
		case next.Goto != "":
			if to, ok := c.places[next.Goto]; ok && c.later[next.Goto] && to.section == s.Section {
				f.gotos[next.Goto] = joined(f.gotos[next.Goto], way)
			}
		case s.Section == Cleanup, s.Section == Rollback && next.End == "":
			f.now = joined(f.now, way) // see Section
		case next.End != "":
		case next.Run != nil:
			if next.Run.Then == "resume" {
				f.now = joined(f.now, way)
			}
		case next.Offer != nil:
			if next.OfferThen != "stop" {
				f.now = joined(f.now, way)
			}
		case next.Word == "stop" || next.Word == "rollback":
		case next.Word == "" && !goesOn:
		default:
			f.now = joined(f.now, way)
		}
	}
	switch {
	case s.Do == "end":
	case s.Decide != nil:
		for _, row := range s.Decide.Rows {
			lead(row.Next, done, true)
		}
	case s.Run != nil && s.Run.Then == "end" && s.Then.zero() && s.Section == Main:
	default:
		lead(s.Then, done, true)
	}
	// A child that is run on failure and then has the step tried again leads to
	// success, which is accounted for.
	lead(s.OnFail, failed, false)
	if s.Group != nil && s.Group.OnFail != nil && s.OnFail.zero() {
		lead(*s.Group.OnFail, failed, false)
	}
	if skippable {
		f.now = joined(f.now, before.after(s.ID, mayLackResult))
	}
}

// zero reports whether n was left out.
func (n Next) zero() bool {
	return n.Word == "" && n.Goto == "" && n.End == "" && n.Run == nil && n.Offer == nil
}
