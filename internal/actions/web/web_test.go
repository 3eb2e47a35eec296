package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"opsbot/internal/actions/web"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "hunter2-canary"

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, c web.Config) *web.Conn {
	t.Helper()
	conn, err := web.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func action(t *testing.T, name string) runbooks.Action {
	t.Helper()
	for _, a := range web.Actions() {
		if a.Spec().Name == name {
			return a
		}
	}
	t.Fatalf("no action %s", name)
	return nil
}

// run decodes the arguments as the engine does, and runs the action.
func run(t *testing.T, ctx context.Context, name string, conn runbooks.Connection, with map[string]any) (any, string, error) {
	t.Helper()
	a := action(t, name)
	args, err := runbooks.DecodeArgs(a.Spec(), with)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r, err := a.Run(ctx, runbooks.Call{Run: "r1", Step: "s1", Target: runbooks.Target{Name: "api", Kind: "http", Conn: conn}, Args: args}, &out)
	if err != nil && strings.Contains(err.Error()+out.String(), canary) {
		t.Errorf("%s: the token is in %v or %s", name, err, out.String())
	}
	return r, out.String(), err
}

// A new action is one file and one line in Actions.
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
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "Spec" && f.Recv != nil {
				declared = append(declared, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	var listed []string
	for _, a := range web.Actions() {
		listed = append(listed, reflect.TypeOf(a).Name())
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if len(declared) == 0 || !slices.Equal(declared, listed) {
		t.Errorf("Actions() = %v, the files declare %v", listed, declared)
	}
	if _, err := runbooks.NewCatalog(web.Actions()); err != nil {
		t.Error(err)
	}
	for _, a := range web.Actions() {
		if _, ok := a.Spec().Result.(interface{ Found() string }); !ok {
			t.Errorf("%s has a result that cannot say what was found", a.Spec().Name)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "localhost:8000", "ftp://host", "http://", "http://u:" + canary + "@host", "http://host/?key=" + canary, "http://host/%zz"} {
		if _, err := web.Open(web.Config{BaseURL: base, Token: canary}); fault.KindOf(err) != fault.Invalid || strings.Contains(fault.Say(err), canary) {
			t.Errorf("Open(%q) = %v", base, err)
		}
	}
	c := open(t, web.Config{BaseURL: "https://api.example:8443/app", Token: canary})
	if id, err := c.Identity(t.Context()); err != nil || id != "https://api.example:8443/app" || c.Address() != "http "+id {
		t.Errorf("Identity() = %q, %v; Address() = %q", id, err, c.Address())
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/base/ready":
			_, _ = io.WriteString(w, `{"status":"ready","checks":{"db":"ready","redis":"ready"},"n":3,"list":[{"ok":true},{"ok":false}]}`)
		case "/base/private":
			if r.Header.Get("Authorization") != "Bearer "+canary {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/base/moved":
			http.Redirect(w, r, "/base/ready", http.StatusFound)
		case "/base/away":
			http.Redirect(w, r, elsewhere.URL+"/base/ready", http.StatusFound)
		case "/base/round":
			http.Redirect(w, r, "/base/round", http.StatusFound)
		case "/base/large":
			_, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20))
		case "/base/a b":
			_, _ = io.WriteString(w, r.URL.RawQuery)
		case "/base/cut":
			w.Header().Set("Content-Length", "100")
		default:
			http.NotFound(w, r)
		}
	})
	conn := open(t, web.Config{BaseURL: s.URL + "/base/", Token: canary})
	for _, c := range []struct {
		name string
		with map[string]any
		code int // 0: an error
		kind fault.Kind
		says string
	}{
		{"OK", map[string]any{"path": "/ready"}, 200, "", ""},
		{"Fields", map[string]any{"path": "/ready", "json": map[string]any{"status": "ready", "checks.*": "ready", "n": 3, "list.0.ok": true}}, 200, "", ""},
		{"Escaped", map[string]any{"path": "/a%20b?x=%2F"}, 200, "", ""},
		{"Token", map[string]any{"path": "/private"}, 200, "", ""},
		{"WithoutToken", map[string]any{"path": "/private", "auth": false, "code": 401}, 401, "", ""},
		{"AnyCode", map[string]any{"path": "/nothing", "code": 0}, 404, "", ""},
		{"SameHost", map[string]any{"path": "/moved"}, 200, "", ""},
		{"Large", map[string]any{"path": "/large"}, 200, "", ""},
		{"WrongCode", map[string]any{"path": "/nothing"}, 0, fault.Conflict, "answered 404, not 200."},
		{"WrongField", map[string]any{"path": "/ready", "json": map[string]any{"list.*.ok": true}}, 0, fault.Conflict, "list.1.ok is false, not true."},
		{"NoField", map[string]any{"path": "/ready", "json": map[string]any{"check.*": "ready"}}, 0, fault.Conflict, `check.* is missing, not "ready".`},
		{"NoJSON", map[string]any{"path": "/a%20b", "json": map[string]any{"x": 1}}, 0, fault.Conflict, "did not answer with JSON"},
		{"LargeJSON", map[string]any{"path": "/large", "json": map[string]any{"x": 1}}, 0, fault.Conflict, "more than 1 MiB"},
		{"OtherHost", map[string]any{"path": "/away"}, 0, fault.Conflict, "to another host"},
		{"Round", map[string]any{"path": "/round"}, 0, fault.Unavailable, "could not be asked"},
		{"Cut", map[string]any{"path": "/cut"}, 0, fault.Unavailable, "closed the connection"},
		{"AbsoluteURL", map[string]any{"path": elsewhere.URL}, 0, fault.Invalid, "is not a path"},
		{"HostInPath", map[string]any{"path": "//" + strings.TrimPrefix(elsewhere.URL, "http://")}, 0, fault.Invalid, "is not a path"},
		{"Upwards", map[string]any{"path": "/../ready"}, 0, fault.Invalid, "segment of dots"},
		{"UpwardsEscaped", map[string]any{"path": "/%2e%2e/ready"}, 0, fault.Invalid, "segment of dots"},
		{"Userinfo", map[string]any{"path": "@evil.example/"}, 0, fault.Invalid, "is not a path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _, err := run(t, t.Context(), "http.get", conn, c.with)
			if c.code == 0 {
				if fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.says) {
					t.Errorf("http.get = %v %q, want %s %q\ncause: %v", fault.KindOf(err), fault.Say(err), c.kind, c.says, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := r.(web.Got); got.Code != c.code || got.MS <= 0 || !strings.HasPrefix(got.Found(), fmt.Sprint(c.code)) {
				t.Errorf("http.get = %+v", got)
			}
		})
	}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	found, err := open(t, web.Config{BaseURL: s.URL + "/api"}).Examine(t.Context())
	if err != nil || len(found) != 1 || found[0].Bad || !strings.HasPrefix(found[0].Says, "404 in ") {
		t.Errorf("Examine = %+v, %v", found, err)
	}
	if _, err := open(t, web.Config{BaseURL: "http://127.0.0.1:1"}).Examine(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Examine of a dead service = %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	slow := serve(t, func(http.ResponseWriter, *http.Request) { <-stuck })
	t.Cleanup(func() { close(stuck) })
	for _, c := range []struct {
		base, says string
		within     time.Duration
	}{
		{"http://127.0.0.1:1", "127.0.0.1:1 refused the connection.", time.Minute},
		{"http://no-such-host.invalid", "could not be found", time.Minute},
		{slow.URL, "did not answer in time", 500 * time.Millisecond},
		{strings.Replace(slow.URL, "http:", "https:", 1), "TLS", time.Minute},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.within)
		defer cancel()
		_, _, err := run(t, ctx, "http.get", open(t, web.Config{BaseURL: c.base, Token: canary}), map[string]any{"path": "/"})
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), c.says) {
			t.Errorf("%s: %q, want %q (%v)", c.base, fault.Say(err), c.says, err)
		}
	}
}

