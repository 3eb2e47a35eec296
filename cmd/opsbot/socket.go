package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"opsbot/commands"
	"opsbot/incidents"
	"opsbot/incidents/stats"
	"opsbot/internal/access"
	"opsbot/internal/deployment"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// One process owns an SQLite database. Every other command talks to it
// through a Unix socket beside the file: one POST per request, JSON both ways.
// Who asks is taken from the socket's peer credentials, never from the request.

// maxRequest bounds what the owner reads from a terminal.
const maxRequest = 1 << 20

// maxSocketPath is what every system allows: macOS the least, 104 with a zero.
const maxSocketPath = 103

type peerKey struct{}

// controlServer is the owner's side of the socket.
type controlServer struct {
	listener net.Listener
	engine   *engine.Engine
	tracker  *incidents.Tracker
	router   *commands.Router
	who      identities
}

// listenControl opens the socket, readable by this account alone. A socket
// left by a dead owner is replaced: the caller holds the database's lock.
func listenControl(path string, e *engine.Engine, t *incidents.Tracker, r *commands.Router, who identities) (*controlServer, error) {
	if len(path) > maxSocketPath {
		return nil, fault.New(fault.Invalid, "The path of the control socket has %d bytes; systems allow %d: %s.", len(path), maxSocketPath, path).
			Hinted("Move the database to a shorter path.")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect the control socket: %w", err)
	}
	return &controlServer{l, e, t, r, who}, nil
}

// Serve answers terminals until ctx is done.
func (s *controlServer) Serve(ctx context.Context) error {
	mux := http.NewServeMux()
	route(mux, s, "whoami", func(ctx context.Context, d desk, _ struct{}) (access.Actor, error) { return d.Whoami(ctx) })
	route(mux, s, "start", func(ctx context.Context, d desk, o startOrder) (*engine.Run, error) { return d.Start(ctx, o) })
	route(mux, s, "view", func(ctx context.Context, d desk, ref string) (*engine.View, error) { return d.View(ctx, ref) })
	route(mux, s, "list", func(ctx context.Context, d desk, q engine.Query) ([]*engine.Run, error) { return d.List(ctx, q) })
	route(mux, s, "vote", func(ctx context.Context, d desk, v voteOrder) (*engine.Run, error) {
		return d.Vote(ctx, v.Approval, v.Ballot)
	})
	route(mux, s, "control", func(ctx context.Context, d desk, o controlOrder) (*engine.Run, error) { return d.Control(ctx, o) })
	route(mux, s, "locks", func(ctx context.Context, d desk, _ struct{}) ([]engine.Lock, error) { return d.Locks(ctx) })
	route(mux, s, "timetable", func(ctx context.Context, d desk, _ struct{}) ([]engine.Timing, error) { return d.Timetable(ctx) })
	route(mux, s, "deployments", func(ctx context.Context, d desk, q deployment.Query) ([]deployment.Deployment, error) {
		return d.Deployments(ctx, q)
	})
	route(mux, s, "deployment", func(ctx context.Context, d desk, ref string) (*deployment.Deployment, error) {
		return d.Deployment(ctx, ref)
	})
	route(mux, s, "incidents", func(ctx context.Context, d desk, q incidents.Query) ([]*incidents.Incident, error) {
		return d.Incidents(ctx, q)
	})
	route(mux, s, "incident", func(ctx context.Context, d desk, number int64) (*incidents.Record, error) {
		return d.Incident(ctx, number)
	})
	route(mux, s, "paper", func(ctx context.Context, d desk, o paperOrder) (outbox.File, error) { return d.Paper(ctx, o) })
	route(mux, s, "upload", func(ctx context.Context, d desk, o uploadOrder) (string, error) { return d.Upload(ctx, o) })
	route(mux, s, "figures", func(ctx context.Context, d desk, since time.Time) (stats.Table, error) { return d.Figures(ctx, since) })
	route(mux, s, "output", func(ctx context.Context, d desk, o outputOrder) (string, error) { return d.Output(ctx, o.Run, o.Seq) })

	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, peerKey{}, c) },
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(s.listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	srv.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type voteOrder struct {
	Approval string        `json:"approval"`
	Ballot   engine.Ballot `json:"ballot"`
}

type outputOrder struct {
	Run string `json:"run"`
	Seq int    `json:"seq"`
}

// An answer is what travels back: a result, or what a person may see of an error.
type answer struct {
	Result json.RawMessage         `json:"result,omitempty"`
	Kind   fault.Kind              `json:"kind,omitempty"`
	Error  string                  `json:"error,omitempty"`
	Hint   string                  `json:"hint,omitempty"`
	Params []runbooks.ParamProblem `json:"params,omitempty"`
}

// route serves one verb: decode, work at the caller's own desk, encode.
func route[In, Out any](mux *http.ServeMux, s *controlServer, verb string, work func(context.Context, desk, In) (Out, error)) {
	mux.HandleFunc("POST /v1/"+verb, func(w http.ResponseWriter, r *http.Request) {
		var a answer
		var in In
		out, err := func() (out Out, err error) {
			conn, ok := r.Context().Value(peerKey{}).(*net.UnixConn)
			if !ok {
				return out, errors.New("the control socket is no Unix socket")
			}
			uid, err := peerUID(conn)
			if err != nil {
				return out, fmt.Errorf("ask who is at the socket: %w", err)
			}
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
				return out, fault.New(fault.Invalid, "The request to the running opsbot cannot be read.").Hinted("Are both of the same version?").Because(err)
			}
			actor, why := s.who.actor(uid)
			return work(r.Context(), &localDesk{s.engine, s.tracker, s.router, actor, why}, in)
		}()
		if err == nil {
			a.Result, err = json.Marshal(out)
		}
		if err != nil {
			a = answer{Kind: fault.KindOf(err), Error: err.Error()}
			var f *fault.Error
			if errors.As(err, &f) {
				a.Error, a.Hint = f.Message, f.Hint
			}
			var p *engine.ParamsError
			if errors.As(err, &p) {
				a.Params = p.Problems
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	})
}

// socketDesk is a terminal's side of the socket.
type socketDesk struct{ client *http.Client }

// dialDesk returns the desk of the process that owns the database, or an error
// if none listens there.
func dialDesk(path string) (*socketDesk, error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil, err
	}
	conn.Close()
	return &socketDesk{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}, nil
}

func (d *socketDesk) Close() { d.client.CloseIdleConnections() }

func (d *socketDesk) call(ctx context.Context, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://opsbot/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.New(fault.Unavailable, "The running opsbot does not answer on its socket.").Hinted("Is it still running?").Because(err)
	}
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64*maxRequest)).Decode(&a); err != nil {
		return fault.New(fault.Unavailable, "The running opsbot gave an answer to %q that cannot be read (HTTP %d).", verb, resp.StatusCode).
			Hinted("Are both of the same version?").Because(err)
	}
	if a.Params != nil {
		return &engine.ParamsError{Problems: a.Params}
	}
	if a.Error != "" {
		return &fault.Error{Kind: a.Kind, Message: a.Error, Hint: a.Hint}
	}
	return json.Unmarshal(a.Result, out)
}

