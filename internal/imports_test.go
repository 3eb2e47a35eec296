// Package internal_test keeps the shape of the house: who may import whom, and
// that every package says in one sentence what it is for.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "opsbot/"

// allowed lists, for each package, which packages of ours it may import, and
// which foreign ones are its alone to import. A package that is missing here
// fails the test: its place in the house has to be decided first.
var allowed = map[string][]string{
	"cmd/opsbot":                           {"*"},
	"bot":                                  {"bot/blocks", "commands", "internal/access", "internal/fault", "internal/inbox", "internal/outbox"},
	"bot/blocks":                           {"commands", "internal/access", "internal/fault", "internal/outbox"},
	"commands":                             {"incidents", "incidents/outreach", "incidents/postmortem", "incidents/stats", "runbooks", "runbooks/engine", "runbooks/picture", "internal/access", "internal/deployment", "internal/dispatch", "internal/fault", "internal/outbox"},
	"incidents/outreach":                   {"incidents", "internal/dispatch", "internal/feed", "internal/outbox"},
	"incidents/postmortem":                 {"incidents", "incidents/stats", "internal/access"},
	"incidents/stats":                      {},
	"incidents":                            {"internal/access", "internal/fault", "internal/outbox"},
	"runbooks":                             {"internal/fault"},
	"runbooks/library":                     {},
	"runbooks/picture":                     {"runbooks"},
	"runbooks/schema":                      {"runbooks"},
	"runbooks/engine":                      {"runbooks", "internal/access", "internal/deployment", "internal/fault", "internal/outbox"},
	"runbooks/trial":                       {"runbooks", "runbooks/engine", "internal/access", "internal/fault", "internal/outbox", "internal/store"},
	"internal/access":                      {"internal/fault"},
	"internal/actions/docker":              {"runbooks", "internal/fault", "internal/redact"},
	"internal/actions/host":                {"runbooks", "internal/fault", "internal/redact"},
	"internal/actions/postgres":            {"runbooks", "internal/fault"},
	"internal/actions/redis":               {"runbooks", "internal/fault"},
	"internal/actions/web":                 {"runbooks", "internal/fault"},
	"internal/config":                      {},
	"internal/alert":                       {"runbooks", "internal/fault", "internal/outbox"},
	"internal/dispatch":                    {"internal/redact"},
	"internal/deployment":                  {"runbooks", "internal/access", "internal/fault"},
	"internal/feed":                        {},
	"internal/fault":                       {},
	"internal/inbox":                       {"internal/outbox"},
	"internal/outbox":                      {},
	"internal/redact":                      {},
	"internal/patient":                     {"internal/patient/api", "internal/patient/traffic"},
	"internal/patient/api":                 {},
	"internal/patient/compose":             {"internal/fault", "internal/patient", "internal/patient/api", "internal/patient/traffic"},
	"internal/patient/compose/composetest": {"internal/patient/compose"},
	"internal/patient/traffic":             {"internal/patient/api"},
	"internal/slacksim":                    {"internal/slacksim/blockkit"},
	"internal/slacksim/blockkit":           {},
	"internal/slacksim/page":               {"internal/slacksim", "internal/slacksim/page/kit"},
	"internal/slacksim/page/kit":           {},
	"internal/slacksim/pagetest":           {},
	"internal/store":                       {"incidents", "incidents/outreach", "incidents/postmortem", "runbooks", "runbooks/engine", "internal/access", "internal/alert", "internal/deployment", "internal/dispatch", "internal/fault", "internal/feed", "internal/inbox", "internal/outbox"},
	"internal/store/storetest":             {"incidents", "incidents/postmortem", "internal/store", "runbooks", "runbooks/engine", "internal/access", "internal/alert", "internal/deployment", "internal/dispatch", "internal/fault", "internal/inbox", "internal/outbox"},
}

// guarded foreign modules may be imported by the named packages alone: so a
// move to another SDK touches one place.
var guarded = map[string][]string{
	"github.com/slack-go/slack":               {"bot", "bot/blocks"},
	"github.com/redis/go-redis":               {"internal/actions/redis", "internal/patient", "internal/patient/api", "internal/patient/compose"},
	"github.com/jackc/pgx":                    {"internal/actions/postgres", "internal/store", "internal/store/storetest", "internal/patient/api", "internal/patient/compose"},
	"modernc.org/sqlite":                      {"internal/store", "internal/store/storetest"},
	"github.com/docker/docker":                {"internal/actions/docker"},
	"github.com/coder/websocket":              {"internal/slacksim"},
	"github.com/expr-lang/expr":               {"runbooks"},
	"github.com/alicebob/miniredis":           {"internal/patient"},
	"github.com/prometheus/client_golang/api": {"internal/actions/web"},
	"github.com/prometheus/common/expfmt":     {"internal/actions/web"},
	"github.com/spf13/cobra":                  {"cmd/opsbot"},
	"github.com/pressly/goose":                {"internal/store"},
	"github.com/yuin/goldmark":                {"runbooks"},
	"github.com/wcharczuk/go-chart":           {"incidents/stats"},
}

// violations reads the sources themselves: asking the go command would pass on
// code that does not build, out of the test cache. Tests may import anything.
func violations(t *testing.T, tree fs.FS) (found []string, files int) {
	t.Helper()
	documented := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		files++
		pkg := filepath.ToSlash(filepath.Dir(path))
		documented[pkg] = documented[pkg] || file.Doc != nil
		ours, known := allowed[pkg]
		if !known {
			found = append(found, path+": package "+pkg+" has no place in the table of imports")
			return nil
		}
		for _, spec := range file.Imports {
			target := strings.Trim(spec.Path.Value, `"`)
			if inner, is := strings.CutPrefix(target, module); is {
				if !slices.Contains(ours, inner) && !slices.Contains(ours, "*") {
					found = append(found, path+": "+pkg+" may not import "+inner)
				}
			}
			for prefix, owners := range guarded {
				if strings.HasPrefix(target, prefix) && !slices.Contains(owners, pkg) {
					found = append(found, path+": "+pkg+" may not import "+target)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, has := range documented {
		if !has {
			found = append(found, pkg+": no package comment")
		}
	}
	return found, files
}

func TestImports(t *testing.T) {
	t.Parallel()
	found, files := violations(t, os.DirFS(".."))
	if files < 20 {
		t.Fatalf("saw only %d files: the test looks at the wrong place", files)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// A rule that cannot fail is no rule.
func TestImportsSeesViolations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, text, want string }{
		"inner import":       {"commands/x.go", "// Package commands.\npackage commands\nimport _ \"opsbot/bot\"", "commands/x.go: commands may not import bot"},
		"foreign import":     {"commands/x.go", "// Package commands.\npackage commands\nimport _ \"github.com/slack-go/slack\"", "commands/x.go: commands may not import github.com/slack-go/slack"},
		"unknown package":    {"util/x.go", "// Package util.\npackage util", "util/x.go: package util has no place in the table of imports"},
		"no package comment": {"bot/x.go", "package bot", "bot: no package comment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, _ := violations(t, fstest.MapFS{c.path: {Data: []byte(c.text)}})
			if !slices.Contains(found, c.want) {
				t.Errorf("found %q, want %q among it", found, c.want)
			}
		})
	}
}
