// Package page is the simulator's door for people: the workspace as a web
// page.
//
// The server draws everything. The page asks for itself again whenever the
// workspace changes and merges the answer into what is on the screen, so that
// half-typed text, focus and scroll position stay. Who is looking is part of
// the address (?as=U1&channel=C1), so that two tabs can be two people.
//
// The page has no log-in: whoever reaches it can act as anyone. So it answers
// only to the names in [Options].Hosts and to those of the loopback, refuses
// requests that another site had a browser send, and allows neither inline
// scripts nor anything from elsewhere.
package page

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"opsbot/internal/slacksim"
)

// Options say how the page looks. The zero value works.
type Options struct {
	// Title is what the workspace is called; default "Slack simulator".
	Title string
	// People are the ids or names of those one can be, in order; the first
	// is who one is at first. Default: everybody but bots.
	People []string
	// Roles says under a person's name, by id or name, what they are, such
	// as "on call".
	Roles map[string]string
	// Start is the id or name of the channel shown first; default: the
	// first one.
	Start string
	// Panel is served under /panel/ (which is stripped) and shown beside
	// the chat; nil shows none. Its root is a complete page that fits 320
	// pixels and follows prefers-color-scheme.
	Panel http.Handler
	// PanelTitle names the panel; default "Panel".
	PanelTitle string
	// Zone is the time zone of the times shown; default time.Local.
	Zone *time.Location
	// Hosts are host names, without port, that the page may be reached by
	// besides those of the loopback.
	Hosts []string
	// Log takes what should not happen; default: nothing is logged.
	Log *slog.Logger
}

//go:embed assets/app.css assets/app.js page.html
var assets embed.FS

var pageTemplate = template.Must(template.New("").ParseFS(assets, "page.html"))

// A page is the handler with what it keeps about its readers.
type page struct {
	sim    *slacksim.Server
	opts   Options
	memory memory
}

// New returns the page of a workspace, to be mounted at / with [Beside]. Its event streams end with the request's context or when the
// simulator closes.
func New(sim *slacksim.Server, opts Options) http.Handler {
	if opts.Title == "" {
		opts.Title = "Slack simulator"
	}
	if opts.PanelTitle == "" {
		opts.PanelTitle = "Panel"
	}
	if opts.Zone == nil {
		opts.Zone = time.Local
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &page{sim: sim, opts: opts}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serveWhole)
	mux.HandleFunc("GET /ui/app", p.serveApp)
	mux.HandleFunc("GET /ui/events", p.serveEvents)
	mux.HandleFunc("GET /ui/file/{id}", p.serveFile)
	mux.HandleFunc("GET /ui/app.css", asset("text/css; charset=utf-8", "assets/app.css"))
	mux.HandleFunc("GET /ui/app.js", asset("text/javascript; charset=utf-8", "assets/app.js"))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for name, do := range deeds {
		mux.HandleFunc("POST /ui/"+name, p.serveDeed(do))
	}
	if opts.Panel != nil {
		mux.Handle("/panel/", http.StripPrefix("/panel", opts.Panel))
	}
	return guard(mux, opts.Hosts)
}

// Beside serves the page and, at its own paths, the simulator. The tokens of a
// simulator are no secret, so what another site has a browser post to the Web
// API is refused as well; no SDK looks like that.
func Beside(sim *slacksim.Server, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	api := http.NewCrossOriginProtection().Handler(sim)
	for _, path := range []string{"/api/", "/commands/", "/actions/", "/upload/", "/files/"} {
		mux.Handle(path, api)
	}
	mux.Handle("/link", sim)
	mux.Handle("/link/", sim)
	return mux
}

func asset(kind, name string) http.HandlerFunc {
	body, err := assets.ReadFile(name)
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

func (p *page) serveWhole(w http.ResponseWriter, r *http.Request) { p.serve(w, r, "whole") }
func (p *page) serveApp(w http.ResponseWriter, r *http.Request)   { p.serve(w, r, "fragment") }

func (p *page) serve(w http.ResponseWriter, r *http.Request, name string) {
	q := r.URL.Query()
	at := place{As: q.Get("as"), Channel: q.Get("channel"), Thread: q.Get("thread"), Home: q.Get("home") == "1"}
	s, err := p.screen(at, q.Get("seen") == "1")
	var out bytes.Buffer
	if err == nil {
		err = pageTemplate.ExecuteTemplate(&out, name, s)
	}
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, errNobody) {
			status = http.StatusNotFound
		}
		p.opts.Log.Error("draw the page", "err", err)
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(out.Bytes()) // the reader has gone; nobody is left to tell
}

// serveFile hands out a file that the app uploaded. It is never shown in the
// page's own origin: it may hold anything.
func (p *page) serveFile(w http.ResponseWriter, r *http.Request) {
	f, ok := p.sim.File(r.PathValue("id"))
	if !ok || !p.reads(r.URL.Query().Get("as"), f) {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+fileName(f.Name)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.Content))
}

// reads reports whether the person is in a channel where the file is.
func (p *page) reads(user string, f slacksim.File) bool {
	for _, c := range p.sim.ChannelsOf(user) {
		for _, shared := range f.Channels {
			if c.ID == shared {
				return true
			}
		}
	}
	return false
}

// fileName makes a name safe for a header and a folder.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\/:*?<>|`, r) {
			return '_'
		}
		return r
	}, s)
	if s = strings.Trim(s, ". "); s == "" {
		return "file"
	}
	return s
}
