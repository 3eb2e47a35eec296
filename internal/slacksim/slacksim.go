// Package slacksim is a Slack that refuses whatever the real one refuses.
//
// A Server is one workspace with one app installed. The app reaches it through
// Slack's own doors: the Web API, Socket Mode, response URLs and file uploads.
// People reach it through the verbs of [Person], which a browser page or a
// test calls; they see what Slack's client would show them, failures included.
// Tests also have faults, a clock that can be pushed forward, and a check that
// no message went unread.
//
// Limits, arguments, scopes and rates come from the files in facts, which were
// taken from Slack's reference; nothing is shared with the code of any bot.
// Where Slack's behavior is not documented the package picks the stricter
// reading and its comment says "policy". slack.md holds the facts, their
// sources and the list of policies.
package slacksim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options say how the simulated Slack is set up; the zero value works.
type Options struct {
	Manifest    []byte           // the app's manifest, YAML or JSON; default: the embedded one of opsbot
	BotToken    string           // default made up: xoxb-…
	AppToken    string           // default made up: xapp-…
	ConfigToken string           // default made up: xoxe.xoxp-…
	Team        string           // the workspace's name and domain; default acme
	Now         func() time.Time // default time.Now; Advance adds to it
	Log         *slog.Logger     // default: nothing is logged
	PingEvery   time.Duration    // between WebSocket pings, in real time; default 10 s
	NoRateLimit bool             // for measuring throughput: nothing is ever rate limited
	FreePlan    bool             // user groups answer plan_upgrade_required
}

// A Server is one workspace with one app installed. It is an http.Handler for
// /api/METHOD, /link (Socket Mode), /commands/ and /actions/ (response URLs),
// /upload/ and /files/. Its methods may be called from many goroutines.
type Server struct {
	opts     Options
	log      *slog.Logger
	clock    *clock
	manifest manifest
	app      appIdentity

	ctx    context.Context // ends with Close; sockets live in it
	cancel context.CancelFunc
	conns  sync.WaitGroup // requests and sockets under way

	mu        sync.Mutex
	url       string
	seq       int   // numbers in made-up IDs
	lastTS    int64 // µs; every message's ts is later
	rnd       *rand.Rand
	closed    bool
	revoked   map[string]string // token → error
	scopes    map[string]bool
	users     map[string]*User
	userOrder []string
	channels  map[string]*channel
	chanOrder []string
	groups    []*Usergroup
	files     map[string]*File
	fileOrder []string
	uploads   map[string]*upload
	views     map[string]*view
	stacks    map[string][]*view // per user, the visible one last
	homes     map[string]*view
	notices   map[string][]Notice
	triggers  map[string]*trigger
	hooks     map[string]*hook
	scheduled map[string]*scheduled
	sockets   []*socket
	tickets   map[string]bool
	pending   map[string]*delivery
	settled   map[string]string // envelope → what it was, once acked or given up

	settledOrder []string
	buckets      map[string]*bucket
	faults       faults
	calls        []Call
	acks         []Ack
	subs         map[chan Event]struct{}
	changed      chan struct{} // closed and replaced at every change
	unread       map[msgKey]bool
	unserved     []string // methods called that exist in Slack but not here
	forgiving    bool     // IgnoreRest was called
}

// appIdentity is who the installed app is.
type appIdentity struct {
	teamID, teamName, teamDomain    string
	appID, botID, botUserID, secret string // secret is the old verification token
}

