package feed

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// readEvery bounds how often the source is asked, whoever asks for the feed.
	readEvery = 2 * time.Second
	readFor   = 5 * time.Second
	// keepFor is how long an old feed is better than none.
	keepFor = 10 * time.Minute
)

func newestFirst(entries []atomEntry) {
	slices.SortStableFunc(entries, func(a, b atomEntry) int { return cmp.Compare(b.Updated, a.Updated) })
}

// A Server answers GET /status.json and /status.atom. It needs no login, so
// what it reads is kept for a moment: no number of readers is a load to Source.
type Server struct {
	Source func(ctx context.Context) (Feed, error)
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now

	mu   sync.Mutex
	read time.Time // last try
	good time.Time // last success
	docs map[string]document
}

type document struct {
	kind, tag string
	body      []byte
	changed   time.Time
}

// Register puts the feed's pages on a mux.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, "json") })
	mux.HandleFunc("GET /status.atom", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, "atom") })
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, name string) {
	d, ok := s.document(r.Context(), name)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if !ok {
		h.Set("Retry-After", "10")
		http.Error(w, "The status is not known at the moment.", http.StatusServiceUnavailable)
		return
	}
	h.Set("Content-Type", d.kind)
	h.Set("ETag", d.tag)
	h.Set("Cache-Control", "public, max-age=15")
	h.Set("Access-Control-Allow-Origin", "*") // a status page elsewhere may show it
	http.ServeContent(w, r, "", d.changed, bytes.NewReader(d.body))
}

func (s *Server) document(ctx context.Context, name string) (document, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	if now.Sub(s.read) >= readEvery || s.docs == nil {
		s.read = now
		// A reader who goes away must not leave the others without.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readFor)
		defer cancel()
		f, err := s.Source(ctx)
		if err == nil {
			s.good = now
			s.docs = map[string]document{
				"json": s.render("json", "application/json", f.JSON(), f.Updated()),
				"atom": s.render("atom", "application/atom+xml; charset=utf-8", f.Atom(), f.Updated()),
			}
		} else if s.Log != nil {
			s.Log.Error("read what the status feed shows", "error", err)
		}
	}
	if now.Sub(s.good) > keepFor {
		return document{}, false
	}
	d, ok := s.docs[name]
	return d, ok
}

// render makes a document. Some changes come without an update, such as of the
// severity; they count from when they were seen.
func (s *Server) render(name, kind string, body []byte, updated time.Time) document {
	sum := sha256.Sum256(body)
	d := document{kind, `"` + hex.EncodeToString(sum[:12]) + `"`, body, updated}
	if old, ok := s.docs[name]; ok && old.tag == d.tag {
		return old
	} else if ok && !updated.After(old.changed) {
		d.changed = s.good.UTC().Truncate(time.Second)
	}
	return d
}
