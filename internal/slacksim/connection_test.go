package slacksim_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"opsbot/internal/slacksim"
)

func TestConnectionsOpen(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	at := s.APIURL() + "apps.connections.open"
	rows := []struct {
		rule, name, method, kind, token, want string
	}{
		{"rule 1: D:apis/events-api/using-socket-mode", "xapp in the header", http.MethodPost, formType, s.AppToken(), ""},
		{"rule 2: A", "a bot token", http.MethodPost, formType, s.BotToken(), "not_allowed_token_type"},
		{"rule 2: A", "no token", http.MethodPost, formType, "", "not_authed"},
		{"rule 2: A", "an unknown token", http.MethodPost, formType, "xapp-1-A0-no", "invalid_auth"},
		{"rule 3: A", "GET", http.MethodGet, "", s.AppToken(), "insecure_request"},
		{"rule 4: X", "empty body of type application/json", http.MethodPost, "application/json", s.AppToken(), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := send(t, row.method, at, row.kind, row.token, "")
			if a.err() != row.want || a.status != http.StatusOK {
				t.Fatalf("%s: got %d %s, want error %q", row.rule, a.status, a.text, row.want)
			}
			if row.want == "" && !strings.HasPrefix(a.str("url"), "ws://127.0.0.1:") {
				t.Errorf("%s: url = %q", row.rule, a.str("url"))
			}
		})
	}
}

// rule 5: D. A ticket is good for one connection; the status is policy.
func TestTicketIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	address := openURL(t, s)
	dial(t, address)
	for _, again := range []string{address, strings.Replace(address, "ticket=", "ticket=made-up", 1)} {
		conn, res, err := websocket.Dial(soon(t), again, nil)
		if err == nil {
			conn.CloseNow() //nolint:errcheck // failing anyway
			t.Fatal("a used ticket was accepted")
		}
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("status = %d", res.StatusCode)
		}
	}
}

// rule 6: X. slack-go sends Origin https://api.slack.com, other clients none.
// rule 7: D,P. hello is the first frame and counts the sockets.
func TestHello(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	for i, header := range []http.Header{nil, {"Origin": {"https://api.slack.com"}}} {
		w := dial(t, openURL(t, s), &websocket.DialOptions{HTTPHeader: header})
		hello := w.next()
		if hello["type"] != "hello" || hello["num_connections"] != float64(i+1) {
			t.Errorf("hello = %v", hello)
		}
		if dig(hello, "connection_info.app_id") != s.AppID() || dig(hello, "debug_info.approximate_connection_time") != float64(18060) {
			t.Errorf("hello = %v", hello)
		}
	}
}

// rule 9: D. With debug_reconnects=true a connection lives 360 s.
// rule 12: D. A warning comes about ten seconds before the end.
func TestDebugReconnects(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := dial(t, openURL(t, s)+"&debug_reconnects=true")
	if hello := w.next(); dig(hello, "debug_info.approximate_connection_time") != float64(360) {
		t.Errorf("hello = %v", hello)
	}
	s.ExpectConnected(t, 1)
	s.Advance(351 * time.Second)
	if f := w.next(); f["type"] != "disconnect" || f["reason"] != "warning" || f["envelope_id"] != nil {
		t.Errorf("frame = %v, want a warning", f)
	}
	if s.Connected() != 1 {
		t.Error("closed with the warning already")
	}
	s.Advance(10 * time.Second)
	if code := w.ended(); code != websocket.StatusNormalClosure {
		t.Errorf("close code = %d", code)
	}
	s.ExpectConnected(t, 0)
}

// rule 12: ? A warned socket still gets envelopes until it is closed.
func TestWarningStillDelivers(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	s.Disconnect("warning")
	if f := w.next(); f["reason"] != "warning" {
		t.Fatalf("frame = %v", f)
	}
	done := async(func() error { _, err := s.As("ann").Slash("#ops", "/runbook"); return err })
	w.ack(w.next(), "")
	if err := <-done; err != nil {
		t.Errorf("Slash() = %v", err)
	}
	s.Advance(10 * time.Second)
	w.ended()
}

// rule 10: P,I:node-slack-sdk#1654. The eleventh socket is turned away.
func TestTooManySockets(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	for range 10 {
		connectRaw(t, s)
	}
	w := dial(t, openURL(t, s))
	if f := w.next(); f["type"] != "disconnect" || f["reason"] != "too_many_websockets" || f["num_connections"] != float64(11) {
		t.Errorf("frame = %v", f)
	}
	w.ended()
	s.ExpectConnected(t, 10)
}

