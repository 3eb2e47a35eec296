package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/runbooks"
)

var update = flag.Bool("update", false, "write docs/reference, and the golden files in testdata")

// The reference is made from what the parser and the actions declare. After a
// change: go test ./cmd/opsbot -run TestReference -update
func TestReference(t *testing.T) {
	t.Parallel()
	catalog, err := newCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("..", "..", "docs", "reference")
	for name, want := range map[string]string{
		"README.md": referenceIndex, "actions.md": actionsPage(catalog), "keys.md": keysPage(),
		"functions.md": functionsPage(), "linter.md": linterPage(),
	} {
		file := filepath.Join(dir, name)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(have), want); diff != "" {
			t.Errorf("%s is not what the code says; go test ./cmd/opsbot -run TestReference -update writes it:\n%s", file, diff)
		}
	}
}

const generated = "<!-- Made from the code by go test ./cmd/opsbot -run TestReference -update. -->\n\n"

const referenceIndex = generated + `# Reference

Made from the declarations that opsbot itself works from. [The runbook format](../runbook-format.md) explains them, the [tutorial](../tutorial.md) begins at the beginning.

| Page | Has |
|---|---|
| [actions](actions.md) | what a step can do: arguments, result, effect, timeout |
| [keys](keys.md) | front matter, steps, groups, parameters: every key and its values |
| [functions](functions.md) | what expressions can call |
| [linter](linter.md) | every code and what it means |
`

// cell makes text fit into a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}

func code(text string) string { return "`" + text + "`" }

// kindOf is the connection that the action needs.
func kindOf(a runbooks.Description) string {
	if a.Kind == "" {
		return "none"
	}
	return a.Kind
}

func actionsPage(catalog *runbooks.Catalog) string {
	var b strings.Builder
	b.WriteString(generated + "# Actions\n\nWhat `do` can name, besides the [built-in verbs](keys.md#built-in-verbs). The part before the dot says what it works on.\n\n")
	b.WriteString("| Action | Connection | Effect | |\n|---|---|---|---|\n")
	list := catalog.Describe()
	for _, a := range list {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", a.Name, strings.ReplaceAll(a.Name, ".", ""), kindOf(a), a.Effect, cell(a.Summary))
	}
	for _, a := range list {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", a.Name, a.Summary)
		timeout := "none of its own"
		if a.Timeout > 0 {
			timeout = short(a.Timeout)
		}
		fmt.Fprintf(&b, "Connection: %s. Effect: %s. Timeout: %s.\n", kindOf(a), a.Effect, timeout)
		if len(a.Arguments) > 0 {
			b.WriteString("\n| Argument | Type | Default | |\n|---|---|---|---|\n")
			for _, arg := range a.Arguments {
				fallback := ""
				switch d := arg.Default.(type) {
				case nil:
					if arg.Required {
						fallback = "required"
					}
				case time.Duration:
					fallback = code(short(d))
				case []any:
					words := make([]string, len(d))
					for i, e := range d {
						words[i] = fmt.Sprint(e)
					}
					fallback = code("[" + strings.Join(words, ", ") + "]")
				default:
					fallback = code(fmt.Sprint(d))
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", arg.Name, cell(arg.Type+limits(arg.Form)), fallback, cell(arg.Help))
			}
		}
		if len(a.Result) > 0 {
			b.WriteString("\n| Result | Type | |\n|---|---|---|\n")
			for _, f := range a.Result {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, cell(f.Help))
			}
		}
	}
	return b.String()
}

// short writes a duration as runbooks do.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// limits says what a form allows of its type.
func limits(f *runbooks.Form) string {
	number := func(n float64) string {
		if f.Type == runbooks.DurationForm {
			return short(time.Duration(n * float64(time.Second)))
		}
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	text := ""
	switch {
	case f.Item != nil:
		return limits(f.Item)
	case len(f.Words) > 0:
		text = ": " + words(f.Words)
	case f.Pattern != "":
		text = " that matches " + code(f.Pattern)
	case f.Min != nil && f.Max != nil && *f.Min == *f.Max:
		text = ": " + number(*f.Min)
	case f.Min != nil && f.Max != nil:
		text = " from " + number(*f.Min) + " to " + number(*f.Max)
	case f.Min != nil:
		text = " from " + number(*f.Min)
	case f.Max != nil:
		text = " up to " + number(*f.Max)
	}
	return text
}

func words(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = code(w)
	}
	return strings.Join(quoted, ", ")
}

// targetKeys are in the table of targets and not said again for rows.
var targetKeys = []string{"goto", "run", "offer", "end", "with", "then", "say"}

// keyTables writes a table for each map of a form, the outer one first.
type keyTables struct {
	b    strings.Builder
	seen map[*runbooks.Form]string // anchor of the table
}

