// Package host offers runbook actions on opsbot's own machine: commands and
// files that the configuration names.
//
// There is no shell: a command is a list of arguments, and a value that a
// runbook fills in stays one argument, of a type that the configuration gives.
package host

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A Config says what runbooks may use of the machine.
type Config struct {
	Commands map[string]Command
	// Files are paths with * and the like in their last part, by name.
	Files map[string]string
	// Scan reads a dump of PostgreSQL to its end, or says what is wrong with it
	// as a *fault.Error; nil: file.verify_dump cannot work.
	Scan func(ctx context.Context, path string) (Dump, error)
}

// A Command is one that runbooks start by its name.
type Command struct {
	Argv    []string // {name} stands for a value
	Args    []Arg
	Env     []string // names of variables that are passed on, besides PATH
	Dir     string   // "" is the root directory
	Effect  runbooks.Effect
	Timeout time.Duration // 0 is a minute
}

// An Arg is a value that a runbook gives.
type Arg struct {
	Name    string
	Type    string   // text, int, float, bool, duration; "" is text
	Values  []string // the only ones that are allowed; none: any
	Pattern string   // that the whole text must match; "" is plain text that is no option
	Default string   // "": it must be given
}

// A Dump is what is known of one that was read to its end.
type Dump struct {
	SQLBytes int
	SHA256   string         // of the file
	Rows     map[string]int // by table with its schema
}

// A Conn is the machine. It is safe for concurrent use.
type Conn struct {
	config   Config
	patterns map[string]*regexp.Regexp // by command, a dot, and value
}

const (
	// defaultTimeout bounds a command without a time limit of its own.
	defaultTimeout = time.Minute
	// plain is what a text may be unless its pattern says something else: an
	// option, a path upwards and a blank need to be allowed.
	plain = `[A-Za-z0-9_][A-Za-z0-9_.:@+=,%-]*`
	// maxValue bounds the length of a value.
	maxValue = 1000
)

var hole = regexp.MustCompile(`\{([a-z][a-z0-9_-]*)\}`)

// Open checks the configuration. The error is of kind Invalid.
func Open(c Config) (*Conn, error) {
	conn := &Conn{config: c, patterns: map[string]*regexp.Regexp{}}
	for _, name := range slices.Sorted(maps.Keys(c.Commands)) {
		cmd := c.Commands[name]
		if len(cmd.Argv) == 0 || cmd.Argv[0] == "" || hole.MatchString(cmd.Argv[0]) {
			return nil, fault.New(fault.Invalid, "The command %s needs an argv that begins with its program.", name)
		}
		known := map[string]bool{}
		for _, a := range cmd.Args {
			re, err := regexp.Compile(`^(?:` + orPlain(a.Pattern) + `)$`)
			if err != nil {
				return nil, fault.New(fault.Invalid, "The pattern of %s of the command %s is no regular expression.", a.Name, name).Because(err)
			}
			known[a.Name], conn.patterns[name+"."+a.Name] = true, re
			if a.Default != "" {
				if err := conn.fits(name, a, a.Default); err != nil {
					return nil, err
				}
			}
		}
		for _, word := range cmd.Argv {
			for _, m := range hole.FindAllStringSubmatch(word, -1) {
				if !known[m[1]] {
					return nil, fault.New(fault.Invalid, "The command %s uses {%s}, and has no value of that name in its args.", name, m[1])
				}
			}
		}
	}
	for name, glob := range c.Files {
		if _, err := filepath.Match(glob, ""); err != nil || !filepath.IsAbs(glob) || strings.ContainsAny(filepath.Dir(glob), `*?[`) {
			return nil, fault.New(fault.Invalid, "The files %s need a whole path with * in its last part only, such as /var/backups/bot_*.sql.gz.", name)
		}
	}
	return conn, nil
}

func orPlain(pattern string) string {
	if pattern == "" {
		return plain
	}
	return pattern
}

