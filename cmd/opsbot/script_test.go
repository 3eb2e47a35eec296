package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be opsbot itself: scripts and crash tests run
// it as a process.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	testscript.Main(leakChecked{m}, map[string]func(){"opsbot": main})
}

// leakChecked fails the run when a test has left a goroutine behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString("goroutines were left behind: " + err.Error() + "\n")
			return 1
		}
	}
	return code
}

// The scripts in testdata/script show what a person at a terminal sees.
func TestScripts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "script")
	if scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar")); err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, RequireExplicitExec: true, RequireUniqueNames: true, Condition: func(name string) (bool, error) {
		if name != "race" {
			return false, fmt.Errorf("there is no condition %q", name)
		}
		return raced(), nil
	}})
}

// raced reports whether this binary has the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// scripted keeps main's own context handling honest: it must return when the
// context is done before it began.
func TestCanceledBeforeStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out syncBuffer
	if code := Main(ctx, []string{"demo", "--addr", "127.0.0.1:0"}, Streams{Out: &out, Err: &out}); code != exitWell {
		t.Errorf("a demo that is stopped at once exits with %d:\n%s", code, out.String())
	}
}
