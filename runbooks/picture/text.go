package picture

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"opsbot/runbooks"
)

// A Style says how a drawing is made.
type Style struct {
	Width int  // in characters; 0: 78. Lines are wrapped, long words are not cut
	Brief bool // only what changes, who must agree and where it can go
	Bare  bool // without the title and what the front matter says
}

const (
	defaultWidth = 78
	spineWidth   = 5  // characters between the lanes of jumps and the text
	minText      = 24 // characters of text in a line, however narrow the drawing is
)

// Text draws the flow in plain text, for a terminal or a code block.
func (f *Flow) Text(s Style) string {
	if s.Width <= 0 {
		s.Width = defaultWidth
	}
	var b strings.Builder
	if !s.Bare {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Title)
		for _, fact := range f.Facts {
			writeWrapped(&b, fact, s.Width)
		}
	}
	for i, p := range f.Parts {
		if i > 0 || !s.Bare {
			b.WriteByte('\n')
		}
		if p.When != "" {
			title := string(p.Section)
			writeWrapped(&b, strings.ToUpper(title[:1])+title[1:]+", "+p.When, s.Width)
		}
		for _, line := range p.draw(s) {
			b.WriteString(line + "\n")
		}
	}
	if !s.Bare {
		stops := "A step that fails stops the run, unless it says otherwise."
		if len(f.Parts) > 1 {
			stops = "A step that fails stops the run, unless it says otherwise;\nin the parts below the main one the next step follows."
		}
		b.WriteString("\n" + stops + "\n")
	}
	return b.String()
}

// A row is one line of a drawing. The spine stands between the lanes of jumps
// and the text.
type row struct {
	to    int // node that a jump from here leads to; -1: none
	at    int // node that begins here, where jumps arrive; -1: none
	spine string
	text  string
}

// borders of a node's text, by effect: head with and without something above,
// body, and body with a jump.
var borders = map[runbooks.Effect][4]string{
	runbooks.Read:        {"├─ ", "┌─ ", "│    ", "┤    "},
	runbooks.Change:      {"┣━ ", "┏━ ", "┃    ", "┨    "},
	runbooks.Destructive: {"╠═ ", "╔═ ", "║    ", "╢    "},
}

// draw makes the lines of a part.
func (p Part) draw(s Style) []string {
	index := map[string]int{}
	for i, n := range p.Nodes {
		if n.ID != "" {
			index[n.ID] = i
		}
	}
	lanes := p.lanes(index)
	width := max(s.Width-2*lanes-spineWidth, minText)
	var rows []row
	through := false
	for i, n := range p.Nodes {
		rows = append(rows, n.rows(i, index, through, s.Brief, width)...)
		through = n.Next
		gap := " "
		if through && (i+1 < len(p.Nodes) || p.Ends) {
			gap = "│"
		}
		if !s.Brief || gap == " " {
			rows = append(rows, row{to: -1, at: -1, spine: gap})
		}
	}
	if p.Ends {
		rows = append(rows, row{to: -1, at: len(p.Nodes), spine: "■ ", text: "end; the verdict is that of its worst step"})
	} else if len(rows) > 0 {
		rows = rows[:len(rows)-1]
	}
	return join(rows)
}

