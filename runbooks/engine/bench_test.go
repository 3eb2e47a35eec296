package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"opsbot/internal/outbox"
	"opsbot/internal/store/storetest"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// five is a runbook of five steps that only read.
var five = doc("five", step("1. A", "id: a\ndo: redis.look\ntarget: cache")+step("2. B", "id: b\ndo: redis.look\ntarget: cache")+
	step("3. C", "id: c\ndo: redis.look\ntarget: cache\nexpect: result.keys > 10")+step("4. D", "id: d\ndo: redis.look\ntarget: cache\nwhen: ok(\"c\")")+
	step("5. E", "id: e\ndo: redis.look\ntarget: cache\nsave: { k: result.keys }"))

// BenchmarkRun measures whole runs of five steps, many at a time; on SQLite
// with synchronous=FULL:
//
//	go test -run '^$' -bench 'BenchmarkRun$' -benchtime 3s ./runbooks/engine
func BenchmarkRun(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkRun(b, storetest.SQLite(b), 1) })
	b.Run("postgres", func(b *testing.B) { benchmarkRun(b, storetest.Postgres(b), 1) })
	b.Run("two replicas", func(b *testing.B) { benchmarkRun(b, storetest.Postgres(b), 2) })
}

func benchmarkRun(b *testing.B, url string, replicas int) {
	bn := newBenchOn(b, url, five)
	for i := range 64 { // a runbook runs once per environment
		e := bn.envs[0]
		e.Name, e.Default = fmt.Sprint("demo", i), false
		target := e.Targets["cache"]
		w := newWorld()
		w.identity = fmt.Sprint("redis-", i)
		target.Conn = aliased{w, i}
		e.Targets = map[string]runbooks.Target{"cache": target}
		bn.envs = append(bn.envs, e)
	}
	ended := make(map[string]chan struct{})
	var mu sync.Mutex
	end := func(run string) chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if ended[run] == nil {
			ended[run] = make(chan struct{})
		}
		return ended[run]
	}
	var engines []*engine.Engine
	for n := range replicas {
		before, db := bn.stop, bn.db
		if n > 0 {
			bn.open()
		}
		bn.serve(func(o *engine.Options) {
			o.Workers = 64 / replicas
			o.Observe = func(e engine.Event) {
				if e.Point == engine.PointEnded {
					close(end(e.Run))
				}
			}
		})
		engines = append(engines, bn.engine)
		if last := bn.stop; n > 0 {
			bn.stop = sync.OnceFunc(func() { // the bench itself closes the last database
				last()
				before()
				if err := db.Close(); err != nil {
					b.Error(err)
				}
			})
		}
	}
	work := make(chan int)
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range 64 {
		wg.Go(func() {
			for range work {
				run, err := engines[i%replicas].Start(context.Background(), engine.StartRequest{Runbook: "five", Environment: fmt.Sprint("demo", i), Actor: ann, Origin: outbox.Conversation{Channel: "C1"}})
				if err != nil {
					b.Error(err)
					continue
				}
				<-end(run.ID)
			}
		})
	}
	for i := range b.N {
		work <- i
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

// BenchmarkVoteToStart measures from the last click on Approve until the step's
// intent is committed, on SQLite with synchronous=FULL:
//
//	go test -run '^$' -bench VoteToStart -benchtime 300x ./runbooks/engine
func BenchmarkVoteToStart(b *testing.B) {
	bn := newBench(b, doc("quick", step("1. Wipe", "id: wipe\ndo: redis.wipe\ntarget: cache\nwith: { pattern: \"*\" }\nconfirm: Really?")))
	began := make(chan time.Time, 1)
	bn.serve(func(o *engine.Options) {
		o.Observe = func(e engine.Event) {
			if e.Point == engine.PointIntent {
				began <- time.Now()
			}
		}
	})
	var took []time.Duration
	for b.Loop() {
		run := bn.start("quick")
		bn.vote(bn.asked(run, engine.Confirm), ann, "confirm", typed("demo"))
		review := bn.asked(run, engine.Review)
		clicked := time.Now()
		bn.vote(review, ben, "approve")
		took = append(took, (<-began).Sub(clicked))
		bn.until(run, "end", func(r *engine.Run) bool { return r.State.Ended() })
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// aliased is a world with an address of its own.
type aliased struct {
	*world
	n int
}

func (a aliased) Address() string { return fmt.Sprintf("redis test%d:6379/0", a.n) }
