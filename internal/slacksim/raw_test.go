package slacksim_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"opsbot/internal/slacksim"
)

// soon bounds every wait of a test in real time.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// An answer is one decoded Web API answer and its HTTP side.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a answer) err() string { s, _ := a.body["error"].(string); return s }

// messages are response_metadata.messages.
func (a answer) messages() string {
	meta, _ := a.body["response_metadata"].(map[string]any)
	raw, err := json.Marshal(meta["messages"])
	if err != nil {
		return err.Error()
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\"`, `"`).Replace(string(raw))
}

// send makes a request as no client library would.
func send(t *testing.T, method, address, contentType, bearer, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(raw)}
	if json.Unmarshal(raw, &a.body) != nil {
		a.body = nil
	}
	return a
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json; charset=utf-8"
)

// form calls a method with the bot token; args are names and values in turn.
func form(t *testing.T, s *slacksim.Server, method string, args ...string) answer {
	t.Helper()
	v := url.Values{"token": {s.BotToken()}}
	for i := 0; i+1 < len(args); i += 2 {
		v.Set(args[i], args[i+1])
	}
	return send(t, http.MethodPost, s.APIURL()+method, formType, "", v.Encode())
}

// at reads a path such as "message.text" out of an answer.
func (a answer) at(path string) any {
	var v any = a.body
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func (a answer) str(path string) string { s, _ := a.at(path).(string); return s }

// openURL asks for a Socket Mode address.
func openURL(t *testing.T, s *slacksim.Server) string {
	t.Helper()
	a := send(t, http.MethodPost, s.APIURL()+"apps.connections.open", "application/json", s.AppToken(), "")
	if a.body["ok"] != true {
		t.Fatalf("apps.connections.open: %s", a.text)
	}
	return a.str("url")
}

// A wire is a bare WebSocket on the simulator.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, address string, options ...*websocket.DialOptions) *wire {
	t.Helper()
	options = append(options, nil)
	conn, _, err := websocket.Dial(soon(t), address, options[0]) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.CloseNow() }) //nolint:errcheck // over either way
	return &wire{t: t, conn: conn}
}

// connectRaw opens a socket and reads its hello.
func connectRaw(t *testing.T, s *slacksim.Server) *wire {
	t.Helper()
	before := s.Connected()
	w := dial(t, openURL(t, s))
	if hello := w.next(); hello["type"] != "hello" {
		t.Fatalf("first frame is %v", hello)
	}
	s.ExpectConnected(t, before+1)
	return w
}

// next reads one frame.
func (w *wire) next() map[string]any {
	w.t.Helper()
	_, raw, err := w.conn.Read(soon(w.t))
	if err != nil {
		w.t.Fatalf("read frame: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		w.t.Fatalf("frame is not an object: %s", raw)
	}
	return m
}

// asked reads the next envelope that is no event; events before it are acked.
func (w *wire) asked() map[string]any {
	w.t.Helper()
	for {
		e := w.next()
		if e["type"] != "events_api" {
			return e
		}
		w.ack(e, "")
	}
}

// ended waits for the close code.
func (w *wire) ended() websocket.StatusCode {
	w.t.Helper()
	for {
		if _, _, err := w.conn.Read(soon(w.t)); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func (w *wire) write(text string) {
	w.t.Helper()
	if err := w.conn.Write(soon(w.t), websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatalf("write frame: %v", err)
	}
}

// ack acknowledges an envelope; payload is JSON or empty.
func (w *wire) ack(envelope map[string]any, payload string) {
	w.t.Helper()
	id, _ := envelope["envelope_id"].(string)
	if payload != "" {
		payload = `,"payload":` + payload
	}
	w.write(`{"envelope_id":"` + id + `"` + payload + `}`)
}

// dig reads a path out of a decoded frame.
func dig(m map[string]any, path string) any { return answer{body: m}.at(path) }

// async runs what blocks until the app answers.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// waitFor waits until cond is true.
func waitFor(t *testing.T, s *slacksim.Server, what string, cond func() bool) {
	t.Helper()
	if err := s.Wait(soon(t), cond); err != nil {
		t.Fatalf("waited for %s: %v", what, err)
	}
}
