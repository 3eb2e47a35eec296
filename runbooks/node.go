package runbooks

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Node is a YAML value with its place, in the part of YAML that runbooks
// use: maps with plain keys, lists and scalars. It is for the files that
// belong to a runbook. The zero value is an empty file's.
type Node struct{ n *node }

// A NodeField is one key of a map with its value.
type NodeField struct {
	Key   string
	Pos   Pos // of the key
	Value Node
}

// ReadYAML reads a whole file as one YAML value, as strictly as a runbook's
// blocks are read and under the same limits. There is one problem at most.
func ReadYAML(file string, text []byte) (Node, Problems) {
	if !utf8.Valid(text) {
		return Node{}, Problems{{File: file, Code: "RB107", Message: "the file is not UTF-8 text"}}
	}
	doc := newSource(strings.TrimPrefix(string(text), "\ufeff"))
	for i := range doc.lines {
		if len(doc.line(i+1)) > maxLine {
			return Node{}, Problems{{File: file, Pos: Pos{Line: i + 1, Col: 1}, Code: "RB107", Message: fmt.Sprintf("line is longer than %d KiB", maxLine>>10)}}
		}
	}
	n, err := readYAML(doc, 1, len(doc.lines), 0)
	if err != nil {
		return Node{}, Problems{{File: file, Pos: doc.clamp(err.pos), Code: "RB101", Message: err.message, Hint: err.hint}}
	}
	return Node{n}, nil
}

// Pos is where the value begins.
func (v Node) Pos() Pos {
	if v.n == nil {
		return Pos{Line: 1, Col: 1}
	}
	return v.n.doc.clamp(v.n.pos)
}

// Fields are the keys of a map, in the file's order; nil of anything else.
func (v Node) Fields() []NodeField {
	if v.n == nil || v.n.kind != mapNode {
		return nil
	}
	out := make([]NodeField, len(v.n.fields))
	for i, f := range v.n.fields {
		out[i] = NodeField{Key: f.key, Pos: v.n.doc.clamp(f.pos), Value: Node{f.value}}
	}
	return out
}

// Items are the elements of a list; nil of anything else.
func (v Node) Items() []Node {
	if v.n == nil || v.n.kind != listNode {
		return nil
	}
	out := make([]Node, len(v.n.items))
	for i, item := range v.n.items {
		out[i] = Node{item}
	}
	return out
}

// IsMap reports whether the value is a map.
func (v Node) IsMap() bool { return v.n != nil && v.n.kind == mapNode }

// IsList reports whether the value is a list.
func (v Node) IsList() bool { return v.n != nil && v.n.kind == listNode }

// IsNull reports whether there is no value.
func (v Node) IsNull() bool { return v.n == nil || v.n.null() }

// Scalar is the value of a scalar: string, int, float64, bool or nil. Of
// anything else it is nil.
func (v Node) Scalar() any {
	if v.n == nil || v.n.kind != scalarNode {
		return nil
	}
	return v.n.value
}

// Text is a scalar as it is written, without quotes.
func (v Node) Text() string {
	if v.n == nil {
		return ""
	}
	return v.n.text
}

// Describe names the value for people: a map, a list, nothing, or the scalar
// in quotes.
func (v Node) Describe() string {
	if v.n == nil {
		return "nothing"
	}
	return v.n.describe()
}
