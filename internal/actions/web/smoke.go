package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type smoke struct{}

const (
	// maxCases bounds a list of cases.
	maxCases = 50
	// wrongToken is one that no service takes.
	wrongToken = "opsbot-no-such-token"
)

// How a case asks.
var credentials = []string{"", "token", "none", "wrong"}

// SmokeArgs are the arguments of http.smoke.
type SmokeArgs struct {
	Cases []Case `arg:"cases" required:"true" help:"requests and what must come back, such as {name: no token, path: /status, auth: none, code: 401}"`
}

// A Case is one request of http.smoke.
type Case struct {
	Name string         `json:"name" help:"for the report; empty: its path"`
	Path string         `json:"path" url:"path" help:"below the connection's address"`
	Auth string         `json:"auth" help:"token, none or wrong; empty: token"`
	Code int            `json:"code" help:"the status that is expected; 0: 200"`
	JSON map[string]any `json:"json" help:"what fields of the answer must be, as for http.get"`
}

// Smoked is the result of http.smoke.
type Smoked struct {
	Passed int       `json:"passed"`
	Failed int       `json:"failed"`
	Cases  []Outcome `json:"cases"`
}

// An Outcome is what came of one case.
type Outcome struct {
	Name string  `json:"name"`
	Want string  `json:"want"`
	Got  string  `json:"got" help:"the status, or why there was none, or which field was wrong"`
	MS   float64 `json:"ms"`
	OK   bool    `json:"ok"`
}

// Found says the result in one line.
func (r Smoked) Found() string {
	if r.Failed == 0 {
		return fmt.Sprintf("all %d cases as expected", r.Passed)
	}
	var wrong []string
	for _, o := range r.Cases {
		if !o.OK {
			wrong = append(wrong, fmt.Sprintf("%s: %s, not %s", o.Name, o.Got, o.Want))
		}
	}
	return fmt.Sprintf("%d of %d cases failed: %s", r.Failed, r.Passed+r.Failed, strings.Join(wrong[:min(3, len(wrong))], "; "))
}

func (smoke) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "http.smoke",
		Summary: "Ask for several paths, with and without the token, and check every answer.",
		Timeout: time.Minute,
		Args:    SmokeArgs{},
		Result:  Smoked{},
	}
}

// Run fails, with kind Conflict, if any answer is not what was expected; the
// result is there all the same. A case that gets no answer fails like one with
// another status.
func (smoke) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	args, err := argsOf[SmokeArgs](call)
	if err != nil {
		return nil, err
	}
	if err := c.fits(args.Cases); err != nil {
		return nil, err
	}
	r := Smoked{Cases: []Outcome{}}
	for _, k := range args.Cases {
		o, err := c.try(ctx, k)
		if err != nil {
			return nil, err
		}
		mark := "as expected"
		if o.OK {
			r.Passed++
		} else {
			r.Failed++
			mark = "not " + o.Want
		}
		r.Cases = append(r.Cases, o)
		fmt.Fprintf(out, "%s: %s in %.0f ms, %s\n", o.Name, o.Got, o.MS, mark)
	}
	if r.Failed > 0 {
		return r, fault.New(fault.Conflict, "%s: %s.", c.base.Host, r.Found())
	}
	return r, nil
}

// fits checks what the types of the arguments cannot say, before anything is
// asked.
func (c *Conn) fits(cases []Case) error {
	if len(cases) == 0 || len(cases) > maxCases {
		return fault.New(fault.Invalid, "http.smoke takes 1 to %d cases, not %d.", maxCases, len(cases))
	}
	for _, k := range cases {
		if _, err := c.resolve(k.Path); err != nil {
			return err
		}
		switch {
		case !slices.Contains(credentials, k.Auth):
			return fault.New(fault.Invalid, "auth of the case %s is token, none or wrong, not %q.", k.name(), short(k.Auth))
		case k.Auth != "none" && k.Auth != "wrong" && c.token == "" && k.Auth != "":
			return fault.New(fault.Invalid, "The case %s wants a token, and the connection to %s has none.", k.name(), c.base.Host).
				Hinted("Add a token reference to the connection.")
		case k.Code != 0 && (k.Code < 100 || k.Code > 599):
			return fault.New(fault.Invalid, "code of the case %s is a status from 100 to 599, not %d.", k.name(), k.Code)
		}
	}
	return nil
}

func (k Case) name() string { return short(cmp.Or(k.Name, k.Path)) }

// try asks for one case. The error is the context's.
func (c *Conn) try(ctx context.Context, k Case) (Outcome, error) {
	code := cmp.Or(k.Code, http.StatusOK)
	o := Outcome{Name: k.name(), Want: strconv.Itoa(code)}
	token := c.token
	switch k.Auth {
	case "none":
		token = ""
	case "wrong":
		token = wrongToken
	}
	a, err := c.ask(ctx, request{path: k.Path, token: token})
	if err != nil {
		if ctx.Err() != nil {
			return o, err
		}
		o.Got = strings.TrimSuffix(fault.Say(err), ".")
		return o, nil
	}
	o.Got, o.MS, o.OK = strconv.Itoa(a.code), milliseconds(a.took), a.code == code
	if !o.OK || len(k.JSON) == 0 {
		return o, nil
	}
	asserts, err := check(a.body, k.JSON)
	if err != nil || a.cut {
		o.OK, o.Got = false, o.Got+" and no JSON that can be checked"
	}
	for _, s := range asserts {
		if !s.OK {
			o.OK, o.Got = false, o.Got+" and "+s.String()
			break
		}
	}
	return o, nil
}
