package picture_test

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/actions/redis"
	"opsbot/internal/actions/web"
	"opsbot/runbooks"
	"opsbot/runbooks/picture"
)

var update = flag.Bool("update", false, "write the drawings into testdata")

// action has the shape of a real one and does nothing.
type action struct{ spec runbooks.Spec }

func (a action) Spec() runbooks.Spec { return a.spec }

func (a action) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return a.spec.Result, nil
}

type (
	activity struct {
		Active int    `json:"active"`
		Cause  string `json:"cause"`
	}
	service struct {
		Service string `arg:"service" required:"true"`
	}
	logs struct {
		Service string        `arg:"service"`
		Since   time.Duration `arg:"since"`
		Match   string        `arg:"match"`
		Lines   int           `arg:"lines"`
	}
	restart struct {
		Service string        `arg:"service"`
		Grace   time.Duration `arg:"grace"`
	}
	env struct {
		Service string   `arg:"service"`
		Keys    []string `arg:"keys"`
	}
	up struct {
		Service  string `arg:"service"`
		Recreate bool   `arg:"recreate"`
	}
	scale struct {
		Service  string `arg:"service"`
		Replicas int    `arg:"replicas"`
	}
	stats struct {
		Service string        `arg:"service"`
		For     time.Duration `arg:"for"`
	}
	lines struct {
		Lines []string `json:"lines"`
	}
	ping struct {
		Writable bool   `json:"writable"`
		Cause    string `json:"cause"`
	}
	set struct {
		Set map[string]bool `json:"set"`
	}
	load struct {
		CPU float64 `json:"cpu_pct_of_capacity"`
		Mem int     `json:"mem_bytes"`
	}
)

func parse(t *testing.T, file string, changes ...func(string) string) *runbooks.Runbook {
	t.Helper()
	actions := []runbooks.Action{}
	for _, s := range []runbooks.Spec{
		{Name: "postgres.ping", Result: ping{}},
		{Name: "postgres.activity", Result: activity{}},
		{Name: "postgres.dump", Effect: runbooks.Change, Timeout: time.Minute},
		{Name: "docker.logs", Args: logs{}, Result: lines{}},
		{Name: "docker.restart", Effect: runbooks.Change, Args: restart{}},
		{Name: "docker.remove", Effect: runbooks.Destructive, Args: service{}},
		{Name: "docker.env", Args: env{}, Result: set{}},
		{Name: "docker.stats", Args: stats{}, Result: load{}},
		{Name: "compose.up", Effect: runbooks.Change, Args: up{}},
		{Name: "compose.scale", Effect: runbooks.Change, Args: scale{}},
	} {
		actions = append(actions, action{s})
	}
	catalog, err := runbooks.NewCatalog(redis.Actions(), web.Actions(), actions)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		text = []byte(change(string(text)))
	}
	rb, problems := runbooks.Parse(filepath.Base(file), text, catalog)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	return rb
}

var files = []string{"../library/cache-fix.md", "../testdata/high-error-rate.md", "testdata/everything.md", "testdata/tidy.md"}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		flow := picture.New(parse(t, file))
		for ending, got := range map[string]string{
			"txt":       flow.Text(picture.Style{}),
			"brief.txt": flow.Text(picture.Style{Width: 56, Brief: true, Bare: true}),
			"mmd":       flow.Mermaid(),
		} {
			golden := filepath.Join("testdata", flow.Name+"."+ending)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs; -update writes it (-want +got):\n%s", golden, diff)
			}
		}
	}
}

