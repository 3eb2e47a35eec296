package runbooks_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"opsbot/runbooks"
	"opsbot/runbooks/schema"
)

// Every runbook of the linter's own tests that is right fits the JSON Schema,
// and those with a mistake that one block shows do not.
func TestSchemaAgreesWithTheLinter(t *testing.T) {
	t.Parallel()
	seen := []string{"RB110", "RB202", "RB204", "RB208", "RB209", "RB220", "RB221", "RB222", "RB230"}
	text, err := json.Marshal(schema.New("", catalog(t)))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("runbook.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("runbook.json")
	if err != nil {
		t.Fatal(err)
	}
	// fits validates the front matter and each block.
	fits := func(text string) error {
		parts := strings.SplitN(text, "---\n", 3)
		if len(parts) < 3 {
			return nil
		}
		pieces := []string{parts[1]}
		for _, kind := range []string{"step", "group"} {
			for _, after := range strings.Split(parts[2], "```yaml "+kind+"\n")[1:] {
				block, _, _ := strings.Cut(after, "```")
				pieces = append(pieces, block)
			}
		}
		for _, piece := range pieces {
			var v any
			if err := yaml.Unmarshal([]byte(piece), &v); err != nil {
				return err
			}
			data, err := json.Marshal(v)
			if err != nil {
				return err
			}
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
			if err != nil {
				return err
			}
			if err := compiled.Validate(value); err != nil {
				return err
			}
		}
		return nil
	}
	right, wrong := 0, 0
	check := func(name, text string) {
		_, problems := runbooks.Parse(name, []byte(text), catalog(t))
		switch err := fits(text); {
		case problems.Err() == nil:
			right++
			if err != nil {
				t.Errorf("%s is right, and the schema says: %v", name, err)
			}
		case slices.ContainsFunc(problems, func(p runbooks.Problem) bool { return slices.Contains(seen, p.Code) }):
			wrong++
			if err == nil {
				t.Errorf("%s is wrong, and the schema takes it: %v", name, problems)
			}
		}
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".md") {
				check(filepath.Base(file)+"/"+f.Name, string(f.Data))
			}
		}
	}
	rich, err := os.ReadFile("testdata/high-error-rate.md")
	if err != nil {
		t.Fatal(err)
	}
	check("high-error-rate.md", string(rich))
	if right < 10 || wrong < 8 {
		t.Errorf("saw only %d runbooks that are right and %d that are wrong", right, wrong)
	}
}