func (d *socketDesk) Whoami(ctx context.Context) (a access.Actor, err error) {
	return a, d.call(ctx, "whoami", struct{}{}, &a)
}

func (d *socketDesk) Start(ctx context.Context, o startOrder) (run *engine.Run, err error) {
	return run, d.call(ctx, "start", o, &run)
}

func (d *socketDesk) View(ctx context.Context, ref string) (view *engine.View, err error) {
	return view, d.call(ctx, "view", ref, &view)
}

func (d *socketDesk) List(ctx context.Context, q engine.Query) (runs []*engine.Run, err error) {
	return runs, d.call(ctx, "list", q, &runs)
}

func (d *socketDesk) Vote(ctx context.Context, approval string, b engine.Ballot) (run *engine.Run, err error) {
	return run, d.call(ctx, "vote", voteOrder{approval, b}, &run)
}

func (d *socketDesk) Control(ctx context.Context, o controlOrder) (run *engine.Run, err error) {
	return run, d.call(ctx, "control", o, &run)
}

func (d *socketDesk) Locks(ctx context.Context) (locks []engine.Lock, err error) {
	return locks, d.call(ctx, "locks", struct{}{}, &locks)
}

func (d *socketDesk) Timetable(ctx context.Context) (list []engine.Timing, err error) {
	return list, d.call(ctx, "timetable", struct{}{}, &list)
}

func (d *socketDesk) Deployments(ctx context.Context, q deployment.Query) (list []deployment.Deployment, err error) {
	return list, d.call(ctx, "deployments", q, &list)
}

func (d *socketDesk) Deployment(ctx context.Context, ref string) (one *deployment.Deployment, err error) {
	return one, d.call(ctx, "deployment", ref, &one)
}

func (d *socketDesk) Incidents(ctx context.Context, q incidents.Query) (list []*incidents.Incident, err error) {
	return list, d.call(ctx, "incidents", q, &list)
}

func (d *socketDesk) Incident(ctx context.Context, number int64) (r *incidents.Record, err error) {
	return r, d.call(ctx, "incident", number, &r)
}

func (d *socketDesk) Paper(ctx context.Context, o paperOrder) (f outbox.File, err error) {
	return f, d.call(ctx, "paper", o, &f)
}

func (d *socketDesk) Upload(ctx context.Context, o uploadOrder) (said string, err error) {
	return said, d.call(ctx, "upload", o, &said)
}

func (d *socketDesk) Figures(ctx context.Context, since time.Time) (t stats.Table, err error) {
	return t, d.call(ctx, "figures", since, &t)
}

func (d *socketDesk) Output(ctx context.Context, run string, seq int) (text string, err error) {
	return text, d.call(ctx, "output", outputOrder{run, seq}, &text)
}