// Nobody is promised a rollback that is not there: neither by a runbook without
// one, nor in the rollback itself, nor in the cleanup.
func TestRollBackWhereThereIsOne(t *testing.T) {
	t.Parallel()
	without := func(text string) string {
		before, rest, _ := strings.Cut(text, "## Rollback")
		_, after, _ := strings.Cut(rest, "## Cleanup")
		return before + "## Cleanup" + strings.Replace(after, "do: redis.info", "do: redis.info\nretry: { times: 2 }", 1)
	}
	for want, flow := range map[int]*picture.Flow{
		1: picture.New(parse(t, "testdata/tidy.md")),
		0: picture.New(parse(t, "testdata/tidy.md", without)),
	} {
		for _, drawing := range []string{flow.Text(picture.Style{}), flow.Text(picture.Style{Width: 56, Brief: true, Bare: true}), flow.Mermaid()} {
			if got := strings.Count(drawing, "roll back"); got != want {
				t.Errorf("drawn %d times as a choice, want %d:\n%s", got, want, drawing)
			}
			if want == 0 && strings.Contains(strings.ToLower(drawing), "roll") {
				t.Errorf("no rollback, and it is drawn:\n%s", drawing)
			}
		}
	}
}

// Lines keep to the width unless a word is longer, and every jump that begins
// arrives.
func TestDrawing(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		flow := picture.New(parse(t, file))
		for _, width := range []int{0, 60, 78, 120} {
			text := flow.Text(picture.Style{Width: width})
			limit := max(width, 60)
			if width == 0 {
				limit = 78
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > limit {
					t.Errorf("%s at %d: %d characters in %q", file, width, n, line)
				}
			}
			if begin, end := strings.Count(text, "╭"), strings.Count(text, "▸╠")+strings.Count(text, "▸╔")+strings.Count(text, "▸┌")+strings.Count(text, "▸├")+strings.Count(text, "▸┣")+strings.Count(text, "▸┏")+strings.Count(text, "▸■"); begin != end {
				t.Errorf("%s at %d: %d jumps begin and %d arrive:\n%s", file, width, begin, end, text)
			}
		}
	}
}

// The lines that a chart is made of. What is in quotes cannot end the quotes.
var (
	quoted = `"(?:[^"\\<>` + "`" + `]|<br/>)*"`
	node   = regexp.MustCompile(`^  (\w+)(?:\(\[` + quoted + `\]\)|\[\[` + quoted + `\]\]|\{\{` + quoted + `\}\}|\{` + quoted + `\}|\[` + quoted + `\])(?::::(?:change|destructive|gate))?$`)
	edge   = regexp.MustCompile(`^  (\w+) (?:-->|-\.->|-- (?:yes|no|agreed|` + quoted + `) -->) (\w+)$`)
	others = regexp.MustCompile(`^(?:flowchart TD|  subgraph \w+ \[` + quoted + `\]|  end|  classDef (?:change|destructive|gate) [a-z0-9#:, -]+)$`)
)

// A chart has nothing but the lines that Mermaid knows, and its edges lead
// from nodes to nodes.
func TestMermaid(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		chart := picture.New(parse(t, file)).Mermaid()
		nodes, ends := map[string]bool{}, map[string]bool{}
		depth := 0
		for line := range strings.Lines(chart) {
			line = strings.TrimSuffix(line, "\n")
			switch m, e := node.FindStringSubmatch(line), edge.FindStringSubmatch(line); {
			case e != nil:
				ends[e[1]], ends[e[2]] = true, true
			case m != nil:
				if nodes[m[1]] {
					t.Errorf("%s: two nodes %s", file, m[1])
				}
				nodes[m[1]] = true
			case !others.MatchString(line):
				t.Errorf("%s: no line of a chart: %q", file, line)
			case strings.HasPrefix(line, "  subgraph"):
				depth++
			case line == "  end":
				depth--
			}
		}
		if depth != 0 {
			t.Errorf("%s: %d subgraphs are open at the end", file, depth)
		}
		for id := range ends {
			if !nodes[id] {
				t.Errorf("%s: an edge leads to %s, which is nowhere", file, id)
			}
		}
		for id := range nodes {
			if !ends[id] {
				t.Errorf("%s: nothing leads to %s or from it", file, id)
			}
		}
	}
}
