package bot

import (
	"sync"
	"time"
)

// How fast we write of our own accord. Slack asks for one message a second and
// channel, allows short bursts, and caps a workspace at "several hundred a
// minute"; chat.update is of tier 3, 50 a minute. Staying below is what keeps
// Retry-After rare.
var (
	postsPerChannel = rate{burst: 4, perSecond: 1}
	editsPerChannel = rate{burst: 4, perSecond: 1}
	postsAltogether = rate{burst: 60, perSecond: 4}
	editsAltogether = rate{burst: 30, perSecond: 0.8}
)

const (
	restLeast = time.Second
	restMost  = 5 * time.Minute
)

type rate struct {
	burst     float64
	perSecond float64
}

// A pace keeps what may be sent when: a rest for each method that Slack has
// told to wait, and buckets for our own restraint.
type pace struct {
	mu      sync.Mutex
	rests   map[string]time.Time
	streaks map[string]int // refusals in a row
	buckets map[string]*bucket
}

type bucket struct {
	rate   rate
	tokens float64
	last   time.Time
}

func newPace() *pace {
	return &pace{rests: map[string]time.Time{}, streaks: map[string]int{}, buckets: map[string]*bucket{}}
}

// rest lets nothing be sent to the method for d. When Slack did not say how
// long, the rest doubles with each refusal.
func (p *pace) rest(method string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streaks[method]++
	if d <= 0 {
		d = restLeast << min(p.streaks[method]-1, 9)
	}
	if until := time.Now().Add(min(d, restMost)); until.After(p.rests[method]) {
		p.rests[method] = until
	}
}

// well notes that the method works.
func (p *pace) well(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streaks, method)
}

// rested returns how long the method still rests.
func (p *pace) rested(method string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.rests[method]
	if !ok {
		return 0
	}
	wait := time.Until(until)
	if wait <= 0 {
		delete(p.rests, method)
		return 0
	}
	return wait
}

// may returns zero when a message may be written to the channel now, which
// then counts as written, or else after how long to ask again.
func (p *pace) may(channel string, edit bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	kind, own, all := "post ", postsPerChannel, postsAltogether
	if edit {
		kind, own, all = "edit ", editsPerChannel, editsAltogether
	}
	a, b := p.bucket(kind+channel, own, now), p.bucket(kind, all, now)
	if wait := max(a.wait(), b.wait()); wait > 0 {
		return wait
	}
	a.tokens--
	b.tokens--
	p.sweep(now)
	return 0
}

func (p *pace) bucket(name string, r rate, now time.Time) *bucket {
	b := p.buckets[name]
	if b == nil {
		b = &bucket{rate: r, tokens: r.burst, last: now}
		p.buckets[name] = b
	}
	b.tokens = min(r.burst, b.tokens+now.Sub(b.last).Seconds()*r.perSecond)
	b.last = now
	return b
}

func (b *bucket) wait() time.Duration {
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - b.tokens) / b.rate.perSecond * float64(time.Second))
}

// sweep forgets full buckets, once there are many.
func (p *pace) sweep(now time.Time) {
	if len(p.buckets) < 1000 {
		return
	}
	for name, b := range p.buckets {
		if now.Sub(b.last).Seconds()*b.rate.perSecond >= b.rate.burst {
			delete(p.buckets, name)
		}
	}
}
