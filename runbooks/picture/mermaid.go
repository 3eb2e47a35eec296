package picture

import (
	"fmt"
	"strings"

	"opsbot/runbooks"
)

const labelWidth = 44 // characters in a line of a label

// Mermaid draws the flow as a Mermaid flowchart, which GitHub and others
// render in Markdown under a fence "mermaid".
func (f *Flow) Mermaid() string {
	m := &mermaid{}
	m.line("flowchart TD")
	for _, p := range f.Parts {
		m.part(f, p)
	}
	m.line("  classDef change stroke:#b8860b,stroke-width:2px")
	m.line("  classDef destructive stroke:#b02a37,stroke-width:4px")
	m.line("  classDef gate stroke-dasharray:4 3")
	return m.b.String()
}

// A mermaid writes one chart. Ids of nodes have a prefix, since some words,
// such as end, are the chart's own.
type mermaid struct {
	b    strings.Builder
	at   Part   // that is being drawn
	done string // id of the part's end
	ways int    // ways that have a node of their own, so far
}

func (m *mermaid) line(format string, args ...any) { fmt.Fprintf(&m.b, format+"\n", args...) }

func (m *mermaid) part(f *Flow, p Part) {
	m.at, m.done = p, "done_"+string(p.Section)
	begin := label(f.Title)
	if p.When != "" {
		begin = label(string(p.Section) + ", " + p.When)
	}
	m.line("  begin_%s([%s])", p.Section, begin)
	if len(p.Nodes) > 0 {
		m.line("  begin_%s --> %s", p.Section, m.entry(0))
	}
	if p.Ends {
		m.line("  %s([%s])", m.done, label("end"))
	}
	inside := false
	for i, n := range p.Nodes {
		if inside && (n.ID == "" || n.Group == "") {
			m.line("  end")
			inside = false
		}
		if n.ID == "" {
			if n.Only != "" {
				m.line("  group_%d{%s}", i, label("only if "+n.Only))
			}
			m.line("  subgraph in_%s_%d [%s]", p.Section, i, label(n.Title))
			inside = true
			continue
		}
		m.node(n)
	}
	if inside {
		m.line("  end")
	}
	// Edges come after all nodes: one inside a subgraph would draw its target
	// into it.
	for i, n := range p.Nodes {
		switch {
		case n.ID != "":
			m.edges(i, n)
		case n.Only != "":
			m.line("  group_%d -- yes --> %s", i, m.entry(i+1))
			m.line("  group_%d -- no --> %s", i, m.entry(i+n.Skips+1))
		}
	}
}

// entry is where a run comes to a node: what must hold, who must agree, or the
// node itself.
func (m *mermaid) entry(i int) string {
	if i >= len(m.at.Nodes) {
		return m.done
	}
	switch n := m.at.Nodes[i]; {
	case n.ID == "" && n.Only != "":
		return fmt.Sprintf("group_%d", i)
	case n.ID == "":
		return m.entry(i + 1)
	case n.Only != "":
		return "if_" + n.ID
	case len(n.Gates) > 0:
		return "gate_" + n.ID
	default:
		return "step_" + n.ID
	}
}

func (m *mermaid) node(n Node) {
	if n.Only != "" {
		m.line("  if_%s{%s}", n.ID, label("only if "+n.Only))
	}
	if len(n.Gates) > 0 {
		m.line("  gate_%s{{%s}}:::gate", n.ID, label(n.Gates...))
	}
	class := ""
	if n.Effect > runbooks.Read {
		class = ":::" + n.Effect.String()
	}
	m.line("  step_%s[%s]%s", n.ID, label(n.Title, n.Does), class)
}

func (m *mermaid) edges(i int, n Node) {
	at := "step_" + n.ID
	next := m.entry(i + 1)
	acts := at
	if len(n.Gates) > 0 {
		acts = "gate_" + n.ID
		m.line("  %s -- agreed --> %s", acts, at)
	}
	if n.Only != "" {
		m.line("  if_%s -- yes --> %s", n.ID, acts)
		m.line("  if_%s -- no --> %s", n.ID, next)
	}
	if n.Through {
		m.line("  %s --> %s", at, next)
	}
	for _, w := range n.Ways {
		switch {
		case w.To != "":
			for j, other := range m.at.Nodes {
				if other.ID == w.To {
					m.line("  %s -- %s --> %s", at, label(w.On), m.entry(j))
				}
			}
		case w.Kind == Goes:
			m.line("  %s -- %s --> %s", at, label(w.On), next)
		default:
			m.ways++
			shapes := map[Kind][2]string{Ends: {"([", "])"}, Starts: {"[[", "]]"}, Asks: {"{", "}"}}
			m.line("  way_%d%s%s%s", m.ways, shapes[w.Kind][0], label(w.Does), shapes[w.Kind][1])
			m.line("  %s -- %s --> way_%d", at, label(w.On), m.ways)
			if w.GoesOn {
				m.line("  way_%d -.-> %s", m.ways, next)
			}
		}
	}
}

// label quotes text. Mermaid reads #…; as a character, and a backtick at the
// beginning as Markdown.
func label(lines ...string) string {
	var all []string
	for _, l := range lines {
		for _, line := range wrap(l, labelWidth, "") {
			all = append(all, escapes.Replace(line))
		}
	}
	return `"` + strings.Join(all, "<br/>") + `"`
}

var escapes = strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "&", "#amp;", "`", "#96;", "\\", "#92;")
