package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"opsbot/internal/config"
)

// sealed is a runbook whose steps are given a secret, and that goes on with
// whatever they give back.
const sealed = "---\nformat: 1\nrunbook: sealed\nowner: sre\nroles: { run: [oncall, sre], approve: [sre] }\nuses: { ops: host, echo: http }\ntimeout: 5m\n---\n# Log in\n\nA runbook of a test.\n" +
	"\n## 1. Ask\n\n```yaml step\nid: ask\ndo: http.get\ntarget: echo\nwith:\n  path: \"/who?key=${{ secret('key') }}\"\n  json: { key: \"${{ secret('key') }}\", name: nobody }\non_fail: continue\n```\n" +
	"\n## 2. Log in\n\n```yaml step\nid: login\ndo: exec.run\ntarget: ops\nwith: { command: login, args: { key: \"${{ secret('key') }}\" } }\nconfirm: Log in?\ntimeout: 30s\n" +
	"expect: { that: \"len(result.lines) == 0\", say: \"it says ${{ join(result.lines, ' ') }}\", else: warn }\nsave: { said: \"join(result.lines, ' ')\" }\nshow: { lines: 20 }\n```\n" +
	"\n## 3. Tell\n\n```yaml step\ndo: notify\nwith: { to: thread, text: \"saved: ${{ steps.login?.said ?? 'nothing' }}\" }\n```\n" +
	"\n## 4. Fail\n\n```yaml step\nid: fail\ndo: exec.run\ntarget: ops\nwith: { command: broken, args: { key: \"${{ secret('key') }}\" } }\nconfirm: Fail?\ntimeout: 30s\n```\n" +
	"\n## Report\n\n```markdown report\nReported: ${{ steps.login?.said ?? 'nothing' }}\n```\n"

// A secret of the configuration reaches the system that it is for, and nothing
// else: not the database, not Slack, not the log, though the systems repeat it.
func TestSecretReachesItsSystemAlone(t *testing.T) {
	t.Parallel()
	const key = "canary-4711&'x"
	var mu sync.Mutex
	var got []string
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.URL.Query().Get("key"))
		_ = json.NewEncoder(w).Encode(map[string]string{"key": r.URL.Query().Get("key"), "name": r.URL.RawQuery})
	}))
	t.Cleanup(echo.Close)
	h := newHouse(t)
	h.configure(fmt.Sprintf(`      echo: { http: %q }
      ops:
        commands:
          login:
            argv: [sh, -c, 'printf "%%s\n" "key is $1" "and more"; echo "$1" >"$2"', sh, "{key}", %q]
            args: [{ name: key, pattern: ".+" }]
          broken:
            argv: [sh, -c, 'echo "bad key $1" >&2; exit 7', sh, "{key}"]
            args: [{ name: key, pattern: ".+" }]
    secrets: { key: file:key }
secrets: { key: env:NO_SUCH_VARIABLE }
`, echo.URL, h.path("given")))
	h.write("key", key+"\n")
	h.book("sealed.md", sealed)
	stop := h.serve()

	h.slash("ann", "/runbook sealed --dry-run")
	h.find("UANN", "Reported: nothing")
	h.slash("ann", "/runbook sealed")
	h.click("ann", h.find("UANN", "Log in?", "the secret key"), "Confirm")
	h.find("UANN", "saved: key is •••")
	h.click("ann", h.find("UANN", "Fail?", "the secret key"), "Confirm")
	h.find("UANN", "Reported: key is •••")
	h.find("UANN", "*Failed*", "bad key •••")

	given, err := os.ReadFile(h.path("given"))
	if err != nil || string(given) != key+"\n" {
		t.Errorf("the command was given %q, %v", given, err)
	}
	mu.Lock()
	if !slices.Equal(got, []string{key, key}) {
		t.Errorf("the server was given %q", got)
	}
	mu.Unlock()

	places := map[string]string{"the log": h.log.String(), "the transcript": h.transcript()}
	for _, m := range h.everything("ann") {
		places["the messages"] += fmt.Sprintf("%+v\n%s\n", m, m.Blocks)
	}
	for _, f := range h.sim.Files() {
		places["the files"] += fmt.Sprintf("%+v\n%s\n", f, f.Content)
	}
	for name, args := range map[string][]string{
		"runs list": {"runs", "list", "--output", "json"}, "runs show": {"runs", "show", "R2"}, "audit": {"audit", "export"},
	} {
		code, out, errs := h.opsbot("", args...)
		if code != exitWell {
			t.Fatalf("%s gives %d: %s", name, code, errs)
		}
		places[name] = out + errs
	}
	stop()
	kept, err := filepath.Glob(h.path("opsbot.db*"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("the database has the files %q, %v", kept, err)
	}
	for _, file := range kept {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		places[filepath.Base(file)] = string(data)
	}
	if !strings.Contains(places["opsbot.db"], "•••") {
		t.Error("the database has no trace of the run")
	}
	for place, text := range places {
		if i := strings.Index(text, "canary"); i >= 0 {
			t.Errorf("the secret is in %s: …%q…", place, text[max(i-120, 0):min(i+120, len(text))])
		}
	}
}

// doctor says which secret has no value, and an environment's own wins.
func TestDoctorLooksAtSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("canary-4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Decode(filepath.Join(dir, "opsbot.yaml"), []byte("secrets: { key: env:NO_SUCH_VARIABLE }\nenvironments:\n  prod: { secrets: { key: file:key } }\n  test: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := doctor(t.Context(), &out, cfg, false); exitCode(err) != exitFailed {
		t.Errorf("doctor() = %v", err)
	}
	for _, want := range []string{"ok   prod         key (secret)  resolve", "BAD  test         key (secret)  resolve", "the environment variable NO_SUCH_VARIABLE is not set"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("doctor does not say %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "canary") {
		t.Errorf("doctor tells the secret:\n%s", &out)
	}
}
