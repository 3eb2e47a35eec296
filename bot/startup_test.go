package bot_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"opsbot/bot"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
	"opsbot/internal/slacksim"
)

func TestNewWorkspaceRefuses(t *testing.T) {
	t.Parallel()
	good := bot.Access{BotToken: "xoxb-canary-1", AppToken: "xapp-canary-2", OpsChannel: "#ops"}
	if w, err := bot.NewWorkspace(good); err != nil {
		t.Errorf("NewWorkspace() = %v", err)
	} else {
		w.Close()
	}
	for name, c := range map[string]struct {
		change func(*bot.Access)
		want   string
	}{
		"no bot token":    {func(a *bot.Access) { a.BotToken = "" }, "bot token (slack.bot_token, SLACK_BOT_TOKEN) is missing"},
		"no app token":    {func(a *bot.Access) { a.AppToken = "" }, "app-level token (slack.app_token, SLACK_APP_TOKEN) is missing"},
		"swapped":         {func(a *bot.Access) { a.BotToken, a.AppToken = a.AppToken, a.BotToken }, "does not start with xoxb-"},
		"no ops channel":  {func(a *bot.Access) { a.OpsChannel = " # " }, "ops channel"},
		"foreign host":    {func(a *bot.Access) { a.APIURL = "https://slack.com.evil.example/api/" }, "neither Slack nor this machine"},
		"plain http":      {func(a *bot.Access) { a.APIURL = "http://slack.com/api/" }, "neither Slack nor this machine"},
		"no address":      {func(a *bot.Access) { a.APIURL = "slack.com/api" }, "not an address"},
		"with a question": {func(a *bot.Access) { a.APIURL = "http://127.0.0.1/api/?x=1" }, "not an address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := good
			c.change(&a)
			_, err := bot.NewWorkspace(a)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), c.want) {
				t.Errorf("NewWorkspace() = %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows a token: %v", err)
			}
		})
	}
	for _, url := range []string{"http://127.0.0.1:8080/api", "http://[::1]:8080/api/", "http://localhost/api/", "https://slack-gov.com/api/"} {
		a := good
		a.APIURL = url
		w, err := bot.NewWorkspace(a)
		if err != nil {
			t.Errorf("NewWorkspace(%s) = %v", url, err)
			continue
		}
		w.Close()
	}
	a := good
	a.APIURL, a.Foreign = "https://slack.example.com/api/", true
	if w, err := bot.NewWorkspace(a); err != nil {
		t.Errorf("NewWorkspace() with leave = %v", err)
	} else {
		w.Close()
	}
}

// An event that the app did not subscribe to is noticed once the bot does what
// it tells of; and when it comes after all, that is said as well.
func TestEventMissing(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.sim.RemoveEvent("pin_added")
	h.echoPatience = 500 * time.Millisecond
	h.move()
	h.say(
		outbox.Notice{Key: "head", To: outbox.Conversation{Channel: h.id("den")}, Content: outbox.Line{Text: "The API is down."}},
		outbox.Notice{Key: "pin", Under: "head", Content: outbox.Pin{On: true}},
	)
	h.expect("ops", "Slack does not tell opsbot of pin_added. What is pinned does not come onto the timelines")
	h.sim.AddEvent("pin_added")
	h.say(
		outbox.Notice{Key: "pin", Under: "head", Content: outbox.Pin{On: false}},
		outbox.Notice{Key: "pin again", Under: "head", Content: outbox.Pin{On: true}},
	)
	h.expect("ops", "Slack tells opsbot of pin_added.")
	if n := len(h.saying("ops", "Slack")); n != 1 {
		t.Errorf("%d messages about events, want the one, edited", n)
	}
}

// With a configuration token, the start compares everything that the app's
// settings have with the manifest.
func TestManifestCompared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token string
		want  string // "": it starts
	}{
		"complete":        {},
		"event missing":   {want: "The Slack app lacks the event channel_archive, the event pin_added."},
		"token too old":   {token: "xoxe.xoxp-1-old"},
		"a token of ours": {token: "xoxb-sim"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, slacksim.Options{})
			if c.want != "" {
				h.sim.RemoveEvent("pin_added")
				h.sim.RemoveEvent("channel_archive")
			}
			a := h.access()
			a.ConfigToken = c.token
			if a.ConfigToken == "" {
				a.ConfigToken = h.sim.ConfigToken()
			}
			w, err := bot.NewWorkspace(a)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.Check(t.Context())
			if c.want == "" && err != nil || c.want != "" && (fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), c.want)) {
				t.Errorf("Check() = %v, want %q", err, c.want)
			}
			if err := w.CheckInstallation(t.Context()); c.token != "" && fault.KindOf(err) != fault.Forbidden {
				t.Errorf("CheckInstallation() = %v", err)
			}
		})
	}
}

