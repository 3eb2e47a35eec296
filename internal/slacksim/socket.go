package slacksim

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Facts of Socket Mode. Source: slack.md §1.
const (
	maxSockets     = 10
	maxClientFrame = 20480               // bytes; more is closed with 1009
	socketLife     = 18060 * time.Second // approximate_connection_time as captured
	debugLife      = 360 * time.Second   // with debug_reconnects=true
	warningLead    = 10 * time.Second    // between a warning and the end
)

// A socket is one Socket Mode connection.
type socket struct {
	s      *Server
	conn   *websocket.Conn
	wire   net.Conn // under conn; to break frames off
	cancel context.CancelFunc

	// guarded by s.mu
	leaving bool // told to reconnect; gets nothing new unless only warned
	timers  []*timer

	mu    sync.Mutex
	queue []outgoing
	wake  chan struct{}
}

// outgoing is one frame to write; then the socket may end.
type outgoing struct {
	data  []byte
	cut   bool                 // write half of it, then break the connection
	close websocket.StatusCode // after it, close properly; 0: stay open
}

// openConnection answers apps.connections.open.
func (s *Server) openConnection(*request) obj {
	if !s.manifest.Settings.SocketMode {
		return refuse("forbidden_team") // policy: Slack's answer with Socket Mode off is not documented
	}
	ticket := s.random(24)
	s.tickets[ticket] = true
	u, err := url.Parse(s.url)
	if err != nil || u.Host == "" {
		s.log.Error("SetURL was not called: apps.connections.open has no address to give")
		return refuse("internal_error")
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.Path = "/link/"
	u.RawQuery = url.Values{"ticket": {ticket}, "app_id": {s.app.appID}}.Encode()
	return obj{"ok": true, "url": u.String()}
}

// wireTap keeps the network connection that a WebSocket takes over.
type wireTap struct {
	http.ResponseWriter
	conn net.Conn
}

func (t *wireTap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.conn = c
	return c, rw, err
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if f := s.takeFault("link"); f != nil {
		if !s.delayed(r.Context(), f) {
			return
		}
		if f.Status != 0 { // 408, 409 and 503 have been seen
			http.Error(w, http.StatusText(f.Status), f.Status)
			return
		}
	}
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	fresh := s.tickets[ticket]
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !fresh {
		http.Error(w, "ticket is unknown or used", http.StatusForbidden) // policy: the real status is not documented
		return
	}
	tap := &wireTap{ResponseWriter: w}
	conn, err := websocket.Accept(tap, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // slack-go sends Origin https://api.slack.com, others none
		OnPingReceived: func(context.Context, []byte) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return !s.faults.noPings
		},
	})
	if err != nil {
		s.log.Debug("accept socket", "error", err)
		return
	}
	conn.SetReadLimit(maxClientFrame)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	k := &socket{s: s, conn: conn, wire: tap.conn, cancel: cancel, wake: make(chan struct{}, 1)}
	s.join(k, r.URL.Query().Get("debug_reconnects") == "true")
	var tasks sync.WaitGroup
	tasks.Go(func() { k.write(ctx) })
	tasks.Go(func() { k.ping(ctx) })
	k.read(ctx)
	cancel()
	s.leave(k)
	conn.CloseNow() //nolint:errcheck // it is over either way
	tasks.Wait()
}

// join greets a new socket, or turns it away.
func (s *Server) join(k *socket, debug bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host := obj{"host": "applink-sim"}
	switch {
	case s.faults.rejecting != "":
		reason := s.faults.rejecting
		if s.faults.rejections > 0 {
			if s.faults.rejections--; s.faults.rejections == 0 {
				s.faults.rejecting = ""
			}
		}
		k.leaving = true
		k.send(outgoing{data: encode(obj{"type": "disconnect", "reason": reason, "debug_info": host}), close: websocket.StatusNormalClosure})
	case len(s.sockets) >= maxSockets:
		k.leaving = true
		k.send(outgoing{close: websocket.StatusNormalClosure, data: encode(obj{
			"type": "disconnect", "reason": "too_many_websockets", "num_connections": len(s.sockets) + 1,
			"debug_info": host, "connection_info": obj{"app_id": s.app.appID},
		})})
	default:
		life := socketLife
		if debug {
			life = debugLife
		}
		s.sockets = append(s.sockets, k)
		k.send(outgoing{data: encode(obj{
			"type": "hello", "num_connections": len(s.sockets),
			"debug_info": obj{
				"host": "applink-sim", "started": s.clock.now().UTC().Format("2006-01-02 15:04:05.000"),
				"build_number": 1, "approximate_connection_time": int(life / time.Second),
			},
			"connection_info": obj{"app_id": s.app.appID},
		})})
		k.timers = append(k.timers,
			s.clock.after(life-warningLead, func() { s.dismiss(k, "warning") }),
			s.clock.after(life, func() { s.dismiss(k, "refresh_requested") }))
	}
	s.tell(Event{Kind: "socket"})
}

