package commands

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

// The grammar:
//
//	line  = "runbook" [ verb … | ["run"] NAME { word } ]
//	word  = "env=" E | "--dry-run" | key "=" value
//	value = bare | '"' { any | '\' any } '"'
//
//	runbook                     what there is, and what waits for me
//	runbook [run] NAME [env=E] [--dry-run] [key=value …]
//	runbook show NAME | status [RUN] | history [NAME]
//	runbook stop|pause|resume RUN [why] | skip|retry RUN STEP [why]
//	runbook deployments [SERVICE] [env=E]
//	runbook locks | schedule | help
//
// Verbs win over runbooks of the same name; the format reserves them. Phones
// turn quotes and dashes into typographic ones, so these are read as the plain
// ones.

// Bounds on what is typed. A line fits a form's memory even if each character
// in it must be escaped.
const (
	maxLine  = 1000 // characters
	maxWords = 60
)

// A Command is a parsed line.
type Command struct {
	Verb        string // of Verbs; "" is the overview
	Runbook     string // as typed: a slug or an alias
	Environment string // "": not said
	DryRun      bool
	Params      map[string]string
	Service     string // of deployments
	Run         string // "R12", a number, or an id
	Step        string
	Why         string
	Incident    string // id of the incident that a run belongs to; never typed
}

// The verbs after "runbook".
const (
	verbList     = ""
	verbRun      = "run"
	verbShow     = "show"
	verbStatus   = "status"
	verbHistory  = "history"
	verbStop     = "stop"
	verbPause    = "pause"
	verbResume   = "resume"
	verbSkip     = "skip"
	verbRetry    = "retry"
	verbLocks    = "locks"
	verbSchedule = "schedule"
	verbHelp     = "help"

	verbDeployments = "deployments"
)

// Verbs are the words that mean a command and no runbook.
var Verbs = []string{
	verbRun, verbShow, verbStatus, verbHistory, verbStop, verbPause, verbResume,
	verbSkip, verbRetry, verbLocks, verbSchedule, verbDeployments, verbHelp, "list",
}

// Noun is the first word of every line.
const Noun = "runbook"

var (
	runRef    = regexp.MustCompile(`^(?:[Rr]?[0-9]{1,9}|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27})$`)
	paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	plainer   = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "’", "'", "‘", "'", "\u00a0", " ")
)

// Parse reads a line. Its errors are *fault.Error of kind Invalid.
func Parse(line string) (Command, error) {
	var c Command
	if n := utf8.RuneCountInString(line); n > maxLine {
		return c, fault.New(fault.Invalid, "That is %d characters; a command has at most %d.", n, maxLine)
	}
	if !utf8.ValidString(line) {
		return c, fault.New(fault.Invalid, "That is not readable text (no valid UTF-8).")
	}
	line = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, plainer.Replace(line))

	noun, rest := word(line)
	if !strings.EqualFold(noun, Noun) {
		return c, unknownNoun(noun, rest)
	}
	verb, after := word(rest)
	switch v := strings.ToLower(verb); {
	case v == "" || v == "list":
		return c, nothingMore(&c, verbList, after)
	case !slices.Contains(Verbs, v):
		c.Verb = verbRun
		return c, parseRun(&c, rest)
	default:
		c.Verb = v
	}
	switch c.Verb {
	case verbRun:
		return c, parseRun(&c, after)
	case verbHelp, verbLocks, verbSchedule:
		return c, nothingMore(&c, c.Verb, after)
	case verbDeployments:
		return c, parseDeployments(&c, after)
	case verbShow, verbHistory:
		c.Runbook, after = word(after)
		if c.Runbook == "" && c.Verb == verbShow {
			return c, fault.New(fault.Invalid, "Which runbook? Type its name after show.")
		}
		return c, nothingMore(&c, c.Verb, after)
	}
	// The rest is about a run.
	c.Run, after = word(after)
	switch {
	case c.Run == "" && c.Verb == verbStatus:
		return c, nil
	case c.Run == "":
		return c, fault.New(fault.Invalid, "Which run? Type its number after %s, such as R12.", c.Verb)
	case !runRef.MatchString(c.Run):
		return c, fault.New(fault.Invalid, "%q is no run. Runs are called R and a number, such as R12.", c.Run)
	case c.Verb == verbStatus:
		return c, nothingMore(&c, c.Verb, after)
	case c.Verb == verbSkip || c.Verb == verbRetry:
		c.Step, after = word(after)
		if c.Step == "" {
			return c, fault.New(fault.Invalid, "Which step? Type its id after %s %s.", c.Verb, c.Run)
		}
	}
	c.Why = unquote(strings.TrimSpace(after))
	return c, nil
}

func nothingMore(c *Command, verb, rest string) error {
	c.Verb = verb
	if more, _ := word(rest); more != "" {
		if verb == "" {
			verb = "list"
		}
		return fault.New(fault.Invalid, "%q is one word too many after %s.", more, verb)
	}
	return nil
}

func unknownNoun(noun, rest string) error {
	e := fault.New(fault.Invalid, "%q is nothing that opsbot knows.", noun)
	if noun == "" {
		e = fault.New(fault.Invalid, "What shall opsbot do?")
	}
	verb, _ := word(rest)
	switch {
	case slices.Contains(Verbs, strings.ToLower(noun)):
		return e.Hinted("Did you mean %s %s?", Noun, strings.TrimSpace(noun+" "+rest))
	case runbooks.Nearest(noun, []string{Noun}) != "":
		return e.Hinted("Did you mean %s?", strings.TrimSpace(Noun+" "+verb))
	}
	return e.Hinted("Commands begin with %s; %s help lists them.", Noun, Noun)
}

