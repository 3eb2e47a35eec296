package slacksim_test

import (
	"bytes"
	"context"
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"opsbot/internal/slacksim"
)

// rule 54: D,X. A token counts in the form body or as Bearer; in the query
// string and as a JSON attribute it does not.
func TestWhereTheTokenGoes(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	at, token := s.APIURL()+"auth.test", s.BotToken()
	for _, row := range []struct{ name, method, address, kind, bearer, body, want string }{
		{"form body", "POST", at, formType, "", "token=" + token, ""},
		{"bearer", "POST", at, formType, token, "", ""},
		{"bearer and form", "POST", at, formType, token, "token=" + token, ""},
		{"bearer with GET", "GET", at, "", token, "", ""},
		{"bearer with JSON", "POST", at, jsonType, token, "{}", ""},
		{"query string", "POST", at + "?token=" + token, formType, "", "", "not_authed"},
		{"query string with GET", "GET", at + "?token=" + token, "", "", "", "not_authed"},
		{"JSON attribute", "POST", at, jsonType, "", `{"token":"` + token + `"}`, "not_authed"},
		{"unknown", "POST", at, formType, "xoxb-no", "", "invalid_auth"},
		{"app-level token", "POST", s.APIURL() + "team.info", formType, s.AppToken(), "", "not_allowed_token_type"},
	} {
		if a := send(t, row.method, row.address, row.kind, row.bearer, row.body); a.err() != row.want || a.status != 200 {
			t.Errorf("%s: %s", row.name, a.text)
		}
	}
}

// What clients really send (X, slack.md §2.2) and the body errors of §2.1 (D).
func TestBodies(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	var multi bytes.Buffer
	m := multipart.NewWriter(&multi)
	if err := errors.Join(m.WriteField("token", s.BotToken()), m.WriteField("team", s.TeamID()), m.Close()); err != nil {
		t.Fatal(err)
	}
	at := s.APIURL() + "team.info"
	for _, row := range []struct{ name, kind, body, want string }{
		{"multipart", m.FormDataContentType(), multi.String(), ""},
		{"unknown arguments are ignored (X: Bolt adds team_id)", formType, "team_id=T1", ""},
		{"not JSON", jsonType, "{", "invalid_json"},
		{"JSON, not an object", jsonType, "[1]", "json_not_object"},
		{"JSON null", jsonType, "null", "json_not_object"},
		{"no content type", "", "x=1", "missing_post_type"},
		{"odd content type", "application/xml", "<x/>", "invalid_post_type"},
		{"odd charset", "application/json; charset=klingon", "{}", "invalid_charset"},
		{"broken form", formType, "%zz", "invalid_form_data"},
		{"broken multipart", "multipart/form-data; boundary=x", "nonsense", "invalid_form_data"},
		{"wrong type of an argument", jsonType, `{"team":{"a":1}}`, "invalid_arguments"},
	} {
		bearer := s.BotToken()
		if row.name == "multipart" {
			bearer = ""
		}
		if a := send(t, "POST", at, row.kind, bearer, row.body); a.err() != row.want || a.status != 200 {
			t.Errorf("%s: %d %s", row.name, a.status, a.text)
		}
	}
	if a := send(t, "PUT", at, formType, s.BotToken(), ""); a.err() != "invalid_post_type" {
		t.Errorf("PUT: %s", a.text)
	}
}

// rule 55: A. JSON to a method that takes none: the arguments are not seen.
// rule 56: A. Unknown methods; errors come with HTTP 200.
// rule 58: I:slack-go#667. JSON without a charset is fine, with a warning.
func TestJSONAndMethods(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	a := send(t, "POST", s.APIURL()+"conversations.info", jsonType, s.BotToken(), `{"channel":"`+channelID(t, s, "ops")+`"}`)
	if a.err() != "invalid_arguments" || !strings.Contains(a.messages(), "missing required field: channel") {
		t.Errorf("JSON to conversations.info: %s", a.text)
	}
	if a := form(t, s, "chat.nonsense"); a.err() != "unknown_method" || a.status != 200 {
		t.Errorf("unknown method: %s", a.text)
	}
	a = send(t, "POST", s.APIURL()+"auth.test", "application/json", s.BotToken(), "{}")
	if a.body["ok"] != true || a.str("warning") != "missing_charset" || a.at("response_metadata.warnings") == nil {
		t.Errorf("JSON without charset: %s", a.text)
	}
	a = send(t, "POST", s.APIURL()+"auth.test", formType+"; charset=utf-8", s.BotToken(), "x=1")
	if a.body["ok"] != true || a.str("warning") != "superfluous_charset" {
		t.Errorf("form with charset: %s", a.text)
	}
	for _, h := range []string{"X-Oauth-Scopes", "X-Slack-Req-Id"} {
		if a.header.Get(h) == "" {
			t.Errorf("no header %s", h)
		}
	}
}

