package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/slack-go/slack"

	"opsbot/internal/fault"
)

// Access says which Slack, and by what right. Tokens never appear in errors or
// logs.
type Access struct {
	BotToken string // xoxb-…
	AppToken string // xapp-…, with connections:write
	// ConfigToken is an app configuration token (xoxe.xoxp-…), good for twelve
	// hours, with which Slack shows the app's settings; "": they are not looked
	// at.
	ConfigToken string
	// APIURL is where the Web API is; empty means Slack's own. Any other must be
	// on this machine unless Foreign allows it, so that a slip of the pen does
	// not send the tokens away.
	APIURL  string
	Foreign bool
	// OpsChannel is where everything is said that has no better place: a
	// channel's id, or its name with or without #.
	OpsChannel string
	// Channels are more channels that the bot must be in.
	Channels []string
	// EchoPatience is how long Slack may take to tell the bot of its own doing,
	// before the app counts as not subscribed to such events; 0: two minutes.
	EchoPatience time.Duration
	Log          *slog.Logger          // nil: nothing is logged
	Metrics      prometheus.Registerer // nil: figures are not published
}

// callTimeout bounds one call of the Web API. Slack answers within a second or
// two, or not at all.
const callTimeout = 10 * time.Second

// A Workspace is one Slack workspace and the app installed there. It is safe
// for use from many goroutines.
type Workspace struct {
	access  Access
	log     *slog.Logger
	api     *slack.Client
	link    *slack.Client // for Socket Mode alone: its opens are throttled
	http    *http.Client
	gate    *throttle
	health  *health
	metrics *metrics
	pace    *pace
	echoes  *echoes

	mu       sync.Mutex
	identity identity
	channels map[string]string // by name as configured → id
	homes    map[string]home
	people   []*Directory // that are told of changes to accounts
}

// identity is who the bot is in the workspace.
type identity struct {
	team, user, bot string // ids
}

// NewWorkspace checks the form of what it is given and calls nobody. Errors
// are of kind Invalid.
func NewWorkspace(a Access) (*Workspace, error) {
	base, err := apiURL(a.APIURL, a.Foreign)
	if err != nil {
		return nil, err
	}
	a.APIURL = base
	for _, t := range []struct{ token, prefix, name string }{
		{a.BotToken, "xoxb-", "bot token (slack.bot_token, SLACK_BOT_TOKEN)"},
		{a.AppToken, "xapp-", "app-level token (slack.app_token, SLACK_APP_TOKEN)"},
	} {
		switch {
		case t.token == "":
			return nil, fault.New(fault.Invalid, "The %s is missing.", t.name)
		case !strings.HasPrefix(t.token, t.prefix):
			return nil, fault.New(fault.Invalid, "The %s does not start with %s.", t.name, t.prefix).
				Hinted("The two tokens may have been swapped: the bot token starts with xoxb-, the app-level token with xapp-.")
		}
	}
	if strings.Trim(a.OpsChannel, "# ") == "" {
		return nil, fault.New(fault.Invalid, "The ops channel (slack.ops_channel) is missing.")
	}
	w := &Workspace{access: a, log: a.Log, health: newHealth(), metrics: newMetrics(a.Metrics), channels: map[string]string{}, homes: map[string]home{}}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	w.pace, w.echoes = newPace(), newEchoes(a.EchoPatience)
	w.http = &http.Client{Transport: transport, Timeout: callTimeout}
	w.gate = &throttle{next: transport, log: w.log, failed: func(why string) {
		w.health.down(why + ".")
		w.log.Warn("open Slack's socket", "error", why)
	}}
	w.api = slack.New(a.BotToken, slack.OptionAppLevelToken(a.AppToken), slack.OptionAPIURL(base), slack.OptionHTTPClient(w.http),
		slack.OptionOnWarning(func(method string, _ any, warning *slack.Warning) {
			level := slog.LevelWarn
			if slices.Equal(warning.Codes, []string{"missing_charset"}) {
				level = slog.LevelDebug // of slack-go's every JSON call; nothing is wrong with it
			}
			w.log.Log(context.Background(), level, "Slack warns", "method", method, "codes", warning.Codes)
		}))
	// No overall timeout here: the throttle waits inside of the call.
	w.link = slack.New(a.BotToken, slack.OptionAppLevelToken(a.AppToken), slack.OptionAPIURL(base), slack.OptionHTTPClient(&http.Client{Transport: w.gate}))
	return w, nil
}

