package traffic_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"opsbot/internal/patient/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every request that reached the server is in the count, as what it became;
// also those that were under way when the load was stopped.
func TestCountsEverything(t *testing.T) {
	t.Parallel()
	var served, good, bad, cut atomic.Int64
	held := make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" || r.URL.Path != "/api/v1/reconciliation/status" {
			t.Errorf("asked for %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		n := served.Add(1)
		switch n % 4 {
		case 0:
			bad.Add(1)
			http.Error(w, "no", http.StatusBadGateway)
			return
		case 1: // an answer that breaks off
			cut.Add(1)
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
			return
		}
		good.Add(1)
		w.Header().Set("X-Instance", "i1")
		w.Header().Set("X-Version", "v1")
		w.Header().Set("X-Cache", "hit")
		if n >= 60 {
			once.Do(func() { close(held) })
			time.Sleep(100 * time.Millisecond) // is answered after Stop was called
		}
	}))
	defer server.Close()
	users := []string{"u1", "u2", "u3"}
	l := traffic.Start(traffic.Options{URL: server.URL, Token: "token", Users: users, Pace: time.Millisecond, Fresh: true})
	<-held
	c := l.Stop()
	if again := l.Stop(); again.Sent != c.Sent {
		t.Errorf("stopped, it goes on: %d, then %d", c.Sent, again.Sent)
	}
	want := int(served.Load())
	if c.Sent != want || c.Failed != int(bad.Load()+cut.Load()) || c.Codes[502] != int(bad.Load()) || c.Codes[200] != int(good.Load()+cut.Load()) {
		t.Errorf("%+v; the server saw %d: %d good, %d bad, %d cut off", c, want, good.Load(), bad.Load(), cut.Load())
	}
	if c.Instances["i1"] != int(good.Load()) || c.Versions["v1"] != int(good.Load()) || c.Cache["hit"] != int(good.Load()) {
		t.Errorf("%+v, of %d good answers", c, good.Load())
	}
	if len(c.Failures) != 20 {
		t.Errorf("%d failures are told", len(c.Failures))
	}
	if n := len(l.Since(time.Time{})); n != int(good.Load()) {
		t.Errorf("%d times of %d good answers", n, good.Load())
	}
	if n := len(l.Since(time.Now().Add(time.Hour))); n != 0 {
		t.Errorf("%d answers from the future", n)
	}
}

// A server that is not there fails every request, and that is counted too.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	l := traffic.Start(traffic.Options{URL: server.URL, Users: []string{"u1"}, Pace: time.Millisecond})
	deadline := time.After(time.Minute)
	for l.Count().Sent < 10 {
		select {
		case <-deadline:
			t.Fatal("nothing is sent")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if c := l.Stop(); c.Failed != c.Sent || c.Codes[0] != c.Sent {
		t.Errorf("%+v", c)
	}
}
