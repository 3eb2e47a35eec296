package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"opsbot/internal/actions/web"
	"opsbot/runbooks"
)

// What is filled into a path stays one segment of it, or one value of its
// query, whatever is in it: the connection's token goes along.
func TestFilledInPaths(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked.Store(r.RequestURI, true) }))
	t.Cleanup(server.Close)
	conn, err := web.Open(web.Config{BaseURL: server.URL + "/base", Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	catalog, err := runbooks.NewCatalog(web.Actions())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, x string
		want    string // that the server is asked for; "": refused
	}{
		{"/users/${{ params.x }}", "u001", "/base/users/u001"},
		{"/users/${{ params.x }}", "a/b", "/base/users/a%2Fb"},
		{"/users/${{ params.x }}", "x?admin=1", "/base/users/x%3Fadmin=1"},
		{"/users/${{ params.x }}", "x#y", "/base/users/x%23y"},
		{"/users/${{ params.x }}", "50%", "/base/users/50%25"},
		{"/users/${{ params.x }}", "%2e%2e", "/base/users/%252e%252e"},
		{"/users/${{ params.x }}", "a b", "/base/users/a%20b"},
		{"/users/${{ params.x }}", "é", "/base/users/%C3%A9"},
		{"/users/${{ params.x }}", "..", ""},
		{"/users/${{ params.x }}", "../../admin", ""},
		{"/users/${{ params.x }}/name", "a/b", "/base/users/a%2Fb/name"},
		{"/find?q=${{ params.x }}", "x&admin=1", "/base/find?q=x%26admin%3D1"},
		{"/find?q=${{ params.x }}", "a b+c", "/base/find?q=a+b%2Bc"},
		{"/find?q=${{ params.x }}", "x#y", "/base/find?q=x%23y"},
		{"/find?q=${{ params.x }}&n=1", "../a?b", "/base/find?q=..%2Fa%3Fb&n=1"},
		{"/${{ params.x }}?q=${{ params.x }}", "a/b&c", "/base/a%2Fb&c?q=a%2Fb%26c"},
		// One ${{ }} alone is the whole path.
		{"${{ params.x }}", "/api/v1/status?user=u001&n=1", "/base/api/v1/status?user=u001&n=1"},
		{"${{ '/api/' + params.x }}", "a/b", "/base/api/a/b"},
		{"${{ params.x }}", "//elsewhere/", ""},
	} {
		for _, do := range []string{"http.get", "http.measure", "http.smoke"} {
			t.Run(do+" "+c.path+" of "+c.x, func(t *testing.T) {
				with := "{ path: \"" + c.path + "\" }"
				switch do {
				case "http.measure":
					with = "{ n: 1, path: \"" + c.path + "\" }"
				case "http.smoke":
					with = "{ cases: [{ path: \"" + c.path + "\" }] }"
				}
				rb, problems := runbooks.Parse("x.md", []byte("---\nformat: 1\nrunbook: x\nowner: sre\nroles: { run: [sre] }\nuses: { api: http }\nparams: { x: { type: string, required: true } }\n---\n# X\n\nX.\n\n## 1. Get\n\n```yaml step\nid: get\ndo: "+
					do+"\nwith: "+with+"\n```\n\n## Report\n\n```markdown report\nx\n```\n"), catalog)
				if problems.Err() != nil {
					t.Fatal(problems)
				}
				given, err := runbooks.ResolveWith(rb.Step("get").With, &runbooks.Scope{Params: map[string]any{"x": c.x}})
				if err != nil {
					t.Fatal(err)
				}
				action, _ := catalog.Action(do)
				args, err := runbooks.DecodeArgs(action.Spec(), given)
				if err != nil {
					t.Fatal(err)
				}
				_, err = action.Run(t.Context(), runbooks.Call{Target: runbooks.Target{Conn: conn}, Args: args}, new(strings.Builder))
				var got []string
				asked.Range(func(uri, _ any) bool {
					got = append(got, uri.(string))
					return true
				})
				asked.Clear()
				if strings.Join(got, " ") != c.want || c.want == "" && err == nil {
					t.Errorf("the server is asked for %q (%v), want %q", got, err, c.want)
				}
			})
		}
	}
}
