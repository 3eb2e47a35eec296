package bot

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// slack-go swallows Slack's disconnect frames: it reconnects, and nobody
// learns why. Two of the reasons need another answer than reconnecting at
// once, so a tap reads along on the connection under the WebSocket. Should it
// lose its place, it goes quiet, and the throttle alone protects Slack.

// tapLimit is the largest frame that a tap looks into. Disconnect frames have
// some 200 bytes.
const tapLimit = 2 << 10

// dialer returns slack-go's own dialer with a tap in it that reports the reason
// of each disconnect frame. Behind an HTTP proxy the TLS session is made above
// any hook, so there nothing is reported.
func dialer(disconnected func(reason string)) *websocket.Dialer {
	d := &websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: 15 * time.Second,
		// Acks must leave in one frame: Slack does not put fragments together.
		WriteBufferSize: 32 << 10,
	}
	probe, err := http.NewRequest(http.MethodGet, "https://wss-primary.slack.com/", nil)
	if err != nil {
		return d
	}
	if proxy, err := http.ProxyFromEnvironment(probe); proxy != nil || err != nil {
		return d
	}
	d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &tappedConn{Conn: conn, tap: tap{disconnected: disconnected}}, nil
	}
	d.NetDialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &tappedConn{Conn: conn, tap: tap{disconnected: disconnected}}, nil
	}
	return d
}

// A tappedConn shows what is read from it to a tap.
type tappedConn struct {
	net.Conn
	tap tap
}

// Read reads and shows.
func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.tap.see(p[:n])
	}
	return n, err
}

// A tap follows what a WebSocket server sends: an HTTP answer, then frames
// (RFC 6455, section 5.2), unmasked and, since slack-go does not ask for
// compression, plain. The zero value waits for the HTTP answer.
type tap struct {
	disconnected func(reason string)

	open bool   // the HTTP answer is over
	lost bool   // what came makes no sense
	buf  []byte // the part of the answer, header or small frame that came so far
	skip uint64 // bytes of a frame that nobody wants
}

// see takes the next bytes.
func (t *tap) see(p []byte) {
	for len(p) > 0 && !t.lost {
		if t.skip > 0 {
			n := min(t.skip, uint64(len(p)))
			t.skip -= n
			p = p[n:]
			continue
		}
		t.buf = append(t.buf, p...)
		p = t.take()
	}
}

// take consumes what is complete in buf. Bytes that belong to something to
// skip come back.
func (t *tap) take() []byte {
	if !t.open {
		end := bytes.Index(t.buf, []byte("\r\n\r\n"))
		if end < 0 {
			t.lost = len(t.buf) > 64<<10
			return nil
		}
		t.open = true
		t.buf = t.buf[end+4:]
	}
	for len(t.buf) >= 2 {
		head, size := 2, uint64(t.buf[1]&0x7f)
		switch {
		case t.buf[1]&0x80 != 0: // a server never masks
			t.lost = true
			return nil
		case size == 126:
			head = 4
		case size == 127:
			head = 10
		}
		if len(t.buf) < head {
			return nil
		}
		switch head {
		case 4:
			size = uint64(binary.BigEndian.Uint16(t.buf[2:]))
		case 10:
			size = binary.BigEndian.Uint64(t.buf[2:])
		}
		if size > tapLimit {
			rest := t.buf[head:]
			t.buf, t.skip = nil, size
			return rest
		}
		if uint64(len(t.buf)-head) < size {
			return nil
		}
		frame := t.buf[head : head+int(size)]
		if t.buf[0]&0x0f == 1 { // text
			t.read(frame)
		}
		t.buf = t.buf[head+int(size):]
	}
	if len(t.buf) == 0 {
		t.buf = nil
	}
	return nil
}

func (t *tap) read(frame []byte) {
	if !bytes.Contains(frame, []byte(`"disconnect"`)) {
		return
	}
	var f struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(frame, &f) == nil && f.Type == "disconnect" {
		t.disconnected(f.Reason)
	}
}
