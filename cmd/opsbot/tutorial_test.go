package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"opsbot/runbooks"
	"opsbot/runbooks/picture"
)

// examples are the whole runbooks that a page shows, each in a fence of four
// backticks.
func examples(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, after := range strings.Split(string(text), "\n````markdown\n")[1:] {
		example, _, closed := strings.Cut(after, "\n````\n")
		if !closed {
			t.Fatalf("an example of %s is not closed", page)
		}
		if strings.HasPrefix(example, "---\n") {
			list = append(list, example+"\n")
		}
	}
	return list
}

// Whoever copies a stage of the tutorial has a file that the linter has
// nothing to say about, and that can be drawn.
func TestTutorial(t *testing.T) {
	t.Parallel()
	catalog, err := newCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	for page, want := range map[string]int{"tutorial.md": 5, "runbook-format.md": 1} {
		list := examples(t, page)
		if len(list) != want {
			t.Errorf("%s has %d whole runbooks, want %d", page, len(list), want)
		}
		for i, text := range list {
			rb, problems := runbooks.Parse(page, []byte(text), catalog)
			for _, p := range problems {
				t.Errorf("stage %d: %s", i+1, p)
			}
			if rb != nil && !strings.Contains(picture.New(rb).Text(picture.Style{}), rb.Title) {
				t.Errorf("stage %d can't be drawn", i+1)
			}
		}
	}
}

// What the tutorial says the linter finds, it finds.
func TestTutorialRowTakenAway(t *testing.T) {
	t.Parallel()
	catalog, err := newCatalog(nil)
	if err != nil {
		t.Fatal(err)
	}
	list := examples(t, "tutorial.md")
	last := list[len(list)-1]
	less := strings.Replace(last, "  - { rate: \"<0.6\", keys: none, goto: escalate }\n", "", 1)
	_, problems := runbooks.Parse("tutorial.md", []byte(less), catalog)
	if less == last || len(problems) != 1 || problems[0].Code != "RB502" || !strings.Contains(problems[0].Message, "rate <0.6, keys none") {
		t.Errorf("without a row the linter says %v", problems)
	}
}
