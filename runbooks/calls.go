package runbooks

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

// builtinShapes lists the library's builtins that are part of the language:
// those whose work grows no faster than their input, and that give the same
// value whenever a run is resumed. Predicates take a list and a condition or
// value for each element.
var builtinShapes = map[string]struct {
	args      string // kinds of the arguments: l list, n number, i int, s text, x anything, p predicate; upper case: may be left out
	result    func(args []*shape) *shape
	condition bool // the predicate must be a bool
}{
	"all":           {"lp", constant(boolShape), true},
	"none":          {"lp", constant(boolShape), true},
	"any":           {"lp", constant(boolShape), true},
	"one":           {"lp", constant(boolShape), true},
	"count":         {"lP", constant(intShape), true},
	"filter":        {"lp", sameAs, true},
	"map":           {"lp", func(a []*shape) *shape { return listOf(a[1]) }, false},
	"find":          {"lp", func(a []*shape) *shape { return a[0].elem.nullable() }, true},
	"findIndex":     {"lp", constant(intShape), true},
	"findLast":      {"lp", func(a []*shape) *shape { return a[0].elem.nullable() }, true},
	"findLastIndex": {"lp", constant(intShape), true},
	"sum":           {"lP", sumShape, false},
	"sortBy":        {"lpS", sameAs, false},
	"len":           {"x", constant(intShape), false},
	"abs":           {"n", sameAs, false},
	"ceil":          {"n", constant(floatShape), false},
	"floor":         {"n", constant(floatShape), false},
	"round":         {"n", constant(floatShape), false},
	"int":           {"x", constant(intShape), false},
	"float":         {"x", constant(floatShape), false},
	"string":        {"x", constant(stringShape), false},
	"trim":          {"sS", constant(stringShape), false},
	"trimPrefix":    {"ss", constant(stringShape), false},
	"trimSuffix":    {"ss", constant(stringShape), false},
	"upper":         {"s", constant(stringShape), false},
	"lower":         {"s", constant(stringShape), false},
	"split":         {"ssI", constant(stringsShape), false},
	"indexOf":       {"ss", constant(intShape), false},
	"lastIndexOf":   {"ss", constant(intShape), false},
	"hasPrefix":     {"ss", constant(boolShape), false},
	"hasSuffix":     {"ss", constant(boolShape), false},
	"max":           {"nN", extremeShape, false},
	"min":           {"nN", extremeShape, false},
	"mean":          {"l", constant(floatShape), false},
	"median":        {"l", constant(floatShape), false},
	"first":         {"l", func(a []*shape) *shape { return a[0].elem.nullable() }, false},
	"last":          {"l", func(a []*shape) *shape { return a[0].elem.nullable() }, false},
	"take":          {"li", sameAs, false},
	"reverse":       {"l", sameAs, false},
	"sort":          {"lS", sameAs, false},
	"uniq":          {"l", sameAs, false},
	"keys":          {"x", constant(stringsShape), false},
	"values":        {"x", func(a []*shape) *shape { return listOf(anyShape) }, false},
	"duration":      {"s", constant(durationShape), false},
}

func allowedBuiltin(name string) bool { _, ok := builtinShapes[name]; return ok }

func constant(s *shape) func([]*shape) *shape { return func([]*shape) *shape { return s } }

func sameAs(a []*shape) *shape { return a[0] }

func sumShape(a []*shape) *shape {
	elem := a[0].elem
	if len(a) > 1 {
		elem = a[1]
	}
	if elem.number() || elem.kind == durationKind {
		return elem.sure()
	}
	return anyShape
}

func extremeShape(a []*shape) *shape {
	s := a[0]
	if s.kind == listKind {
		s = s.elem
	}
	for _, o := range a[1:] {
		if o.kind == listKind {
			o = o.elem
		}
		s = join(s, o)
	}
	return s.sure()
}

