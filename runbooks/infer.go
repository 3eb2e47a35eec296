package runbooks

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// An inference works out the static shape of every part of an expression,
// reports what can't be right, and puts guards around operands that may turn
// out to have no data.
//
// It takes the place of the library's own checker, which knows neither what may
// be nil nor which step may have been skipped.
type inference struct {
	names  *names
	known  presence
	expr   *Expr
	places func(rune int) Pos
	report func(rune int, code, message, hint string)
	failed bool

	elems      []*shape // of the predicates around, innermost last
	predicates int
}

// nilShape is the literal nil; mixedShape is one of several kinds, which only
// text can take.
var (
	nilShape   = &shape{kind: anyKind, null: true}
	mixedShape = &shape{kind: anyKind, null: false}
)

func (in *inference) place(n ast.Node) Pos { return in.places(location(n)) }

// fail reports a problem at a node. After the first the rest of the expression
// is still looked at, but only problems with other causes are worth showing.
func (in *inference) fail(n ast.Node, code, hint, format string, args ...any) *shape {
	if !in.failed || code != "RB301" {
		in.report(location(n), code, fmt.Sprintf(format, args...), hint)
	}
	in.failed = true
	return anyShape
}

func (in *inference) infer(ref *ast.Node) *shape {
	switch n := (*ref).(type) {
	case *ast.NilNode:
		return nilShape
	case *ast.IntegerNode:
		return intShape
	case *ast.FloatNode:
		return floatShape
	case *ast.BoolNode:
		return boolShape
	case *ast.StringNode:
		return stringShape
	case *ast.IdentifierNode:
		return in.identifier(n)
	case *ast.UnaryNode:
		return in.unary(n)
	case *ast.BinaryNode:
		return in.binary(ref, n)
	case *ast.ChainNode:
		return in.infer(&n.Node).nullable()
	case *ast.MemberNode:
		return in.member(n)
	case *ast.SliceNode:
		return in.slice(n)
	case *ast.ConditionalNode:
		in.condition(&n.Cond)
		before := in.known
		in.known = in.factsIf(n.Cond, true, before)
		a := in.infer(&n.Exp1)
		in.known = in.factsIf(n.Cond, false, before)
		b := in.infer(&n.Exp2)
		in.known = before
		return join(a, b)
	case *ast.ArrayNode:
		var elem *shape
		for i := range n.Nodes {
			s := in.infer(&n.Nodes[i])
			if elem = join(elem, s); elem == mixedShape {
				elem = anyShape
			}
		}
		if elem == nil {
			elem = anyShape
		}
		return listOf(elem)
	case *ast.MapNode:
		rec := &shape{kind: recordKind, fields: map[string]*shape{}}
		for _, p := range n.Pairs {
			pair := p.(*ast.PairNode)
			key, ok := pair.Key.(*ast.StringNode)
			if !ok {
				return in.fail(pair, "RB301", "", "a key of a map must be a word")
			}
			rec.fields[key.Value] = in.infer(&pair.Value)
		}
		return rec
	case *ast.PointerNode:
		if n.Name != "" && n.Name != "index" {
			return in.fail(n, "RB301", "", "#%s is not part of the language", n.Name)
		}
		if len(in.elems) == 0 {
			return in.fail(n, "RB301", "", "# stands for an element and only has a meaning inside filter(), any() and the like")
		}
		if n.Name == "index" {
			return intShape
		}
		return in.elems[len(in.elems)-1]
	case *ast.CallNode:
		return in.call(n)
	case *ast.BuiltinNode:
		return in.builtin(ref, n)
	}
	return in.fail(*ref, "RB301", "let, ; and if belong into `save` or `when`", "this is not part of the language")
}

func (in *inference) identifier(n *ast.IdentifierNode) *shape {
	name := n.Value
	switch {
	case name == "params":
		in.expr.roots[name] = true
		return in.names.params
	case name == "run":
		in.expr.roots[name] = true
		return runShape
	case name == "steps":
		return in.fail(n, "RB301", "", "steps must be followed by the id of a step: steps.info")
	case name == "result" && in.names.result != nil:
		in.expr.roots[name] = true
		return in.names.result
	case name == "prev" && in.names.polls:
		in.expr.roots[name] = true
		return in.names.result.nullable()
	case name == "n" && in.names.polls:
		in.expr.roots[name] = true
		return intShape
	case in.names.vars[name] != nil:
		in.expr.roots[name] = true
		return in.names.vars[name]
	}
	switch name {
	case "result":
		return in.fail(n, "RB301", "a step's own result is known in expect, save, watch and retry; other steps' are steps.<id>.result", "result is not known here")
	case "prev", "n":
		return in.fail(n, "RB301", "", "%s is only known in watch", name)
	}
	if helperFunctions[name] != nil || allowedBuiltin(name) {
		return in.fail(n, "RB301", "", "%s is a function: call it as %s(…)", name, name)
	}
	hint := didYouMean(name, in.rootNames())
	if hint == "" && in.names.result != nil {
		if near := nearest(name, sortedKeys(in.names.result.fields)); near != "" || in.names.result.fields[name] != nil {
			if near == "" {
				near = name
			}
			hint = "did you mean result." + near + "?"
		}
	}
	return in.fail(n, "RB301", hint, "unknown name %s", name)
}