// What slack-go would retry for ever ends the start with a plain sentence.
func TestStartRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(*slacksim.Server)
		access func(*bot.Access)
		want   string
		kind   fault.Kind
	}{
		"wrong bot token":   {access: func(a *bot.Access) { a.BotToken = "xoxb-wrong" }, want: "bot token (SLACK_BOT_TOKEN): Slack does not know this token", kind: fault.Invalid},
		"wrong app token":   {access: func(a *bot.Access) { a.AppToken = "xapp-wrong" }, want: "app-level token (SLACK_APP_TOKEN): Slack does not know this token", kind: fault.Invalid},
		"revoked":           {spoil: func(s *slacksim.Server) { s.RevokeToken() }, want: "the token was revoked", kind: fault.Invalid},
		"scope":             {spoil: func(s *slacksim.Server) { s.RemoveScope("channels:history") }, want: "lacks the scopes channels:history", kind: fault.Invalid},
		"connections:write": {spoil: func(s *slacksim.Server) { s.RemoveScope("connections:write") }, want: "connections:write", kind: fault.Invalid},
		"not allowed": {spoil: func(s *slacksim.Server) {
			s.Fail("apps.connections.open", slacksim.Fault{Error: "not_allowed_token_type"})
		}, want: "wrong kind of token", kind: fault.Invalid},
		"team":          {spoil: func(s *slacksim.Server) { s.Fail("apps.connections.open", slacksim.Fault{Error: "forbidden_team"}) }, want: "an administrator must approve it", kind: fault.Invalid},
		"no channel":    {access: func(a *bot.Access) { a.OpsChannel = "#opps" }, want: "There is no channel #opps", kind: fault.NotFound},
		"no channel id": {access: func(a *bot.Access) { a.OpsChannel = "C0000000000" }, want: "There is no channel C0000000000", kind: fault.NotFound},
		"private channel": {spoil: func(s *slacksim.Server) {
			s.AddChannel(slacksim.Channel{Name: "secret", Private: true, Members: []string{"ann"}})
		}, access: func(a *bot.Access) { a.OpsChannel = "secret" }, want: "/invite @opsbot", kind: fault.NotFound},
		"archived": {spoil: func(s *slacksim.Server) { s.ArchiveChannel("ops") }, want: "There is no channel #ops", kind: fault.NotFound},
		"silent":   {spoil: func(s *slacksim.Server) { s.Fail("auth.test", slacksim.Fault{Status: 503}) }, want: "Slack does not answer", kind: fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, slacksim.Options{})
			if c.spoil != nil {
				c.spoil(h.sim)
			}
			a := h.access()
			if c.access != nil {
				c.access(&a)
			}
			w, err := bot.NewWorkspace(a)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = w.Check(t.Context())
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Say(err), c.want) {
				t.Errorf("Check() = %v (%s), want %q", err, fault.KindOf(err), c.want)
			}
			if err != nil && (strings.Contains(err.Error(), a.BotToken) || strings.Contains(err.Error(), a.AppToken)) {
				t.Errorf("the error shows a token: %v", err)
			}
		})
	}
}

// Serve gives up what nobody can wait for.
func TestServeEndsOnRefusal(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.sim.RevokeToken()
	select {
	case err := <-h.start():
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("Serve() = %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	_ = h.stop()
}

// A token that is revoked later ends Serve too.
func TestServeEndsOnRevocation(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	ended := h.start()
	h.until("the bot is connected", func() bool { return h.w.Status().Ready() })
	h.sim.RevokeToken()
	h.sim.DropSockets()
	select {
	case err := <-ended:
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), "SLACK_APP_TOKEN") {
			t.Errorf("Serve() = %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	_ = h.stop()
}

// While Slack is down the start waits for it.
func TestStartWaitsForSlack(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.sim.Fail("auth.test", slacksim.Fault{Status: 503, Times: 1})
	h.sim.Fail("apps.connections.open", slacksim.Fault{RetryAfter: time.Second, Times: 1})
	h.move()
	h.slash("ann", "den", "/runbook list")
	h.expect("den", "did runbook list")
}

func TestStopWhileSlackIsDown(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	h.sim.Fail("*", slacksim.Fault{Status: 503, For: time.Hour})
	h.start()
	h.until("it has tried", func() bool { return h.count("auth.test") > 0 })
	if err := h.stop(); err != nil {
		t.Errorf("Serve() = %v", err)
	}
}

func TestManyChannels(t *testing.T) {
	t.Parallel()
	h := build(t, slacksim.Options{})
	for i := range 2000 {
		h.sim.AddChannel(slacksim.Channel{Name: "c" + strings.Repeat("x", i%50) + time.Duration(i).String()})
	}
	h.sim.AddChannel(slacksim.Channel{Name: "zoo", Members: []string{"ann"}})
	a := h.access()
	a.Channels = []string{"#Zoo"}
	w, err := bot.NewWorkspace(a)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.ChannelID("#zoo"), h.id("zoo"); got != want {
		t.Errorf("ChannelID(#zoo) = %q, want %q", got, want)
	}
	if c, _ := h.sim.Channel("zoo"); len(c.Members) != 2 {
		t.Error("the bot did not join")
	}
}

// Behind a proxy the dialer keeps its hands off; the connection must still
// work. The environment is read once per process, hence another process.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	if os.Getenv("BOT_TEST_PROXY") == "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBehindProxy$")
		cmd.Env = append(os.Environ(), "BOT_TEST_PROXY=1", "HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	h := settle(t) // loopback addresses are never proxied
	h.slash("ann", "den", "/runbook list")
	h.expect("den", "did runbook list")
}
