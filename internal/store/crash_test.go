package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"opsbot/internal/inbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// crashURL, when set, turns this test program into one that commits until it
// is killed, printing what was acknowledged.
const crashURL = "OPSBOT_STORE_CRASH_URL"

// TestCrash kills a process in the middle of its commits, again and again:
// what it said was committed is there, and what is there is whole.
func TestCrash(t *testing.T) {
	t.Parallel()
	if os.Getenv(crashURL) != "" {
		commitForever(t)
		return
	}
	storetest.EachURL(t, func(t *testing.T, url string) {
		rounds := 6
		if testing.Short() {
			rounds = 2
		}
		acked := make(map[string]bool)
		for round := range rounds {
			killAfter(t, url, 10+23*round, acked)
			checkAfterCrash(t, url, acked)
		}
	})
}

// killAfter runs the child until it has acknowledged n commits more.
func killAfter(t *testing.T, url string, n int, acked map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), crashURL+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		key, ok := strings.CutPrefix(lines.Text(), "acked ")
		if !ok {
			fmt.Fprintln(&said, lines.Text())
			continue
		}
		acked[key] = true
		if seen++; seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if seen < n {
		t.Fatalf("the child ended by itself after %d commits:\n%s", seen, said.String())
	}
}

func checkAfterCrash(t *testing.T, url string, acked map[string]bool) {
	t.Helper()
	look, err := store.OpenReadOnly(t.Context(), url) // before anybody has cleaned up
	if err != nil {
		t.Fatalf("OpenReadOnly after the crash: %v", err)
	}
	if _, _, err := look.Audit().Verify(t.Context()); err != nil {
		t.Errorf("Verify without an owner: %v", err)
	}
	if err := look.Close(); err != nil {
		t.Error(err)
	}
	s := storetest.OpenURL(t, url)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	runs := make(map[string]*engine.Run)
	for key := range acked {
		kind, id, _ := strings.Cut(key, " ")
		switch kind {
		case "item":
			fresh, err := s.Inbox().Record(t.Context(), inbox.Item{Key: id, Kind: "event"})
			if err != nil || fresh {
				t.Errorf("the acknowledged item %s is lost (%v)", id, err)
			}
		case "step":
			id, seq, _ := strings.Cut(id, " ")
			run := runs[id]
			if run == nil {
				var err error
				if run, err = s.Runs().Find(t.Context(), id); err != nil {
					t.Fatalf("Find(%s): %v", id, err)
				}
				runs[id] = run
			}
			if n, err := strconv.Atoi(seq); err != nil || len(run.Attempts) < n {
				t.Errorf("run %s has %d attempts, attempt %s was acknowledged", id, len(run.Attempts), seq)
			}
		}
	}
	// PostgreSQL may still be at the last commits of the dead.
	for deadline := time.Now().Add(90 * time.Second); ; {
		wrong := disagreement(t, s)
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Error(wrong)
			return
		}
	}
}

// disagreement says what is not whole: attempts, cursor and audit entry share a
// commit.
func disagreement(t *testing.T, s *store.Store) string {
	t.Helper()
	all, err := s.Runs().List(t.Context(), engine.Query{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, run := range all {
		if want := strconv.Itoa(len(run.Attempts)); run.Cursor != want {
			return fmt.Sprintf("R%d has %s attempts and the cursor %s", run.Number, want, run.Cursor)
		}
		total += len(run.Attempts)
	}
	n, _, err := s.Audit().Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int(n) != total {
		return fmt.Sprintf("there are %d attempts and %d audit entries", total, n)
	}
	return ""
}

func commitForever(t *testing.T) {
	s, err := store.Open(t.Context(), os.Getenv(crashURL), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ack := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("acked "+format+"\n", args...)
	}
	stamp := strconv.FormatInt(time.Now().UnixNano(), 36)
	for i := range 4 {
		go func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%s-%d-%d", stamp, i, n)
				if _, err := s.Inbox().Record(t.Context(), inbox.Item{Key: key, Kind: "event", Payload: []byte("{}")}); err == nil {
					ack("item %s", key)
				}
			}
		}()
		go func() {
			run := storetest.NewRun()
			run.Cursor = "0"
			if _, err := s.Runs().Create(t.Context(), run, engine.Change{}); err != nil {
				t.Error(err)
				return
			}
			for {
				got, err := s.Runs().Update(t.Context(), run.ID, nil, func(r *engine.Run) (engine.Change, error) {
					r.Attempts = append(r.Attempts, engine.Attempt{Seq: len(r.Attempts) + 1, State: engine.Intent})
					r.Cursor = strconv.Itoa(len(r.Attempts))
					return engine.Change{Audit: []engine.AuditEntry{{Act: "act", Run: r.ID}}}, nil
				})
				if err == nil {
					ack("step %s %s", run.ID, got.Cursor)
				}
			}
		}()
	}
	<-t.Context().Done()
}