// Close lets go of idle connections.
func (w *Workspace) Close() { w.http.CloseIdleConnections() }

// Status says how the connection to Slack is.
func (w *Workspace) Status() Status { return w.health.status() }

// ChannelID returns the id of a channel that Access named, once Check has
// resolved it; an id is returned as it is, anything unknown as "".
func (w *Workspace) ChannelID(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if isChannelID(name) {
		return name
	}
	return w.channels[bare(name)]
}

func (w *Workspace) ops() string { return w.ChannelID(w.access.OpsChannel) }

func (w *Workspace) who() identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.identity
}

// count notes how a call was answered, and gives the method a rest when Slack
// asks for one.
func (w *Workspace) count(method string, err error) error {
	w.metrics.calls.WithLabelValues(method, word(err)).Inc()
	switch o, wait := judge(err); o {
	case limited:
		w.pace.rest(method, wait)
		w.metrics.waits.WithLabelValues("ratelimited").Add(wait.Seconds())
	case locked:
		// A missing scope stops one method; a refused token stops all.
		if word(err) != "missing_scope" || strings.HasPrefix(method, "chat.") {
			w.health.say(aboutTokens, "Slack refuses %s: %s.", method, hint(err))
		}
	case fine:
		w.pace.well(method)
		if strings.HasPrefix(method, "chat.") {
			w.health.say(aboutTokens, "")
		}
	}
	return err
}

// call makes one call of a method whose effect does not grow by repetition. It
// waits out a short rest that the method was given.
func (w *Workspace) call(ctx context.Context, method string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if wait := w.pace.rested(method); wait > 0 {
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return &slack.RateLimitedError{RetryAfter: wait}
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return w.count(method, f(ctx))
}

// patiently is call for reads that may take their time: it comes back as often
// as Slack asks it to wait.
func (w *Workspace) patiently(ctx context.Context, method string, f func(context.Context) error) error {
	for {
		err := w.call(ctx, method, f)
		if o, _ := judge(err); o != limited {
			return err
		}
		timer := time.NewTimer(w.pace.rested(method))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// plain calls a method that slack-go cannot read the answer of. Its errors are
// slack-go's.
func (w *Workspace) plain(ctx context.Context, method string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.access.APIURL+method, http.NoBody)
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+w.access.BotToken)
	resp, err := w.http.Do(req)
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && resp.StatusCode == http.StatusTooManyRequests {
		return &slack.RateLimitedError{RetryAfter: time.Duration(seconds) * time.Second}
	}
	if resp.StatusCode != http.StatusOK {
		return slack.StatusCodeError{Code: resp.StatusCode, Status: resp.Status}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", method, err)
	}
	var said slack.SlackResponse
	if err := json.Unmarshal(body, &said); err != nil {
		return fmt.Errorf("read the answer of %s: %w", method, err)
	}
	if err := said.Err(); err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", method, err)
	}
	return nil
}

// maxAnswer bounds an answer that is read here, in bytes.
const maxAnswer = 16 << 20

// errForeignURL: a payload named an address that is none of Slack's.
var errForeignURL = errors.New("the address is not Slack's")

// slackURL reports whether a response_url is on Slack or on the configured API
// host. It comes out of a payload, and what it gets is not meant for others.
func (w *Workspace) slackURL(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return false
	}
	base, err := url.Parse(w.access.APIURL)
	if err == nil && u.Scheme == base.Scheme && strings.EqualFold(u.Host, base.Host) {
		return true
	}
	return u.Scheme == "https" && slackHost(u.Hostname())
}

// apiURL checks and completes the address of the Web API.
func apiURL(raw string, foreign bool) (string, error) {
	if raw == "" {
		return slack.APIURL, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fault.New(fault.Invalid, "SLACK_API_URL is not an address such as https://slack.com/api/.")
	}
	switch {
	case slackHost(u.Hostname()) && u.Scheme == "https":
	case loopback(u.Hostname()), foreign:
	default:
		return "", fault.New(fault.Invalid, "SLACK_API_URL points to %s, which is neither Slack nor this machine; the tokens would be sent there.", u.Host)
	}
	// slack-go glues the method's name to it.
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u.String(), nil
}

func slackHost(host string) bool {
	host = strings.ToLower(host)
	for _, domain := range []string{"slack.com", "slack-gov.com"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
