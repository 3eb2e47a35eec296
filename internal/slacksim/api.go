package slacksim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// obj is a JSON object on its way out.
type obj map[string]any

// A handler answers one Web API method; the server's lock is held. It sees
// only requests that passed every check that needs no state.
type handler func(s *Server, r *request) obj

// A Call records one Web API call, for tests.
type Call struct {
	At         time.Time
	Method     string
	Args       map[string]string // without the token
	OK         bool
	Error      string
	HTTPStatus int
	Answer     json.RawMessage
}

// refuse is an error answer.
func refuse(code string) obj { return obj{"ok": false, "error": code} }

// refuseArgs is an invalid_arguments answer with its messages.
func refuseArgs(messages ...string) obj {
	for i, m := range messages {
		messages[i] = "[ERROR] " + m
	}
	return obj{"ok": false, "error": "invalid_arguments", "response_metadata": obj{"messages": messages}}
}

// needScope returns a missing_scope answer, or nil when the app has one of the
// scopes; an empty list needs none.
func (s *Server) needScope(anyOf []string) obj {
	if len(anyOf) == 0 || slices.ContainsFunc(anyOf, func(n string) bool { return s.scopes[n] }) {
		return nil
	}
	a := refuse("missing_scope")
	a["needed"] = strings.Join(anyOf, ",")
	a["provided"] = strings.Join(s.scopeList(), ",")
	return a
}

// scopeList is the bot token's scopes in alphabetical order.
func (s *Server) scopeList() []string {
	var list []string
	for scope, granted := range s.scopes {
		if granted && scope != "connections:write" { // that one is the app-level token's
			list = append(list, scope)
		}
	}
	slices.Sort(list)
	return list
}

// Calls returns the Web API calls so far, oldest first, of the named methods
// or of all.
func (s *Server) Calls(methods ...string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Call
	for _, c := range s.calls {
		if len(methods) == 0 || slices.Contains(methods, c.Method) {
			list = append(list, c)
		}
	}
	return list
}

// maxCalls bounds the record of calls, so that a demo can run for weeks; the
// oldest half is dropped when it is reached.
const maxCalls = 5000

// record keeps a call. The lock is held.
func (s *Server) record(c Call) {
	if len(s.calls) >= maxCalls {
		s.calls = slices.Delete(s.calls, 0, maxCalls/2)
	}
	c.At = s.clock.now()
	s.calls = append(s.calls, c)
	s.wake()
}

func (s *Server) serveAPI(w http.ResponseWriter, hr *http.Request, method string) {
	f := s.takeFault(method)
	if !s.delayed(hr.Context(), f) {
		return
	}
	r := &request{method: method, fact: &methodFact{}}
	var answer obj
	if !f.refuses() {
		r, answer = s.answer(hr, method)
	}
	status, header := http.StatusOK, w.Header()
	switch {
	case f.refuses():
		status, answer = f.answer(header)
	case answer["error"] == "ratelimited":
		status = http.StatusTooManyRequests
		header.Set("Retry-After", strconv.Itoa(answer["retry_after"].(int)))
		delete(answer, "retry_after")
	}
	if len(r.warnings) > 0 && answer["ok"] == true {
		addWarnings(answer, r.warnings)
	}
	s.mu.Lock()
	body := encode(answer) // under the lock: an answer shares what it shows
	code, _ := answer["error"].(string)
	s.record(Call{Method: method, Args: r.args, OK: answer["ok"] == true, Error: code, HTTPStatus: status, Answer: body})
	header.Set("X-OAuth-Scopes", strings.Join(s.scopeList(), ","))
	header.Set("X-Slack-Req-Id", s.random(32))
	s.mu.Unlock()
	if code != "" {
		s.log.Debug("refused", "method", method, "error", code)
	}
	if f.loses() {
		// The work is done and its answer lost: what a broken connection looks like.
		panic(http.ErrAbortHandler)
	}
	header.Set("X-Accepted-OAuth-Scopes", strings.Join(r.fact.Scopes, ","))
	header.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.log.Debug("write answer", "method", method, "error", err)
	}
}

