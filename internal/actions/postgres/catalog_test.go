package postgres_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/actions/postgres"
	"opsbot/runbooks"
)

// A new action is one file and one line in Actions; this test fails if the
// line is missing.
func TestActionsListsEveryFile(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Name.Name == "Spec" && f.Recv != nil {
				declared = append(declared, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	if len(declared) == 0 {
		t.Fatal("no action was found in the sources")
	}
	var listed []string
	for _, a := range postgres.Actions() {
		listed = append(listed, reflect.TypeOf(a).Name())
		if !strings.HasPrefix(a.Spec().Name, "postgres.") || a.Spec().Summary == "" {
			t.Errorf("%T: name %q, summary %q", a, a.Spec().Name, a.Spec().Summary)
		}
		if _, ok := a.(runbooks.Previewer); !ok && a.Spec().Effect > runbooks.Read {
			t.Errorf("%s changes something and has no preview", a.Spec().Name)
		}
		if _, ok := a.Spec().Result.(interface{ Found() string }); !ok {
			t.Errorf("%s has a result that cannot say what was found", a.Spec().Name)
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("Actions() = %v, the files declare %v", listed, declared)
	}
}

// The catalog checks what the struct tags say.
func TestCatalog(t *testing.T) {
	t.Parallel()
	cat, err := runbooks.NewCatalog(postgres.Actions())
	if err != nil {
		t.Fatal(err)
	}
	if len(cat.Names()) != len(postgres.Actions()) {
		t.Errorf("Names() = %v", cat.Names())
	}
	for name, args := range map[string]map[string]any{
		"postgres.query":        {"max_rows": 0},
		"postgres.slow_queries": {"order": "name"},
		"postgres.archive":      {"table": "logs", "older_than": "24h"},
		"postgres.explain":      {"queryid": "1; DROP"},
		"postgres.restore":      {"backup": "/b", "sha256": "x"},
		"postgres.terminate":    {},
		"postgres.create_index": {},
	} {
		if _, err := runbooks.DecodeArgs(action(t, name).Spec(), args); err == nil {
			t.Errorf("%s takes %v", name, args)
		}
	}
	ms := 0.25
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, result := range map[string]any{
		"postgres.ping":         postgres.Pong{MS: 0.4, Version: "15.18", Cause: "slots"},
		"postgres.activity":     postgres.Activity{ByState: map[string]int{"idle": 2}, OldestXact: time.Minute, Open: []postgres.Session{{PID: 1, Blocks: []int{2}}}},
		"postgres.slow_queries": postgres.Slow{StatsReset: at, Queries: []postgres.Statement{{QueryID: "-42", MeanMS: 1.5}}},
		"postgres.explain":      postgres.Plan{ExecMS: &ms, SeqScans: []postgres.SeqScan{{Rel: "logs", Bytes: 1 << 40}}},
		"postgres.archive":      postgres.Archived{Cutoff: at, Moved: 5},
		"postgres.restore":      postgres.Restored{Tables: []postgres.TableRows{{Name: "a.b", Dump: 1, Restored: 1}}, Took: time.Second},
		"postgres.verify":       postgres.Verdict{OK: true, Different: []string{}},
		"postgres.swap":         postgres.Swapped{Database: "a", Kept: "b"},
	} {
		data, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		back, err := runbooks.DecodeResult(action(t, name).Spec(), data)
		if d := cmp.Diff(result, back); err != nil || d != "" {
			t.Errorf("%s does not survive JSON: %v\n%s", name, err, d)
		}
	}
}