func (in *inference) rootNames() []string {
	list := []string{"params", "run", "steps"}
	if in.names.result != nil {
		list = append(list, "result")
	}
	return append(list, slices.Collect(maps.Keys(in.names.vars))...)
}

// condition infers a part that must be a bool and guards it.
func (in *inference) condition(ref *ast.Node) {
	n := *ref
	s := in.infer(ref)
	if s.kind != boolKind && s.kind != anyKind || s == nilShape || s == mixedShape {
		in.fail(n, "RB301", hintBool(s), "want true or false here, have %s", s.a())
		return
	}
	in.need(ref, s)
}

func hintBool(s *shape) string {
	switch s.kind {
	case intKind, floatKind:
		return "compare it with a number"
	case stringKind:
		return "compare it with a text"
	case listKind:
		return "compare len(…) with a number"
	}
	return ""
}

// need puts a guard around an operand that may have no data: then the operator
// fails with ErrNoData instead of computing something.
func (in *inference) need(ref *ast.Node, s *shape) {
	if !s.null && s.kind != floatKind && s.kind != anyKind && !in.reads(*ref) {
		return
	}
	switch n := (*ref).(type) {
	case *ast.FloatNode, *ast.IntegerNode, *ast.BoolNode, *ast.StringNode:
		return
	case *ast.BinaryNode:
		if s.kind == boolKind && n.Operator != "??" {
			return
		}
	}
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: needFunction}, Arguments: []ast.Node{*ref}}
	call.SetLocation((*ref).Location())
	*ref = call
}

// reads reports whether a node reads a field, which a damaged or older record
// may lack whatever its type says.
func (in *inference) reads(n ast.Node) bool {
	switch n.(type) {
	case *ast.MemberNode, *ast.ChainNode:
		return true
	}
	return false
}

func (in *inference) unary(n *ast.UnaryNode) *shape {
	if n.Operator == "!" || n.Operator == "not" {
		in.condition(&n.Node)
		return boolShape
	}
	s := in.infer(&n.Node)
	if !s.number() && s.kind != anyKind {
		return in.fail(n, "RB301", "", "%s needs a number, not %s", n.Operator, s.a())
	}
	in.need(&n.Node, s)
	return s.sure()
}

// number reports whether the shape is a number.
func (s *shape) number() bool { return s.kind == intKind || s.kind == floatKind }

// sure is the shape without "or no data".
func (s *shape) sure() *shape {
	if !s.null {
		return s
	}
	c := *s
	c.null = false
	return &c
}

// join is the shape of a value that is either of two.
func join(a, b *shape) *shape {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a == nilShape:
		return b.nullable()
	case b == nilShape:
		return a.nullable()
	case a.number() && b.number() && a.kind != b.kind:
		return &shape{kind: floatKind, null: a.null || b.null}
	case a.kind != b.kind:
		return mixedShape
	}
	c := *a
	c.null = a.null || b.null
	switch a.kind {
	case listKind, dictKind:
		if c.elem = join(a.elem, b.elem); c.elem == mixedShape {
			c.elem = anyShape
		}
	case recordKind:
		c.fields = map[string]*shape{}
		for name, f := range a.fields {
			if g := b.fields[name]; g != nil {
				c.fields[name] = join(f, g)
			}
		}
	}
	return &c
}

func (in *inference) binary(ref *ast.Node, n *ast.BinaryNode) *shape {
	switch n.Operator {
	case "and", "&&", "or", "||":
		in.condition(&n.Left)
		before := in.known
		in.known = in.factsIf(n.Left, n.Operator == "and" || n.Operator == "&&", before)
		in.condition(&n.Right)
		in.known = before
		return boolShape
	case "??":
		left := in.infer(&n.Left)
		right := in.infer(&n.Right)
		if left == nilShape || left == anyShape {
			return right
		}
		s := join(left.sure(), right)
		if s == mixedShape || right.null {
			return s
		}
		return s.sure()
	}
	left, right := in.infer(&n.Left), in.infer(&n.Right)
	if in.failed {
		return anyShape
	}
	result := in.operator(n, left, right)
	if (n.Operator == "==" || n.Operator == "!=") && (left == nilShape || right == nilShape) {
		return result
	}
	in.need(&n.Left, left)
	in.need(&n.Right, right)
	if n.Operator == "+" && result.kind != intKind && result.kind != floatKind && result.kind != durationKind && result.kind != timeKind {
		in.expr.roots[meterName] = true
		call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: plusFunction},
			Arguments: []ast.Node{&ast.IdentifierNode{Value: meterName}, n.Left, n.Right}}
		ast.Patch(ref, call)
	}
	return result
}

