package runbooks

import (
	"fmt"
	"regexp"
	"strings"
)

// A draft is a step whose block has been read as YAML and not yet been checked.
type draft struct {
	step  *Step
	block *node       // nil: a bare check list
	group *groupDraft // nil: none
	index int         // within its section of the runbook
}

type groupDraft struct {
	group *Group
	block *node
}

// outline gives each heading its part in the runbook: title, group, step, notes
// or one of the three named sections.
func (p *parser) outline(sections []*section) []*draft {
	var drafts []*draft
	part := Main
	p.titleAt = Pos{1, 1}
	var group *groupDraft         // that an H3 belongs to
	inNotes, done := false, false // of the H2 that an H3 is under
	for i, s := range sections {
		switch s.level {
		case 0:
			if len(s.fences) > 0 {
				p.problem(s.fences[0].pos, "RB105", "a block before the title belongs to nothing", "begin with # and a title")
			}
			continue
		case 1:
			p.title(s)
			continue
		case 2:
			group, inNotes, done = nil, s.notes, true
			part = Main
			switch s.title {
			case "Rollback":
				part, done = Rollback, false
			case "Cleanup":
				part, done = Cleanup, false
			case "Report":
				p.report(s)
				inNotes = true
				continue
			}
			if part != Main {
				if len(s.fences) == 0 && len(s.tasks) == 0 {
					continue
				}
				done = true
			}
			if s.notes {
				p.noBlocks(s)
				continue
			}
			if part == Main && p.startsGroup(sections, i) {
				group = p.groupHead(s)
				done = false
				continue
			}
		case 3:
			if inNotes || s.notes {
				p.noBlocks(s)
				continue
			}
			if done || part == Main && group == nil {
				p.problem(s.pos, "RB105", "a heading of level 3 is only for the steps of a group, a rollback or a cleanup",
					"make it ##, or move the block of the ## above it under a ### of its own")
				continue
			}
		}
		if d := p.draft(s, part, group); d != nil {
			drafts = append(drafts, d)
		}
	}
	if p.rb.Title == "" {
		p.problem(Pos{Line: max(1, sections[0].first), Col: 1}, "RB105", "there is no title", "write # and the title after the front matter")
	}
	return drafts
}

func (p *parser) title(s *section) {
	if p.rb.Title != "" {
		p.problem(s.pos, "RB105", "there are two titles", "a step is ##")
		return
	}
	p.rb.Title, p.rb.Summary, p.titleAt = s.title, s.prose, s.pos
	if s.title == "" {
		p.rb.Title = "?"
		p.problem(s.pos, "RB105", "the title is empty", "")
	}
	for _, f := range s.fences {
		p.problem(f.pos, "RB105", "a block under the title belongs to no step", "give it a heading: ## and a title")
	}
}

func (p *parser) noBlocks(s *section) {
	for _, f := range s.fences {
		p.problem(f.pos, "RB105", "notes have no blocks", "remove "+notesMark+" to make it a step")
	}
}

// startsGroup reports whether the heading of level 2 is the head of a group: it
// has a group's block, or no step of its own but headings of level 3 under it.
func (p *parser) startsGroup(sections []*section, i int) bool {
	s := sections[i]
	for _, f := range s.fences {
		if f.info == "yaml group" {
			return true
		}
	}
	if len(s.fences) > 0 || len(s.tasks) > 0 {
		return false
	}
	return i+1 < len(sections) && sections[i+1].level == 3
}

func (p *parser) groupHead(s *section) *groupDraft {
	g := &groupDraft{group: &Group{Title: s.title, Prose: s.prose, Pos: s.pos}}
	p.rb.Groups = append(p.rb.Groups, g.group)
	for _, f := range s.fences {
		switch {
		case f.info != "yaml group":
			p.problem(f.pos, "RB105", "the head of a group has no step of its own", "give it a ### heading")
		case g.block != nil:
			p.problem(f.pos, "RB105", "two blocks under one heading", "")
		default:
			g.block = p.yaml(f)
		}
	}
	return g
}

// yaml reads a fence's content, nil if it can't be read.
func (p *parser) yaml(f fence) *node {
	n, err := readYAML(p.doc, f.first, f.last, f.indent)
	switch {
	case err != nil:
		p.problem(err.pos, "RB101", err.message, err.hint)
		return nil
	case n == nil:
		return &node{doc: p.doc, pos: Pos{Line: f.first, Col: 1}, kind: mapNode}
	case n.kind != mapNode:
		p.problem(n.pos, "RB101", "a block must be a map of keys to values", "")
		return nil
	}
	return n
}

func (p *parser) report(s *section) {
	for _, f := range s.fences {
		switch {
		case f.info != "markdown report":
			p.problem(f.pos, "RB105", "the report has one block, ```markdown report", "")
		case p.rb.Report != nil:
			p.problem(f.pos, "RB105", "two blocks under one heading", "")
		default:
			p.rb.Report = &Template{pos: f.pos}
			p.reportFence = f
		}
	}
	if p.rb.Report == nil && len(s.fences) == 0 {
		p.problem(s.pos, "RB103", "the report has no block", "write it in ```markdown report")
	}
}

var stepNumber = regexp.MustCompile(`^[0-9]+[a-z]?[.):]?\s+`)

// draft makes a step of a heading with a block or items.
func (p *parser) draft(s *section, part Section, group *groupDraft) *draft {
	if len(s.fences) == 0 && len(s.tasks) == 0 {
		p.problem(s.pos, "RB103", fmt.Sprintf("%q is neither a step nor notes", clip(s.title)),
			"give it a ```yaml step block or - [ ] items, or write "+notesMark+" after the title")
		return nil
	}
	if p.stepCount++; p.stepCount > maxSteps {
		if p.stepCount == maxSteps+1 {
			p.problem(s.pos, "RB107", fmt.Sprintf("a runbook may have at most %d steps", maxSteps), "")
		}
		return nil
	}
	step := &Step{Title: s.title, Prose: s.prose, Section: part, Pos: s.pos, Items: s.tasks}
	d := &draft{step: step, group: group}
	if group != nil {
		step.Group = group.group
	}
	seen := false
	for _, f := range s.fences {
		switch {
		case f.info == "markdown report":
			p.problem(f.pos, "RB105", "a report belongs under ## Report", "")
		case f.info != "yaml step":
			p.problem(f.pos, "RB105", "a group's block belongs under a ## heading", "")
		case seen:
			p.problem(f.pos, "RB105", "two step blocks under one heading", "give each a heading")
		default:
			seen = true
			if d.block = p.yaml(f); d.block == nil {
				return nil
			}
			step.Block = Pos{Line: f.first, Col: f.indent + 1}
		}
	}
	return d
}

// deriveID makes an id of a title without its number.
func deriveID(title string) string {
	title = stepNumber.ReplaceAllString(strings.ToLower(title), "")
	var b strings.Builder
	for _, r := range title {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
		if b.Len() >= 40 {
			break
		}
	}
	return strings.Trim(b.String(), "_")
}
