package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"opsbot/internal/actions/host"
	"opsbot/internal/fault"
	"opsbot/runbooks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, c host.Config) *host.Conn {
	t.Helper()
	conn, err := host.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func action(t *testing.T, name string) runbooks.Action {
	t.Helper()
	for _, a := range host.Actions() {
		if a.Spec().Name == name {
			return a
		}
	}
	t.Fatalf("no action %s", name)
	return nil
}

// run decodes the arguments as the engine does, and runs the action.
func run[R any](t *testing.T, ctx context.Context, name string, conn runbooks.Connection, with map[string]any) (R, string, error) {
	t.Helper()
	a := action(t, name)
	args, err := runbooks.DecodeArgs(a.Spec(), with)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r, err := a.Run(ctx, runbooks.Call{Run: "r1", Step: "s1", Target: runbooks.Target{Name: "host", Kind: "host", Conn: conn}, Args: args}, &out)
	got, _ := r.(R)
	return got, out.String(), err
}

// A new action is one file and one line in Actions.
func TestActionsListsEveryFile(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared, listed []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "Spec" && f.Recv != nil {
				declared = append(declared, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	for _, a := range host.Actions() {
		listed = append(listed, reflect.TypeOf(a).Name())
		if _, ok := a.(runbooks.Previewer); !ok && a.Spec().Effect > runbooks.Read {
			t.Errorf("%s changes something and has no preview", a.Spec().Name)
		}
		if _, ok := a.Spec().Result.(interface{ Found() string }); !ok {
			t.Errorf("%s has a result that cannot say what was found", a.Spec().Name)
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if len(declared) == 0 || !slices.Equal(declared, listed) {
		t.Errorf("Actions() = %v, the files declare %v", listed, declared)
	}
	if _, err := runbooks.NewCatalog(host.Actions()); err != nil {
		t.Error(err)
	}
	for name, result := range map[string]any{
		"exec.run":           host.Ran{ExitCode: 3, Lines: []string{"a"}, Took: time.Second},
		"file.latest_backup": host.Backup{Path: "/b", Bytes: 1, Modified: time.Unix(1795600000, 0).UTC(), Age: time.Hour, Count: 2},
		"file.verify_dump":   host.Verified{Path: "/b", Modified: time.Unix(1795600000, 0).UTC(), Rows: map[string]int{"public.users": 2}, Total: 2},
	} {
		data, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		back, err := runbooks.DecodeResult(action(t, name).Spec(), data)
		if d := cmp.Diff(result, back); err != nil || d != "" {
			t.Errorf("%s does not survive JSON: %v\n%s", name, err, d)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]host.Config{
		"begins with its program":      {Commands: map[string]host.Command{"x": {Argv: []string{"{prog}"}}}},
		"has no value of that name":    {Commands: map[string]host.Command{"x": {Argv: []string{"echo", "a{name}"}}}},
		"is no regular expression":     {Commands: map[string]host.Command{"x": {Argv: []string{"echo"}, Args: []host.Arg{{Name: "a", Pattern: "("}}}}},
		"must be a value of type int":  {Commands: map[string]host.Command{"x": {Argv: []string{"echo"}, Args: []host.Arg{{Name: "a", Type: "int", Default: "many"}}}}},
		"in its last part only":        {Files: map[string]string{"b": "/var/*/x.gz"}},
		"need a whole path with * in ": {Files: map[string]string{"b": "backups/*.gz"}},
	} {
		if _, err := host.Open(c); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Say(err), says) {
			t.Errorf("Open(%+v) = %v, want %q", c, err, says)
		}
	}
}

// script is a command that sh runs, for what a real program would do.
func script(text string, effect runbooks.Effect, args ...host.Arg) host.Command {
	argv := []string{"sh", "-c", text, "sh"}
	for _, a := range args {
		argv = append(argv, "{"+a.Name+"}")
	}
	return host.Command{Argv: argv, Args: args, Effect: effect}
}

func TestRun(t *testing.T) {
	t.Parallel()
	conn := open(t, host.Config{Commands: map[string]host.Command{
		"say":    script(`printf '%s\n' "$#" "$@"; echo err >&2`, runbooks.Read, host.Arg{Name: "text", Pattern: ".*"}, host.Arg{Name: "n", Type: "int", Default: "5"}),
		"secret": script("echo DB_PASSWORD=geheim", runbooks.Read),
		"fails":  script("echo disk full >&2; exit 3", runbooks.Read),
		"dies":   script("kill -9 $$", runbooks.Read),
		"much":   script("i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done", runbooks.Read),
		"none":   {Argv: []string{"no-such-program"}, Effect: runbooks.Read},
		"where":  {Argv: []string{"pwd"}, Dir: "/usr", Effect: runbooks.Read},
		"plain":  script("true", runbooks.Read, host.Arg{Name: "file"}),
	}})
	probe := func(command string, more ...any) (host.Ran, string, error) {
		with := map[string]any{"command": command}
		for i := 0; i < len(more); i += 2 {
			with[more[i].(string)] = more[i+1]
		}
		return run[host.Ran](t, t.Context(), "exec.probe", conn, with)
	}

	// One value is one argument, whatever is in it.
	r, out, err := probe("say", "args", map[string]any{"text": `a b; $(reboot) "'*`})
	if d := cmp.Diff([]string{"2", `a b; $(reboot) "'*`, "5"}, r.Lines); err != nil || d != "" || !strings.Contains(out, "err\n") {
		t.Errorf("say: %v (-want +got):\n%s%s", err, d, out)
	}
	if r, out, err := probe("secret"); err != nil || strings.Contains(out+r.Lines[0], "geheim") || r.Lines[0] != "DB_PASSWORD=***" {
		t.Errorf("secret = %v, %q, %v", r.Lines, out, err)
	}
	if r, _, err := probe("fails"); fault.KindOf(err) != fault.Conflict || fault.Say(err) != "sh ended with code 3. It said: disk full" || r.ExitCode != 3 {
		t.Errorf("fails = %+v, %q", r, fault.Say(err))
	}
	if r, _, err := probe("fails", "any_code", true); err != nil || r.ExitCode != 3 {
		t.Errorf("fails with any code = %+v, %v", r, err)
	}
	if r, _, err := probe("dies"); fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Say(err), "signal: killed") || r.ExitCode != -1 {
		t.Errorf("dies = %+v, %v", r, err)
	}
	if r, out, err := probe("much"); err != nil || len(r.Lines) != 1000 || r.Lines[999] != "line 39999" || !r.Truncated || len(out) > 256<<10 || !strings.HasPrefix(out, "line ") {
		t.Errorf("much: %d lines, %d bytes, %v", len(r.Lines), len(out), err)
	}
	if _, _, err := probe("none"); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Say(err), "no-such-program cannot be run here") {
		t.Errorf("none = %v", err)
	}
	if r, _, err := probe("where"); err != nil || r.Lines[0] != "/usr" {
		t.Errorf("where = %+v, %v", r, err)
	}
	for says, with := range map[string]map[string]any{
		"has no command named reboot. It has dies, fails, ": {"command": "reboot"},
		"needs a value for file":                            {"command": "plain"},
		"has no value named more":                           {"command": "plain", "args": map[string]any{"file": "x", "more": "y"}},
		`must match [A-Za-z0-9_]`:                           {"command": "plain", "args": map[string]any{"file": "--delete"}},
		`"../x" is not`:                                     {"command": "plain", "args": map[string]any{"file": "../x"}},
		"must be a value of type int":                       {"command": "say", "args": map[string]any{"text": "x", "n": "1;2"}},
	} {
		if _, _, err := run[host.Ran](t, t.Context(), "exec.probe", conn, with); err == nil || !strings.Contains(fault.Say(err), says) {
			t.Errorf("%v: %q, want %q", with, fault.Say(err), says)
		}
	}
}

// Only variables that are listed reach a command.
func TestRunEnvironment(t *testing.T) {
	t.Setenv("OPSBOT_TEST_PASSED", "yes")
	t.Setenv("OPSBOT_TEST_SECRET", "no")
	conn := open(t, host.Config{Commands: map[string]host.Command{"env": {Argv: []string{"env"}, Env: []string{"OPSBOT_TEST_PASSED", "OPSBOT_TEST_UNSET"}, Effect: runbooks.Read}}})
	r, _, err := run[host.Ran](t, t.Context(), "exec.probe", conn, map[string]any{"command": "env"})
	if d := cmp.Diff([]string{"OPSBOT_TEST_PASSED=yes", "PATH=" + os.Getenv("PATH")}, slices.Sorted(slices.Values(r.Lines))); err != nil || d != "" {
		t.Errorf("env: %v (-want +got):\n%s", err, d)
	}
	found, err := conn.Examine(t.Context())
	if err != nil || len(found) != 1 || !found[0].Bad || found[0].Says != "not set for opsbot: OPSBOT_TEST_UNSET" {
		t.Errorf("Examine = %+v, %v", found, err)
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	conn := open(t, host.Config{Commands: map[string]host.Command{
		"look":  script("true", runbooks.Read),
		"tidy":  script("true", runbooks.Change, host.Arg{Name: "what", Pattern: ".*"}),
		"purge": script("true", runbooks.Destructive),
	}})
	if _, _, err := run[host.Ran](t, t.Context(), "exec.probe", conn, map[string]any{"command": "tidy", "args": map[string]any{"what": "x"}}); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("exec.probe runs what changes something: %v", err)
	}
	for command, want := range map[string]runbooks.Effect{"look": runbooks.Change, "tidy": runbooks.Change, "purge": runbooks.Destructive} {
		args := &host.RunArgs{Command: command}
		if command == "tidy" {
			args.Args = map[string]string{"what": "a 'b'"}
		}
		p, err := action(t, "exec.run").(runbooks.Previewer).Preview(t.Context(), runbooks.Call{Target: runbooks.Target{Conn: conn}, Args: args})
		if err != nil || p.Effect != want || (want == runbooks.Destructive) != (len(p.Reasons) > 0) || p.Identity == "" {
			t.Errorf("preview of %s = %+v, %v", command, p, err)
		}
		if command == "tidy" && p.Impact[0] != `runs sh -c true sh 'a '\''b'\'''` {
			t.Errorf("impact = %q", p.Impact)
		}
	}
}

// pidOf waits until a script has written its pid.
func pidOf(t *testing.T, file string) int {
	t.Helper()
	var pid int
	waitFor(t, "a pid in "+file, func() bool {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.HasSuffix(text, []byte("\n")) {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(10*time.Millisecond), time.NewTimer(30*time.Second)
	defer tick.Stop()
	defer deadline.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func alive(pid int) bool {
	// A process that nobody has waited for is as good as gone.
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err == nil {
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		return !bytes.HasPrefix(rest, []byte("Z"))
	}
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// Whoever a command has started ends with it, even if it does not listen.
func TestRunEndsGrandchildren(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	for name, text := range map[string]string{
		"listens": `sleep 1000 & echo $! >"$1"; wait`,
		"deaf":    `trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! >"$1"; while :; do sleep 1; done`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			conn := open(t, host.Config{Commands: map[string]host.Command{"x": script(text, runbooks.Read, host.Arg{Name: "file", Pattern: ".*"})}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				a := action(t, "exec.probe")
				_, err := a.Run(ctx, runbooks.Call{Target: runbooks.Target{Conn: conn}, Args: &host.RunArgs{Command: "x", Args: map[string]string{"file": file}}}, &bytes.Buffer{})
				ended <- err
			}()
			pid := pidOf(t, file)
			if !alive(pid) {
				t.Fatal("the grandchild does not run")
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("probe = %v", err)
			}
			waitFor(t, "the end of the grandchild", func() bool { return !alive(pid) })
		})
	}
	conn := open(t, host.Config{Commands: map[string]host.Command{"slow": {Argv: []string{"sleep", "1000"}, Effect: runbooks.Read, Timeout: 50 * time.Millisecond}}})
	if _, _, err := run[host.Ran](t, t.Context(), "exec.probe", conn, map[string]any{"command": "slow"}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Say(err), "ran longer than") {
		t.Errorf("slow = %v", err)
	}
}

// A command that leaves something behind ends all the same.
func TestRunLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	conn := open(t, host.Config{Commands: map[string]host.Command{"x": script(`sleep 1000 & echo $! >"$1"; echo done`, runbooks.Read, host.Arg{Name: "file", Pattern: ".*"})}})
	r, out, err := run[host.Ran](t, t.Context(), "exec.probe", conn, map[string]any{"command": "x", "args": map[string]any{"file": file}})
	if err != nil || r.ExitCode != 0 || r.Lines[0] != "done" || !strings.Contains(out, "was ended") {
		t.Errorf("probe = %+v, %q, %v", r, out, err)
	}
	pid := pidOf(t, file)
	waitFor(t, "the end of what was left behind", func() bool { return !alive(pid) })
}
