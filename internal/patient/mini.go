package patient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// A mini is a miniredis that counts hits and misses, keeps to a memory limit
// and answers INFO as redis-server does. Commands that it could not account
// for are refused, so that its numbers are never wrong.
type mini struct {
	m       *miniredis.Miniredis
	srv     *server.Server // of m, which forgets it when closed
	runID   string
	started time.Time
	ended   chan struct{}
	once    sync.Once
	inside  sync.Map // peers whose command is being run by write

	mu           sync.Mutex
	max          int64            // bytes; 0: no limit
	used         int64            // bytes of all keys and values
	sizes        map[string]int64 // by key
	volatile     map[string]bool  // keys that expire
	hits, misses int64
	clock        time.Time // up to which keys have aged
}

const (
	// emptyBytes is about what an empty redis-server 7 uses.
	emptyBytes = 1 << 20
	// keyBytes is about what redis-server needs for a key besides its name and
	// value: table entry, object and string headers.
	keyBytes = 72
)

func openMini() (*mini, error) {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails
	e := &mini{
		m:        miniredis.NewMiniRedis(),
		runID:    hex.EncodeToString(id),
		started:  time.Now(),
		clock:    time.Now(),
		ended:    make(chan struct{}),
		sizes:    map[string]int64{},
		volatile: map[string]bool{},
	}
	if err := e.m.Start(); err != nil {
		return nil, fmt.Errorf("start miniredis: %w", err)
	}
	e.srv = e.m.Server()
	e.srv.SetPreHook(e.hook)
	return e, nil
}

func (e *mini) name() string          { return "in-process miniredis" }
func (e *mini) addr() string          { return e.m.Addr() }
func (e *mini) died() <-chan struct{} { return e.ended }

func (e *mini) limit(_ context.Context, bytes int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.max = bytes
	return nil
}

func (e *mini) close() error {
	e.once.Do(func() {
		e.m.Close()
		close(e.ended)
	})
	return nil
}

// Which arguments of a command are keys.
type keysOf int

const (
	firstKey  keysOf = iota
	everyKey         // all arguments
	everyPair        // every second one
	allKeys          // whatever there is
)

// lookups count as a hit or miss for each key. That TYPE, TTL and EXISTS count
// too is what redis-server 7.0 does.
var lookups = map[string]keysOf{
	"GET": firstKey, "MGET": everyKey, "EXISTS": everyKey, "TTL": firstKey, "PTTL": firstKey, "TYPE": firstKey,
	"STRLEN": firstKey, "GETRANGE": firstKey, "HGET": firstKey, "HGETALL": firstKey, "HMGET": firstKey, "HLEN": firstKey,
	"HEXISTS": firstKey, "LLEN": firstKey, "LRANGE": firstKey, "LINDEX": firstKey, "SMEMBERS": firstKey, "SCARD": firstKey,
	"SISMEMBER": firstKey, "ZRANGE": firstKey, "ZCARD": firstKey, "ZSCORE": firstKey,
}

// growing commands are refused when memory is full; shrinking ones are not.
// Both change sizes.
var (
	growing = map[string]keysOf{
		"SET": firstKey, "SETEX": firstKey, "PSETEX": firstKey, "SETNX": firstKey, "MSET": everyPair, "APPEND": firstKey,
		"INCR": firstKey, "INCRBY": firstKey, "DECR": firstKey, "DECRBY": firstKey, "LPUSH": firstKey, "RPUSH": firstKey,
		"HSET": firstKey, "HSETNX": firstKey, "HINCRBY": firstKey, "SADD": firstKey, "ZADD": firstKey,
	}
	shrinking = map[string]keysOf{
		"DEL": everyKey, "UNLINK": everyKey, "EXPIRE": firstKey, "PEXPIRE": firstKey, "EXPIREAT": firstKey, "PEXPIREAT": firstKey,
		"PERSIST": firstKey, "LPOP": firstKey, "RPOP": firstKey, "LTRIM": firstKey, "LREM": firstKey, "HDEL": firstKey,
		"SREM": firstKey, "ZREM": firstKey, "FLUSHDB": allKeys, "FLUSHALL": allKeys,
	}
	// plain commands touch no key, or count nothing for it.
	plain = map[string]bool{
		"PING": true, "ECHO": true, "HELLO": true, "AUTH": true, "QUIT": true, "CLIENT": true, "COMMAND": true,
		"DBSIZE": true, "TIME": true, "SCAN": true, "RANDOMKEY": true, "MEMORY": true, "OBJECT": true,
	}
)

// The texts of redis-server 7.0, shared.oomerr and selectCommand.
const (
	oomText = "OOM command not allowed when used memory > 'maxmemory'."
	dbText  = "ERR DB index is out of range"
)

