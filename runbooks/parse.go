package runbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxFile     = 256 << 10
	maxLine     = 4 << 10
	maxSteps    = 200
	maxProblems = 100
)

// A parser holds what is known while one file is read.
type parser struct {
	file     string
	doc      *source
	catalog  *Catalog
	rb       *Runbook
	problems Problems
	derived  map[string]bool // ids that were made from titles
	// reportFence is the block of the report, whose expressions see every step.
	reportFence fence
	stepCount   int
	exprCount   int
	compiled    []*Expr
	paramsAre   *shape
	estimateAt  Pos
	titleAt     Pos
}

// Parse reads a runbook and checks everything that can be checked without other
// files or the server's configuration. The Runbook is nil if there are problems
// that are not warnings. file is only used in messages. A nil Catalog has no
// actions.
func Parse(file string, text []byte, cat *Catalog) (*Runbook, Problems) {
	p := &parser{file: file, catalog: cat, derived: map[string]bool{}}
	sum := sha256.Sum256(text)
	p.rb = &Runbook{File: file, Text: slices.Clone(text), Digest: hex.EncodeToString(sum[:]), at: map[string]Pos{}}
	if p.readable(text) {
		p.doc = newSource(string(text))
		p.parse()
	}
	p.problems.sort()
	if p.problems.Errors() > 0 {
		return nil, p.problems
	}
	return p.rb, p.problems
}

// readable refuses files that are not worth parsing.
func (p *parser) readable(text []byte) bool {
	switch {
	case len(text) > maxFile:
		p.problem(Pos{}, "RB107", fmt.Sprintf("the file is longer than %d KiB", maxFile>>10), "split it into several runbooks")
	case !utf8.Valid(text):
		p.problem(Pos{}, "RB107", "the file is not valid UTF-8", "")
	case strings.HasPrefix(string(text), "\ufeff"):
		p.problem(Pos{1, 1}, "RB107", "the file begins with a byte order mark", "save it as UTF-8 without one")
	case strings.ContainsRune(string(text), 0):
		p.problem(Pos{}, "RB107", "the file contains a NUL byte", "")
	default:
		line := 1
		for l := range strings.Lines(string(text)) {
			if len(l) > maxLine+1 {
				p.problem(Pos{line, 1}, "RB107", fmt.Sprintf("the line is longer than %d bytes", maxLine), "break it")
				return false
			}
			line++
		}
		return true
	}
	return false
}

func (p *parser) parse() {
	first := p.frontMatter()
	if first == 0 {
		return
	}
	sections := p.markdown(first)
	drafts := p.outline(sections)
	p.check(drafts)
	// A server keeps many runbooks; their programs are all it needs.
	for _, e := range p.compiled {
		e.tree, e.refs, e.earlier = nil, nil, nil
	}
}

func (p *parser) problem(at Pos, code, message, hint string) {
	p.add(Problem{File: p.file, Pos: at, Code: code, Message: message, Hint: hint})
}

func (p *parser) warn(at Pos, code, message, hint string) {
	p.add(Problem{File: p.file, Pos: at, Code: code, Warning: true, Message: message, Hint: hint})
}

func (p *parser) add(problem Problem) {
	if p.doc != nil && problem.Pos.Line > 0 {
		problem.Pos = p.doc.clamp(problem.Pos)
	}
	// A file that is wrong all over is not made clearer by the hundredth line.
	if len(p.problems) >= maxProblems || slices.Contains(p.problems, problem) {
		return
	}
	p.problems = append(p.problems, problem)
}

// referred notes that steps are named at places.
func (p *parser) referred(refs []reference) {
	for _, r := range refs {
		if p.derived[r.id] {
			p.warn(r.pos, "RB601", fmt.Sprintf("the id %s is made from the step's title and changes with it", r.id), "give the step an id: of its own")
		}
	}
}

