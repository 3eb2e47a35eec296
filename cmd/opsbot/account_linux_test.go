package main

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The owner's socket is for its own account: another one is told so, whatever
// it wants.
func TestAnotherAccountAtTheSocket(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another account")
	}
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("there is no other account: %v", err)
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.serve()
	// Everything but the socket lets the other account pass.
	binary := h.path("opsbot")
	copyFile(t, os.Args[0], binary)
	for _, path := range []string{filepath.Dir(h.dir), h.dir, h.file, binary} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"runs", "list"}, {"run", "cache-fix"}} {
		cmd := exec.Command(binary, append(args, "--config", h.file)...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		want := "runs under another account, and its socket is open to that account alone. Work under that account"
		if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(string(out), want) {
			t.Errorf("opsbot %q exits with %d and says\n%s\nwant %q", args, code, out, want)
		}
	}
	if n := h.runs(); n != 0 {
		t.Errorf("%d runs were started", n)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
