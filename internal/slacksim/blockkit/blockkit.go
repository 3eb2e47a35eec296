// Package blockkit judges blocks and views as Slack's Block Kit does, in
// Slack's words: each problem has a JSON pointer to what is wrong.
//
// The rules are a table (rules.go, elements.go) over the numbers in facts.
// Sources: slack.md §3, docs.slack.dev/reference/block-kit, and the error
// texts that people quoted from real answers. Texts that nobody quoted are
// policy: only their pointer and their being refused are certain.
package blockkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// A Surface is where blocks are shown.
type Surface int

const (
	Message Surface = 1 << iota
	Modal
	Home
	everywhere = Message | Modal | Home
)

// A Problem is one reason why Slack refuses.
type Problem struct {
	Code       string      `json:"code"`            // failed_constraint, missing_field, only_one_table_allowed …
	Message    string      `json:"message"`         // as Slack words it
	Pointer    string      `json:"pointer"`         // RFC 6901
	Field      string      `json:"field,omitempty"` // of missing_field
	Constraint *Constraint `json:"constraint,omitempty"`

	lax bool // blocks.validate does not notice it
}

// A Constraint is the number that was broken.
type Constraint struct {
	Type     string `json:"type"` // max_length, min_length, max_items, min_items, max, min
	Expected int    `json:"expected"`
	Got      int    `json:"got"`
}

// String words the problem as chat.* and views.* do.
func (p Problem) String() string { return p.Message + " [json-pointer:" + p.Pointer + "]" }

// Noticed keeps what blocks.validate reports: it misses an empty section.
func Noticed(problems []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return p.lax })
}

// A checker walks one list of blocks or one view.
type checker struct {
	on        Surface
	problems  []Problem
	blockIDs  map[string]bool
	actionIDs map[string]bool // of the block at hand
	inputs    []string        // pointers of input blocks
	tables    int
	markdown  int // characters in all markdown blocks
}

// maxProblems stops the report of a hopeless input.
const maxProblems = 50

func (c *checker) add(p Problem) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, p)
	}
}

func (c *checker) fail(at, format string, args ...any) {
	c.add(Problem{Code: "failed_constraint", Message: fmt.Sprintf(format, args...), Pointer: at})
}

func (c *checker) bound(at, kind string, expected, got int, format string) {
	shown := expected
	switch kind {
	case "max_length":
		shown = expected + 1
	case "min_length":
		shown = expected - 1
	}
	c.add(Problem{
		Code: "failed_constraint", Message: fmt.Sprintf(format, shown), Pointer: at,
		Constraint: &Constraint{Type: kind, Expected: expected, Got: got},
	})
}

func (c *checker) missing(at, field string) {
	c.add(Problem{Code: "missing_field", Message: "missing required field: " + field, Pointer: at, Field: field})
}

// length holds a string to a limit. Characters are code points (policy).
func (c *checker) length(at, v string, l limit) {
	n := utf8.RuneCountInString(v)
	if l.MinLength != nil && n < *l.MinLength {
		c.bound(at, "min_length", *l.MinLength, n, "must be more than %d characters")
	}
	if l.MaxLength != nil && n > *l.MaxLength {
		c.bound(at, "max_length", *l.MaxLength, n, "must be less than %d characters")
	}
}

// count holds a list to a limit.
func (c *checker) count(at string, n int, l limit) {
	if l.MinItems != nil && n < *l.MinItems {
		c.bound(at, "min_items", *l.MinItems, n, "must provide at least %d items")
	}
	if l.MaxItems != nil && n > *l.MaxItems {
		c.bound(at, "max_items", *l.MaxItems, n, "no more than %d items allowed")
	}
}

// Blocks checks a JSON array of blocks. The pointer at is where it stands,
// such as "/blocks" or "" for blocks.validate.
func Blocks(raw json.RawMessage, on Surface, at string) []Problem {
	v, err := decode(raw)
	if err != nil {
		return []Problem{{Code: "failed_constraint", Message: "must be valid JSON", Pointer: at}}
	}
	c := newChecker(on)
	c.blocks(at, v, messageBlocks)
	return c.problems
}

