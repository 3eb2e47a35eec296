package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"opsbot/internal/slacksim"
)

// private lists what the person alone has been told in #ops and its threads.
func (h *house) private(person string) (told []slacksim.Message) {
	for _, m := range h.sim.History("ops", person) {
		if m.Ephemeral() {
			told = append(told, m)
		}
		if m.ReplyCount == 0 {
			continue
		}
		for _, r := range h.sim.Thread("ops", m.TS, person)[1:] {
			if r.Ephemeral() {
				told = append(told, r)
			}
		}
	}
	return told
}

// answer does something as the person and returns what they alone are told
// about it.
func (h *house) answer(person string, do func()) string {
	h.t.Helper()
	seen := map[string]bool{}
	for _, m := range h.private(person) {
		seen[m.TS] = true
	}
	do()
	var said string
	h.until(person+" gets an answer", func() bool {
		for _, m := range h.private(person) {
			if !seen[m.TS] {
				said = m.Visible()
				return true
			}
		}
		return false
	})
	return said
}

// refused does something as the person, who must be told exactly so.
func (h *house) refused(person, want string, do func()) {
	h.t.Helper()
	if got := h.answer(person, do); got != want {
		h.t.Errorf("%s was told\n\t%s\nwant\n\t%s", person, got, want)
	}
}

// configure adds lines to the configuration before the bot starts.
func (h *house) configure(lines string) {
	h.t.Helper()
	text, err := os.ReadFile(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.file, append(text, lines...), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// write puts a file into the configuration's folder.
func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// runs is how many runs there are, whatever became of them.
func (h *house) runs() int {
	h.t.Helper()
	code, out, errs := h.opsbot("", "runs", "list", "--output", "json")
	if code != exitWell {
		h.t.Fatalf("runs list exits with %d: %s", code, errs)
	}
	return strings.Count(out, `"id"`)
}

// removals counts the commands by which the patient's Redis was ever asked to
// remove a key.
func (h *house) removals() (stats string) {
	h.t.Helper()
	info, err := h.cache().Info(h.t.Context(), "commandstats").Result()
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		for _, name := range []string{"del", "unlink", "flushdb", "flushall", "eval", "evalsha", "expire", "pexpire", "rename"} {
			if strings.HasPrefix(line, "cmdstat_"+name+":") {
				calls, _, _ := strings.Cut(line, ",")
				stats += calls + " "
			}
		}
	}
	return stats
}

// poll waits for something that the simulator does not know of.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for pause := 10 * time.Millisecond; !done(); pause = min(2*pause, 500*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(pause)
	}
}
