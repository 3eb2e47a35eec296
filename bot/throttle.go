package bot

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"sync"
	"time"
)

// openMethod hands out Socket Mode addresses. slack-go calls it again within
// milliseconds of whatever ended a socket: a Slack that answers each
// connection with too_many_websockets made it call 2,911 times in 2 s.
const openMethod = "apps.connections.open"

const (
	openGap     = time.Second      // the least time between two opens
	openGapMost = time.Minute      // what the gap grows to while no hello arrives
	crowdedWait = 30 * time.Second // after too_many_websockets: somebody else must let go first
	offWait     = 5 * time.Minute  // after link_disabled: only a person can change that
	openTimeout = 15 * time.Second // for one call
	noisyMisses = 5                // opens without a hello until the log says so loudly
)

// A throttle is the transport under slack-go's Socket Mode client. It spaces
// the calls of apps.connections.open: by a second while each socket says
// hello, by twice the last gap, up to a minute, while none does. An answer of
// 429 or 5xx, or none at all, is retried here at that same pace, because
// slack-go's own pause grows to five minutes. Other requests pass.
type throttle struct {
	next http.RoundTripper
	log  *slog.Logger
	// failed is told why an open had no useful answer.
	failed func(why string)

	mu        sync.Mutex
	last      time.Time // when the last open was sent
	misses    int       // opens since the last hello
	notBefore time.Time
}

// RoundTrip sends the request, an open not before its time.
func (t *throttle) RoundTrip(req *http.Request) (*http.Response, error) {
	if path.Base(req.URL.Path) != openMethod {
		return t.next.RoundTrip(req)
	}
	for first := true; ; first = false {
		if err := t.await(req.Context()); err != nil {
			return nil, err
		}
		if !first && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = body
		}
		resp, why := t.try(req)
		if why == "" {
			return resp, nil
		}
		if req.Context().Err() != nil {
			return nil, context.Cause(req.Context())
		}
		t.failed(why)
	}
}

// try sends one open. A reason to try again comes back as why.
func (t *throttle) try(req *http.Request) (resp *http.Response, why string) {
	ctx, cancel := context.WithTimeout(req.Context(), openTimeout)
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, "Slack cannot be reached: " + err.Error()
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		pause, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
		cancel()
		t.hold(time.Duration(pause) * time.Second)
		return nil, "Slack answers " + resp.Status + " to " + openMethod
	}
	resp.Body = &cancelBody{resp.Body, cancel}
	return resp, ""
}

// await returns when an open may be sent, and counts it as sent.
func (t *throttle) await(ctx context.Context) error {
	for {
		t.mu.Lock()
		now := time.Now()
		at := t.notBefore
		if !t.last.IsZero() {
			gap := openGap
			if t.misses > 1 {
				gap = min(openGapMost, openGap<<min(t.misses-1, 10))
			}
			if due := t.last.Add(gap); due.After(at) {
				at = due
			}
		}
		if !at.After(now) {
			t.last = now
			t.misses++
			misses := t.misses
			t.mu.Unlock()
			if misses > noisyMisses {
				t.log.Warn("Slack's socket does not come up", "opened_without_hello", misses-1)
			}
			return nil
		}
		t.mu.Unlock()
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// hello notes that a socket works.
func (t *throttle) hello() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.misses = 0
	t.notBefore = time.Time{}
}

// hold lets no open pass for d.
func (t *throttle) hold(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := time.Now().Add(d); at.After(t.notBefore) {
		t.notBefore = at
	}
}

// cancelBody ends the request's context with its body.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close closes the body and ends the request's context.
func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