// fits checks a value.
func (c *Conn) fits(command string, a Arg, value string) error {
	wrong := func(must string) error {
		return fault.New(fault.Invalid, "%s of the command %s %s, and %q is not.", a.Name, command, must, clip(value))
	}
	var err error
	switch a.Type {
	case "int":
		_, err = strconv.ParseInt(value, 10, 64)
	case "float":
		_, err = strconv.ParseFloat(value, 64)
	case "bool":
		_, err = strconv.ParseBool(value)
	case "duration":
		_, err = time.ParseDuration(value)
	}
	switch {
	case err != nil:
		return wrong("must be a value of type " + a.Type)
	case len(value) > maxValue || strings.ContainsRune(value, 0):
		return wrong("must be a short text")
	case len(a.Values) > 0 && !slices.Contains(a.Values, value):
		return wrong("must be one of " + strings.Join(a.Values, ", "))
	case len(a.Values) == 0 && (a.Type == "" || a.Type == "text" || a.Pattern != "") && !c.patterns[command+"."+a.Name].MatchString(value):
		return wrong("must match " + orPlain(a.Pattern))
	}
	return nil
}

// clip cuts a text to something that fits in a sentence.
func clip(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if r := []rune(text); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return text
}

// Identity names the machine: an approval does not hold on another one.
func (c *Conn) Identity(context.Context) (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.New(fault.Unavailable, "This machine does not know its name.").Because(err)
	}
	if id, err := os.ReadFile("/etc/machine-id"); err == nil {
		id := strings.TrimSpace(string(id))
		if _, err := hex.DecodeString(id); err == nil && len(id) >= 12 {
			name += " " + id[:12]
		}
	}
	return name, nil
}

// Address names the machine: "host prod-ops-1".
func (c *Conn) Address() string {
	name, err := os.Hostname()
	if err != nil {
		return "host"
	}
	return "host " + name
}

// Close has nothing to end.
func (c *Conn) Close() error { return nil }

// Examine implements runbooks.Examiner: it looks for the programs, the
// variables and the files.
func (c *Conn) Examine(context.Context) ([]runbooks.Finding, error) {
	var found []runbooks.Finding
	for _, name := range slices.Sorted(maps.Keys(c.config.Commands)) {
		cmd := c.config.Commands[name]
		f := runbooks.Finding{Name: "command " + name}
		path, err := exec.LookPath(cmd.Argv[0])
		missing := slices.DeleteFunc(slices.Clone(cmd.Env), func(v string) bool { _, set := os.LookupEnv(v); return set })
		switch {
		case err != nil:
			f.Bad, f.Says = true, "this machine has no "+cmd.Argv[0]
		case len(missing) > 0:
			f.Bad, f.Says = true, "not set for opsbot: "+strings.Join(missing, ", ")
		default:
			f.Says = path
		}
		found = append(found, f)
	}
	for _, name := range slices.Sorted(maps.Keys(c.config.Files)) {
		f := runbooks.Finding{Name: "files " + name}
		newest, n, err := c.newest(name)
		if f.Bad = err != nil; f.Bad {
			f.Says = fault.Say(err)
		} else {
			f.Says = fmt.Sprintf("%d, the newest is %s", n, newest.path)
		}
		found = append(found, f)
	}
	return found, nil
}

// connOf returns the connection that a call is aimed at.
func connOf(call runbooks.Call) (*Conn, error) {
	c, ok := call.Target.Conn.(*Conn)
	if !ok {
		return nil, fmt.Errorf("target %s of step %s is a %T, not this machine", call.Target.Name, call.Step, call.Target.Conn)
	}
	return c, nil
}

// both returns the connection and the decoded arguments of a call.
func both[T any](call runbooks.Call) (*Conn, *T, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, nil, err
	}
	args, ok := call.Args.(*T)
	if !ok {
		return nil, nil, fmt.Errorf("arguments of step %s are a %T", call.Step, call.Args)
	}
	return c, args, nil
}
