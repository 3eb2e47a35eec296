package runbooks

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// helperFunctions are our own functions, and hidden ones that the compiler
// puts in.
var helperFunctions = map[string]*builtin.Function{
	"ratio":  {Name: "ratio", Func: ratio},
	"series": {Name: "series", Func: series},
	"grep":   {Name: "grep", Func: grep},
	"bytes": {Name: "bytes", Func: func(a ...any) (any, error) {
		return parseBytes(a[0].(string))
	}},
	"pct":      {Name: "pct", Func: pct},
	"measured": {Name: "measured", Func: measured},
	"size":     {Name: "size", Func: size},
	"join":     {Name: "join", Func: joinTexts},
	"ok":       {Name: "ok", Func: statusFunction(func(s StepScope, is bool) any { return is && (s.Status == Pass || s.Status == Warn) })},
	"ran":      {Name: "ran", Func: statusFunction(func(s StepScope, is bool) any { return is && s.Status != Skipped })},
	"mark":     {Name: "mark", Func: statusFunction(mark)},
	"secret":   {Name: "secret", Func: secretValue},

	"earlier": {Name: "earlier", Func: earlierValue},

	needFunction:    {Name: needFunction, Func: need},
	plusFunction:    {Name: plusFunction, Func: plus},
	capFunction:     {Name: capFunction, Func: capped},
	measureFunction: {Name: measureFunction, Func: func(a ...any) (any, error) { return a[1], measure(a[0], a[1]) }},
}

// need returns its operand if there is data.
func need(a ...any) (any, error) {
	switch v := a[0].(type) {
	case nil:
		return nil, ErrNoData
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, ErrNoData
		}
	}
	return a[0], nil
}

// plus adds, and measures the text that comes of it.
func plus(a ...any) (any, error) {
	sum := runtime.Add(a[1], a[2])
	return sum, measure(a[0], sum)
}

// capped refuses a list that is longer than any that an expression is given,
// and brings it into the form that all lists have.
func capped(a ...any) (any, error) {
	list := reflect.ValueOf(a[1])
	if list.Kind() != reflect.Slice {
		return a[1], nil
	}
	if list.Len() > maxList {
		return nil, fmt.Errorf("%s() gives a list of %d elements; a list may have at most %d", a[0], list.Len(), maxList)
	}
	out := make([]any, list.Len())
	for i := range out {
		out[i] = list.Index(i).Interface()
	}
	return out, nil
}

// measure counts what an evaluation has built, so that it stays bounded.
func measure(meter, v any) error {
	used := meter.(*int)
	switch v := v.(type) {
	case string:
		*used += len(v)
	case []any:
		*used += 16 * len(v)
	case []string:
		for _, s := range v {
			*used += 16 + len(s)
		}
	}
	if *used > maxBuiltText {
		return fmt.Errorf("it builds more than %d KiB of text", maxBuiltText>>10)
	}
	return nil
}

func ratio(a ...any) (any, error) {
	x, ok1 := numberOf(a[0])
	y, ok2 := numberOf(a[1])
	if !ok1 || !ok2 || y == 0 {
		return nil, nil
	}
	r := x / y
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return nil, nil
	}
	return r, nil
}

// series finds the value of the series whose label has the value.
func series(a ...any) (any, error) {
	r, _ := a[0].(map[string]any)
	list, _ := r["series"].([]any)
	for _, e := range list {
		one, _ := e.(map[string]any)
		labels, _ := one["labels"].(map[string]any)
		if labels[a[1].(string)] != a[2] {
			continue
		}
		if v, ok := numberOf(one["value"]); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, nil
		}
		return nil, nil
	}
	return nil, nil
}

// patterns caches compiled regular expressions. They are written out in files,
// so there are only so many; the cap guards a server that reloads for years.
var patterns = struct {
	sync.Mutex
	m map[string]*regexp.Regexp
}{m: map[string]*regexp.Regexp{}}