// Open returns a workspace with a #general channel and the app's bot user in
// it. It lives until Close. Call SetURL before an app connects. A manifest
// that Slack would not take is an error.
func Open(opts Options) (*Server, error) {
	if len(opts.Manifest) == 0 {
		opts.Manifest = defaultManifest
	}
	m, err := parseManifest(opts.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if opts.Team == "" {
		opts.Team = "acme"
	}
	if opts.PingEvery <= 0 {
		opts.PingEvery = 10 * time.Second
	}
	s := &Server{
		opts: opts, log: opts.Log, clock: newClock(opts.Now), manifest: m,
		rnd:     rand.New(rand.NewPCG(1, 2)),
		revoked: map[string]string{}, scopes: map[string]bool{"connections:write": true},
		users: map[string]*User{}, channels: map[string]*channel{},
		files: map[string]*File{}, uploads: map[string]*upload{},
		views: map[string]*view{}, stacks: map[string][]*view{}, homes: map[string]*view{},
		notices: map[string][]Notice{}, triggers: map[string]*trigger{}, hooks: map[string]*hook{},
		scheduled: map[string]*scheduled{}, tickets: map[string]bool{}, pending: map[string]*delivery{}, settled: map[string]string{},
		buckets: map[string]*bucket{}, faults: faults{byMethod: map[string][]*Fault{}},
		subs: map[chan Event]struct{}{}, changed: make(chan struct{}), unread: map[msgKey]bool{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, scope := range m.OAuth.Scopes.Bot {
		s.scopes[scope] = true
	}
	s.app = appIdentity{
		teamID: s.newID("T"), teamName: opts.Team, teamDomain: strings.ToLower(opts.Team),
		appID: s.newID("A"), botID: s.newID("B"), secret: "sim-verification-token",
	}
	if s.opts.BotToken == "" {
		s.opts.BotToken = "xoxb-sim-" + s.app.botID
	}
	if s.opts.AppToken == "" {
		s.opts.AppToken = "xapp-1-" + s.app.appID + "-sim"
	}
	if s.opts.ConfigToken == "" {
		s.opts.ConfigToken = "xoxe.xoxp-1-" + s.app.appID + "-sim"
	}
	name := strings.ToLower(strings.ReplaceAll(m.Features.BotUser.DisplayName, " ", ""))
	if name == "" {
		name = "app"
	}
	s.addChannel(Channel{Name: "general", General: true})
	s.app.botUserID = s.addUser(User{Name: name, RealName: m.Display.Name, Bot: true}).ID
	return s, nil
}

// Close ends every socket without a close frame's courtesy, as a crash would,
// forgets all plans and waits until nothing of the server runs any more.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.conns.Wait()
		return nil
	}
	s.closed = true
	for _, d := range s.pending {
		d.giveUp()
	}
	for ch := range s.subs {
		delete(s.subs, ch)
		close(ch)
	}
	s.mu.Unlock()
	s.cancel()
	s.clock.close()
	s.conns.Wait()
	return nil
}

// ServeHTTP serves the app.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	s.conns.Add(1)
	s.mu.Unlock()
	defer s.conns.Done()

	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r, strings.TrimPrefix(path, "/api/"))
	case path == "/link" || path == "/link/":
		s.serveSocket(w, r)
	case strings.HasPrefix(path, "/commands/"), strings.HasPrefix(path, "/actions/"):
		s.serveHook(w, r)
	case strings.HasPrefix(path, "/upload/"):
		s.serveUpload(w, r)
	case strings.HasPrefix(path, "/files/"):
		s.serveFile(w, r)
	default:
		http.NotFound(w, r)
	}
}

// SetURL says under which address, such as http://127.0.0.1:8080, the server
// is reached. Socket Mode, response and upload URLs are made from it.
func (s *Server) SetURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = strings.TrimSuffix(u, "/")
}

// URL returns the address, without a slash at its end.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// APIURL returns what slack-go's OptionAPIURL wants; it ends in /api/.
func (s *Server) APIURL() string { return s.URL() + "/api/" }

// BotToken returns the token that the app's Web API calls must carry.
func (s *Server) BotToken() string { return s.opts.BotToken }

// AppToken returns the token that apps.connections.open must carry.
func (s *Server) AppToken() string { return s.opts.AppToken }

// ConfigToken is the app configuration token, which shows the app's settings.
func (s *Server) ConfigToken() string { return s.opts.ConfigToken }

// BotUserID returns the user ID of the app's bot.
func (s *Server) BotUserID() string { return s.app.botUserID }

// BotID returns the bot ID ("B…") that marks the app's messages.
func (s *Server) BotID() string { return s.app.botID }

// AppID returns the app's ID.
func (s *Server) AppID() string { return s.app.appID }

// TeamID returns the workspace's ID.
func (s *Server) TeamID() string { return s.app.teamID }

// Now returns the simulated time.
func (s *Server) Now() time.Time { return s.clock.now() }

// Advance moves the simulated clock forward and runs what comes due in that
// span, in order: ack deadlines, event retries, scheduled messages, recycled
// sockets. Pings keep to real time, since a jump leaves nobody time to answer.
func (s *Server) Advance(d time.Duration) {
	s.clock.advance(d)
	s.mu.Lock()
	s.tell(Event{Kind: "clock"})
	s.mu.Unlock()
}

// Subscribe tells of changes until ctx ends or the server closes; then the
// channel is closed. A reader that falls more than 256 events behind misses
// some, so each event means "look again" and no more.
func (s *Server) Subscribe(ctx context.Context) <-chan Event {
	ch := make(chan Event, 256)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(ch)
		return ch
	}
	s.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, open := s.subs[ch]; open {
			delete(s.subs, ch)
			close(ch)
		}
	})
	return ch
}

// wake asks whoever waits in Wait to look again. s.mu is held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// tell wakes and sends the event to the subscribers. s.mu is held.
func (s *Server) tell(e Event) {
	s.wake()
	for ch := range s.subs {
		select {
		case ch <- e:
		default:
		}
	}
}

// newID makes up an ID. s.mu is held, or the server not yet shared.
func (s *Server) newID(prefix string) string {
	s.seq++
	return fmt.Sprintf("%s0SIM%05d", prefix, s.seq)
}

// newTS returns a message timestamp, unique in the workspace and rising.
func (s *Server) newTS() string {
	us := s.clock.now().UnixMicro()
	if us <= s.lastTS {
		us = s.lastTS + 1
	}
	s.lastTS = us
	return fmt.Sprintf("%d.%06d", us/1e6, us%1e6)
}

// random returns n characters that nobody could guess in a test by accident.
func (s *Server) random(n int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[s.rnd.IntN(len(alphabet))]
	}
	return string(b)
}
