package engine_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"opsbot/internal/outbox"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// An echo writes so many lines, which hold what it was told.
type echoArgs struct {
	Lines int    `arg:"lines" default:"1" help:"how many"`
	Word  string `arg:"word" default:"line" help:"what"`
}

func echo() runbooks.Action {
	return act{
		spec: runbooks.Spec{Name: "redis.echo", Summary: "Echo", Args: echoArgs{}, Result: lookResult{}},
		run: func(_ context.Context, w *world, args any, out io.Writer) (any, error) {
			a := args.(*echoArgs)
			for i := range a.Lines {
				fmt.Fprintf(out, "%s %d\n", a.Word, i+1)
			}
			w.set(func(w *world) { w.looked++ })
			return lookResult{Keys: a.Lines}, nil
		},
	}
}

// Slack gets a summary of what a step wrote, as the step wants it; all of it is
// kept, and goes along for the file.
func TestOutputInTheThread(t *testing.T) {
	t.Parallel()
	echoes := func(id, more string) string {
		return step(id, "id: "+id+"\ndo: redis.echo\ntarget: cache\n"+more)
	}
	b := newBench(t, doc("loud",
		echoes("one", "with: { lines: 1 }")+
			echoes("few", "with: { lines: 3 }")+
			echoes("many", "with: { lines: 500 }")+
			echoes("end", "with: { lines: 500 }\nshow: { lines: 4, from: end }")+
			echoes("watched", "with: { lines: 20 }\nwatch: { every: 1ms, for: 1m, until: n > 2 }")+
			echoes("asked", "with: { lines: 2 }\nwatch: { every: 1ms, for: 1m, until: n > 2 }\nshow: { lines: 1 }")+
			echoes("each", "each: { in: \"['a', 'b']\" }\nwith: { lines: 5, word: \"${{ item }}\" }")))
	b.serve()
	run := b.ended(b.start("loud"), engine.Succeeded)
	got := map[string]outbox.Line{}
	for _, c := range b.said() {
		if l, ok := c.(outbox.Line); ok && l.Code != "" {
			got[strings.TrimSuffix(strings.TrimPrefix(l.Text, "Output of the step “"), "”.")] = l
		}
	}
	want := map[string]outbox.Line{
		"few":   {Lines: 10},
		"many":  {Lines: 10},
		"end":   {Lines: 4, Tail: true},
		"asked": {Lines: 1},
	}
	for id, w := range want {
		g, ok := got[id]
		if !ok {
			t.Errorf("nothing was said of %s; of others: %v", id, got)
			continue
		}
		if g.Lines != w.Lines || g.Tail != w.Tail || g.Run != run.ID {
			t.Errorf("%s shows %d lines (tail: %v) of R%s", id, g.Lines, g.Tail, g.Run)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d outputs were shown, want %d", len(got), len(want))
	}
	if n := strings.Count(got["many"].Code, "\n") + 1; n != 500 {
		t.Errorf("the file has %d lines, want all 500", n)
	}
	for _, a := range run.Attempts {
		out, err := b.engine.Output(t.Context(), run.ID, a.Seq)
		if lines := strings.Count(out, "\n"); err != nil || a.Step == "many" && lines != 500 || a.Step == "watched" && lines != 60 {
			t.Errorf("%d lines of %s were kept, %v", lines, a.Step, err)
		}
	}
}

// What an action says of a secret that it was given is not passed on.
func TestSecretInAnOutput(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("hush", step("1. Echo", "id: echo\ndo: redis.echo\ntarget: cache\nwith: { lines: 2, word: \"${{ secret('token') }}\" }")))
	b.serve(func(o *engine.Options) {
		o.Environments[0].Secrets = secretsOf("token", "canary-4711")
	})
	r := b.ended(b.start("hush"), engine.Succeeded)
	out, err := b.engine.Output(t.Context(), r.ID, r.Attempts[0].Seq)
	if err != nil || out != "••• 1\n••• 2\n" {
		t.Errorf("Output() = %q, %v", out, err)
	}
	if said := fmt.Sprintf("%+v", b.said()); strings.Contains(said, "canary") || !strings.Contains(said, "••• 2") {
		t.Errorf("said %s", said)
	}
}
