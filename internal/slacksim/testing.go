package slacksim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// T is the part of testing.TB that is needed, so that the program does not
// link package testing.
type T interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// expectFor is how long Expect verbs wait, in real time.
const expectFor = 10 * time.Second

// New returns a server that listens on a free port of 127.0.0.1 until the test
// ends. Then each message of the app that the test neither expected nor got as
// an answer fails it, and so do flagged messages and calls of methods that are
// not simulated; IgnoreRest forgives them. Unexpected edits are no failure,
// since progress may be told in any number of steps.
func New(t T, options ...Options) *Server {
	t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	s, err := Open(o)
	if err != nil {
		t.Fatalf("slacksim: %v", err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("slacksim: %v", err)
	}
	s.SetURL("http://" + l.Addr().String())
	web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := web.Serve(l); err != http.ErrServerClosed {
			s.log.Error("serve", "error", err)
		}
	}()
	t.Cleanup(func() {
		for _, problem := range s.Unexpected() {
			t.Errorf("slacksim: %s", problem)
		}
		if err := s.Close(); err != nil {
			t.Errorf("slacksim: %v", err)
		}
		if err := web.Close(); err != nil {
			t.Errorf("slacksim: %v", err)
		}
		<-served
	})
	return s
}

// IgnoreRest makes the check at the test's end pass whatever comes.
func (s *Server) IgnoreRest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgiving = true
}

// Unexpected lists what would fail a test now: unread messages of the app,
// flagged messages, and methods that are not simulated. It is empty after
// IgnoreRest.
func (s *Server) Unexpected() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgiving {
		return nil
	}
	var list []string
	for _, id := range s.chanOrder {
		for _, m := range s.channels[id].msgs {
			if s.unread[msgKey{id, m.TS}] {
				list = append(list, "nobody expected this message: "+s.brief(m))
			}
			for _, flag := range m.Flags {
				list = append(list, flag+": "+s.brief(m))
			}
		}
	}
	for _, method := range s.unserved {
		list = append(list, "the app called "+method+", which is not simulated")
	}
	return list
}

// brief is a message on one line. The lock is held.
func (s *Server) brief(m *Message) string {
	text := m.Visible()
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	to := ""
	if u := s.users[m.For]; u != nil {
		to = " (only " + u.Name + " sees it)"
	}
	name := m.Channel
	if c := s.channels[m.Channel]; c.Name != "" {
		name = "#" + c.Name
	}
	return fmt.Sprintf("%s %s%s: %q", name, m.TS, to, text)
}

// Wait blocks until cond is true. It is asked again whenever anything has
// changed; it must not block and may call the server's reading methods.
func (s *Server) Wait(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		changed, closed := s.changed, s.closed
		s.mu.Unlock()
		if cond() {
			return nil
		}
		if closed {
			return fmt.Errorf("the simulator was closed")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitMessage waits for an unread message of the app that matches and marks it
// read. The oldest one is taken.
func (s *Server) WaitMessage(ctx context.Context, match func(Message) bool) (Message, error) {
	var found Message
	err := s.Wait(ctx, func() bool {
		for _, m := range s.Unread() {
			if match(m) {
				found = m
				s.mu.Lock()
				delete(s.unread, msgKey{m.Channel, m.TS})
				s.mu.Unlock()
				return true
			}
		}
		return false
	})
	return found, err
}

// Unread lists the app's messages that no test has expected yet, as they are
// now, oldest first.
func (s *Server) Unread() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Message
	for key := range s.unread {
		if c := s.channels[key.channel]; c != nil && c.byTS[key.ts] != nil {
			list = append(list, copyMessage(c.byTS[key.ts]))
		}
	}
	slices.SortFunc(list, func(a, b Message) int { return strings.Compare(a.TS, b.TS) })
	return list
}

// says reports whether the message shows every one of the texts.
func says(m Message, texts []string) bool {
	shown := m.Text + "\n" + m.Visible()
	return !slices.ContainsFunc(texts, func(t string) bool { return !strings.Contains(shown, t) })
}

// ExpectMessage waits for an unread message of the app in a channel (empty:
// anywhere) that shows all the texts, marks it read and returns it.
func (s *Server) ExpectMessage(t T, channel string, texts ...string) Message {
	t.Helper()
	return s.expect(t, fmt.Sprintf("a message in %q that says %q", channel, texts), func(m Message) bool {
		return s.sameChannel(channel, m.Channel) && says(m, texts)
	})
}

// ExpectReply is ExpectMessage in a thread.
func (s *Server) ExpectReply(t T, channel, threadTS string, texts ...string) Message {
	t.Helper()
	return s.expect(t, fmt.Sprintf("a reply to %s that says %q", threadTS, texts), func(m Message) bool {
		return s.sameChannel(channel, m.Channel) && m.ThreadTS == threadTS && m.TS != threadTS && says(m, texts)
	})
}

// ExpectEphemeral is ExpectMessage for what only one person sees.
func (s *Server) ExpectEphemeral(t T, channel, user string, texts ...string) Message {
	t.Helper()
	return s.expect(t, fmt.Sprintf("a message to %s alone in %q that says %q", user, channel, texts), func(m Message) bool {
		u, ok := s.User(user)
		return ok && m.For == u.ID && s.sameChannel(channel, m.Channel) && says(m, texts)
	})
}

func (s *Server) expect(t T, what string, match func(Message) bool) Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), expectFor)
	defer cancel()
	m, err := s.WaitMessage(ctx, match)
	if err != nil {
		t.Fatalf("slacksim: waited for %s: %v; there is\n%s", what, err, strings.Join(s.Unexpected(), "\n"))
	}
	return m
}

// sameChannel compares a channel as a test names it with an ID.
func (s *Server) sameChannel(name, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" || name == id {
		return true
	}
	if user, ok := strings.CutPrefix(name, "@"); ok { // the direct messages of the app and the person
		u, c := s.findUser(user), s.channels[id]
		return u != nil && c != nil && c.IM && c.has(u.ID)
	}
	c := s.findChannel(name)
	return c != nil && c.ID == id
}

// ExpectUpdate waits until a message shows all the texts, which it may do
// already, and returns it. Its author does not matter.
func (s *Server) ExpectUpdate(t T, channel, ts string, texts ...string) Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), expectFor)
	defer cancel()
	var last Message
	err := s.Wait(ctx, func() bool {
		m, ok := s.Message(channel, ts)
		last = m
		return ok && !m.Deleted && says(m, texts)
	})
	if err != nil {
		t.Fatalf("slacksim: waited for %s to say %q: %v; it says %q", ts, texts, err, last.Visible())
	}
	return last
}

// ExpectView waits until the person's visible modal has the callback_id, or
// any for "", and returns it.
func (s *Server) ExpectView(t T, user, callbackID string) View {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), expectFor)
	defer cancel()
	p := s.As(user)
	var top View
	err := s.Wait(ctx, func() bool {
		views := p.Views()
		if len(views) == 0 {
			return false
		}
		top = views[len(views)-1]
		return callbackID == "" || top.CallbackID == callbackID
	})
	if err != nil {
		t.Fatalf("slacksim: waited for a view %q of %s: %v; there is %q", callbackID, user, err, top.CallbackID)
	}
	return top
}

// ExpectConnected waits until the app has n open sockets.
func (s *Server) ExpectConnected(t T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), expectFor)
	defer cancel()
	if err := s.Wait(ctx, func() bool { return s.Connected() == n }); err != nil {
		t.Fatalf("slacksim: waited for %d sockets: %v; there are %d", n, err, s.Connected())
	}
}
