package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type warm struct{}

const (
	// maxURLs bounds a list.
	maxURLs = 200
	// maxListFile bounds the file of a list.
	maxListFile = 1 << 20
	// deaf is how many requests in a row, and none before, may fail to reach
	// the service at all until the rest is not worth trying.
	deaf = 3
)

// WarmArgs are the arguments of http.warm.
type WarmArgs struct {
	List        string  `arg:"list" required:"true" help:"name of a list of the connection"`
	Concurrency int     `arg:"concurrency" default:"2" min:"1" max:"8" help:"requests at a time"`
	RPS         float64 `arg:"rps" default:"5" min:"0.1" max:"50" help:"requests per second, at most"`
}

// A Warmed is the result of http.warm.
type Warmed struct {
	OK          int    `json:"ok" help:"answered with a 2xx"`
	Failed      int    `json:"failed" help:"answered otherwise or not at all"`
	FirstFailed string `json:"first_failed" help:"what the first failure was; empty: none"`
}

// Found says the result in one line.
func (r Warmed) Found() string {
	if r.Failed == 0 {
		return fmt.Sprintf("all %d requests answered", r.OK)
	}
	return fmt.Sprintf("%d of %d requests failed, the first: %s", r.Failed, r.OK+r.Failed, r.FirstFailed)
}

func (warm) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "http.warm",
		Summary: "Fetch the paths of a list slowly, so that caches fill again.",
		Timeout: 2 * time.Minute,
		Args:    WarmArgs{},
		Result:  Warmed{},
	}
}

func (warm) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[WarmArgs](call)
	if err != nil {
		return nil, err
	}
	paths, err := c.paths(args.List)
	if err != nil {
		return nil, err
	}
	var (
		mu sync.Mutex
		r  Warmed
	)
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(args.Concurrency)
	pace := time.NewTicker(time.Duration(float64(time.Second) / args.RPS))
	defer pace.Stop()
	for i, path := range paths {
		if i > 0 {
			select {
			case <-pace.C:
			case <-asking.Done():
			}
		}
		if asking.Err() != nil {
			break
		}
		g.Go(func() error {
			a, err := c.get(asking, path, true)
			mu.Lock()
			defer mu.Unlock()
			failure := ""
			switch {
			case err != nil && asking.Err() != nil:
				return err
			case err != nil:
				failure = fault.Say(err)
			case a.code < 200 || a.code > 299:
				failure = fmt.Sprintf("GET %s answered %d", short(path), a.code)
			default:
				r.OK++
				return nil
			}
			r.Failed++
			fmt.Fprintln(out, failure)
			if r.FirstFailed == "" {
				r.FirstFailed = failure
			}
			if fault.KindOf(err) == fault.Unavailable && r.OK == 0 && r.Failed >= deaf {
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if done := r.OK + r.Failed; done < len(paths) {
		return nil, c.explain(paths[done], ctx.Err())
	}
	fmt.Fprintln(out, r.Found())
	return r, nil
}

// paths makes the paths of a list. A value is escaped for where it stands:
// in the path or after the question mark.
func (c *Conn) paths(name string) ([]string, error) {
	list, ok := c.lists[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "The connection to %s has no list %q.", c.base.Host, name).
			Hinted("Lists are part of the server's configuration.")
	}
	const hole = "{user}"
	if !strings.Contains(list.Path, hole) {
		return []string{list.Path}, nil
	}
	values, err := list.values()
	if err != nil {
		return nil, fault.New(fault.Invalid, "The values of the list %q could not be read.", name).
			Hinted("Check its file in the server's configuration.").Because(err)
	}
	switch {
	case len(values) == 0:
		return nil, fault.New(fault.Invalid, "The list %q has no values.", name)
	case len(values) > maxURLs:
		return nil, fault.New(fault.Invalid, "The list %q has %d values, more than %d.", name, len(values), maxURLs)
	}
	path, query, hasQuery := strings.Cut(list.Path, "?")
	paths := make([]string, len(values))
	for i, v := range values {
		paths[i] = strings.ReplaceAll(path, hole, url.PathEscape(v))
		if hasQuery {
			paths[i] += "?" + strings.ReplaceAll(query, hole, url.QueryEscape(v))
		}
	}
	return paths, nil
}

// values reads a list's values: those given, or a file's lines, without blank
// ones and comments. The file is read each time, so that it may be edited.
func (l List) values() ([]string, error) {
	name, isFile := strings.CutPrefix(l.User, "file:")
	if !isFile {
		return tidy(strings.Split(l.User, ",")), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	in := bufio.NewScanner(io.LimitReader(f, maxListFile+1))
	size := 0
	for in.Scan() {
		if size += len(in.Text()) + 1; size > maxListFile {
			return nil, fmt.Errorf("%s has more than %d bytes", name, maxListFile)
		}
		lines = append(lines, in.Text())
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return tidy(lines), nil
}

func tidy(values []string) []string {
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	return slices.DeleteFunc(values, func(v string) bool { return v == "" || strings.HasPrefix(v, "#") })
}
