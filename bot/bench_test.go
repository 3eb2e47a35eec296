package bot_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"opsbot/bot"
	"opsbot/commands"
	"opsbot/internal/outbox"
	"opsbot/internal/slacksim"
)

// percentile returns the p-th percentile in milliseconds.
func percentile(times []time.Duration, p int) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return float64(times[min(len(times)-1, len(times)*p/100)].Microseconds()) / 1000
}

// fsyncs measures the disk under the database, for comparison: the share of
// an ack that nobody can do without.
func fsyncs(b *testing.B, dir string) []time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	times := make([]time.Duration, 200)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		times[i] = time.Since(start)
	}
	return times
}

// BenchmarkAck measures 50 slash commands a second from envelope to ack, as
// Slack would see it; each is on record before its ack. Run it with
// -benchtime 500x.
func BenchmarkAck(b *testing.B) {
	h := build(b, slacksim.Options{Manifest: bot.Manifest, NoRateLimit: true})
	h.handle(func(context.Context, commands.Request) (commands.Reply, error) { return commands.Reply{}, nil })
	h.move()
	before := len(h.sim.Acks())
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	var people sync.WaitGroup
	for b.Loop() {
		<-pace.C
		people.Go(func() {
			if _, err := h.sim.As("ann").Slash("den", "/runbook list"); err != nil {
				b.Error(err)
			}
		})
	}
	people.Wait()
	var times []time.Duration
	for _, a := range h.sim.Acks()[before:] {
		times = append(times, a.After)
	}
	disk := fsyncs(b, filepath.Dir(h.file))
	b.ReportMetric(percentile(times, 50), "p50-ms")
	b.ReportMetric(percentile(times, 99), "p99-ms")
	b.ReportMetric(percentile(disk, 50), "fsync-p50-ms")
	b.ReportMetric(percentile(disk, 99), "fsync-p99-ms")
}

// BenchmarkPost measures a slash command to the first message in its channel.
func BenchmarkPost(b *testing.B) {
	h := build(b, slacksim.Options{Manifest: bot.Manifest, NoRateLimit: true})
	const channels = 40 // so that our own pace per channel does not show
	for i := range channels {
		h.sim.AddChannel(slacksim.Channel{Name: fmt.Sprintf("c%d", i), Members: []string{"ann", h.sim.BotUserID()}})
	}
	h.handle(func(_ context.Context, req commands.Request) (commands.Reply, error) {
		return commands.Reply{Notices: []outbox.Notice{{To: req.Where, Content: outbox.Line{Text: "card of " + req.Line}}}}, nil
	})
	h.move()
	for i := range channels { // so that the bot knows where it is
		h.slash("ann", fmt.Sprintf("c%d", i), "/runbook warm")
	}
	h.until("warm", func() bool { return h.count("chat.postMessage") == channels })
	var times []time.Duration
	pace := time.NewTicker(250 * time.Millisecond)
	defer pace.Stop()
	i := 0
	for b.Loop() {
		<-pace.C
		posts := h.count("chat.postMessage")
		start := time.Now()
		if _, err := h.sim.As("ann").Slash(fmt.Sprintf("c%d", i%channels), "/runbook x"); err != nil {
			b.Fatal(err)
		}
		for h.count("chat.postMessage") == posts {
			time.Sleep(100 * time.Microsecond)
		}
		times = append(times, time.Since(start))
		i++
	}
	b.ReportMetric(percentile(times, 50), "p50-ms")
	b.ReportMetric(percentile(times, 99), "p99-ms")
}

// BenchmarkConnect measures from nothing, an existing database apart, to the
// socket's hello.
func BenchmarkConnect(b *testing.B) {
	h := build(b, slacksim.Options{Manifest: bot.Manifest, NoRateLimit: true})
	h.move()
	if err := h.stop(); err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		h.start()
		for !h.w.Status().Connected {
			time.Sleep(100 * time.Microsecond)
		}
		times = append(times, time.Since(start))
		b.StopTimer()
		if err := h.stop(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(percentile(times, 50), "p50-ms")
}
