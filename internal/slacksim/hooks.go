package slacksim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"time"
)

// Limits of a response_url. Source: D:interactivity/handling-user-interaction.
const (
	hookUses = 5
	hookLife = 30 * time.Minute
)

// A hook is a response_url.
type hook struct {
	channel string
	user    string
	source  string // ts of the message whose button was clicked; empty for a slash command
	uses    int
	expires time.Time
}

// newHook makes a response_url. The lock is held.
func (s *Server) newHook(door string, h hook) string {
	now := s.clock.now()
	if len(s.hooks) > settledKept {
		maps.DeleteFunc(s.hooks, func(_ string, old *hook) bool { return now.Sub(old.expires) > hookLife })
	}
	h.expires = now.Add(hookLife)
	path := "/" + door + "/" + s.app.teamID + "/" + s.newID("") + "/" + s.random(24)
	s.hooks[path] = &h
	return s.url + path
}

func (s *Server) serveHook(w http.ResponseWriter, r *http.Request) {
	f := s.takeFault("response_url")
	if !s.delayed(r.Context(), f) {
		return
	}
	status, answer := http.StatusOK, obj(nil)
	args := map[string]string{}
	switch {
	case f.refuses():
		status, answer = f.answer(w.Header())
	case r.Method != http.MethodPost:
		status, answer = http.StatusMethodNotAllowed, refuse("invalid_post_type")
	default:
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil || len(body) > maxBody {
			answer = refuse("invalid_payload")
			break
		}
		req := &request{method: "response_url", fact: &methodFact{JSON: true}, args: args, wasJSON: map[string]bool{}, lenient: true}
		if code := req.addJSON(body); code != "" {
			answer = refuse(code)
			break
		}
		status, answer = s.respond(r.URL.Path, req)
	}
	raw := encode(answer)
	s.mu.Lock()
	code, _ := answer["error"].(string)
	s.record(Call{Method: "response_url", Args: args, OK: code == "", Error: code, HTTPStatus: status, Answer: raw})
	s.mu.Unlock()
	if f.loses() {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write(raw); err != nil {
		s.log.Debug("write answer", "door", "response_url", "error", err)
	}
}

// respond carries out what a response_url was sent.
func (s *Server) respond(path string, r *request) (int, obj) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hooks[path]
	switch { // the status and both words are policy
	case h == nil:
		return http.StatusNotFound, refuse("invalid_url")
	case s.clock.now().After(h.expires):
		return http.StatusNotFound, refuse("expired_url")
	case h.uses >= hookUses:
		return http.StatusNotFound, refuse("used_url")
	}
	c := s.channels[h.channel]
	if c == nil || c.Archived {
		return http.StatusOK, refuse("is_archived")
	}
	source := c.message(h.source)
	if r.flag("delete_original") {
		if source == nil {
			return http.StatusOK, refuse("cant_delete_message") // policy: does not work for slash replies
		}
		h.uses++
		s.remove(c, source)
		return http.StatusOK, obj{"ok": true}
	}
	what, refusal := s.readContent(r, 0)
	if refusal != nil {
		return http.StatusOK, refusal
	}
	if what.empty() {
		return http.StatusOK, refuse("no_text")
	}
	if r.flag("replace_original") && source != nil {
		h.uses++
		what.hasText = true
		s.update(c, source, what)
		return http.StatusOK, obj{"ok": true}
	}
	m := s.appMessage(what)
	if r.get("response_type") != "in_channel" {
		m.For = h.user
	}
	if refusal := s.thread(c, r, &m); refusal != nil {
		return http.StatusOK, refusal
	}
	h.uses++
	s.put(c, m)
	return http.StatusOK, obj{"ok": true}
}

// replyFromAck makes a slash command's ack payload into a message, or says
// that the person sees a failure.
func (s *Server) replyFromAck(c *channel, user string, payload json.RawMessage, command string) (*Message, outcome) {
	if payload == nil {
		return nil, acked
	}
	r := &request{fact: &methodFact{JSON: true}, args: map[string]string{}, wasJSON: map[string]bool{}, lenient: true}
	if code := r.addJSON(payload); code != "" {
		return nil, misunderstood
	}
	what, refusal := s.readContent(r, 0)
	inChannel := r.get("response_type") == "in_channel"
	if refusal != nil || (what.empty() && !inChannel) {
		return nil, misunderstood
	}
	m := s.appMessage(what)
	if inChannel {
		s.store(c, Message{User: user, Text: command}) // what was typed becomes visible too
	} else {
		m.For = user
	}
	if what.empty() {
		return nil, acked
	}
	p := s.put(c, m)
	delete(s.unread, msgKey{c.ID, p.TS}) // whoever typed the command has it in hand
	return p, acked
}