// text reads a scalar that is text. What YAML takes for a number is text too.
func (p *parser) text(n *node, what string) (string, bool) {
	if n.kind != scalarNode || n.value == nil {
		p.problem(n.pos, "RB106", fmt.Sprintf("%s must be a text, not %s", what, n.describe()), "")
		return "", false
	}
	return n.text, true
}

var (
	idPattern    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	slugPattern  = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	wordPattern  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	reservedName = []string{"run", "show", "status", "history", "stop", "pause", "resume", "skip", "retry", "locks", "schedule", "deployments", "help", "env"}
)

// word reads a name such as a group or a connection.
func (p *parser) word(n *node, what string) (string, bool) {
	s, ok := p.text(n, what)
	if ok && !wordPattern.MatchString(s) {
		p.problem(n.pos, "RB106", fmt.Sprintf("%s must be a plain name in lower case, not %q", what, clip(s)), "")
		return "", false
	}
	return s, ok
}

// words reads one name or a list of names.
func (p *parser) words(n *node, what string) []string {
	items := []*node{n}
	if n.kind == listNode {
		items = n.items
	}
	var list []string
	for _, item := range items {
		if w, ok := p.word(item, what); ok {
			list = append(list, w)
		}
	}
	return list
}

// group reads the name of a group and keeps its place: whether there is such a
// group only the server's configuration knows.
func (p *parser) group(n *node, what string) string {
	name, ok := p.word(n, what)
	if _, known := p.rb.at["group "+name]; ok && !known {
		p.rb.at["group "+name] = n.pos
	}
	return name
}

// groups reads one group or a list of groups.
func (p *parser) groups(n *node, what string) []string {
	items := []*node{n}
	if n.kind == listNode {
		items = n.items
	}
	var list []string
	for _, item := range items {
		if g := p.group(item, what); g != "" {
			list = append(list, g)
		}
	}
	return list
}

// choice reads one of a closed set of words.
func (p *parser) choice(n *node, what string, from ...string) string {
	s, ok := p.text(n, what)
	if !ok {
		return ""
	}
	if !slices.Contains(from, s) {
		hint := didYouMean(s, from)
		if hint == "" {
			hint = "one of " + strings.Join(from, ", ")
		}
		p.problem(n.pos, "RB106", fmt.Sprintf("%s can't be %q", what, clip(s)), hint)
		return ""
	}
	return s
}

// duration reads a positive duration.
func (p *parser) duration(n *node, what string) time.Duration {
	s, ok := p.text(n, what)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		p.problem(n.pos, "RB106", fmt.Sprintf("%s must be a duration such as 30s or 5m, not %q", what, clip(s)), "")
		return 0
	}
	return d
}

// integer reads a whole number within bounds.
func (p *parser) integer(n *node, what string, lo, hi int) int {
	i, ok := n.value.(int)
	if !ok || i < lo || i > hi {
		p.problem(n.pos, "RB106", fmt.Sprintf("%s must be a whole number from %d to %d, not %s", what, lo, hi, n.describe()), "")
		return lo
	}
	return i
}

// fields goes through a map whose keys are a closed set. An unknown key is
// reported with the code; a value that is not a map is RB106.
func (p *parser) fields(n *node, what, code string, keys []string, each func(f field)) bool {
	if n.kind != mapNode {
		p.problem(n.pos, "RB106", fmt.Sprintf("%s must be a map, not %s", what, n.describe()), "")
		return false
	}
	for _, f := range n.fields {
		if !slices.Contains(keys, f.key) {
			hint := didYouMean(f.key, keys)
			switch {
			case hint != "":
			case strings.ContainsAny(f.key, " ("):
				hint = "an expression with \": \" in it needs quotes"
			case len(keys) > 0:
				hint = "there are " + strings.Join(keys, ", ")
			}
			p.problem(f.pos, code, fmt.Sprintf("%s has no key %q", what, clip(f.key)), hint)
			continue
		}
		each(f)
	}
	return true
}
