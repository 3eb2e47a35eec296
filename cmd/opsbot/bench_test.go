package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"opsbot/bot"
	"opsbot/internal/outbox"
	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// release builds opsbot as it is released and returns its path.
func release(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "opsbot")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// begin starts the program against a simulator and returns it once connected.
func begin(b *testing.B, path, database string) (pid int, stop func()) {
	b.Helper()
	w, err := openWorkspace("127.0.0.1:0", slacksim.Options{Manifest: bot.Manifest}, page.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx) }()
	cmd := exec.Command(path, "serve", "--database", database)
	cmd.Dir = b.TempDir()
	cmd.Env = append(os.Environ(), "SLACK_API_URL="+w.url()+"/api/", "SLACK_BOT_TOKEN="+w.sim.BotToken(), "SLACK_APP_TOKEN="+w.sim.AppToken())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	wait, done := context.WithTimeout(ctx, 20*time.Second)
	defer done()
	if err := w.sim.Wait(wait, func() bool { return w.sim.Connected() == 1 }); err != nil {
		b.Fatalf("the program did not connect: %v", err)
	}
	return cmd.Process.Pid, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cancel()
		<-served
	}
}

// BenchmarkStart measures from starting the process to its open socket.
func BenchmarkStart(b *testing.B) {
	path := release(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, stop := begin(b, path, "sqlite:"+filepath.Join(b.TempDir(), "opsbot.db"))
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
}

// BenchmarkMemory measures what the process keeps resident, idle and with
// runs that wait for an approval.
func BenchmarkMemory(b *testing.B) {
	path := release(b)
	for _, waiting := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			for b.Loop() {
				url := storetest.SQLite(b)
				fillWaiting(b, url, waiting)
				pid, stop := begin(b, path, url)
				var most float64
				for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
					most = max(most, resident(b, pid))
				}
				stop()
				b.ReportMetric(most, "MiB-resident")
			}
		})
	}
}

func fillWaiting(b *testing.B, url string, n int) {
	b.Helper()
	s, err := store.Open(b.Context(), url, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var all errgroup.Group
	all.SetLimit(50) // they share commits
	for range n {
		all.Go(func() error {
			run := storetest.NewRun()
			run.State = engine.Waiting
			run.Approvals = []engine.Approval{{
				ID: uuid.NewString(), Run: run.ID, Step: "clear", Kind: engine.Review, State: engine.Open, Needed: 1, Groups: []string{"sre"},
				Created: time.Now(), Expires: time.Now().Add(time.Hour),
				Card: outbox.Ask{Kind: "review", Question: "Remove up to 9,412 of 9,730 keys?", Impact: []string{"removes 9,412 of 9,730 keys"}},
			}}
			_, err := s.Runs().Create(b.Context(), run, engine.Change{})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
}

// resident is the process's resident memory in MiB, as Linux tells it.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skipf("resident memory is read from /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
