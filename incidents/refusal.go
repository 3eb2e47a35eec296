package incidents

import (
	"fmt"
	"strconv"
	"strings"

	"opsbot/internal/fault"
)

// A Refusal says why something cannot be done now, and what is missing, each
// with a way to mend it. It can be said as a *fault.Error.
type Refusal struct {
	Kind    fault.Kind // Conflict unless set
	Message string
	Missing []Missing
}

// A Missing is one thing that a Refusal waits for.
type Missing struct {
	What  string // a sentence
	Fix   string // the command that provides it, without its first word
	Label string // of a button that gives the command
}

func refuse(format string, args ...any) *Refusal {
	return &Refusal{Kind: fault.Conflict, Message: fmt.Sprintf(format, args...)}
}

func forbid(format string, args ...any) *Refusal {
	return &Refusal{Kind: fault.Forbidden, Message: fmt.Sprintf(format, args...)}
}

func (r *Refusal) lack(what, fix, label string) *Refusal {
	r.Missing = append(r.Missing, Missing{what, fix, label})
	return r
}

func (r *Refusal) Error() string {
	parts := []string{r.Message}
	for _, m := range r.Missing {
		parts = append(parts, m.What)
	}
	return strings.Join(parts, " ")
}

// As lets the refusal be said as a *fault.Error.
func (r *Refusal) As(target any) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = fault.New(r.Kind, "%s", r.Error())
	}
	return ok
}

func itoa(n int) string { return strconv.Itoa(n) }