func TestWarm(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	flying, most := 0, 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		user := r.URL.Query().Get("user")
		seen[r.Method+" "+user]++
		flying++
		most = max(most, flying)
		mu.Unlock()
		defer func() {
			mu.Lock()
			flying--
			mu.Unlock()
		}()
		if r.Header.Get("Authorization") != "Bearer "+canary || user == "u3" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("# warm these\nu1\n\n u2 \na&b=c/ü\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	many := strings.TrimSuffix(strings.Repeat("u,", 201), ",")
	path := "/status?user={user}"
	conn := open(t, web.Config{BaseURL: s.URL, Token: canary, Lists: map[string]web.List{
		"given": {Path: path, User: "u1, u2,u3 ,u4"}, "file": {Path: path, User: "file:" + file}, "one": {Path: "/status?user=solo"},
		"many": {Path: path, User: many}, "none": {Path: path, User: " , "}, "gone": {Path: path, User: "file:" + file + ".gone"},
	}})
	warm := func(list string) (any, string, error) {
		return run(t, t.Context(), "http.warm", conn, map[string]any{"list": list, "rps": 50, "concurrency": 2})
	}
	got, _, err := warm("file")
	if d := cmp.Diff(web.Warmed{OK: 3}, got); err != nil || d != "" {
		t.Errorf("warm file: %v\n%s", err, d)
	}
	if d := cmp.Diff(map[string]int{"GET u1": 1, "GET u2": 1, "GET a&b=c/ü": 1}, seen); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	got, out, err := warm("given")
	want := web.Warmed{OK: 3, Failed: 1, FirstFailed: "GET /status?user=u3 answered 503"}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("warm given: %v\n%s", err, d)
	}
	if found := got.(web.Warmed).Found(); !strings.Contains(out, found) || found != "1 of 4 requests failed, the first: GET /status?user=u3 answered 503" {
		t.Errorf("output %q, found %q", out, found)
	}
	if got, _, err := warm("one"); err != nil || got.(web.Warmed).OK != 1 {
		t.Errorf("warm one = %v, %v", got, err)
	}
	if most > 2 {
		t.Errorf("%d requests at a time, want at most 2", most)
	}
	for list, kind := range map[string]fault.Kind{"many": fault.Invalid, "none": fault.Invalid, "gone": fault.Invalid, "unknown": fault.NotFound} {
		if _, _, err := warm(list); fault.KindOf(err) != kind {
			t.Errorf("warm %s = %v, want %s", list, err, kind)
		}
	}
}

