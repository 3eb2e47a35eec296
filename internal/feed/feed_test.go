package feed_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/feed"
)

var update = flag.Bool("update", false, "write the golden files")

var day = time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC)

func example() feed.Feed {
	return feed.Feed{Title: "Acme status", URL: "https://status.example.com", Incidents: []feed.Incident{
		{Number: 8, Severity: "SEV2", Active: true, Updates: []feed.Update{
			{ID: "01994f6e-0000-7000-8000-000000000004", Word: "Identified", Text: "We know what is wrong & work on a fix.\nNext update by 14:30 UTC.", At: day.Add(10 * time.Minute)},
			{ID: "01994f6e-0000-7000-8000-000000000003", Word: "Investigating", Text: "Some pages load slowly. We are looking into it.", At: day},
		}},
		{Number: 7, Severity: "SEV1", Updates: []feed.Update{
			{ID: "01994f6e-0000-7000-8000-000000000002", Word: "Resolved", Text: "Orders work again.", At: day.Add(-20 * time.Hour)},
			{ID: "01994f6e-0000-7000-8000-000000000001", Word: "Investigating", Text: "Orders fail for all of our <b>customers</b>", At: day.Add(-21 * time.Hour)},
		}},
	}}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	golden(t, "status.json", example().JSON())
	golden(t, "status.atom", example().Atom())
	golden(t, "empty.json", feed.Feed{}.JSON())
	golden(t, "empty.atom", feed.Feed{}.Atom())
}

// What RFC 4287 asks of a feed and its entries (sections 4.1.1 and 4.1.2).
type parsed struct {
	XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
	ID      []string `xml:"http://www.w3.org/2005/Atom id"`
	Title   []string `xml:"http://www.w3.org/2005/Atom title"`
	Updated []string `xml:"http://www.w3.org/2005/Atom updated"`
	Author  []struct {
		Name string `xml:"name"`
	} `xml:"author"`
	Entries []struct {
		ID      []string `xml:"id"`
		Title   []string `xml:"title"`
		Updated []string `xml:"updated"`
		Content struct {
			Type string `xml:"type,attr"`
			Text string `xml:",chardata"`
		} `xml:"content"`
	} `xml:"entry"`
}

func check(t *testing.T, atom []byte) parsed {
	t.Helper()
	var p parsed
	if err := xml.Unmarshal(atom, &p); err != nil {
		t.Fatalf("%v\n%s", err, atom)
	}
	one := func(what string, list []string) string {
		if len(list) != 1 || strings.TrimSpace(list[0]) == "" {
			t.Errorf("%s: %q, want exactly one", what, list)
			return ""
		}
		return list[0]
	}
	date := func(what string, list []string) {
		if v := one(what, list); v != "" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if !strings.HasPrefix(one("id", p.ID), "urn:uuid:") || len(p.Author) != 1 || p.Author[0].Name == "" {
		t.Errorf("feed %+v", p)
	}
	one("title", p.Title)
	date("updated", p.Updated)
	ids := map[string]bool{}
	for _, e := range p.Entries {
		if id := one("entry id", e.ID); ids[id] {
			t.Errorf("two entries have the id %s", id)
		} else {
			ids[id] = true
		}
		one("entry title", e.Title)
		date("entry updated", e.Updated)
		if e.Content.Type != "text" {
			t.Errorf("content %+v", e.Content)
		}
	}
	return p
}

func TestAtomIsValid(t *testing.T) {
	t.Parallel()
	check(t, feed.Feed{}.Atom())
	p := check(t, example().Atom())
	if len(p.Entries) != 4 || p.Entries[3].Content.Text != "Orders fail for all of our <b>customers</b>" {
		t.Errorf("entries %+v", p.Entries)
	}
	// Ids stay whatever else changes.
	later := example()
	later.Title, later.Incidents[0].Updates[0].Text = "Another name", "corrected"
	if q := check(t, later.Atom()); q.ID[0] != p.ID[0] || q.Entries[0].ID[0] != p.Entries[0].ID[0] {
		t.Errorf("ids changed: %v, %v", q.ID, p.ID)
	}
}

func FuzzFeed(f *testing.F) {
	f.Add("Acme", "We know. It is \x00 bad ]]> &amp; <x> \u202e", "Resolved")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, title, text, word string) {
		if !utf8.ValidString(text + title + word) {
			t.Skip() // the database holds none
		}
		e := feed.Feed{Title: title, Incidents: []feed.Incident{{Updates: []feed.Update{{ID: "01994f6e-0000-7000-8000-000000000001", Word: word, Text: text, At: day}}}}}
		var p parsed
		if err := xml.Unmarshal(e.Atom(), &p); err != nil || len(p.Entries) != 1 {
			t.Fatalf("%v\n%s", err, e.Atom())
		}
		if !json.Valid(e.JSON()) {
			t.Fatalf("%s", e.JSON())
		}
	})
}

func TestServer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	shown, broken, clock := example(), error(nil), day
	var asked atomic.Int64
	s := &feed.Server{
		Source: func(context.Context) (feed.Feed, error) {
			asked.Add(1)
			mu.Lock()
			defer mu.Unlock()
			return shown, broken
		},
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return clock },
	}
	set := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
	mux := http.NewServeMux()
	s.Register(mux)
	web := httptest.NewServer(mux)
	defer web.Close()
	ask := func(method, path string, headers ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { ask("GET", "/status.json") })
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("50 readers asked the database %d times", n)
	}
	res, body := ask("GET", "/status.atom")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/atom+xml; charset=utf-8" || body != string(example().Atom()) {
		t.Errorf("answer %d, %v", res.StatusCode, res.Header)
	}
	tag, changed := res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	if changed != "Thu, 26 Nov 2026 14:10:00 GMT" || tag == "" {
		t.Errorf("Last-Modified %q, ETag %q", changed, tag)
	}
	for _, h := range [][]string{{"If-None-Match", tag}, {"If-Modified-Since", changed}} {
		if res, body := ask("GET", "/status.atom", h...); res.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("with %v: %d %q", h, res.StatusCode, body)
		}
	}
	if res, body := ask("HEAD", "/status.json"); res.StatusCode != 200 || body != "" || res.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %d bytes", res.StatusCode, res.ContentLength)
	}
	if res, _ := ask("POST", "/status.json"); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
	// A change without an update is one all the same, once it is looked for.
	set(func() { shown.Incidents[0].Severity = "SEV1" })
	if _, body := ask("GET", "/status.json"); !strings.Contains(body, `"indicator": "major"`) {
		t.Errorf("read anew at once: %s", body)
	}
	set(func() { clock = clock.Add(time.Hour) })
	if res, body := ask("GET", "/status.json", "If-Modified-Since", changed); res.StatusCode != 200 || !strings.Contains(body, `"indicator": "critical"`) {
		t.Errorf("after the change: %d %s", res.StatusCode, body)
	}
	// A database that is away for a while does not show.
	set(func() { broken = errors.New("canary: no database"); clock = clock.Add(9 * time.Minute) })
	if res, _ := ask("GET", "/status.json"); res.StatusCode != 200 {
		t.Errorf("while the database is away: %d", res.StatusCode)
	}
	set(func() { clock = clock.Add(9 * time.Minute) })
	if res, body := ask("GET", "/status.json"); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || strings.Contains(body, "canary") {
		t.Errorf("after long: %d %q", res.StatusCode, body)
	}
}
