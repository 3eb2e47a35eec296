package slacksim

import (
	"math"
	"time"
)

// A bucket holds the calls that may still be made at once. It refills on the
// simulated clock.
type bucket struct {
	tokens float64
	last   time.Time
}

// What Slack leaves open about rates, decided here (policy):
//   - A tier is a bucket that holds one minute's calls and refills evenly.
//   - chat.postMessage allows channelBurst messages at once in a channel, then
//     one a second, and workspaceRate a minute altogether ("several hundred").
//   - Methods whose tier is special have specialRate a minute.
//   - A refused call costs nothing.
const (
	channelBurst  = 5
	workspaceRate = 300
	specialRate   = 300
)

// overRate returns after how many seconds the call may be made, 0 for now.
func (s *Server) overRate(r *request) int {
	if s.opts.NoRateLimit {
		return 0
	}
	perMinute := r.fact.perMinute
	if perMinute == 0 {
		perMinute = specialRate
	}
	if r.method == "chat.postMessage" {
		perMinute = workspaceRate
		channel := r.get("channel")
		if c := s.appChannel(channel); c != nil {
			channel = c.ID
		}
		if wait := s.wouldWait("post "+channel, channelBurst, 1); wait > 0 {
			return wait
		}
		if wait := s.take(r.method, float64(perMinute), float64(perMinute)/60); wait > 0 {
			return wait
		}
		return s.take("post "+channel, channelBurst, 1)
	}
	return s.take(r.method, float64(perMinute), float64(perMinute)/60)
}

// fill brings a bucket up to date.
func (s *Server) fill(name string, size, perSecond float64) *bucket {
	now := s.clock.now()
	b := s.buckets[name]
	if b == nil {
		b = &bucket{tokens: size, last: now}
		s.buckets[name] = b
	}
	b.tokens = min(size, b.tokens+now.Sub(b.last).Seconds()*perSecond)
	b.last = now
	return b
}

// wouldWait is take without taking.
func (s *Server) wouldWait(name string, size, perSecond float64) int {
	if b := s.fill(name, size, perSecond); b.tokens < 1 {
		return max(1, int(math.Ceil((1-b.tokens)/perSecond)))
	}
	return 0
}

// take uses one token, or returns the whole seconds until there is one.
func (s *Server) take(name string, size, perSecond float64) int {
	if wait := s.wouldWait(name, size, perSecond); wait > 0 {
		return wait
	}
	s.buckets[name].tokens--
	return 0
}
