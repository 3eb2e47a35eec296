package docker

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type logs struct{}

// LogsArgs are the arguments of docker.logs.
type LogsArgs struct {
	Service    string        `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color      string        `arg:"color" values:"blue|green" help:"blue: Compose's own; green: the one that docker.run started beside it; by default the one that the proxy sends traffic to, else blue"`
	Since      time.Duration `arg:"since" default:"15m" min:"1s" max:"24h" help:"how far back"`
	SinceStart bool          `arg:"since_start" help:"instead: since each container's last start"`
	Lines      int           `arg:"lines" default:"500" min:"1" max:"5000" help:"at most so many, the newest, of those that match"`
	Match      string        `arg:"match" help:"regular expression (RE2), at most 200 characters; by default every line"`
}

// A Log is the result of docker.logs.
type Log struct {
	Lines     []string   `json:"lines" help:"the newest that match, at most 1,000, of both streams in order of time, without secrets; the step's output has all"`
	Groups    []LogGroup `json:"groups" help:"the lines that match, by what they have in common, the largest group first; at most 20"`
	Matched   int        `json:"matched" help:"lines that match"`
	Read      int        `json:"read" help:"lines that were read"`
	Truncated bool       `json:"truncated" help:"there is more in that time than was read"`
}

// A LogGroup is a set of lines that differ in numbers and names only.
type LogGroup struct {
	Signature string    `json:"signature"`
	Topic     string    `json:"topic" help:"database, jwt, redis, timeout, memory or other"`
	Count     int       `json:"count"`
	LastAt    time.Time `json:"last_at"`
	Sample    string    `json:"sample" help:"the newest of them"`
}

// Found says the result in one line.
func (r Log) Found() string {
	text := fmt.Sprintf("%s of %s", things(r.Matched, "matching line"), number(r.Read))
	if r.Matched == r.Read {
		text = things(r.Read, "line")
	}
	if len(r.Groups) > 0 {
		text += fmt.Sprintf("; %d × %s", r.Groups[0].Count, clip(r.Groups[0].Signature, 80))
	}
	if r.Truncated {
		text += "; there is more"
	}
	return text
}

func (logs) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.logs",
		Summary: "Read what a service's containers wrote to both streams, and group it.",
		Timeout: 30 * time.Second,
		Args:    LogsArgs{},
		Result:  Log{},
	}
}

const (
	// inResult is how many lines expressions see.
	inResult   = 1000
	longestRE2 = 200
)

func (logs) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, args, err := both[LogsArgs](call)
	if err != nil {
		return nil, err
	}
	if len(args.Match) > longestRE2 {
		return nil, fault.New(fault.Invalid, "The expression to match has more than %d characters.", longestRE2)
	}
	match, err := regexp.Compile(args.Match)
	if err != nil {
		return nil, fault.New(fault.Invalid, "The expression to match is not one: %s.", clip(err.Error(), 200)).Because(err)
	}
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return nil, err
	}
	r := Log{}
	var matched []logged
	for _, b := range list {
		what := reading{since: time.Now().Add(-args.Since), tail: logTail}
		if args.SinceStart {
			what.since = b.idle()
		}
		lines, cut, err := c.read(ctx, b, what)
		if err != nil {
			return nil, err
		}
		r.Read += len(lines)
		r.Truncated = r.Truncated || cut
		for _, l := range lines {
			if !match.MatchString(l.text) {
				continue
			}
			if len(list) > 1 {
				l.text = b.name() + ": " + l.text
			}
			matched = append(matched, l)
		}
	}
	slices.SortStableFunc(matched, func(a, b logged) int { return a.at.Compare(b.at) })
	r.Matched, r.Groups = len(matched), group(matched)
	matched = matched[max(0, len(matched)-args.Lines):]
	for _, l := range matched {
		fmt.Fprintf(out, "%s %s\n", l.at.Format(time.RFC3339), l.text)
	}
	r.Lines = []string{}
	for _, l := range matched[max(0, len(matched)-inResult):] {
		r.Lines = append(r.Lines, l.text)
	}
	return r, nil
}
