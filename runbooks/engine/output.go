package engine

import (
	"fmt"
	"strings"

	"opsbot/internal/outbox"
	"opsbot/runbooks"
)

// showLines is how much of an output Slack gets to see at once, where the
// runbook does not say.
const showLines = 10

// output shows what an attempt wrote, in the run's thread: the lines that the
// step wants shown, with all of it in a file where that is more. Where the step
// says nothing, one line is no news, since the card has it, and neither are a
// watch's polls and a loop's elements.
func (r *Run) output(step *runbooks.Step, a *Attempt) *outbox.Notice {
	text := strings.Trim(a.Output, "\n")
	wanted := step.Show.Lines > 0
	if text == "" || !wanted && (!strings.Contains(text, "\n") || step.Watch != nil || a.Purpose != ForStep) {
		return nil
	}
	line := outbox.Line{Text: fmt.Sprintf("Output of %s.", name(step)), Code: text, Lines: showLines, Tail: step.Show.From == "end"}
	if wanted {
		line.Lines = step.Show.Lines
	}
	if a.Item > 0 {
		line.Text = fmt.Sprintf("Output of %s, element %d.", name(step), a.Item)
	}
	n := r.line(line)
	return &n
}
