package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"opsbot/internal/fault"
	"opsbot/runbooks/engine"
)

// secretsOf is the one secret of an environment.
func secretsOf(name, value string) map[string]engine.Secret {
	return map[string]engine.Secret{name: func(context.Context) (string, error) { return value, nil }}
}

// On record there is nothing of a secret, whatever the system gives back and
// whatever the runbook makes of that.
func TestSecretIsNowhereOnRecord(t *testing.T) {
	t.Parallel()
	const pem = "-----BEGIN KEY-----\nMIIEcanary0001\nMIIEcanary0002\n-----END KEY-----\n"
	for name, c := range map[string]struct{ value, argument string }{
		"as it is":   {"canary-4711", "${{ secret('token') }}"},
		"in a text":  {"canary-4711", "Bearer ${{ secret('token') }}!"},
		"changed":    {"canary-4711", "${{ upper(secret('token')) }}"},
		"a piece":    {"user:canary-4711", "${{ last(split(secret('token'), ':')) }}"},
		"with signs": {`canary"4711<&'\x`, "${{ secret('token') }}"},
		"in lines":   {pem, "${{ secret('token') }}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, doc("hush", step("1. Tweak", `
id: tweak
do: redis.tweak
target: cache
with: { to: "`+c.argument+`" }
expect: { that: "result.to == 'never'", say: "it is ${{ result.to }}", else: warn }
save: { kept: result.to, list: "split(result.to, '\\n')" }
`)+step("2. Tell", "do: notify\nwith: { to: thread, text: \"kept ${{ steps.tweak.kept }} and ${{ join(steps.tweak.list, '|') }}\" }")))
			var log bytes.Buffer
			b.serve(func(o *engine.Options) {
				o.Log = slog.New(slog.NewJSONHandler(&log, nil))
				o.Environments[0].Secrets = secretsOf("token", c.value)
			})
			run := b.start("hush")
			b.vote(b.asked(run, engine.Confirm), ann, "confirm")
			r := b.ended(run, engine.Succeeded)
			b.unheard(r, &log, "canary", "CANARY")
			if kept := fmt.Sprint(r.Attempts[0].Saved["kept"]); !strings.Contains(kept, "•••") {
				t.Errorf("kept %s", kept)
			}
		})
	}
}

// Errors, too, are told without the secret: to people and in the log.
func TestSecretInAnError(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"for people":  fault.New(fault.Conflict, "The server does not know canary-4711.").Hinted("Is canary-4711 right?"),
		"for the log": fmt.Errorf("dial tcp: %w", errors.New("GET /?key=canary-4711: refused")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, doc("hush", step("1. Tweak", "id: tweak\ndo: redis.tweak\ntarget: cache\nwith: { to: \"${{ secret('token') }}\" }")))
			b.world.tweak = func(int) error { return err }
			var log bytes.Buffer
			b.serve(func(o *engine.Options) {
				o.Log = slog.New(slog.NewJSONHandler(&log, nil))
				o.Environments[0].Secrets = secretsOf("token", "canary-4711")
			})
			run := b.start("hush")
			b.vote(b.asked(run, engine.Confirm), ann, "confirm")
			r := b.ended(run, engine.Failed)
			b.unheard(r, &log, "canary")
			if said := r.Attempts[0].Fault + log.String(); !strings.Contains(said, "•••") {
				t.Errorf("said %s", said)
			}
		})
	}
}

// unheard fails the test if one of the words is on record, was said or logged.
func (b *bench) unheard(r *engine.Run, log *bytes.Buffer, words ...string) {
	b.t.Helper()
	b.stop() // nobody logs any more
	heard := fmt.Sprintf("%+v", b.said()) + log.String()
	for _, a := range r.Attempts {
		out, err := b.engine.Output(b.t.Context(), r.ID, a.Seq)
		if err != nil {
			b.t.Fatal(err)
		}
		heard += out + string(a.Result)
	}
	data, err := json.Marshal(r)
	if err != nil {
		b.t.Fatal(err)
	}
	heard += string(data)
	for _, word := range words {
		if i := strings.Index(heard, word); i >= 0 {
			b.t.Errorf("%s is heard: …%s…", word, heard[max(i-200, 0):min(i+200, len(heard))])
		}
	}
}

// A run that would come to a secret that its environment does not have is
// refused at once, and so is a secret too short to be kept out of sight.
func TestMissingSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t, doc("hush", step("1. Look", "id: look\ndo: redis.look\ntarget: cache")+
		step("2. Echo", "id: echo\ndo: redis.echo\ntarget: cache\nwith: { lines: 1, word: \"${{ secret('token') }}\" }")))
	b.serve()
	_, err := b.engine.Start(t.Context(), engine.StartRequest{Runbook: "hush", Actor: ann})
	if want := `hush cannot run on demo: its step echo needs the secret "token", which is not configured there. Name it under secrets in opsbot.yaml, and restart opsbot.`; fault.Say(err) != want {
		t.Errorf("Start() = %q", fault.Say(err))
	}
	b.stop()
	b.serve(func(o *engine.Options) { o.Environments[0].Secrets = secretsOf("token", "abc") })
	if r := b.ended(b.start("hush"), engine.Failed); !strings.Contains(r.Outcome, "shorter than 4 characters") || strings.Contains(r.Outcome, "abc") {
		t.Errorf("outcome %q", r.Outcome)
	}
}
