// Package picture draws a runbook, so that a reviewer sees where a run can go,
// what it changes and who has to agree.
package picture

import (
	"fmt"
	"slices"
	"strings"

	"opsbot/runbooks"
)

// A Flow is a runbook as a picture needs it.
type Flow struct {
	Name  string
	Title string
	Facts []string // who starts it, what it asks for, what it locks
	Parts []Part
}

// A Part is the main part, the rollback or the cleanup.
type Part struct {
	Section runbooks.Section
	When    string // a run does it; "" for the main part
	Nodes   []Node
	Ends    bool // a run can come to its end by going on after the last node
}

// A Node is a step, or the head of a group that may be skipped.
type Node struct {
	ID      string // "" for a group
	Title   string
	Group   string // title of the step's group
	Does    string // "redis.flush on cache", "by hand"
	Effect  runbooks.Effect
	With    []string // arguments, "mode: prefix"
	Only    string   // condition without which it is skipped
	Loop    []string // how often it is done
	Expect  []string // what must hold
	Asks    string   // the question of its confirm
	Gates   []string // what people owe before it acts, in order
	Ways    []Way    // where it can go, besides on to the next node
	Through bool     // after success it goes on to the next node without further ado
	Next    bool     // it can come to the next node, by a way or by being skipped
	Skips   int      // of a group: how many nodes follow that are skipped with it
}

// A Way is one way out of a node.
type Way struct {
	On     string // "pass", "fail", "if …"
	Does   string // "end ok", "run x, then resume"
	To     string // id of the step that it jumps to; "": nowhere in this part
	Kind   Kind
	GoesOn bool // afterwards the run may come to the next node
}

// A Kind says what is at the end of a way.
type Kind string

// The kinds of ways.
const (
	Goes   Kind = "goes"   // to a step
	Ends   Kind = "ends"   // the run is over, or rolled back
	Starts Kind = "starts" // another runbook, by itself or by a button
	Asks   Kind = "asks"   // people choose
)

// New works out where the runbook can go.
func New(rb *runbooks.Runbook) *Flow {
	f := &Flow{Name: rb.Slug, Title: rb.Title, Facts: facts(rb)}
	f.Parts = append(f.Parts, part(rb, runbooks.Main, "", rb.Steps))
	if len(rb.Rollback) > 0 {
		f.Parts = append(f.Parts, part(rb, runbooks.Rollback, rollbackWhen(rb), rb.Rollback))
	}
	if len(rb.Cleanup) > 0 {
		f.Parts = append(f.Parts, part(rb, runbooks.Cleanup, "at every ending, a stop included", rb.Cleanup))
	}
	return f
}

func facts(rb *runbooks.Runbook) []string {
	var list []string
	if len(rb.Roles.Run) > 0 {
		list = append(list, "may be started by "+strings.Join(rb.Roles.Run, ", "))
	}
	for _, q := range rb.Params {
		text := "asks for " + q.Name + " (" + string(q.Type)
		switch {
		case q.Default != nil:
			text += fmt.Sprintf(", %v unless given", q.Default)
		case q.Required:
			text += ", required"
		}
		text += ")"
		if q.Help != "" {
			text += ": " + q.Help
		}
		list = append(list, text)
	}
	if locks := rb.Locks(); len(locks) > 0 {
		text := "locks " + strings.Join(locks, ", ")
		if rb.LockWait > 0 {
			text += ", waiting up to " + runbooks.DurationText(rb.LockWait)
		}
		list = append(list, text)
	}
	for _, s := range rb.Schedule {
		text := fmt.Sprintf("starts by itself at %s %s", s.Cron, s.TZ)
		if s.Environment != "" {
			text += " on " + s.Environment
		}
		list = append(list, text)
	}
	list = append(list, changes(rb)...)
	if rb.Timeout > 0 {
		list = append(list, "ends after "+runbooks.DurationText(rb.Timeout)+" of acting")
	}
	return list
}

// changes names the steps that change something.
func changes(rb *runbooks.Runbook) []string {
	ids := map[runbooks.Effect][]string{}
	byHand := false
	for _, list := range [][]*runbooks.Step{rb.Steps, rb.Rollback, rb.Cleanup} {
		for _, s := range list {
			ids[s.Effect] = append(ids[s.Effect], s.ID)
			byHand = byHand || s.Do == "manual"
		}
	}
	var list []string
	if destructive := ids[runbooks.Destructive]; destructive != nil {
		list = append(list, "destructive: "+strings.Join(destructive, ", "))
	}
	if change := ids[runbooks.Change]; change != nil {
		list = append(list, "changes something: "+strings.Join(change, ", "))
	}
	switch {
	case list != nil:
	case byHand:
		list = append(list, "changes nothing by itself; people may, by hand")
	default:
		list = append(list, "changes nothing")
	}
	return list
}

