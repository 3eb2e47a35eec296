package page_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
)

func (w *workspace) get(t *testing.T, path string) (int, string, http.Header) {
	t.Helper()
	res, err := http.Get(w.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), res.Header
}

// do posts a deed and returns the error that it answers.
func (w *workspace) do(t *testing.T, name string, deed map[string]any) string {
	t.Helper()
	body, err := json.Marshal(deed)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(w.url+"/ui/"+name, "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Error string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s answered %s: %v", name, res.Status, err)
	}
	return answer.Error
}

func at(user, channel string) string {
	return "/?" + url.Values{"as": {user}, "channel": {channel}}.Encode()
}

func TestPage(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	if _, err := w.sim.As("ben").Say("#ops", "Watch `hits`, <script> @ann & #general"); err != nil {
		t.Fatal(err)
	}
	status, body, header := w.get(t, at(w.ann.ID, w.ops.ID))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	for _, want := range []string{
		`<code>hits</code>, &lt;script&gt; <span class="mention me">@Ann Lee</span> &amp; <a class="mention" href="/?as=` + w.ann.ID,
		"Ben Okafor", "on call", "no rights here", "Day to day operations", "/runbook", "key=value",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "/panel/") {
		t.Error("there is a panel without a handler for it")
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(body, " style=") || strings.Contains(body, " onclick=") {
		t.Error("something inline is allowed or used")
	}
	if i := strings.Index(body, "<script>"); i >= 0 {
		t.Errorf("an inline script: %.80s", body[i:])
	}
}

// Who asks for nobody in particular is the first of the people, in the channel
// to start with; an unknown channel or thread leads there too.
func TestDefaults(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{People: []string{"ben", "ann"}})
	for _, path := range []string{"/", "/?as=nobody", "/?as=" + w.ben.ID + "&channel=C404&thread=1.2", "/?as=" + w.sim.BotUserID()} {
		if _, body, _ := w.get(t, path); !strings.Contains(body, `data-as="`+w.ben.ID+`"`) || !strings.Contains(body, "<title>#ops") {
			t.Errorf("GET %s is not Ben in #ops", path)
		}
	}
	if _, body, _ := w.get(t, "/"); strings.Contains(body, `<b>Cleo Martin</b>`) {
		t.Error("one can be somebody who is not in the list")
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	for path, kind := range map[string]string{"/ui/app.css": "text/css", "/ui/app.js": "text/javascript"} {
		status, body, header := w.get(t, path)
		if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), kind) || body == "" {
			t.Errorf("GET %s = %d, %s", path, status, header.Get("Content-Type"))
		}
		for _, bad := range []string{"http://", "https://", "@import", "url("} {
			if strings.Contains(body, bad) {
				t.Errorf("%s contains %s: nothing may come from elsewhere", path, bad)
			}
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{Hosts: []string{"sim.internal"}})
	request := func(method, host string, header map[string]string) int {
		t.Helper()
		req, err := http.NewRequest(method, w.url+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			req.URL.Path = "/ui/send"
			req.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"as":%q,"channel":%q,"text":"hi"}`, w.ann.ID, w.ops.ID)))
			req.Header.Set("Content-Type", "application/json")
		}
		req.Host = host
		for k, v := range header {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for host, want := range map[string]int{
		"127.0.0.1:8765": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:80": 200, "demo.localhost:8765": 200, "sim.internal:80": 200,
		"evil.example": 403, "evil.example:8765": 403, "127.0.0.1.evil.example": 403, "10.0.0.1": 403, "localhost.evil.example": 403,
	} {
		if got := request(http.MethodGet, host, nil); got != want {
			t.Errorf("GET with Host %s = %d, want %d", host, got, want)
		}
	}
	host := strings.TrimPrefix(w.url, "http://")
	for _, c := range []struct {
		header map[string]string
		want   int
	}{
		{nil, 200},
		{map[string]string{"Origin": w.url}, 200},
		{map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{map[string]string{"Origin": "http://evil.example"}, 403},
		{map[string]string{"Origin": "null"}, 403},
		{map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		{map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{map[string]string{"Content-Type": "text/plain"}, 415},
	} {
		if got := request(http.MethodPost, host, c.header); got != c.want {
			t.Errorf("POST with %v = %d, want %d", c.header, got, c.want)
		}
	}
}

// The simulator's own paths take no requests that another site had a browser
// send, either.
func TestBeside(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	if _, err := w.api.AuthTest(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, w.sim.APIURL()+"auth.test", strings.NewReader(url.Values{"token": {w.sim.BotToken()}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "http://evil.example")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign site's post is answered with %d", res.StatusCode)
	}
}

func TestDeeds(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	ann := map[string]any{"as": w.ann.ID, "channel": w.ops.ID}
	with := func(m map[string]any) map[string]any {
		out := map[string]any{}
		for _, each := range []map[string]any{ann, m} {
			for k, v := range each {
				out[k] = v
			}
		}
		return out
	}
	if err := w.do(t, "send", with(map[string]any{"text": " hello "})); err != "" {
		t.Fatal(err)
	}
	said := w.sim.History("#ops", "ann")
	first := said[len(said)-1]
	if first.Text != "hello" || first.User != w.ann.ID {
		t.Fatalf("said %+v", first)
	}
	src := "m:" + w.ops.ID + ":" + first.TS
	if err := w.do(t, "send", with(map[string]any{"text": "re", "thread": first.TS})); err != "" {
		t.Error(err)
	}
	if got := w.do(t, "send", with(map[string]any{"text": "/runbook", "thread": first.TS})); got != "/runbook is not supported in threads. Sorry!" {
		t.Errorf("a command in a thread: %q", got)
	}
	for i, pinned := range []bool{true, false} {
		if err := w.do(t, "pin", with(map[string]any{"source": src})); err != "" {
			t.Error(err)
		}
		if m, _ := w.sim.Message(w.ops.ID, first.TS); m.Pinned != pinned {
			t.Errorf("after press %d: pinned %v", i+1, m.Pinned)
		}
	}
	if err := w.do(t, "edit", with(map[string]any{"source": src, "text": "hello again"})); err != "" {
		t.Error(err)
	}
	if m, _ := w.sim.Message(w.ops.ID, first.TS); m.Text != "hello again" || !m.Edited {
		t.Errorf("after the edit: %+v", m)
	}
	if got := w.do(t, "edit", map[string]any{"as": w.ben.ID, "source": src, "text": "x"}); got == "" {
		t.Error("somebody else's message can be edited")
	}
	if err := w.do(t, "upload", with(map[string]any{"name": "post-mortem.md", "text": "# INC-1\n", "thread": first.TS})); err != "" {
		t.Error(err)
	}
	if th := w.sim.Thread(w.ops.ID, first.TS, "ben"); len(th) != 3 || th[2].Subtype != "file_share" || string(th[2].Files[0].Content) != "# INC-1\n" {
		t.Errorf("thread after the upload: %+v", th)
	}
	for i, pressed := range []int{1, 0} {
		if err := w.do(t, "react", with(map[string]any{"source": src, "name": "eyes"})); err != "" {
			t.Error(err)
		}
		if m, _ := w.sim.Message(w.ops.ID, first.TS); len(m.Reactions) != pressed {
			t.Errorf("after press %d there are %d reactions, want %d", i+1, len(m.Reactions), pressed)
		}
	}
	// No app is connected: the failure is shown in the channel, not returned.
	if err := w.do(t, "send", with(map[string]any{"text": "/runbook list"})); err != "" {
		t.Error(err)
	}
	_, body, _ := w.get(t, at(w.ann.ID, w.ops.ID))
	if !strings.Contains(body, "dispatch_failed") {
		t.Error("the failure of a command is not shown")
	}
	if _, body, _ := w.get(t, at(w.ben.ID, w.ops.ID)); strings.Contains(body, "dispatch_failed") {
		t.Error("somebody else sees the failure")
	}
	// A message with replies is deleted, and its thread stays.
	if err := w.do(t, "delete", with(map[string]any{"source": src})); err != "" {
		t.Error(err)
	}
	if _, body, _ := w.get(t, at(w.ben.ID, w.ops.ID)+"&thread="+first.TS); strings.Count(body, ">This message was deleted.</div>") != 2 || strings.Contains(body, "hello again") || !strings.Contains(body, "post-mortem.md") {
		t.Errorf("the page does not show what is left of the deleted message: %s", body)
	}
	for name, deed := range map[string]map[string]any{
		"pin":     {"as": w.ann.ID, "source": src},
		"edit":    {"as": w.ann.ID, "source": src, "text": "x"},
		"delete":  {"as": w.ann.ID, "source": "v:V1"},
		"upload":  {"as": w.ann.ID, "channel": w.ops.ID, "name": "x"},
		"send":    {"as": "U404", "channel": w.ops.ID, "text": "x"},
		"act":     {"as": w.ann.ID, "source": "x"},
		"submit":  {"as": w.ann.ID, "source": "v:V404"},
		"close":   {"as": w.ann.ID, "source": "m:1:2"},
		"react":   {"as": w.ann.ID, "source": "m:C404:1.2", "name": "eyes"},
		"dismiss": {"as": w.ann.ID, "source": ""},
		"options": {"as": w.ann.ID, "source": "v:V404"},
	} {
		if w.do(t, name, deed) == "" {
			t.Errorf("%s with %v is not refused", name, deed)
		}
	}
	if w.do(t, "send", map[string]any{"as": w.sim.BotUserID(), "channel": w.ops.ID, "text": "x"}) == "" {
		t.Error("one can be the bot")
	}
}

// A message that others wrote counts as unread until it was on the screen; a
// reply counts when it mentions the reader.
func TestUnread(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	badge := func(user slacksim.User, channel slacksim.Channel) string {
		t.Helper()
		_, body, _ := w.get(t, at(user.ID, w.ops.ID))
		_, row, _ := strings.Cut(body, `id="room-`+channel.ID+`"`)
		row, _, _ = strings.Cut(row, "</li>")
		_, count, found := strings.Cut(row, `class="badge">`)
		if !found {
			return ""
		}
		count, _, _ = strings.Cut(count, "<")
		return count
	}
	read := func(user slacksim.User, path string) {
		t.Helper()
		if status, _, _ := w.get(t, "/ui/app?seen=1&as="+user.ID+path); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	ts := w.post(t, "#ops", "one", "")
	w.post(t, "#ops", "two", "")
	if got := badge(w.ann, w.ops); got != "2" {
		t.Errorf("unread = %q, want 2", got)
	}
	read(w.ann, "&channel="+w.ops.ID)
	if got := badge(w.ann, w.ops); got != "" {
		t.Errorf("unread after reading = %q, want none", got)
	}
	if got := badge(w.ben, w.ops); got != "2" {
		t.Errorf("Ben's unread = %q, want 2", got)
	}
	w.post(t, "#ops", "for the record", "", slack.MsgOptionTS(ts))
	w.post(t, "#ops", "<@"+w.ann.ID+"> needs you", "", slack.MsgOptionTS(ts))
	if got := badge(w.ann, w.ops); got != "1" {
		t.Errorf("unread after a mention in a thread = %q, want 1", got)
	}
	read(w.ann, "&channel="+w.ops.ID)
	if got := badge(w.ann, w.ops); got != "1" {
		t.Errorf("a thread counts as read before it was opened: %q", got)
	}
	read(w.ann, "&channel="+w.ops.ID+"&thread="+ts)
	if got := badge(w.ann, w.ops); got != "" {
		t.Errorf("unread after opening the thread = %q, want none", got)
	}
}

func TestEphemeral(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	ts, err := w.api.PostEphemeral(w.ops.ID, w.ann.ID, slack.MsgOptionText("just for you", false))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := w.get(t, at(w.ann.ID, w.ops.ID))
	if !strings.Contains(body, "just for you") || !strings.Contains(body, "Only visible to you") {
		t.Error("the message is not shown, or not as ephemeral")
	}
	if _, body, _ := w.get(t, at(w.ben.ID, w.ops.ID)); strings.Contains(body, "just for you") {
		t.Error("somebody else sees the message")
	}
	if err := w.do(t, "dismiss", map[string]any{"as": w.ann.ID, "source": "m:" + w.ops.ID + ":" + ts}); err != "" {
		t.Fatal(err)
	}
	if _, body, _ := w.get(t, at(w.ann.ID, w.ops.ID)); strings.Contains(body, "just for you") {
		t.Error("a dismissed message is still there")
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	_, err := w.api.UploadFile(slack.UploadFileParameters{Filename: `a"b.html`, Title: "output", Content: "<script>alert(1)</script>\n", FileSize: 26, Channel: w.ops.ID})
	if err != nil {
		t.Fatal(err)
	}
	var link string
	until(t, "the file's message is there", func() bool {
		_, body, _ := w.get(t, at(w.ann.ID, w.ops.ID))
		if !strings.Contains(body, "&lt;script&gt;alert(1)") {
			return false
		}
		_, rest, _ := strings.Cut(body, `href="/ui/file/`)
		rest, _, _ = strings.Cut(rest, `"`)
		link = "/ui/file/" + rest
		return true
	})
	status, body, header := w.get(t, link)
	if status != http.StatusOK || body != "<script>alert(1)</script>\n" {
		t.Errorf("the download is %d %q", status, body)
	}
	if got := header.Get("Content-Disposition"); got != `attachment; filename="a_b.html"` {
		t.Errorf("Content-Disposition %s", got)
	}
	if got := header.Get("Content-Type"); got != "application/octet-stream" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a browser may show the file: %s", got)
	}
	if status, _, _ := w.get(t, strings.Replace(link, "as="+w.ann.ID, "as=U404", 1)); status != http.StatusNotFound {
		t.Errorf("a stranger's download is %d", status)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := open(t, page.Options{})
	res, err := http.Get(w.url + "/ui/events?as=" + w.ann.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				return name
			}
		}
		return ""
	}
	if got := next(); got != "hello" {
		t.Fatalf("the stream begins with %q", got)
	}
	w.post(t, "#ops", "news", "")
	if got := next(); got != "changed" {
		t.Errorf("a message makes the event %q", got)
	}
	if err := w.sim.Close(); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "" {
		t.Errorf("after the end comes %q", got)
	}
}

