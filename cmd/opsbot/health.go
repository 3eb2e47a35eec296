package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"opsbot/internal/fault"
)

// readyWithin bounds all checks of /readyz together.
const readyWithin = 3 * time.Second

// A check says whether one thing that serving needs is there; its error is
// the reason shown by /readyz.
type check struct {
	name string
	run  func(context.Context) error
}

// healthServer answers /healthz, /readyz and /metrics, and what else is added.
type healthServer struct {
	listener net.Listener
	mux      *http.ServeMux
}

// listen opens addr, so that a taken port is known before anything else starts.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "Cannot listen on %s: the port is taken or the address is not this machine's.", addr).
			Hinted("Stop what uses it, or choose another address with http.addr or OPSBOT_HTTP_ADDR.").Because(err)
	}
	return l, nil
}

func newHealthServer(l net.Listener, registry *prometheus.Registry, checks []check) *healthServer {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		ready, reasons := true, map[string]string{}
		for _, c := range checks {
			reasons[c.name] = "ok"
			if err := c.run(ctx); err != nil {
				ready, reasons[c.name] = false, describe(err)
				if errors.Is(err, context.DeadlineExceeded) {
					reasons[c.name] = fmt.Sprintf("The %s does not answer within %s.", c.name, readyWithin)
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": ready, "checks": reasons})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &healthServer{l, mux}
}

// Serve answers until ctx is done, then finishes what is under way.
func (h *healthServer) Serve(ctx context.Context) error {
	return serveHTTP(ctx, h.listener, h.mux)
}

// serveHTTP serves until ctx is done and gives requests under way two seconds.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler) error {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