// rule 13: D,X. A refreshed slack-go client comes back.
// rule 17 is the client's: slack-go itself reconnects when pings stay away.
func TestRefreshAndDrop(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	connect(t, s, nil)
	for _, again := range []func(){func() { s.Disconnect("refresh_requested") }, s.DropSockets} {
		opens := len(s.Calls("apps.connections.open"))
		waitFor(t, s, "the next open", func() bool {
			if len(s.Calls("apps.connections.open")) == opens {
				again() // the socket that was hit may have been the one that is given up anyway
				return false
			}
			return s.Connected() == 1
		})
	}
	if _, err := s.As("ann").Slash("#ops", "/runbook"); err != nil {
		t.Errorf("Slash() after reconnects = %v", err)
	}
}

// rule 14: D,X. With Socket Mode switched off each new socket is told so.
func TestLinkDisabled(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	s.Disconnect("link_disabled")
	if f := w.next(); f["reason"] != "link_disabled" {
		t.Errorf("frame = %v", f)
	}
	w.ended()
	again := dial(t, openURL(t, s))
	if f := again.next(); f["reason"] != "link_disabled" {
		t.Errorf("frame = %v", f)
	}
	s.AcceptSockets()
	connectRaw(t, s)
}

// rule 15: D. Each envelope goes to exactly one socket, in no fixed pattern.
func TestEnvelopesAreSplit(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	var got [3]atomic.Int32
	for i := range got {
		w := connectRaw(t, s)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		t.Cleanup(func() { cancel(); <-done })
		go func() {
			defer close(done)
			for {
				_, raw, err := w.conn.Read(ctx)
				if err != nil {
					return
				}
				got[i].Add(1)
				id := strings.Split(strings.SplitN(string(raw), `"envelope_id":"`, 2)[1], `"`)[0]
				if w.conn.Write(ctx, websocket.MessageText, []byte(`{"envelope_id":"`+id+`"}`)) != nil {
					return
				}
			}
		}()
	}
	const n = 60
	for range n {
		if _, err := s.As("ann").Slash("#ops", "/runbook"); err != nil {
			t.Fatal(err)
		}
	}
	total := int32(0)
	for i := range got {
		total += got[i].Load()
		if got[i].Load() == 0 {
			t.Errorf("socket %d got nothing of %d envelopes", i, n)
		}
	}
	if total != n {
		t.Errorf("%d envelopes arrived, want %d", total, n)
	}
}

// rule 16: G. The server pings; a client that answers none of three is dropped.
func TestPings(t *testing.T) {
	t.Parallel()
	s := workspace(t, slacksim.Options{PingEvery: 500 * time.Millisecond})
	pings := make(chan struct{}, 1000)
	mute := atomic.Bool{}
	w := dial(t, openURL(t, s), &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		pings <- struct{}{}
		return !mute.Load()
	}})
	read := make(chan error, 1)
	go func() {
		for {
			if _, _, err := w.conn.Read(context.Background()); err != nil {
				read <- err
				return
			}
		}
	}()
	for range 5 {
		select {
		case <-pings:
		case err := <-read:
			t.Fatalf("the connection ended before five pings: %v", err)
		}
	}
	s.ExpectConnected(t, 1)
	mute.Store(true)
	s.ExpectConnected(t, 0)
	<-read
}

// rule 18: N. A client's ping is answered with the same data, which is what
// Ping waits for; not while the server is told to ignore pings.
func TestClientPing(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	w := connectRaw(t, s)
	go w.conn.Read(context.Background()) //nolint:errcheck // pongs are only seen while reading
	if err := w.conn.Ping(soon(t)); err != nil {
		t.Errorf("Ping() = %v", err)
	}
	s.IgnorePings(true)
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.conn.Ping(short); err == nil {
		t.Error("a ping was answered that should be ignored")
	}
}

// Upgrades have been seen failing with 408, 409 and 503 (I:node-slack-sdk#1472).
func TestUpgradeFailure(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	s.Fail("link", slacksim.Fault{Status: http.StatusConflict})
	address := openURL(t, s)
	conn, res, err := websocket.Dial(soon(t), address, nil)
	if err == nil {
		conn.CloseNow() //nolint:errcheck // failing anyway
		t.Fatal("the upgrade went well")
	}
	if res.StatusCode != http.StatusConflict {
		t.Errorf("status = %d", res.StatusCode)
	}
	dial(t, address) // the ticket was not used up
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ctx, cancel := context.WithCancel(context.Background())
	events := s.Subscribe(ctx)
	m, err := s.As("ann").Say("#quiet", "hello")
	if err != nil {
		t.Fatal(err)
	}
	want := slacksim.Event{Kind: "message", Channel: m.Channel, TS: m.TS}
	for e := range events {
		if cmp.Equal(e, want) {
			break
		}
	}
	cancel()
	for range events { // closed after what was queued
	}
}
