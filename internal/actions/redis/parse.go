package redis

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A state is what INFO says, as far as actions need it.
type state struct {
	Info    Info
	Version string
	Cluster bool
	Hits    int64 // keyspace_hits, since the server started
	Misses  int64
}

// maxInfo bounds the INFO text that is read: a real one has about 6 KB, plus a
// line for each database, command and replica.
const maxInfo = 1 << 20

// parseInfo reads the answer of INFO: lines of "name:value", sections as
// "# Title", CRLF at the ends. Unknown names are skipped. A missing or
// malformed field that a decision may hang on is an error that names it,
// because a zero in its place would look like good news.
func parseInfo(text string) (state, error) {
	if len(text) > maxInfo {
		return state{}, fmt.Errorf("an end (more than %d bytes)", maxInfo)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			if _, twice := fields[name]; !twice {
				fields[name] = value
			}
		}
	}
	var errs []error
	word := func(name string) string {
		v := fields[name]
		if v == "" {
			errs = append(errs, fmt.Errorf("%s", name))
		}
		return v
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(word(name), 10, 64)
		if (err != nil && fields[name] != "") || n < 0 {
			errs = append(errs, fmt.Errorf("a number for %s", name))
			return 0
		}
		return n
	}
	s := state{
		Info: Info{
			Role:        word("role"),
			Loading:     number("loading") != 0,
			LastSaveOK:  word("rdb_last_bgsave_status") == "ok" && (fields["aof_last_write_status"] == "" || fields["aof_last_write_status"] == "ok"),
			Clients:     int(number("connected_clients")),
			UsedMemory:  int(number("used_memory")),
			MaxMemory:   int(number("maxmemory")),
			Policy:      word("maxmemory_policy"),
			EvictedKeys: int(number("evicted_keys")),
			Uptime:      time.Duration(min(number("uptime_in_seconds"), math.MaxInt64/int64(time.Second))) * time.Second,
			RunID:       word("run_id"),
		},
		Version: fields["redis_version"],
		Cluster: fields["cluster_enabled"] == "1",
		Hits:    number("keyspace_hits"),
		Misses:  number("keyspace_misses"),
	}
	// One name is enough for a person; the first is the one that INFO lacks.
	if len(errs) > 0 {
		return state{}, errs[0]
	}
	return s, nil
}
