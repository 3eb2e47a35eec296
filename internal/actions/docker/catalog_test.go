package docker_test

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

	"opsbot/internal/actions/docker"
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
	for _, a := range docker.Actions() {
		listed = append(listed, reflect.TypeOf(a).Name())
		if !slices.Contains([]string{"docker", "compose", "nginx"}, strings.Split(a.Spec().Name, ".")[0]) || a.Spec().Summary == "" {
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

// The catalog checks what the struct tags say; results survive the journal.
func TestCatalog(t *testing.T) {
	t.Parallel()
	cat, err := runbooks.NewCatalog(docker.Actions())
	if err != nil {
		t.Fatal(err)
	}
	if len(cat.Names()) != len(docker.Actions()) {
		t.Errorf("Names() = %v", cat.Names())
	}
	got, err := runbooks.DecodeArgs(action(t, "compose.up").Spec(), map[string]any{"service": "api"})
	if err != nil {
		t.Fatal(err)
	}
	if args := got.(*docker.ComposeUpArgs); !args.Start || args.Wait != 2*time.Minute || args.Pull != "missing" || args.Recreate {
		t.Errorf("arguments of compose.up by default = %+v", args)
	}
	for name, with := range map[string]map[string]any{
		"docker.restart": {"service": "api; rm -rf /"},
		"docker.logs":    {"service": "api", "since": "48h"},
		"docker.env":     {"service": "api", "keys": []any{"A=B"}},
		"docker.stop":    {"service": "api", "signal": "SIGKILL"},
		"docker.disk":    {"service": "db", "path": "relative"},
		"compose.scale":  {"service": "api", "replicas": 0},
		"compose.down":   {"volumes": true},
		"nginx.switch":   {"to": "elsewhere"},
	} {
		if _, err := runbooks.DecodeArgs(action(t, name).Spec(), with); err == nil {
			t.Errorf("%s takes %v", name, with)
		}
	}
	half := 50.0
	for name, result := range map[string]any{
		"docker.disk":    docker.Disk{Path: "/", TotalBytes: 1 << 40, FreeInodesPct: &half},
		"docker.restart": docker.Restarted{HealthyAfter: time.Second, Containers: []docker.Touched{{ID: "a", Killed: true}}},
		"docker.env":     docker.Presence{Set: map[string]bool{"A": true}, Length: map[string]int{"A": 3}},
		"docker.logs":    docker.Log{Lines: []string{"x"}, Groups: []docker.LogGroup{{Count: 1, LastAt: time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)}}},
		"compose.up":     docker.Up{ImagesBefore: map[string]string{"api": "sha256:1"}, Services: []docker.Service{{Name: "api", OK: true}}},
		"nginx.switch":   docker.Switched{Seen: map[string]int{"a": 10}},
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