func compiledPattern(text string) (*regexp.Regexp, error) {
	patterns.Lock()
	defer patterns.Unlock()
	if re := patterns.m[text]; re != nil {
		return re, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	if len(patterns.m) >= 1000 {
		clear(patterns.m)
	}
	patterns.m[text] = re
	return re, nil
}

func grep(a ...any) (any, error) {
	re, err := compiledPattern(a[1].(string))
	if err != nil {
		return nil, err
	}
	found := []any{}
	list, _ := a[0].([]any)
	for _, e := range list {
		if line, ok := e.(string); ok && re.MatchString(line) {
			found = append(found, line)
		}
	}
	return found, nil
}

func pct(a ...any) (any, error) {
	v, ok := numberOf(a[0])
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return noData, nil
	}
	return strconv.FormatFloat(math.Round(v*1000)/10, 'f', -1, 64) + " %", nil
}

// noData stands for a number that is not there.
const noData = "no data"

// measured gives a number with its unit: a figure after the point below 10,
// none above.
func measured(a ...any) (any, error) {
	v, ok := numberOf(a[0])
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return noData, nil
	}
	return strings.TrimSpace(brief(v) + " " + a[1].(string)), nil
}

// size gives a number of bytes in the largest unit that it has one of.
func size(a ...any) (any, error) {
	v, ok := numberOf(a[0])
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return noData, nil
	}
	unit := 0
	for units := len(sizeUnits); math.Abs(v) >= 1024 && unit < units-1; unit++ {
		v /= 1024
	}
	return brief(v) + " " + sizeUnits[unit], nil
}

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB"}

func brief(v float64) string {
	if math.Abs(v) >= 10 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

func joinTexts(a ...any) (any, error) {
	list, _ := a[0].([]any)
	texts := make([]string, len(list))
	total := 0
	for i, e := range list {
		text, err := textOf(e)
		if err != nil {
			return nil, err
		}
		if total += len(text) + len(a[1].(string)); total > maxBuiltText {
			return nil, fmt.Errorf("it builds more than %d KiB of text", maxBuiltText>>10)
		}
		texts[i] = text
	}
	return strings.Join(texts, a[1].(string)), nil
}

func statusFunction(f func(StepScope, bool) any) func(...any) (any, error) {
	return func(a ...any) (any, error) {
		steps, _ := a[0].(map[string]StepScope)
		s, is := steps[a[1].(string)]
		return f(s, is), nil
	}
}

// mark draws a step's status. A warning went on and counts as passed; a step
// that the run never came to is drawn like a skipped one.
func mark(s StepScope, is bool) any {
	switch {
	case !is, s.Status == Skipped:
		return "–"
	case s.Status == Fail:
		return "✗"
	case s.Status == Unknown:
		return "?"
	}
	return "✓"
}

func secretValue(a ...any) (any, error) {
	get, _ := a[0].(func(string) (string, error))
	if get == nil {
		return nil, fmt.Errorf("secrets are not available here")
	}
	return get(a[1].(string))
}

func earlierValue(a ...any) (any, error) {
	get, _ := a[0].(func(step, name string) (any, error))
	if get == nil {
		return nil, fmt.Errorf("earlier runs are not known here")
	}
	return get(a[1].(string), a[2].(string))
}

var bytesText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$`)

// parseBytes reads a size: "512", "64kB" (1000s) or "1GiB" (1024s).
func parseBytes(text string) (int, error) {
	m := bytesText.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size such as 512MiB or 1GiB", clip(text))
	}
	unit := map[string]float64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[m[2]]
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*unit > 1<<62 {
		return 0, fmt.Errorf("%q is too large a size", clip(text))
	}
	return int(n * unit), nil
}

// textOf gives a value as text for people, as ${{ }} embeds it. No data is an
// error with ErrNoData in its chain.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", ErrNoData
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", ErrNoData
		}
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case time.Duration:
		return DurationText(v), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339), nil
	case []any:
		texts := make([]string, len(v))
		for i, e := range v {
			t, err := textOf(e)
			if err != nil {
				return "", err
			}
			texts[i] = t
		}
		return strings.Join(texts, ", "), nil
	}
	return "", fmt.Errorf("a record can't be written as text: name one of its fields")
}

// DurationText writes a length of time as it stands in runbooks and commands,
// without the empty parts that time.Duration prints: 5m, not 5m0s. What is
// longer than a minute is given to the second, shorter ones to the millisecond.
func DurationText(d time.Duration) string {
	if d >= time.Minute {
		d = d.Round(time.Second)
	} else if d >= time.Second {
		d = d.Round(time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
