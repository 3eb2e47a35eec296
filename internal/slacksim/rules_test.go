package slacksim_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// Rules of the conformance list that ask something of the app under test, not
// of the simulator: its own tests hold it to them.
var ofTheApp = map[int]string{
	8: "the app is ready only after hello", 11: "the app spaces its reconnects", 17: "the app reconnects when no ping comes",
	19: "the app ends when its token is refused", 43: "the app acts once on an event that comes twice", 50: "the app acks unknown events",
	51: "the app acks unknown envelopes", 52: "the app's state is right when events come out of order", 53: "the app survives a panic of a handler",
	61: "the app keeps still during Retry-After", 107: "the app escapes what people typed", 108: "the app gives every message a text",
	109: "the app guards its danger buttons",
}

// Every rule from 1 to 109 is named by a test, here or in blockkit, or is not
// the simulator's.
func TestEveryRuleHasATest(t *testing.T) {
	t.Parallel()
	var files []string
	for _, glob := range []string{"*_test.go", "blockkit/*_test.go"} {
		found, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	named := map[int]bool{}
	mark := func(from, to string) {
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil {
			t.Fatalf("rules %s to %s", from, to)
		}
		for n := a; n <= b; n++ {
			named[n] = true
		}
	}
	one, span, pair := regexp.MustCompile(`rule (\d+)`), regexp.MustCompile(`rules (\d+) to (\d+)`), regexp.MustCompile(`rules (\d+) and (\d+)`)
	for _, file := range files {
		if file == "rules_test.go" {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range one.FindAllStringSubmatch(string(source), -1) {
			mark(m[1], m[1])
		}
		for _, m := range span.FindAllStringSubmatch(string(source), -1) {
			mark(m[1], m[2])
		}
		for _, m := range pair.FindAllStringSubmatch(string(source), -1) {
			mark(m[1], m[1])
			mark(m[2], m[2])
		}
	}
	if len(files) < 8 {
		t.Errorf("only %d test files were read", len(files))
	}
	for n := 1; n <= 109; n++ {
		if !named[n] && ofTheApp[n] == "" {
			t.Errorf("no test names rule %d", n)
		}
	}
}
