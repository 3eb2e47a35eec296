package redis_test

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

	"opsbot/internal/actions/redis"
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
	for _, a := range redis.Actions() {
		listed = append(listed, reflect.TypeOf(a).Name())
		if !strings.HasPrefix(a.Spec().Name, "redis.") || a.Spec().Summary == "" {
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
	cat, err := runbooks.NewCatalog(redis.Actions())
	if err != nil {
		t.Fatal(err)
	}
	if len(cat.Names()) != len(redis.Actions()) {
		t.Errorf("Names() = %v", cat.Names())
	}
	flush := action(t, "redis.flush").Spec()
	got, err := runbooks.DecodeArgs(flush, map[string]any{"pattern": "prod_*"})
	if err != nil {
		t.Fatal(err)
	}
	if args := got.(*redis.FlushArgs); args.Mode != "prefix" || !slices.Equal(args.Types, []string{"string"}) {
		t.Errorf("arguments of a flush by default = %+v", args)
	}
	for name, with := range map[string]map[string]any{
		"redis.flush":             {"mode": "everything"},
		"redis.hit_rate":          {"window": "1s"},
		"redis.count_keys":        {"sample": 5},
		"redis.config_set":        {"key": "save", "value": ""},
		"redis.expire_persistent": {"pattern": "prod_*", "ttl": "1s"},
	} {
		if _, err := runbooks.DecodeArgs(action(t, name).Spec(), with); err == nil {
			t.Errorf("%s takes %v", name, with)
		}
	}
	got, err = runbooks.DecodeArgs(action(t, "redis.expire_persistent").Spec(), map[string]any{"pattern": "prod_*"})
	if err != nil {
		t.Fatal(err)
	}
	if args := got.(*redis.ExpirePersistentArgs); !args.DryRun || args.MinIdle != 24*time.Hour || args.TTL != time.Hour || !slices.Equal(args.Types, []string{"string"}) {
		t.Errorf("arguments of expire_persistent by default = %+v", args)
	}
	rate := 0.25
	for name, result := range map[string]any{
		"redis.hit_rate":          redis.HitRate{Hits: 1, Misses: 3, Lookups: 4, Rate: &rate},
		"redis.count_keys":        redis.KeyCount{Matched: 2, Total: 3, Complete: true, Types: map[string]int{"string": 2}},
		"redis.info":              redis.Info{Role: "master", Uptime: 90 * time.Second, MaxMemory: 1 << 40},
		"redis.flush":             redis.Flushed{Deleted: 1, TotalBefore: 1},
		"redis.bgsave":            redis.Snapshot{Took: time.Second, Changes: 3, LastSave: time.Unix(1795600000, 0).UTC()},
		"redis.config_set":        redis.Setting{Key: "maxmemory", Value: "0", Previous: "1"},
		"redis.idle_keys":         redis.IdleKeys{Matched: 3, Chosen: 1, Examples: []string{"a"}},
		"redis.expire_persistent": redis.Expiring{Matched: 3, Chosen: 1, Expiring: 1, Until: time.Unix(1795600000, 0).UTC()},
		"redis.persist":           redis.Persisted{Recorded: 3, Kept: 2, Gone: 1},
		"redis.ping":              redis.Pong{MS: 0.4, Version: "7.0.15"},
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