// A method that Slack has and the simulator has not is refused and reported,
// never pretended.
func TestUnservedMethod(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	if a := form(t, s, "chat.startStream", "channel", "C1"); a.err() != "unknown_method" {
		t.Errorf("got %s", a.text)
	}
	if u := s.Unexpected(); len(u) != 1 || !strings.Contains(u[0], "chat.startStream") {
		t.Errorf("Unexpected() = %q", u)
	}
	s.IgnoreRest()
}

// rule 57: D. A missing scope is named, and so are those that are there.
func TestMissingScope(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	for _, row := range []struct{ remove, method, args, needed string }{
		{"chat:write", "chat.postMessage", "channel=ops&text=x", "chat:write"},
		{"pins:read", "pins.list", "channel=" + channelID(t, s, "ops"), "pins:read"},
		{"channels:read", "conversations.list", "", "channels:read"},
		{"im:read", "conversations.list", "types=im", "im:read"},
		{"groups:history", "conversations.history", "channel=" + channelID(t, s, "secret"), "groups:history"},
		{"users:read", "users.info", "user=U1", "users:read"},
		{"", "chat.postMessage", "channel=ops&text=x&username=root", "chat:write.customize"},
	} {
		s.RemoveScope(row.remove)
		a := send(t, "POST", s.APIURL()+row.method, formType, s.BotToken(), row.args)
		if row.method == "chat.postMessage" && row.remove == "" {
			if a.err() != "missing_scope" { // chat:write is gone by now
				t.Errorf("%s: %s", row.method, a.text)
			}
			continue
		}
		if a.err() != "missing_scope" || !strings.Contains(a.str("needed"), row.needed) || a.str("provided") == "" || strings.Contains(a.str("provided"), "connections:write") {
			t.Errorf("%s without %s: %s", row.method, row.remove, a.text)
		}
	}
	s.RemoveScope("connections:write")
	if a := send(t, "POST", s.APIURL()+"apps.connections.open", formType, s.AppToken(), ""); a.err() != "missing_scope" {
		t.Errorf("apps.connections.open: %s", a.text)
	}
	s2 := workspace(t)
	s2.RemoveScope("users:read.email")
	if a := form(t, s2, "users.info", "user", userID(t, s2, "ann")); a.body["ok"] != true || a.at("user.profile.email") != nil {
		t.Errorf("email without its scope: %s", a.text)
	}
}

// rule 59: D:apis/web-api/rate-limits. Beyond its tier a method answers 429
// with Retry-After; others go on, and so does it when the time is over.
func TestTiers(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s := workspace(t, slacksim.Options{Now: func() time.Time { return began }}) // only Advance moves it
	ops := channelID(t, s, "ops")
	var last answer
	n := 0
	for ; n < 30; n++ { // t2: 20 a minute
		if last = form(t, s, "pins.list", "channel", ops); last.err() != "" {
			break
		}
	}
	if n != 20 || last.status != http.StatusTooManyRequests || last.err() != "ratelimited" || last.header.Get("Retry-After") != "3" {
		t.Errorf("after %d calls: %d %s, Retry-After %q", n, last.status, last.text, last.header.Get("Retry-After"))
	}
	if a := form(t, s, "conversations.info", "channel", ops); a.err() != "" {
		t.Errorf("another method: %s", a.text)
	}
	_, _, err := client(s).ListPinsContext(soon(t), ops)
	if limited := new(slack.RateLimitedError); !errors.As(err, &limited) || limited.RetryAfter != 3*time.Second {
		t.Errorf("slack-go: %v", err)
	}
	s.Advance(3 * time.Second)
	if a := form(t, s, "pins.list", "channel", ops); a.err() != "" {
		t.Errorf("after the wait: %s", a.text)
	}
}

