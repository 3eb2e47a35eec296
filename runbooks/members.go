package runbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

func (in *inference) member(n *ast.MemberNode) *shape {
	if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "steps" {
		return in.step(n)
	}
	if inner, ok := n.Node.(*ast.MemberNode); ok {
		if id, ok := inner.Node.(*ast.IdentifierNode); ok && id.Value == "steps" {
			return in.stepField(n, inner)
		}
	}
	base := in.infer(&n.Node)
	if in.failed {
		return anyShape
	}
	if base.null && base != nilShape && !n.Optional {
		if id, what := in.resultOf(n.Node); id != "" && in.known.of(id)&mayLackResult != 0 {
			return in.fail(n.Property, "RB312", fmt.Sprintf("write steps.%s?.%s?.%s and give a value with ??", id, what, propertyName(n)),
				"step %s may have been skipped here, or have failed without a result", id)
		} else if id == "" {
			return in.fail(n.Property, "RB301", "use ?.", "there may be no data here to read %s of", propertyName(n))
		}
	}
	switch base.kind {
	case recordKind:
		name, ok := n.Property.(*ast.StringNode)
		if !ok {
			return in.fail(n.Property, "RB301", "", "the name of a field must be written out")
		}
		f := base.fields[name.Value]
		if f == nil {
			fields := slices.Sorted(maps.Keys(base.fields))
			hint := didYouMean(name.Value, fields)
			if hint == "" && len(fields) > 0 {
				hint = "there are " + clip(strings.Join(fields, ", "))
			}
			return in.fail(n.Property, "RB301", hint, "unknown field %s", name.Value)
		}
		return f
	case dictKind:
		if s := in.infer(&n.Property); s.kind != stringKind && s.kind != anyKind {
			return in.fail(n.Property, "RB301", "", "want a text here, have %s", s.a())
		}
		return base.elem
	case listKind:
		if _, ok := n.Property.(*ast.StringNode); ok {
			return in.fail(n.Property, "RB301", "use [0], map(), filter() or any()", "a list has no fields")
		}
		if s := in.infer(&n.Property); s.kind != intKind && s.kind != anyKind {
			return in.fail(n.Property, "RB301", "", "want a whole number here, have %s", s.a())
		}
		return base.elem
	case anyKind:
		if base == nilShape || base == mixedShape {
			break
		}
		in.infer(&n.Property)
		return anyShape
	}
	return in.fail(n.Property, "RB301", "", "%s has no field %s", base.a(), propertyName(n))
}

func propertyName(n *ast.MemberNode) string {
	if s, ok := n.Property.(*ast.StringNode); ok {
		return s.Value
	}
	return "an element"
}

// resultOf names the step and the field if n is steps.<id>.result or the like.
func (in *inference) resultOf(n ast.Node) (id, field string) {
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return "", ""
	}
	inner, ok := m.Node.(*ast.MemberNode)
	if !ok {
		return "", ""
	}
	root, ok := inner.Node.(*ast.IdentifierNode)
	if !ok || root.Value != "steps" {
		return "", ""
	}
	return propertyName(inner), propertyName(m)
}

// step infers steps.<id> itself, which may only be compared with nil.
func (in *inference) step(n *ast.MemberNode) *shape {
	sn := in.stepNamed(n)
	if sn == nil {
		return anyShape
	}
	s := &shape{kind: recordKind, fields: map[string]*shape{
		"status": stringShape, "failed": boolShape, "skipped": boolShape, "elapsed": durationShape, "result": sn.result.nullable(),
	}}
	maps.Copy(s.fields, sn.saved)
	return s.nullable()
}

// stepNamed finds the step that steps.<id> names, or reports that it can't.
func (in *inference) stepNamed(n *ast.MemberNode) *stepNames {
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		in.fail(n.Property, "RB301", "", "the id of a step must be written out")
		return nil
	}
	sn := in.stepCalled(n.Property, name.Value)
	if sn != nil {
		in.expr.roots["steps"] = true
		in.expr.steps[sn.id] = true
	}
	return sn
}

func (in *inference) stepCalled(at ast.Node, id string) *stepNames {
	if sn := in.names.steps[id]; sn != nil {
		in.expr.named = append(in.expr.named, id)
		in.expr.refs = append(in.expr.refs, reference{id, in.place(at)})
		return sn
	}
	if in.names.later[id] {
		in.fail(at, "RB311", "", "step %s has not run yet at this point", id)
		return nil
	}
	in.fail(at, "RB310", didYouMean(id, in.names.all), "there is no step %s", id)
	return nil
}

// stepField infers steps.<id>.<field>.
func (in *inference) stepField(n, base *ast.MemberNode) *shape {
	sn := in.stepNamed(base)
	if sn == nil {
		return anyShape
	}
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		return in.fail(n.Property, "RB301", "", "the name of a field must be written out")
	}
	lack := in.known.of(sn.id)
	if lack&mayBeAbsent != 0 && !n.Optional {
		way := fmt.Sprintf("steps.%s?.%s", sn.id, name.Value)
		if name.Value == "result" && lack&mayLackResult != 0 {
			way += "?.…"
		}
		return in.fail(n.Property, "RB312", "write "+way+" and give a value with ??",
			"the run may come here without step %s", sn.id)
	}
	switch name.Value {
	case "status":
		return stringShape
	case "failed", "skipped":
		return boolShape
	case "elapsed":
		return durationShape
	case "result":
		if sn.result.kind == recordKind && len(sn.result.fields) == 0 && sn.result != anyShape {
			return in.fail(n.Property, "RB301", "", "step %s has no result", sn.id)
		}
		if lack&mayLackResult != 0 {
			return sn.result.nullable()
		}
		return sn.result
	}
	s := sn.saved[name.Value]
	if s == nil {
		fields := append([]string{"status", "failed", "skipped", "elapsed", "result"}, slices.Sorted(maps.Keys(sn.saved))...)
		hint := didYouMean(name.Value, fields)
		if hint == "" && sn.result.fields[name.Value] != nil {
			hint = "did you mean steps." + sn.id + ".result." + name.Value + "?"
		}
		return in.fail(n.Property, "RB301", hint, "step %s saves no %s", sn.id, name.Value)
	}
	if lack&mayLackResult != 0 {
		if !n.Optional {
			return in.fail(n.Property, "RB312", fmt.Sprintf("write steps.%s?.%s and give a value with ??", sn.id, name.Value),
				"step %s may have been skipped here, or have failed: then it saves nothing", sn.id)
		}
		return s.nullable()
	}
	return s
}
