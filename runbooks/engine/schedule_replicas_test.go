package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// clockURL makes the test program a process that starts what is scheduled.
const clockURL = "OPSBOT_ENGINE_CLOCK_URL"

const clockwork = 30 // environments, each with a schedule

// clockOptions are those of every such process.
func clockOptions(t *testing.T, db *store.Store) engine.Options {
	t.Helper()
	o := ledgerOptions(t, db, os.DevNull, clockwork)
	var schedules []string
	for i := range clockwork {
		schedules = append(schedules, fmt.Sprintf(`{ cron: "0 * * * *", environment: env%d }`, i))
	}
	lib, problems := runbooks.Load(o.Catalog, fstest.MapFS{"hourly.md": &fstest.MapFile{Data: []byte(by("hourly", strings.Join(schedules, ", "),
		step("1. Look", "id: look\ndo: redis.struck\nwith: { what: nothing }")))}})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	o.Library, o.Schedules = lib, db.Schedules()
	return o
}

// TestScheduleReplicas lets several processes on one database, of which one is
// killed again and again, start what has become due; the database is set back
// meanwhile, as if somebody had restored it. Everything starts once.
func TestScheduleReplicas(t *testing.T) {
	if url := os.Getenv(clockURL); url != "" {
		beClock(t, url)
		return
	}
	if testing.Short() {
		t.Skip("starts several processes")
	}
	t.Parallel()
	url := storetest.Postgres(t)
	db := storetest.OpenURL(t, url)
	e := engine.New(clockOptions(t, db))
	if err := e.FireDue(t.Context()); err != nil { // puts the schedules on record
		t.Fatal(err)
	}
	for range 2 {
		startClock(t, url)
	}
	kill := startClock(t, url)
	deadline := time.Now().Add(2 * patience)
	for round := 0; ; round++ {
		// Four hours ago is due, and of the hours since then the last one counts.
		past := time.Now().Truncate(time.Hour).Add(-4 * time.Hour).UnixMilli()
		storetest.Exec(t, url, fmt.Sprintf("UPDATE schedules SET next_at = %d", past))
		firings, err := db.Schedules().Firings(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		runs, err := db.Runs().List(t.Context(), engine.Query{Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, r := range runs {
			if r.State == engine.Succeeded {
				done++
			}
		}
		if round%10 == 9 && round < 50 {
			kill()
			kill = startClock(t, url)
		}
		if len(firings) >= clockwork && done == len(runs) && round > 50 {
			check(t, firings, runs)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d firings and %d of %d runs done in time; want %d", len(firings), done, len(runs), clockwork)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// check wants one run for each time at which a schedule fired. An hour may end
// while the test runs, so there may be two such times.
func check(t *testing.T, firings []engine.Firing, runs []*engine.Run) {
	t.Helper()
	if len(runs) != len(firings) {
		t.Errorf("there are %d runs of %d firings", len(runs), len(firings))
	}
	byRun, byTime := map[string]int{}, map[string]int{}
	for _, f := range firings {
		byRun[f.Run]++
		byTime[f.Schedule+f.At.String()]++
		if f.Run == "" {
			t.Errorf("%s was not run: %s", f.Schedule, f.Outcome)
		}
	}
	for _, n := range []map[string]int{byRun, byTime} {
		for key, n := range n {
			if n != 1 {
				t.Errorf("%s fired %d times", key, n)
			}
		}
	}
	for _, r := range runs {
		if byRun[r.ID] != 1 {
			t.Errorf("R%d on %s belongs to %d firings", r.Number, r.Environment, byRun[r.ID])
		}
	}
	t.Logf("%d firings, %d runs", len(firings), len(runs))
}

// startClock starts a process; the function that it returns kills it.
func startClock(t *testing.T, url string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestScheduleReplicas$", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), clockURL+"="+url)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it may have been killed
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("a process does not end")
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("log of a process:\n%s", log.String())
		}
	})
	return func() {
		_ = cmd.Process.Kill()
		<-done
	}
}

// beClock serves until it is killed or its standard input ends.
func beClock(t *testing.T, url string) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	db := storetest.OpenURL(t, url)
	o := clockOptions(t, db)
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	o.Grace = time.Second
	e := engine.New(o)
	served := make(chan error, 3)
	go func() { served <- db.Serve(ctx) }()
	go func() { served <- e.Serve(ctx) }()
	go func() { served <- e.ServeSchedules(ctx) }()
	for range 3 {
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}
