package runbooks

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"opsbot/internal/fault"
)

// A Problem is one thing that is wrong with a runbook's file, at its exact place.
type Problem struct {
	File    string // as given to Parse
	Pos     Pos    // zero: the file as a whole
	Code    string // RB101 and so on; see docs/runbook-format.md
	Warning bool   // the runbook can be used all the same
	Message string
	Hint    string // what to do about it; may be empty
}

// String formats p as "file:line:col: CODE message (hint)".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Pos.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Pos.Line, p.Pos.Col)
	}
	b.WriteString(": " + p.Code + " ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems are in order of file and position.
type Problems []Problem

// Err returns nil if there are only warnings, else an error of kind Invalid
// that names the first problem and counts the others.
func (ps Problems) Err() error {
	var first *Problem
	others := 0
	for i := range ps {
		switch {
		case ps[i].Warning:
		case first == nil:
			first = &ps[i]
		default:
			others++
		}
	}
	if first == nil {
		return nil
	}
	err := fault.New(fault.Invalid, "%s", first.String())
	if others > 0 {
		return err.Hinted("There are %d more problems; `opsbot lint` lists them.", others)
	}
	return err
}

// Errors counts the problems that are not warnings.
func (ps Problems) Errors() int {
	n := 0
	for _, p := range ps {
		if !p.Warning {
			n++
		}
	}
	return n
}

func (ps Problems) sort() {
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Pos != b.Pos {
			return a.Pos.Line < b.Pos.Line || a.Pos.Line == b.Pos.Line && a.Pos.Col < b.Pos.Col
		}
		return a.Code < b.Code
	})
}

// WriteText writes one problem per line, as Problem.String gives it.
func (ps Problems) WriteText(w io.Writer) error {
	for _, p := range ps {
		if _, err := fmt.Fprintln(w, p.String()); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes an array with one object per problem: file, line, column,
// code, severity (error or warning), message and hint.
func (ps Problems) WriteJSON(w io.Writer) error {
	type row struct {
		File     string `json:"file"`
		Line     int    `json:"line,omitempty"`
		Column   int    `json:"column,omitempty"`
		Code     string `json:"code"`
		Severity string `json:"severity"`
		Message  string `json:"message"`
		Hint     string `json:"hint,omitempty"`
	}
	rows := make([]row, len(ps))
	for i, p := range ps {
		rows[i] = row{p.File, p.Pos.Line, p.Pos.Col, p.Code, p.severity(), p.Message, p.Hint}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}

// WriteGitHub writes workflow commands that GitHub shows as annotations. The
// escapes are those of the Actions toolkit: "%", line breaks, and in
// properties ":" and "," too.
func (ps Problems) WriteGitHub(w io.Writer) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, p := range ps {
		message := p.Message
		if p.Hint != "" {
			message += " (" + p.Hint + ")"
		}
		place := "file=" + property.Replace(p.File)
		if p.Pos.Line > 0 {
			place += fmt.Sprintf(",line=%d,col=%d", p.Pos.Line, p.Pos.Col)
		}
		if _, err := fmt.Fprintf(w, "::%s %s,title=%s::%s\n", p.severity(), place, p.Code, data.Replace(message)); err != nil {
			return err
		}
	}
	return nil
}

func (p Problem) severity() string {
	if p.Warning {
		return "warning"
	}
	return "error"
}
