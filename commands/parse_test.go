package commands_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opsbot/commands"
	"opsbot/internal/fault"
)

func TestParse(t *testing.T) {
	t.Parallel()
	type params = map[string]string
	for line, want := range map[string]commands.Command{
		"runbook":                                           {},
		" Runbook  list ":                                   {},
		"runbook help":                                      {Verb: "help"},
		"runbook HELP":                                      {Verb: "help"},
		"runbook cache-fix":                                 {Verb: "run", Runbook: "cache-fix"},
		"runbook run cache-fix":                             {Verb: "run", Runbook: "cache-fix"},
		"runbook run status":                                {Verb: "run", Runbook: "status"},
		"runbook x env=demo":                                {Verb: "run", Runbook: "x", Environment: "demo"},
		"runbook x --env demo":                              {Verb: "run", Runbook: "x", Environment: "demo"},
		"runbook x --env=demo --dry-run":                    {Verb: "run", Runbook: "x", Environment: "demo", DryRun: true},
		"runbook --dry-run x":                               {Verb: "run", Runbook: "x", DryRun: true},
		"runbook x —dry-run":                                {Verb: "run", Runbook: "x", DryRun: true},
		"runbook x a=1 b=":                                  {Verb: "run", Runbook: "x", Params: params{"a": "1", "b": ""}},
		`runbook x note="two words" b="="`:                  {Verb: "run", Runbook: "x", Params: params{"note": "two words", "b": "="}},
		`runbook x note=“two words”`:                        {Verb: "run", Runbook: "x", Params: params{"note": "two words"}},
		`runbook x note='it is'`:                            {Verb: "run", Runbook: "x", Params: params{"note": "it is"}},
		`runbook x note=don't`:                              {Verb: "run", Runbook: "x", Params: params{"note": "don't"}},
		`runbook x q="a \"b\" \\ c"`:                        {Verb: "run", Runbook: "x", Params: params{"q": `a "b" \ c`}},
		`runbook x q=a\b`:                                   {Verb: "run", Runbook: "x", Params: params{"q": `a\b`}},
		`runbook x q="--dry-run"`:                           {Verb: "run", Runbook: "x", Params: params{"q": "--dry-run"}},
		"runbook x url=http://a/?b=c":                       {Verb: "run", Runbook: "x", Params: params{"url": "http://a/?b=c"}},
		"runbook x\ta=1\nb=2":                               {Verb: "run", Runbook: "x", Params: params{"a": "1", "b": "2"}},
		"runbook show cache-fix":                            {Verb: "show", Runbook: "cache-fix"},
		"runbook history":                                   {Verb: "history"},
		"runbook history cache-fix":                         {Verb: "history", Runbook: "cache-fix"},
		"runbook status":                                    {Verb: "status"},
		"runbook status R12":                                {Verb: "status", Run: "R12"},
		"runbook stop 12":                                   {Verb: "stop", Run: "12"},
		"runbook stop R12 wrong cluster":                    {Verb: "stop", Run: "R12", Why: "wrong cluster"},
		"runbook stop R12 don't, it's bad":                  {Verb: "stop", Run: "R12", Why: "don't, it's bad"},
		`runbook stop R12 "wrong cluster"`:                  {Verb: "stop", Run: "R12", Why: "wrong cluster"},
		`runbook stop R12 "a" and "b"`:                      {Verb: "stop", Run: "R12", Why: `"a" and "b"`},
		"runbook skip R12 warm not needed":                  {Verb: "skip", Run: "R12", Step: "warm", Why: "not needed"},
		"runbook retry R12 warm":                            {Verb: "retry", Run: "R12", Step: "warm"},
		"runbook stop 0190f3c2-7a1b-7c3d-9e4f-5a6b7c8d9e0f": {Verb: "stop", Run: "0190f3c2-7a1b-7c3d-9e4f-5a6b7c8d9e0f"},
		"runbook locks":                                     {Verb: "locks"},
		"runbook schedule":                                  {Verb: "schedule"},
		"runbook deployments":                               {Verb: "deployments"},
		"runbook deployments api":                           {Verb: "deployments", Service: "api"},
		"runbook deployments env=prod api":                  {Verb: "deployments", Service: "api", Environment: "prod"},
	} {
		got, err := commands.Parse(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", line, diff)
		}
		if again, err := commands.Parse(got.Line()); err != nil || !cmp.Equal(again, got) {
			t.Errorf("%q is written as %q, which reads %+v, %v", line, got.Line(), again, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                                       "What shall opsbot do? Commands begin with runbook; runbook help lists them.",
		"deploy":                                 `"deploy" is nothing that opsbot knows. Commands begin with runbook; runbook help lists them.`,
		"runbok cache-fix":                       `"runbok" is nothing that opsbot knows. Did you mean runbook cache-fix?`,
		"status R12":                             `"status" is nothing that opsbot knows. Did you mean runbook status R12?`,
		"incident declare DB down":               `"incident" is nothing that opsbot knows. Commands begin with runbook; runbook help lists them.`,
		"runbook run":                            "Which runbook? Type its name after run.",
		"runbook run env=demo":                   "Which runbook? Type its name after run.",
		"runbook show":                           "Which runbook? Type its name after show.",
		"runbook show a b":                       `"b" is one word too many after show.`,
		"runbook help me":                        `"me" is one word too many after help.`,
		"runbook list all":                       `"all" is one word too many after list.`,
		"runbook stop":                           "Which run? Type its number after stop, such as R12.",
		"runbook stop cache-fix":                 `"cache-fix" is no run. Runs are called R and a number, such as R12.`,
		"runbook stop R1234567890":               `"R1234567890" is no run. Runs are called R and a number, such as R12.`,
		"runbook skip R12":                       "Which step? Type its id after skip R12.",
		"runbook status R12 please":              `"please" is one word too many after status.`,
		"runbook x --dryrun":                     "There is no flag --dryrun. Did you mean --dry-run?",
		"runbook x --force":                      "There is no flag --force. There are --dry-run and --env NAME; parameters are written key=value.",
		"runbook x --env":                        "There is no flag --env. There are --dry-run and --env NAME; parameters are written key=value.",
		"runbook x env=":                         "env= needs the name of an environment.",
		"runbook x env=a env=b":                  "There are two environments, a and b; a run has one.",
		"runbook x a=1 a=2":                      "a is given twice.",
		`runbook x a="b c`:                       `The quote at "\"b c"… is never closed.`,
		"runbook x y":                            `"y" means nothing here. Parameters are written key=value, with quotes around a value that has spaces: note="two words".`,
		"runbook x \xff":                         "That is not readable text (no valid UTF-8).",
		"runbook x " + strings.Repeat("y", 1000): "That is 1010 characters; a command has at most 1000.",
		"runbook x" + strings.Repeat(" a=1", 80): "That is 81 words; a command has at most 60.",
		"runbook stop R12\x00 why, and \u202e again": "",
	} {
		_, err := commands.Parse(line)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
			continue
		}
		if got := fault.Say(err); got != want || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%.40q:\n got %s\nwant %s", line, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`runbook run cache-fix env=demo --dry-run note="a \"b\" c" x='y z'`)
	f.Add("runbook skip R12 warm because it's “done”")
	f.Add("runbook — – =")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := commands.Parse(line)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %q: %v", fault.KindOf(err), err)
			}
			return
		}
		if len(c.Line()) > 2*len(line)+40 {
			return // quoting may take it over the limit
		}
		again, err := commands.Parse(c.Line())
		if err != nil && len([]rune(c.Line())) > 1000 {
			return
		}
		if err != nil || !cmp.Equal(again, c) {
			t.Errorf("%q reads %+v and is written as %q, which reads %+v, %v", line, c, c.Line(), again, err)
		}
	})
}