func (k *keyTables) table(title string, f *runbooks.Form) {
	type inner struct {
		title string
		form  *runbooks.Form
	}
	var later []inner
	only := slices.ContainsFunc(f.Keys, func(key runbooks.Key) bool { return len(key.Only) > 0 })
	head, line := "| Key | Value | |", "|---|---|---|"
	if only {
		head, line = "| Key | Value | For | |", "|---|---|---|---|"
	}
	fmt.Fprintf(&k.b, "\n%s\n%s\n", head, line)
	isRow := f.OneOf != nil && f.OneOf[0] != "goto"
	for _, key := range f.Keys {
		if isRow && slices.Contains(targetKeys, key.Name) {
			continue
		}
		value := k.value(key.Form, func(m *runbooks.Form) string {
			name := title + " " + key.Name
			if _, ok := k.seen[m]; !ok {
				if len(m.OneOf) > 0 {
					name = "targets"
					if m.OneOf[0] != "goto" {
						name = "rows of a " + map[bool]string{true: "list", false: "table"}[m.OneOf[0] == "if"]
					}
				}
				k.seen[m] = name
				later = append(later, inner{name, m})
			}
			name = k.seen[m]
			return fmt.Sprintf("[%s](#%s)", name, strings.ReplaceAll(strings.ToLower(name), " ", "-"))
		})
		if key.Required {
			value += ", required"
		}
		fmt.Fprintf(&k.b, "| `%s` | %s |", key.Name, cell(value))
		if only {
			fmt.Fprintf(&k.b, " %s |", strings.Join(key.Only, ", "))
		}
		fmt.Fprintf(&k.b, " %s |\n", cell(key.Help))
	}
	if isRow {
		k.b.WriteString("\nAnd the keys of [targets](#targets).\n")
	}
	if f.Item != nil {
		fmt.Fprintf(&k.b, "\nEvery other key is the name of an input; its value is a cell, as `\"<50\"`, `\"50..=100\"`, `none` or `\"*\"`.\n")
	}
	if len(f.OneOf) > 0 {
		fmt.Fprintf(&k.b, "\nThere is exactly one of %s.\n", words(f.OneOf))
	}
	for _, in := range later {
		fmt.Fprintf(&k.b, "\n### %s\n", in.title)
		k.table(in.title, in.form)
	}
}

// value says what a form takes; table links to the table of a map.
func (k *keyTables) value(f *runbooks.Form, table func(*runbooks.Form) string) string {
	switch f.Type {
	case runbooks.MapForm:
		return table(f)
	case runbooks.ListForm:
		inner := k.value(f.Item, table)
		if f.Bare {
			return inner + ", or a list"
		}
		return "list of " + inner
	case runbooks.NamesForm:
		if f.Item.Type == runbooks.AnyForm {
			return "names with values"
		}
		return "names, each with " + k.value(f.Item, table)
	case runbooks.ChoiceForm:
		var list []string
		for _, e := range f.Either {
			if e.Type == runbooks.NameForm && e.Pattern == `\$\{\{` {
				list = append(list, "`${{ }}`")
			} else if text := k.value(e, table); !strings.Contains(strings.Join(list, " "), text) {
				list = append(list, text)
			}
		}
		return strings.Join(list, " or ")
	case runbooks.WordForm:
		return words(f.Words)
	case runbooks.NameForm:
		return "name"
	case runbooks.ParamForm:
		return "[a parameter](#parameters)"
	case runbooks.WithForm:
		return "[arguments](actions.md)"
	case runbooks.VerbForm:
		return "[action](actions.md) or [built-in](#built-in-verbs)"
	case runbooks.TemplateForm:
		return "text with `${{ }}`"
	case runbooks.AnyForm:
		return "any"
	}
	return string(f.Type) + limits(f)
}

func keysPage() string {
	g := runbooks.Grammar()
	k := &keyTables{seen: map[*runbooks.Form]string{}}
	b := &k.b
	b.WriteString(generated + "# Keys\n\nEvery key of a runbook's YAML. `opsbot schema` prints the same for [editors](../editors.md).\n\n## Front matter\n")
	k.table("front matter", g.Front)
	b.WriteString("\n## Parameters\n\nAlso the fields of a manual step's `ask`.\n")
	k.table("parameters", g.Param)
	b.WriteString("\n| Type | Written as | Its rules |\n|---|---|---|\n")
	for _, r := range runbooks.ParamRules() {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", r.Type, cell(r.Written), words(r.Keys))
	}
	fmt.Fprintf(b, "\nNo parameter and no runbook can be called %s: these are words of the commands.\n", words(g.Reserved))
	b.WriteString("\n## Steps\n")
	k.table("step", g.Step)
	b.WriteString("\n## Groups\n")
	k.table("group", g.Group)
	b.WriteString("\n## Built-in verbs\n")
	for _, v := range g.Builtins {
		fmt.Fprintf(b, "\n### do: %s\n\nIt %s.", v.Name, v.Help)
		if v.With == nil {
			b.WriteString(" It takes no arguments.\n")
			continue
		}
		b.WriteByte('\n')
		k.table(v.Name, v.With)
	}
	return b.String()
}

func functionsPage() string {
	var b strings.Builder
	b.WriteString(generated + "# Functions\n\nWhat [expressions](../runbook-format.md#expressions) can call.\n\n| Ours | Gives |\n|---|---|\n")
	var others []string
	for _, f := range runbooks.Functions() {
		if f.Ours {
			fmt.Fprintf(&b, "| `%s` | %s |\n", cell(f.Usage), cell(f.Means))
		} else {
			others = append(others, fmt.Sprintf("| [`%s`](https://expr-lang.org/docs/language-definition#%s) | `%s` |\n", f.Name, f.Name, f.Usage))
		}
	}
	b.WriteString("\nOf the expression language's own functions there are these; in `[ ]` is what may be left out. Conditions and expressions see the element as `#`.\n\n| Function | Called as |\n|---|---|\n")
	for _, line := range others {
		b.WriteString(line)
	}
	return b.String()
}

func linterPage() string {
	var b strings.Builder
	b.WriteString(generated + "# What the linter says\n\n`opsbot lint` prints `file:line:col: CODE message (hint)`. A warning does not keep a runbook from being used.\n\n| Code | Means |\n|---|---|\n")
	for _, c := range runbooks.Codes() {
		means := c.Means
		if c.Warning {
			means = "warning: " + means
		}
		fmt.Fprintf(&b, "| %s | %s |\n", c.Name, cell(means))
	}
	return b.String()
}