func TestWarmGivesUpAndStops(t *testing.T) {
	t.Parallel()
	lists := map[string]web.List{"l": {Path: "/{user}", User: strings.TrimSuffix(strings.Repeat("u,", 200), ",")}}
	dead := open(t, web.Config{BaseURL: "http://127.0.0.1:1", Lists: lists})
	_, out, err := run(t, t.Context(), "http.warm", dead, map[string]any{"list": "l", "rps": 50})
	if fault.KindOf(err) != fault.Unavailable || strings.Count(out, "refused") > 5 {
		t.Errorf("warming a dead service = %v after %q", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == 3 {
			cancel()
		}
	})
	_, _, err = run(t, ctx, "http.warm", open(t, web.Config{BaseURL: s.URL, Lists: lists}), map[string]any{"list": "l", "rps": 50})
	if !errors.Is(err, context.Canceled) || asked.Load() > 6 {
		t.Errorf("canceled warming = %v after %d requests", err, asked.Load())
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch i := n.Add(1); {
		case r.URL.Path == "/bad" || i%5 == 0:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	conn := open(t, web.Config{BaseURL: s.URL})
	r, _, err := run(t, t.Context(), "http.measure", conn, map[string]any{"path": "/", "n": 50, "warmup": 5, "concurrency": 4})
	if err != nil {
		t.Fatal(err)
	}
	got := r.(web.Latency)
	if got.Failed != 10 || got.Codes["200"] != 40 || got.Codes["500"] != 10 || n.Load() != 55 {
		t.Errorf("measure = %+v after %d requests", got, n.Load())
	}
	if got.P50 == nil || *got.P50 <= 0 || *got.P95 < *got.P50 || *got.P99 < *got.P95 || *got.Max < *got.P99 {
		t.Errorf("percentiles = %s", got.Found())
	}
	r, _, err = run(t, t.Context(), "http.measure", conn, map[string]any{"path": "/bad", "n": 4})
	if got := r.(web.Latency); err != nil || got.P50 != nil || got.Found() != "no data: all 4 requests failed (500: 4)" {
		t.Errorf("measure = %s, %v", got.Found(), err)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	back, err := runbooks.DecodeResult(action(t, "http.measure").Spec(), data)
	if d := cmp.Diff(got, back); err != nil || d != "" {
		t.Errorf("the result does not survive JSON: %v\n%s", err, d)
	}
}