// parseDeployments reads a service and an environment, neither of them needed.
func parseDeployments(c *Command, line string) error {
	for w, rest := word(line); w != ""; w, rest = word(rest) {
		env, is := strings.CutPrefix(w, ValueEnvironment+"=")
		switch {
		case is:
			if err := c.environment(env); err != nil {
				return err
			}
		case c.Service != "":
			return nothingMore(c, verbDeployments, w)
		case !serviceName.MatchString(w):
			return fault.New(fault.Invalid, "%q is no name of a service.", w)
		default:
			c.Service = w
		}
	}
	return nil
}

var serviceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)

// parseRun reads a name and the words after it.
func parseRun(c *Command, line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	for i := 0; i < len(words); i++ {
		w := words[i]
		flag, isFlag := w.flag()
		key, value, assigned := strings.Cut(w.text, "=")
		switch {
		case isFlag:
			name, value, valued := strings.Cut(flag, "=")
			switch {
			case name == "dry-run" && !valued:
				c.DryRun = true
			case name == "env" && valued:
				err = c.environment(value)
			case name == "env" && i+1 < len(words):
				i++
				err = c.environment(words[i].text)
			default:
				err = unknownFlag(name)
			}
		case assigned && !w.quoted(0) && paramName.MatchString(key):
			if key == ValueEnvironment {
				err = c.environment(value)
			} else if _, twice := c.Params[key]; twice {
				err = fault.New(fault.Invalid, "%s is given twice.", key)
			} else {
				if c.Params == nil {
					c.Params = map[string]string{}
				}
				c.Params[key] = value
			}
		case c.Runbook == "":
			c.Runbook = w.text
		default:
			err = fault.New(fault.Invalid, "%q means nothing here.", w.text).
				Hinted("Parameters are written key=value, with quotes around a value that has spaces: note=\"two words\".")
		}
		if err != nil {
			return err
		}
	}
	if c.Runbook == "" {
		return fault.New(fault.Invalid, "Which runbook? Type its name after run.")
	}
	return nil
}

func (c *Command) environment(name string) error {
	switch {
	case name == "":
		return fault.New(fault.Invalid, "env= needs the name of an environment.")
	case c.Environment != "" && c.Environment != name:
		return fault.New(fault.Invalid, "There are two environments, %s and %s; a run has one.", c.Environment, name)
	}
	c.Environment = name
	return nil
}

func unknownFlag(name string) error {
	e := fault.New(fault.Invalid, "There is no flag --%s.", name)
	if near := runbooks.Nearest(name, []string{"dry-run", "env"}); near != "" {
		return e.Hinted("Did you mean --%s?", near)
	}
	return e.Hinted("There are --dry-run and --env NAME; parameters are written key=value.")
}

// Line writes the command as it could be typed: Parse(c.Line()) is c again.
func (c Command) Line() string {
	words := []string{Noun}
	add := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	add(c.Verb)
	if c.Verb == verbRun {
		add(quote(c.Runbook))
	} else {
		add(c.Runbook)
		add(c.Service)
	}
	if c.Environment != "" {
		add("env=" + quote(c.Environment))
	}
	if c.DryRun {
		add("--dry-run")
	}
	for _, k := range slices.Sorted(maps.Keys(c.Params)) {
		add(k + "=" + quote(c.Params[k]))
	}
	add(c.Run)
	add(c.Step)
	add(c.Why)
	return strings.Join(words, " ")
}

// quote writes a value so that split gives it back.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \"\\'") && !strings.ContainsAny(s[:1], "-–—") && !strings.ContainsRune(s, '=') {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// unquote removes the quotes around s, if they are its only ones.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' && strings.Count(s, `"`) == 2 {
		return strings.TrimSpace(s[1 : len(s)-1])
	}
	return s
}

// word cuts the first word off, without looking at quotes.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " ")
	first, rest, _ = strings.Cut(s, " ")
	return first, rest
}

// A token is one word of a line, its quotes removed.
type token struct {
	text  string
	begin int // bytes of text before the first quote; len(text) and more: none
}

// quoted reports whether the byte at i was written behind a quote.
func (t token) quoted(i int) bool { return i >= t.begin }

// flag returns what follows "--", or a dash that a phone made of it.
func (t token) flag() (string, bool) {
	for _, dashes := range []string{"--", "—", "–"} {
		if rest, ok := strings.CutPrefix(t.text, dashes); ok && !t.quoted(0) {
			return rest, true
		}
	}
	return "", false
}

// split cuts a line into words. In double quotes, a backslash takes the next
// character as it is; single quotes are quotes at the start of a word or a
// value only, so that an apostrophe is none.
func split(line string) ([]token, error) {
	var words []token
	var b strings.Builder
	inside, from := rune(0), 0 // the quote that is open, and where
	begun, begin := false, -1
	escaped := false
	end := func() {
		if begun {
			t := token{text: b.String(), begin: begin}
			if begin < 0 {
				t.begin = len(t.text) + 1
			}
			words = append(words, t)
		}
		b.Reset()
		begun, begin = false, -1
	}
	for i, r := range line {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case inside == '"' && r == '\\':
			escaped = true
		case inside != 0 && r == inside:
			inside = 0
		case inside != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'' && (b.Len() == 0 || strings.HasSuffix(b.String(), "=")):
			inside, from, begun = r, i, true
			if begin < 0 {
				begin = b.Len()
			}
		case r == ' ':
			end()
		default:
			begun = true
			b.WriteRune(r)
		}
	}
	if inside != 0 {
		return nil, fault.New(fault.Invalid, "The quote at %.20q… is never closed.", line[from:])
	}
	end()
	if len(words) > maxWords {
		return nil, fault.New(fault.Invalid, "That is %d words; a command has at most %d.", len(words), maxWords)
	}
	return words, nil
}
