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
	Cluster bool
	Hits    int64 // keyspace_hits, since the server started
	Misses  int64

	Now        time.Time     // the server's clock
	Memory     int64         // bytes of its machine; 0: it does not say
	Saves      int64         // snapshots since the server started
	SaveTook   time.Duration // of the last snapshot
	SaveCOW    int64         // bytes that it took besides
	ConfigFile string        // "": it was started without one
	Keys       string        // its databases with their keys: "db0:9730 db1:3"
}

// keysBeside counts the keys of the other databases of the server.
func (s state) keysBeside(db int) int {
	n := 0
	for _, field := range strings.Fields(s.Keys) {
		name, keys, _ := strings.Cut(field, ":")
		if name != "db"+strconv.Itoa(db) {
			k, _ := strconv.Atoi(keys)
			n += k
		}
	}
	return n
}

// major is the first number of the server's version; 0 if it has none.
func (s state) major() int {
	first, _, _ := strings.Cut(s.Info.Version, ".")
	n, _ := strconv.Atoi(first)
	return n
}

// lfu reports whether the server counts how often keys are used, instead of
// when they were last.
func (s state) lfu() bool { return strings.HasSuffix(s.Info.Policy, "-lfu") }

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
	var keys []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			if _, twice := fields[name]; !twice {
				fields[name] = value
				if n, is := keysOf(name, value); is {
					keys = append(keys, name+":"+n)
				}
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
	// What older servers leave out; no decision is made on it without them.
	optional := func(name string) int64 {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	frag, err := strconv.ParseFloat(word("mem_fragmentation_ratio"), 64)
	if err != nil || frag < 0 || frag > math.MaxFloat32 || frag != frag {
		frag = 0 // "nan" just after the start
	}
	s := state{
		Info: Info{
			Role:        word("role"),
			Loading:     number("loading") != 0,
			LastSaveOK:  word("rdb_last_bgsave_status") == "ok" && (fields["aof_last_write_status"] == "" || fields["aof_last_write_status"] == "ok"),
			LastSave:    time.Unix(number("rdb_last_save_time"), 0).UTC(),
			Unsaved:     int(number("rdb_changes_since_last_save")),
			Saving:      number("rdb_bgsave_in_progress") != 0 || optional("aof_rewrite_in_progress") != 0,
			Clients:     int(number("connected_clients")),
			Rejected:    int(number("rejected_connections")),
			UsedMemory:  int(number("used_memory")),
			MaxMemory:   int(number("maxmemory")),
			RSSMemory:   int(number("used_memory_rss")),
			FragRatio:   frag,
			Policy:      word("maxmemory_policy"),
			EvictedKeys: int(number("evicted_keys")),
			Uptime:      time.Duration(min(number("uptime_in_seconds"), math.MaxInt64/int64(time.Second))) * time.Second,
			Version:     fields["redis_version"],
			RunID:       word("run_id"),
		},
		Cluster:    fields["cluster_enabled"] == "1",
		Hits:       number("keyspace_hits"),
		Misses:     number("keyspace_misses"),
		Now:        time.UnixMicro(optional("server_time_usec")).UTC(),
		Memory:     optional("total_system_memory"),
		Saves:      optional("rdb_saves"),
		SaveTook:   time.Duration(min(optional("rdb_last_bgsave_time_sec"), math.MaxInt64/int64(time.Second))) * time.Second,
		SaveCOW:    optional("rdb_last_cow_size"),
		ConfigFile: fields["config_file"],
		Keys:       strings.Join(keys, " "),
	}
	if s.Info.MaxMemory > 0 {
		pct := 100 * float64(s.Info.UsedMemory) / float64(s.Info.MaxMemory)
		s.Info.UsedPct = &pct
	}
	// One name is enough for a person; the first is the one that INFO lacks.
	if len(errs) > 0 {
		return state{}, errs[0]
	}
	return s, nil
}

// keysOf reads a line of the keyspace: "db0" and "keys=9730,expires=0,avg_ttl=0".
func keysOf(name, value string) (n string, is bool) {
	db, is := strings.CutPrefix(name, "db")
	if _, err := strconv.ParseUint(db, 10, 16); !is || err != nil {
		return "", false
	}
	n, _, _ = strings.Cut(value, ",")
	n, is = strings.CutPrefix(n, "keys=")
	_, err := strconv.ParseUint(n, 10, 62)
	return n, is && err == nil
}
