package docker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"opsbot/runbooks"
)

type env struct{}

// EnvArgs are the arguments of docker.env.
type EnvArgs struct {
	Service string   `arg:"service" required:"true" pattern:"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$" help:"of the Compose project"`
	Color   string   `arg:"color" default:"blue" values:"blue|green" help:"green: the one that docker.run started beside it"`
	Keys    []string `arg:"keys" required:"true" pattern:"^[A-Za-z_][A-Za-z0-9_]{0,127}$" help:"names of variables"`
}

// A Presence is the result of docker.env. It never has a value in it.
type Presence struct {
	Set    map[string]bool `json:"set" help:"whether the variable is there and not empty, in every container of the service"`
	Length map[string]int  `json:"length" help:"characters of the shortest value"`
}

// Found says the result in one line.
func (r Presence) Found() string {
	var missing []string
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		if !r.Set[key] {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return fmt.Sprintf("%s set", things(len(r.Set), "variable"))
	}
	return "empty or missing: " + strings.Join(missing, ", ")
}

func (env) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "docker.env",
		Summary: "See whether variables are set in a service's containers, never their values.",
		Timeout: 10 * time.Second,
		Args:    EnvArgs{},
		Result:  Presence{},
	}
}

func (env) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, args, err := both[EnvArgs](call)
	if err != nil {
		return nil, err
	}
	list, err := c.of(ctx, args.Service, args.Color)
	if err != nil {
		return nil, err
	}
	r := Presence{Set: map[string]bool{}, Length: map[string]int{}}
	for _, key := range args.Keys {
		shortest := -1
		for _, b := range list {
			if n := utf8.RuneCountInString(variableOf(b.Config.Env, key)); shortest < 0 || n < shortest {
				shortest = n
			}
		}
		r.Set[key], r.Length[key] = shortest > 0, shortest
	}
	return r, nil
}

// variableOf is the value of a variable in a list of KEY=value; the last counts.
func variableOf(list []string, key string) string {
	for _, kv := range slices.Backward(list) {
		if value, ok := strings.CutPrefix(kv, key+"="); ok {
			return value
		}
	}
	return ""
}