// answer runs the checks in this order: method exists, token, scope, rate,
// arguments, state. The order is policy; Slack's is not documented.
func (s *Server) answer(hr *http.Request, method string) (*request, obj) {
	fact, known := methodFacts[method]
	handle, served := handlers[method]
	if !known || !served {
		if known { // never pretend: the test that called it must learn of it
			s.log.Error("method is not simulated", "method", method)
			s.mu.Lock()
			s.unserved = append(s.unserved, method)
			s.mu.Unlock()
		}
		return &request{method: method, fact: &methodFact{}}, refuse("unknown_method")
	}
	r, problem := parseRequest(method, fact, hr)
	if method == "apps.connections.open" && !r.post {
		return r, refuse("insecure_request")
	}
	if problem != "" {
		return r, refuse(problem)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := s.checkToken(r); refusal != nil {
		return r, refusal
	}
	if refusal := s.needScope(fact.Scopes); refusal != nil {
		return r, refusal
	}
	if wait := s.overRate(r); wait > 0 {
		a := refuse("ratelimited")
		a["retry_after"] = wait
		return r, a
	}
	if code := ownArgError(r); code != "" {
		return r, refuse(code)
	}
	if wrong := r.checkArgs(); len(wrong) > 0 {
		slices.Sort(wrong)
		return r, refuseArgs(wrong...)
	}
	return r, handle(s, r)
}

// tokenless methods can be called by anybody.
var tokenless = map[string]bool{"api.test": true, "blocks.validate": true}

func (s *Server) checkToken(r *request) obj {
	if tokenless[r.method] {
		return nil
	}
	if r.token == "" {
		return refuse("not_authed")
	}
	if code := s.revoked[r.token]; code != "" {
		return refuse(code)
	}
	switch wantApp := r.method == "apps.connections.open"; r.token {
	case s.opts.ConfigToken:
		if r.method != "apps.manifest.export" {
			return refuse("not_allowed_token_type")
		}
	case s.opts.BotToken:
		if wantApp || r.method == "apps.manifest.export" {
			return refuse("not_allowed_token_type")
		}
	case s.opts.AppToken:
		if !wantApp && r.method != "auth.test" {
			return refuse("not_allowed_token_type")
		}
		if refusal := s.needScope([]string{"connections:write"}); refusal != nil {
			return refusal
		}
	default:
		return refuse("invalid_auth")
	}
	return nil
}

// ownArgError names the methods that report a missing or malformed argument by
// an error of their own instead of invalid_arguments.
func ownArgError(r *request) string {
	missing := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return r.get(n) == "" })
	}
	switch r.method {
	case "conversations.create", "conversations.rename":
		if r.has("channel") != (r.method == "conversations.create") && missing("name") {
			return "invalid_name_required"
		}
	case "conversations.list", "users.conversations":
		if v := r.get("limit"); v != "" {
			if n, err := strconv.Atoi(v); err != nil || n < 0 || n >= 1000 {
				return "invalid_limit"
			}
		}
	case "chat.scheduleMessage":
		if v := r.get("post_at"); v != "" {
			if _, err := strconv.ParseInt(v, 10, 64); err != nil {
				return "invalid_time"
			}
		}
	case "files.getUploadURLExternal":
		if missing("filename", "length") {
			return "missing_argument"
		}
	}
	return ""
}

// addWarnings adds to the answer's warnings as Slack spells them.
func addWarnings(answer obj, warnings []string) {
	if old, ok := answer["warning"].(string); ok && old != "" {
		warnings = append(strings.Split(old, ","), warnings...)
	}
	answer["warning"] = strings.Join(warnings, ",")
	meta, _ := answer["response_metadata"].(obj)
	if meta == nil {
		meta = obj{}
		answer["response_metadata"] = meta
	}
	meta["warnings"] = warnings
}
