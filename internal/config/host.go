package config

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A CommandArg is a value that a runbook gives a Command.
type CommandArg struct {
	Name    string   `yaml:"name"`
	Type    string   `yaml:"type"`    // text, int, float, bool, duration; "" is text
	Values  []string `yaml:"values"`  // the only ones that are allowed; none: any
	Pattern string   `yaml:"pattern"` // that the whole text must match; "" is plain text that is no option
	Default string   `yaml:"default"` // "": it must be given
}

var (
	argTypes = []string{"", "text", "int", "float", "bool", "duration"}
	holeRule = regexp.MustCompile(`\{([a-z][a-z0-9_-]*)\}`)
)

// checkHost looks at what belongs to this machine alone.
func checkHost(c Connection, path string, bad func(path, format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(c.Commands)) {
		cmd, key := c.Commands[name], path+".commands."+name
		if !nameRule.MatchString(name) {
			bad(key, "the command's name %q must be lower case letters, digits, - and _", name)
		}
		if len(cmd.Argv) == 0 {
			bad(key, "the command %q needs an argv", name)
		}
		if !slices.Contains(effects, cmd.Effect) {
			bad(key, "the effect of %q is read, change or destructive, not %q", name, cmd.Effect)
		}
		known := map[string]bool{}
		for _, a := range cmd.Args {
			known[a.Name] = true
			_, err := regexp.Compile(a.Pattern)
			switch {
			case !nameRule.MatchString(a.Name):
				bad(key, "a value of the command %q needs a name", name)
			case !slices.Contains(argTypes, a.Type):
				bad(key, "%s of the command %q is text, int, float, bool or duration, not %q", a.Name, name, a.Type)
			case err != nil:
				bad(key, "the pattern of %s of the command %q is no regular expression", a.Name, name)
			}
		}
		for _, word := range cmd.Argv {
			for _, m := range holeRule.FindAllStringSubmatch(word, -1) {
				if !known[m[1]] {
					bad(key, "the command %q uses {%s}, and has no value of that name in its args", name, m[1])
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		glob, key := c.Files[name], path+".files."+name
		if !nameRule.MatchString(name) {
			bad(key, "the name %q of files must be lower case letters, digits, - and _", name)
		}
		if _, err := filepath.Match(glob, ""); err != nil || strings.ContainsAny(filepath.Dir(glob), "*?[") {
			bad(key, "files are a path with * in its last part only, such as /var/backups/bot_*.sql.gz")
		}
	}
}
