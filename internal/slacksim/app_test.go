package slacksim_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"testing"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"opsbot/internal/slacksim"
)

// workspace returns a server with the people and channels that the tests use:
// ann, ben and cleo; #ops and #secret with the bot, #quiet without it.
func workspace(t *testing.T, options ...slacksim.Options) *slacksim.Server {
	t.Helper()
	s := slacksim.New(t, options...)
	for _, name := range []string{"ann", "ben", "cleo"} {
		s.AddUser(slacksim.User{Name: name})
	}
	s.AddChannel(slacksim.Channel{Name: "ops", Members: []string{"ann", "ben", s.BotUserID()}})
	s.AddChannel(slacksim.Channel{Name: "secret", Private: true, Members: []string{"ann", s.BotUserID()}})
	s.AddChannel(slacksim.Channel{Name: "hidden", Private: true, Members: []string{"ann"}})
	s.AddChannel(slacksim.Channel{Name: "quiet", Members: []string{"ann", "ben"}})
	return s
}

// client is slack-go's Web API client on the server.
func client(s *slacksim.Server, options ...slack.Option) *slack.Client {
	return slack.New(s.BotToken(), append([]slack.Option{
		slack.OptionAppLevelToken(s.AppToken()), slack.OptionAPIURL(s.APIURL()), slack.OptionHTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}),
	}, options...)...)
}

// An app is a slack-go Socket Mode client whose envelopes a test answers.
type app struct {
	*slack.Client
	sm *socketmode.Client
}

// connect starts a Socket Mode client that the handler serves; nil acks
// everything. It stops with the test.
func connect(t *testing.T, s *slacksim.Server, handle func(*app, socketmode.Event)) *app {
	t.Helper()
	a := &app{Client: client(s)}
	a.sm = socketmode.New(a.Client, socketmode.OptionLog(log.New(io.Discard, "", 0)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.sm.RunContext(ctx) }()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-a.sm.Events:
				switch {
				case e.Request == nil:
				case handle != nil:
					handle(a, e)
				default:
					a.ack(e)
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-served
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("socket mode ended: %v", err)
		}
	})
	before := s.Connected()
	s.ExpectConnected(t, before+1)
	return a
}

func (a *app) ack(e socketmode.Event, payload ...any) {
	if e.Request != nil && e.Request.Type != socketmode.RequestTypeHello {
		a.sm.Ack(*e.Request, payload...) //nolint:errcheck // the simulator's record tells
	}
}

// refused returns Slack's error string.
func refused(err error) string {
	var e slack.SlackErrorResponse
	if errors.As(err, &e) {
		return e.Err
	}
	var limited *slack.RateLimitedError
	if errors.As(err, &limited) {
		return "ratelimited"
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func channelID(t *testing.T, s *slacksim.Server, name string) string {
	t.Helper()
	c, ok := s.Channel(name)
	if !ok {
		t.Fatalf("no channel %s", name)
	}
	return c.ID
}

func userID(t *testing.T, s *slacksim.Server, name string) string {
	t.Helper()
	u, ok := s.User(name)
	if !ok {
		t.Fatalf("no user %s", name)
	}
	return u.ID
}
