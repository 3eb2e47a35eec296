package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

const (
	// maxMetrics bounds what is read of one answer of metrics or of Prometheus.
	maxMetrics = 16 << 20
	// maxReplicas bounds how many addresses are scraped at a time.
	maxReplicas = 50
)

// A MetricsConfig says where metrics are: a Prometheus, the services' own
// addresses, or both.
type MetricsConfig struct {
	Prometheus string // base URL; "": none
	Token      string // bearer token for Prometheus; "": none
	Username   string // for Prometheus; "": none
	Password   string
	Queries    map[string]string // PromQL by name
	// Scrape are the addresses of a service's metrics, one for each replica:
	// http://host:port/metrics. dns+http://… is one for each address of the
	// host's name.
	Scrape []string
	// Replicas finds more of them when it is called: those of one color, blue or
	// green, or all where that is ""; nil: there are none.
	Replicas func(ctx context.Context, color string) ([]string, error)
}

// Metrics is where metrics come from. It is safe for concurrent use.
type Metrics struct {
	base    *url.URL // nil: no Prometheus
	client  *http.Client
	api     prometheus.API
	queries map[string]string
	scrape  []string
	find    func(ctx context.Context, color string) ([]string, error)
}

// OpenMetrics checks the configuration and prepares a connection; it reaches
// nothing yet. The error is of kind Invalid.
func OpenMetrics(c MetricsConfig) (*Metrics, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	transport.ResponseHeaderTimeout = headerTimeout
	transport.MaxResponseHeaderBytes = 64 << 10
	m := &Metrics{
		queries: c.Queries, scrape: c.Scrape, find: c.Replicas,
		client: &http.Client{Transport: bounded{transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return errElsewhere }},
	}
	for _, address := range c.Scrape {
		if _, _, err := scrapeURL(address); err != nil {
			return nil, err
		}
	}
	if c.Prometheus == "" {
		if len(c.Scrape) == 0 && c.Replicas == nil {
			return nil, fault.New(fault.Invalid, "A connection for metrics has neither a Prometheus nor addresses to scrape.")
		}
		return m, nil
	}
	base, err := url.Parse(c.Prometheus)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fault.New(fault.Invalid, "The address of a Prometheus is not one that opsbot understands.").
			Hinted("Write http://HOST:PORT; secrets go into token or password, as references.")
	}
	m.base = base
	known := authorized{to: base.Host, token: c.Token, username: c.Username, password: c.Password, next: m.client.Transport}
	client, err := api.NewClient(api.Config{Address: base.String(), Client: &http.Client{Transport: known, CheckRedirect: m.client.CheckRedirect}})
	if err != nil {
		return nil, fault.New(fault.Invalid, "The address of a Prometheus is not one that opsbot understands.").Because(err)
	}
	m.api = prometheus.NewAPI(client)
	return m, nil
}

// scrapeURL reads an address to scrape; byName says that each address of the
// host's name is one replica.
func scrapeURL(address string) (u *url.URL, byName bool, err error) {
	rest, byName := strings.CutPrefix(address, "dns+")
	u, err = url.Parse(rest)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" || byName && u.Port() == "" {
		return nil, false, fault.New(fault.Invalid, "An address to scrape is not one that opsbot understands.").
			Hinted("Write http://HOST:PORT/metrics, or dns+http://NAME:PORT/metrics for every address of a name.")
	}
	if u.Path == "" {
		u.Path = "/metrics"
	}
	return u, byName, nil
}

// Identity returns the addresses: metrics have no better name for a system.
func (m *Metrics) Identity(context.Context) (string, error) {
	return strings.Join(m.places(), " "), nil
}

func (m *Metrics) places() []string {
	var places []string
	if m.base != nil {
		places = append(places, m.base.String())
	}
	return append(places, m.scrape...)
}

// Address says where the connection leads: "prometheus http://localhost:9090".
func (m *Metrics) Address() string {
	if m.base != nil {
		return "prometheus " + m.base.String()
	}
	return strings.Join(append([]string{"metrics"}, m.scrape...), " ")
}

// Close ends idle sockets.
func (m *Metrics) Close() error {
	m.client.CloseIdleConnections()
	return nil
}

// Lacks implements runbooks.Limited.
func (m *Metrics) Lacks(action string) error {
	switch family, _, _ := strings.Cut(action, "."); {
	case family == "prometheus" && m.base == nil:
		return fault.New(fault.Invalid, "%s needs a Prometheus, and the connection has only addresses to scrape.", action).
			Hinted("Add prometheus: URL to the connection.")
	case family == "metrics" && len(m.scrape) == 0 && m.find == nil:
		return fault.New(fault.Invalid, "%s needs addresses to scrape, and the connection has only a Prometheus.", action).
			Hinted("Add scrape: a list of addresses such as http://api:8000/metrics.")
	}
	return nil
}

