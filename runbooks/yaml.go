package runbooks

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxNesting  = 24
	maxBlock    = 64 << 10
	maxYAMLKeys = 4000
)

// A node is a YAML value with its place in the file. Only what runbooks use of
// YAML exists: maps with plain keys, lists and scalars.
type node struct {
	doc    *source
	pos    Pos
	kind   nodeKind
	text   string // of a scalar, decoded
	value  any    // of a scalar: string, int, float64, bool or nil
	style  style
	fields []field
	items  []*node
	// comment is set on a plain scalar that a comment follows: what the author
	// wrote after " #" is not part of the value.
	comment bool
}

type nodeKind int

const (
	scalarNode nodeKind = iota
	mapNode
	listNode
)

// A style is how a scalar is written.
type style int

const (
	plain style = iota
	singleQuoted
	doubleQuoted
	literalBlock // | and >
)

type field struct {
	key   string
	pos   Pos
	value *node
}

// A source is a file's text with what is needed to find places in it.
type source struct {
	text  string
	lines []int // byte offset of each line's start
}

func newSource(text string) *source {
	s := &source{text: text, lines: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// pos gives the place of a byte offset.
func (s *source) pos(offset int) Pos {
	i, found := slices.BinarySearch(s.lines, offset)
	if !found {
		i--
	}
	return Pos{Line: i + 1, Col: utf8.RuneCountInString(s.text[s.lines[i]:min(offset, len(s.text))]) + 1}
}

// offset gives the byte offset of a place, clamped to its line.
func (s *source) offset(p Pos) int {
	if p.Line < 1 || p.Line > len(s.lines) {
		return len(s.text)
	}
	at, end := s.lines[p.Line-1], len(s.text)
	if p.Line < len(s.lines) {
		end = s.lines[p.Line]
	}
	for n := 1; n < p.Col && at < end; n++ {
		_, size := utf8.DecodeRuneInString(s.text[at:])
		at += size
	}
	return at
}

// clamp moves a place that is past the end of the file or of its line to that
// end: something may be missing there.
func (s *source) clamp(p Pos) Pos {
	p.Line = min(p.Line, len(s.lines))
	p.Col = max(1, min(p.Col, utf8.RuneCountInString(s.line(p.Line))+1))
	return p
}

// line gives the text of a line without its break.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	end := len(s.text)
	if n < len(s.lines) {
		end = s.lines[n] - 1
	}
	return strings.TrimSuffix(s.text[s.lines[n-1]:end], "\r")
}

// A yamlError is a YAML text that can't be read.
type yamlError struct {
	pos     Pos
	message string
	hint    string
}

func (e *yamlError) Error() string { return e.message }

// A yamlReader turns one YAML text of a file into nodes.
type yamlReader struct {
	doc    *source
	line   int // of the file, of the text's first line
	indent []int
	keys   int
}

// readYAML reads the lines from first to last of the file as one YAML value.
// indent characters at the start of each line belong to the fence. It returns
// nil for an empty text.
func readYAML(doc *source, first, last, indent int) (n *node, err *yamlError) {
	r := &yamlReader{doc: doc, line: first}
	var b strings.Builder
	for l := first; l <= last; l++ {
		text := doc.line(l)
		cut := 0
		for cut < indent && cut < len(text) && text[cut] == ' ' {
			cut++
		}
		r.indent = append(r.indent, cut)
		b.WriteString(text[cut:])
		b.WriteByte('\n')
	}
	text := b.String()
	if err := r.checkSize(text); err != nil {
		return nil, err
	}
	// The parser is fuzzed, but not by us: what it can't take is an error of
	// the file and must not end the process.
	defer func() {
		if p := recover(); p != nil {
			n, err = nil, &yamlError{pos: Pos{Line: first, Col: 1}, message: "this YAML can't be read"}
		}
	}()
	file, perr := yamlparser.ParseBytes([]byte(text), 0)
	if perr != nil {
		return nil, r.syntaxError(perr)
	}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			return nil, &yamlError{pos: r.pos(d.Body.GetToken()), message: "more than one YAML document in one block"}
		}
		body = d.Body
	}
	if body == nil {
		return nil, nil
	}
	return r.node(body, 0)
}

// checkSize refuses texts that cost a parser more than their length.
func (r *yamlReader) checkSize(text string) *yamlError {
	if len(text) > maxBlock {
		return &yamlError{pos: Pos{Line: r.line, Col: 1}, message: fmt.Sprintf("block is longer than %d KiB", maxBlock>>10)}
	}
	depth := 0
	for i, line := range strings.Split(text, "\n") {
		dashes := 0
		rest := strings.TrimLeft(line, " ")
		if len(line)-len(rest) > 8*maxNesting {
			return &yamlError{pos: Pos{Line: r.line + i, Col: 1}, message: "nested too deeply"}
		}
		for strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "? ") {
			rest, dashes = strings.TrimLeft(rest[2:], " "), dashes+1
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth > 2*maxNesting {
				break
			}
		}
		if dashes > maxNesting || depth > 2*maxNesting {
			return &yamlError{pos: Pos{Line: r.line + i, Col: 1}, message: "nested too deeply"}
		}
	}
	return nil
}