// builtin infers a call of a builtin.
func (in *inference) builtin(ref *ast.Node, n *ast.BuiltinNode) *shape {
	b, ok := builtinShapes[n.Name]
	if !ok {
		return in.unknownFunction(n, n.Name)
	}
	shapes := make([]*shape, len(n.Arguments))
	for i := range n.Arguments {
		letter := byte('x')
		switch {
		case i < len(b.args):
			letter = b.args[i]
		case n.Name == "max" || n.Name == "min":
			letter = 'n'
		default:
			return in.fail(n, "RB301", "", "too many arguments for %s()", n.Name)
		}
		if letter == 'p' || letter == 'P' {
			shapes[i] = in.predicate(n, i, shapes[0], b.condition)
		} else {
			shapes[i] = in.argument(&n.Arguments[i], n.Name, strings.ToLower(string(letter)), i)
		}
		if in.failed {
			return anyShape
		}
	}
	if required := len(strings.TrimRight(b.args, "PNSIL")); len(shapes) < required {
		return in.fail(n, "RB301", "", "%s() needs %d arguments", n.Name, required)
	}
	result := b.result(shapes)
	if n.Name == "split" || n.Name == "keys" || n.Name == "values" { // the others give no longer list than they take
		ast.Patch(ref, &ast.CallNode{Callee: &ast.IdentifierNode{Value: capFunction},
			Arguments: []ast.Node{&ast.StringNode{Value: n.Name}, n}})
	}
	// What builds new text inside a predicate is measured.
	if in.predicates > 0 && (result.kind == stringKind || result.kind == listKind) {
		in.expr.roots[meterName] = true
		call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: measureFunction},
			Arguments: []ast.Node{&ast.IdentifierNode{Value: meterName}, *ref}}
		ast.Patch(ref, call)
	}
	return result
}

func (in *inference) predicate(n *ast.BuiltinNode, i int, list *shape, condition bool) *shape {
	p, ok := n.Arguments[i].(*ast.PredicateNode)
	if !ok {
		return in.fail(n, "RB301", "", "%s() needs a condition for each element", n.Name)
	}
	if in.predicates++; in.predicates > maxPredicates {
		in.fail(n, "RB301", "", "conditions on elements may be nested at most %d deep", maxPredicates)
	}
	elem := list.elem
	if elem == nil {
		elem = anyShape
	}
	in.elems = append(in.elems, elem)
	var s *shape
	if condition {
		in.condition(&p.Node)
		s = boolShape
	} else {
		s = in.infer(&p.Node)
	}
	in.elems = in.elems[:len(in.elems)-1]
	in.predicates--
	return s
}

// argument infers an argument that must be of the kind and have data.
func (in *inference) argument(ref *ast.Node, function, letter string, i int) *shape {
	n := *ref
	s := in.infer(ref)
	if in.failed {
		return s
	}
	want := ""
	switch letter {
	case "l":
		if s.kind != listKind && s != anyShape {
			want = "a list"
		} else if s == anyShape {
			s = listOf(anyShape)
		}
	case "n":
		if !s.number() && s.kind != durationKind && s.kind != anyKind && !(s.kind == listKind && (function == "max" || function == "min")) {
			want = "a number"
		}
	case "i":
		if s.kind != intKind && s.kind != anyKind {
			want = "a whole number"
		}
	case "s":
		if s.kind != stringKind && s.kind != anyKind {
			want = "a text"
		}
	}
	if s == mixedShape || want != "" {
		return in.fail(n, "RB301", "", "%s() needs %s as argument %d, not %s", function, want, i+1, s.a())
	}
	in.need(ref, s)
	return s
}

func (in *inference) unknownFunction(n ast.Node, name string) *shape {
	switch name {
	case "now", "date", "timezone":
		return in.fail(n, "RB301", "use run.started, run.elapsed or steps.<id>.elapsed, so that a resumed run decides the same", "%s() is not part of the language", name)
	case "repeat", "replace", "reduce", "concat", "flatten", "fromJSON", "toJSON":
		return in.fail(n, "RB301", "its cost can't be bounded when the file is loaded", "%s() is not part of the language", name)
	}
	known := []string{}
	for f := range helperFunctions {
		if !strings.HasPrefix(f, hiddenPrefix) {
			known = append(known, f)
		}
	}
	for f := range builtinShapes {
		known = append(known, f)
	}
	return in.fail(n, "RB301", didYouMean(name, known), "unknown function %s()", name)
}

