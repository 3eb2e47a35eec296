package patient

import (
	"embed"
	"encoding/json"
	"net/http"
)

//go:embed panel
var panelFiles embed.FS

// panelPolicy lets the page use its own files and nothing else.
const panelPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Panel serves a page that shows the vitals live and has a button that makes
// the patient ill again. All its links are relative, so it may be mounted
// under any path that ends in a slash, with http.StripPrefix.
func (p *Patient) Panel() http.Handler {
	mux := http.NewServeMux()
	for path, file := range map[string]string{"GET /{$}": "index.html", "GET /panel.css": "panel.css", "GET /panel.js": "panel.js"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, panelFiles, "panel/"+file)
		})
	}
	mux.HandleFunc("GET /vitals", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p.Vitals()) // the reader has gone
	})
	mux.HandleFunc("POST /sicken", func(w http.ResponseWriter, r *http.Request) {
		if err := p.Sicken(r.Context()); err != nil {
			p.log.Error("panel", "error", err)
			http.Error(w, "The patient could not be made ill.", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	own := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", panelPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		own.ServeHTTP(w, r)
	})
}
