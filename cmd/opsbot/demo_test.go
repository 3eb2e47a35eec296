package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slack-go/slack"

	"opsbot/internal/patient"
)

// The README's first command: it prints an address, the page is there, and
// after Ctrl-C nothing is left of it: no folder, no Redis.
func TestDemo(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	p := start(t, []string{"TMPDIR=" + tmp}, "demo", "--addr", "127.0.0.1:0")
	text := p.prints("opsbot is at work:")
	url := after(t, text, "opsbot is at work:")
	if got := get(t, url+"/"); !strings.Contains(got, "opsbot demo") {
		t.Errorf("the page is no page:\n%.300s", got)
	}
	if got := get(t, url+"/panel/"); !strings.Contains(strings.ToLower(got), "hit rate") {
		t.Errorf("the panel does not show the patient:\n%.300s", got)
	}
	for _, want := range []string{"/runbook cache-fix", " run cache-fix window=10s --env demo --config ", " runs approve R1 --config "} {
		if !strings.Contains(text, want) {
			t.Errorf("the greeting lacks %q", want)
		}
	}
	file := after(t, text, " runs approve R1 --config ")
	if !strings.HasPrefix(file, tmp) {
		t.Errorf("the configuration is at %s, outside of %s", file, tmp)
	}
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("the second terminal's configuration: %v", err)
	}
	redis, _, _ := strings.Cut(after(t, string(config), `redis: "redis://`), "/")
	conn, err := net.Dial("tcp", redis)
	if err != nil {
		t.Fatalf("the patient's Redis: %v", err)
	}
	conn.Close()

	p.ends(syscall.SIGINT, exitWell)
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("the demo left %q behind (%v)", left, err)
	}
	if conn, err := net.Dial("tcp", redis); err == nil {
		conn.Close()
		t.Error("the demo's Redis still runs")
	}
}

// Where no redis-server is installed, one in the process plays its part, and
// the demo says so.
func TestDemoWithoutRedisServer(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"TMPDIR=" + t.TempDir(), "PATH=" + t.TempDir()}, "demo", "--addr", "127.0.0.1:0")
	if text := p.prints("opsbot is at work:"); !strings.Contains(text, "in-process miniredis") {
		t.Errorf("the demo does not say which Redis it has:\n%s", text)
	}
	p.ends(syscall.SIGINT, exitWell)
}

// The whole repair works on the Redis in the process as well.
func TestCacheFixWithoutRedisServer(t *testing.T) {
	t.Parallel()
	h := newHouseWith(t, patient.Options{Engine: patient.Miniredis})
	stop := h.serve()
	before := h.strangers()
	h.slash("ann", "/runbook cache-fix window=5s")
	p := &pilot{house: h}
	p.fly(p.landed)
	stop()
	h.succeeded("no boundary")
	if after := h.strangers(); after != before {
		t.Errorf("what is no cache was touched: %s before, %s after", before, after)
	}
}

// A port that is taken ends the start with exit code 3 and the port's name,
// for each command that listens.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	addr := taken.Addr().String()
	want := fmt.Sprintf("opsbot: Cannot listen on %s: the port is taken or the address is not this machine's.", addr)
	for _, args := range [][]string{{"demo", "--addr", addr}, {"slacksim", "--addr", addr}} {
		tmp := t.TempDir()
		p := start(t, []string{"TMPDIR=" + tmp}, args...)
		p.ends(0, exitUnreachable)
		if got := p.errs.String(); !strings.Contains(got, want) {
			t.Errorf("opsbot %s says %q, want %q", args[0], got, want)
		}
		if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
			t.Errorf("opsbot %s left %q behind (%v)", args[0], left, err)
		}
	}
	h := newHouse(t)
	h.configure("http: { addr: \"" + addr + "\" }\n")
	if code, _, errs := h.opsbot("", "serve"); code != exitUnreachable || !strings.Contains(errs, want) {
		t.Errorf("serve exits with %d and says %q, want %q", code, errs, want)
	}
	if n := h.sim.Connected(); n != 0 {
		t.Errorf("%d sockets are open although nothing serves", n)
	}
}

// The simulator stands alone: it prints what an app needs, and an app's SDK
// finds its Slack there.
func TestSlacksimStandsAlone(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "slacksim", "--addr", "127.0.0.1:0", "--bot-token", "xoxb-mine")
	text := p.prints("SLACK_APP_TOKEN=")
	api := after(t, text, "SLACK_API_URL=")
	if token := after(t, text, "SLACK_BOT_TOKEN="); token != "xoxb-mine" {
		t.Errorf("the bot token is %s", token)
	}
	app := slack.New("xoxb-mine", slack.OptionAPIURL(api), slack.OptionAppLevelToken(after(t, text, "SLACK_APP_TOKEN=")))
	who, err := app.AuthTestContext(t.Context())
	if err != nil {
		t.Fatalf("auth.test: %v", err)
	}
	if who.BotID == "" || who.TeamID == "" {
		t.Errorf("auth.test answers %+v", who)
	}
	if _, link, err := app.StartSocketModeContext(t.Context()); err != nil || !strings.HasPrefix(link, "ws://127.0.0.1:") {
		t.Errorf("apps.connections.open gives %q, %v", link, err)
	}
	if _, err := slack.New("xoxb-other", slack.OptionAPIURL(api)).AuthTestContext(t.Context()); err == nil || err.Error() != "invalid_auth" {
		t.Errorf("another token gets %v", err)
	}
	p.ends(syscall.SIGTERM, exitWell)
}

// get fetches a page that must be there.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s answers %s (%v)", url, resp.Status, err)
	}
	return string(body)
}
