package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	Color   string   `arg:"color" values:"blue|green" help:"blue: Compose's own; green: the one that docker.run started beside it; by default the one that the proxy sends traffic to, else blue"`
	Keys    []string `arg:"keys" required:"true" pattern:"^[A-Za-z_][A-Za-z0-9_]{0,127}$" help:"names of variables"`
}

// A Presence is the result of docker.env. It never has a value in it.
type Presence struct {
	Set    map[string]bool `json:"set" help:"whether the variable is there and not empty, in every container of the service"`
	Length map[string]int  `json:"length" help:"characters of the shortest value"`
	Same   map[string]bool `json:"same" help:"whether all containers of the service have the same value"`
	// Version has 16 bits of a hash: enough to see that a value is another one
	// than before, too few to find out what it is.
	Version map[string]string `json:"version" help:"four hex digits that tell one value from another, and not what it is; empty where it is not set, or not the same everywhere"`
}

// Found says the result in one line.
func (r Presence) Found() string {
	var missing []string
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		if !r.Set[key] {
			missing = append(missing, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.Same)) {
		if !r.Same[key] {
			return "not the same in every container: " + key
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
	r := Presence{Set: map[string]bool{}, Length: map[string]int{}, Same: map[string]bool{}, Version: map[string]string{}}
	for _, key := range args.Keys {
		shortest, same, value := -1, true, ""
		for i, b := range list {
			v := variableOf(b.Config.Env, key)
			if n := utf8.RuneCountInString(v); shortest < 0 || n < shortest {
				shortest = n
			}
			same = same && (i == 0 || v == value)
			value = v
		}
		r.Set[key], r.Length[key], r.Same[key], r.Version[key] = shortest > 0, shortest, same, ""
		if same && shortest > 0 {
			r.Version[key] = versionOf(key, value)
		}
	}
	return r, nil
}

// versionOf tells one value of a variable from another.
func versionOf(key, value string) string {
	sum := sha256.Sum256([]byte(key + "\x00" + value))
	return hex.EncodeToString(sum[:2])
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