// hook sees each command before miniredis does, and returns true if it has
// answered it.
func (e *mini) hook(c *server.Peer, cmd string, args ...string) bool {
	if _, ok := e.inside.Load(c); ok {
		return false
	}
	if keys, ok := lookups[cmd]; ok {
		e.count(keys.of(args))
		return false
	}
	if keys, ok := growing[cmd]; ok {
		e.write(c, cmd, args, keys, true)
		return true
	}
	if keys, ok := shrinking[cmd]; ok {
		e.write(c, cmd, args, keys, false)
		return true
	}
	switch {
	case cmd == "INFO":
		c.WriteBulk(e.info())
	case cmd == "SELECT":
		if len(args) != 1 || args[0] != "0" {
			c.WriteError(dbText)
			return true
		}
		return false
	case plain[cmd]:
		return false
	default:
		c.WriteError("ERR unknown command '" + strings.ToLower(cmd) + "'")
	}
	return true
}

// of picks the keys from a command's arguments.
func (k keysOf) of(args []string) []string {
	switch {
	case k == everyKey || len(args) == 0:
		return args
	case k == everyPair:
		var keys []string
		for i := 0; i < len(args); i += 2 {
			keys = append(keys, args[i])
		}
		return keys
	default:
		return args[:1]
	}
}

func (e *mini) count(keys []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweep()
	for _, k := range keys {
		if e.m.Exists(k) {
			e.hits++
		} else {
			e.misses++
		}
	}
}

// write runs a command that changes keys, unless memory is full and it could
// need more, and keeps account of what it changed.
func (e *mini) write(c *server.Peer, cmd string, args []string, keys keysOf, grows bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweep()
	if grows && e.max > 0 && emptyBytes+e.used > e.max {
		c.WriteError(oomText)
		return
	}
	e.inside.Store(c, true)
	defer e.inside.Delete(c)
	e.srv.Dispatch(c, append([]string{cmd}, args...))
	touched := keys.of(args)
	if keys == allKeys {
		touched = touched[:0:0]
		for k := range e.sizes {
			touched = append(touched, k)
		}
	}
	for _, k := range touched {
		e.measure(k)
	}
}

// measure brings the account of one key up to date.
func (e *mini) measure(key string) {
	e.used -= e.sizes[key]
	delete(e.sizes, key)
	delete(e.volatile, key)
	if !e.m.Exists(key) {
		return
	}
	size := int64(keyBytes + len(key) + e.valueBytes(key))
	e.sizes[key] = size
	e.used += size
	if e.m.TTL(key) > 0 {
		e.volatile[key] = true
	}
}

// valueBytes is the size of a key's value, with a pointer or two for each
// element of a collection.
func (e *mini) valueBytes(key string) int {
	const element = 16
	n := 0
	switch e.m.Type(key) {
	case "string":
		v, _ := e.m.Get(key)
		n = len(v)
	case "list":
		list, _ := e.m.List(key)
		for _, v := range list {
			n += element + len(v)
		}
	case "hash":
		fields, _ := e.m.HKeys(key)
		for _, f := range fields {
			n += element + len(f) + len(e.m.HGet(key, f))
		}
	case "set":
		members, _ := e.m.Members(key)
		for _, v := range members {
			n += element + len(v)
		}
	case "zset":
		members, _ := e.m.ZMembers(key)
		for _, v := range members {
			n += element + 8 + len(v)
		}
	}
	return n
}

// sweep lets time pass for keys that expire and gives back the memory of those
// that have. Miniredis could follow the clock by itself, but then it sorts all
// keys at each command; once a second is enough for a TTL in minutes.
func (e *mini) sweep() {
	passed := time.Since(e.clock)
	if passed < time.Second {
		return
	}
	e.clock = e.clock.Add(passed)
	e.m.FastForward(passed)
	for k := range e.volatile {
		if !e.m.Exists(k) {
			e.measure(k)
		}
	}
}

// info answers INFO with the fields of redis-server that say something here.
// Sections are not told apart: more than was asked for does no harm.
func (e *mini) info() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweep()
	return strings.ReplaceAll(fmt.Sprintf(`# Server
redis_version:miniredis
redis_mode:standalone
run_id:%s
uptime_in_seconds:%d

# Clients
connected_clients:%d

# Memory
used_memory:%d
used_memory_rss:%d
maxmemory:%d
maxmemory_policy:noeviction
mem_fragmentation_ratio:1.00

# Persistence
loading:0
rdb_changes_since_last_save:0
rdb_last_save_time:%d
rdb_last_bgsave_status:ok
rdb_bgsave_in_progress:0
aof_enabled:0
aof_last_write_status:ok

# Stats
total_connections_received:%d
total_commands_processed:%d
rejected_connections:0
evicted_keys:0
keyspace_hits:%d
keyspace_misses:%d

# Replication
role:master
connected_slaves:0

# Cluster
cluster_enabled:0

# Keyspace
db0:keys=%d,expires=%d,avg_ttl=0
`, e.runID, int(time.Since(e.started).Seconds()), e.m.CurrentConnectionCount(), emptyBytes+e.used, emptyBytes+e.used, e.max, e.started.Unix(),
		e.m.TotalConnectionCount(), e.m.CommandCount(), e.hits, e.misses, len(e.sizes), len(e.volatile)), "\n", "\r\n")
}