// Examine implements runbooks.Examiner.
func (m *Metrics) Examine(ctx context.Context) ([]runbooks.Finding, error) {
	var found []runbooks.Finding
	if m.base != nil {
		f := runbooks.Finding{Name: "prometheus"}
		if build, err := m.api.Buildinfo(ctx); err != nil {
			f.Bad, f.Says = true, fault.Say(m.explain(err))
		} else {
			f.Says = build.Version
		}
		found = append(found, f)
		for _, name := range slices.Sorted(maps.Keys(m.queries)) {
			f := runbooks.Finding{Name: "query " + name}
			r, err := m.ask(ctx, m.queries[name])
			if f.Bad = err != nil; f.Bad {
				f.Says = fault.Say(err)
			} else {
				f.Says = r.Found()
			}
			found = append(found, f)
		}
	}
	if len(m.scrape) == 0 && m.find == nil {
		return found, nil
	}
	targets, err := m.targets(ctx, "")
	if err != nil {
		return append(found, runbooks.Finding{Name: "scrape", Bad: true, Says: fault.Say(err)}), nil
	}
	for _, t := range targets {
		f := runbooks.Finding{Name: "scrape " + t.name}
		if families, err := m.fetch(ctx, t); err != nil {
			f.Bad, f.Says = true, fault.Say(err)
		} else {
			f.Says = fmt.Sprintf("%d metrics", len(families))
		}
		found = append(found, f)
	}
	return found, nil
}

// metricsOf returns the connection that a call is aimed at, if it can do it.
func metricsOf(call runbooks.Call, action string) (*Metrics, error) {
	m, ok := call.Target.Conn.(*Metrics)
	if !ok {
		return nil, fmt.Errorf("target %s of step %s is a %T, not one for metrics", call.Target.Name, call.Step, call.Target.Conn)
	}
	return m, m.Lacks(action)
}

// A target is one address to scrape.
type target struct {
	name string // for people
	url  string
	host string // of the request; "" is the URL's
}

// targets lists the replicas as they are now. Only those that are found have a
// color, so where one is wanted and some can be found, the others are left out.
func (m *Metrics) targets(ctx context.Context, color string) ([]target, error) {
	addresses := m.scrape
	if m.find != nil {
		found, err := m.find(ctx, color)
		if err != nil {
			return nil, err
		}
		if color != "" {
			addresses = nil
		}
		addresses = slices.Concat(addresses, found)
	}
	var list []target
	for _, address := range addresses {
		u, byName, err := scrapeURL(address)
		if err != nil {
			return nil, err
		}
		if !byName {
			list = append(list, target{name: u.Host, url: u.String()})
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		if err != nil {
			return nil, explain(u.Host, u.Path, err)
		}
		slices.SortFunc(ips, netip.Addr.Compare)
		for _, ip := range slices.Compact(ips) {
			one := *u
			one.Host = net.JoinHostPort(ip.Unmap().String(), u.Port())
			list = append(list, target{name: one.Host, url: one.String(), host: u.Host})
		}
	}
	switch {
	case len(list) == 0:
		return nil, fault.New(fault.Unavailable, "There is no replica to scrape.").Hinted("Does the service run?")
	case len(list) > maxReplicas:
		return nil, fault.New(fault.Invalid, "There are %d addresses to scrape, more than %d.", len(list), maxReplicas)
	}
	return list, nil
}

// authorized adds credentials to requests to one host.
type authorized struct {
	to                        string
	token, username, password string
	next                      http.RoundTripper
}

func (a authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == a.to && (a.token != "" || a.username != "") {
		req = req.Clone(req.Context())
		if a.token != "" {
			req.Header.Set("Authorization", "Bearer "+a.token)
		} else {
			req.SetBasicAuth(a.username, a.password)
		}
	}
	return a.next.RoundTrip(req)
}

// bounded ends answers that are too long with an error.
type bounded struct{ next http.RoundTripper }

var errTooLong = errors.New("the answer is too long")

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = &limited{resp.Body, maxMetrics}
	}
	return resp, err
}

// CloseIdleConnections is what http.Client looks for.
func (b bounded) CloseIdleConnections() {
	if t, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

type limited struct {
	io.ReadCloser
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLong
	}
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
