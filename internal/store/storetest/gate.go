package storetest

import (
	"net"
	"sync"
	"testing"
)

// A Gate stands between a program and a TCP server. It forwards while it is
// open; shut, it cuts what goes through it and refuses the rest; held, it takes
// everything and passes nothing on until it is opened again, as a network does
// that swallows packets.
type Gate struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	moved *sync.Cond
	shut  bool
	held  bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// NewGate returns an open gate to the server, which ends with the test.
func NewGate(t testing.TB, server string) *Gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{listener: l, server: server, conns: make(map[net.Conn]bool)}
	g.moved = sync.NewCond(&g.mu)
	g.wg.Go(g.serve)
	t.Cleanup(func() {
		_ = l.Close()
		g.Shut()
		g.wg.Wait()
	})
	return g
}

// Addr is what the program connects to instead of the server.
func (g *Gate) Addr() string { return g.listener.Addr().String() }

// Shut cuts all connections and refuses new ones.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.held = true, false
	for c := range g.conns {
		_ = c.Close()
		delete(g.conns, c)
	}
	g.moved.Broadcast()
}

// Hold keeps back whatever comes, in both directions.
func (g *Gate) Hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
}

// Open lets everything through, first of all what was held.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.held = false, false
	g.moved.Broadcast()
}

func (g *Gate) serve() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", g.server)
		if err != nil {
			_ = in.Close()
			continue
		}
		g.mu.Lock()
		if g.shut {
			_ = in.Close()
			_ = out.Close()
		}
		g.conns[in], g.conns[out] = true, true
		g.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			g.wg.Go(func() { g.forward(pair[0], pair[1]) })
		}
	}
}

// forward copies until one side ends, and tells the other.
func (g *Gate) forward(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		g.mu.Lock()
		for g.held {
			g.moved.Wait()
		}
		g.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	g.mu.Lock()
	delete(g.conns, to)
	delete(g.conns, from)
	g.mu.Unlock()
}
