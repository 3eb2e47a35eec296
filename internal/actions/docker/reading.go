package docker

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

const (
	// logBytes is how much of one container's log is kept, the newest.
	logBytes = 1 << 20
	// logTraffic is how much of it is read at all.
	logTraffic = 64 << 20
	// logLine is how long a line may be.
	logLine = 4000
	// logTail is how many lines of it are asked for.
	logTail = 5000
)

// A reading says which part of a container's log is wanted.
type reading struct {
	since time.Time // zero: from the beginning
	tail  int       // newest lines, at most logTail
}

// A logged line has its secrets taken out.
type logged struct {
	at   time.Time
	text string
}

// read reads both streams of a container's log, in order of time; cut reports
// that there is more in that time. Programs log to standard error as a rule:
// one stream alone is never the whole.
func (c *Conn) read(ctx context.Context, b box, what reading) (lines []logged, cut bool, err error) {
	o := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: strconv.Itoa(what.tail)}
	if !what.since.IsZero() {
		o.Since = what.since.Format(time.RFC3339Nano)
	}
	stream, err := c.client.ContainerLogs(ctx, b.ID, o)
	if err != nil {
		return nil, false, c.explain("read the log of "+b.name(), err)
	}
	defer stream.Close()
	from := io.LimitReader(stream, logTraffic)
	stdout, stderr := new(lineTail), new(lineTail)
	if b.Config != nil && b.Config.Tty {
		_, err = io.Copy(stdout, from) // a terminal has one stream, without headers
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, from)
	}
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, false, c.explain("read the log of "+b.name(), err)
	}
	total := 0
	for _, t := range []*lineTail{stdout, stderr} {
		t.flush()
		total += len(t.lines)
		cut = cut || t.cut
		for _, line := range t.lines {
			lines = append(lines, splitTime(line))
		}
	}
	slices.SortStableFunc(lines, func(a, b logged) int { return a.at.Compare(b.at) })
	return lines, cut || total >= logTail && what.tail >= logTail, nil
}

// splitTime takes the time off that the engine put before a line.
func splitTime(line string) logged {
	stamp, text, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		at, text = time.Time{}, line
	}
	return logged{at.UTC(), clean(strings.TrimRight(text, "\r"))}
}

// A lineTail keeps the newest lines that are written to it.
type lineTail struct {
	lines []string
	part  []byte // of a line that is not over
	size  int
	cut   bool // lines were left out, or a part of one
}

func (t *lineTail) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if room := logLine - len(t.part); room < len(line) {
			line, t.cut = line[:max(room, 0)], true
		}
		t.part = append(t.part, line...)
		if !ended {
			break
		}
		t.flush()
		p = rest
	}
	return n, nil
}

// flush ends the present line.
func (t *lineTail) flush() {
	if len(t.part) == 0 {
		return
	}
	line := strings.ToValidUTF8(string(t.part), "\uFFFD")
	t.part = t.part[:0]
	t.lines = append(t.lines, line)
	t.size += len(line)
	for t.size > logBytes {
		t.size -= len(t.lines[0])
		t.lines, t.cut = t.lines[1:], true
	}
}
