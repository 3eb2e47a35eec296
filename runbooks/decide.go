package runbooks

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

const (
	maxInputs = 6
	maxRows   = 100
)

// decision reads the inputs and rows of `do: decide`.
func (c *checker) decision(s *Step, b *node, in *names) {
	if s.Do != "decide" {
		return
	}
	d := &Decision{}
	s.Decide = d
	inputs, rows := b.get("inputs"), b.get("rows")
	at := b.get("do").pos
	if rows == nil {
		c.problem(at, "RB209", "decide needs rows", "")
		return
	}
	if rows.kind != listNode || len(rows.items) == 0 || len(rows.items) > maxRows {
		c.problem(rows.pos, "RB106", fmt.Sprintf("rows must be a list of 1 to %d", maxRows), "")
		return
	}
	if inputs != nil {
		c.inputs(d, inputs, in)
	}
	before := c.problems.Errors()
	for _, item := range rows.items {
		if item.kind != mapNode {
			c.problem(item.pos, "RB106", "a row must be a map", "")
			continue
		}
		var row Row
		if inputs == nil {
			row = c.listRow(item, in)
		} else {
			row = c.tableRow(item, d, in)
		}
		c.target(row.Next, place{s.Section, c.places[s.ID].index})
		d.Rows = append(d.Rows, row)
	}
	if inputs == nil {
		c.checkElse(d, rows)
	} else if c.problems.Errors() == before && len(d.Inputs) > 0 {
		c.checkTable(d, rows.pos)
	}
}

// checkElse wants exactly one else, at the end.
func (c *checker) checkElse(d *Decision, rows *node) {
	last := len(d.Rows) - 1
	for i, row := range d.Rows {
		if row.Else && i < last {
			c.problem(row.Pos, "RB503", "else must be the last row: the rows after it are never looked at", "")
		}
	}
	if last >= 0 && !d.Rows[last].Else {
		c.problem(rows.pos, "RB504", "the list of a decision must end in else", "- { else: next }")
	}
}

func (c *checker) inputs(d *Decision, n *node, in *names) {
	if n.kind != mapNode || len(n.fields) == 0 || len(n.fields) > maxInputs {
		c.problem(n.pos, "RB106", fmt.Sprintf("inputs must be a map of 1 to %d names to expressions", maxInputs), "")
		return
	}
	for _, f := range n.fields {
		if !idPattern.MatchString(f.key) || slices.Contains(rowKeys, f.key) {
			c.problem(f.pos, "RB106", fmt.Sprintf("%q can't name an input", clip(f.key)), "")
			continue
		}
		e := c.expression(f.value, in, "an input")
		if e != nil && !e.shape.number() && e.shape.kind != durationKind && e.shape.kind != anyKind {
			c.problem(f.value.at(0), "RB301", fmt.Sprintf("an input must be a number, and this is %s", e.shape.a()), "")
		}
		d.Inputs = append(d.Inputs, Saved{Name: f.key, Expr: e})
	}
}

// rowKeys are the words of a row, which can name no input.
var rowKeys = listRowForm.names()

func (c *checker) listRow(n *node, in *names) Row {
	row := Row{Pos: n.pos}
	cond, other := n.get("if"), n.get("else")
	rest := *n
	rest.fields = slices.DeleteFunc(slices.Clone(n.fields), func(f field) bool { return f.key == "if" || f.key == "else" })
	switch {
	case cond != nil && other != nil, cond == nil && other == nil:
		c.problem(n.pos, "RB106", "a row has either if or else", "")
	case cond != nil:
		row.If = c.condition(cond, in)
	default:
		row.Else = true
		if !other.null() && other.value != true {
			if len(rest.fields) > 0 {
				c.problem(other.pos, "RB210", "else has a target and the row has another", "")
			}
			row.Next = c.next(other, in, "else", rowWords)
			return row
		}
	}
	row.Next = c.nextMap(&rest, in, "a row", rowKeys)
	return row
}

func (c *checker) tableRow(n *node, d *Decision, in *names) Row {
	row := Row{Pos: n.pos, Cells: map[string]Cell{}}
	rest := *n
	rest.fields = nil
	for _, f := range n.fields {
		if !slices.ContainsFunc(d.Inputs, func(s Saved) bool { return s.Name == f.key }) {
			rest.fields = append(rest.fields, f)
			continue
		}
		cell, err := parseCell(f.value.text)
		if f.value.kind != scalarNode || err != nil {
			c.problem(f.value.pos, "RB501", fmt.Sprintf("%s is no cell", f.value.describe()), `such as "<50", ">=80", "=0", "50..100", "50..=100", "*" or none`)
			continue
		}
		cell.Pos = f.value.pos
		row.Cells[f.key] = cell
	}
	keys := tableRowForm.names()
	for _, input := range d.Inputs {
		keys = append(keys, input.Name)
	}
	row.Next = c.nextMap(&rest, in, "a row", keys)
	return row
}

var (
	cellNumber = `(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)`
	cellBound  = regexp.MustCompile(`^(<=|>=|<|>|=)\s*` + cellNumber + `$`)
	cellRange  = regexp.MustCompile(`^` + cellNumber + `\s*(\.\.=?)\s*` + cellNumber + `$`)
)

// parseCell reads one cell of a decision table.
func parseCell(text string) (Cell, error) {
	cell := Cell{Text: text}
	switch text {
	case "*":
		cell.Any = true
		return cell, nil
	case "none":
		cell.None = true
		return cell, nil
	}
	if len(text) > 100 {
		return cell, errors.New("too long")
	}
	if m := cellBound.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return cell, err
		}
		switch m[1] {
		case "<":
			cell.Max, cell.MaxOpen = &n, true
		case "<=":
			cell.Max = &n
		case ">":
			cell.Min, cell.MinOpen = &n, true
		case ">=":
			cell.Min = &n
		case "=":
			cell.Min, cell.Max = &n, &n
		}
		return cell, nil
	}
	if m := cellRange.FindStringSubmatch(text); m != nil {
		from, err1 := strconv.ParseFloat(m[1], 64)
		to, err2 := strconv.ParseFloat(m[3], 64)
		if err1 != nil || err2 != nil || from > to || from == to && m[2] == ".." {
			return cell, errors.New("an empty range")
		}
		cell.Min, cell.Max, cell.MaxOpen = &from, &to, m[2] == ".."
		return cell, nil
	}
	return cell, errors.New("no cell")
}

// Matches reports whether an input's value falls into the cell; nil is no data.
// A cell that is left out matches everything, no data too.
func (c Cell) Matches(v *float64) bool {
	switch {
	case c.Any || !c.None && c.Min == nil && c.Max == nil:
		return true
	case c.None:
		return v == nil
	case v == nil:
		return false
	case c.Min != nil && (*v < *c.Min || c.MinOpen && *v == *c.Min):
		return false
	case c.Max != nil && (*v > *c.Max || c.MaxOpen && *v == *c.Max):
		return false
	}
	return true
}