func (s *Server) leave(k *socket) {
	s.mu.Lock()
	for i, other := range s.sockets {
		if other == k {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
	timers := k.timers
	k.timers = nil
	s.tell(Event{Kind: "socket"})
	s.mu.Unlock()
	for _, t := range timers {
		t.stop()
	}
}

// dismiss sends a disconnect frame. A warned socket still gets envelopes and
// is closed ten seconds later; any other gets nothing more and is closed at
// once.
func (s *Server) dismiss(k *socket, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frame := outgoing{data: encode(obj{"type": "disconnect", "reason": reason, "debug_info": obj{"host": "applink-sim"}})}
	if reason == "warning" {
		k.timers = append(k.timers, s.clock.after(warningLead, func() { k.send(outgoing{close: websocket.StatusNormalClosure}) }))
	} else {
		k.leaving = true
		frame.close = websocket.StatusNormalClosure
	}
	k.send(frame)
}

// send queues a frame; it never blocks.
func (k *socket) send(o outgoing) {
	k.mu.Lock()
	k.queue = append(k.queue, o)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *socket) write(ctx context.Context) {
	for {
		k.mu.Lock()
		queue := k.queue
		k.queue = nil
		k.mu.Unlock()
		for _, o := range queue {
			switch {
			case o.cut:
				k.breakOff(o.data)
				k.cancel()
				return
			case len(o.data) > 0:
				if err := k.conn.Write(ctx, websocket.MessageText, o.data); err != nil {
					k.cancel()
					return
				}
			}
			if o.close != 0 {
				if err := k.conn.Close(o.close, ""); err != nil {
					k.s.log.Debug("close socket", "error", err)
				}
				k.cancel()
				return
			}
		}
		select {
		case <-k.wake:
		case <-ctx.Done():
			return
		}
	}
}

// breakOff writes the beginning of a frame and closes the network connection,
// which the client sees as 1006.
func (k *socket) breakOff(data []byte) {
	head := []byte{0x81, 126, 0, 0} // FIN, text, 16 bit length
	binary.BigEndian.PutUint16(head[2:], uint16(min(len(data), math.MaxUint16)))
	if _, err := k.wire.Write(append(head, data[:len(data)/2]...)); err != nil {
		k.s.log.Debug("break frame off", "error", err)
	}
	if err := k.wire.Close(); err != nil {
		k.s.log.Debug("break socket", "error", err)
	}
}

// ping keeps the connection alive and ends it when three pings go unanswered.
func (k *socket) ping(ctx context.Context) {
	every := k.s.opts.PingEvery
	tick := time.NewTicker(every)
	defer tick.Stop()
	var pings sync.WaitGroup
	defer pings.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k.s.mu.Lock()
		silent := k.s.faults.noPings
		k.s.mu.Unlock()
		if silent {
			continue
		}
		pings.Go(func() {
			limit, cancel := context.WithTimeout(ctx, 3*every)
			defer cancel()
			if err := k.conn.Ping(limit); err != nil && errors.Is(limit.Err(), context.DeadlineExceeded) {
				k.s.log.Debug("no pong", "error", err)
				k.cancel()
			}
		})
	}
}

func (k *socket) read(ctx context.Context) {
	for {
		kind, data, err := k.conn.Read(ctx)
		if err != nil {
			if code := websocket.CloseStatus(err); code != -1 {
				k.s.log.Debug("socket closed by the app", "code", code)
			}
			return
		}
		k.s.receive(ctx, kind == websocket.MessageText, data)
	}
}

// Connected returns the number of open sockets of the app.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}
