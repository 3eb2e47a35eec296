package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"opsbot/internal/dispatch"
	"opsbot/internal/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// A place is a real server that answers as a test says.
type place struct {
	*httptest.Server
	mu      sync.Mutex
	answers []func(http.ResponseWriter, *http.Request) // used up one by one, the last one stays
	got     []request
	changed chan struct{}
}

type request struct {
	header http.Header
	body   string
}

func open(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *place {
	t.Helper()
	p := &place{answers: answers, changed: make(chan struct{}, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.got = append(p.got, request{r.Header, string(body)})
		answer := p.answers[0]
		if len(p.answers) > 1 {
			p.answers = p.answers[1:]
		}
		p.mu.Unlock()
		answer(w, r)
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *place) requests() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func says(status int, body string, headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}

func page(action string) dispatch.Page {
	return dispatch.Page{
		Action: action, Key: "0190-abc", Incident: "INC-7", Title: "API down", Severity: "SEV1", State: "Fixing", Impact: "No orders, password=hunter2",
		By: "Ann", Link: "https://acme.slack.com/archives/C1/p1", At: time.Date(2026, 11, 26, 14, 5, 0, 0, time.UTC),
	}
}

func parcelOf(t *testing.T, p dispatch.Page, place string) dispatch.Parcel {
	t.Helper()
	out, err := p.Parcel(place, "1")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWebhookIsSigned(t *testing.T) {
	t.Parallel()
	to := open(t, says(201, `{"url":"https://status.example.com/7"}`))
	parcel := parcelOf(t, page(dispatch.Trigger), "pagers.noc")
	link, err := dispatch.Webhook{URL: to.URL + "/hook?token=canary", Secret: "s3cret", Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}.Carry(t.Context(), parcel)
	if err != nil || link != "https://status.example.com/7" {
		t.Fatalf("Carry() = %q, %v", link, err)
	}
	r := to.requests()[0]
	if want := dispatch.Sign("s3cret", "1800000000", []byte(r.body)); r.header.Get("X-Opsbot-Signature") != want || r.header.Get("X-Opsbot-Timestamp") != "1800000000" {
		t.Errorf("headers = %v", r.header)
	}
	// printf '1.The quick brown fox' | openssl dgst -sha256 -hmac key
	if got := dispatch.Sign("key", "1", []byte("The quick brown fox")); got != "v1=1ef269d2a2a1f8d397e0e25c3e3013fb5687509234565e6e49ea45a138768457" {
		t.Errorf("Sign() = %s", got)
	}
	if got := r.header.Get("Idempotency-Key"); got != parcel.Key || got == "" {
		t.Errorf("Idempotency-Key = %q", got)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"action": "trigger", "key": "0190-abc", "call": "1", "incident": "INC-7", "title": "API down", "severity": "SEV1", "state": "Fixing",
		"impact": "No orders, password=***", "by": "Ann", "link": "https://acme.slack.com/archives/C1/p1", "at": "2026-11-26T14:05:00Z"}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestPagerDutyEvents(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	to := open(t, says(202, `{"status":"success","message":"Event processed","dedup_key":"0190-abc"}`))
	carrier := dispatch.PagerDuty{URL: to.URL, RoutingKey: key}
	for _, action := range []string{dispatch.Trigger, dispatch.Acknowledge, dispatch.Resolve} {
		p := page(action)
		p.Title = strings.Repeat("ä", 2000)
		if _, err := carrier.Carry(t.Context(), parcelOf(t, p, "pagers.oncall")); err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	got := to.requests()
	var first struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		Dedup      string `json:"dedup_key"`
		Client     string
		ClientURL  string `json:"client_url"`
		Payload    struct {
			Summary, Source, Severity, Timestamp, Class string
			Details                                     map[string]string `json:"custom_details"`
		}
		Links []struct{ Href, Text string }
	}
	if err := json.Unmarshal([]byte(got[0].body), &first); err != nil {
		t.Fatal(err)
	}
	if n := len([]rune(first.Payload.Summary)); first.RoutingKey != key || first.Action != "trigger" || first.Dedup != "0190-abc/1" || first.Payload.Severity != "critical" ||
		first.Payload.Source != "opsbot" || n > 1024 || !strings.HasPrefix(first.Payload.Summary, "INC-7 SEV1: ää") || first.Payload.Details["impact"] != "No orders, password=***" ||
		first.Links[0].Href != "https://acme.slack.com/archives/C1/p1" || first.Payload.Timestamp != "2026-11-26T14:05:00Z" {
		t.Errorf("trigger = %+v", first)
	}
	for i, want := range []string{"acknowledge", "resolve"} {
		if diff := cmp.Diff(fmt.Sprintf(`{"routing_key":%q,"event_action":%q,"dedup_key":"0190-abc/1"}`, key, want), got[i+1].body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want, diff)
		}
	}
	if _, err := carrier.Carry(t.Context(), dispatch.Parcel{Kind: dispatch.KindUpdate, Body: []byte(`{}`)}); !refused(err) {
		t.Errorf("an update: %v", err)
	}
}

func refused(err error) bool {
	var r *dispatch.Refused
	return errors.As(err, &r)
}

// What a place answers decides whether it is tried again, and what people read.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		answer  func(http.ResponseWriter, *http.Request)
		want    string
		refused bool
		after   time.Duration
		duty    bool
	}{
		"gone":           {answer: says(410, "no such hook\nand more"), want: "answers 410 Gone: no such hook.", refused: true},
		"unauthorized":   {answer: says(401, `{"error":"bad signature, token=canary"}`), want: "401 Unauthorized: bad signature, token=***.", refused: true},
		"redirect":       {answer: says(302, "", "Location", "https://evil.example/"), want: "sends us elsewhere (302)", refused: true},
		"a web page":     {answer: says(404, "<html><h1>Not here</h1>"), want: "answers 404 Not Found.", refused: true},
		"busy":           {answer: says(429, "slow down", "Retry-After", "30"), want: "429 Too Many Requests: slow down.", after: 30 * time.Second},
		"busy until":     {answer: says(503, "", "Retry-After", "Fri, 31 Dec 2100 23:59:59 GMT"), want: "503 Service Unavailable.", after: 24 * time.Hour},
		"broken":         {answer: says(500, ""), want: "500 Internal Server Error."},
		"cut":            {answer: cut, want: "does not answer: EOF."},
		"duty invalid":   {answer: says(400, `{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing key `+key+`"]}`), duty: true, refused: true, want: "400 Bad Request: Event object is invalid Invalid routing key ***. Is the routing key"},
		"duty busy":      {answer: says(429, "", "Retry-After", "7"), duty: true, want: "429", after: 7 * time.Second},
		"duty strange":   {answer: says(200, "<html>login"), duty: true, want: "PagerDuty's answer is not understood"},
		"duty unsuccess": {answer: says(202, `{"status":"throttled"}`), duty: true, want: "may not have arrived (throttled)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := open(t, c.answer)
			var carrier dispatch.Carrier = dispatch.Webhook{URL: to.URL + "/canary", Secret: "canary"}
			if c.duty {
				carrier = dispatch.PagerDuty{URL: to.URL, RoutingKey: key}
			}
			_, err := carrier.Carry(t.Context(), parcelOf(t, page(dispatch.Trigger), "x"))
			if err == nil || !strings.Contains(err.Error(), c.want) || refused(err) != c.refused {
				t.Fatalf("Carry() = %v (refused %v), want %q", err, refused(err), c.want)
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), key) {
				t.Errorf("it tells a secret: %v", err)
			}
			var busy *dispatch.Busy
			if errors.As(err, &busy) != (c.after > 0) || busy != nil && busy.After < c.after {
				t.Errorf("busy = %+v, want %s", busy, c.after)
			}
		})
	}
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	if _, err := (dispatch.Webhook{URL: nobody.URL}).Carry(t.Context(), dispatch.Parcel{}); err == nil || !strings.Contains(err.Error(), "does not answer: connection refused.") || refused(err) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := (dispatch.Webhook{URL: nobody.URL}).Carry(t.Context(), dispatch.Parcel{Body: make([]byte, dispatch.MaxBody+1)}); !refused(err) {
		t.Errorf("too large: %v", err)
	}
	silent := open(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (dispatch.Webhook{URL: silent.URL}).Carry(ctx, dispatch.Parcel{Body: []byte("{}")}); err == nil || !strings.Contains(err.Error(), "no answer in time.") {
		t.Errorf("silent: %v", err)
	}
}

// A place that fails in every way gets each page in the end, in order and in
// spite of a restart half-way, and people are told once of each turn.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	s := storetest.OpenURL(t, storetest.SQLite(t))
	good := says(202, `{"status":"success"}`)
	to := open(t, says(500, ""), cut, says(429, "", "Retry-After", "1"), good)
	gone := open(t, says(410, "gone"))
	var mu sync.Mutex
	var told []string
	d := &dispatch.Dispatcher{
		Queue:    s.Parcels(),
		Carriers: map[string]dispatch.Carrier{"pagers.oncall": dispatch.PagerDuty{URL: to.URL, RoutingKey: "k"}, "pagers.noc": dispatch.Webhook{URL: gone.URL}},
		Tell: func(_ context.Context, o dispatch.Outcome) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(o.Place, " ", o.State))
			return nil
		},
	}
	serve := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Serve(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	var parcels []dispatch.Parcel
	for _, action := range []string{dispatch.Trigger, dispatch.Acknowledge, dispatch.Resolve} {
		parcels = append(parcels, parcelOf(t, page(action), "pagers.oncall"))
	}
	parcels = append(parcels, parcelOf(t, page(dispatch.Trigger), "pagers.noc"), parcelOf(t, page(dispatch.Trigger), "pagers.removed"))
	if err := s.Parcels().Add(t.Context(), parcels...); err != nil {
		t.Fatal(err)
	}
	stop := serve()
	<-to.changed
	<-to.changed
	stop() // in the middle of it
	defer serve()()
	deadline := time.After(time.Minute)
	for n := 2; n < 6; n++ {
		select {
		case <-to.changed:
		case <-deadline:
			t.Fatalf("after %d requests nothing more came", n)
		}
	}
	want := []string{"pagers.noc failed", "pagers.oncall delivered", "pagers.oncall delivered", "pagers.oncall delivered", "pagers.oncall late", "pagers.removed failed"}
	for {
		mu.Lock()
		got := slices.Sorted(slices.Values(told))
		mu.Unlock()
		if slices.Equal(got, want) {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("told %v, want %v", got, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
	var order []string
	for _, r := range to.requests() {
		var e struct {
			Action string `json:"event_action"`
		}
		if err := json.Unmarshal([]byte(r.body), &e); err != nil {
			t.Fatal(err)
		}
		order = append(order, e.Action)
	}
	if got := strings.Join(order, " "); got != "trigger trigger trigger trigger acknowledge resolve" {
		t.Errorf("it got %s", got)
	}
}