func newChecker(on Surface) *checker {
	return &checker{on: on, blockIDs: map[string]bool{}}
}

// blocks checks the blocks of a whole surface.
func (c *checker) blocks(at string, v any, l limit) {
	list, ok := v.([]any)
	if !ok {
		c.fail(at, "must provide an array")
		return
	}
	c.count(at, len(list), l)
	for i, b := range list {
		if len(c.problems) >= maxProblems {
			return
		}
		c.block(at+"/"+strconv.Itoa(i), b)
	}
	if c.tables > 1 {
		c.add(Problem{Code: "only_one_table_allowed", Message: "only one table is allowed", Pointer: at})
	}
	if most := *markdownText.MaxLength; c.markdown > most {
		c.bound(at, "max_length", most, c.markdown, "must be less than %d characters")
	}
}

// View checks a modal or Home tab. It returns nothing more than the problems;
// what kind of view it is must be read from its type.
func View(raw json.RawMessage, at string) []Problem {
	v, err := decode(raw)
	if err != nil {
		return []Problem{{Code: "failed_constraint", Message: "must be valid JSON", Pointer: at}}
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return []Problem{{Code: "failed_constraint", Message: "must provide an object", Pointer: at}}
	}
	var rules shape
	c := newChecker(Modal)
	switch fields["type"] {
	case "modal":
		rules = modalShape
	case "home":
		c.on, rules = Home, homeShape
	case nil:
		c.missing(at, "type")
		return c.problems
	default:
		c.unsupported(at, fields["type"])
		return c.problems
	}
	c.object(at, fields, rules)
	if submit := fields["submit"]; c.on == Modal && submit == nil {
		for _, input := range c.inputs {
			c.fail(input+"/input", "must define `submit` to use an `input` block in modals")
		}
	}
	return c.problems
}

// decode reads JSON with its numbers kept as written.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

// TextLength counts the characters of all text in blocks that Blocks accepts,
// for the limit on their sum.
func TextLength(raw json.RawMessage) int {
	v, err := decode(raw)
	if err != nil {
		return 0
	}
	return textLength(v)
}

func textLength(v any) int {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			n += textLength(x)
		}
	case map[string]any:
		for k, x := range v {
			if s, ok := x.(string); ok {
				if k == "text" {
					n += utf8.RuneCountInString(s)
				}
				continue
			}
			n += textLength(x)
		}
	}
	return n
}

// Complete fills in what Slack adds to accepted blocks: a block_id on every
// block, an action_id on every interactive element, emoji on plain text and
// verbatim on mrkdwn. id makes up IDs.
func Complete(raw json.RawMessage, id func() string) json.RawMessage {
	v, err := decode(raw)
	if err != nil {
		return raw
	}
	if list, ok := v.([]any); ok {
		for _, b := range list {
			if block, ok := b.(map[string]any); ok {
				if s, _ := block["block_id"].(string); s == "" {
					block["block_id"] = id()
				}
				complete(block, id)
			}
		}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return raw
	}
	return bytes.TrimSpace(out.Bytes())
}

func complete(v any, id func() string) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			complete(x, id)
		}
	case map[string]any:
		kind, _ := v["type"].(string)
		switch _, isText := v["text"].(string); {
		case kind == "plain_text" && isText:
			setDefault(v, "emoji", true)
		case kind == "mrkdwn" && isText:
			setDefault(v, "verbatim", false)
		}
		if r, ok := elements[kind]; ok && r.interactive {
			if s, _ := v["action_id"].(string); s == "" {
				v["action_id"] = id()
			}
		}
		for _, x := range v {
			complete(x, id)
		}
	}
}

func setDefault(m map[string]any, k string, v any) {
	if _, ok := m[k]; !ok {
		m[k] = v
	}
}
