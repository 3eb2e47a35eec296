package patient

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/traffic"
)

const (
	// window is what rates and latencies are taken over.
	window = 10 * time.Second
	// history is how many seconds the chart shows.
	history = 180
	// healthy is the hit rate from which the cache counts as well.
	healthy = 0.6
)

// A State says in one word how the patient is.
type State string

// The states.
const (
	Ill         State = "ill"         // Redis refuses writes
	Recovering  State = "recovering"  // writes work, the hit rate is not up yet
	Well        State = "well"        // hit rate at or above 60 %
	Unreachable State = "unreachable" // Redis does not answer
)

// Vitals are the patient's figures at one moment, over the last ten seconds
// where they are rates.
type Vitals struct {
	State   State    `json:"state"`
	Words   string   `json:"words"` // the state in a few words
	Engine  string   `json:"engine"`
	HitRate *float64 `json:"hit_rate"` // 0 to 1; nil: no lookups
	Lookups float64  `json:"lookups"`  // per second
	Refused float64  `json:"refused"`  // writes per second
	P50     *float64 `json:"p50"`      // milliseconds; nil: no answers
	P95     *float64 `json:"p95"`
	Used    int64    `json:"used"` // bytes
	Max     int64    `json:"max"`  // bytes
	Keys    []Family `json:"keys"`
	Total   int      `json:"total"` // keys
	Past    []Moment `json:"past"`  // oldest first, one a second
}

// A Family is a kind of key and how many there are.
type Family struct {
	Name string `json:"name"`
	Say  string `json:"say"` // what it is
	Keys int    `json:"keys"`
}

// A Moment is one point of the chart.
type Moment struct {
	HitRate *float64 `json:"h"`
	P95     *float64 `json:"p"`
}

// vitals takes the figures once a second.
type vitals struct {
	users *traffic.Load
	cache *redis.Client

	mu   sync.Mutex
	now  Vitals
	ring []counters // of the window
}

// counters are what the users have met so far.
type counters struct {
	at                    time.Time
	hits, misses, refused int
}

func newVitals(users *traffic.Load, cache *redis.Client) *vitals {
	v := &vitals{users: users, cache: cache}
	v.now = Vitals{State: Ill, Words: words(Ill), Keys: families(nil)}
	return v
}

// Vitals returns the latest figures; they are renewed every second.
func (p *Patient) Vitals() Vitals {
	p.vitals.mu.Lock()
	defer p.vitals.mu.Unlock()
	v := p.vitals.now
	v.Engine = p.Engine()
	v.Keys, v.Past = slices.Clone(v.Keys), slices.Clone(v.Past)
	return v
}

func (v *vitals) serve(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		// Walking the keys costs more than the rest; every other second is
		// often enough to see them go.
		v.take(ctx, n%2 == 0)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// take renews the figures. None of what it asks Redis counts as a lookup.
func (v *vitals) take(ctx context.Context, withKeys bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	mem, err := memory(ctx, v.cache)
	var keys map[string]int
	if err == nil && withKeys {
		keys, err = countFamilies(ctx, v.cache)
	}
	met := v.users.Count().Cache
	c := counters{time.Now(), met[api.Hit], met[api.Miss] + met[api.Refused], met[api.Refused]}
	times := v.users.Since(c.at.Add(-window))

	v.mu.Lock()
	defer v.mu.Unlock()
	v.ring = append(v.ring, c)
	for len(v.ring) > 1 && c.at.Sub(v.ring[0].at) > window+window/20 {
		v.ring = v.ring[1:]
	}
	first, seconds := v.ring[0], c.at.Sub(v.ring[0].at).Seconds()
	hits, misses, refused := c.hits-first.hits, c.misses-first.misses, c.refused-first.refused
	v.now.HitRate, v.now.Lookups, v.now.Refused = nil, 0, 0
	if hits+misses > 0 {
		rate := float64(hits) / float64(hits+misses)
		v.now.HitRate, v.now.Lookups, v.now.Refused = &rate, float64(hits+misses)/seconds, float64(refused)/seconds
	}
	v.now.P50, v.now.P95 = percentile(times, 50), percentile(times, 95)
	if err == nil {
		v.now.Used, v.now.Max = mem.used, mem.max
	}
	if keys != nil {
		v.now.Keys, v.now.Total = families(keys), 0
		for _, n := range keys {
			v.now.Total += n
		}
	}
	// Writes refused a while ago say nothing about now: the last two seconds do.
	recent := v.ring[max(0, len(v.ring)-3)]
	v.now.State = stateOf(err == nil, c.refused > recent.refused, v.now.HitRate)
	v.now.Words = words(v.now.State)
	v.now.Past = append(v.now.Past, Moment{v.now.HitRate, v.now.P95})
	if over := len(v.now.Past) - history; over > 0 {
		v.now.Past = v.now.Past[over:]
	}
}

func stateOf(reachable, refusing bool, rate *float64) State {
	switch {
	case !reachable:
		return Unreachable
	case refusing:
		return Ill
	case rate == nil || *rate < healthy:
		return Recovering
	default:
		return Well
	}
}

func words(s State) string {
	switch s {
	case Ill:
		return "Ill: writes refused (OOM)"
	case Recovering:
		return "Recovering: the cache is cold"
	case Well:
		return "Well"
	default:
		return "Redis does not answer"
	}
}

// percentile is by nearest rank, in milliseconds; nil for no times.
func percentile(times []time.Duration, p int) *float64 {
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	rank := (len(times)*p + 99) / 100
	ms := math.Round(float64(times[max(rank, 1)-1].Microseconds())/10) / 100
	return &ms
}

// familyOrder is how the panel lists keys.
var familyOrder = []struct{ name, prefix, say string }{
	{oldPrefix + "*", oldPrefix, "old release, never expire"},
	{api.CachePrefix + "*", api.CachePrefix, "this release's cache"},
	{queueKey, queueKey, "queue"},
	{"session:*", "session:", "sessions"},
	{"setting:*", "setting:", "settings"},
	{"other", "", "anything else"},
}

func families(counts map[string]int) []Family {
	list := make([]Family, 0, len(familyOrder))
	for _, f := range familyOrder {
		if f.prefix == "" && counts[f.name] == 0 {
			continue
		}
		list = append(list, Family{Name: f.name, Say: f.say, Keys: counts[f.name]})
	}
	return list
}

func familyOf(key string) string {
	for _, f := range familyOrder {
		if strings.HasPrefix(key, f.prefix) {
			return f.name
		}
	}
	return ""
}

func countFamilies(ctx context.Context, c *redis.Client) (map[string]int, error) {
	counts := map[string]int{}
	var cursor uint64
	for {
		keys, next, err := c.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			return nil, fmt.Errorf("walk keys: %w", err)
		}
		for _, k := range keys {
			counts[familyOf(k)]++
		}
		if next == 0 {
			return counts, nil
		}
		cursor = next
	}
}
