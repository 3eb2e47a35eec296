package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"opsbot/internal/actions/web"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// shop is a service with a token, that is healthy unless ill.
func shop(t *testing.T, ill bool) *web.Conn {
	t.Helper()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/status" && r.Header.Get("Authorization") != "Bearer "+canary && !ill:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/health":
			status := map[bool]string{false: "healthy", true: "ill"}[ill]
			_ = json.NewEncoder(w).Encode(map[string]any{"status": status})
		}
	})
	return open(t, web.Config{BaseURL: s.URL, Token: canary})
}

func smokeCases() map[string]any {
	return map[string]any{"cases": []any{
		map[string]any{"path": "/health", "json": map[string]any{"status": "healthy"}},
		map[string]any{"name": "no token", "path": "/status", "auth": "none", "code": 401},
		map[string]any{"name": "wrong token", "path": "/status", "auth": "wrong", "code": 401},
		map[string]any{"name": "token", "path": "/status"},
	}}
}

func TestSmoke(t *testing.T) {
	t.Parallel()
	r, out, err := run(t, t.Context(), "http.smoke", shop(t, false), smokeCases())
	want := web.Smoked{Passed: 4, Cases: []web.Outcome{
		{Name: "/health", Want: "200", Got: "200", OK: true}, {Name: "no token", Want: "401", Got: "401", OK: true},
		{Name: "wrong token", Want: "401", Got: "401", OK: true}, {Name: "token", Want: "200", Got: "200", OK: true},
	}}
	if d := cmp.Diff(want, r, cmpopts.IgnoreFields(web.Outcome{}, "MS")); err != nil || d != "" {
		t.Errorf("smoke: %v\n%s", err, d)
	}
	if strings.Count(out, "as expected") != 4 || strings.Contains(out, canary) {
		t.Errorf("output = %q", out)
	}

	// A door that stands open is a failure, and so is a wrong field.
	r, _, err = run(t, t.Context(), "http.smoke", shop(t, true), smokeCases())
	got, _ := r.(web.Smoked)
	if fault.KindOf(err) != fault.Conflict || got.Failed != 3 || got.Passed != 1 {
		t.Errorf("smoke of an ill one = %+v, %v", got, err)
	}
	if says := got.Found(); says != `3 of 4 cases failed: /health: 200 and status is "ill", not "healthy", not 200; no token: 200, not 401; wrong token: 200, not 401` {
		t.Errorf("Found() = %q", says)
	}

	r, _, err = run(t, t.Context(), "http.smoke", open(t, web.Config{BaseURL: "http://127.0.0.1:1", Token: canary}), smokeCases())
	if got, _ := r.(web.Smoked); fault.KindOf(err) != fault.Conflict || got.Failed != 4 || !strings.Contains(got.Cases[0].Got, "refused the connection") {
		t.Errorf("smoke of a dead one = %+v, %v", got, err)
	}
}

func TestSmokeRefused(t *testing.T) {
	t.Parallel()
	conn := open(t, web.Config{BaseURL: "http://127.0.0.1:1"})
	for says, c := range map[string]map[string]any{
		"takes 1 to 50 cases":           nil,
		"is not a path":                 {"path": "http://elsewhere/"},
		"token, none or wrong":          {"path": "/", "auth": "mine"},
		"wants a token":                 {"path": "/", "auth": "token"},
		"is a status from 100 to 599":   {"path": "/", "code": 99},
		"The path \"/../x\" has a segm": {"path": "/../x"},
	} {
		cases := []any{}
		if c != nil {
			cases = append(cases, c)
		}
		if _, _, err := run(t, t.Context(), "http.smoke", conn, map[string]any{"cases": cases}); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), says) {
			t.Errorf("%v: %v, want %q", c, err, says)
		}
	}
}

// Behind a proxy, only new connections say who answers.
func TestMeasureInstances(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	connections := map[string]bool{}
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		connections[r.RemoteAddr] = true
		if n++; n%2 == 0 {
			w.Header().Set("X-Instance", "green")
		} else {
			w.Header().Set("X-Instance", "blue")
		}
	})
	conn := open(t, web.Config{BaseURL: s.URL})
	with := map[string]any{"path": "/", "n": 10, "warmup": 0, "header": "X-Instance", "fresh": true}
	r, _, err := run(t, t.Context(), "http.measure", conn, with)
	if err != nil {
		t.Fatal(err)
	}
	got := r.(web.Latency)
	if d := cmp.Diff(map[string]int{"green": 5, "blue": 5}, got.Seen); d != "" || !strings.Contains(got.Found(), ", answered by blue: 5, green: 5") {
		t.Errorf("seen (-want +got):\n%s%s", d, got.Found())
	}
	if len(connections) != 10 {
		t.Errorf("%d connections for 10 requests", len(connections))
	}
	clear(connections)
	with["fresh"] = false
	if _, _, err := run(t, t.Context(), "http.measure", conn, with); err != nil || len(connections) != 1 {
		t.Errorf("%d connections where one would do, %v", len(connections), err)
	}
	with["header"] = "X-Nothing"
	if r, _, err := run(t, t.Context(), "http.measure", conn, with); err != nil || r.(web.Latency).Seen["none"] != 10 {
		t.Errorf("seen = %+v, %v", r, err)
	}
}

// What the new actions return reads the same from the journal.
func TestResultsSurviveJSON(t *testing.T) {
	t.Parallel()
	half := 0.5
	for name, result := range map[string]any{
		"http.smoke":     web.Smoked{Passed: 1, Cases: []web.Outcome{{Name: "a", Want: "200", Got: "200", MS: 1.5, OK: true}}},
		"metrics.scrape": web.Scrape{Requests: &half, Rate: map[string]float64{"200": 0.5}, Gauges: map[string]float64{}, Replicas: []web.Replica{{Address: "a", Ratio5xx: &half}}, Missing: []string{}},
		"prometheus.query": web.Query{Value: &half, Series: []web.Series{{Labels: map[string]string{"job": "api"}, Value: &half,
			Points: []web.Point{}}}, Warnings: []string{}},
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
