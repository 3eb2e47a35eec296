package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"opsbot/internal/outbox"
)

// This file is the terminal's look. The rules are:
//   - What a person reads goes to the error stream, unless it is the data asked for.
//   - A mark always stands with its word: colour and shape alone say nothing.
//   - A question ends in how to answer it, and the empty answer is always the safe one.

// errNoAnswer means that the input ended before a question was answered.
var errNoAnswer = errors.New("the input ended before the question was answered")

// marks are the words and signs for the state of a step.
var marks = map[string]string{
	"pending": "· waiting its turn", "running": "… running", "waiting": "◦ waits for people",
	"pass": "✓ pass", "warn": "! warn", "fail": "✗ fail", "unknown": "? no data",
	"skipped": "– skipped", "uncertain": "? uncertain",
}

// A console writes what changes in a run and asks its questions.
type console struct {
	out   io.Writer
	lines <-chan string // what is typed; closed at the end of the input
	shown map[string]string
}

func newConsole(in io.Reader, out io.Writer) *console {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(in)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	return &console{out: out, lines: lines, shown: map[string]string{}}
}

func (c *console) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// once says a text unless it was the last one said under the key.
func (c *console) once(key, text string) {
	if c.shown[key] != text {
		c.shown[key] = text
		c.say("%s", text)
	}
}

// card says what changed since the last card.
func (c *console) card(card outbox.RunCard) {
	title := fmt.Sprintf("R%d %s on %s", card.Number, card.Title, card.Environment)
	if card.DryRun {
		title += " (dry run: nothing is changed)"
	}
	c.once("title", title)
	for _, s := range card.Steps {
		if s.Mark == "pending" {
			continue
		}
		c.once("step "+s.ID, "  "+stepLine(s))
	}
}

func stepLine(s outbox.StepLine) string {
	line := fmt.Sprintf("%-18s %s", marks[s.Mark], s.Title)
	if s.Found != "" {
		line += ": " + s.Found
	}
	return line
}

// showAsk shows an open question, again whenever it has changed.
func (c *console) showAsk(a outbox.Ask) {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "    %-12s %s\n", label, strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 17)))
		}
	}
	fmt.Fprintf(&b, "\n  %s\n", a.Question)
	line("environment", a.Environment+map[bool]string{true: " (critical)"}[a.Critical])
	line("step", a.StepTitle)
	line("system", a.Target)
	for _, s := range a.Impact {
		line("would", s)
	}
	for _, s := range a.Reasons {
		line("because", s)
	}
	for _, f := range a.Arguments {
		line(f.Label, f.Value)
	}
	line("undo", a.Rollback)
	line("written in", a.Source)
	for _, item := range a.Items {
		fmt.Fprintf(&b, "    [ ] %s\n", item)
	}
	if a.Kind == "review" {
		line("asked of", strings.Join(append(append([]string{}, a.Groups...), a.Users...), ", "))
		line("approvals", fmt.Sprintf("%d of %d", approvals(a), a.Needed))
	}
	if !a.Expires.IsZero() {
		line("until", a.Expires.UTC().Format("15:04 UTC")+"; no answer means no")
	}
	if a.Digest != "" {
		line("digest", a.Digest[:min(12, len(a.Digest))])
	}
	c.once("ask "+a.Approval, strings.TrimRight(b.String(), "\n"))
}

func approvals(a outbox.Ask) (n int) {
	for _, v := range a.Votes {
		if v.Decision == "approve" {
			n++
		}
	}
	return n
}

// prompt asks one question and returns the line typed. It returns errNoAnswer
// at the end of the input and ctx's error when something else decided first.
func (c *console) prompt(ctx context.Context, question string) (string, error) {
	fmt.Fprintf(c.out, "%s ", question)
	select {
	case line, ok := <-c.lines:
		if !ok {
			fmt.Fprintln(c.out)
			return "", errNoAnswer
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		fmt.Fprintln(c.out)
		return "", context.Cause(ctx)
	}
}

// yes asks for a yes; anything else is no.
func (c *console) yes(ctx context.Context, question string) (bool, error) {
	line, err := c.prompt(ctx, question+" [y/N]")
	return err == nil && (strings.EqualFold(line, "y") || strings.EqualFold(line, "yes")), err
}

// choose lets a person pick one of the choices; the empty answer picks none.
func (c *console) choose(ctx context.Context, choices []outbox.Choice) (*outbox.Choice, error) {
	for i, ch := range choices {
		c.say("    %d  %s", i+1, ch.Label)
	}
	line, err := c.prompt(ctx, fmt.Sprintf("  Which? [1–%d, Enter to look again later]", len(choices)))
	if err != nil {
		return nil, err
	}
	for i, ch := range choices {
		if line == fmt.Sprint(i+1) || strings.EqualFold(line, ch.ID) {
			return &choices[i], nil
		}
	}
	return nil, nil
}