// operator gives the shape of an operator's value, or reports that it can't
// take such operands.
func (in *inference) operator(n *ast.BinaryNode, l, r *shape) *shape {
	mismatch := func(hint string) *shape {
		return in.fail(n, "RB301", hint, "%s can't take %s and %s", n.Operator, l.a(), r.a())
	}
	if l == mixedShape || r == mixedShape {
		return mismatch("give both sides of ?? and of ? : the same type")
	}
	anyone := l.kind == anyKind || r.kind == anyKind
	both := func(k kind) bool {
		return (l.kind == k || l.kind == anyKind) && (r.kind == k || r.kind == anyKind)
	}
	numbers := (l.number() || l.kind == anyKind) && (r.number() || r.kind == anyKind)
	switch n.Operator {
	case "==", "!=":
		if anyone || l.kind == r.kind || l.number() && r.number() {
			return boolShape
		}
		return mismatch("")
	case "<", "<=", ">", ">=":
		if numbers || both(stringKind) || both(durationKind) || both(timeKind) {
			return boolShape
		}
		if l.kind == durationKind || r.kind == durationKind {
			return mismatch(`write a duration as duration("30s")`)
		}
		return mismatch("")
	case "+":
		switch {
		case anyone:
			return anyShape
		case numbers:
			return promote(l, r)
		case both(stringKind):
			return stringShape
		case both(durationKind):
			return durationShape
		case l.kind == timeKind && r.kind == durationKind, l.kind == durationKind && r.kind == timeKind:
			return timeShape
		}
	case "-":
		switch {
		case anyone:
			return anyShape
		case numbers:
			return promote(l, r)
		case both(durationKind), both(timeKind):
			return durationShape
		case l.kind == timeKind && r.kind == durationKind:
			return timeShape
		}
	case "*":
		switch {
		case anyone && (numbers || both(durationKind)):
			return anyShape
		case numbers:
			return promote(l, r)
		case l.number() && r.kind == durationKind, l.kind == durationKind && r.number():
			return durationShape
		}
	case "/", "%":
		if !numbers || n.Operator == "%" && (l.kind == floatKind || r.kind == floatKind) {
			return mismatch("")
		}
		if !constantDivisor(n.Right) {
			in.fail(n.Right, "RB303", "ratio(a, b) has no data when b is 0", "dividing by a value that may be 0 may give NaN")
		}
		if n.Operator == "%" {
			return intShape
		}
		return floatShape
	case "**", "^":
		if numbers {
			return floatShape
		}
	case "..":
		return in.span(n, l, r)
	case "in", "not in":
		switch {
		case r.kind == listKind && (l.kind == anyKind || r.elem.kind == anyKind || l.kind == r.elem.kind || l.number() && r.elem.number()):
			return boolShape
		case (r.kind == dictKind || r.kind == recordKind) && (l.kind == stringKind || l.kind == anyKind), r.kind == anyKind:
			return boolShape
		}
	case "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			return in.fail(n.Right, "RB301", "", "a pattern must be written out, so that its cost is known")
		}
		if !in.pattern(pattern) || l.kind != stringKind && l.kind != anyKind {
			return mismatch("")
		}
		return boolShape
	case "contains", "startsWith", "endsWith":
		if both(stringKind) {
			return boolShape
		}
		if l.kind == listKind {
			return mismatch("write: x in list")
		}
	}
	return mismatch("")
}

func promote(l, r *shape) *shape {
	if l.kind == intKind && r.kind == intKind {
		return intShape
	}
	return floatShape
}

// constantDivisor reports whether the node is a number other than 0.
func constantDivisor(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return n.Value != 0
	case *ast.FloatNode:
		return n.Value != 0
	case *ast.UnaryNode:
		return n.Operator == "-" && constantDivisor(n.Node)
	}
	return false
}

func (in *inference) span(n *ast.BinaryNode, l, r *shape) *shape {
	from, ok1 := n.Left.(*ast.IntegerNode)
	to, ok2 := n.Right.(*ast.IntegerNode)
	if !ok1 || !ok2 {
		return in.fail(n, "RB301", "", "both ends of a range must be written out, so that its length is known")
	}
	if to.Value-from.Value >= maxRange {
		return in.fail(n, "RB301", "", "a range may have at most %d elements", maxRange)
	}
	return listOf(intShape)
}

// pattern checks a regular expression that is written out.
func (in *inference) pattern(n *ast.StringNode) bool {
	if len(n.Value) > maxRegexp {
		in.fail(n, "RB301", "", "a pattern may have at most %d characters", maxRegexp)
		return false
	}
	if _, err := regexp.Compile(n.Value); err != nil {
		in.fail(n, "RB301", "", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return false
	}
	return true
}

func (in *inference) slice(n *ast.SliceNode) *shape {
	s := in.infer(&n.Node)
	for _, ref := range []*ast.Node{&n.From, &n.To} {
		if *ref == nil {
			continue
		}
		if i := in.infer(ref); i.kind != intKind && i.kind != anyKind {
			return in.fail(*ref, "RB301", "", "want a whole number here, have %s", i.a())
		}
	}
	if s.kind != listKind && s.kind != stringKind {
		return in.fail(n, "RB301", "", "only a list or a text can be cut, not %s", s.a())
	}
	in.need(&n.Node, s)
	return s.sure()
}
