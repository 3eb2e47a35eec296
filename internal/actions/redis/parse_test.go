package redis

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// infoText is INFO of redis-server 7.0.15, shortened.
const infoText = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef0123456789abcdef01234567\r\nserver_time_usec:1795682458382505\r\nconfig_file:/etc/redis/redis.conf\r\nuptime_in_seconds:86400\r\n" +
	"\r\n# Clients\r\nconnected_clients:31\r\n\r\n# Memory\r\nused_memory:100663296\r\nused_memory_rss:120795955\r\ntotal_system_memory:1073741824\r\nmaxmemory:100663296\r\nmaxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.20\r\n" +
	"\r\n# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:17\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:1795600000\r\nrdb_last_bgsave_time_sec:2\r\nrdb_saves:3\r\nrdb_last_cow_size:4096\r\naof_rewrite_in_progress:0\r\nrdb_last_bgsave_status:ok\r\naof_last_write_status:ok\r\n" +
	"\r\n# Stats\r\nrejected_connections:2\r\nevicted_keys:7\r\nkeyspace_hits:123\r\nkeyspace_misses:45\r\n\r\n# Replication\r\nrole:master\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n" +
	"\r\n# Keyspace\r\ndb0:keys=9730,expires=0,avg_ttl=0\r\ndb1:keys=3,expires=3,avg_ttl=5\r\n"

func TestParseInfo(t *testing.T) {
	t.Parallel()
	got, err := parseInfo(infoText)
	if err != nil {
		t.Fatal(err)
	}
	full := 100.0
	want := state{
		Info: Info{
			Role: "master", LastSaveOK: true, LastSave: time.Unix(1795600000, 0).UTC(), Unsaved: 17, Clients: 31, Rejected: 2,
			UsedMemory: 96 << 20, MaxMemory: 96 << 20, UsedPct: &full, RSSMemory: 120795955, FragRatio: 1.2,
			Policy: "noeviction", EvictedKeys: 7, Uptime: 24 * time.Hour, Version: "7.0.15", RunID: "0123456789abcdef0123456789abcdef01234567",
		},
		Hits: 123, Misses: 45, Now: time.UnixMicro(1795682458382505).UTC(), Memory: 1 << 30, Saves: 3, SaveTook: 2 * time.Second, SaveCOW: 4096,
		ConfigFile: "/etc/redis/redis.conf", Keys: "db0:9730 db1:3",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("parseInfo (-want +got):\n%s", d)
	}
	if found := got.Info.Found(); found != "primary, 31 clients, 96 MiB of 96 MiB, noeviction, 2 connections refused" {
		t.Errorf("Found() = %q", found)
	}
	if got.keysBeside(0) != 3 || got.keysBeside(1) != 9730 || got.keysBeside(2) != 9733 || got.major() != 7 || got.lfu() {
		t.Errorf("beside 0: %d, beside 1: %d, major %d", got.keysBeside(0), got.keysBeside(1), got.major())
	}
}

func TestParseInfoDetails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, old, new string
		check          func(state) bool
	}{
		{"SaveFailed", "rdb_last_bgsave_status:ok", "rdb_last_bgsave_status:err", func(s state) bool { return !s.Info.LastSaveOK }},
		{"AppendFailed", "aof_last_write_status:ok", "aof_last_write_status:err", func(s state) bool { return !s.Info.LastSaveOK }},
		{"NoAppendFile", "aof_last_write_status:ok\r\n", "", func(s state) bool { return s.Info.LastSaveOK }},
		{"Replica", "role:master", "role:slave", func(s state) bool { return s.Info.Role == "slave" && strings.HasPrefix(s.Info.Found(), "replica,") }},
		{"Loading", "loading:0", "loading:1", func(s state) bool { return s.Info.Loading }},
		{"Cluster", "cluster_enabled:0", "cluster_enabled:1", func(s state) bool { return s.Cluster }},
		{"NoLimit", "maxmemory:100663296", "maxmemory:0", func(s state) bool { return strings.Contains(s.Info.Found(), "96 MiB without a limit") }},
		{"Saving", "rdb_bgsave_in_progress:0", "rdb_bgsave_in_progress:1", func(s state) bool { return s.Info.Saving }},
		{"Rewriting", "aof_rewrite_in_progress:0", "aof_rewrite_in_progress:1", func(s state) bool { return s.Info.Saving }},
		{"JustStarted", "mem_fragmentation_ratio:1.20", "mem_fragmentation_ratio:nan", func(s state) bool { return s.Info.FragRatio == 0 }},
		{"Frequency", "policy:noeviction", "policy:allkeys-lfu", func(s state) bool { return s.lfu() }},
		{"NoFile", "config_file:/etc/redis/redis.conf", "config_file:", func(s state) bool { return s.ConfigFile == "" }},
		{"FirstOneCounts", "role:master", "role:master\r\nrole:slave", func(s state) bool { return s.Info.Role == "master" }},
		{"VeryOld", "uptime_in_seconds:86400", "uptime_in_seconds:9223372036854775807", func(s state) bool { return s.Info.Uptime > 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := parseInfo(strings.Replace(infoText, c.old, c.new, 1))
			if err != nil || !c.check(s) {
				t.Errorf("parseInfo() = %+v, %v", s, err)
			}
		})
	}
}

func TestParseInfoNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for old, want := range map[string]string{
		"role:master\r\n":               "role",
		"rdb_last_bgsave_status:ok\r\n": "rdb_last_bgsave_status",
		"run_id:":                       "run_id",
		"used_memory:1":                 "used_memory",
		"keyspace_hits:123":             "keyspace_hits",
	} {
		if _, err := parseInfo(strings.Replace(infoText, old, "x:", 1)); err == nil || err.Error() != want {
			t.Errorf("without %q: %v, want %q", old, err, want)
		}
	}
	if _, err := parseInfo(strings.Replace(infoText, "maxmemory:100", "maxmemory:lots", 1)); err == nil || err.Error() != "a number for maxmemory" {
		t.Errorf("malformed: %v", err)
	}
	if _, err := parseInfo(infoText + strings.Repeat("x", maxInfo)); err == nil {
		t.Error("an endless INFO is read")
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add(infoText)
	f.Add(strings.ReplaceAll(infoText, "\r\n", "\n"))
	f.Add(strings.ReplaceAll(infoText, "7", "-9"))
	f.Add("")
	f.Add(":\n::\r\r\n#:")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseInfo(text)
		if err != nil {
			if err.Error() == "" || s != (state{}) {
				t.Errorf("parseInfo(%q) = %+v, %q", text, s, err)
			}
			return
		}
		if s.Info.RunID == "" || s.Info.Role == "" || s.Info.UsedMemory < 0 || s.Info.Uptime < 0 || s.Hits < 0 || s.Misses < 0 {
			t.Errorf("parseInfo(%q) = %+v", text, s)
		}
		_ = s.Info.Found()
	})
}

func TestBetween(t *testing.T) {
	t.Parallel()
	a := reading{runID: "a", hits: 100, misses: 50, ownHits: 5, ownMisses: 5, evicted: 10}
	rate := 0.75
	for _, c := range []struct {
		name string
		b    reading
		want HitRate
	}{
		{"Counts", reading{"a", 130, 60, 5, 5, 12}, HitRate{Hits: 30, Misses: 10, Lookups: 40, Rate: &rate, Evicted: 2}},
		{"WithoutOwn", reading{"a", 150, 90, 25, 35, 10}, HitRate{Hits: 30, Misses: 10, Lookups: 40, Rate: &rate}},
		{"OnlyOwn", reading{"a", 120, 50, 25, 5, 10}, HitRate{}},
		{"Nothing", a, HitRate{}},
		{"Restarted", reading{"b", 900, 900, 5, 5, 10}, HitRate{Reset: true}},
		{"CountersReset", reading{"a", 3, 1, 5, 5, 10}, HitRate{Reset: true}},
		{"MoreOwnThanSeen", reading{"a", 101, 50, 9, 5, 10}, HitRate{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(c.want, between(a, c.b)); d != "" {
				t.Errorf("between (-want +got):\n%s", d)
			}
		})
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		size(0): "0 B", size(1023): "1023 B", size(96 << 20): "96 MiB", size(17_091_789): "16.3 MiB", size(1<<30 - 1): "1 GiB",
		number(0): "0", number(999): "999", number(1000): "1,000", number(-1234567): "-1,234,567",
		things(1, "key"): "1 key", things(9412, "key"): "9,412 keys",
		percent(0): "0 %", percent(0.004): "0.4 %", percent(0.62): "62 %", percent(0.998): "99.8 %", percent(1): "100 %",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	rate := 0.62
	for got, want := range map[string]string{
		HitRate{Hits: 310, Misses: 190, Lookups: 500, Rate: &rate}.Found(): "hit rate 62 %, 310 of 500 lookups",
		HitRate{}.Found():            "no data: no lookups",
		HitRate{Reset: true}.Found(): "no data: Redis restarted or its counters were reset meanwhile",
		KeyCount{Matched: 9412, Total: 9730, Complete: true}.Found():                                               "9,412 of 9,730 keys match",
		KeyCount{Matched: 2, Total: 3, NoTTLPct: ptr(50.0), Types: map[string]int{"hash": 1, "string": 1}}.Found(): "at least 2 of 3 keys match; 50 % without an expiry; 1 hash, 1 string",
		Flushed{Deleted: 9412, Skipped: 1, TotalBefore: 9730, TotalAfter: 318}.Found():                             "removed 9,412 of 9,730 keys, kept 1 of other types; 318 left",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func FuzzMemoryValue(f *testing.F) {
	for _, text := range []string{"512MiB", "0", "1024TiB", "999999999999999", "1 GiB", "-1", "1e9"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := memoryValue(text)
		if err != nil {
			return
		}
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 || n > 1<<50 {
			t.Errorf("memoryValue(%q) = %q", text, value)
		}
	})
}

func TestMemoryValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"512MiB": "536870912", "1GiB": "1073741824", "0": "0", " 100 ": "100", "7B": "7", "1024TiB": "1125899906842624", "1025TiB": "", "1mb": "", "": ""} {
		if got, err := memoryValue(text); got != want || (err == nil) != (want != "") {
			t.Errorf("memoryValue(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}