// call infers a call of one of our own helpers.
func (in *inference) call(n *ast.CallNode) *shape {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return in.fail(n, "RB301", "", "values have no methods")
	}
	name := callee.Value
	if helperFunctions[name] == nil || strings.HasPrefix(name, hiddenPrefix) {
		return in.unknownFunction(n, name)
	}
	count := map[string]int{"ratio": 2, "series": 3, "grep": 2, "bytes": 1, "pct": 1, "join": 2, "ok": 1, "ran": 1, "mark": 1, "secret": 1, "earlier": 2, "measured": 2, "size": 1}[name]
	if len(n.Arguments) != count {
		return in.fail(n, "RB301", "", "%s() takes %d arguments, not %d", name, count, len(n.Arguments))
	}
	literal := func(i int) (string, bool) {
		s, ok := n.Arguments[i].(*ast.StringNode)
		if !ok {
			in.fail(n.Arguments[i], "RB301", "", "argument %d of %s() must be a text that is written out", i+1, name)
			return "", false
		}
		return s.Value, true
	}
	switch name {
	case "ok", "ran", "mark":
		id, ok := literal(0)
		if !ok || in.stepCalled(n.Arguments[0], id) == nil {
			return anyShape
		}
		in.expr.roots[statusesName] = true
		n.Arguments = []ast.Node{&ast.IdentifierNode{Value: statusesName}, n.Arguments[0]}
		if name == "mark" {
			return stringShape
		}
		return boolShape
	case "secret":
		secret, ok := literal(0)
		if !ok {
			return anyShape
		}
		if !in.names.secret {
			return in.fail(n, "RB401", "of an action on a connection", "secret() may only be used in with")
		}
		in.expr.secrets = append(in.expr.secrets, secret)
		in.expr.roots[secretsName] = true
		n.Arguments = []ast.Node{&ast.IdentifierNode{Value: secretsName}, n.Arguments[0]}
		return stringShape
	case "earlier":
		id, ok := literal(0)
		if !ok {
			return anyShape
		}
		saved, ok := literal(1)
		if !ok {
			return anyShape
		}
		in.expr.earlier = append(in.expr.earlier, savedReference{id, saved, in.place(n.Arguments[0])})
		in.expr.refs = append(in.expr.refs, reference{id, in.place(n.Arguments[0])})
		in.expr.roots[earlierName] = true
		n.Arguments = []ast.Node{&ast.IdentifierNode{Value: earlierName}, n.Arguments[0], n.Arguments[1]}
		return anyShape
	case "bytes":
		text, ok := literal(0)
		if !ok {
			return anyShape
		}
		if _, err := parseBytes(text); err != nil {
			return in.fail(n.Arguments[0], "RB301", "", "%v", err)
		}
		return intShape
	case "measured":
		if _, ok := literal(1); !ok {
			return anyShape
		}
		if s := in.infer(&n.Arguments[0]); !s.number() && s.kind != anyKind || s == mixedShape {
			return in.fail(n.Arguments[0], "RB301", "", "%s() needs a number as argument 1, not %s", name, s.a())
		}
		return stringShape
	case "ratio", "pct", "size":
		for i := range n.Arguments {
			if s := in.infer(&n.Arguments[i]); !s.number() && s.kind != anyKind || s == mixedShape {
				return in.fail(n.Arguments[i], "RB301", "", "%s() needs a number as argument %d, not %s", name, i+1, s.a())
			}
		}
		if name != "ratio" {
			return stringShape
		}
		return floatShape.nullable()
	case "join":
		if s := in.infer(&n.Arguments[0]); s.kind != listKind && s.kind != anyKind {
			return in.fail(n.Arguments[0], "RB301", "", "join() needs a list, not %s", s.a())
		}
		in.argument(&n.Arguments[1], name, "s", 1)
		return stringShape
	case "grep":
		s := in.argument(&n.Arguments[0], name, "l", 0)
		if _, ok := literal(1); !ok || in.failed || !in.pattern(n.Arguments[1].(*ast.StringNode)) {
			return anyShape
		}
		if s.elem.kind != stringKind && s.elem.kind != anyKind {
			return in.fail(n.Arguments[0], "RB301", "", "grep() needs a list of texts, not %s", s.a())
		}
		return stringsShape
	case "series":
		return in.seriesCall(n, literal)
	}
	return anyShape
}

func (in *inference) seriesCall(n *ast.CallNode, literal func(int) (string, bool)) *shape {
	s := in.infer(&n.Arguments[0])
	if in.failed {
		return anyShape
	}
	if s.kind == recordKind {
		if list := s.fields["series"]; list == nil || list.kind != listKind {
			return in.fail(n.Arguments[0], "RB301", "", "series() needs the result of a query, which has series")
		}
	} else if s.kind != anyKind {
		return in.fail(n.Arguments[0], "RB301", "", "series() needs the result of a query, not %s", s.a())
	}
	if _, ok := literal(1); !ok {
		return anyShape
	}
	in.argument(&n.Arguments[2], "series", "s", 2)
	return floatShape.nullable()
}
