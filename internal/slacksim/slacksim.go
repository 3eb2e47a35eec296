package slacksim

import (
	"log/slog"
	"net/http"
	"time"
)

// Options say how the simulated Slack is set up; the zero value works.
type Options struct {
	Manifest    []byte           // the app's manifest as YAML or JSON; default: opsbot's
	BotToken    string           // default xoxb-sim-…, made up
	AppToken    string           // default xapp-1-…, made up
	Team        string           // the workspace's name and domain; default "acme"
	Now         func() time.Time // default time.Now; Advance adds to it
	Log         *slog.Logger     // default: discard
	PingEvery   time.Duration    // between WebSocket pings; default 10 s
	NoRateLimit bool             // for throughput measurements only: nothing is ever ratelimited
	FreePlan    bool             // user groups answer plan_upgrade_required
}

// A Server is one workspace with one app installed. It is an http.Handler for
// /api/METHOD, /link (Socket Mode), /commands/ and /actions/ (response URLs),
// /upload/ and /files/.
type Server struct{}

// Open returns a workspace that lives until Close. Set its URL with SetURL
// before an app connects.
func Open(Options) (*Server, error) { return &Server{}, nil }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
func (s *Server) Close() error                                     { return nil }

// SetURL says under which address, such as http://127.0.0.1:8080, the server is reached.
func (s *Server) SetURL(u string) {}
func (s *Server) URL() string     { return "" }

// APIURL is what slack-go's OptionAPIURL wants; it ends in /api/.
func (s *Server) APIURL() string    { return "" }
func (s *Server) BotToken() string  { return "" }
func (s *Server) AppToken() string  { return "" }
func (s *Server) BotUserID() string { return "" }

// Connected is the number of open sockets of the app.
func (s *Server) Connected() int { return 0 }