// rows are the lines of one node.
func (n Node) rows(i int, index map[string]int, through, brief bool, width int) []row {
	border := borders[n.Effect]
	head := border[0]
	if !through {
		head = border[1]
	}
	var rows []row
	add := func(first, text string, to int) {
		for j, line := range wrap(text, width, "  ") {
			r := row{to: -1, at: -1, spine: border[2], text: line}
			if j == 0 {
				r.to = to
				if first != "" {
					r.spine = first
				} else if to >= 0 {
					r.spine = border[3]
				}
			}
			rows = append(rows, r)
		}
	}
	if n.ID == "" {
		head = "├─ "
		if !through {
			head = "┌─ "
		}
		add(head, "GROUP "+n.Title, -1)
		rows[0].at = i
		if n.Only != "" {
			add("", fmt.Sprintf("only if %s, else skip %s", n.Only, count(n.Skips, "step")), i+n.Skips+1)
		}
		return rows
	}
	add(head, fmt.Sprintf("%s [%s]", n.Title, n.ID), -1)
	rows[0].at = i
	label := map[runbooks.Effect]string{runbooks.Change: "CHANGES: ", runbooks.Destructive: "DESTRUCTIVE: "}[n.Effect]
	add("", label+n.Does, -1)
	if n.Only != "" {
		add("", "only if "+n.Only, -1)
	}
	if !brief {
		for _, w := range n.With {
			add("", "with "+w, -1)
		}
		for _, l := range n.Loop {
			add("", l, -1)
		}
		for _, e := range n.Expect {
			add("", "must hold: "+e, -1)
		}
		if n.Asks != "" {
			add("", "asks: "+n.Asks, -1)
		}
	}
	for j, g := range n.Gates {
		add("", fmt.Sprintf("GATE %d: %s", j+1, g), -1)
	}
	for _, w := range n.Ways {
		to := -1
		if w.To != "" {
			if at, ok := index[w.To]; ok {
				to = at
			}
		}
		add("", w.On+" ▸ "+w.Does, to)
	}
	return rows
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// lanes says how many jumps lie beside each other at most; the drawing's text
// has so much less room.
func (p Part) lanes(index map[string]int) int { return len(assign(p.stretches(index))) }

// A stretch is the way of the jumps to one node, from the first of them to it.
type stretch struct{ from, to int }

// stretches lists the jumps by the nodes that they lead from and to.
func (p Part) stretches(index map[string]int) []stretch {
	first := map[int]int{}
	note := func(from, to int) {
		if at, ok := first[to]; !ok || from < at {
			first[to] = from
		}
	}
	for i, n := range p.Nodes {
		if n.ID == "" && n.Only != "" {
			note(i, i+n.Skips+1)
		}
		for _, w := range n.Ways {
			if to, ok := index[w.To]; ok && w.To != "" {
				note(i, to)
			}
		}
	}
	var list []stretch
	for to, from := range first {
		list = append(list, stretch{from, to})
	}
	return list
}

// assign puts stretches into lanes so that none overlap, short ones next to the
// spine. Spans that only touch do not share a lane: their corners would meet.
func assign(stretches []stretch) [][]stretch {
	slices.SortFunc(stretches, func(a, b stretch) int {
		if d := (a.to - a.from) - (b.to - b.from); d != 0 {
			return d
		}
		return a.from - b.from
	})
	var lanes [][]stretch
next:
	for _, s := range stretches {
		for i := range lanes {
			if !slices.ContainsFunc(lanes[i], func(o stretch) bool { return s.from <= o.to && o.from <= s.to }) {
				lanes[i] = append(lanes[i], s)
				continue next
			}
		}
		lanes = append(lanes, []stretch{s})
	}
	return lanes
}

// join draws the lanes of jumps beside the rows.
func join(rows []row) []string {
	begins := map[int]int{} // row at which a node begins
	first := map[int]int{}  // row of the first jump to it
	for r, row := range rows {
		if row.at >= 0 {
			begins[row.at] = r
		}
		if _, ok := first[row.to]; !ok && row.to >= 0 {
			first[row.to] = r
		}
	}
	var stretches []stretch
	for to, from := range first {
		if at, ok := begins[to]; ok {
			stretches = append(stretches, stretch{from, at})
		}
	}
	lanes := assign(stretches)
	lines := make([]string, len(rows))
	for r, row := range rows {
		var b strings.Builder
		across := false
		for i := len(lanes) - 1; i >= 0; i-- {
			cell := " "
			for _, s := range lanes[i] {
				switch {
				case r == s.to:
					cell = "╰"
				case r == s.from:
					cell = "╭"
				case s.from < r && r < s.to && row.to >= 0 && begins[row.to] == s.to:
					cell = "├"
				case s.from < r && r < s.to:
					cell = "│"
				}
			}
			switch {
			case across && cell == " ":
				cell = "─"
			case across && cell == "│":
				cell = "┼"
			case cell != " " && cell != "│":
				across = true
			}
			b.WriteString(cell)
			switch {
			case across && i == 0 && row.at >= 0:
				b.WriteString("▸")
			case across:
				b.WriteString("─")
			default:
				b.WriteString(" ")
			}
		}
		lines[r] = strings.TrimRight(b.String()+row.spine+row.text, " ")
	}
	return lines
}

// wrap breaks a text between words into lines of at most width characters, all
// but the first indented. What would steer a terminal is left out.
func wrap(text string, width int, indent string) []string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

func writeWrapped(b *strings.Builder, text string, width int) {
	for _, line := range wrap(text, width, "  ") {
		b.WriteString(line + "\n")
	}
}
