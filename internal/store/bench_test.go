package store_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
	"opsbot/internal/store"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks/engine"
)

// eachStore runs a benchmark on each database at hand.
func eachStore(b *testing.B, bench func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, storetest.Open(b)) })
	b.Run("postgres", func(b *testing.B) { bench(b, storetest.OpenURL(b, storetest.Postgres(b))) })
}

// crowded runs op in n goroutines at once, whatever the number of cores.
func crowded(b *testing.B, n int, op func(i int) error) {
	var i atomic.Int64
	b.SetParallelism(max(1, n/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(int(i.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func serially(b *testing.B, op func(i int) error) {
	b.ResetTimer()
	for i := range b.N {
		if err := op(i); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecord is what stands between a command and its acknowledgement.
func BenchmarkRecord(b *testing.B) {
	payload := make([]byte, 1500)
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			eachStore(b, func(b *testing.B, s *store.Store) {
				op := func(int) error {
					_, err := s.Inbox().Record(b.Context(), inbox.Item{Key: uuid.NewString(), Kind: "slash_commands", Payload: payload})
					return err
				}
				if n == 1 {
					serially(b, op)
				} else {
					crowded(b, n, op)
				}
			})
		})
	}
}

// BenchmarkUpdate is one step's commit: an attempt, a notice, an audit entry.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			eachStore(b, func(b *testing.B, s *store.Store) {
				var ids []string
				for range n {
					run := storetest.NewRun()
					run.Text = make([]byte, 8000)
					if _, err := s.Runs().Create(b.Context(), run, engine.Change{}); err != nil {
						b.Fatal(err)
					}
					ids = append(ids, run.ID)
				}
				op := func(i int) error {
					_, err := s.Runs().Update(b.Context(), ids[i%n], nil, func(r *engine.Run) (engine.Change, error) {
						if len(r.Attempts) < 10 {
							r.Attempts = append(r.Attempts, engine.Attempt{Seq: len(r.Attempts) + 1})
						}
						r.Attempts[i%len(r.Attempts)].Number = i
						return engine.Change{
							Notices: []outbox.Notice{{Key: r.ID, Content: outbox.Line{Text: "step"}}},
							Audit:   []engine.AuditEntry{{Act: "act", Run: r.ID}},
						}, nil
					})
					return err
				}
				if n == 1 {
					serially(b, op)
				} else {
					crowded(b, n, op)
				}
			})
		})
	}
}

// BenchmarkClaim takes a ready run and gives it up, among 10,000 that wait.
func BenchmarkClaim(b *testing.B) {
	eachStore(b, func(b *testing.B, s *store.Store) {
		for i := range 10_000 {
			run := storetest.NewRun()
			if i >= 4 {
				run.State = engine.Waiting
			}
			if _, err := s.Runs().Create(b.Context(), run, engine.Change{}); err != nil {
				b.Fatal(err)
			}
		}
		serially(b, func(int) error {
			run, err := s.Runs().Claim(b.Context(), "o")
			if err != nil || run == nil {
				return fmt.Errorf("claim %v: %w", run, err)
			}
			_, err = s.Runs().Update(b.Context(), run.ID, &engine.Fence{Owner: "o", Epoch: run.Epoch}, func(*engine.Run) (engine.Change, error) {
				return engine.Change{Release: true}, nil
			})
			return err
		})
	})
}

// BenchmarkIdle is a poll that finds nothing, among 10,000 runs that wait.
func BenchmarkIdle(b *testing.B) {
	eachStore(b, func(b *testing.B, s *store.Store) {
		for range 10_000 {
			run := storetest.NewRun()
			run.State = engine.Waiting
			if _, err := s.Runs().Create(b.Context(), run, engine.Change{}); err != nil {
				b.Fatal(err)
			}
		}
		serially(b, func(int) error {
			_, err := s.Runs().Claim(b.Context(), "o")
			return err
		})
	})
}

// BenchmarkDue is a look for what may be sent, among the reminders of 10,000
// runs that wait in one channel.
func BenchmarkDue(b *testing.B) {
	eachStore(b, func(b *testing.B, s *store.Store) {
		reminders := make([]outbox.Notice, 10_000)
		for i := range reminders {
			reminders[i] = outbox.Notice{Key: fmt.Sprint(i), To: outbox.Conversation{Channel: "C1"}, Content: outbox.Line{Text: "reminder"}, NotBefore: time.Now().Add(time.Hour)}
		}
		if err := s.Outbox().Enqueue(b.Context(), reminders...); err != nil {
			b.Fatal(err)
		}
		serially(b, func(int) error {
			if err := s.Outbox().Enqueue(b.Context(), outbox.Notice{To: outbox.Conversation{Channel: "C1"}, Content: outbox.Line{Text: "now"}}); err != nil {
				return err
			}
			ds, err := s.Outbox().Due(b.Context(), "o", 10)
			if err != nil || len(ds) != 1 {
				return fmt.Errorf("due %d: %w", len(ds), err)
			}
			return s.Outbox().Sent(b.Context(), ds[0], "C1", "1.1")
		})
	})
}
