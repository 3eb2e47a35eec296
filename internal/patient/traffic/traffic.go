// Package traffic is the people who keep asking the patient's API: at a steady
// pace, everybody once before anybody twice, and every answer is counted.
//
// The count is what proves that a change of the system was not noticed: each
// request that was sent ends as good or as failed, none is left out.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"opsbot/internal/patient/api"
)

// Options say who asks for what.
type Options struct {
	URL     string        // base of the API
	Token   string        // bearer token
	Users   []string      // who asks; there must be somebody
	Pace    time.Duration // between two requests; default 62.5 ms, 16 a second
	Workers int           // requests under way at once, at most; default 8
	Fresh   bool          // each request opens a connection of its own
}

// keptFailures is how many failures are kept with their words.
const keptFailures = 20

// Count is what became of all requests that have ended.
type Count struct {
	Sent      int            // requests that have ended
	Failed    int            // those without an answer below 400
	Codes     map[int]int    // answers by status; no answer is 0
	Instances map[string]int // answers below 400 by X-Instance
	Versions  map[string]int // answers below 400 by X-Version
	Cache     map[string]int // answers by X-Cache, see package api
	Failures  []string       // the first few failures
}

// A Load is traffic that is under way. All methods are safe for concurrent
// use.
type Load struct {
	o      Options
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	count Count
	ring  [512]timing
	next  int
}

type timing struct {
	at   time.Time
	took time.Duration
}

// Start begins to ask; Stop ends it.
func Start(o Options) *Load {
	if o.Pace == 0 {
		o.Pace = 62500 * time.Microsecond
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{o: o, cancel: cancel, done: make(chan struct{}), count: Count{
		Codes: map[int]int{}, Instances: map[string]int{}, Versions: map[string]int{}, Cache: map[string]int{},
	}}
	go l.ask(ctx)
	return l
}

// Stop sends no more requests, waits for the answers to those under way, and
// returns the final count. It may be called more than once.
func (l *Load) Stop() Count {
	l.cancel()
	<-l.done
	return l.Count()
}

// Count returns what has ended so far.
func (l *Load) Count() Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.count
	c.Codes, c.Instances, c.Versions, c.Cache = maps.Clone(c.Codes), maps.Clone(c.Instances), maps.Clone(c.Versions), maps.Clone(c.Cache)
	c.Failures = slices.Clone(c.Failures)
	return c
}

// Since returns how long the latest good answers given after then took.
func (l *Load) Since(then time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []time.Duration
	for _, e := range l.ring {
		if e.at.After(then) {
			list = append(list, e.took)
		}
	}
	return list
}

func (l *Load) ask(ctx context.Context) {
	defer close(l.done)
	transport := &http.Transport{MaxIdleConnsPerHost: l.o.Workers, DisableKeepAlives: l.o.Fresh}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	work := make(chan string)
	var g errgroup.Group
	for range l.o.Workers {
		g.Go(func() error {
			for user := range work {
				l.one(client, user)
			}
			return nil
		})
	}
	l.call(ctx, work)
	close(work)
	_ = g.Wait() // none of them fails: what goes wrong is counted
}

// call names one user after another until ctx ends.
func (l *Load) call(ctx context.Context, work chan<- string) {
	tick := time.NewTicker(l.o.Pace)
	defer tick.Stop()
	names := slices.Clone(l.o.Users)
	for {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, user := range names {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			select {
			case work <- user:
			case <-ctx.Done():
				return
			}
		}
	}
}

// one sends a request, to its end: Stop does not cut it off, because a request
// that nobody waits for could not be counted.
func (l *Load) one(client *http.Client, user string) {
	start := time.Now()
	resp, err := l.send(client, user)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.Sent++
	code := 0
	if resp != nil {
		code = resp.StatusCode
		if how := resp.Header.Get("X-Cache"); how != "" {
			l.count.Cache[how]++
		}
	}
	l.count.Codes[code]++
	if err == nil && code >= 400 {
		err = errors.New(resp.Status)
	}
	if err != nil {
		l.count.Failed++
		if len(l.count.Failures) < keptFailures {
			l.count.Failures = append(l.count.Failures, fmt.Sprintf("%s %s: %v", start.UTC().Format("15:04:05.000"), user, err))
		}
		return
	}
	l.count.Instances[resp.Header.Get("X-Instance")]++
	l.count.Versions[resp.Header.Get("X-Version")]++
	l.ring[l.next%len(l.ring)] = timing{time.Now(), took}
	l.next++
}

// send asks and reads the whole answer; an answer that breaks off is an error.
func (l *Load) send(client *http.Client, user string) (*http.Response, error) {
	path := strings.ReplaceAll(api.StatusPath, "{user}", url.QueryEscape(user))
	req, err := http.NewRequest(http.MethodGet, l.o.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+l.o.Token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp, errors.Join(err, resp.Body.Close())
}