// rule 60: D. Posting sustains one message a second in a channel; a short
// burst passes, and other channels are not held up.
func TestPostRate(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	s.IgnoreRest()
	burst := 0
	var last answer
	for ; burst < 10; burst++ {
		if last = form(t, s, "chat.postMessage", "channel", "ops", "text", "x"); last.err() != "" {
			break
		}
	}
	if burst < 2 || burst > 5 || last.status != 429 || last.header.Get("Retry-After") != "1" {
		t.Errorf("after %d posts: %d %s", burst, last.status, last.text)
	}
	if a := form(t, s, "chat.postMessage", "channel", "quiet", "text", "x"); a.err() != "" {
		t.Errorf("another channel: %s", a.text)
	}
	for range 20 {
		s.Advance(time.Second)
		if a := form(t, s, "chat.postMessage", "channel", "ops", "text", "x"); a.err() != "" {
			t.Fatalf("one a second: %s", a.text)
		}
	}
	free := workspace(t, slacksim.Options{NoRateLimit: true})
	free.IgnoreRest()
	for range 50 {
		if a := form(t, free, "chat.postMessage", "channel", "ops", "text", "x"); a.err() != "" {
			t.Fatalf("without limits: %s", a.text)
		}
	}
}

// The faults of the Web API: 429, 5xx, an error, a delay, an answer lost.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	s.Fail("auth.test", slacksim.Fault{RetryAfter: 1500 * time.Millisecond})
	if a := form(t, s, "auth.test"); a.status != 429 || a.header.Get("Retry-After") != "2" || a.err() != "ratelimited" {
		t.Errorf("429: %d %s", a.status, a.text)
	}
	s.Fail("*", slacksim.Fault{Status: 503, Times: 2})
	for range 2 {
		if a := form(t, s, "auth.test"); a.status != 503 {
			t.Errorf("503: %d %s", a.status, a.text)
		}
	}
	s.Fail("auth.test", slacksim.Fault{Error: "fatal_error", For: time.Minute})
	for range 3 {
		if a := form(t, s, "auth.test"); a.status != 200 || a.err() != "fatal_error" {
			t.Errorf("fatal_error: %d %s", a.status, a.text)
		}
	}
	s.Advance(time.Minute)
	s.Fail("auth.test", slacksim.Fault{Delay: time.Millisecond})
	if a := form(t, s, "auth.test"); a.err() != "" {
		t.Errorf("delay: %s", a.text)
	}
	s.Fail("auth.test", slacksim.Fault{Error: "fatal_error", Times: 100})
	s.Heal()
	if a := form(t, s, "auth.test"); a.err() != "" {
		t.Errorf("healed: %s", a.text)
	}
	s.Fail("chat.postMessage", slacksim.Fault{Lost: true})
	req, err := http.NewRequestWithContext(context.Background(), "POST", s.APIURL()+"chat.postMessage", strings.NewReader(url.Values{"token": {s.BotToken()}, "channel": {"ops"}, "text": {"posted all the same"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", formType)
	req.Close = true
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close() //nolint:errcheck // failing anyway
		t.Error("the answer was not lost")
	}
	s.ExpectMessage(t, "#ops", "posted all the same")
}

// A revoked token, as slack-go reports it (X).
// rule 19 is the client's: it must end when the open is refused like this.
func TestRevokedToken(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	s.RevokeToken()
	if _, err := client(s).AuthTestContext(soon(t)); refused(err) != "token_revoked" {
		t.Errorf("AuthTest() = %v", err)
	}
	if _, _, err := client(s).StartSocketModeContext(soon(t)); refused(err) != "invalid_auth" {
		t.Errorf("StartSocketMode() = %v", err)
	}
}

// The identity that clients start from.
func TestAuthTest(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	me, err := client(s).AuthTestContext(soon(t))
	if err != nil || me.UserID != s.BotUserID() || me.BotID != s.BotID() || me.TeamID != s.TeamID() || me.User != "opsbot" {
		t.Errorf("AuthTest() = %+v, %v", me, err)
	}
	if a := send(t, "POST", s.APIURL()+"api.test", formType, "", "foo=bar"); a.body["ok"] != true || a.str("args.foo") != "bar" {
		t.Errorf("api.test: %s", a.text)
	}
	bot, err := client(s).GetBotInfoContext(soon(t), slack.GetBotInfoParameters{Bot: s.BotID()})
	if err != nil || bot.UserID != s.BotUserID() {
		t.Errorf("GetBotInfo() = %+v, %v", bot, err)
	}
	team, err := client(s).GetTeamInfoContext(soon(t))
	if err != nil || team.ID != s.TeamID() {
		t.Errorf("GetTeamInfo() = %+v, %v", team, err)
	}
	if _, err := client(s).GetEmojiContext(soon(t)); refused(err) != "missing_scope" {
		t.Errorf("GetEmoji() = %v", err)
	}
}
