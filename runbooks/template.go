package runbooks

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"opsbot/internal/fault"
)

// A Template is text with ${{ }} in it. It is immutable.
type Template struct {
	source string
	pos    Pos
	parts  []part
}

type part struct {
	text string
	expr *Expr // instead of text
}

// String gives the template as it is written.
func (t *Template) String() string { return t.source }

// Pos is the place of its first character.
func (t *Template) Pos() Pos { return t.pos }

// Text fills in the template. escape is applied to what is filled in and to
// nothing else; nil means that it stays as it is. A value without data is an
// error with ErrNoData in its chain.
func (t *Template) Text(s *Scope, escape func(string) string) (string, error) {
	return t.fill(s, func(string) func(string) string { return escape })
}

// path fills in the template as the path of an address, in which nothing that
// is filled in can become another path or a further value of the query.
func (t *Template) path(s *Scope) (string, error) {
	return t.fill(s, func(before string) func(string) string {
		if strings.Contains(before, "?") {
			return url.QueryEscape
		}
		return url.PathEscape
	})
}

// fill fills in the template. escapes gives what is applied to what is filled
// in behind a text.
func (t *Template) fill(s *Scope, escapes func(before string) func(string) string) (string, error) {
	if t == nil {
		return "", nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.expr.Eval(s)
		if err != nil {
			return "", err
		}
		text, err := textOf(v)
		if err != nil {
			return "", p.expr.failed(err)
		}
		p.expr.taint(s, text)
		if escape := escapes(b.String()); escape != nil {
			text = escape(text)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// lone returns the expression if the template is just one ${{ }}.
func (t *Template) lone() *Expr {
	if len(t.parts) == 1 {
		return t.parts[0].expr
	}
	return nil
}

// A Value is an argument as the file gives it: a literal, a template, or a list
// or map of values. It is immutable.
type Value struct {
	pos      Pos
	literal  any
	template *Template
	list     []*Value
	fields   map[string]*Value
	kind     nodeKind
	broken   bool   // its problems have been reported
	path     bool   // it is the path of an address
	as       *shape // what the resolved value is read as; nil: as it is
}

// Pos is where the value begins.
func (v *Value) Pos() Pos { return v.pos }

// Constant reports whether nothing needs filling in.
func (v *Value) Constant() bool {
	switch v.kind {
	case listNode:
		return !slices.ContainsFunc(v.list, func(e *Value) bool { return !e.Constant() })
	case mapNode:
		for _, e := range v.fields {
			if !e.Constant() {
				return false
			}
		}
		return true
	}
	return v.template == nil
}

// Resolve gives the value with everything filled in. A value that is just one
// ${{ }} keeps its type; embedded in text it becomes text. No data is an error.
func (v *Value) Resolve(s *Scope) (any, error) {
	r, err := v.resolve(s)
	if err != nil || v.as == nil {
		return r, err
	}
	if r, err = readAs(v.as, r, false); err != nil {
		return nil, fault.New(fault.Invalid, "The value on line %d %s.", v.pos.Line, err).Because(err)
	}
	return r, nil
}

func (v *Value) resolve(s *Scope) (any, error) {
	switch {
	case v.kind == listNode:
		list := make([]any, len(v.list))
		for i, e := range v.list {
			r, err := e.Resolve(s)
			if err != nil {
				return nil, err
			}
			list[i] = r
		}
		return list, nil
	case v.kind == mapNode:
		m := make(map[string]any, len(v.fields))
		for name, e := range v.fields {
			r, err := e.Resolve(s)
			if err != nil {
				return nil, err
			}
			m[name] = r
		}
		return m, nil
	case v.template == nil:
		return v.literal, nil
	}
	if e := v.template.lone(); e != nil {
		r, err := e.Eval(s)
		if err == nil && r == nil {
			err = e.failed(ErrNoData)
		}
		e.taint(s, r)
		return r, err
	}
	if v.path {
		return v.template.path(s)
	}
	return v.template.Text(s, nil)
}

// escapeAs marks what in the value is the path of an address, so that what is
// filled in there stays one segment, or one value of the query.
func (v *Value) escapeAs(s *shape) {
	switch {
	case s == nil:
	case v.kind == listNode && s.kind == listKind:
		for _, e := range v.list {
			e.escapeAs(s.elem)
		}
	case v.kind == mapNode && s.kind == dictKind:
		for _, e := range v.fields {
			e.escapeAs(s.elem)
		}
	case v.kind == mapNode:
		for name, e := range v.fields {
			e.escapeAs(s.fields[name])
		}
	default:
		v.path = s.path
	}
}

// String gives the value as it is written, on one line.
func (v *Value) String() string {
	switch {
	case v.kind == listNode:
		list := make([]string, len(v.list))
		for i, e := range v.list {
			list[i] = e.String()
		}
		return "[" + strings.Join(list, ", ") + "]"
	case v.kind == mapNode:
		list := make([]string, 0, len(v.fields))
		for _, name := range sortedKeys(v.fields) {
			list = append(list, name+": "+v.fields[name].String())
		}
		return "{" + strings.Join(list, ", ") + "}"
	case v.template != nil:
		return v.template.source
	case v.literal == nil:
		return ""
	}
	text, err := textOf(v.literal)
	if err != nil {
		return fmt.Sprint(v.literal)
	}
	return text
}

// exprs goes through the expressions of the value.
func (v *Value) exprs(yield func(*Expr) bool) {
	v.walk(yield)
}

func (v *Value) walk(yield func(*Expr) bool) bool {
	for _, e := range v.list {
		if !e.walk(yield) {
			return false
		}
	}
	for _, name := range sortedKeys(v.fields) {
		if !v.fields[name].walk(yield) {
			return false
		}
	}
	if v.template != nil {
		for _, p := range v.template.parts {
			if p.expr != nil && !yield(p.expr) {
				return false
			}
		}
	}
	return true
}

// Secrets names the secrets that the value uses, sorted, each once.
func (v *Value) Secrets() []string {
	var list []string
	for e := range v.exprs {
		list = append(list, e.secrets...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Uses reports whether the value looks at the step with the id.
func (v *Value) Uses(step string) bool {
	for e := range v.exprs {
		if e.Uses(step) {
			return true
		}
	}
	return false
}

// ResolveWith resolves the arguments of a step. The error names the argument.
func ResolveWith(with map[string]*Value, s *Scope) (map[string]any, error) {
	out := make(map[string]any, len(with))
	for name, v := range with {
		r, err := v.Resolve(s)
		if err != nil {
			var f *fault.Error
			if errors.As(err, &f) {
				return nil, fault.New(f.Kind, "Argument %q: %s", name, f.Message).Because(err)
			}
			return nil, fmt.Errorf("argument %s: %w", name, err)
		}
		out[name] = r
	}
	return out, nil
}

// template reads text with ${{ }} in it, or reports what is wrong and returns
// nil.
func (p *parser) template(s snippet, in *names) *Template {
	t := &Template{source: s.text, pos: s.at(0)}
	rest, runes, bad := s.text, 0, false
	for {
		i := strings.Index(rest, "${{")
		if i < 0 {
			break
		}
		runes += utf8.RuneCountInString(rest[:i])
		if i > 0 {
			t.parts = append(t.parts, part{text: rest[:i]})
		}
		body, after, ok := cutInterpolation(rest[i+3:])
		if !ok {
			p.problem(s.at(runes), "RB301", "${{ has no matching }}", "")
			return nil
		}
		start := runes + 3
		trimmed := strings.TrimLeft(body, " \t\n")
		start += utf8.RuneCountInString(body) - utf8.RuneCountInString(trimmed)
		e := p.compile(snippet{text: strings.TrimRight(trimmed, " \t\n"), at: func(r int) Pos { return s.at(start + r) }}, in)
		bad = bad || e == nil
		t.parts = append(t.parts, part{expr: e})
		runes += 3 + utf8.RuneCountInString(body) + 2
		rest = after
	}
	if rest != "" {
		t.parts = append(t.parts, part{text: rest})
	}
	if bad {
		return nil
	}
	return t
}

// cutInterpolation finds the }} that ends an expression: not one inside a text
// or a map.
func cutInterpolation(s string) (body, after string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\'', '`':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' && c != '`' {
					i++
				}
			}
		case '{':
			depth++
		case '}':
			if depth == 0 {
				if strings.HasPrefix(s[i:], "}}") {
					return s[:i], s[i+2:], true
				}
				return "", "", false
			}
			depth--
		}
	}
	return "", "", false
}

// snippet gives a scalar's text with its places.
func (n *node) snippet() snippet {
	return snippet{text: n.text, at: n.at, comment: n.comment}
}

// value reads an argument.
func (p *parser) value(n *node, in *names) *Value {
	v := &Value{pos: n.pos, kind: n.kind}
	switch n.kind {
	case listNode:
		for _, item := range n.items {
			v.list = append(v.list, p.value(item, in))
		}
	case mapNode:
		v.fields = map[string]*Value{}
		for _, f := range n.fields {
			v.fields[f.key] = p.value(f.value, in)
		}
	default:
		v.literal = n.value
		if text, ok := n.value.(string); ok && strings.Contains(text, "${{") {
			if v.template = p.template(n.snippet(), in); v.template == nil {
				v.template, v.broken = &Template{source: text, pos: n.pos}, true
			}
		}
	}
	return v
}
