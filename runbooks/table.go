package runbooks

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxCases bounds the grid of a decision table.
const maxCases = 100_000

// A cut is one cell of the grid in one input: a bound itself, what lies between
// two bounds, or no data.
type cut struct {
	value *float64 // a value inside; nil: no data
	name  string
}

// cutsOf cuts an input's range at every bound of its cells, the bounds being
// cells of their own.
func cutsOf(name string, rows []Row, null bool) []cut {
	var bounds []float64
	for _, r := range rows {
		cell := r.Cells[name]
		for _, b := range []*float64{cell.Min, cell.Max} {
			if b != nil {
				bounds = append(bounds, *b)
			}
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	var cuts []cut
	add := func(v float64, text string) { cuts = append(cuts, cut{&v, name + " " + text}) }
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	if len(bounds) == 0 {
		add(0, "any")
	} else {
		add(bounds[0]-1, "<"+number(bounds[0]))
		for i, b := range bounds {
			add(b, "="+number(b))
			if i+1 < len(bounds) {
				add(b+(bounds[i+1]-b)/2, "between "+number(b)+" and "+number(bounds[i+1]))
			}
		}
		last := bounds[len(bounds)-1]
		add(last+1, ">"+number(last))
	}
	if null {
		cuts = append(cuts, cut{nil, name + " none"})
	}
	return cuts
}

// checkTable reports cases that no row takes and cases that several take.
func (c *checker) checkTable(d *Decision, at Pos) {
	grid := make([][]cut, len(d.Inputs))
	cases := 1
	for i, input := range d.Inputs {
		null := input.Expr != nil && (input.Expr.shape.null || input.Expr.shape.kind == anyKind)
		grid[i] = cutsOf(input.Name, d.Rows, null)
		if cases *= len(grid[i]); cases > maxCases {
			c.problem(at, "RB502", fmt.Sprintf("the table has more than %d cases and can't be checked", maxCases), "use fewer inputs or bounds")
			return
		}
	}
	// matches[i][j] has a bit for each row that takes cut j of input i.
	words := (len(d.Rows) + 63) / 64
	matches := make([][][]uint64, len(grid))
	for i, cuts := range grid {
		matches[i] = make([][]uint64, len(cuts))
		for j, cut := range cuts {
			set := make([]uint64, words)
			for r, row := range d.Rows {
				cell, ok := row.Cells[d.Inputs[i].Name]
				if !ok || cell.Matches(cut.value) {
					set[r/64] |= 1 << (r % 64)
				}
			}
			matches[i][j] = set
		}
	}
	t := &tableCheck{grid: grid, matches: matches, overlaps: map[[2]int][]int{}}
	t.walk(0, nil, nil)
	if t.gaps > 0 {
		message := fmt.Sprintf("no row takes %d of %d cases: %s", t.gaps, cases, strings.Join(t.firstGaps, "; "))
		if t.gaps > len(t.firstGaps) {
			message += "; …"
		}
		c.problem(at, "RB502", message, "add rows, none rows for inputs that may have no data")
	}
	pairs := make([][2]int, 0, len(t.overlaps))
	for pair := range t.overlaps {
		pairs = append(pairs, pair)
	}
	slices.SortFunc(pairs, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[1], b[1]), cmp.Compare(a[0], b[0])) })
	for _, pair := range pairs {
		c.problem(d.Rows[pair[1]].Pos, "RB503", fmt.Sprintf("the row on line %d takes this too: %s", d.Rows[pair[0]].Pos.Line, t.name(t.overlaps[pair])), "")
	}
}

// A tableCheck walks the grid of a table.
type tableCheck struct {
	grid      [][]cut
	matches   [][][]uint64
	gaps      int
	firstGaps []string
	overlaps  map[[2]int][]int // by rows, the first case they share
}

func (t *tableCheck) walk(input int, rows []uint64, at []int) {
	if input == len(t.grid) {
		t.count(rows, at)
		return
	}
	for j := range t.grid[input] {
		set := slices.Clone(t.matches[input][j])
		for w := range rows {
			set[w] &= rows[w]
		}
		t.walk(input+1, set, append(at[:input:input], j))
	}
}

func (t *tableCheck) count(rows []uint64, at []int) {
	first := -1
	for r := range len(rows) * 64 {
		if rows[r/64]&(1<<(r%64)) == 0 {
			continue
		}
		if first < 0 {
			first = r
			continue
		}
		// One overlap per row is enough to find it by.
		if pair := [2]int{first, r}; t.overlaps[pair] == nil {
			t.overlaps[pair] = slices.Clone(at)
		}
	}
	if first >= 0 {
		return
	}
	if t.gaps++; len(t.firstGaps) < 3 {
		t.firstGaps = append(t.firstGaps, t.name(at))
	}
}

// name writes a case for people.
func (t *tableCheck) name(at []int) string {
	parts := make([]string, len(at))
	for i, j := range at {
		parts[i] = t.grid[i][j].name
	}
	return strings.Join(parts, ", ")
}