// rollbackWhen says how a run comes to its rollback.
func rollbackWhen(rb *runbooks.Runbook) string {
	var from []string
	for _, s := range rb.Steps {
		fails := s.OnFail
		if zero(fails) && s.Group != nil && s.Group.OnFail != nil {
			fails = *s.Group.OnFail
		}
		if fails.Word == "rollback" || s.Then.Word == "rollback" {
			from = append(from, s.ID)
		}
	}
	if len(from) == 0 {
		return "from its button"
	}
	return "from its button, or after " + strings.Join(from, ", ")
}

func zero(n runbooks.Next) bool {
	return n.Word == "" && n.Goto == "" && n.End == "" && n.Run == nil && len(n.Offer) == 0
}

func part(rb *runbooks.Runbook, section runbooks.Section, when string, steps []*runbooks.Step) Part {
	p := Part{Section: section, When: when}
	var group *runbooks.Group
	for i, s := range steps {
		if s.Group != group && s.Group != nil {
			n := Node{Title: s.Group.Title, Next: true}
			for _, other := range steps[i:] {
				if other.Group != s.Group {
					break
				}
				n.Skips++
			}
			if s.Group.When != nil {
				n.Only = s.Group.When.String()
			}
			p.Nodes = append(p.Nodes, n)
		}
		group = s.Group
		p.Nodes = append(p.Nodes, node(rb, s))
	}
	p.Ends = true
	if n := len(p.Nodes); n > 0 {
		p.Ends = p.Nodes[n-1].Next
		for i, node := range p.Nodes {
			p.Ends = p.Ends || node.Only != "" && node.ID == "" && i+node.Skips == n-1
		}
	}
	return p
}

func node(rb *runbooks.Runbook, s *runbooks.Step) Node {
	n := Node{ID: s.ID, Title: s.Title, Effect: s.Effect, Does: does(s), Loop: loops(s), Gates: gates(rb, s)}
	if s.Group != nil {
		n.Group = s.Group.Title
	}
	var only []string
	if s.When != nil {
		only = append(only, s.When.String())
	}
	if rb.Optional(s.Target) {
		only = append(only, "there is a connection "+s.Target)
	}
	n.Only, n.Next = strings.Join(only, ", and "), only != nil
	names := make([]string, 0, len(s.With))
	for name := range s.With {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n.With = append(n.With, name+": "+s.With[name].String())
	}
	for _, e := range s.Expect {
		text := e.That.String()
		if e.Else != runbooks.Fail {
			text += ", else " + string(e.Else)
		}
		n.Expect = append(n.Expect, text)
	}
	if s.Confirm != nil && s.Confirm.Text != nil {
		n.Asks = s.Confirm.Text.String()
	}
	n.ways(s, s.Section == runbooks.Main && len(rb.Rollback) > 0)
	return n
}

// does says what the step does and to what.
func does(s *runbooks.Step) string {
	switch {
	case s.Do == "manual":
		text := "by hand"
		if len(s.Who) > 0 {
			text += ", ticked by " + strings.Join(s.Who, ", ")
		}
		return text
	case s.Wait != nil && s.Wait.For != nil:
		return "waits for " + s.Wait.For.String()
	case s.Wait != nil && s.Wait.Until != nil:
		return fmt.Sprintf("waits until %s, at most %s", s.Wait.Until, s.Wait.Max)
	case s.Notify != nil:
		return "tells " + s.Notify.To
	case s.Decide != nil:
		return "decides"
	case s.Run != nil:
		return "runs " + s.Run.Runbook
	case s.End != nil:
		return "ends the run"
	case s.Target != "":
		return s.Do + " on " + s.Target
	}
	return s.Do
}

// loops says how often the step is done.
func loops(s *runbooks.Step) []string {
	var list []string
	if s.Each != nil {
		list = append(list, fmt.Sprintf("for each %s in %s, at most %d", s.Each.As, s.Each.In, s.Each.Max))
	}
	if w := s.Watch; w != nil {
		text := fmt.Sprintf("again every %s for %s, until %s", w.Every, w.For, w.Until)
		if w.Hold > 1 {
			text += fmt.Sprintf(", %d times in a row", w.Hold)
		}
		switch {
		case w.GiveUp == 1:
			text += "; a failed look ends it"
		case w.GiveUp > 1:
			text += fmt.Sprintf("; %d failed looks in a row end it", w.GiveUp)
		}
		list = append(list, text)
	}
	if r := s.Retry; r != nil {
		text := fmt.Sprintf("tries up to %d times more", r.Times)
		if r.Delay > 0 {
			text += ", " + runbooks.DurationText(r.Delay) + " apart"
		}
		if r.If != nil {
			text += ", if " + r.If.String()
		}
		list = append(list, text)
	}
	return list
}