func TestPanel(t *testing.T) {
	t.Parallel()
	panel := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "panel at "+r.URL.Path) })
	w := open(t, page.Options{Panel: panel, PanelTitle: "The patient"})
	if _, body, _ := w.get(t, "/"); !strings.Contains(body, `<iframe src="/panel/" title="The patient">`) {
		t.Error("the page shows no panel")
	}
	if _, body, header := w.get(t, "/panel/chart"); body != "panel at /chart" || header.Get("X-Frame-Options") != "" {
		t.Errorf("the panel answers %q", body)
	}
}

// Whatever is posted is answered, and breaks nothing.
func FuzzDeed(f *testing.F) {
	sim, err := slacksim.Open(slacksim.Options{NoRateLimit: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := sim.Close(); err != nil {
			f.Error(err)
		}
	})
	ann := sim.AddUser(slacksim.User{Name: "ann"})
	said, err := sim.As("ann").Say("#general", "hello")
	if err != nil {
		f.Fatal(err)
	}
	handler := page.New(sim, page.Options{})
	who := fmt.Sprintf(`{"as":%q,"channel":%q,`, ann.ID, said.Channel)
	for name, rest := range map[string]string{
		"send": `"text":"hi <@U1> @ann"}`, "act": `"source":"m:C1:1.2","block":"b","action":"a","value":["x"],"state":{"b":{"a":["1","2"]}}}`,
		"submit": `"source":"v:V1","state":{"b":{"a":[]}}}`, "close": `"source":"v:V1","all":true}`, "react": `"source":"m:` + said.Channel + ":" + said.TS + `","name":"eyes"}`,
		"pin": `"source":"m:` + said.Channel + ":" + said.TS + `"}`, "edit": `"source":"m:` + said.Channel + ":" + said.TS + `","text":"x"}`, "delete": `"source":"m:x:y"}`,
		"upload": `"name":"x.md","text":"# x"}`, "dismiss": `"source":"m:x:y"}`, "join": `"x":1}`, "home": `"x":1}`, "options": `"source":"v:","value":["q"]}`, "shortcut": `"name":"incident_declare"}`,
	} {
		f.Add(name, who+rest, "as="+ann.ID+"&channel="+said.Channel+"&thread="+said.TS+"&seen=1")
	}
	f.Fuzz(func(t *testing.T, name, body, query string) {
		req := httptest.NewRequest(http.MethodPost, "http://localhost/ui/x", strings.NewReader(body))
		req.URL.Path = "/ui/" + name
		req.Header.Set("Content-Type", "application/json")
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		if res.Code >= 500 {
			t.Fatalf("POST %s answers %d: %s", name, res.Code, res.Body)
		}
		req = httptest.NewRequest(http.MethodGet, "http://localhost/ui/app", nil)
		req.URL.RawQuery = query
		res = httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		if res.Code != http.StatusOK {
			t.Fatalf("GET with %s answers %d: %s", query, res.Code, res.Body)
		}
	})
}
