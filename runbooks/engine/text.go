package engine

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"opsbot/internal/access"
	"opsbot/runbooks"
)

// person is how people are told who it was.
func person(a access.Actor) string {
	switch {
	case a.Kind == access.Schedule && a.Name == "":
		return "the schedule " + a.ID
	case a.Name != "":
		return a.Name
	case a.ID != "":
		return a.ID
	}
	return "somebody"
}

var numbered = regexp.MustCompile(`^(\d+[a-z]?)[.)]\s+(.+)$`)

// name is how people are told which step: “4. Clear our keys” is
// step 4 (Clear our keys).
func name(step *runbooks.Step) string {
	if step == nil {
		return "a step"
	}
	if m := numbered.FindStringSubmatch(step.Title); m != nil {
		return fmt.Sprintf("step %s (%s)", m[1], m[2])
	}
	return fmt.Sprintf("the step “%s”", step.Title)
}

// bare is the step's title without its number.
func bare(step *runbooks.Step) string {
	if m := numbered.FindStringSubmatch(step.Title); m != nil {
		return m[2]
	}
	return step.Title
}

// sentence ends the text with a full stop, unless it ends with a mark already.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// lower begins the text in lower case, unless its first word is a name.
func lower(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	next, _ := utf8.DecodeRuneInString(s[n:])
	if n == 0 || unicode.IsUpper(next) || unicode.IsDigit(next) { // R12 is a name, too
		return s
	}
	return string(unicode.ToLower(r)) + s[n:]
}

// short writes a duration as people do: 90 s, 15 min, 2 h.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute || d < time.Hour && d%time.Minute != 0 && d < 10*time.Minute:
		if d >= 2*time.Minute {
			return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
		}
		return strconv.FormatFloat(math.Round(d.Seconds()*10)/10, 'f', -1, 64) + " s"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// number writes a number for people: 9,412 and 0.41.
func number(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		s := strconv.FormatFloat(math.Abs(f), 'f', 0, 64)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		if f < 0 {
			return "-" + s
		}
		return s
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// people counts: "1 reviewer", "2 reviewers".
func people(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// textOf is a value as it would be typed as a parameter.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = textOf(v[i])
		}
		return strings.Join(parts, ",")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// effectName is the effect as the format calls it.
func effectName(e runbooks.Effect) string {
	switch e {
	case runbooks.Change:
		return "change"
	case runbooks.Destructive:
		return "destructive"
	}
	return "read"
}

// plain is Markdown prose as one paragraph of plain text.
func plain(markdown string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("**", "", "`", "", "<!-- notes -->", "").Replace(markdown)), " ")
}

// found says in one line what an action found: in its own words, where its
// result has some, else by the columns that the step shows.
func found(step *runbooks.Step, value any) string {
	if value == nil {
		return ""
	}
	if own, ok := value.(interface{ Found() string }); ok {
		return own.Found()
	}
	rv := reflect.ValueOf(value)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	if rv.Kind() != reflect.Struct {
		return cellText(rv)
	}
	fields := make(map[string]reflect.Value)
	var order []string
	for i := range rv.NumField() {
		f := rv.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && key != "" && key != "-" {
			fields[key] = rv.Field(i)
			order = append(order, key)
		}
	}
	columns := step.Show.Columns
	if len(columns) == 0 {
		columns = order
	}
	var parts []string
	for _, key := range columns {
		f, ok := fields[key]
		if !ok {
			continue
		}
		if text := cellText(f); text != "" {
			parts = append(parts, strings.ReplaceAll(key, "_", " ")+" "+text)
		}
		if len(parts) == 6 {
			break
		}
	}
	return strings.Join(parts, ", ")
}

// cellText is one value for a line; "" for what does not fit into one.
func cellText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return short(rounded(d))
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "no data"
		}
		return cellText(v.Elem())
	case reflect.Bool:
		if v.Bool() {
			return "yes"
		}
		return "no"
	case reflect.String:
		text := strings.Join(strings.Fields(v.String()), " ")
		if utf8.RuneCountInString(text) > 80 {
			text = string([]rune(text)[:79]) + "…"
		}
		return text
	case reflect.Slice, reflect.Map:
		return number(float64(v.Len()))
	}
	switch {
	case v.CanInt():
		return number(float64(v.Int()))
	case v.CanFloat():
		return number(v.Float())
	}
	return ""
}
