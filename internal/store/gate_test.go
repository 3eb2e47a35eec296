package store_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A gate forwards connections to a server while it is open, and cuts and
// refuses them while it is shut.
type gate struct {
	listener net.Listener
	server   string

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, server: server, conns: make(map[net.Conn]bool)}
	g.wg.Go(g.serve)
	t.Cleanup(func() {
		_ = l.Close()
		g.shut()
		g.wg.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.listener.Addr().String() }

func (g *gate) serve() {
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
		if g.closed {
			_ = in.Close()
			_ = out.Close()
		}
		g.conns[in], g.conns[out] = true, true
		g.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			g.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for c := range g.conns {
		_ = c.Close()
		delete(g.conns, c)
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}
