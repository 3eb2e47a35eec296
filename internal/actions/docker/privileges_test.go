package docker_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"opsbot/internal/actions/docker"
	"opsbot/internal/fault"
)

// documented reads the requests that the document grants, by block.
func documented(t *testing.T) map[string][]*regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../../../docs/connections/docker.md")
	if err != nil {
		t.Fatal(err)
	}
	grants := map[string][]*regexp.Regexp{}
	for _, block := range regexp.MustCompile("(?s)```text ([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[2]) {
			method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
			grants[block[1]] = append(grants[block[1]], regexp.MustCompile("^"+method+" (/v1\\.[0-9]+)?"+path+"$"))
		}
	}
	return grants
}

// filtered is a proxy of the engine that lets only these requests pass.
func filtered(t *testing.T, grants ...[]*regexp.Regexp) (address string, refusals func() []string) {
	t.Helper()
	address, refusals, _ = counted(t, grants...)
	return address, refusals
}

// counted is filtered, and tells what passed, too.
func counted(t *testing.T, grants ...[]*regexp.Regexp) (address string, refusals, passed func() []string) {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "docker"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			network, at, _ := strings.Cut(host(), "://")
			return d.DialContext(ctx, network, at)
		}},
		FlushInterval: -1,
	}
	var mu sync.Mutex
	var refused, let []string
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, list := range grants {
			for _, g := range list {
				if g.MatchString(r.Method + " " + r.URL.Path) {
					mu.Lock()
					let = append(let, r.Method+" "+r.URL.Path)
					mu.Unlock()
					proxy.ServeHTTP(w, r)
					return
				}
			}
		}
		mu.Lock()
		refused = append(refused, r.Method+" "+r.URL.Path)
		mu.Unlock()
		http.Error(w, `{"message":"the proxy refuses this"}`, http.StatusForbidden)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	told := func(list *[]string) func() []string {
		return func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(*list)
		}
	}
	return "tcp://" + l.Addr().String(), told(&refused), told(&let)
}

// What the document grants is enough, and less is said.
func TestDocumentedPrivileges(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	p.start("api", 1, []string{"serve"})
	p.start("db", 1, nil, withTools(t))
	grants := documented(t)
	for _, name := range []string{"read", "exec", "act", "run"} {
		if len(grants[name]) == 0 {
			t.Fatalf("the document grants nothing for %s", name)
		}
	}
	change := func(address string) func(*docker.Config) {
		return func(c *docker.Config) {
			c.Host = address
			c.Registries = []string{"127.0.0.1:1/acme"}
			c.Exec = map[string]docker.Command{"look": {Service: "db", Argv: []string{"sh", "-c", ":"}}}
			c.Templates = map[string]docker.Template{"once": {Service: "api", Argv: []string{"exit", "0"}}, "green": {Service: "api", Port: 8000}}
		}
	}

	address, refusals := filtered(t, grants["read"])
	reader := p.open(change(address))
	look := map[string]any{"service": "api"}
	do[docker.Info](t, reader, "docker.info", nil)
	do[docker.Services](t, reader, "docker.ps", nil)
	do[docker.Log](t, reader, "docker.logs", look)
	do[docker.Load](t, reader, "docker.stats", look)
	do[docker.Presence](t, reader, "docker.env", map[string]any{"service": "api", "keys": []any{"A"}})
	do[docker.Deployment](t, reader, "docker.images", nil)
	do[docker.Evidence](t, reader, "docker.evidence", look)
	if _, err := preview(t, reader, "docker.restart", look); err != nil {
		t.Errorf("preview: %v", err)
	}
	if r := refusals(); len(r) > 0 {
		t.Errorf("the document does not grant %q", r)
	}
	_, _, err := try(t, reader, "docker.restart", look)
	refused(t, err, fault.Forbidden, "does not allow", "proxy")
	_, _, err = try(t, reader, "docker.exec", map[string]any{"command": "look"})
	refused(t, err, fault.Forbidden, "does not allow")

	address, refusals = filtered(t, grants["read"], grants["exec"], grants["act"], grants["run"])
	actor := p.open(change(address))
	do[docker.Executed](t, actor, "docker.exec", map[string]any{"command": "look"})
	do[docker.Disk](t, actor, "docker.disk", map[string]any{"service": "db"})
	do[docker.Restarted](t, actor, "docker.restart", look)
	do[docker.Restarted](t, actor, "docker.stop", map[string]any{"service": "api", "signal": "SIGQUIT"})
	do[docker.Restarted](t, actor, "docker.start", look)
	do[docker.Ran](t, actor, "docker.run", map[string]any{"template": "once"})
	do[docker.Ran](t, actor, "docker.run", map[string]any{"template": "green"})
	do[docker.Removed](t, actor, "docker.remove", look)
	ref, err := puppet()
	if err != nil {
		t.Fatal(err)
	}
	do[docker.Pulled](t, actor, "docker.pull", map[string]any{"image": ref})
	_, _, err = try(t, actor, "docker.pull", map[string]any{"image": "127.0.0.1:1/acme/api:v1"})
	refused(t, err, fault.Unavailable, "pull 127.0.0.1:1/acme/api:v1") // the registry, not the filter
	if r := refusals(); len(r) > 0 {
		t.Errorf("the document does not grant %q", r)
	}
}

// What the document grants to Compose besides the rest is enough, and nothing
// of it is too much.
func TestDocumentedPrivilegesOfCompose(t *testing.T) {
	t.Parallel()
	grants := documented(t)
	address, refusals, passed := counted(t, grants["read"], grants["act"], grants["run"], grants["compose"])
	p, env := composed(t, func(c *docker.Config) { c.Host = address })
	api := map[string]any{"service": "api"}
	do[docker.ComposeConfig](t, p.conn, "compose.config", map[string]any{"keys": []any{"TOKEN"}})
	if _, err := preview(t, p.conn, "compose.up", nil); err != nil {
		t.Errorf("preview: %v", fault.Say(err))
	}
	do[docker.Up](t, p.conn, "compose.up", map[string]any{"services": []any{"api", "db"}})
	do[docker.Up](t, p.conn, "compose.up", map[string]any{"service": "api", "recreate": true})
	do[docker.Scaled](t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 2})
	do[docker.Scaled](t, p.conn, "compose.scale", map[string]any{"service": "api", "replicas": 1})
	do[docker.Restarted](t, p.conn, "docker.stop", api)
	do[docker.Up](t, p.conn, "compose.start", api)
	if _, err := preview(t, p.conn, "compose.down", nil); err != nil {
		t.Errorf("preview: %v", fault.Say(err))
	}
	do[docker.Down](t, p.conn, "compose.down", nil)
	// One that has to be fetched first, from nowhere.
	text, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	write(t, env, string(text)+"API_IMAGE=127.0.0.1:1/acme/api\n")
	_, _, err = try(t, p.conn, "compose.up", api)
	refused(t, err, fault.Unavailable, "127.0.0.1:1")
	write(t, env, string(text))
	if r := refusals(); len(r) > 0 {
		t.Errorf("the document does not grant %q", r)
	}
	for _, g := range grants["compose"] {
		if !slices.ContainsFunc(passed(), g.MatchString) {
			t.Errorf("the document grants %s, which nothing needs", g)
		}
	}
}
