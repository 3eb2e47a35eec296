package config

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// A Secret is a reference to a secret, never the secret itself: env:NAME,
// file:PATH or command:ARGV. The zero value refers to nothing.
type Secret struct {
	ref string
	dir string // that a relative file: starts from
}

// secretTimeout bounds how long a command: reference may take to answer.
const secretTimeout = 10 * time.Second

// SecretRef returns the secret that ref names, or an error that does not
// repeat what was given: it may be a secret in the wrong place.
func SecretRef(ref string) (Secret, error) {
	for _, scheme := range []string{"env:", "file:", "command:"} {
		if rest, ok := strings.CutPrefix(ref, scheme); ok && strings.TrimSpace(rest) != "" {
			return Secret{ref: ref}, nil
		}
	}
	return Secret{}, fmt.Errorf("a secret is given as env:NAME, file:PATH or command:PROGRAM ARGS, never in the file itself")
}

// IsZero reports whether s refers to nothing.
func (s Secret) IsZero() bool { return s.ref == "" }

// String returns the reference, which is no secret.
func (s Secret) String() string { return s.ref }

// Resolve fetches the secret's value, without a trailing newline. A zero
// Secret resolves to "". The error names the reference and never the value.
func (s Secret) Resolve(ctx context.Context) (string, error) {
	scheme, rest, _ := strings.Cut(s.ref, ":")
	switch scheme {
	case "":
		return "", nil
	case "env":
		v, ok := os.LookupEnv(rest)
		if !ok || v == "" {
			return "", fmt.Errorf("the environment variable %s is not set", rest)
		}
		return v, nil
	case "file":
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(s.dir, rest)
		}
		b, err := os.ReadFile(rest)
		if err != nil {
			return "", fmt.Errorf("read the secret %s: %w", s.ref, err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	case "command":
		ctx, cancel := context.WithTimeout(ctx, secretTimeout)
		defer cancel()
		argv := strings.Fields(rest)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = s.dir
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("the secret's command %s failed: %w", argv[0], err)
		}
		return strings.TrimRight(string(out), "\r\n"), nil
	}
	return "", fmt.Errorf("unknown kind of secret %q", scheme)
}

// UnmarshalYAML accepts a reference and refuses anything else.
func (s *Secret) UnmarshalYAML(node ast.Node) error {
	str, ok := node.(*ast.StringNode)
	if !ok {
		return at(node, "a secret is a text such as env:NAME")
	}
	ref, err := SecretRef(str.Value)
	if err != nil {
		return at(node, "%s", err)
	}
	*s = ref
	return nil
}

// UnmarshalYAML accepts a number of days with its unit.
func (d *Days) UnmarshalYAML(node ast.Node) error {
	str, ok := node.(*ast.StringNode)
	if !ok {
		return at(node, "a number of days is a text such as 180d")
	}
	number, unit := strings.CutSuffix(str.Value, "d")
	n, err := strconv.Atoi(number)
	if !unit || err != nil || n < 1 || n > 3650 {
		return at(node, "%q is not a number of days from 1d to 3650d", str.Value)
	}
	*d = Days(n)
	return nil
}

// UnmarshalYAML accepts Go's notation for durations.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	str, ok := node.(*ast.StringNode)
	if !ok {
		return at(node, "a duration is a text such as 30s or 5m")
	}
	v, err := time.ParseDuration(str.Value)
	if err != nil || v < 0 {
		return at(node, "%q is not a duration such as 30s or 5m", str.Value)
	}
	*d = Duration(v)
	return nil
}
