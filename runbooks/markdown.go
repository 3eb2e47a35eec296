package runbooks

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/yuin/goldmark/ast"
	blocks "github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// A section is a heading of level 1 to 3 with what is under it.
type section struct {
	level  int
	title  string
	pos    Pos // of the heading
	first  int // line after the heading
	last   int
	notes  bool
	fences []fence
	tasks  []string
	prose  string
	code   map[int]bool // lines that are not prose
}

// A fence is a fenced code block.
type fence struct {
	info   string
	pos    Pos // of the opening line
	first  int // line of its content
	last   int // first-1 if it is empty
	indent int
}

// blockParser knows the blocks that a runbook is made of and nothing else: no
// inline markup and no quotations, which have no meaning here and whose nesting
// costs time.
var blockParser = blocks.NewParser(blocks.WithBlockParsers(
	util.Prioritized(blocks.NewSetextHeadingParser(), 100),
	util.Prioritized(blocks.NewThematicBreakParser(), 200),
	util.Prioritized(blocks.NewListParser(), 300),
	util.Prioritized(blocks.NewListItemParser(), 400),
	util.Prioritized(blocks.NewCodeBlockParser(), 500),
	util.Prioritized(blocks.NewATXHeadingParser(), 600),
	util.Prioritized(blocks.NewFencedCodeBlockParser(), 700),
	util.Prioritized(blocks.NewHTMLBlockParser(), 900),
	util.Prioritized(blocks.NewParagraphParser(), 1000),
))

const notesMark = "<!-- notes -->"

// markdown reads the document from the line on as a flat list of sections. What
// is before the first heading belongs to a section of level 0.
func (p *parser) markdown(first int) []*section {
	base := p.doc.offset(Pos{Line: first, Col: 1})
	source := []byte(p.doc.text[base:])
	root := blockParser.Parse(text.NewReader(source))
	line := func(offset int) int { return p.doc.pos(base + offset).Line }

	sections := []*section{{first: first, code: map[int]bool{}}}
	current := sections[0]
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level > 3 {
				continue
			}
			s := &section{level: n.Level, code: map[int]bool{}}
			if n.Lines().Len() > 0 {
				seg := n.Lines().At(0)
				s.pos = Pos{Line: line(seg.Start), Col: 1}
				s.title = strings.TrimSpace(string(n.Lines().Value(source)))
				s.first = line(seg.Start) + 1
			} else {
				// An empty heading has no lines of its own; it is right after
				// what came before.
				s.pos = Pos{Line: p.emptyHeading(current.first), Col: 1}
				s.first = s.pos.Line + 1
			}
			if strings.HasPrefix(strings.TrimLeft(p.doc.line(s.first), " "), "==") || n.Level == 2 && underline(p.doc.line(s.first)) {
				s.first++
			}
			if title, ok := strings.CutSuffix(s.title, notesMark); ok {
				s.title, s.notes = strings.TrimSpace(title), true
			}
			current.last = s.pos.Line - 1
			sections = append(sections, s)
			current = s
		case *ast.FencedCodeBlock:
			p.fence(n, source, line, current)
		case *ast.HTMLBlock:
			if bytes.Contains(n.Lines().Value(source), []byte(notesMark)) {
				current.notes = true
			}
		case *ast.List:
			p.tasks(n, source, line, current)
		}
	}
	current.last = len(p.doc.lines)
	for _, s := range sections {
		s.prose = p.proseOf(s)
	}
	return sections
}

// emptyHeading finds the next heading without a title from a line on.
func (p *parser) emptyHeading(from int) int {
	for l := from; l <= len(p.doc.lines); l++ {
		if t := strings.TrimSpace(p.doc.line(l)); t != "" && strings.Trim(t, "# ") == "" {
			return l
		}
	}
	return from
}

func underline(line string) bool {
	t := strings.TrimSpace(line)
	return t != "" && strings.Trim(t, "-") == ""
}