func (r *yamlReader) syntaxError(err error) *yamlError {
	e := &yamlError{pos: Pos{Line: r.line, Col: 1}, message: "this YAML can't be read"}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		e.message = r.relocate(syntax.GetMessage())
		if t := syntax.GetToken(); t != nil && t.Position != nil {
			e.pos = r.pos(t)
		}
	}
	line := r.doc.line(e.pos.Line)
	if strings.Contains(line, "{") && !strings.Contains(line, "${{") || strings.Contains(e.message, "flow map") {
		e.hint = "prose inside { } needs quotes"
	} else if strings.Contains(e.message, "mapping value is not allowed") {
		e.hint = "quote a value that contains \": \""
	}
	return e
}

var blockPlace = regexp.MustCompile(`at \[([0-9]+):[0-9]+\]`)

// relocate turns the block's line numbers in a message into the file's.
func (r *yamlReader) relocate(message string) string {
	return blockPlace.ReplaceAllStringFunc(message, func(m string) string {
		line, err := strconv.Atoi(blockPlace.FindStringSubmatch(m)[1])
		if err != nil {
			return m
		}
		return fmt.Sprintf("on line %d", r.line+line-1)
	})
}

// pos gives a token's place in the file.
func (r *yamlReader) pos(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{Line: r.line, Col: 1}
	}
	line := max(1, t.Position.Line)
	p := Pos{Line: r.line + line - 1, Col: max(1, t.Position.Column)}
	if line <= len(r.indent) {
		p.Col += r.indent[line-1]
	}
	return p
}

func (r *yamlReader) node(n ast.Node, depth int) (*node, *yamlError) {
	at := r.pos(n.GetToken())
	if depth > maxNesting {
		return nil, &yamlError{pos: at, message: "nested too deeply"}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			at = r.pos(n.Values[0].Key.GetToken())
		}
		return r.mapping(at, n.Values, depth)
	case *ast.MappingValueNode:
		return r.mapping(r.pos(n.Key.GetToken()), []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		list := &node{doc: r.doc, pos: at, kind: listNode}
		for _, v := range n.Values {
			item, err := r.node(v, depth+1)
			if err != nil {
				return nil, err
			}
			list.items = append(list.items, item)
		}
		return list, nil
	case *ast.LiteralNode:
		return &node{doc: r.doc, pos: at, text: n.Value.Value, value: n.Value.Value, style: literalBlock}, nil
	case *ast.StringNode:
		s := &node{doc: r.doc, pos: at, text: n.Value, value: n.Value}
		switch n.GetToken().Type {
		case token.SingleQuoteType:
			s.style = singleQuoted
		case token.DoubleQuoteType:
			s.style = doubleQuoted
		default:
			s.comment = r.commented(s)
		}
		return s, nil
	case *ast.NullNode:
		return &node{doc: r.doc, pos: at}, nil
	case *ast.BoolNode:
		return &node{doc: r.doc, pos: at, text: n.GetToken().Value, value: n.Value}, nil
	case *ast.IntegerNode:
		s := &node{doc: r.doc, pos: at, text: n.GetToken().Value}
		switch v := n.Value.(type) {
		case int64:
			s.value = int(v)
		case uint64:
			if v > 1<<62 {
				return nil, &yamlError{pos: at, message: "number is too large"}
			}
			s.value = int(v)
		}
		return s, nil
	case *ast.FloatNode:
		return &node{doc: r.doc, pos: at, text: n.GetToken().Value, value: n.Value}, nil
	case *ast.InfinityNode, *ast.NanNode:
		return nil, &yamlError{pos: at, message: "infinity and NaN are no values for a runbook"}
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		return nil, &yamlError{pos: at, message: "anchors, aliases, merge keys and tags are not part of the format", hint: "write the value out, or quote it"}
	}
	return nil, &yamlError{pos: at, message: "this YAML is not part of the format"}
}

