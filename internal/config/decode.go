package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxSize is far above any real configuration and far below what could hurt.
const maxSize = 1 << 20

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	File      string
	Line, Col int // from 1; 0 when the problem has no place
	Message   string
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Message)
}

// Problems is everything that is wrong with a configuration, in file order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a configuration file and applies the environment: getenv is
// os.Getenv outside of tests. With an empty file name only the environment
// counts. It returns Problems when what it read is wrong.
func Load(file string, getenv func(string) string) (*Config, error) {
	cfg := &Config{}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if cfg, err = Decode(file, text); err != nil {
			return nil, err
		}
	}
	if err := cfg.override(getenv); err != nil {
		return nil, err
	}
	return cfg, nil
}

// Decode reads a configuration from text; file is its name for messages, and
// its folder is where relative paths start. It returns Problems.
func Decode(file string, text []byte) (*Config, error) {
	if len(text) > maxSize {
		return nil, Problems{{File: file, Message: fmt.Sprintf("the file has %d bytes; at most %d are read", len(text), maxSize)}}
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{problem(file, err)}
	}
	cfg := &Config{File: file}
	var found Problems
	switch {
	case len(tree.Docs) > 1:
		return nil, Problems{{File: file, Message: "there is more than one YAML document; put everything into one"}}
	case len(tree.Docs) == 1 && tree.Docs[0].Body != nil:
		body := tree.Docs[0].Body
		found = unknownKeys(file, body, reflect.TypeFor[Config](), "")
		if err := yaml.NodeToValue(body, cfg); err != nil {
			found = append(found, problem(file, err))
		} else {
			cfg.anchor(filepath.Dir(file))
			found = append(found, cfg.check(file, body)...)
		}
	}
	if len(found) > 0 {
		slices.SortStableFunc(found, func(a, b Problem) int { return a.Line - b.Line })
		return nil, found
	}
	return cfg, nil
}

// placed is an error that knows where it belongs.
type placed struct {
	node    ast.Node
	message string
}

func (p *placed) Error() string { return p.message }

func at(node ast.Node, format string, args ...any) error {
	return &placed{node, fmt.Sprintf(format, args...)}
}

// problem turns an error of the YAML library, or one of ours that came through
// it, into a Problem.
func problem(file string, err error) Problem {
	var own *placed
	if errors.As(err, &own) {
		pos := own.node.GetToken().Position
		return Problem{file, pos.Line, pos.Column, own.message}
	}
	var lib yaml.Error
	if errors.As(err, &lib) && lib.GetToken() != nil {
		pos := lib.GetToken().Position
		return Problem{file, pos.Line, pos.Column, lib.GetMessage()}
	}
	return Problem{File: file, Message: err.Error()}
}

// unknownKeys walks the document beside the type it is decoded into, so that
// every wrong key is named at once.
func unknownKeys(file string, node ast.Node, t reflect.Type, path string) Problems {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var found Problems
	for _, kv := range mapping.Values {
		key := strings.Trim(kv.Key.String(), `"'`)
		switch t.Kind() {
		case reflect.Map:
			found = append(found, unknownKeys(file, kv.Value, t.Elem(), path+key+".")...)
		case reflect.Struct:
			field, known := fieldOf(t, key)
			if !known {
				pos := kv.Key.GetToken().Position
				message := fmt.Sprintf("unknown key %q", path+key)
				if near := nearest(key, keysOf(t)); near != "" {
					message += fmt.Sprintf("; did you mean %q?", near)
				}
				found = append(found, Problem{file, pos.Line, pos.Column, message})
				continue
			}
			found = append(found, unknownKeys(file, kv.Value, field.Type, path+key+".")...)
		}
	}
	return found
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if k := t.Field(i).Tag.Get("yaml"); k != "-" && k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// nearest returns the name within two edits of word, "" when none is.
func nearest(word string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(word, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