func (p *parser) fence(n *ast.FencedCodeBlock, source []byte, line func(int) int, s *section) {
	f := fence{}
	lines := n.Lines()
	switch {
	case n.Info != nil:
		f.info = strings.TrimSpace(string(n.Info.Segment.Value(source)))
		f.first = line(n.Info.Segment.Start) + 1
	case lines.Len() > 0:
		f.first = line(lines.At(0).Start)
	default:
		return
	}
	f.last = f.first + lines.Len() - 1
	opening := p.doc.line(f.first - 1)
	f.indent = len(opening) - len(strings.TrimLeft(opening, " "))
	f.pos = Pos{Line: f.first - 1, Col: f.indent + 1}
	for l := f.first - 1; l <= f.last; l++ {
		s.code[l] = true
	}
	if t := strings.TrimSpace(p.doc.line(f.last + 1)); strings.HasPrefix(t, "```") || strings.HasPrefix(t, "~~~") {
		s.code[f.last+1] = true
	}
	if f.isCode() || !p.plainFence(f) {
		s.fences = append(s.fences, f)
		return
	}
	// Illustrations stay in the prose.
	for l := f.first - 1; l <= f.last+1; l++ {
		delete(s.code, l)
	}
}

// isCode reports whether the fence is one of the three that opsbot reads.
func (f fence) isCode() bool {
	return f.info == "yaml step" || f.info == "yaml group" || f.info == "markdown report"
}

// plainFence reports whether the fence is an illustration; what looks like a
// block that was mistyped is reported.
func (p *parser) plainFence(f fence) bool {
	words := strings.Fields(f.info)
	switch {
	case len(words) > 1 && (words[0] == "yaml" || words[0] == "yml"):
		hint := didYouMean(f.info, []string{"yaml step", "yaml group"})
		if hint == "" {
			hint = "there are yaml step and yaml group"
		}
		p.problem(f.pos, "RB102", fmt.Sprintf("unknown kind of block %q", clip(f.info)), hint)
	case len(words) == 1 && (words[0] == "yaml" || words[0] == "yml"):
		for l := f.first; l <= f.last; l++ {
			if t := p.doc.line(l); strings.HasPrefix(t, "do:") || strings.HasPrefix(t, "id:") {
				p.problem(f.pos, "RB104", "this block looks like a step, but is an illustration", "write ```yaml step")
				break
			}
		}
	}
	return true
}

// tasks collects the "- [ ] " items of a list. Blocks inside a list are no
// blocks, which is worth saying.
func (p *parser) tasks(list *ast.List, source []byte, line func(int) int, s *section) {
	for item := list.FirstChild(); item != nil; item = item.NextSibling() {
		first := true
		for c := item.FirstChild(); c != nil; c = c.NextSibling() {
			switch c := c.(type) {
			case *ast.TextBlock, *ast.Paragraph:
				if c.Lines().Len() == 0 {
					continue
				}
				text := strings.TrimSpace(string(c.Lines().Value(source)))
				if rest, ok := strings.CutPrefix(text, "[ ] "); ok && first {
					s.tasks = append(s.tasks, strings.Join(strings.Fields(rest), " "))
					for i := range c.Lines().Len() {
						s.code[line(c.Lines().At(i).Start)] = true
					}
				}
				first = false
			case *ast.FencedCodeBlock:
				if c.Info == nil {
					continue
				}
				info := strings.TrimSpace(string(c.Info.Segment.Value(source)))
				if (fence{info: info}).isCode() {
					l := line(c.Info.Segment.Start)
					text := p.doc.line(l)
					p.problem(Pos{Line: l, Col: len(text) - len(strings.TrimLeft(text, " ")) + 1}, "RB105", "a block can't be inside a list", "put it at the left margin")
				}
			case *ast.List:
				p.tasks(c, source, line, s)
			}
		}
	}
}

// proseOf is what a section says besides its blocks and items.
func (p *parser) proseOf(s *section) string {
	var b strings.Builder
	for l := s.first; l <= s.last && l <= len(p.doc.lines); l++ {
		if !s.code[l] {
			b.WriteString(p.doc.line(l) + "\n")
		}
	}
	return strings.TrimSpace(strings.ReplaceAll(b.String(), notesMark, ""))
}
