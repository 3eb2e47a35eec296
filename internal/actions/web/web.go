// Package web offers runbook actions over HTTP.
//
// Paths are taken below a base address from the configuration, never an
// address from a runbook; redirects may not leave its host; no answer is read
// beyond 1 MiB. The bearer token goes to that host alone and is in no message.
package web

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

const (
	// maxBody bounds what is read of one answer.
	maxBody = 1 << 20
	// maxRedirects is how many redirects on the same host are followed.
	maxRedirects  = 5
	headerTimeout = 30 * time.Second
	dialTimeout   = 3 * time.Second
)

// A Config says where an HTTP service is.
type Config struct {
	BaseURL string          // http://host:port, perhaps with a path
	Token   string          // bearer token; "": none
	Lists   map[string]List // for http.warm, by name
}

// A List is a set of paths: one path for each value of user.
type List struct {
	Path string // with {user} where a value goes; without it the list is this one path
	User string // file:PATH with one value per line, or values separated by commas
}

// A Conn is one HTTP service. It is safe for concurrent use.
type Conn struct {
	base   *url.URL
	token  string
	lists  map[string]List
	client *http.Client
	fresh  *http.Client // with a new connection for each request
}

// Open checks the configuration and prepares a connection; it reaches nothing
// yet. The error is of kind Invalid.
func Open(c Config) (*Conn, error) {
	base, err := url.Parse(c.BaseURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "The address of an HTTP connection is not one that opsbot understands.").
			Hinted("Write http://HOST:PORT or https://HOST.")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fault.New(fault.Invalid, "The address of the HTTP connection to %s has more than host and path.", base.Host).
			Hinted("Secrets go into token, as a reference.")
	}
	conn := &Conn{base: base, token: c.Token, lists: c.Lists}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	transport.ResponseHeaderTimeout = headerTimeout
	transport.MaxResponseHeaderBytes = 64 << 10
	conn.client = &http.Client{Transport: transport, CheckRedirect: conn.redirect}
	once := transport.Clone()
	once.DisableKeepAlives = true
	conn.fresh = &http.Client{Transport: once, CheckRedirect: conn.redirect}
	return conn, nil
}

// Identity returns the base address. HTTP has no better name for a system that
// all systems would give.
func (c *Conn) Identity(context.Context) (string, error) { return c.base.String(), nil }

// Examine implements runbooks.Examiner: it asks for the base address. Any answer
// will do, because not every service has a page there.
func (c *Conn) Examine(ctx context.Context) ([]runbooks.Finding, error) {
	a, err := c.get(ctx, "/", true)
	if err != nil {
		return nil, err
	}
	return []runbooks.Finding{{Name: "answer", Says: fmt.Sprintf("%d in %.0f ms", a.code, milliseconds(a.took))}}, nil
}

// Address says where the connection leads: "http http://localhost:8000".
func (c *Conn) Address() string { return "http " + c.base.String() }

// Close ends idle sockets.
func (c *Conn) Close() error {
	c.client.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
	return nil
}

var errElsewhere = errors.New("redirect to another host")

func (c *Conn) redirect(next *http.Request, via []*http.Request) error {
	if next.URL.Host != c.base.Host || next.URL.Scheme != c.base.Scheme {
		return errElsewhere
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// resolve returns the address of a path below the base.
func (c *Conn) resolve(path string) (*url.URL, error) {
	u, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || u.Host != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "%q is not a path such as /api/v1/health.", short(path)).
			Hinted("The host comes from the connection.")
	}
	for _, segment := range strings.Split(u.Path, "/") {
		// It would lead out of the base's path, or look as if it did not.
		if segment == ".." || segment == "." {
			return nil, fault.New(fault.Invalid, "The path %q has a segment of dots.", short(path))
		}
	}
	full := *c.base
	full.Path = strings.TrimSuffix(c.base.Path, "/") + u.Path
	full.RawPath = strings.TrimSuffix(c.base.EscapedPath(), "/") + u.EscapedPath()
	full.RawQuery = u.RawQuery
	return &full, nil
}

// An answer is what came back, its body cut at maxBody.
type answer struct {
	code   int
	took   time.Duration // until the last byte
	header http.Header
	body   []byte
	cut    bool
}

// A request is a path and how it is asked for.
type request struct {
	path  string
	token string // "": none
	fresh bool   // on a new connection
}

// get fetches a path, with the connection's token or without one. The error is
// for people.
func (c *Conn) get(ctx context.Context, path string, auth bool) (answer, error) {
	r := request{path: path}
	if auth {
		r.token = c.token
	}
	return c.ask(ctx, r)
}

// ask fetches what is requested. The error is for people.
func (c *Conn) ask(ctx context.Context, r request) (answer, error) {
	path := r.path
	target, err := c.resolve(path)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	req.Header.Set("User-Agent", "opsbot")
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	client := c.client
	if r.fresh {
		client = c.fresh
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, c.explain(path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return answer{}, c.explain(path, err)
	}
	a := answer{code: resp.StatusCode, took: time.Since(start), header: resp.Header, body: body}
	if len(body) > maxBody {
		a.body, a.cut = body[:maxBody], true
	}
	return a, nil
}

// explain turns a transport error into one that people understand.
func (c *Conn) explain(path string, err error) error { return explain(c.base.Host, path, err) }

func explain(host, path string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("GET %s from %s: %w", path, host, err)
	}
	unavailable := func(says, hint string) error {
		return fault.New(fault.Unavailable, "%s %s.", host, says).Hinted("%s", hint).Because(err)
	}
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		timeout   net.Error
	)
	switch {
	case errors.Is(err, errElsewhere):
		return fault.New(fault.Conflict, "%s redirects %s to another host, which opsbot does not follow.", host, short(path)).Because(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return unavailable("refused the connection", "Is it running, and is the address right?")
	case errors.As(err, &dns):
		return unavailable("could not be found: no such host", "Check the connection's address.")
	case errors.As(err, &authority), errors.As(err, &hostname):
		return unavailable("has a certificate that is not trusted", "Check its name and its issuer.")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return unavailable("did not answer in time", "It may be overloaded, or a firewall drops the packets.")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return unavailable("closed the connection without an answer", "Did it crash? Its log should say.")
	default:
		return unavailable("could not be asked for "+short(path), "Is it an HTTP server, and does it want TLS?")
	}
}

// short cuts a path to something that fits in a sentence.
func short(path string) string {
	if r := []rune(path); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return path
}

// connOf returns the connection that a call is aimed at.
func connOf(call runbooks.Call) (*Conn, error) {
	c, ok := call.Target.Conn.(*Conn)
	if !ok {
		return nil, fmt.Errorf("target %s of step %s is a %T, not an HTTP connection", call.Target.Name, call.Step, call.Target.Conn)
	}
	return c, nil
}

// argsOf returns the decoded arguments of a call.
func argsOf[T any](call runbooks.Call) (*T, error) {
	args, ok := call.Args.(*T)
	if !ok {
		return nil, fmt.Errorf("arguments of step %s are a %T", call.Step, call.Args)
	}
	return args, nil
}
