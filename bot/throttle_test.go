package bot

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A script answers opens one after the other and remembers when they came.
type script struct {
	start   time.Time
	at      []time.Duration
	answers []func() (*http.Response, error)
	bodies  []string
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.at = append(s.at, time.Since(s.start))
	if req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		s.bodies = append(s.bodies, string(b))
	}
	if len(s.answers) == 0 {
		return answer(200, "")()
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next()
}

func answer(status int, retryAfter string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		h := http.Header{}
		if retryAfter != "" {
			h.Set("Retry-After", retryAfter)
		}
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, Body: io.NopCloser(strings.NewReader("{}"))}, nil
	}
}

func open(t *testing.T, rt http.RoundTripper) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://slack.com/api/apps.connections.open", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func newThrottle(s *script) *throttle {
	s.start = time.Now()
	return &throttle{next: s, log: slog.New(slog.DiscardHandler), failed: func(string) {}}
}

func seconds(at []time.Duration) (out []int) {
	for _, d := range at {
		out = append(out, int(d.Seconds()))
	}
	return out
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// A Slack that hands out sockets that never say hello: slack.md 4.2, "2,911
// opens in 2 s".
func TestThrottleStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		rt := newThrottle(s)
		for range 10 {
			if err := open(t, rt); err != nil {
				t.Fatal(err)
			}
		}
		if want := []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}; !equal(seconds(s.at), want) {
			t.Errorf("opened at %v s, want %v", seconds(s.at), want)
		}
	})
}

// Sockets that say hello and end at once are opened once a second.
func TestThrottleAfterHello(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		rt := newThrottle(s)
		for range 4 {
			if err := open(t, rt); err != nil {
				t.Fatal(err)
			}
			rt.hello()
		}
		time.Sleep(time.Hour) // of the bubble's clock: a socket that lives long
		if err := open(t, rt); err != nil {
			t.Fatal(err)
		}
		if want := []int{0, 1, 2, 3, 3603}; !equal(seconds(s.at), want) {
			t.Errorf("opened at %v s, want %v", seconds(s.at), want)
		}
	})
}

// A minute of 429, 5xx and silence is sat out inside of one call.
func TestThrottleRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func() (*http.Response, error){
			answer(429, "30"),
			answer(503, ""),
			func() (*http.Response, error) { return nil, errors.New("connection refused") },
		}}
		rt := newThrottle(s)
		if err := open(t, rt); err != nil {
			t.Fatal(err)
		}
		if want := []int{0, 30, 32, 36}; !equal(seconds(s.at), want) {
			t.Errorf("opened at %v s, want %v", seconds(s.at), want)
		}
		for i, body := range s.bodies {
			if body != "x" {
				t.Errorf("attempt %d had the body %q", i, body)
			}
		}
	})
}

func TestThrottleHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		rt := newThrottle(s)
		rt.hold(crowdedWait)
		if err := open(t, rt); err != nil {
			t.Fatal(err)
		}
		if want := []int{30}; !equal(seconds(s.at), want) {
			t.Errorf("opened at %v s, want %v", seconds(s.at), want)
		}
	})
}

func TestThrottleEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		rt := newThrottle(s)
		rt.hold(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://slack.com/api/"+openMethod, nil)
		if _, err := rt.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("RoundTrip() = %v, want the context's end", err)
		}
		if len(s.at) != 0 {
			t.Errorf("%d opens were sent", len(s.at))
		}
	})
}

func TestThrottleLetsOthersPass(t *testing.T) {
	t.Parallel()
	s := &script{}
	rt := newThrottle(s)
	rt.hold(time.Hour)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://slack.com/api/chat.postMessage", nil)
	if _, err := rt.RoundTrip(req); err != nil || len(s.at) != 1 {
		t.Errorf("RoundTrip() = %v after %d calls", err, len(s.at))
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		start := time.Now()
		var at []int
		for range 7 {
			for {
				wait := p.may("C1", false)
				if wait == 0 {
					break
				}
				time.Sleep(wait)
			}
			at = append(at, int(time.Since(start).Round(time.Millisecond).Seconds()))
		}
		if want := []int{0, 0, 0, 0, 1, 2, 3}; !equal(at, want) {
			t.Errorf("wrote at %v s, want %v", at, want)
		}
		if p.may("C2", false) != 0 {
			t.Error("another channel has to wait too")
		}
		p.rest("chat.update", 7*time.Second)
		if p.rested("chat.update") != 7*time.Second || p.rested("chat.postMessage") != 0 {
			t.Error("a rest must hold for its method alone")
		}
		time.Sleep(7 * time.Second)
		if p.rested("chat.update") != 0 {
			t.Error("the rest does not end")
		}
	})
}

// Without Retry-After the rest grows.
func TestPaceGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		var got []int
		for range 4 {
			p.rest("m", 0)
			got = append(got, int(p.rested("m").Seconds()))
		}
		if want := []int{1, 2, 4, 8}; !equal(got, want) {
			t.Errorf("rests of %v s, want %v", got, want)
		}
		time.Sleep(time.Minute)
		p.well("m")
		p.rest("m", 0)
		if p.rested("m") != time.Second {
			t.Errorf("after a success it rests for %v", p.rested("m"))
		}
	})
}