func (r *yamlReader) mapping(at Pos, values []*ast.MappingValueNode, depth int) (*node, *yamlError) {
	m := &node{doc: r.doc, pos: at, kind: mapNode}
	for _, v := range values {
		if r.keys++; r.keys > maxYAMLKeys {
			return nil, &yamlError{pos: at, message: "too many keys"}
		}
		key := v.Key
		scalar, ok := key.(ast.ScalarNode)
		if !ok {
			return nil, &yamlError{pos: r.pos(key.GetToken()), message: "a key must be a plain word"}
		}
		name := scalar.GetToken().Value
		kpos := r.pos(key.GetToken())
		if m.get(name) != nil {
			return nil, &yamlError{pos: kpos, message: fmt.Sprintf("key %q is given twice", name)}
		}
		// In a flow map prose with a comma splits into keys without values:
		// { say: not well, but alive }.
		if null, ok := v.Value.(*ast.NullNode); ok && null.GetToken().Type == token.ImplicitNullType && len(values) > 1 && r.inFlow(kpos, name) {
			return nil, &yamlError{pos: kpos, message: fmt.Sprintf("%q has no value", name), hint: "prose inside { } needs quotes"}
		}
		value, err := r.node(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		m.fields = append(m.fields, field{key: name, pos: kpos, value: value})
	}
	return m, nil
}

// inFlow reports whether the key at the place is not followed by a colon.
func (r *yamlReader) inFlow(p Pos, key string) bool {
	rest := r.doc.text[r.doc.offset(p):]
	rest = strings.TrimLeft(strings.TrimPrefix(rest, key), " ")
	return strings.HasPrefix(rest, ",") || strings.HasPrefix(rest, "}")
}

// commented reports whether a comment follows the plain scalar on its line.
func (r *yamlReader) commented(s *node) bool {
	at := r.doc.offset(s.pos)
	line := r.doc.line(s.pos.Line)
	col := at - r.doc.lines[s.pos.Line-1]
	if col < 0 || col > len(line) || !strings.HasPrefix(line[col:], s.text) {
		return false
	}
	rest := line[col+len(s.text):]
	return strings.HasPrefix(strings.TrimLeft(rest, " \t"), "#") && strings.HasPrefix(strings.TrimLeft(rest, "\t"), " ")
}

// get returns the value of a map's key, nil if it has none.
func (n *node) get(key string) *node {
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].value
		}
	}
	return nil
}

// null reports whether n is an empty value.
func (n *node) null() bool { return n.kind == scalarNode && n.value == nil }

// describe names the node's kind for people.
func (n *node) describe() string {
	switch {
	case n.kind == mapNode:
		return "a map"
	case n.kind == listNode:
		return "a list"
	case n.value == nil:
		return "nothing"
	}
	return fmt.Sprintf("%q", clip(n.text))
}

// clip shortens text that is quoted in a message.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "�")
	if utf8.RuneCountInString(text) <= 60 {
		return text
	}
	return string([]rune(text)[:57]) + "…"
}

// at gives the place in the file of the i-th character of a scalar's decoded
// text. It walks the source beside the text, undoing escapes and folding.
func (n *node) at(i int) Pos {
	s := n.doc.text
	o := n.doc.offset(n.pos)
	indent := 0
	switch n.style {
	case literalBlock:
		if n.pos.Line >= len(n.doc.lines) {
			return n.pos
		}
		o = n.doc.lines[n.pos.Line]
		for l := n.pos.Line + 1; l <= len(n.doc.lines); l++ {
			if text := n.doc.line(l); strings.TrimSpace(text) != "" {
				indent = len(text) - len(strings.TrimLeft(text, " "))
				break
			}
		}
		o = skipIndent(s, o, indent)
	case singleQuoted, doubleQuoted:
		o++
	}
	count := 0
	for _, r := range n.text {
		if o >= len(s) {
			return n.doc.pos(len(s))
		}
		// Breaks in the source that the text does not show were folded away.
		for o < len(s) && (s[o] == '\n' || s[o] == '\r') && r != ' ' && r != '\n' {
			o = skipIndent(s, o+1, indentOf(n.style, indent))
		}
		if count == i {
			return n.doc.pos(o)
		}
		count++
		if o >= len(s) {
			continue
		}
		c, size := utf8.DecodeRuneInString(s[o:])
		switch {
		case n.style == doubleQuoted && c == '\\':
			o += escapeLen(s[o:])
		case n.style == singleQuoted && c == '\'':
			o += 2
		case c == '\n' || c == '\r':
			if c == '\r' {
				o++
			}
			o = skipIndent(s, min(o+1, len(s)), indentOf(n.style, indent))
		case c == r:
			o += size
		case (r == ' ' || r == '\n') && (c == ' ' || c == '\t'):
			// Trailing blanks before a fold.
			for o < len(s) && (s[o] == ' ' || s[o] == '\t') {
				o++
			}
			if o < len(s) && s[o] == '\n' {
				o = skipIndent(s, o+1, indentOf(n.style, indent))
			}
		default:
			return n.doc.pos(o)
		}
	}
	return n.doc.pos(o)
}

// indentOf says how much of a continued line's blanks is not text: all of them
// in flow scalars, the block's indent in block scalars.
func indentOf(s style, indent int) int {
	if s == literalBlock {
		return indent
	}
	return 1 << 20
}

func skipIndent(s string, o, indent int) int {
	for n := 0; n < indent && o < len(s) && (s[o] == ' ' || s[o] == '\t' && indent > 1000); n++ {
		o++
	}
	return o
}

// escapeLen is the length of the escape of a double-quoted scalar that s
// begins with.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	n := 2
	switch s[1] {
	case 'x':
		n = 4
	case 'u':
		n = 6
	case 'U':
		n = 10
	}
	return min(n, len(s))
}
