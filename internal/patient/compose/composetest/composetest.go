// Package composetest gives tests a Compose patient of their own.
//
// It builds opsbot for the API's image from the sources around the test, so a
// patient always runs what is being tested. Such tests take minutes, so they
// run where OPSBOT_TEST_DOCKER=1 asks for them, and nowhere else: what a test
// run takes does not depend on what happens to be installed.
package composetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"opsbot/internal/patient/compose"
)

// atOnce is how many patients of one test program run side by side: each is a
// dozen processes.
var atOnce = make(chan struct{}, 2)

// Start gives t a patient, which is gone when t ends.
func Start(t testing.TB, o compose.Options) *compose.Patient {
	t.Helper()
	Require(t)
	o.Program = Program(t)
	if o.Progress == nil {
		o.Progress = func(text string) { t.Log(text) }
	}
	select {
	case atOnce <- struct{}{}:
	case <-t.Context().Done():
		t.Fatal("the test ended before there was room for its patient")
	}
	t.Cleanup(func() { <-atOnce })
	// The first patient of a machine makes its image.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	p, err := compose.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs(t, p)
		}
		if err := p.Close(); err != nil {
			t.Errorf("the patient does not go away: %v", err)
		}
	})
	return p
}

// Require skips or fails t where no patient can be started.
func Require(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("a patient in containers takes more than -short allows")
	}
	if os.Getenv("OPSBOT_TEST_DOCKER") != "1" {
		t.Skip("a patient in containers is for OPSBOT_TEST_DOCKER=1, as make test-docker sets it")
	}
	if err := compose.Check(t.Context()); err != nil {
		t.Fatalf("%v, and OPSBOT_TEST_DOCKER=1 wants it to be there", err)
	}
}

// Program returns the path of an opsbot that can be the patient's API.
func Program(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// logs tells what the containers said and how they are.
func logs(t testing.TB, p *compose.Patient) {
	t.Helper()
	for _, args := range [][]string{{"ps", "-a"}, {"logs", "--no-color", "--tail", "40"}} {
		out, err := p.Compose(context.WithoutCancel(t.Context()), args...)
		t.Logf("docker compose %s: %v\n%s", args[0], err, out)
	}
}

// program builds opsbot once for this test program; the file is kept under a
// name that says what is in it, because several test programs want it.
var program = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "opsbot", "programs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	forget(dir)
	work, err := os.MkdirTemp(dir, "build-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	built := filepath.Join(work, "opsbot")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", built, "opsbot/cmd/opsbot")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build opsbot for the patient: %w\n%s", err, out)
	}
	content, err := os.ReadFile(built)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	path := filepath.Join(dir, "opsbot-"+hex.EncodeToString(sum[:8]))
	return path, os.Rename(built, path)
})

// forget removes programs that nobody has built for a day.
func forget(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}
