package stats

import (
	"bytes"
	"fmt"
	"time"

	"github.com/wcharczuk/go-chart/v2"
	"github.com/wcharczuk/go-chart/v2/drawing"
)

// Sizes of the chart, in pixels. It is drawn for a phone held upright, too: few
// things, large letters.
const (
	chartWidth  = 1000
	chartMargin = 28
	labelWidth  = 70  // of a bar's severity
	noteWidth   = 270 // behind the longest bar
	barHeight   = 26
	barGap      = 8
	groupGap    = 22
	wordHeight  = 30
	headHeight  = 84
	footHeight  = 64
)

var (
	ink    = drawing.ColorFromHex("1f2937")
	soft   = drawing.ColorFromHex("6b7280")
	line   = drawing.ColorFromHex("e5e7eb")
	colors = map[string]drawing.Color{
		"SEV1": drawing.ColorFromHex("b42318"), "SEV2": drawing.ColorFromHex("c76a00"), "SEV3": drawing.ColorFromHex("2f6fb0"), "SEV?": drawing.ColorFromHex("6b7280"),
	}
)

// A bar is one median.
type bar struct {
	severity string
	Figure
}

// a group is the bars of one measure.
type group struct {
	measure Measure
	bars    []bar
}

func (t Table) groups() (groups []group, longest time.Duration) {
	for _, m := range Measures {
		g := group{measure: m}
		for _, r := range t.Rows[:len(t.Rows)-1] {
			if f := r.Figures[m]; f.Count > 0 {
				g.bars = append(g.bars, bar{r.Severity, f})
				longest = max(longest, f.Median)
			}
		}
		if len(g.bars) > 0 {
			groups = append(groups, g)
		}
	}
	return groups, longest
}

// Chart draws the medians as a PNG, a group of bars for each measure; title
// says what of. Every bar is labelled, so that nothing depends on its color. A
// table in which nothing is known gives nil.
func (t Table) Chart(title string) ([]byte, error) {
	groups, longest := t.groups()
	if len(groups) == 0 {
		return nil, nil
	}
	height := headHeight + footHeight
	for _, g := range groups {
		height += wordHeight + len(g.bars)*(barHeight+barGap) + groupGap
	}
	r, err := chart.PNG(chartWidth, height)
	if err != nil {
		return nil, fmt.Errorf("draw the chart of incidents: %w", err)
	}
	font, err := chart.GetDefaultFont()
	if err != nil {
		return nil, fmt.Errorf("draw the chart of incidents: %w", err)
	}
	r.SetDPI(72)
	r.SetFont(font)
	p := pen{r}
	p.rectangle(0, 0, chartWidth, height, drawing.ColorWhite)
	p.text(title, chartMargin, 42, 26, ink)
	p.text("Median, and in brackets mean and number of incidents", chartMargin, 68, 17, soft)

	left, right := chartMargin+labelWidth, chartWidth-noteWidth
	step, ticks := scale(longest)
	x := func(d time.Duration) int {
		return left + int(float64(right-left)*float64(d)/float64(step*time.Duration(ticks)))
	}
	bottom := height - footHeight
	for n := range ticks + 1 {
		at := x(step * time.Duration(n))
		p.rectangle(at, headHeight, at+1, bottom, line)
		word := Span(step * time.Duration(n))
		if n == 0 {
			word = "0"
		}
		p.text(word, at-p.width(word, 16)/2, bottom+24, 16, soft)
	}
	y := headHeight + 4
	for _, g := range groups {
		p.text(g.measure.Word(), chartMargin, y+20, 19, ink)
		y += wordHeight
		for _, b := range g.bars {
			p.text(b.severity, chartMargin, y+19, 17, ink)
			end := max(x(b.Median), left+2)
			p.rectangle(left, y, end, y+barHeight, colors[b.severity])
			note := fmt.Sprintf("%s (%s, n=%d)", Span(b.Median), Span(b.Mean), b.Count)
			if b.AtLeast > 0 {
				note = "≥ " + note
			}
			p.text(note, end+8, y+19, 17, ink)
			y += barHeight + barGap
		}
		y += groupGap
	}
	foot := ""
	if t.Excluded > 0 {
		foot = fmt.Sprintf("Left out: %d canceled, merged or exercises.", t.Excluded)
	}
	if t.atLeast() {
		foot = "≥: start unknown, counted from when it was noticed. " + foot
	}
	p.text(foot, chartMargin, height-14, 15, soft)
	var b bytes.Buffer
	if err := r.Save(&b); err != nil {
		return nil, fmt.Errorf("draw the chart of incidents: %w", err)
	}
	return b.Bytes(), nil
}

func (t Table) atLeast() bool {
	for _, f := range t.All().Figures {
		if f.AtLeast > 0 {
			return true
		}
	}
	return false
}

// scale cuts the axis into at most six steps of a round length.
func scale(longest time.Duration) (step time.Duration, ticks int) {
	for _, step := range []time.Duration{
		10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour,
	} {
		if longest <= 6*step {
			return step, max(1, int((longest+step-1)/step))
		}
	}
	const month = 30 * 24 * time.Hour
	step = month * max(1, (longest+6*month-1)/(6*month))
	return step, int((longest + step - 1) / step)
}

// A pen draws with few words.
type pen struct{ r chart.Renderer }

func (p pen) rectangle(x0, y0, x1, y1 int, c drawing.Color) {
	p.r.SetFillColor(c)
	p.r.SetStrokeColor(drawing.ColorTransparent)
	p.r.SetStrokeWidth(0)
	p.r.MoveTo(x0, y0)
	p.r.LineTo(x1, y0)
	p.r.LineTo(x1, y1)
	p.r.LineTo(x0, y1)
	p.r.Close()
	p.r.Fill()
}

func (p pen) text(s string, x, y int, size float64, c drawing.Color) {
	p.r.SetFontSize(size)
	p.r.SetFontColor(c)
	p.r.Text(s, x, y)
}

func (p pen) width(s string, size float64) int {
	p.r.SetFontSize(size)
	return p.r.MeasureText(s).Width()
}
