package docker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"opsbot/internal/fault"
)

func TestGroupsBySignature(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var lines []logged
	for i, text := range []string{
		`request 1 of "ann" took 3 ms`, `request 22 of "ben" took 71.5 ms`,
		"psycopg2.OperationalError: connection refused", "jwt: signature has expired",
		"id 0b5f1a52-7c4e-4bfb-8f0e-1f1f0a3d2c11 gone", "id 9b5f1a52-7c4e-4bfb-8f0e-1f1f0a3d2c12 gone", "id 1b5f1a52-7c4e-4bfb-8f0e-1f1f0a3d2c13 gone",
	} {
		lines = append(lines, logged{at.Add(time.Duration(i) * time.Second), text})
	}
	groups := group(lines)
	var got []string
	for _, g := range groups {
		got = append(got, fmt.Sprintf("%d %s %s", g.Count, g.Topic, g.Signature))
	}
	want := []string{
		"3 other id # gone", `2 other request # of "…" took # ms`,
		"1 jwt jwt: signature has expired", "1 database psycopg#.OperationalError: connection refused",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if groups[0].Sample != lines[6].text || !groups[0].LastAt.Equal(lines[6].at) {
		t.Errorf("the largest group = %+v", groups[0])
	}
}

func FuzzLineTail(f *testing.F) {
	f.Add([]byte("a\nb\r\n\xff\n"), []byte("c"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		whole, parts := new(lineTail), new(lineTail)
		_, _ = whole.Write(append(append([]byte{}, a...), b...))
		_, _ = parts.Write(a)
		_, _ = parts.Write(b)
		whole.flush()
		parts.flush()
		if d := cmp.Diff(whole.lines, parts.lines); d != "" {
			t.Errorf("it matters how it is written: %s", d)
		}
	})
}

func TestLineTailKeepsTheNewest(t *testing.T) {
	t.Parallel()
	var tail lineTail
	line := strings.Repeat("x", 1000)
	for i := range 3000 {
		fmt.Fprintf(&tail, "%d %s\n", i, line)
	}
	if tail.size > logBytes || !tail.cut || !strings.HasPrefix(tail.lines[len(tail.lines)-1], "2999 ") || len(tail.lines) < 900 {
		t.Errorf("%d lines of %d bytes, cut %v", len(tail.lines), tail.size, tail.cut)
	}
	var long lineTail
	fmt.Fprintln(&long, strings.Repeat("y", 3*logLine))
	if len(long.lines) != 1 || len(long.lines[0]) != logLine || !long.cut {
		t.Errorf("a long line became %d lines", len(long.lines))
	}
}

func TestReadDF(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text        string
		total, free int
		mount       string
		ok          bool
	}{
		{"Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /data", 100, 60, "/data", true},
		{"Filesystem 1-blocks Used Available Capacity Mounted on\nnas: my share 100 40 60 40% /with blank", 100, 60, "/with blank", true},
		{"Filesystem Inodes IUsed IFree IUse% Mounted on\noverlay 0 0 0 - /", 0, 0, "/", true},
		{"df: /x: No such file", 0, 0, "", false},
		{"a\nb c d", 0, 0, "", false},
	} {
		total, free, mount, ok := readDF(strings.Split(c.text, "\n"))
		if total != c.total || free != c.free || mount != c.mount || ok != c.ok {
			t.Errorf("readDF(%q) = %d %d %q %v", c.text, total, free, mount, ok)
		}
	}
}

func FuzzReadDF(f *testing.F) {
	f.Add("Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /data")
	f.Fuzz(func(_ *testing.T, text string) { readDF(strings.Split(text, "\n")) })
}

// The engine answers 200 and tells of the failure in the stream.
func TestDrain(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := drain(strings.NewReader(`{"status":"Pulling"}{"status":"x","id":"layer"}{"status":"Digest: sha256:1"}`), &out); err != nil || out.String() != "Pulling\nDigest: sha256:1\n" {
		t.Errorf("drain = %v, wrote %q", err, out.String())
	}
	err := drain(strings.NewReader(`{"status":"Pulling"}{"error":"manifest unknown","errorDetail":{}}`), io.Discard)
	if err == nil || recognise(err.Error()) == nil || recognise(err.Error()).Kind != fault.NotFound {
		t.Errorf("drain of a failure = %v", err)
	}
	if err := drain(strings.NewReader(`{"status":`), io.Discard); err == nil {
		t.Error("a stream that breaks off passes")
	}
}

