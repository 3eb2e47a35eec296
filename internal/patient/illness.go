package patient

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"opsbot/internal/patient/api"
)

const (
	// maxMemory is the Redis's limit. Small, because an in-process Redis is
	// part of the demo's own memory.
	maxMemory = 16 << 20
	// overfull is how far the old release's keys go beyond the limit. Redis
	// counts its clients' buffers as memory too; without this margin a client
	// that leaves would make room for a few of the API's values.
	overfull = 256 << 10
	// oldBytes is the size of one old value; about 9,600 of them fill maxMemory.
	oldBytes = 1500
	// fillings is how often filling is tried.
	fillings = 5
	// batch is how many keys are sent at a time.
	batch = 100
)

// The keys beside the cache's own.
const (
	oldPrefix = "prod_v1:"
	queueKey  = "prod_queue" // under the cache's prefix, and yet no cache
)

// Counts of what must survive a cure.
const (
	queued   = 40
	sessions = 240
	settled  = 24
)

// oldKinds are what the old release kept, one key in three each.
var oldKinds = []string{"position", "signal", "report"}

// Furnish puts into a Redis what is not cache: a queue of jobs, sessions,
// settings. Nothing that clears a cache may touch them.
func Furnish(ctx context.Context, cache *redis.Client) error {
	pipe := cache.Pipeline()
	pipe.Del(ctx, queueKey) // a list would grow if it were there already
	for i := range queued {
		pipe.RPush(ctx, queueKey, fmt.Sprintf(`{"job":"settle","id":%d}`, 7000+i))
	}
	for i := range sessions {
		pipe.HSet(ctx, fmt.Sprintf("session:%04d", i), "user", fmt.Sprintf("u%03d", i%api.UserCount), "role", "trader", "csrf", fmt.Sprintf("%08x", uint32(i)*2654435761))
	}
	for i := range settled {
		pipe.Set(ctx, fmt.Sprintf("setting:%02d", i), "on", 0)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Sicken makes the patient ill, also again: it fills Redis with the old
// release's keys until writes are refused, and drops what the API had cached.
// When it returns nil, each of the API's lookups misses until those keys are
// removed.
func (p *Patient) Sicken(ctx context.Context) error {
	p.sickening.Lock()
	defer p.sickening.Unlock()
	if err := p.sicken(ctx); err != nil {
		return fmt.Errorf("make the patient ill: %w", err)
	}
	p.log.Info("patient is ill", "engine", p.engine.name())
	return nil
}

// sicken fills until it stays full: what else took memory while that was
// measured, buffers or values just being cached, may be given back afterwards.
func (p *Patient) sicken(ctx context.Context) error {
	for range fillings {
		if err := p.forget(ctx); err != nil {
			return err
		}
		// Without a limit while filling, so that it ends well beyond it.
		if err := p.engine.limit(ctx, 0); err != nil {
			return err
		}
		err := p.fill(ctx)
		// The limit comes back whatever happened: a patient without one is not
		// the system that people were told about.
		if err := errors.Join(err, p.engine.limit(ctx, maxMemory), p.forget(ctx)); err != nil {
			return err
		}
		used, err := p.used(ctx)
		if err != nil || used > maxMemory+overfull/2 {
			return err
		}
	}
	return errors.New("its memory does not stay full")
}

// fill adds old keys until memory is overfull.
func (p *Patient) fill(ctx context.Context) error {
	for n := 0; ; {
		used, err := p.used(ctx)
		if err != nil {
			return err
		}
		missing := (maxMemory + overfull - used + oldBytes - 1) / oldBytes
		if missing <= 0 {
			return nil
		}
		// Nearly all at first, then fewer and fewer: what a value really takes
		// is Redis's business. From a connection of its own, whose buffers are
		// gone before memory is measured again.
		if n, err = p.addOld(ctx, n, max(int(missing)*9/10, 1)); err != nil {
			return err
		}
	}
}

// addOld writes count old keys that do not exist yet, the first numbered from,
// and returns the next number.
func (p *Patient) addOld(ctx context.Context, from, count int) (int, error) {
	c := dial(p.engine.addr())
	defer c.Close()
	for count > 0 {
		pipe := c.Pipeline()
		n := min(count, batch)
		for i := range n {
			kind := oldKinds[(from+i)%len(oldKinds)]
			pipe.Set(ctx, oldPrefix+kind+":"+fmt.Sprintf("%06d", from+i), oldValue(kind, from+i), 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return 0, err
		}
		from, count = from+n, count-n
	}
	return from, nil
}

func oldValue(kind string, i int) string {
	v := fmt.Sprintf(`{"release":"1.9.4","kind":%q,"id":%d,"rows":"`, kind, i)
	return v + strings.Repeat("0123456789abcdef", (oldBytes-len(v))/16) + `"}`
}

// forget drops what the API had cached before it fell ill.
func (p *Patient) forget(ctx context.Context) error {
	var keys []string
	for _, user := range p.Users() {
		keys = append(keys, api.CachePrefix+user)
	}
	return p.cache.Unlink(ctx, keys...).Err()
}

func (p *Patient) used(ctx context.Context) (int64, error) {
	f, err := memory(ctx, p.cache)
	return f.used, err
}

// A footprint is what INFO says of memory, in bytes.
type footprint struct{ used, max int64 }

func memory(ctx context.Context, c *redis.Client) (footprint, error) {
	text, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return footprint{}, err
	}
	var f footprint
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_memory":
			f.used, err = strconv.ParseInt(value, 10, 64)
		case "maxmemory":
			f.max, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return footprint{}, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return f, nil
}
