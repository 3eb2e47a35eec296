package runbooks

import (
	"maps"

	"github.com/expr-lang/expr/ast"
)

// A presence says what may be wrong with the result of each step at some point
// of the run: it may be absent (the run never came there) or lack its result
// (skipped or failed). A step that is not in the map is absent.
type presence map[string]lack

type lack uint8

const (
	mayBeAbsent lack = 1 << iota
	mayLackResult
	// seen marks a step that is in the map with nothing amiss.
	seen lack = 0
)

func (p presence) of(id string) lack {
	if l, ok := p[id]; ok {
		return l
	}
	return mayBeAbsent | mayLackResult
}

// with returns p with better knowledge of one step.
func (p presence) without(id string, l lack) presence {
	c := make(presence, len(p)+1)
	for k, v := range p {
		c[k] = v
	}
	c[id] = p.of(id) &^ l
	return c
}

// A flow is what is known at one point, and at the targets of the gotos seen so
// far. A nil now means that the run never comes here.
type flow struct {
	now   presence
	gotos map[string]presence
}

// joined is what is known where two ways meet. A nil way is none.
func joined(a, b presence) presence {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	m := make(presence, max(len(a), len(b)))
	for id := range a {
		m[id] = a.of(id) | b.of(id)
	}
	for id := range b {
		m[id] = a.of(id) | b.of(id)
	}
	return m
}

// after is p once the step has come to an end, lacking what is said.
func (p presence) after(id string, l lack) presence {
	if p == nil {
		return nil
	}
	m := maps.Clone(p)
	m[id] = l
	return m
}

// assuming gives what is known of the steps where the condition holds.
func (e *Expr) assuming(known presence) presence {
	if e == nil {
		return known
	}
	return new(inference).factsIf(e.tree, true, known)
}

// factsIf returns what is known of the steps when the condition n is value.
func (in *inference) factsIf(n ast.Node, value bool, known presence) presence {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			return in.factsIf(n.Node, !value, known)
		}
	case *ast.BinaryNode:
		and, or := n.Operator == "and" || n.Operator == "&&", n.Operator == "or" || n.Operator == "||"
		switch {
		case and && value, or && !value:
			return in.factsIf(n.Right, value, in.factsIf(n.Left, value, known))
		case n.Operator == "==" || n.Operator == "!=":
			return in.factsCompared(n, (n.Operator == "==") == value, known)
		}
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if !ok || len(n.Arguments) == 0 {
			return known
		}
		if callee.Value == needFunction {
			return in.factsIf(n.Arguments[0], value, known)
		}
		id, ok := n.Arguments[len(n.Arguments)-1].(*ast.StringNode)
		if !ok || !value {
			return known
		}
		switch callee.Value {
		case "ok":
			return known.without(id.Value, mayBeAbsent|mayLackResult)
		case "ran":
			return known.without(id.Value, mayBeAbsent)
		}
	}
	return known
}

// factsCompared returns what is known when two values are equal, or not:
// steps.x != nil and steps.x.status == "pass".
func (in *inference) factsCompared(n *ast.BinaryNode, equal bool, known presence) presence {
	left, right := unguarded(n.Left), unguarded(n.Right)
	if _, ok := left.(*ast.NilNode); ok {
		left, right = right, left
	}
	if chain, ok := left.(*ast.ChainNode); ok {
		left = chain.Node
	}
	m, ok := left.(*ast.MemberNode)
	if !ok {
		return known
	}
	if root, ok := m.Node.(*ast.IdentifierNode); ok && root.Value == "steps" {
		if _, null := right.(*ast.NilNode); null && !equal {
			return known.without(propertyName(m), mayBeAbsent)
		}
		return known
	}
	id, field := in.resultOf(m)
	if id == "" {
		return known
	}
	switch right := right.(type) {
	case *ast.NilNode:
		if !equal && field == "result" {
			return known.without(id, mayBeAbsent|mayLackResult)
		}
	case *ast.StringNode:
		if equal && field == "status" && (right.Value == string(Pass) || right.Value == string(Warn)) {
			return known.without(id, mayBeAbsent|mayLackResult)
		}
	}
	return known
}

// unguarded gives the operand inside a guard.
func unguarded(n ast.Node) ast.Node {
	if call, ok := n.(*ast.CallNode); ok {
		if callee, ok := call.Callee.(*ast.IdentifierNode); ok && callee.Value == needFunction {
			return call.Arguments[0]
		}
	}
	return n
}
