package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// A Secret fetches the value of a secret. It is asked each time that a step
// needs the value, so that a new one counts at once.
type Secret func(context.Context) (string, error)

// A veil knows the secrets that a step was given, and takes them out of
// whatever the step says: of its output, its result and its errors, and so of
// everything that is made of them.
type veil struct {
	versions map[string]string // by the secrets' names
	hidden   []string          // values in every form in which they may come back, the longest first
}

// hiddenText stands where a secret was.
const hiddenText = "•••"

// shortestSecret is how long a secret must be: a shorter one would be found
// everywhere, so it could not be kept out of what is shown.
const shortestSecret = 4

// secretOf fetches the value of one of the environment's secrets for a step.
func (w *worker) secretOf(v *veil, name string) (string, error) {
	fetch, ok := w.env.Secrets[name]
	if !ok {
		return "", fault.New(fault.NotFound, "%s has no secret %q", w.env.Name, name)
	}
	value, err := fetch(w.ctx)
	if err != nil {
		return "", err
	}
	if len(value) < shortestSecret {
		return "", fault.New(fault.Invalid, "the secret %q of %s is shorter than %d characters, so it could not be kept out of what is shown", name, w.env.Name, shortestSecret)
	}
	if v.versions == nil {
		v.versions = make(map[string]string)
	}
	v.versions[name] = secretVersion(name, value)
	v.add(value)
	return value, nil
}

// secretVersion tells one value of a secret from another. It has 16 bits: enough
// to notice that a secret was changed after an approval, too few to find out
// what it is from a digest that people see.
func secretVersion(name, value string) string {
	sum := sha256.Sum256([]byte(name + "\x00" + value))
	return hex.EncodeToString(sum[:2])
}

// add hides a text from now on: a secret, or what an argument made of one. A
// text of several lines may come back line by line.
func (v *veil) add(text string) {
	for _, one := range append(strings.Split(text, "\n"), text) {
		for _, form := range forms(strings.TrimSpace(one)) {
			if len(form) >= shortestSecret && !slices.Contains(v.hidden, form) {
				v.hidden = append(v.hidden, form)
			}
		}
	}
	slices.SortStableFunc(v.hidden, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// forms are the ways in which programs write a text.
func forms(text string) []string {
	quoted := strconv.Quote(text)
	list := []string{
		text, quoted[1 : len(quoted)-1], url.QueryEscape(text), url.PathEscape(text),
		strings.ReplaceAll(text, "'", `'\''`), // a word of a shell
	}
	for _, html := range []bool{false, true} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(text) == nil {
			list = append(list, strings.Trim(strings.TrimSuffix(b.String(), "\n"), `"`))
		}
	}
	return list
}

// text takes the secrets out of a text.
func (v *veil) text(text string) string {
	for _, value := range v.hidden {
		text = strings.ReplaceAll(text, value, hiddenText)
	}
	return text
}

// texts takes the secrets out of texts.
func (v *veil) texts(list []string) []string {
	for i := range list {
		list[i] = v.text(list[i])
	}
	return list
}

// json takes the secrets out of the texts in a JSON value.
func (v *veil) json(data []byte) ([]byte, error) {
	if len(v.hidden) == 0 {
		return data, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a count stays what it is
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(v.value(value))
}

func (v *veil) value(value any) any {
	switch value := value.(type) {
	case string:
		return v.text(value)
	case []any:
		for i := range value {
			value[i] = v.value(value[i])
		}
	case map[string]any:
		out := make(map[string]any, len(value))
		for k, x := range value {
			out[v.text(k)] = v.value(x)
		}
		return out
	}
	return value
}

// error takes the secrets out of an error, for people and for the log. It is
// the same error for errors.Is.
func (v *veil) error(err error) error {
	if err == nil || len(v.hidden) == 0 {
		return err
	}
	cause := veiled{err, v.text(err.Error())}
	var f *fault.Error
	if !errors.As(err, &f) {
		return cause
	}
	return &fault.Error{Kind: f.Kind, Message: v.text(f.Message), Hint: v.text(f.Hint), Err: cause}
}

// A veiled error is one whose text was changed.
type veiled struct {
	err  error
	text string
}

func (e veiled) Error() string { return e.text }

func (e veiled) Unwrap() error { return e.err }

// configured refuses a run that would come to a secret which the environment
// does not have.
func configured(rb *runbooks.Runbook, env *Environment) error {
	for _, step := range slices.Concat(rb.Steps, rb.Rollback, rb.Cleanup) {
		for _, v := range step.With {
			for _, name := range v.Secrets() {
				if _, ok := env.Secrets[name]; !ok {
					return fault.New(fault.Conflict, "%s cannot run on %s: its step %s needs the secret %q, which is not configured there.", rb.Slug, env.Name, step.ID, name).
						Hinted("Name it under secrets in opsbot.yaml, and restart opsbot.")
				}
			}
		}
	}
	return nil
}
