package slacksim_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"opsbot/internal/slacksim"
)

// installBolt returns a folder with the app and its pinned packages. They are
// installed once per lock file into the user's cache.
func installBolt(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile("testdata/bolt/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("OPSBOT_TEST_REQUIRE") == "1" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("the official Bolt SDK is not tried: %s is not installed", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "opsbot-test", "bolt-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(home, "node_modules", ".package-lock.json")); err != nil {
		// Installed beside and moved in place, so that a broken install is never used.
		if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
			t.Fatal(err)
		}
		fresh, err := os.MkdirTemp(filepath.Dir(home), "install-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(fresh) //nolint:errcheck // gone or moved
		if err := os.CopyFS(fresh, os.DirFS("testdata/bolt")); err != nil {
			t.Fatal(err)
		}
		npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--prefer-offline")
		npm.Dir = fresh
		if out, err := npm.CombinedOutput(); err != nil {
			missing("npm ci: %v\n%s", err, out)
		}
		if err := os.Rename(fresh, home); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			t.Fatal(err)
		}
	}
	return home
}

// startBolt runs the Bolt app until the test ends.
func startBolt(t *testing.T, s *slacksim.Server) {
	t.Helper()
	source, err := os.ReadFile("testdata/bolt/app.js")
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "-")
	node.Dir = installBolt(t)
	node.Stdin = bytes.NewReader(source) // always the file as it is now
	node.Env = append(os.Environ(), "SLACK_API_URL="+s.APIURL(), "SLACK_BOT_TOKEN="+s.BotToken(), "SLACK_APP_TOKEN="+s.AppToken(), "NODE_ENV=production")
	var complaints bytes.Buffer
	node.Stderr = &complaints
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Process.Signal(syscall.SIGTERM); err != nil {
			t.Logf("stop Bolt: %v", err)
		}
		if err := node.Wait(); err != nil {
			t.Errorf("Bolt ended: %v", err)
		}
		if complaints.Len() > 0 {
			t.Errorf("Bolt complained:\n%s", complaints.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "ready" {
		t.Fatalf("Bolt said %q (%v)", line, err)
	}
	s.ExpectConnected(t, 1)
}

// Slack's own SDK finds in the simulator what it expects of Slack: a slash
// command, buttons, a modal with errors, update and push, events, the Home
// tab, an upload, a pin, a reaction, ephemeral messages and a response_url
// (all of it pinned by a lock file).
func TestBolt(t *testing.T) {
	if testing.Short() {
		t.Skip("the Bolt SDK needs node")
	}
	t.Parallel()
	s := workspace(t)
	startBolt(t, s)
	ann := s.As("ann")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	reply, err := ann.Slash("#ops", "/runbook cache-fix")
	must(err)
	if reply.Text != "on it: cache-fix" || reply.For != ann.ID() {
		t.Errorf("the command's answer = %+v", reply)
	}
	m := s.ExpectMessage(t, "#ops", "press a button")
	s.ExpectEphemeral(t, "#ops", "ann", "only for you")
	file := s.ExpectReply(t, "#ops", m.TS, "the output")
	if len(file.Files) != 1 || string(file.Files[0].Content) != "hello" || file.Files[0].Title != "Output" {
		t.Errorf("files = %+v", file.Files)
	}
	s.ExpectMessage(t, "#ops", "through the response_url")
	if got, _ := s.Message("#ops", m.TS); !got.Pinned || len(got.Reactions) != 1 || !strings.Contains(string(got.Metadata), `"run"`) {
		t.Errorf("message = %+v", got)
	}

	must(ann.Click("#ops", m.TS, "Form"))
	view := s.ExpectView(t, "ann", "form")
	in := func(v string) map[string]map[string]any { return map[string]map[string]any{"name": {"in": v}} }
	if err := ann.Submit(view.ID, in("bad")); said(err) != "name: not bad" {
		t.Errorf("errors: %v", err)
	}
	must(ann.Submit(view.ID, in("update")))
	if v := ann.Views(); len(v) != 1 || v[0].Title != "Second" {
		t.Errorf("update: %+v", v)
	}
	must(ann.Submit(view.ID, in("push")))
	views := ann.Views()
	if len(views) != 2 || views[1].Title != "Third" {
		t.Fatalf("push: %+v", views)
	}
	must(ann.Submit(views[1].ID, in("it")))
	s.ExpectMessage(t, "@ann", "saved it")
	must(ann.CloseView(view.ID, true))
	s.ExpectMessage(t, "@ann", "closed, cleared: true")

	must(ann.Click("#ops", m.TS, "Go"))
	s.ExpectUpdate(t, "#ops", m.TS, "done v by <@"+ann.ID()+">")
	s.ExpectReply(t, "#ops", m.TS, "in the thread")

	must(ann.Shortcut("incident_declare"))
	if v := s.ExpectView(t, "ann", "form"); v.Title != "Declare" {
		t.Errorf("shortcut: %+v", v)
	}
	mention, err := ann.Say("#ops", "@opsbot hi")
	must(err)
	s.ExpectReply(t, "#ops", mention.TS, "hello <@"+ann.ID()+">")
	_, err = ann.OpenHome()
	must(err)
	waitFor(t, s, "the Home tab", func() bool { return strings.Contains(string(ann.Home().Blocks), "welcome home") })
	must(ann.React("#ops", mention.TS, "tada"))
	s.ExpectReply(t, "#ops", mention.TS, "thanks")

	waitFor(t, s, "all acks", func() bool { return s.Pending() == 0 })
	s.Disconnect("refresh_requested")
	waitFor(t, s, "Bolt to come back", func() bool { return len(s.Calls("apps.connections.open")) == 2 && s.Connected() == 1 })
	for _, a := range s.Acks() {
		if a.Problem != "" {
			t.Errorf("ack = %+v", a)
		}
	}
	for _, c := range s.Calls() {
		if !c.OK {
			t.Errorf("%s answered %s", c.Method, c.Answer)
		}
	}
}
