package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type get struct{}

// GetArgs are the arguments of http.get.
type GetArgs struct {
	Path string         `arg:"path" url:"path" required:"true" help:"below the connection's address, such as /api/v1/health"`
	Code int            `arg:"code" default:"200" min:"0" max:"599" help:"the status that is expected; 0: any"`
	JSON map[string]any `arg:"json" help:"what fields of the answer must be, such as checks.*: ready"`
	Auth bool           `arg:"auth" default:"true" help:"send the connection's token"`
}

// A Got is the result of http.get.
type Got struct {
	Code    int      `json:"code" help:"status of the answer"`
	MS      float64  `json:"ms" help:"milliseconds until the whole answer was there"`
	Asserts []Assert `json:"asserts" help:"what was expected of the body"`
}

// An Assert is one field of the body that was looked at.
type Assert struct {
	Field string `json:"field"`
	Want  string `json:"want" help:"as JSON"`
	Got   string `json:"got" help:"as JSON; empty: there is no such field"`
	OK    bool   `json:"ok"`
}

// Found says the result in one line.
func (r Got) Found() string {
	text := fmt.Sprintf("%d in %.0f ms", r.Code, r.MS)
	if n := len(r.Asserts); n > 0 {
		text += fmt.Sprintf(", %d fields as expected", n)
	}
	return text
}

func (get) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "http.get",
		Summary: "Fetch a path and check status and fields of the answer.",
		Timeout: 10 * time.Second,
		Args:    GetArgs{},
		Result:  Got{},
	}
}

// Run fails, with kind Conflict, if the answer is not what was expected: a
// runbook that gives an expectation need not repeat it.
func (get) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[GetArgs](call)
	if err != nil {
		return nil, err
	}
	a, err := c.get(ctx, args.Path, args.Auth)
	if err != nil {
		return nil, err
	}
	r := Got{Code: a.code, MS: milliseconds(a.took), Asserts: []Assert{}}
	fmt.Fprintf(out, "GET %s answered %s\n", short(args.Path), r.Found())
	if args.Code != 0 && a.code != args.Code {
		return nil, fault.New(fault.Conflict, "GET %s from %s answered %d, not %d.", short(args.Path), c.base.Host, a.code, args.Code)
	}
	if len(args.JSON) == 0 {
		return r, nil
	}
	if a.cut {
		return nil, fault.New(fault.Conflict, "GET %s from %s answered more than 1 MiB, too much to check its fields.", short(args.Path), c.base.Host)
	}
	if r.Asserts, err = check(a.body, args.JSON); err != nil {
		return nil, fault.New(fault.Conflict, "GET %s from %s did not answer with JSON.", short(args.Path), c.base.Host).Because(err)
	}
	var wrong []string
	for _, s := range r.Asserts {
		if !s.OK {
			wrong = append(wrong, s.String())
		}
	}
	if len(wrong) > 0 {
		fmt.Fprintln(out, strings.Join(wrong, "\n"))
		return nil, fault.New(fault.Conflict, "GET %s from %s: %s.", short(args.Path), c.base.Host, strings.Join(wrong[:min(3, len(wrong))], "; "))
	}
	return r, nil
}

func (s Assert) String() string {
	if s.Got == "" {
		return s.Field + " is missing, not " + s.Want
	}
	return s.Field + " is " + short(s.Got) + ", not " + s.Want
}

// maxAsserts bounds what a wildcard can turn into.
const maxAsserts = 100

// check compares fields of a JSON text with what they must be. A field is a
// path of names and list positions with dots between; * stands for every name
// or position, and must match at least one.
func check(body []byte, want map[string]any) ([]Assert, error) {
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	var list []Assert
	for _, field := range slices.Sorted(maps.Keys(want)) {
		found := map[string]any{}
		pick(doc, strings.Split(field, "."), "", found)
		if len(found) == 0 {
			list = append(list, Assert{Field: field, Want: text(want[field])})
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			list = append(list, Assert{Field: name, Want: text(want[field]), Got: text(found[name]), OK: same(want[field], found[name])})
		}
	}
	if len(list) > maxAsserts {
		return nil, fmt.Errorf("%d fields match, more than %d", len(list), maxAsserts)
	}
	return list, nil
}

// pick adds to found what the path leads to.
func pick(v any, path []string, at string, found map[string]any) {
	if len(path) == 0 {
		found[at] = v
		return
	}
	down := func(name string, child any) {
		full := name
		if at != "" {
			full = at + "." + name
		}
		pick(child, path[1:], full, found)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			if path[0] == "*" || path[0] == name {
				down(name, child)
			}
		}
	case []any:
		for i, child := range v {
			if name := strconv.Itoa(i); path[0] == "*" || path[0] == name {
				down(name, child)
			}
		}
	}
}

// same compares a value of a runbook with one of JSON, where all numbers are
// float64.
func same(want, got any) bool {
	if n, ok := want.(int); ok {
		want = float64(n)
	}
	return text(want) == text(got)
}

// text writes a value as JSON.
func text(v any) string {
	if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