func TestMemoryIsWithoutCache(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stats map[string]uint64
		want  int
	}{
		"cgroup v1":    {map[string]uint64{"total_inactive_file": 30, "inactive_file": 5}, 70},
		"cgroup v2":    {map[string]uint64{"inactive_file": 20}, 80},
		"unknown":      {nil, 100},
		"more than is": {map[string]uint64{"inactive_file": 200}, 100},
	} {
		if got := memory(container.MemoryStats{Usage: 100, Stats: c.stats}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Of capacity, not of a core: two busy cores of two are 100 %, not 196 %.
func TestLoadIsOfCapacity(t *testing.T) {
	t.Parallel()
	at := func(used, system uint64) container.StatsResponse {
		return container.StatsResponse{CPUStats: container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: used}, SystemUsage: system, OnlineCPUs: 2}}
	}
	for name, c := range map[string]struct {
		nano        int64
		quota       int64
		used, total uint64
		want        float64
	}{
		"both cores":           {0, 0, 196, 200, 98},
		"half of a half core":  {5e8, 0, 25, 200, 50},
		"quota of one core":    {0, 100_000, 100, 200, 100},
		"limit above the host": {8e9, 0, 100, 200, 50},
	} {
		b := box{InspectResponse: container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{HostConfig: &container.HostConfig{Resources: container.Resources{NanoCPUs: c.nano, CPUQuota: c.quota}}}}}
		got, err := replicaLoad(b, at(0, 0), at(c.used, c.total), 2, 1000)
		if err != nil || got.CPUPctOfCapacity != c.want {
			t.Errorf("%s: %v %%, %v, want %v", name, got.CPUPctOfCapacity, err, c.want)
		}
		if _, err := replicaLoad(b, at(5, 5), at(5, 5), 2, 1000); err == nil {
			t.Errorf("%s: no time passed, and that is a figure", name)
		}
	}
}

func TestImageNames(t *testing.T) {
	t.Parallel()
	for image, want := range map[string][2]string{
		"api":                              {"api", ""},
		"api:v1":                           {"api", "v1"},
		"ghcr.io:443/acme/api":             {"ghcr.io:443/acme/api", ""},
		"ghcr.io:443/acme/api:v1@sha256:0": {"ghcr.io:443/acme/api", "v1"},
		"sha256:abc":                       {"sha256:abc", ""},
	} {
		if got := [2]string{nameOf(image), tagOf(image)}; got != want {
			t.Errorf("%s = %q, want %q", image, got, want)
		}
	}
	if got := digestOf([]string{"other@sha256:1", "acme/api@sha256:2"}, "acme/api:v1"); got != "sha256:2" {
		t.Errorf("digestOf = %q", got)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	got := changes(" DRY-RUN MODE -  Container p-api-1  Recreate \n DRY-RUN MODE -  Container p-api-1  Recreated \n Network p_default  Created\n\n Container p-api-1  Healthy\ntime=\"x\" level=warning\n")
	if d := cmp.Diff([]string{"recreates container p-api-1", "creates network p_default"}, got); d != "" {
		t.Error(d)
	}
}

func FuzzChanges(f *testing.F) {
	f.Add(" Container p-api-1  Recreated\n")
	f.Fuzz(func(_ *testing.T, text string) { changes(text); hosts([]byte(text)) })
}

func TestExplainOfCompose(t *testing.T) {
	t.Parallel()
	k := newCompose(Config{Project: "p", ComposeFile: "/srv/compose.yaml", Host: "unix:///s"})
	for stderr, want := range map[string]string{
		"Error response from daemon: driver failed: Bind for 127.0.0.1:8000 failed: port is already allocated": "publish a range",
		"docker: 'compose' is not a docker command.":                                                           "no Compose plugin",
		"no such service: nobody": "no such service: nobody",
		"time=\"x\" level=warning msg=\"y\"\nError: pull access denied": "refused the image",
	} {
		err := k.explain(t.Context(), "bring up api", stderr, errors.New("exit status 1"))
		if !strings.Contains(fault.Say(err), want) {
			t.Errorf("of %q it says %q", stderr, fault.Say(err))
		}
	}
	cmd := k.command(t.Context(), "v1", "up")
	for _, kv := range cmd.Env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "COMPOSE") {
			t.Errorf("%s reaches Compose", kv)
		}
	}
	if line := strings.Join(cmd.Args, " "); !strings.HasSuffix(line, "-p p -f /srv/compose.yaml --env-file /dev/null --progress plain --ansi never up") {
		t.Errorf("command line = %s", line)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	b := box{InspectResponse: container.InspectResponse{Config: &container.Config{Cmd: []string{"/usr/lib/postgresql/15/bin/postgres", "-D", "x"}}}}
	c := &Conn{}
	if m := c.mannerOf(b, &StopArgs{}); m.signal != "SIGINT" || m.grace != time.Minute {
		t.Errorf("of PostgreSQL: %+v", m)
	}
	b.Config.StopSignal = "INT" // the image does it right
	seconds := 5
	b.Config.StopTimeout = &seconds
	if m := c.mannerOf(b, &StopArgs{}); m.signal != "" || m.grace != 5*time.Second {
		t.Errorf("of an image that does it right: %+v", m)
	}
	if m := c.mannerOf(b, &StopArgs{Signal: "SIGQUIT", Grace: time.Second}); m.signal != "SIGQUIT" || m.grace != time.Second {
		t.Errorf("as the step says: %+v", m)
	}
}

// The engine's own frames: a header of 8 bytes before each write.
func FuzzSplitTime(f *testing.F) {
	header := make([]byte, 8)
	binary.BigEndian.PutUint32(header[4:], 3)
	f.Add("2026-03-01T02:03:04.5Z hello")
	f.Add(string(header) + "abc")
	f.Fuzz(func(t *testing.T, line string) {
		if l := splitTime(line); l.at.IsZero() && l.text != clean(strings.TrimRight(line, "\r")) && !strings.HasPrefix(line, "0001-") {
			t.Errorf("splitTime(%q) = %+v", line, l)
		}
	})
}
