package patient

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// An outside is a Redis that somebody else runs.
type outside struct {
	say, at string
	admin   *redis.Client
	never   chan struct{}
}

func openOutside(o *Outside) *outside {
	return &outside{say: o.RedisSay, at: o.Redis, admin: dial(o.Redis), never: make(chan struct{})}
}

func (o *outside) name() string          { return o.say }
func (o *outside) addr() string          { return o.at }
func (o *outside) died() <-chan struct{} { return o.never } // its owner looks after it
func (o *outside) close() error          { return o.admin.Close() }

func (o *outside) limit(ctx context.Context, bytes int64) error {
	return o.admin.ConfigSet(ctx, "maxmemory", strconv.FormatInt(bytes, 10)).Err()
}