// gates says what people owe before the step acts, in order. The server's
// policy may ask for more.
func gates(rb *runbooks.Runbook, s *runbooks.Step) []string {
	var list []string
	switch {
	case s.Confirm != nil && s.Confirm.Type != nil:
		list = append(list, "the starter types "+s.Confirm.Type.String())
	case s.Effect == runbooks.Destructive:
		list = append(list, "the starter types the environment's name")
	case s.Confirm != nil || s.Effect == runbooks.Change:
		list = append(list, "the starter confirms")
	}
	by := rb.Roles.Approve
	if s.Review != nil && len(s.Review.By) > 0 {
		by = s.Review.By
	}
	of := ""
	if len(by) > 0 {
		of = " of " + strings.Join(by, ", ")
	}
	switch {
	case s.Review != nil:
		people := "1 other person" + of + " agrees"
		if s.Review.Count > 1 {
			people = fmt.Sprintf("%d other people%s agree", s.Review.Count, of)
		}
		people += " within " + runbooks.DurationText(s.Review.Within)
		if len(s.Review.Covers) > 0 {
			people += ", to " + strings.Join(s.Review.Covers, ", ") + " of the rollback as well"
		}
		list = append(list, people)
	case s.Effect == runbooks.Destructive:
		list = append(list, "other people"+of+" agree, as many as the server's policy wants")
	}
	if len(s.Recheck) > 0 {
		list = append(list, strings.Join(s.Recheck, ", ")+" must hold again, read afresh")
	}
	return list
}

// ways collects where the step can go; back says whether that may be the
// rollback.
func (n *Node) ways(s *runbooks.Step, back bool) {
	choices := "people choose: retry, skip or stop"
	if back {
		choices = "people choose: retry, skip, roll back or stop"
	}
	switch {
	case s.End != nil:
		n.add(s, "then", "", runbooks.Next{End: s.End.Verdict, Say: s.End.Say})
	case s.Decide != nil:
		for _, row := range s.Decide.Rows {
			n.add(s, condition(s.Decide, row), "", row.Next)
		}
	case s.Run != nil && s.Run.Then == "end" && zero(s.Then) && s.Section == runbooks.Main:
		n.Ways = append(n.Ways, Way{On: "then", Does: "end with its verdict", Kind: Ends})
	default:
		on := "pass"
		if s.Do == "manual" || s.Do == "wait" || s.Do == "notify" {
			on = "done"
		}
		if zero(s.Then) {
			n.Through, n.Next = true, true
		} else {
			n.add(s, on, "", s.Then)
		}
	}
	switch {
	case !zero(s.OnFail):
		n.add(s, "fail", choices, s.OnFail)
	case s.Group != nil && s.Group.OnFail != nil:
		n.add(s, "fail", choices, *s.Group.OnFail)
	}
}

// condition says when a row of a decision is taken.
func condition(d *runbooks.Decision, row runbooks.Row) string {
	switch {
	case row.Else:
		return "else"
	case row.If != nil:
		return "if " + row.If.String()
	}
	var cells []string
	for _, input := range d.Inputs {
		if cell, ok := row.Cells[input.Name]; ok && !cell.Any {
			cells = append(cells, input.Name+" "+cell.Text)
		}
	}
	if len(cells) == 0 {
		return "always"
	}
	return "if " + strings.Join(cells, ", ")
}

// add adds a way of the step; choices are what an `ask` asks.
func (n *Node) add(s *runbooks.Step, on, choices string, next runbooks.Next) {
	w := Way{On: on}
	if s.Section != runbooks.Main { // see runbooks.Section
		switch {
		case next.Run != nil:
			child := *next.Run
			child.Then = "resume"
			next.Run = &child
		case len(next.Offer) > 0:
			next.OfferThen = "note"
		case next.Word == "stop":
			next.Word = "next"
		}
	}
	switch {
	case next.Goto != "":
		w.Does, w.To, w.Kind = "go to "+next.Goto, next.Goto, Goes
	case next.End != "":
		w.Does, w.Kind = "end "+next.End, Ends
	case next.Run != nil:
		then := map[string]string{"retry": "try again", "resume": "go on", "end": "end"}[next.Run.Then]
		w.Does, w.Kind = "run "+next.Run.Runbook+", then "+then, Starts
		w.GoesOn = next.Run.Then == "resume"
	case len(next.Offer) > 0:
		var names []string
		for _, o := range next.Offer {
			names = append(names, o.Runbook)
		}
		then := map[string]string{"stop": "stop", "continue": "go on as failed", "note": "go on"}[next.OfferThen]
		w.Does, w.Kind = "offer "+strings.Join(names, ", ")+", then "+then, Starts
		w.GoesOn = next.OfferThen != "stop"
	case next.Word == "stop":
		w.Does, w.Kind = "stop", Ends
	case next.Word == "rollback":
		w.Does, w.Kind = "roll back", Ends
	case next.Word == "ask":
		w.Does, w.Kind = choices, Asks
		w.GoesOn = true
	case next.Word == "continue":
		w.Does, w.Kind = "go on as failed", Goes
		w.GoesOn = true
	case next.Word == "note":
		w.Does, w.Kind = "go on all the same", Goes
		w.GoesOn = true
	default:
		w.Does, w.Kind = "go on", Goes
		w.GoesOn = true
	}
	if next.Say != nil && w.Kind == Ends {
		w.Does += ": " + next.Say.String()
	}
	n.Next = n.Next || w.GoesOn
	n.Ways = append(n.Ways, w)
}
