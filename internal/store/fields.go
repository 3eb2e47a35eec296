package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A field binds a variable to a column both ways: value is what is written,
// Scan takes what was read. Values are comparable, so that a row is written
// only when one of its values changed.
type field interface {
	value() (any, error)
	Scan(src any) error
}

type textField[T ~string] struct{ p *T }

// text binds a string. PostgreSQL takes neither NUL nor broken UTF-8 in TEXT;
// both become U+FFFD, on SQLite too.
func text[T ~string](p *T) field { return textField[T]{p} }

func (f textField[T]) value() (any, error) { return clean(string(*f.p)), nil }

func (f textField[T]) Scan(src any) error {
	switch v := src.(type) {
	case string:
		*f.p = T(v)
	case []byte:
		*f.p = T(v)
	default:
		return fmt.Errorf("store: %T in a text column", src)
	}
	return nil
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

type intField[T ~int | ~int64] struct{ p *T }

func number[T ~int | ~int64](p *T) field { return intField[T]{p} }

func (f intField[T]) value() (any, error) { return int64(*f.p), nil }

func (f intField[T]) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("store: %T in a number column", src)
	}
	*f.p = T(v)
	return nil
}

type boolField struct{ p *bool }

func flag(p *bool) field { return boolField{p} }

func (f boolField) value() (any, error) { return *f.p, nil }

func (f boolField) Scan(src any) error {
	switch v := src.(type) {
	case bool:
		*f.p = v
	case int64:
		*f.p = v != 0
	default:
		return fmt.Errorf("store: %T in a flag column", src)
	}
	return nil
}

type timeField struct{ p *time.Time }

// instant binds a time, which it cuts to milliseconds in UTC.
func instant(p *time.Time) field { return timeField{p} }

func (f timeField) value() (any, error) { return millis(*f.p), nil }

func (f timeField) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("store: %T in a time column", src)
	}
	*f.p = moment(v)
	return nil
}

type jsonField struct{ p any }

// document binds anything with a JSON form. What encodes as null is ”.
func document(p any) field { return jsonField{p} }

func (f jsonField) value() (any, error) {
	data, err := json.Marshal(f.p)
	if err != nil {
		return nil, fmt.Errorf("store: encode %T: %w", f.p, err)
	}
	if string(data) == "null" {
		return "", nil
	}
	return clean(string(data)), nil
}

func (f jsonField) Scan(src any) error {
	data, err := bytesOf(src)
	if err != nil || len(data) == 0 {
		return err
	}
	if err := json.Unmarshal(data, f.p); err != nil {
		return fmt.Errorf("store: decode %T: %w", f.p, err)
	}
	return nil
}

type valuesField struct{ p *map[string]any }

// values binds a map of plain values. Integers come back as int, other
// numbers as float64: a count must not turn into 1e+06 by being stored.
func values(p *map[string]any) field { return valuesField{p} }

func (f valuesField) value() (any, error) { return jsonField{f.p}.value() }

func (f valuesField) Scan(src any) error {
	data, err := bytesOf(src)
	if err != nil || len(data) == 0 {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(f.p); err != nil {
		return fmt.Errorf("store: decode values: %w", err)
	}
	for k, v := range *f.p {
		(*f.p)[k] = plain(v)
	}
	return nil
}

func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n
		}
		n, err := v.Float64()
		if err != nil {
			return v.String() // out of a float's range: keep what was written
		}
		return n
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

func bytesOf(src any) ([]byte, error) {
	switch v := src.(type) {
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	}
	return nil, fmt.Errorf("store: %T in a JSON column", src)
}

// row evaluates fields for writing.
func row(fields []field) ([]any, error) {
	out := make([]any, len(fields))
	for i, f := range fields {
		v, err := f.value()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// dests are fields as Scan wants them.
func dests(fields []field, more ...any) []any {
	out := make([]any, 0, len(fields)+len(more))
	for _, f := range fields {
		out = append(out, f)
	}
	return append(out, more...)
}

// holders returns "$from, … , $from+n-1".
func holders(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	return b.String()
}

// assignments returns "a = $from, b = $from+1 …" for the comma-separated columns.
func assignments(columns string, from int) string {
	names := strings.Split(columns, ", ")
	for i, n := range names {
		names[i] = n + " = $" + strconv.Itoa(from+i)
	}
	return strings.Join(names, ", ")
}
